//! What a name means: the same everywhere that a name is written, and decided where the statement takes effect.

use crate::command::{Actor, NameContext, ObjectName, RoleSpec, SchemaName};
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::object::{Body, Object};
use crate::privilege::ObjectKind;
use crate::refusal::{self, Refusal};
use crate::state::{Namespace, State};

impl State {
    /// The principal that a statement names, or 42704. `public` and `node` are not found.
    pub fn resolve_role(&self, actor: Actor, spec: &RoleSpec) -> Result<PrincipalId, Refusal> {
        match spec {
            RoleSpec::Name(name) => self.principal_id(name).ok_or_else(|| refusal::no_such_role(name)),
            RoleSpec::CurrentUser => self.existing(actor.current),
            RoleSpec::SessionUser => self.existing(actor.session),
        }
    }

    /// The principal that privileges can be granted to: as [`Self::resolve_role`], and `public`.
    pub fn resolve_grantee(&self, actor: Actor, spec: &RoleSpec) -> Result<PrincipalId, Refusal> {
        match spec {
            RoleSpec::Name(name) if name.as_str() == "public" => Ok(PrincipalId::PUBLIC),
            RoleSpec::Name(_) | RoleSpec::CurrentUser | RoleSpec::SessionUser => {
                self.resolve_role(actor, spec)
            }
        }
    }

    /// The database of this name, or 3D000.
    pub fn resolve_database(&self, name: &Name) -> Result<ObjectId, Refusal> {
        self.child(ObjectId::CLUSTER, Namespace::Databases, name)
            .ok_or_else(|| refusal::no_such_database(name))
    }

    /// The database that unqualified names are looked up in: 42602 if none is set, 3D000 if it is gone.
    pub fn current_database(&self, context: &NameContext) -> Result<ObjectId, Refusal> {
        match &context.database {
            Some(name) => self.resolve_database(name),
            None => Err(refusal::no_database()),
        }
    }

    /// The schema that a statement names, or 3D000, 3F000, 42602.
    pub fn resolve_schema(&self, context: &NameContext, name: &SchemaName) -> Result<ObjectId, Refusal> {
        let database = match &name.database {
            Some(database) => self.resolve_database(database)?,
            None => self.current_database(context)?,
        };
        self.schema_in(database, &name.schema).ok_or_else(|| refusal::no_such_schema(&name.schema))
    }

    /// The table that a statement names, or 3D000, 3F000, 42P01.
    ///
    /// One part: the first schema of the search path that has it. Two parts: the table of that schema of the current
    /// database; else that of schema `public` of the database of that name. Three parts: exactly that.
    pub fn resolve_table(&self, context: &NameContext, name: &ObjectName) -> Result<ObjectId, Refusal> {
        let missing = || refusal::no_such_relation(name);
        match name.parts.as_slice() {
            [table] => {
                let database = self.current_database(context).map_err(|_| missing())?;
                context
                    .search_path
                    .iter()
                    .filter_map(|schema| self.schema_in(database, schema))
                    .find_map(|schema| self.relation_in(schema, table))
                    .ok_or_else(missing)
            }
            [qualifier, table] => {
                let schemas = self.schemas_of_qualifier(context, qualifier);
                schemas.into_iter().find_map(|schema| self.relation_in(schema, table)).ok_or_else(missing)
            }
            [database, schema, table] => {
                let schema = self.resolve_qualified_schema(database, schema)?;
                self.relation_in(schema, table).ok_or_else(missing)
            }
            parts => Err(refusal::name_parts(parts.len())),
        }
    }

    /// Where a table of this name would be made, or 3D000, 3F000, 42602.
    pub fn resolve_new_table(
        &self,
        context: &NameContext,
        name: &ObjectName,
    ) -> Result<(ObjectId, Name), Refusal> {
        match name.parts.as_slice() {
            [table] => Ok((self.current_schema(context)?, table.clone())),
            [qualifier, table] => {
                let schemas = self.schemas_of_qualifier(context, qualifier);
                let schema = schemas.first().ok_or_else(|| refusal::no_such_schema(qualifier))?;
                Ok((*schema, table.clone()))
            }
            [database, schema, table] => {
                Ok((self.resolve_qualified_schema(database, schema)?, table.clone()))
            }
            parts => Err(refusal::name_parts(parts.len())),
        }
    }

