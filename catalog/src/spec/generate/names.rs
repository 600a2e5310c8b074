//! The universe of names: few, so that statements meet; some of them mean nothing.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::command::{FunctionName, ObjectName, OwnedName, RoleSpec, SchemaName, TablePattern, TypeName};
use crate::id::ObjectId;
use crate::name::{Name, RoleName};
use crate::object::ColumnType;
use crate::require::UriAccess;

/// The users and roles that histories create.
pub const ROLES: [&str; 6] = ["amy", "ben", "cat", "crew", "leads", "guild"];
/// The databases that histories create.
pub const DATABASES: [&str; 3] = ["shop", "depot", "ledger"];
/// The schemas that histories create, and `public`.
pub const SCHEMAS: [&str; 4] = ["public", "ops", "hr", "shop"];
/// The tables that histories create.
pub const TABLES: [&str; 6] = ["item", "bill", "staff", "stock", "route", "note"];
/// The views that histories create.
pub const VIEWS: [&str; 2] = ["latest", "costs"];
/// The sequences that histories create.
pub const SEQUENCES: [&str; 2] = ["ids", "turns"];
/// The enum types that histories create.
pub const TYPES: [&str; 2] = ["mood", "size"];
/// The functions that histories create.
pub const FUNCTIONS: [&str; 2] = ["area", "tax"];
/// The external connections that histories create.
pub const CONNECTIONS: [&str; 2] = ["vault", "sink"];
/// The roles of clouds that histories create.
pub const IAM_ROLES: [&str; 2] =
    ["arn:aws:iam::123456789012:role/backup", "store@shop.iam.gserviceaccount.com"];

pub(super) fn role_name(name: &str) -> RoleSpec {
    RoleSpec::Name(RoleName::normalize(name))
}

/// A name where a role is looked up.
pub(super) fn role() -> BoxedStrategy<RoleSpec> {
    prop_oneof![
        20 => select(&ROLES[..]).prop_map(role_name),
        1 => Just("root").prop_map(role_name),
        1 => Just("admin").prop_map(role_name),
        1 => select(vec!["public", "node", "ghost", "Amy"]).prop_map(role_name),
        2 => Just(RoleSpec::CurrentUser),
        1 => Just(RoleSpec::SessionUser),
    ]
    .boxed()
}

pub(super) fn grantee() -> impl Strategy<Value = RoleSpec> {
    prop_oneof![5 => role(), 1 => Just(role_name("public"))]
}

pub(super) fn plain_role() -> impl Strategy<Value = RoleName> {
    prop_oneof![
        20 => select(&ROLES[..]),
        3 => select(vec!["admin", "root"]),
        1 => select(vec!["public", "ghost", "createdb", "nologin"]),
    ]
    .prop_map(RoleName::normalize)
}

pub(super) fn database_name() -> impl Strategy<Value = Name> {
    prop_oneof![
        12 => select(&DATABASES[..]),
        2 => Just("defaultdb"),
        1 => Just("system"),
        1 => Just("gone"),
    ]
    .prop_map(Name::normalize)
}

pub(super) fn schema_name() -> impl Strategy<Value = SchemaName> {
    let schema = prop_oneof![14 => select(&SCHEMAS[..]), 1 => Just("gone"), 1 => Just("pg_catalog")];
    (prop::option::weighted(0.4, database_name()), schema)
        .prop_map(|(database, schema)| SchemaName { database, schema: schema.into() })
}

/// A name in a schema, most often one of `pool`.
pub(super) fn name_of(pool: &'static [&'static str]) -> BoxedStrategy<ObjectName> {
    let other = select([&TABLES[..], &VIEWS, &SEQUENCES, &TYPES, &FUNCTIONS].concat());
    let thing = prop_oneof![14 => select(pool), 1 => other, 1 => Just("gone")].prop_map(Name::normalize);
    let schema = prop_oneof![12 => select(&SCHEMAS[..]), 1 => Just("gone")].prop_map(Name::normalize);
    // Where the beginning put it.
    let home = (0..pool.len()).prop_map(|i| vec!["shop", SCHEMAS[i % 2], pool[i]]);
    prop_oneof![
        8 => home.prop_map(|parts| parts.into_iter().map(Name::normalize).collect()),
        4 => thing.clone().prop_map(|thing| vec![thing]),
        4 => (schema.clone(), thing.clone()).prop_map(|(schema, thing)| vec![schema, thing]),
        1 => (database_name(), thing.clone()).prop_map(|(database, thing)| vec![database, thing]),
        3 => (database_name(), schema, thing)
            .prop_map(|(database, schema, thing)| vec![database, schema, thing]),
    ]
    .prop_map(|parts| ObjectName { parts })
    .boxed()
}

/// A table, view or sequence.
pub(super) fn relation_name() -> BoxedStrategy<ObjectName> {
    prop_oneof![4 => name_of(&TABLES), 1 => name_of(&VIEWS), 1 => name_of(&SEQUENCES)].boxed()
}

