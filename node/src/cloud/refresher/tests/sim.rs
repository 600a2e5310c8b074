//! A cloud, users and a machine that are against a refresher, in virtual time. The same seed makes the same run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::super::*;

const SECOND: u64 = 1_000_000_000;
/// What leases live, in seconds.
const LIFETIMES: [u64; 8] = [3, 10, 120, 590, 900, 3_600, 7_200, 43_200];
/// The driver looks at the clocks so often: within this after a sleep a lease may be read that is over.
const LOOK: u64 = SECOND / 2;
/// More calls than these in a minute (for short leases: in the same share of their time) are too many: 5 and then every three
/// seconds in trouble, as often again for troubles that come and go, and what refusals cause.
const CALLS_MAX: usize = 60;
const CLASSES: [Class; 8] = [
    Class::Network,
    Class::Throttled,
    Class::Denied,
    Class::SourceDead,
    Class::ParentExpired,
    Class::ClockSkew,
    Class::Config,
    Class::AlreadyExpired,
];

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    SinceAsked,
    Withdrawn,
    SingleFlight,
    StaticStability,
    ThatGeneration,
    Clamped,
    Backoff,
    NeverTheLast,
    ForcedRarely,
    SleepCounts,
    AlarmOnce,
    SameIsNotNew,
    RetryAfter,
    WithParent,
    Idle,
    FreshAnswer,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub broken: Option<&'static str>,
    pub calls: u64,
    pub renewals: u64,
    pub failures: u64,
    pub requests: u64,
    pub rejections: u64,
    pub sleeps: u64,
    pub alarms: u64,
    pub told: u64,
    pub same: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.renewals += other.renewals;
        self.failures += other.failures;
        self.requests += other.requests;
        self.rejections += other.rejections;
        self.sleeps += other.sleeps;
        self.alarms += other.alarms;
        self.told += other.told;
        self.same += other.same;
    }
}

/// `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, count: u64) -> u64 {
        self.next() % count.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    #[expect(clippy::cast_precision_loss, reason = "a random number")]
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Timer,
    Poke,
    CallEnds(u64),
    Cloud,
    Users,
    Request,
    Refusal,
    Sleep,
    Awake,
    ParentRenewed,
}

/// Credentials that the cloud gave.
#[derive(Clone, Copy, Debug)]
struct Issued {
    material: u64,
    begun: u64,
    end: u64,
    parent: u64,
}

/// A call that is under way.
struct Call {
    asked: u64,
    parent: u64,
}

/// What is read through the atomic pointer.
#[derive(Clone, Copy)]
struct Current {
    generation: u64,
    issued: Issued,
}

struct Waiter {
    since: u64,
    ended: u64,
    min_ttl: Duration,
}

pub struct Sim {
    rule: Option<Rule>,
    dice: Dice,
    now: u64,
    end: u64,
    queue: BinaryHeap<Reverse<(u64, Happening)>>,
    terms: Terms,
    refresher: Refresher,
    lifetime: u64,
    is_chained: bool,
    is_bound: bool,
    gives_same: bool,
    has_parent: bool,
    /// None: it works.
    trouble: Option<Class>,
    healthy_since: u64,
    retry_at: u64,
    latency: u64,
    slept: u64,
    awake_at: u64,
    is_asleep: bool,
    timer: u64,
    calls: Vec<(u64, Call)>,
    begun: Vec<u64>,
    number: u64,
    last_call_ended: u64,
    parent: Option<u64>,
    parent_end: u64,
    parents: u64,
    current: Option<Current>,
    last: Option<Issued>,
    refused: Vec<u64>,
    refused_at: u64,
    is_dead: bool,
    alarmed: Vec<Class>,
    users: usize,
    used_since: u64,
    waiters: Vec<Waiter>,
    tally: Tally,
}

