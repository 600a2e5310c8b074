//! What SHOW lists: rows as values, sorted as CockroachDB v22.2.14 sorts them (spec D.5, H.1).
//!
//! Listings need no privilege on what they list, but on the database: without CONNECT its rows do not appear (H.7).
//! Schemas and tables that are not stored (`pg_catalog` and the like) are not listed yet.

use std::collections::BTreeSet;

use crate::command::{Actor, NameContext, RoleSpec, Targets};
use crate::decide::{holds, holds_grant_option};
use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName};
use crate::object::Object;
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal};
use crate::view::View;

/// A row of SHOW GRANTS; what a form does not print is `None` or left out by the caller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW GRANTS")]
pub struct GrantRow {
    /// Empty for system privileges.
    pub database: String,
    pub schema: Option<String>,
    pub relation: Option<String>,
    pub grantee: RoleName,
    pub privilege: &'static str,
    pub is_grantable: bool,
}

/// A row of SHOW GRANTS ON ROLE.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW GRANTS ON ROLE")]
pub struct RoleGrantRow {
    pub role_name: RoleName,
    pub member: RoleName,
    pub is_admin: bool,
}

/// A row of SHOW ROLES.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW ROLES")]
pub struct RoleRow {
    pub username: RoleName,
    pub options: String,
    pub member_of: Vec<RoleName>,
}

/// A row of SHOW DATABASES.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW DATABASES")]
pub struct DatabaseRow {
    pub database_name: Name,
    pub owner: RoleName,
}

/// A row of SHOW SCHEMAS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW SCHEMAS")]
pub struct SchemaRow {
    pub schema_name: Name,
    pub owner: RoleName,
}

/// A row of SHOW TABLES.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW TABLES")]
pub struct TableRow {
    pub schema_name: Name,
    pub table_name: Name,
    pub owner: RoleName,
}

/// SHOW GRANTS [ON …] [FOR …]. `on` none: everything in the current database, or in all if none is set;
/// [`Targets::System`]: SHOW SYSTEM GRANTS, which lists what is stored and not what superusers hold by rank.
///
/// FOR lists also what the grantees hold through roles, under the name of the role. Errors: 3D000, 3F000, 42P01 for
/// targets, 42704 for grantees.
pub fn grants(
    view: &View,
    actor: Actor,
    context: &NameContext,
    on: Option<&Targets>,
    grantees: &[RoleSpec],
) -> Result<Vec<GrantRow>, Refusal> {
    let state = view.state();
    let wanted = wanted_grantees(view, actor, grantees)?;
    let targets = match on {
        Some(Targets::System) => vec![ObjectId::CLUSTER],
        Some(on) => state.resolve_targets(context, on)?,
        None => everything(view, context)?,
    };
    let mut rows = Vec::new();
    for id in targets {
        if is_visible(view, actor, id) {
            grants_on(view, id, wanted.as_ref(), &mut rows);
        }
    }
    rows.sort();
    Ok(rows)
}

/// SHOW GRANTS ON ROLE [roles] [FOR members]: stored edges. FOR lists also the edges through which a member belongs
/// indirectly. Unknown names list nothing and are no error.
pub fn role_grants(
    view: &View,
    actor: Actor,
    roles: &[RoleSpec],
    members: &[RoleSpec],
) -> Result<Vec<RoleGrantRow>, Refusal> {
    let state = view.state();
    let known = |specs: &[RoleSpec]| -> BTreeSet<_> {
        specs.iter().filter_map(|spec| state.resolve_role(actor, spec).ok()).collect()
    };
    let wanted_roles = known(roles);
    let wanted_members: BTreeSet<_> =
        known(members).iter().flat_map(|member| view.ancestors(*member).chain([*member])).collect();
    let mut rows: Vec<_> = state
        .memberships()
        .filter(|edge| roles.is_empty() || wanted_roles.contains(&edge.role))
        .filter(|edge| members.is_empty() || wanted_members.contains(&edge.member))
        .map(|edge| RoleGrantRow {
            role_name: state.principal_name(edge.role),
            member: state.principal_name(edge.member),
            is_admin: edge.admin_option,
        })
        .collect();
    rows.sort();
    Ok(rows)
}

/// SHOW ROLES. Who may is the caller's requirement.
pub fn roles(view: &View) -> Vec<RoleRow> {
    let state = view.state();
    let row = |(id, principal): (PrincipalId, &crate::role::Principal)| {
        let words: Vec<_> = principal.options.iter().map(|option| option.word()).collect();
        let mut member_of: Vec<_> = state.roles_of(id).map(|(role, _)| state.principal_name(role)).collect();
        member_of.sort();
        RoleRow { username: principal.name.clone(), options: words.join(", "), member_of }
    };
    state.principals().map(row).collect()
}

/// SHOW DATABASES: those that `actor` may connect to, by name.
pub fn databases(view: &View, actor: Actor) -> Vec<DatabaseRow> {
    let state = view.state();
    state
        .children(ObjectId::CLUSTER)
        .filter(|(id, _)| is_visible(view, actor, *id))
        .map(|(_, database)| DatabaseRow {
            database_name: database.name.clone(),
            owner: state.principal_name(database.owner),
        })
        .collect()
}

/// SHOW SCHEMAS [FROM database]: by name. Nothing without CONNECT. Errors: 3D000, 42602.
pub fn schemas(
    view: &View,
    actor: Actor,
    context: &NameContext,
    database: Option<&Name>,
) -> Result<Vec<SchemaRow>, Refusal> {
    let state = view.state();
    let database = match database {
        Some(name) => state.resolve_database(name)?,
        None => state.current_database(context)?,
    };
    Ok(visible_children(view, actor, database)
        .map(|(_, schema)| SchemaRow {
            schema_name: schema.name.clone(),
            owner: state.principal_name(schema.owner),
        })
        .collect())
}

