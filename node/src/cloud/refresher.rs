//! When a step of a chain is done again: a state machine of one step. Events and time in; orders out. No I/O, no clock, no
//! secret: the driver is `broker`.
//!
//! **The promise.** Whoever uses a chain has a lease that is good now and for a while, as long as the cloud gives one in time;
//! and whatever went wrong, when its cause is gone the chain works again by itself. The cloud is asked no more often than the
//! table of [`timing`] says.
//!
//! Each rule below is needed: the tests leave one out at a time and see the promise broken.
//!
//! | | rule |
//! |---|---|
//! | K1 | a lease lives from when it was asked for, not from when it came |
//! | K2 | a lease is taken back a little before its end |
//! | K3 | one call at a time, whoever asks |
//! | K4 | a lease that works is never taken back because its renewal failed |
//! | K5 | a service that refuses a lease refuses that generation, not its successor |
//! | K6 | more than an hour for a role assumed by a role, and more than 12 hours at all, is not believed; more than 36 is a failure |
//! | K7 | after a failure the next call waits, longer each time |
//! | K8 | no failure is the last: there is always a next call while somebody uses the step |
//! | K9 | what a role may not do is no reason for new credentials, but once in five minutes |
//! | K10 | time goes on while the machine sleeps |
//! | K11 | an alarm is raised once for each class of a trouble |
//! | K12 | a source that gives the same again is asked again when it may have another, not at once |
//! | K13 | a service that says when to come again is not asked before |
//! | K14 | what dies with its parent ends no later than it |
//! | K15 | a step that nobody uses makes no calls, and ends |
//! | K16 | who is told "denied" was told so by a call that ended after they asked, and not by one that is done again at once |

pub mod timing;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::cloud::lease::{Class, Moment};

/// How long a step without users is kept.
pub const IDLE_MAX: Duration = Duration::from_secs(600);
/// How often a lease is renewed because a service says that its role may not do something.
pub const FORCED_EVERY: Duration = Duration::from_secs(300);
/// How long who waits is not told that a step is denied which worked before: grants are taken back by mistake, and new ones take
/// a while to be known everywhere.
pub const GRACE: Duration = Duration::from_secs(60);
/// Who asks for a step that is denied gets an answer that is not older than this.
pub const FRESH_LOOK: Duration = Duration::from_secs(5);

/// One step.
#[derive(Clone, Debug)]
pub struct Refresher {
    terms: Terms,
    held: Option<Held>,
    /// Whether the lease that is held is given out.
    is_served: bool,
    generation: u64,
    /// A call is under way, with this generation of the parent's.
    calling: Option<u64>,
    /// Calls that ended, and when the last did.
    ended: u64,
    ended_at: Moment,
    failed: Option<Failed>,
    not_before: Moment,
    /// The same as the service said it, which nobody shortens.
    told_until: Moment,
    /// The longest that a lease has lived: waits are in proportion to it, and not to what is left of a parent's.
    longest: Option<Duration>,
    /// The parent's generation that was over: only a later one helps.
    stale_parent: Option<u64>,
    /// Somebody needs more than there is.
    is_wanted: bool,
    /// Leases in a row that a service refused.
    rejections: u32,
    forced_at: Option<Moment>,
    /// Since when there is no lease, though there was one.
    lost_at: Option<Moment>,
    users: usize,
    unused_since: Moment,
    /// When something last happened.
    seen_at: Moment,
}

/// What a step is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// It is a role assumed by a role.
    pub is_chained: bool,
    /// How long credentials are asked for. None: that is not asked.
    pub asked: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    /// What it lives in all. None: it has no end.
    lifetime: Option<Duration>,
    /// When it is renewed, is late, and is taken back.
    renew_at: Option<Moment>,
    late_at: Option<Moment>,
    end: Option<Moment>,
    deadline: Option<Moment>,
    obtained: Moment,
    generation: u64,
    is_rejected: bool,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    class: Class,
    count: u32,
    /// The classes for which an alarm was raised, as bits.
    alarmed: u16,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// Time went on, or the parent has another lease, or none.
    Woke,
    /// There is one user more.
    Opened,
    /// There is one user less.
    Closed,
    /// Somebody waits for a lease that is good for so long.
    Wanted(Duration),
    /// A service did not take a lease.
    Rejected(u64, Reject),
    /// A call ended.
    Ended {
        /// When it was begun.
        asked: Moment,
        /// What came.
        outcome: Result<Answer, Fault>,
    },
}

