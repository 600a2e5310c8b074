//! CREATE of databases, schemas and tables, and what all kinds of CREATE share. Source: authorization spec, A.5.2, A.5.3,
//! F.1.
//!
//! The order of checks is that of the original for each kind: CREATE on the schema first, then the name, then the shape.

use std::sync::Arc;

use crate::command::{NewConstraint, NewIdentity, ObjectName, RoleSpec, StorageChange};
use crate::defaults::DefaultClass;
use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId};
use crate::name::{NAME_BYTES_MAX, Name};
use crate::object::{Body, Object, Table};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal, state};
use crate::require::Need;
use crate::role::RoleOption;
use crate::state::bootstrap::{new_database, new_public_schema};
use crate::state::{Namespace, Work, table};
use crate::system::{self, VIRTUAL_SCHEMAS};

/// What a name is wanted for, in the one namespace of relations and types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Relation,
    Type,
}

impl Work<'_> {
    pub(super) fn create_database(
        &mut self,
        name: &Name,
        if_not_exists: bool,
        owner: Option<&RoleSpec>,
    ) -> Result<(), Refusal> {
        if !self.state.has_option(self.actor.current, RoleOption::CreateDb) {
            return Err(refusal::may_not_create_database());
        }
        check_name(name, ObjectKind::Database)?;
        if self.state.child(ObjectId::CLUSTER, Namespace::Databases, name).is_some() {
            return self.taken(refusal::database_exists(name), if_not_exists);
        }
        let owner = self.new_owner(owner)?;
        let database = self.new_object_id()?;
        self.put_object(database, new_database(name.clone(), owner));
        let schema = self.new_object_id()?;
        self.put_object(schema, new_public_schema(database));
        Ok(())
    }

    pub(super) fn create_schema(
        &mut self,
        database: Option<&Name>,
        name: Option<&Name>,
        if_not_exists: bool,
        owner: Option<&RoleSpec>,
    ) -> Result<(), Refusal> {
        let database = match database {
            Some(name) => self.state.resolve_database(name)?,
            None => self.state.current_database(self.context)?,
        };
        self.require(database, Privilege::Create)?;
        let name = match name {
            Some(name) => name.clone(),
            None => Name::from(self.state.principal_name(self.new_owner(owner)?).as_str()),
        };
        let taken = self.state.schema_in(database, &name).is_some();
        if taken || VIRTUAL_SCHEMAS.contains(&name.as_str()) {
            return self.taken(refusal::schema_exists(&name), if_not_exists);
        }
        if name.as_str().starts_with("pg_") {
            return Err(refusal::schema_name_reserved(&name));
        }
        check_name(&name, ObjectKind::Schema)?;
        let owner = self.new_owner(owner)?;
        let acl = self.state.new_acl_for(self.actor.current, DefaultClass::Schemas, database, None);
        let id = self.new_object_id()?;
        self.put_object(id, Object { name, parent: database, owner, acl, body: Body::Schema, comment: None });
        Ok(())
    }

    pub(super) fn create_table(
        &mut self,
        name: &ObjectName,
        table: &Table,
        foreign_keys: &[NewConstraint],
        identities: &[NewIdentity],
        if_not_exists: bool,
    ) -> Result<(), Refusal> {
        let (schema, name) = self.new_place(name)?;
        if !self.is_free(schema, &name, Wanted::Relation, if_not_exists)? {
            return Ok(());
        }
        check_name(&name, ObjectKind::Table)?;
        table::check(table)?;
        if !table.foreign_keys.is_empty() || table.columns.iter().any(|column| column.identity.is_some()) {
            return Err(refusal::malformed_key());
        }
        self.check_list(foreign_keys.len())?;
        self.check_list(identities.len())?;
        let body = Body::Table(Arc::new(table.clone()));
        self.require_references(&body)?;
        let id = self.put_new(schema, name, body)?;
        for constraint in foreign_keys {
            self.add_constraint(id, constraint, false)?;
        }
        for identity in identities {
            self.add_identity(id, identity)?;
        }
        // It is made in the shape that it has now.
        self.reshaped.remove(&id);
        self.done.storage.push(StorageChange::Create(id));
        Ok(())
    }

    /// Where a new relation, type or function goes, and its name there. Needs CREATE on the schema.
    pub(super) fn new_place(&self, name: &ObjectName) -> Result<(ObjectId, Name), Refusal> {
        let (schema, name) = self.state.resolve_new_relation(self.context, name)?;
        self.require_creating_in(schema)?;
        Ok((schema, name))
    }

    /// CREATE on a schema that is not computed.
    pub(super) fn require_creating_in(&self, schema: ObjectId) -> Result<(), Refusal> {
        match self.state.object(schema) {
            Some(object) if schema.is_virtual() => Err(refusal::schema_is_virtual(&object.name)),
            Some(_) => self.require(schema, Privilege::Create),
            None => Err(refusal::object_gone(schema)),
        }
    }

    /// Whether the name is free in the one namespace of relations and types. If it is not: an error that says of what
    /// kind the other one is; or, with IF NOT EXISTS and another one of the wanted kind, a notice and `false`.
    pub(super) fn is_free(
        &mut self,
        schema: ObjectId,
        name: &Name,
        wanted: Wanted,
        if_not_exists: bool,
    ) -> Result<bool, Refusal> {
        let there = self.state.relation_in(schema, name).and_then(|id| self.state.kind(id));
        let is_built_in = wanted == Wanted::Type && system::built_in_type(name.as_str()).is_some();
        let found = match there {
            None if !is_built_in => return Ok(true),
            None | Some(ObjectKind::Type) => Wanted::Type,
            Some(_) => Wanted::Relation,
        };
        let refusal = |name: &str| match found {
            Wanted::Relation => refusal::relation_exists(name),
            Wanted::Type => refusal::type_exists(name),
        };
        if found == wanted && if_not_exists {
            self.taken(refusal(name.as_str()), if_not_exists)?;
            return Ok(false);
        }
        let above = self.state.object(schema).map_or(String::new(), |above| self.state.full_name(above));
        Err(refusal(&format!("{above}.{name}")))
    }

    /// Puts a new relation, type or function into a schema: owned by who acts, with what the defaults say.
    pub(super) fn put_new(&mut self, schema: ObjectId, name: Name, body: Body) -> Result<ObjectId, Refusal> {
        let owner = self.actor.current;
        let database = self.state.database_of(schema).ok_or_else(|| refusal::object_gone(schema))?;
        let id = self.new_object_id()?;
        let mut object = Object { name, parent: schema, owner, acl: Acl::default(), body, comment: None };
        if let Some(class) = DefaultClass::of(object.kind()) {
            object.acl = self.state.new_acl_for(owner, class, database, Some(schema));
        }
        self.put_object(id, object);
        Ok(id)
    }

    /// What a look-up found; with IF EXISTS a missing thing is none, but one of the wrong kind, or several, are still
    /// refused.
    pub(super) fn found(
        &self,
        found: Result<ObjectId, Refusal>,
        if_exists: bool,
    ) -> Result<Option<ObjectId>, Refusal> {
        match found {
            Ok(id) => Ok(Some(id)),
            Err(refusal) if !if_exists => Err(refusal),
            Err(refusal) => match refusal.code {
                state::WRONG_OBJECT_TYPE
                | state::AMBIGUOUS_FUNCTION
                | state::AMBIGUOUS_PARAMETER
                | state::SYNTAX_ERROR => Err(refusal),
                _ => Ok(None),
            },
        }
    }

    /// That who acts owns `object`, itself or through a role, or is an admin.
    pub(super) fn require_ownership(&self, object: ObjectId) -> Result<(), Refusal> {
        match self.state.object(object) {
            // What the system owns stays as it is, whoever asks.
            Some(found) if found.owner == PrincipalId::NODE => {
                Err(refusal::not_owner(found.kind(), &found.name))
            }
            _ => self.state.check(self.actor.current, &Need::Ownership { object }),
        }
    }

    /// USAGE on the schema that `object` is in.
    pub(super) fn require_usage(&self, object: ObjectId) -> Result<(), Refusal> {
        match self.state.object(object) {
            Some(object) => self.require(object.parent, Privilege::Usage),
            None => Err(refusal::object_gone(object)),
        }
    }

    /// Who is to own a new object: the role that the statement names, which must exist, or who acts.
    fn new_owner(&self, spec: Option<&RoleSpec>) -> Result<PrincipalId, Refusal> {
        spec.map_or(Ok(self.actor.current), |spec| self.state.resolve_role(self.actor, spec))
    }

    /// The name is taken: an error, or with IF NOT EXISTS a notice.
    pub(super) fn taken(&mut self, refusal: Refusal, if_not_exists: bool) -> Result<(), Refusal> {
        if !if_not_exists {
            return Err(refusal);
        }
        self.done.notices.push(refusal::skipped(&refusal));
        Ok(())
    }
}

/// That a new name is not empty and not too long.
pub(super) fn check_name(name: &Name, kind: ObjectKind) -> Result<(), Refusal> {
    match name.as_str().len() {
        0 => Err(refusal::name_empty(kind)),
        length if length > NAME_BYTES_MAX => Err(refusal::name_too_long(name, NAME_BYTES_MAX)),
        _ => Ok(()),
    }
}
