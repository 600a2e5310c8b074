//! TIMESTAMPTZ from and to text. The calendar is the proleptic Gregorian one, of any year that microseconds hold.

use std::fmt::{self, Write};

/// Microseconds of a second.
const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// ISO date and time in UTC, as with `DateStyle = ISO` and `TimeZone = UTC`: `2026-01-31 12:00:00.5+00`.
pub fn write(micros: i64, out: &mut impl Write) -> fmt::Result {
    let (days, rest) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    let (year, month, day) = civil_from_days(days);
    // There is no year 0: it is 1 BC.
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let (seconds, micros) = (rest / MICROS_PER_SECOND, rest % MICROS_PER_SECOND);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    write!(out, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?;
    if micros != 0 {
        out.write_str(format!(".{micros:06}").trim_end_matches('0'))?;
    }
    write!(out, "+00{era}")
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no date and time.
    Form,
    /// It is one that microseconds since the Unix epoch do not hold.
    Range,
}

/// Microseconds since the Unix epoch.
pub fn parse(text: &str) -> Result<i64, Fault> {
    parts(text).ok_or(Fault::Form)?.micros().ok_or(Fault::Range)
}

/// Days since 1970-01-01 to year, month and day of the proleptic Gregorian calendar.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`]. Same source.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A date and time as written.
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    micros_of_day: i64,
    offset_seconds: i64,
}

impl Parts {
    /// Microseconds since the Unix epoch; none: out of range.
    fn micros(&self) -> Option<i64> {
        let days = days_from_civil(self.year, self.month, self.day);
        let utc = days.checked_mul(MICROS_PER_DAY)?.checked_add(self.micros_of_day)?;
        utc.checked_sub(self.offset_seconds * MICROS_PER_SECOND)
    }
}

/// `YYYY-MM-DD[( |T)HH:MM[:SS[.ffffff]]][Z|±HH[[:]MM[:SS]]][ BC]`; without a zone it is UTC.
fn parts(text: &str) -> Option<Parts> {
    let (text, before_christ) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let (date, rest) = text.split_at_checked(text.find([' ', 'T', 't']).unwrap_or(text.len()))?;
    let mut fields = date.split('-');
    let year = digits(fields.next()?, 4..=6)?;
    let (month, day) = (digits(fields.next()?, 1..=2)?, digits(fields.next()?, 1..=2)?);
    if fields.next().is_some() || year == 0 {
        return None;
    }
    let year = if before_christ { 1 - year } else { year };
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    let (micros_of_day, offset_seconds) = match rest.get(1..) {
        None => (0, 0),
        Some(time) => time_and_zone(time)?,
    };
    Some(Parts { year, month, day, micros_of_day, offset_seconds })
}

fn time_and_zone(text: &str) -> Option<(i64, i64)> {
    let (time, zone) =
        text.split_at_checked(text.find(['Z', 'z', 'U', 'u', '+', '-', ' ']).unwrap_or(text.len()))?;
    let (whole, fraction) = time.split_once('.').map_or((time, None), |(whole, part)| (whole, Some(part)));
    let (hour, minute, second) = clock(whole)?;
    let micros = match fraction {
        None => 0,
        // More digits than microseconds hold are cut off.
        Some(part) => digits(&format!("{:0<6}", part.get(..6.min(part.len()))?), 6..=6)
            .filter(|_| (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))?,
    };
    let seconds = hour * 3_600 + minute * 60 + second;
    // 24:00:00 is the end of the day; a leap second is the first second of the next minute.
    if hour > 24
        || minute > 59
        || second > 60
        || (hour == 24 && seconds * MICROS_PER_SECOND + micros > MICROS_PER_DAY)
    {
        return None;
    }
    Some((seconds * MICROS_PER_SECOND + micros, zone_seconds(zone.trim_start())?))
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") || zone.eq_ignore_ascii_case("utc") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hour, minute, second) = match rest.len() {
        1 | 2 => (digits(rest, 1..=2)?, 0, 0),
        4 if !rest.contains(':') => (digits(rest.get(..2)?, 2..=2)?, digits(rest.get(2..)?, 2..=2)?, 0),
        _ => clock(rest)?,
    };
    // Source: PostgreSQL's MAX_TZDISP_HOUR.
    let valid = hour <= 15 && minute < 60 && second < 60;
    valid.then_some(sign * (hour * 3_600 + minute * 60 + second))
}

/// `HH:MM[:SS]`.
fn clock(text: &str) -> Option<(i64, i64, i64)> {
    let mut fields = text.split(':');
    let (hour, minute) = (digits(fields.next()?, 1..=2)?, digits(fields.next()?, 2..=2)?);
    let second = fields.next().map_or(Some(0), |second| digits(second, 2..=2))?;
    if fields.next().is_some() { None } else { Some((hour, minute, second)) }
}

fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let valid = count.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_from_civil(next_year, next_month, 1) - days_from_civil(year, month, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_before_the_year_1_and_after_9999_are_shown_and_read_again() {
        let shown = |year, month, day| {
            let (micros, mut text) = (days_from_civil(year, month, day) * MICROS_PER_DAY, String::new());
            write(micros, &mut text).unwrap();
            assert_eq!(parse(&text), Ok(micros));
            text
        };
        // 44-03-15 BC is the year -43.
        assert_eq!(shown(-43, 3, 15), "0044-03-15 00:00:00+00 BC");
        assert_eq!(shown(12_345, 2, 28), "12345-02-28 00:00:00+00");
    }
}
