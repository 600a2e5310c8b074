//! SHOW GRANTS in all its forms. Source: authorization spec, H.1.
//!
//! What is computed is in every database, so it is listed as of the database that the statement names it in, or of the
//! current one.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Actor, NameContext, ObjectName, RoleSpec, TablePattern, Targets};
use crate::decide::{holds, holds_grant_option};
use crate::grant::AclEntry;
use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName};
use crate::object::Body;
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::state::State;
use crate::system;
use crate::view::View;

/// A row of SHOW GRANTS; what a form does not print is `None` or left out by the caller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW GRANTS")]
pub struct GrantRow {
    /// Empty for what is in no database: system privileges and external connections.
    pub database: String,
    pub schema: Option<String>,
    /// The relation, type or external connection; of a function its signature.
    pub relation: Option<String>,
    pub grantee: RoleName,
    pub privilege: &'static str,
    pub is_grantable: bool,
    pub kind: ObjectKind,
    /// What it is on. Of a type that every cluster has, the cluster.
    pub object: ObjectId,
}

/// One thing that is listed, and the database that it is listed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    id: ObjectId,
    database: Option<ObjectId>,
}

/// SHOW GRANTS [ON …] [FOR …]. `on` none: everything in the current database, or in all if none is set;
/// [`Targets::System`]: SHOW SYSTEM GRANTS, which lists what is stored and not what superusers hold by rank, as does ON
/// EXTERNAL CONNECTION.
///
/// FOR lists also what the grantees hold through roles, under the name of the role. Sorted by the columns, nothing
/// first. Errors: 3D000, 3F000, 42P01, 42704, 42883, 42725 for targets, 42704 for grantees. Cost: the rows, and sorting
/// them.
pub fn grants(
    view: &View,
    actor: Actor,
    context: &NameContext,
    on: Option<&Targets>,
    grantees: &[RoleSpec],
) -> Result<Vec<GrantRow>, Refusal> {
    let state = view.state();
    let wanted = wanted_grantees(view, actor, grantees)?;
    let mut rows = Vec::new();
    let mut found = BTreeSet::new();
    match on {
        None => found.extend(everything(view, context)?),
        Some(Targets::Types(names)) => {
            for name in names {
                match built_in_type(context, name) {
                    Some(built_in) => rows_of_built_in(view, actor, context, built_in, &mut rows),
                    None => {
                        found.extend(listed_in_own(state, &[state.resolve_type(context, name)?]));
                    }
                }
            }
            rows.retain(|row| is_wanted_name(view, wanted.as_ref(), row));
        }
        Some(on) => found.extend(listed(state, context, on)?),
    }
    let mut visible = BTreeMap::new();
    for listed in found {
        let sees = |database| holds(view, actor.current, database, Privilege::Connect);
        let is_visible =
            listed.database.is_none_or(|database| *visible.entry(database).or_insert_with(|| sees(database)));
        if is_visible {
            grants_on(view, listed, wanted.as_ref(), &mut rows);
        }
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

/// What a form with targets lists.
fn listed(state: &State, context: &NameContext, on: &Targets) -> Result<Vec<Listed>, Refusal> {
    let current = context.database.as_ref().and_then(|name| state.resolve_database(name).ok());
    // What is computed belongs to the database that is written before it, or to the current one.
    let list = |ids: Vec<ObjectId>, written: Option<&Name>| -> Result<Vec<Listed>, Refusal> {
        let written = written.map(|name| state.resolve_database(name)).transpose()?;
        let database = |id: ObjectId| match id.is_virtual() && !in_system(state, id) {
            true => written.or(current),
            false => state.database_of(id),
        };
        Ok(ids.into_iter().map(|id| Listed { id, database: database(id) }).collect())
    };
    let mut found = Vec::new();
    match on {
        Targets::System => found.push(Listed { id: ObjectId::CLUSTER, database: None }),
        Targets::Schemas(names) => {
            for name in names {
                found.extend(list(vec![state.resolve_schema(context, name)?], name.database.as_ref())?);
            }
        }
        Targets::AllTablesInSchemas(names) => {
            for name in names {
                let one = Targets::AllTablesInSchemas(vec![name.clone()]);
                found.extend(list(state.resolve_targets(context, &one)?, name.database.as_ref())?);
            }
        }
        Targets::Tables(patterns) => {
            for pattern in patterns {
                let one = Targets::Tables(vec![pattern.clone()]);
                found.extend(list(state.resolve_targets(context, &one)?, database_in(pattern))?);
            }
        }
        Targets::Databases(_)
        | Targets::Sequences(_)
        | Targets::AllSequencesInSchemas(_)
        | Targets::AllFunctionsInSchemas(_)
        | Targets::Types(_)
        | Targets::Functions(_)
        | Targets::ExternalConnections(_)
        | Targets::IamRoles(_) => {
            found.extend(listed_in_own(state, &state.resolve_targets(context, on)?));
        }
    }
    Ok(found)
}

/// Things in the database that they are in.
fn listed_in_own(state: &State, ids: &[ObjectId]) -> Vec<Listed> {
    ids.iter().map(|id| Listed { id: *id, database: state.database_of(*id) }).collect()
}

/// The database that a pattern begins with.
fn database_in(pattern: &TablePattern) -> Option<&Name> {
    match pattern {
        TablePattern::Table(ObjectName { parts }) if parts.len() == 3 => parts.first(),
        TablePattern::All(qualifiers) if qualifiers.len() == 2 => qualifiers.first(),
        TablePattern::Table(_) | TablePattern::All(_) => None,
    }
}

/// Whether it is a table of the database `system`, which is computed but in one database only.
fn in_system(state: &State, id: ObjectId) -> bool {
    state.object(id).is_some_and(|object| object.parent == ObjectId::SYSTEM_PUBLIC_SCHEMA)
}

/// The current database, or all if none is set, and everything in them; what is computed too.
fn everything(view: &View, context: &NameContext) -> Result<Vec<Listed>, Refusal> {
    let state = view.state();
    let databases: Vec<_> = match &context.database {
        Some(name) => vec![state.resolve_database(name)?],
        None => {
            let all = state.children(ObjectId::CLUSTER);
            all.filter(|(_, object)| object.kind() == ObjectKind::Database).map(|(id, _)| id).collect()
        }
    };
    let mut found = Vec::new();
    for database in databases {
        let list = |id| Listed { id, database: Some(database) };
        found.push(list(database));
        let computed = system::VIRTUAL_SCHEMAS.iter().filter_map(|name| system::schema_id(name));
        let own = state.children(database).map(|(id, _)| id);
        for schema in own.chain(computed) {
            found.push(list(schema));
            found.extend(state.children(schema).map(|(id, _)| list(id)));
        }
    }
    Ok(found)
}

/// Appends the rows of one object. The owner is one row, ALL with grant option, whatever is stored for it; `node` is
/// none. An external connection, and a role of a cloud, has only what is stored.
fn grants_on(view: &View, listed: Listed, wanted: Option<&BTreeSet<PrincipalId>>, rows: &mut Vec<GrantRow>) {
    let state = view.state();
    let id = listed.id;
    let kind = state.kind(id).unwrap_or(ObjectKind::Cluster);
    let is_stored_only = matches!(kind, ObjectKind::ExternalConnection | ObjectKind::IamRole);
    let owner = state.object(id).map(|object| object.owner);
    let owner = owner.filter(|owner| *owner != PrincipalId::NODE && !is_stored_only);
    let is_wanted = |grantee| wanted.is_none_or(|wanted| wanted.contains(&grantee));
    let (database, schema, relation) = place(state, listed);
    let row = |grantee, privilege: Privilege, is_grantable| GrantRow {
        database: database.clone(),
        schema: schema.clone(),
        relation: relation.clone(),
        grantee: state.principal_name(grantee),
        privilege: privilege.word(),
        is_grantable,
        kind,
        object: id,
    };
    let is_grantable = |entry: &AclEntry, privilege| match is_stored_only {
        true => entry.grant_options.covers(privilege),
        false => holds_grant_option(view, entry.grantee, id, privilege),
    };
    let entries = state.acl(id).map_or(&[][..], |acl| acl.entries());
    for entry in entries.iter().filter(|entry| Some(entry.grantee) != owner && is_wanted(entry.grantee)) {
        let privileges = entry.privileges.iter();
        rows.extend(
            privileges.map(|privilege| row(entry.grantee, privilege, is_grantable(entry, privilege))),
        );
    }
    rows.extend(owner.filter(|owner| is_wanted(*owner)).map(|owner| row(owner, Privilege::All, true)));
}

/// Database, schema and relation of an object, as SHOW GRANTS prints them.
fn place(state: &State, listed: Listed) -> (String, Option<String>, Option<String>) {
    let name = |id: ObjectId| state.object(id).map(|object| object.name.to_string());
    let database = listed.database.and_then(name).unwrap_or_default();
    let Some(object) = state.object(listed.id) else { return (database, None, None) };
    match &object.body {
        Body::Database => (database, None, None),
        Body::Schema => (database, Some(object.name.to_string()), None),
        Body::ExternalConnection(_) | Body::IamRole => (database, None, Some(object.name.to_string())),
        Body::Table(_) | Body::View(_) | Body::Sequence(_) | Body::Type(_) | Body::VirtualTable => {
            (database, name(object.parent), Some(object.name.to_string()))
        }
        Body::Function(function) => {
            (database, name(object.parent), Some(state.signature_text(&object.name, function)))
        }
    }
}

/// The type that every cluster has which a statement names, with or without its schema. They come before the types of
/// the search path.
fn built_in_type(context: &NameContext, name: &ObjectName) -> Option<&'static str> {
    let pg_catalog = Name::from("pg_catalog");
    let word = match name.parts.as_slice() {
        [word] if !context.search_path.contains(&pg_catalog) => word,
        [schema, word] | [_, schema, word] if *schema == pg_catalog => word,
        _ => return None,
    };
    system::built_in_type(word.as_str())
}

/// What v22.2 lists for a type that every cluster has, in the current database.
fn rows_of_built_in(view: &View, actor: Actor, context: &NameContext, name: &str, rows: &mut Vec<GrantRow>) {
    let database = context.database.as_ref().and_then(|name| view.state().resolve_database(name).ok());
    if database.is_some_and(|database| !holds(view, actor.current, database, Privilege::Connect)) {
        return;
    }
    let entries = [("admin", Privilege::All), ("public", Privilege::Usage), ("root", Privilege::All)];
    rows.extend(entries.map(|(grantee, privilege)| GrantRow {
        database: context.database.as_ref().map(ToString::to_string).unwrap_or_default(),
        schema: Some("pg_catalog".to_owned()),
        relation: Some(name.to_owned()),
        grantee: RoleName::from(grantee),
        privilege: privilege.word(),
        is_grantable: false,
        kind: ObjectKind::Type,
        object: ObjectId::CLUSTER,
    }));
}

fn is_wanted_name(view: &View, wanted: Option<&BTreeSet<PrincipalId>>, row: &GrantRow) -> bool {
    let name = |id: &PrincipalId| view.state().principal_name(*id) == row.grantee;
    wanted.is_none_or(|wanted| wanted.iter().any(name))
}
