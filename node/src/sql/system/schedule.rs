//! The columns and rows of CREATE, ALTER, SHOW and SHOW CREATE SCHEDULE, in the original's names and order. Source: cloud-jobs
//! spec, C.7.

use grantd_catalog::id::{PrincipalId, ScheduleId, Timestamp};
use grantd_catalog::job::JobStatus;
use grantd_catalog::schedule::{OnFailure, OnPrevious, Paused, Schedule};
use grantd_catalog::view::View;

use crate::gate::log_now;
use crate::sql::parse::schedule::{
    IGNORE_EXISTING, ON_FAILURE, ON_RUNNING, ScheduleStatement, Shown, UPDATES_METRIC,
};
use crate::sql::system::external::infos;
use crate::value::{ColumnInfo, Datum, SqlType};

/// What CREATE and ALTER return: a row for each schedule.
const MADE: [(&str, SqlType); 6] = [
    ("schedule_id", SqlType::Int8),
    ("label", SqlType::Text),
    ("status", SqlType::Text),
    ("first_run", SqlType::TimestampTz),
    ("schedule", SqlType::Text),
    ("backup_stmt", SqlType::Text),
];

const LISTED: [(&str, SqlType); 9] = [
    ("id", SqlType::Int8),
    ("label", SqlType::Text),
    ("schedule_status", SqlType::Text),
    ("next_run", SqlType::TimestampTz),
    ("state", SqlType::Text),
    ("recurrence", SqlType::Text),
    ("jobsrunning", SqlType::Int8),
    ("owner", SqlType::Text),
    ("created", SqlType::TimestampTz),
];

const STATEMENT: [(&str, SqlType); 2] = [("schedule_id", SqlType::Int8), ("create_statement", SqlType::Text)];

/// The columns; none: it returns no rows.
pub fn columns(statement: &ScheduleStatement) -> Option<Vec<ColumnInfo>> {
    match statement {
        ScheduleStatement::Create(_) | ScheduleStatement::Alter { .. } => Some(infos(&MADE)),
        ScheduleStatement::Control { .. } => None,
        ScheduleStatement::Show { for_backup, .. } => {
            let command = if *for_backup { SqlType::Text } else { SqlType::Jsonb };
            let mut columns = infos(&LISTED);
            columns.extend(infos(&[("command", command)]));
            Some(columns)
        }
        ScheduleStatement::ShowCreate(_) => Some(infos(&STATEMENT)),
    }
}

/// What CREATE and ALTER say of a pair: the incremental one first, as the original does.
pub fn made(view: &View, full: ScheduleId) -> Vec<Vec<Datum>> {
    let state = view.state();
    let incremental = state.incremental_of(full).map(|(id, schedule)| made_row(id, schedule));
    let full = state.schedule(full).map(|schedule| made_row(full, schedule));
    incremental.into_iter().chain(full).collect()
}

fn made_row(id: ScheduleId, schedule: &Schedule) -> Vec<Datum> {
    let status = match schedule.paused.map(Paused::text) {
        None => "ACTIVE".to_owned(),
        Some("") => "PAUSED".to_owned(),
        Some(why) => format!("PAUSED: {why}"),
    };
    vec![
        Datum::Int(id.0),
        text(&schedule.asked.label),
        text(&status),
        moment(schedule.next_run),
        text(recurrence(schedule)),
        text(&schedule.asked.statement),
    ]
}

/// The rows of SHOW SCHEDULES that `principal` may see, by id.
pub fn rows(view: &View, principal: PrincipalId, shown: Shown, for_backup: bool) -> Vec<Vec<Datum>> {
    let state = view.state();
    let is_shown = |(id, schedule): &(ScheduleId, &Schedule)| {
        let fits = match shown {
            Shown::All => true,
            Shown::Running => schedule.paused.is_none(),
            Shown::Paused => schedule.paused.is_some(),
            Shown::One(one) => *id == one,
        };
        fits && state.may_control_schedule(principal, *id).is_ok()
    };
    let schedules = state.schedules().map(|(id, schedule)| (id, schedule.as_ref())).filter(is_shown);
    schedules.map(|(id, schedule)| row(view, id, schedule, for_backup)).collect()
}

fn row(view: &View, id: ScheduleId, schedule: &Schedule, for_backup: bool) -> Vec<Datum> {
    let running = view.state().jobs_of(id).filter(|(_, job)| job.status == JobStatus::Running).count();
    let command = match for_backup {
        true => text(&schedule.asked.statement),
        false => Datum::Jsonb(command(view, id, schedule)),
    };
    vec![
        Datum::Int(id.0),
        text(&schedule.asked.label),
        text(if schedule.paused.is_some() { "PAUSED" } else { "ACTIVE" }),
        moment(schedule.next_run),
        state_of(view, id, schedule, log_now()).map_or(Datum::Null, |state| text(&state)),
        text(recurrence(schedule)),
        Datum::Int(i64::try_from(running).unwrap_or(i64::MAX)),
        text(schedule.owner_name.as_str()),
        moment(Some(schedule.created)),
        command,
    ]
}

