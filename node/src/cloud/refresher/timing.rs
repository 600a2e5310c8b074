//! When a lease is renewed, when it is late, and how long to wait after a failure. Numbers only.
//!
//! Source of the table: F.8.3 and F.8.4 of the specification, which follow what the AWS SDKs agreed on.

use std::time::Duration;

use crate::cloud::lease::Class;

/// What AWS gives at most to a role that a role assumes. Brokers were seen to report more: it is not believed.
pub const CHAINED_MAX: Duration = Duration::from_secs(3_600);
/// What is believed of any lease.
pub const LIFETIME_MAX: Duration = Duration::from_secs(12 * 3_600);
/// Who says that credentials end later than this has another clock.
pub const AHEAD_MAX: Duration = Duration::from_secs(36 * 3_600);
/// Leases that live shorter than this have all times of the table in proportion, so that a test with leases of three seconds
/// tests the same formula. AWS gives 15 minutes at least.
pub const SHORT: Duration = Duration::from_secs(600);
/// How long before its end a lease is late. Longer than a request lives that was signed with it, its retries included.
const LATE: Duration = Duration::from_secs(120);
/// Metadata servers of Google's give the same token again until five minutes before its end: then a little later.
const SAME_AGAIN: Duration = Duration::from_secs(240);
/// Waits are never shorter: a loop that fails at once is not busy.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longer ones that a service asks for are not honoured: it would stop us for a year by a slip.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// How long before its end a lease that lives so long is renewed, before jitter.
pub fn window(lifetime: Duration) -> Duration {
    if lifetime < SHORT {
        lifetime / 3
    } else if lifetime <= Duration::from_secs(20 * 60) {
        Duration::from_secs(5 * 60)
    } else if lifetime <= Duration::from_secs(90 * 60) {
        Duration::from_secs(15 * 60)
    } else {
        Duration::from_secs(60 * 60)
    }
}

/// How long before its end it is renewed. The nodes of a cluster do not ask together: up to a fifth earlier, by `dice`.
pub fn renewal(lifetime: Duration, dice: f64) -> Duration {
    let window = window(lifetime);
    window + (window / 5).mul_f64(dice.clamp(0.0, 1.0))
}

/// How long before its end it is late.
pub fn late(lifetime: Duration) -> Duration {
    if lifetime < SHORT { lifetime / 10 } else { LATE }
}

/// How long before its end it is given out no more: timers are not exact, and what is given out has to get there.
pub fn guard(lifetime: Duration) -> Duration {
    (lifetime / 100).min(Duration::from_secs(1))
}

/// In how long a source that gave the same again is asked again.
pub fn same_again(remaining: Duration) -> Duration {
    if remaining > SAME_AGAIN {
        remaining - SAME_AGAIN
    } else {
        (remaining / 4).max(Duration::from_secs(1).mul_f64(scale(Some(remaining)))).max(PAUSE_MIN)
    }
}

/// The share of the waits of the table that counts for leases that live so long. None: not known.
fn scale(lifetime: Option<Duration>) -> f64 {
    match lifetime {
        Some(lifetime) if lifetime < SHORT => lifetime.as_secs_f64() / SHORT.as_secs_f64(),
        _ => 1.0,
    }
}

/// The first wait of a class, and the longest.
fn waits(class: Class) -> (Duration, Duration) {
    let seconds = match class {
        Class::Network => (1, 30),
        Class::Throttled | Class::AlreadyExpired => (5, 120),
        Class::Denied | Class::SourceDead | Class::ParentExpired | Class::ClockSkew => (30, 300),
        Class::Config => (600, 600),
    };
    (Duration::from_secs(seconds.0), Duration::from_secs(seconds.1))
}

/// Whether the first failure of the class may be gone when it is looked at again: the source is read anew, the parent renewed,
/// the clock measured.
pub fn is_worth_one_more(class: Class) -> bool {
    matches!(class, Class::SourceDead | Class::ParentExpired | Class::ClockSkew)
}

/// The longest wait after the `count`-th failure in a row.
pub fn ceiling(class: Class, count: u32, lifetime: Option<Duration>) -> Duration {
    if count <= 1 && is_worth_one_more(class) {
        return PAUSE_MIN;
    }
    let (first, most) = waits(class);
    let doubled = first.saturating_mul(1_u32 << count.saturating_sub(1).min(16));
    doubled.min(most).mul_f64(scale(lifetime)).max(PAUSE_MIN)
}

/// The wait itself: anything up to the ceiling, by `dice` (full jitter), but a tenth of it at least, so that the number of calls
/// is bounded whatever the dice say.
pub fn wait(class: Class, count: u32, lifetime: Option<Duration>, dice: f64) -> Duration {
    let ceiling = ceiling(class, count, lifetime);
    ceiling.mul_f64(dice.clamp(0.1, 1.0)).max(PAUSE_MIN)
}
