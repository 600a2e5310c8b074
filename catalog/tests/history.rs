//! Random histories: whatever is asked, in whatever order, the catalog stays whole, replicas agree, and what was
//! written can be read.

mod common;

use common::*;
use grantd_catalog::command::{
    Actor, Command, DropBehavior, FunctionName, LabelChange, ObjectName, Outcome, OwnedName, RoleSpec,
    TablePattern, Targets, TypeName,
};
use grantd_catalog::decide::{explain, holds};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::{
    Argument, ColumnType, ConnectionUri, Function, Sequence, View, ViewColumn, Volatility,
};
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::record::{Record, RecordKey};
use grantd_catalog::state::{RestoreError, State};
use grantd_catalog::system;
use grantd_catalog::wire;
use proptest::prelude::*;
use proptest::sample::select;

const ROLES: [&str; 7] = ["root", "admin", "public", "a", "b", "c", "d"];

fn any_role() -> impl Strategy<Value = RoleSpec> {
    prop_oneof![8 => select(&ROLES[..]).prop_map(role), 1 => Just(RoleSpec::CurrentUser)]
}

fn any_name() -> impl Strategy<Value = RoleName> {
    select(&ROLES[..]).prop_map(RoleName::from)
}

fn any_database() -> impl Strategy<Value = Name> {
    select(&["defaultdb", "system", "x"][..]).prop_map(Name::from)
}

fn any_schema() -> impl Strategy<Value = grantd_catalog::command::SchemaName> {
    select(&["public", "s", "x.public", "x.s", "system.public"][..]).prop_map(schema_name)
}

fn any_table() -> impl Strategy<Value = grantd_catalog::command::ObjectName> {
    select(&["t", "u", "s.t", "x.t", "x.s.t", "defaultdb.public.u"][..]).prop_map(object_name)
}

fn any_targets() -> impl Strategy<Value = (ObjectKind, Targets)> {
    prop_oneof![
        any_database().prop_map(|name| (ObjectKind::Database, Targets::Databases(vec![name]))),
        any_schema().prop_map(|name| (ObjectKind::Schema, Targets::Schemas(vec![name]))),
        any_table().prop_map(|name| (ObjectKind::Table, Targets::Tables(vec![TablePattern::Table(name)]))),
        any_schema().prop_map(|name| (ObjectKind::Table, Targets::AllTablesInSchemas(vec![name]))),
        any_schema().prop_map(|name| (ObjectKind::Sequence, Targets::AllSequencesInSchemas(vec![name]))),
        any_schema().prop_map(|name| (ObjectKind::Function, Targets::AllFunctionsInSchemas(vec![name]))),
        any_table().prop_map(|name| (ObjectKind::Type, Targets::Types(vec![name]))),
        any_function().prop_map(|name| (ObjectKind::Function, Targets::Functions(vec![name]))),
        any_database()
            .prop_map(|name| (ObjectKind::ExternalConnection, Targets::ExternalConnections(vec![name]))),
        Just((ObjectKind::VirtualTable, tables("pg_catalog.pg_class crdb_internal.tables"))),
        Just((ObjectKind::Cluster, Targets::System)),
    ]
}

fn any_privileges() -> impl Strategy<Value = (Vec<Privilege>, Targets)> {
    any_targets().prop_flat_map(|(kind, targets)| {
        let legal: Vec<_> = kind.legal().iter().collect();
        (proptest::collection::vec(select(legal), 1..3), Just(targets))
    })
}

fn any_behavior() -> impl Strategy<Value = DropBehavior> {
    select(&[DropBehavior::Default, DropBehavior::Cascade, DropBehavior::Restrict][..])
}

/// Some of the ids that a short history hands out, and one that it does not.
fn any_reference() -> impl Strategy<Value = Vec<ObjectId>> {
    let virtual_table = system::objects().last().expect("there are some").0;
    let one = prop_oneof![8 => (104..112_u32).prop_map(ObjectId), 1 => Just(virtual_table)];
    proptest::collection::vec(one, 0..3)
}

