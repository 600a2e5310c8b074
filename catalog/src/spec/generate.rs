//! Histories of commands over a small universe of names, so that generated statements meet each other.
//!
//! Most statements are by root or succeed often enough that a history of 50 reaches grants with options, roles of
//! roles, owned objects and half-revoked ALL; the rest are refused for every reason that there is.
//!
//! Read next: `spec/generate/commands.rs`, and `spec/generate/names.rs` for the universe.

mod commands;
mod jobs;
mod names;
mod schedules;
mod shapes;
mod shelf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::command::{Command, IndexName, NameContext, ObjectName, TableAction, TablePattern, Targets};
use crate::id::ObjectId;
use crate::name::{Name, RoleName};
use crate::object::{
    Body, Column, ColumnType, Expression, Function, Sequence, Table, View, ViewColumn, Volatility,
};
use crate::privilege::Privilege;
use crate::spec::Model;

use names::role_name;
pub use names::{
    CONNECTIONS, DATABASES, FUNCTIONS, IAM_ROLES, ROLES, SCHEMAS, SEQUENCES, TABLES, TYPES, VIEWS,
};

/// One statement of a history. Whoever runs it says who acts for a name that nobody has.
#[derive(Clone, Debug)]
pub struct Step {
    /// The login.
    pub session: RoleName,
    /// The role that it acts as.
    pub current: RoleName,
    /// What unqualified names mean.
    pub context: NameContext,
    /// What is asked for; ids in it are still to be [`bind`]ed.
    pub command: Command,
}

/// A history of `length` generated statements on average after a part of a fixed beginning. It shrinks by leaving out
/// statements.
pub fn history(length: usize) -> BoxedStrategy<Vec<Step>> {
    let all = beginning();
    let one = step().prop_map(|step| vec![step]);
    let several = prop_oneof![60 => one, 1 => shelf::restore(), 1 => schedules::life()];
    (subsequence(all.clone(), all.len() * 2 / 3..=all.len()), vec(several, 0..=2 * length))
        .prop_map(|(mut steps, rest)| {
            steps.extend(rest.into_iter().flatten());
            steps
        })
        .boxed()
}

/// A history that stays with one table, the system privileges, two roles and two users: it reaches what is rare in
/// [`history`], such as ALL beside a single kind, and grant options that are spread over the roles of one user.
pub fn focused_history(length: usize) -> BoxedStrategy<Vec<Step>> {
    let actor = prop_oneof![3 => Just("root"), 2 => Just("amy"), 1 => Just("ben"), 1 => Just("crew")];
    (vec((actor, focused_command()), 0..=2 * length))
        .prop_map(|rest| {
            let mut steps = beginning();
            let context = steps[0].context.clone();
            steps.extend(rest.into_iter().map(|(actor, command)| Step {
                session: actor.into(),
                current: actor.into(),
                context: context.clone(),
                command,
            }));
            steps
        })
        .boxed()
}

fn focused_command() -> BoxedStrategy<Command> {
    let item = || Targets::Tables(vec![TablePattern::Table(ObjectName { parts: vec!["item".into()] })]);
    let kinds = |kinds: Vec<Privilege>| prop_oneof![1 => Just(vec![Privilege::All]), 3 => subsequence(kinds, 1..=2).prop_shuffle()];
    let on_item = kinds(vec![Privilege::Select, Privilege::Insert, Privilege::Update])
        .prop_map(move |privileges| (item(), privileges));
    let on_cluster = kinds(vec![Privilege::Backup, Privilege::ViewDebug, Privilege::NoSqlLogin])
        .prop_map(|privileges| (Targets::System, privileges));
    let what = prop_oneof![3 => on_item, 1 => on_cluster];
    let whom =
        || select(vec!["amy", "ben", "crew", "leads", "public"]).prop_map(|name| vec![role_name(name)]);
    let role = || select(vec!["crew", "leads"]).prop_map(|name| vec![RoleName::normalize(name)]);
    let member = || select(vec!["amy", "ben", "leads"]).prop_map(|name| vec![role_name(name)]);
    prop_oneof![
        6 => (what.clone(), whom(), any::<bool>()).prop_map(|((on, privileges), to, grant_option)| {
            Command::Grant { privileges, on, to, grant_option }
        }),
        4 => (what, whom(), any::<bool>()).prop_map(|((on, privileges), from, grant_option_only)| {
            Command::Revoke { privileges, on, from, grant_option_only }
        }),
        2 => (role(), member(), any::<bool>()).prop_map(|(roles, members, admin_option)| {
            Command::GrantRoles { roles, members, admin_option }
        }),
        1 => (role(), member(), any::<bool>()).prop_map(|(roles, members, admin_option_only)| {
            Command::RevokeRoles { roles, members, admin_option_only }
        }),
    ]
    .boxed()
}

