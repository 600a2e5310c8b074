//! information_schema: who holds what, and which roles there are for whom (authorization spec, H.2).

use std::sync::Arc;

use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::privilege::Privilege;
use grantd_raft::rows::Value;

use super::acl::{self, Held};
use super::information_schema::specific_name;
use super::item::{self, Item};
use super::types::BUILT_IN;
use super::{Computed, Items, Look, Of, text, yes};
use crate::sql::system::context::StatementInfo;
use crate::value::SqlType::{self, Text};

const SCHEMA: &str = "information_schema";

pub(super) const TABLES: &[&dyn Computed] = &[
    &TABLE_PRIVILEGES,
    &ROLE_TABLE_GRANTS,
    &SCHEMA_PRIVILEGES,
    &TYPE_PRIVILEGES,
    &COLUMN_PRIVILEGES,
    &USER_PRIVILEGES,
    &ROLE_ROUTINE_GRANTS,
    &APPLICABLE_ROLES,
    &ADMINISTRABLE_ROLES,
    &ENABLED_ROLES,
];

/// One privilege of one grantee on one object.
struct Grant {
    item: Item,
    held: Held,
}

fn grants_on(items: Items<Item>) -> Items<Grant> {
    Box::new(items.flat_map(|item| {
        let held = acl::held(&item.info, item.id);
        held.into_iter().map(move |held| Grant { item: item.clone(), held })
    }))
}

fn database(grant: &Grant) -> Value {
    text(item::catalog_name(&grant.item.info))
}

fn schema(grant: &Grant) -> Value {
    text(grant.item.parent_name())
}

fn grantee(grant: &Grant) -> Value {
    text(grant.held.grantee.as_str())
}

fn privilege(grant: &Grant) -> Value {
    text(grant.held.privilege.word())
}

fn grantable(grant: &Grant) -> Value {
    yes(grant.held.is_grantable)
}

fn table_grants(look: &Look) -> Items<Grant> {
    grants_on(item::children(&look.info, item::is_relation))
}

const TABLE_COLUMNS: &[super::Column<Grant>] = &[
    // Nobody records a grantor.
    ("grantor", Text, |_| Value::Null),
    ("grantee", Text, grantee),
    ("table_catalog", Text, database),
    ("table_schema", Text, schema),
    ("table_name", Text, |grant| text(grant.item.name())),
    ("privilege_type", Text, privilege),
    ("is_grantable", Text, grantable),
    ("with_hierarchy", Text, |grant| yes(grant.held.privilege == Privilege::Select)),
];

static TABLE_PRIVILEGES: Of<Grant> =
    Of { schema: SCHEMA, name: "table_privileges", keys: &[], items: table_grants, columns: TABLE_COLUMNS };

static ROLE_TABLE_GRANTS: Of<Grant> =
    Of { schema: SCHEMA, name: "role_table_grants", keys: &[], items: table_grants, columns: TABLE_COLUMNS };

static SCHEMA_PRIVILEGES: Of<Grant> = Of {
    schema: SCHEMA,
    name: "schema_privileges",
    keys: &[],
    items: |look| grants_on(item::schemas(look)),
    columns: &[
        ("grantee", Text, grantee),
        ("table_catalog", Text, database),
        ("table_schema", Text, |grant| text(grant.item.name())),
        ("privilege_type", Text, privilege),
        ("is_grantable", Text, grantable),
    ],
};

/// A privilege on a type. On the built-in ones everybody has USAGE, and the superusers ALL.
struct TypeGrant {
    info: Arc<StatementInfo>,
    schema: String,
    name: String,
    held: Held,
}

fn type_grants(look: &Look) -> Items<TypeGrant> {
    let info = Arc::clone(&look.info);
    let built_in = BUILT_IN.iter().flat_map(move |known| {
        let info = Arc::clone(&info);
        let held = [("admin", Privilege::All), ("public", Privilege::Usage), ("root", Privilege::All)];
        held.into_iter().map(move |(grantee, privilege)| TypeGrant {
            info: Arc::clone(&info),
            schema: "pg_catalog".to_owned(),
            name: known.name.to_owned(),
            held: Held {
                object: ObjectId::CLUSTER,
                grantee: grantee.to_owned(),
                privilege,
                is_grantable: false,
            },
        })
    });
    let own = grants_on(item::children(&look.info, item::is_type)).map(|grant| TypeGrant {
        info: Arc::clone(&grant.item.info),
        schema: grant.item.parent_name(),
        name: grant.item.name(),
        held: grant.held,
    });
    Box::new(built_in.chain(own))
}

static TYPE_PRIVILEGES: Of<TypeGrant> = Of {
    schema: SCHEMA,
    name: "type_privileges",
    keys: &[],
    items: type_grants,
    columns: &[
        ("grantee", Text, |grant| text(grant.held.grantee.as_str())),
        ("type_catalog", Text, |grant| text(item::catalog_name(&grant.info))),
        ("type_schema", Text, |grant| text(grant.schema.as_str())),
        ("type_name", Text, |grant| text(grant.name.as_str())),
        ("privilege_type", Text, |grant| text(grant.held.privilege.word())),
        ("is_grantable", Text, |grant| yes(grant.held.is_grantable)),
    ],
};

/// A privilege on a column: that on its table.
struct ColumnGrant {
    grant: Grant,
    column: String,
    privilege: Privilege,
}

