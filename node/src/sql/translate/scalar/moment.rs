//! Functions on dates, times and intervals. All in UTC: a session has no other time zone.

use std::cmp::Ordering;

use grantd_raft::rows::Value;

use super::number::{ordering, unless_equal};
use super::{Entry, extreme_by, int, real, string};
use crate::error::{SqlError, state};
use crate::value::SqlType;
use crate::value::interval::{self, Interval, Unit};
use crate::value::text::time::{
    DAYS, MICROS_PER_DAY, civil_from_days, days_from_civil, days_in_month, write_date, write_local,
    write_time, zone_seconds,
};
use crate::value::text::{parse, parse_interval};

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;

pub(super) const TABLE: &[Entry] = &[
    ("g_interval_cmp", 2, true, |v| Ok(ordering(interval::compare(string(&v[0])?, string(&v[1])?)))),
    ("g_interval_key", 1, true, |v| Ok(Value::Text(span(&v[0])?.span().to_string()))),
    ("g_interval_greatest", -1, false, |v| extreme_by(v, Ordering::Greater, interval::compare)),
    ("g_interval_least", -1, false, |v| extreme_by(v, Ordering::Less, interval::compare)),
    ("g_interval_nullif", 2, false, |v| unless_equal(v, interval::compare)),
    ("g_text_local", 1, true, |v| read(v, SqlType::Timestamp)),
    ("g_text_date", 1, true, |v| read(v, SqlType::Date)),
    ("g_text_time", 1, true, |v| read(v, SqlType::Time)),
    ("g_text_interval", 1, true, |v| read(v, SqlType::Interval)),
    ("g_text_decimal", 1, true, |v| read(v, SqlType::Numeric)),
    ("g_local_text", 1, true, |v| shown(int(&v[0])?, write_local)),
    ("g_date_text", 1, true, |v| shown(int(&v[0])?, write_date)),
    ("g_time_text", 1, true, |v| shown(int(&v[0])?, write_time)),
    ("g_date_moment", 1, true, |v| moment_of(int(&v[0])?).map(Value::Integer)),
    ("g_moment_date", 1, true, |v| Ok(Value::Integer(int(&v[0])?.div_euclid(MICROS_PER_DAY)))),
    ("g_moment_time", 1, true, |v| Ok(Value::Integer(int(&v[0])?.rem_euclid(MICROS_PER_DAY)))),
    ("g_time_interval", 1, true, |v| Ok(micros(int(&v[0])?))),
    ("g_interval_time", 1, true, |v| Ok(Value::Integer(span(&v[0])?.micros.rem_euclid(MICROS_PER_DAY)))),
    ("g_moment_add", 2, true, |v| added(int(&v[0])?, span(&v[1])?).map(Value::Integer)),
    ("g_moment_sub", 2, true, |v| added(int(&v[0])?, span(&v[1])?.negated()?).map(Value::Integer)),
    ("g_moment_diff", 2, true, |v| {
        let micros = int(&v[0])?.checked_sub(int(&v[1])?).ok_or_else(interval::out_of_range)?;
        Interval { micros, ..Interval::default() }.justified(true, false).map(text)
    }),
    ("g_date_add", 2, true, |v| {
        let days = int(&v[0])?.checked_add(int(&v[1])?).filter(|days| DAYS.contains(days));
        days.map(Value::Integer).ok_or_else(|| overflow("date"))
    }),
    ("g_time_add", 2, true, |v| {
        Ok(Value::Integer((int(&v[0])? + span(&v[1])?.micros % MICROS_PER_DAY).rem_euclid(MICROS_PER_DAY)))
    }),
    ("g_time_sub", 2, true, |v| {
        Ok(Value::Integer((int(&v[0])? - span(&v[1])?.micros % MICROS_PER_DAY).rem_euclid(MICROS_PER_DAY)))
    }),
    ("g_time_diff", 2, true, |v| Ok(micros(int(&v[0])? - int(&v[1])?))),
    ("g_interval_add", 2, true, |v| span(&v[0])?.plus(span(&v[1])?).map(text)),
    ("g_interval_sub", 2, true, |v| span(&v[0])?.plus(span(&v[1])?.negated()?).map(text)),
    ("g_interval_neg", 1, true, |v| span(&v[0])?.negated().map(text)),
    ("g_interval_mul", 2, true, |v| span(&v[0])?.times(real(&v[1])?).map(text)),
    ("g_interval_div", 2, true, |v| match real(&v[1])? {
        0.0 => Err(super::by_zero()),
        divisor => divided(span(&v[0])?, divisor).map(text),
    }),
    ("g_justify_hours", 1, true, |v| span(&v[0])?.justified(true, false).map(text)),
    ("g_justify_days", 1, true, |v| span(&v[0])?.justified(false, true).map(text)),
    ("g_justify_interval", 1, true, |v| span(&v[0])?.justified(true, true).map(text)),
    ("g_make_interval", -1, true, |v| {
        let units = [Unit::Months(12), Unit::Months(1), Unit::Days(7), Unit::Days(1)];
        let words = ["years", "mons", "weeks", "days"];
        let mut written = String::new();
        for (at, word) in words.iter().enumerate().take(units.len()) {
            written.push_str(&format!("{} {word} ", v.get(at).map_or(Ok(0), int)?));
        }
        written.push_str(&format!("{} hours ", v.get(4).map_or(Ok(0), int)?));
        written.push_str(&format!("{} mins ", v.get(5).map_or(Ok(0), int)?));
        written.push_str(&format!("{:.9} secs", v.get(6).map_or(Ok(0.0), real)?));
        parse_interval(&written, Unit::Days(1)).map(text)
    }),
    ("g_field_moment", 2, true, |v| field(string(&v[0])?, int(&v[1])?).map(Value::Real)),
    ("g_field_time", 2, true, |v| time_field(string(&v[0])?, int(&v[1])?).map(Value::Real)),
    ("g_field_interval", 2, true, |v| interval_field(string(&v[0])?, span(&v[1])?).map(Value::Real)),
    ("g_trunc_moment", 2, true, |v| truncated(string(&v[0])?, int(&v[1])?).map(Value::Integer)),
    ("g_trunc_interval", 2, true, |v| truncated_interval(string(&v[0])?, span(&v[1])?).map(text)),
    ("g_age", 2, true, |v| age(int(&v[0])?, int(&v[1])?).map(text)),
    ("g_make_date", 3, true, |v| made_date(int(&v[0])?, int(&v[1])?, int(&v[2])?).map(Value::Integer)),
    ("g_make_time", 3, true, |v| made_time(int(&v[0])?, int(&v[1])?, real(&v[2])?).map(Value::Integer)),
    ("g_make_moment", 6, true, |v| {
        let date = moment_of(made_date(int(&v[0])?, int(&v[1])?, int(&v[2])?)?)?;
        Ok(Value::Integer(date + made_time(int(&v[3])?, int(&v[4])?, real(&v[5])?)?))
    }),
    ("g_epoch_moment", 1, true, |v| from_epoch(real(&v[0])?)),
    ("g_zone_local", 2, true, |v| shifted(v, -1)),
    ("g_zone_utc", 2, true, |v| shifted(v, 1)),
    ("g_zone_interval", 2, true, |v| {
        let shift = span(&v[1])?;
        if shift.months != 0 || shift.days != 0 {
            let code = grantd_catalog::refusal::state::INVALID_PARAMETER_VALUE;
            return Err(SqlError::new(
                code,
                "an interval that is a time zone must not contain months or days",
            ));
        }
        let sum = int(&v[0])?.checked_add(shift.micros);
        sum.map(Value::Integer).ok_or_else(|| overflow("timestamp"))
    }),
    ("g_json_fraction", 1, true, |v| {
        let micros = int(&v[0])?.rem_euclid(SECOND);
        let digits = format!(".{micros:06}");
        Ok(Value::Text(if micros == 0 { String::new() } else { digits.trim_end_matches('0').to_owned() }))
    }),
    ("g_char_moment", 2, true, |v| to_char(int(&v[0])?, string(&v[1])?).map(Value::Text)),
];

