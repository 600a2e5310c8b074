//! The clock of leases: it only goes forward, and goes on while the machine sleeps or is stopped as a whole.
//!
//! `Instant` is CLOCK_MONOTONIC, which stands still while a machine sleeps; CLOCK_BOOTTIME does not. A virtual machine that its
//! host froze knows nothing of it by either: then only the time of day has moved, when somebody sets it right. So a time of day
//! that goes forward against CLOCK_BOOTTIME counts as time that went by. If it was set for another reason, leases are renewed
//! early, and nothing else happens.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::cloud::lease::Moment;

/// How far the time of day goes forward by itself between two looks: more is a jump.
pub const JUMP: Duration = Duration::from_secs(1);
/// For how long after a look at the clocks nobody else needs to look. Twice as long as the broker leaves between two: longer is
/// a machine that slept, a time of day that was set, or a process that stood still.
pub const WATCHED: Duration = Duration::from_secs(1);

/// Nanoseconds by both clocks, at one time.
#[derive(Clone, Copy, Debug)]
pub struct Readings {
    /// Since the machine started.
    pub boot: u64,
    /// Of the day.
    pub wall: u64,
}

/// A clock of this machine, or of a test.
pub struct Clock {
    read: Box<dyn Fn() -> Readings + Send + Sync>,
    /// The time of day in nanoseconds, cheap and a few milliseconds old.
    glance: Box<dyn Fn() -> u64 + Send + Sync>,
    /// The time of day of the last look.
    looked: AtomicU64,
    /// By how much the time of day is ahead of the other.
    apart: AtomicI64,
    /// Time that went by unseen.
    skipped: AtomicU64,
}

impl Clock {
    /// This machine's.
    pub fn of_machine() -> Self {
        let nanos = |clock| {
            let time = clock_gettime(clock);
            let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
        };
        let read = move || Readings { boot: nanos(ClockId::Boottime), wall: nanos(ClockId::Realtime) };
        Self::with(Box::new(read), Box::new(move || nanos(ClockId::RealtimeCoarse)))
    }

    /// One that is read so.
    pub fn new(read: impl Fn() -> Readings + Send + Sync + Clone + 'static) -> Self {
        Self::with(Box::new(read.clone()), Box::new(move || read().wall))
    }

    fn with(
        read: Box<dyn Fn() -> Readings + Send + Sync>,
        glance: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        let (apart, looked) = (AtomicI64::new(apart(read())), AtomicU64::new(glance()));
        Self { read, glance, looked, apart, skipped: AtomicU64::new(0) }
    }

    /// Somebody has looked, and done what was due.
    pub fn looked(&self) {
        self.looked.store((self.glance)(), Ordering::Release);
    }

    /// Whether that was a moment ago, as far as a glance tells.
    pub fn is_watched(&self) -> bool {
        let ago = (self.glance)().abs_diff(self.looked.load(Ordering::Acquire));
        u128::from(ago) < WATCHED.as_nanos()
    }

    /// Now.
    pub fn now(&self) -> Moment {
        let readings = (self.read)();
        let (apart, before) = (apart(readings), self.apart.load(Ordering::Acquire));
        let forward = u64::try_from(apart.saturating_sub(before)).unwrap_or_default();
        // Of those that see a jump at once one counts it.
        let is_mine = apart != before
            && self.apart.compare_exchange(before, apart, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if is_mine && Duration::from_nanos(forward) > JUMP {
            self.skipped.fetch_add(forward, Ordering::AcqRel);
            tracing::info!(
                seconds = Duration::from_nanos(forward).as_secs(),
                "the time of day went forward by itself; credentials count as older by that"
            );
        }
        Moment { nanos: readings.boot.saturating_add(self.skipped.load(Ordering::Acquire)) }
    }
}

fn apart(readings: Readings) -> i64 {
    i64::try_from(i128::from(readings.wall) - i128::from(readings.boot)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_time_of_day_that_goes_forward_by_itself_is_time_that_went_by() {
        let readings = Arc::new(Mutex::new(Readings { boot: 5 * SECOND, wall: 1_000 * SECOND }));
        let read = Arc::clone(&readings);
        let clock = Clock::new(move || *read.lock().unwrap());
        let go = |boot, wall| {
            let mut readings = readings.lock().unwrap();
            readings.boot += boot * SECOND;
            readings.wall += wall * SECOND;
            drop(readings);
            clock.now().nanos / SECOND
        };
        assert_eq!(go(1, 1), 6);
        // A sleep: both went on.
        assert_eq!(go(100, 100), 106);
        // A host that froze it: only the time of day is right.
        assert_eq!(go(0, 7_200), 7_306);
        assert_eq!(go(1, 1), 7_307);
        // A time of day that is set back changes nothing, and what is set right afterwards counts again: it is cautious.
        readings.lock().unwrap().wall -= 600 * SECOND;
        assert_eq!(clock.now().nanos / SECOND, 7_307);
    }
}
