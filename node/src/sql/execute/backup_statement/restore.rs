//! RESTORE: decided, its backup opened, what is wanted of it found there, its job made, and waited for.

use grantd_catalog::job::{Job, JobId, JobKind, NewJob, TEXT_BYTES_MAX, cut};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::require::Requirement;
use grantd_catalog::setting::Setting;
use grantd_catalog::view::View;

use super::{
    Place, SUCCESSFUL_COMPLETION, alone_or_detached, as_of, enabled, opened_by, refused, row, token, which,
};
use crate::activity::redact as statements;
use crate::backup::cipher::{DataKey, Keys};
use crate::backup::manifest::Time;
use crate::backup::read;
use crate::cloud::redact;
use crate::error::SqlError;
use crate::gate::log_now;
use crate::restore::bring::Brought;
use crate::restore::choice::{Wanted, WantedTargets, choose};
use crate::restore::content::Content;
use crate::restore::details::{Asked, Details, Extent};
use crate::restore::work::Restored;
use crate::session::{Notice, Session};
use crate::sql::execute::{Engine, Response, unless_cancelled};
use crate::sql::parse::backup::Restore;
use crate::sql::plan::Origin;
use crate::sql::plan::restore::{into, needs, wanted};
use crate::sql::system::backup;
use crate::value::Datum;

/// The backup that is restored.
struct Found {
    full: String,
    time: Time,
    key: Option<DataKey>,
    /// What the databases need that it goes into.
    requirement: Requirement,
}

impl Engine {
    pub(super) async fn restore(
        &self,
        session: &mut Session,
        asked: &Restore,
        text: &str,
    ) -> Result<Response, SqlError> {
        alone_or_detached(session, TAG, asked.detached)?;
        let keys = self.keys(session, &asked.opened).await?;
        let view = self.view_if(session, true).await?;
        enabled(&view, TAG, Setting::RestoreEnabled)?;
        let context = session.name_context();
        let (mut requirement, in_words) =
            needs(Origin { view: &view, actor: session.actor, context: &context }, &asked.what);
        let said = |refusal: Refusal| match &in_words {
            Some(words) => Refusal { message: words.message.clone(), hint: words.hint.clone(), ..refusal },
            None => refusal,
        };
        self.gate.permit(&view, session.actor, &requirement).map_err(said)?;
        let place = self.backup_place(session, &asked.collection, &asked.opened, false).await?;
        let wanted = wanted(&context, asked);
        if wanted.targets == WantedTargets::Cluster && !view.is_admin(session.actor.current) {
            let body = Refusal::new(SUCCESSFUL_COMPLETION, NO_ADMINS);
            session.notices.push(Notice { severity: "NOTICE", body });
        }
        let found = self.found(&view, asked, &wanted, &place, &keys);
        let found = unless_cancelled(session, found).await?;
        // Who may is decided again where the job is made: with all that was found out.
        self.gate.permit(&view, session.actor, &found.requirement)?;
        let further = found.requirement.needs.iter().chain(&place.requirement.needs);
        further.for_each(|need| requirement.need(need.clone()));
        let job = new_job(asked, wanted, requirement, &place, &found, text)?;
        let id = self.made(session, job, TAG).await?;
        if asked.detached {
            return Ok(row(TAG, backup::DETACHED, vec![Datum::Int(id.0)]));
        }
        let ended = unless_cancelled(session, self.ended(id)).await?;
        Ok(row(TAG, backup::WAITED, finished(id, &ended)))
    }