fn read(values: &[Value], sql_type: SqlType) -> Result<Value, SqlError> {
    parse(string(&values[0])?, sql_type)?.to_row(sql_type)
}

fn shown(value: i64, write: fn(i64, &mut String) -> std::fmt::Result) -> Result<Value, SqlError> {
    let mut text = String::new();
    write(value, &mut text).map_err(|_| super::wrong())?;
    Ok(Value::Text(text))
}

fn span(value: &Value) -> Result<Interval, SqlError> {
    Interval::from_canonical(string(value)?)
}

fn text(interval: Interval) -> Value {
    Value::Text(interval.to_string())
}

fn micros(micros: i64) -> Value {
    text(Interval { micros, ..Interval::default() })
}

fn overflow(what: &str) -> SqlError {
    SqlError::new(state::DATETIME_OVERFLOW, format!("{what} out of range"))
}

fn moment_of(days: i64) -> Result<i64, SqlError> {
    days.checked_mul(MICROS_PER_DAY).ok_or_else(|| overflow("timestamp"))
}

/// Years that microseconds since the Unix epoch hold, with room.
const YEAR_MAX: i64 = 294_276;

/// A moment and a span: first the months, where a day that the month has not becomes its last, then days and time.
fn added(moment: i64, span: Interval) -> Result<i64, SqlError> {
    let sum = || {
        let (mut days, rest) = (moment.div_euclid(MICROS_PER_DAY), moment.rem_euclid(MICROS_PER_DAY));
        if span.months != 0 {
            let (year, month, day) = civil_from_days(days);
            let months = year * 12 + month - 1 + i64::from(span.months);
            let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
            days = days_from_civil(year, month, day.min(days_in_month(year, month)));
        }
        days.checked_add(span.days.into())?
            .checked_mul(MICROS_PER_DAY)?
            .checked_add(rest)?
            .checked_add(span.micros)
            .filter(|moment| civil_from_days(moment.div_euclid(MICROS_PER_DAY)).0 <= YEAR_MAX)
    };
    sum().ok_or_else(|| overflow("timestamp"))
}

