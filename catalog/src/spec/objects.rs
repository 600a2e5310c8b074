//! RENAME, SET SCHEMA and COMMENT.

use std::sync::Arc;

use crate::command::{Actor, NameContext, OwnedName, SchemaName};
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::object::{Body, ColumnType};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::role::RoleOption;
use crate::spec::makes::missing;
use crate::spec::resolve::Sort;
use crate::spec::{Model, ModelObject, Told, say};

impl Model {
    /// What ALTER … names.
    pub(super) fn owned(
        &self,
        actor: Actor,
        context: &NameContext,
        object: &OwnedName,
    ) -> Result<ObjectId, Refusal> {
        match object {
            OwnedName::Database(name) => self.database(name),
            OwnedName::Schema(name) => self.schema(context, name),
            OwnedName::Table(name) => self.relation_for(actor, context, name, "relation"),
            OwnedName::View(name) => self.relation_for(actor, context, name, "view"),
            OwnedName::Sequence(name) => self.relation_for(actor, context, name, "sequence"),
            OwnedName::Type(name) => self.named_for(actor, context, name, Sort::Type),
            OwnedName::Function(name) => self.function_for(actor, context, name),
            OwnedName::ExternalConnection(name) => self.external_connection(name),
            OwnedName::IamRole(name) => self.iam_role(name),
        }
    }

    pub(super) fn rename(
        &mut self,
        actor: Actor,
        context: &NameContext,
        object: &OwnedName,
        if_exists: bool,
        to: &Name,
    ) -> Result<Told, Refusal> {
        let id = match self.owned(actor, context, object) {
            Ok(id) => id,
            Err(refusal) => return missing(if_exists, refusal),
        };
        let parent = self.parent(id);
        let kind = self.kind(id);
        match kind {
            ObjectKind::Database => {
                self.check_owner(actor.current, id)?;
                if !self.has_option(actor.current, RoleOption::CreateDb) {
                    return Err(say::may_not_rename_database());
                }
                for schema in self.schemas_of(id) {
                    self.check_nothing_named("database", schema)?;
                }
            }
            ObjectKind::Schema => {
                if id.is_virtual() {
                    return Err(say::virtual_schema_is_fixed(&self.label(id)));
                }
                if self.label(id) == "public" {
                    return Err(say::schema_is_not_renamed(&self.label(id)));
                }
                self.check_owner(actor.current, id)?;
                self.check_privilege(actor.current, parent, Privilege::Create)?;
                if to.as_str().starts_with("pg_") {
                    return Err(say::schema_name_is_reserved(to.as_str()));
                }
                self.check_nothing_named("schema", id)?;
            }
            ObjectKind::Type | ObjectKind::Function => {
                self.check_owner(actor.current, id)?;
                self.check_not_named("rename", id)?;
            }
            ObjectKind::ExternalConnection => self.check_owner(actor.current, id)?,
            ObjectKind::IamRole => return Err(say::iam_role_is_not_renamed(&self.label(id))),
            ObjectKind::Table | ObjectKind::Sequence | ObjectKind::VirtualTable | ObjectKind::Cluster => {
                self.check_privilege(actor.current, id, Privilege::Drop)?;
                self.check_not_named("rename", id)?;
                self.check_create_in(actor, parent)?;
            }
        }
        if self.name_of(id).as_ref() == Some(to) {
            return Ok(Told::default());
        }
        self.check_free(id, parent, to)?;
        for known in &mut self.objects {
            if known.id == id {
                known.name = to.clone();
            }
        }
        Ok(Told::default())
    }

    /// The views and functions that name it: their texts would not find it under another name. The types of columns
    /// and arguments are not named in a text.
    fn naming(&self, object: ObjectId) -> Vec<ObjectId> {
        let mut users = self.users(object);
        users.retain(|user| match self.body(*user) {
            Some(Body::View(view)) => view.references.contains(&object),
            Some(Body::Function(function)) => function.references.contains(&object),
            _ => false,
        });
        users
    }

    fn check_not_named(&self, verb: &str, object: ObjectId) -> Result<(), Refusal> {
        let naming = self.naming(object);
        match (naming.first(), self.kind(object)) {
            (None, _) | (_, ObjectKind::Type) => Ok(()),
            (Some(_), ObjectKind::Function) => {
                let verb = if verb == "rename" { "rename function" } else { "set schema for function" };
                let users: Vec<_> = self.users(object).iter().map(|user| self.full_name(*user)).collect();
                Err(say::function_is_needed(verb, &self.label(object), &users))
            }
            (Some(first), _) => Err(self.relation_needed(verb, object, *first)),
        }
    }

    fn check_nothing_named(&self, what: &str, schema: ObjectId) -> Result<(), Refusal> {
        for object in self.contents_of(schema) {
            if let Some(first) = self.naming(object).first() {
                let (by, name) = (self.full_name(*first), self.full_name(object));
                return Err(say::name_is_needed(what, &by, &name));
            }
        }
        Ok(())
    }

