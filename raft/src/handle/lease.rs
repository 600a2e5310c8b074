//! The holder's driver of [`crate::lease`]: renews this node's lease, and answers whether what it decided may be told.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grantd_catalog::live::Reader;
use grantd_catalog::setting::{Setting, SettingValue};
use grantd_catalog::view::View;
use openraft::async_runtime::watch::WatchReceiver;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{CLOCK_JUMP_MAX, ELECTION_TIMEOUTS, LEASE_REQUESTS_MAX, LEASE_RETRY_PAUSE, NodeId};
use crate::handle::grant::Leading;
use crate::handle::{Handle, Node, lock};
use crate::lease::{BootId, Holder, Lease, LeaseGrant, LeaseRequest, Moment, Roster, Terms};
use crate::message::{self, LeaseAnswerV1, LeaseRequestV1};
use crate::transport::RequestKind;
use crate::write::Unavailable;

/// This node holds no read lease: it cannot know whether its view is the newest that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node holds no read lease: it does not reach the leader, or there is none")]
pub struct NoLease;

/// What a node knows of leases.
pub(super) struct Leases {
    pub(super) boot: BootId,
    holder: Mutex<Holder>,
    /// When this node's lease is over, by its clock; 0: it holds none.
    expires: AtomicU64,
    /// When a leader last said something to this node, by its clock; at first, when the process started.
    answered: AtomicU64,
    named: Mutex<Named>,
    /// Who may hold leases, as this process saw it.
    pub(super) roster: Mutex<Roster>,
    /// Of the newest term in which this node was seen to lead.
    pub(super) leading: Mutex<Option<Arc<Leading>>>,
    /// One change of the lease's length at a time.
    pub(super) resizing: tokio::sync::Mutex<()>,
    /// Places for requests that are under way.
    requests: Arc<Semaphore>,
}

/// How far the view is behind what leaders named.
#[derive(Default)]
struct Named {
    newest: u64,
    /// Since when it is behind.
    since: Option<Moment>,
}

impl Named {
    /// By how many versions the view is behind, and since when.
    fn behind(&mut self, named: u64, view: u64, now: Moment) -> (u64, Duration) {
        self.newest = self.newest.max(named);
        let behind = self.newest.saturating_sub(view);
        self.since = if behind > 0 { self.since.or(Some(now)) } else { None };
        (behind, self.since.map_or(Duration::ZERO, |since| now.since(since)))
    }
}

/// CLOCK_BOOTTIME: it goes on while the machine sleeps, which tokio's and the standard library's does not.
pub(super) fn now() -> Moment {
    Moment { nanos: nanos(ClockId::Boottime) }
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or_default().saturating_mul(1_000_000_000).saturating_add(nanos.unwrap_or_default())
}

/// What the catalog says of leases.
pub(super) fn terms_of(view: &View) -> Terms {
    let state = view.state();
    let length = match state.setting_value(Setting::LeaseDuration) {
        SettingValue::Milliseconds(ms) => Duration::from_millis(ms),
        _ => Duration::ZERO,
    };
    let drift_ppm = match state.setting_value(Setting::LeaseClockDrift) {
        SettingValue::Int(ppm) => u32::try_from(ppm).unwrap_or_default(),
        _ => 0,
    };
    Terms { length, drift_ppm }
}

impl Leases {
    pub(super) fn new(boot: u64) -> Self {
        let boot = BootId(boot);
        Self {
            boot,
            holder: Mutex::new(Holder::new(boot)),
            expires: AtomicU64::new(0),
            answered: AtomicU64::new(now().nanos),
            named: Mutex::default(),
            roster: Mutex::default(),
            leading: Mutex::default(),
            resizing: tokio::sync::Mutex::default(),
            requests: Arc::new(Semaphore::new(LEASE_REQUESTS_MAX)),
        }
    }

    fn is_held(&self) -> bool {
        now().nanos < self.expires.load(Ordering::Acquire)
    }

    fn take(&self, grant: &LeaseGrant, told: Moment) {
        let mut holder = lock(&self.holder);
        holder.hear(grant.term, told, now());
        if let Some(lease) = holder.take(grant) {
            self.expires.store(lease.expires.nanos, Ordering::Release);
        }
    }

    fn give_up(&self) {
        let mut holder = lock(&self.holder);
        holder.drop_lease();
        self.expires.store(0, Ordering::Release);
    }
}

/// One thread's way to decide often: as [`Handle::decide`], but without writing anything that threads share.
///
/// It pins the lease and the view together for one call: what a call decides, one question or a batch, is decided on one
/// view, and the clock is read once, after the last answer. While a call goes on, its view is not replaced in memory; a
/// call of many questions that is overtaken by a change begins again, so a batch has a bound.
pub struct Decider {
    node: Arc<Node>,
    reader: Reader,
}

