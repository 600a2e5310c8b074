//! Spans of time: months, days and microseconds, which do not convert into each other but when they are compared.
//!
//! The row store holds one as PostgreSQL's text of it (`1 mon 2 days 03:04:05`), which says each of the three.

use std::cmp::Ordering;
use std::fmt;

use crate::error::{SqlError, state};

/// Microseconds of an hour.
const HOUR: i64 = 3_600_000_000;
/// Microseconds of a minute.
const MINUTE: i64 = 60_000_000;
/// Microseconds of a second.
const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
const DAY: i64 = 24 * HOUR;

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Months; twelve are a year.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// What a part of an interval counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Of so many months.
    Months(i64),
    /// Of so many days.
    Days(i64),
    /// Of so many microseconds.
    Micros(i64),
}

impl Unit {
    /// The unit of a word. Source: PostgreSQL's `deltatktbl`.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "millennium" | "millennia" | "mil" | "mils" => Self::Months(12_000),
            "century" | "centuries" | "cent" | "c" => Self::Months(1_200),
            "decade" | "decades" | "dec" | "decs" => Self::Months(120),
            "year" | "years" | "yr" | "yrs" | "y" => Self::Months(12),
            "month" | "months" | "mon" | "mons" => Self::Months(1),
            "week" | "weeks" | "w" => Self::Days(7),
            "day" | "days" | "d" => Self::Days(1),
            "hour" | "hours" | "hr" | "hrs" | "h" => Self::Micros(HOUR),
            "minute" | "minutes" | "min" | "mins" | "m" => Self::Micros(MINUTE),
            "second" | "seconds" | "sec" | "secs" | "s" => Self::Micros(SECOND),
            "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => Self::Micros(1_000),
            "microsecond" | "microseconds" | "usec" | "usecs" | "us" => Self::Micros(1),
            _ => return None,
        })
    }
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no interval.
    Form,
    /// One of the three parts does not fit.
    Range,
}

/// Parts while they are collected.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
}

impl Sum {
    /// Adds `whole.fraction` units. A fraction of months becomes days of which a month has 30, one of days
    /// microseconds, as in PostgreSQL.
    fn add(&mut self, unit: Unit, number: &Number) -> Result<(), Fault> {
        let Number { whole, billionths } = *number;
        let part = |size: i64, of: i64| {
            // size × of × fraction, exactly: the sizes are small.
            i128::from(size) * i128::from(of) * i128::from(billionths)
        };
        let billion = 1_000_000_000_i128;
        let narrow = |value: i128| i64::try_from(value).map_err(|_| Fault::Range);
        match unit {
            Unit::Months(size) => {
                self.months = plus(self.months, whole.checked_mul(size))?;
                let months = part(size, 1);
                self.months = plus(self.months, Some(narrow(months / billion)?))?;
                // Days of the rest of a month; their own rest is microseconds.
                let days = (months % billion) * 30;
                if size == 1 || months % billion != 0 {
                    self.days = plus(self.days, Some(narrow(days / billion)?))?;
                    self.micros =
                        plus(self.micros, Some(narrow(rounded(days % billion * i128::from(DAY)))?))?;
                }
            }
            Unit::Days(size) => {
                self.days = plus(self.days, whole.checked_mul(size))?;
                let days = part(size, 1);
                self.days = plus(self.days, Some(narrow(days / billion)?))?;
                self.micros = plus(self.micros, Some(narrow(rounded(days % billion * i128::from(DAY)))?))?;
            }
            Unit::Micros(size) => {
                self.micros = plus(self.micros, whole.checked_mul(size))?;
                self.micros = plus(self.micros, Some(narrow(rounded(part(size, 1)))?))?;
            }
        }
        Ok(())
    }

    fn finish(&self, negated: bool) -> Result<Interval, Fault> {
        let sign = if negated { -1 } else { 1 };
        Ok(Interval {
            months: i32::try_from(self.months * sign).map_err(|_| Fault::Range)?,
            days: i32::try_from(self.days * sign).map_err(|_| Fault::Range)?,
            micros: self.micros.checked_mul(sign).ok_or(Fault::Range)?,
        })
    }
}

fn plus(sum: i64, more: Option<i64>) -> Result<i64, Fault> {
    more.and_then(|more| sum.checked_add(more)).ok_or(Fault::Range)
}

/// Billionths to the nearest one.
fn rounded(billionths: i128) -> i128 {
    let half = if billionths < 0 { -500_000_000 } else { 500_000_000 };
    (billionths + half) / 1_000_000_000
}

