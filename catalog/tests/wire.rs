//! What is written stays readable: golden bytes of every kind of value, and nothing that bytes can say makes a decoder
//! panic or believe what was not written.
//!
//! If a golden line changes, the format changed: append to the enum instead, or take a new format number.

mod common;
mod wires;

use std::fmt::Write as _;

use bincode::{Decode, Encode};
use common::*;
use grantd_catalog::command::{
    Actor, ColumnSource, Command, Creators, DefaultAct, Done, DropBehavior, FunctionName, IndexName,
    LabelChange, NameContext, NewConstraint, NewForeignKey, NewIdentity, NewIndexKey, Outcome, OwnedName,
    RoleOptionClause, RoleSpec, Rule, SchemaName, SequenceOptions, StorageChange, TableAction, TablePattern,
    Targets, TypeName, VariableChange,
};
use grantd_catalog::defaults::{DefaultClass, DefaultPrivileges, DefaultsFor};
use grantd_catalog::grant::AclEntry;
use grantd_catalog::id::{ObjectId, PrincipalId, ScheduleId, Timestamp, Version};
use grantd_catalog::job::{
    Alteration, Claim, ClaimLease, Control, ExecutionError, FinalError, Job, JobId, JobKind, JobStatus,
    JobToken, NewJob, Opaque, Progress, Protects, Report,
};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::{
    Argument, Body, Check, Column, ColumnType, ConnectionUri, DecimalBound, EnumLabel, EnumType, Expression,
    ExternalConnection, ForeignKey, Function, Identity, Index, IndexKey, KeyPart, LABEL_GAP, Object,
    ReferentialAction, Sequence, Table, Unique, View, ViewColumn, Volatility,
};
use grantd_catalog::privilege::{ObjectKind, Privilege, PrivilegeSet};
use grantd_catalog::protection::{Protection, ProtectionId};
use grantd_catalog::record::{Counters, Record, RecordKey};
use grantd_catalog::refusal;
use grantd_catalog::require::{FeedTo, Need, Requirement, UriAccess};
use grantd_catalog::role::{PasswordVerifier, Principal, RoleOption, RoleOptions, RoleSettings, ValidUntil};
use grantd_catalog::setting::Setting;
use grantd_catalog::shelf::{Ids, Scope, Shelf, ShelfStep, Shelved};
use grantd_catalog::wire::{self, WireError};
use wires::{commands_of_schedules, schedule};

/// Every kind of value with its bytes, one a line. Set `UPDATE_GOLDEN` to write it anew.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire.golden");

fn commands() -> Vec<(&'static str, Command)> {
    let verifier = PasswordVerifier::new("SCRAM-SHA-256$4096:c2FsdA==$a:b".to_owned());
    let schema = || vec![schema_name("d.s"), schema_name("s")];
    vec![
        (
            "CreateRole",
            Command::CreateRole {
                name: RoleSpec::CurrentUser,
                is_role: true,
                if_not_exists: false,
                options: vec![
                    RoleOptionClause::Flag(RoleOption::NoLogin, true),
                    RoleOptionClause::Password(Some(verifier)),
                    RoleOptionClause::Password(None),
                ],
            },
        ),
        ("AlterRole", alter_role("amy", "CREATEDB NOCREATEROLE")),
        ("DropRoles", drop_role("amy ben")),
        ("GrantRoles", grant_role_with_admin("crew", "amy")),
        ("RevokeRoles", revoke_role("crew", "amy")),
        ("Grant tables", grant_with_option("SELECT INSERT", tables("t s.t d.s.t"), "amy public")),
        ("Grant star", grant("ALL", Targets::Tables(vec![TablePattern::All(vec![Name::from("s")])]), "amy")),
        ("Grant databases", grant("CONNECT", Targets::Databases(vec![Name::from("d")]), "amy")),
        ("Grant all tables", grant("DROP", Targets::AllTablesInSchemas(schema()), "amy")),
        ("Revoke schemas", revoke("USAGE", Targets::Schemas(schema()), "amy")),
        ("Revoke option", revoke_option("NOSQLLOGIN", Targets::System, "amy")),
        ("CreateDatabase", create_database("d")),
        (
            "DropDatabase",
            Command::DropDatabase { name: Name::from("d"), if_exists: true, behavior: DropBehavior::Cascade },
        ),
        (
            "CreateSchema",
            Command::CreateSchema {
                database: None,
                name: None,
                if_not_exists: true,
                owner: Some(RoleSpec::SessionUser),
            },
        ),
        (
            "DropSchemas",
            Command::DropSchemas { names: schema(), if_exists: false, behavior: DropBehavior::Restrict },
        ),
        (
            "CreateTable",
            Command::CreateTable {
                name: object_name("t"),
                table: wide_table(),
                foreign_keys: constraints(),
                identities: vec![identity()],
                if_not_exists: false,
            },
        ),
        ("DropTables", drop_table("s.t")),
        ("AlterOwner", table_owner("t", "amy")),
        (
            "AlterOwner database",
            Command::AlterOwner {
                object: OwnedName::Database(Name::from("d")),
                if_exists: true,
                owner: role("amy"),
            },
        ),
        ("ReassignOwned", Command::ReassignOwned { from: role_list("amy ben"), to: role("crew") }),
    ]
}

