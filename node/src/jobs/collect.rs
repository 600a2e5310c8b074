//! The cluster's own job that takes away jobs that ended long ago. There is one; it works for a moment, and rests.

use std::time::Duration;

use async_trait::async_trait;
use grantd_catalog::command::Command;
use grantd_catalog::job::{COLLECT_MAX, Job, JobKind, JobToken, NewJob, Opaque};
use grantd_catalog::require::Requirement;
use grantd_catalog::setting::Setting;
use grantd_catalog::view::View;

use crate::gate::Gate;
use crate::jobs::work::{Advance, Answer, Running, Stopped, Work, propose};

/// Always the same: however many nodes make it, there is one.
const TOKEN: JobToken = JobToken(0x6772_616e_7464_636f_6c6c_6563_746a_6f62);

/// That job's work.
pub struct Collect;

#[async_trait]
impl Work for Collect {
    async fn run(&self, running: &Running) -> Result<(), Stopped> {
        let mut taken = 0;
        loop {
            let before = ended(&running.gate().applied_view());
            let answer = propose(running.gate(), Command::CollectJobs).await;
            if answer != Answer::Done {
                let error = "no leader took the command that collects jobs".to_owned();
                return Err(Stopped::Retry { error, after: None });
            }
            let gone = before.saturating_sub(ended(&running.gate().applied_view()));
            taken += gone;
            if gone < COLLECT_MAX || running.is_stopped() {
                break;
            }
        }
        let status = format!("{taken} jobs were taken away the last time");
        running.report(Advance { running_status: Some(status), ..Advance::default() }).await?;
        let rest = running.gate().applied_view().state().setting_ms(Setting::JobsCollectInterval);
        Err(Stopped::Rest(Duration::from_millis(rest)))
    }

    /// It is never cancelled, and what is taken away is gone.
    async fn revert(&self, _running: &Running) -> Result<(), Stopped> {
        Ok(())
    }
}

/// Makes the job, if it is not there.
pub(super) async fn create(gate: &Gate) -> Answer {
    let job = NewJob {
        token: TOKEN,
        kind: JobKind::AutoCollectJobs,
        description: "takes away jobs that ended longer ago than jobs.retention_time".to_owned(),
        statement: String::new(),
        details: Opaque::default(),
        requirement: Requirement::NOTHING,
        tables: Vec::new(),
        schedule: None,
        cancelable: false,
        protects: None,
    };
    propose(gate, Command::CreateJob { job: Box::new(job) }).await
}

fn ended(view: &View) -> usize {
    let is_over = |job: &Job| job.status.is_terminal();
    view.state().jobs().filter(|(_, job)| is_over(job)).count()
}
