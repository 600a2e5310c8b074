//! The driver of [`crate::lease`]: renews this node's lease, grants leases while it leads, and holds the report of a change
//! that takes rights away until nobody can decide without it any more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grantd_catalog::id::Version;
use grantd_catalog::view::View;
use openraft::async_runtime::watch::WatchReceiver;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use crate::config::{CLOCK_DRIFT_PPM, CLOCK_JUMP_MAX, LEASE_REQUESTS_MAX, NodeId, Tuning};
use crate::handle::{Handle, Node, lock};
use crate::lease::{Asked, BootId, Grantor, Holder, LeaseGrant, LeaseRequest, Moment, Terms};
use crate::message::{self, LeaseAnswerV1, LeaseRequestV1, NoAnswerV1};
use crate::transport::RequestKind;
use crate::types::CommittedLeaderId;

/// This node holds no read lease: it cannot know whether its view is the newest that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node holds no read lease: it does not reach the leader, or there is none")]
pub struct NoLease;

/// What a node knows of leases.
pub(super) struct Leases {
    terms: Terms,
    holder: Mutex<Holder>,
    /// When this node's lease is over, by its clock; 0: it holds none.
    expires: AtomicU64,
    /// Of the newest term in which this node was seen to lead.
    leading: Mutex<Option<Arc<Leading>>>,
    /// Places for requests that are under way.
    requests: Arc<Semaphore>,
}

/// What this node granted in one term.
struct Leading {
    leader: CommittedLeaderId,
    grantor: Mutex<Grantor>,
    /// Somebody said how far it is.
    reported: Notify,
}

/// CLOCK_BOOTTIME: it goes on while the machine sleeps, which tokio's and the standard library's does not.
fn now() -> Moment {
    Moment { nanos: nanos(ClockId::Boottime) }
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or_default().saturating_mul(1_000_000_000).saturating_add(nanos.unwrap_or_default())
}

impl Leases {
    pub(super) fn new(tuning: &Tuning, boot: u64) -> Self {
        let terms = Terms { length: tuning.lease, drift_ppm: CLOCK_DRIFT_PPM };
        Self {
            terms,
            holder: Mutex::new(Holder::new(terms, BootId(boot))),
            expires: AtomicU64::new(0),
            leading: Mutex::default(),
            requests: Arc::new(Semaphore::new(LEASE_REQUESTS_MAX)),
        }
    }

