//! RESTORE, as the cloud-jobs spec says it in B.7.4 and C.8.1: a shelf of things, published at once.
//!
//! Of a cluster's backup it knows users, memberships and settings: histories put nothing else of one on a shelf.

use std::sync::Arc;

use crate::command::{Actor, StorageChange};
use crate::defaults::DefaultClass;
use crate::id::{ObjectId, PrincipalId};
use crate::job::{Job, JobId, JobKind, JobStatus, Opaque};
use crate::name::Name;
use crate::object::{Body, Object};
use crate::privilege::{ObjectKind, Privilege};
use crate::record::{Record, RecordKey};
use crate::refusal::Refusal;
use crate::role::{Principal, RoleOption};
use crate::shelf::{Ids, Scope, Shelf, ShelfStep, Shelved};
use crate::spec::{Model, ModelEdge, ModelGrant, ModelObject, ModelPrincipal, Told, say};

/// The shelf of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of the record of the same name")]
pub struct ModelShelf {
    pub job: JobId,
    pub scope: Scope,
    pub first_object: u32,
    pub objects: u32,
    pub first_principal: u32,
    pub principals: u32,
    pub steps: u64,
    /// How many things came.
    pub count: u32,
    pub position: Opaque,
    /// What is on it, by the order in which it came.
    pub items: Vec<(u32, Shelved)>,
}

impl Model {
    pub(super) fn shelve(
        &mut self,
        actor: Actor,
        id: JobId,
        (epoch, number): (u64, u64),
        position: &Opaque,
        step: &ShelfStep,
    ) -> Result<Told, Refusal> {
        self.only_nodes(actor)?;
        let job = self.find_job(id)?;
        if job.claim.is_none() || job.epoch != epoch {
            return Err(say::stale_claim(id, epoch, job.epoch));
        }
        if job.asked.kind != JobKind::Restore {
            return Err(say::not_a_restore(id));
        }
        if *step == ShelfStep::Clear {
            return self.clear_shelf(id, &job);
        }
        if job.status != JobStatus::Running {
            return Err(say::out_of_place(id, job.status.word()));
        }
        if !self.principals.iter().any(|known| known.id == job.owner) && job.owner != PrincipalId::NODE {
            return Err(say::owner_is_gone(id, &job.owner_name, job.owner));
        }
        for need in &job.asked.requirement.needs {
            self.check(job.owner, need)?;
        }
        let at = self.shelves.iter().position(|shelf| shelf.job == id);
        let next = at.map_or(0, |at| self.shelves[at].steps);
        if number < next {
            return Ok(Told::default());
        }
        if number > next {
            return Err(say::out_of_step(id, number, next));
        }
        let told = match (step, at) {
            (ShelfStep::Begin { scope, objects, principals }, None) => {
                self.begin_shelf(id, &job, *scope, *objects, *principals)?
            }
            (ShelfStep::Begin { .. }, Some(_)) => return Err(say::out_of_step(id, number, next)),
            (_, None) if *step == ShelfStep::Publish => return Err(say::out_of_step(id, 1, 0)),
            (ShelfStep::Put(items), Some(at)) => self.put_on_shelf(at, items)?,
            (ShelfStep::Make(tables), at) => self.make_shelved(at, tables)?,
            (ShelfStep::Fill { table, .. }, at) => {
                if !self.shelved_table(at, *table)? {
                    return Err(say::object_is_gone(*table));
                }
                Told { notices: Vec::new(), storage: vec![StorageChange::Fill(*table)] }
            }
            (ShelfStep::Publish, Some(at)) => return self.publish(at, job, position),
            _ => return Err(say::out_of_step(id, 1, 0)),
        };
        let Some(shelf) = self.shelves.iter_mut().find(|shelf| shelf.job == id) else {
            return Err(say::out_of_step(id, 1, 0));
        };
        shelf.steps = next + 1;
        shelf.position = position.clone();
        Ok(told)
    }

