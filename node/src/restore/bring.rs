//! What was chosen of a backup, as things for a shelf: under the ids of this cluster, without what is missing.
//!
//! The same backup, the same statement and the same shelf give the same things in the same order on every node: who goes on
//! elsewhere makes them again, and goes on behind those that are there.
//!
//! Texts (queries, bodies, expressions) come as they are in the backup, with databases under their new names, and without what the
//! row store would run: each is planned anew before anything is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use grantd_catalog::defaults::DefaultPrivileges;
use grantd_catalog::grant::{Acl, AclEntry};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::Name;
use grantd_catalog::object::{
    Argument, Body, Column, ColumnType, Expression, Function, Identity, Object, Sequence, Table, View,
    ViewColumn,
};
use grantd_catalog::privilege::ObjectKind;
use grantd_catalog::refusal::{
    Refusal, database_exists, relation_exists, schema_exists, shelf_malformed, state as sqlstate, type_exists,
};
use grantd_catalog::shelf::{Scope, Shelf, Shelved, has_rows};
use grantd_catalog::state::State;

use crate::restore::choice::{Choice, Place, Wanted};
use crate::restore::content::Content;

/// What is brought, before there are ids for it.
#[derive(Clone, Debug)]
pub struct Brought {
    scope: Scope,
    /// Objects of the backup that are new here, in the order of their ids there.
    new_objects: Vec<ObjectId>,
    /// The same of principals.
    new_principals: Vec<PrincipalId>,
    /// What stands here for objects of the backup.
    objects_there: BTreeMap<ObjectId, ObjectId>,
    /// What stands here for principals of the backup.
    principals_there: BTreeMap<PrincipalId, PrincipalId>,
    /// As they are in the backup, without what is missing.
    objects: BTreeMap<ObjectId, Object>,
    renamed: BTreeMap<Name, Name>,
}

/// The way from ids of a backup to those of this cluster.
struct Ids<'b> {
    brought: &'b Brought,
    shelf: &'b Shelf,
}

impl Brought {
    /// Plans it upon a state of this cluster. Errors: something that is named is missing, here or in the backup.
    pub fn plan(content: &Content, choice: &Choice, wanted: &Wanted, state: &State) -> Result<Self, Refusal> {
        let mut objects_there = BTreeMap::new();
        let mut chosen = choice.objects.clone();
        for (id, place) in &choice.there {
            match found(place, state) {
                Some(here) => {
                    objects_there.insert(*id, here);
                }
                // A schema of another name comes along; a database does not.
                None => match place {
                    Place::Schema(..) => {
                        chosen.insert(*id);
                    }
                    Place::Database(name) => return Err(no_database(name)),
                },
            }
        }
        types_there(content, state, &mut chosen, &mut objects_there)?;
        if choice.scope == Scope::Cluster {
            objects_there.extend(chosen.iter().filter(|id| id.is_virtual()).map(|id| (*id, *id)));
        }
        let objects = whole(content, &chosen, &objects_there, wanted)?;
        let (new_principals, principals_there) = principals(content, choice.scope, state);
        Ok(Self {
            scope: choice.scope,
            new_objects: objects.keys().copied().filter(|id| !objects_there.contains_key(id)).collect(),
            new_principals,
            objects_there,
            principals_there,
            objects,
            renamed: choice.renamed.clone(),
        })
    }