/// Source: `interval_div` in PostgreSQL, which divides each part and passes what is left to the smaller ones.
fn divided(span: Interval, divisor: f64) -> Result<Interval, SqlError> {
    // The product with a reciprocal may miss the last digit where the quotient would not.
    let exact = divisor.fract() == 0.0 && span.months == 0 && span.days == 0 && divisor.abs() < 1e15;
    if !exact {
        return span.times(1.0 / divisor);
    }
    #[allow(clippy::cast_possible_truncation, reason = "it is whole, and the bound is above")]
    let divisor = divisor as i64;
    let (quotient, rest) = (span.micros / divisor, span.micros % divisor);
    let up = rest.unsigned_abs() * 2 >= divisor.unsigned_abs();
    let step = if (span.micros < 0) == (divisor < 0) { 1 } else { -1 };
    Ok(Interval { micros: quotient + if up { step } else { 0 }, ..Interval::default() })
}

/// A moment in fields.
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    days: i64,
    /// Microseconds since midnight.
    time: i64,
}

impl Fields {
    const fn of(moment: i64) -> Self {
        let (days, time) = (moment.div_euclid(MICROS_PER_DAY), moment.rem_euclid(MICROS_PER_DAY));
        let (year, month, day) = civil_from_days(days);
        Self { year, month, day, days, time }
    }

    /// 0 is Sunday.
    const fn weekday(&self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }

    /// 1 is Monday.
    const fn iso_weekday(&self) -> i64 {
        (self.days + 3).rem_euclid(7) + 1
    }