/// Why it stands still, what its last run failed with, and what it waits for.
fn state_of(view: &View, id: ScheduleId, schedule: &Schedule, now: Timestamp) -> Option<String> {
    let why = schedule.paused.map(Paused::text).filter(|why| !why.is_empty()).map(ToOwned::to_owned);
    let failed = schedule.failed.as_ref().map(|error| {
        let after = match (schedule.paused, schedule.asked.on_failure) {
            (Some(_), _) | (None, OnFailure::Pause) => "failed",
            (None, OnFailure::Retry) => "retrying",
            (None, OnFailure::Reschedule) => "reschedule",
        };
        format!("{after}: {error}")
    });
    let said = match (why, failed) {
        (Some(why), Some(failed)) => Some(format!("{why}; {failed}")),
        (why, failed) => why.or(failed),
    };
    let waits = || {
        let job = view.state().running_job_of(id).filter(|_| schedule.runs_alone())?;
        let overdue = schedule.next_run.is_some_and(|at| at <= now);
        overdue.then(|| format!("waits for job {job}"))
    };
    said.or_else(waits)
}

/// The object of JSON that the original shows.
fn command(view: &View, id: ScheduleId, schedule: &Schedule) -> String {
    let mut command = serde_json::Map::new();
    let mut put =
        |name: &str, value: String| command.insert(name.to_owned(), serde_json::Value::String(value));
    put("backup_statement", schedule.asked.statement.clone());
    if let Some(other) = schedule.full.or_else(|| view.state().incremental_of(id).map(|(id, _)| id)) {
        put("dependent_schedule_id", other.to_string());
    }
    serde_json::Value::Object(command).to_string()
}

/// The row of SHOW CREATE SCHEDULE: of both that belong together the same statement.
pub fn create_row(view: &View, id: ScheduleId) -> Option<Vec<Datum>> {
    let state = view.state();
    let asked_for = state.schedule(id)?;
    let (full_id, full) = match asked_for.full {
        Some(other) => (other, state.schedule(other)?),
        None => (id, asked_for),
    };
    let incremental = state.incremental_of(full_id).map(|(_, schedule)| schedule.as_ref());
    Some(vec![Datum::Int(id.0), text(&create_statement(full, incremental))])
}

fn create_statement(full: &Schedule, incremental: Option<&Schedule>) -> String {
    let constant = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let cadence = |schedule: &Schedule| match &schedule.asked.cadence {
        Some(crontab) => constant(crontab),
        None => "NEVER".to_owned(),
    };
    let (recurring, often) = match incremental {
        Some(incremental) => (cadence(incremental), cadence(full)),
        None => (cadence(full), "ALWAYS".to_owned()),
    };
    let asked = &full.asked;
    let mut options = vec![
        format!("{ON_FAILURE} = '{}'", failure_word(asked.on_failure)),
        format!("{ON_RUNNING} = '{}'", previous_word(asked.on_previous)),
        // What it writes by now is there.
        IGNORE_EXISTING.to_owned(),
    ];
    if asked.updates_metric {
        options.push(UPDATES_METRIC.to_owned());
    }
    format!(
        "CREATE SCHEDULE {} FOR {} RECURRING {recurring} FULL BACKUP {often} WITH SCHEDULE OPTIONS {}",
        constant(&asked.label),
        asked.statement,
        options.join(", ")
    )
}

/// As the option is written.
pub const fn failure_word(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::Retry => "retry",
        OnFailure::Reschedule => "reschedule",
        OnFailure::Pause => "pause",
    }
}

/// As the option is written.
pub const fn previous_word(on_previous: OnPrevious) -> &'static str {
    match on_previous {
        OnPrevious::Start => "start",
        OnPrevious::Skip => "skip",
        OnPrevious::Wait => "wait",
    }
}

fn recurrence(schedule: &Schedule) -> &str {
    schedule.asked.cadence.as_deref().unwrap_or("NEVER")
}

fn text(value: &str) -> Datum {
    Datum::Text(value.to_owned())
}

fn moment(at: Option<Timestamp>) -> Datum {
    at.map_or(Datum::Null, |at| Datum::TimestampTz(i64::try_from(at.nanos / 1_000).unwrap_or(i64::MAX)))
}
