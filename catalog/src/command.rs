//! All that may enter the log to change the catalog, and what comes back.
//!
//! A command says what the client asked for, in names: resolution, permission and existence are decided where it is
//! applied, in the order that the original checks them, so that two nodes can never disagree about what a name meant.

use std::fmt;

use bincode::{Decode, Encode};

use crate::defaults::DefaultClass;
use crate::id::{ObjectId, PrincipalId, ScheduleId, Timestamp};
use crate::job::{Control, JobId, JobToken, NewJob, Opaque, Report};
use crate::name::{Name, RoleName};
use crate::object::{ColumnType, ConnectionUri, Expression, Function, Sequence, Table, View};
use crate::privilege::{Privilege, PrivilegeSet};
use crate::protection::{Protection, ProtectionId};
use crate::refusal::Refusal;
use crate::require::UriAccess;
use crate::role::{PasswordVerifier, RoleOption, ValidUntil};
use crate::schedule::{NewSchedule, ScheduleAlteration, ScheduleControl};
use crate::setting::Setting;
use crate::shelf::ShelfStep;

mod shape;
mod table;
mod tighten;

pub use self::table::{NewConstraint, NewForeignKey, NewIdentity, NewIndexKey, Rule, TableAction};

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
    /// `ON SEQUENCE s, …`.
    Sequences(Vec<TablePattern>),
    /// `ON ALL SEQUENCES IN SCHEMA s, …`.
    AllSequencesInSchemas(Vec<SchemaName>),
    /// `ON ALL FUNCTIONS IN SCHEMA s, …`.
    AllFunctionsInSchemas(Vec<SchemaName>),
    /// `ON TYPE t, …`.
    Types(Vec<ObjectName>),
    /// `ON FUNCTION f(…), …`.
    Functions(Vec<FunctionName>),
    /// `ON EXTERNAL CONNECTION c, …`.
    ExternalConnections(Vec<Name>),
    /// `ON IAM ROLE 'arn:…', …`.
    IamRoles(Vec<Name>),
}

/// `[[db.]schema.]f [(type, …)]`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FunctionName {
    /// The name, qualified or not.
    pub name: ObjectName,
    /// The types of its arguments, if they are written; else the name must mean one function.
    pub arguments: Option<Vec<TypeName>>,
}

/// A type as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TypeName {
    /// One that every cluster has.
    Known(ColumnType),
    /// An enum type, by name.
    Named(ObjectName),
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
    /// `VALID UNTIL '…'` or `VALID UNTIL NULL`.
    ValidUntil(ValidUntil),
}

/// What an ALTER … OWNER TO, RENAME TO or SET SCHEMA, or a COMMENT ON, names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OwnedName {
    /// A database.
    Database(Name),
    /// A schema.
    Schema(SchemaName),
    /// A table; or, where the original takes ALTER TABLE for them too, a view or sequence.
    Table(ObjectName),
    /// A view.
    View(ObjectName),
    /// A sequence.
    Sequence(ObjectName),
    /// A type.
    Type(ObjectName),
    /// A function.
    Function(FunctionName),
    /// An external connection.
    ExternalConnection(Name),
    /// A role of a cloud.
    IamRole(Name),
}

/// A variable that ALTER ROLE … SET sets for sessions to come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum VariableChange {
    /// `SET name = value`; both were checked by the node that took the statement.
    Set(String, String),
    /// `RESET name`.
    Reset(String),
    /// `RESET ALL`.
    ResetAll,
}

/// Whose new objects an ALTER DEFAULT PRIVILEGES is about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Creators {
    /// `FOR ROLE r, …`; without FOR, the one who acts.
    Roles(Vec<RoleSpec>),
    /// `FOR ALL ROLES`.
    All,
}

/// What an ALTER DEFAULT PRIVILEGES does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum DefaultAct {
    /// GRANT.
    Grant {
        /// WITH GRANT OPTION.
        grant_option: bool,
    },
    /// REVOKE.
    Revoke {
        /// GRANT OPTION FOR.
        grant_option_only: bool,
    },
}

/// What an ALTER TYPE does to labels.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LabelChange {
    /// ADD VALUE; at the end, or beside another label.
    Add {
        /// The new label.
        label: String,
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// BEFORE (`true`) or AFTER (`false`) which.
        beside: Option<(bool, String)>,
    },
    /// RENAME VALUE … TO ….
    Rename {
        /// The label that there is.
        from: String,
        /// What it is called from now on.
        to: String,
    },
}

/// An index as a statement names it: `table@index`, or `[schema.]index`, which is looked for in all tables.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct IndexName {
    /// The table, if it is written.
    pub table: Option<ObjectName>,
    /// The index; one part when the table is written.
    pub index: ObjectName,
}

