//! BACKUP: decided, its place opened, its job made, and waited for; [`restore`] the same; [`schedule`]s. SHOW BACKUPS and SHOW BACKUP: read from the place.
//!
//! Who may is asked first, so that nobody learns more of a place than who may use it. What the place says of credentials is told
//! here and now. From then on the job is on its own: it goes on if its client is gone.

use std::sync::Arc;
use std::time::Duration;

use grantd_catalog::command::Command;
use grantd_catalog::id::Timestamp;
use grantd_catalog::job::{
    FRACTION_PPM_MAX, FinalError, Job, JobId, JobKind, JobStatus, JobToken, NewJob, Protects, TEXT_BYTES_MAX,
    cut,
};
use grantd_catalog::object::ConnectionUri;
use grantd_catalog::refusal::{Refusal, SqlState, state};
use grantd_catalog::require::Requirement;
use grantd_catalog::setting::Setting;
use grantd_catalog::view::View;
use grantd_raft::rows::Share;
use tokio::time::sleep;

use super::{Engine, Response, Rows, unless_cancelled};
use crate::activity::redact as statements;
use crate::backup::cipher::{DataKey, KeyService, Keys};
use crate::backup::collection::Which;
use crate::backup::details::{Asked, Details};
use crate::backup::manifest::{Manifest, Time};
use crate::backup::write::NextLayer;
use crate::backup::{BackupError, Collection, names, read, show};
use crate::cloud::outside::Use;
use crate::cloud::redact;
use crate::cloud::storage::{Patience, Storage};
use crate::error::SqlError;
use crate::feed::options;
use crate::gate::log_now;
use crate::session::block::{Phase, code};
use crate::session::{Notice, Session};
use crate::sql::parse::backup::{Backup, BackupStatement, Named, Of, Opened};
use crate::sql::plan::Origin;
use crate::sql::plan::backup::{Backed, backed, denied};
use crate::sql::system::backup;
use crate::value::Datum;

mod restore;
mod schedule;

/// How often it is looked whether the job has ended. It costs no message: the node sees it by itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// What statements about backups are called in the cloud's audit log and in SHOW CREDENTIALS.
const TASK: &str = "backup";
/// What is outside did not do what was asked.
const EXTERNAL_ROUTINE_EXCEPTION: SqlState = SqlState::new("38000");
/// Somebody who may has switched it off.
const OPERATOR_INTERVENTION: SqlState = SqlState::new("57000");
/// PostgreSQL's name for it.
const UNDEFINED_FILE: &str = "58P01";
/// What a NOTICE says was done all the same.
const SUCCESSFUL_COMPLETION: SqlState = SqlState::new("00000");

/// Where backups are, and what using it needs again and again.
struct Place {
    collection: Collection,
    uri: String,
    incremental_location: Option<String>,
    requirement: Requirement,
}

/// A backup that is decided, and whose job is not made yet.
struct Planned {
    /// The job.
    job: NewJob,
    place: Place,
    layer: Layer,
    /// What the client is told besides.
    notice: Option<String>,
}

/// The layer that is to be written.
struct Layer {
    full: String,
    incremental: bool,
    end: Timestamp,
    /// Changes after this are read.
    since: Timestamp,
    key: Option<(DataKey, Option<Vec<u8>>)>,
}

impl Engine {
    pub(super) async fn backup(
        &self,
        session: &mut Session,
        statement: &BackupStatement,
        text: &str,
    ) -> Result<Response, SqlError> {
        match statement {
            BackupStatement::Backup(asked) => self.back_up(session, asked, text).await,
            BackupStatement::Restore(asked) => self.restore(session, asked, text).await,
            BackupStatement::List { collection } => {
                let opened = Opened::default();
                let place = self.backup_place(session, collection, &opened, false).await?;
                let shown = unless_cancelled(session, said(show::backups(&place.collection))).await?;
                Ok(shown_as("SHOW BACKUPS", shown))
            }
            BackupStatement::Show { full, collection, opened, shown } => {
                let keys = self.keys(session, opened).await?;
                let place = self.backup_place(session, collection, opened, false).await?;
                let shown = async {
                    let found = read::Backup::open(&place.collection, &which(full), None, &keys).await?;
                    show::backup(&found, *shown, None).await
                };
                let shown = unless_cancelled(session, said(shown)).await?;
                Ok(shown_as("SHOW BACKUP", shown))
            }
        }
    }