    /// What kind of restore it is.
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// What is new, and what stands here for what: all that the ids of things depend upon.
    pub fn ids_there(&self) -> impl std::fmt::Debug + '_ {
        (&self.new_objects, &self.new_principals, &self.objects_there, &self.principals_there)
    }

    /// The databases that it goes into, which are here.
    pub fn databases(&self, state: &State) -> Vec<ObjectId> {
        let is_database = |id: &ObjectId| state.kind(*id) == Some(ObjectKind::Database);
        let mut found: Vec<_> = self.objects_there.values().copied().filter(is_database).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// That what is to be in something that is here has a name that is free there. It is looked at again where all is published:
    /// this is for who need not wait for it.
    pub fn check_names(&self, state: &State) -> Result<(), Refusal> {
        // What a cluster begins with goes.
        if self.scope == Scope::Cluster {
            return Ok(());
        }
        for object in self.objects.values() {
            let parent = match object.parent {
                ObjectId::CLUSTER => ObjectId::CLUSTER,
                parent => match self.objects_there.get(&parent) {
                    Some(there) => *there,
                    None => continue,
                },
            };
            let name = self.renamed.get(&object.name).filter(|_| parent == ObjectId::CLUSTER);
            let name = name.unwrap_or(&object.name);
            // Functions of one name differ by their arguments.
            let taken = state.children(parent).find(|(_, here)| {
                here.name == *name
                    && !matches!((&here.body, &object.body), (_, Body::Function(_)) | (Body::Function(_), _))
            });
            if let Some((_, here)) = taken {
                return Err(match object.kind() {
                    ObjectKind::Database => database_exists(name),
                    ObjectKind::Schema => schema_exists(name),
                    ObjectKind::Type => type_exists(&state.full_name(here)),
                    _ => relation_exists(&state.full_name(here)),
                });
            }
        }
        Ok(())
    }

    /// How many ids of objects and of principals it needs.
    pub fn counts(&self) -> (u32, u32) {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        (count(self.new_objects.len()), count(self.new_principals.len()))
    }

    /// The tables and sequences: their ids in the backup, and here.
    pub fn tables(&self, shelf: &Shelf) -> Vec<(ObjectId, ObjectId)> {
        let ids = Ids { brought: self, shelf };
        let with_rows = self.objects.iter().filter(|(_, object)| has_rows(&object.body));
        with_rows.filter_map(|(id, _)| Some((*id, ids.object(*id)?))).collect()
    }

    /// All things for the shelf, in the order in which they are put there.
    pub fn things(&self, content: &Content, shelf: &Shelf) -> Result<Vec<Shelved>, Refusal> {
        let ids = Ids { brought: self, shelf };
        let mut things = Vec::new();
        if self.scope != Scope::Objects {
            ids.put_principals(content, &mut things);
        }
        for (id, object) in &self.objects {
            let new = ids.object(*id).ok_or_else(|| missing(object, *id))?;
            let object = Arc::new(ids.object_of(object)?);
            things.push(Shelved::Object { id: new, object, is_made: false });
        }
        if self.scope == Scope::Cluster {
            ids.put_rest(content, &mut things)?;
        }
        Ok(things)
    }
}

