//! Histories of commands over a small universe of names, so that generated statements meet each other.
//!
//! Most statements are by root or succeed often enough that a history of 50 reaches grants with options, roles of
//! roles, owned objects and half-revoked ALL; the rest are refused for every reason that there is.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::command::{
    Command, DropBehavior, NameContext, ObjectName, OwnedName, RoleOptionClause, RoleSpec, SchemaName,
    TablePattern, Targets,
};
use crate::name::{Name, RoleName};
use crate::object::{Column, ColumnType, Table};
use crate::privilege::{ObjectKind, Privilege};
use crate::role::{PasswordVerifier, RoleOption};

/// The users and roles that histories create.
pub const ROLES: [&str; 6] = ["amy", "ben", "cat", "crew", "leads", "guild"];
/// The databases that histories create.
pub const DATABASES: [&str; 3] = ["shop", "depot", "ledger"];
/// The schemas that histories create, and `public`.
pub const SCHEMAS: [&str; 4] = ["public", "ops", "hr", "shop"];
/// The tables that histories create.
pub const TABLES: [&str; 6] = ["item", "bill", "staff", "stock", "route", "note"];

/// One statement of a history. Whoever runs it says who acts for a name that nobody has.
#[derive(Clone, Debug)]
pub struct Step {
    /// The login.
    pub session: RoleName,
    /// The role that it acts as.
    pub current: RoleName,
    /// What unqualified names mean.
    pub context: NameContext,
    /// What is asked for.
    pub command: Command,
}

