//! The task that carries a node's [`Plan`] out: it looks at each view and as time passes, proposes, and runs the work.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use grantd_catalog::command::Command;
use grantd_catalog::id::Version;
use grantd_catalog::job::{Claim, JobId, JobKind};
use grantd_catalog::setting::Setting;
use grantd_catalog::view::View;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::gate::{Gate, log_now};
use crate::jobs::collect;
use crate::jobs::meters::Meters;
use crate::jobs::plan::{Act, Asked, Event, JOBS_AT_ONCE, Now, Outcome, Plan, Rules, Seen};
use crate::jobs::work::{Answer, Running, Stopped, Work, propose};

/// What each kind of job does on this node.
pub type Works = BTreeMap<JobKind, Arc<dyn Work>>;

/// How often the plan looks when nothing happens: much less than the shortest claim.
const TICK: Duration = Duration::from_millis(200);
/// How long work may take to stop when it is asked to. Longer it is ended where it stands.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Events that wait: of each job that runs one, and one of each proposal for it.
const EVENTS_MAX: usize = 4 * JOBS_AT_ONCE;
/// Jobs that this node was told of and did not look at yet. What does not fit is found like any other's.
const TOLD_MAX: usize = 1_024;

/// The running task. Dropping it ends all work where it stands.
pub struct Jobs {
    task: JoinHandle<()>,
    drain: watch::Sender<bool>,
    nudge: Nudge,
}

/// Tells the runner of its own node of jobs that were made or resumed there, so that it takes them up at once.
#[derive(Clone, Default)]
pub struct Nudge(Option<mpsc::Sender<JobId>>);

impl Nudge {
    /// Tells of a job.
    pub fn tell(&self, id: JobId) {
        if let Some(told) = &self.0 {
            // Full, or the node stops: others look for jobs, too.
            let _ = told.try_send(id);
        }
    }
}

impl Jobs {
    /// Begins to work on what `works` can do. `versions`: as the node applies them.
    pub fn start(
        gate: Gate,
        versions: watch::Receiver<Version>,
        works: Works,
    ) -> Result<Self, getrandom::Error> {
        let me = Claim { node: gate.node_id(), boot: getrandom::u64()? };
        let (told, tellings) = mpsc::channel(TOLD_MAX);
        let (drain, drained) = watch::channel(false);
        let driver = Driver::new(gate, me, works);
        let task = tokio::spawn(driver.drive(versions, tellings, drained));
        Ok(Self { task, drain, nudge: Nudge(Some(told)) })
    }