impl Ids<'_> {
    fn object(&self, id: ObjectId) -> Option<ObjectId> {
        if id == ObjectId::CLUSTER {
            return Some(id);
        }
        if let Some(there) = self.brought.objects_there.get(&id) {
            return Some(*there);
        }
        let at = self.brought.new_objects.binary_search(&id).ok()?;
        Some(ObjectId(self.shelf.objects.first + u32::try_from(at).ok()?))
    }

    fn principal(&self, id: PrincipalId) -> Option<PrincipalId> {
        if id < PrincipalId::FIRST_ORDINARY {
            return Some(id);
        }
        if let Some(there) = self.brought.principals_there.get(&id) {
            return Some(*there);
        }
        let at = self.brought.new_principals.binary_search(&id).ok()?;
        Some(PrincipalId(self.shelf.principals.first + u32::try_from(at).ok()?))
    }

    fn acl(&self, acl: &Acl) -> Acl {
        let entry = |entry: &AclEntry| Some(AclEntry { grantee: self.principal(entry.grantee)?, ..*entry });
        acl.entries().iter().filter_map(entry).collect()
    }

    fn put_principals(&self, content: &Content, things: &mut Vec<Shelved>) {
        for (id, principal) in &content.principals {
            let is_new = self.brought.new_principals.binary_search(id).is_ok();
            // Users that are here already stay as they are, but where a whole cluster is restored.
            if !is_new && self.brought.scope == Scope::Users {
                continue;
            }
            if let Some(id) = self.principal(*id) {
                things.push(Shelved::Principal { id, principal: principal.clone() });
            }
        }
        for ((role, member), admin_option) in &content.memberships {
            let is_new = self.brought.new_principals.binary_search(member).is_ok();
            if !is_new && self.brought.scope == Scope::Users {
                continue;
            }
            if let (Some(role), Some(member)) = (self.principal(*role), self.principal(*member)) {
                things.push(Shelved::Membership { role, member, admin_option: *admin_option });
            }
        }
    }

    fn put_rest(&self, content: &Content, things: &mut Vec<Shelved>) -> Result<(), Refusal> {
        things.push(Shelved::SystemPrivileges(self.acl(&content.system)));
        for ((holder, creator), defaults) in &content.defaults {
            let (Some(holder), Some(creator)) = (self.object(*holder), self.principal(*creator)) else {
                continue;
            };
            things.push(Shelved::DefaultPrivileges { holder, creator, defaults: self.defaults(defaults) });
        }
        for ((database, role), settings) in &content.role_settings {
            if let (Some(database), Some(role)) = (self.object(*database), self.principal(*role)) {
                things.push(Shelved::RoleSettings { database, role, settings: settings.clone() });
            }
        }
        for (setting, value) in &content.settings {
            things.push(Shelved::Setting(*setting, value.clone()));
        }
        Ok(())
    }

    fn defaults(&self, defaults: &DefaultPrivileges) -> DefaultPrivileges {
        defaults.mapped(|acl| self.acl(acl))
    }

    fn object_of(&self, object: &Object) -> Result<Object, Refusal> {
        let parent = self.object(object.parent).ok_or_else(|| missing(object, object.parent))?;
        let name = match &object.body {
            Body::Database => self.brought.renamed.get(&object.name).unwrap_or(&object.name).clone(),
            _ => object.name.clone(),
        };
        let is_cluster = self.brought.scope == Scope::Cluster;
        let owner = self.principal(object.owner).filter(|_| is_cluster).unwrap_or(PrincipalId::ROOT);
        // A table that was dropped while the backup was made has no grants in it.
        let was_dropped = object.acl.entries().is_empty() && !object.kind().is_held_by_rank();
        let superusers = || [PrincipalId::ROOT, PrincipalId::ADMIN].map(AclEntry::superuser).into_iter();
        let acl = match is_cluster {
            true if was_dropped => superusers().collect(),
            true => self.acl(&object.acl),
            false => Acl::default(),
        };
        let body = self.body(object)?;
        Ok(Object { name, parent, owner, acl, body, comment: object.comment.clone() })
    }

    fn body(&self, object: &Object) -> Result<Body, Refusal> {
        let lost = |id: ObjectId| missing(object, id);
        let named = |ids: &[ObjectId]| {
            let mut new = ids
                .iter()
                .map(|id| self.object(*id).ok_or_else(|| lost(*id)))
                .collect::<Result<Vec<_>, _>>()?;
            new.sort_unstable();
            Ok::<_, Refusal>(new)
        };
        let typed = |column_type: ColumnType| match column_type {
            ColumnType::Enum(id) => self.object(id).map(ColumnType::Enum).ok_or_else(|| lost(id)),
            other => Ok(other),
        };
        Ok(match &object.body {
            Body::Table(table) => Body::Table(Arc::new(self.table(object, table)?)),
            Body::View(view) => {
                let column = |column: &ViewColumn| {
                    Ok::<_, Refusal>(ViewColumn { column_type: typed(column.column_type)?, ..column.clone() })
                };
                Body::View(View {
                    columns: view.columns.iter().map(column).collect::<Result<_, _>>()?,
                    query: self.renamed(&view.query),
                    references: named(&view.references)?,
                })
            }
            Body::Function(function) => {
                let argument = |argument: &Argument| {
                    let argument_type = typed(argument.argument_type)?;
                    Ok::<_, Refusal>(Argument { argument_type, ..argument.clone() })
                };
                Body::Function(Function {
                    arguments: function.arguments.iter().map(argument).collect::<Result<_, _>>()?,
                    returns: typed(function.returns)?,
                    body: self.renamed(&function.body),
                    references: named(&function.references)?,
                    ..function.clone()
                })
            }
            Body::Sequence(sequence) => {
                let owned_by = match sequence.owned_by {
                    Some(id) => Some(self.object(id).ok_or_else(|| lost(id))?),
                    None => None,
                };
                Body::Sequence(Sequence { owned_by, ..sequence.clone() })
            }
            other @ (Body::Database
            | Body::Schema
            | Body::Type(_)
            | Body::ExternalConnection(_)
            | Body::VirtualTable
            | Body::IamRole) => other.clone(),
        })
    }

    fn table(&self, object: &Object, table: &Table) -> Result<Table, Refusal> {
        let lost = |id: ObjectId| missing(object, id);
        let mut new = table.clone();
        for column in &mut new.columns {
            let Column { column_type, identity, .. } = column;
            if let ColumnType::Enum(id) = column_type {
                *id = self.object(*id).ok_or_else(|| lost(*id))?;
            }
            if let Some(Identity { sequence, .. }) = identity {
                *sequence = self.object(*sequence).ok_or_else(|| lost(*sequence))?;
            }
        }
        for key in &mut new.foreign_keys {
            key.target = self.object(key.target).ok_or_else(|| lost(key.target))?;
        }
        for expression in new.expressions_mut() {
            *expression = self.expression(object, expression)?;
        }
        Ok(new)
    }

    /// Without its text for the row store: that is part of what every node runs, and the planner's to write.
    fn expression(&self, object: &Object, expression: &Expression) -> Result<Expression, Refusal> {
        let named =
            expression.references.iter().map(|id| self.object(*id).ok_or_else(|| missing(object, *id)));
        let mut references = named.collect::<Result<Vec<_>, _>>()?;
        references.sort_unstable();
        Ok(Expression { sql: self.renamed(&expression.sql), stored: String::new(), references })
    }

    /// A text in which databases have their new names.
    fn renamed(&self, text: &str) -> String {
        self.brought.renamed.iter().fold(text.to_owned(), |text, (from, to)| renamed(&text, from, to))
    }
}

