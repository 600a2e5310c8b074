//! What names mean: one loop per level.

use crate::command::{Actor, FunctionName, NameContext, ObjectName, SchemaName, TablePattern, TypeName};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Body, ColumnType, Object};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::spec::{Model, say};
use crate::system;

/// What a name is looked up for. Relations and types share their names in a schema; functions have their own.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sort {
    Relation,
    Type,
    Function,
}

impl Sort {
    pub(super) fn of(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Type => Self::Type,
            ObjectKind::Function => Self::Function,
            _ => Self::Relation,
        }
    }

    fn missing(self, written: &str) -> Refusal {
        match self {
            Self::Relation => say::unknown_relation(written),
            Self::Type => say::unknown_type(written),
            Self::Function => say::unknown_function(written),
        }
    }
}

/// The virtual tables of a virtual schema, and of the database `system`. A virtual schema is in every database and
/// listed in none.
fn virtual_children(parent: ObjectId) -> impl Iterator<Item = &'static (ObjectId, Object)> {
    let has_some = parent.is_virtual() || parent == ObjectId::SYSTEM_PUBLIC_SCHEMA;
    let all = if has_some { system::objects() } else { &[] };
    all.iter().filter(move |(_, known)| known.parent == parent)
}

fn is_relation(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Table | ObjectKind::Sequence | ObjectKind::VirtualTable)
}

impl Model {
    pub(super) fn parent(&self, object: ObjectId) -> ObjectId {
        if let Some(known) = system::object(object) {
            return known.parent;
        }
        self.objects.iter().find(|known| known.id == object).map_or(ObjectId::CLUSTER, |known| known.parent)
    }

    /// The children of `parent` of some kind, sorted by name; of functions also by their arguments.
    pub(super) fn children(&self, parent: ObjectId, fits: fn(ObjectKind) -> bool) -> Vec<ObjectId> {
        let mut found = Vec::new();
        for known in &self.objects {
            if known.parent == parent && fits(known.kind()) {
                // Functions come after what shares one namespace, by name and arguments.
                let function = known.kind() == ObjectKind::Function;
                let types: Vec<_> =
                    self.argument_types(known.id).iter().map(|one| format!("{one:?}")).collect();
                let key = match function {
                    true => format!("{}({})", known.name, types.join(",")),
                    false => known.name.to_string(),
                };
                found.push((function, key, known.id));
            }
        }
        for (id, known) in virtual_children(parent) {
            if fits(known.kind()) {
                found.push((false, known.name.to_string(), *id));
            }
        }
        found.sort();
        found.into_iter().map(|(_, _, id)| id).collect()
    }