fn any_type() -> impl Strategy<Value = ColumnType> {
    let known = select(&[ColumnType::Int8, ColumnType::Text { chars_max: None }][..]);
    prop_oneof![3 => known, 2 => (104..110_u32).prop_map(|id| ColumnType::Enum(ObjectId(id)))]
}

fn any_function() -> impl Strategy<Value = FunctionName> {
    let known = select(&[ColumnType::Int8, ColumnType::Text { chars_max: None }][..]);
    let arguments = proptest::collection::vec(known.prop_map(TypeName::Known), 0..2);
    (any_table(), proptest::option::of(arguments))
        .prop_map(|(name, arguments)| FunctionName { name, arguments })
}

fn any_owned() -> impl Strategy<Value = OwnedName> {
    prop_oneof![
        any_database().prop_map(OwnedName::Database),
        any_schema().prop_map(OwnedName::Schema),
        any_table().prop_map(OwnedName::Table),
        any_table().prop_map(OwnedName::View),
        any_table().prop_map(OwnedName::Sequence),
        any_table().prop_map(OwnedName::Type),
        any_function().prop_map(OwnedName::Function),
        any_database().prop_map(OwnedName::ExternalConnection),
    ]
}

/// CREATE of what is in schemas, and of external connections.
fn any_creation() -> impl Strategy<Value = Command> {
    let view = |((name, or_replace), references): ((ObjectName, bool), Vec<ObjectId>)| {
        let column = ViewColumn { name: Name::from("k"), column_type: ColumnType::Int8 };
        let view = View { columns: vec![column], query: "SELECT 1".to_owned(), references };
        Command::CreateView { name, view, if_not_exists: false, or_replace }
    };
    let sequence = |(name, owned_by)| {
        let sequence = Sequence { start: 1, increment: 1, min: 1, max: 9, owned_by: None };
        Command::CreateSequence { name, sequence, owned_by, if_not_exists: true }
    };
    let function = |((name, or_replace), argument, references): (_, Option<ColumnType>, _)| {
        let arguments = argument.map(|argument_type| Argument { name: None, argument_type });
        let function = Function {
            arguments: arguments.into_iter().collect(),
            returns: ColumnType::Int8,
            body: "SELECT 1".to_owned(),
            volatility: Volatility::Stable,
            is_strict: true,
            references,
        };
        Command::CreateFunction { name, function, or_replace }
    };
    let typed_table = |(name, column_type, references)| {
        let mut table = table();
        table.columns[1].column_type = column_type;
        let text = || "f()".to_owned();
        table.columns[1].default =
            Some(grantd_catalog::object::Expression { sql: text(), stored: text(), references });
        Command::CreateTable {
            name,
            table,
            foreign_keys: Vec::new(),
            identities: Vec::new(),
            if_not_exists: false,
        }
    };
    prop_oneof![
        ((any_table(), any::<bool>()), any_reference()).prop_map(view),
        (any_table(), proptest::option::of(any_table())).prop_map(sequence),
        any_table().prop_map(|name| {
            Command::CreateType { name, labels: vec!["a".to_owned()], if_not_exists: true }
        }),
        ((any_table(), any::<bool>()), proptest::option::of(any_type()), any_reference()).prop_map(function),
        (any_table(), any_type(), any_reference()).prop_map(typed_table),
        any_database().prop_map(|name| {
            let uri = ConnectionUri::new("nodelocal://1".to_owned());
            Command::CreateExternalConnection { name, uri, access: Vec::new(), if_not_exists: false }
        }),
    ]
}