    fn begin_shelf(
        &mut self,
        id: JobId,
        job: &Job,
        scope: Scope,
        objects: u32,
        principals: u32,
    ) -> Result<Told, Refusal> {
        self.may_restore_all(job.owner, scope)?;
        if scope == Scope::Cluster {
            self.check_empty()?;
        }
        let (first_object, first_principal) = (self.next_object, self.next_principal);
        self.next_object += objects;
        self.next_principal += principals;
        let (steps, count, position, items) = (0, 0, Opaque::default(), Vec::new());
        let shelf = ModelShelf {
            job: id,
            scope,
            first_object,
            objects,
            first_principal,
            principals,
            steps,
            count,
            position,
            items,
        };
        self.shelves.push(shelf);
        self.shelves.sort_by_key(|shelf| shelf.job);
        Ok(Told::default())
    }

    fn put_on_shelf(&mut self, at: usize, items: &[Shelved]) -> Result<Told, Refusal> {
        for item in items {
            if let Shelved::Object { id, is_made, .. } = item {
                let shelf = &self.shelves[at];
                let own = (shelf.first_object..shelf.first_object + shelf.objects).contains(&id.0);
                let twice = self
                    .shelves
                    .iter()
                    .flat_map(|shelf| &shelf.items)
                    .any(|(_, there)| matches!(there, Shelved::Object { id: there, .. } if there == id));
                let new = own && !twice;
                if !(new || id.is_virtual() && shelf.scope == Scope::Cluster) || *is_made {
                    return Err(say::backup_is_bad(&format!("object {id} is not new")));
                }
            }
            let shelf = &mut self.shelves[at];
            shelf.items.push((shelf.count, item.clone()));
            shelf.count += 1;
        }
        Ok(Told::default())
    }

    fn make_shelved(&mut self, at: Option<usize>, tables: &[ObjectId]) -> Result<Told, Refusal> {
        let mut storage = Vec::new();
        for table in tables {
            if self.shelved_table(at, *table)? {
                return Err(say::backup_is_bad(&format!("table {table} is made twice")));
            }
            let Some(at) = at else { continue };
            for (_, item) in &mut self.shelves[at].items {
                match item {
                    Shelved::Object { id, is_made, .. } if id == table => *is_made = true,
                    _ => {}
                }
            }
            storage.push(StorageChange::Shelve(*table));
        }
        Ok(Told { notices: Vec::new(), storage })
    }

    /// Whether a table or sequence of this shelf is made.
    fn shelved_table(&self, at: Option<usize>, table: ObjectId) -> Result<bool, Refusal> {
        for (_, item) in at.into_iter().flat_map(|at| &self.shelves[at].items) {
            if let Shelved::Object { id, object, is_made } = item
                && *id == table
                && matches!(object.body, Body::Table(_) | Body::Sequence(_))
            {
                return Ok(*is_made);
            }
        }
        Err(say::object_is_gone(table))
    }

    /// A hundred at most are not reached by any history.
    fn clear_shelf(&mut self, id: JobId, job: &Job) -> Result<Told, Refusal> {
        if job.status != JobStatus::Reverting {
            return Err(say::out_of_place(id, job.status.word()));
        }
        let mut storage = Vec::new();
        for shelf in self.shelves.iter().filter(|shelf| shelf.job == id) {
            for (_, item) in &shelf.items {
                if let Shelved::Object { id, is_made: true, .. } = item {
                    storage.push(StorageChange::Clear(*id));
                }
            }
        }
        self.shelves.retain(|shelf| shelf.job != id);
        Ok(Told { notices: Vec::new(), storage })
    }

    fn may_restore_all(&self, owner: PrincipalId, scope: Scope) -> Result<(), Refusal> {
        let may = self.is_admin(owner) || self.holds(owner, ObjectId::CLUSTER, Privilege::Restore);
        if scope == Scope::Objects || may { Ok(()) } else { Err(say::may_not_restore_cluster()) }
    }