/// What a privilege on a table means for its columns.
fn of_columns(held: Privilege) -> &'static [Privilege] {
    match held {
        Privilege::All => &[Privilege::Insert, Privilege::Select, Privilege::Update],
        Privilege::Insert => &[Privilege::Insert],
        Privilege::Select => &[Privilege::Select],
        Privilege::Update => &[Privilege::Update],
        _ => &[],
    }
}

fn column_grants(look: &Look) -> Items<ColumnGrant> {
    Box::new(grants_on(item::children(&look.info, item::is_readable)).flat_map(|grant| {
        let columns = item::columns(grant.item.info.view.state(), grant.item.id);
        let mut rows = Vec::new();
        for column in columns {
            for privilege in of_columns(grant.held.privilege) {
                let grant = Grant { item: grant.item.clone(), held: grant.held.clone() };
                rows.push(ColumnGrant { grant, column: column.name.clone(), privilege: *privilege });
            }
        }
        rows
    }))
}

static COLUMN_PRIVILEGES: Of<ColumnGrant> = Of {
    schema: SCHEMA,
    name: "column_privileges",
    keys: &[],
    items: column_grants,
    columns: &[
        ("grantor", Text, |_| Value::Null),
        ("grantee", Text, |row| grantee(&row.grant)),
        ("table_catalog", Text, |row| database(&row.grant)),
        ("table_schema", Text, |row| schema(&row.grant)),
        ("table_name", Text, |row| text(row.grant.item.name())),
        ("column_name", Text, |row| text(row.column.as_str())),
        ("privilege_type", Text, |row| text(row.privilege.word())),
        ("is_grantable", Text, |row| grantable(&row.grant)),
    ],
};

/// What the superusers may have on the current database.
struct UserGrant {
    info: Arc<StatementInfo>,
    grantee: &'static str,
    privilege: Privilege,
}

static USER_PRIVILEGES: Of<UserGrant> = Of {
    schema: SCHEMA,
    name: "user_privileges",
    keys: &[],
    items: |look| {
        let info = Arc::clone(&look.info);
        Box::new(["admin", "root"].into_iter().flat_map(move |grantee| {
            let info = Arc::clone(&info);
            let legal = Privilege::each()
                .filter(|privilege| privilege.is_legal_on(grantd_catalog::privilege::ObjectKind::Database));
            legal.map(move |privilege| UserGrant { info: Arc::clone(&info), grantee, privilege })
        }))
    },
    columns: &[
        ("grantee", Text, |row| text(row.grantee)),
        ("table_catalog", Text, |row| text(item::catalog_name(&row.info))),
        ("privilege_type", Text, |row| text(row.privilege.word())),
        ("is_grantable", Text, |_| Value::Null),
    ],
};

static ROLE_ROUTINE_GRANTS: Of<Grant> = Of {
    schema: SCHEMA,
    name: "role_routine_grants",
    keys: &[],
    items: |look| grants_on(item::children(&look.info, item::is_function)),
    columns: &[
        ("grantor", Text, |_| Value::Null),
        ("grantee", Text, grantee),
        ("specific_catalog", Text, database),
        ("specific_schema", Text, schema),
        ("specific_name", Text, |grant| text(specific_name(&grant.item))),
        ("routine_catalog", Text, database),
        ("routine_schema", Text, schema),
        ("routine_name", Text, |grant| text(grant.item.name())),
        ("privilege_type", Text, privilege),
        ("is_grantable", Text, grantable),
    ],
};

/// A membership of the user, or of a role that it belongs to.
struct Applicable {
    grantee: String,
    role: String,
    is_grantable: bool,
}

fn applicable(look: &Look) -> Items<Applicable> {
    let (view, user) = (&look.info.view, look.info.actor.current);
    let state = view.state();
    let name = |id| state.principal_name(id).to_string();
    let members = view.ancestors(user).chain([user]);
    let mut rows: Vec<_> = members
        .flat_map(|member| {
            state.roles_of(member).map(move |(role, is_grantable)| (member, role, is_grantable))
        })
        .map(|(member, role, is_grantable)| Applicable {
            grantee: name(member),
            role: name(role),
            is_grantable,
        })
        .collect();
    rows.sort_by(|a, b| (&a.grantee, &a.role).cmp(&(&b.grantee, &b.role)));
    Box::new(rows.into_iter())
}

/// Name, type and value of a column of these.
type RoleColumn = (&'static str, SqlType, fn(&Applicable) -> Value);

const ROLE_COLUMNS: &[RoleColumn] = &[
    ("grantee", Text, |row| text(row.grantee.as_str())),
    ("role_name", Text, |row| text(row.role.as_str())),
    ("is_grantable", Text, |row| yes(row.is_grantable)),
];

static APPLICABLE_ROLES: Of<Applicable> =
    Of { schema: SCHEMA, name: "applicable_roles", keys: &[], items: applicable, columns: ROLE_COLUMNS };

static ADMINISTRABLE_ROLES: Of<Applicable> = Of {
    schema: SCHEMA,
    name: "administrable_role_authorizations",
    keys: &[],
    items: |look| Box::new(applicable(look).filter(|row| row.is_grantable)),
    columns: ROLE_COLUMNS,
};

static ENABLED_ROLES: Of<String> = Of {
    schema: SCHEMA,
    name: "enabled_roles",
    keys: &[],
    items: |look| {
        let (view, user) = (&look.info.view, look.info.actor.current);
        let ids = view.ancestors(user).chain([user]);
        let mut names: Vec<_> =
            ids.map(|id: PrincipalId| view.state().principal_name(id).to_string()).collect();
        names.sort();
        Box::new(names.into_iter())
    },
    columns: &[("role_name", Text, |name| text(name.as_str()))],
};