/// DROP of the same, and what changes them.
fn any_change_of_object() -> impl Strategy<Value = Command> {
    let label = |(name, nth): (ObjectName, u8)| {
        let change = LabelChange::Add {
            label: format!("l{nth}"),
            if_not_exists: true,
            beside: Some((true, "a".to_owned())),
        };
        Command::AlterType { name, change }
    };
    prop_oneof![
        (any_table(), any_behavior()).prop_map(|(name, behavior)| Command::DropViews {
            names: vec![name],
            if_exists: true,
            behavior
        }),
        (any_table(), any_behavior()).prop_map(|(name, behavior)| Command::DropSequences {
            names: vec![name],
            if_exists: true,
            behavior
        }),
        (any_table(), any_behavior()).prop_map(|(name, behavior)| Command::DropTypes {
            names: vec![name],
            if_exists: true,
            behavior
        }),
        (any_function(), any_behavior()).prop_map(|(name, behavior)| Command::DropFunctions {
            names: vec![name],
            if_exists: true,
            behavior
        }),
        any_database()
            .prop_map(|name| Command::DropExternalConnections { names: vec![name], if_exists: true }),
        (any_owned(), select(&["t", "u", "x"][..])).prop_map(|(object, to)| Command::Rename {
            object,
            if_exists: true,
            to: Name::from(to)
        }),
        (any_owned(), any_schema()).prop_map(|(object, schema)| Command::SetSchema {
            object,
            if_exists: true,
            schema
        }),
        any_owned().prop_map(|on| Command::Comment { on, column: None, text: Some("x".to_owned()) }),
        (any_table(), any::<u8>()).prop_map(label),
        (any_role(), any_behavior())
            .prop_map(|(role, behavior)| Command::DropOwned { by: vec![role], behavior }),
    ]
}

fn any_grant() -> impl Strategy<Value = Command> {
    (any_privileges(), any_role(), any::<bool>(), any::<bool>()).prop_map(
        |((privileges, on), grantee, option, gives)| {
            if gives {
                Command::Grant { privileges, on, to: vec![grantee], grant_option: option }
            } else {
                Command::Revoke { privileges, on, from: vec![grantee], grant_option_only: option }
            }
        },
    )
}

