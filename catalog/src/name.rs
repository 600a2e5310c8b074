//! Names as clients write them, and as the catalog stores them.
//!
//! A role name is folded to lower case and NFC even when it was quoted (T-22). Names of other objects keep the
//! case that the parser gives them (which folds what is not quoted) and are only normalized to NFC.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bincode::{Decode, Encode};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// The most bytes that a name may have, as in PostgreSQL.
pub const NAME_BYTES_MAX: usize = 63;

/// The name of a principal, normalized: lower case, NFC. Cloning costs a reference count. Not necessarily of a shape that CREATE ROLE accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct RoleName(Arc<str>);

/// The name of a database, schema, table or column, normalized to NFC. Cloning costs a reference count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Name(Arc<str>);

/// Why a name cannot be the name of a new role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RoleNameFault {
    /// `public`, `none`, `node`, or a prefix that is kept for the system.
    Reserved,
    /// A character that is not allowed where it stands.
    Invalid,
    /// More than [`NAME_BYTES_MAX`] bytes.
    TooLong,
    /// Nothing at all.
    Empty,
}

impl RoleName {
    /// Normalizes what a client wrote. Any text is accepted: a name that is only looked up has no shape.
    pub fn normalize(text: &str) -> Self {
        Self(Self::normal(text).into())
    }

    /// What [`Self::normalize`] makes of a text, which most often is the text itself.
    pub(crate) fn normal(text: &str) -> Cow<'_, str> {
        if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text.nfc().collect::<String>().to_lowercase().nfc().collect())
    }

    /// The normalized text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a new principal may have this name.
    ///
    /// Source: CockroachDB v22.2 `username.go`: a lower-case letter, digit or underscore, then also dashes and
    /// periods; at most 63 bytes; reserved names and prefixes are refused first.
    pub fn check_new(&self) -> Result<(), RoleNameFault> {
        let text = self.as_str();
        if self.is_reserved() {
            return Err(RoleNameFault::Reserved);
        }
        let Some(first) = text.chars().next() else { return Err(RoleNameFault::Empty) };
        if text.len() > NAME_BYTES_MAX {
            return Err(RoleNameFault::TooLong);
        }
        let inner = |c: char| starts_role_name(c) || c == '-' || c == '.';
        if !starts_role_name(first) || !text.chars().all(inner) {
            return Err(RoleNameFault::Invalid);
        }
        Ok(())
    }

    /// Whether the name is kept for the system: `public`, `none`, `node`, `pg_…`, `crdb_internal_…`.
    pub fn is_reserved(&self) -> bool {
        matches!(self.as_str(), "public" | "none" | "node")
            || self.as_str().starts_with("pg_")
            || self.as_str().starts_with("crdb_internal_")
    }
}

fn starts_role_name(c: char) -> bool {
    c.general_category() == GeneralCategory::LowercaseLetter || c.is_ascii_digit() || c == '_'
}

impl Name {
    /// Normalizes an identifier that the parser has already case-folded if it was not quoted.
    pub fn normalize(text: &str) -> Self {
        Self(Self::normal(text).into())
    }

    /// What [`Self::normalize`] makes of a text, which most often is the text itself.
    pub(crate) fn normal(text: &str) -> Cow<'_, str> {
        if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
    }

    /// The normalized text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for RoleName {
    fn from(text: &str) -> Self {
        Self::normalize(text)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::normalize(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_are_folded_even_when_quoted() {
        assert_eq!(RoleName::normalize("Bob"), RoleName::normalize("bob"));
        assert_eq!(RoleName::normalize("Ομηρος").as_str(), "ομηρος");
    }

    #[test]
    fn shapes_of_new_role_names() {
        let fault = |text: &str| RoleName::normalize(text).check_new().err();
        assert_eq!(fault("a-b.c_1"), None);
        assert_eq!(fault("1st"), None);
        assert_eq!(fault("Ομηρος"), None);
        assert_eq!(fault("-dash"), Some(RoleNameFault::Invalid));
        assert_eq!(fault("rain☂"), Some(RoleNameFault::Invalid));
        assert_eq!(fault(""), Some(RoleNameFault::Empty));
        assert_eq!(fault("pg_helpers"), Some(RoleNameFault::Reserved));
        assert_eq!(fault("PUBLIC"), Some(RoleNameFault::Reserved));
        assert_eq!(fault(&"a".repeat(64)), Some(RoleNameFault::TooLong));
    }
}
