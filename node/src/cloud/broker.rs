//! Keeps the leases of all chains that are in use on this node young: the driver of the refreshers.
//!
//! There is one step for each prefix of a chain, so that chains that begin alike share what they begin with. What happens to a
//! step is handed to its `Refresher` under the step's lock, which is never held across a wait, and never together with
//! another's; the orders that come back are carried out here. One task watches the time for all steps; each call to a cloud is
//! a task of its own, which no waiter can end. Leases are read through one atomic pointer.
//!
//! What is not here: how a step is done (`Fetch`), and who may use a chain.

pub mod clock;
mod bucket;
mod meters;
mod report;
mod step;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::Guard;
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::bucket::Bucket;
use self::clock::Clock;
use self::meters::Meters;
pub use self::meters::word;
pub use self::report::{StepReport, TooMany, Trouble, WaitError};
use self::step::{News, StepCell};
use crate::audit::Audit;
use crate::cloud::chain::Chain;
use crate::cloud::lease::{Class, Fetch, FetchError, Fetched, Lease, Moment};
pub use crate::cloud::refresher::Reject;
use crate::cloud::refresher::{Action, Event, Verdict};
use crate::metrics::{Measured, measure_when_read};

/// The most steps that a node keeps. A lease takes some kilobytes, and each is a call an hour or so.
pub const STEPS_MAX: usize = 1_024;
/// The most that wait at once, on a node. Each is a request to storage that holds its buffers.
pub const WAITERS_MAX: usize = 10_000;
/// How long a call may take, whatever `Fetch` says.
pub const CALL_MAX: Duration = Duration::from_secs(60);
/// How often the clocks are looked at, so that a machine that slept notices: its timers slept too. Half of [`clock::WATCHED`].
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Hands out credentials. Cheap to clone. When the last clone and the last [`Credentials`] are gone everything stops.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

/// A chain in use. Cheap to clone; while there is one the chain's leases are kept young.
#[derive(Clone)]
pub struct Credentials {
    user: Arc<User>,
}

struct User {
    shared: Arc<Shared>,
    step: Arc<StepCell>,
    number: u64,
}

struct Shared {
    fetch: Arc<dyn Fetch>,
    clock: Arc<Clock>,
    runtime: Handle,
    steps: Mutex<Steps>,
    calls: Mutex<JoinSet<()>>,
    waiting: AtomicUsize,
    /// The times of steps are other than they were.
    changed: Arc<Notify>,
    buckets: Mutex<HashMap<&'static str, Bucket>>,
    meters: Meters,
    audit: Audit,
    dice: fn() -> f64,
    measured: Mutex<Option<Measured>>,
}

#[derive(Default)]
struct Steps {
    by_chain: HashMap<Chain, Arc<StepCell>>,
    users: u64,
}

impl Broker {
    /// A broker that asks `fetch`. On a tokio runtime, on which it lives.
    pub fn start(fetch: Arc<dyn Fetch>, node: u64, audit: Audit) -> Self {
        Self::start_with(fetch, node, audit, Clock::of_machine(), random)
    }

    /// The same, with another clock, and dice from 0 to 1.
    pub fn start_with(
        fetch: Arc<dyn Fetch>,
        node: u64,
        audit: Audit,
        clock: Clock,
        dice: fn() -> f64,
    ) -> Self {
        let shared = Arc::new(Shared {
            fetch,
            clock: Arc::new(clock),
            runtime: Handle::current(),
            steps: Mutex::default(),
            calls: Mutex::default(),
            waiting: AtomicUsize::new(0),
            changed: Arc::default(),
            buckets: Mutex::default(),
            meters: Meters::new(node),
            audit,
            dice,
            measured: Mutex::default(),
        });
        let weak = Arc::downgrade(&shared);
        *lock(&shared.measured) = Some(measure_when_read(move || {
            if let Some(shared) = weak.upgrade() {
                shared.measure();
            }
        }));
        shared.runtime.spawn(watch_time(Arc::downgrade(&shared), Arc::clone(&shared.changed)));
        Self { shared }
    }