    /// No database but those of a new cluster, and nothing in those.
    fn check_empty(&self) -> Result<(), Refusal> {
        let mut found: Vec<Name> = Vec::new();
        for known in self.objects.iter().filter(|known| matches!(known.body, Body::Database)) {
            if known.id == ObjectId::SYSTEM_DATABASE {
                continue;
            }
            let schemas = self.schemas_of(known.id);
            let empty = schemas.iter().all(|schema| {
                self.label(*schema).as_str() == "public"
                    && !self.objects.iter().any(|in_it| in_it.parent == *schema)
            });
            if !empty || !["defaultdb", "postgres"].contains(&known.name.as_str()) {
                found.push(known.name.clone());
            }
        }
        found.sort();
        if found.is_empty() { Ok(()) } else { Err(say::cluster_is_not_empty(&found)) }
    }

    fn publish(&mut self, at: usize, mut job: Job, position: &Opaque) -> Result<Told, Refusal> {
        let shelf = self.shelves[at].clone();
        self.may_restore_all(job.owner, shelf.scope)?;
        self.shelves.remove(at);
        if shelf.scope == Scope::Cluster {
            self.check_empty()?;
            let databases = self.objects.iter().filter(|known| matches!(known.body, Body::Database));
            let ids = databases.map(|known| known.id).filter(|id| *id != ObjectId::SYSTEM_DATABASE);
            let databases: Vec<_> = ids.collect();
            for database in databases {
                let mut gone = self.schemas_of(database);
                gone.push(database);
                self.remove(&gone);
            }
        }
        for (_, item) in &shelf.items {
            if let Shelved::Principal { id, principal } = item {
                self.publish_principal(&shelf, job.owner, *id, principal)?;
            }
        }
        for (_, item) in &shelf.items {
            if let Shelved::Membership { role, member, admin_option } = item {
                self.publish_edge(
                    &shelf,
                    job.owner,
                    ModelEdge { role: *role, member: *member, admin_option: *admin_option },
                )?;
            }
        }
        let storage = self.publish_objects(&shelf, job.owner)?;
        for (_, item) in &shelf.items {
            match item {
                Shelved::Object { .. } | Shelved::Principal { .. } | Shelved::Membership { .. } => {}
                _ if shelf.scope != Scope::Cluster => {
                    return Err(say::backup_is_bad("it has what only a cluster's backup has"));
                }
                Shelved::Setting(setting, value) => {
                    self.settings.retain(|(known, _)| known != setting);
                    self.settings.push((*setting, value.clone()));
                }
                other => unreachable!("no history has {other:?}"),
            }
        }
        job.progress.fraction_ppm = Some(1_000_000);
        self.finish(shelf.job, &mut job, JobStatus::Succeeded);
        job.progress.checkpoint = position.clone();
        let told = self.replace_job(shelf.job, job)?;
        Ok(Told { storage, ..told })
    }

    fn publish_principal(
        &mut self,
        shelf: &ModelShelf,
        owner: PrincipalId,
        id: PrincipalId,
        principal: &Principal,
    ) -> Result<(), Refusal> {
        if shelf.scope == Scope::Objects {
            return Err(say::backup_is_bad(&format!("it has the user {}", principal.name)));
        }
        if shelf.scope == Scope::Users && !self.has_option(owner, RoleOption::CreateRole) {
            for option in RoleOption::each() {
                if option != RoleOption::NoLogin && principal.options.contains(option) {
                    return Err(say::may_not_restore_option(&principal.name, option.word()));
                }
            }
        }
        let made = ModelPrincipal {
            id,
            name: principal.name.clone(),
            is_role: principal.is_role,
            options: RoleOption::each().filter(|option| principal.options.contains(*option)).collect(),
            password: principal.password.clone(),
            valid_until: principal.valid_until,
        };
        let own = (shelf.first_principal..shelf.first_principal + shelf.principals).contains(&id.0);
        match self.principals.iter().position(|known| known.name == principal.name) {
            Some(at) if self.principals[at].id == id && shelf.scope == Scope::Cluster => {
                let fixed = id == PrincipalId::ROOT || id == PrincipalId::ADMIN;
                let untouchable = self.is_admin(id) && !self.is_admin(owner);
                if !fixed && !untouchable {
                    self.principals[at] = made;
                }
                Ok(())
            }
            Some(_) => Err(say::role_exists(&principal.name)),
            None if own && !self.principals.iter().any(|known| known.id == id) => {
                self.principals.push(made);
                Ok(())
            }
            None => Err(say::backup_is_bad(&format!("user {} has no new id", principal.name))),
        }
    }

