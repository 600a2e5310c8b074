//! How fast a node's clock runs against the leader's, with certainty and without any word about delays.
//!
//! Each request carries the holder's clock when it was sent, and a reading of the leader's that the holder had heard before.
//! So what the leader's clock showed is known at one moment before, and one after, a reading of the holder's. Two such
//! requests bound the holder's rate on both sides; delays and pauses make the bounds wider and never wrong.

use std::collections::VecDeque;
use std::time::Duration;

use super::{LeaseRequest, Moment, Terms};

/// A clock whose rate against the leader's is certainly further off than two clocks within the bound may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOff {
    /// By how many millionths it is faster, or slower, at least.
    pub ppm: i64,
    /// Most of the others seem off in the same direction: so it is rather the leader's own clock.
    pub is_ours: bool,
    /// It was not found so before, in this term.
    pub is_news: bool,
}

/// What was seen of one holder's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    anchors: VecDeque<Sample>,
    ppm: i64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// The leader's clock, and the holder's that was read later.
    told: Moment,
    heard: Moment,
    /// The holder's clock, and the leader's that was read later.
    sent: Moment,
    received: Moment,
}

/// How long a reading is compared with later ones: a clock that was wrong and is right again is forgiven then.
const WINDOW: Duration = Duration::from_secs(60);
/// How many readings of a window are kept to be compared with.
const ANCHORS: u32 = 16;
/// How exact a reading is.
const GRAIN_NANOS: u64 = 1_000;
const MILLION: i128 = 1_000_000;

impl Meter {
    /// Takes a request of the holder's to the leader of `term`, received `now`. By how many millionths its clock runs faster
    /// than the leader's, or slower, at least; 0: nothing is certain.
    pub(super) fn measure(&mut self, request: &LeaseRequest, term: u64, now: Moment) -> i64 {
        let Some(heard) = request.heard.filter(|heard| heard.term == term) else { return self.ppm };
        let new = Sample { told: heard.told, heard: heard.at, sent: request.sent, received: now };
        while self.anchors.front().is_some_and(|anchor| now.since(anchor.received) > WINDOW) {
            self.anchors.pop_front();
        }
        let least = self.anchors.iter().filter_map(|anchor| anchor.rate_least(&new)).max();
        let most = self.anchors.iter().filter_map(|anchor| anchor.rate_most(&new)).min();
        let certain = least.unwrap_or(0).max(0) + most.unwrap_or(0).min(0);
        self.ppm = i64::try_from(certain).unwrap_or(i64::MAX);
        if self.anchors.back().is_none_or(|last| now.since(last.received) >= WINDOW / ANCHORS) {
            self.anchors.push_back(new);
        }
        self.ppm
    }

    /// What [`Self::measure`] said last.
    pub(super) fn ppm(&self) -> i64 {
        self.ppm
    }
}

impl Sample {
    /// Between hearing then and sending now the leader's clock went on by at most as much as from telling to receiving.
    fn rate_least(&self, new: &Self) -> Option<i128> {
        let theirs = new.sent.nanos.checked_sub(self.heard.nanos)?.saturating_sub(GRAIN_NANOS);
        let ours = new.received.nanos.checked_sub(self.told.nanos)? + GRAIN_NANOS;
        Some(i128::from(theirs) * MILLION / i128::from(ours) - MILLION)
    }

    /// Between sending then and hearing now it went on by at least as much as from receiving to telling.
    fn rate_most(&self, new: &Self) -> Option<i128> {
        let theirs = new.heard.nanos.checked_sub(self.sent.nanos)? + GRAIN_NANOS;
        let ours = new.told.nanos.checked_sub(self.received.nanos + GRAIN_NANOS).filter(|ours| *ours > 0)?;
        Some((i128::from(theirs) * MILLION).div_euclid(i128::from(ours)) + 1 - MILLION)
    }
}

/// Whether two clocks that are each as wrong as the terms allow could differ by so much: one is as fast as may be, the other
/// as slow.
pub(super) fn is_within(terms: Terms, ppm: i64) -> bool {
    let drift = i128::from(terms.drift_ppm).min(MILLION - 1);
    let faster = 2 * drift * MILLION / (MILLION - drift) + 1;
    let slower = 2 * drift * MILLION / (MILLION + drift) + 1;
    (-slower..=faster).contains(&i128::from(ppm))
}