fn all_commands() -> Vec<(&'static str, Command)> {
    let mut all = commands();
    all.extend(commands_on_more());
    all.extend(commands_on_owned());
    all.extend(commands_that_make());
    all.extend(commands_that_shape());
    all.extend(commands_of_history());
    all.extend(commands_of_clouds());
    all.extend(commands_of_jobs());
    all
}

fn commands_on_more() -> Vec<(&'static str, Command)> {
    let names = || vec![object_name("o"), object_name("d.s.o")];
    let schema = || vec![schema_name("d.s"), schema_name("s")];
    let behavior = DropBehavior::Cascade;
    let set = VariableChange::Set("a".to_owned(), "1".to_owned());
    let settings = |role, database: Option<&str>, change| Command::AlterRoleSettings {
        role,
        if_exists: false,
        database: database.map(Name::from),
        change,
    };
    vec![
        (
            "AlterRole valid until",
            Command::AlterRole {
                name: role("amy"),
                if_exists: true,
                options: vec![
                    RoleOptionClause::ValidUntil(ValidUntil::At(-1)),
                    RoleOptionClause::ValidUntil(ValidUntil::Never),
                ],
            },
        ),
        ("DropOwned", Command::DropOwned { by: role_list("amy ben"), behavior }),
        ("AlterRoleSettings", settings(Some(role("amy")), Some("d"), set)),
        ("AlterRoleSettings of all", settings(None, None, VariableChange::Reset("a".to_owned()))),
        ("AlterRoleSettings reset all", settings(None, None, VariableChange::ResetAll)),
        ("AlterDefaultPrivileges", defaults(Creators::Roles(role_list("amy")), Vec::new(), true)),
        ("AlterDefaultPrivileges for all", defaults(Creators::All, schema(), false)),
        (
            "SetClusterSetting",
            Command::SetClusterSetting {
                setting: Setting::ClusterOrganization,
                value: Some("we".to_owned()),
            },
        ),
        (
            "SetClusterSetting reset",
            Command::SetClusterSetting { setting: Setting::DefaultStatementTimeout, value: None },
        ),
        ("Grant sequences", grant("USAGE", Targets::Sequences(patterns()), "amy")),
        ("Grant all sequences", grant("SELECT", Targets::AllSequencesInSchemas(schema()), "amy")),
        ("Grant all functions", grant("EXECUTE", Targets::AllFunctionsInSchemas(schema()), "amy")),
        ("Grant types", grant("USAGE", Targets::Types(names()), "amy")),
        ("Grant functions", grant("EXECUTE", Targets::Functions(functions()), "amy")),
        ("Revoke connections", revoke("DROP", Targets::ExternalConnections(vec![Name::from("c")]), "amy")),
        ("DropViews", Command::DropViews { names: names(), if_exists: true, behavior }),
        ("DropSequences", Command::DropSequences { names: names(), if_exists: true, behavior }),
        ("DropTypes", Command::DropTypes { names: names(), if_exists: true, behavior }),
        ("DropFunctions", Command::DropFunctions { names: functions(), if_exists: true, behavior }),
        (
            "DropExternalConnections",
            Command::DropExternalConnections { names: vec![Name::from("c")], if_exists: true },
        ),
    ]
}

fn commands_on_owned() -> Vec<(&'static str, Command)> {
    let name = || object_name("s.o");
    let to = Name::from("o");
    let owner = |object| Command::AlterOwner { object, if_exists: false, owner: role("amy") };
    vec![
        ("AlterOwner schema", owner(OwnedName::Schema(schema_name("d.s")))),
        ("AlterOwner view", owner(OwnedName::View(name()))),
        ("AlterOwner sequence", owner(OwnedName::Sequence(name()))),
        ("AlterOwner type", owner(OwnedName::Type(name()))),
        ("AlterOwner function", owner(OwnedName::Function(functions().remove(0)))),
        ("AlterOwner connection", owner(OwnedName::ExternalConnection(to.clone()))),
        ("Rename", Command::Rename { object: OwnedName::Table(name()), if_exists: true, to }),
        (
            "SetSchema",
            Command::SetSchema {
                object: OwnedName::Type(name()),
                if_exists: true,
                schema: schema_name("d.s"),
            },
        ),
    ]
}

