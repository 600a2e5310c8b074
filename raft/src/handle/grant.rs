//! The leader's driver of [`crate::lease`]: grants leases, holds the report of a change that takes rights away until nobody
//! can decide without it any more, and keeps a shorter lease out of the log until the longer ones are over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use grantd_catalog::command::Command;
use grantd_catalog::id::Version;
use grantd_catalog::setting::{Setting, SettingValue};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{BARRIER_LOGGED, NodeId};
use crate::entry::Proposal;
use crate::handle::lease::{as_value, now, terms_of};
use crate::handle::{Node, lock};
use crate::lease::{Asked, ClockOff, End, Grantor, LeaseGrant, LeaseRequest};
use crate::message::{LeaseAnswerV1, NoAnswerV1};
use crate::types::CommittedLeaderId;
use crate::write::Unavailable;

/// What this node granted in one term.
pub(super) struct Leading {
    pub(super) leader: CommittedLeaderId,
    pub(super) grantor: Mutex<Grantor>,
    /// Somebody said how far it is.
    reported: Notify,
}

impl Node {
    /// As leader: answers a request.
    pub(super) async fn grant_lease(self: &Arc<Self>, from: NodeId, request: &LeaseRequest) -> LeaseAnswerV1 {
        let answer = self.granted(from, request).await;
        self.metrics.lease_request(match &answer {
            LeaseAnswerV1::Granted { .. } => "granted",
            LeaseAnswerV1::NotBefore(_) => "behind",
            LeaseAnswerV1::ClockOff { .. } => "clock",
            LeaseAnswerV1::Never => "never",
            LeaseAnswerV1::NoAnswer(NoAnswerV1::NotLeader { .. }) => "not_leader",
            LeaseAnswerV1::NoAnswer(_) => "unconfirmed",
        });
        answer
    }

    async fn granted(self: &Arc<Self>, from: NodeId, request: &LeaseRequest) -> LeaseAnswerV1 {
        let not_leader = || LeaseAnswerV1::NoAnswer(NoAnswerV1::NotLeader { leader: self.leader() });
        let Some(leading) = self.leading() else { return not_leader() };
        if !lock(&leading.grantor).is_ready() {
            // A leader answers such a round when its own first entry is committed, with an index that is not before it.
            let index = match self.confirmed_index().await {
                Ok(index) => index,
                Err(why) => return LeaseAnswerV1::NoAnswer(why),
            };
            let view = match self.at_least(Version(index), self.deadline()).await {
                Ok(view) => view,
                Err(why) => return LeaseAnswerV1::NoAnswer(NoAnswerV1::Unknown(why.to_string())),
            };
            if !self.still_leads(&leading) {
                return not_leader();
            }
            lock(&leading.grantor).first_applied(index, terms_of(&view));
        }
        let (asked, ppm) = self.with_members(&leading, |grantor| {
            let asked = grantor.request(from, request, now());
            (asked, grantor.drift_ppm(from))
        });
        leading.reported.notify_waiters();
        if from != self.id {
            let drift = as_value(ppm.unsigned_abs());
            self.metrics.drift(from).set(if ppm < 0 { -drift } else { drift });
        }
        match asked {
            Asked::Never => LeaseAnswerV1::Never,
            Asked::NotBefore { applied } => LeaseAnswerV1::NotBefore(applied),
            Asked::Clock(off) => {
                self.clock_is_off(from, off);
                LeaseAnswerV1::ClockOff { ppm: off.ppm, term: leading.leader.term, told: now().nanos }
            }
            // The round begins after the grant was remembered. B5, B6.
            Asked::Confirm(grant) => match self.confirmed_index().await {
                // A change of the members may have come meanwhile. B12.
                Ok(_) if !self.with_members(&leading, |grantor| grantor.may_hold(from)) => {
                    LeaseAnswerV1::Never
                }
                Ok(_) if self.still_leads(&leading) => self.answer_with(grant),
                Ok(_) => not_leader(),
                Err(why) => LeaseAnswerV1::NoAnswer(why),
            },
        }
    }

    fn answer_with(&self, grant: LeaseGrant) -> LeaseAnswerV1 {
        LeaseAnswerV1::Granted {
            boot: grant.boot.0,
            sent: grant.sent.nanos,
            term: grant.term,
            length: u64::try_from(grant.length.as_nanos()).unwrap_or(u64::MAX),
            told: now().nanos,
            newest: self.machine.published().view().version().0,
        }
    }

    /// Somebody must act, so it is said, once.
    fn clock_is_off(&self, node: NodeId, off: ClockOff) {
        if !off.is_news {
            return;
        }
        tracing::error!(
            node,
            ppm = off.ppm,
            "the clock of a node runs at another rate than this leader's, by more than grantd.lease.clock_drift_ppm allows: \
             it gets no read lease and asks the leader at each decision until it is right; look at its time service"
        );
        if off.is_ours {
            tracing::error!(
                node = self.id,
                "most nodes seem to be wrong in the same way: it is rather the clock of this node, the leader, that is; let \
                 another one lead (`grantd node transfer`), for a wrong leader may report a REVOKE too early"
            );
        }
    }

