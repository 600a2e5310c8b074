//! SHOW: the columns and rows of each form (authorization spec D.5, G.5, H.1).

use grantd_catalog::command::{Actor, NameContext, RoleSpec, SchemaName, Targets};
use grantd_catalog::id::ObjectId;
use grantd_catalog::list;
use grantd_catalog::name::Name;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::state::State;
use grantd_catalog::system::{self, VIRTUAL_SCHEMAS};
use grantd_catalog::view::View;

use super::catalog::oid::above;
use super::variable;
use crate::error::SqlError;
use crate::session::Session;
use crate::sql::parse::show::ShowStatement;
use crate::value::Datum;

mod columns;
mod connections;
mod create;
mod explain;
mod objects;
mod settings;

pub use columns::columns;

/// Rows and the tag, without its count.
pub type Shown = (Vec<Vec<Datum>>, &'static str);

/// Whether the answer depends on the catalog.
pub fn reads_catalog(statement: &ShowStatement) -> bool {
    match statement {
        ShowStatement::Variable(name) => variable::show_reads_catalog(name),
        _ => true,
    }
}

/// What a SHOW needs. Errors: names that mean nothing.
pub fn requirement(
    statement: &ShowStatement,
    view: &View,
    session: &Session,
) -> Result<Requirement, SqlError> {
    let state = view.state();
    let context = session.name_context();
    let mut requirement = Requirement::NOTHING;
    match statement {
        ShowStatement::Roles(_) => {
            for table in ["users", "role_options", "role_members"] {
                let id = system_table(state, table)
                    .ok_or_else(|| SqlError::internal(format!("there is no table system.{table}")))?;
                requirement.privilege(id, Privilege::Select);
            }
        }
        ShowStatement::Columns { of: name, .. }
        | ShowStatement::Indexes { of: name }
        | ShowStatement::Constraints { of: name }
        | ShowStatement::CreateRelation(name) => {
            requirement.need(Need::AnyPrivilege { object: state.resolve_relation(&context, name)? });
        }
        ShowStatement::CreateDatabase(name) => {
            requirement.need(Need::AnyPrivilege { object: state.resolve_database(name)? });
        }
        ShowStatement::CreateType(name) => {
            requirement.need(Need::AnyPrivilege { object: state.resolve_type(&context, name)? });
        }
        ShowStatement::CreateFunction(name) => {
            requirement.need(Need::AnyPrivilege { object: state.resolve_function(&context, name)? });
        }
        ShowStatement::CreateConnection { secrets: true, .. } => {
            let action = "SHOW CREATE EXTERNAL CONNECTION WITH SECRETS";
            requirement.need(Need::Admin { action: action.to_owned() });
        }
        ShowStatement::CreateConnection { name: Some(name), .. } => {
            requirement.need(Need::Ownership { object: state.resolve_external_connection(name)? });
        }
        ShowStatement::CreateConnection { name: None, .. } => {
            requirement.need(Need::Admin { action: "SHOW CREATE ALL EXTERNAL CONNECTIONS".to_owned() });
        }
        ShowStatement::Grants { .. }
        | ShowStatement::GrantsOnAllSchemas { .. }
        | ShowStatement::GrantsOnRole { .. }
        | ShowStatement::DefaultPrivileges { .. }
        | ShowStatement::ExplainPrivilege { .. }
        | ShowStatement::Databases { .. }
        | ShowStatement::Schemas { .. }
        | ShowStatement::Tables { .. }
        | ShowStatement::Sequences { .. }
        | ShowStatement::Types { .. }
        | ShowStatement::Enums { .. }
        | ShowStatement::Functions { .. }
        | ShowStatement::ExternalConnections(_)
        | ShowStatement::IamRoles
        | ShowStatement::ClusterSetting(_)
        | ShowStatement::ClusterSettings { .. }
        | ShowStatement::Variable(_)
        | ShowStatement::Variables => {}
    }
    Ok(requirement)
}

fn system_table(state: &State, name: &str) -> Option<ObjectId> {
    let is_it = |id: ObjectId| {
        let object = state.object(id)?;
        let matches = object.parent == ObjectId::SYSTEM_PUBLIC_SCHEMA && object.name.as_str() == name;
        matches.then_some(id)
    };
    system::objects().iter().find_map(|(id, _)| is_it(*id))
}

/// The rows of a SHOW.
pub fn rows(statement: &ShowStatement, view: &View, session: &Session) -> Result<Shown, SqlError> {
    let actor = session.actor;
    let context = &session.name_context();
    let state = view.state();
    let rows = match statement {
        ShowStatement::Roles(_) => Ok(roles(view)),
        ShowStatement::Grants { on, grantees } => grants(view, actor, context, on.as_ref(), grantees),
        ShowStatement::GrantsOnAllSchemas { database, grantees } => {
            let on = all_schemas(view, actor, context, database.as_ref())?;
            grants(view, actor, context, Some(&on), grantees)
        }
        ShowStatement::GrantsOnRole { roles, members } => role_grants(view, actor, roles, members),
        ShowStatement::DefaultPrivileges { shown, schema } => {
            let rows = list::default_privileges(view, actor, context, shown, schema.as_ref())?;
            Ok(rows.into_iter().map(default_privilege).collect())
        }
        ShowStatement::ExplainPrivilege { privileges, on, principals, grant_option } => {
            explain::rows(view, actor, context, privileges, on, principals, *grant_option)
        }
        ShowStatement::Databases { comments } => Ok(objects::databases(view, actor, *comments)),
        ShowStatement::Schemas { from } => objects::schemas(view, actor, context, from.as_ref()),
        ShowStatement::Tables { from, comments } => {
            objects::tables(view, actor, context, from.as_ref(), *comments)
        }
        ShowStatement::Sequences { from } => objects::sequences(view, context, from.as_ref()),
        ShowStatement::Types { from } => objects::types(view, actor, context, from.as_ref(), false),
        ShowStatement::Enums { from } => objects::types(view, actor, context, from.as_ref(), true),
        ShowStatement::Functions { from } => objects::functions(view, actor, context, from.as_ref()),
        ShowStatement::Columns { of, comments } => objects::columns(view, context, of, *comments),
        ShowStatement::Indexes { of } => objects::indexes(view, context, of),
        ShowStatement::Constraints { of } => objects::constraints(view, context, of),
        ShowStatement::CreateRelation(name) => {
            created(state, text(name), state.resolve_relation(context, name)?)
        }
        ShowStatement::CreateDatabase(name) => created(state, text(name), state.resolve_database(name)?),
        ShowStatement::CreateType(name) => created(state, text(name), state.resolve_type(context, name)?),
        ShowStatement::CreateFunction(name) => {
            created(state, text(&name.name), state.resolve_function(context, name)?)
        }
        ShowStatement::CreateConnection { name, secrets } => {
            connections::create(view, actor, name.as_ref(), *secrets)
        }
        ShowStatement::ExternalConnections(name) => connections::external(view, actor, name.as_ref()),
        ShowStatement::IamRoles => Ok(list::iam_roles(view, actor)
            .into_iter()
            .map(|row| vec![text(row.iam_role), text(row.owner)])
            .collect()),
        ShowStatement::ClusterSetting(setting) => settings::setting(view, actor, *setting),
        ShowStatement::ClusterSettings { all } => settings::settings(view, actor, *all),
        ShowStatement::Variable(name) => Ok(vec![vec![text(&variable::show(session, view, name)?)]]),
        ShowStatement::Variables => variable::names()
            .into_iter()
            .map(|name| Ok(vec![text(name), text(&variable::show(session, view, name)?)]))
            .collect(),
    };
    Ok((rows?, tag(statement)))
}

/// The tag, without its count.
fn tag(statement: &ShowStatement) -> &'static str {
    match statement {
        ShowStatement::Roles(tag) => tag,
        ShowStatement::Grants { on: Some(Targets::System), .. } => "SHOW SYSTEM GRANTS",
        ShowStatement::Grants { .. } | ShowStatement::GrantsOnAllSchemas { .. } => "SHOW GRANTS",
        ShowStatement::GrantsOnRole { .. } => "SHOW GRANTS ON ROLE",
        ShowStatement::DefaultPrivileges { .. } => "SHOW DEFAULT PRIVILEGES",
        ShowStatement::ExplainPrivilege { .. } => "EXPLAIN PRIVILEGE",
        ShowStatement::Databases { .. } => "SHOW DATABASES",
        ShowStatement::Schemas { .. } => "SHOW SCHEMAS",
        ShowStatement::Tables { .. } => "SHOW TABLES",
        ShowStatement::Sequences { .. } => "SHOW SEQUENCES",
        ShowStatement::Types { .. } => "SHOW TYPES",
        ShowStatement::Enums { .. } => "SHOW ENUMS",
        ShowStatement::Functions { .. } => "SHOW FUNCTIONS",
        ShowStatement::Columns { .. } => "SHOW COLUMNS",
        ShowStatement::Indexes { .. } => "SHOW INDEXES",
        ShowStatement::Constraints { .. } => "SHOW CONSTRAINTS",
        ShowStatement::CreateRelation(_) => "SHOW CREATE",
        ShowStatement::CreateDatabase(_) => "SHOW CREATE DATABASE",
        ShowStatement::CreateType(_) => "SHOW CREATE TYPE",
        ShowStatement::CreateFunction(_) => "SHOW CREATE FUNCTION",
        ShowStatement::CreateConnection { .. } => "SHOW CREATE EXTERNAL CONNECTION",
        ShowStatement::ExternalConnections(_) => "SHOW EXTERNAL CONNECTIONS",
        ShowStatement::IamRoles => "SHOW IAM ROLES",
        ShowStatement::ClusterSettings { .. } => "SHOW CLUSTER SETTINGS",
        ShowStatement::ClusterSetting(_) | ShowStatement::Variable(_) | ShowStatement::Variables => "SHOW",
    }
}