fn commands_that_make() -> Vec<(&'static str, Command)> {
    let name = || object_name("s.o");
    let uri = || ConnectionUri::new("gs://b".to_owned());
    let table = || Some(object_name("t"));
    let add = |beside| LabelChange::Add { label: "b".to_owned(), if_not_exists: true, beside };
    let every = SequenceOptions {
        increment: Some(-2),
        min: Some(None),
        max: Some(Some(300)),
        start: Some(7),
        owned_by: Some(table()),
    };
    let renamed = LabelChange::Rename { from: "a".to_owned(), to: "b".to_owned() };
    let to = Name::from("o");
    vec![
        (
            "CreateView",
            Command::CreateView { name: name(), view: view(), if_not_exists: true, or_replace: true },
        ),
        (
            "CreateSequence",
            Command::CreateSequence {
                name: name(),
                sequence: sequence(),
                owned_by: table(),
                if_not_exists: true,
            },
        ),
        ("AlterSequence", Command::AlterSequence { name: name(), if_exists: true, options: every }),
        (
            "AlterSequence nothing",
            Command::AlterSequence { name: name(), if_exists: false, options: SequenceOptions::default() },
        ),
        (
            "CreateType",
            Command::CreateType {
                name: name(),
                labels: vec!["a".to_owned(), String::new()],
                if_not_exists: true,
            },
        ),
        ("AlterType add", Command::AlterType { name: name(), change: add(None) }),
        ("AlterType before", Command::AlterType { name: name(), change: add(Some((true, "a".to_owned()))) }),
        ("AlterType rename", Command::AlterType { name: name(), change: renamed }),
        ("CreateFunction", Command::CreateFunction { name: name(), function: function(), or_replace: true }),
        (
            "CreateExternalConnection",
            Command::CreateExternalConnection {
                name: to.clone(),
                uri: uri(),
                access: vec![access(), UriAccess::default()],
                if_not_exists: true,
            },
        ),
        (
            "AlterExternalConnection",
            Command::AlterExternalConnection {
                name: to.clone(),
                uri: uri(),
                access: Vec::new(),
                if_exists: true,
            },
        ),
        ("Comment", comment(None, None)),
        ("Comment on a column", comment(Some("k"), Some("what it is"))),
    ]
}

fn comment(column: Option<&str>, text: Option<&str>) -> Command {
    Command::Comment {
        on: OwnedName::Table(object_name("t")),
        column: column.map(Name::from),
        text: text.map(str::to_owned),
    }
}

fn defaults(creators: Creators, schemas: Vec<SchemaName>, granted: bool) -> Command {
    Command::AlterDefaultPrivileges {
        creators,
        schemas,
        act: match granted {
            true => DefaultAct::Grant { grant_option: true },
            false => DefaultAct::Revoke { grant_option_only: true },
        },
        privileges: privileges("SELECT"),
        on: DefaultClass::Tables,
        grantees: role_list("amy public"),
    }
}

fn patterns() -> Vec<TablePattern> {
    vec![TablePattern::Table(object_name("q")), TablePattern::All(vec![Name::from("s")])]
}

fn functions() -> Vec<FunctionName> {
    let named = TypeName::Named(object_name("s.mood"));
    vec![
        FunctionName {
            name: object_name("s.f"),
            arguments: Some(vec![TypeName::Known(ColumnType::Int8), named]),
        },
        FunctionName { name: object_name("g"), arguments: None },
    ]
}

/// A column of an enum type, and something that its query reads.
fn view() -> View {
    let column = ViewColumn { name: Name::from("k"), column_type: ColumnType::Enum(ObjectId(300)) };
    View { columns: vec![column], query: "SELECT 1".to_owned(), references: vec![ObjectId(104)] }
}

fn sequence() -> Sequence {
    Sequence { start: 1, increment: -1, min: i64::MIN, max: 300, owned_by: Some(ObjectId(104)) }
}

fn function() -> Function {
    let argument = |name: Option<&str>, argument_type| Argument { name: name.map(Name::from), argument_type };
    Function {
        arguments: vec![
            argument(Some("a"), ColumnType::Int8),
            argument(None, ColumnType::Enum(ObjectId(300))),
        ],
        returns: ColumnType::Bool,
        body: "SELECT true".to_owned(),
        volatility: Volatility::Immutable,
        is_strict: true,
        references: vec![ObjectId(104), ObjectId(300)],
    }
}

fn enum_type() -> EnumType {
    let label = |position, label: &str| EnumLabel { position, label: label.to_owned() };
    EnumType { labels: vec![label(-1, "low"), label(LABEL_GAP, "high")] }
}

fn constraints() -> Vec<NewConstraint> {
    let name = Name::from;
    let columns = || vec![name("a"), name("b")];
    let key = NewForeignKey {
        columns: columns(),
        target: object_name("s.t"),
        target_columns: vec![name("k")],
        on_delete: ReferentialAction::SetNull,
        on_update: ReferentialAction::Cascade,
    };
    let other = NewForeignKey {
        target_columns: Vec::new(),
        on_delete: ReferentialAction::SetDefault,
        on_update: ReferentialAction::Restrict,
        ..key.clone()
    };
    let constraint = |rule| NewConstraint { name: Some(name("c")), rule };
    vec![
        constraint(Rule::PrimaryKey(columns())),
        constraint(Rule::Unique(columns())),
        constraint(Rule::Check(expression())),
        constraint(Rule::ForeignKey(key)),
        NewConstraint { name: None, rule: Rule::ForeignKey(other) },
    ]
}

fn identity() -> NewIdentity {
    let sequence = Sequence { start: 7, increment: 1, min: 1, max: i64::MAX, owned_by: None };
    NewIdentity { column: Name::from("a"), always: true, sequence }
}

