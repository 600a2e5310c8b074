//! Latencies as people read them.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies from one microsecond to one minute, in nanoseconds, three digits.
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(
            Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds that the crate accepts"),
        )
    }
}

impl Latencies {
    /// Records one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Takes over what another one has recorded.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `share` (0 to 1) of all are not above, in microseconds.
    #[allow(clippy::cast_precision_loss, reason = "a minute of nanoseconds is below 2^53")]
    pub fn at(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1_000.0
    }

    /// `p50 … p99 … (n …)`.
    pub fn line(&self) -> String {
        format!("p50 {:>8.1} µs   p99 {:>8.1} µs   (n {})", self.at(0.5), self.at(0.99), self.count())
    }
}
