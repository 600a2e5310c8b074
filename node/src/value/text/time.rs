//! TIMESTAMPTZ from and to text. The calendar is the proleptic Gregorian one, of any year that microseconds hold.

use std::fmt::{self, Write};

/// Microseconds of a second.
const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// ISO date and time in UTC, as with `DateStyle = ISO` and `TimeZone = UTC`: `2026-01-31 12:00:00.5+00`.
pub fn write(micros: i64, out: &mut impl Write) -> fmt::Result {
    write_with(micros, "+00", out)
}

/// The same without a time zone.
pub fn write_local(micros: i64, out: &mut impl Write) -> fmt::Result {
    write_with(micros, "", out)
}

/// There is no year 0: it is 1 BC.
const fn shown_year(year: i64) -> (i64, &'static str) {
    if year > 0 { (year, "") } else { (1 - year, " BC") }
}

fn write_with(micros: i64, zone: &str, out: &mut impl Write) -> fmt::Result {
    let (days, rest) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    let (year, month, day) = civil_from_days(days);
    let (year, era) = shown_year(year);
    write!(out, "{year:04}-{month:02}-{day:02} ")?;
    write_time(rest, out)?;
    write!(out, "{zone}{era}")
}

/// `2026-01-31`, of days since the Unix epoch.
pub fn write_date(days: i64, out: &mut impl Write) -> fmt::Result {
    let (year, month, day) = civil_from_days(days);
    let (year, era) = shown_year(year);
    write!(out, "{year:04}-{month:02}-{day:02}{era}")
}

/// `12:00:00.5`, of microseconds since midnight.
pub fn write_time(micros: i64, out: &mut impl Write) -> fmt::Result {
    let (seconds, micros) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    write!(out, "{hour:02}:{minute:02}:{second:02}")?;
    if micros != 0 {
        out.write_str(format!(".{micros:06}").trim_end_matches('0'))?;
    }
    Ok(())
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no date and time.
    Form,
    /// It has the form of one, and a field that no calendar has.
    Field,
    /// It is one that microseconds since the Unix epoch do not hold.
    Range,
    /// PostgreSQL's time before or after all others.
    Infinity,
}

/// The last day of a DATE, and the first. Source: PostgreSQL's manual, table 8.9.
pub const DAYS: std::ops::RangeInclusive<i64> = -2_440_588..=2_145_031_948;

/// Microseconds since the Unix epoch.
pub fn parse(text: &str) -> Result<i64, Fault> {
    parts(text)?.micros().ok_or(Fault::Range)
}

/// The same without a time zone: one that is written says nothing.
pub fn parse_local(text: &str) -> Result<i64, Fault> {
    Parts { offset_seconds: 0, ..parts(text)? }.micros().ok_or(Fault::Range)
}

/// Days since the Unix epoch. A time of day is read and dropped.
pub fn parse_date(text: &str) -> Result<i64, Fault> {
    let Parts { year, month, day, .. } = parts(text)?;
    Some(days_from_civil(year, month, day)).filter(|days| DAYS.contains(days)).ok_or(Fault::Range)
}

/// Microseconds since midnight. A date before it and a zone behind it are read and dropped.
pub fn parse_time(text: &str) -> Result<i64, Fault> {
    let has_date = text.find(':').is_none_or(|at| text[..at].contains('-'));
    if has_date {
        return parts(text).map(|parts| parts.micros_of_day);
    }
    let (text, afternoon) = match text.to_ascii_lowercase() {
        lower if lower.ends_with("pm") => (text[..text.len() - 2].trim_end(), Some(true)),
        lower if lower.ends_with("am") => (text[..text.len() - 2].trim_end(), Some(false)),
        _ => (text, None),
    };
    let (micros, _) = time_and_zone(text)?;
    let (hour, noon) = (micros / (3_600 * MICROS_PER_SECOND), MICROS_PER_DAY / 2);
    match afternoon {
        None => Ok(micros),
        Some(_) if !(1..=12).contains(&hour) => Err(Fault::Field),
        Some(true) => Ok(micros % noon + noon),
        Some(false) => Ok(micros % noon),
    }
}