/// What an ALTER SEQUENCE changes; what is not written stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SequenceOptions {
    /// INCREMENT BY.
    pub increment: Option<i64>,
    /// MINVALUE; NO MINVALUE is `Some(None)`.
    pub min: Option<Option<i64>>,
    /// MAXVALUE; NO MAXVALUE is `Some(None)`.
    pub max: Option<Option<i64>>,
    /// START WITH.
    pub start: Option<i64>,
    /// OWNED BY the table of a column; OWNED BY NONE is `Some(None)`.
    pub owned_by: Option<Option<ObjectName>>,
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
    /// The foreign keys and identity columns of `table` are none here: those to be stand beside it, in names.
    CreateTable {
        name: ObjectName,
        table: Table,
        foreign_keys: Vec<NewConstraint>,
        identities: Vec<NewIdentity>,
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
    DropOwned {
        by: Vec<RoleSpec>,
        behavior: DropBehavior,
    },
    /// ALTER ROLE r | ALL [IN DATABASE d] SET | RESET: `role` none is ALL.
    AlterRoleSettings {
        role: Option<RoleSpec>,
        if_exists: bool,
        database: Option<Name>,
        change: VariableChange,
    },
    AlterDefaultPrivileges {
        creators: Creators,
        /// IN SCHEMA; empty: the current database.
        schemas: Vec<SchemaName>,
        act: DefaultAct,
        privileges: PrivilegeList,
        on: DefaultClass,
        grantees: Vec<RoleSpec>,
    },
    /// SET or, without a value, RESET CLUSTER SETTING. The value was checked by the node that took the statement, and
    /// is checked again.
    SetClusterSetting {
        setting: Setting,
        value: Option<String>,
    },
    /// OR REPLACE keeps the view's id, owner and grants.
    CreateView {
        name: ObjectName,
        view: View,
        if_not_exists: bool,
        or_replace: bool,
    },
    DropViews {
        names: Vec<ObjectName>,
        if_exists: bool,
        behavior: DropBehavior,
    },
    /// `owned_by` of the sequence is none here: the table is named by `owned_by` beside it.
    CreateSequence {
        name: ObjectName,
        sequence: Sequence,
        owned_by: Option<ObjectName>,
        if_not_exists: bool,
    },
    AlterSequence {
        name: ObjectName,
        if_exists: bool,
        options: SequenceOptions,
    },
    DropSequences {
        names: Vec<ObjectName>,
        if_exists: bool,
        behavior: DropBehavior,
    },
    CreateType {
        name: ObjectName,
        labels: Vec<String>,
        if_not_exists: bool,
    },
    AlterType {
        name: ObjectName,
        change: LabelChange,
    },
    DropTypes {
        names: Vec<ObjectName>,
        if_exists: bool,
        behavior: DropBehavior,
    },
    /// OR REPLACE keeps the function's id, owner and grants.
    CreateFunction {
        name: ObjectName,
        function: Function,
        or_replace: bool,
    },
    DropFunctions {
        names: Vec<FunctionName>,
        if_exists: bool,
        behavior: DropBehavior,
    },
    /// `access` is what the URI needs, and a second one that stands with it, as the node that took the statement read them:
    /// the catalog reads no URI.
    CreateExternalConnection {
        name: Name,
        uri: ConnectionUri,
        access: Vec<UriAccess>,
        if_not_exists: bool,
    },
    /// `access` as in CREATE.
    AlterExternalConnection {
        name: Name,
        uri: ConnectionUri,
        access: Vec<UriAccess>,
        if_exists: bool,
    },
    DropExternalConnections {
        names: Vec<Name>,
        if_exists: bool,
    },
    Rename {
        object: OwnedName,
        if_exists: bool,
        to: Name,
    },
    SetSchema {
        object: OwnedName,
        if_exists: bool,
        schema: SchemaName,
    },
    /// COMMENT ON; `column` of a table or view, if one is named; none for a text: IS NULL.
    Comment {
        on: OwnedName,
        column: Option<Name>,
        text: Option<String>,
    },
    AlterTable {
        name: ObjectName,
        if_exists: bool,
        actions: Vec<TableAction>,
    },
    /// Without a name one is made.
    CreateIndex {
        name: Option<Name>,
        if_not_exists: bool,
        table: ObjectName,
        keys: Vec<NewIndexKey>,
        unique: bool,
        predicate: Option<Expression>,
    },
    /// CASCADE drops also the foreign keys that need a unique one.
    DropIndexes {
        names: Vec<IndexName>,
        if_exists: bool,
        behavior: DropBehavior,
    },
    RenameIndex {
        index: IndexName,
        if_exists: bool,
        to: Name,
    },
    /// COMMENT ON INDEX; none for a text: IS NULL.
    CommentOnIndex {
        index: IndexName,
        text: Option<String>,
    },
    /// Keeps changes from being collected; in place of the record of this id, if there is one.
    ProtectHistory {
        id: ProtectionId,
        protection: Protection,
    },
    /// Keeps them no longer.
    ReleaseHistory {
        id: ProtectionId,
    },
    /// The name is an ARN or the e-mail address of a service account, as it was written.
    CreateIamRole {
        name: Name,
        if_not_exists: bool,
    },
    DropIamRoles {
        names: Vec<Name>,
        if_exists: bool,
    },
    /// A job of who acts. One of this token that is there already is left as it is.
    CreateJob {
        job: Box<NewJob>,
    },
    ControlJob {
        id: JobId,
        control: Control,
    },
    AlterJobOwner {
        id: JobId,
        owner: RoleSpec,
    },
    /// A node begins to work on a job. This and the rest are said by nodes, never by clients. A `boot` is a number that a
    /// process chooses at random when it begins.
    ClaimJob {
        id: JobId,
        node: u64,
        boot: u64,
    },
    /// A node still works on what it has claimed.
    RenewClaims {
        node: u64,
        boot: u64,
    },
    /// What the node that has the claim of this epoch says.
    ReportJob {
        id: JobId,
        epoch: u64,
        report: Report,
    },
    /// Takes away jobs that ended longer ago than the cluster is set to keep them.
    CollectJobs,
    /// The node that has the claim of this epoch does a step of a RESTORE: the `number`th, from 0. `position`: where the next
    /// one begins, in its own words.
    Shelve {
        job: JobId,
        epoch: u64,
        number: u64,
        position: Opaque,
        step: Box<ShelfStep>,
    },
    /// CREATE SCHEDULE FOR BACKUP: one that makes full layers, and beside it maybe one that makes incremental ones. Those of
    /// this token that are there already are left as they are. `if_not_exists`: nothing is made where one of this label is.
    CreateSchedules {
        token: JobToken,
        full: Box<NewSchedule>,
        incremental: Option<Box<NewSchedule>>,
        if_not_exists: bool,
        ignore_existing: bool,
    },
    /// ALTER BACKUP SCHEDULE, of the one that makes full layers.
    AlterSchedules {
        id: ScheduleId,
        to: Box<ScheduleAlteration>,
    },
    ControlSchedule {
        id: ScheduleId,
        control: ScheduleControl,
    },
    /// A node says when a schedule is due next, having seen it as it was changed at `as_of`; and that a run of it came to
    /// nothing before it became a job, if one did.
    AdvanceSchedule {
        id: ScheduleId,
        as_of: Timestamp,
        next: Option<Timestamp>,
        failed: Option<String>,
    },
    /// A node makes a job of a schedule that is due, as its owner, having planned it when the schedule was changed at `as_of`
    /// last. A job of this token that is there already is left as it is.
    RunSchedule {
        id: ScheduleId,
        as_of: Timestamp,
        next: Option<Timestamp>,
        job: Box<NewJob>,
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
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StorageChange {
    /// Make the table of this object.
    Create(ObjectId),
    /// Drop the table that this object had.
    Drop(ObjectId),
    /// The table of this object has another shape: for each column that it has now where its values come from.
    Alter(ObjectId, Vec<ColumnSource>),
    /// Make the table of this object, which is on a shelf.
    Shelve(ObjectId),
    /// Put the rows of the command into the table of this object, which is on a shelf.
    Fill(ObjectId),
    /// The object whose table this is is no longer on a shelf: its history begins.
    Publish(ObjectId),
    /// Drop the table that this object had, which was on a shelf.
    Clear(ObjectId),
}

/// Where the values of a column come from when a table gets another shape.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ColumnSource {
    /// From the column that was at this position.
    Kept(u16),
    /// From this text of the row store, in the names that the columns had.
    Value(String),
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

impl fmt::Display for TypeName {
    /// As it was written; not quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(known) => known.fmt(f),
            Self::Named(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for FunctionName {
    /// As it was written, with its types, if any: `f()`, `s.f(int8, string)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<_> = self.arguments.iter().flatten().map(ToString::to_string).collect();
        write!(f, "{}({})", self.name, types.join(", "))
    }
}

/// The set of a list.
pub fn privilege_set(list: &PrivilegeList) -> PrivilegeSet {
    list.iter().copied().collect()
}