fn actions() -> Vec<TableAction> {
    let (a, b) = (Name::from("a"), Name::from("b"));
    let behavior = DropBehavior::Cascade;
    let column = wide_table().columns.remove(1);
    let (fill, using) = (Some("7".to_owned()), Some("1".to_owned()));
    let mut actions = vec![
        TableAction::AddColumn { column, if_not_exists: true, fill, constraints: constraints() },
        TableAction::DropColumn { column: a.clone(), if_exists: true, behavior },
        TableAction::RenameColumn {
            column: a.clone(),
            to: b.clone(),
            expressions: vec![(expression(), expression())],
        },
        TableAction::SetDefault { column: a.clone(), default: Some(expression()) },
        TableAction::SetNullable { column: a.clone(), nullable: true },
        TableAction::SetType {
            column: a.clone(),
            column_type: ColumnType::Int4,
            using,
            expressions: vec![(expression(), expression())],
        },
        TableAction::AddIdentity(identity()),
        TableAction::DropIdentity { column: a.clone(), if_exists: true },
        TableAction::DropConstraint { constraint: a.clone(), if_exists: true, behavior },
        TableAction::RenameConstraint { constraint: a, to: b },
    ];
    let constraint = constraints().remove(1);
    actions.push(TableAction::AddConstraint { constraint, if_not_exists: true });
    actions
}

fn commands_that_shape() -> Vec<(&'static str, Command)> {
    let table = || object_name("s.t");
    let at = || IndexName { table: Some(table()), index: object_name("i") };
    let key = NewIndexKey { part: KeyPart::Column(Name::from("a")), descending: true };
    let computed = NewIndexKey { part: KeyPart::Expression(expression()), descending: false };
    vec![
        ("AlterTable", Command::AlterTable { name: table(), if_exists: true, actions: actions() }),
        (
            "CreateIndex",
            Command::CreateIndex {
                name: Some(Name::from("i")),
                if_not_exists: true,
                table: table(),
                keys: vec![key, computed],
                unique: true,
                predicate: Some(expression()),
            },
        ),
        (
            "DropIndexes",
            Command::DropIndexes {
                names: vec![at(), IndexName { table: None, index: object_name("s.i") }],
                if_exists: true,
                behavior: DropBehavior::Cascade,
            },
        ),
        ("RenameIndex", Command::RenameIndex { index: at(), if_exists: true, to: Name::from("j") }),
        ("CommentOnIndex", Command::CommentOnIndex { index: at(), text: Some("what it is".to_owned()) }),
    ]
}

fn commands_of_history() -> Vec<(&'static str, Command)> {
    let id = ProtectionId(7);
    vec![
        ("ProtectHistory", Command::ProtectHistory { id, protection: protection(Some(vec![ObjectId(300)])) }),
        ("ProtectHistory of all", Command::ProtectHistory { id, protection: protection(None) }),
        ("ReleaseHistory", Command::ReleaseHistory { id }),
    ]
}

fn new_job() -> NewJob {
    NewJob {
        token: JobToken(1 << 100),
        kind: JobKind::Changefeed,
        description: "CREATE CHANGEFEED".to_owned(),
        statement: "CREATE CHANGEFEED FOR t".to_owned(),
        details: Opaque::new(vec![1, 2]),
        requirement: requirement(),
        tables: vec![ObjectId(104)],
        schedule: Some(ScheduleId(3)),
        cancelable: true,
        protects: Some(Protects {
            since: Timestamp { nanos: 1 << 60, logical: 7 },
            tables: Some(vec![ObjectId(104)]),
        }),
    }
}

fn job() -> Job {
    let at = |nanos| Timestamp { nanos, logical: 7 };
    Job {
        asked: NewJob { protects: None, ..new_job() },
        owner: PrincipalId(300),
        owner_name: RoleName::from("amy"),
        status: JobStatus::Reverting,
        created: at(1),
        started: Some(at(2)),
        finished: None,
        modified: at(3),
        epoch: 300,
        claim: Some(Claim { node: 2, boot: 1 << 50 }),
        progress: Progress {
            fraction_ppm: Some(500_000),
            high_water: Some(at(4)),
            running_status: "s".to_owned(),
            checkpoint: Opaque::new(vec![3]),
        },
        error: Some(FinalError::Canceled),
        execution_errors: vec![ExecutionError { at: at(5), run: 1, text: "e".to_owned() }],
        pause_reason: Some("r".to_owned()),
        num_runs: 2,
        last_run: Some(at(6)),
        next_run: Some(at(7)),
        retries: 1,
        credential_waits: 1,
        waiting_since: Some(at(8)),
    }
}

fn alteration() -> Alteration {
    Alteration {
        as_of: Timestamp { nanos: 1, logical: 2 },
        description: "d".to_owned(),
        details: Opaque::new(vec![1, 2]),
        requirement: Requirement::NOTHING,
        tables: vec![ObjectId(104)],
    }
}