    async fn back_up(&self, session: &mut Session, asked: &Backup, text: &str) -> Result<Response, SqlError> {
        alone_or_detached(session, "BACKUP", asked.detached)?;
        let Planned { job, place, layer, notice } = self.backup_planned(session, asked, text).await?;
        let id = self.made(session, job, "BACKUP").await?;
        session.notices.extend(notice.map(done_all_the_same));
        if asked.detached {
            return Ok(row("BACKUP", backup::DETACHED, vec![Datum::Int(id.0)]));
        }
        let ended = unless_cancelled(session, self.ended(id)).await?;
        let manifest = unless_cancelled(session, said(written(&place, &layer))).await.ok();
        Ok(row("BACKUP", backup::WAITED, finished(id, &ended, manifest.as_ref())))
    }

    /// Decides it, opens its place, and finds out what is to be written: all but making the job.
    async fn backup_planned(
        &self,
        session: &Session,
        asked: &Backup,
        text: &str,
    ) -> Result<Planned, SqlError> {
        let keys = self.keys(session, &asked.opened).await?;
        let view = self.view_if(session, true).await?;
        let mut backed = self.backed(session, &view, &asked.of)?;
        let place = self.backup_place(session, &asked.collection, &asked.opened, true).await?;
        for need in &place.requirement.needs {
            backed.requirement.need(need.clone());
        }
        let layer = self.layer(asked, &backed, &place, &keys);
        let layer = unless_cancelled(session, layer).await?;
        let job = new_job(token()?, asked, &backed, &place, &layer, text)?;
        Ok(Planned { job, place, layer, notice: backed.notice.take() })
    }

    /// What it is of, for who may.
    fn backed(&self, session: &Session, view: &View, of: &Of) -> Result<Backed, SqlError> {
        enabled(view, "BACKUP", Setting::BackupEnabled)?;
        let context = session.name_context();
        let origin = Origin { view, actor: session.actor, context: &context };
        let backed = backed(origin, of)?;
        let permitted = self.gate.permit(view, session.actor, &backed.requirement);
        permitted.map_err(|refusal| denied(&backed, refusal))?;
        Ok(backed)
    }

    /// Makes a job, which begins at once, or when the transaction commits.
    async fn made(&self, session: &mut Session, job: NewJob, tag: &'static str) -> Result<JobId, SqlError> {
        let token = job.token;
        self.command(session, Command::CreateJob { job: Box::new(job) }, tag).await?;
        let view = self.seen(session, &self.gate.applied_view()).await?;
        let made = view.state().job_of(token).map(|(id, _)| id);
        let id = made.ok_or_else(|| SqlError::internal("a job was made and is not there"))?;
        if session.block.open().is_none() {
            self.nudge.tell(id);
        }
        Ok(id)
    }

    /// With what a backup is opened, for who may use it.
    async fn keys(&self, session: &Session, opened: &Opened) -> Result<Keys, SqlError> {
        match (&opened.passphrase, &*opened.kms) {
            (Some(_), [_, ..]) => Err(invalid("cannot have both encryption_passphrase and kms option set")),
            (Some(passphrase), []) if passphrase.is_empty() => {
                Err(invalid("encryption_passphrase must not be empty"))
            }
            (Some(passphrase), []) => Ok(Keys::Passphrase(passphrase.clone())),
            (None, []) => Ok(Keys::None),
            (None, uris) => {
                let view = self.gate.view().await?;
                let key = |uri: &ConnectionUri| -> Result<Box<dyn KeyService>, SqlError> {
                    Ok(Box::new(self.outside.key(&view, session.actor, uri.expose(), TASK)?))
                };
                Ok(Keys::Services(uris.iter().map(key).collect::<Result<_, _>>()?))
            }
        }
    }

