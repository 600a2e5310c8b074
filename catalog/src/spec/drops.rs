//! DROP of objects, and what goes with them.

use crate::command::{Actor, DropBehavior, FunctionName, NameContext, ObjectName, SchemaName, StorageChange};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::Body;
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::spec::makes::{missing, references};
use crate::spec::resolve::Sort;
use crate::spec::{Model, Told, say};

impl Model {
    pub(super) fn drop_database(
        &mut self,
        actor: Actor,
        name: &Name,
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<Told, Refusal> {
        let database = match self.database(name) {
            Ok(database) => database,
            Err(refusal) => return missing(if_exists, refusal),
        };
        self.check_privilege(actor.current, database, Privilege::Drop)?;
        let contents = self.contents_of_database(database);
        let mut schemas = self.schemas_of(database);
        let empty = contents.is_empty() && schemas.len() <= 1;
        if behavior == DropBehavior::Restrict && !empty {
            return Err(say::database_not_empty(name.as_str()));
        }
        for object in &contents {
            self.check_drop_inside(actor, *object)?;
        }
        let told = self.drop_with_dependents(actor, contents, true)?;
        schemas.push(database);
        self.remove(&schemas);
        Ok(told)
    }

    pub(super) fn drop_schemas(
        &mut self,
        actor: Actor,
        context: &NameContext,
        names: &[SchemaName],
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<Told, Refusal> {
        let mut schemas = Vec::new();
        let mut inside = Vec::new();
        for name in names {
            let schema = match self.schema(context, name) {
                Ok(schema) => schema,
                Err(refusal) => {
                    drop(missing(if_exists, refusal)?);
                    continue;
                }
            };
            if name.schema.as_str() == "public" || schema.is_virtual() {
                return Err(say::schema_is_not_dropped(name.schema.as_str()));
            }
            if !self.owns_or_admin(actor.current, schema) {
                return Err(say::may_not_drop_schema(name.schema.as_str()));
            }
            let contents = self.contents_of(schema);
            if behavior != DropBehavior::Cascade && !contents.is_empty() {
                return Err(say::schema_not_empty(name.schema.as_str()));
            }
            for object in &contents {
                self.check_drop_inside(actor, *object)?;
            }
            inside.extend(contents);
            schemas.push(schema);
        }
        let told = self.drop_with_dependents(actor, inside, true)?;
        self.remove(&schemas);
        Ok(told)
    }

    pub(super) fn drop_relations(
        &mut self,
        actor: Actor,
        context: &NameContext,
        names: &[ObjectName],
        if_exists: bool,
        behavior: DropBehavior,
        word: &str,
    ) -> Result<Told, Refusal> {
        let mut dropped = Vec::new();
        for name in names {
            match self.relation_for(actor, context, name, word) {
                Ok(found) => {
                    self.check_privilege(actor.current, found, Privilege::Drop)?;
                    dropped.push(found);
                }
                Err(refusal) => drop(missing(if_exists, refusal)?),
            }
        }
        self.drop_with_dependents(actor, dropped, behavior == DropBehavior::Cascade)
    }

    pub(super) fn drop_types(
        &mut self,
        actor: Actor,
        context: &NameContext,
        names: &[ObjectName],
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<Told, Refusal> {
        if behavior == DropBehavior::Cascade {
            return Err(say::no_cascade_of_types());
        }
        let mut dropped = Vec::new();
        for name in names {
            match self.named_for(actor, context, name, Sort::Type) {
                Ok(found) => {
                    self.check_owner(actor.current, found)?;
                    dropped.push(found);
                }
                Err(refusal) => drop(missing(if_exists, refusal)?),
            }
        }
        self.drop_with_dependents(actor, dropped, false)
    }

    pub(super) fn drop_functions(
        &mut self,
        actor: Actor,
        context: &NameContext,
        names: &[FunctionName],
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<Told, Refusal> {
        if behavior == DropBehavior::Cascade {
            return Err(say::no_cascade_of_functions());
        }
        let mut dropped = Vec::new();
        for name in names {
            match self.function_for(actor, context, name) {
                Ok(found) => {
                    self.check_owner(actor.current, found)?;
                    dropped.push(found);
                }
                Err(refusal) => drop(missing(if_exists, refusal)?),
            }
        }
        self.drop_with_dependents(actor, dropped, false)
    }

    pub(super) fn drop_iam_roles(
        &mut self,
        actor: Actor,
        names: &[Name],
        if_exists: bool,
    ) -> Result<Told, Refusal> {
        let mut dropped = Vec::new();
        for name in names {
            match self.iam_role(name) {
                Ok(found) => {
                    self.check_privilege(actor.current, found, Privilege::Drop)?;
                    dropped.push(found);
                }
                Err(refusal) => drop(missing(if_exists, refusal)?),
            }
        }
        Ok(Told { notices: Vec::new(), storage: self.remove(&dropped) })
    }

    pub(super) fn drop_external_connections(
        &mut self,
        actor: Actor,
        names: &[Name],
        if_exists: bool,
    ) -> Result<Told, Refusal> {
        let mut dropped = Vec::new();
        for name in names {
            match self.external_connection(name) {
                Ok(found) => {
                    self.check_privilege(actor.current, found, Privilege::Drop)?;
                    dropped.push(found);
                }
                Err(refusal) => drop(missing(if_exists, refusal)?),
            }
        }
        Ok(Told { notices: Vec::new(), storage: self.remove(&dropped) })
    }

    /// Drops these, the sequences that belong to dropped tables, and with CASCADE the views and functions that need any
    /// of it. A table that needs it is in the way.
    pub(super) fn drop_with_dependents(
        &mut self,
        actor: Actor,
        named: Vec<ObjectId>,
        cascade: bool,
    ) -> Result<Told, Refusal> {
        let mut dropped: Vec<ObjectId> = Vec::new();
        for object in named {
            if !dropped.contains(&object) {
                dropped.push(object);
            }
        }
        let listed = dropped.len();
        let mut at = 0;
        while let Some(object) = dropped.get(at).copied() {
            at += 1;
            for user in self.users(object) {
                let goes = match self.body(user) {
                    Some(Body::Sequence(_)) => true,
                    Some(Body::View(_) | Body::Function(_)) => cascade,
                    _ => false,
                };
                if goes && !dropped.contains(&user) {
                    dropped.push(user);
                }
            }
        }
        for object in &dropped[listed..] {
            match self.kind(*object) {
                ObjectKind::Function => self.check_owner(actor.current, *object)?,
                _ => self.check_privilege(actor.current, *object, Privilege::Drop)?,
            }
        }
        for object in &dropped {
            let staying: Vec<_> = self
                .users(*object)
                .into_iter()
                .filter(|user| !(dropped.contains(user) || (cascade && self.refers_by_key(*user, *object))))
                .collect();
            if let Some(first) = staying.first() {
                return Err(self.needed(*object, *first, &staying, &dropped, cascade));
            }
        }
        let altered = self.drop_keys_to(&dropped);
        let mut storage = self.remove(&dropped);
        storage.extend(altered.into_iter().filter(|change| match change {
            StorageChange::Alter(id, _) => !dropped.contains(id),
            StorageChange::Create(_)
            | StorageChange::Drop(_)
            | StorageChange::Shelve(_)
            | StorageChange::Fill(_)
            | StorageChange::Publish(_)
            | StorageChange::Clear(_) => true,
        }));
        Ok(Told { notices: Vec::new(), storage })
    }

    /// Whether a table needs another only as the target of foreign keys.
    fn refers_by_key(&self, user: ObjectId, object: ObjectId) -> bool {
        match self.body(user) {
            Some(Body::Table(table)) => {
                let by_key = table.foreign_keys.iter().any(|key| key.target == object);
                by_key && !table.named().any(|named| named == object)
            }
            _ => false,
        }
    }

    /// Whether `actor` may drop what is in a database or schema that is dropped: A.5.2 asks for DROP on tables alone.
    fn check_drop_inside(&self, actor: Actor, object: ObjectId) -> Result<(), Refusal> {
        match self.kind(object) {
            ObjectKind::Type | ObjectKind::Function => Ok(()),
            _ => self.check_privilege(actor.current, object, Privilege::Drop),
        }
    }

    /// The objects that cannot be without `object`, by id.
    pub(super) fn users(&self, object: ObjectId) -> Vec<ObjectId> {
        let mut users: Vec<_> = self
            .objects
            .iter()
            .filter(|known| known.id != object && references(&known.body).contains(&object))
            .map(|known| known.id)
            .collect();
        users.sort();
        users
    }

    fn needed(
        &self,
        object: ObjectId,
        first: ObjectId,
        staying: &[ObjectId],
        dropped: &[ObjectId],
        cascade: bool,
    ) -> Refusal {
        let name = self.label(object);
        if let (Some(Body::Table(_)), Some(Body::Table(_))) = (self.body(object), self.body(first)) {
            return say::key_is_referred_to(&name, &self.label(first));
        }
        let users: Vec<_> = staying.iter().map(|user| self.full_name(*user)).collect();
        match self.body(object) {
            Some(Body::Type(_)) => {
                let needed = say::type_is_needed(&name, &users);
                if !cascade {
                    return needed;
                }
                Refusal { detail: Some(needed.message), ..say::no_cascade_of_types() }
            }
            Some(Body::Function(_)) => say::function_is_needed("drop function", &name, &users),
            Some(Body::Sequence(sequence)) => match sequence.owned_by {
                Some(table) if dropped.contains(&table) => say::table_is_needed(&self.label(table)),
                _ => say::sequence_is_needed(&name),
            },
            _ => self.relation_needed("drop", object, first),
        }
    }

    /// A view or function names the relation.
    pub(super) fn relation_needed(&self, verb: &str, object: ObjectId, by: ObjectId) -> Refusal {
        let word = match self.body(by) {
            Some(Body::View(_)) => "view",
            Some(Body::Function(_)) => "function",
            Some(Body::Sequence(_)) => "sequence",
            _ => "table",
        };
        let near = self.parent(by) == self.parent(object);
        let user = if near { self.label(by) } else { self.full_name(by) };
        say::relation_is_needed(verb, &self.label(object), word, &user)
    }

    /// Takes away objects with all that is held on them and for them. The row store drops what it has of them.
    pub(super) fn remove(&mut self, dropped: &[ObjectId]) -> Vec<StorageChange> {
        let mut storage = Vec::new();
        for object in dropped {
            if matches!(self.body(*object), Some(Body::Table(_) | Body::Sequence(_))) {
                storage.push(StorageChange::Drop(*object));
            }
        }
        self.objects.retain(|known| !dropped.contains(&known.id));
        self.held.retain(|grant| !dropped.contains(&grant.object));
        self.defaults.retain(|known| !dropped.contains(&known.holder));
        self.role_settings.retain(|known| !dropped.contains(&known.database));
        storage
    }
}