fn reports() -> Vec<Report> {
    let text = || "e".to_owned();
    vec![
        Report::Progress {
            fraction_ppm: Some(1),
            high_water: Some(Timestamp { nanos: 1, logical: 2 }),
            running_status: Some(text()),
            checkpoint: Some(Opaque::new(vec![4])),
            protect_since: Some(Timestamp { nanos: 3, logical: 4 }),
        },
        Report::WaitsForCredentials { running_status: text() },
        Report::Retry { error: text(), delay_ms: Some(5) },
        Report::Rest { delay_ms: 6 },
        Report::HandOver,
        Report::Paused { reason: Some(text()) },
        Report::Failed { error: text() },
        Report::Canceling,
        Report::Reverted,
        Report::RevertFailed { error: text() },
        Report::Succeeded,
    ]
}

/// Those of jobs and schedules.
fn commands_of_jobs() -> Vec<(&'static str, Command)> {
    let id = JobId(7);
    let pause = Control::Pause { reason: Some("r".to_owned()) };
    let mut all = vec![
        ("CreateJob", Command::CreateJob { job: Box::new(new_job()) }),
        ("ControlJob pause", Command::ControlJob { id, control: pause }),
        ("ControlJob resume", Command::ControlJob { id, control: Control::Resume }),
        ("ControlJob cancel", Command::ControlJob { id, control: Control::Cancel }),
        ("ControlJob alter", Command::ControlJob { id, control: Control::Alter(Box::new(alteration())) }),
        ("AlterJobOwner", Command::AlterJobOwner { id, owner: RoleSpec::CurrentUser }),
        ("ClaimJob", Command::ClaimJob { id, node: 2, boot: 1 << 50 }),
        ("RenewClaims", Command::RenewClaims { node: 2, boot: 1 << 50 }),
    ];
    let said = |report| ("ReportJob", Command::ReportJob { id, epoch: 300, report });
    all.extend(reports().into_iter().map(said));
    all.push(("CollectJobs", Command::CollectJobs));
    all.extend(steps_of_shelves().into_iter().map(|step| {
        let (job, position) = (id, Opaque::new(vec![7]));
        ("Shelve", Command::Shelve { job, epoch: 300, number: 1 << 40, position, step: Box::new(step) })
    }));
    all.extend(commands_of_schedules(new_job()));
    all
}

/// Those of the roles of clouds.
fn shelved() -> Vec<Shelved> {
    let entry = AclEntry {
        grantee: PrincipalId(100),
        privileges: PrivilegeSet::of(Privilege::Restore),
        grant_options: PrivilegeSet::EMPTY,
    };
    let object = Object {
        name: Name::from("o"),
        parent: ObjectId(100),
        owner: PrincipalId(1),
        acl: [entry].into_iter().collect(),
        body: Body::Schema,
        comment: None,
    };
    let principal = Principal {
        name: RoleName::from("amy"),
        is_role: true,
        options: RoleOptions::EMPTY,
        password: None,
        valid_until: None,
    };
    let (role, member) = (PrincipalId(300), PrincipalId(301));
    vec![
        Shelved::Object { id: ObjectId(300), object: std::sync::Arc::new(object), is_made: true },
        Shelved::Principal { id: role, principal },
        Shelved::Membership { role, member, admin_option: true },
        Shelved::SystemPrivileges([entry].into_iter().collect()),
        Shelved::RoleSettings {
            database: ObjectId::CLUSTER,
            role,
            settings: RoleSettings { variables: vec![("a".to_owned(), "1".to_owned())] },
        },
        Shelved::DefaultPrivileges { holder: ObjectId(300), creator: role, defaults: changed_defaults() },
        Shelved::Setting(Setting::MinPasswordLength, "12".to_owned()),
    ]
}

fn steps_of_shelves() -> Vec<ShelfStep> {
    let begin = |scope| ShelfStep::Begin { scope, objects: 300, principals: 70_000 };
    vec![
        begin(Scope::Cluster),
        begin(Scope::Objects),
        begin(Scope::Users),
        ShelfStep::Put(shelved()),
        ShelfStep::Make(vec![ObjectId(300)]),
        ShelfStep::Fill { table: ObjectId(300), rows: Opaque::new(vec![1, 2]) },
        ShelfStep::Publish,
        ShelfStep::Clear,
    ]
}

fn shelf() -> Shelf {
    Shelf {
        scope: Scope::Objects,
        objects: Ids { first: 300, count: 7 },
        principals: Ids { first: 100, count: 0 },
        steps: 300,
        items: 7,
        position: Opaque::new(vec![7]),
    }
}

fn commands_of_clouds() -> Vec<(&'static str, Command)> {
    let role = || Name::from("arn:aws:iam::123456789012:role/r");
    let owner = Command::AlterOwner {
        object: OwnedName::IamRole(role()),
        if_exists: true,
        owner: RoleSpec::Name(RoleName::from("amy")),
    };
    vec![
        ("Grant on IAM roles", grant("USAGE", Targets::IamRoles(vec![role()]), "amy")),
        ("AlterOwner IAM role", owner),
        ("CreateIamRole", Command::CreateIamRole { name: role(), if_not_exists: true }),
        ("DropIamRoles", Command::DropIamRoles { names: vec![role()], if_exists: true }),
    ]
}

fn protection(tables: Option<Vec<ObjectId>>) -> Protection {
    Protection { since: Timestamp { nanos: 1 << 60, logical: 7 }, tables, holder: "job 7".to_owned() }
}