    /// Looks into the backup: what is not there, or has no place here, is told now.
    async fn found(
        &self,
        view: &View,
        asked: &Restore,
        wanted: &Wanted,
        place: &Place,
        keys: &Keys,
    ) -> Result<Found, SqlError> {
        let time = match &asked.as_of {
            // By the clock, also where nothing was committed for a while.
            Some(written) => Some(as_of(written, self.gate.moment().await?.1.max(log_now()))?),
            None => None,
        };
        let opened = read::Backup::open(&place.collection, &which(&asked.full), time, keys).await;
        let opened = opened.map_err(refused)?;
        let key = place.collection.key(&opened.full, keys).await.map_err(refused)?;
        let content = Content::read(&opened).await.map_err(refused)?;
        let choice = choose(&content, wanted)?;
        let brought = Brought::plan(&content, &choice, wanted, view.state())?;
        if !asked.verify_only {
            brought.check_names(view.state())?;
        }
        let requirement = into(&brought.databases(view.state()));
        Ok(Found { full: opened.full, time: Time(opened.time), key, requirement })
    }
}

fn new_job(
    asked: &Restore,
    wanted: Wanted,
    requirement: Requirement,
    place: &Place,
    found: &Found,
    text: &str,
) -> Result<NewJob, SqlError> {
    let extent = match (asked.verify_only, asked.schema_only, asked.verify_backup_table_data) {
        (true, ..) => Extent::Verified,
        (false, true, true) => Extent::SchemaVerified,
        (false, true, false) => Extent::Schema,
        (false, false, _) => Extent::All,
    };
    let details = Asked {
        collection: place.uri.clone(),
        incremental_location: place.incremental_location.clone(),
        full: found.full.clone(),
        time: found.time,
        wanted,
        extent,
    };
    Ok(NewJob {
        token: token()?,
        kind: JobKind::Restore,
        description: cut(&description(asked, place, found), TEXT_BYTES_MAX).to_owned(),
        statement: cut(&statements::shown(text), TEXT_BYTES_MAX).to_owned(),
        details: Details::new(details, found.key.as_ref()).encode()?,
        requirement,
        tables: Vec::new(),
        schedule: None,
        cancelable: true,
        protects: None,
    })
}

/// As the original describes such a job: with the folder that it reads, without what is secret.
fn description(asked: &Restore, place: &Place, found: &Found) -> String {
    let as_of = asked.as_of.as_ref().map(|written| format!(" AS OF SYSTEM TIME '{}'", redact::text(written)));
    let mut options = Vec::new();
    for (name, database) in [("into_db", &asked.into_db), ("new_db_name", &asked.new_db_name)] {
        options.extend(database.as_ref().map(|database| format!("{name} = '{database}'")));
    }
    options.extend(opened_by(&asked.opened, place));
    for (name, is_given) in [
        ("skip_missing_foreign_keys", asked.skipped.foreign_keys),
        ("skip_missing_sequences", asked.skipped.sequences),
        ("skip_missing_sequence_owners", asked.skipped.sequence_owners),
        ("skip_missing_views", asked.skipped.views),
        ("schema_only", asked.schema_only),
        ("verify_backup_table_data", asked.verify_backup_table_data),
        ("verify_only", asked.verify_only),
        ("detached", asked.detached),
    ] {
        if is_given {
            options.push(name.to_owned());
        }
    }
    let with = if options.is_empty() { String::new() } else { format!(" WITH {}", options.join(", ")) };
    format!(
        "RESTORE {}FROM '/{}' IN '{}'{}{with}",
        asked.what,
        found.full,
        redact::uri(&place.uri),
        as_of.unwrap_or_default()
    )
}

/// The row of a restore that was waited for.
fn finished(id: JobId, job: &Job) -> Vec<Datum> {
    let restored = Restored::of(job);
    let count = |of: fn(&Restored) -> u64| match &restored {
        Some(restored) => Datum::Int(i64::try_from(of(restored)).unwrap_or(i64::MAX)),
        None => Datum::Null,
    };
    vec![
        Datum::Int(id.0),
        Datum::Text(job.status.word().to_owned()),
        Datum::Float(1.0),
        count(|restored| restored.rows),
        // Indexes come with the rows that they are of.
        Datum::Int(0),
        count(|restored| restored.bytes),
    ]
}

const TAG: &str = "RESTORE";
const NO_ADMINS: &str =
    "members of admin are not restored, and admins that are there stay as they are: who restores is no admin";
