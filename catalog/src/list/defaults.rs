//! Default privileges as they are listed: SHOW DEFAULT PRIVILEGES, `crdb_internal.default_privileges`,
//! `pg_catalog.pg_default_acl`. Source: authorization spec, G.5 and H.4.

use std::collections::BTreeSet;

use crate::command::{Actor, Creators, NameContext, RoleSpec, SchemaName};
use crate::defaults::{DefaultClass, DefaultPrivileges, DefaultsFor};
use crate::grant::{Acl, AclEntry};
use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::require::Need;
use crate::state::State;
use crate::view::View;

/// A row of SHOW DEFAULT PRIVILEGES.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW DEFAULT PRIVILEGES")]
pub struct DefaultPrivilegeRow {
    /// The creator; none: all roles, which sorts first.
    pub role: Option<RoleName>,
    pub for_all_roles: bool,
    pub object_type: DefaultClass,
    pub grantee: RoleName,
    pub privilege_type: &'static str,
    pub is_grantable: bool,
}

/// A row of `crdb_internal.default_privileges`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of crdb_internal.default_privileges")]
pub struct HeldDefaultRow {
    pub database_name: Name,
    /// None: held by the database.
    pub schema_name: Option<Name>,
    pub row: DefaultPrivilegeRow,
}

/// A row of `pg_default_acl`: one class of one record that is not as built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultAclRow {
    /// The database that holds it, or that its schema is in.
    pub database: ObjectId,
    /// `defaclnamespace`; none: 0, held by the database.
    pub schema: Option<ObjectId>,
    /// `defaclrole`; none: 0, all roles.
    pub creator: Option<PrincipalId>,
    /// `defaclobjtype`: r, S, T, n or f.
    pub object_type: char,
    /// `defaclacl`.
    pub acl: Vec<String>,
}

/// Which rows SHOW DEFAULT PRIVILEGES lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultsShown {
    /// FOR ROLE r, … or FOR ALL ROLES; without FOR, of who acts.
    Of(Creators),
    /// FOR GRANTEE r, …: of every creator, what these get; `public` may be one.
    ForGrantees(Vec<RoleSpec>),
}

/// SHOW DEFAULT PRIVILEGES [FOR …] [IN SCHEMA …], in the order of its columns.
///
/// Needs some privilege on the current database. A schema that does not exist lists nothing and is no error. Errors:
/// 42501, 42602 and 3D000 for the current database, 42704 for roles.
pub fn default_privileges(
    view: &View,
    actor: Actor,
    context: &NameContext,
    shown: &DefaultsShown,
    schema: Option<&SchemaName>,
) -> Result<Vec<DefaultPrivilegeRow>, Refusal> {
    let state = view.state();
    let database = state.current_database(context)?;
    state.check(actor.current, &Need::AnyPrivilege { object: database })?;
    let holder = match schema {
        None => Some(database),
        Some(name) => state.resolve_schema(context, name).ok(),
    };
    let creators: Vec<_> = match shown {
        DefaultsShown::Of(Creators::All) => vec![PrincipalId::EVERYBODY],
        DefaultsShown::Of(Creators::Roles(specs)) => resolved(specs, |spec| state.resolve_role(actor, spec))?,
        DefaultsShown::ForGrantees(_) => everybody(state).collect(),
    };
    let grantees: Option<BTreeSet<_>> = match shown {
        DefaultsShown::Of(_) => None,
        DefaultsShown::ForGrantees(specs) => {
            let ids = resolved(specs, |spec| state.resolve_grantee(actor, spec))?;
            Some(ids.into_iter().map(|id| state.principal_name(id)).collect())
        }
    };
    let creators: BTreeSet<_> = creators.into_iter().collect();
    let rows = creators.iter().flat_map(|creator| holder.map(|holder| rows_of(state, holder, *creator)));
    let is_wanted =
        |row: &DefaultPrivilegeRow| grantees.as_ref().is_none_or(|wanted| wanted.contains(&row.grantee));
    let mut rows: Vec<_> = rows.flatten().filter(is_wanted).collect();
    rows.sort();
    Ok(rows)
}

/// `crdb_internal.default_privileges`, sorted: of `database`, or of all. In a database every role has rows; in a schema
/// only who has a record. Cost: databases × roles.
pub fn held_default_privileges(view: &View, database: Option<ObjectId>) -> Vec<HeldDefaultRow> {
    let state = view.state();
    let databases = state.children(ObjectId::CLUSTER).filter(|(id, object)| {
        object.kind() == ObjectKind::Database && database.is_none_or(|one| one == *id)
    });
    let mut rows = Vec::new();
    for (id, database) in databases {
        let in_database = everybody(state).map(|creator| (None, id, creator));
        let in_schemas = state.children(id).flat_map(|(schema, object)| {
            creators_in(state, schema).map(move |creator| (Some(object.name.clone()), schema, creator))
        });
        for (schema_name, holder, creator) in in_database.chain(in_schemas) {
            rows.extend(rows_of(state, holder, creator).map(|row| HeldDefaultRow {
                database_name: database.name.clone(),
                schema_name: schema_name.clone(),
                row,
            }));
        }
    }
    rows.sort();
    rows
}