/// A history of `length` generated statements on average after a part of a fixed beginning. It shrinks by leaving out
/// statements.
pub fn history(length: usize) -> BoxedStrategy<Vec<Step>> {
    (subsequence(beginning(), 10..=beginning().len()), vec(step(), 0..=2 * length))
        .prop_map(|(mut steps, rest)| {
            steps.extend(rest);
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
    (actor(), context(), command())
        .prop_map(|((session, current), context, command)| Step { session, current, context, command })
        .boxed()
}

/// A GRANT of privileges that root may give, or of a role: only ever adds.
pub fn grant() -> BoxedStrategy<Command> {
    prop_oneof![
        4 => grant_privileges(),
        1 => (select(&ROLES[3..]), select(&ROLES[..3]), any::<bool>()).prop_map(|(role, member, admin_option)| {
            Command::GrantRoles { roles: vec![role.into()], members: vec![role_name(member)], admin_option }
        }),
    ]
    .boxed()
}

/// The statements that lay the ground: roles, databases, schemas, tables.
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
    for (i, name) in TABLES.iter().enumerate() {
        let parts = vec!["shop".into(), SCHEMAS[i % 2].into(), (*name).into()];
        commands.push(Command::CreateTable {
            name: ObjectName { parts },
            table: table(),
            if_not_exists: false,
        });
    }
    let in_shop = NameContext { database: Some("shop".into()), search_path: vec!["public".into()] };
    let root = RoleName::normalize("root");
    commands
        .into_iter()
        .map(|command| Step {
            session: root.clone(),
            current: root.clone(),
            context: in_shop.clone(),
            command,
        })
        .collect()
}

/// A table of one column, its key.
pub fn table() -> Table {
    let column = Column {
        name: "k".into(),
        column_type: ColumnType::Int8,
        nullable: false,
        default: None,
        hidden: false,
    };
    Table { columns: vec![column], primary_key: vec![0], unique: Vec::new(), checks: Vec::new() }
}

fn role_name(name: &str) -> RoleSpec {
    RoleSpec::Name(RoleName::normalize(name))
}

fn actor() -> BoxedStrategy<(RoleName, RoleName)> {
    let one = prop_oneof![6 => Just("root"), 7 => select(&ROLES[..]), 1 => Just("admin")];
    prop_oneof![
        12 => one.clone().prop_map(|name| (name.into(), name.into())),
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

fn command() -> BoxedStrategy<Command> {
    prop_oneof![
        4 => role_command(),
        4 => membership_command(),
        8 => grant_privileges(),
        6 => revoke_privileges(),
        6 => object_command(),
        5 => ownership_command(),
    ]
    .boxed()
}

/// A name where a role is looked up.
fn role() -> BoxedStrategy<RoleSpec> {
    prop_oneof![
        20 => select(&ROLES[..]).prop_map(role_name),
        1 => Just("root").prop_map(role_name),
        1 => Just("admin").prop_map(role_name),
        1 => select(vec!["public", "node", "ghost", "Amy"]).prop_map(role_name),
        1 => Just(RoleSpec::CurrentUser),
        1 => Just(RoleSpec::SessionUser),
    ]
    .boxed()
}

fn grantee() -> impl Strategy<Value = RoleSpec> {
    prop_oneof![5 => role(), 1 => Just(role_name("public"))]
}

fn plain_role() -> impl Strategy<Value = RoleName> {
    prop_oneof![
        20 => select(&ROLES[..]),
        3 => select(vec!["admin", "root"]),
        1 => select(vec!["public", "ghost", "createdb", "nologin"]),
    ]
    .prop_map(RoleName::normalize)
}

fn role_command() -> impl Strategy<Value = Command> {
    let odd_name =
        select(vec!["node", "none", "pg_x", "-dash", "rain☂", "", "a.b", "1st"]).prop_map(role_name);
    prop_oneof![
        3 => (prop_oneof![8 => role(), 1 => odd_name], any::<bool>(), any::<bool>(), role_options()).prop_map(
            |(name, is_role, if_not_exists, options)| Command::CreateRole { name, is_role, if_not_exists, options }
        ),
        4 => (role(), any::<bool>(), role_options())
            .prop_map(|(name, if_exists, options)| Command::AlterRole { name, if_exists, options }),
        2 => (vec(role(), 1..3), any::<bool>())
            .prop_map(|(names, if_exists)| Command::DropRoles { names, if_exists }),
    ]
}

fn role_options() -> impl Strategy<Value = Vec<RoleOptionClause>> {
    let often = select(vec![RoleOption::CreateRole, RoleOption::CreateLogin, RoleOption::CreateDb]);
    let option = prop_oneof![3 => often, 1 => select(RoleOption::each().collect::<Vec<_>>())];
    let password = prop_oneof![
        Just(RoleOptionClause::Password(None)),
        Just(RoleOptionClause::Password(Some(PasswordVerifier::new("SCRAM-SHA-256$1:a$b:c".to_owned())))),
    ];
    let clause = prop_oneof![
        6 => (option, prop::bool::weighted(0.8)).prop_map(|(option, set)| RoleOptionClause::Flag(option, set)),
        1 => password,
    ];
    vec(clause, 0..3)
}

fn membership_command() -> impl Strategy<Value = Command> {
    let roles = || vec(plain_role(), 1..3);
    let members = || vec(role(), 1..3);
    prop_oneof![
        3 => (roles(), members(), any::<bool>())
            .prop_map(|(roles, members, admin_option)| Command::GrantRoles { roles, members, admin_option }),
        1 => (roles(), members(), any::<bool>()).prop_map(|(roles, members, admin_option_only)| {
            Command::RevokeRoles { roles, members, admin_option_only }
        }),
    ]
}

fn grant_privileges() -> impl Strategy<Value = Command> {
    (targets_and_privileges(), vec(grantee(), 1..3), any::<bool>())
        .prop_map(|((on, privileges), to, grant_option)| Command::Grant { privileges, on, to, grant_option })
}

fn revoke_privileges() -> impl Strategy<Value = Command> {
    (targets_and_privileges(), vec(grantee(), 1..3), prop::bool::weighted(0.3)).prop_map(
        |((on, privileges), from, grant_option_only)| Command::Revoke {
            privileges,
            on,
            from,
            grant_option_only,
        },
    )
}

fn targets_and_privileges() -> impl Strategy<Value = (Targets, Vec<Privilege>)> {
    prop_oneof![
        2 => (Just(Targets::System), privileges(ObjectKind::Cluster)),
        2 => (vec(database_name(), 1..3).prop_map(Targets::Databases), privileges(ObjectKind::Database)),
        2 => (vec(schema_name(), 1..3).prop_map(Targets::Schemas), privileges(ObjectKind::Schema)),
        5 => (vec(table_pattern(), 1..3).prop_map(Targets::Tables), privileges(ObjectKind::Table)),
        1 => (vec(schema_name(), 1..3).prop_map(Targets::AllTablesInSchemas), privileges(ObjectKind::Table)),
    ]
}

fn privileges(kind: ObjectKind) -> impl Strategy<Value = Vec<Privilege>> {
    let legal: Vec<_> = kind.legal().without(Privilege::All).iter().collect();
    let every: Vec<_> = Privilege::each().filter(|privilege| *privilege != Privilege::All).collect();
    prop_oneof![
        3 => Just(vec![Privilege::All]),
        9 => subsequence(legal, 1..3).prop_shuffle(),
        1 => subsequence(every, 1..3).prop_shuffle(),
    ]
}

fn database_name() -> impl Strategy<Value = Name> {
    prop_oneof![
        12 => select(&DATABASES[..]),
        2 => Just("defaultdb"),
        1 => Just("system"),
        1 => Just("gone"),
    ]
    .prop_map(Name::normalize)
}

fn schema_name() -> impl Strategy<Value = SchemaName> {
    let schema = prop_oneof![12 => select(&SCHEMAS[..]), 1 => Just("gone")];
    (prop::option::weighted(0.4, database_name()), schema)
        .prop_map(|(database, schema)| SchemaName { database, schema: schema.into() })
}

fn object_name() -> impl Strategy<Value = ObjectName> {
    let table = prop_oneof![12 => select(&TABLES[..]), 1 => Just("gone")].prop_map(Name::normalize);
    let schema = prop_oneof![12 => select(&SCHEMAS[..]), 1 => Just("gone")].prop_map(Name::normalize);
    prop_oneof![
        4 => table.clone().prop_map(|table| vec![table]),
        4 => (schema.clone(), table.clone()).prop_map(|(schema, table)| vec![schema, table]),
        1 => (database_name(), table.clone()).prop_map(|(database, table)| vec![database, table]),
        3 => (database_name(), schema, table).prop_map(|(database, schema, table)| vec![database, schema, table]),
    ]
    .prop_map(|parts| ObjectName { parts })
}

fn table_pattern() -> impl Strategy<Value = TablePattern> {
    let prefix = prop_oneof![
        1 => Just(Vec::new()),
        2 => select(&SCHEMAS[..]).prop_map(|schema| vec![Name::normalize(schema)]),
        1 => database_name().prop_map(|database| vec![database]),
        1 => (database_name(), select(&SCHEMAS[..])).prop_map(|(d, s)| vec![d, Name::normalize(s)]),
    ];
    prop_oneof![8 => object_name().prop_map(TablePattern::Table), 1 => prefix.prop_map(TablePattern::All)]
}

fn object_command() -> impl Strategy<Value = Command> {
    let behavior = || select(vec![DropBehavior::Default, DropBehavior::Cascade, DropBehavior::Restrict]);
    let owner = || prop::option::weighted(0.4, role());
    prop_oneof![
        3 => (database_name(), any::<bool>(), owner())
            .prop_map(|(name, if_not_exists, owner)| Command::CreateDatabase { name, if_not_exists, owner }),
        1 => (database_name(), any::<bool>(), behavior())
            .prop_map(|(name, if_exists, behavior)| Command::DropDatabase { name, if_exists, behavior }),
        4 => create_schema(),
        2 => (vec(schema_name(), 1..3), any::<bool>(), behavior())
            .prop_map(|(names, if_exists, behavior)| Command::DropSchemas { names, if_exists, behavior }),
        9 => (object_name(), any::<bool>())
            .prop_map(|(name, if_not_exists)| Command::CreateTable { name, table: table(), if_not_exists }),
        3 => (vec(object_name(), 1..3), any::<bool>(), behavior())
            .prop_map(|(names, if_exists, behavior)| Command::DropTables { names, if_exists, behavior }),
    ]
}

fn create_schema() -> impl Strategy<Value = Command> {
    let name = select(&SCHEMAS[..]).prop_map(Name::normalize);
    let named = (name, prop::option::weighted(0.3, role())).prop_map(|(name, owner)| (Some(name), owner));
    let of_a_role = role().prop_map(|owner| (None, Some(owner)));
    (prop::option::weighted(0.4, database_name()), prop_oneof![4 => named, 1 => of_a_role], any::<bool>())
        .prop_map(|(database, (name, owner), if_not_exists)| Command::CreateSchema {
            database,
            name,
            if_not_exists,
            owner,
        })
}

fn ownership_command() -> impl Strategy<Value = Command> {
    let object = prop_oneof![
        1 => database_name().prop_map(OwnedName::Database),
        1 => schema_name().prop_map(OwnedName::Schema),
        3 => object_name().prop_map(OwnedName::Table),
    ];
    prop_oneof![
        4 => (object, any::<bool>(), role())
            .prop_map(|(object, if_exists, owner)| Command::AlterOwner { object, if_exists, owner }),
        1 => (vec(role(), 1..3), role()).prop_map(|(from, to)| Command::ReassignOwned { from, to }),
    ]
}