/// What a service said of a lease that it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The credentials themselves are not good (any more): `ExpiredToken`, `InvalidToken`, `InvalidAccessKeyId`, 401.
    Dead,
    /// They are good, and may not do that: `AccessDenied`, 403.
    AccessDenied,
}

/// Credentials came.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// How long they are good from when they were asked for. None: they have no end.
    pub lifetime: Option<Duration>,
    /// They are those that came before.
    pub is_same: bool,
    /// They end with the parent's lease, which ends then.
    pub bound: Option<Moment>,
}

/// Nothing came.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Why.
    pub class: Class,
    /// Not before then again.
    pub retry_after: Option<Duration>,
}

/// What is around when something happens.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// The time, by a clock that goes on while the machine sleeps.
    pub now: Moment,
    /// A random number from 0 to 1.
    pub dice: f64,
    /// What the step before gives.
    pub parent: Parent,
}

/// What the step before gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// There is none, and none is needed.
    Unneeded,
    /// Nothing now.
    Missing,
    /// The lease of this generation.
    Has(u64),
}

/// What is to be done. In this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// The credentials that came are the lease from now on.
    Publish {
        /// Its number.
        generation: u64,
        /// When it was asked for.
        obtained: Moment,
        /// Its end.
        deadline: Option<Moment>,
    },
    /// There is no lease from now on.
    Withdraw,
    /// The parent's lease of this generation was over.
    RenewParent(u64),
    /// Somebody must know.
    Alarm(Class),
    /// What there was an alarm for is over.
    Settled,
    /// Ask.
    Call,
    /// Nobody has used the step for a while.
    End,
}

/// The states of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There was no lease yet.
    Empty,
    /// There is one.
    Fresh,
    /// It is being renewed.
    Refreshing,
    /// It works; renewing it failed.
    Degraded,
    /// It is late, and works.
    Late,
    /// It is over, or was refused; there is none.
    Expired,
    /// There is none, and that is for somebody to change.
    Denied,
    /// Nobody uses it.
    Idle,
}

/// What who waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take the lease.
    Take,
    /// Take it, though it is late: no newer one is to be had.
    TakeLate,
    /// Wait.
    Wait,
    /// Waiting does not help.
    Failed,
}

impl Refresher {
    /// A step that nobody has used yet.
    pub fn new(terms: Terms, now: Moment) -> Self {
        Self {
            terms,
            held: None,
            is_served: false,
            generation: 0,
            calling: None,
            ended: 0,
            ended_at: now,
            failed: None,
            not_before: now,
            told_until: now,
            longest: None,
            stale_parent: None,
            is_wanted: false,
            rejections: 0,
            forced_at: None,
            lost_at: None,
            users: 0,
            unused_since: now,
            seen_at: now,
        }
    }

    /// Something happened.
    pub fn on(&mut self, event: Event, sight: &Sight) -> Vec<Action> {
        // Two that looked at the clock one after the other may come here in the other order.
        self.seen_at = self.seen_at.max(sight.now);
        let sight = &Sight { now: self.seen_at, ..*sight };
        let mut actions = Vec::new();
        match event {
            Event::Woke => {}
            Event::Opened => self.users += 1,
            Event::Closed => {
                self.users = self.users.saturating_sub(1);
                self.unused_since = sight.now;
            }
            Event::Wanted(min_ttl) => self.want(min_ttl, sight.now),
            Event::Rejected(generation, reject) => self.reject(generation, reject, sight, &mut actions),
            Event::Ended { asked, outcome } => self.end(asked, outcome, sight, &mut actions),
        }
        self.go_on(sight, &mut actions);
        actions
    }

