//! How many checks each principal may ask from outside: a bucket of its own for each, which fills at a steady rate.
//!
//! It is the generic cell rate algorithm: of each principal one number is kept, the time at which all that it has asked
//! for would have been asked for at the steady rate. Nobody waits for a lock and nobody pays for another's haste. The
//! clock is handed in. SQL is not counted here: its bounds are its own.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grantd_catalog::id::PrincipalId;
use grantd_catalog::refusal::{Refusal, SqlState};

use crate::config::{CHECK_BURST_MAX, CHECK_RATE_MAX};

/// A page is made when the first of its principals asks: 32 KiB.
const PAGE: usize = 4096;
/// Principals beyond the last page share buckets with those of the first. A cluster has then made four million of
/// them, and all together hold 32 MiB here.
const PAGES: usize = 1024;
const CONFIGURATION_LIMIT_EXCEEDED: SqlState = SqlState::new("53400");

/// The bounds of this node, and what each principal has used of them.
#[derive(Debug)]
pub struct Rates {
    /// None: there is no bound.
    bound: Option<Bound>,
    start: Instant,
    /// By principal: nanoseconds after `start`.
    paid_until: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

#[derive(Clone, Copy, Debug)]
struct Bound {
    per_second: u64,
    /// How far ahead of the steady rate a principal may be, in nanoseconds.
    ahead_max: u64,
}

/// Too many: the same question will be taken after this time, if nothing else is asked meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl Rates {
    /// At most `per_second` checks for each principal, and up to `burst` of them at once; 0 a second: as many as come;
    /// a burst of 0: as many as in one second. More than [`CHECK_RATE_MAX`] and [`CHECK_BURST_MAX`] count as these.
    pub fn new(per_second: u64, burst: u64, start: Instant) -> Self {
        let bound = (per_second > 0).then(|| {
            let per_second = per_second.min(CHECK_RATE_MAX);
            let burst = if burst == 0 { per_second } else { burst.min(CHECK_BURST_MAX) };
            Bound { per_second, ahead_max: nanos(burst, per_second) }
        });
        let pages = if bound.is_some() { PAGES } else { 0 };
        Self { bound, start, paid_until: (0..pages).map(|_| OnceLock::new()).collect() }
    }

    /// Takes `n` checks from the bucket of `principal`, all or none.
    ///
    /// A batch that is larger than the bucket is taken when the bucket is full, and paid for afterwards: so every batch
    /// is taken at some time. Cost without a bound: a comparison; with one: one compare-and-swap.
    pub fn take(&self, principal: PrincipalId, n: usize, now: Instant) -> Result<(), RetryAfter> {
        let Some(bound) = self.bound else { return Ok(()) };
        let now = as_nanos(now.saturating_duration_since(self.start));
        let cost = nanos(u64::try_from(n).unwrap_or(u64::MAX), bound.per_second);
        let latest = now.saturating_add(bound.ahead_max.saturating_sub(cost));
        let taken = self.bucket(principal).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid_until| {
            (paid_until.max(now) <= latest).then(|| paid_until.max(now).saturating_add(cost))
        });
        match taken {
            Ok(_) => Ok(()),
            Err(paid_until) => Err(RetryAfter(Duration::from_nanos(paid_until.saturating_sub(latest)))),
        }
    }

    fn bucket(&self, principal: PrincipalId) -> &AtomicU64 {
        let at = principal.0 as usize % (PAGES * PAGE);
        let page = self.paid_until[at / PAGE].get_or_init(|| (0..PAGE).map(|_| AtomicU64::new(0)).collect());
        &page[at % PAGE]
    }
}

impl RetryAfter {
    /// As HTTP's Retry-After says it: whole seconds, at least one.
    pub fn seconds(self) -> u64 {
        let whole = self.0.as_secs();
        (whole + u64::from(self.0.subsec_nanos() > 0)).max(1)
    }

    /// What a client is told: 53400.
    pub fn refusal(self) -> Refusal {
        let seconds = self.0.as_secs_f64();
        Refusal::new(CONFIGURATION_LIMIT_EXCEEDED, "more checks than this node takes from one principal")
            .with_detail(format!("These are taken in {seconds:.3} s, if nothing else is asked meanwhile."))
            .with_hint("Ask less often, or let the operator raise check_rate and check_burst of this node.")
    }
}

