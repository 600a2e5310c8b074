//! RENAME TO, SET SCHEMA and COMMENT ON. Source: authorization spec, A.5.2, A.5.3.
//!
//! Views and functions write the names of what they use in full, so what they name can be neither renamed nor moved,
//! as in the original. The types of columns and arguments are used by id, so they can; unless a query or body names the
//! type itself, in a cast.

use std::sync::Arc;

use crate::command::{OwnedName, SchemaName};
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::object::{Body, Object, TEXT_BYTES_MAX};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Blocked, Refusal};
use crate::role::RoleOption;
use crate::state::objects::{Wanted, check_name};
use crate::state::references::named_by;
use crate::state::store::key_name;
use crate::state::{Namespace, State, Work};
use crate::system::VIRTUAL_SCHEMAS;

impl Work<'_> {
    /// A name that it has already changes nothing.
    pub(super) fn rename(&mut self, name: &OwnedName, if_exists: bool, to: &Name) -> Result<(), Refusal> {
        let found = self.state.resolve_owned(self.context, name);
        let Some(id) = self.found(found, if_exists)? else { return Ok(()) };
        let Some(object) = self.state.object(id).cloned() else { return Err(refusal::object_gone(id)) };
        match object.kind() {
            ObjectKind::Database => self.may_rename_database(id)?,
            ObjectKind::Schema => self.may_rename_schema(id, &object, to)?,
            ObjectKind::Table | ObjectKind::Sequence | ObjectKind::VirtualTable => {
                self.require_usage(id)?;
                self.require(id, Privilege::Drop)?;
                self.check_unnamed(Blocked::Rename, id, &object)?;
                self.require_creating_in(object.parent)?;
            }
            ObjectKind::Type | ObjectKind::Function => {
                self.require_usage(id)?;
                self.require_ownership(id)?;
                self.check_unnamed(Blocked::Rename, id, &object)?;
            }
            ObjectKind::ExternalConnection => self.require_ownership(id)?,
            ObjectKind::IamRole => return Err(refusal::iam_role_keeps_name(&object.name)),
            ObjectKind::Cluster => {}
        }
        if object.name == *to {
            return Ok(());
        }
        check_name(to, object.kind())?;
        self.put_in_place(id, Object { name: to.clone(), ..object })
    }

    /// The names of views and functions in it are written with the database.
    fn may_rename_database(&self, id: ObjectId) -> Result<(), Refusal> {
        self.require_ownership(id)?;
        if !self.state.has_option(self.actor.current, RoleOption::CreateDb) {
            return Err(refusal::may_not_rename_database());
        }
        let schemas: Vec<_> = self.state.children(id).map(|(schema, _)| schema).collect();
        schemas.into_iter().try_for_each(|schema| self.check_nothing_named("database", schema))
    }

    fn may_rename_schema(&self, id: ObjectId, object: &Object, to: &Name) -> Result<(), Refusal> {
        if id.is_virtual() {
            return Err(refusal::schema_is_fixed(&object.name));
        }
        if object.name.as_str() == "public" {
            return Err(refusal::schema_keeps_name(&object.name));
        }
        self.require_ownership(id)?;
        self.require(object.parent, Privilege::Create)?;
        if to.as_str().starts_with("pg_") {
            return Err(refusal::schema_name_reserved(to));
        }
        self.check_nothing_named("schema", id)
    }

    /// That no view or function names something in `schema`.
    fn check_nothing_named(&self, what: &str, schema: ObjectId) -> Result<(), Refusal> {
        for (id, object) in self.state.children(schema) {
            if let Some((_, dependent)) = self.state.named_in(id) {
                let (dependent, name) = (self.state.full_name(dependent), self.state.full_name(object));
                return Err(refusal::name_has_dependents(what, &dependent, &name));
            }
        }
        Ok(())
    }

    /// That no view or function names `object`.
    fn check_unnamed(&self, blocked: Blocked, id: ObjectId, object: &Object) -> Result<(), Refusal> {
        match (self.state.named_in(id), object.kind()) {
            (None, _) => Ok(()),
            (Some(_), ObjectKind::Function) => {
                let names = self.state.referrers(id).map(|(_, found)| self.state.full_name(found));
                Err(refusal::function_has_dependents(blocked, &object.name, &names.collect::<Vec<_>>()))
            }
            (Some((_, dependent)), ObjectKind::Type) => {
                let dependents = [self.state.full_name(dependent)];
                Err(refusal::type_has_dependents(blocked, &object.name, &dependents))
            }
            (Some((dependent, _)), _) => Err(self.state.in_the_way(blocked, object, dependent)),
        }
    }

    /// Moves an object to another schema of its database. The schema that it is in already changes nothing.
    pub(super) fn set_schema(
        &mut self,
        name: &OwnedName,
        if_exists: bool,
        schema: &SchemaName,
    ) -> Result<(), Refusal> {
        let found = self.state.resolve_owned(self.context, name);
        let Some(id) = self.found(found, if_exists)? else { return Ok(()) };
        let Some(object) = self.state.object(id).cloned() else { return Err(refusal::object_gone(id)) };
        let kind = object.kind();
        match kind {
            ObjectKind::Table | ObjectKind::Sequence | ObjectKind::VirtualTable => {
                self.require_usage(id)?;
                self.require(id, Privilege::Drop)?;
            }
            ObjectKind::Type | ObjectKind::Function => {
                self.require_usage(id)?;
                self.require_ownership(id)?;
            }
            ObjectKind::Database
            | ObjectKind::Schema
            | ObjectKind::ExternalConnection
            | ObjectKind::IamRole
            | ObjectKind::Cluster => return Err(refusal::not_in_a_schema(kind.class_word())),
        }
        self.check_unnamed(Blocked::SetSchema, id, &object)?;
        let to = self.other_schema(id, schema)?;
        if to.is_virtual() || id.is_virtual() {
            return Err(refusal::virtual_schemas_stay());
        }
        self.require(to, Privilege::Create)?;
        if to == object.parent {
            return Ok(());
        }
        self.put_in_place(id, Object { parent: to, ..object })
    }

    /// A schema of the database that `object` is in.
    fn other_schema(&self, object: ObjectId, schema: &SchemaName) -> Result<ObjectId, Refusal> {
        let database = self.state.database_of(object).ok_or_else(|| refusal::object_gone(object))?;
        let written = schema.database.as_ref().map(|name| self.state.resolve_database(name)).transpose()?;
        if written.is_some_and(|written| written != database) {
            return Err(refusal::database_stays());
        }
        self.state.schema_in(database, &schema.schema).ok_or_else(|| refusal::no_such_schema(&schema.schema))
    }

    /// Puts an object under a new name or into a new schema, where no other has its name.
    fn put_in_place(&mut self, id: ObjectId, object: Object) -> Result<(), Refusal> {
        let name = object.name.as_str();
        match &object.body {
            Body::Table(_) | Body::View(_) | Body::Sequence(_) | Body::VirtualTable => {
                self.is_free(object.parent, &object.name, Wanted::Relation, false)?;
            }
            Body::Type(_) => {
                self.is_free(object.parent, &object.name, Wanted::Type, false)?;
            }
            Body::Function(function) => {
                if self.state.child(object.parent, Namespace::Functions, &key_name(&object)).is_some() {
                    let signature = self.state.signature_text(&object.name, function);
                    let schema = self.state.object(object.parent).map(|schema| schema.name.clone());
                    let schema = schema.unwrap_or_else(|| Name::from(""));
                    return Err(refusal::function_exists_in(&signature, &schema));
                }
            }
            Body::Database => {
                if self.state.child(object.parent, Namespace::Databases, &object.name).is_some() {
                    return Err(refusal::database_exists(&object.name));
                }
            }
            Body::Schema => {
                let is_virtual = VIRTUAL_SCHEMAS.contains(&name);
                if is_virtual || self.state.schema_in(object.parent, &object.name).is_some() {
                    return Err(refusal::schema_exists(&object.name));
                }
            }
            Body::ExternalConnection(_) => {
                if self.state.child(object.parent, Namespace::ExternalConnections, &object.name).is_some() {
                    return Err(refusal::external_connection_exists(&object.name));
                }
            }
            Body::IamRole => return Err(refusal::iam_role_keeps_name(&object.name)),
        }
        self.put_object(id, object);
        Ok(())
    }

    /// Needs CREATE on the object, or on the table of a column; of a type, function, external connection or role of a
    /// cloud ownership.
    pub(super) fn comment(
        &mut self,
        on: &OwnedName,
        column: Option<&Name>,
        text: Option<&str>,
    ) -> Result<(), Refusal> {
        let id = self.state.resolve_owned(self.context, on)?;
        let Some(object) = self.state.object(id).cloned() else { return Err(refusal::object_gone(id)) };
        match object.kind() {
            ObjectKind::Table | ObjectKind::Sequence | ObjectKind::VirtualTable => {
                self.require_usage(id)?;
                self.require(id, Privilege::Create)?;
            }
            ObjectKind::Type | ObjectKind::Function => {
                self.require_usage(id)?;
                self.require_ownership(id)?;
            }
            ObjectKind::ExternalConnection | ObjectKind::IamRole => self.require_ownership(id)?,
            ObjectKind::Schema if id.is_virtual() => return Err(refusal::schema_is_fixed(&object.name)),
            ObjectKind::Database | ObjectKind::Schema | ObjectKind::Cluster => {
                self.require(id, Privilege::Create)?;
            }
        }
        // No privilege is enough for what every cluster has by itself.
        if object.owner == PrincipalId::NODE {
            return Err(refusal::not_owner(object.kind(), &object.name));
        }
        let bytes = text.map_or(0, str::len);
        if bytes > TEXT_BYTES_MAX {
            return Err(refusal::text_too_long("comment", bytes, TEXT_BYTES_MAX));
        }
        let comment = text.map(str::to_owned);
        let object = match column {
            None => Object { comment, ..object },
            Some(column) => with_column_comment(object, column, comment)?,
        };
        self.put_object(id, object);
        Ok(())
    }
}

/// `object` with another comment on one column. Columns of views have none.
fn with_column_comment(
    mut object: Object,
    column: &Name,
    comment: Option<String>,
) -> Result<Object, Refusal> {
    let Body::Table(table) = &mut object.body else {
        return Err(refusal::wrong_object_kind(&object.name, "table"));
    };
    let found = Arc::make_mut(table).columns.iter_mut().find(|there| there.name == *column);
    found.ok_or_else(|| refusal::no_such_column(column))?.comment = comment;
    Ok(object)
}

impl State {
    /// The first view or function that names `id`.
    fn named_in(&self, id: ObjectId) -> Option<(ObjectId, &Object)> {
        let names =
            |body: &Body| matches!(body, Body::View(_) | Body::Function(_)) && named_by(body).contains(&id);
        self.referrers(id).find(|(_, object)| names(&object.body))
    }
}