fn expression() -> Expression {
    Expression { sql: "1".to_owned(), stored: "(1)".to_owned(), references: vec![ObjectId(104)] }
}

/// A column of each type, and each kind of constraint.
fn wide_table() -> Table {
    let types = [
        ColumnType::Bool,
        ColumnType::Int2,
        ColumnType::Int4,
        ColumnType::Int8,
        ColumnType::Float8,
        ColumnType::Text { chars_max: None },
        ColumnType::Text { chars_max: Some(300) },
        ColumnType::Bytes,
        ColumnType::Uuid,
        ColumnType::TimestampTz,
        ColumnType::Enum(ObjectId(300)),
        ColumnType::Float4,
        ColumnType::Timestamp,
        ColumnType::Date,
        ColumnType::Time,
        ColumnType::Interval,
        ColumnType::Decimal { bound: None },
        ColumnType::Decimal { bound: Some(DecimalBound { precision: 10, scale: 2 }) },
        ColumnType::Jsonb,
        ColumnType::Char { chars: 3 },
    ];
    let columns = types.into_iter().zip('a'..).map(|(column_type, letter)| Column {
        name: Name::from(letter.to_string().as_str()),
        column_type,
        nullable: letter != 'a',
        default: (letter == 'b').then(expression),
        hidden: letter == 'j',
        comment: None,
        computed: (letter == 'c').then(expression),
        identity: (letter == 'd').then_some(Identity { always: true, sequence: ObjectId(107) }),
    });
    let key = |column| IndexKey { part: KeyPart::Column(column), descending: column == 2 };
    let computed = || IndexKey { part: KeyPart::Expression(expression()), descending: false };
    let index = |unique| Index {
        name: Name::from("i"),
        keys: vec![key(1), key(2), computed()],
        unique,
        predicate: unique.then(expression),
        comment: unique.then(|| "what it is".to_owned()),
    };
    let foreign_key = ForeignKey {
        name: Name::from("f"),
        columns: vec![1],
        target: ObjectId(105),
        target_columns: vec![0],
        on_delete: ReferentialAction::NoAction,
        on_update: ReferentialAction::SetNull,
    };
    Table {
        columns: columns.collect(),
        primary_key: vec![0, 3],
        unique: vec![Unique { name: Name::from("u"), columns: vec![1] }],
        checks: vec![Check { name: Name::from("c"), expression: expression() }],
        key_name: Name::from("t_pkey"),
        indexes: vec![index(false), index(true)],
        foreign_keys: vec![foreign_key],
    }
}

#[allow(clippy::too_many_lines, reason = "one of each")]
fn records() -> Vec<(RecordKey, Record)> {
    let entry = AclEntry {
        grantee: PrincipalId(100),
        privileges: PrivilegeSet::of(Privilege::Changefeed).with(Privilege::All),
        grant_options: PrivilegeSet::of(Privilege::Select),
    };
    let object = |body| Object {
        name: Name::from("o"),
        parent: ObjectId(100),
        owner: PrincipalId(1),
        acl: [AclEntry::superuser(PrincipalId::ADMIN), entry].into_iter().collect(),
        body,
        comment: None,
    };
    let shared = |body| std::sync::Arc::new(object(body));
    let principal = Principal {
        name: RoleName::from("amy"),
        is_role: false,
        options: RoleOptions::EMPTY.with(RoleOption::CreateDb).with(RoleOption::ViewClusterSetting),
        password: Some(PasswordVerifier::new("v".to_owned())),
        valid_until: None,
    };
    let expiring = Principal { valid_until: Some(ValidUntil::At(1 << 50)), ..principal.clone() };
    let connection = ExternalConnection { uri: ConnectionUri::new("gs://b".to_owned()) };
    let counters = Counters { next_principal: PrincipalId(300), next_object: ObjectId(70_000) };
    let mut records = vec![
        (RecordKey::Counters, Record::Counters(counters)),
        (RecordKey::Principal(PrincipalId(300)), Record::Principal(principal)),
        (
            RecordKey::Membership { role: PrincipalId(2), member: PrincipalId(1) },
            Record::Membership { admin_option: true },
        ),
        (RecordKey::SystemPrivileges, Record::SystemPrivileges([entry].into_iter().collect())),
        (RecordKey::Object(ObjectId(100)), Record::Object(shared(Body::Database))),
        (RecordKey::Object(ObjectId(101)), Record::Object(shared(Body::Schema))),
        (
            RecordKey::Object(ObjectId(70_000)),
            Record::Object(shared(Body::Table(std::sync::Arc::new(wide_table())))),
        ),
        (RecordKey::Object(ObjectId(70_001)), Record::Object(shared(Body::View(view())))),
        (RecordKey::Object(ObjectId(70_002)), Record::Object(shared(Body::Sequence(sequence())))),
        (RecordKey::Object(ObjectId(70_003)), Record::Object(shared(Body::Type(enum_type())))),
        (RecordKey::Object(ObjectId(70_004)), Record::Object(shared(Body::Function(function())))),
        (RecordKey::Object(ObjectId(70_005)), Record::Object(shared(Body::ExternalConnection(connection)))),
        (RecordKey::Object(ObjectId(70_007)), Record::Object(shared(Body::IamRole))),
        (RecordKey::Object(ObjectId::FIRST_VIRTUAL), Record::Object(shared(Body::VirtualTable))),
        (
            RecordKey::Object(ObjectId(70_006)),
            Record::Object(std::sync::Arc::new(Object {
                comment: Some("what it is".to_owned()),
                ..object(Body::Schema)
            })),
        ),
        (
            RecordKey::RoleSettings { database: ObjectId::CLUSTER, role: PrincipalId::EVERYBODY },
            Record::RoleSettings(RoleSettings { variables: vec![("a".to_owned(), "1".to_owned())] }),
        ),
        (
            RecordKey::DefaultPrivileges { holder: ObjectId(100), creator: PrincipalId(300) },
            Record::DefaultPrivileges(changed_defaults()),
        ),
        (RecordKey::Setting(Setting::MinPasswordLength), Record::Setting("12".to_owned())),
        (RecordKey::Principal(PrincipalId(301)), Record::Principal(expiring)),
        (RecordKey::Protection(ProtectionId(1 << 100)), Record::Protection(protection(Some(Vec::new())))),
        (RecordKey::NextJob, Record::NextJob(JobId(8))),
        (RecordKey::Job(JobId(7)), Record::Job(std::sync::Arc::new(job()))),
        (
            RecordKey::ClaimLease { node: 2 },
            Record::ClaimLease(ClaimLease { boot: 1 << 50, until: Timestamp { nanos: 1 << 60, logical: 7 } }),
        ),
        (RecordKey::Shelf(JobId(7)), Record::Shelf(std::sync::Arc::new(shelf()))),
    ];
    records.extend((0..).zip(shelved()).map(|(number, item)| {
        let key = RecordKey::Shelved { job: JobId(7), number };
        (key, Record::Shelved(std::sync::Arc::new(item)))
    }));
    records.push((RecordKey::Schedule(ScheduleId(7)), Record::Schedule(std::sync::Arc::new(schedule()))));
    records
}