/// How long `n` checks take at the steady rate.
fn nanos(n: u64, per_second: u64) -> u64 {
    n.saturating_mul(1_000_000_000) / per_second
}

fn as_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: PrincipalId = PrincipalId(100);
    const BEN: PrincipalId = PrincipalId(101);

    /// How many single checks are taken in `millis` when one comes each 100 microseconds.
    fn taken(rates: &Rates, who: PrincipalId, from: Instant, millis: u64) -> usize {
        let times = (0..millis * 10).map(|i| from + Duration::from_micros(i * 100));
        times.filter(|now| rates.take(who, 1, *now).is_ok()).count()
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_the_rate() {
        let start = Instant::now();
        let rates = Rates::new(1000, 50, start);
        assert_eq!((0..100).filter(|_| rates.take(ANN, 1, start).is_ok()).count(), 50);
        assert_eq!(rates.take(ANN, 1, start), Err(RetryAfter(Duration::from_millis(1))));
        let later = start + Duration::from_millis(1);
        assert_eq!(taken(&rates, ANN, later, 1000), 1000);
    }

    #[test]
    fn no_principal_pays_for_another() {
        let start = Instant::now();
        let rates = Rates::new(10, 10, start);
        while rates.take(ANN, 1, start).is_ok() {}
        assert_eq!(rates.take(BEN, 10, start), Ok(()));
        assert!(rates.take(BEN, 1, start).is_err());
    }

    #[test]
    fn a_batch_is_taken_whole_or_not_and_says_when() {
        let start = Instant::now();
        let rates = Rates::new(10, 10, start);
        assert_eq!(rates.take(ANN, 8, start), Ok(()));
        let Err(retry) = rates.take(ANN, 8, start) else { panic!("taken") };
        assert_eq!(retry.0, Duration::from_millis(600));
        assert_eq!(rates.take(ANN, 2, start), Ok(()), "what was refused took nothing");
        assert_eq!(rates.take(ANN, 8, start + retry.0), Err(RetryAfter(Duration::from_millis(200))));
        assert_eq!(rates.take(ANN, 8, start + Duration::from_millis(800)), Ok(()));
    }

    #[test]
    fn a_batch_larger_than_the_bucket_waits_for_a_full_one_and_is_paid_for() {
        let start = Instant::now();
        let rates = Rates::new(10, 10, start);
        assert_eq!(rates.take(ANN, 30, start), Ok(()));
        let Err(retry) = rates.take(ANN, 1, start) else { panic!("taken") };
        assert_eq!((retry.0, retry.seconds()), (Duration::from_millis(2100), 3));
        assert_eq!(rates.take(ANN, 1, start + retry.0), Ok(()));
        assert!(rates.take(ANN, 30, start + retry.0).is_err());
        assert_eq!(rates.take(ANN, 30, start + Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn without_a_rate_there_is_no_bound_and_nothing_is_kept() {
        let start = Instant::now();
        let rates = Rates::new(0, 0, start);
        assert!((0..1000).all(|_| rates.take(ANN, usize::MAX, start).is_ok()));
        assert_eq!(rates.paid_until.len(), 0);
    }

    #[test]
    fn every_principal_has_a_bucket_and_time_may_stand_still_or_go_back() {
        let start = Instant::now();
        let rates = Rates::new(CHECK_RATE_MAX * 2, 1, start + Duration::from_secs(1));
        for id in [0, 1, 100, 4_194_303] {
            assert_eq!(rates.take(PrincipalId(id), 1, start), Ok(()), "{id}");
        }
        assert!(rates.take(PrincipalId(u32::MAX), 1, start).is_err(), "it shares the bucket of the last one");
        assert_eq!(rates.take(PrincipalId(200), usize::MAX, start), Ok(()));
        assert!(rates.take(PrincipalId(200), 1, start).is_err());
    }

    #[test]
    fn the_refusal_says_when_and_who_can_change_it() {
        let refusal = RetryAfter(Duration::from_millis(600)).refusal();
        assert_eq!(refusal.code.as_str(), "53400");
        assert!(refusal.detail.is_some_and(|detail| detail.contains("0.600 s")));
        assert!(refusal.hint.is_some_and(|hint| hint.contains("check_rate")));
    }
}