    /// The schema of `*`, `s.*`, `d.*` or `d.s.*`, given what stands before the star.
    pub fn resolve_star(&self, context: &NameContext, qualifiers: &[Name]) -> Result<ObjectId, Refusal> {
        match qualifiers {
            [] => self.current_schema(context),
            [qualifier] => self
                .schemas_of_qualifier(context, qualifier)
                .first()
                .copied()
                .ok_or_else(|| refusal::no_such_schema(qualifier)),
            [database, schema] => self.resolve_qualified_schema(database, schema),
            parts => Err(refusal::name_parts(parts.len() + 1)),
        }
    }

    /// What one qualifier means where a schema or a whole database may stand: a schema of the current database first.
    /// Errors: 3F000.
    pub fn resolve_schema_or_database(
        &self,
        context: &NameContext,
        name: &Name,
    ) -> Result<(ObjectId, ObjectKind), Refusal> {
        let current = context.database.as_ref().and_then(|name| self.resolve_database(name).ok());
        let schema = current.and_then(|database| self.schema_in(database, name));
        let database = || self.child(ObjectId::CLUSTER, Namespace::Databases, name);
        schema
            .map(|schema| (schema, ObjectKind::Schema))
            .or_else(|| database().map(|database| (database, ObjectKind::Database)))
            .ok_or_else(|| refusal::no_such_schema(name))
    }

    /// The first schema of the search path that exists: where unqualified new tables go.
    pub fn current_schema(&self, context: &NameContext) -> Result<ObjectId, Refusal> {
        let database = self.current_database(context)?;
        context
            .search_path
            .iter()
            .find_map(|schema| self.schema_in(database, schema))
            .ok_or_else(refusal::no_schema_selected)
    }

    /// The database that an object is in, or is. None: it is the cluster, or does not exist.
    pub fn database_of(&self, object: ObjectId) -> Option<ObjectId> {
        let mut at = object;
        loop {
            let found = self.object(at)?;
            match found.body {
                Body::Database => return Some(at),
                Body::Schema | Body::Table(_) => at = found.parent,
            }
        }
    }

    /// Whether an object is, or is in, the database `system`.
    pub fn is_system(&self, object: ObjectId) -> bool {
        self.database_of(object) == Some(ObjectId::SYSTEM_DATABASE)
    }

    /// The full name of an object: `d`, `d.s`, `d.s.t`. Names are not quoted.
    pub fn full_name(&self, object: &Object) -> String {
        let mut name = object.name.to_string();
        let mut parent = object.parent;
        while let Some(above) = self.object(parent) {
            name = format!("{}.{name}", above.name);
            parent = above.parent;
        }
        name
    }

    /// The child of `parent` of this name.
    pub(super) fn child(&self, parent: ObjectId, namespace: Namespace, name: &Name) -> Option<ObjectId> {
        self.names.get(&(parent, namespace))?.get(name).copied()
    }

    /// The schema of this name in a database.
    pub(super) fn schema_in(&self, database: ObjectId, name: &Name) -> Option<ObjectId> {
        self.child(database, Namespace::Schemas, name)
    }

    /// The relation of this name in a schema.
    pub(super) fn relation_in(&self, schema: ObjectId, name: &Name) -> Option<ObjectId> {
        self.child(schema, Namespace::Relations, name)
    }

    /// The schemas that one qualifier can mean, in the order in which they are tried.
    fn schemas_of_qualifier(&self, context: &NameContext, qualifier: &Name) -> Vec<ObjectId> {
        let current = context.database.as_ref().and_then(|name| self.resolve_database(name).ok());
        let in_current = current.and_then(|database| self.schema_in(database, qualifier));
        let database = self.child(ObjectId::CLUSTER, Namespace::Databases, qualifier);
        let in_database = database.and_then(|database| self.schema_in(database, &Name::from("public")));
        in_current.into_iter().chain(in_database).collect()
    }

    fn resolve_qualified_schema(&self, database: &Name, schema: &Name) -> Result<ObjectId, Refusal> {
        let database = self.resolve_database(database)?;
        self.schema_in(database, schema).ok_or_else(|| refusal::no_such_schema(schema))
    }

    fn existing(&self, id: PrincipalId) -> Result<PrincipalId, Refusal> {
        match self.principal(id) {
            Some(_) => Ok(id),
            None => Err(refusal::no_such_role(&self.principal_name(id))),
        }
    }
}