impl Sim {
    pub fn new(seed: u64, rule: Option<Rule>) -> Self {
        let mut dice = Dice(seed);
        let lifetime = LIFETIMES[usize::try_from(dice.below(8)).unwrap()] * SECOND;
        // A broker that says 12 hours of a chained role, which lives one.
        let is_chained = lifetime == 3_600 * SECOND && dice.chance(70);
        let has_parent = is_chained || dice.chance(50);
        let is_bound = has_parent && !is_chained && dice.chance(50);
        let gives_same = !has_parent && dice.chance(50);
        let asked = dice.chance(70).then(|| Duration::from_nanos(lifetime));
        let terms = Terms { is_chained: is_chained && rule != Some(Rule::Clamped), asked };
        let mut sim = Self {
            rule,
            now: SECOND,
            end: SECOND + lifetime * 25,
            queue: BinaryHeap::new(),
            terms,
            refresher: Refresher::new(terms, Moment { nanos: SECOND }),
            lifetime,
            is_chained,
            is_bound,
            gives_same,
            has_parent,
            trouble: None,
            healthy_since: 0,
            retry_at: 0,
            latency: lifetime / 1_000,
            slept: 0,
            awake_at: 0,
            is_asleep: false,
            timer: 0,
            calls: Vec::new(),
            begun: Vec::new(),
            number: 0,
            last_call_ended: 0,
            parent: has_parent.then_some(1),
            parent_end: SECOND + lifetime,
            parents: 1,
            current: None,
            last: None,
            refused: Vec::new(),
            refused_at: 0,
            is_dead: false,
            alarmed: Vec::new(),
            users: 0,
            used_since: 0,
            waiters: Vec::new(),
            tally: Tally::default(),
            dice,
        };
        for first in [
            Happening::Cloud,
            Happening::Users,
            Happening::Request,
            Happening::Refusal,
            Happening::Sleep,
            Happening::ParentRenewed,
        ] {
            sim.again(first);
        }
        sim.change_users();
        sim
    }

    pub fn run(mut self) -> Tally {
        while let Some(Reverse((at, happening))) = self.queue.pop() {
            if at > self.end || self.tally.broken.is_some() {
                break;
            }
            // While the machine sleeps nothing of it happens; what is due is so when it is awake.
            if self.is_asleep && happening == Happening::Request {
                self.queue.push(Reverse((self.awake_at + LOOK / 2, happening)));
                continue;
            }
            // One timer, the last that was set.
            if happening == Happening::Timer && (self.is_asleep || at != self.timer) {
                continue;
            }
            self.now = self.now.max(at);
            self.happen(happening);
            self.look();
        }
        self.tally
    }

