//! What names mean: one loop per level.

use crate::command::{Actor, NameContext, ObjectName, SchemaName, TablePattern};
use crate::id::ObjectId;
use crate::name::Name;
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::spec::{Model, say};

impl Model {
    /// The child of `parent` with this name.
    pub(super) fn child(&self, parent: ObjectId, name: &Name) -> Option<ObjectId> {
        self.objects.iter().find(|known| known.parent == parent && known.name == *name).map(|known| known.id)
    }

    /// The children of `parent`, sorted by name.
    pub(super) fn children(&self, parent: ObjectId) -> Vec<ObjectId> {
        let mut found: Vec<_> = self.objects.iter().filter(|known| known.parent == parent).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.into_iter().map(|known| known.id).collect()
    }

    /// The tables of a database, by schema and name.
    pub(super) fn tables_of_database(&self, database: ObjectId) -> Vec<ObjectId> {
        self.children(database).into_iter().flat_map(|schema| self.children(schema)).collect()
    }

    pub(super) fn database(&self, name: &Name) -> Result<ObjectId, Refusal> {
        self.child(ObjectId::CLUSTER, name).ok_or_else(|| say::unknown_database(name.as_str()))
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
        self.child(database, &name.schema).ok_or_else(|| say::unknown_schema(name.schema.as_str()))
    }

    pub(super) fn table(&self, context: &NameContext, name: &ObjectName) -> Result<ObjectId, Refusal> {
        let written = name.parts.iter().map(Name::as_str).collect::<Vec<_>>().join(".");
        let missing = || say::unknown_relation(&written);
        match name.parts.as_slice() {
            [table] => {
                let database = self.current_database(context).map_err(|_| missing())?;
                for schema in &context.search_path {
                    let found = self.child(database, schema).and_then(|schema| self.child(schema, table));
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Err(missing())
            }
            [outer, table] => {
                let in_schema = self
                    .current_database(context)
                    .ok()
                    .and_then(|database| self.child(database, outer))
                    .and_then(|schema| self.child(schema, table));
                let in_database = || {
                    let database = self.child(ObjectId::CLUSTER, outer)?;
                    self.child(self.child(database, &Name::normalize("public"))?, table)
                };
                in_schema.or_else(in_database).ok_or_else(missing)
            }
            [database, schema, table] => {
                let database = self.database(database)?;
                let schema =
                    self.child(database, schema).ok_or_else(|| say::unknown_schema(schema.as_str()))?;
                self.child(schema, table).ok_or_else(missing)
            }
            _ => Err(missing()),
        }
    }

    /// As [`Self::table`], for a command: a name in a schema is looked up only by those who may use it.
    pub(super) fn table_for(
        &self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
    ) -> Result<ObjectId, Refusal> {
        let table = self.table(context, name)?;
        self.check_privilege(actor.current, self.parent(table), Privilege::Usage)?;
        Ok(table)
    }

    /// The schema of `*`, `a.*` and `d.s.*`, and of a table to be made in it.
    pub(super) fn containing_schema(
        &self,
        context: &NameContext,
        prefix: &[Name],
    ) -> Result<ObjectId, Refusal> {
        match prefix {
            [] => {
                let database = self.current_database(context)?;
                for schema in &context.search_path {
                    if let Some(schema) = self.child(database, schema) {
                        return Ok(schema);
                    }
                }
                Err(say::no_schema_selected())
            }
            [outer] => {
                let in_current =
                    self.current_database(context).ok().and_then(|database| self.child(database, outer));
                let in_database = || {
                    let database = self.child(ObjectId::CLUSTER, outer)?;
                    self.child(database, &Name::normalize("public"))
                };
                in_current.or_else(in_database).ok_or_else(|| say::unknown_schema(outer.as_str()))
            }
            [database, schema, ..] => {
                let name = SchemaName { database: Some(database.clone()), schema: schema.clone() };
                self.schema(context, &name)
            }
        }
    }

    pub(super) fn tables(
        &self,
        context: &NameContext,
        patterns: &[TablePattern],
    ) -> Result<Vec<ObjectId>, Refusal> {
        let mut found = Vec::new();
        for pattern in patterns {
            match pattern {
                TablePattern::Table(name) => found.push(self.table(context, name)?),
                TablePattern::All(prefix) => {
                    let tables = self.children(self.containing_schema(context, prefix)?);
                    if tables.is_empty() {
                        return Err(say::no_objects_matched());
                    }
                    found.extend(tables);
                }
            }
        }
        Ok(found)
    }

    /// The database that contains `object`, or is it.
    pub(super) fn database_of(&self, object: ObjectId) -> ObjectId {
        let mut at = object;
        loop {
            let Some(known) = self.objects.iter().find(|known| known.id == at) else { return at };
            if known.kind == ObjectKind::Database {
                return at;
            }
            at = known.parent;
        }
    }

    pub(super) fn parent(&self, object: ObjectId) -> ObjectId {
        self.objects.iter().find(|known| known.id == object).map_or(ObjectId::CLUSTER, |known| known.parent)
    }
}
