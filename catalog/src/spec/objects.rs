//! Databases, schemas and tables come and go and change hands (A.5.2, A.5.3, E.7, F).

use crate::command::{
    Actor, DropBehavior, NameContext, ObjectName, OwnedName, RoleSpec, SchemaName, StorageChange,
};
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::object::Table;
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::role::RoleOption;
use crate::spec::{Model, ModelGrant, ModelObject, Told, say};

impl Model {
    pub(super) fn create_database(
        &mut self,
        actor: Actor,
        name: &Name,
        if_not_exists: bool,
        owner: Option<&RoleSpec>,
    ) -> Result<Told, Refusal> {
        if !self.has_option(actor.current, RoleOption::CreateDb) {
            return Err(say::may_not_create_database());
        }
        if self.child(ObjectId::CLUSTER, name).is_some() {
            return exists(if_not_exists, &say::database_exists(name.as_str()));
        }
        let owner = self.first_owner(actor, owner)?;
        self.add_database(name.clone(), owner);
        Ok(Told::default())
    }

    /// The database and its schema `public`, with what E.7 puts on them.
    pub(super) fn add_database(&mut self, name: Name, owner: PrincipalId) {
        let database = self.add_object(ObjectKind::Database, name, ObjectId::CLUSTER, owner, None);
        self.add_grant(database, PrincipalId::PUBLIC, &[Privilege::Connect]);
        let public = Name::normalize("public");
        let schema = self.add_object(ObjectKind::Schema, public, database, PrincipalId::ADMIN, None);
        self.add_grant(schema, PrincipalId::PUBLIC, &[Privilege::Create, Privilege::Usage]);
    }

    fn add_object(
        &mut self,
        kind: ObjectKind,
        name: Name,
        parent: ObjectId,
        owner: PrincipalId,
        table: Option<Table>,
    ) -> ObjectId {
        let id = ObjectId(self.next_object);
        self.next_object += 1;
        self.objects.push(ModelObject { id, kind, name, parent, owner, table });
        for grantee in [PrincipalId::ROOT, PrincipalId::ADMIN] {
            self.held.push(ModelGrant {
                object: id,
                grantee,
                privileges: vec![Privilege::All],
                grant_options: vec![Privilege::All],
            });
        }
        id
    }

    fn add_grant(&mut self, object: ObjectId, grantee: PrincipalId, privileges: &[Privilege]) {
        self.held.push(ModelGrant {
            object,
            grantee,
            privileges: privileges.to_vec(),
            grant_options: Vec::new(),
        });
    }