    const fn day_of_year(&self) -> i64 {
        self.days - days_from_civil(self.year, 1, 1) + 1
    }

    /// The year and week of ISO 8601: a week belongs to the year of its Thursday.
    const fn iso_week(&self) -> (i64, i64) {
        let thursday = self.days - (self.iso_weekday() - 4);
        let (year, _, _) = civil_from_days(thursday);
        (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
    }

    /// The year as people count: there is no year 0.
    const fn counted_year(&self) -> i64 {
        if self.year > 0 { self.year } else { self.year - 1 }
    }

    const fn hour(&self) -> i64 {
        self.time / 3_600 / SECOND
    }

    const fn minute(&self) -> i64 {
        self.time / 60 / SECOND % 60
    }

    const fn second(&self) -> i64 {
        self.time / SECOND % 60
    }
}

fn unknown_field(name: &str, of: &str) -> SqlError {
    let code = grantd_catalog::refusal::state::INVALID_PARAMETER_VALUE;
    let name: String = name.chars().take(40).collect();
    SqlError::new(code, format!("unit \"{name}\" not recognized for type {of}"))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "PostgreSQL's date_part and CockroachDB's extract answer doubles"
)]
fn field(name: &str, moment: i64) -> Result<f64, SqlError> {
    let fields = Fields::of(moment);
    let name = name.trim().to_ascii_lowercase();
    let whole = match name.as_str() {
        "epoch" => return Ok(moment as f64 / SECOND as f64),
        "julian" => return Ok((fields.days + 2_440_588) as f64 + fields.time as f64 / MICROS_PER_DAY as f64),
        "millennium" | "millenniums" => {
            (fields.counted_year() + if fields.year > 0 { 999 } else { -999 }) / 1_000
        }
        "century" | "centuries" => (fields.counted_year() + if fields.year > 0 { 99 } else { -99 }) / 100,
        "decade" | "decades" => fields.year.div_euclid(10),
        "year" | "years" => fields.counted_year(),
        "isoyear" => match fields.iso_week().0 {
            year @ 1.. => year,
            year => year - 1,
        },
        "quarter" => (fields.month - 1) / 3 + 1,
        "month" | "months" | "mon" | "mons" => fields.month,
        "week" | "weeks" => fields.iso_week().1,
        "day" | "days" => fields.day,
        "dow" | "dayofweek" => fields.weekday(),
        "isodow" => fields.iso_weekday(),
        "doy" | "dayofyear" => fields.day_of_year(),
        "timezone" | "timezone_hour" | "timezone_minute" => 0,
        other => return time_field(other, fields.time).map_err(|_| unknown_field(other, "timestamp")),
    };
    Ok(whole as f64)
}

#[allow(clippy::cast_precision_loss, reason = "as of a moment")]
fn time_field(name: &str, time: i64) -> Result<f64, SqlError> {
    Ok(match name.trim().to_ascii_lowercase().as_str() {
        "epoch" => time as f64 / SECOND as f64,
        "hour" | "hours" | "h" => (time / 3_600 / SECOND) as f64,
        "minute" | "minutes" | "m" | "min" => (time / 60 / SECOND % 60) as f64,
        "second" | "seconds" | "s" | "sec" => (time % (60 * SECOND)) as f64 / SECOND as f64,
        "millisecond" | "milliseconds" | "ms" => (time % (60 * SECOND)) as f64 / 1_000.0,
        "microsecond" | "microseconds" | "us" => (time % (60 * SECOND)) as f64,
        other => return Err(unknown_field(other, "time")),
    })
}

