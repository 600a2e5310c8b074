//! DROP, with what depends on what is dropped. Source: authorization spec, A.5.2, A.5.3.
//!
//! What is dropped takes along what goes with it: sequences with the table that owns them; with CASCADE also views and
//! functions that name it, and what depends on those. Who drops needs for each thing what dropping it alone would need:
//! DROP on a relation, ownership of a type or function; but nothing for a type or function that goes with its database
//! or schema. Everything is checked before anything is dropped, so that a
//! thing that is listed twice is no error.
//!
//! A table never goes because of what it uses. With CASCADE it loses its foreign keys to what goes. What its columns,
//! defaults and checks use it keeps: it stands in the way, with CASCADE too, where the original would change the table.

use std::collections::BTreeSet;

use crate::command::{DropBehavior, FunctionName, ObjectName, SchemaName, StorageChange};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Body, Object};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Blocked, Refusal};
use crate::state::{State, Work};
use crate::system::VIRTUAL_SCHEMAS;

/// Which relations a DROP is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelationKind {
    Table,
    View,
    Sequence,
}

impl RelationKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::Sequence => "sequence",
        }
    }

    /// A virtual table is a table here, which nobody may drop.
    const fn includes(self, body: &Body) -> bool {
        match self {
            Self::Table => matches!(body, Body::Table(_) | Body::VirtualTable),
            Self::View => matches!(body, Body::View(_)),
            Self::Sequence => matches!(body, Body::Sequence(_)),
        }
    }
}

/// Whether views and functions go with what they name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dependents {
    Go,
    Stay,
}

