//! What a name means: the same everywhere that a name is written, and decided where the statement takes effect.

use crate::command::{
    Actor, FunctionName, NameContext, ObjectName, OwnedName, RoleSpec, SchemaName, TypeName,
};
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::object::{Body, ColumnType, Object};
use crate::privilege::ObjectKind;
use crate::refusal::{self, Refusal};
use crate::state::indexes::is_indexed_by;
use crate::state::store::{key_name, signature};
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

    /// The table, view or sequence that a statement names, or 3D000, 3F000, 42P01. A type is not found.
    ///
    /// One part: the first schema of the search path that has it; `pg_catalog` comes first, unless the path names it.
    /// Two parts: that of that schema of the current database; else that of schema `public` of the database of that
    /// name. Three parts: exactly that.
    pub fn resolve_relation(&self, context: &NameContext, name: &ObjectName) -> Result<ObjectId, Refusal> {
        let relation = |schema, name: &Name| {
            let id = self.relation_in(schema, name)?;
            (self.kind(id) != Some(ObjectKind::Type)).then_some(id)
        };
        self.find(context, name, relation)?.ok_or_else(|| refusal::no_such_relation(name))
    }

    /// The relation that a statement names, of which `is_such` must be true, or 42809 with the word for it.
    pub fn resolve_relation_that(
        &self,
        context: &NameContext,
        name: &ObjectName,
        word: &str,
        is_such: impl Fn(&Body) -> bool,
    ) -> Result<ObjectId, Refusal> {
        let id = self.resolve_relation(context, name)?;
        match self.object(id) {
            Some(object) if is_such(&object.body) => Ok(id),
            Some(object) => Err(refusal::wrong_object_kind(&object.name, word)),
            None => Err(refusal::object_gone(id)),
        }
    }

    /// The type that a statement names, or 3D000, 3F000, 42704.
    pub fn resolve_type(&self, context: &NameContext, name: &ObjectName) -> Result<ObjectId, Refusal> {
        let enum_type = |schema, name: &Name| {
            let id = self.relation_in(schema, name)?;
            (self.kind(id) == Some(ObjectKind::Type)).then_some(id)
        };
        self.find(context, name, enum_type)?.ok_or_else(|| refusal::no_such_type(name))
    }

    /// The type of an argument or column, or as [`Self::resolve_type`].
    pub fn resolve_type_name(&self, context: &NameContext, name: &TypeName) -> Result<ColumnType, Refusal> {
        match name {
            TypeName::Known(known) => Ok(*known),
            TypeName::Named(name) => self.resolve_type(context, name).map(ColumnType::Enum),
        }
    }

    /// The function that a statement names, or 3D000, 3F000, 42883; 42725 when no types are written and several fit.
    pub fn resolve_function(&self, context: &NameContext, name: &FunctionName) -> Result<ObjectId, Refusal> {
        let written = &name.name;
        let found = match &name.arguments {
            Some(types) => {
                let types: Vec<_> = types
                    .iter()
                    .map(|name| self.resolve_type_name(context, name))
                    .collect::<Result<_, _>>()?;
                self.find(context, written, |schema, part| {
                    let key = signature(part, types.iter().copied());
                    self.child(schema, Namespace::Functions, &key)
                })?
            }
            None => match self.find(context, written, |schema, part| {
                let found: Vec<_> = self.overloads_in(schema, part).collect();
                (!found.is_empty()).then_some(found)
            })? {
                Some(overloads) if overloads.len() > 1 => return Err(refusal::ambiguous_function(written)),
                found => found.and_then(|overloads| overloads.first().copied()),
            },
        };
        found.ok_or_else(|| refusal::no_such_function(name))
    }

    /// Every function of this name, in the first schema of the search path (or the one written) that has any.
    pub fn resolve_overloads(&self, context: &NameContext, name: &ObjectName) -> Vec<ObjectId> {
        let found = self.find(context, name, |schema, part| {
            let found: Vec<_> = self.overloads_in(schema, part).collect();
            (!found.is_empty()).then_some(found)
        });
        found.ok().flatten().unwrap_or_default()
    }

    /// The table that has the index of this name (the last part), or 42704; 42P08 when several in one schema have it.
    pub fn resolve_index(&self, context: &NameContext, name: &ObjectName) -> Result<ObjectId, Refusal> {
        let found = self.find(context, name, |schema, part| {
            let tables = self.children(schema).filter(|(_, object)| is_indexed_by(object, part));
            let found: Vec<_> = tables.map(|(id, _)| id).collect();
            (!found.is_empty()).then_some(found)
        })?;
        match found.as_deref() {
            Some([id]) => Ok(*id),
            Some(_) => Err(refusal::ambiguous_index(name)),
            None => Err(refusal::no_such_index(name)),
        }
    }

    /// The external connection of this name, or 42704.
    pub fn resolve_external_connection(&self, name: &Name) -> Result<ObjectId, Refusal> {
        self.child(ObjectId::CLUSTER, Namespace::ExternalConnections, name)
            .ok_or_else(|| refusal::no_such_external_connection(name))
    }

    /// The role of a cloud of this name, or 42704.
    pub fn resolve_iam_role(&self, name: &Name) -> Result<ObjectId, Refusal> {
        self.iam_role(name).ok_or_else(|| refusal::no_such_iam_role(name))
    }

    /// The role of a cloud of this name.
    pub fn iam_role(&self, name: &Name) -> Option<ObjectId> {
        self.child(ObjectId::CLUSTER, Namespace::IamRoles, name)
    }

    /// What an ALTER or COMMENT names, or what its kind says when it is not there. ALTER TABLE takes any relation.
    pub fn resolve_owned(&self, context: &NameContext, name: &OwnedName) -> Result<ObjectId, Refusal> {
        match name {
            OwnedName::Database(name) => self.resolve_database(name),
            OwnedName::Schema(name) => self.resolve_schema(context, name),
            OwnedName::Table(name) => self.resolve_relation(context, name),
            OwnedName::View(name) => {
                self.resolve_relation_that(context, name, "view", |body| matches!(body, Body::View(_)))
            }
            OwnedName::Sequence(name) => self
                .resolve_relation_that(context, name, "sequence", |body| matches!(body, Body::Sequence(_))),
            OwnedName::Type(name) => self.resolve_type(context, name),
            OwnedName::Function(name) => self.resolve_function(context, name),
            OwnedName::ExternalConnection(name) => self.resolve_external_connection(name),
            OwnedName::IamRole(name) => self.resolve_iam_role(name),
        }
    }

    /// Looks a name up in the schemas that it can mean, in their order.
    fn find<T>(
        &self,
        context: &NameContext,
        name: &ObjectName,
        in_schema: impl Fn(ObjectId, &Name) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        match name.parts.as_slice() {
            [name] => {
                let pg_catalog = Name::from("pg_catalog");
                let implied = (!context.search_path.contains(&pg_catalog)).then_some(&pg_catalog);
                let path = implied.into_iter().chain(&context.search_path);
                let database = self.current_database(context).ok();
                let schema = |schema| match database {
                    Some(database) => self.schema_in(database, schema),
                    None => self.child(ObjectId::CLUSTER, Namespace::Schemas, schema),
                };
                Ok(path.filter_map(schema).find_map(|schema| in_schema(schema, name)))
            }
            [qualifier, name] => {
                let schemas = self.schemas_of_qualifier(context, qualifier);
                Ok(schemas.into_iter().find_map(|schema| in_schema(schema, name)))
            }
            [database, schema, name] => {
                let schema = self.resolve_qualified_schema(database, schema)?;
                Ok(in_schema(schema, name))
            }
            parts => Err(refusal::name_parts(parts.len())),
        }
    }

    /// Where a table, view, sequence, type or function of this name would be made, or 3D000, 3F000, 42602.
    pub fn resolve_new_relation(
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
            if found.kind() == ObjectKind::Database {
                return Some(at);
            }
            at = found.parent;
        }
    }

    /// Whether `node` owns an object: it is, or is in, the database `system`, or it is computed.
    pub fn is_system(&self, object: ObjectId) -> bool {
        object.is_virtual() || self.database_of(object) == Some(ObjectId::SYSTEM_DATABASE)
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
        self.named.child(parent, namespace, name.as_str())
    }

    /// The object that is found where `object` should be.
    pub(crate) fn found_by_name(&self, object: &Object) -> Option<ObjectId> {
        self.child(object.parent, Namespace::of(object.kind())?, &key_name(object))
    }

    /// The schema of this name in a database; every database has the virtual ones.
    pub(super) fn schema_in(&self, database: ObjectId, name: &Name) -> Option<ObjectId> {
        self.child(database, Namespace::Schemas, name)
            .or_else(|| self.child(ObjectId::CLUSTER, Namespace::Schemas, name))
    }

    /// The functions of this name in a schema, whatever their arguments.
    fn overloads_in<'s>(&'s self, schema: ObjectId, name: &Name) -> impl Iterator<Item = ObjectId> + use<'s> {
        let functions = self.names.get(&(schema, Namespace::Functions));
        let from = Name::from(format!("{name}(").as_str());
        let (prefix, name) = (from.clone(), name.clone());
        functions
            .into_iter()
            .flat_map(move |functions| functions.range(from.clone()..))
            .take_while(move |(key, _)| key.as_str().starts_with(prefix.as_str()))
            .map(|(_, id)| *id)
            // A name may itself end in something that looks like arguments.
            .filter(move |id| self.object(*id).is_some_and(|object| object.name == name))
    }

    /// The relation or type of this name in a schema.
    pub(super) fn relation_in(&self, schema: ObjectId, name: &Name) -> Option<ObjectId> {
        self.child(schema, Namespace::Relations, name)
    }

    /// The schemas that one qualifier can mean, in the order in which they are tried.
    fn schemas_of_qualifier(&self, context: &NameContext, qualifier: &Name) -> Vec<ObjectId> {
        let current = context.database.as_ref().and_then(|name| self.resolve_database(name).ok());
        let in_current = match current {
            Some(database) => self.schema_in(database, qualifier),
            None => self.child(ObjectId::CLUSTER, Namespace::Schemas, qualifier),
        };
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