/// Defaults of a database, with one grantee more.
fn changed_defaults() -> DefaultPrivileges {
    let of = DefaultsFor { holder: ObjectKind::Database, creator: PrincipalId(300) };
    let mut defaults = DefaultPrivileges::built_in(of);
    let privileges = PrivilegeSet::of(Privilege::Select);
    let entry = AclEntry { privileges, grant_options: privileges, ..AclEntry::none(PrincipalId(301)) };
    defaults.set(of, DefaultClass::Tables, entry);
    defaults
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    let sources = vec![ColumnSource::Kept(1), ColumnSource::Value("NULL".to_owned())];
    let altered = StorageChange::Alter(ObjectId(106), sources);
    let done = Done {
        changed: true,
        notices: vec![refusal::skipped(&refusal::relation_exists("t"))],
        storage: vec![StorageChange::Create(ObjectId(104)), StorageChange::Drop(ObjectId(105)), altered],
    };
    let id = ObjectId(300);
    let shelved = Done {
        changed: true,
        notices: Vec::new(),
        storage: vec![
            StorageChange::Shelve(id),
            StorageChange::Fill(id),
            StorageChange::Publish(id),
            StorageChange::Clear(id),
        ],
    };
    vec![
        ("Done", Outcome::Done(done)),
        ("Refused", Outcome::Refused(refusal::may_not_reassign_to().with_detail("d"))),
        ("Done on a shelf", Outcome::Done(shelved)),
    ]
}

fn access() -> UriAccess {
    UriAccess {
        provider: "s3".to_owned(),
        implicit: true,
        only_nodes: false,
        roles: vec![Name::from("arn:aws:iam::123456789012:role/r")],
        connection: Some(Name::from("c")),
    }
}

fn requirement() -> Requirement {
    Requirement {
        needs: vec![
            Need::Privilege { object: ObjectId(104), privilege: Privilege::Select },
            Need::AnyPrivilege { object: ObjectId(104) },
            Need::Ownership { object: ObjectId(104) },
            Need::Admin { action: "do it".to_owned() },
            Need::Option(RoleOption::CreateRole),
            Need::SystemOrOption(Privilege::ViewActivity),
            Need::AnyOf { object: ObjectId(104), privileges: vec![Privilege::Update, Privilege::Usage] },
            Need::Outside(access()),
        ],
    }
}

fn others() -> (Actor, NameContext, Version, Timestamp) {
    let actor = Actor { session: PrincipalId(1), current: PrincipalId(300) };
    (actor, context("defaultdb"), Version(300), Timestamp { nanos: 1 << 60, logical: 7 })
}

