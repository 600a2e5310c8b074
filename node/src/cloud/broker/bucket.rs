//! Calls to one cloud while it says "too many": one at a time, a little apart, for all chains of this node together.

use std::time::Duration;

use crate::cloud::lease::Moment;

/// How long calls stay apart after a service said "too many".
pub const SLOW_FOR: Duration = Duration::from_secs(60);
/// How far apart: five a second. STS is said to take some hundreds from an account, which has more nodes than one.
pub const APART: Duration = Duration::from_millis(200);

/// Of one cloud.
#[derive(Debug, Default)]
pub struct Bucket {
    slow_until: Moment,
    next: Moment,
}

impl Bucket {
    /// A service said "too many".
    pub fn throttled(&mut self, now: Moment) {
        self.slow_until = now.after(SLOW_FOR);
    }

    /// How long who wants to call now has to wait. At most [`APART`] for each step that this node keeps.
    pub fn slot(&mut self, now: Moment) -> Duration {
        if now >= self.slow_until {
            return Duration::ZERO;
        }
        let at = self.next.max(now);
        self.next = at.after(APART);
        at.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_too_many_calls_they_are_apart_for_a_minute() {
        let at = |millis: u64| Moment { nanos: millis * 1_000_000 };
        let mut bucket = Bucket::default();
        let mut slots = |now, count| (0..count).map(|_| bucket.slot(now).as_millis()).collect::<Vec<_>>();
        assert_eq!(slots(at(5), 3), [0, 0, 0]);
        bucket.throttled(at(10));
        let mut slots = |now, count| (0..count).map(|_| bucket.slot(now).as_millis()).collect::<Vec<_>>();
        assert_eq!(slots(at(10), 4), [0, 200, 400, 600]);
        assert_eq!(slots(at(710), 2), [100, 300]);
        assert_eq!(slots(at(60_010), 3), [0, 0, 0]);
    }
}