/// SHOW TABLES [FROM …]: by schema and name. `from` is empty for the current database, else `schema` or `database`, or
/// `database, schema`. Nothing without CONNECT; with it every table, whatever is held on it. Errors: 3D000, 3F000,
/// 42602, 42601.
pub fn tables(
    view: &View,
    actor: Actor,
    context: &NameContext,
    from: &[Name],
) -> Result<Vec<TableRow>, Refusal> {
    let state = view.state();
    let schemas: Vec<_> = match from {
        [] => visible_children(view, actor, state.current_database(context)?).map(|(id, _)| id).collect(),
        [one] => match state.resolve_schema_or_database(context, one)? {
            (schema, ObjectKind::Schema) => vec![schema],
            (database, _) => visible_children(view, actor, database).map(|(id, _)| id).collect(),
        },
        [_, _] => vec![state.resolve_star(context, from)?],
        parts => return Err(refusal::name_parts(parts.len())),
    };
    let mut rows = Vec::new();
    for schema in schemas {
        let Some(schema_name) = state.object(schema).map(|object| object.name.clone()) else { continue };
        rows.extend(visible_children(view, actor, schema).map(|(_, table)| TableRow {
            schema_name: schema_name.clone(),
            table_name: table.name.clone(),
            owner: state.principal_name(table.owner),
        }));
    }
    rows.sort();
    Ok(rows)
}

/// Whom FOR names, and the roles that they belong to. None: everybody.
fn wanted_grantees(
    view: &View,
    actor: Actor,
    grantees: &[RoleSpec],
) -> Result<Option<BTreeSet<PrincipalId>>, Refusal> {
    if grantees.is_empty() {
        return Ok(None);
    }
    let mut wanted = BTreeSet::new();
    for spec in grantees {
        let grantee = view.state().resolve_grantee(actor, spec)?;
        wanted.insert(grantee);
        wanted.extend(view.ancestors(grantee));
    }
    Ok(Some(wanted))
}

/// The current database, or all if none is set, and everything in them.
fn everything(view: &View, context: &NameContext) -> Result<Vec<ObjectId>, Refusal> {
    let state = view.state();
    let mut found: Vec<_> = match &context.database {
        Some(name) => vec![state.resolve_database(name)?],
        None => state.children(ObjectId::CLUSTER).map(|(id, _)| id).collect(),
    };
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(state.children(parent).map(|(id, _)| id));
        next += 1;
    }
    Ok(found)
}

/// Appends the rows of one object. The owner is one row, ALL with grant option, whatever is stored for it; `node` is
/// none.
fn grants_on(view: &View, id: ObjectId, wanted: Option<&BTreeSet<PrincipalId>>, rows: &mut Vec<GrantRow>) {
    let state = view.state();
    let owner = state.object(id).map_or(PrincipalId::NODE, |object| object.owner);
    let is_wanted = |grantee| wanted.is_none_or(|wanted| wanted.contains(&grantee));
    let (database, schema, relation) = place(view, id);
    let row = |grantee, privilege: Privilege, is_grantable| GrantRow {
        database: database.clone(),
        schema: schema.clone(),
        relation: relation.clone(),
        grantee: state.principal_name(grantee),
        privilege: privilege.word(),
        is_grantable,
    };
    let entries = state.acl(id).map_or(&[][..], |acl| acl.entries());
    for entry in entries.iter().filter(|entry| entry.grantee != owner && is_wanted(entry.grantee)) {
        rows.extend(entry.privileges.iter().map(|privilege| {
            row(entry.grantee, privilege, holds_grant_option(view, entry.grantee, id, privilege))
        }));
    }
    if owner != PrincipalId::NODE && is_wanted(owner) {
        rows.push(row(owner, Privilege::All, true));
    }
}

/// Database, schema and relation of an object, as SHOW GRANTS prints them.
fn place(view: &View, id: ObjectId) -> (String, Option<String>, Option<String>) {
    let state = view.state();
    let name = |object: &Object| object.name.to_string();
    let Some(object) = state.object(id) else { return (String::new(), None, None) };
    let parent = |object: &Object| state.object(object.parent);
    match object.kind() {
        ObjectKind::Cluster | ObjectKind::ExternalConnection | ObjectKind::VirtualTable => {
            (String::new(), None, None)
        }
        ObjectKind::Database => (name(object), None, None),
        ObjectKind::Schema => (parent(object).map(name).unwrap_or_default(), Some(name(object)), None),
        ObjectKind::Table | ObjectKind::Sequence | ObjectKind::Type | ObjectKind::Function => {
            let schema = parent(object);
            let database = schema.and_then(parent).map(name).unwrap_or_default();
            (database, schema.map(name), Some(name(object)))
        }
    }
}

/// Whether `actor` sees what is in the database of `id`: by CONNECT. System privileges are everybody's to see.
fn is_visible(view: &View, actor: Actor, id: ObjectId) -> bool {
    match view.state().database_of(id) {
        Some(database) => holds(view, actor.current, database, Privilege::Connect),
        None => id == ObjectId::CLUSTER,
    }
}

fn visible_children(
    view: &View,
    actor: Actor,
    parent: ObjectId,
) -> impl Iterator<Item = (ObjectId, &Object)> {
    let visible = is_visible(view, actor, parent);
    view.state().children(parent).filter(move |_| visible)
}
