//! The cloud's clock: how far this node's is from it, and how long credentials are good by it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The cloud's clock as this node knows it from the `Date` of answers.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// What is to be added to this node's clock. Zero while they differ by less than matters.
    offset_s: AtomicI64,
}

impl Clock {
    /// How far the cloud is ahead of this node, in seconds.
    pub(super) fn offset_s(&self) -> i64 {
        self.offset_s.load(Ordering::Relaxed)
    }

    /// Takes note of an answer. `refused`: it said that the clocks differ too much, so that any difference counts.
    pub(super) fn observe(&self, date: SystemTime, local: SystemTime, refused: bool) {
        let ahead_s = seconds(date).saturating_sub(seconds(local));
        let offset_s = if refused || ahead_s.unsigned_abs() > SKEW_TOLERATED_S { ahead_s } else { 0 };
        let before_s = self.offset_s.swap(offset_s, Ordering::Relaxed);
        if offset_s.unsigned_abs() > SKEW_TOLERATED_S && before_s == 0 {
            tracing::warn!(
                offset_s,
                "this node's clock differs from that of AWS: requests are signed with the time of AWS; set the clock"
            );
        }
    }
}

/// This node's clock, moved by so many seconds.
pub(super) fn moved(local: SystemTime, offset_s: i64) -> SystemTime {
    let by = Duration::from_secs(offset_s.unsigned_abs());
    let moved = if offset_s < 0 { local.checked_sub(by) } else { local.checked_add(by) };
    moved.unwrap_or(local)
}

/// How long what ends at `end` is good, by the cloud's own time; at most as long as it was asked for.
///
/// `Date` has whole seconds, always rounded down: where this node's clock agrees with it, that is the finer one.
pub(super) fn lifetime(
    end: SystemTime,
    date: Option<SystemTime>,
    local: SystemTime,
    asked: Option<Duration>,
) -> Duration {
    let now = match date {
        Some(date) if local < date || local.duration_since(date).is_ok_and(|late| late > DATE_COARSENESS) => {
            date
        }
        Some(_) | None => local,
    };
    let left = end.duration_since(now).unwrap_or(Duration::ZERO);
    asked.map_or(left, |asked| left.min(asked))
}

fn seconds(time: SystemTime) -> i64 {
    let of = |between: Duration| i64::try_from(between.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => of(after),
        Err(before) => -of(before.duration()),
    }
}

/// Clocks that differ by less are left alone. AWS refuses at 5 minutes; a minute is far from both that and the whole seconds
/// of `Date` with the time that an answer takes.
const SKEW_TOLERATED_S: u64 = 60;

/// By how much an answer's `Date` may be behind a clock that is right: a second of rounding, and one on the way.
const DATE_COARSENESS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(ms)
    }

    #[test]
    fn a_difference_within_a_minute_is_left_alone_unless_it_was_refused() {
        let clock = Clock::default();
        clock.observe(at(59_000), at(0), false);
        assert_eq!(clock.offset_s(), 0);
        clock.observe(at(59_000), at(0), true);
        assert_eq!(clock.offset_s(), 59);
        clock.observe(at(0), at(3_600_000), false);
        assert_eq!(clock.offset_s(), -3_600);
        clock.observe(at(0), at(1_000), false);
        assert_eq!(clock.offset_s(), 0, "somebody set the clock");
    }

    /// Case 79.
    #[test]
    fn what_is_said_to_live_longer_than_was_asked_for_lives_as_long_as_was_asked_for() {
        let twelve_hours = Duration::from_secs(12 * 3_600);
        let hour = Duration::from_secs(3_600);
        assert_eq!(lifetime(at(0) + twelve_hours, Some(at(0)), at(0), Some(hour)), hour);
    }

    #[test]
    fn an_end_in_the_past_is_no_life() {
        assert_eq!(lifetime(at(0), Some(at(5_000)), at(5_000), None), Duration::ZERO);
    }

    proptest! {
        /// Whatever the difference of the clocks, a life is within two seconds of the true one, and never longer than asked.
        #[test]
        fn a_life_is_told_by_the_clock_of_the_cloud(skew_s in -40_000_i64..40_000, life_ms in 3_000u64..3_600_000, now_ms in 0u64..10_000) {
            let local = moved(at(now_ms), skew_s);
            let date = at(now_ms / 1_000 * 1_000);
            let asked = Duration::from_millis(life_ms);
            let life = lifetime(at(now_ms) + asked, Some(date), local, Some(asked));
            prop_assert!(life <= asked);
            prop_assert!(asked - life <= DATE_COARSENESS, "{life:?} of {asked:?}");
        }
    }
}
