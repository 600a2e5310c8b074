//! CREATE and ALTER CHANGEFEED: decided, tried outside, then proposed. Source: cloud-jobs spec, B.7.5, D.1.
//!
//! Who may is asked first, as in the original, so that nobody learns more of a sink than who may use it.

use std::sync::Arc;

use grantd_catalog::command::{Command, ObjectName};
use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::job::{Alteration, Control, JobId, JobKind, JobStatus, JobToken, NewJob, Protects};
use grantd_catalog::object::ConnectionUri;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::{Refusal, SqlState, no_such_job, object_gone, state};
use grantd_catalog::require::{FeedTo, Need, Requirement};
use grantd_catalog::role::RoleOption;
use grantd_catalog::view::View;
use grantd_raft::rows::Share;

use super::{Engine, Response, Rows, unless_cancelled};
use crate::activity::Running;
use crate::cloud::connection;
use crate::error::SqlError;
use crate::feed::details::{Details, Written};
use crate::feed::options::Options;
use crate::feed::plan::{Feed, Progress};
use crate::feed::reach;
use crate::feed::shape::{Shape, Types};
use crate::feed::source::Source;
use crate::feed::topic::{Target, topics};
use crate::session::{Notice, Session};
use crate::sql::parse::feed::{FeedChange, FeedStatement};
use crate::sql::parse::job::JobStatement;
use crate::sql::system::feed::described;
use crate::sql::system::job;
use crate::value::Datum;

const ACTIVE_SQL_TRANSACTION: SqlState = SqlState::new("25001");
/// What a NOTICE says was done all the same.
const SUCCESSFUL_COMPLETION: SqlState = SqlState::new("00000");

impl Engine {
    pub(super) async fn changefeed(
        &self,
        session: &mut Session,
        statement: &FeedStatement,
        running: Option<Running>,
    ) -> Result<Response, SqlError> {
        if session.block.open().is_some() {
            let message = format!("{} cannot run inside a transaction block", statement.tag());
            return Err(SqlError::new(ACTIVE_SQL_TRANSACTION, message)
                .with_hint("Everybody's changes would wait for its sink. Run it by itself."));
        }
        let row = match statement {
            FeedStatement::Create { tables, sink, options } => {
                let id = self.create_feed(session, tables, sink, options).await?;
                vec![Datum::Int(id.0)]
            }
            FeedStatement::Stream { tables, options } => {
                return self.stream_feed(session, statement, (tables, options), running).await;
            }
            FeedStatement::Alter { id, changes } => {
                let description = self.alter_feed(session, *id, changes).await?;
                vec![Datum::Int(id.0), Datum::Text(description)]
            }
        };
        let columns = job::columns(&JobStatement::Feed(statement.clone())).unwrap_or_default();
        let rows = Some(Rows { columns, rows: vec![row], held: Share::default() });
        Ok(Response { tag: statement.tag().to_owned(), rows, copy: None })
    }