    /// Opens where backups are, for who may use it.
    async fn backup_place(
        &self,
        session: &Session,
        collection: &[ConnectionUri],
        opened: &Opened,
        write: bool,
    ) -> Result<Place, SqlError> {
        if matches!(session.block.open().map(|open| &open.phase), Some(Phase::Writing { .. })) {
            let message = "a backup's place cannot be opened in a transaction that has changed something";
            return Err(SqlError::new(code::ACTIVE_TRANSACTION, message).with_hint(
                "Everybody's changes would wait for it. Make it the transaction's first statement.",
            ));
        }
        let view = self.gate.view().await?;
        if !opened.incremental_location.is_empty() && opened.incremental_location.len() != collection.len() {
            return Err(invalid(
                "the incremental_location option must contain the same number of locality aware URIs as the full backup \
                 destination",
            ));
        }
        let uri = one_of_localities(collection)?;
        let elsewhere = match opened.incremental_location.is_empty() {
            true => None,
            false => Some(one_of_localities(&opened.incremental_location)?),
        };
        let mut requirement = Requirement::default();
        for uri in std::iter::once(uri).chain(elsewhere) {
            let target = self.outside.approved(&view, session.actor, uri)?;
            // USAGE is asked for again at each step. What a URI by itself needs is asked for once, as in the original.
            if target.connection.is_some() {
                target.requirement().needs.into_iter().for_each(|need| requirement.need(need));
            }
        }
        let user = view.state().principal_name(session.actor.session).to_string();
        let of = Use { task: TASK, user: &user, write, patience: Patience::Statement };
        let fulls = self.opened(session, &view, uri, of).await?;
        let incrementals = match elsewhere {
            Some(uri) => Some(self.opened(session, &view, uri, of).await?),
            None => None,
        };
        Ok(Place {
            collection: Collection::new(fulls, incrementals),
            uri: self.pinned(uri),
            incremental_location: elsewhere.map(|uri| self.pinned(uri)),
            requirement,
        })
    }

    async fn opened(
        &self,
        session: &Session,
        view: &View,
        uri: &str,
        of: Use<'_>,
    ) -> Result<Storage, SqlError> {
        let opening = async { self.outside.open(view, uri, of).await.map_err(|error| error.refusal()) };
        unless_cancelled(session, opening).await
    }

    /// `self` is this node, whoever writes.
    fn pinned(&self, uri: &str) -> String {
        match uri.strip_prefix("nodelocal://self/") {
            Some(path) => format!("nodelocal://{}/{path}", self.gate.node_id()),
            None => uri.to_owned(),
        }
    }

    /// Finds out what is to be written: which folder, from when to when, under which key.
    async fn layer(
        &self,
        asked: &Backup,
        backed: &Backed,
        place: &Place,
        keys: &Keys,
    ) -> Result<Layer, SqlError> {
        let (_, known) = self.gate.moment().await?;
        let end = match &asked.as_of {
            // Where nothing was committed for a while, what was there then is what is known now.
            Some(written) => as_of(written, known.max(log_now()))?.min(known),
            None => known,
        };
        let Some(upon) = &asked.upon else {
            let key = match keys {
                Keys::None => None,
                keys => {
                    let key = DataKey::random().map_err(refused)?;
                    let info = key.wrapped(keys).await.map_err(refused)?;
                    let info = info.map(|info| info.to_bytes()).transpose().map_err(refused)?;
                    Some((key, info))
                }
            };
            return Ok(Layer { full: names::full(end), incremental: false, end, since: end, key });
        };
        let collection = &place.collection;
        let found = collection.resolve(&which(upon)).await.map_err(refused);
        let full = found.map_err(|error| no_such_folder(upon, error))?;
        let key = collection.key(&full, keys).await.map_err(refused)?;
        let layers = collection.layers(&full, key.as_ref()).await.map_err(refused)?;
        let last = layers.last().map(|layer| &layer.manifest);
        let last = last.ok_or_else(|| SqlError::internal("a backup has no layers"))?;
        let cluster = self.gate.status().and_then(|status| status.cluster_id).unwrap_or_default();
        let next = NextLayer {
            full: &full,
            targets: &backed.targets,
            revision_history: asked.revision_history,
            cluster: &cluster,
            end,
        };
        next.follows(last).map_err(refused)?;
        let since = last.end.0;
        Ok(Layer { incremental: true, end, since, key: key.map(|key| (key, None)), full })
    }