    fn take(&self, grant: &LeaseGrant) {
        let mut holder = lock(&self.holder);
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

impl Handle {
    /// Decides on this node's own view, without asking anybody: no change that took rights away and was reported when
    /// `decide` returned is missing in it. `decide` may be called again when the view changed meanwhile.
    pub fn decide<T>(&self, mut decide: impl FnMut(&View) -> T) -> Result<T, NoLease> {
        let (leases, published) = (&self.node.leases, self.node.machine.published());
        loop {
            // In this order: B2 and B3.
            let expires = leases.expires.load(Ordering::Acquire);
            let view = published.view();
            let answer = decide(&view);
            if published.view().version() != view.version() {
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
        published.view().state() == view.state() && now().nanos < expires
    }
}

impl Node {
    /// Asks for a lease again and again.
    pub(super) async fn renew_leases(self: Arc<Self>) {
        let mut distance = None;
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
            self.ask_for_lease();
            sleep(self.leases.terms.renewal()).await;
        }
    }

    /// Asks as soon as a change that takes rights away is in this node's view: the leader waits to hear it.
    pub(super) async fn report_tightenings(self: Arc<Self>) {
        let mut tightened = self.machine.published().watch_tightened();
        while tightened.changed().await.is_ok() {
            tightened.borrow_and_update();
            self.ask_for_lease();
        }
    }

    /// Sends a request, unless too many are under way; then the next renewal says it.
    fn ask_for_lease(self: &Arc<Self>) {
        let Ok(place) = Arc::clone(&self.leases.requests).try_acquire_owned() else { return };
        let node = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(grant) = node.request_lease().await {
                node.leases.take(&grant);
            }
            drop(place);
        });
    }

    async fn request_lease(self: &Arc<Self>) -> Option<LeaseGrant> {
        let leader = self.leader()?;
        let applied = self.machine.published().view().version().0;
        let request = lock(&self.leases.holder).request(now(), applied);
        let answer = if leader == self.id {
            timeout(self.leases.terms.length, self.grant_lease(self.id, &request)).await.ok()?
        } else {
            let body = message::encode(&LeaseRequestV1::from(request));
            let info = self.member(leader)?;
            let asked = self.call_leader(leader, info, RequestKind::Lease, body, self.leases.terms.length);
            // Whatever is wrong, the next renewal asks again.
            message::decode::<LeaseAnswerV1>(&asked.await.ok()?).ok()?
        };
        match answer {
            LeaseAnswerV1::Granted { boot, sent, term } => {
                Some(LeaseGrant { boot: BootId(boot), sent: Moment { nanos: sent }, term })
            }
            LeaseAnswerV1::NotBefore(_) | LeaseAnswerV1::Never | LeaseAnswerV1::NoAnswer(_) => None,
        }
    }

    /// As leader: answers a request.
    pub(super) async fn grant_lease(self: &Arc<Self>, from: NodeId, request: &LeaseRequest) -> LeaseAnswerV1 {
        let not_leader = || LeaseAnswerV1::NoAnswer(NoAnswerV1::NotLeader { leader: self.leader() });
        let Some(leading) = self.leading() else { return not_leader() };
        if !lock(&leading.grantor).is_ready() {
            // A leader answers such a round when its own first entry is committed, with an index that is not before it.
            let index = match self.confirmed_index().await {
                Ok(index) => index,
                Err(why) => return LeaseAnswerV1::NoAnswer(why),
            };
            if let Err(why) = self.at_least(Version(index), self.deadline()).await {
                return LeaseAnswerV1::NoAnswer(NoAnswerV1::Unknown(why.to_string()));
            }
            if !self.still_leads(&leading) {
                return not_leader();
            }
            lock(&leading.grantor).first_applied(index);
        }
        let asked = self.with_members(&leading, |grantor| grantor.request(from, request, now()));
        leading.reported.notify_waiters();
        match asked {
            Asked::Never => LeaseAnswerV1::Never,
            Asked::NotBefore { applied } => LeaseAnswerV1::NotBefore(applied),
            // The round begins after the grant was remembered. B5, B6.
            Asked::Confirm(grant) => match self.confirmed_index().await {
                Ok(_) if self.still_leads(&leading) => {
                    LeaseAnswerV1::Granted { boot: grant.boot.0, sent: grant.sent.nanos, term: grant.term }
                }
                Ok(_) => not_leader(),
                Err(why) => LeaseAnswerV1::NoAnswer(why),
            },
        }
    }

    /// Waits until nobody can decide any more without the change of this version, which took rights away. At most about
    /// as long as a lease is.
    pub(super) async fn enforce(&self, version: Version) {
        let Some(leading) = self.leading() else {
            // It led when the change was made, and whoever leads now grants leases only to who has it. What was granted
            // before is over then.
            return sleep(self.leases.terms.wait()).await;
        };
        let boot = lock(&self.leases.holder).request(now(), version.0).boot;
        let barrier = self.with_members(&leading, |grantor| {
            // This node has published it, or nobody would have been told.
            grantor.report(self.id, boot, version.0);
            grantor.begin(version.0, now())
        });
        loop {
            let reported = leading.reported.notified();
            tokio::pin!(reported);
            // Before the look: what is reported after it is not missed.
            reported.as_mut().enable();
            let (is_over, ends) = {
                let grantor = lock(&leading.grantor);
                (grantor.is_over(&barrier, now()), grantor.ends(&barrier))
            };
            if is_over {
                return;
            }
            let rest = Duration::from_nanos(ends.nanos.saturating_sub(now().nanos));
            // Whichever comes first, the loop looks again.
            let _ = timeout(rest, reported).await;
        }
    }

    /// What this node grants in the term that it leads in. None: it does not lead.
    fn leading(&self) -> Option<Arc<Leading>> {
        let leader = self.raft.as_leader().ok()?.to_committed_leader_id();
        let mut leading = lock(&self.leases.leading);
        if let Some(known) = leading.as_ref().filter(|known| known.leader == leader) {
            return Some(Arc::clone(known));
        }
        // It was elected before now, so what it waits from now on is long enough. B8.
        let grantor = Grantor::new(self.leases.terms, leader.term, self.member_ids(), now());
        let new = Arc::new(Leading { leader, grantor: Mutex::new(grantor), reported: Notify::new() });
        *leading = Some(Arc::clone(&new));
        Some(new)
    }

    fn still_leads(&self, leading: &Leading) -> bool {
        self.raft.as_leader().is_ok_and(|leader| leader.to_committed_leader_id() == leading.leader)
    }

    fn with_members<T>(&self, leading: &Leading, act: impl FnOnce(&mut Grantor) -> T) -> T {
        let members = self.member_ids();
        let mut grantor = lock(&leading.grantor);
        grantor.set_members(members, now());
        act(&mut grantor)
    }

    /// All members, voters or not.
    fn member_ids(&self) -> Vec<NodeId> {
        let membership = Arc::clone(&self.raft.metrics().borrow_watched().membership_config);
        membership.nodes().map(|(id, _)| *id).collect()
    }
}