    async fn create_feed(
        &self,
        session: &mut Session,
        tables: &[ObjectName],
        sink: &ConnectionUri,
        written: &Written,
    ) -> Result<JobId, SqlError> {
        // The catalog of the very time from which the feed begins.
        let (view, now) = unless_cancelled(session, self.gate.moment()).await?;
        let targets = targets(&view, session, tables)?;
        let ids: Vec<ObjectId> = targets.iter().map(|target| target.table).collect();
        let mut asked = Requirement::default();
        asked.need(Need::Changefeed { tables: ids.clone(), to: to(sink) });
        self.gate.permit(&view, session.actor, &asked)?;
        check_shapes(&view, &targets)?;
        let mut details = Details {
            sink: sink.clone(),
            options: written.clone(),
            made_at: now,
            targets,
            topics: Vec::new(),
        };
        let (target, options) = reach::resolve(&self.outside, &view, &details)?;
        self.gate.permit(&view, session.actor, &target.requirement())?;
        let requirement = lasting(&target, &ids);
        details.topics = names(&details, &options, &target)?;
        check_times(&options, now)?;
        let feed = Feed::new(details.targets.clone(), options, now);
        if feed.start != now {
            let (actor, needed) = (session.actor, requirement.clone());
            let may = Arc::new(move |_: &View| Ok((actor, needed.clone())));
            let source = Source::new(self.gate.clone(), may, ids.iter().copied());
            // That they were there then, and that what happened since is kept.
            unless_cancelled(session, source.tables(feed.start)).await?;
        }
        let user = view.state().principal_name(session.actor.current).to_string();
        let tried = reach::canary(&self.outside, &view, &user, &details);
        unless_cancelled(session, tried).await?;
        let mut told = target.notices();
        told.extend(deprecated(&view, session));
        let token = token()?;
        let description = described(&details);
        let job = NewJob {
            token,
            kind: JobKind::Changefeed,
            statement: description.clone(),
            description,
            details: details.seal(),
            requirement,
            tables: ids.clone(),
            schedule: None,
            cancelable: true,
            protects: Some(Protects { since: feed.start, tables: Some(ids) }),
        };
        self.command(session, Command::CreateJob { job: Box::new(job) }, "CREATE CHANGEFEED").await?;
        let notice = |text| Notice { severity: "NOTICE", body: Refusal::new(SUCCESSFUL_COMPLETION, text) };
        session.notices.extend(told.into_iter().map(notice));
        let made = self.gate.applied_view();
        let (id, _) = made
            .state()
            .job_of(token)
            .ok_or_else(|| SqlError::internal("a job that was made is not in the catalog"))?;
        self.nudge.tell(id);
        Ok(id)
    }
}

impl Engine {
    /// Gives the new description.
    async fn alter_feed(
        &self,
        session: &mut Session,
        id: JobId,
        changes: &[FeedChange],
    ) -> Result<String, SqlError> {
        let view = unless_cancelled(session, self.gate.view()).await?;
        let state = view.state();
        state.may_control_job(session.actor.current, id)?;
        let job = state.job(id).ok_or_else(|| no_such_job(id))?;
        if job.asked.kind != JobKind::Changefeed {
            return Err(invalid(format!("job {id} is not changefeed job")).into());
        }
        if job.status != JobStatus::Paused {
            let message = format!("job {id} is not paused");
            return Err(SqlError::new(state::NOT_IN_PREREQUISITE_STATE, message)
                .with_hint("PAUSE JOB stops it; RESUME JOB lets it go on as it is altered."));
        }
        let was = Details::open(&job.asked.details)
            .ok_or_else(|| invalid(format!("job {id} was made by another release of grantd")))?;
        let details = altered(&view, session, &was, changes)?;
        let ids: Vec<ObjectId> = details.targets.iter().map(|target| target.table).collect();
        let mut asked = Requirement::default();
        asked.need(Need::Changefeed { tables: ids.clone(), to: to(&details.sink) });
        self.gate.permit(&view, session.actor, &asked)?;
        check_shapes(&view, &details.targets)?;
        let (target, options) = reach::resolve(&self.outside, &view, &details)?;
        self.gate.permit(&view, session.actor, &target.requirement())?;
        // A sink that cannot be found out any more is no reason to keep it.
        if let Ok((before, _)) = reach::resolve(&self.outside, &view, &was) {
            same_type(reach::first(&before)?.scheme(), reach::first(&target)?.scheme())?;
        }
        let details = Details { topics: names(&details, &options, &target)?, ..details };
        let requirement = lasting(&target, &ids);
        let feed = Feed::new(details.targets.clone(), options, details.made_at);
        let (actor, needed) = (session.actor, requirement.clone());
        let may = Arc::new(move |_: &View| Ok((actor, needed.clone())));
        let source = Source::new(self.gate.clone(), may, ids.iter().copied());
        // It goes on from there: tables that come must have been there, and what happened since must be kept.
        let from = feed.tables_at(Progress { high_water: job.progress.high_water });
        unless_cancelled(session, source.tables(from)).await?;
        let user = view.state().principal_name(session.actor.current).to_string();
        unless_cancelled(session, reach::canary(&self.outside, &view, &user, &details)).await?;
        let description = described(&details);
        let alteration = Alteration {
            as_of: job.modified,
            description: description.clone(),
            details: details.seal(),
            requirement,
            tables: ids,
        };
        let control = Control::Alter(Box::new(alteration));
        self.command(session, Command::ControlJob { id, control }, "ALTER CHANGEFEED").await?;
        Ok(description)
    }
}