/// A number with a sign in both parts.
struct Number {
    whole: i64,
    billionths: i64,
}

impl Number {
    fn parse(text: &str) -> Result<Self, Fault> {
        let (sign, digits) = match text.split_at_checked(1) {
            Some(("-", rest)) => (-1, rest),
            Some(("+", rest)) => (1, rest),
            _ => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
            return Err(Fault::Form);
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().map_err(|_| Fault::Range)? };
        let fraction = fraction.get(..9).unwrap_or(fraction);
        let billionths = format!("{fraction:0<9}").parse::<i64>().map_err(|_| Fault::Form)?;
        Ok(Self { whole: whole * sign, billionths: billionths * sign })
    }
}

impl Interval {
    /// Reads PostgreSQL's forms: `1 year 2 mons -3 days 04:05:06.7`, `1-2`, `P1Y2M3DT4H5M6S`, with `ago` or `@`. A
    /// number without a unit counts `unit`.
    pub fn parse(text: &str, unit: Unit) -> Result<Self, Fault> {
        let text = text.trim();
        if text.starts_with(['P', 'p']) {
            return iso(&text[1..]);
        }
        let mut sum = Sum::default();
        let text = text.strip_prefix('@').unwrap_or(text);
        let spaced = spaced(text);
        let mut words = spaced.split_ascii_whitespace().peekable();
        let (mut seen, mut ago) = (false, false);
        while let Some(word) = words.next() {
            if ago {
                return Err(Fault::Form);
            }
            if word.eq_ignore_ascii_case("ago") && seen {
                ago = true;
                continue;
            }
            seen = true;
            if word.contains(':') {
                sum.micros = plus(sum.micros, Some(clock(word, unit)?))?;
                continue;
            }
            let hyphen = word.get(1..).and_then(|rest| rest.find('-'));
            if let Some(at) = hyphen {
                let (years, months) = (&word[..=at], &word[at + 2..]);
                let (years, months) = (Number::parse(years)?, Number::parse(months)?);
                let sign = if word.starts_with('-') { -1 } else { 1 };
                if !(0..12).contains(&months.whole) || years.billionths != 0 || months.billionths != 0 {
                    return Err(Fault::Form);
                }
                let total = years.whole.checked_mul(12).and_then(|y| y.checked_add(sign * months.whole));
                sum.months = plus(sum.months, total)?;
                continue;
            }
            let number = Number::parse(word)?;
            let unit = match words.peek().map(|next| (Unit::named(next), next)) {
                Some((Some(unit), _)) => {
                    words.next();
                    unit
                }
                // A number before a time of day is days.
                Some((None, next)) if next.contains(':') => Unit::Days(1),
                Some((None, next)) if next.eq_ignore_ascii_case("ago") => unit,
                Some((None, _)) => return Err(Fault::Form),
                None => unit,
            };
            sum.add(unit, &number)?;
        }
        if seen { sum.finish(ago) } else { Err(Fault::Form) }
    }

    /// From its own text.
    pub fn from_canonical(text: &str) -> Result<Self, SqlError> {
        Self::parse(text, Unit::Micros(SECOND))
            .map_err(|_| SqlError::internal("the row store holds no interval"))
    }

    /// As one span, where a month has 30 days and a day 24 hours: how intervals are compared.
    pub fn span(self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(DAY) + i128::from(self.micros)
    }

    /// `self + other`.
    pub fn plus(self, other: Self) -> Result<Self, SqlError> {
        let sum = || {
            Some(Self {
                months: self.months.checked_add(other.months)?,
                days: self.days.checked_add(other.days)?,
                micros: self.micros.checked_add(other.micros)?,
            })
        };
        sum().ok_or_else(out_of_range)
    }

    /// With the other sign.
    pub fn negated(self) -> Result<Self, SqlError> {
        let negated = || {
            Some(Self {
                months: self.months.checked_neg()?,
                days: self.days.checked_neg()?,
                micros: self.micros.checked_neg()?,
            })
        };
        negated().ok_or_else(out_of_range)
    }

