//! Principals and their options. Users and roles are one kind in one namespace.

use std::fmt;

use bincode::{Decode, Encode};

use crate::name::RoleName;

/// A principal as the catalog stores it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Principal {
    /// Its name.
    pub name: RoleName,
    /// Which keyword made it. Nothing else depends on it.
    pub is_role: bool,
    /// The options that are set.
    pub options: RoleOptions,
    /// What a password is checked against; none: password authentication always fails.
    pub password: Option<PasswordVerifier>,
    /// Until when a password is accepted; certificates are, afterwards too.
    pub valid_until: Option<ValidUntil>,
}

/// VALID UNTIL, if it was ever set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ValidUntil {
    /// VALID UNTIL NULL: for ever, and SHOW ROLES says that it was set.
    Never,
    /// Microseconds since the Unix epoch.
    At(i64),
}

impl Principal {
    /// The options that are stored, as rows of `system.role_options`: name and value, sorted by name. The password is
    /// not among them.
    pub fn stored_options(&self) -> Vec<(&'static str, Option<String>)> {
        let flags = self.options.iter().map(|option| (option.word(), None));
        let valid_until = self.valid_until.map(|until| match until {
            ValidUntil::Never => (VALID_UNTIL, None),
            ValidUntil::At(us) => (VALID_UNTIL, Some(timestamp_text(us))),
        });
        let mut rows: Vec<_> = flags.chain(valid_until).collect();
        rows.sort();
        rows
    }
}

const VALID_UNTIL: &str = "VALID UNTIL";

/// Microseconds since the Unix epoch as v22.2 writes a TIMESTAMPTZ in UTC: `2021-10-10 00:00:00+00:00`, with as many
/// digits of the second as it needs. Proleptic Gregorian; years before 1 have a minus sign.
pub fn timestamp_text(us: i64) -> String {
    const DAY_US: i64 = 86_400_000_000;
    let (year, month, day) = civil(us.div_euclid(DAY_US));
    let of_day = us.rem_euclid(DAY_US);
    let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
    let fraction = match micros {
        0 => String::new(),
        micros => format!(".{}", format!("{micros:06}").trim_end_matches('0')),
    };
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}+00:00")
}

/// Year, month and day of a day, counted from 1970-01-01. Years are counted from March, so that the leap day is the
/// last one of a year. Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
const fn civil(days: i64) -> (i64, i64, i64) {
    // 146,097 days are 400 years; the first such span began on 0000-03-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// What a session of a role begins with: variables by name. ALTER ROLE … SET.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RoleSettings {
    /// Sorted by name, without repeats, never empty where it is stored.
    pub variables: Vec<(String, String)>,
}

/// A SCRAM-SHA-256 verifier in PostgreSQL's text form. Never printed.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct PasswordVerifier(String);

impl PasswordVerifier {
    /// Wraps `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`. The form is the caller's to check.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text. For the check of a login, and for encodings; for nothing that prints.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordVerifier(…)")
    }
}

/// A role option that is a flag. Each is stored only when it differs from the default, so LOGIN is the absence of
/// NOLOGIN. Options are held by exactly the principal they were set on: membership does not inherit them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[allow(missing_docs, reason = "each is explained in docs/compatibility.md by its SQL word")]
#[repr(u8)]
pub enum RoleOption {
    CancelQuery = 0,
    ControlChangefeed = 1,
    ControlJob = 2,
    CreateDb = 3,
    CreateLogin = 4,
    CreateRole = 5,
    ModifyClusterSetting = 6,
    NoLogin = 7,
    NoSqlLogin = 8,
    ViewActivity = 9,
    ViewActivityRedacted = 10,
    ViewClusterSetting = 11,
}

