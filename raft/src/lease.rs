//! Read leases: how a node knows that what it decides from its own view is not older than a change that took rights away
//! and was reported as done. Pure: messages and clock readings in, decisions out; no I/O, no waiting.
//!
//! **The promise.** When a change that takes rights away has returned, no decision that is made afterwards, on any node, is
//! made on a view older than it; and it returns within [`Terms::wait`] though a node is dead, paused or cut off.
//!
//! **How.** Every node that decides holds a lease of its leader's ([`Holder`]), which runs out by itself. The leader
//! ([`Grantor`]) reports such a change only when each node that may still hold a lease has applied it, or its lease has run
//! out.
//!
//! What is assumed: each clock's rate is within [`Terms::drift_ppm`] of real time and it does not stop while the machine
//! sleeps (CLOCK_BOOTTIME); nothing is assumed of what clocks show, of delays, or of elections.
//!
//! Each rule below is needed: `raft/tests/lease.rs` leaves one out at a time and sees the promise broken.
//!
//! | | rule |
//! |---|---|
//! | B1 | a lease counts from when its holder sent the request |
//! | B2 | who decides reads the clock after it decided, against the lease that it loaded before |
//! | B3 | who decides finds the view still the newest after it decided |
//! | B4 | a lease ends with the process that holds it |
//! | B5 | a leader remembers a grant from when the request came, and waits longer than the lease by what clocks may differ |
//! | B6 | a grant is answered after a quorum confirmed the leader in a round that began after the request came |
//! | B7 | a new leader grants nothing before its own first entry is applied, and nothing to who has not applied that |
//! | B8 | a new leader waits as if its predecessor had granted a lease to everybody just before |
//! | B9 | a grant is refused to who has not applied the newest change that takes rights away |
//! | B10 | a change is reported when all who may hold a lease have applied it, not when a quorum has |
//! | B11 | a leader that restarts is no leader |
//!
//! The argument why these are enough is in `docs/adr`, the revocation barrier.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::NodeId;

/// A reading of one node's own clock. Readings of two nodes have nothing to do with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Nanoseconds since the machine started.
    pub nanos: u64,
}

impl Moment {
    /// The moment after a time.
    pub fn after(self, time: Duration) -> Self {
        Self { nanos: self.nanos.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)) }
    }
}

/// How long leases are, and how far clocks may be off. The same on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a lease is, on the clock of its holder.
    pub length: Duration,
    /// By how many millionths a clock may be faster or slower than real time; below a million.
    pub drift_ppm: u32,
}

impl Terms {
    /// How long a leader waits, on its own clock, until a lease has certainly run out: the lease by a clock that is as slow
    /// as may be, seen by one that is as fast as may be. Rounded up.
    pub fn wait(&self) -> Duration {
        let million: u128 = 1_000_000;
        let drift = u128::from(self.drift_ppm).min(million - 1);
        let nanos = (self.length.as_nanos() * (million + drift)).div_ceil(million - drift);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How often a holder asks anew.
    pub fn renewal(&self) -> Duration {
        self.length / 3
    }
}

/// One run of a node's process. A later run of the same node has a greater number, so that what an earlier one sent, and
/// the network kept, is known as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootId(pub u64);

/// A holder asks its leader for a lease, and says how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The process that asks.
    pub boot: BootId,
    /// When it sent this, by its own clock; the leader sends it back and does not read it. B1.
    pub sent: Moment,
    /// The last entry that is in the view that it decides from.
    pub applied: u64,
}

/// What a leader grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Of the request.
    pub boot: BootId,
    /// Of the request.
    pub sent: Moment,
    /// The leader's term.
    pub term: u64,
}

/// A lease: until when its holder may decide from its own view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// By the holder's clock; at this moment it is over.
    pub expires: Moment,
}

impl Lease {
    /// Whether it is still held. The clock is to be read after the decision was made. B2.
    pub fn is_held(self, now: Moment) -> bool {
        now < self.expires
    }
}

/// What a node knows of its own lease. Made when its process starts, with no lease. B4.
#[derive(Clone, Debug)]
pub struct Holder {
    terms: Terms,
    boot: BootId,
    term: u64,
    lease: Option<Lease>,
}

impl Holder {
    /// Of a process that has just started.
    pub fn new(terms: Terms, boot: BootId) -> Self {
        Self { terms, boot, term: 0, lease: None }
    }

    /// What to send now.
    pub fn request(&self, now: Moment, applied: u64) -> LeaseRequest {
        LeaseRequest { boot: self.boot, sent: now, applied }
    }

    /// Takes an answer. The lease to decide under from now on, if it is longer than the one before.
    pub fn take(&mut self, grant: &LeaseGrant) -> Option<Lease> {
        // What was asked by a process before this one is not this one's; a leader that was followed by another one has nothing
        // to grant.
        if grant.boot != self.boot || grant.term < self.term {
            return None;
        }
        self.term = grant.term;
        let lease = Lease { expires: grant.sent.after(self.terms.length) };
        if self.lease.is_some_and(|held| held.expires >= lease.expires) {
            return None;
        }
        self.lease = Some(lease);
        self.lease
    }

    /// Gives the lease up: the clock is not to be trusted, as after the machine's state was restored.
    pub fn drop_lease(&mut self) {
        self.lease = None;
    }
}