/// `pg_default_acl`, of `database`, or of all: by holder, creator and class.
///
/// What is built in is not written, and a record that only took that away has no items; but where one of the two
/// built-in entries for types is gone, the other is written, as in v22.2.
pub fn default_acls(view: &View, database: Option<ObjectId>) -> Vec<DefaultAclRow> {
    let state = view.state();
    let mut rows = Vec::new();
    for (holder, creator, defaults) in state.all_default_privileges() {
        let Some(in_database) = state.database_of(holder) else { continue };
        let Some(of) = state.kind(holder).map(|holder| DefaultsFor { holder, creator }) else { continue };
        if database.is_some_and(|one| one != in_database) {
            continue;
        }
        for class in DefaultClass::EACH {
            if *defaults.acl(class) != of.built_in(class) {
                rows.push(DefaultAclRow {
                    database: in_database,
                    schema: Some(holder).filter(|_| holder != in_database),
                    creator: Some(creator).filter(|_| creator != PrincipalId::EVERYBODY),
                    object_type: letter(class),
                    acl: default_acl_items(state, of, class, defaults),
                });
            }
        }
    }
    rows
}

fn default_acl_items(
    state: &State,
    of: DefaultsFor,
    class: DefaultClass,
    defaults: &DefaultPrivileges,
) -> Vec<String> {
    let mut items = acl_items(state, class.kind(), &defaults.explicit(of, class).collect());
    let built_in = of.built_in(class);
    let kept =
        || built_in.entries().iter().filter(|entry| defaults.acl(class).entry(entry.grantee) == Some(entry));
    if of.creator != PrincipalId::EVERYBODY && kept().count() < built_in.entries().len() {
        items.extend(kept().map(|entry| acl_item(state, class.kind(), entry)));
    }
    items
}

/// An ACL as PostgreSQL writes it, for `relacl`, `nspacl` and the like; sorted by the names of grantees.
pub fn acl_items(state: &State, kind: ObjectKind, acl: &Acl) -> Vec<String> {
    let mut items: Vec<_> = acl
        .entries()
        .iter()
        .map(|entry| (state.principal_name(entry.grantee), acl_item(state, kind, entry)))
        .collect();
    items.sort();
    items.into_iter().map(|(_, item)| item).collect()
}

/// One entry as PostgreSQL writes it: `grantee=letters/`, nothing for `public`, no grantor, because none is recorded. A
/// star follows what may be granted onwards. What PostgreSQL has no letter for is left out. Source: H.4.
pub fn acl_item(state: &State, kind: ObjectKind, entry: &AclEntry) -> String {
    let grantee = match entry.grantee {
        PrincipalId::PUBLIC => String::new(),
        id => state.principal_name(id).to_string(),
    };
    let privileges = entry.privileges.exploded(kind);
    let options = entry.grant_options.exploded(kind);
    let mut letters = String::new();
    for (letter, privilege) in LETTERS {
        if privileges.contains(privilege) {
            letters.push(letter);
            if options.contains(privilege) {
                letters.push('*');
            }
        }
    }
    format!("{grantee}={letters}/")
}

/// The letters of [`acl_item`], in the order in which they are written.
pub const LETTERS: [(char, Privilege); 8] = [
    ('C', Privilege::Create),
    ('U', Privilege::Usage),
    ('a', Privilege::Insert),
    ('c', Privilege::Connect),
    ('d', Privilege::Delete),
    ('r', Privilege::Select),
    ('w', Privilege::Update),
    ('X', Privilege::Execute),
];

const fn letter(class: DefaultClass) -> char {
    match class {
        DefaultClass::Functions => 'f',
        DefaultClass::Schemas => 'n',
        DefaultClass::Sequences => 'S',
        DefaultClass::Tables => 'r',
        DefaultClass::Types => 'T',
    }
}

/// The rows of one creator in one holder. The creator's built-in ALL is printed as if it had the grant option.
fn rows_of(
    state: &State,
    holder: ObjectId,
    creator: PrincipalId,
) -> impl Iterator<Item = DefaultPrivilegeRow> + use<'_> {
    let of = state.kind(holder).map(|holder| DefaultsFor { holder, creator });
    let role = Some(creator).filter(|creator| *creator != PrincipalId::EVERYBODY);
    of.into_iter().flat_map(move |of| DefaultClass::EACH.map(|class| (of, class))).flat_map(
        move |(of, class)| {
            let built_in = of.built_in(class);
            let acl = match state.default_privileges(holder, creator) {
                Some(defaults) => defaults.acl(class).clone(),
                None => built_in.clone(),
            };
            let mut rows = Vec::new();
            for entry in acl.entries() {
                let by_owning = entry.grantee == creator && built_in.entry(creator) == Some(entry);
                rows.extend(entry.privileges.iter().map(|privilege| DefaultPrivilegeRow {
                    role: role.map(|role| state.principal_name(role)),
                    for_all_roles: role.is_none(),
                    object_type: class,
                    grantee: state.principal_name(entry.grantee),
                    privilege_type: privilege.word(),
                    is_grantable: by_owning || entry.grant_options.covers(privilege),
                }));
            }
            rows
        },
    )
}

/// Every creator that a database has defaults for, changed or not.
fn everybody(state: &State) -> impl Iterator<Item = PrincipalId> {
    std::iter::once(PrincipalId::EVERYBODY).chain(state.principals().map(|(id, _)| id))
}

/// Every creator that `holder` has a record for.
fn creators_in(state: &State, holder: ObjectId) -> impl Iterator<Item = PrincipalId> {
    state.all_default_privileges_of(holder).map(|(creator, _)| creator)
}

fn resolved(
    specs: &[RoleSpec],
    resolve: impl Fn(&RoleSpec) -> Result<PrincipalId, Refusal>,
) -> Result<Vec<PrincipalId>, Refusal> {
    specs.iter().map(resolve).collect()
}
