//! crdb_internal: what CockroachDB's tools read of the catalog (authorization spec, H.3).

use std::collections::BTreeSet;
use std::sync::Arc;

use grantd_catalog::id::ObjectId;
use grantd_catalog::list::{self, HeldDefaultRow, SettingRow};
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::protection::{Protection, ProtectionId};
use grantd_raft::rows::Value;

use super::acl::{self, Held};
use super::item::{self, Item};
use super::{Computed, Items, Look, Of, maybe, number, text, truth, yes};
use crate::value::SqlType::{Bool, Int8, Text};

const SCHEMA: &str = "crdb_internal";

pub(super) const TABLES: &[&dyn Computed] = &[
    &CLUSTER_DATABASE_PRIVILEGES,
    &DEFAULT_PRIVILEGES,
    &INHERITED_ROLE_MEMBERS,
    &CLUSTER_SETTINGS,
    &DATABASES,
    &TABLES_TABLE,
    &NODE_BUILD_INFO,
    &PROTECTED_TS_RECORDS,
];

/// A privilege on a database.
struct Grant {
    item: Item,
    held: Held,
}

static CLUSTER_DATABASE_PRIVILEGES: Of<Grant> = Of {
    schema: SCHEMA,
    name: "cluster_database_privileges",
    keys: &[],
    items: |look| {
        Box::new(item::databases(look).flat_map(|item| {
            let held = acl::held(&item.info, item.id);
            held.into_iter().map(move |held| Grant { item: item.clone(), held })
        }))
    },
    columns: &[
        ("database_name", Text, |grant| text(grant.item.name())),
        ("grantee", Text, |grant| text(grant.held.grantee.as_str())),
        ("privilege_type", Text, |grant| text(grant.held.privilege.word())),
        ("is_grantable", Text, |grant| yes(grant.held.is_grantable)),
    ],
};

static DEFAULT_PRIVILEGES: Of<HeldDefaultRow> = Of {
    schema: SCHEMA,
    name: "default_privileges",
    keys: &[],
    items: |look| {
        let info = Arc::clone(&look.info);
        Box::new(
            item::databases(look)
                .flat_map(move |database| list::held_default_privileges(&info.view, Some(database.id))),
        )
    },
    columns: &[
        ("database_name", Text, |held| text(held.database_name.as_str())),
        ("schema_name", Text, |held| maybe(held.schema_name.as_ref().map(ToString::to_string))),
        ("role", Text, |held| maybe(held.row.role.as_ref().map(ToString::to_string))),
        ("for_all_roles", Bool, |held| truth(held.row.for_all_roles)),
        ("object_type", Text, |held| text(held.row.object_type.word())),
        ("grantee", Text, |held| text(held.row.grantee.as_str())),
        ("privilege_type", Text, |held| text(held.row.privilege_type)),
        ("is_grantable", Bool, |held| truth(held.row.is_grantable)),
    ],
};

/// That a member belongs to a role, directly or not.
struct Inherited {
    role: String,
    member: String,
    is_explicit: bool,
    is_admin: bool,
}

static INHERITED_ROLE_MEMBERS: Of<Inherited> = Of {
    schema: SCHEMA,
    name: "kv_inherited_role_members",
    keys: &[],
    items: |look| {
        let info = Arc::clone(&look.info);
        let members: Vec<_> = info.view.state().principals().map(|(id, _)| id).collect();
        Box::new(members.into_iter().flat_map(move |member| {
            let state = info.view.state();
            let direct: BTreeSet<_> = state.roles_of(member).map(|(role, _)| role).collect();
            let rows: Vec<_> = info
                .view
                .ancestors(member)
                .map(|role| Inherited {
                    role: state.principal_name(role).to_string(),
                    member: state.principal_name(member).to_string(),
                    is_explicit: direct.contains(&role),
                    is_admin: info.view.admin_option(member, role),
                })
                .collect();
            rows
        }))
    },
    columns: &[
        ("role", Text, |row| text(row.role.as_str())),
        ("inheriting_member", Text, |row| text(row.member.as_str())),
        ("member_is_explicit", Bool, |row| truth(row.is_explicit)),
        ("member_is_admin", Bool, |row| truth(row.is_admin)),
    ],
};

/// Settings are shown to whom SHOW CLUSTER SETTINGS shows them, and to nobody else.
static CLUSTER_SETTINGS: Of<SettingRow> = Of {
    schema: SCHEMA,
    name: "cluster_settings",
    keys: &[],
    items: |look| {
        let rows = list::cluster_settings(&look.info.view, look.info.actor);
        Box::new(rows.unwrap_or_default().into_iter())
    },
    columns: &[
        ("variable", Text, |setting| text(setting.variable)),
        ("value", Text, |setting| text(setting.value.as_str())),
        ("type", Text, |setting| text(setting.setting_type)),
        ("public", Bool, |_| truth(true)),
        ("description", Text, |setting| text(setting.description)),
        ("default_value", Text, |setting| text(setting.default)),
    ],
};