    /// So many times as long. What is left of months becomes days, what is left of days microseconds, as in PostgreSQL.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "ranges are checked before"
    )]
    pub fn times(self, factor: f64) -> Result<Self, SqlError> {
        let whole =
            |value: f64, bound: f64| if value.abs() < bound { Ok(value) } else { Err(out_of_range()) };
        let months = whole(f64::from(self.months) * factor, 2_147_483_648.0)?;
        let days = whole(f64::from(self.days) * factor, 2_147_483_648.0)?;
        // Source: `interval_mul` in PostgreSQL: a part of a second is rounded to microseconds on the way.
        let to_micros = |days: f64| (days * 86_400.0 * 1e6).round() / (86_400.0 * 1e6);
        let month_days = to_micros(months.fract() * 30.0);
        let day_rest = to_micros(days.fract() + month_days.fract());
        let (mut extra, mut rest) = (month_days.trunc(), day_rest);
        if rest.abs() >= 1.0 {
            extra += rest.trunc();
            rest = rest.fract();
        }
        let micros = self.micros as f64 * factor + rest * 86_400.0 * 1e6;
        let micros = whole(micros.round_ties_even(), 9_223_372_036_854_775_808.0)?;
        let days = whole(days.trunc() + extra, 2_147_483_648.0)?;
        Ok(Self { months: months.trunc() as i32, days: days as i32, micros: micros as i64 })
    }

    /// Whole days for 24 hours, and whole months for 30 days, as far as `hours` and `days` say.
    pub fn justified(self, hours: bool, days: bool) -> Result<Self, SqlError> {
        let (mut months, mut day_count) = (i64::from(self.months), i64::from(self.days));
        let mut micros = self.micros;
        if hours {
            day_count += micros / DAY;
            micros %= DAY;
        }
        if days {
            months += day_count / 30;
            day_count %= 30;
        }
        // All parts get the sign of the greatest.
        if days && months > 0 && (day_count < 0 || (day_count == 0 && micros < 0)) {
            day_count += 30;
            months -= 1;
        } else if days && months < 0 && (day_count > 0 || (day_count == 0 && micros > 0)) {
            day_count -= 30;
            months += 1;
        }
        if hours && day_count > 0 && micros < 0 {
            micros += DAY;
            day_count -= 1;
        } else if hours && day_count < 0 && micros > 0 {
            micros -= DAY;
            day_count += 1;
        }
        Ok(Self {
            months: i32::try_from(months).map_err(|_| out_of_range())?,
            days: i32::try_from(day_count).map_err(|_| out_of_range())?,
            micros,
        })
    }
}

/// 22008.
pub fn out_of_range() -> SqlError {
    SqlError::new(state::DATETIME_OVERFLOW, "interval out of range")
}

/// With a blank between each number and the unit behind it: `1day`, `2h30m`.
fn spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    for char in text.chars() {
        let joins = |c: char| c.is_ascii_digit() || c == '.';
        if (joins(before) && char.is_ascii_alphabetic()) || (before.is_ascii_alphabetic() && joins(char)) {
            out.push(' ');
        }
        out.push(char);
        before = char;
    }
    out
}

/// `HH:MM[:SS[.f]]`, or `MM:SS.f`, with a sign for all of it.
fn clock(word: &str, unit: Unit) -> Result<i64, Fault> {
    let (sign, rest) = match word.split_at_checked(1) {
        Some(("-", rest)) => (-1, rest),
        Some(("+", rest)) => (1, rest),
        _ => (1, word),
    };
    let fields: Vec<_> = rest.split(':').map(Number::parse).collect::<Result<_, _>>()?;
    let plain = |number: &Number| number.billionths == 0 && number.whole >= 0;
    let below = |number: &Number, bound| (0..bound).contains(&number.whole);
    let (hours, minutes, seconds, rest) = match fields.as_slice() {
        [h, m, s] if plain(h) && plain(m) && below(m, 60) && s.whole >= 0 && s.whole <= 60 => {
            (h.whole, m.whole, s.whole, s.billionths)
        }
        [m, s] if plain(m) && (s.billionths != 0 || unit == Unit::Micros(1)) && below(s, 60) => {
            (0, m.whole, s.whole, s.billionths)
        }
        [h, m] if plain(h) && plain(m) && below(m, 60) => (h.whole, m.whole, 0, 0),
        _ => return Err(Fault::Form),
    };
    let micros = i64::try_from(rounded(i128::from(rest) * 1_000_000)).map_err(|_| Fault::Range)?;
    let total = || {
        // The sign first: the least number has no opposite.
        (hours * sign)
            .checked_mul(HOUR)?
            .checked_add((minutes * sign).checked_mul(MINUTE)?)?
            .checked_add(seconds * sign * SECOND)?
            .checked_add(micros * sign)
    };
    total().ok_or(Fault::Range)
}

