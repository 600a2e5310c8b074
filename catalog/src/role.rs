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
