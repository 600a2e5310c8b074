//! Default privileges: what is granted on objects when they are made.
//!
//! They are held by databases and schemas, for one creator or for all roles. There is a record only where they differ
//! from the built-in state, so that a role whose defaults nobody touched has none, and one whose defaults were put back
//! has none again. Source: authorization spec, G.

use std::fmt;

use bincode::{Decode, Encode};

use crate::grant::{Acl, AclEntry};
use crate::id::PrincipalId;
use crate::privilege::{ObjectKind, Privilege, PrivilegeSet};

/// A class of objects that defaults are held for. Appended to, never reordered: the position is in the log.
///
/// `Ord` is the order of the words, which is that of listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[allow(missing_docs, reason = "the words after ON")]
pub enum DefaultClass {
    Functions,
    Schemas,
    Sequences,
    Tables,
    Types,
}

impl DefaultClass {
    /// Every class, sorted by word.
    pub const EACH: [Self; 5] = [Self::Functions, Self::Schemas, Self::Sequences, Self::Tables, Self::Types];

    /// The kind whose privileges are legal.
    pub const fn kind(self) -> ObjectKind {
        match self {
            Self::Functions => ObjectKind::Function,
            Self::Schemas => ObjectKind::Schema,
            Self::Sequences => ObjectKind::Sequence,
            Self::Tables => ObjectKind::Table,
            Self::Types => ObjectKind::Type,
        }
    }

    /// The class of objects of `kind`. None: there are no defaults for such.
    pub const fn of(kind: ObjectKind) -> Option<Self> {
        match kind {
            ObjectKind::Function => Some(Self::Functions),
            ObjectKind::Schema => Some(Self::Schemas),
            ObjectKind::Sequence => Some(Self::Sequences),
            ObjectKind::Table => Some(Self::Tables),
            ObjectKind::Type => Some(Self::Types),
            ObjectKind::Cluster
            | ObjectKind::Database
            | ObjectKind::ExternalConnection
            | ObjectKind::VirtualTable
            | ObjectKind::IamRole => None,
        }
    }

    /// The word, as SHOW DEFAULT PRIVILEGES prints it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Functions => "functions",
            Self::Schemas => "schemas",
            Self::Sequences => "sequences",
            Self::Tables => "tables",
            Self::Types => "types",
        }
    }
}

impl fmt::Display for DefaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is granted on objects that one creator, or all roles, make in one database or schema. By class, in full: the
/// creator's own ALL and everybody's USAGE of types are entries like others, and are there until they are revoked.
///
/// Invariant: what covers a built-in entry without being more is written as that entry, so that defaults that were put
/// back equal [`Self::built_in`]. The original keeps the same as flags beside its entries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DefaultPrivileges {
    /// In the order of [`DefaultClass::EACH`].
    acls: [Acl; 5],
}

/// Whose new objects, and where: what one [`DefaultPrivileges`] is held for, as far as its built-in state depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultsFor {
    /// The kind of the holder: a database or a schema.
    pub holder: ObjectKind,
    /// Who makes the objects; [`PrincipalId::EVERYBODY`]: all roles.
    pub creator: PrincipalId,
}

impl DefaultsFor {
    /// What is granted where nobody changed it: in a database ALL to the creator, without grant option, and USAGE on
    /// types to `public`; in a schema nothing.
    pub fn built_in(self, class: DefaultClass) -> Acl {
        if self.holder != ObjectKind::Database {
            return Acl::default();
        }
        let all = AclEntry { privileges: PrivilegeSet::ALL, ..AclEntry::none(self.creator) };
        let creator = Some(all).filter(|_| self.creator != PrincipalId::EVERYBODY);
        let privileges = PrivilegeSet::of(Privilege::Usage);
        let usage = AclEntry { privileges, ..AclEntry::none(PrincipalId::PUBLIC) };
        let public = Some(usage).filter(|_| class == DefaultClass::Types);
        creator.into_iter().chain(public).collect()
    }

    /// The built-in entry of the same grantee if `entry` is no more and no less than it, else `entry`. A complete list
    /// of privileges is ALL, and ALL on a class of one privilege is that privilege.
    fn folded(self, class: DefaultClass, entry: AclEntry) -> AclEntry {
        let built_in = self.built_in(class);
        let Some(built_in) = built_in.entry(entry.grantee) else { return entry };
        let mut parts = built_in.privileges.exploded(class.kind()).iter();
        let is_complete = parts.all(|privilege| entry.privileges.covers(privilege));
        if is_complete && entry.grant_options.is_empty() { *built_in } else { entry }
    }
}

impl DefaultPrivileges {
    /// Those that nobody changed.
    pub fn built_in(of: DefaultsFor) -> Self {
        Self { acls: DefaultClass::EACH.map(|class| of.built_in(class)) }
    }

    /// What is granted on new objects of `class`.
    pub fn acl(&self, class: DefaultClass) -> &Acl {
        &self.acls[class as usize]
    }

    /// The entries of `class` that are not built in, sorted by grantee.
    pub fn explicit(&self, of: DefaultsFor, class: DefaultClass) -> impl Iterator<Item = AclEntry> {
        let built_in = of.built_in(class);
        let entries = self.acl(class).entries().iter();
        entries.filter(move |entry| built_in.entry(entry.grantee) != Some(entry)).copied()
    }

    /// The same of other access lists. For principals that get other ids; what is built in must stay so.
    #[must_use]
    pub fn mapped(&self, map: impl Fn(&Acl) -> Acl) -> Self {
        Self { acls: self.acls.each_ref().map(map) }
    }

    /// Puts `entry` in the place of its grantee's.
    pub fn set(&mut self, of: DefaultsFor, class: DefaultClass, entry: AclEntry) {
        self.acls[class as usize].set(of.folded(class, entry));
    }
}