    /// The job when it has ended well. Errors: how else it came.
    async fn ended(&self, id: JobId) -> Result<Arc<Job>, SqlError> {
        loop {
            let view = self.gate.applied_view();
            let Some(job) = view.state().job(id) else {
                return Err(SqlError::internal(format!("job {id} is gone")));
            };
            match job.status {
                JobStatus::Succeeded => return Ok(Arc::clone(job)),
                JobStatus::Canceled => return Err(ended_badly(crate::error::state::QUERY_CANCELED, job)),
                JobStatus::Failed | JobStatus::RevertFailed => {
                    return Err(ended_badly(EXTERNAL_ROUTINE_EXCEPTION, job));
                }
                JobStatus::Paused => {
                    let why = job.pause_reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                    let message = format!("job {id} was paused before it completed{why}");
                    return Err(SqlError::new(state::NOT_IN_PREREQUISITE_STATE, message)
                        .with_hint(format!("RESUME JOB {id} lets it go on.")));
                }
                JobStatus::Pending
                | JobStatus::Running
                | JobStatus::PauseRequested
                | JobStatus::CancelRequested
                | JobStatus::Reverting => sleep(LOOK_INTERVAL).await,
            }
        }
    }
}

fn ended_badly(code: SqlState, job: &Job) -> SqlError {
    SqlError::new(code, job.error.as_ref().map_or("the job failed", FinalError::text))
}

/// What the layer's manifest says.
async fn written(place: &Place, layer: &Layer) -> Result<Manifest, BackupError> {
    let below = layer.incremental.then(|| names::incremental(layer.end));
    let folder = place.collection.folder(&layer.full, below.as_deref());
    folder.with_key(layer.key.as_ref().map(|(key, _)| key.clone())).manifest().await
}

/// The row of a backup that was waited for. What its manifest does not tell any more is NULL.
fn finished(id: JobId, job: &Job, manifest: Option<&Manifest>) -> Vec<Datum> {
    let sum = |of: fn(&crate::backup::manifest::DataFile) -> u64| {
        let sum = manifest.map(|manifest| manifest.files.iter().map(of).sum::<u64>());
        sum.map_or(Datum::Null, |sum| Datum::Int(i64::try_from(sum).unwrap_or(i64::MAX)))
    };
    let part = job.progress.fraction_ppm.unwrap_or(FRACTION_PPM_MAX);
    vec![
        Datum::Int(id.0),
        Datum::Text(job.status.word().to_owned()),
        Datum::Float(f64::from(part) / f64::from(FRACTION_PPM_MAX)),
        sum(|file| file.rows),
        // Indexes are made of the rows where they are restored.
        Datum::Int(0),
        sum(|file| file.bytes),
    ]
}