    fn publish_edge(
        &mut self,
        shelf: &ModelShelf,
        owner: PrincipalId,
        edge: ModelEdge,
    ) -> Result<(), Refusal> {
        if shelf.scope == Scope::Objects {
            return Err(say::backup_is_bad("it has members of roles"));
        }
        for end in [edge.role, edge.member] {
            if !self.principals.iter().any(|known| known.id == end) {
                return Err(say::actor_is_gone(end));
            }
        }
        if (edge.role, edge.member) == (PrincipalId::ADMIN, PrincipalId::ROOT) {
            return Ok(());
        }
        if self.acts_as(edge.role).contains(&edge.member) {
            return Err(say::backup_is_bad("a role is a member of itself"));
        }
        if shelf.scope == Scope::Cluster && self.is_admin(edge.role) && !self.is_admin(owner) {
            return Ok(());
        }
        let own = (shelf.first_principal..shelf.first_principal + shelf.principals).contains(&edge.role.0);
        let acts_as = self.acts_as(owner);
        let administers = self
            .edges
            .iter()
            .any(|known| known.role == edge.role && known.admin_option && acts_as.contains(&known.member));
        if !own && !administers && shelf.scope != Scope::Cluster && !self.is_admin(owner) {
            return Err(say::may_not_restore_member(&self.principal_name(edge.role)));
        }
        self.edges.retain(|known| (known.role, known.member) != (edge.role, edge.member));
        self.edges.push(edge);
        Ok(())
    }

    fn publish_objects(
        &mut self,
        shelf: &ModelShelf,
        owner: PrincipalId,
    ) -> Result<Vec<StorageChange>, Refusal> {
        let mut objects = Vec::new();
        for (_, item) in &shelf.items {
            if let Shelved::Object { id, object, is_made } = item {
                objects.push((*id, Object::clone(object), *is_made));
            }
        }
        objects.sort_by_key(|(id, object, _)| (object.kind(), *id));
        let (mut new, mut storage) = (Vec::new(), Vec::new());
        for (id, object, is_made) in &objects {
            let has_table = matches!(object.body, Body::Table(_) | Body::Sequence(_));
            if has_table != *is_made {
                return Err(say::backup_is_bad(&format!("table {} is not there yet", object.name)));
            }
            if shelf.scope != Scope::Objects {
                return Err(say::backup_is_bad(&format!("it has the object {}", object.name)));
            }
            if !new.contains(&object.parent) {
                self.may_restore_into(owner, object)?;
            }
            self.publish_object(*id, object, owner)?;
            new.push(*id);
            if has_table {
                storage.push(StorageChange::Publish(*id));
            }
        }
        for id in &new {
            let public = |schema: &ObjectId| self.label(*schema).as_str() == "public";
            if self.kind(*id) == ObjectKind::Database && !self.schemas_of(*id).iter().any(public) {
                return Err(say::backup_is_bad("a database has no schema public"));
            }
        }
        Ok(storage)
    }