fn any_command() -> impl Strategy<Value = Command> {
    let words =
        select(&["", "CREATEROLE", "CREATEDB", "CREATELOGIN CREATEROLE", "NOLOGIN", "NOCREATEROLE"][..]);
    let options = words.prop_map(options);
    let roles = prop_oneof![
        (any_role(), any::<bool>(), options.clone()).prop_map(|(name, is_role, options)| {
            Command::CreateRole { name, is_role, if_not_exists: false, options }
        }),
        (any_role(), options).prop_map(|(name, options)| Command::AlterRole {
            name,
            if_exists: true,
            options
        }),
        any_role().prop_map(|name| Command::DropRoles { names: vec![name], if_exists: true }),
    ];
    let edges =
        (any_name(), any_role(), any::<bool>(), any::<bool>()).prop_map(|(of, member, option, gives)| {
            let (roles, members) = (vec![of], vec![member]);
            if gives {
                Command::GrantRoles { roles, members, admin_option: option }
            } else {
                Command::RevokeRoles { roles, members, admin_option_only: option }
            }
        });
    let objects = prop_oneof![
        (any_database(), proptest::option::of(any_role()))
            .prop_map(|(name, owner)| Command::CreateDatabase { name, if_not_exists: true, owner }),
        (any_database(), any_behavior()).prop_map(|(name, behavior)| Command::DropDatabase {
            name,
            if_exists: true,
            behavior
        }),
        (any_schema(), proptest::option::of(any_role())).prop_map(|(name, owner)| Command::CreateSchema {
            database: name.database,
            name: Some(name.schema),
            if_not_exists: false,
            owner
        }),
        (any_schema(), any_behavior()).prop_map(|(name, behavior)| Command::DropSchemas {
            names: vec![name],
            if_exists: true,
            behavior
        }),
        any_table().prop_map(|name| Command::CreateTable {
            name,
            table: table(),
            foreign_keys: Vec::new(),
            identities: Vec::new(),
            if_not_exists: false,
        }),
        (any_table(), any_behavior()).prop_map(|(name, behavior)| Command::DropTables {
            names: vec![name],
            if_exists: true,
            behavior
        }),
    ];
    let owners = prop_oneof![
        3 => (any_owned(), any_role())
            .prop_map(|(object, owner)| Command::AlterOwner { object, if_exists: true, owner }),
        1 => (any_role(), any_role()).prop_map(|(from, to)| Command::ReassignOwned { from: vec![from], to }),
    ];
    prop_oneof![
        3 => roles,
        3 => edges,
        5 => any_grant(),
        4 => objects,
        4 => any_creation(),
        3 => any_change_of_object(),
        2 => owners
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_leaves_a_whole_catalog(
        history in proptest::collection::vec((select(vec![100_u32, 101, 102, 1, 1]), any_command()), 1..60)
    ) {
        let mut world = World::new();
        for name in ["a", "b", "c"] {
            world.ok("root", create_user(name, ""));
        }
        for (caller, command) in history {
            let outcome = world.run_as(Actor::of(PrincipalId(caller)), &command);
            world.check();
            let bytes = wire::encode("command", &command).expect("it is small");
            prop_assert_eq!(wire::decode::<Command>("command", &bytes), Ok(command));
            let bytes = wire::encode("outcome", &outcome).expect("it is small");
            prop_assert_eq!(wire::decode::<Outcome>("outcome", &bytes), Ok(outcome));
        }
        for (principal, _) in world.state.principals() {
            for object in world.state.objects().map(|(id, _)| id).chain([ObjectId::CLUSTER]) {
                for privilege in Privilege::each() {
                    let why = explain(&world.view, principal, object, privilege);
                    let yes = holds(&world.view, principal, object, privilege);
                    prop_assert_eq!(why.is_allowed(), yes, "{} {} {:?}", principal, object, privilege);
                }
            }
        }
        for (key, record) in &world.disk {
            prop_assert_eq!(wire::decode_key(&wire::encode_key(*key)), Ok(*key));
            let bytes = wire::encode_record(record).expect("it is small");
            prop_assert_eq!(&wire::decode_record(&bytes), &Ok(record.clone()));
        }
        let keys: Vec<_> = world.disk.keys().map(|key| wire::encode_key(*key)).collect();
        prop_assert!(keys.is_sorted(), "the bytes of keys sort as keys");
    }
}

/// Each record on its own spoilt: the catalog does not open, and says which.
#[test]
fn records_that_contradict_each_other_are_refused() {
    let whole = || {
        let mut world = World::new();
        world.ok("root", create_user("a", ""));
        world.ok("root", create_role("b", ""));
        world.ok("root", grant_role("b", "a"));
        world.ok("root", create_table("t"));
        world.disk
    };
    let (a, b) = (PrincipalId(100), PrincipalId(101));
    let spoilt = |spoil: fn(&mut std::collections::BTreeMap<RecordKey, Record>)| {
        let mut disk = whole();
        spoil(&mut disk);
        State::restore(disk).expect_err("it was spoilt")
    };
    assert!(State::restore(whole()).is_ok());
    assert_eq!(
        spoilt(|disk| drop(disk.remove(&RecordKey::Counters))),
        RestoreError::Missing(RecordKey::Counters)
    );
    assert_eq!(
        spoilt(|disk| drop(disk.remove(&RecordKey::Principal(PrincipalId(100))))),
        RestoreError::NoPrincipal { key: RecordKey::Membership { role: b, member: a }, principal: a }
    );
    assert_eq!(
        spoilt(|disk| {
            let key = RecordKey::Membership { role: PrincipalId(100), member: PrincipalId(101) };
            disk.insert(key, Record::Membership { admin_option: false });
        }),
        RestoreError::Cycle(RecordKey::Membership { role: a, member: b })
    );
    let table = ObjectId(104);
    assert_eq!(
        spoilt(|disk| {
            let table = disk[&RecordKey::Object(ObjectId(104))].clone();
            disk.insert(RecordKey::Object(ObjectId(105)), table);
        }),
        RestoreError::UnknownId(RecordKey::Object(ObjectId(105)))
    );
    assert_eq!(
        spoilt(|disk| {
            let key = RecordKey::Object(ObjectId(104));
            disk.insert(key, Record::Membership { admin_option: true });
        }),
        RestoreError::Mismatch(RecordKey::Object(table))
    );
    assert_eq!(
        spoilt(|disk| drop(disk.remove(&RecordKey::Object(ObjectId(101))))),
        RestoreError::WrongParent { key: RecordKey::Object(table), parent: ObjectId::DEFAULT_PUBLIC_SCHEMA }
    );
}