impl Work<'_> {
    /// Needs USAGE on the schema, as every look-up of a name in it, and DROP on the relation.
    pub(super) fn drop_relations(
        &mut self,
        names: &[ObjectName],
        kind: RelationKind,
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        self.check_list(names.len())?;
        let mut dropped = Vec::new();
        for name in names {
            let found =
                self.state.resolve_relation_that(self.context, name, kind.word(), |body| kind.includes(body));
            let Some(id) = self.found(found, if_exists)? else { continue };
            self.require_usage(id)?;
            self.require_dropping(id)?;
            dropped.push(id);
        }
        self.drop_with_dependents(dropped, dependents(behavior))
    }

    /// Needs ownership. The original has no CASCADE for types.
    pub(super) fn drop_types(
        &mut self,
        names: &[ObjectName],
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        self.check_list(names.len())?;
        if behavior == DropBehavior::Cascade {
            return Err(refusal::no_cascade("DROP TYPE CASCADE is not yet supported"));
        }
        let mut dropped = Vec::new();
        for name in names {
            let found = self.state.resolve_type(self.context, name);
            let Some(id) = self.found(found, if_exists)? else { continue };
            self.require_usage(id)?;
            self.require_dropping(id)?;
            dropped.push(id);
        }
        self.drop_with_dependents(dropped, Dependents::Stay)
    }

    /// Needs ownership. The original has no CASCADE for functions.
    pub(super) fn drop_functions(
        &mut self,
        names: &[FunctionName],
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        self.check_list(names.len())?;
        if behavior == DropBehavior::Cascade {
            return Err(refusal::no_cascade("drop function cascade not supported"));
        }
        let mut dropped = Vec::new();
        for name in names {
            let found = self.state.resolve_function(self.context, name);
            let Some(id) = self.found(found, if_exists)? else { continue };
            self.require_usage(id)?;
            self.require_dropping(id)?;
            dropped.push(id);
        }
        self.drop_with_dependents(dropped, Dependents::Stay)
    }

    /// Needs DROP on the database and on every relation in it, and nothing of its schemas, types and functions (A.5.2).
    pub(super) fn drop_database(
        &mut self,
        name: &Name,
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        let Some(database) = self.found(self.state.resolve_database(name), if_exists)? else { return Ok(()) };
        self.require(database, Privilege::Drop)?;
        let schemas: Vec<_> = self.state.children(database).map(|(id, _)| id).collect();
        let inside: Vec<_> =
            schemas.iter().flat_map(|schema| self.state.children(*schema)).map(|(id, _)| id).collect();
        let is_empty = schemas.len() <= 1 && inside.is_empty();
        match behavior {
            DropBehavior::Restrict if !is_empty => return Err(refusal::database_not_empty(name)),
            DropBehavior::Restrict | DropBehavior::Default | DropBehavior::Cascade => {}
        }
        for id in &inside {
            self.require_dropping_inside(*id)?;
        }
        self.drop_with_dependents(inside, Dependents::Go)?;
        for schema in schemas {
            self.remove_object(schema);
        }
        self.remove_object(database);
        Ok(())
    }

    /// Needs ownership, not a privilege; with CASCADE also DROP on every relation inside.
    pub(super) fn drop_schemas(
        &mut self,
        names: &[SchemaName],
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        self.check_list(names.len())?;
        let (mut schemas, mut inside) = (Vec::new(), Vec::new());
        for name in names {
            let is_fixed =
                name.schema.as_str() == "public" || VIRTUAL_SCHEMAS.contains(&name.schema.as_str());
            let found = self.state.resolve_schema(self.context, name);
            let Some(schema) = self.found(found, if_exists)? else { continue };
            if is_fixed {
                return Err(refusal::schema_stays(&name.schema));
            }
            if !self.is_admin() && !self.state.index.owns(self.actor.current, schema) {
                return Err(refusal::may_not_drop_schema(&name.schema));
            }
            let children: Vec<_> = self.state.children(schema).map(|(id, _)| id).collect();
            match behavior {
                DropBehavior::Cascade => {}
                DropBehavior::Default | DropBehavior::Restrict if children.is_empty() => {}
                DropBehavior::Default | DropBehavior::Restrict => {
                    return Err(refusal::schema_not_empty(&name.schema));
                }
            }
            for id in &children {
                self.require_dropping_inside(*id)?;
            }
            schemas.push(schema);
            inside.extend(children);
        }
        self.drop_with_dependents(inside, Dependents::Go)?;
        for schema in schemas {
            self.remove_object(schema);
        }
        Ok(())
    }

    /// What dropping it with the database or schema that it is in needs: of a type or function nothing.
    fn require_dropping_inside(&self, id: ObjectId) -> Result<(), Refusal> {
        match self.state.kind(id) {
            Some(ObjectKind::Type | ObjectKind::Function) => Ok(()),
            _ => self.require(id, Privilege::Drop),
        }
    }

    /// What dropping this one thing needs: DROP on a relation, ownership of a type or function.
    pub(super) fn require_dropping(&self, id: ObjectId) -> Result<(), Refusal> {
        match self.state.kind(id) {
            Some(ObjectKind::Type | ObjectKind::Function) => self.require_ownership(id),
            _ => self.require(id, Privilege::Drop),
        }
    }

    /// Drops `listed`, for which the caller has checked everything, and what goes with it, for which that is done here.
    fn drop_with_dependents(&mut self, listed: Vec<ObjectId>, dependents: Dependents) -> Result<(), Refusal> {
        let all = self.state.with_dependents(listed, dependents);
        for id in all.added() {
            self.require_dropping(*id)?;
        }
        if let Some((id, in_the_way)) = self.state.first_in_the_way(&all, dependents) {
            return Err(self.state.cannot_drop(id, in_the_way, dependents, &all));
        }
        self.remove_all(&all)
    }

    /// Drops what its owner has no use for any more.
    pub(super) fn drop_one(&mut self, id: ObjectId, behavior: DropBehavior) -> Result<(), Refusal> {
        self.drop_with_dependents(vec![id], dependents(behavior))
    }

    /// Drops what depends on something else that goes, with all that depends on it in turn.
    pub(super) fn drop_cascading(&mut self, listed: Vec<ObjectId>) -> Result<(), Refusal> {
        self.drop_with_dependents(listed, Dependents::Go)
    }

    /// Takes relations, types and functions away, and the foreign keys of tables that stay to those that go.
    pub(super) fn remove_all(&mut self, all: &Dropping) -> Result<(), Refusal> {
        for id in &all.order {
            for child in self.state.children_by_key(*id) {
                if !all.contains(child) {
                    self.drop_foreign_keys(child, *id)?;
                }
            }
        }
        for id in &all.order {
            if self.state.object(*id).is_some_and(has_rows) {
                self.done.storage.push(StorageChange::Drop(*id));
            }
            self.reshaped.remove(id);
            self.remove_object(*id);
        }
        Ok(())
    }
}

const fn dependents(behavior: DropBehavior) -> Dependents {
    match behavior {
        DropBehavior::Cascade => Dependents::Go,
        DropBehavior::Default | DropBehavior::Restrict => Dependents::Stay,
    }
}

/// Whether the row store has something for it.
const fn has_rows(object: &Object) -> bool {
    matches!(object.body, Body::Table(_) | Body::Sequence(_))
}

/// Whether an object is a table that has a foreign key to `id` and names it nowhere else.
fn refers_by_key_alone(object: &Object, id: ObjectId) -> bool {
    match &object.body {
        Body::Table(table) => {
            table.foreign_keys.iter().any(|key| key.target == id) && !table.named().any(|named| named == id)
        }
        _ => false,
    }
}