impl Decider {
    /// Decides on this node's own view, without asking anybody. As [`Handle::decide`].
    ///
    /// The clock is a third to a half of the cost of one answer, and there is no cheaper one: the coarse clocks stand still
    /// while the machine sleeps, and a time that another thread writes down stands still with that thread. Batches share one
    /// reading.
    pub fn decide<T>(&mut self, mut decide: impl FnMut(&View) -> T) -> Result<T, NoLease> {
        loop {
            // In this order: B2 and B3.
            let expires = self.node.leases.expires.load(Ordering::Acquire);
            let view = self.reader.view();
            let (version, answer) = (view.version(), decide(view));
            // The look at what is newest does not go before what was decided.
            fence(Ordering::Acquire);
            if self.reader.view().version() != version {
                continue;
            }
            return if now().nanos < expires { Ok(answer) } else { Err(NoLease) };
        }
    }
}

impl Handle {
    /// Decides often, on one thread.
    pub fn decider(&self) -> Decider {
        Decider { node: Arc::clone(&self.node), reader: self.node.machine.published().reader() }
    }

    /// Decides on this node's own view, without asking anybody: no change that took rights away and was reported when
    /// `decide` returned is missing in it. `decide` may be called again when the view changed meanwhile.
    pub fn decide<T>(&self, mut decide: impl FnMut(&View) -> T) -> Result<T, NoLease> {
        let (leases, published) = (&self.node.leases, self.node.machine.published());
        loop {
            // In this order: B2 and B3.
            let expires = leases.expires.load(Ordering::Acquire);
            let view = published.guard();
            let answer = decide(&view);
            if published.guard().version() != view.version() {
                continue;
            }
            return if now().nanos < expires { Ok(answer) } else { Err(NoLease) };
        }
    }

    /// Whether what was decided on `view` before the call may be told: its catalog is still the newest here, and no change
    /// that took rights away and was reported is missing in it. Asks nobody. False: perhaps.
    pub fn is_current(&self, view: &View) -> bool {
        let (leases, published) = (&self.node.leases, self.node.machine.published());
        // In this order: B2 and B3.
        let expires = leases.expires.load(Ordering::Acquire);
        published.guard().state().is_unchanged_from(view.state()) && now().nanos < expires
    }

    /// As [`Self::linearizable`], for who would rather be refused than wait for an election: when this node's lease is over
    /// and no leader has said anything to it for as long as a lease is, it is cut off, and says so at once.
    pub async fn linearizable_soon(&self) -> Result<Arc<View>, Unavailable> {
        self.node.linearizable_soon().await
    }

    /// Sets the gauges that are of this moment: the lease, the view.
    pub fn measure(&self) {
        self.node.measure();
    }
}

impl Node {
    /// The lease that this node has, to decide under. B2.
    pub(super) fn lease(&self) -> Lease {
        Lease { expires: Moment { nanos: self.leases.expires.load(Ordering::Acquire) } }
    }

    /// Whether a lease that was loaded before a decision is held after it.
    pub(super) fn holds(&self, lease: Lease) -> bool {
        lease.is_held(now())
    }

    /// The terms of leases, as far as this node has applied.
    pub(super) fn terms(&self) -> Terms {
        terms_of(&self.machine.published().view())
    }

    fn measure(&self) {
        let (leases, metrics) = (&self.leases, &self.metrics);
        let left = leases.expires.load(Ordering::Acquire).saturating_sub(now().nanos);
        let version = self.machine.published().view().version().0;
        let (behind, since) = lock(&leases.named).behind(0, version, now());
        metrics.lease_held.set(if left > 0 { 1.0 } else { 0.0 });
        metrics.lease_seconds.set(Duration::from_nanos(left).as_secs_f64());
        metrics.view_version.set(as_value(version));
        metrics.lag_versions.set(as_value(behind));
        metrics.lag_seconds.set(since.as_secs_f64());
    }

    async fn linearizable_soon(self: &Arc<Self>) -> Result<Arc<View>, Unavailable> {
        self.linearizable_unless_silent_for(self.terms().length).await
    }

    /// As [`Self::linearizable_soon`], for who waits while a leader is elected, and no longer.
    pub(super) async fn linearizable(self: &Arc<Self>) -> Result<Arc<View>, Unavailable> {
        let election = self.tuning.election_timeout_min * ELECTION_TIMEOUTS;
        self.linearizable_unless_silent_for(election.max(self.terms().length * 2)).await
    }

    /// A view that contains everything that was acknowledged before the call, unless no leader has said anything for so
    /// long: then it is refused at once.
    async fn linearizable_unless_silent_for(
        self: &Arc<Self>,
        patience: Duration,
    ) -> Result<Arc<View>, Unavailable> {
        let answered = Moment { nanos: self.leases.answered.load(Ordering::Acquire) };
        let left = patience.saturating_sub(now().since(answered)).max(LEASE_RETRY_PAUSE);
        let deadline = (Instant::now() + left).min(self.deadline());
        self.linearizable_until(deadline).await.map_err(|error| match error {
            Unavailable::NoLeader(_) => Unavailable::NoLeader(patience.min(self.tuning.request_timeout)),
            error => error,
        })
    }