/// One statement by anybody.
pub fn step() -> BoxedStrategy<Step> {
    let asked = (actor(), context(), commands::command());
    let of_nodes = prop_oneof![9 => jobs::said_by_nodes(), 1 => schedules::said_by_nodes()];
    let said_by_nodes = (Just(("node".into(), "node".into())), context(), of_nodes);
    prop_oneof![20 => asked, 2 => said_by_nodes]
        .prop_map(|((session, current), context, command)| Step { session, current, context, command })
        .boxed()
}

/// A GRANT of privileges that root may give, or of a role: only ever adds.
pub fn grant() -> BoxedStrategy<Command> {
    prop_oneof![
        4 => commands::grant_privileges(),
        1 => (select(&ROLES[3..]), select(&ROLES[..3]), any::<bool>()).prop_map(|(role, member, admin_option)| {
            Command::GrantRoles { roles: vec![role.into()], members: vec![role_name(member)], admin_option }
        }),
    ]
    .boxed()
}

/// The statements that lay the ground: roles, databases, schemas, and two things of each kind in schemas.
pub fn beginning() -> Vec<Step> {
    let mut commands = Vec::new();
    for (i, name) in ROLES.iter().enumerate() {
        commands.push(Command::CreateRole {
            name: role_name(name),
            is_role: i >= 3,
            if_not_exists: false,
            options: Vec::new(),
        });
    }
    for name in DATABASES {
        commands.push(Command::CreateDatabase { name: name.into(), if_not_exists: false, owner: None });
    }
    for name in &SCHEMAS[1..] {
        commands.push(Command::CreateSchema {
            database: Some("shop".into()),
            name: Some((*name).into()),
            if_not_exists: false,
            owner: None,
        });
    }
    let in_shop = |i: usize, name: &str| ObjectName {
        parts: vec!["shop".into(), SCHEMAS[i % 2].into(), Name::normalize(name)],
    };
    for (i, name) in TABLES.iter().enumerate() {
        commands.push(create_table(in_shop(i, name)));
    }
    for (i, name) in TYPES.iter().enumerate() {
        let labels = vec!["low".to_owned(), "high".to_owned()];
        commands.push(Command::CreateType { name: in_shop(i, name), labels, if_not_exists: false });
    }
    for (i, name) in SEQUENCES.iter().enumerate() {
        commands.push(Command::CreateSequence {
            name: in_shop(i, name),
            sequence: sequence(),
            owned_by: None,
            if_not_exists: false,
        });
    }
    for (i, name) in VIEWS.iter().enumerate() {
        let view = view(vec![ObjectId(u32::try_from(i).unwrap_or(0))]);
        commands.push(Command::CreateView {
            name: in_shop(i, name),
            view,
            if_not_exists: false,
            or_replace: false,
        });
    }
    for (i, name) in FUNCTIONS.iter().enumerate() {
        let function = function(vec![ColumnType::Int8], Vec::new());
        commands.push(Command::CreateFunction { name: in_shop(i, name), function, or_replace: false });
    }
    commands.extend(outside());
    let context = NameContext { database: Some("shop".into()), search_path: vec!["public".into()] };
    let root = RoleName::normalize("root");
    commands
        .into_iter()
        .map(|command| Step {
            session: root.clone(),
            current: root.clone(),
            context: context.clone(),
            command,
        })
        .collect()
}

