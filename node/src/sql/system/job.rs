//! The columns and rows of SHOW JOBS and SHOW CHANGEFEED JOBS, in the original's names and order. Source: cloud-jobs spec,
//! E.2.

use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp};
use grantd_catalog::job::{FinalError, Job, JobId, JobKind, JobStatus};
use grantd_catalog::view::View;

use crate::feed::details::Details;
use crate::sql::parse::feed::FeedStatement;
use crate::sql::parse::job::{JobStatement, Listed};
use crate::sql::system::external::infos;
use crate::value::{ColumnInfo, Datum, SqlType};

/// Ended jobs are listed for so long, if nobody asks for them by number.
const LISTED_NANOS: u64 = 12 * 60 * 60 * 1_000_000_000;

/// The columns of SHOW JOBS, and of `crdb_internal.jobs`.
pub const JOBS: [(&str, SqlType); 19] = [
    ("job_id", SqlType::Int8),
    ("job_type", SqlType::Text),
    ("description", SqlType::Text),
    ("statement", SqlType::Text),
    ("user_name", SqlType::Text),
    ("status", SqlType::Text),
    ("running_status", SqlType::Text),
    ("created", SqlType::Timestamp),
    ("started", SqlType::Timestamp),
    ("finished", SqlType::Timestamp),
    ("modified", SqlType::Timestamp),
    ("fraction_completed", SqlType::Float8),
    ("error", SqlType::Text),
    ("coordinator_id", SqlType::Int8),
    ("trace_id", SqlType::Int8),
    ("last_run", SqlType::Timestamp),
    ("next_run", SqlType::Timestamp),
    ("num_runs", SqlType::Int8),
    ("execution_errors", SqlType::TextArray),
];

const CHANGEFEEDS: [(&str, SqlType); 15] = [
    ("job_id", SqlType::Int8),
    ("description", SqlType::Text),
    ("user_name", SqlType::Text),
    ("status", SqlType::Text),
    ("running_status", SqlType::Text),
    ("created", SqlType::Timestamp),
    ("started", SqlType::Timestamp),
    ("finished", SqlType::Timestamp),
    ("modified", SqlType::Timestamp),
    ("high_water_timestamp", SqlType::Numeric),
    ("error", SqlType::Text),
    ("sink_uri", SqlType::Text),
    ("full_table_names", SqlType::TextArray),
    ("topics", SqlType::Text),
    ("format", SqlType::Text),
];

/// What a statement that makes a job returns.
const MADE: [(&str, SqlType); 1] = [("job_id", SqlType::Int8)];

/// What a changefeed to the client returns, for as long as it lives.
const STREAMED: [(&str, SqlType); 3] =
    [("table", SqlType::Text), ("key", SqlType::Bytea), ("value", SqlType::Bytea)];

/// What ALTER CHANGEFEED returns.
const ALTERED: [(&str, SqlType); 2] = [("job_id", SqlType::Int8), ("job_description", SqlType::Text)];

/// Ours: why it stands still, what it waits for, until when its node has it.
const DETAILS: [(&str, SqlType); 6] = [
    ("pause_reason", SqlType::Text),
    ("credential_state", SqlType::Text),
    ("credential_waits", SqlType::Int8),
    ("waiting_since", SqlType::Timestamp),
    ("claimed_until", SqlType::Timestamp),
    ("epoch", SqlType::Int8),
];

/// The columns; none: it returns no rows.
pub fn columns(statement: &JobStatement) -> Option<Vec<ColumnInfo>> {
    let (listed, details) = match statement {
        JobStatement::Show { listed, details, .. } => (listed, details),
        JobStatement::Control { .. } => return None,
        JobStatement::Feed(FeedStatement::Create { .. }) => return Some(infos(&MADE)),
        JobStatement::Feed(FeedStatement::Stream { .. }) => return Some(infos(&STREAMED)),
        JobStatement::Feed(FeedStatement::Alter { .. }) => return Some(infos(&ALTERED)),
    };
    let own: &[(&str, SqlType)] = match listed {
        Listed::Jobs | Listed::Automatic => &JOBS,
        Listed::Changefeeds => &CHANGEFEEDS,
    };
    let more: &[(&str, SqlType)] = if *details { &DETAILS } else { &[] };
    let column =
        |(name, sql_type): &(&str, SqlType)| ColumnInfo { name: (*name).to_owned(), sql_type: *sql_type };
    Some(own.iter().chain(more).map(column).collect())
}

/// The jobs that `principal` may see, of those that are asked for: running ones first, as they began, then the others as they
/// ended. Without `ids`: those that have not ended, or did lately.
pub fn listed<'v>(
    view: &'v View,
    principal: PrincipalId,
    listed: Listed,
    ids: Option<&[JobId]>,
    now: Timestamp,
) -> Vec<(JobId, &'v Job)> {
    let is_listed = |(id, job): &(JobId, &Job)| {
        let fits = match (listed, ids) {
            (Listed::Changefeeds, _) => job.asked.kind == JobKind::Changefeed,
            (Listed::Automatic, _) => job.asked.kind.is_automatic(),
            (Listed::Jobs, None) => !job.asked.kind.is_automatic(),
            (Listed::Jobs, Some(_)) => true,
        };
        let is_asked = match ids {
            Some(ids) => ids.contains(id),
            None => job.finished.is_none_or(|at| now.nanos.saturating_sub(at.nanos) <= LISTED_NANOS),
        };
        fits && is_asked && view.state().may_control_job(principal, *id).is_ok()
    };
    let mut jobs: Vec<_> =
        view.state().jobs().map(|(id, job)| (id, job.as_ref())).filter(is_listed).collect();
    jobs.sort_by_key(|(id, job)| {
        let ended = job.finished.map_or(u64::MAX, |at| at.nanos);
        let began = job.started.map_or(u64::MAX, |at| at.nanos);
        (std::cmp::Reverse(ended), std::cmp::Reverse(began), *id)
    });
    jobs
}

