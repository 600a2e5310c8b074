//! What a job does, by kind, and the handle that it does it with.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use grantd_catalog::command::{Actor, Command, NameContext};
use grantd_catalog::id::{PrincipalId, Timestamp};
use grantd_catalog::job::{Job, JobId, JobStatus, Opaque, Report};
use grantd_catalog::refusal::{Refusal, state};
use grantd_catalog::require::Requirement;
use grantd_catalog::shelf::ShelfStep;
use grantd_catalog::view::View;
use grantd_raft::entry::Proposal;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::gate::{Freshness, Gate, Permit, applied};

/// The work of one kind of job. It begins at the job's checkpoint, which may be that of another node; it may be begun again
/// at any time, and is stopped at any `await`.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// Does it, to its end.
    async fn run(&self, running: &Running) -> Result<(), Stopped>;
    /// Takes back what it did: it failed, or was cancelled. What is taken back already is none of its business.
    async fn revert(&self, running: &Running) -> Result<(), Stopped>;
    /// What this node lacks for it, in words, as far as the node knows by itself: another may have it. None: it knows of nothing.
    fn lacks(&self, _view: &View, _job: &Job) -> Option<String> {
        None
    }
}

/// Why work ends before its end. Texts are redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was told to.
    Asked,
    /// It is to be tried again, after this long; none: as the settings say.
    Retry {
        /// What went wrong.
        error: String,
        /// After how long.
        after: Option<Duration>,
    },
    /// It has no credentials of a cloud. It is tried again after a while, and paused after the cluster's grace.
    Credentials {
        /// Which hop, why, what then.
        status: String,
        /// After how long.
        after: Duration,
    },
    /// There is nothing to do for this long.
    Rest(Duration),
    /// It cannot go on until somebody resumes it.
    Paused(String),
    /// It can never come to its end.
    Failed(String),
}

/// How far the work is. What is none is as before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// Millionths of it.
    pub fraction_ppm: Option<u32>,
    /// Everything up to this is done.
    pub high_water: Option<Timestamp>,
    /// In words.
    pub running_status: Option<String>,
    /// Where to go on from.
    pub checkpoint: Option<Opaque>,
    /// Only changes of rows after this are needed from now on.
    pub protect_since: Option<Timestamp>,
}

/// How often a report is tried again while no leader takes it.
const REPORT_AGAIN: Duration = Duration::from_millis(250);

/// A job that this node works on.
#[derive(Clone)]
pub struct Running {
    id: JobId,
    epoch: u64,
    job: Arc<Job>,
    gate: Gate,
    stop: watch::Receiver<bool>,
}

impl Running {
    pub(super) fn new(id: JobId, job: Arc<Job>, gate: Gate, stop: watch::Receiver<bool>) -> Self {
        Self { id, epoch: job.epoch, job, gate, stop }
    }

    /// Which.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// As it was when this node claimed it: with its details and its checkpoint.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The way to rows and catalog.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Whether it is to stop as soon as it can.
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Returns when it is to stop.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // Whoever could tell is gone: then it is to stop, too.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// As whom it acts now: its owner, which may have been changed. Errors: its right is gone.
    pub async fn owner(&self) -> Result<Actor, Stopped> {
        let decided = self.gate.decide(Freshness::Local, |view| owner(view, self.id)).await;
        decided.map_err(|refusal| again(&refusal))?.map_err(|refusal| Stopped::Paused(refusal.message))
    }

    /// Leave for one step, as the job's owner, on a view that nothing is missing in: for what the job was made for and for
    /// `requirement`. Errors: what ends the work, if the owner may not do that any more.
    pub async fn permit(&self, requirement: &Requirement) -> Result<(Arc<View>, Permit), Stopped> {
        let view = self.gate.pinned_view().await.map_err(|refusal| again(&refusal))?;
        let actor = owner(&view, self.id).map_err(|refusal| Stopped::Paused(refusal.message))?;
        let permit = self.gate.permit(&view, actor, requirement);
        permit.map(|permit| (view, permit)).map_err(|refusal| Stopped::Paused(refusal.message))
    }

    /// The command that does a step of a restore's shelf.
    pub fn shelving(&self, number: u64, position: Opaque, step: ShelfStep) -> Command {
        Command::Shelve { job: self.id, epoch: self.epoch, number, position, step: Box::new(step) }
    }

