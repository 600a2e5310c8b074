//! CREATE and DROP of databases, schemas and tables. Source: authorization spec, A.5.2, A.5.3, F.1.

use crate::command::{DropBehavior, ObjectName, RoleSpec, SchemaName, StorageChange};
use crate::id::{ObjectId, PrincipalId};
use crate::name::{NAME_BYTES_MAX, Name};
use crate::object::{Body, Object, Table};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal};
use crate::role::RoleOption;
use crate::state::bootstrap::{new_acl, new_database, new_public_schema};
use crate::state::{Namespace, Work, table};

/// Schemas that every database has and that are not stored: their names are taken.
const VIRTUAL_SCHEMAS: [&str; 4] = ["crdb_internal", "information_schema", "pg_catalog", "pg_extension"];

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

    pub(super) fn drop_database(
        &mut self,
        name: &Name,
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        let database = match self.state.resolve_database(name) {
            Ok(database) => database,
            Err(_) if if_exists => return Ok(()),
            Err(missing) => return Err(missing),
        };
        self.require(database, Privilege::Drop)?;
        let schemas: Vec<_> = self.state.children(database).map(|(id, _)| id).collect();
        let tables: Vec<_> =
            schemas.iter().flat_map(|schema| self.state.children(*schema)).map(|(id, _)| id).collect();
        let empty = schemas.len() <= 1 && tables.is_empty();
        match behavior {
            DropBehavior::Restrict if !empty => return Err(refusal::database_not_empty(name)),
            DropBehavior::Restrict | DropBehavior::Default | DropBehavior::Cascade => {}
        }
        for table in &tables {
            self.require(*table, Privilege::Drop)?;
        }
        for table in tables {
            self.remove_table(table);
        }
        for schema in schemas {
            self.remove_object(schema);
        }
        self.remove_object(database);
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
        let id = self.new_object_id()?;
        self.put_object(id, Object { name, parent: database, owner, acl: new_acl(), body: Body::Schema });
        Ok(())
    }

    /// Needs ownership, not a privilege; with CASCADE also DROP on each table inside. Everything is checked before
    /// anything is dropped, so a schema that is listed twice is no error.
    pub(super) fn drop_schemas(
        &mut self,
        names: &[SchemaName],
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        self.check_list(names.len())?;
        let mut dropped = Vec::new();
        for name in names {
            let is_fixed =
                name.schema.as_str() == "public" || VIRTUAL_SCHEMAS.contains(&name.schema.as_str());
            let schema = match self.state.resolve_schema(self.context, name) {
                Ok(schema) if !is_fixed => schema,
                Ok(_) => return Err(refusal::schema_stays(&name.schema)),
                Err(_) if if_exists => continue,
                Err(missing) => return Err(missing),
            };
            let owns = self.is_admin() || self.state.index.owns(self.actor.current, schema);
            if !owns {
                return Err(refusal::may_not_drop_schema(&name.schema));
            }
            let tables: Vec<_> = self.state.children(schema).map(|(id, _)| id).collect();
            match behavior {
                DropBehavior::Cascade => {}
                DropBehavior::Default | DropBehavior::Restrict if tables.is_empty() => {}
                DropBehavior::Default | DropBehavior::Restrict => {
                    return Err(refusal::schema_not_empty(&name.schema));
                }
            }
            for table in &tables {
                self.require(*table, Privilege::Drop)?;
            }
            dropped.push((schema, tables));
        }
        for (schema, tables) in dropped {
            for table in tables {
                self.remove_table(table);
            }
            self.remove_object(schema);
        }
        Ok(())
    }

    pub(super) fn create_table(
        &mut self,
        name: &ObjectName,
        table: &Table,
        if_not_exists: bool,
    ) -> Result<(), Refusal> {
        let (schema, name) = self.state.resolve_new_table(self.context, name)?;
        self.require(schema, Privilege::Create)?;
        if self.state.relation_in(schema, &name).is_some() {
            if if_not_exists {
                return self.taken(refusal::relation_exists(name.as_str()), if_not_exists);
            }
            let above = self.state.object(schema).map_or(String::new(), |above| self.state.full_name(above));
            return Err(refusal::relation_exists(&format!("{above}.{name}")));
        }
        check_name(&name, ObjectKind::Table)?;
        table::check(table)?;
        let id = self.new_object_id()?;
        let owner = self.actor.current;
        let body = Body::Table(table.clone());
        self.put_object(id, Object { name, parent: schema, owner, acl: new_acl(), body });
        self.done.storage.push(StorageChange::Create(id));
        Ok(())
    }

    /// Needs USAGE on the schema, as every look-up of a name in it, and DROP on the table. Everything is checked before
    /// anything is dropped.
    pub(super) fn drop_tables(&mut self, names: &[ObjectName], if_exists: bool) -> Result<(), Refusal> {
        self.check_list(names.len())?;
        let mut dropped = Vec::new();
        for name in names {
            let table = match self.state.resolve_table(self.context, name) {
                Ok(table) => table,
                Err(_) if if_exists => continue,
                Err(missing) => return Err(missing),
            };
            self.require_usage(table)?;
            self.require(table, Privilege::Drop)?;
            dropped.push(table);
        }
        for table in dropped {
            self.remove_table(table);
        }
        Ok(())
    }

    /// USAGE on the schema that `object` is in.
    pub(super) fn require_usage(&self, object: ObjectId) -> Result<(), Refusal> {
        match self.state.object(object) {
            Some(object) => self.require(object.parent, Privilege::Usage),
            None => Err(refusal::object_gone(object)),
        }
    }

    fn remove_table(&mut self, table: ObjectId) {
        if self.state.object(table).is_some() {
            self.remove_object(table);
            self.done.storage.push(StorageChange::Drop(table));
        }
    }

    /// Who is to own a new object: the role that the statement names, which must exist, or who acts.
    fn new_owner(&self, spec: Option<&RoleSpec>) -> Result<PrincipalId, Refusal> {
        spec.map_or(Ok(self.actor.current), |spec| self.state.resolve_role(self.actor, spec))
    }

    /// The name is taken: an error, or with IF NOT EXISTS a notice.
    fn taken(&mut self, refusal: Refusal, if_not_exists: bool) -> Result<(), Refusal> {
        if !if_not_exists {
            return Err(refusal);
        }
        self.done.notices.push(refusal::skipped(&refusal));
        Ok(())
    }
}

fn check_name(name: &Name, kind: ObjectKind) -> Result<(), Refusal> {
    match name.as_str().len() {
        0 => Err(refusal::name_empty(kind)),
        length if length > NAME_BYTES_MAX => Err(refusal::name_too_long(name, NAME_BYTES_MAX)),
        _ => Ok(()),
    }
}
