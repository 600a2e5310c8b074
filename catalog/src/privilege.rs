//! The one table of privileges: stable number, SQL word, and the kinds of object each is legal on.
//!
//! A set is a bit field, bit = 1 << number. Numbers are CockroachDB's and are never reused: 4 was GRANT, 12 is
//! RULE (asked for by name in `has_table_privilege`, never grantable). `ALL` is a bit of its own, so it covers
//! kinds that are added later.

use std::fmt;

use bincode::{Decode, Encode};

/// What kind of object a privilege is held on.
///
/// `Ord` is the order of listings in dependency errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum ObjectKind {
    /// The cluster: system privileges.
    Cluster,
    /// A database.
    Database,
    /// A schema.
    Schema,
    /// A table, view or materialized view.
    Table,
    /// A sequence.
    Sequence,
    /// A user-defined type.
    Type,
    /// A user-defined function.
    Function,
    /// An external connection.
    ExternalConnection,
    /// A virtual table of `pg_catalog`, `information_schema` or `crdb_internal`.
    VirtualTable,
    /// A role of a cloud.
    IamRole,
}

impl ObjectKind {
    /// Every kind, in order.
    pub const ALL: [Self; 10] = [
        Self::Cluster,
        Self::Database,
        Self::Schema,
        Self::Table,
        Self::Sequence,
        Self::Type,
        Self::Function,
        Self::ExternalConnection,
        Self::VirtualTable,
        Self::IamRole,
    ];

    /// The word in `invalid privilege type K for …`.
    pub const fn class_word(self) -> &'static str {
        match self {
            Self::Cluster => "global",
            Self::Database => "database",
            Self::Schema => "schema",
            Self::Table => "table",
            Self::Sequence => "sequence",
            Self::Type => "type",
            Self::Function => "function",
            Self::ExternalConnection => "external_connection",
            Self::VirtualTable => "virtual_table",
            Self::IamRole => "iam_role",
        }
    }

    /// The word in `user u does not have K privilege on …`.
    pub const fn denied_word(self) -> &'static str {
        match self {
            Self::Table | Self::Sequence | Self::VirtualTable => "relation",
            other => other.class_word(),
        }
    }

    /// Whether superusers hold everything on such by rank, with nothing stored: what has no descriptor in the original.
    /// On the other kinds they hold a stored ALL. Source: authorization spec, A.4, E.7.
    pub const fn is_held_by_rank(self) -> bool {
        matches!(self, Self::Cluster | Self::ExternalConnection | Self::VirtualTable | Self::IamRole)
    }

    /// The privileges that are legal on this kind, `ALL` included.
    pub const fn legal(self) -> PrivilegeSet {
        let mut set = PrivilegeSet::EMPTY;
        let mut i = 0;
        while i < TABLE.len() {
            if TABLE[i].legal_on & (1 << self as u16) != 0 {
                set = set.with(TABLE[i].privilege);
            }
            i += 1;
        }
        set
    }
}

/// A thing that can be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is explained in docs/compatibility.md by its SQL word")]
pub enum Privilege {
    All = 1,
    Create = 2,
    Drop = 3,
    Select = 5,
    Insert = 6,
    Delete = 7,
    Update = 8,
    Usage = 9,
    ZoneConfig = 10,
    Connect = 11,
    Rule = 12,
    ModifyClusterSetting = 13,
    ExternalConnection = 14,
    ViewActivity = 15,
    ViewActivityRedacted = 16,
    ViewClusterSetting = 17,
    CancelQuery = 18,
    NoSqlLogin = 19,
    Execute = 20,
    ViewClusterMetadata = 21,
    ViewDebug = 22,
    Backup = 23,
    Restore = 24,
    ExternalIoImplicitAccess = 25,
    Changefeed = 26,
    ModifySqlClusterSetting = 28,
}

/// One row of the table.
struct Row {
    privilege: Privilege,
    word: &'static str,
    legal_on: u16,
}

const fn on(kinds: &[ObjectKind]) -> u16 {
    let mut bits = 0;
    let mut i = 0;
    while i < kinds.len() {
        bits |= 1 << kinds[i] as u16;
        i += 1;
    }
    bits
}

const fn row(privilege: Privilege, word: &'static str, kinds: &[ObjectKind]) -> Row {
    Row { privilege, word, legal_on: on(kinds) }
}

use ObjectKind as O;
use Privilege as P;

