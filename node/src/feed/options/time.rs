//! Durations and moments, as they are written in options.

use std::time::Duration;

use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::Refusal;

use super::invalid;
use crate::value::{Datum, SqlType, text};

/// `1h2m3.5s`, as Go writes them.
pub fn duration(name: &str, written: &str) -> Result<Duration, Refusal> {
    let unreadable = || invalid(format!("problem parsing option {name}: invalid duration \"{written}\""));
    if let Some(positive) = written.strip_prefix('-') {
        let negative = parse(positive).ok_or_else(unreadable)?;
        if !negative.is_zero() {
            return Err(invalid(format!("negative durations are not accepted: {name}='{written}'")));
        }
        return Ok(negative);
    }
    parse(written.strip_prefix('+').unwrap_or(written)).ok_or_else(unreadable)
}

fn parse(written: &str) -> Option<Duration> {
    if written == "0" {
        return Some(Duration::ZERO);
    }
    if written.is_empty() {
        return None;
    }
    let (mut rest, mut nanos) = (written, 0_u128);
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, of) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && part.is_empty() || part.contains('.') {
            return None;
        }
        let digits = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok() };
        nanos += u128::from(digits(whole)?) * of;
        // What is below a nanosecond is nothing.
        let part = &part[..part.len().min(PLACES_MAX)];
        let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
        nanos += u128::from(digits(part)?) * of / scale;
        rest = after;
    }
    u64::try_from(nanos).ok().filter(|nanos| i64::try_from(*nanos).is_ok()).map(Duration::from_nanos)
}

/// `1532377312562986715.0000000002` as in messages, nanoseconds alone, a date and time, or `-10s` before now.
pub fn moment(name: &str, written: &str, now: Timestamp) -> Result<Timestamp, Refusal> {
    let written = written.trim();
    let unreadable = || {
        invalid(format!("problem parsing option {name}: \"{written}\" is no time")).with_hint(
            "write nanoseconds since 1970 as in messages, a date with a time, or as -10s how long ago",
        )
    };
    if let Some(nanos) = decimal(written) {
        return Ok(nanos);
    }
    if let Some(ago) = written.strip_prefix('-').and_then(parse) {
        let nanos = u64::try_from(ago.as_nanos()).map_err(|_| unreadable())?;
        return Ok(Timestamp { nanos: now.nanos.saturating_sub(nanos), logical: 0 });
    }
    if let Some(later) = written.strip_prefix('+').and_then(parse) {
        let nanos = u64::try_from(later.as_nanos()).map_err(|_| unreadable())?;
        return Ok(Timestamp { nanos: now.nanos.saturating_add(nanos), logical: 0 });
    }
    match text::parse(written, SqlType::TimestampTz) {
        Ok(Datum::TimestampTz(micros)) => {
            let nanos = u64::try_from(micros).ok().and_then(|micros| micros.checked_mul(1_000));
            Ok(Timestamp { nanos: nanos.ok_or_else(unreadable)?, logical: 0 })
        }
        Ok(_) | Err(_) => Err(unreadable()),
    }
}

fn decimal(written: &str) -> Option<Timestamp> {
    let (nanos, logical) = written.split_once('.').unwrap_or((written, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(nanos) || !all_digits(logical) || logical.len() > LOGICAL_DIGITS {
        return None;
    }
    // It is a part behind a point: `.1` is a logical of a billion.
    let logical: u64 = format!("{logical:0<LOGICAL_DIGITS$}").parse().ok()?;
    Some(Timestamp { nanos: nanos.parse().ok()?, logical: u32::try_from(logical).ok()? })
}

/// How many digits of a part are looked at: a nanosecond of an hour has 13.
const PLACES_MAX: usize = 18;
/// Of the logical part of a time, in messages and in names of files.
const LOGICAL_DIGITS: usize = 10;
const UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