/// What goes in one statement: what was listed, then what goes with it.
pub(super) struct Dropping {
    order: Vec<ObjectId>,
    set: BTreeSet<ObjectId>,
    listed: usize,
}

impl Dropping {
    /// What was not listed.
    pub(super) fn added(&self) -> &[ObjectId] {
        &self.order[self.listed..]
    }

    /// Whether `id` goes.
    pub(super) fn contains(&self, id: ObjectId) -> bool {
        self.set.contains(&id)
    }
}

impl State {
    /// `listed`, each once, and what goes with it. Cost: what depends on it.
    pub(super) fn with_dependents(&self, listed: Vec<ObjectId>, dependents: Dependents) -> Dropping {
        let mut set = BTreeSet::new();
        let mut order: Vec<_> = listed.into_iter().filter(|id| set.insert(*id)).collect();
        let listed = order.len();
        let mut next = 0;
        while let Some(id) = order.get(next).copied() {
            next += 1;
            for (referrer, object) in self.referrers(id) {
                let goes = match object.body {
                    Body::Sequence(_) => true,
                    Body::View(_) | Body::Function(_) => dependents == Dependents::Go,
                    Body::Database
                    | Body::Schema
                    | Body::Table(_)
                    | Body::Type(_)
                    | Body::ExternalConnection(_)
                    | Body::VirtualTable
                    | Body::IamRole => false,
                };
                if goes && set.insert(referrer) {
                    order.push(referrer);
                }
            }
        }
        Dropping { order, set, listed }
    }

    /// The first of `all` that something refers to which stays, and the first that does. Foreign keys go with their target
    /// when dependents do.
    pub(super) fn first_in_the_way(
        &self,
        all: &Dropping,
        dependents: Dependents,
    ) -> Option<(ObjectId, ObjectId)> {
        let stays = |id: ObjectId, (referrer, object): &(ObjectId, &Object)| {
            let by_key = dependents == Dependents::Go && refers_by_key_alone(object, id);
            !by_key && !all.contains(*referrer)
        };
        all.order.iter().find_map(|id| {
            let (stays, _) = self.referrers(*id).find(|found| stays(*id, found))?;
            Some((*id, stays))
        })
    }

    /// Why `id` cannot be dropped while `in_the_way` stays.
    fn cannot_drop(
        &self,
        id: ObjectId,
        in_the_way: ObjectId,
        dependents: Dependents,
        all: &Dropping,
    ) -> Refusal {
        let Some(object) = self.object(id) else { return refusal::object_gone(id) };
        match &object.body {
            Body::Type(_) => {
                let names = self.names_of_referrers(id, all);
                let refusal = refusal::type_has_dependents(Blocked::Drop, &object.name, &names);
                match dependents {
                    Dependents::Stay => refusal,
                    Dependents::Go => refusal::no_cascade("DROP TYPE CASCADE is not yet supported")
                        .with_detail(refusal.message),
                }
            }
            Body::Function(_) => {
                let names = self.names_of_referrers(id, all);
                refusal::function_has_dependents(Blocked::Drop, &object.name, &names)
            }
            Body::Sequence(sequence) => {
                let table = sequence.owned_by.filter(|table| all.contains(*table));
                match table.and_then(|table| self.object(table)) {
                    Some(table) => refusal::table_has_dependents(&table.name),
                    None => refusal::sequence_has_dependents(&object.name),
                }
            }
            _ => self.in_the_way(Blocked::Drop, object, in_the_way),
        }
    }

    /// That `dependent`, a view or function, names the relation `object`.
    pub(super) fn in_the_way(&self, blocked: Blocked, object: &Object, dependent: ObjectId) -> Refusal {
        let Some(found) = self.object(dependent) else { return refusal::object_gone(dependent) };
        if matches!(found.body, Body::Table(_)) {
            return refusal::referenced_by_foreign_key(&object.name, &found.name);
        }
        let name = if found.parent == object.parent { found.name.to_string() } else { self.full_name(found) };
        let word = match found.body {
            Body::View(_) => "view",
            _ => found.kind().class_word(),
        };
        refusal::relation_has_dependent(blocked, &object.name, word, &name)
    }

    fn names_of_referrers(&self, id: ObjectId, all: &Dropping) -> Vec<String> {
        let stays = self.referrers(id).filter(|(referrer, _)| !all.contains(*referrer));
        stays.map(|(_, object)| self.full_name(object)).collect()
    }
}