/// Sorted by word, which is the order of every listing. RULE is legal nowhere.
const TABLE: [Row; 26] = [
    row(P::All, "ALL", &O::ALL),
    row(P::Backup, "BACKUP", &[O::Cluster, O::Database, O::Table]),
    row(P::CancelQuery, "CANCELQUERY", &[O::Cluster]),
    row(P::Changefeed, "CHANGEFEED", &[O::Table, O::Sequence]),
    row(P::Connect, "CONNECT", &[O::Database]),
    row(P::Create, "CREATE", &[O::Database, O::Schema, O::Table, O::Sequence]),
    row(P::Delete, "DELETE", &[O::Table, O::Sequence]),
    row(P::Drop, "DROP", &[O::Database, O::Table, O::Sequence, O::ExternalConnection, O::IamRole]),
    row(P::Execute, "EXECUTE", &[O::Function]),
    row(P::ExternalConnection, "EXTERNALCONNECTION", &[O::Cluster]),
    row(P::ExternalIoImplicitAccess, "EXTERNALIOIMPLICITACCESS", &[O::Cluster]),
    row(P::Insert, "INSERT", &[O::Table, O::Sequence]),
    row(P::ModifyClusterSetting, "MODIFYCLUSTERSETTING", &[O::Cluster]),
    row(P::ModifySqlClusterSetting, "MODIFYSQLCLUSTERSETTING", &[O::Cluster]),
    row(P::NoSqlLogin, "NOSQLLOGIN", &[O::Cluster]),
    row(P::Restore, "RESTORE", &[O::Cluster, O::Database]),
    row(P::Rule, "RULE", &[]),
    row(P::Select, "SELECT", &[O::Table, O::Sequence, O::VirtualTable]),
    row(P::Update, "UPDATE", &[O::Table, O::Sequence]),
    row(P::Usage, "USAGE", &[O::Schema, O::Sequence, O::Type, O::ExternalConnection, O::IamRole]),
    row(P::ViewActivity, "VIEWACTIVITY", &[O::Cluster]),
    row(P::ViewActivityRedacted, "VIEWACTIVITYREDACTED", &[O::Cluster]),
    row(P::ViewClusterMetadata, "VIEWCLUSTERMETADATA", &[O::Cluster]),
    row(P::ViewClusterSetting, "VIEWCLUSTERSETTING", &[O::Cluster]),
    row(P::ViewDebug, "VIEWDEBUG", &[O::Cluster]),
    row(P::ZoneConfig, "ZONECONFIG", &[O::Database, O::Table, O::Sequence]),
];

impl Privilege {
    /// The SQL word.
    pub fn word(self) -> &'static str {
        TABLE.iter().find(|row| row.privilege == self).map_or("", |row| row.word)
    }

    /// The privilege of an SQL word in any case. RULE is found; that it is legal nowhere is for the caller.
    pub fn from_word(word: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.word.eq_ignore_ascii_case(word)).map(|row| row.privilege)
    }

    /// Whether the privilege can be granted on objects of `kind`.
    pub const fn is_legal_on(self, kind: ObjectKind) -> bool {
        kind.legal().contains(self)
    }

    /// Every privilege, sorted by word.
    pub fn each() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.privilege)
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a decision asks about: 16 bits are enough for what is held on either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Realm {
    /// The cluster: system privileges.
    Cluster,
    /// Everything else.
    Objects,
}

impl Realm {
    const fn bits(self) -> &'static [u16; NUMBERS] {
        match self {
            Self::Cluster => &CLUSTER_BITS,
            Self::Objects => &OBJECT_BITS,
        }
    }
}

/// More than the greatest number of a privilege.
const NUMBERS: usize = 32;
/// `ALL` in either realm.
pub(crate) const ALL_BIT: u16 = 1;
/// Who owns holds more than any set: a bit that no privilege has.
pub(crate) const OWNER_BIT: u16 = 1 << 15;

static CLUSTER_BITS: [u16; NUMBERS] = packed_bits(1 << ObjectKind::Cluster as u16);
static OBJECT_BITS: [u16; NUMBERS] = packed_bits(!(1 << ObjectKind::Cluster as u16));

/// Every privilege that there is, as a set's bits.
const KNOWN: u32 = {
    let (mut known, mut i) = (0, 0);
    while i < TABLE.len() {
        known |= TABLE[i].privilege.bit();
        i += 1;
    }
    known
};

/// A bit for each privilege that is legal on one of `kinds`, by its number; none for the others.
const fn packed_bits(kinds: u16) -> [u16; NUMBERS] {
    let mut bits = [0; NUMBERS];
    let mut next = ALL_BIT << 1;
    let mut i = 0;
    while i < TABLE.len() {
        let Row { privilege, legal_on, .. } = TABLE[i];
        if matches!(privilege, Privilege::All) {
            bits[privilege as usize] = ALL_BIT;
        } else if legal_on & kinds != 0 {
            assert!(next < OWNER_BIT, "more privileges than bits");
            bits[privilege as usize] = next;
            next <<= 1;
        }
        i += 1;
    }
    bits
}

impl Privilege {
    /// The bits of which holding one is holding the privilege, as [`PrivilegeSet::covers`] says, or being the owner. RULE
    /// is held by nobody.
    #[inline]
    pub(crate) const fn question(self, realm: Realm) -> u16 {
        let bit = realm.bits()[self as usize];
        match self {
            Self::Rule => 0,
            Self::NoSqlLogin => bit | OWNER_BIT,
            _ => bit | ALL_BIT | OWNER_BIT,
        }
    }
}

