//! What the simulated Raft is made of: dice, entries, members, and what is counted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Of the cluster as it begins: five voters, two learners. Who joins later has a number from there on.
pub const VOTERS: u64 = 5;
pub const MEMBERS: u64 = 7;

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    SendTime,
    ClockLast,
    NewestView,
    LeaseEnds,
    DriftMargin,
    Quorum,
    FirstEntry,
    NewLeaderWaits,
    Floor,
    AllApplied,
    NoLeaderRestore,
    OnlyCommittedMembers,
    WhoLeft,
    LongerFirst,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub elections: u64,
    pub proposed: u64,
    pub reported: u64,
    pub decided: u64,
    /// Changes of the members, and of the length of leases, that were committed.
    pub members: u64,
    pub lengths: u64,
    /// Decisions upon a view that was older than what had been reported.
    pub broken: u64,
    /// Requests that a leader refused because of the holder's clock.
    pub clock_off: u64,
    /// Some clock was more wrong than the protocol allows for: what is broken is not the protocol's fault.
    pub is_excused: bool,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.elections += other.elections;
        self.proposed += other.proposed;
        self.reported += other.reported;
        self.decided += other.decided;
        self.broken += other.broken;
        self.members += other.members;
        self.lengths += other.lengths;
        self.clock_off += other.clock_off;
    }
}

/// What a run says of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The promise was kept.
    Kept,
    /// It was broken, though everything was as assumed.
    Violation,
    /// A clock was not as assumed; `broken`: and it showed.
    AssumptionBroken { broken: bool },
}

impl Tally {
    pub fn verdict(&self) -> Verdict {
        match (self.is_excused, self.broken > 0) {
            (true, broken) => Verdict::AssumptionBroken { broken },
            (false, true) => Verdict::Violation,
            (false, false) => Verdict::Kept,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some seconds, as nanoseconds")]
pub const fn seconds(time: f64) -> u64 {
    (time * 1e9) as u64
}

/// `SplitMix64`.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    pub fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    /// Between two times in seconds.
    pub fn between(&mut self, low: f64, high: f64) -> u64 {
        let (low, high) = (seconds(low), seconds(high));
        low + self.below((high - low).max(1))
    }

    /// How long until something that comes so often a second.
    pub fn wait(&mut self, rate: f64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "a random number")]
        let uniform = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        seconds(-(1.0 - uniform).ln() / rate)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    First { term: u64 },
    Revoke { term: u64, number: u64 },
    Members { term: u64, members: Arc<Members> },
    Length { term: u64, length: Duration },
}

impl Entry {
    pub fn term(&self) -> u64 {
        match self {
            Self::First { term }
            | Self::Revoke { term, .. }
            | Self::Members { term, .. }
            | Self::Length { term, .. } => *term,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    pub voters: BTreeSet<u64>,
    pub learners: BTreeSet<u64>,
}

impl Members {
    pub fn first() -> Self {
        Self { voters: (0..VOTERS).collect(), learners: (VOTERS..MEMBERS).collect() }
    }

    pub fn all(&self) -> BTreeSet<u64> {
        self.voters.union(&self.learners).copied().collect()
    }

    pub fn majority(&self, of: &BTreeSet<u64>) -> bool {
        2 * self.voters.intersection(of).count() > self.voters.len()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Follower,
    Candidate,
    Leader,
}