/// `ON SCHEMA d.*`: those of the database itself, without those that every database has.
fn all_schemas(
    view: &View,
    actor: Actor,
    context: &NameContext,
    database: Option<&Name>,
) -> Result<Targets, SqlError> {
    let rows = list::schemas(view, actor, context, database)?;
    let own = rows.into_iter().filter(|row| !VIRTUAL_SCHEMAS.contains(&row.schema_name.as_str()));
    let name = |schema| SchemaName { database: database.cloned(), schema };
    Ok(Targets::Schemas(own.map(|row| name(row.schema_name)).collect()))
}

fn text(value: impl ToString) -> Datum {
    Datum::Text(value.to_string())
}

fn optional(value: Option<String>) -> Datum {
    value.map_or(Datum::Null, Datum::Text)
}

/// The row of a SHOW CREATE.
fn created(state: &State, name: Datum, id: ObjectId) -> Result<Vec<Vec<Datum>>, SqlError> {
    let statement = create::statement(state, id)
        .ok_or_else(|| SqlError::unsupported("SHOW CREATE of something that is computed"))?;
    Ok(vec![vec![name, Datum::Text(statement)]])
}

fn roles(view: &View) -> Vec<Vec<Datum>> {
    list::roles(view)
        .into_iter()
        .map(|row| {
            let member_of = row.member_of.iter().map(|role| Some(role.to_string())).collect();
            vec![text(&row.username), Datum::Text(row.options), Datum::TextArray(member_of)]
        })
        .collect()
}