/// Option, the word that sets it, the word that clears it. Sorted by the first word, as SHOW ROLES prints.
const TABLE: [(RoleOption, &str, &str); 12] = [
    (RoleOption::CancelQuery, "CANCELQUERY", "NOCANCELQUERY"),
    (RoleOption::ControlChangefeed, "CONTROLCHANGEFEED", "NOCONTROLCHANGEFEED"),
    (RoleOption::ControlJob, "CONTROLJOB", "NOCONTROLJOB"),
    (RoleOption::CreateDb, "CREATEDB", "NOCREATEDB"),
    (RoleOption::CreateLogin, "CREATELOGIN", "NOCREATELOGIN"),
    (RoleOption::CreateRole, "CREATEROLE", "NOCREATEROLE"),
    (RoleOption::ModifyClusterSetting, "MODIFYCLUSTERSETTING", "NOMODIFYCLUSTERSETTING"),
    (RoleOption::NoLogin, "NOLOGIN", "LOGIN"),
    (RoleOption::NoSqlLogin, "NOSQLLOGIN", "SQLLOGIN"),
    (RoleOption::ViewActivity, "VIEWACTIVITY", "NOVIEWACTIVITY"),
    (RoleOption::ViewActivityRedacted, "VIEWACTIVITYREDACTED", "NOVIEWACTIVITYREDACTED"),
    (RoleOption::ViewClusterSetting, "VIEWCLUSTERSETTING", "NOVIEWCLUSTERSETTING"),
];

impl RoleOption {
    /// Every option, sorted by word.
    pub fn each() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The word that SHOW ROLES prints when the option is stored.
    pub fn word(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// The option of an SQL word in any case, and whether the word sets it (`false`: clears it).
    pub fn from_word(word: &str) -> Option<(Self, bool)> {
        TABLE.iter().find_map(|(option, sets, clears)| {
            if sets.eq_ignore_ascii_case(word) {
                Some((*option, true))
            } else if clears.eq_ignore_ascii_case(word) {
                Some((*option, false))
            } else {
                None
            }
        })
    }
}

impl fmt::Display for RoleOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A set of options.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct RoleOptions(u32);

impl RoleOptions {
    /// No option is stored: every kind of login is allowed and nothing else.
    pub const EMPTY: Self = Self(0);

    /// Whether `option` is stored.
    pub const fn contains(self, option: RoleOption) -> bool {
        self.0 & (1 << option as u8) != 0
    }

    /// This set and `option`.
    #[must_use]
    pub const fn with(self, option: RoleOption) -> Self {
        Self(self.0 | 1 << option as u8)
    }

    /// This set without `option`.
    #[must_use]
    pub const fn without(self, option: RoleOption) -> Self {
        Self(self.0 & !(1 << option as u8))
    }

    /// The members, sorted by word.
    pub fn iter(self) -> impl Iterator<Item = RoleOption> {
        RoleOption::each().filter(move |option| self.contains(*option))
    }
}

impl fmt::Debug for RoleOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_written_as_the_original_writes_them() {
        assert_eq!(timestamp_text(0), "1970-01-01 00:00:00+00:00");
        assert_eq!(timestamp_text(1_633_824_000_000_000), "2021-10-10 00:00:00+00:00");
        assert_eq!(timestamp_text(951_782_400_000_000), "2000-02-29 00:00:00+00:00");
        assert_eq!(timestamp_text(4_107_542_399_999_999), "2100-02-28 23:59:59.999999+00:00");
        assert_eq!(timestamp_text(4_107_542_400_000_000), "2100-03-01 00:00:00+00:00");
        assert_eq!(timestamp_text(-1), "1969-12-31 23:59:59.999999+00:00");
        assert_eq!(timestamp_text(1_500_000), "1970-01-01 00:00:01.5+00:00");
        assert_eq!(timestamp_text(-62_135_596_800_000_000), "0001-01-01 00:00:00+00:00");
        assert_eq!(timestamp_text(i64::MAX), "294247-01-10 04:00:54.775807+00:00");
        assert_eq!(timestamp_text(i64::MIN), "-290308-12-21 19:59:05.224192+00:00");
    }
}