    /// Who owns what `actor` creates: itself, or whom the statement names.
    fn first_owner(&self, actor: Actor, owner: Option<&RoleSpec>) -> Result<PrincipalId, Refusal> {
        owner.map_or(Ok(actor.current), |owner| self.principal(actor, owner))
    }

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
        let tables = self.tables_of_database(database);
        let empty = tables.is_empty() && self.children(database).len() <= 1;
        if behavior == DropBehavior::Restrict && !empty {
            return Err(say::database_not_empty(name.as_str()));
        }
        for table in &tables {
            self.check_privilege(actor.current, *table, Privilege::Drop)?;
        }
        for schema in self.children(database) {
            self.remove_object(schema);
        }
        self.remove_object(database);
        Ok(Told::storage(self.remove_tables(tables)))
    }

    pub(super) fn create_schema(
        &mut self,
        actor: Actor,
        context: &NameContext,
        database: Option<&Name>,
        name: Option<&Name>,
        if_not_exists: bool,
        owner: Option<&RoleSpec>,
    ) -> Result<Told, Refusal> {
        let database = match database {
            Some(name) => self.database(name)?,
            None => self.current_database(context)?,
        };
        self.check_privilege(actor.current, database, Privilege::Create)?;
        let name = match name {
            Some(name) => name.clone(),
            None => Name::normalize(self.principal_name(self.first_owner(actor, owner)?).as_str()),
        };
        if self.child(database, &name).is_some() {
            return exists(if_not_exists, &say::schema_exists(name.as_str()));
        }
        if name.as_str().starts_with("pg_") {
            return Err(say::schema_name_is_reserved(name.as_str()));
        }
        let owner = self.first_owner(actor, owner)?;
        self.add_object(ObjectKind::Schema, name, database, owner, None);
        Ok(Told::default())
    }

    pub(super) fn drop_schemas(
        &mut self,
        actor: Actor,
        context: &NameContext,
        names: &[SchemaName],
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<Told, Refusal> {
        let mut told = Told::default();
        let mut schemas = Vec::new();
        for name in names {
            let schema = match self.schema(context, name) {
                Ok(schema) => schema,
                Err(refusal) => {
                    told.notices.extend(missing(if_exists, refusal)?.notices);
                    continue;
                }
            };
            if name.schema.as_str() == "public" {
                return Err(say::schema_is_not_dropped("public"));
            }
            if !self.owns_or_admin(actor.current, schema) {
                return Err(say::may_not_drop_schema(name.schema.as_str()));
            }
            let tables = self.children(schema);
            if behavior != DropBehavior::Cascade && !tables.is_empty() {
                return Err(say::schema_not_empty(name.schema.as_str()));
            }
            for table in tables {
                self.check_privilege(actor.current, table, Privilege::Drop)?;
            }
            schemas.push(schema);
        }
        for schema in schemas {
            let tables = self.children(schema);
            told.storage.extend(self.remove_tables(tables));
            self.remove_object(schema);
        }
        Ok(told)
    }

    pub(super) fn create_table(
        &mut self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        table: &Table,
        if_not_exists: bool,
    ) -> Result<Told, Refusal> {
        let [prefix @ .., last] = name.parts.as_slice() else { return Err(say::unknown_relation("")) };
        let schema = self.containing_schema(context, prefix)?;
        self.check_privilege(actor.current, schema, Privilege::Create)?;
        if self.child(schema, last).is_some() {
            if if_not_exists {
                return Ok(Told::notice(say::skipping(&say::relation_exists(last.as_str()))));
            }
            return Err(say::relation_exists(&format!("{}.{last}", self.full_name(schema))));
        }
        let id = self.add_object(ObjectKind::Table, last.clone(), schema, actor.current, Some(table.clone()));
        Ok(Told::storage(vec![StorageChange::Create(id)]))
    }

    pub(super) fn drop_tables(
        &mut self,
        actor: Actor,
        context: &NameContext,
        names: &[ObjectName],
        if_exists: bool,
    ) -> Result<Told, Refusal> {
        let mut told = Told::default();
        let mut tables = Vec::new();
        for name in names {
            match self.table_for(actor, context, name) {
                Ok(table) => {
                    self.check_privilege(actor.current, table, Privilege::Drop)?;
                    tables.push(table);
                }
                Err(refusal) => told.notices.extend(missing(if_exists, refusal)?.notices),
            }
        }
        told.storage = self.remove_tables(tables);
        Ok(told)
    }

    fn remove_tables(&mut self, tables: Vec<ObjectId>) -> Vec<StorageChange> {
        let mut storage = Vec::new();
        for table in tables {
            if self.objects.iter().any(|known| known.id == table) {
                self.remove_object(table);
                storage.push(StorageChange::Drop(table));
            }
        }
        storage
    }

    fn remove_object(&mut self, object: ObjectId) {
        self.objects.retain(|known| known.id != object);
        self.held.retain(|grant| grant.object != object);
    }

    /// F.2 and F.3.
    pub(super) fn alter_owner(
        &mut self,
        actor: Actor,
        context: &NameContext,
        object: &OwnedName,
        if_exists: bool,
        owner: &RoleSpec,
    ) -> Result<Told, Refusal> {
        let found = match object {
            OwnedName::Database(name) => self.database(name),
            OwnedName::Schema(name) => self.schema(context, name),
            OwnedName::Table(name) => self.table_for(actor, context, name),
        };
        let object = match found {
            Ok(object) => object,
            Err(refusal) => return missing(if_exists, refusal),
        };
        let owner = self.principal(actor, owner)?;
        if self.owner(object) == Some(PrincipalId::NODE) {
            return Err(say::must_own(self.kind(object), &self.label(object)));
        }
        if !self.is_admin(actor.current) {
            if !self.owns(actor.current, object) {
                return Err(say::must_own(self.kind(object), &self.label(object)));
            }
            if !self.acts_as(actor.current).contains(&owner) {
                return Err(say::must_be_member(&self.principal_name(owner)));
            }
        }
        match self.kind(object) {
            ObjectKind::Database => self.check_option(actor.current, RoleOption::CreateDb)?,
            ObjectKind::Schema => {
                self.check_privilege(actor.current, self.parent(object), Privilege::Create)?;
            }
            _ => self.check_privilege(owner, self.parent(object), Privilege::Create)?,
        }
        self.set_owner(object, owner);
        Ok(Told::default())
    }

    fn set_owner(&mut self, object: ObjectId, owner: PrincipalId) {
        for known in &mut self.objects {
            if known.id == object {
                known.owner = owner;
            }
        }
    }

    /// F.4.
    pub(super) fn reassign_owned(
        &mut self,
        actor: Actor,
        context: &NameContext,
        from: &[RoleSpec],
        to: &RoleSpec,
    ) -> Result<Told, Refusal> {
        let mut old = Vec::new();
        for role in from {
            old.push(self.principal(actor, role)?);
        }
        let new = self.principal(actor, to)?;
        if !self.is_admin(actor.current) {
            let acts_as = self.acts_as(actor.current);
            if !acts_as.contains(&new) {
                return Err(say::may_not_reassign("user must be a member of the new role"));
            }
            if old.iter().any(|role| !acts_as.contains(role)) {
                return Err(say::may_not_reassign("user must be a member of the old roles"));
            }
        }
        let database = self.current_database(context)?;
        let mut scope = vec![database];
        scope.extend(self.children(database));
        scope.extend(self.tables_of_database(database));
        for object in scope {
            if self.owner(object).is_some_and(|owner| old.contains(&owner)) {
                self.set_owner(object, new);
            }
        }
        Ok(Told::default())
    }
}

fn exists(if_not_exists: bool, refusal: &Refusal) -> Result<Told, Refusal> {
    if if_not_exists { Ok(Told::notice(say::skipping(refusal))) } else { Err(refusal.clone()) }
}

/// IF EXISTS forgives that the object is missing, and that what should contain it is.
fn missing(if_exists: bool, refusal: Refusal) -> Result<Told, Refusal> {
    let forgivable = ["3D000", "3F000", "42602", "42P01"].contains(&refusal.code.as_str());
    if if_exists && forgivable { Ok(Told::default()) } else { Err(refusal) }
}