/// What follows the `P` of ISO 8601.
fn iso(text: &str) -> Result<Interval, Fault> {
    let (mut sum, mut in_time, mut number, mut seen) = (Sum::default(), false, String::new(), false);
    for char in text.chars() {
        match char.to_ascii_uppercase() {
            'T' if number.is_empty() && !in_time => in_time = true,
            c if c.is_ascii_digit() || matches!(c, '.' | '-' | '+') => number.push(c),
            c => {
                let unit = match (c, in_time) {
                    ('Y', false) => Unit::Months(12),
                    ('M', false) => Unit::Months(1),
                    ('W', false) => Unit::Days(7),
                    ('D', false) => Unit::Days(1),
                    ('H', true) => Unit::Micros(HOUR),
                    ('M', true) => Unit::Micros(MINUTE),
                    ('S', true) => Unit::Micros(SECOND),
                    _ => return Err(Fault::Form),
                };
                sum.add(unit, &Number::parse(&number)?)?;
                number.clear();
                seen = true;
            }
        }
    }
    if seen && number.is_empty() { sum.finish(false) } else { Err(Fault::Form) }
}

/// PostgreSQL's `IntervalStyle = postgres`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { months, days, micros } = *self;
        let (mut first, mut negative) = (true, false);
        for (count, word) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
            if count != 0 {
                let blank = if first { "" } else { " " };
                // After a negative part a positive one has a sign.
                let sign = if negative && count > 0 { "+" } else { "" };
                let plural = if count == 1 { "" } else { "s" };
                write!(f, "{blank}{sign}{count} {word}{plural}")?;
                (first, negative) = (false, count < 0);
            }
        }
        if micros == 0 && !first {
            return Ok(());
        }
        let blank = if first { "" } else { " " };
        let sign = match micros < 0 {
            true => "-",
            false if negative => "+",
            false => "",
        };
        let size = micros.unsigned_abs();
        let (seconds, rest) = (size / 1_000_000, size % 1_000_000);
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{blank}{sign}{hours:02}:{minutes:02}:{seconds:02}")?;
        if rest != 0 {
            f.write_str(format!(".{rest:06}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// Orders texts of intervals by how long they are. What is none stands behind all that are, by its bytes.
pub fn compare(a: &str, b: &str) -> Ordering {
    let read = |text| Interval::parse(text, Unit::Micros(SECOND)).ok().map(Interval::span);
    match (read(a), read(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.as_bytes().cmp(b.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> String {
        match Interval::parse(text, Unit::Micros(SECOND)) {
            Ok(interval) => interval.to_string(),
            Err(fault) => format!("{fault:?}"),
        }
    }

    #[test]
    fn intervals_are_read_as_postgresql_reads_them() {
        for (text, expected) in [
            ("1 day", "1 day"),
            ("1 day 02:03:04", "1 day 02:03:04"),
            ("1 year 2 mons -3 days 04:05:06.7", "1 year 2 mons -3 days +04:05:06.7"),
            ("-1 day +02:03", "-1 days +02:03:00"),
            ("1-2", "1 year 2 mons"),
            ("-1-2", "-1 years -2 mons"),
            ("1.5 days", "1 day 12:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 years", "1 year 6 mons"),
            ("2h30m", "02:30:00"),
            ("3 days ago", "-3 days"),
            ("@ 1 minute", "00:01:00"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("1 week", "7 days"),
            ("10", "00:00:10"),
            ("1 2:03", "1 day 02:03:00"),
            ("0", "00:00:00"),
            ("100:00:00", "100:00:00"),
            ("1 fortnight", "Form"),
            ("", "Form"),
            ("3000000000 days", "Range"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_month_compares_as_thirty_days() {
        assert_eq!(compare("1 mon", "30 days"), Ordering::Equal);
        assert_eq!(compare("1 day", "23:59:59"), Ordering::Greater);
        assert_eq!(compare("-1 days", "00:00:00"), Ordering::Less);
    }

    #[test]
    fn a_product_keeps_what_is_left_in_smaller_parts() {
        let times = |text: &str, factor| {
            Interval::parse(text, Unit::Micros(SECOND)).unwrap().times(factor).unwrap().to_string()
        };
        assert_eq!(times("1 mon", 1.5), "1 mon 15 days");
        assert_eq!(times("1 day", 0.5), "12:00:00");
        assert_eq!(times("1 day 02:00:00", 3.0), "3 days 06:00:00");
    }

    #[test]
    fn the_least_interval_is_read_again() {
        let least = Interval { months: i32::MIN, days: i32::MIN, micros: i64::MIN };
        assert_eq!(Interval::from_canonical(&least.to_string()).unwrap(), least);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(months in any::<i32>(), days in any::<i32>(), micros in any::<i64>()) {
            let interval = Interval { months, days, micros };
            prop_assert_eq!(Interval::from_canonical(&interval.to_string()).unwrap(), interval);
        }
    }
}