fn grants(
    view: &View,
    actor: Actor,
    context: &NameContext,
    on: Option<&Targets>,
    grantees: &[RoleSpec],
) -> Result<Vec<Vec<Datum>>, SqlError> {
    let rows = list::grants(view, actor, context, on, grantees)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut cells = match on {
                Some(Targets::System) => vec![],
                Some(Targets::Databases(_)) => vec![text(row.database)],
                Some(Targets::Schemas(_)) => vec![text(row.database), optional(row.schema)],
                Some(Targets::ExternalConnections(_) | Targets::IamRoles(_)) => vec![optional(row.relation)],
                Some(Targets::Functions(_) | Targets::AllFunctionsInSchemas(_)) => {
                    let id = Datum::Int(i64::from(above(row.object)));
                    vec![text(row.database), optional(row.schema), id, optional(row.relation)]
                }
                Some(
                    Targets::Tables(_)
                    | Targets::AllTablesInSchemas(_)
                    | Targets::Sequences(_)
                    | Targets::AllSequencesInSchemas(_)
                    | Targets::Types(_),
                )
                | None => {
                    vec![text(row.database), optional(row.schema), optional(row.relation)]
                }
            };
            cells.extend([text(&row.grantee), text(row.privilege), Datum::Bool(row.is_grantable)]);
            cells
        })
        .collect())
}

fn default_privilege(row: list::DefaultPrivilegeRow) -> Vec<Datum> {
    vec![
        optional(row.role.map(|role| role.to_string())),
        Datum::Bool(row.for_all_roles),
        text(row.object_type),
        text(row.grantee),
        text(row.privilege_type),
        Datum::Bool(row.is_grantable),
    ]
}

fn role_grants(
    view: &View,
    actor: Actor,
    roles: &[RoleSpec],
    members: &[RoleSpec],
) -> Result<Vec<Vec<Datum>>, SqlError> {
    let rows = list::role_grants(view, actor, roles, members)?;
    Ok(rows
        .into_iter()
        .map(|row| vec![text(&row.role_name), text(&row.member), Datum::Bool(row.is_admin)])
        .collect())
}
