//! A strategy for each kind of statement.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::names::{
    FUNCTIONS, SCHEMAS, SEQUENCES, TABLES, TYPES, VIEWS, any_type, connection_name, database_name,
    function_name, grantee, iam_role_name, in_a_schema, made_arguments, name_of, owned_name, pattern, place,
    plain_role, relation_name, role, role_name, schema_name, uri_access, virtual_name,
};
use super::{column, expression, function, jobs, schedules, sequence, shapes, table, view};
use crate::command::{
    Command, Creators, DefaultAct, DropBehavior, LabelChange, OwnedName, RoleOptionClause, RoleSpec,
    SequenceOptions, Targets, VariableChange,
};
use crate::defaults::DefaultClass;
use crate::id::{ObjectId, Timestamp};
use crate::name::Name;
use crate::object::{Column, ConnectionUri, Sequence, Table, View};
use crate::privilege::{ObjectKind, Privilege};
use crate::protection::{Protection, ProtectionId};
use crate::role::{PasswordVerifier, RoleOption, ValidUntil};
use crate::setting::{Row, Setting, SettingType};

/// Any statement.
pub(super) fn command() -> BoxedStrategy<Command> {
    prop_oneof![
        6 => role_command(),
        5 => membership_command(),
        14 => grant_privileges(),
        10 => revoke_privileges(),
        8 => object_command(),
        12 => made_in_schemas(),
        9 => shapes::command(),
        5 => dropped_from_schemas(),
        9 => ownership_command(),
        6 => default_privileges(),
        4 => settings_command(),
        3 => connection_command(),
        2 => iam_role_command(),
        2 => jobs::asked(),
        1 => schedules::asked(),
    ]
    .boxed()
}