/// Days since 1970-01-01 to year, month and day of the proleptic Gregorian calendar.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
pub const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
}

/// The inverse of [`civil_from_days`]. Same source.
pub const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - (month <= 2) as i64;
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

/// `YYYY-MM-DD[( |T)HH:MM[:SS[.ffffff]]][Z|±HH[[:]MM[:SS]]][ BC]`; without a zone it is UTC. The date may also be
/// `YYYYMMDD` or have slashes.
fn parts(text: &str) -> Result<Parts, Fault> {
    match text.to_ascii_lowercase().as_str() {
        "infinity" | "+infinity" | "-infinity" => return Err(Fault::Infinity),
        "epoch" => {
            return Ok(Parts { year: 1970, month: 1, day: 1, micros_of_day: 0, offset_seconds: 0 });
        }
        _ => {}
    }
    let (text, before_christ) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let (date, rest) =
        text.split_at_checked(text.find([' ', 'T', 't']).unwrap_or(text.len())).ok_or(Fault::Form)?;
    let (year, month, day) = date_fields(date).ok_or(Fault::Form)?;
    let year = if before_christ { 1 - year } else { year };
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return Err(Fault::Field);
    }
    let (micros_of_day, offset_seconds) = match rest.get(1..).map(str::trim_start) {
        None => (0, 0),
        Some(time) => time_and_zone(time)?,
    };
    Ok(Parts { year, month, day, micros_of_day, offset_seconds })
}

fn date_fields(date: &str) -> Option<(i64, i64, i64)> {
    if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some((digits(&date[..4], 4..=4)?, digits(&date[4..6], 2..=2)?, digits(&date[6..], 2..=2)?));
    }
    let mut fields = date.split(if date.contains('/') { '/' } else { '-' });
    let year = digits(fields.next()?, 4..=7)?;
    let (month, day) = (digits(fields.next()?, 1..=2)?, digits(fields.next()?, 1..=2)?);
    (fields.next().is_none() && year != 0).then_some((year, month, day))
}

fn time_and_zone(text: &str) -> Result<(i64, i64), Fault> {
    let (time, zone) = text
        .split_at_checked(text.find(['Z', 'z', 'U', 'u', '+', '-', ' ']).unwrap_or(text.len()))
        .ok_or(Fault::Form)?;
    let (whole, fraction) = time.split_once('.').map_or((time, None), |(whole, part)| (whole, Some(part)));
    let (hour, minute, second) = clock(whole).ok_or(Fault::Form)?;
    let micros = match fraction {
        None | Some("") => 0,
        Some(part) => fraction_micros(part).ok_or(Fault::Form)?,
    };
    let seconds = hour * 3_600 + minute * 60 + second;
    // 24:00:00 is the end of the day; a leap second is the first second of the next minute.
    if hour > 24
        || minute > 59
        || second > 60
        || (hour == 24 && seconds * MICROS_PER_SECOND + micros > MICROS_PER_DAY)
    {
        return Err(Fault::Field);
    }
    let offset = zone_seconds(zone.trim_start()).ok_or(Fault::Form)?;
    Ok((seconds * MICROS_PER_SECOND + micros, offset))
}

/// Digits behind the point of seconds, to the nearest microsecond.
fn fraction_micros(part: &str) -> Option<i64> {
    let known = part.get(..9.min(part.len()))?;
    let billionths = digits(&format!("{known:0<9}"), 9..=9)?;
    part.bytes().all(|byte| byte.is_ascii_digit()).then_some((billionths + 500) / 1_000)
}

/// Seconds east of UTC that a zone says; none: it is no fixed offset.
pub fn zone_seconds(zone: &str) -> Option<i64> {
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

/// How many days a month has.
pub const fn days_in_month(year: i64, month: i64) -> i64 {
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