/// External connections and roles of clouds.
fn outside() -> impl Iterator<Item = Command> {
    let uri = || crate::object::ConnectionUri::new("nodelocal://1/x".to_owned());
    let connection = move |name: &str| Command::CreateExternalConnection {
        name: name.into(),
        uri: uri(),
        access: Vec::new(),
        if_not_exists: false,
    };
    let role = |name: &str| Command::CreateIamRole { name: name.into(), if_not_exists: false };
    CONNECTIONS.into_iter().map(connection).chain(IAM_ROLES.into_iter().map(role))
}

fn create_table(name: ObjectName) -> Command {
    Command::CreateTable {
        name,
        table: table(),
        foreign_keys: Vec::new(),
        identities: Vec::new(),
        if_not_exists: false,
    }
}

/// A table of one column, its key.
pub fn table() -> Table {
    Table {
        columns: vec![column("k", ColumnType::Int8)],
        primary_key: vec![0],
        unique: Vec::new(),
        checks: Vec::new(),
        key_name: "key".into(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    }
}

/// A column that takes no NULL.
pub fn column(name: &str, column_type: ColumnType) -> Column {
    Column {
        name: name.into(),
        column_type,
        nullable: false,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    }
}

/// An expression that reads these columns.
pub fn expression(columns: &[&str], references: Vec<ObjectId>) -> Expression {
    let quoted: Vec<_> = columns.iter().map(|column| format!("\"{column}\"")).collect();
    let stored = format!("f({})", quoted.join(", "));
    Expression { sql: format!("f({})", columns.join(", ")), stored, references }
}

/// A view of one column.
pub fn view(references: Vec<ObjectId>) -> View {
    let column = ViewColumn { name: "k".into(), column_type: ColumnType::Int8 };
    View { columns: vec![column], query: "SELECT k".to_owned(), references }
}

/// A sequence as CREATE SEQUENCE makes it when nothing else is said.
pub fn sequence() -> Sequence {
    Sequence { start: 1, increment: 1, min: 1, max: i64::MAX, owned_by: None }
}

/// A function of arguments without names.
pub fn function(arguments: Vec<ColumnType>, references: Vec<ObjectId>) -> Function {
    let arguments = arguments.into_iter();
    Function {
        arguments: arguments
            .map(|argument_type| crate::object::Argument { name: None, argument_type })
            .collect(),
        returns: ColumnType::Int8,
        body: "SELECT 1".to_owned(),
        volatility: Volatility::Volatile,
        is_strict: false,
        references,
    }
}

/// The ids below this are not ids yet: they count the things that there are.
const PLACES: u32 = 100;
/// An id that nothing has.
const NOTHING: ObjectId = ObjectId(60_000);

/// The command with the ids of what there is now: a generated reference is a number that counts, round and round, the
/// relations and functions that exist, and a generated enum type counts the types. Where there is none, and for one
/// number, it is an id that nothing has.
pub fn bind(command: &Command, model: &Model) -> Command {
    let mut bound = command.clone();
    match &mut bound {
        Command::CreateTable { table, .. } => {
            for column in &mut table.columns {
                bind_type(&mut column.column_type, model);
            }
            for column in &mut table.columns {
                bind_expression(&mut column.default, model);
            }
        }
        Command::AlterTable { actions, .. } => {
            for action in actions {
                bind_action(action, model);
            }
        }
        Command::CreateView { view, .. } => {
            for column in &mut view.columns {
                bind_type(&mut column.column_type, model);
            }
            bind_ids(&mut view.references, model, is_readable);
        }
        Command::CreateFunction { function, .. } => {
            bind_type(&mut function.returns, model);
            for argument in &mut function.arguments {
                bind_type(&mut argument.argument_type, model);
            }
            bind_ids(&mut function.references, model, is_readable);
        }
        Command::ClaimJob { id, .. } | Command::ControlJob { id, .. } if *id == shelf::NEWEST_JOB => {
            *id = shelf::newest(model);
        }
        Command::ControlSchedule { id, .. } => schedules::bind(model, id, None),
        Command::AlterSchedules { id, to } => schedules::bind(model, id, Some(&mut to.as_of)),
        Command::AdvanceSchedule { id, as_of, .. } | Command::RunSchedule { id, as_of, .. } => {
            schedules::bind(model, id, Some(as_of));
        }
        Command::Shelve { job, epoch, number, step, .. } => {
            shelf::bind(model, (job, epoch, number), step);
        }
        Command::ControlJob { id, .. } | Command::AlterJobOwner { id, .. } if *id != jobs::NO_JOB => {
            if let Some((newest, _)) = model.jobs.last() {
                *id = *newest;
            }
        }
        Command::ReportJob { id, epoch, .. } if *epoch == jobs::NEWEST_EPOCH => {
            if *id == shelf::NEWEST_JOB {
                *id = shelf::newest(model);
            }
            if let Some((_, job)) = model.jobs.iter().find(|(known, _)| known == id) {
                *epoch = job.epoch;
            }
        }
        // Most nodes have no claims, and most tables no index: one that has.
        Command::RenewClaims { node, boot } if *boot == jobs::NEWEST_BOOT => {
            if let Some((known, lease)) = model.claim_leases.first() {
                (*node, *boot) = (*known, lease.boot);
            }
        }
        Command::CommentOnIndex { index: IndexName { table: Some(table), index }, text: Some(_) } => {
            let indexed = model.objects.iter().find_map(|object| match &object.body {
                Body::Table(known) => Some((object.name.clone(), known.indexes.first()?.name.clone())),
                _ => None,
            });
            if let Some((name, known)) = indexed {
                (table.parts, index.parts) = (vec![name], vec![known]);
            }
        }
        _ => {}
    }
    bound
}

fn bind_action(action: &mut TableAction, model: &Model) {
    match action {
        TableAction::AddColumn { column, .. } => {
            bind_type(&mut column.column_type, model);
            bind_expression(&mut column.default, model);
        }
        TableAction::SetDefault { default, .. } => bind_expression(default, model),
        TableAction::SetType { column_type, .. } => bind_type(column_type, model),
        _ => {}
    }
}

fn bind_expression(expression: &mut Option<Expression>, model: &Model) {
    if let Some(expression) = expression {
        let fits = |body: &Body| matches!(body, Body::Sequence(_) | Body::Function(_));
        bind_ids(&mut expression.references, model, fits);
    }
}

fn is_readable(body: &Body) -> bool {
    matches!(body, Body::Table(_) | Body::View(_) | Body::Sequence(_) | Body::Function(_))
}

fn bind_type(column_type: &mut ColumnType, model: &Model) {
    if let ColumnType::Enum(id) = column_type {
        *id = nth(*id, model, |body| matches!(body, Body::Type(_)));
    }
}

fn bind_ids(ids: &mut Vec<ObjectId>, model: &Model, fits: fn(&Body) -> bool) {
    for id in ids.iter_mut() {
        *id = nth(*id, model, fits);
    }
    ids.sort();
    ids.dedup();
}

fn nth(place: ObjectId, model: &Model, fits: fn(&Body) -> bool) -> ObjectId {
    let there: Vec<_> =
        model.objects.iter().filter(|known| fits(&known.body)).map(|known| known.id).collect();
    if place.0 >= PLACES || place.0 == PLACES - 1 || there.is_empty() {
        return if place.0 >= PLACES { place } else { NOTHING };
    }
    there[place.0 as usize % there.len()]
}

fn actor() -> BoxedStrategy<(RoleName, RoleName)> {
    let one = prop_oneof![6 => Just("root"), 7 => select(&ROLES[..]), 1 => Just("admin")];
    prop_oneof![
        6 => one.clone().prop_map(|name| (name.into(), name.into())),
        1 => (one.clone(), one).prop_map(|(session, current)| (session.into(), current.into())),
    ]
    .boxed()
}

fn context() -> BoxedStrategy<NameContext> {
    let database = prop_oneof![10 => Just(Some("shop")), 2 => select(&DATABASES[..]).prop_map(Some), 1 => Just(Some("gone")),
            1 => Just(None), 1 => Just(Some("system")), 1 => Just(Some("defaultdb"))];
    let search_path = prop_oneof![
        6 => Just(vec!["public"]),
        2 => Just(vec!["ops", "public"]),
        1 => Just(vec!["gone", "hr"]),
        1 => Just(vec![]),
    ];
    (database, search_path)
        .prop_map(|(database, path)| NameContext {
            database: database.map(Into::into),
            search_path: path.into_iter().map(Into::into).collect(),
        })
        .boxed()
}
