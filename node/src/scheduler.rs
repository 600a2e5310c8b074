//! The task that carries the plan of schedules out: it looks at each view and as time passes, and lets the engine run what is due.
//! What is decided is in `schedule::plan`, what a run is in `sql`.
//!
//! Dropping it gives up what is being prepared: nothing was made then, and who leads next makes it.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use grantd_catalog::id::{ScheduleId, Version};
use grantd_catalog::view::View;
use metrics::{counter, gauge};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::gate::log_now;
use crate::schedule::plan::{Act, Came, Plan, Seen};
use crate::sql::execute::Engine;

/// How often the plan looks when nothing happens: crontabs have minutes.
const TICK: Duration = Duration::from_millis(250);

/// The running task.
pub struct Scheduler(JoinHandle<()>);

impl Scheduler {
    /// Begins to run what is due, whenever this node leads. `versions`: as the node applies them.
    pub fn start(engine: Engine, versions: watch::Receiver<Version>) -> Self {
        Self(tokio::spawn(Driver::new(engine).drive(versions)))
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Driver {
    engine: Engine,
    plan: Plan,
    began: Instant,
    /// What is at work.
    tasks: JoinSet<(ScheduleId, Came)>,
    seen: (Arc<View>, Vec<Seen>),
}

impl Driver {
    fn new(engine: Engine) -> Self {
        let view = engine.gate().applied_view();
        let seen = seen(&view);
        Self {
            engine,
            plan: Plan::default(),
            began: Instant::now(),
            tasks: JoinSet::new(),
            seen: (view, seen),
        }
    }

    async fn drive(mut self, mut versions: watch::Receiver<Version>) {
        self.tell(&self.seen.0.clone());
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    if let Ok((id, came)) = ended {
                        self.plan.came(self.began.elapsed(), id, came);
                    }
                }
                changed = versions.changed() => if changed.is_err() {
                    // The node stops, and with it everything here.
                    return;
                },
                _ = tick.tick() => {}
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let view = self.engine.gate().applied_view();
        let (was, _) = &self.seen;
        let is_same = view.state().has_schedules_of(was.state()) && view.state().has_jobs_of(was.state());
        if !is_same {
            self.tell(&view);
            self.seen = (view.clone(), seen(&view));
        }
        if self.seen.1.is_empty() {
            return;
        }
        let node = self.engine.gate().node_id();
        let leads = self.engine.gate().status().is_some_and(|status| status.leader == Some(node));
        for act in self.plan.step(self.began.elapsed(), log_now(), leads, &self.seen.1) {
            self.act(act, node);
        }
    }

    fn act(&mut self, act: Act, node: u64) {
        let count = |name: &'static str| counter!(name, "node" => node.to_string()).increment(1);
        let engine = self.engine.clone();
        match act {
            Act::Waits { id } => {
                tracing::info!(schedule = id.0, "a schedule waits for its job before");
                count("grantd_schedules_round_reschedule_wait_total");
            }
            Act::Advance { id, as_of, skips } => {
                if skips {
                    tracing::info!(
                        schedule = id.0,
                        "a schedule leaves a time out: its job before has not ended"
                    );
                    count("grantd_schedules_round_reschedule_skip_total");
                }
                self.spawn(id, async move { engine.advance_schedule(id, as_of).await });
            }
            Act::Run { id, as_of } => {
                self.spawn(id, async move { engine.run_schedule(id, as_of).await });
            }
        }
    }

    fn spawn(&mut self, id: ScheduleId, act: impl Future<Output = Came> + Send + 'static) {
        self.tasks.spawn(async move {
            let came = Box::pin(AssertUnwindSafe(act).catch_unwind()).await;
            // The log has the place. It is tried again, from time to time.
            (id, came.unwrap_or(Came::Outside))
        });
    }

    /// When the backup that watches the cluster was done last.
    fn tell(&self, view: &View) {
        let watched = view.state().schedules().filter(|(_, schedule)| schedule.asked.updates_metric);
        let last = watched.filter_map(|(_, schedule)| schedule.succeeded).max();
        if let Some(last) = last {
            let node = self.engine.gate().node_id().to_string();
            let seconds = Duration::from_nanos(last.nanos).as_secs_f64();
            gauge!("grantd_schedules_backup_last_completed_time_seconds", "node" => node).set(seconds);
        }
    }
}

fn seen(view: &View) -> Vec<Seen> {
    let state = view.state();
    let live = state.jobs().filter(|(_, job)| !job.status.is_terminal());
    let running: BTreeSet<_> = live.filter_map(|(_, job)| job.asked.schedule).collect();
    state.schedules().map(|(id, schedule)| Seen::of(id, schedule, running.contains(&id))).collect()
}