    fn want(&mut self, min_ttl: Duration, now: Moment) {
        if self.is_good_for(min_ttl, now) {
            return;
        }
        self.is_wanted = true;
        if !self.is_served && self.failed.is_some_and(|failed| needs_somebody(failed.class)) {
            let soon = self.ended_at.after(FRESH_LOOK).max(self.told_until);
            self.not_before = self.not_before.min(soon);
        }
    }

    fn reject(&mut self, generation: u64, reject: Reject, sight: &Sight, actions: &mut Vec<Action>) {
        let now = sight.now;
        let Some(held) = self.held.as_mut().filter(|held| self.is_served && held.generation == generation)
        else {
            return;
        };
        match reject {
            Reject::AccessDenied => {
                if self.forced_at.is_none_or(|forced| now >= forced.after(FORCED_EVERY)) {
                    self.forced_at = Some(now);
                    self.is_wanted = true;
                }
            }
            Reject::Dead => {
                held.is_rejected = true;
                self.rejections += 1;
                if self.rejections > 1 {
                    let life = self.longest;
                    let pause = timing::wait(Class::Network, self.rejections - 1, life, sight.dice);
                    self.not_before = self.not_before.max(now.after(pause));
                }
                self.withdraw(now, actions);
            }
        }
    }

    fn end(
        &mut self,
        asked: Moment,
        outcome: Result<Answer, Fault>,
        sight: &Sight,
        actions: &mut Vec<Action>,
    ) {
        let Some(parent) = self.calling.take() else { return };
        self.ended += 1;
        self.ended_at = sight.now;
        let outcome = outcome.and_then(|answer| self.accept(asked, answer, sight));
        match outcome {
            Ok(held) => self.succeed(held, actions),
            Err(fault) => self.fail(fault, parent, sight, actions),
        }
    }

    /// What is believed of an answer.
    fn accept(&self, asked: Moment, answer: Answer, sight: &Sight) -> Result<Held, Fault> {
        let fault = |class| Fault { class, retry_after: None };
        let now = sight.now;
        let before = self.held.filter(|_| answer.is_same);
        if before.is_some_and(|held| held.is_rejected) {
            return Err(fault(Class::AlreadyExpired));
        }
        let generation = self.generation + 1;
        let mut held = Held {
            lifetime: None,
            renew_at: None,
            late_at: None,
            end: None,
            deadline: None,
            obtained: asked,
            generation,
            is_rejected: false,
        };
        let most = if self.terms.is_chained { timing::CHAINED_MAX } else { timing::LIFETIME_MAX };
        if answer.lifetime.is_some_and(|lifetime| lifetime > timing::AHEAD_MAX) {
            return Err(fault(Class::ClockSkew));
        }
        let own = answer.lifetime.map(|lifetime| asked.after(lifetime.min(most)));
        let Some(deadline) = own.into_iter().chain(answer.bound).min() else {
            held.generation = before.map_or(generation, |before| before.generation);
            return Ok(held);
        };
        let deadline = before.and_then(|before| before.deadline).map_or(deadline, |old| old.min(deadline));
        let lifetime = deadline.since(asked);
        let ago = |time: Duration| asked.after(lifetime.saturating_sub(time));
        held.lifetime = Some(lifetime);
        held.deadline = Some(deadline);
        held.end = Some(ago(timing::guard(lifetime)));
        held.late_at = Some(ago(timing::late(lifetime)));
        held.renew_at = Some(ago(timing::renewal(lifetime, sight.dice)));
        if held.end.is_some_and(|end| end <= now) {
            return Err(fault(Class::AlreadyExpired));
        }
        if let Some(before) = before {
            held.generation = before.generation;
            held.renew_at = Some(now.after(timing::same_again(deadline.since(now))));
        }
        Ok(held)
    }

