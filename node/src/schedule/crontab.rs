//! Crontabs: five fields, or a word as `@daily`, in UTC. Reading and searching are `croner`'s; this says which of its forms are
//! ours, and what is wrong with a text.

use std::cmp::Ordering;
use std::time::Duration;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDateTime, CronDateTime, Resolution, Weekday};
use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::{Refusal, state};
use time::OffsetDateTime;

use crate::cloud::redact;

/// The most bytes of a crontab.
pub const CRONTAB_BYTES_MAX: usize = 256;

/// What is due again and again.
#[derive(Clone, Debug)]
pub struct Crontab(Cron);

impl Crontab {
    /// Of its text.
    ///
    /// Errors: 22023 that names what is wrong.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > CRONTAB_BYTES_MAX {
            return Err(wrong("…", &format!("it has more than {CRONTAB_BYTES_MAX} bytes")));
        }
        let fields = spelled_out(text)?;
        let found: Vec<&str> = fields.split_whitespace().collect();
        if found.len() != FIELDS.len() {
            let said = format!("it has {} fields where five are", found.len());
            return Err(wrong(text, &said));
        }
        // By itself, so that an error has its field.
        for (at, (field, name)) in found.iter().zip(FIELDS).enumerate() {
            // What croner has beside the usual: last days, nearest workdays, both conditions at once.
            let letters = field.chars().any(|c| matches!(c, 'L' | 'l' | 'W' | 'w') && field.len() < 4);
            if letters || field.contains(['#', '+']) {
                return Err(wrong(text, &format!("its {name} \"{}\" is not understood", shown(field))));
            }
            let mut alone = ["*"; FIELDS.len()];
            alone[at] = field;
            parser().parse(&alone.join(" ")).map_err(|error| {
                wrong(text, &format!("its {name} \"{}\" is wrong: {}", shown(field), reason(&error)))
            })?;
        }
        let cron = parser().parse(&fields).map_err(|error| wrong(text, &reason(&error)))?;
        let crontab = Self(cron);
        if crontab.next(Timestamp { nanos: 0, logical: 0 }).is_none() {
            return Err(wrong(text, "no day is such a day"));
        }
        Ok(crontab)
    }

    /// The first time after `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = Moment(i64::try_from(after.nanos / NANOS).ok()?);
        let Moment(seconds) = self.0.find_next_occurrence(&after, false).ok()?;
        let nanos = u64::try_from(seconds).ok()?.checked_mul(NANOS)?;
        Some(Timestamp { nanos, logical: 0 })
    }

    /// From one time to the next, the next two after `after`.
    pub fn period(&self, after: Timestamp) -> Duration {
        let first = self.next(after);
        let second = first.and_then(|first| self.next(first));
        match (first, second) {
            (Some(first), Some(second)) => Duration::from_nanos(second.nanos.saturating_sub(first.nanos)),
            _ => Duration::MAX,
        }
    }
}

/// What a full backup follows if nobody says: croner's words for the original's choice. None: each is a full one.
///
/// Source: cloud-jobs spec, C.7.
pub fn full_of(recurring: Duration) -> Option<&'static str> {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    match recurring {
        period if period <= HOUR => Some("@daily"),
        period if period <= DAY => Some("@weekly"),
        _ => None,
    }
}

/// Five fields for a word.
fn spelled_out(text: &str) -> Result<String, Refusal> {
    let trimmed = text.trim();
    if !trimmed.starts_with('@') {
        return Ok(trimmed.to_ascii_uppercase());
    }
    let word = WORDS.iter().find(|(word, _)| trimmed.eq_ignore_ascii_case(word));
    let (_, fields) = word.ok_or_else(|| {
        let known: Vec<_> = WORDS.iter().map(|(word, _)| *word).collect();
        wrong(text, &format!("of words there are {}", known.join(", ")))
    })?;
    Ok((*fields).to_owned())
}

fn wrong(text: &str, why: &str) -> Refusal {
    let message = format!("invalid crontab \"{}\": {why}", shown(text));
    Refusal::new(state::INVALID_PARAMETER_VALUE, message).with_hint(
        "Write five fields, minute, hour, day of the month, month, day of the week, as '30 2 * * 1-5', or a word as '@daily'. It \
         is in UTC.",
    )
}

/// What croner says, in the tone of the others.
fn reason(error: &CronError) -> String {
    let said = match error {
        CronError::InvalidPattern(said)
        | CronError::IllegalCharacters(said)
        | CronError::ComponentError(said) => said.clone(),
        other => other.to_string(),
    };
    shown(said.trim_end_matches('.'))
}

/// A client's text may be anything, put in the wrong place.
fn shown(text: &str) -> String {
    redact::repeated(text).chars().take(SHOWN_CHARS_MAX).collect()
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build()
}

/// Seconds since 1970, in UTC.
#[derive(Clone, Copy, Debug)]
struct Moment(i64);

