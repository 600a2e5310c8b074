//! SHOW: the columns and rows of each form (authorization spec D.5, H.1).

use grantd_catalog::command::{Actor, NameContext, RoleSpec, SchemaName, Targets};
use grantd_catalog::list;
use grantd_catalog::name::Name;
use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::view::View;

use super::variable;
use crate::session::Session;
use crate::sql::error::SqlError;
use crate::sql::parse::session::ShowStatement;
use crate::sql::value::{ColumnInfo, Datum, SqlType};

/// Rows and the tag, without its count.
pub type Shown = (Vec<Vec<Datum>>, &'static str);

/// The columns of a SHOW. They do not depend on the catalog.
pub fn columns(statement: &ShowStatement) -> Vec<ColumnInfo> {
    use SqlType::{Bool, Int8, Text, TextArray};
    const DATABASE: (&str, SqlType) = ("database_name", Text);
    const SCHEMA: (&str, SqlType) = ("schema_name", Text);
    const TAIL: [(&str, SqlType); 3] = [("grantee", Text), ("privilege_type", Text), ("is_grantable", Bool)];
    let mut columns: Vec<(&str, SqlType)> = match statement {
        ShowStatement::Roles(_) => vec![("username", Text), ("options", Text), ("member_of", TextArray)],
        ShowStatement::Grants { on: Some(Targets::System), .. } => vec![],
        ShowStatement::Grants { on: Some(Targets::Databases(_)), .. } => vec![DATABASE],
        ShowStatement::Grants { on: Some(Targets::Schemas(_)), .. }
        | ShowStatement::GrantsOnAllSchemas { .. } => vec![DATABASE, SCHEMA],
        ShowStatement::Grants { on: Some(Targets::Tables(_) | Targets::AllTablesInSchemas(_)), .. } => {
            vec![DATABASE, SCHEMA, ("table_name", Text)]
        }
        ShowStatement::Grants { on: None, .. } => vec![DATABASE, SCHEMA, ("relation_name", Text)],
        ShowStatement::GrantsOnRole { .. } => vec![("role_name", Text), ("member", Text), ("is_admin", Bool)],
        ShowStatement::Databases => vec![
            DATABASE,
            ("owner", Text),
            ("primary_region", Text),
            ("secondary_region", Text),
            ("regions", TextArray),
            ("survival_goal", Text),
        ],
        ShowStatement::Schemas { .. } => vec![SCHEMA, ("owner", Text)],
        ShowStatement::Tables { .. } => vec![
            SCHEMA,
            ("table_name", Text),
            ("type", Text),
            ("owner", Text),
            ("estimated_row_count", Int8),
            ("locality", Text),
        ],
        ShowStatement::Variable(name) => return vec![ColumnInfo { name: name.clone(), sql_type: Text }],
        ShowStatement::Variables => vec![("variable", Text), ("value", Text)],
    };
    if matches!(statement, ShowStatement::Grants { .. } | ShowStatement::GrantsOnAllSchemas { .. }) {
        columns.extend(TAIL);
    }
    columns.into_iter().map(|(name, sql_type)| ColumnInfo { name: name.to_owned(), sql_type }).collect()
}

/// What a SHOW needs.
pub fn requirement(statement: &ShowStatement) -> Requirement {
    let mut requirement = Requirement::NOTHING;
    if matches!(statement, ShowStatement::Roles(_)) {
        // SELECT on system.users, which only superusers hold.
        requirement.need(Need::Admin { action: "list roles".to_owned() });
    }
    requirement
}

/// Whether the answer depends on the catalog.
pub fn reads_catalog(statement: &ShowStatement) -> bool {
    match statement {
        ShowStatement::Variable(name) => variable::show_reads_catalog(name),
        ShowStatement::Roles(_)
        | ShowStatement::Grants { .. }
        | ShowStatement::GrantsOnAllSchemas { .. }
        | ShowStatement::GrantsOnRole { .. }
        | ShowStatement::Databases
        | ShowStatement::Schemas { .. }
        | ShowStatement::Tables { .. }
        | ShowStatement::Variables => true,
    }
}

/// The words of a denied SHOW: those of the table that the original reads.
pub fn denied(actor: Actor, view: &View) -> SqlError {
    let name = view.state().principal_name(actor.current);
    SqlError::new(
        grantd_catalog::refusal::state::INSUFFICIENT_PRIVILEGE,
        format!("user {name} does not have SELECT privilege on relation users"),
    )
}

/// The rows of a SHOW.
pub fn rows(statement: &ShowStatement, view: &View, session: &Session) -> Result<Shown, SqlError> {
    let actor = session.actor;
    let context = session.name_context();
    Ok(match statement {
        ShowStatement::Roles(tag) => (roles(view), tag),
        ShowStatement::Grants { on, grantees } => {
            let rows = grants(view, actor, &context, on.as_ref(), grantees)?;
            (rows, if matches!(on, Some(Targets::System)) { "SHOW SYSTEM GRANTS" } else { "SHOW GRANTS" })
        }
        ShowStatement::GrantsOnAllSchemas { database, grantees } => {
            let names = list::schemas(view, actor, &context, database.as_ref())?;
            let schemas = names
                .into_iter()
                .map(|row| SchemaName { database: database.clone(), schema: row.schema_name })
                .collect();
            (grants(view, actor, &context, Some(&Targets::Schemas(schemas)), grantees)?, "SHOW GRANTS")
        }
        ShowStatement::GrantsOnRole { roles, members } => {
            (role_grants(view, actor, roles, members)?, "SHOW GRANTS ON ROLE")
        }
        ShowStatement::Databases => (databases(view, actor), "SHOW DATABASES"),
        ShowStatement::Schemas { from } => {
            let rows = list::schemas(view, actor, &context, from.as_ref())?;
            let row = |row: list::SchemaRow| vec![text(&row.schema_name), text(&row.owner)];
            (rows.into_iter().map(row).collect(), "SHOW SCHEMAS")
        }
        ShowStatement::Tables { from } => (tables(view, actor, &context, from.as_ref())?, "SHOW TABLES"),
        ShowStatement::Variable(name) => (vec![vec![text(&variable::show(session, view, name)?)]], "SHOW"),
        ShowStatement::Variables => {
            let mut rows = Vec::new();
            for name in variable::names() {
                rows.push(vec![text(name), text(&variable::show(session, view, name)?)]);
            }
            (rows, "SHOW")
        }
    })
}

fn text(value: impl ToString) -> Datum {
    Datum::Text(value.to_string())
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
    let optional = |value: Option<String>| value.map_or(Datum::Null, Datum::Text);
    let rows = list::grants(view, actor, context, on, grantees)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut cells = match on {
                Some(Targets::System) => vec![],
                Some(Targets::Databases(_)) => vec![text(row.database)],
                Some(Targets::Schemas(_)) => vec![text(row.database), optional(row.schema)],
                Some(Targets::Tables(_) | Targets::AllTablesInSchemas(_)) | None => {
                    vec![text(row.database), optional(row.schema), optional(row.relation)]
                }
            };
            cells.extend([text(&row.grantee), text(row.privilege), Datum::Bool(row.is_grantable)]);
            cells
        })
        .collect())
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

/// Regions are not modelled: their columns are there, and empty, as in a cluster without regions.
fn databases(view: &View, actor: Actor) -> Vec<Vec<Datum>> {
    list::databases(view, actor)
        .into_iter()
        .map(|row| {
            let regions = Datum::TextArray(Vec::new());
            vec![text(&row.database_name), text(&row.owner), Datum::Null, Datum::Null, regions, Datum::Null]
        })
        .collect()
}

fn tables(
    view: &View,
    actor: Actor,
    context: &NameContext,
    from: Option<&SchemaName>,
) -> Result<Vec<Vec<Datum>>, SqlError> {
    let from: Vec<Name> =
        from.map(|name| name.database.iter().chain([&name.schema]).cloned().collect()).unwrap_or_default();
    let rows = list::tables(view, actor, context, &from)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let (schema, table) = (text(&row.schema_name), text(&row.table_name));
            vec![schema, table, text("table"), text(&row.owner), Datum::Null, Datum::Null]
        })
        .collect())
}