#[allow(clippy::cast_precision_loss, reason = "as of a moment")]
fn interval_field(name: &str, span: Interval) -> Result<f64, SqlError> {
    let months = i64::from(span.months);
    let whole = match name.trim().to_ascii_lowercase().as_str() {
        // A year counts 365.25 days there, months beyond years 30. Source: `interval_part` in PostgreSQL.
        "epoch" => {
            let days = (months / 12) as f64 * 365.25 + (months % 12 * 30 + i64::from(span.days)) as f64;
            return Ok(days * 86_400.0 + span.micros as f64 / SECOND as f64);
        }
        "millennium" | "millenniums" => months / 12_000,
        "century" | "centuries" => months / 1_200,
        "decade" | "decades" => months / 120,
        "year" | "years" => months / 12,
        "quarter" => months % 12 / 3 + 1,
        "month" | "months" | "mon" | "mons" => months % 12,
        "day" | "days" => span.days.into(),
        "hour" | "hours" => span.micros / 3_600 / SECOND,
        other => return time_field(other, span.micros).map_err(|_| unknown_field(other, "interval")),
    };
    Ok(whole as f64)
}

fn truncated(name: &str, moment: i64) -> Result<i64, SqlError> {
    let fields = Fields::of(moment);
    let (year, month) = (fields.year, fields.month);
    let step = |micros: i64| Ok(moment - moment.rem_euclid(micros));
    let days = match name.trim().to_ascii_lowercase().as_str() {
        "millennium" => days_from_civil((year - 1).div_euclid(1_000) * 1_000 + 1, 1, 1),
        "century" => days_from_civil((year - 1).div_euclid(100) * 100 + 1, 1, 1),
        "decade" => days_from_civil(year.div_euclid(10) * 10, 1, 1),
        "year" | "years" => days_from_civil(year, 1, 1),
        "quarter" => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
        "month" | "months" | "mon" => days_from_civil(year, month, 1),
        "week" | "weeks" => fields.days - fields.iso_weekday() + 1,
        "day" | "days" => fields.days,
        "hour" | "hours" => return step(3_600 * SECOND),
        "minute" | "minutes" => return step(60 * SECOND),
        "second" | "seconds" => return step(SECOND),
        "millisecond" | "milliseconds" => return step(1_000),
        "microsecond" | "microseconds" => return Ok(moment),
        other => return Err(unknown_field(other, "timestamp")),
    };
    moment_of(days)
}

fn truncated_interval(name: &str, span: Interval) -> Result<Interval, SqlError> {
    let months = |size: i32| Ok(Interval { months: span.months / size * size, ..Interval::default() });
    let micros = |size: i64| Ok(Interval { micros: span.micros / size * size, ..span });
    match name.trim().to_ascii_lowercase().as_str() {
        "millennium" => months(12_000),
        "century" => months(1_200),
        "decade" => months(120),
        "year" | "years" => months(12),
        "quarter" => months(3),
        "month" | "months" | "mon" => months(1),
        "day" | "days" => Ok(Interval { micros: 0, ..span }),
        "hour" | "hours" => micros(3_600 * SECOND),
        "minute" | "minutes" => micros(60 * SECOND),
        "second" | "seconds" => micros(SECOND),
        "millisecond" | "milliseconds" => micros(1_000),
        "microsecond" | "microseconds" => Ok(span),
        other => Err(unknown_field(other, "interval")),
    }
}

/// `age(later, earlier)`: years, months and days between, as a calendar counts them.
fn age(later: i64, earlier: i64) -> Result<Interval, SqlError> {
    let (a, b, sign) = if later >= earlier { (later, earlier, 1) } else { (earlier, later, -1) };
    let (a, b) = (Fields::of(a), Fields::of(b));
    let (mut months, mut days, mut time) =
        ((a.year - b.year) * 12 + a.month - b.month, a.day - b.day, a.time - b.time);
    if time < 0 {
        time += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        // Days of the month of the earlier one. Source: `timestamp_age`.
        days += days_in_month(b.year, b.month);
        months -= 1;
    }
    let narrow = |value: i64| i32::try_from(value * sign).map_err(|_| interval::out_of_range());
    Ok(Interval { months: narrow(months)?, days: narrow(days)?, micros: time * sign })
}