/// The rows of `crdb_internal.jobs`: all that `principal` may see, the cluster's own and those that ended long ago among them.
pub fn table(view: &View, principal: PrincipalId, now: Timestamp) -> Vec<Vec<Datum>> {
    let may = |(id, _): &(JobId, _)| view.state().may_control_job(principal, *id).is_ok();
    view.state().jobs().filter(may).map(|(id, job)| job_row(id, job, now)).collect()
}

/// The rows of jobs.
pub fn rows(
    view: &View,
    kind: Listed,
    details: bool,
    jobs: &[(JobId, &Job)],
    now: Timestamp,
) -> Vec<Vec<Datum>> {
    let row = |(id, job): &(JobId, &Job)| {
        let mut row = match kind {
            Listed::Jobs | Listed::Automatic => job_row(*id, job, now),
            Listed::Changefeeds => feed_row(view, *id, job, now),
        };
        if details {
            row.extend(more(view, job));
        }
        row
    };
    jobs.iter().map(row).collect()
}

fn job_row(id: JobId, job: &Job, now: Timestamp) -> Vec<Datum> {
    let fraction = match (job.progress.fraction_ppm, job.asked.kind) {
        (Some(ppm), _) => Datum::Float(f64::from(ppm) / 1e6),
        (None, JobKind::Changefeed) => Datum::Null,
        (None, _) => Datum::Float(0.0),
    };
    let errors = job.execution_errors.iter();
    let errors = errors.map(|error| Some(format!("{}: run {}: {}", error.at, error.run, error.text)));
    vec![
        Datum::Int(id.0),
        text(job.asked.kind.word()),
        text(&job.asked.description),
        text(&job.asked.statement),
        text(job.owner_name.as_str()),
        text(&status(job, now)),
        text_if(&job.progress.running_status),
        moment(Some(job.created)),
        moment(job.started),
        moment(job.finished),
        moment(Some(job.modified)),
        fraction,
        error(job),
        job.claim.map_or(Datum::Null, |claim| int(claim.node)),
        Datum::Null,
        moment(job.last_run),
        moment(job.next_run),
        int(job.num_runs.into()),
        Datum::TextArray(errors.collect()),
    ]
}

fn feed_row(view: &View, id: JobId, job: &Job, now: Timestamp) -> Vec<Datum> {
    let high_water = job.progress.high_water.map_or(Datum::Null, |at| Datum::Numeric(at.to_string()));
    let tables = job.asked.tables.iter().map(|table| Some(full_name(view, *table)));
    let details = Details::open(&job.asked.details);
    let of_details = |of: fn(&Details) -> String| details.as_ref().map_or(Datum::Null, |it| text(&of(it)));
    vec![
        Datum::Int(id.0),
        text(&job.asked.description),
        text(job.owner_name.as_str()),
        text(&status(job, now)),
        text_if(&job.progress.running_status),
        moment(Some(job.created)),
        moment(job.started),
        moment(job.finished),
        moment(Some(job.modified)),
        high_water,
        error(job),
        of_details(Details::shown_sink),
        Datum::TextArray(tables.collect()),
        of_details(|details| details.topics.join(",")),
        of_details(|details| details.format().to_owned()),
    ]
}

fn more(view: &View, job: &Job) -> Vec<Datum> {
    let state = if job.waiting_since.is_some() { text("waiting") } else { Datum::Null };
    vec![
        job.pause_reason.as_deref().map_or(Datum::Null, text),
        state,
        int(job.credential_waits.into()),
        moment(job.waiting_since),
        moment(view.state().claimed_until(job)),
        int(job.epoch),
    ]
}

/// A job that waits to be tried again is said to.
fn status(job: &Job, now: Timestamp) -> String {
    let waits = job.retries > 0 && job.next_run.is_some_and(|at| at > now);
    match job.status {
        JobStatus::Running | JobStatus::Reverting if waits => format!("retry-{}", job.status),
        other => other.to_string(),
    }
}

fn error(job: &Job) -> Datum {
    job.error.as_ref().map_or(Datum::Null, |error| text(FinalError::text(error)))
}

/// `d.s.t`; of a table that is gone its id in brackets.
fn full_name(view: &View, id: ObjectId) -> String {
    let mut parts = Vec::new();
    let mut at = id;
    while let Some(object) = view.state().object(at) {
        parts.insert(0, object.name.to_string());
        at = object.parent;
    }
    if parts.is_empty() { format!("[{id}]") } else { parts.join(".") }
}

fn text(value: &str) -> Datum {
    Datum::Text(value.to_owned())
}

fn text_if(value: &str) -> Datum {
    if value.is_empty() { Datum::Null } else { text(value) }
}

fn int(value: u64) -> Datum {
    Datum::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn moment(at: Option<Timestamp>) -> Datum {
    at.map_or(Datum::Null, |at| Datum::Timestamp(i64::try_from(at.nanos / 1_000).unwrap_or(i64::MAX)))
}