/// What was said, one clause after the other.
fn altered(
    view: &View,
    session: &Session,
    was: &Details,
    changes: &[FeedChange],
) -> Result<Details, SqlError> {
    let mut details = was.clone();
    for change in changes {
        match change {
            FeedChange::Add(tables, options) => {
                for (name, value) in &options.0 {
                    let without_scan = name == "no_initial_scan"
                        || name == "initial_scan" && value.as_deref().is_some_and(|value| value == "no");
                    if !without_scan {
                        return Err(SqlError::unsupported(format!("ALTER CHANGEFEED … ADD … WITH {name}"))
                            .with_hint("Tables that come are fed from where the changefeed stands; for their rows make another."));
                    }
                }
                for target in targets(view, session, tables)? {
                    if details.targets.iter().any(|known| known.table == target.table) {
                        let name = &target.name[2];
                        return Err(
                            invalid(format!("target \"{name}\" already watched by changefeed")).into()
                        );
                    }
                    details.targets.push(target);
                }
            }
            FeedChange::Drop(tables) => {
                for target in targets(view, session, tables)? {
                    let before = details.targets.len();
                    details.targets.retain(|known| known.table != target.table);
                    if details.targets.len() == before {
                        let name = &target.name[2];
                        return Err(
                            invalid(format!("target \"{name}\" already not watched by changefeed")).into()
                        );
                    }
                }
                if details.targets.is_empty() {
                    return Err(invalid("cannot drop all targets".to_owned())
                        .with_hint("CANCEL JOB ends the changefeed.")
                        .into());
                }
            }
            FeedChange::Set(options) => {
                for (name, value) in &options.0 {
                    set(&mut details, name, value.as_deref())?;
                }
            }
            FeedChange::Unset(names) => {
                for name in names {
                    if FIXED.contains(&name.as_str()) || name == SINK {
                        return Err(invalid(format!("cannot unset option \"{name}\"")).into());
                    }
                    details.options.0.retain(|(known, _)| known != name);
                }
            }
        }
    }
    Ok(details)
}

fn set(details: &mut Details, name: &str, value: Option<&str>) -> Result<(), Refusal> {
    if name == SINK {
        let uri = value.ok_or_else(|| invalid("option \"sink\" requires a value".to_owned()))?;
        details.sink = ConnectionUri::new(uri.to_owned());
        return Ok(());
    }
    if FIXED.contains(&name) {
        return Err(invalid(format!("cannot alter option \"{name}\"")));
    }
    details.options.0.retain(|(known, _)| known != name);
    details.options.0.push((name.to_owned(), value.map(str::to_owned)));
    Ok(())
}

fn same_type(was: &str, is: &str) -> Result<(), Refusal> {
    if was == is {
        return Ok(());
    }
    Err(invalid(format!(
        "New sink type \"{is}\" does not match original sink type \"{was}\". Altering the sink type of a changefeed is \
         disallowed, consider creating a new changefeed instead"
    )))
}

fn names(details: &Details, options: &Options, target: &connection::Target) -> Result<Vec<String>, Refusal> {
    let named = topics(&details.targets, options.message.full_table_name, reach::first(target)?);
    Ok(named.iter().map(|topic| topic.to_string()).collect())
}

fn invalid(message: String) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, message)
}

/// In ALTER CHANGEFEED where the sink is stands among the options.
const SINK: &str = "sink";
/// What a changefeed keeps as long as it lives. Source: cloud-jobs spec, D.1.
const FIXED: [&str; 6] =
    ["cursor", "end_time", "full_table_name", "initial_scan", "initial_scan_only", "no_initial_scan"];