static DATABASES: Of<Item> = Of {
    schema: SCHEMA,
    name: "databases",
    keys: &[],
    items: item::databases,
    columns: &[
        ("id", Int8, |item| number(item.id.0)),
        ("name", Text, |item| text(item.name())),
        ("owner", Text, |item| text(item.owner_name())),
        ("primary_region", Text, |_| Value::Null),
        ("secondary_region", Text, |_| Value::Null),
        ("regions", Text, |_| text("{}")),
        ("survival_goal", Text, |_| Value::Null),
        ("placement_policy", Text, |_| Value::Null),
        ("create_statement", Text, |item| {
            text(format!("CREATE DATABASE {}", crate::sql::translate::quote_ident(&item.name())))
        }),
    ],
};

/// Relations of every database that the user sees.
fn all_relations(look: &Look) -> Items<Item> {
    Box::new(item::databases(look).flat_map(|database| {
        let state = database.info.view.state();
        let schemas = state.children(database.id).filter(|(_, object)| object.kind() == ObjectKind::Schema);
        let found = schemas.flat_map(|(schema, _)| state.children(schema));
        let ids: Vec<_> = found.filter(|(_, object)| item::is_relation(object)).map(|(id, _)| id).collect();
        let info = Arc::clone(&database.info);
        ids.into_iter().map(move |id| Item { info: Arc::clone(&info), id })
    }))
}

fn database_of(item: &Item) -> Option<(ObjectId, String)> {
    let state = item.info.view.state();
    let id = state.database_of(item.id)?;
    Some((id, state.object(id)?.name.to_string()))
}

static TABLES_TABLE: Of<Item> = Of {
    schema: SCHEMA,
    name: "tables",
    keys: &[],
    items: all_relations,
    columns: &[
        ("table_id", Int8, |item| number(item.id.0)),
        ("parent_id", Int8, |item| database_of(item).map_or(Value::Null, |(id, _)| number(id.0))),
        ("name", Text, |item| text(item.name())),
        ("database_name", Text, |item| maybe(database_of(item).map(|(_, name)| name))),
        ("version", Int8, |_| Value::Integer(1)),
        ("state", Text, |_| text("PUBLIC")),
        ("schema_name", Text, |item| text(item.parent_name())),
        ("parent_schema_id", Int8, |item| number(item.object().parent.0)),
        ("owner", Text, |item| text(item.owner_name())),
    ],
};

/// Field and value; the node's number.
type Fact = (&'static str, &'static str, u64);

static NODE_BUILD_INFO: Of<Fact> = Of {
    schema: SCHEMA,
    name: "node_build_info",
    keys: &[],
    items: |look| {
        let node = look.info.node_id;
        let facts = [
            ("Name", "grantd"),
            ("Version", crate::sql::translate::function::VERSION),
            ("Build", env!("CARGO_PKG_VERSION")),
        ];
        Box::new(facts.into_iter().map(move |(field, value)| (field, value, node)))
    },
    columns: &[
        ("node_id", Int8, |fact| Value::Integer(i64::try_from(fact.2).unwrap_or(i64::MAX))),
        ("field", Text, |fact| text(fact.0)),
        ("value", Text, |fact| text(fact.1)),
    ],
};

/// A protection of the change history. They are shown to whom VIEWCLUSTERMETADATA shows the cluster.
struct Protected {
    id: ProtectionId,
    protection: Protection,
}

static PROTECTED_TS_RECORDS: Of<Protected> = Of {
    schema: SCHEMA,
    name: "kv_protected_ts_records",
    keys: &[],
    items: |look| {
        let state = look.info.view.state();
        if !state.has_system_or_option(look.info.actor.current, Privilege::ViewClusterMetadata) {
            return Box::new([].into_iter());
        }
        let of = |(id, protection): (_, &Protection)| Protected { id, protection: protection.clone() };
        Box::new(state.protections().map(of).collect::<Vec<_>>().into_iter())
    },
    columns: &[
        ("id", Text, |row| text(row.id.to_string())),
        ("ts", Text, |row| text(row.protection.since.to_string())),
        ("meta_type", Text, |row| text(row.protection.holder.as_str())),
        ("num_spans", Int8, |row| {
            let tables = row.protection.tables.as_ref();
            tables
                .map_or(Value::Null, |tables| Value::Integer(i64::try_from(tables.len()).unwrap_or(i64::MAX)))
        }),
        ("target", Text, |row| {
            let tables = row.protection.tables.as_ref();
            let list =
                |tables: &Vec<ObjectId>| tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            text(tables.map_or_else(|| "cluster".to_owned(), list))
        }),
    ],
};