    /// Waits until nobody can decide any more without the change of this version, which took rights away. At most about
    /// as long as a lease is.
    pub(super) async fn enforce(&self, version: Version) {
        let began = Instant::now();
        let (end, waited_for) = self.barrier(version).await;
        let waited = began.elapsed();
        self.metrics.barrier(end).record(waited.as_secs_f64());
        if waited > BARRIER_LOGGED {
            tracing::info!(
                version = version.0,
                waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                nodes = ?waited_for,
                end,
                "a change that takes rights away waited for nodes that could decide without it"
            );
        }
    }

    /// How it ended, and who held it up to the last.
    async fn barrier(&self, version: Version) -> (&'static str, Vec<NodeId>) {
        let mut waited_for = Vec::new();
        let Some(leading) = self.leading() else { return self.outlive_leases(waited_for).await };
        let barrier = self.with_members(&leading, |grantor| {
            // This node has published it, or nobody would have been told.
            grantor.report(self.id, self.leases.boot, version.0);
            grantor.begin(version.0, now())
        });
        loop {
            let reported = leading.reported.notified();
            tokio::pin!(reported);
            // Before the look: what is reported after it is not missed.
            reported.as_mut().enable();
            let (end, ends, waits_for) = self.with_members(&leading, |grantor| {
                let now = now();
                (grantor.is_over(&barrier, now), grantor.ends(&barrier), grantor.waits_for(&barrier, now))
            });
            match end {
                Some(End::Reported) => return ("reported", waited_for),
                Some(End::Expired) => return ("expired", waited_for),
                Some(End::NewLeader) => return ("new_leader", waited_for),
                None if !self.still_leads(&leading) => return self.outlive_leases(waited_for).await,
                None => waited_for = waits_for,
            }
            // That this node leads no more is seen at the next look too.
            let look = self.terms().renewal();
            let rest = ends.map_or(look, |ends| ends.since(now()).min(look));
            // Whichever comes first, the loop looks again.
            let _ = timeout(rest, reported).await;
        }
    }

    /// It led when the change was made, and whoever leads now grants leases only to who has it. What was granted before is
    /// over then.
    async fn outlive_leases(&self, waited_for: Vec<NodeId>) -> (&'static str, Vec<NodeId>) {
        sleep(self.terms().wait()).await;
        ("deposed", waited_for)
    }

    /// Waits until a proposal that makes leases shorter may go to the log, by whom it may be proposed then. It is to be told
    /// what became of it: [`Self::resized`]. B14.
    pub(super) async fn make_leases_shorter(
        &self,
        length: Duration,
        deadline: Instant,
    ) -> Result<Arc<Leading>, Unavailable> {
        loop {
            let Some(leading) = self.leading() else {
                return Err(Unavailable::NotLeader { leader: self.leader() });
            };
            let ready = self.with_members(&leading, |grantor| grantor.shorten(length, now()));
            match ready {
                Some(ready) if ready <= now() && self.still_leads(&leading) => return Ok(leading),
                Some(_) | None if Instant::now() >= deadline => {
                    lock(&leading.grantor).lift();
                    return Err(Unavailable::NoLeader(self.tuning.request_timeout));
                }
                Some(ready) => sleep(ready.since(now()).min(self.terms().renewal())).await,
                // Its first entry is not applied yet.
                None => sleep(self.terms().renewal()).await,
            }
        }
    }

    /// The terms count again, unless nobody knows whether shorter leases are in the log: then nothing longer is granted while
    /// this node leads.
    pub(super) fn resized<T>(&self, leading: &Leading, outcome: &Result<T, Unavailable>) {
        if !matches!(outcome, Err(Unavailable::Unknown(_))) {
            self.with_members(leading, Grantor::lift);
        }
    }

    /// What this node grants in the term that it leads in. None: it does not lead.
    fn leading(&self) -> Option<Arc<Leading>> {
        let leader = self.raft.as_leader().ok()?.to_committed_leader_id();
        let roster = self.observe_members();
        let mut leading = lock(&self.leases.leading);
        if let Some(known) = leading.as_ref().filter(|known| known.leader == leader) {
            return Some(Arc::clone(known));
        }
        // It was elected before now, so what it waits from now on is long enough. B8.
        let grantor = Grantor::new(leader.term, roster, now());
        let new = Arc::new(Leading { leader, grantor: Mutex::new(grantor), reported: Notify::new() });
        *leading = Some(Arc::clone(&new));
        Some(new)
    }

    fn still_leads(&self, leading: &Leading) -> bool {
        self.raft.as_leader().is_ok_and(|leader| leader.to_committed_leader_id() == leading.leader)
    }

    fn with_members<T>(&self, leading: &Leading, act: impl FnOnce(&mut Grantor) -> T) -> T {
        let (roster, terms) = (self.observe_members(), self.terms());
        let mut grantor = lock(&leading.grantor);
        grantor.observe(roster, terms);
        act(&mut grantor)
    }
}

/// The length of leases that a proposal asks for, the shortest if it asks for several.
pub(super) fn asked_length(proposal: &Proposal) -> Option<Duration> {
    let row = Setting::LeaseDuration.row();
    let lengths = proposal.commands.iter().filter_map(|command| {
        let Command::SetClusterSetting { setting: Setting::LeaseDuration, value } = command else {
            return None;
        };
        // What is no value is refused where it is applied.
        let canonical = row.setting_type.canonical(value.as_deref().unwrap_or(row.default))?;
        match row.setting_type.value(&canonical)? {
            SettingValue::Milliseconds(ms) => Some(Duration::from_millis(ms)),
            _ => None,
        }
    });
    lengths.min()
}
