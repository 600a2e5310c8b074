//! The leader's side: what it granted, and what that holds up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clock::{ClockOff, Meter, is_within};
use super::roster::Roster;
use super::{BootId, LeaseGrant, LeaseRequest, Moment, Terms};
use crate::config::NodeId;

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
    /// No: by its clock nobody could tell when its lease is over.
    Clock(ClockOff),
    /// No: it is no member, or of a process that has ended.
    Never,
}

/// A change that takes rights away, on its way to be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    index: u64,
    began: Moment,
    /// Who may hold a lease from before it, and when that one is over by the leader's clock.
    pending: BTreeMap<NodeId, Moment>,
}

impl Barrier {
    /// The entry of the change.
    pub fn index(&self) -> u64 {
        self.index
    }
}

/// Why a change may be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everybody who may hold a lease has it.
    Reported,
    /// Who has not cannot decide any more: its lease is over.
    Expired,
    /// It began when leases of a leader before this one could be left, and those are over.
    NewLeader,
}

/// What the leader of one term knows of leases. Made when it is elected, dropped when it is not leader any more. B11.
#[derive(Clone, Debug)]
pub struct Grantor {
    term: u64,
    elected: Moment,
    roster: Roster,
    /// As its own view says; none: its own first entry is not applied yet. B7.
    terms: Option<Terms>,
    /// Nobody gets a lease who has not applied this. B7, B9.
    floor: u64,
    /// No lease is longer than this from now on, whatever the terms say: a shorter one is on its way to the log. B14.
    ceiling: Option<Duration>,
    /// Of each node that asked, of its newest process.
    holders: BTreeMap<NodeId, Known>,
}

/// What a leader knows of a node.
#[derive(Clone, Debug)]
struct Known {
    boot: BootId,
    /// How far the view is that it decides from.
    applied: u64,
    /// When what it was granted is over, by the length, of any of its processes. As many as there were lengths within a lease.
    granted: BTreeMap<Duration, Moment>,
    clock: Meter,
    /// Its clock was found to be off.
    is_off: bool,
}

impl Grantor {
    /// Of a leader that was elected before `now`.
    pub fn new(term: u64, roster: Roster, now: Moment) -> Self {
        Self { term, elected: now, roster, terms: None, floor: 0, ceiling: None, holders: BTreeMap::new() }
    }

    /// The leader applied its own first entry, which is this one or before it; `terms` are those of a view that has it. B7.
    pub fn first_applied(&mut self, index: u64, terms: Terms) {
        self.terms = Some(terms);
        self.floor = self.floor.max(index);
    }

    /// Whether it has.
    pub fn is_ready(&self) -> bool {
        self.terms.is_some()
    }

    /// The members, and the terms of the leader's newest view, are these from now on.
    pub fn observe(&mut self, roster: Roster, terms: Terms) {
        self.roster = roster;
        self.terms = self.terms.map(|_| terms);
    }

    /// A request came. The grant is remembered before anything is answered. B5.
    pub fn request(&mut self, from: NodeId, request: &LeaseRequest, now: Moment) -> Asked {
        let ended = self.holders.get(&from).is_some_and(|known| known.boot > request.boot);
        if ended || !self.may_hold(from) {
            return Asked::Never;
        }
        self.report(from, request.boot, request.applied);
        let Some(terms) = self.terms.filter(|_| request.applied >= self.floor) else {
            return Asked::NotBefore { applied: self.floor };
        };
        if let Some(off) = self.clock_off(from, request, terms, now) {
            return Asked::Clock(off);
        }
        let length = self.ceiling.map_or(terms.length, |ceiling| ceiling.min(terms.length));
        let until = now.after(Terms { length, ..terms }.wait());
        let Some(known) = self.holders.get_mut(&from) else { return Asked::Never };
        known.granted.retain(|_, until| now < *until);
        known.granted.insert(length, until);
        Asked::Confirm(LeaseGrant { boot: request.boot, sent: request.sent, term: self.term, length })
    }

    /// Whether a node may be granted leases, by membership. To be asked again after the round that confirmed the leader: a
    /// change of the members may have entered the log meanwhile. B12.
    pub fn may_hold(&self, id: NodeId) -> bool {
        self.roster.may_ask(id)
    }

    /// A node says how far the view is that it decides from.
    pub fn report(&mut self, from: NodeId, boot: BootId, applied: u64) {
        let new =
            || Known { boot, applied, granted: BTreeMap::new(), clock: Meter::default(), is_off: false };
        let known = self.holders.entry(from).or_insert_with(new);
        if known.boot < boot {
            // A process that has ended decides nothing; the one after it may have applied less. Its lease stays remembered:
            // when it ended nobody knows.
            let granted = std::mem::take(&mut known.granted);
            *known = Known { granted, is_off: known.is_off, ..new() };
        } else if known.boot == boot {
            known.applied = known.applied.max(applied);
        }
    }