    /// When something happens next, by itself: some times in a lease's life.
    fn again(&mut self, happening: Happening) {
        let (low, high) = match happening {
            Happening::Request => (0, self.lifetime / 20),
            Happening::Cloud => (self.lifetime / 10, 4 * self.lifetime),
            Happening::Users => (self.lifetime / 4, 6 * self.lifetime),
            Happening::Refusal => (self.lifetime / 2, 5 * self.lifetime),
            Happening::Sleep => (4 * self.lifetime, 20 * self.lifetime),
            Happening::ParentRenewed => (self.lifetime / 4, self.lifetime * 2 / 3),
            Happening::Timer | Happening::Poke | Happening::CallEnds(_) | Happening::Awake => return,
        };
        let at = self.now + low + self.dice.below(high - low);
        self.queue.push(Reverse((at, happening)));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Timer | Happening::Poke => self.hand(Event::Woke),
            Happening::CallEnds(number) => self.end_call(number),
            Happening::Cloud => self.change_cloud(),
            Happening::Users => self.change_users(),
            Happening::Request => self.request(),
            Happening::Refusal => self.refuse(),
            Happening::Sleep => {
                let length = self.lifetime / 10 + self.dice.below(3 * self.lifetime);
                self.is_asleep = true;
                self.awake_at = self.now + length;
                self.slept += length;
                self.tally.sleeps += 1;
                self.queue.push(Reverse((self.awake_at, Happening::Awake)));
            }
            Happening::Awake => {
                self.is_asleep = false;
                self.queue.push(Reverse((self.now + LOOK / 2, Happening::Poke)));
            }
            Happening::ParentRenewed => {
                if self.trouble.is_none() {
                    self.renew_parent();
                }
            }
        }
        self.again(happening);
    }

    fn change_cloud(&mut self) {
        let was = self.trouble.take();
        if was.is_none() && self.dice.chance(60) {
            self.trouble = Some(CLASSES[usize::try_from(self.dice.below(8)).unwrap()]);
        }
        if self.trouble.is_none() {
            self.healthy_since = self.now;
            self.renew_parent();
        }
        // Mostly quick; sometimes a good part of a life.
        self.latency = if self.dice.chance(75) { self.lifetime / 1_000 } else { self.lifetime / 8 };
        // The driver gives a call up after a minute.
        self.latency = self.latency.min(60 * SECOND);
    }

    fn renew_parent(&mut self) {
        if self.has_parent {
            self.parents += 1;
            self.parent = Some(self.parents);
            self.parent_end = self.now + self.lifetime;
            self.queue.push(Reverse((self.now, Happening::Poke)));
        }
    }

    fn change_users(&mut self) {
        let comes = self.users == 0 || self.dice.chance(50);
        if comes {
            if self.users == 0 {
                self.used_since = self.now;
            }
            self.users += 1;
            self.hand(Event::Opened);
        } else {
            self.users -= 1;
            if self.users == 0 {
                self.waiters.clear();
            }
            if self.rule != Some(Rule::Idle) {
                self.hand(Event::Closed);
            }
        }
    }

    /// Somebody reads the lease, and perhaps waits for a better one.
    fn request(&mut self) {
        self.tally.requests += 1;
        if self.users > 0 && self.dice.chance(30) {
            let min_ttl = Duration::from_nanos(self.dice.below(self.lifetime));
            self.waiters.push(Waiter { since: self.now, ended: self.refresher.ended(), min_ttl });
            self.hand(Event::Wanted(min_ttl));
            if self.rule == Some(Rule::SingleFlight) && self.calls.len() == 1 {
                self.begin_call();
            }
        }
    }

    fn refuse(&mut self) {
        let Some(current) = self.current else { return };
        let is_late_word = self.dice.chance(30);
        let generation = if is_late_word { current.generation.saturating_sub(1) } else { current.generation };
        let is_dead = self.dice.chance(50);
        self.tally.rejections += 1;
        if is_dead && !is_late_word {
            self.refused.push(current.issued.material);
            self.refused_at = self.now;
        }
        let generation =
            if self.rule == Some(Rule::ThatGeneration) { current.generation } else { generation };
        let reject = if is_dead || self.rule == Some(Rule::ForcedRarely) {
            Reject::Dead
        } else {
            Reject::AccessDenied
        };
        self.hand(Event::Rejected(generation, reject));
    }

    fn time(&self) -> u64 {
        if self.rule == Some(Rule::SleepCounts) { self.now - self.slept.min(self.now) } else { self.now }
    }

    fn parent(&self) -> Parent {
        match self.parent {
            _ if !self.has_parent => Parent::Unneeded,
            Some(generation) if self.now < self.parent_end => Parent::Has(generation),
            _ => Parent::Missing,
        }
    }

    fn hand(&mut self, event: Event) {
        self.hand_with(event, None);
    }

    fn hand_with(&mut self, event: Event, issued: Option<Issued>) {
        let sight =
            Sight { now: Moment { nanos: self.time() }, dice: self.dice.share(), parent: self.parent() };
        for action in self.refresher.on(event, &sight) {
            match action {
                Action::Publish { generation, .. } => {
                    let issued = issued.expect("what is published came");
                    self.current = Some(Current { generation, issued });
                    self.tally.renewals += 1;
                }
                Action::Withdraw => self.withdraw(),
                Action::RenewParent(generation) => {
                    if self.parent == Some(generation) {
                        self.renew_parent();
                    }
                }
                Action::Alarm(class) => {
                    self.tally.alarms += 1;
                    if self.alarmed.contains(&class) {
                        self.broken("an alarm twice");
                    }
                    self.alarmed.push(class);
                }
                Action::Settled => {}
                Action::Call => self.begin_call(),
                Action::End if self.users > 0 => self.broken("a step in use ended"),
                Action::End => {
                    // As the driver does: the next user makes a new one.
                    self.refresher = Refresher::new(self.terms, sight.now);
                    self.current = None;
                    self.last = None;
                    self.alarmed.clear();
                    return;
                }
            }
        }
        self.set_timer();
    }

    fn set_timer(&mut self) {
        let now = Moment { nanos: self.time() };
        let Some(wake) = self.refresher.next_wake(self.parent()) else { return };
        let at = self.now + u64::try_from(wake.since(now).as_nanos()).unwrap();
        // Timers are late, by a little.
        let at = at + 1_000_000.min(self.lifetime / 2_000);
        if at != self.timer {
            self.timer = at;
            self.queue.push(Reverse((at, Happening::Timer)));
        }
    }

    fn withdraw(&mut self) {
        if self.rule == Some(Rule::Withdrawn) {
            return;
        }
        if let Some(current) = self.current.take() {
            let guard = u64::try_from(
                timing::guard(Duration::from_nanos(current.issued.end - current.issued.begun)).as_nanos(),
            )
            .unwrap();
            let is_good = current.issued.end > self.now + 2 * guard;
            if is_good && !self.refused.contains(&current.issued.material) {
                self.broken("a working lease was taken back");
            }
        }
    }

    fn begin_call(&mut self) {
        if self.is_dead {
            return;
        }
        if !self.calls.is_empty() {
            self.broken("two calls at once");
        }
        if self.users == 0 && self.now > self.used_since {
            self.broken("asked for nobody");
        }
        if self.now < self.retry_at {
            self.broken("asked before its time");
        }
        self.count_call();
        self.number += 1;
        self.calls.push((self.number, Call { asked: self.now, parent: self.parent.unwrap_or_default() }));
        let latency = self.latency / 2 + self.dice.below(self.latency.max(1)) / 2;
        self.queue.push(Reverse((self.now + latency, Happening::CallEnds(self.number))));
    }

    fn count_call(&mut self) {
        self.tally.calls += 1;
        let minute = (60 * SECOND).min(self.lifetime / 10).max(SECOND / 4);
        self.begun.retain(|begun| *begun + minute > self.now);
        self.begun.push(self.now);
        if self.begun.len() > CALLS_MAX {
            self.broken("too many calls");
        }
    }

    fn end_call(&mut self, number: u64) {
        let Some(at) = self.calls.iter().position(|(own, _)| *own == number) else { return };
        let (_, call) = self.calls.remove(at);
        self.last_call_ended = self.now;
        match self.trouble {
            Some(class) => self.fail(&call, class),
            None => self.succeed(&call),
        }
    }

    fn fail(&mut self, call: &Call, class: Class) {
        self.tally.failures += 1;
        if self.rule == Some(Rule::Backoff) {
            self.number += 1;
            self.count_call();
            self.calls.push((self.number, Call { asked: self.now, parent: call.parent }));
            self.queue.push(Reverse((self.now + self.latency.max(1), Happening::CallEnds(self.number))));
            return;
        }
        let most = timing::RETRY_AFTER_MAX.as_secs() * SECOND;
        let asks = self.dice.chance(if class == Class::Throttled { 50 } else { 10 });
        let retry_after = asks.then(|| Duration::from_nanos(self.dice.below((self.lifetime / 10).min(most))));
        self.retry_at = self.now + retry_after.map_or(0, |after| u64::try_from(after.as_nanos()).unwrap());
        let retry_after = retry_after.filter(|_| self.rule != Some(Rule::RetryAfter));
        let asked = Moment { nanos: call.asked };
        let fault = Fault { class, retry_after };
        self.hand_with(Event::Ended { asked, outcome: Err(fault) }, None);
        match self.rule {
            Some(Rule::StaticStability) => self.withdraw(),
            Some(Rule::NeverTheLast) if class == Class::Denied => self.is_dead = true,
            Some(Rule::AlarmOnce) if self.alarmed.contains(&class) => self.broken("an alarm twice"),
            _ => {}
        }
    }

    fn succeed(&mut self, call: &Call) {
        self.alarmed.clear();
        self.retry_at = 0;
        let issued = self.issue(call);
        let is_same = self.last.is_some_and(|last| last.material == issued.material);
        self.tally.same += u64::from(is_same);
        let lifetime =
            if self.is_chained { 12 * 3_600 * SECOND } else { issued.end - call.asked.min(issued.end) };
        let lifetime =
            if is_same || self.is_bound { issued.end.saturating_sub(call.asked) } else { lifetime };
        // What is bound says its own life, and dies with its parent.
        let own = if self.is_bound { self.lifetime } else { lifetime };
        let bound = self.is_bound.then_some(Moment { nanos: self.parent_end });
        let is_kept = |rule| self.rule != Some(rule);
        let offset = self.now - self.time();
        let asked = if is_kept(Rule::SinceAsked) { call.asked } else { self.now };
        let answer = Answer {
            lifetime: Some(Duration::from_nanos(own)),
            is_same: is_same && is_kept(Rule::SameIsNotNew),
            bound: bound.filter(|_| is_kept(Rule::WithParent)),
        };
        self.last = Some(issued);
        let asked = Moment { nanos: asked.saturating_sub(offset) };
        self.hand_with(Event::Ended { asked, outcome: Ok(answer) }, Some(issued));
    }

    fn issue(&mut self, call: &Call) -> Issued {
        // As a metadata server: the same until shortly before its end.
        let again = (300 * SECOND).min(self.lifetime / 4);
        if let Some(last) = self.last.filter(|_| self.gives_same)
            && last.end > self.now + again
            && !(self.refused.contains(&last.material) && self.dice.chance(20))
        {
            return last;
        }
        let end = call.asked + self.lifetime;
        let end = if self.is_bound { end.min(self.parent_end) } else { end };
        Issued { material: self.number, begun: call.asked, end, parent: call.parent }
    }

    fn broken(&mut self, promise: &'static str) {
        self.tally.broken.get_or_insert(promise);
    }

    /// What has to be true at every time.
    fn look(&mut self) {
        if self.is_asleep {
            return;
        }
        let is_just_awake = self.awake_at > 0 && self.now <= self.awake_at + LOOK;
        if let Some(Current { issued, .. }) = self.current
            && !is_just_awake
        {
            if self.now >= issued.end {
                self.broken("served after its end");
            }
            if self.refused.contains(&issued.material) && self.now > self.refused_at {
                self.broken("served though refused");
            }
        }
        self.look_at_waiters();
        self.look_at_freshness();
    }

    fn look_at_waiters(&mut self) {
        let now = Moment { nanos: self.time() };
        let (waiters, is_stale) = (std::mem::take(&mut self.waiters), self.rule == Some(Rule::FreshAnswer));
        for waiter in waiters {
            let ended = if is_stale { 0 } else { waiter.ended };
            match self.refresher.verdict(waiter.min_ttl, ended, now) {
                Verdict::Take | Verdict::TakeLate => {
                    let end = self.current.map_or(0, |current| current.issued.end);
                    if end <= self.now {
                        self.broken("served after its end");
                    }
                }
                Verdict::Wait => self.waiters.push(waiter),
                Verdict::Failed => {
                    self.tally.told += 1;
                    if self.last_call_ended < waiter.since {
                        self.broken("told by an old call");
                    }
                }
            }
        }
    }

    /// When the cloud has worked for as long as the longest wait takes there is a lease that is not late.
    fn look_at_freshness(&mut self) {
        let scale = |time: u64| {
            let short = timing::SHORT.as_secs() * SECOND;
            if self.lifetime < short {
                u64::try_from(u128::from(time) * u128::from(self.lifetime) / u128::from(short)).unwrap()
            } else {
                time
            }
        };
        let patience = scale(600 * SECOND) + 4 * (self.lifetime / 8) + SECOND;
        let since = [self.healthy_since, self.used_since, self.awake_at, self.refused_at];
        let since = since.into_iter().max().unwrap_or_default();
        if self.trouble.is_some() || self.users == 0 || self.now < since + patience {
            return;
        }
        // What is bound is as young as its parent lets it be.
        let is_fresh = self.current.is_some_and(|Current { issued, .. }| {
            let life = Duration::from_nanos(issued.end - issued.begun.min(issued.end));
            let late = u64::try_from(timing::late(life).as_nanos()).unwrap();
            let slow = if self.latency > self.lifetime / 1_000 { 2 * self.latency } else { 0 };
            self.now + late <= issued.end + slow + self.lifetime / 100
                || (self.is_bound && issued.parent != 0)
        });
        if !is_fresh {
            self.broken("no fresh lease though one could be had");
        }
    }
}
