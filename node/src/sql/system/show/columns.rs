//! The columns of each SHOW: names, order and types (authorization spec D.5, G.5, H.1).

use grantd_catalog::command::Targets;

use super::{explain, settings};
use crate::sql::parse::show::ShowStatement;
use crate::value::SqlType::{Bool, Int8, Oid, Text, TextArray};
use crate::value::{ColumnInfo, SqlType};

type Column = (&'static str, SqlType);

/// The columns of a SHOW. They do not depend on the catalog.
pub fn columns(statement: &ShowStatement) -> Vec<ColumnInfo> {
    let (columns, rest): (&[Column], &[Column]) = match statement {
        ShowStatement::Variable(name) => return vec![ColumnInfo { name: name.clone(), sql_type: Text }],
        ShowStatement::ClusterSetting(setting) => {
            return vec![ColumnInfo { name: setting.to_string(), sql_type: settings::type_of(*setting) }];
        }
        ShowStatement::Roles(_) => (&ROLES, &[]),
        ShowStatement::Grants { on, .. } => (on.as_ref().map_or(&ANYTHING, place), &GRANTED),
        ShowStatement::GrantsOnAllSchemas { .. } => (&IN_SCHEMA, &GRANTED),
        ShowStatement::GrantsOnRole { .. } => (&ROLE_GRANTS, &[]),
        ShowStatement::DefaultPrivileges { .. } => (&DEFAULTS, &GRANTED),
        ShowStatement::ExplainPrivilege { .. } => (&explain::COLUMNS, &[]),
        ShowStatement::Databases { comments } => (&DATABASES, comment(*comments)),
        ShowStatement::Schemas { .. } => (&SCHEMAS, &[]),
        ShowStatement::Tables { comments, .. } => (&TABLES, comment(*comments)),
        ShowStatement::Sequences { .. } => (&SEQUENCES, &[]),
        ShowStatement::Types { .. } => (&TYPES, &[]),
        ShowStatement::Enums { .. } => (&ENUMS, &[]),
        ShowStatement::Functions { .. } => (&FUNCTIONS, &[]),
        ShowStatement::Columns { comments, .. } => (&COLUMNS, comment(*comments)),
        ShowStatement::Indexes { .. } => (&INDEXES, &[]),
        ShowStatement::Constraints { .. } => (&CONSTRAINTS, &[]),
        ShowStatement::CreateRelation(_) => (&[TABLE], &CREATE),
        ShowStatement::CreateDatabase(_) => (&[DATABASE], &CREATE),
        ShowStatement::CreateType(_) => (&[TYPE], &CREATE),
        ShowStatement::CreateFunction(_) => (&[FUNCTION], &CREATE),
        ShowStatement::CreateConnection { .. } => (&[CONNECTION], &CREATE),
        ShowStatement::ExternalConnections(_) => (&[CONNECTION], &CONNECTIONS),
        ShowStatement::IamRoles => (&[IAM_ROLE, ("owner", Text)], &[]),
        ShowStatement::ClusterSettings { all: false } => (&SETTINGS, &[DESCRIPTION]),
        ShowStatement::ClusterSettings { all: true } => (&SETTINGS, &[("public", Bool), DESCRIPTION]),
        ShowStatement::Variables => (&[("variable", Text), ("value", Text)], &[]),
    };
    let both = columns.iter().chain(rest);
    both.map(|(name, sql_type)| ColumnInfo { name: (*name).to_owned(), sql_type: *sql_type }).collect()
}

/// What SHOW GRANTS prints before the grant.
fn place(on: &Targets) -> &'static [Column] {
    match on {
        Targets::System => &[],
        Targets::Databases(_) => &[DATABASE],
        Targets::Schemas(_) => &IN_SCHEMA,
        Targets::Tables(_)
        | Targets::AllTablesInSchemas(_)
        | Targets::Sequences(_)
        | Targets::AllSequencesInSchemas(_) => &[DATABASE, SCHEMA, TABLE],
        Targets::Types(_) => &[DATABASE, SCHEMA, TYPE],
        Targets::Functions(_) | Targets::AllFunctionsInSchemas(_) => {
            &[DATABASE, SCHEMA, ("function_id", Oid), ("function_signature", Text)]
        }
        Targets::ExternalConnections(_) => &[CONNECTION],
        Targets::IamRoles(_) => &[IAM_ROLE],
    }
}

fn comment(comments: bool) -> &'static [Column] {
    if comments { &[("comment", Text)] } else { &[] }
}

const CONNECTION: Column = ("connection_name", Text);
const DATABASE: Column = ("database_name", Text);
const DESCRIPTION: Column = ("description", Text);
const IAM_ROLE: Column = ("iam_role", Text);
const FUNCTION: Column = ("function_name", Text);
const SCHEMA: Column = ("schema_name", Text);
const TABLE: Column = ("table_name", Text);
const TYPE: Column = ("type_name", Text);

const ANYTHING: [Column; 3] = [DATABASE, SCHEMA, ("relation_name", Text)];
const COLUMNS: [Column; 7] = [
    ("column_name", Text),
    ("data_type", Text),
    ("is_nullable", Bool),
    ("column_default", Text),
    ("generation_expression", Text),
    ("indices", TextArray),
    ("is_hidden", Bool),
];
const CONNECTIONS: [Column; 3] =
    [("connection_uri", Text), ("connection_type", Text), ("secondary_uri", Text)];
const CONSTRAINTS: [Column; 5] =
    [TABLE, ("constraint_name", Text), ("constraint_type", Text), ("details", Text), ("validated", Bool)];
const CREATE: [Column; 1] = [("create_statement", Text)];
const DATABASES: [Column; 6] = [
    DATABASE,
    ("owner", Text),
    ("primary_region", Text),
    ("secondary_region", Text),
    ("regions", TextArray),
    ("survival_goal", Text),
];
const DEFAULTS: [Column; 3] = [("role", Text), ("for_all_roles", Bool), ("object_type", Text)];
const ENUMS: [Column; 4] = [("schema", Text), ("name", Text), ("values", TextArray), ("owner", Text)];
const FUNCTIONS: [Column; 6] = [
    SCHEMA,
    FUNCTION,
    ("result_data_type", Text),
    ("argument_data_types", Text),
    ("function_type", Text),
    ("volatility", Text),
];
const GRANTED: [Column; 3] = [("grantee", Text), ("privilege_type", Text), ("is_grantable", Bool)];
const INDEXES: [Column; 9] = [
    TABLE,
    ("index_name", Text),
    ("non_unique", Bool),
    ("seq_in_index", Int8),
    ("column_name", Text),
    ("direction", Text),
    ("storing", Bool),
    ("implicit", Bool),
    ("visible", Bool),
];
const IN_SCHEMA: [Column; 2] = [DATABASE, SCHEMA];
const ROLES: [Column; 3] = [("username", Text), ("options", Text), ("member_of", TextArray)];
const ROLE_GRANTS: [Column; 3] = [("role_name", Text), ("member", Text), ("is_admin", Bool)];
const SCHEMAS: [Column; 2] = [SCHEMA, ("owner", Text)];
const SEQUENCES: [Column; 2] = [("sequence_schema", Text), ("sequence_name", Text)];
const SETTINGS: [Column; 3] = [("variable", Text), ("value", Text), ("setting_type", Text)];
const TABLES: [Column; 6] =
    [SCHEMA, TABLE, ("type", Text), ("owner", Text), ("estimated_row_count", Int8), ("locality", Text)];
const TYPES: [Column; 3] = [("schema", Text), ("name", Text), ("owner", Text)];