    fn succeed(&mut self, held: Held, actions: &mut Vec<Action>) {
        if !self.held.is_some_and(|before| before.is_rejected) {
            self.rejections = 0;
        }
        if self.failed.take().is_some_and(|failed| failed.alarmed != 0) {
            actions.push(Action::Settled);
        }
        self.stale_parent = None;
        self.is_wanted = false;
        self.not_before = self.ended_at;
        self.lost_at = None;
        if !self.is_served || held.generation > self.generation {
            let Held { generation, obtained, deadline, .. } = held;
            actions.push(Action::Publish { generation, obtained, deadline });
        }
        self.generation = held.generation;
        self.longest = self.longest.max(held.lifetime);
        self.held = Some(held);
        self.is_served = true;
    }

    fn fail(&mut self, fault: Fault, parent: u64, sight: &Sight, actions: &mut Vec<Action>) {
        let Fault { class, retry_after } = fault;
        let (count, alarmed) =
            self.failed.map_or((1, 0), |failed| (failed.count.saturating_add(1), failed.alarmed));
        self.failed = Some(Failed { class, count, alarmed });
        let own = timing::wait(class, count, self.usual_life(), sight.dice);
        let asked = retry_after.unwrap_or_default().min(timing::RETRY_AFTER_MAX);
        self.told_until = sight.now.after(asked);
        self.not_before = sight.now.after(own.max(asked));
        if class == Class::ParentExpired {
            self.stale_parent = Some(parent);
            actions.push(Action::RenewParent(parent));
        }
    }

    /// What follows from the time, and from what is around.
    fn go_on(&mut self, sight: &Sight, actions: &mut Vec<Action>) {
        let now = sight.now;
        let is_over = self.held.and_then(|held| held.end).is_some_and(|end| now >= end);
        if self.is_served && is_over {
            self.withdraw(now, actions);
        }
        let is_urgent = !self.is_served || self.is_late(now);
        if let Some(failed) = &mut self.failed {
            let bit = 1 << failed.class as u16;
            let is_for_somebody = match failed.class {
                Class::Denied | Class::Config => true,
                Class::SourceDead | Class::ClockSkew | Class::ParentExpired => failed.count > 1,
                Class::Network | Class::Throttled | Class::AlreadyExpired => false,
            };
            if failed.alarmed & bit == 0 && (is_urgent || is_for_somebody) {
                failed.alarmed |= bit;
                actions.push(Action::Alarm(failed.class));
            }
        }
        if self.next_call().is_some_and(|at| at <= now)
            && let Some(parent) = self.ready(sight.parent)
        {
            self.calling = Some(parent);
            actions.push(Action::Call);
        }
        if self.is_unused() && now >= self.unused_since.after(IDLE_MAX) {
            actions.push(Action::End);
        }
    }

    fn withdraw(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.is_served = false;
        self.lost_at = Some(now);
        actions.push(Action::Withdraw);
    }

    /// The generation of the parent's to ask with, if there is one that may do.
    fn ready(&self, parent: Parent) -> Option<u64> {
        match parent {
            Parent::Unneeded => Some(0),
            Parent::Missing => None,
            Parent::Has(generation) => {
                (self.stale_parent.is_none_or(|stale| generation > stale)).then_some(generation)
            }
        }
    }

    /// Whether it is the parent that it waits for.
    pub fn is_blocked(&self, parent: Parent) -> bool {
        !self.is_served && self.calling.is_none() && self.ready(parent).is_none()
    }

    fn is_unused(&self) -> bool {
        self.users == 0 && self.calling.is_none()
    }

    /// What a lease of this step lives, as far as is known.
    fn usual_life(&self) -> Option<Duration> {
        self.longest.or(self.terms.asked)
    }

    /// Whether there is a lease and it was not late when something last happened: then it does for any request, and nobody has to
    /// ask. [`Self::next_wake`] sees to it that something happens when it becomes late.
    pub fn is_ready(&self) -> bool {
        self.is_served && !self.is_late(self.seen_at)
    }

    fn is_late(&self, now: Moment) -> bool {
        self.held.and_then(|held| held.late_at).is_some_and(|late| now >= late)
    }