/// Where to, as far as who may depends on it.
fn to(sink: &ConnectionUri) -> FeedTo {
    let scheme = sink.expose().trim_start().split(':').next().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("external") { FeedTo::Connection } else { FeedTo::Uri }
}

/// What the job's owner needs at every page: the tables, and the connection if it goes through one. What else the URI needed was
/// asked for once: a feed that runs goes on when EXTERNALIOIMPLICITACCESS is taken away, or when the cluster wants connections.
fn lasting(target: &connection::Target, tables: &[ObjectId]) -> Requirement {
    let mut requirement = Requirement::default();
    requirement.need(Need::Changefeed { tables: tables.to_vec(), to: FeedTo::Connection });
    if target.connection.is_some() {
        target.requirement().needs.into_iter().for_each(|need| requirement.need(need));
    }
    requirement
}

pub(super) fn targets(
    view: &View,
    session: &Session,
    tables: &[ObjectName],
) -> Result<Vec<Target>, SqlError> {
    let (state, context) = (view.state(), session.name_context());
    let mut targets: Vec<Target> = Vec::with_capacity(tables.len());
    for written in tables {
        let table = state.resolve_relation(&context, written)?;
        let mut name = Vec::new();
        let mut at = table;
        while let Some(object) = state.object(at) {
            name.insert(0, object.name.to_string());
            at = object.parent;
        }
        if targets.iter().any(|target| target.table == table) {
            let message = format!("\"{}\" is named twice", name.last().map_or("", String::as_str));
            return Err(SqlError::new(state::INVALID_PARAMETER_VALUE, message));
        }
        let name = name.try_into().map_err(|name: Vec<String>| {
            let message = format!("CHANGEFEED cannot target system table: {}", name.join("."));
            SqlError::new(state::WRONG_OBJECT_TYPE, message).with_hint("a changefeed is of tables")
        })?;
        targets.push(Target { table, name });
    }
    Ok(targets)
}

/// That each is a table that can be fed.
pub(super) fn check_shapes(view: &View, targets: &[Target]) -> Result<(), Refusal> {
    let state = view.state();
    for target in targets {
        let object = state.object(target.table).ok_or_else(|| object_gone(target.table))?;
        let named = |id| state.object(id).map(|object| (id, Arc::new(object.clone())));
        let types: Types = Shape::types(object).filter_map(named).collect();
        Shape::of(&target.name[2], object, &types)?;
    }
    Ok(())
}

pub(super) fn check_times(options: &Options, now: Timestamp) -> Result<(), Refusal> {
    let shown = crate::feed::encode::shown;
    if let Some(cursor) = options.cursor.filter(|cursor| *cursor > now) {
        return Err(invalid(format!(
            "cannot specify timestamp in the future ({} > {})",
            shown(cursor),
            shown(now)
        )));
    }
    let start = options.cursor.unwrap_or(now);
    if let Some(end) = options.end_time.filter(|end| *end < start) {
        return Err(invalid(format!(
            "specified end time {} cannot be less than statement time {}",
            shown(end),
            shown(start)
        )));
    }
    if options.gc_protect_expires_after.is_some() {
        let message = "the option gc_protect_expires_after of CHANGEFEED is not supported";
        return Err(Refusal::new(state::FEATURE_NOT_SUPPORTED, message)
            .with_hint("CANCEL JOB lets go of the history that a changefeed holds."));
    }
    Ok(())
}

/// What the original says of who may by CONTROLCHANGEFEED.
fn deprecated(view: &View, session: &Session) -> Option<String> {
    let (state, user) = (view.state(), session.actor.current);
    let by_option = !view.is_admin(user) && state.has_option(user, RoleOption::ControlChangefeed);
    by_option.then(|| {
        format!(
            "You are creating a changefeed as a user with the {} role option. This option will be removed in a \
             future release. Use the {} privilege instead",
            RoleOption::ControlChangefeed.word(),
            Privilege::Changefeed
        )
    })
}

fn token() -> Result<JobToken, SqlError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| SqlError::internal("there are no random bytes"))?;
    Ok(JobToken(u128::from_le_bytes(bytes)))
}