/// What becomes of a request for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To be answered with this when a round that begins from now on has confirmed the leader with a quorum. B6.
    Confirm(LeaseGrant),
    /// Not now. The holder asks again when it has applied this entry.
    NotBefore {
        /// The entry.
        applied: u64,
    },
    /// No: it is no member, or of a process that has ended.
    Never,
}

/// A change that takes rights away, on its way to be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    index: u64,
    /// Who may hold a lease from before it, and when that one is over by the leader's clock.
    pending: BTreeMap<NodeId, Moment>,
}

impl Barrier {
    /// The entry of the change.
    pub fn index(&self) -> u64 {
        self.index
    }
}

/// What the leader of one term knows of leases. Made when it is elected, dropped when it is not leader any more. B11.
#[derive(Clone, Debug)]
pub struct Grantor {
    term: u64,
    wait: Duration,
    members: BTreeSet<NodeId>,
    /// Members that left, and until when they may still decide.
    removed: BTreeMap<NodeId, Moment>,
    /// Whether its own first entry is applied. B7.
    ready: bool,
    /// Nobody gets a lease who has not applied this. B7, B9.
    floor: u64,
    /// From here on no lease of a leader before this one is left. B8.
    serves_from: Moment,
    /// Of each node that asked: of which process, and when its lease is over.
    grants: BTreeMap<NodeId, (BootId, Moment)>,
    /// How far the view is that each node decides from.
    applied: BTreeMap<NodeId, (BootId, u64)>,
}

impl Grantor {
    /// Of a leader that was elected before `now`, with all members, voters or not.
    pub fn new(terms: Terms, term: u64, members: impl IntoIterator<Item = NodeId>, now: Moment) -> Self {
        let wait = terms.wait();
        Self {
            term,
            wait,
            members: members.into_iter().collect(),
            removed: BTreeMap::new(),
            ready: false,
            floor: 0,
            serves_from: now.after(wait),
            grants: BTreeMap::new(),
            applied: BTreeMap::new(),
        }
    }

    /// The leader applied its own first entry, which is this one or before it. B7.
    pub fn first_applied(&mut self, index: u64) {
        self.ready = true;
        self.floor = self.floor.max(index);
    }

    /// Whether it has.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// The members are these from now on. Who left may go on deciding for as long as a lease lasts.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = NodeId>, now: Moment) {
        let members: BTreeSet<NodeId> = members.into_iter().collect();
        self.removed.retain(|id, until| now < *until && !members.contains(id));
        let left = self.members.difference(&members).copied();
        self.removed.extend(left.map(|id| (id, now.after(self.wait))));
        self.members = members;
    }

    /// A request came. The grant is remembered before anything is answered. B5.
    pub fn request(&mut self, from: NodeId, request: &LeaseRequest, now: Moment) -> Asked {
        let ended = self.applied.get(&from).is_some_and(|(boot, _)| *boot > request.boot);
        if ended || !self.members.contains(&from) {
            return Asked::Never;
        }
        self.report(from, request.boot, request.applied);
        if !self.ready || request.applied < self.floor {
            return Asked::NotBefore { applied: self.floor };
        }
        self.grants.insert(from, (request.boot, now.after(self.wait)));
        Asked::Confirm(LeaseGrant { boot: request.boot, sent: request.sent, term: self.term })
    }

    /// A node says how far the view is that it decides from.
    pub fn report(&mut self, from: NodeId, boot: BootId, applied: u64) {
        // A process that has ended decides nothing; the one after it may have applied less.
        let known = self.applied.entry(from).or_insert((boot, applied));
        *known = (boot, applied).max(*known);
    }

    /// The leader has applied the entry of a change that takes rights away, and nothing else happened since. From now on
    /// nobody gets a lease who has not. B9.
    pub fn begin(&mut self, index: u64, now: Moment) -> Barrier {
        self.floor = self.floor.max(index);
        self.grants.retain(|_, (_, until)| now < *until);
        let pending = self.grants.iter().map(|(id, (_, until))| (*id, *until)).collect();
        Barrier { index, pending }
    }

    /// Whether the change may be reported. B10.
    pub fn is_over(&self, barrier: &Barrier, now: Moment) -> bool {
        let has = |id: &NodeId| self.applied.get(id).is_some_and(|(_, applied)| *applied >= barrier.index);
        let all = self.members.iter().chain(self.removed.keys()).all(has);
        let alone = now >= self.serves_from
            && barrier.pending.iter().all(|(id, until)| has(id) || now >= *until)
            && self.removed.iter().all(|(id, until)| has(id) || now >= *until);
        all || alone
    }

    /// When it is over though nobody says anything more, if the change is not to be reported before.
    pub fn ends(&self, barrier: &Barrier) -> Moment {
        let has = |id: &NodeId| self.applied.get(id).is_some_and(|(_, applied)| *applied >= barrier.index);
        let waits = barrier.pending.iter().chain(&self.removed).filter(|(id, _)| !has(id));
        waits.map(|(_, until)| *until).max().unwrap_or_default().max(self.serves_from)
    }

    /// Who holds it up: members that may hold a lease and have not applied it.
    pub fn waits_for(&self, barrier: &Barrier, now: Moment) -> Vec<NodeId> {
        let has = |id: &NodeId| self.applied.get(id).is_some_and(|(_, applied)| *applied >= barrier.index);
        let unknown = now < self.serves_from;
        let may = |id: &NodeId| unknown || barrier.pending.get(id).is_some_and(|until| now < *until);
        let members = self.members.iter().chain(self.removed.keys());
        members.filter(|id| !has(id) && may(id)).copied().collect()
    }
}