fn made_date(year: i64, month: i64, day: i64) -> Result<i64, SqlError> {
    let wrong = || {
        SqlError::new(
            state::DATETIME_OVERFLOW,
            format!("date field value out of range: {year}-{month:02}-{day:02}"),
        )
    };
    // A negative year is one before Christ.
    let counted = if year < 0 { year + 1 } else { year };
    if year == 0 || !(-4_713..=5_874_897).contains(&year) || !(1..=12).contains(&month) {
        return Err(wrong());
    }
    if !(1..=days_in_month(counted, month)).contains(&day) {
        return Err(wrong());
    }
    Ok(days_from_civil(counted, month, day))
}

#[allow(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn made_time(hour: i64, minute: i64, second: f64) -> Result<i64, SqlError> {
    let in_range = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second);
    let time = |micros: i64| (hour * 3_600 + minute * 60) * SECOND + micros;
    let micros = (second * 1e6).round() as i64;
    if !in_range || time(micros) > MICROS_PER_DAY {
        return Err(SqlError::new(
            state::DATETIME_OVERFLOW,
            format!("time field value out of range: {hour}:{minute:02}:{second:02}"),
        ));
    }
    Ok(time(micros))
}

#[allow(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn from_epoch(seconds: f64) -> Result<Value, SqlError> {
    if seconds.is_infinite() {
        return Err(SqlError::unsupported("infinity as a timestamptz"));
    }
    let micros = (seconds * 1e6).round_ties_even();
    if micros.abs() >= 9.2e18 {
        return Err(overflow("timestamp"));
    }
    Ok(Value::Integer(micros as i64))
}

/// A zone as PostgreSQL reads one that is a text: `+02` is west of Greenwich there, as in POSIX.
fn shifted(values: &[Value], sign: i64) -> Result<Value, SqlError> {
    let (moment, zone) = (int(&values[0])?, string(&values[1])?);
    let name = zone.trim();
    let seconds = match name.to_ascii_lowercase().as_str() {
        "" => None,
        "gmt" | "zulu" | "utc" | "z" | "etc/utc" | "etc/gmt" | "uct" => Some(0),
        _ => zone_seconds(name),
    };
    let Some(seconds) = seconds else {
        return Err(SqlError::unsupported("a time zone with a name").with_hint("Use UTC or an offset."));
    };
    let sum = moment.checked_add(seconds * sign * SECOND);
    sum.map(Value::Integer).ok_or_else(|| overflow("timestamp"))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Patterns of `to_char`, of those that begin alike the longest first.
const PATTERNS: [&str; 54] = [
    "YYYY", "Y,YYY", "YYY", "YY", "Y", "IYYY", "IYY", "IY", "IDDD", "ID", "IW", "I", "HH24", "HH12", "HH",
    "MI", "MS", "MONTH", "Month", "month", "MON", "Mon", "mon", "MM", "US", "SSSSS", "SSSS", "SS", "AM",
    "PM", "A.M.", "P.M.", "am", "pm", "a.m.", "p.m.", "DAY", "Day", "day", "DDD", "DD", "DY", "Dy", "dy",
    "D", "WW", "W", "CC", "J", "Q", "TZ", "tz", "OF", "TZH",
];

/// `to_char(moment, pattern)`. Lower and upper case of a pattern mean the same where it makes a number.
fn to_char(moment: i64, pattern: &str) -> Result<String, SqlError> {
    let fields = Fields::of(moment);
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let inner = &rest[1..];
            let end = inner.find('"').unwrap_or(inner.len());
            out.push_str(&inner[..end]);
            rest = inner.get(end + 1..).unwrap_or("");
            continue;
        }
        let (fill, after) = match rest.get(..2) {
            Some(prefix) if prefix.eq_ignore_ascii_case("FM") => (false, &rest[2..]),
            _ => (true, rest),
        };
        let found = PATTERNS.iter().find(|name| after.starts_with(**name)).copied().or_else(|| {
            let numeric = |name: &&&str| {
                name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b',')
                    && !matches!(**name, "AM" | "PM" | "MONTH" | "MON" | "DAY" | "DY" | "TZ")
            };
            let begins =
                |name: &&&str| after.get(..name.len()).is_some_and(|part| part.eq_ignore_ascii_case(name));
            PATTERNS.iter().filter(numeric).find(begins).copied()
        });
        let Some(name) = found else {
            if after.len() < rest.len() || first.is_ascii_alphabetic() && unknown_letters(rest) {
                return Err(SqlError::unsupported("this pattern of to_char()"));
            }
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        rest = &after[name.len()..];
        let written = written(&fields, name, fill);
        out.push_str(&written);
        if let Some(suffix) = rest.get(..2).filter(|suffix| suffix.eq_ignore_ascii_case("th")) {
            let ending = ordinal(&written);
            out.push_str(&if suffix == "TH" { ending.to_uppercase() } else { ending.to_owned() });
            rest = &rest[2..];
        }
    }
    Ok(out)
}