/// Each value by its name, encoded.
fn encoded() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut value = |name: String, bytes: Result<Vec<u8>, WireError>| all.push((name, bytes.expect("small")));
    for (name, command) in all_commands() {
        value(format!("command {name}"), wire::encode("command", &command));
    }
    for (name, outcome) in outcomes() {
        value(format!("outcome {name}"), wire::encode("outcome", &outcome));
    }
    value("requirement".to_owned(), wire::encode("requirement", &requirement()));
    let feed = Need::Changefeed { tables: vec![ObjectId(104)], to: FeedTo::Connection };
    let feed = wire::encode("requirement", &Requirement { needs: vec![feed] });
    value("requirement of a changefeed".to_owned(), feed);
    value("actor, context, version, time".to_owned(), wire::encode("others", &others()));
    for (key, record) in records() {
        value(format!("key {key:?}"), Ok(wire::encode_key(key)));
        value(format!("record {key:?}"), wire::encode_record(&record));
    }
    all
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads and writes its golden file; the library has no files"
)]
fn the_bytes_are_those_of_the_first_release() {
    let mut text = String::new();
    for (name, bytes) in encoded() {
        let hex: String = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes all");
            hex
        });
        writeln!(text, "{name}: {hex}").expect("a string takes all");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("the golden file can be read");
    for (line, expected) in text.lines().zip(golden.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

/// Decodes `bytes` cut at every place and with every byte changed in several ways.
fn spoil<T: PartialEq>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, WireError>) {
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end} of {}", bytes.len());
    }
    let longer: Vec<_> = bytes.iter().copied().chain([0]).collect();
    assert!(decode(&longer).is_err(), "one byte more");
    let original = decode(bytes).ok();
    assert!(original.is_some());
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff, bytes[at] ^ 0xfb, bytes[at] ^ 0xfd] {
            let mut spoilt = bytes.to_vec();
            spoilt[at] ^= flip;
            // Most say something else, some nothing; none may panic or allocate what it claims.
            drop(decode(&spoilt));
        }
    }
}

fn spoil_value<T: Encode + Decode<()> + PartialEq>(value: &T) {
    let bytes = wire::encode("value", value).expect("it is small");
    spoil(&bytes, |bytes| wire::decode::<T>("value", bytes));
}

#[test]
fn spoilt_bytes_are_refused_or_say_something_else_and_never_panic() {
    for (_, command) in all_commands() {
        spoil_value(&command);
    }
    for (_, outcome) in outcomes() {
        spoil_value(&outcome);
    }
    spoil_value(&requirement());
    spoil_value(&others());
    for (key, record) in records() {
        spoil(&wire::encode_key(key), wire::decode_key);
        spoil(&wire::encode_record(&record).expect("it is small"), wire::decode_record);
    }
}

/// The name of the variant that a value is of, as `Debug` prints it.
fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// The number of a variant is in its first byte.
#[test]
fn every_variant_of_commands_keys_and_records_has_golden_bytes() {
    let numbers = |bytes: Vec<Vec<u8>>, at: usize| {
        let mut numbers: Vec<_> = bytes.iter().map(|bytes| bytes[at]).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let encoded = |command: &Command| wire::encode("command", command).expect("it is small");
    let commands = numbers(all_commands().iter().map(|(_, command)| encoded(command)).collect(), 0);
    let last = commands.len() - 1;
    assert_eq!(commands.last().map(|number| usize::from(*number)), Some(last), "a number is left out");
    // Whoever appends a variant to `Command` appends it here and above.
    let (_, newest) = commands_of_jobs().pop().expect("there are some");
    assert_eq!(variant(&newest), "RunSchedule");
    assert_eq!(encoded(&newest)[0], commands[last], "the newest command has no golden bytes");
    let keys: std::collections::BTreeSet<_> = records().iter().map(|(key, _)| variant(key)).collect();
    let kinds: std::collections::BTreeSet<_> = records().iter().map(|(_, record)| variant(record)).collect();
    assert_eq!((keys.len(), kinds.len()), (15, 15));
}

#[test]
fn a_length_that_lies_costs_no_memory() {
    // A name of 2^60 bytes in a command that lists names.
    let lie = [2, 1, 0, 253, 0, 0, 0, 0, 0, 0, 0, 16];
    assert!(matches!(wire::decode::<Command>("command", &lie), Err(WireError::Malformed { .. })));
    // 2^60 entries of an access list.
    let lie = [0, 1, 3, 253, 0, 0, 0, 0, 0, 0, 0, 16];
    assert!(matches!(wire::decode_record(&lie), Err(WireError::Malformed { .. })));
}

#[test]
fn a_record_of_a_newer_release_is_refused_as_such() {
    let (_, record) = records().swap_remove(0);
    let mut bytes = wire::encode_record(&record).expect("it is small");
    bytes[1] = 4;
    let refused = WireError::NewerFormat { what: "record", found: 4, known: wire::RECORD_FORMAT };
    assert_eq!(wire::decode_record(&bytes), Err(refused));
}

#[test]
fn the_bytes_of_keys_sort_as_keys() {
    let mut keys: Vec<_> = records().into_iter().map(|(key, _)| key).collect();
    keys.extend([1, 255, 256, 65_536, u32::MAX].map(|id| RecordKey::Object(ObjectId(id))));
    keys.extend(
        [1, 255, 256, u32::MAX]
            .map(|id| RecordKey::Membership { role: PrincipalId(id), member: PrincipalId(7) }),
    );
    keys.sort_unstable();
    let bytes: Vec<_> = keys.iter().map(|key| wire::encode_key(*key)).collect();
    assert!(bytes.is_sorted());
}