    fn may_restore_into(&self, owner: PrincipalId, object: &Object) -> Result<(), Refusal> {
        if matches!(object.body, Body::Database) {
            let may = self.holds(owner, ObjectId::CLUSTER, Privilege::Restore)
                || self.has_option(owner, RoleOption::CreateDb);
            return if may { Ok(()) } else { Err(say::may_not_restore_databases()) };
        }
        let there = self.objects.iter().any(|known| known.id == object.parent);
        let database = self.database_of(object.parent);
        if !there || database == ObjectId::SYSTEM_DATABASE {
            return Err(say::object_is_gone(object.parent));
        }
        self.check_privilege(owner, database, Privilege::Restore)
    }

    fn publish_object(&mut self, id: ObjectId, object: &Object, owner: PrincipalId) -> Result<(), Refusal> {
        let (kind, name) = (object.kind(), &object.name);
        let contained = match kind {
            ObjectKind::Database => object.parent == ObjectId::CLUSTER,
            ObjectKind::Schema => self.kind(object.parent) == ObjectKind::Database,
            _ => self.kind(object.parent) == ObjectKind::Schema,
        };
        if !contained {
            return Err(say::backup_is_bad(&format!("{name} is in what cannot contain it")));
        }
        match kind {
            ObjectKind::Database if self.find_database(name).is_some() => {
                return Err(say::database_exists(name.as_str()));
            }
            ObjectKind::Schema if self.find_schema(object.parent, name).is_some() => {
                return Err(say::schema_exists(name.as_str()));
            }
            ObjectKind::Database | ObjectKind::Schema => {}
            _ if self.find_in_schema(object.parent, name).is_some() => {
                let full = format!("{}.{name}", self.full_name(object.parent));
                let is_type = kind == ObjectKind::Type;
                return Err(if is_type { say::type_exists(&full) } else { say::relation_exists(&full) });
            }
            _ => {}
        }
        let is_public = kind == ObjectKind::Schema && name.as_str() == "public";
        self.objects.push(ModelObject {
            id,
            name: name.clone(),
            parent: object.parent,
            owner: if is_public { PrincipalId::ADMIN } else { owner },
            body: object.body.clone(),
            comment: object.comment.clone(),
        });
        for grantee in [PrincipalId::ROOT, PrincipalId::ADMIN] {
            let all = vec![Privilege::All];
            self.held.push(ModelGrant { object: id, grantee, privileges: all.clone(), grant_options: all });
        }
        match kind {
            ObjectKind::Database => self.add_grant(id, PrincipalId::PUBLIC, &[Privilege::Connect]),
            ObjectKind::Schema if is_public => {
                self.add_grant(id, PrincipalId::PUBLIC, &[Privilege::Create, Privilege::Usage]);
            }
            ObjectKind::Schema => {
                self.apply_defaults(id, owner, DefaultClass::Schemas, object.parent, None);
            }
            _ => {
                let Some(class) = DefaultClass::of(kind) else { return Ok(()) };
                let database = self.parent(object.parent);
                self.apply_defaults(id, owner, class, database, Some(object.parent));
            }
        }
        Ok(())
    }

    /// The shelves as records.
    pub(super) fn shelf_records(&self) -> Vec<(RecordKey, Record)> {
        let mut records = Vec::new();
        for shelf in &self.shelves {
            let record = Shelf {
                scope: shelf.scope,
                objects: Ids { first: shelf.first_object, count: shelf.objects },
                principals: Ids { first: shelf.first_principal, count: shelf.principals },
                steps: shelf.steps,
                items: shelf.count,
                position: shelf.position.clone(),
            };
            records.push((RecordKey::Shelf(shelf.job), Record::Shelf(Arc::new(record))));
            for (number, item) in &shelf.items {
                let key = RecordKey::Shelved { job: shelf.job, number: *number };
                records.push((key, Record::Shelved(Arc::new(item.clone()))));
            }
        }
        records
    }
}