fn new_job(
    token: JobToken,
    asked: &Backup,
    backed: &Backed,
    place: &Place,
    layer: &Layer,
    text: &str,
) -> Result<NewJob, SqlError> {
    let details = Asked {
        collection: place.uri.clone(),
        incremental_location: place.incremental_location.clone(),
        full: layer.full.clone(),
        incremental: layer.incremental,
        end: Time(layer.end),
        targets: backed.targets.clone(),
        revision_history: asked.revision_history,
    };
    Ok(NewJob {
        token,
        kind: JobKind::Backup,
        description: cut(&description(asked, place, layer), TEXT_BYTES_MAX).to_owned(),
        statement: cut(&statements::shown(text), TEXT_BYTES_MAX).to_owned(),
        details: Details::new(details, layer.key.as_ref()).encode()?,
        requirement: backed.requirement.clone(),
        tables: backed.tables.clone().unwrap_or_default(),
        schedule: None,
        cancelable: true,
        protects: Some(Protects { since: layer.since, tables: backed.tables.clone() }),
    })
}

/// The options with which a backup is opened, without what is secret.
fn opened_by(opened: &Opened, place: &Place) -> Vec<String> {
    let mut options = Vec::new();
    if opened.passphrase.is_some() {
        options.push("encryption_passphrase = '*****'".to_owned());
    }
    match &*opened.kms {
        [] => {}
        [uri] => options.push(format!("kms = '{}'", redact::uri(uri.expose()))),
        uris => {
            let shown = uris.iter().map(|uri| format!("'{}'", redact::uri(uri.expose())));
            options.push(format!("kms = ({})", shown.collect::<Vec<_>>().join(", ")));
        }
    }
    if let Some(elsewhere) = &place.incremental_location {
        options.push(format!("incremental_location = '{}'", redact::uri(elsewhere)));
    }
    options
}

/// As the original describes such a job: with the folder that it writes, without what is secret.
fn description(asked: &Backup, place: &Place, layer: &Layer) -> String {
    let as_of = asked.as_of.as_ref().map(|written| format!(" AS OF SYSTEM TIME '{}'", redact::text(written)));
    let mut options = Vec::new();
    if asked.revision_history {
        options.push("revision_history".to_owned());
    }
    options.extend(opened_by(&asked.opened, place));
    if asked.detached {
        options.push("detached".to_owned());
    }
    let with = if options.is_empty() { String::new() } else { format!(" WITH {}", options.join(", ")) };
    format!(
        "BACKUP {}INTO '/{}' IN '{}'{}{with}",
        asked.of,
        layer.full,
        redact::uri(&place.uri),
        as_of.unwrap_or_default()
    )
}

fn which(full: &Named) -> Which {
    match full {
        Named::Latest => Which::Latest,
        Named::Folder(folder) => Which::Named(folder.expose().to_owned()),
    }
}

/// A folder that the user names is one that is there.
fn no_such_folder(upon: &Named, error: SqlError) -> SqlError {
    match upon {
        Named::Folder(folder) if error.body.code.as_str() == UNDEFINED_FILE => {
            let folder = redact::repeated(folder.expose());
            let message = format!(
                "A full backup cannot be written to \"{folder}\", a user defined subdirectory. To take a full backup, remove \
                 the subdirectory from the backup command"
            );
            SqlError::new(SqlState::new(UNDEFINED_FILE), message)
                .with_hint("SHOW BACKUPS IN lists the full backups that are there.")
        }
        Named::Folder(_) | Named::Latest => error,
    }
}

/// A time that has passed.
fn as_of(written: &str, now: Timestamp) -> Result<Timestamp, SqlError> {
    let time = options::moment("AS OF SYSTEM TIME", written, now)?;
    if time > now {
        return Err(invalid(format!("AS OF SYSTEM TIME: cannot specify timestamp in the future ({time})")));
    }
    Ok(time)
}

