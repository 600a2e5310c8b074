//! SHOW JOBS, with or without waiting; PAUSE, RESUME and CANCEL of jobs.

use std::sync::Arc;
use std::time::Duration;

use grantd_catalog::command::Command;
use grantd_catalog::id::ScheduleId;
use grantd_catalog::job::{Control, Job, JobId, JobKind, Requested, request};
use grantd_catalog::refusal::state;
use grantd_catalog::view::View;
use grantd_raft::rows::Share;
use tokio::time::{Instant, sleep};

use super::{Engine, Response, Rows, unless_cancelled};
use crate::activity::Running;
use crate::error::SqlError;
use crate::gate::log_now;
use crate::jobs::Nudge;
use crate::session::Session;
use crate::sql::parse::job::{JOB_IDS_MAX, JobStatement, Listed, Which, tag};
use crate::sql::system::job;
use crate::value::Datum;

/// How often it is looked whether jobs have ended. It costs no message: the node sees it by itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long SHOW JOBS WHEN COMPLETE waits. Source: cloud-jobs spec, E.1.
const COMPLETE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Engine {
    /// The same, telling this node's runner of jobs that are made or resumed here.
    #[must_use]
    pub fn telling_jobs(self, nudge: Nudge) -> Self {
        Self { nudge, ..self }
    }

    pub(super) async fn jobs(
        &self,
        session: &mut Session,
        statement: &JobStatement,
        running: Option<Running>,
    ) -> Result<Response, SqlError> {
        match statement {
            JobStatement::Show { listed, which, when_complete, details } => {
                let ids = match which {
                    Some(which) => Some(self.job_ids(session, which, None).await?),
                    None => None,
                };
                let mut view = self.view_if(session, true).await?;
                if *when_complete {
                    let waited = self.complete(view, ids.as_deref().unwrap_or_default(), COMPLETE_MAX);
                    view = unless_cancelled(session, waited).await?;
                }
                let now = log_now();
                let jobs = job::listed(&view, session.actor.current, *listed, ids.as_deref(), now);
                let rows = job::rows(&view, *listed, *details, &jobs, now);
                let columns = job::columns(statement).unwrap_or_default();
                let word = if *listed == Listed::Changefeeds { "SHOW CHANGEFEED JOBS" } else { "SHOW JOBS" };
                Ok(Response {
                    tag: format!("{word} {}", rows.len()),
                    rows: Some(Rows { columns, rows, held: Share::default() }),
                    copy: None,
                })
            }
            JobStatement::Control { control, which } => self.control_jobs(session, control, which).await,
            JobStatement::Feed(statement) => Box::pin(self.changefeed(session, statement, running)).await,
        }
    }

    /// One after the other in one change: the first that is refused refuses all.
    async fn control_jobs(
        &self,
        session: &mut Session,
        control: &Control,
        which: &Which,
    ) -> Result<Response, SqlError> {
        let ids = self.job_ids(session, which, Some(control)).await?;
        let of = if matches!(which, Which::OfSchedules(_)) { " FOR SCHEDULES" } else { "" };
        let tag = format!("{}{of} {}", tag(control), ids.len());
        if ids.is_empty() {
            return Ok(Response { tag, rows: None, copy: None });
        }
        let asked = |id: &JobId| Command::ControlJob { id: *id, control: control.clone() };
        let response = self.commands(session, ids.iter().map(asked).collect(), &tag).await?;
        for id in ids {
            self.nudge.tell(id);
        }
        Ok(response)
    }

    async fn job_ids(
        &self,
        session: &mut Session,
        which: &Which,
        control: Option<&Control>,
    ) -> Result<Vec<JobId>, SqlError> {
        let ids = match which {
            Which::One(id) => vec![*id],
            Which::Query(query) => {
                let cells = self.queried(session, query, "JOBS").await?;
                let id = |cell| match cell {
                    Datum::Int(id) => Some(Ok(JobId(id))),
                    Datum::Null => None,
                    _ => Some(Err(SqlError::syntax("JOBS takes a query of one column of whole numbers"))),
                };
                cells.into_iter().filter_map(id).collect::<Result<Vec<_>, _>>()?
            }
            Which::OfSchedules(schedules) => {
                let schedules = self.schedule_ids(session, schedules).await?;
                let view = self.view_if(session, true).await?;
                of_schedules(&view, session, &schedules, control)
            }
            Which::All(kind) => {
                let view = self.view_if(session, true).await?;
                of_kind(&view, session, *kind, control)
            }
        };
        if ids.len() > JOB_IDS_MAX {
            return Err(SqlError::too_large(format!("more than {JOB_IDS_MAX} jobs in one statement")));
        }
        Ok(ids)
    }

    /// A view in which all of them have ended, or are not there.
    async fn complete(
        &self,
        mut view: Arc<View>,
        ids: &[JobId],
        most: Duration,
    ) -> Result<Arc<View>, SqlError> {
        let until = Instant::now() + most;
        let goes_on = |view: &View| {
            ids.iter().any(|id| view.state().job(*id).is_some_and(|job| !job.status.is_terminal()))
        };
        while goes_on(&view) {
            if Instant::now() >= until {
                return Err(SqlError::new(state::NOT_IN_PREREQUISITE_STATE, "timed out waiting for jobs"));
            }
            sleep(LOOK_INTERVAL).await;
            view = self.gate.applied_view();
        }
        Ok(view)
    }
}

/// Those that this session may control and to which it can be done.
fn of_kind(view: &View, session: &Session, kind: JobKind, control: Option<&Control>) -> Vec<JobId> {
    those(view, session, control, |job| job.asked.kind == kind)
}

/// The same, of those that these schedules have made. Without `control`: all.
fn of_schedules(
    view: &View,
    session: &Session,
    schedules: &[ScheduleId],
    control: Option<&Control>,
) -> Vec<JobId> {
    those(view, session, control, |job| job.asked.schedule.is_some_and(|of| schedules.contains(&of)))
}

fn those(
    view: &View,
    session: &Session,
    control: Option<&Control>,
    meant: impl Fn(&Job) -> bool,
) -> Vec<JobId> {
    let state = view.state();
    let fits = |(id, job): &(JobId, &Arc<Job>)| {
        let can = control.is_none_or(|control| {
            let came = request(control, job.status, job.error.is_some(), job.asked.cancelable);
            matches!(came, Requested::Now(_))
        });
        meant(job) && can && state.may_control_job(session.actor.current, *id).is_ok()
    };
    state.jobs().filter(fits).map(|(id, _)| id).collect()
}
