//! Newtypes for everything that is counted or numbered.
//!
//! Ids are dense, allocated in log order by `state`, and never reused: an id in an old record, session or
//! entry means the same thing for ever, or nothing.

use std::fmt;

use bincode::{Decode, Encode};

/// A catalog version: the index of the last Raft log entry that it contains.
///
/// Comparable on every node; it is also the consistency token that clients carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Version(pub u64);

/// A principal: a user or a role, which are one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PrincipalId(pub u32);

/// An object that privileges are held on: a database, schema, table and so on. One id space for all kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ObjectId(pub u32);

/// A schedule. Handed out from where jobs get their ids, so that a number names one of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ScheduleId(pub i64);

/// A commit timestamp: nanoseconds since the Unix epoch and a logical counter, strictly increasing in log
/// order. Stamped by the leader; the catalog never reads a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Timestamp {
    /// Nanoseconds since the Unix epoch.
    pub nanos: u64,
    /// Orders timestamps of the same nanosecond.
    pub logical: u32,
}

impl Timestamp {
    /// That of the `n`th commit after this one in the same entry of the log.
    #[must_use]
    pub const fn plus(self, n: u32) -> Self {
        Self { nanos: self.nanos, logical: self.logical.saturating_add(n) }
    }
}

impl PrincipalId {
    /// `root`: exists from the start, member of `admin` with ADMIN OPTION, may always log in.
    pub const ROOT: Self = Self(1);
    /// `admin`: the role whose members are superusers.
    pub const ADMIN: Self = Self(2);
    /// `node`: the internal principal that owns system objects; no client can name it.
    pub const NODE: Self = Self(3);
    /// `public`: the pseudo-role that everybody is in; stored nowhere, cannot be a member or have members.
    pub const PUBLIC: Self = Self(4);
    /// Nobody's id: what stands for all roles where one may be named (ALTER ROLE ALL, FOR ALL ROLES).
    pub const EVERYBODY: Self = Self(0);
    /// The first id that CREATE ROLE hands out.
    pub const FIRST_ORDINARY: Self = Self(100);
}

impl ObjectId {
    /// The cluster itself: what system privileges are held on.
    pub const CLUSTER: Self = Self(0);
    /// The `system` database.
    pub const SYSTEM_DATABASE: Self = Self(1);
    /// Schema `public` of the `system` database.
    pub const SYSTEM_PUBLIC_SCHEMA: Self = Self(29);
    /// The `defaultdb` database of a new cluster.
    pub const DEFAULT_DATABASE: Self = Self(100);
    /// Schema `public` of `defaultdb`.
    pub const DEFAULT_PUBLIC_SCHEMA: Self = Self(101);
    /// The first id that CREATE DATABASE, SCHEMA or TABLE hands out.
    pub const FIRST_ORDINARY: Self = Self(104);
    /// The first id of what is computed and not stored: virtual schemas and tables ([`crate::system`]).
    pub const FIRST_VIRTUAL: Self = Self(0xFFFF_0000);
}

impl ObjectId {
    /// Whether it is of something computed: a virtual schema or table.
    pub const fn is_virtual(self) -> bool {
        self.0 >= Self::FIRST_VIRTUAL.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Timestamp {
    /// `<nanoseconds>.<10-digit logical>`, as `updated` and AS OF SYSTEM TIME show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:010}", self.nanos, self.logical)
    }
}
