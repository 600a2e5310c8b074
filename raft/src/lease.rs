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
//! sleeps (CLOCK_BOOTTIME); nothing is assumed of what clocks show, of delays, or of elections. A leader that sees the
//! assumption broken, in the clock of a node against its own, grants that node nothing more ([`ClockOff`]).
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
//! | B12 | only who is a member in the log and in what is applied gets a lease |
//! | B13 | who left counts as a member until a lease after its leaving was seen applied |
//! | B14 | a shorter lease goes to the log when the longer ones that were granted are over |
//!
//! The argument why these are enough is in `docs/adr`: 0014 for the first eleven, 0016 for the others.

mod clock;
mod grantor;
mod roster;

use std::time::Duration;

pub use self::clock::ClockOff;
pub use self::grantor::{Asked, Barrier, End, Grantor};
pub use self::roster::Roster;

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

    /// How long it is from `earlier` to this; nothing if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

/// How long leases are, and how far clocks may be off, as the catalog says. What counts of a lease is the length that its
/// leader granted.
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
    /// What it heard last of its leader's clock; none: nothing yet.
    pub heard: Option<Heard>,
}

/// A reading of a leader's clock, and when a holder got it. So the leader knows that this came after that, whatever the
/// network did: with two of them it knows how fast the holder's clock runs at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The leader's term.
    pub term: u64,
    /// What the leader's clock showed when it answered.
    pub told: Moment,
    /// What the holder's clock showed when the answer came.
    pub at: Moment,
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
    /// How long the lease is, on the holder's clock.
    pub length: Duration,
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
    boot: BootId,
    term: u64,
    lease: Option<Lease>,
    heard: Option<Heard>,
}

impl Holder {
    /// Of a process that has just started.
    pub fn new(boot: BootId) -> Self {
        Self { boot, term: 0, lease: None, heard: None }
    }

    /// What to send now.
    pub fn request(&self, now: Moment, applied: u64) -> LeaseRequest {
        LeaseRequest { boot: self.boot, sent: now, applied, heard: self.heard }
    }

    /// Notes what the clock of the leader of `term` showed when it answered.
    pub fn hear(&mut self, term: u64, told: Moment, now: Moment) {
        if term >= self.term {
            self.heard = Some(Heard { term, told, at: now });
        }
    }

    /// Takes an answer. The lease to decide under from now on, if it is longer than the one before.
    pub fn take(&mut self, grant: &LeaseGrant) -> Option<Lease> {
        // What was asked by a process before this one is not this one's; a leader that was followed by another one has nothing
        // to grant.
        if grant.boot != self.boot || grant.term < self.term {
            return None;
        }
        self.term = grant.term;
        let lease = Lease { expires: grant.sent.after(grant.length) };
        if self.lease.is_some_and(|held| held.expires >= lease.expires) {
            return None;
        }
        self.lease = Some(lease);
        self.lease
    }

    /// Gives the lease up: the clock is not to be trusted, as after the machine's state was restored.
    pub fn drop_lease(&mut self) {
        self.lease = None;
        self.heard = None;
    }
}