    /// Begins to keep the leases of a chain. `label`: who uses it, and for what, as operators read it.
    pub fn open(&self, chain: &Chain, label: &str) -> Result<Credentials, TooMany> {
        let shared = &self.shared;
        let mut steps = lock(&shared.steps);
        let known = (0..chain.steps().len()).filter(|hop| steps.by_chain.contains_key(&prefix(chain, *hop)));
        if steps.by_chain.len() + chain.steps().len() - known.count() > STEPS_MAX {
            return Err(TooMany(STEPS_MAX));
        }
        steps.users += 1;
        let number = steps.users;
        let now = shared.clock.now();
        let hops = chain.steps().len() - 1;
        let mut made = Vec::new();
        let mut last: Option<Arc<StepCell>> = None;
        for hop in 0..=hops {
            let prefix = prefix(chain, hop);
            let step = match steps.by_chain.get(&prefix) {
                Some(step) => Arc::clone(step),
                None => {
                    let step = Arc::new(StepCell::new(prefix.clone(), last.clone(), now));
                    steps.by_chain.insert(prefix, Arc::clone(&step));
                    if let Some(parent) = &last {
                        parent.adopt(&step);
                        made.push(Arc::clone(parent));
                    }
                    step
                }
            };
            step.is_part_of(hops);
            last = Some(step);
        }
        let step = last.expect("a chain has a source");
        step.add_user(number, label);
        // Counted before the lock is given back: what is in use is not taken away as idle.
        for parent in made {
            shared.hand(&parent, Event::Opened, None);
        }
        shared.hand(&step, Event::Opened, None);
        drop(steps);
        shared.changed.notify_one();
        Ok(Credentials { user: Arc::new(User { shared: Arc::clone(shared), step, number }) })
    }

    /// All steps, in the order of their texts.
    pub fn report(&self) -> Vec<StepReport> {
        let now = self.shared.clock.now();
        let mut reports: Vec<_> = self.shared.all().iter().map(|step| step.report(now)).collect();
        reports.sort_by_cached_key(|report| report.chain.to_string());
        reports
    }

    /// The clock of leases.
    pub fn now(&self) -> Moment {
        self.shared.clock.now()
    }
}

impl Credentials {
    /// The lease for a request that is made now, by one atomic load of a pointer: the broker takes it away when it is late. None:
    /// see [`Self::lease`], which knows more; so it is too while the broker did not look at the time (K10), because the machine
    /// slept or the process stood still.
    pub fn ready(&self) -> Guard<Option<Arc<Lease>>> {
        let User { shared, step, .. } = &*self.user;
        if shared.clock.is_watched() { step.ready.load() } else { Guard::from_inner(None) }
    }

    /// The lease that there is, late or not. None: there is none.
    pub fn current(&self) -> Option<Arc<Lease>> {
        self.user.step.current.load_full()
    }

    /// A lease that is good for at least so long; who asks for more than half of what a lease lives gets what has that. Waits
    /// while waiting may help, which may be for ever: who has a time limit takes [`Self::lease_within`].
    pub async fn lease(&self, min_ttl: Duration) -> Result<Arc<Lease>, WaitError> {
        let User { shared, step, .. } = &*self.user;
        let path = step.path();
        let tickets: Vec<u64> = path.iter().map(|step| step.ended()).collect();
        if let Some(lease) = shared.take(step, min_ttl, tickets.last().copied().unwrap_or_default()) {
            return Ok(lease);
        }
        let _place = Place::take(shared)?;
        let begun = shared.clock.now();
        let mut changed = step.changed.subscribe();
        for (at, step) in path.iter().enumerate() {
            let min_ttl = if at + 1 == path.len() { min_ttl } else { Duration::ZERO };
            shared.advance(step, Event::Wanted(min_ttl), None);
        }
        let answer = loop {
            changed.mark_unchanged();
            if let Some(lease) = shared.take(step, min_ttl, tickets.last().copied().unwrap_or_default()) {
                break Ok(lease);
            }
            if let Some(trouble) = shared.failed(&path, &tickets, min_ttl) {
                break Err(WaitError::Trouble(trouble));
            }
            // Its sender is in the step, which this handle keeps.
            if changed.changed().await.is_err() {
                break Err(WaitError::TimedOut { chain: step.chain.to_string(), trouble: None });
            }
        };
        shared.meters.waited(shared.clock.now().since(begun));
        answer
    }

