//! A schedule that is due becomes a job: its statement is planned as its owner, as BACKUP … WITH detached would be, and one command
//! makes the job and says when the next one is due.

use std::time::Duration;

use grantd_catalog::command::{Actor, Command};
use grantd_catalog::id::{PrincipalId, ScheduleId, Timestamp};
use grantd_catalog::job::{JobToken, NewJob, retry_delay_ms};
use grantd_catalog::refusal::state;
use grantd_catalog::schedule::{OnFailure, Schedule};
use grantd_catalog::setting::Setting;
use metrics::counter;
use tokio::time::{sleep, timeout};

use super::{backup_of, session_of};
use crate::error::SqlError;
use crate::error::state::{CANNOT_CONNECT_NOW, INTERNAL};
use crate::gate::log_now;
use crate::jobs::work::{Answer, propose_as};
use crate::schedule::crontab::Crontab;
use crate::schedule::details::Details;
use crate::schedule::plan::Came;
use crate::sql::execute::Engine;
use crate::sql::parse::backup::{Named, Secrets};

/// How long the preparation of a run may take: the place's own patience is shorter.
const PREPARED_MAX: Duration = Duration::from_secs(120);
/// How often the command that makes the job is proposed, if nobody says what came of it.
const PROPOSED_MAX: u32 = 30;
/// And how soon again.
const PROPOSED_AGAIN: Duration = Duration::from_secs(1);
/// The cloud gave no credentials, or did not let them in.
const INVALID_AUTHORIZATION: &str = "28000";

/// Why no job was made.
enum Trouble {
    /// The cluster does not answer now.
    NotNow,
    /// No credentials, or the place does not let them in: somebody may mend that any time.
    Outside(String),
    /// All else.
    Refused(String),
}

impl Engine {
    /// Makes the job of a schedule that is due, if it is as it was at `as_of`.
    pub async fn run_schedule(&self, id: ScheduleId, as_of: Timestamp) -> Came {
        let view = self.gate.applied_view();
        let seen = view.state().schedule(id).filter(|schedule| schedule.modified == as_of);
        let Some(schedule) = seen.cloned() else { return Came::Done };
        let prepared = Box::pin(timeout(PREPARED_MAX, self.prepared(&schedule))).await;
        match prepared
            .unwrap_or_else(|_| Err(Trouble::Outside("its place did not answer in time".to_owned())))
        {
            Ok(job) => self.make_run(id, &schedule, job).await,
            Err(Trouble::NotNow) => Came::NotTaken,
            Err(Trouble::Outside(error)) => self.not_let_in(id, &schedule, error).await,
            Err(Trouble::Refused(error)) => {
                tracing::warn!(schedule = id.0, error, "a schedule's run came to nothing");
                self.advance(id, &schedule, next(&schedule), Some(error)).await
            }
        }
    }

    /// Says when a schedule is due next, if it is as it was at `as_of`.
    pub async fn advance_schedule(&self, id: ScheduleId, as_of: Timestamp) -> Came {
        let view = self.gate.applied_view();
        let seen = view.state().schedule(id).filter(|schedule| schedule.modified == as_of);
        let Some(schedule) = seen.cloned() else { return Came::Done };
        self.advance(id, &schedule, next(&schedule), None).await
    }

    /// All but making the job.
    async fn prepared(&self, schedule: &Schedule) -> Result<NewJob, Trouble> {
        let refused = |error: SqlError| trouble(&error, false);
        let stored = Details::decode(&schedule.asked.details).map_err(SqlError::from).map_err(refused)?;
        let mut backup = backup_of(&stored).map_err(refused)?;
        backup.upon = schedule.full.map(|_| Named::Latest);
        let view = self.gate.view().await.map_err(SqlError::from).map_err(refused)?;
        let session = session_of(Actor::of(schedule.owner), &view, &stored);
        // By itself, so that a right that is gone is told from a place that lets nobody in.
        self.allowed(&session, &view, &backup).map_err(refused)?;
        let shown = backup.written(Secrets::Hidden);
        let planned = self.backup_planned(&session, &backup, &shown).await;
        planned.map(|planned| planned.job).map_err(|error| trouble(&error, true))
    }

