//! How many bytes a node reads and writes in a second, for each provider: token buckets that all users of the node share.
//!
//! Whoever wants bytes takes them at once and is told how long to wait; so what is larger than the burst passes too, and those
//! who come later wait behind it. The settings are looked at each time: a change binds whoever comes next.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::Provider;

/// What the cluster allows for one provider and direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Bytes a second. 0: as many as there are.
    pub rate: u64,
    /// How many may come at once after a pause. 0: those of a second.
    pub burst: u64,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the place to this node.
    Read,
    /// From this node to the place.
    Write,
}

/// The limits of all providers, by the cluster's settings at one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of s3: read, write.
    pub s3: [Limit; 2],
    /// Of gs: read, write.
    pub gs: [Limit; 2],
    /// Of nodelocal: read, write.
    pub nodelocal: [Limit; 2],
}

/// What of it is used up on this node.
#[derive(Debug, Default)]
pub struct Rates([[Mutex<Bucket>; 2]; 4]);

/// One bucket. Debts are negative.
#[derive(Debug, Default)]
struct Bucket {
    tokens: f64,
    /// When the tokens were counted. None: it was never used, and is full.
    counted: Option<Instant>,
}

impl Direction {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl Limits {
    /// One of them.
    pub fn of(&self, provider: Provider, direction: Direction) -> Limit {
        let both = match provider {
            Provider::Other => return Limit::default(),
            Provider::S3 => &self.s3,
            Provider::Gs => &self.gs,
            Provider::Nodelocal => &self.nodelocal,
        };
        both[direction as usize]
    }
}

impl Rates {
    /// Waits until these bytes may go.
    pub async fn wait(&self, provider: Provider, direction: Direction, limit: Limit, bytes: u64) {
        if limit.rate == 0 || bytes == 0 {
            return;
        }
        let pause = {
            let bucket = &self.0[provider as usize][direction as usize];
            bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now(), limit, bytes)
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

impl Bucket {
    /// Takes so many, and says how long to wait before they are used.
    fn take(&mut self, now: Instant, limit: Limit, bytes: u64) -> Duration {
        let rate = as_float(limit.rate);
        let burst = if limit.burst == 0 { rate } else { as_float(limit.burst) };
        let filled = match self.counted {
            None => burst,
            Some(then) => self.tokens + now.saturating_duration_since(then).as_secs_f64() * rate,
        };
        self.counted = Some(now);
        self.tokens = filled.min(burst) - as_float(bytes);
        // A debt of more than this comes from a rate that was made smaller meanwhile: nobody waits for it.
        let seconds = (-self.tokens / rate).clamp(0.0, WAIT_SECONDS_MAX);
        Duration::from_secs_f64(seconds)
    }
}

/// Bytes as they are counted here.
#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 bytes nobody counts single ones")]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

/// The longest wait: a request of 64 MiB at 100 KiB a second.
const WAIT_SECONDS_MAX: f64 = 660.0;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { rate: 1_000, burst: 3_000 };

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let mut bucket = Bucket::default();
        let start = Instant::now();
        assert_eq!(bucket.take(start, LIMIT, 3_000), Duration::ZERO);
        assert_eq!(bucket.take(start, LIMIT, 500), Duration::from_millis(500));
        // Who comes next waits behind.
        assert_eq!(bucket.take(start, LIMIT, 500), Duration::from_secs(1));
        // After a pause nothing is owed, and a pause of any length gives no more than the burst.
        assert_eq!(bucket.take(start + Duration::from_secs(100), LIMIT, 3_000), Duration::ZERO);
        assert_eq!(bucket.take(start + Duration::from_secs(100), LIMIT, 1), Duration::from_millis(1));
    }

    #[test]
    fn over_any_time_no_more_passes_than_burst_and_rate() {
        let mut bucket = Bucket::default();
        let start = Instant::now();
        let mut now = start;
        let mut sent = 0;
        for _ in 0..200 {
            now += bucket.take(now, LIMIT, 170);
            sent += 170;
            let allowed = 3_000.0 + 1_000.0 * (now - start).as_secs_f64();
            assert!(as_float(sent) <= allowed + 1.0, "{sent} bytes, and {allowed} were allowed");
        }
        assert!(now - start > Duration::from_secs(30));
    }

    #[test]
    fn without_a_burst_it_is_a_second() {
        let mut bucket = Bucket::default();
        let limit = Limit { rate: 1_000, burst: 0 };
        let start = Instant::now();
        assert_eq!(bucket.take(start, limit, 1_000), Duration::ZERO);
        assert_eq!(bucket.take(start, limit, 1_000), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn providers_and_directions_do_not_wait_for_each_other() {
        let rates = Rates::default();
        let slow = Limit { rate: 10, burst: 1 };
        rates.wait(Provider::S3, Direction::Write, slow, 1).await;
        let start = Instant::now();
        rates.wait(Provider::S3, Direction::Read, slow, 1).await;
        rates.wait(Provider::Gs, Direction::Write, slow, 1).await;
        rates.wait(Provider::S3, Direction::Write, Limit::default(), 1_000_000).await;
        assert!(start.elapsed() < Duration::from_millis(100));
        rates.wait(Provider::S3, Direction::Write, slow, 1).await;
        assert!(start.elapsed() >= Duration::from_millis(90));
    }
}