fn role_command() -> impl Strategy<Value = Command> {
    let odd_name =
        select(vec!["node", "none", "pg_x", "-dash", "rain☂", "", "a.b", "1st"]).prop_map(role_name);
    let password = select(vec![None, Some("SCRAM-SHA-256$1:a$b:c")]).prop_map(|verifier| {
        RoleOptionClause::Password(verifier.map(|text| PasswordVerifier::new(text.to_owned())))
    });
    prop_oneof![
        3 => (prop_oneof![8 => role(), 1 => odd_name], any::<bool>(), any::<bool>(), role_options()).prop_map(
            |(name, is_role, if_not_exists, options)| Command::CreateRole { name, is_role, if_not_exists, options }
        ),
        4 => (role(), any::<bool>(), role_options())
            .prop_map(|(name, if_exists, options)| Command::AlterRole { name, if_exists, options }),
        1 => (prop_oneof![role(), Just(RoleSpec::CurrentUser)], password).prop_map(|(name, password)| {
            Command::AlterRole { name, if_exists: false, options: vec![password] }
        }),
        3 => (vec(role(), 1..3), any::<bool>())
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
    let until = select(vec![
        ValidUntil::Never,
        ValidUntil::At(0),
        ValidUntil::At(1_800_000_000_123_400),
        ValidUntil::At(4_102_444_799_000_000),
    ]);
    let clause = prop_oneof![
        6 => (option, prop::bool::weighted(0.8)).prop_map(|(option, set)| RoleOptionClause::Flag(option, set)),
        1 => password,
        1 => until.prop_map(RoleOptionClause::ValidUntil),
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

pub(super) fn grant_privileges() -> impl Strategy<Value = Command> {
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
    let schemas = || vec(schema_name(), 1..3);
    let tables = prop_oneof![6 => name_of(&TABLES), 1 => name_of(&VIEWS), 1 => name_of(&SEQUENCES)];
    prop_oneof![
        2 => (Just(Targets::System), privileges(ObjectKind::Cluster)),
        2 => (vec(database_name(), 1..3).prop_map(Targets::Databases), privileges(ObjectKind::Database)),
        2 => (schemas().prop_map(Targets::Schemas), privileges(ObjectKind::Schema)),
        5 => (vec(pattern(tables.boxed()), 1..3).prop_map(Targets::Tables), privileges(ObjectKind::Table)),
        2 => (vec(pattern(virtual_name()), 1..3).prop_map(Targets::Tables), privileges(ObjectKind::VirtualTable)),
        1 => (schemas().prop_map(Targets::AllTablesInSchemas), privileges(ObjectKind::Table)),
        2 => (vec(pattern(name_of(&SEQUENCES)), 1..3).prop_map(Targets::Sequences), privileges(ObjectKind::Sequence)),
        1 => (schemas().prop_map(Targets::AllSequencesInSchemas), privileges(ObjectKind::Sequence)),
        2 => (vec(name_of(&TYPES), 1..3).prop_map(Targets::Types), privileges(ObjectKind::Type)),
        2 => (vec(function_name(), 1..3).prop_map(Targets::Functions), privileges(ObjectKind::Function)),
        1 => (schemas().prop_map(Targets::AllFunctionsInSchemas), privileges(ObjectKind::Function)),
        2 => (vec(connection_name(), 1..3).prop_map(Targets::ExternalConnections), privileges(ObjectKind::ExternalConnection)),
        2 => (vec(iam_role_name(), 1..3).prop_map(Targets::IamRoles), privileges(ObjectKind::IamRole)),
    ]
}

fn privileges(kind: ObjectKind) -> BoxedStrategy<Vec<Privilege>> {
    let legal: Vec<_> = kind.legal().without(Privilege::All).iter().collect();
    let every: Vec<_> = Privilege::each().filter(|privilege| *privilege != Privilege::All).collect();
    let some = 1..3.min(legal.len() + 1);
    prop_oneof![
        3 => Just(vec![Privilege::All]),
        9 => subsequence(legal, some).prop_shuffle(),
        1 => subsequence(every, 1..3).prop_shuffle(),
    ]
    .boxed()
}

pub(super) fn behavior() -> impl Strategy<Value = DropBehavior> {
    select(vec![DropBehavior::Default, DropBehavior::Cascade, DropBehavior::Restrict])
}

fn object_command() -> impl Strategy<Value = Command> {
    let owner = || prop::option::weighted(0.4, role());
    prop_oneof![
        3 => (database_name(), any::<bool>(), owner())
            .prop_map(|(name, if_not_exists, owner)| Command::CreateDatabase { name, if_not_exists, owner }),
        1 => (database_name(), any::<bool>(), behavior())
            .prop_map(|(name, if_exists, behavior)| Command::DropDatabase { name, if_exists, behavior }),
        4 => create_schema(),
        1 => (vec(schema_name(), 1..3), any::<bool>(), behavior())
            .prop_map(|(names, if_exists, behavior)| Command::DropSchemas { names, if_exists, behavior }),
    ]
}

fn create_schema() -> impl Strategy<Value = Command> {
    let name = prop_oneof![12 => select(&SCHEMAS[..]), 1 => select(vec!["pg_x", "crdb_internal"])]
        .prop_map(Name::normalize);
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

fn made_in_schemas() -> impl Strategy<Value = Command> {
    let made_table = (any_type(), vec(place(), 0..2)).prop_map(|(column_type, references)| {
        let mut columns = table().columns;
        let default = (!references.is_empty()).then(|| expression(&[], references));
        columns.push(Column { default, ..column("v", column_type) });
        Table { columns, ..table() }
    });
    let made_view = (any_type(), vec(place(), 0..3)).prop_map(|(column_type, references)| {
        let mut made = view(references);
        made.columns[0].column_type = column_type;
        View { ..made }
    });
    let made_function =
        (made_arguments(), any_type(), vec(place(), 0..2)).prop_map(|(types, returns, references)| {
            let mut made = function(types, references);
            made.returns = returns;
            made
        });
    let rarely = || prop::bool::weighted(0.3);
    prop_oneof![
        6 => (name_of(&TABLES), prop_oneof![3 => Just(table()), 1 => made_table, 2 => Just(shapes::keyless())],
              vec(shapes::foreign_key(), 0..2), prop_oneof![3 => Just(Vec::new()), 1 => vec(shapes::identity(), 1..2)],
              any::<bool>())
            .prop_map(|(name, table, foreign_keys, identities, if_not_exists)| Command::CreateTable {
                name,
                table,
                foreign_keys,
                identities,
                if_not_exists,
            }),
        4 => (name_of(&VIEWS), made_view, rarely(), rarely()).prop_map(|(name, view, replace, if_not_exists)| {
            Command::CreateView { name, view, if_not_exists: if_not_exists && !replace, or_replace: replace }
        }),
        4 => (name_of(&SEQUENCES), made_sequence(), prop::option::weighted(0.3, relation_name()), any::<bool>())
            .prop_map(|(name, sequence, owned_by, if_not_exists)| Command::CreateSequence {
                name,
                sequence,
                owned_by,
                if_not_exists,
            }),
        2 => (name_of(&SEQUENCES), any::<bool>(), sequence_options())
            .prop_map(|(name, if_exists, options)| Command::AlterSequence { name, if_exists, options }),
        3 => (name_of(&TYPES), vec(label(), 0..4), any::<bool>())
            .prop_map(|(name, labels, if_not_exists)| Command::CreateType { name, labels, if_not_exists }),
        2 => (name_of(&TYPES), label_change())
            .prop_map(|(name, change)| Command::AlterType { name, change }),
        4 => (name_of(&FUNCTIONS), made_function, rarely())
            .prop_map(|(name, function, or_replace)| Command::CreateFunction { name, function, or_replace }),
    ]
}

pub(super) fn made_sequence() -> impl Strategy<Value = Sequence> {
    let odd = (-3_i64..9, -1_i64..3, -2_i64..4, 3_i64..9).prop_map(|(start, increment, min, max)| Sequence {
        start,
        increment,
        min,
        max,
        owned_by: None,
    });
    prop_oneof![3 => Just(sequence()), 1 => odd]
}

fn sequence_options() -> impl Strategy<Value = SequenceOptions> {
    let rarely = |range| prop::option::weighted(0.3, range);
    (
        rarely(-1_i64..3),
        prop::option::weighted(0.3, rarely(-2_i64..4)),
        prop::option::weighted(0.3, rarely(3_i64..9)),
        rarely(-3_i64..9),
        prop::option::weighted(0.3, prop::option::weighted(0.7, relation_name())),
    )
        .prop_map(|(increment, min, max, start, owned_by)| SequenceOptions {
            increment,
            min,
            max,
            start,
            owned_by,
        })
}

fn label() -> impl Strategy<Value = String> {
    select(vec!["low", "mid", "high", "top", "odd"]).prop_map(str::to_owned)
}

fn label_change() -> impl Strategy<Value = LabelChange> {
    prop_oneof![
        2 => (label(), any::<bool>(), prop::option::of((any::<bool>(), label())))
            .prop_map(|(label, if_not_exists, beside)| LabelChange::Add { label, if_not_exists, beside }),
        1 => (label(), label()).prop_map(|(from, to)| LabelChange::Rename { from, to }),
    ]
}

fn dropped_from_schemas() -> impl Strategy<Value = Command> {
    prop_oneof![
        3 => (vec(prop_oneof![8 => name_of(&TABLES), 1 => virtual_name()], 1..3), any::<bool>(), behavior())
            .prop_map(|(names, if_exists, behavior)| Command::DropTables { names, if_exists, behavior }),
        1 => (vec(name_of(&VIEWS), 1..3), any::<bool>(), behavior())
            .prop_map(|(names, if_exists, behavior)| Command::DropViews { names, if_exists, behavior }),
        1 => (vec(name_of(&SEQUENCES), 1..3), any::<bool>(), behavior())
            .prop_map(|(names, if_exists, behavior)| Command::DropSequences { names, if_exists, behavior }),
        1 => (vec(name_of(&TYPES), 1..3), any::<bool>(), behavior())
            .prop_map(|(names, if_exists, behavior)| Command::DropTypes { names, if_exists, behavior }),
        1 => (vec(function_name(), 1..3), any::<bool>(), behavior())
            .prop_map(|(names, if_exists, behavior)| Command::DropFunctions { names, if_exists, behavior }),
    ]
}

fn ownership_command() -> impl Strategy<Value = Command> {
    let new_name = select([&TABLES[..], &VIEWS, &SEQUENCES, &TYPES, &FUNCTIONS, &["spare"]].concat());
    let rename = prop_oneof![
        6 => (in_a_schema(), new_name),
        1 => (database_name().prop_map(OwnedName::Database), select(vec!["shop", "depot", "spare"])),
        1 => (schema_name().prop_map(OwnedName::Schema), select(vec!["ops", "hr", "pg_x", "spare"])),
    ];
    let text = || prop::option::weighted(0.7, Just("what it is".to_owned()));
    let column = prop_oneof![2 => Just("k"), 1 => Just("v")].prop_map(Name::normalize);
    prop_oneof![
        8 => (owned_name(), any::<bool>(), role())
            .prop_map(|(object, if_exists, owner)| Command::AlterOwner { object, if_exists, owner }),
        2 => (vec(role(), 1..3), role()).prop_map(|(from, to)| Command::ReassignOwned { from, to }),
        2 => (vec(role(), 1..3), prop_oneof![3 => Just(DropBehavior::Default), 1 => behavior()])
            .prop_map(|(by, behavior)| Command::DropOwned { by, behavior }),
        3 => (rename, any::<bool>()).prop_map(|((object, to), if_exists)| Command::Rename {
            object,
            if_exists,
            to: to.into(),
        }),
        3 => (in_a_schema(), any::<bool>(), schema_name())
            .prop_map(|(object, if_exists, schema)| Command::SetSchema { object, if_exists, schema }),
        2 => (owned_name(), text()).prop_map(|(on, text)| Command::Comment { on, column: None, text }),
        1 => (relation_name().prop_map(OwnedName::Table), column, text())
            .prop_map(|(on, column, text)| Command::Comment { on, column: Some(column), text }),
    ]
}

fn default_privileges() -> impl Strategy<Value = Command> {
    let creators = prop_oneof![
        4 => Just(Creators::Roles(vec![RoleSpec::CurrentUser])),
        2 => vec(role(), 1..3).prop_map(Creators::Roles),
        2 => Just(Creators::All),
    ];
    let schemas = prop_oneof![3 => Just(Vec::new()), 2 => vec(schema_name(), 1..3)];
    let act = prop_oneof![
        3 => prop::bool::weighted(0.3).prop_map(|grant_option| DefaultAct::Grant { grant_option }),
        2 => prop::bool::weighted(0.3)
            .prop_map(|grant_option_only| DefaultAct::Revoke { grant_option_only }),
    ];
    let class = select(DefaultClass::EACH.to_vec());
    let class_and_privileges = class.prop_flat_map(|class| {
        (Just(class), prop_oneof![2 => privileges(class.kind()), 1 => Just(vec![Privilege::All])])
    });
    (creators, schemas, act, class_and_privileges, vec(grantee(), 1..3)).prop_map(
        |(creators, schemas, act, (on, privileges), grantees)| Command::AlterDefaultPrivileges {
            creators,
            schemas,
            act,
            privileges,
            on,
            grantees,
        },
    )
}

fn settings_command() -> impl Strategy<Value = Command> {
    let name = || select(vec!["application_name", "statement_timeout"]).prop_map(str::to_owned);
    let change = prop_oneof![
        4 => (name(), select(vec!["1", "two"])).prop_map(|(name, value)| VariableChange::Set(name, value.to_owned())),
        1 => name().prop_map(VariableChange::Reset),
        1 => Just(VariableChange::ResetAll),
    ];
    let setting = select(Setting::each().collect::<Vec<_>>())
        .prop_flat_map(|row| (Just(row.setting), prop::option::weighted(0.7, setting_value(row))));
    prop_oneof![
        2 => (prop::option::weighted(0.8, role()), any::<bool>(), prop::option::weighted(0.4, database_name()), change)
            .prop_map(|(role, if_exists, database, change)| Command::AlterRoleSettings {
                role,
                if_exists,
                database,
                change,
            }),
        1 => setting.prop_map(|(setting, value)| Command::SetClusterSetting { setting, value }),
        1 => protection_command(),
    ]
}

fn protection_command() -> impl Strategy<Value = Command> {
    let id = || (1_u128..4).prop_map(ProtectionId);
    let tables = prop::option::of(vec((105_u32..125).prop_map(ObjectId), 1..3));
    let since = (0_u64..3).prop_map(|nanos| Timestamp { nanos, logical: 0 });
    let holder = select(vec![1, 256, 257]).prop_map(|length| "j".repeat(length));
    prop_oneof![
        3 => (id(), since, tables, holder).prop_map(|(id, since, tables, holder)| Command::ProtectHistory {
            id,
            protection: Protection { since, tables, holder },
        }),
        1 => id().prop_map(|id| Command::ReleaseHistory { id }),
    ]
}

/// A value that fits the setting, most often.
fn setting_value(row: &Row) -> BoxedStrategy<String> {
    let text = |values: Vec<&'static str>| select(values).prop_map(str::to_owned);
    match row.setting_type {
        SettingType::Bool => text(vec!["true", "on", "false", "maybe"]).boxed(),
        SettingType::Int(least, most) => {
            select(vec![least, most, most + 1]).prop_map(|value| value.to_string()).boxed()
        }
        SettingType::Bytes(..) => text(vec!["64MiB", "1 GB", "7", "much"]).boxed(),
        SettingType::Duration(..) => text(vec!["10s", "1500", "2h", "soon"]).boxed(),
        SettingType::Word(words) => select(words.to_vec()).prop_map(str::to_owned).boxed(),
        SettingType::Text => text(vec!["", "we"]).boxed(),
        SettingType::Certificates => {
            text(vec!["", "-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----"]).boxed()
        }
    }
}

fn connection_command() -> impl Strategy<Value = Command> {
    let uri =
        || select(vec!["nodelocal://1/x", "gs://b/y"]).prop_map(|uri| ConnectionUri::new(uri.to_owned()));
    prop_oneof![
        3 => (connection_name(), uri(), vec(uri_access(), 0..3), any::<bool>()).prop_map(
            |(name, uri, access, if_not_exists)| Command::CreateExternalConnection { name, uri, access, if_not_exists }
        ),
        2 => (connection_name(), uri(), vec(uri_access(), 0..3), any::<bool>()).prop_map(
            |(name, uri, access, if_exists)| Command::AlterExternalConnection { name, uri, access, if_exists }
        ),
        1 => (vec(connection_name(), 1..3), any::<bool>())
            .prop_map(|(names, if_exists)| Command::DropExternalConnections { names, if_exists }),
    ]
}

fn iam_role_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        3 => (iam_role_name(), any::<bool>())
            .prop_map(|(name, if_not_exists)| Command::CreateIamRole { name, if_not_exists }),
        1 => (vec(iam_role_name(), 1..3), any::<bool>())
            .prop_map(|(names, if_exists)| Command::DropIamRoles { names, if_exists }),
    ]
}