    fn argument_types(&self, object: ObjectId) -> Vec<ColumnType> {
        match self.objects.iter().find(|known| known.id == object).map(|known| &known.body) {
            Some(Body::Function(function)) => function.argument_types().collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn databases_known(&self) -> Vec<ObjectId> {
        self.children(ObjectId::CLUSTER, |kind| kind == ObjectKind::Database)
    }

    pub(super) fn schemas_of(&self, database: ObjectId) -> Vec<ObjectId> {
        self.children(database, |kind| kind == ObjectKind::Schema)
    }

    /// Tables, views and sequences.
    pub(super) fn relations_of(&self, schema: ObjectId) -> Vec<ObjectId> {
        self.children(schema, is_relation)
    }

    /// Everything in a schema.
    pub(super) fn contents_of(&self, schema: ObjectId) -> Vec<ObjectId> {
        self.children(schema, |_| true)
    }

    /// Everything in the schemas of a database.
    pub(super) fn contents_of_database(&self, database: ObjectId) -> Vec<ObjectId> {
        self.schemas_of(database).into_iter().flat_map(|schema| self.contents_of(schema)).collect()
    }

    fn child(&self, parent: ObjectId, name: &Name, fits: fn(ObjectKind) -> bool) -> Option<ObjectId> {
        for known in &self.objects {
            if known.parent == parent && known.name == *name && fits(known.kind()) {
                return Some(known.id);
            }
        }
        let found = virtual_children(parent).find(|(_, known)| known.name == *name && fits(known.kind()));
        found.map(|(id, _)| *id)
    }

    pub(super) fn find_database(&self, name: &Name) -> Option<ObjectId> {
        self.child(ObjectId::CLUSTER, name, |kind| kind == ObjectKind::Database)
    }

    pub(super) fn find_external_connection(&self, name: &Name) -> Option<ObjectId> {
        self.child(ObjectId::CLUSTER, name, |kind| kind == ObjectKind::ExternalConnection)
    }

    pub(super) fn find_iam_role(&self, name: &Name) -> Option<ObjectId> {
        self.child(ObjectId::CLUSTER, name, |kind| kind == ObjectKind::IamRole)
    }

    /// A schema of the database, or one that every database has.
    pub(super) fn find_schema(&self, database: ObjectId, name: &Name) -> Option<ObjectId> {
        let own = self.child(database, name, |kind| kind == ObjectKind::Schema);
        own.or_else(|| system::schema_id(name.as_str()))
    }

    /// A relation or type of this name in a schema, whichever has it.
    pub(super) fn find_in_schema(&self, schema: ObjectId, name: &Name) -> Option<ObjectId> {
        self.child(schema, name, |kind| kind != ObjectKind::Function)
    }

    /// The functions of this name in a schema, with these arguments if they are given.
    pub(super) fn find_functions(
        &self,
        schema: ObjectId,
        name: &Name,
        arguments: Option<&[ColumnType]>,
    ) -> Vec<ObjectId> {
        let mut found = self.children(schema, |kind| kind == ObjectKind::Function);
        found.retain(|id| self.name_of(*id).as_ref() == Some(name));
        found.retain(|id| arguments.is_none_or(|types| self.argument_types(*id) == types));
        found
    }

    pub(super) fn database(&self, name: &Name) -> Result<ObjectId, Refusal> {
        self.find_database(name).ok_or_else(|| say::unknown_database(name.as_str()))
    }

    pub(super) fn current_database(&self, context: &NameContext) -> Result<ObjectId, Refusal> {
        match &context.database {
            Some(name) => self.database(name),
            None => Err(say::no_database()),
        }
    }

    pub(super) fn schema(&self, context: &NameContext, name: &SchemaName) -> Result<ObjectId, Refusal> {
        let database = match &name.database {
            Some(database) => self.database(database)?,
            None => self.current_database(context)?,
        };
        self.find_schema(database, &name.schema).ok_or_else(|| say::unknown_schema(name.schema.as_str()))
    }

    /// The schemas in which a name of `parts` is looked for, in order.
    pub(super) fn schemas_to_search(
        &self,
        context: &NameContext,
        prefix: &[Name],
        missing: &Refusal,
    ) -> Result<Vec<ObjectId>, Refusal> {
        match prefix {
            [] => {
                let mut schemas = Vec::new();
                let catalog = Name::normalize("pg_catalog");
                if !context.search_path.contains(&catalog) {
                    schemas.extend(system::schema_id("pg_catalog"));
                }
                for name in &context.search_path {
                    schemas.extend(match self.current_database(context) {
                        Ok(database) => self.find_schema(database, name),
                        Err(_) => system::schema_id(name.as_str()),
                    });
                }
                Ok(schemas)
            }
            [outer] => {
                let mut schemas = Vec::new();
                if let Ok(database) = self.current_database(context) {
                    schemas.extend(self.find_schema(database, outer));
                } else {
                    schemas.extend(system::schema_id(outer.as_str()));
                }
                if let Some(database) = self.find_database(outer) {
                    schemas.extend(self.find_schema(database, &Name::normalize("public")));
                }
                Ok(schemas)
            }
            [database, schema] => {
                let database = self.database(database)?;
                let schema = self.find_schema(database, schema);
                schema.map(|schema| vec![schema]).ok_or_else(|| say::unknown_schema(prefix[1].as_str()))
            }
            _ => Err(missing.clone()),
        }
    }

    /// What a name of one to three parts means.
    pub(super) fn named(
        &self,
        context: &NameContext,
        name: &ObjectName,
        sort: Sort,
    ) -> Result<ObjectId, Refusal> {
        let missing = sort.missing(&name.to_string());
        let [prefix @ .., last] = name.parts.as_slice() else { return Err(missing) };
        for schema in self.schemas_to_search(context, prefix, &missing)? {
            let found = self.find_in_schema(schema, last);
            if let Some(found) = found.filter(|found| Sort::of(self.kind(*found)) == sort) {
                return Ok(found);
            }
        }
        Err(missing)
    }

    /// As [`Self::named`] for a command: a name in a schema is looked up only by those who may use it.
    pub(super) fn named_for(
        &self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        sort: Sort,
    ) -> Result<ObjectId, Refusal> {
        let found = self.named(context, name, sort)?;
        self.check_privilege(actor.current, self.parent(found), Privilege::Usage)?;
        Ok(found)
    }

    pub(super) fn relation_for(
        &self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        word: &str,
    ) -> Result<ObjectId, Refusal> {
        let found = self.named(context, name, Sort::Relation)?;
        self.check_relation_is(found, word)?;
        self.check_privilege(actor.current, self.parent(found), Privilege::Usage)?;
        Ok(found)
    }

    /// Whether a relation is a `table`, `view`, `sequence`, or any of them (`relation`).
    pub(super) fn check_relation_is(&self, relation: ObjectId, word: &str) -> Result<(), Refusal> {
        let body = self.objects.iter().find(|known| known.id == relation).map(|known| &known.body);
        let fits = match body {
            Some(Body::View(_)) => word == "view",
            Some(Body::Sequence(_)) => word == "sequence",
            _ => word == "table",
        };
        if fits || word == "relation" {
            return Ok(());
        }
        Err(say::not_such_a_relation(&self.label(relation), word))
    }

    /// The one function that is meant.
    pub(super) fn function(&self, context: &NameContext, name: &FunctionName) -> Result<ObjectId, Refusal> {
        let missing = say::unknown_function(&name.to_string());
        let [prefix @ .., last] = name.name.parts.as_slice() else { return Err(missing) };
        let types = match &name.arguments {
            Some(names) => Some(self.types(context, names)?),
            None => None,
        };
        for schema in self.schemas_to_search(context, prefix, &missing)? {
            match self.find_functions(schema, last, types.as_deref()).as_slice() {
                [] => {}
                [one] => return Ok(*one),
                _ => return Err(say::ambiguous_function(&name.name.to_string())),
            }
        }
        Err(missing)
    }

    fn types(&self, context: &NameContext, names: &[TypeName]) -> Result<Vec<ColumnType>, Refusal> {
        let mut types = Vec::new();
        for name in names {
            types.push(match name {
                TypeName::Known(known) => *known,
                TypeName::Named(name) => ColumnType::Enum(self.named(context, name, Sort::Type)?),
            });
        }
        Ok(types)
    }

    pub(super) fn function_for(
        &self,
        actor: Actor,
        context: &NameContext,
        name: &FunctionName,
    ) -> Result<ObjectId, Refusal> {
        let found = self.function(context, name)?;
        self.check_privilege(actor.current, self.parent(found), Privilege::Usage)?;
        Ok(found)
    }

    pub(super) fn external_connection(&self, name: &Name) -> Result<ObjectId, Refusal> {
        self.find_external_connection(name).ok_or_else(|| say::unknown_external_connection(name.as_str()))
    }

    pub(super) fn iam_role(&self, name: &Name) -> Result<ObjectId, Refusal> {
        self.find_iam_role(name).ok_or_else(|| say::unknown_iam_role(name.as_str()))
    }

    /// The schema of `*`, `a.*` and `d.s.*`, and of a thing to be made in it.
    pub(super) fn containing_schema(
        &self,
        context: &NameContext,
        prefix: &[Name],
    ) -> Result<ObjectId, Refusal> {
        match prefix {
            [] => {
                let database = self.current_database(context)?;
                for schema in &context.search_path {
                    if let Some(schema) = self.find_schema(database, schema) {
                        return Ok(schema);
                    }
                }
                Err(say::no_schema_selected())
            }
            [outer] => {
                let current = self.current_database(context).ok();
                let in_current = match current {
                    Some(database) => self.find_schema(database, outer),
                    None => system::schema_id(outer.as_str()),
                };
                let in_database = || self.find_schema(self.find_database(outer)?, &Name::normalize("public"));
                in_current.or_else(in_database).ok_or_else(|| say::unknown_schema(outer.as_str()))
            }
            [database, schema, ..] => {
                let name = SchemaName { database: Some(database.clone()), schema: schema.clone() };
                self.schema(context, &name)
            }
        }
    }

    /// What the patterns after ON TABLE or ON SEQUENCE mean.
    pub(super) fn relations(
        &self,
        context: &NameContext,
        patterns: &[TablePattern],
        word: &str,
    ) -> Result<Vec<ObjectId>, Refusal> {
        let mut found = Vec::new();
        for pattern in patterns {
            match pattern {
                TablePattern::Table(name) => {
                    let relation = self.named(context, name, Sort::Relation)?;
                    self.check_relation_is(relation, word)?;
                    found.push(relation);
                }
                TablePattern::All(prefix) => {
                    let mut relations = self.relations_of(self.containing_schema(context, prefix)?);
                    relations.retain(|relation| self.check_relation_is(*relation, word).is_ok());
                    if relations.is_empty() {
                        return Err(say::no_objects_matched());
                    }
                    found.extend(relations);
                }
            }
        }
        Ok(found)
    }

    /// The database that contains `object`, or is it; the cluster for what is in none.
    pub(super) fn database_of(&self, object: ObjectId) -> ObjectId {
        let mut at = object;
        while at != ObjectId::CLUSTER && self.kind(at) != ObjectKind::Database {
            at = self.parent(at);
        }
        at
    }

    /// What belongs to the system and cannot be granted on: all of the database `system`, and the virtual schemas.
    pub(super) fn is_systems(&self, object: ObjectId) -> bool {
        let virtual_schema = object.is_virtual() && self.kind(object) == ObjectKind::Schema;
        virtual_schema || self.database_of(object) == ObjectId::SYSTEM_DATABASE
    }
}