    /// Whether something like `object` may be called `name` in `parent`.
    fn check_free(&self, object: ObjectId, parent: ObjectId, name: &Name) -> Result<(), Refusal> {
        match self.body(object) {
            Some(Body::Database) if self.find_database(name).is_some() => {
                Err(say::database_exists(name.as_str()))
            }
            Some(Body::Schema) if self.find_schema(parent, name).is_some() => {
                Err(say::schema_exists(name.as_str()))
            }
            Some(Body::Function(function)) => {
                let types: Vec<ColumnType> = function.argument_types().collect();
                match self.find_functions(parent, name, Some(&types)).is_empty() {
                    true => Ok(()),
                    false => {
                        let types: Vec<_> = types.into_iter().map(|one| self.type_text(one)).collect();
                        let signature = format!("{name}({})", types.join(", "));
                        Err(say::function_exists_in(&signature, &self.label(parent)))
                    }
                }
            }
            Some(Body::ExternalConnection(_)) if self.find_external_connection(name).is_some() => {
                Err(say::external_connection_exists(name.as_str()))
            }
            Some(Body::Database | Body::Schema | Body::ExternalConnection(_)) => Ok(()),
            _ if self.find_in_schema(parent, name).is_some() => {
                self.taken(parent, name, Sort::Relation, false).map(drop)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn set_schema(
        &mut self,
        actor: Actor,
        context: &NameContext,
        object: &OwnedName,
        if_exists: bool,
        schema: &SchemaName,
    ) -> Result<Told, Refusal> {
        let id = match self.owned(actor, context, object) {
            Ok(id) => id,
            Err(refusal) => return missing(if_exists, refusal),
        };
        match self.kind(id) {
            ObjectKind::Type | ObjectKind::Function => self.check_owner(actor.current, id)?,
            _ => self.check_privilege(actor.current, id, Privilege::Drop)?,
        }
        self.check_not_named("set schema on", id)?;
        let database = self.database_of(id);
        if let Some(name) = &schema.database
            && self.database(name)? != database
        {
            return Err(say::other_database());
        }
        let schema_id = self
            .find_schema(database, &schema.schema)
            .ok_or_else(|| say::unknown_schema(schema.schema.as_str()))?;
        if schema_id.is_virtual() || id.is_virtual() {
            return Err(say::virtual_schemas_stay());
        }
        self.check_privilege(actor.current, schema_id, Privilege::Create)?;
        if self.parent(id) == schema_id {
            return Ok(Told::default());
        }
        let name = self.name_of(id).unwrap_or_else(|| Name::normalize(""));
        self.check_free(id, schema_id, &name)?;
        for known in &mut self.objects {
            if known.id == id {
                known.parent = schema_id;
            }
        }
        Ok(Told::default())
    }

    pub(super) fn comment(
        &mut self,
        actor: Actor,
        context: &NameContext,
        on: &OwnedName,
        column: Option<&Name>,
        text: Option<&str>,
    ) -> Result<Told, Refusal> {
        let id = self.owned(actor, context, on)?;
        match self.kind(id) {
            ObjectKind::Type
            | ObjectKind::Function
            | ObjectKind::ExternalConnection
            | ObjectKind::IamRole => {
                self.check_owner(actor.current, id)?;
            }
            ObjectKind::Schema if id.is_virtual() => {
                return Err(say::virtual_schema_is_fixed(&self.label(id)));
            }
            _ => self.check_privilege(actor.current, id, Privilege::Create)?,
        }
        if self.owner(id) == Some(PrincipalId::NODE) {
            return Err(say::must_own(self.kind(id), &self.label(id)));
        }
        for known in &mut self.objects {
            if known.id != id {
                continue;
            }
            let Some(name) = column else {
                known.comment = text.map(ToOwned::to_owned);
                return Ok(Told::default());
            };
            let Body::Table(table) = &mut known.body else {
                return Err(say::not_such_a_relation(known.name.as_str(), "table"));
            };
            let Some(column) = Arc::make_mut(table).columns.iter_mut().find(|column| column.name == *name)
            else {
                return Err(say::unknown_column(name.as_str()));
            };
            column.comment = text.map(ToOwned::to_owned);
        }
        Ok(Told::default())
    }
}

impl ModelObject {
    /// The kind that decides which privileges are legal.
    pub fn kind(&self) -> ObjectKind {
        match self.body {
            Body::Database => ObjectKind::Database,
            Body::Schema => ObjectKind::Schema,
            Body::Table(_) | Body::View(_) => ObjectKind::Table,
            Body::Sequence(_) => ObjectKind::Sequence,
            Body::Type(_) => ObjectKind::Type,
            Body::Function(_) => ObjectKind::Function,
            Body::ExternalConnection(_) => ObjectKind::ExternalConnection,
            Body::VirtualTable => ObjectKind::VirtualTable,
            Body::IamRole => ObjectKind::IamRole,
        }
    }
}