/// Whether a letter begins a pattern that is not here: Roman months, eras, modes.
fn unknown_letters(rest: &str) -> bool {
    ["RM", "BC", "AD", "B.C.", "A.D.", "FX", "TM", "SP", "FF"]
        .iter()
        .any(|name| rest.get(..name.len()).is_some_and(|part| part.eq_ignore_ascii_case(name)))
}

fn ordinal(written: &str) -> &'static str {
    let mut digits = written.bytes().rev().filter(u8::is_ascii_digit);
    match (digits.next(), digits.next()) {
        (_, Some(b'1')) => "th",
        (Some(b'1'), _) => "st",
        (Some(b'2'), _) => "nd",
        (Some(b'3'), _) => "rd",
        _ => "th",
    }
}

fn written(fields: &Fields, name: &str, fill: bool) -> String {
    let number = |value: i64, width: usize| if fill { format!("{value:0width$}") } else { value.to_string() };
    let word = |word: &str, width: usize, like: &str| {
        let cased = if like.bytes().all(|byte| byte.is_ascii_uppercase()) {
            word.to_uppercase()
        } else if like.bytes().all(|byte| byte.is_ascii_lowercase()) {
            word.to_lowercase()
        } else {
            word.to_owned()
        };
        if fill { format!("{cased:<width$}") } else { cased }
    };
    let month = usize::try_from(fields.month - 1).ok().and_then(|at| MONTHS.get(at)).copied().unwrap_or("");
    let weekday =
        usize::try_from(fields.weekday()).ok().and_then(|at| WEEKDAYS.get(at)).copied().unwrap_or("");
    let year = fields.counted_year().abs();
    let (iso_year, iso_week) = fields.iso_week();
    let hour_12 = (fields.hour() + 11) % 12 + 1;
    let noon = |am: &str, pm: &str| if fields.hour() < 12 { am.to_owned() } else { pm.to_owned() };
    match name {
        "YYYY" => number(year, 4),
        "YYY" => number(year % 1_000, 3),
        "YY" => number(year % 100, 2),
        "Y" => number(year % 10, 1),
        "Y,YYY" => format!("{},{:03}", year / 1_000, year % 1_000),
        "IYYY" => number(iso_year, 4),
        "IYY" => number(iso_year.rem_euclid(1_000), 3),
        "IY" => number(iso_year.rem_euclid(100), 2),
        "I" => number(iso_year.rem_euclid(10), 1),
        "IDDD" => number((iso_week - 1) * 7 + fields.iso_weekday(), 3),
        "ID" => number(fields.iso_weekday(), 1),
        "IW" => number(iso_week, 2),
        "HH24" => number(fields.hour(), 2),
        "HH12" | "HH" => number(hour_12, 2),
        "MI" => number(fields.minute(), 2),
        "SS" => number(fields.second(), 2),
        "MS" => number(fields.time / 1_000 % 1_000, 3),
        "US" => number(fields.time % SECOND, 6),
        "SSSS" | "SSSSS" => number(fields.time / SECOND, 1),
        "MONTH" | "Month" | "month" => word(month, 9, name),
        "MON" | "Mon" | "mon" => word(month.get(..3).unwrap_or(""), 3, name),
        "MM" => number(fields.month, 2),
        "DAY" | "Day" | "day" => word(weekday, 9, name),
        "DY" | "Dy" | "dy" => word(weekday.get(..3).unwrap_or(""), 3, name),
        "DDD" => number(fields.day_of_year(), 3),
        "DD" => number(fields.day, 2),
        "D" => number(fields.weekday() + 1, 1),
        "WW" => number((fields.day_of_year() - 1) / 7 + 1, 2),
        "W" => number((fields.day - 1) / 7 + 1, 1),
        "CC" => number((year + 99) / 100, 2),
        "J" => number(fields.days + 2_440_588, 1),
        "Q" => number((fields.month - 1) / 3 + 1, 1),
        "AM" | "PM" => noon("AM", "PM"),
        "A.M." | "P.M." => noon("A.M.", "P.M."),
        "am" | "pm" => noon("am", "pm"),
        "a.m." | "p.m." => noon("a.m.", "p.m."),
        "TZ" => "UTC".to_owned(),
        "tz" => "utc".to_owned(),
        "OF" | "TZH" => "+00".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Datum;

    fn moment(text: &str) -> i64 {
        match parse(text, SqlType::Timestamp).unwrap() {
            Datum::Timestamp(micros) => micros,
            other => panic!("{other:?}"),
        }
    }

    fn text_of(moment: i64) -> String {
        let mut out = String::new();
        write_local(moment, &mut out).unwrap();
        out
    }

    fn interval_of(text: &str) -> Interval {
        parse_interval(text, Unit::Days(1)).unwrap()
    }

    /// Expected values are those of PostgreSQL 15.
    #[test]
    fn fields_and_ages_are_those_of_postgresql() {
        assert_eq!(age(moment("2024-03-31"), moment("2024-02-29")).unwrap().to_string(), "1 mon 2 days");
        assert_eq!(field("week", moment("2024-12-30")).unwrap(), 1.0);
        assert_eq!(field("isoyear", moment("2024-12-30")).unwrap(), 2025.0);
        assert_eq!(field("isodow", moment("2024-05-05")).unwrap(), 7.0);
        assert_eq!(field("dow", moment("2024-05-05")).unwrap(), 0.0);
        assert_eq!(text_of(truncated("week", moment("2024-05-05 12:00")).unwrap()), "2024-04-29 00:00:00");
        let epoch = interval_field("epoch", interval_of("1 mon 2 days 03:04:05.5")).unwrap();
        assert_eq!(epoch, 2_775_845.5);
        assert_eq!(divided(interval_of("1 year 3 mons"), 2.0).unwrap().to_string(), "7 mons 15 days");
        assert_eq!(interval_of("-1 day 12:00").times(1.5).unwrap().to_string(), "-1 days +06:00:00");
        assert_eq!(
            text_of(added(moment("2024-01-31"), interval_of("1 month")).unwrap()),
            "2024-02-29 00:00:00"
        );
    }

    #[test]
    fn to_char_writes_as_postgresql_writes() {
        let at = moment("2024-01-05 15:06:07.089");
        let pattern = "Day, DD Mon YYYY HH12:MI:SS AM MS US Q WW IW D ID DDD J FMMonth FMDD Dth \"x y\" HH24";
        let expected =
            "Friday   , 05 Jan 2024 03:06:07 PM 089 089000 1 01 01 6 5 005 2460315 January 5 6th x y 15";
        assert_eq!(to_char(at, pattern).unwrap(), expected);
        assert_eq!(to_char(at, "yyyy-mm-dd hh24:mi:ss").unwrap(), "2024-01-05 15:06:07");
        assert_eq!(to_char(at, "RM").unwrap_err().body.code.as_str(), "0A000");
    }
}