    /// When the cloud is asked next. None: a call is under way, nobody uses the step, or its lease has no end.
    pub fn next_call(&self) -> Option<Moment> {
        if self.calling.is_some() || self.users == 0 {
            return None;
        }
        let due = match &self.held {
            Some(held) if self.is_served && !self.is_wanted => held.renew_at?,
            _ => Moment::default(),
        };
        Some(due.max(self.not_before))
    }

    /// When [`Event::Woke`] is due. None: not before something else happens.
    pub fn next_wake(&self, parent: Parent) -> Option<Moment> {
        let is_ahead = |at: &Moment| *at > self.seen_at;
        let held = self.held.filter(|_| self.is_served);
        let call = self.next_call().filter(|_| self.ready(parent).is_some());
        let end = held.and_then(|held| held.end);
        let late = held.and_then(|held| held.late_at).filter(is_ahead);
        let idle = self.is_unused().then(|| self.unused_since.after(IDLE_MAX));
        let grace = self.lost_at.map(|lost| lost.after(GRACE)).filter(is_ahead);
        [call, end, late, idle, grace].into_iter().flatten().min()
    }

    /// Whether the lease that there is does for who needs it for so long. Nobody gets more than half of what a lease lives by
    /// asking for more: else who asks for a day would have the cloud asked at each request.
    fn is_good_for(&self, min_ttl: Duration, now: Moment) -> bool {
        self.held.filter(|_| self.is_served).is_some_and(|held| match (held.end, held.lifetime) {
            (Some(end), Some(lifetime)) => end > now && end.since(now) >= min_ttl.min(lifetime / 2),
            _ => true,
        })
    }

    /// What who waits since `ended` calls had ended ([`Self::ended`]) is told.
    pub fn verdict(&self, min_ttl: Duration, ended: u64, now: Moment) -> Verdict {
        let late = if self.is_late(now) { Verdict::TakeLate } else { Verdict::Take };
        if self.is_good_for(min_ttl, now) {
            return late;
        }
        let is_failing = self.failed.is_some() && self.calling.is_none();
        if self.is_good_for(Duration::ZERO, now) && is_failing {
            return late;
        }
        let is_told = self.failed.is_some_and(|failed| {
            let is_over = self.lost_at.is_none_or(|lost| now >= lost.after(GRACE));
            let is_tried_again = failed.count <= 1 && timing::is_worth_one_more(failed.class);
            needs_somebody(failed.class) && !is_tried_again && (is_over || failed.class == Class::Config)
        });
        if is_told && !self.is_good_for(Duration::ZERO, now) && self.ended > ended {
            return Verdict::Failed;
        }
        Verdict::Wait
    }

    /// How many calls have ended.
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// The class of the last failure, if nothing has come since.
    pub fn failing(&self) -> Option<Class> {
        self.failed.map(|failed| failed.class)
    }

    /// What state it is in.
    pub fn state(&self, now: Moment) -> State {
        let is_served = self.is_good_for(Duration::ZERO, now);
        match self.failed {
            _ if self.users == 0 => State::Idle,
            Some(failed) if !is_served && needs_somebody(failed.class) => State::Denied,
            _ if !is_served && self.held.is_none() => State::Empty,
            _ if !is_served => State::Expired,
            _ if self.is_late(now) => State::Late,
            Some(_) => State::Degraded,
            None if self.calling.is_some() => State::Refreshing,
            None => State::Fresh,
        }
    }
}

impl State {
    /// In a word, for listings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Fresh => "fresh",
            Self::Refreshing => "refreshing",
            Self::Degraded => "degraded",
            Self::Late => "late",
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::Idle => "idle",
        }
    }
}

/// Whether somebody has to change something, as opposed to a trouble that passes.
pub fn needs_somebody(class: Class) -> bool {
    match class {
        Class::Denied | Class::SourceDead | Class::ParentExpired | Class::ClockSkew | Class::Config => true,
        Class::Network | Class::Throttled | Class::AlreadyExpired => false,
    }
}