    /// To tell it of jobs.
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Hands all jobs over and stops. After `most` what is left is ended where it stands, and other nodes take it up when its
    /// claim is over.
    pub async fn drain(mut self, most: Duration) {
        self.drain.send_replace(true);
        if timeout(most, &mut self.task).await.is_err() {
            tracing::warn!("jobs were not handed over in time");
        }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Driver {
    gate: Gate,
    me: Claim,
    works: Arc<Works>,
    plan: Plan,
    began: Instant,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    tasks: BTreeMap<JobId, Task>,
    seen: (Version, Vec<Seen>),
    /// What this node lacks, by job, and when that was looked at last.
    lacks: BTreeMap<JobId, String>,
    looked: Option<Instant>,
    /// Whether there was no other node then.
    alone: bool,
    meters: Meters,
}

/// Work that runs; dropped, it is ended where it stands.
struct Task {
    stop: watch::Sender<bool>,
    abort: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Driver {
    fn new(gate: Gate, me: Claim, works: Works) -> Self {
        let plan = Plan::new(me, works.keys().copied());
        let meters = Meters::of(me.node);
        let events = mpsc::channel(EVENTS_MAX);
        let (began, tasks) = (Instant::now(), BTreeMap::new());
        Self {
            gate,
            me,
            works: Arc::new(works),
            plan,
            began,
            events,
            tasks,
            seen: (Version(0), Vec::new()),
            lacks: BTreeMap::new(),
            looked: None,
            alone: true,
            meters,
        }
    }

    async fn drive(
        mut self,
        mut versions: watch::Receiver<Version>,
        mut told: mpsc::Receiver<JobId>,
        mut drained: watch::Receiver<bool>,
    ) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut draining = false;
        loop {
            let event = tokio::select! {
                Some(event) = self.events.1.recv() => event,
                Some(id) = told.recv() => Event::Told(id),
                changed = versions.changed() => match changed {
                    Ok(()) => Event::Looked,
                    // The node stops, and with it everything here.
                    Err(_) => return,
                },
                _ = tick.tick() => Event::Looked,
                _ = drained.wait_for(|drain| *drain), if !draining => {
                    draining = true;
                    Event::Drain
                }
            };
            self.step(event);
            if draining && self.plan.is_idle() {
                return;
            }
        }
    }

    fn step(&mut self, event: Event) {
        let view = self.gate.applied_view();
        if view.version() != self.seen.0 {
            self.seen = (view.version(), seen(&view));
            self.meters.set(&self.seen.1, self.me.node);
        }
        self.look(&view);
        if let Event::Ended { id, .. } = &event {
            self.tasks.remove(id);
        }
        let now = Now { steady: self.began.elapsed(), log: log_now() };
        for act in self.plan.step(now, rules(&view, self.alone), &self.seen.1, event) {
            self.act(&view, act);
        }
    }

    /// Finds out what this node lacks for the jobs that it has, or that nobody has: once a tick, as it takes reading what they are.
    fn look(&mut self, view: &View) {
        if self.looked.is_none_or(|at| at.elapsed() >= TICK) {
            self.looked = Some(Instant::now());
            self.alone = self.gate.status().is_none_or(|status| status.members.len() < 2);
            let now = log_now();
            let is_other = |job: &Seen| job.claim.is_some_and(|claim| claim.node != self.me.node);
            let is_held = |job: &Seen| is_other(job) && job.claimed_until.is_some_and(|until| now < until);
            let asked = self.seen.1.iter().filter(|job| job.status.is_claimable() && !is_held(job));
            let lacks = |job: &Seen| {
                let record = view.state().job(job.id)?;
                Some((job.id, self.works.get(&job.kind)?.lacks(view, record)?))
            };
            let found: BTreeMap<_, _> = asked.filter_map(lacks).collect();
            for (id, what) in found.iter().filter(|(id, _)| !self.lacks.contains_key(id)) {
                tracing::info!(job = id.0, "this node lacks what a job needs: {what}");
            }
            self.lacks = found;
        }
        for job in &mut self.seen.1 {
            job.lacks = self.lacks.get(&job.id).cloned();
        }
    }

    fn act(&mut self, view: &Arc<View>, act: Act) {
        let Claim { node, boot } = self.me;
        match act {
            Act::Claim(id) => self.ask(Asked::Claim(id), Command::ClaimJob { id, node, boot }),
            Act::Renew => self.ask(Asked::Renew, Command::RenewClaims { node, boot }),
            Act::Report { id, epoch, report } => {
                self.ask(Asked::Report { id, epoch }, Command::ReportJob { id, epoch, report });
            }
            Act::Collector => {
                let (gate, events, sent) = (self.gate.clone(), self.events.0.clone(), self.began.elapsed());
                tokio::spawn(async move {
                    let outcome = outcome(&collect::create(&gate).await);
                    let _ = events.send(Event::Answered { asked: Asked::Collector, sent, outcome }).await;
                });
            }
            Act::Stop { id, at_once: true } => {
                tracing::info!(job = id.0, "a job's claim is over here: its work ends");
                self.tasks.remove(&id);
            }
            Act::Stop { id, at_once: false } => {
                if let Some(task) = self.tasks.get(&id) {
                    task.stop.send_replace(true);
                }
            }
            Act::Start { id, epoch, revert } => self.start(view, id, epoch, revert),
        }
    }

    /// Proposes, and tells the plan what came of it.
    fn ask(&self, asked: Asked, command: Command) {
        let (gate, events, sent) = (self.gate.clone(), self.events.0.clone(), self.began.elapsed());
        tokio::spawn(async move {
            let answer = propose(&gate, command).await;
            if let Answer::Refused(refusal) = &answer {
                tracing::debug!(?asked, reason = %refusal.message, "jobs: refused");
            }
            let event = Event::Answered { asked, sent, outcome: outcome(&answer) };
            // The node stops: nobody needs to know.
            let _ = events.send(event).await;
        });
    }

    fn start(&mut self, view: &Arc<View>, id: JobId, epoch: u64, revert: bool) {
        let Some(job) = view.state().job(id).cloned() else { return };
        let events = self.events.0.clone();
        let (kind, scheduled) = (job.asked.kind, job.asked.schedule.is_some());
        let Some(work) = self.works.get(&kind).cloned() else { return };
        let (stop, stopped) = watch::channel(false);
        let running = Running::new(id, job, self.gate.clone(), stopped);
        let meters = self.meters.clone();
        tracing::info!(job = id.0, kind = kind.word(), epoch, revert, "work on a job begins");
        let task = tokio::spawn(async move {
            let late = running.clone();
            let done = async { if revert { work.revert(&running).await } else { work.run(&running).await } };
            let came = tokio::select! {
                came = AssertUnwindSafe(done).catch_unwind() => came.unwrap_or_else(|_panic| {
                    let error = "the work met a bug in this node; the node's log has the place".to_owned();
                    Err(Stopped::Retry { error, after: None })
                }),
                () = async { late.stopped().await; sleep(STOP_MAX).await } => Err(Stopped::Asked),
            };
            tracing::info!(job = id.0, ?came, "work on a job ended");
            meters.ended(kind, revert, &came);
            if scheduled && !revert {
                meters.scheduled_ended(&came);
            }
            let _ = events.send(Event::Ended { id, epoch, came }).await;
        });
        self.tasks.insert(id, Task { stop, abort: task.abort_handle() });
    }
}

const fn outcome(answer: &Answer) -> Outcome {
    match answer {
        Answer::Done => Outcome::Done,
        Answer::Refused(_) => Outcome::Refused,
        Answer::Unknown => Outcome::Unknown,
    }
}

/// The jobs of a view that have not ended.
fn seen(view: &View) -> Vec<Seen> {
    let state = view.state();
    let live = state.jobs().filter(|(_, job)| !job.status.is_terminal());
    live.map(|(id, job)| Seen {
        id,
        kind: job.asked.kind,
        status: job.status,
        epoch: job.epoch,
        claim: job.claim,
        claimed_until: state.claimed_until(job),
        next_run: job.next_run,
        waiting_since: job.waiting_since,
        denied: state.may_run_job(id).err().map(|refusal| refusal.message),
        lacks: None,
    })
    .collect()
}

fn rules(view: &View, alone: bool) -> Rules {
    let of = |setting| Duration::from_millis(view.state().setting_ms(setting));
    Rules {
        lease: of(Setting::JobsClaimLease),
        adopt: of(Setting::JobsAdoptInterval),
        collect: of(Setting::JobsCollectInterval),
        grace: of(Setting::JobsCredentialGrace),
        alone,
    }
}