    async fn make_run(&self, id: ScheduleId, schedule: &Schedule, job: NewJob) -> Came {
        let token = job.token;
        let command =
            Command::RunSchedule { id, as_of: schedule.modified, next: next(schedule), job: Box::new(job) };
        let owner = Actor::of(schedule.owner);
        let mut answer = Answer::Unknown;
        for _ in 0..PROPOSED_MAX {
            answer = propose_as(&self.gate, owner, command.clone()).await;
            if answer != Answer::Unknown {
                break;
            }
            // Somebody's transaction is open, or nobody leads: it is the same job, whoever takes it.
            sleep(PROPOSED_AGAIN).await;
        }
        let refusal = match answer {
            Answer::Done => {
                self.tell_of_run(id, token);
                return Came::Done;
            }
            Answer::Unknown => return Came::NotTaken,
            Answer::Refused(refusal) => refusal,
        };
        tracing::info!(schedule = id.0, reason = %refusal.message, "a schedule's job was refused");
        let view = self.gate.applied_view();
        let is_as_seen = view.state().schedule(id).is_some_and(|now| now.modified == schedule.modified);
        // Its time has not come by the leader's clock, or a job of it was there first.
        let passing = [state::NOT_IN_PREREQUISITE_STATE, state::OBJECT_IN_USE].contains(&refusal.code);
        match is_as_seen && !passing {
            true => self.advance(id, schedule, next(schedule), Some(refusal.message)).await,
            false => Came::NotTaken,
        }
    }

    fn tell_of_run(&self, id: ScheduleId, token: JobToken) {
        let view = self.gate.applied_view();
        let Some((job, _)) = view.state().job_of(token) else { return };
        tracing::info!(schedule = id.0, job = job.0, "a schedule's job was made");
        let node = self.gate.node_id().to_string();
        counter!("grantd_schedules_backup_started_total", "node" => node).increment(1);
        self.nudge.tell(job);
    }

    /// Trouble with credentials ends no schedule: it is tried again, and not only when it would be due again. One that is to stand
    /// still after a failure is left as it is: this is none of its own.
    async fn not_let_in(&self, id: ScheduleId, schedule: &Schedule, error: String) -> Came {
        tracing::warn!(schedule = id.0, error, "a schedule waits for credentials");
        if schedule.asked.on_failure == OnFailure::Pause {
            return Came::Outside;
        }
        let view = self.gate.applied_view();
        let ms = |setting| view.state().setting_ms(setting);
        let times = schedule.failures.saturating_add(1);
        let wait = retry_delay_ms(ms(Setting::JobsRetryInitial), ms(Setting::JobsRetryMost), times);
        let again = log_now().later_ms(wait);
        let again = next(schedule).map_or(again, |next| next.min(again));
        self.advance(id, schedule, Some(again), Some(format!("waiting for credentials: {error}"))).await
    }

    async fn advance(
        &self,
        id: ScheduleId,
        schedule: &Schedule,
        next: Option<Timestamp>,
        failed: Option<String>,
    ) -> Came {
        if failed.is_some() {
            counter!("grantd_schedules_backup_failed_total", "node" => self.gate.node_id().to_string())
                .increment(1);
        }
        let command = Command::AdvanceSchedule { id, as_of: schedule.modified, next, failed };
        match propose_as(&self.gate, Actor::of(PrincipalId::NODE), command).await {
            Answer::Done => Came::Done,
            Answer::Refused(_) | Answer::Unknown => Came::NotTaken,
        }
    }
}

/// When it is due after now: what was missed meanwhile is not made up for.
fn next(schedule: &Schedule) -> Option<Timestamp> {
    let crontab = schedule.asked.cadence.as_deref()?;
    Crontab::parse(crontab).ok()?.next(log_now())
}

/// `outside`: what is refused now is refused by the place.
fn trouble(error: &SqlError, outside: bool) -> Trouble {
    let (code, message) = (error.body.code, error.body.message.clone());
    let passing = [CANNOT_CONNECT_NOW, INTERNAL, state::SERIALIZATION_FAILURE];
    if passing.contains(&code) || ["53000", "40003"].contains(&code.as_str()) {
        return Trouble::NotNow;
    }
    if outside && (code == state::INSUFFICIENT_PRIVILEGE || code.as_str() == INVALID_AUTHORIZATION) {
        return Trouble::Outside(message);
    }
    Trouble::Refused(message)
}