/// The URI of a list of them. Nodes have no localities: so there is one.
fn one_of_localities(uris: &[ConnectionUri]) -> Result<&str, SqlError> {
    let mut seen: Vec<Option<String>> = Vec::new();
    let is_default = |locality: &str| locality == "default";
    for uri in uris {
        let locality = locality(uri.expose());
        if uris.len() > 1 && locality.is_none() {
            return Err(invalid(
                "multiple URLs are provided for partitioned BACKUP, but COCKROACH_LOCALITY is not specified",
            ));
        }
        if let Some(twice) = locality.as_deref().filter(|_| seen.contains(&locality)) {
            return Err(invalid(match is_default(twice) {
                true => "multiple default URLs provided for partition backup".to_owned(),
                false => format!("duplicate URIs for locality {twice}"),
            }));
        }
        seen.push(locality);
    }
    match (uris, seen.as_slice()) {
        ([uri], [None]) => Ok(uri.expose()),
        ([uri], [Some(locality)]) if is_default(locality) => Ok(uri.expose()),
        ([_], [Some(locality)]) => {
            Err(invalid(format!("COCKROACH_LOCALITY {locality} is invalid for a single BACKUP location")))
        }
        _ if !seen.iter().flatten().any(|locality| is_default(locality)) => {
            Err(invalid("no default URL provided for partitioned backup"))
        }
        _ => Err(SqlError::unsupported("a backup in several places by locality")
            .with_hint("Nodes of grantd have no localities: name one place.")),
    }
}

/// The value of COCKROACH_LOCALITY. The URI itself is read elsewhere.
fn locality(uri: &str) -> Option<String> {
    let (_, parameters) = uri.split_once('?')?;
    let found = parameters.split('&').find_map(|pair| pair.trim().strip_prefix("COCKROACH_LOCALITY="))?;
    Some(percent_encoding::percent_decode_str(found).decode_utf8_lossy().into_owned())
}

fn token() -> Result<JobToken, SqlError> {
    let random = || getrandom::u64().map_err(|_| SqlError::internal("this node has no random numbers"));
    Ok(JobToken((u128::from(random()?) << u64::BITS) | u128::from(random()?)))
}

/// 57000, where somebody who may has switched the statement off.
fn enabled(view: &View, word: &str, setting: Setting) -> Result<(), SqlError> {
    if view.state().setting_is_on(setting) {
        return Ok(());
    }
    let message = format!("feature {word} was disabled by the database administrator");
    Err(SqlError::new(OPERATOR_INTERVENTION, message)
        .with_hint(format!("The cluster setting {setting} says so.")))
}

/// What is waited for cannot be part of a transaction that others wait for.
fn alone_or_detached(session: &Session, word: &str, detached: bool) -> Result<(), SqlError> {
    if session.block.open().is_none() || detached {
        return Ok(());
    }
    let message =
        format!("{word} cannot be used inside a multi-statement transaction without DETACHED option");
    Err(SqlError::new(code::ACTIVE_TRANSACTION, message)
        .with_hint("Write WITH detached: it begins when the transaction commits. Or run it by itself."))
}

/// A notice of something that was done.
fn done_all_the_same(text: String) -> Notice {
    Notice { severity: "NOTICE", body: Refusal::new(SUCCESSFUL_COMPLETION, text) }
}

fn refused(error: BackupError) -> SqlError {
    error.refusal().into()
}

async fn said<T>(work: impl Future<Output = Result<T, BackupError>>) -> Result<T, SqlError> {
    work.await.map_err(refused)
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(state::INVALID_PARAMETER_VALUE, message)
}

fn row(tag: &str, columns: &[(&str, crate::value::SqlType)], row: Vec<Datum>) -> Response {
    let columns = crate::sql::system::external::infos(columns);
    let rows = Some(Rows { columns, rows: vec![row], held: Share::default() });
    Response { tag: tag.to_owned(), rows, copy: None }
}

fn shown_as(tag: &str, show::Shown { columns, rows }: show::Shown) -> Response {
    let tag = format!("{tag} {}", rows.len());
    Response { tag, rows: Some(Rows { columns, rows, held: Share::default() }), copy: None }
}
