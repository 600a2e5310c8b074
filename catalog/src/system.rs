//! What is computed and not stored: the virtual schemas, their tables, and the tables of the database `system`.
//!
//! They are objects like others, so that one predicate decides about them. A cluster stores only what was granted or
//! revoked on one (E.10): the rest every release knows by itself, and a table that a release adds needs no migration.
//! Columns and rows are `node::sql`'s.

use std::sync::LazyLock;

use crate::grant::{Acl, AclEntry};
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::object::{Body, Object};
use crate::privilege::{Privilege, PrivilegeSet};

/// The schemas that every database has. Their ids are the first of those that are virtual, in this order.
pub const VIRTUAL_SCHEMAS: [&str; 4] = ["crdb_internal", "information_schema", "pg_catalog", "pg_extension"];

/// Where a table of [`TABLES`] is: one of [`VIRTUAL_SCHEMAS`], or schema `public` of the database `system`.
const SYSTEM: &str = "system";

/// Number, schema and name. Appended to; a number is never reused: grants are stored under it.
const TABLES: &[(u16, &str, &str)] = &[
    (1, SYSTEM, "users"),
    (2, SYSTEM, "role_members"),
    (3, SYSTEM, "role_options"),
    (4, SYSTEM, "privileges"),
    (5, SYSTEM, "database_role_settings"),
    (6, SYSTEM, "external_connections"),
    (20, "information_schema", "administrable_role_authorizations"),
    (21, "information_schema", "applicable_roles"),
    (22, "information_schema", "column_privileges"),
    (23, "information_schema", "columns"),
    (24, "information_schema", "constraint_column_usage"),
    (25, "information_schema", "enabled_roles"),
    (26, "information_schema", "key_column_usage"),
    (27, "information_schema", "parameters"),
    (28, "information_schema", "referential_constraints"),
    (29, "information_schema", "role_routine_grants"),
    (30, "information_schema", "role_table_grants"),
    (31, "information_schema", "routines"),
    (32, "information_schema", "schema_privileges"),
    (33, "information_schema", "schemata"),
    (34, "information_schema", "sequences"),
    (35, "information_schema", "table_constraints"),
    (36, "information_schema", "table_privileges"),
    (37, "information_schema", "tables"),
    (38, "information_schema", "type_privileges"),
    (39, "information_schema", "user_privileges"),
    (40, "information_schema", "views"),
    (41, "information_schema", "check_constraints"),
    (100, "pg_catalog", "pg_aggregate"),
    (101, "pg_catalog", "pg_am"),
    (102, "pg_catalog", "pg_attrdef"),
    (103, "pg_catalog", "pg_attribute"),
    (104, "pg_catalog", "pg_auth_members"),
    (105, "pg_catalog", "pg_authid"),
    (106, "pg_catalog", "pg_available_extensions"),
    (107, "pg_catalog", "pg_cast"),
    (108, "pg_catalog", "pg_class"),
    (109, "pg_catalog", "pg_collation"),
    (110, "pg_catalog", "pg_constraint"),
    (111, "pg_catalog", "pg_conversion"),
    (112, "pg_catalog", "pg_database"),
    (113, "pg_catalog", "pg_db_role_setting"),
    (114, "pg_catalog", "pg_default_acl"),
    (115, "pg_catalog", "pg_depend"),
    (116, "pg_catalog", "pg_description"),
    (117, "pg_catalog", "pg_enum"),
    (118, "pg_catalog", "pg_event_trigger"),
    (119, "pg_catalog", "pg_extension"),
    (120, "pg_catalog", "pg_foreign_data_wrapper"),
    (121, "pg_catalog", "pg_foreign_server"),
    (122, "pg_catalog", "pg_foreign_table"),
    (123, "pg_catalog", "pg_group"),
    (124, "pg_catalog", "pg_index"),
    (125, "pg_catalog", "pg_indexes"),
    (126, "pg_catalog", "pg_inherits"),
    (127, "pg_catalog", "pg_init_privs"),
    (128, "pg_catalog", "pg_language"),
    (129, "pg_catalog", "pg_locks"),
    (130, "pg_catalog", "pg_matviews"),
    (131, "pg_catalog", "pg_namespace"),
    (132, "pg_catalog", "pg_opclass"),
    (133, "pg_catalog", "pg_operator"),
    (134, "pg_catalog", "pg_partitioned_table"),
    (135, "pg_catalog", "pg_policy"),
    (136, "pg_catalog", "pg_prepared_xacts"),
    (137, "pg_catalog", "pg_proc"),
    (138, "pg_catalog", "pg_publication"),
    (139, "pg_catalog", "pg_publication_rel"),
    (140, "pg_catalog", "pg_publication_namespace"),
    (141, "pg_catalog", "pg_range"),
    (142, "pg_catalog", "pg_rewrite"),
    (143, "pg_catalog", "pg_roles"),
    (144, "pg_catalog", "pg_seclabel"),
    (145, "pg_catalog", "pg_sequence"),
    (146, "pg_catalog", "pg_sequences"),
    (147, "pg_catalog", "pg_settings"),
    (148, "pg_catalog", "pg_shdepend"),
    (149, "pg_catalog", "pg_shdescription"),
    (150, "pg_catalog", "pg_shseclabel"),
    (151, "pg_catalog", "pg_stat_activity"),
    (152, "pg_catalog", "pg_statistic_ext"),
    (153, "pg_catalog", "pg_subscription"),
    (154, "pg_catalog", "pg_tables"),
    (155, "pg_catalog", "pg_tablespace"),
    (156, "pg_catalog", "pg_timezone_names"),
    (157, "pg_catalog", "pg_trigger"),
    (158, "pg_catalog", "pg_type"),
    (159, "pg_catalog", "pg_user"),
    (160, "pg_catalog", "pg_user_mapping"),
    (161, "pg_catalog", "pg_views"),
    (162, "pg_catalog", "pg_cursors"),
    (163, "pg_catalog", "pg_prepared_statements"),
    (300, "crdb_internal", "cluster_database_privileges"),
    (301, "crdb_internal", "cluster_queries"),
    (302, "crdb_internal", "cluster_sessions"),
    (303, "crdb_internal", "cluster_settings"),
    (304, "crdb_internal", "databases"),
    (305, "crdb_internal", "default_privileges"),
    (306, "crdb_internal", "gossip_nodes"),
    (307, "crdb_internal", "kv_inherited_role_members"),
    (308, "crdb_internal", "node_build_info"),
    (309, "crdb_internal", "node_queries"),
    (310, "crdb_internal", "node_runtime_info"),
    (311, "crdb_internal", "node_sessions"),
    (312, "crdb_internal", "ranges"),
    (313, "crdb_internal", "tables"),
    (314, "crdb_internal", "node_statement_statistics"),
    (315, "crdb_internal", "cluster_transactions"),
    (316, "crdb_internal", "node_transactions"),
    (317, "crdb_internal", "kv_protected_ts_records"),
    (318, "crdb_internal", "node_credentials"),
    (319, "crdb_internal", "cluster_credentials"),
    (320, "crdb_internal", "jobs"),
];

