//! All that may enter the log to change the catalog, and what comes back.
//!
//! A command says what the client asked for, in names: resolution, permission and existence are decided where it is
//! applied, in the order that the original checks them, so that two nodes can never disagree about what a name meant.

use std::fmt;

use bincode::{Decode, Encode};

use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName};
use crate::object::Table;
use crate::privilege::{Privilege, PrivilegeSet};
use crate::refusal::Refusal;
use crate::role::{PasswordVerifier, RoleOption};

/// The most names in one list of a statement: roles, targets, grantees.
pub const LIST_MAX: usize = 1_000;

/// Who acts. Roles options and privileges are those of `current`; SET ROLE is judged by `session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Actor {
    /// Who logged in.
    pub session: PrincipalId,
    /// Who it acts as after SET ROLE; the same otherwise.
    pub current: PrincipalId,
}

impl Actor {
    /// An actor that did not use SET ROLE.
    pub const fn of(principal: PrincipalId) -> Self {
        Self { session: principal, current: principal }
    }
}

/// What unqualified names mean: the session's database and search path.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NameContext {
    /// The current database, if one is set.
    pub database: Option<Name>,
    /// Schemas in order, by default `public`; `$user` is already replaced.
    pub search_path: Vec<Name>,
}

/// A principal as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RoleSpec {
    /// By name.
    Name(RoleName),
    /// CURRENT_USER.
    CurrentUser,
    /// SESSION_USER.
    SessionUser,
}

/// A name of one to three parts: `t`, `s.t` (or `d.t`, meaning `d.public.t`), `d.s.t`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ObjectName {
    /// The parts, outermost first; one to three.
    pub parts: Vec<Name>,
}

/// `[db.]schema`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SchemaName {
    /// The database, if written.
    pub database: Option<Name>,
    /// The schema.
    pub schema: Name,
}

/// What a GRANT or REVOKE is on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Targets {
    /// `ON DATABASE d, …`.
    Databases(Vec<Name>),
    /// `ON SCHEMA s, …`.
    Schemas(Vec<SchemaName>),
    /// `ON [TABLE] t, s.*, …`.
    Tables(Vec<TablePattern>),
    /// `ON ALL TABLES IN SCHEMA s, …`.
    AllTablesInSchemas(Vec<SchemaName>),
    /// `GRANT SYSTEM …`.
    System,
}

/// One item after ON TABLE.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TablePattern {
    /// One table.
    Table(ObjectName),
    /// `*` (no qualifier), `s.*`, `d.*`, `d.s.*`: at most two parts.
    All(Vec<Name>),
}

/// `ALL [PRIVILEGES]` is the set `{ALL}`; the order of the list is kept because error texts show it.
pub type PrivilegeList = Vec<Privilege>;

/// What happens to what depends on a dropped object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum DropBehavior {
    /// Nothing was written: for a database like CASCADE, for the rest like RESTRICT.
    Default,
    /// CASCADE.
    Cascade,
    /// RESTRICT.
    Restrict,
}

/// One option of CREATE or ALTER ROLE, as written. The list keeps order and repeats: the checks need them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RoleOptionClause {
    /// A flag: the option and whether the word sets what is stored (`NOLOGIN` is `(NoLogin, true)`).
    Flag(RoleOption, bool),
    /// `PASSWORD '…'` (hashed by the node that took the statement) or `PASSWORD NULL`.
    Password(Option<PasswordVerifier>),
}

/// What an ALTER … OWNER TO names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OwnedName {
    /// A database.
    Database(Name),
    /// A schema.
    Schema(SchemaName),
    /// A table.
    Table(ObjectName),
}

/// A change of the catalog that a client asked for. Appended to, never reordered: the position is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[allow(missing_docs, reason = "the clauses of the statement of the same name")]
pub enum Command {
    CreateRole {
        name: RoleSpec,
        is_role: bool,
        if_not_exists: bool,
        options: Vec<RoleOptionClause>,
    },
    AlterRole {
        name: RoleSpec,
        if_exists: bool,
        options: Vec<RoleOptionClause>,
    },
    DropRoles {
        names: Vec<RoleSpec>,
        if_exists: bool,
    },
    GrantRoles {
        roles: Vec<RoleName>,
        members: Vec<RoleSpec>,
        admin_option: bool,
    },
    /// `admin_option_only`: REVOKE ADMIN OPTION FOR.
    RevokeRoles {
        roles: Vec<RoleName>,
        members: Vec<RoleSpec>,
        admin_option_only: bool,
    },
    Grant {
        privileges: PrivilegeList,
        on: Targets,
        to: Vec<RoleSpec>,
        grant_option: bool,
    },
    /// `grant_option_only`: REVOKE GRANT OPTION FOR.
    Revoke {
        privileges: PrivilegeList,
        on: Targets,
        from: Vec<RoleSpec>,
        grant_option_only: bool,
    },
    CreateDatabase {
        name: Name,
        if_not_exists: bool,
        owner: Option<RoleSpec>,
    },
    DropDatabase {
        name: Name,
        if_exists: bool,
        behavior: DropBehavior,
    },
    /// Without a name, CREATE SCHEMA AUTHORIZATION r: the name of the role.
    CreateSchema {
        database: Option<Name>,
        name: Option<Name>,
        if_not_exists: bool,
        owner: Option<RoleSpec>,
    },
    DropSchemas {
        names: Vec<SchemaName>,
        if_exists: bool,
        behavior: DropBehavior,
    },
    CreateTable {
        name: ObjectName,
        table: Table,
        if_not_exists: bool,
    },
    DropTables {
        names: Vec<ObjectName>,
        if_exists: bool,
        behavior: DropBehavior,
    },
    AlterOwner {
        object: OwnedName,
        if_exists: bool,
        owner: RoleSpec,
    },
    ReassignOwned {
        from: Vec<RoleSpec>,
        to: RoleSpec,
    },
}

/// What came of a command: the same on every node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// It was applied.
    Done(Done),
    /// It was refused, and nothing changed.
    Refused(Refusal),
}

/// What an applied command leaves to say and to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Done {
    /// Whether anything is different now.
    pub changed: bool,
    /// What the client is told beside success, in order.
    pub notices: Vec<Refusal>,
    /// What the row store must do in the same transaction, in order.
    pub storage: Vec<StorageChange>,
}

/// A change of the row store's own tables that follows from a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StorageChange {
    /// Make the table of this object.
    Create(ObjectId),
    /// Drop the table that this object had.
    Drop(ObjectId),
}

impl fmt::Display for ObjectName {
    /// The parts with dots between them, as they were written; not quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.parts.iter().enumerate() {
            let dot = if position == 0 { "" } else { "." };
            write!(f, "{dot}{part}")?;
        }
        Ok(())
    }
}

/// The set of a list.
pub fn privilege_set(list: &PrivilegeList) -> PrivilegeSet {
    list.iter().copied().collect()
}