/// A set of privileges. `ALL` in it is one member, not the union of the others: see [`Self::covers`].
/// Encoded in 64 bits, in memory 32: there are as many entries as grants.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrivilegeSet(u32);

impl PrivilegeSet {
    /// No privilege.
    pub const EMPTY: Self = Self(0);
    /// Just the `ALL` bit.
    pub const ALL: Self = Self(Privilege::All.bit());

    /// The set of one privilege.
    pub const fn of(privilege: Privilege) -> Self {
        Self(privilege.bit())
    }

    /// This set and `privilege`.
    #[must_use]
    pub const fn with(self, privilege: Privilege) -> Self {
        Self(self.0 | privilege.bit())
    }

    /// This set without `privilege`.
    #[must_use]
    pub const fn without(self, privilege: Privilege) -> Self {
        Self(self.0 & !privilege.bit())
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The members that take something away, which `ALL` does not stand for: NOSQLLOGIN.
    #[must_use]
    pub const fn negative(self) -> Self {
        self.intersection(Self(Privilege::NoSqlLogin.bit()))
    }

    /// Whether `privilege` itself is a member; `ALL` does not stand for others here.
    pub const fn contains(self, privilege: Privilege) -> bool {
        self.0 & privilege.bit() != 0
    }

    /// Whether holding this set is holding `privilege`: the member itself, or `ALL` for every kind but
    /// NOSQLLOGIN, the one privilege that takes something away.
    pub const fn covers(self, privilege: Privilege) -> bool {
        let by_all = match privilege {
            Privilege::NoSqlLogin => 0,
            _ => Privilege::All.bit(),
        };
        self.0 & (privilege.bit() | by_all) != 0
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// `ALL` replaced by every single kind that is legal on `kind`. NOSQLLOGIN never comes out of it (T-9).
    #[must_use]
    pub const fn exploded(self, kind: ObjectKind) -> Self {
        if self.contains(Privilege::All) {
            Self(self.0 | kind.legal().without(Privilege::NoSqlLogin).0).without(Privilege::All)
        } else {
            self
        }
    }

    /// The set as a decision reads it: one bit for each member. None: a member cannot be held in this realm.
    pub(crate) fn packed(self, realm: Realm) -> Option<u16> {
        // Over the members, not over all that could be: a change of an object asks this for each of its entries.
        let (mut packed, mut rest) = (0, self.0 & KNOWN);
        while rest != 0 {
            match realm.bits()[rest.trailing_zeros() as usize] {
                0 => return None,
                bit => packed |= bit,
            }
            rest &= rest - 1;
        }
        Some(packed)
    }

    /// The members, sorted by word.
    pub fn iter(self) -> impl Iterator<Item = Privilege> {
        Privilege::each().filter(move |privilege| self.contains(*privilege))
    }

    /// The bit field, for encodings.
    pub const fn bits(self) -> u64 {
        self.0 as u64
    }
}

impl FromIterator<Privilege> for PrivilegeSet {
    fn from_iter<I: IntoIterator<Item = Privilege>>(privileges: I) -> Self {
        privileges.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for PrivilegeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Encode for PrivilegeSet {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        self.bits().encode(encoder)
    }
}

impl<Context> Decode<Context> for PrivilegeSet {
    fn decode<D: bincode::de::Decoder<Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        let bits = u64::decode(decoder)?;
        u32::try_from(bits)
            .map(Self)
            .map_err(|_| bincode::error::DecodeError::OtherString(format!("no privileges are {bits:#x}")))
    }
}

bincode::impl_borrow_decode!(PrivilegeSet);

impl Encode for Privilege {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        (*self as u8).encode(encoder)
    }
}

impl<Context> Decode<Context> for Privilege {
    fn decode<D: bincode::de::Decoder<Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        let number = u8::decode(decoder)?;
        Self::each()
            .find(|privilege| *privilege as u8 == number)
            .ok_or(bincode::error::DecodeError::OtherString(format!("no privilege has number {number}")))
    }
}

bincode::impl_borrow_decode!(Privilege);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_by_word_and_numbers_are_unique() {
        let words: Vec<_> = Privilege::each().map(Privilege::word).collect();
        let mut sorted = words.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(words, sorted);
        let mut numbers: Vec<_> = Privilege::each().map(|privilege| privilege as u8).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), words.len());
    }

    #[test]
    fn all_covers_everything_but_nosqllogin() {
        assert!(PrivilegeSet::ALL.covers(Privilege::Select));
        assert!(!PrivilegeSet::ALL.covers(Privilege::NoSqlLogin));
        let exploded = PrivilegeSet::ALL.exploded(ObjectKind::Cluster);
        assert!(!exploded.contains(Privilege::NoSqlLogin));
        assert!(!exploded.contains(Privilege::All));
        assert!(exploded.contains(Privilege::Backup));
    }
}