/// Every word for a type that every cluster has, and the one that listings print, as [`crate::object::ColumnType`]
/// prints it.
const BUILT_IN_TYPES: &[(&str, &str)] = &[
    ("bigint", "int8"),
    ("bool", "bool"),
    ("boolean", "bool"),
    ("bytea", "bytes"),
    ("bytes", "bytes"),
    ("character varying", "varchar"),
    ("double precision", "float8"),
    ("float", "float8"),
    ("float8", "float8"),
    ("int", "int8"),
    ("int2", "int2"),
    ("int4", "int4"),
    ("int8", "int8"),
    ("integer", "int8"),
    ("smallint", "int2"),
    ("string", "string"),
    ("text", "string"),
    ("timestamptz", "timestamptz"),
    ("uuid", "uuid"),
    ("varchar", "varchar"),
];

/// The name of the type that every cluster has under this word. None: there is no such.
pub fn built_in_type(word: &str) -> Option<&'static str> {
    BUILT_IN_TYPES.iter().find(|(known, _)| *known == word).map(|(_, name)| *name)
}

/// The first id of a table; those before are the schemas'.
const FIRST_TABLE: u32 = ObjectId::FIRST_VIRTUAL.0 + 16;

/// The id of a virtual schema.
pub fn schema_id(name: &str) -> Option<ObjectId> {
    let position = VIRTUAL_SCHEMAS.iter().position(|schema| *schema == name)?;
    u32::try_from(position).ok().map(|position| ObjectId(ObjectId::FIRST_VIRTUAL.0 + position))
}

/// Every virtual schema and table, as it is where nothing was granted or revoked on it; sorted by id, schemas first.
pub fn objects() -> &'static [(ObjectId, Object)] {
    static OBJECTS: LazyLock<Vec<(ObjectId, Object)>> = LazyLock::new(|| made().collect());
    &OBJECTS
}

/// What every cluster has under this id without a record.
pub fn object(id: ObjectId) -> Option<&'static Object> {
    let all = objects();
    all.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| &all[at].1)
}

fn made() -> impl Iterator<Item = (ObjectId, Object)> {
    let schemas = VIRTUAL_SCHEMAS.iter().filter_map(|name| {
        let object = Object {
            name: Name::from(*name),
            parent: ObjectId::CLUSTER,
            owner: PrincipalId::NODE,
            acl: everybody(Privilege::Usage),
            body: Body::Schema,
            comment: None,
        };
        Some((schema_id(name)?, object))
    });
    let tables = TABLES.iter().map(|(number, schema, name)| {
        let (parent, acl) = match schema_id(schema) {
            Some(schema) => (schema, everybody(Privilege::Select)),
            None => (ObjectId::SYSTEM_PUBLIC_SCHEMA, superusers(Privilege::Select)),
        };
        let object = Object {
            name: Name::from(*name),
            parent,
            owner: PrincipalId::NODE,
            acl,
            body: Body::VirtualTable,
            comment: None,
        };
        (ObjectId(FIRST_TABLE + u32::from(*number)), object)
    });
    schemas.chain(tables)
}

fn everybody(privilege: Privilege) -> Acl {
    let privileges = PrivilegeSet::of(privilege);
    [AclEntry { privileges, ..AclEntry::none(PrincipalId::PUBLIC) }].into_iter().collect()
}

fn superusers(privilege: Privilege) -> Acl {
    let set = PrivilegeSet::of(privilege);
    let entry = |grantee| AclEntry { grantee, privileges: set, grant_options: set };
    [PrincipalId::ROOT, PrincipalId::ADMIN].into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_used_once() {
        let mut ids: Vec<_> = objects().iter().map(|(id, _)| *id).collect();
        let mut names: Vec<_> =
            objects().iter().map(|(_, object)| (object.parent, object.name.clone())).collect();
        let count = ids.len();
        assert!(ids.is_sorted());
        ids.dedup();
        names.sort();
        names.dedup();
        assert_eq!((ids.len(), names.len()), (count, count));
        assert!(ids.iter().all(|id| id.is_virtual()));
    }
}