/// A text in SQL in which names in full (`database.schema.name`) begin with another database, in strings too where a string is a
/// name. Stored texts have all names in full, so a name before two dots is that of a database. What is missed or too much is found
/// where the text is planned: it would name something else.
fn renamed(text: &str, from: &Name, to: &Name) -> String {
    let quoted = |name: &Name| format!("\"{}\"", name.as_str().replace('"', "\"\""));
    let new = quoted(to);
    let forms = [quoted(from), from.to_string()];
    let path = |text: &str| forms.iter().find(|form| is_path(text, form)).map(String::len);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let before = out.chars().next_back().unwrap_or(' ');
        let begins = !(before.is_alphanumeric() || matches!(before, '_' | '.' | '"'));
        let taken = match next {
            '\'' => {
                let end = end_of_string(rest, matches!(before, 'e' | 'E'));
                match path(&rest[1..end]).filter(|_| is_name(&out, &rest[end..])) {
                    Some(length) => {
                        out.push_str(&format!("'{}{}", new.replace('\'', "''"), &rest[1 + length..end]));
                    }
                    None => out.push_str(&rest[..end]),
                }
                end
            }
            _ if begins && let Some(length) = path(rest) => {
                out.push_str(&new);
                length
            }
            '"' => {
                let end = rest[1..].find('"').map_or(rest.len(), |at| at + 2);
                out.push_str(&rest[..end]);
                end
            }
            other => {
                out.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// Where a string that `text` begins with ends. `escapes`: it is one with backslashes.
fn end_of_string(text: &str, escapes: bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Whether a string between these is a name: what a function of sequences is called with, or what is cast to a name's type.
fn is_name(before: &str, after: &str) -> bool {
    let before = before.to_ascii_lowercase();
    ["nextval(", "currval(", "setval("].iter().any(|call| before.ends_with(call))
        || after.trim_start_matches(':').to_ascii_lowercase().starts_with("regclass")
}

/// Whether `text` begins with `name`, and with two more names behind dots.
fn is_path(text: &str, name: &str) -> bool {
    let part = |text: &str| -> Option<usize> {
        if let Some(inside) = text.strip_prefix('"') {
            return inside.find('"').map(|end| end + 2);
        }
        let length = text.len() - text.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
        (length > 0).then_some(length)
    };
    let dotted = |text: &str| text.strip_prefix('.').and_then(|text| part(text).map(|end| end + 1));
    let Some(rest) = text.strip_prefix(name) else { return false };
    dotted(rest).is_some_and(|end| dotted(&rest[end..]).is_some())
}

/// The objects that are brought, each without what the statement lets be missing.
fn whole(
    content: &Content,
    chosen: &BTreeSet<ObjectId>,
    there: &BTreeMap<ObjectId, ObjectId>,
    wanted: &Wanted,
) -> Result<BTreeMap<ObjectId, Object>, Refusal> {
    let mut objects: BTreeMap<ObjectId, Object> = chosen
        .iter()
        .filter(|id| !there.contains_key(id) || id.is_virtual())
        .filter_map(|id| Some((*id, Object::clone(content.objects.get(id)?))))
        .collect();
    // A view that goes may be named by another one: at most one goes in each turn.
    for _ in 0..=objects.len() {
        let known = |id: &ObjectId| objects.contains_key(id) || there.contains_key(id);
        let lost = |(id, object): (&ObjectId, &Object)| {
            let is_query = matches!(object.body, Body::View(_) | Body::Function(_));
            (is_query && !object.references_of(*id).iter().all(known)).then_some(*id)
        };
        let Some(id) = objects.iter().find_map(lost) else { break };
        if let Some(object) = objects.remove(&id)
            && !wanted.skip_views
        {
            return Err(unfinished(format!(
                "cannot restore view \"{}\" without restoring referenced table (or \"skip_missing_views\" option)",
                object.name
            )));
        }
    }
    let known: BTreeSet<ObjectId> = objects.keys().chain(there.keys()).copied().collect();
    for object in objects.values_mut() {
        let name = object.name.clone();
        match &mut object.body {
            Body::Table(table) => without_missing(&name, Arc::make_mut(table), &known, wanted)?,
            Body::Sequence(Sequence { owned_by, .. }) => {
                let Some(owner) = owned_by.filter(|owner| !known.contains(owner)) else { continue };
                if !wanted.skip_sequence_owners {
                    return Err(unfinished(format!(
                        "cannot restore sequence \"{name}\" without referenced owner table {owner} (or \
                         \"skip_missing_sequence_owners\" option)"
                    )));
                }
                *owned_by = None;
            }
            _ => {}
        }
    }
    Ok(objects)
}

fn without_missing(
    name: &Name,
    table: &mut Table,
    known: &BTreeSet<ObjectId>,
    wanted: &Wanted,
) -> Result<(), Refusal> {
    if let Some(key) = table.foreign_keys.iter().find(|key| !known.contains(&key.target))
        && !wanted.skip_foreign_keys
    {
        return Err(unfinished(format!(
            "cannot restore table \"{name}\" without referenced table {} (or \"skip_missing_foreign_keys\" option)",
            key.target
        )));
    }
    table.foreign_keys.retain(|key| known.contains(&key.target));
    for column in &mut table.columns {
        let named = column.default.iter().flat_map(|default| default.references.iter().copied());
        let gone = named.chain(column.identity.map(|identity| identity.sequence));
        let Some(gone) = gone.into_iter().find(|id| !known.contains(id)) else { continue };
        if !wanted.skip_sequences {
            return Err(unfinished(format!(
                "cannot restore table \"{name}\" without referenced sequence {gone} (or \"skip_missing_sequences\" option)"
            )));
        }
        column.default = None;
        column.identity = None;
    }
    Ok(())
}

/// Types of the backup that go where one of their name is: they must have the same labels at the same places.
fn types_there(
    content: &Content,
    state: &State,
    chosen: &mut BTreeSet<ObjectId>,
    there: &mut BTreeMap<ObjectId, ObjectId>,
) -> Result<(), Refusal> {
    let types: Vec<_> = chosen
        .iter()
        .filter_map(|id| Some((*id, content.objects.get(id)?)))
        .filter_map(|(id, object)| match &object.body {
            Body::Type(body) => Some((id, object, body)),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for (id, object, body) in types {
        let Some(schema) = there.get(&object.parent) else { continue };
        let same = state
            .children(*schema)
            .find(|(_, here)| here.name == object.name && matches!(here.body, Body::Type(_)));
        let Some((here, there)) = same else { continue };
        if there.body != Body::Type(body.clone()) {
            return Err(Refusal::new(
                sqlstate::DATATYPE_MISMATCH,
                format!(
                    "\"{}\" is not compatible with type \"{}\" existing in cluster",
                    object.name, there.name
                ),
            )
            .with_detail("Its labels are others, or rows hold other numbers for them."));
        }
        found.push((id, here));
    }
    for (id, here) in found {
        chosen.remove(&id);
        there.insert(id, here);
    }
    Ok(())
}

/// Who comes, and who stands here under the same name.
fn principals(
    content: &Content,
    scope: Scope,
    state: &State,
) -> (Vec<PrincipalId>, BTreeMap<PrincipalId, PrincipalId>) {
    let (mut new, mut there) = (Vec::new(), BTreeMap::new());
    if scope == Scope::Objects {
        return (new, there);
    }
    let ordinary = content.principals.iter().filter(|(id, _)| **id >= PrincipalId::FIRST_ORDINARY);
    for (id, principal) in ordinary {
        match state.principal_id(&principal.name) {
            Some(here) => {
                there.insert(*id, here);
            }
            None => new.push(*id),
        }
    }
    (new, there)
}

fn found(place: &Place, state: &State) -> Option<ObjectId> {
    match place {
        Place::Database(name) => state.resolve_database(name).ok(),
        Place::Schema(database, schema) => {
            let database = state.resolve_database(database).ok()?;
            let is_it = |object: &Object| matches!(object.body, Body::Schema) && object.name == *schema;
            state.children(database).find(|(_, object)| is_it(object)).map(|(id, _)| id)
        }
    }
}

fn no_database(name: &Name) -> Refusal {
    Refusal::new(
        sqlstate::UNDEFINED_DATABASE,
        format!("a database named \"{name}\" needs to exist to restore tables into it"),
    )
    .with_hint("Make it with CREATE DATABASE, or name another one with into_db.")
}

fn unfinished(message: String) -> Refusal {
    Refusal::new(sqlstate::NOT_IN_PREREQUISITE_STATE, message)
}

fn missing(object: &Object, id: ObjectId) -> Refusal {
    shelf_malformed(format_args!("{} names object {id}, which is not in it", object.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_get_their_new_names_where_they_are_names() {
        let (from, to) = (Name::from("shop"), Name::from("back"));
        let text = "SELECT shop.public.t.k, \"shop\".public.t.k, t.shop FROM shop.public.t WHERE k = 'shop' \
                    AND n = nextval('shop.public.s')";
        let new = "SELECT \"back\".public.t.k, \"back\".public.t.k, t.shop FROM \"back\".public.t WHERE k = 'shop' \
                   AND n = nextval('\"back\".public.s')";
        assert_eq!(renamed(text, &from, &to), new);
        // What is no name stays, whatever it looks like.
        for same in [
            "SELECT 'shop.public.t', E'\\' shop.public.t', 'it''s shop.public.t' FROM x",
            "SELECT \"a shop.public.t\", workshop.public.t, t.shop.public, shop.t",
        ] {
            assert_eq!(renamed(same, &from, &to), same);
        }
        assert_eq!(renamed("'shop.public.t'::REGCLASS", &from, &to), "'\"back\".public.t'::REGCLASS");
    }
}