impl Moment {
    fn date(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl CronDateTime for Moment {
    fn to_civil(&self) -> CivilDateTime {
        let at = self.date();
        let civil = CivilDateTime::from_ymd_hms_opt(
            at.year(),
            u8::from(at.month()).into(),
            at.day().into(),
            at.hour().into(),
            at.minute().into(),
            at.second().into(),
        );
        civil.expect("the calendar of one library has the days of the other's")
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(self.date().weekday().number_days_from_sunday().into())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let part = |number: u32| u8::try_from(number).map_err(|_| CronError::InvalidDate);
        let month = time::Month::try_from(part(civil.month())?).map_err(|_| CronError::InvalidDate)?;
        let date = time::Date::from_calendar_date(civil.year(), month, part(civil.day())?);
        let date = date.map_err(|_| CronError::InvalidDate)?;
        let time = time::Time::from_hms(part(civil.hour())?, part(civil.minute())?, part(civil.second())?);
        let time = time.map_err(|_| CronError::InvalidTime)?;
        Ok(Resolution::Single(Self(date.with_time(time).assume_utc().unix_timestamp())))
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(seconds).map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

const NANOS: u64 = 1_000_000_000;
/// Of a text that is repeated.
const SHOWN_CHARS_MAX: usize = 80;
const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23 02:30:10, a Monday.
    const NOW: Timestamp = Timestamp { nanos: 1_795_401_010 * NANOS, logical: 3 };

    fn next(text: &str) -> String {
        let at = Crontab::parse(text).unwrap().next(NOW).unwrap();
        let at = OffsetDateTime::from_unix_timestamp(i64::try_from(at.nanos / NANOS).unwrap()).unwrap();
        format!("{} {:02}:{:02}:{:02}", at.date(), at.hour(), at.minute(), at.second())
    }

    #[test]
    fn crontabs_are_due_in_utc() {
        let rows = [
            ("* * * * *", "2026-11-23 02:31:00"),
            ("@hourly", "2026-11-23 03:00:00"),
            ("@daily", "2026-11-24 00:00:00"),
            ("@midnight", "2026-11-24 00:00:00"),
            ("@weekly", "2026-11-29 00:00:00"),
            ("@Monthly", "2026-12-01 00:00:00"),
            ("@yearly", "2027-01-01 00:00:00"),
            ("@annually", "2027-01-01 00:00:00"),
            ("*/15 * * * *", "2026-11-23 02:45:00"),
            ("30 2 * * *", "2026-11-24 02:30:00"),
            ("5,40 1-3 * * *", "2026-11-23 02:40:00"),
            ("0 12 * * mon-fri", "2026-11-23 12:00:00"),
            ("0 12 * dec sun", "2026-12-06 12:00:00"),
            ("0 0 * * 7", "2026-11-29 00:00:00"),
            ("0 0 29 2 *", "2028-02-29 00:00:00"),
            // Either of two days, as in the first crontab.
            ("0 0 30 * 3", "2026-11-25 00:00:00"),
            ("0 0 ? * 3", "2026-11-25 00:00:00"),
            (" 0  0 * * 3 ", "2026-11-25 00:00:00"),
        ];
        for (text, expected) in rows {
            assert_eq!(next(text), expected, "{text}");
        }
    }

    #[test]
    fn times_follow_each_other() {
        let crontab = Crontab::parse("*/20 * * * *").unwrap();
        let times: Vec<_> =
            std::iter::successors(crontab.next(NOW), |at| crontab.next(*at)).take(4).collect();
        let minutes: Vec<_> = times.iter().map(|at| at.nanos / NANOS / 60 % 60).collect();
        assert_eq!(minutes, [40, 0, 20, 40]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rows = [
            ("", "it has 0 fields where five are"),
            ("* * * *", "it has 4 fields where five are"),
            ("0 * * * * *", "it has 6 fields where five are"),
            ("60 * * * *", "its minute \"60\" is wrong"),
            ("0 24 * * *", "its hour \"24\" is wrong"),
            ("0 0 0 * *", "its day of the month \"0\" is wrong"),
            ("0 0 * 13 *", "its month \"13\" is wrong"),
            ("0 0 * * 8", "its day of the week \"8\" is wrong"),
            ("0 0 * * L", "its day of the week \"L\" is not understood"),
            ("0 0 * * 1#2", "its day of the week \"1#2\" is not understood"),
            ("0 0 LW * *", "its day of the month \"LW\" is not understood"),
            ("0 0 * * +1", "its day of the week \"+1\" is not understood"),
            ("5-1 * * * *", "its minute \"5-1\" is wrong"),
            ("0/0 * * * *", "its minute \"0/0\" is wrong"),
            ("0 0 30 2 *", "no day is such a day"),
            ("@often", "of words there are @yearly"),
            ("@every 5m", "of words there are @yearly"),
        ];
        for (text, expected) in rows {
            let refusal = Crontab::parse(text).expect_err(text);
            assert_eq!(refusal.code, state::INVALID_PARAMETER_VALUE);
            let message = refusal.message;
            assert!(
                message.starts_with("invalid crontab \"") && message.contains(expected),
                "{text}: {message}"
            );
        }
        let long = "*".repeat(CRONTAB_BYTES_MAX + 1);
        assert!(Crontab::parse(&long).unwrap_err().message.contains("more than 256 bytes"));
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        let text = "s3://b/p?AWS_SECRET_ACCESS_KEY=S3CR3T";
        let refusal = Crontab::parse(text).unwrap_err();
        assert!(!format!("{refusal:?}").contains("S3CR3T"), "{refusal:?}");
    }

    #[test]
    fn the_less_often_one_recurs_the_more_of_it_is_full() {
        let of = |text| full_of(Crontab::parse(text).unwrap().period(NOW));
        assert_eq!(of("*/5 * * * *"), Some("@daily"));
        assert_eq!(of("@hourly"), Some("@daily"));
        assert_eq!(of("0 */2 * * *"), Some("@weekly"));
        assert_eq!(of("@daily"), Some("@weekly"));
        assert_eq!(of("@weekly"), None);
        assert_eq!(of("0 0 * * 1,3"), None);
    }
}