/// A virtual table, or a table of `system`.
pub(super) fn virtual_name() -> BoxedStrategy<ObjectName> {
    let names: Vec<&[&str]> = vec![
        &["pg_class"],
        &["pg_catalog", "pg_class"],
        &["crdb_internal", "tables"],
        &["information_schema", "columns"],
        &["shop", "crdb_internal", "tables"],
        &["system", "users"],
        &["system", "public", "role_members"],
        &["crdb_internal", "gone"],
    ];
    select(names)
        .prop_map(|parts| ObjectName { parts: parts.iter().copied().map(Name::normalize).collect() })
        .boxed()
}

pub(super) fn function_name() -> BoxedStrategy<FunctionName> {
    let known = arguments().prop_map(|types| types.into_iter().map(TypeName::Known).collect());
    let named = name_of(&TYPES).prop_map(|name| vec![TypeName::Named(name)]);
    (name_of(&FUNCTIONS), prop::option::weighted(0.5, prop_oneof![6 => known, 1 => named]))
        .prop_map(|(name, arguments)| FunctionName { name, arguments })
        .boxed()
}

pub(super) fn arguments() -> BoxedStrategy<Vec<ColumnType>> {
    prop_oneof![
        6 => Just(vec![ColumnType::Int8]),
        1 => Just(vec![]),
        2 => vec(plain_type(), 1..3),
    ]
    .boxed()
}

/// Arguments of a function to be made: an enum type is one of them now and then.
pub(super) fn made_arguments() -> BoxedStrategy<Vec<ColumnType>> {
    prop_oneof![4 => arguments(), 1 => any_type().prop_map(|one| vec![one])].boxed()
}

pub(super) fn plain_type() -> impl Strategy<Value = ColumnType> {
    select(vec![ColumnType::Int8, ColumnType::Text { chars_max: None }])
}

/// A plain type, or the place of an enum type.
pub(super) fn any_type() -> impl Strategy<Value = ColumnType> {
    prop_oneof![3 => plain_type(), 1 => place().prop_map(ColumnType::Enum)]
}

/// The place of something that there is: see [`super::bind`].
pub(super) fn place() -> impl Strategy<Value = ObjectId> {
    prop_oneof![19 => 0_u32..40, 1 => Just(super::PLACES - 1)].prop_map(ObjectId)
}

pub(super) fn connection_name() -> impl Strategy<Value = Name> {
    prop_oneof![8 => select(&CONNECTIONS[..]), 1 => Just("gone")].prop_map(Name::normalize)
}

/// A role of a cloud. Its shape is right: the twin knows no shapes.
pub(super) fn iam_role_name() -> impl Strategy<Value = Name> {
    prop_oneof![8 => select(&IAM_ROLES[..]), 1 => Just("arn:aws:iam::123456789012:role/gone")]
        .prop_map(Name::normalize)
}

/// What a URI may need.
pub(super) fn uri_access() -> impl Strategy<Value = UriAccess> {
    let connection = prop::option::weighted(0.2, connection_name());
    (any::<bool>(), prop::bool::weighted(0.3), vec(iam_role_name(), 0..3), connection).prop_map(
        |(implicit, only_nodes, roles, connection)| UriAccess {
            provider: "s3".to_owned(),
            implicit,
            only_nodes,
            roles,
            connection,
        },
    )
}

pub(super) fn pattern(name: BoxedStrategy<ObjectName>) -> BoxedStrategy<TablePattern> {
    let prefix = prop_oneof![
        1 => Just(Vec::new()),
        2 => select(&SCHEMAS[..]).prop_map(|schema| vec![Name::normalize(schema)]),
        1 => database_name().prop_map(|database| vec![database]),
        1 => (database_name(), select(&SCHEMAS[..])).prop_map(|(d, s)| vec![d, Name::normalize(s)]),
    ];
    prop_oneof![8 => name.prop_map(TablePattern::Table), 1 => prefix.prop_map(TablePattern::All)].boxed()
}

/// What can have an owner, a name, a schema and a comment.
pub(super) fn owned_name() -> BoxedStrategy<OwnedName> {
    prop_oneof![
        2 => database_name().prop_map(OwnedName::Database),
        2 => schema_name().prop_map(OwnedName::Schema),
        6 => in_a_schema(),
        1 => connection_name().prop_map(OwnedName::ExternalConnection),
        1 => iam_role_name().prop_map(OwnedName::IamRole),
    ]
    .boxed()
}

/// The same, of things in schemas.
pub(super) fn in_a_schema() -> BoxedStrategy<OwnedName> {
    prop_oneof![
        4 => prop_oneof![8 => relation_name(), 1 => virtual_name()].prop_map(OwnedName::Table),
        2 => name_of(&VIEWS).prop_map(OwnedName::View),
        2 => name_of(&SEQUENCES).prop_map(OwnedName::Sequence),
        2 => name_of(&TYPES).prop_map(OwnedName::Type),
        2 => function_name().prop_map(OwnedName::Function),
    ]
    .boxed()
}