    /// The same, waiting at most so long.
    pub async fn lease_within(&self, min_ttl: Duration, patience: Duration) -> Result<Arc<Lease>, WaitError> {
        match tokio::time::timeout(patience, self.lease(min_ttl)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(WaitError::TimedOut { chain: self.user.step.chain.to_string(), trouble: self.trouble() })
            }
        }
    }

    /// A service did not take the lease of this generation. Of [`Reject::Dead`] it is not given out any more; then ask for
    /// another with [`Self::lease`] and send the request again, once.
    pub fn rejected(&self, generation: u64, reject: Reject) {
        self.user.shared.advance(&self.user.step, Event::Rejected(generation, reject), None);
    }

    /// What is wrong with the chain now, if anything is: of the first step that has no lease, or else of the last.
    pub fn trouble(&self) -> Option<Arc<Trouble>> {
        let path = self.user.step.path();
        let broken = path.iter().find(|step| step.current.load().is_none()).or(path.last());
        broken.and_then(|step| step.trouble(path.len() - 1))
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.user.step.chain
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.step.remove_user(self.number);
        self.shared.advance(&self.step, Event::Closed, None);
    }
}

/// A place among those that wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(shared: &'a Shared) -> Result<Self, WaitError> {
        let place = Self(&shared.waiting);
        if place.0.fetch_add(1, Ordering::AcqRel) >= WAITERS_MAX {
            return Err(WaitError::TooMany(WAITERS_MAX));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    fn all(&self) -> Vec<Arc<StepCell>> {
        lock(&self.steps).by_chain.values().map(Arc::clone).collect()
    }

    fn take(&self, step: &StepCell, min_ttl: Duration, ended: u64) -> Option<Arc<Lease>> {
        let (verdict, lease) = step.verdict(min_ttl, ended, self.clock.now());
        match verdict {
            Verdict::Take => lease,
            Verdict::TakeLate => {
                self.meters.served_late();
                lease
            }
            Verdict::Wait | Verdict::Failed => None,
        }
    }

    /// Why waiting does not help, if it does not: the last step says so, or that which it waits for.
    fn failed(&self, path: &[Arc<StepCell>], tickets: &[u64], min_ttl: Duration) -> Option<Arc<Trouble>> {
        let now = self.clock.now();
        for (step, ended) in path.iter().zip(tickets).rev() {
            if step.verdict(min_ttl, *ended, now).0 == Verdict::Failed {
                return step.trouble(path.len() - 1);
            }
            if !step.is_blocked() {
                return None;
            }
        }
        None
    }

    /// Hands an event to a step, and what follows from it to those after and before it.
    fn advance(self: &Arc<Self>, step: &Arc<StepCell>, event: Event, news: Option<News>) {
        // Steps have parents and no cycles, and each is woken by its parent only: this ends.
        let mut waiting = vec![(Arc::clone(step), event, news)];
        while let Some((step, event, news)) = waiting.pop() {
            let wakes = !matches!(event, Event::Opened | Event::Closed | Event::Wanted(_));
            let (actions, is_changed) = self.hand(&step, event, news);
            for action in actions {
                match action {
                    Action::RenewParent(generation) => {
                        if let Some(parent) = &step.parent {
                            waiting.push((
                                Arc::clone(parent),
                                Event::Rejected(generation, Reject::Dead),
                                None,
                            ));
                        }
                    }
                    Action::End => self.end(&step, &mut waiting),
                    _ => {}
                }
            }
            if wakes || is_changed {
                waiting.extend(step.children().into_iter().map(|child| (child, Event::Woke, None)));
            }
        }
        self.changed.notify_one();
    }

    /// Hands an event to one step. Says what is left to be done, and whether its lease is another.
    fn hand(self: &Arc<Self>, step: &Arc<StepCell>, event: Event, news: Option<News>) -> (Vec<Action>, bool) {
        let actions = step.on(event, news, self.clock.now(), (self.dice)());
        let mut is_changed = false;
        for action in &actions {
            match action {
                Action::Publish { .. } | Action::Withdraw => is_changed = true,
                Action::Call => self.call(step),
                Action::Alarm(class) => {
                    let trouble = step.trouble(0);
                    let (chain, users) = (&step.chain, step.labels());
                    let message = trouble.map(|trouble| trouble.to_string()).unwrap_or_default();
                    tracing::warn!(%chain, class = word(*class), ?users, "no credentials: {message}");
                }
                Action::Settled => tracing::info!(chain = %step.chain, "there are credentials again"),
                Action::RenewParent(_) | Action::End => {}
            }
        }
        step.changed.send_replace(());
        (actions, is_changed)
    }

    /// Takes a step away that nobody uses, unless somebody does again.
    fn end(&self, step: &Arc<StepCell>, waiting: &mut Vec<(Arc<StepCell>, Event, Option<News>)>) {
        let mut steps = lock(&self.steps);
        let is_known = steps.by_chain.get(&step.chain).is_some_and(|known| Arc::ptr_eq(known, step));
        if !is_known || step.is_used() {
            return;
        }
        steps.by_chain.remove(&step.chain);
        drop(steps);
        step.end();
        if let Some(parent) = &step.parent {
            waiting.push((Arc::clone(parent), Event::Closed, None));
        }
    }

    /// Begins a call.
    fn call(self: &Arc<Self>, step: &Arc<StepCell>) {
        let (fetch, clock) = (Arc::clone(&self.fetch), Arc::clone(&self.clock));
        let (weak, step) = (Arc::downgrade(self), Arc::clone(step));
        let pause = if meters::is_role(&step.chain) {
            let mut buckets = lock(&self.buckets);
            buckets.entry(meters::provider(&step.chain)).or_default().slot(self.clock.now())
        } else {
            Duration::ZERO
        };
        let call = async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let parent = step.parent.as_ref().and_then(|parent| parent.current.load_full());
            let asked = clock.now();
            let outcome = if step.parent.is_some() && parent.is_none() {
                // Taken back since the order was given, as after a sleep: nobody needs to be asked.
                Err(nothing(Class::ParentExpired, "the credentials of the step before were over"))
            } else {
                let call = AssertUnwindSafe(fetch.fetch(&step.chain, parent.as_deref())).catch_unwind();
                match tokio::time::timeout(CALL_MAX, call).await {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(_)) => Err(nothing(Class::Network, "the call ended by a bug in this node")),
                    Err(_) => Err(nothing(Class::Network, "no answer in a minute")),
                }
            };
            if let Some(shared) = weak.upgrade() {
                shared.ended(&step, asked, parent.as_deref(), outcome);
            }
        };
        let mut calls = lock(&self.calls);
        while calls.try_join_next().is_some() {}
        calls.spawn_on(call, &self.runtime);
    }

    /// A call has ended.
    fn ended(
        self: &Arc<Self>,
        step: &Arc<StepCell>,
        asked: Moment,
        parent: Option<&Lease>,
        outcome: Result<Fetched, FetchError>,
    ) {
        let class = outcome.as_ref().err().map(|error| error.class);
        if class == Some(Class::Throttled) {
            let mut buckets = lock(&self.buckets);
            buckets.entry(meters::provider(&step.chain)).or_default().throttled(self.clock.now());
        }
        self.meters.refreshed(&step.chain, class);
        if meters::is_role(&step.chain) && self.audit.is_on() {
            let users = step.labels().join(", ");
            let error = outcome.as_ref().err().map(|error| error.message.as_str());
            self.audit.assumed(&step.chain.to_string(), &users, class.map_or("ok", word), error);
        }
        let (event, news) = step.news(asked, parent, outcome);
        self.advance(step, event, Some(news));
    }

    /// Wakes all steps whose time has come. Says how long nothing is due.
    fn look(self: &Arc<Self>) -> Duration {
        let now = self.clock.now();
        let mut next = now.after(LOOK_EVERY);
        for step in self.all() {
            if step.next_wake().is_some_and(|wake| wake <= now) {
                self.advance(&step, Event::Woke, None);
            }
            next = step.next_wake().filter(|wake| *wake > now).map_or(next, |wake| wake.min(next));
        }
        // Not before: until then what is over may be ready.
        self.clock.looked();
        // Timers of tokio's are exact to a millisecond.
        next.since(now).max(Duration::from_millis(1))
    }

    fn measure(&self) {
        let now = self.clock.now();
        for provider in ["aws", "gcp"] {
            let steps = self.all();
            let steps =
                steps.iter().filter(|step| meters::provider(&step.chain) == provider && step.is_used());
            if let Some(least) = steps.filter_map(|step| step.remaining(now)).min() {
                self.meters.expiry(provider, least);
            }
        }
    }
}

/// Ends with the broker.
async fn watch_time(shared: Weak<Shared>, changed: Arc<Notify>) {
    loop {
        let Some(pause) = shared.upgrade().map(|shared| shared.look()) else { return };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = changed.notified() => {}
        }
    }
}

fn nothing(class: Class, message: &str) -> FetchError {
    FetchError { class, message: message.to_owned(), code: None, retry_after: None }
}

fn prefix(chain: &Chain, hop: usize) -> Chain {
    let mut prefix = chain.clone();
    while prefix.steps().len() > hop + 1 {
        match prefix.parent() {
            Some(parent) => prefix = parent,
            None => break,
        }
    }
    prefix
}

/// From 0 to 1. Without randomness of the system's: one half.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
}

/// What a panic of another thread left is whole: each lock is held for changes that do not panic halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