    /// Does a step of a restore's shelf: the `number`th. It is done when this returns, once, whoever says it again.
    pub async fn shelve(&self, number: u64, position: Opaque, step: ShelfStep) -> Result<(), Stopped> {
        let command = self.shelving(number, position, step);
        loop {
            match propose(&self.gate, command.clone()).await {
                Answer::Done => return Ok(()),
                Answer::Refused(refusal) => return self.not_shelved(refusal),
                Answer::Unknown => tokio::select! {
                    () = sleep(REPORT_AGAIN) => {}
                    () = self.stopped() => return Err(Stopped::Asked),
                },
            }
        }
    }

    /// What a refused step means: nobody knew that it was the last one and was done; the owner's right is gone; the job is
    /// another node's, or is to stop; or it can never be done.
    fn not_shelved(&self, refusal: Refusal) -> Result<(), Stopped> {
        let view = self.gate.applied_view();
        if view.state().job(self.id).is_some_and(|job| job.status == JobStatus::Succeeded) {
            return Ok(());
        }
        tracing::info!(job = self.id.0, reason = %refusal.message, "a step of a restore was refused");
        Err(match refusal.code {
            state::INSUFFICIENT_PRIVILEGE => Stopped::Paused(refusal.message),
            state::OBJECT_IN_USE => Stopped::Asked,
            _ if view.state().job(self.id).is_none_or(|job| job.status != JobStatus::Running) => {
                Stopped::Asked
            }
            _ => Stopped::Failed(refusal.message),
        })
    }

    /// Writes down how far it is. It is done when this returns, unless another node has the job by now, or somebody asked
    /// it to stop.
    pub async fn report(&self, advance: Advance) -> Result<(), Stopped> {
        let Advance { fraction_ppm, high_water, running_status, checkpoint, protect_since } = advance;
        let report = Report::Progress { fraction_ppm, high_water, running_status, checkpoint, protect_since };
        let command = Command::ReportJob { id: self.id, epoch: self.epoch, report };
        loop {
            match propose(&self.gate, command.clone()).await {
                Answer::Done => return Ok(()),
                Answer::Refused(refusal) => {
                    tracing::info!(job = self.id.0, reason = %refusal.message, "a job's report was refused");
                    return Err(Stopped::Asked);
                }
                Answer::Unknown => tokio::select! {
                    () = sleep(REPORT_AGAIN) => {}
                    () = self.stopped() => return Err(Stopped::Asked),
                },
            }
        }
    }
}

fn owner(view: &View, id: JobId) -> Result<Actor, Refusal> {
    view.state().may_run_job(id)?;
    Ok(Actor::of(view.state().job(id).map_or(PrincipalId::PUBLIC, |job| job.owner)))
}

/// No answer now is no reason to fail.
fn again(refusal: &Refusal) -> Stopped {
    Stopped::Retry { error: refusal.message.clone(), after: None }
}

/// What came of a proposal of the node's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was applied.
    Done,
    /// It was refused.
    Refused(Refusal),
    /// Nobody says; it can be proposed again.
    Unknown,
}

/// Proposes what only nodes say.
pub(super) async fn propose(gate: &Gate, command: Command) -> Answer {
    propose_as(gate, Actor::of(PrincipalId::NODE), command).await
}

/// Proposes what a node says for somebody.
pub async fn propose_as(gate: &Gate, actor: Actor, command: Command) -> Answer {
    let context = NameContext { database: None, search_path: Vec::new() };
    let proposal = Proposal { actor, context, commands: vec![command] };
    let permit = match gate.permit_commands(proposal).await {
        Ok(permit) => permit,
        Err(refusal) => return refused(refusal),
    };
    match gate.propose(permit).await {
        Ok(Some(receipt)) => match applied(&receipt) {
            Ok(()) => Answer::Done,
            Err(refusal) => Answer::Refused(refusal),
        },
        Ok(None) => Answer::Unknown,
        Err(refusal) => refused(refusal),
    }
}

/// The gate says also that no leader answers, or none in time.
fn refused(refusal: Refusal) -> Answer {
    let unavailable = ["57P03", "53000", "40003", "XX000"];
    if unavailable.contains(&refusal.code.as_str()) { Answer::Unknown } else { Answer::Refused(refusal) }
}