    /// By how many millionths the clock of a node runs faster than the leader's, at least; 0: nothing is certain.
    pub fn drift_ppm(&self, of: NodeId) -> i64 {
        self.holders.get(&of).map_or(0, |known| known.clock.ppm())
    }

    fn clock_off(
        &mut self,
        from: NodeId,
        request: &LeaseRequest,
        terms: Terms,
        now: Moment,
    ) -> Option<ClockOff> {
        let term = self.term;
        let known = self.holders.get_mut(&from)?;
        let ppm = known.clock.measure(request, term, now);
        if is_within(terms, ppm) {
            known.is_off = false;
            return None;
        }
        let is_news = !std::mem::replace(&mut known.is_off, true);
        let same_way = self.holders.values().filter(|known| known.clock.ppm().signum() == ppm.signum());
        let same_way = same_way.filter(|known| !is_within(terms, known.clock.ppm())).count();
        // The leader is one of them, and its clock is right against itself.
        let is_ours = same_way >= 2 && 2 * same_way >= self.holders.len();
        Some(ClockOff { ppm, is_ours, is_news })
    }

    /// The leader has applied the entry of a change that takes rights away, and nothing else happened since. From now on
    /// nobody gets a lease who has not. B9.
    pub fn begin(&mut self, index: u64, now: Moment) -> Barrier {
        self.floor = self.floor.max(index);
        let last = |known: &Known| known.granted.values().max().copied();
        let granted = self.holders.iter().filter_map(|(id, known)| Some((*id, last(known)?)));
        Barrier { index, began: now, pending: granted.filter(|(_, until)| now < *until).collect() }
    }

    /// Why the change may be reported; none: it may not yet. B10.
    pub fn is_over(&self, barrier: &Barrier, now: Moment) -> Option<End> {
        let holders =
            self.roster.may_hold(|seen| self.terms.is_some_and(|terms| now >= seen.after(terms.wait())));
        if holders.iter().all(|id| self.has(*id, barrier)) {
            return Some(End::Reported);
        }
        // From here on no lease of a leader before this one is left. B8.
        let serves_from = self.serves_from()?;
        let waits = |(id, until): (&NodeId, &Moment)| !self.has(*id, barrier) && now < *until;
        if now < serves_from || barrier.pending.iter().any(waits) {
            return None;
        }
        Some(if barrier.began < serves_from {
            End::NewLeader
        } else if barrier.pending.keys().all(|id| self.has(*id, barrier)) {
            End::Reported
        } else {
            End::Expired
        })
    }

    /// When it is over though nobody says anything more, if the change is not to be reported before. None: that is not known
    /// before the leader's first entry is applied.
    pub fn ends(&self, barrier: &Barrier) -> Option<Moment> {
        let waits = barrier.pending.iter().filter(|(id, _)| !self.has(**id, barrier));
        Some(waits.map(|(_, until)| *until).max().unwrap_or_default().max(self.serves_from()?))
    }

    /// Who holds it up: who may hold a lease and has not applied it.
    pub fn waits_for(&self, barrier: &Barrier, now: Moment) -> Vec<NodeId> {
        let unknown = self.serves_from().is_none_or(|from| now < from);
        let of_before = if unknown { self.roster.may_hold(|_| false) } else { BTreeSet::new() };
        let granted = barrier.pending.iter().filter(|(_, until)| now < **until).map(|(id, _)| *id);
        let waits: BTreeSet<NodeId> = granted.chain(of_before).filter(|id| !self.has(*id, barrier)).collect();
        waits.into_iter().collect()
    }

    /// A change of the lease to `length` is asked for. From now on nothing longer is granted, and when this moment has come no
    /// longer lease is left, of whatever leader: then the change may go to the log. None: not known yet. B14.
    pub fn shorten(&mut self, length: Duration, now: Moment) -> Option<Moment> {
        if length >= self.terms?.length {
            return Some(now);
        }
        self.ceiling = Some(self.ceiling.map_or(length, |ceiling| ceiling.min(length)));
        let granted = self.holders.values().flat_map(|known| &known.granted);
        let longer = granted.filter(|(granted, _)| **granted > length).map(|(_, until)| *until);
        Some(longer.max().unwrap_or(now).max(self.serves_from()?))
    }

    /// The change is in this leader's view, or was never proposed: the terms count again.
    pub fn lift(&mut self) {
        self.ceiling = None;
    }

    /// From here on no lease of a leader before this one is left. B8.
    fn serves_from(&self) -> Option<Moment> {
        Some(self.elected.after(self.terms?.wait()))
    }

    fn has(&self, id: NodeId, barrier: &Barrier) -> bool {
        self.holders.get(&id).is_some_and(|known| known.applied >= barrier.index)
    }
}