    /// Asks for a lease again and again: every third of it; a little later if there is none; and at once when a change that
    /// takes rights away is in this node's view, as the leader waits to hear it, or another leader is known.
    pub(super) async fn renew_leases(self: Arc<Self>) {
        let mut distance = None;
        let mut tightened = self.machine.published().watch_tightened();
        let mut metrics = self.raft.server_metrics();
        loop {
            // A machine that was stopped as a whole and goes on later has its clock of before, and the time of now.
            let apart = nanos(ClockId::Realtime).abs_diff(nanos(ClockId::Boottime));
            let before = distance.replace(apart).unwrap_or(apart);
            if Duration::from_nanos(apart.abs_diff(before)) > CLOCK_JUMP_MAX {
                tracing::info!(
                    "the clocks of this machine moved against each other; its read lease is given up"
                );
                self.leases.give_up();
            }
            self.observe_members();
            let leader = self.leader();
            self.ask_for_lease();
            let renewal = self.terms().renewal();
            let pause = if self.leases.is_held() { renewal } else { renewal.min(LEASE_RETRY_PAUSE) };
            tokio::select! {
                () = sleep(pause) => {}
                _ = metrics.wait_until(|metrics| metrics.current_leader != leader) => {}
                changed = tightened.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Takes note of who the members are. The moment of a leaving is that of the first look after it.
    pub(super) fn observe_members(&self) -> Roster {
        let applied = self.machine.published().members();
        let mut roster = lock(&self.leases.roster);
        roster.observe(
            self.member_ids(),
            applied.stored.nodes().map(|(id, _)| *id),
            applied.removed.iter().copied(),
            now(),
        );
        roster.clone()
    }

    /// Sends a request, unless too many are under way; then the next renewal says it.
    fn ask_for_lease(self: &Arc<Self>) {
        let Ok(place) = Arc::clone(&self.leases.requests).try_acquire_owned() else { return };
        let node = Arc::clone(self);
        tokio::spawn(async move {
            node.request_lease().await;
            drop(place);
        });
    }

    /// None: nobody answered. Whatever is wrong, the next renewal asks again.
    async fn request_lease(self: &Arc<Self>) -> Option<()> {
        let leader = self.leader()?;
        let (applied, length) = (self.machine.published().view().version().0, self.terms().length);
        let request = lock(&self.leases.holder).request(now(), applied);
        let answer = if leader == self.id {
            timeout(length, self.grant_lease(self.id, &request)).await.ok()?
        } else {
            self.ask_leader_for_lease(leader, &request, length).await?
        };
        match answer {
            LeaseAnswerV1::Granted { boot, sent, term, length, told, newest } => {
                let (sent, length) = (Moment { nanos: sent }, Duration::from_nanos(length));
                self.leases
                    .take(&LeaseGrant { boot: BootId(boot), sent, term, length }, Moment { nanos: told });
                self.leader_named(newest);
            }
            LeaseAnswerV1::NotBefore(applied) => self.leader_named(applied),
            LeaseAnswerV1::ClockOff { ppm: _, term, told } => {
                lock(&self.leases.holder).hear(term, Moment { nanos: told }, now());
                self.leader_named(0);
            }
            LeaseAnswerV1::Never | LeaseAnswerV1::NoAnswer(_) => {}
        }
        Some(())
    }

    async fn ask_leader_for_lease(
        &self,
        leader: NodeId,
        request: &LeaseRequest,
        patience: Duration,
    ) -> Option<LeaseAnswerV1> {
        let (info, body) = (self.member(leader)?, message::encode(&LeaseRequestV1::from(*request)));
        let asked = self.call_leader(leader, info, RequestKind::Lease, body, patience);
        message::decode(&asked.await.ok()?).ok()
    }

    /// A leader that a quorum follows, or followed a moment ago, named a version.
    fn leader_named(&self, version: u64) {
        let now = now();
        self.leases.answered.fetch_max(now.nanos, Ordering::AcqRel);
        lock(&self.leases.named).behind(version, self.machine.published().view().version().0, now);
    }

    /// All members as the log says, voters or not.
    pub(super) fn member_ids(&self) -> Vec<NodeId> {
        let membership = Arc::clone(&self.raft.metrics().borrow_watched().membership_config);
        membership.nodes().map(|(id, _)| *id).collect()
    }
}

/// A count as a metric holds it.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and metrics hold no more")]
pub(super) fn as_value(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind_is_so_since_it_was_named_first_what_it_has_not() {
        let at = |millis: u64| Moment { nanos: millis * 1_000_000 };
        let mut named = Named::default();
        assert_eq!(named.behind(7, 7, at(0)), (0, Duration::ZERO));
        assert_eq!(named.behind(9, 7, at(100)), (2, Duration::ZERO));
        assert_eq!(named.behind(8, 8, at(150)), (1, Duration::from_millis(50)));
        assert_eq!(named.behind(0, 9, at(200)), (0, Duration::ZERO));
    }
}
