//! RESTORE: a shelf is begun, filled, and published at once, or cleared. Source: cloud-jobs spec, B.7.4 and C.8.
//!
//! Sh1: what is on a shelf is in no map that names, lists or decides: nobody sees it, and nobody holds anything on it.
//! Sh2: a step is done once, by the node that has the claim, with what the job's owner may do then.
//! Sh3: publishing puts all of it in place and ends the job, or is refused and changes nothing.
//! Sh4: what is published names nothing that was there before, but types that its owner may use: a view reads by the right of
//! who made it, and a backup must not say that somebody made one.
//! Sh5: of a cluster's backup who is no admin brings all but what makes admins: nobody becomes a member of admin, and those who
//! are stay as they are, with their passwords.
//!
//! Whether a step is right is not left to who says it: what a backup brings may have been written by anybody.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::command::StorageChange;
use crate::defaults::DefaultClass;
use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId};
use crate::job::{FRACTION_PPM_MAX, Job, JobId, JobKind, JobStatus, Opaque};
use crate::name::Name;
use crate::object::{Body, Object};
use crate::privilege::{ObjectKind, Privilege, PrivilegeSet};
use crate::record::RecordKey;
use crate::refusal::{self, Refusal};
use crate::role::{Principal, RoleOption};
use crate::setting::Setting;
use crate::shelf::{
    ITEMS_MAX, Ids, POSITION_BYTES_MAX, ROWS_BYTES_MAX, SHELVED_MAX, Scope, Shelf, ShelfStep, Shelved,
    TABLES_MAX, has_rows,
};
use crate::state::bootstrap::{new_database, new_public_schema};
use crate::state::objects::check_name;
use crate::state::restore::{RestoreError, check_shape};
use crate::state::{Namespace, State, Work};

/// The databases that every new cluster may have, and that a cluster's restore takes away if nothing is in them.
const FIRST_DATABASES: [&str; 2] = ["defaultdb", "postgres"];

/// Where an object is on a shelf, what it is to be, and whether its table is made.
type Placed = ((JobId, u32), Arc<Object>, bool);

/// Who says a step, and which one it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    pub(super) epoch: u64,
    pub(super) number: u64,
}

impl State {
    /// The shelf of a job.
    pub fn shelf(&self, job: JobId) -> Option<&Shelf> {
        self.shelves.get(&job).map(Arc::as_ref)
    }

    /// All of them, sorted by job.
    pub fn shelves(&self) -> impl Iterator<Item = (JobId, &Shelf)> {
        self.shelves.iter().map(|(job, shelf)| (*job, shelf.as_ref()))
    }

    /// What is on a shelf, in the order in which it came.
    pub fn shelved(&self, job: JobId) -> impl Iterator<Item = (u32, &Arc<Shelved>)> {
        self.shelved.range((job, 0)..=(job, u32::MAX)).map(|((_, number), item)| (*number, item))
    }

    /// What is on all shelves.
    pub fn all_shelved(&self) -> impl Iterator<Item = (JobId, u32, &Shelved)> {
        self.shelved.iter().map(|((job, number), item)| (*job, *number, item.as_ref()))
    }

    /// The object of this id that is on a shelf.
    pub fn shelved_object(&self, id: ObjectId) -> Option<&Object> {
        match self.shelved.get(self.shelved_objects.get(&id)?)?.as_ref() {
            Shelved::Object { object, .. } => Some(object),
            Shelved::Principal { .. }
            | Shelved::Membership { .. }
            | Shelved::SystemPrivileges(_)
            | Shelved::RoleSettings { .. }
            | Shelved::DefaultPrivileges { .. }
            | Shelved::Setting(..) => None,
        }
    }

    /// The object of this id, also if it is on a shelf. For the row store, which has the tables of both; never for names or
    /// decisions.
    pub fn object_with_rows(&self, id: ObjectId) -> Option<&Object> {
        self.object(id).or_else(|| self.shelved_object(id))
    }

    /// The keys of everything on shelves, sorted.
    pub(super) fn shelf_keys(&self) -> impl Iterator<Item = RecordKey> {
        let shelves = self.shelves.keys().map(|job| RecordKey::Shelf(*job));
        let items =
            self.shelved.keys().map(|(job, number)| RecordKey::Shelved { job: *job, number: *number });
        shelves.chain(items)
    }

    /// What a cluster's restore would meet: databases and what is in them, but for those of a new cluster that are empty.
    fn databases_in_use(&self) -> Vec<Name> {
        let mut found = Vec::new();
        for (id, database) in self.databases() {
            let schemas: Vec<_> = self.children(id).collect();
            let is_first = FIRST_DATABASES.contains(&database.name.as_str());
            let is_empty = schemas.iter().all(|(schema, object)| {
                object.name.as_str() == "public" && self.children(*schema).next().is_none()
            });
            if !is_first || !is_empty {
                found.push(database.name.clone());
            }
        }
        found
    }

    /// All databases but the system's.
    fn databases(&self) -> impl Iterator<Item = (ObjectId, &Object)> {
        let children = self.children(ObjectId::CLUSTER);
        children.filter(|(id, object)| object.kind() == ObjectKind::Database && !self.is_system(*id))
    }
}

impl Work<'_> {
    pub(super) fn shelve(
        &mut self,
        id: JobId,
        claimed: Claimed,
        position: &Opaque,
        step: &ShelfStep,
    ) -> Result<(), Refusal> {
        self.require_node()?;
        let job = self.job_to_change(id)?;
        if job.claim.is_none() || job.epoch != claimed.epoch {
            return Err(refusal::stale_claim(id, claimed.epoch, job.epoch));
        }
        if job.asked.kind != JobKind::Restore {
            return Err(refusal::not_a_restore(id));
        }
        if matches!(step, ShelfStep::Clear) {
            return self.clear_shelf(id, &job);
        }
        if job.status != JobStatus::Running {
            return Err(refusal::report_out_of_place(id, job.status));
        }
        self.state.may_run_job(id)?;
        if position.expose().len() > POSITION_BYTES_MAX {
            return Err(refusal::job_too_large("position", POSITION_BYTES_MAX));
        }
        let next = self.state.shelf(id).map_or(0, |shelf| shelf.steps);
        match claimed.number {
            // Nobody knew what came of it, and it is said again.
            number if number < next => return Ok(()),
            number if number > next => return Err(refusal::shelf_out_of_step(id, number, next)),
            _ => {}
        }
        match step {
            ShelfStep::Begin { scope, objects, principals } if next == 0 => {
                self.begin_shelf(id, &job, *scope, *objects, *principals)?;
            }
            ShelfStep::Put(items) => self.put_on_shelf(id, items)?,
            ShelfStep::Make(tables) => self.make_tables(id, tables)?,
            ShelfStep::Fill { table, rows } => self.fill_table(id, *table, rows)?,
            ShelfStep::Publish => return self.publish(id, job, position),
            ShelfStep::Begin { .. } | ShelfStep::Clear => {
                return Err(refusal::shelf_out_of_step(id, claimed.number, next));
            }
        }
        let mut shelf = self.shelf_to_change(id)?;
        shelf.steps = next + 1;
        shelf.position = position.clone();
        self.put_shelf(id, Some(Arc::new(shelf)));
        Ok(())
    }

    fn shelf_to_change(&self, id: JobId) -> Result<Shelf, Refusal> {
        self.state.shelf(id).cloned().ok_or_else(|| refusal::shelf_out_of_step(id, 1, 0))
    }

    fn begin_shelf(
        &mut self,
        id: JobId,
        job: &Job,
        scope: Scope,
        objects: u32,
        principals: u32,
    ) -> Result<(), Refusal> {
        if objects > SHELVED_MAX || principals > SHELVED_MAX {
            return Err(refusal::shelf_too_large("objects or users", SHELVED_MAX as usize));
        }
        self.may_restore_scope(job.owner, scope)?;
        if scope == Scope::Cluster {
            self.require_empty_cluster()?;
        }
        let counters = &mut self.state.counters;
        let first = (counters.next_object.0, counters.next_principal.0);
        let next_object = first.0.checked_add(objects).map(ObjectId).filter(|next| !next.is_virtual());
        counters.next_object = next_object.ok_or_else(|| refusal::ids_exhausted("objects"))?;
        let next_principal = first.1.checked_add(principals).map(PrincipalId);
        counters.next_principal = next_principal.ok_or_else(|| refusal::ids_exhausted("roles"))?;
        self.touched.push(RecordKey::Counters);
        let shelf = Shelf {
            scope,
            objects: Ids { first: first.0, count: objects },
            principals: Ids { first: first.1, count: principals },
            steps: 0,
            items: 0,
            position: Opaque::default(),
        };
        self.put_shelf(id, Some(Arc::new(shelf)));
        Ok(())
    }

    /// What each may be is looked at again where it is published; here only that it is of this shelf, and comes once.
    fn put_on_shelf(&mut self, id: JobId, items: &[Shelved]) -> Result<(), Refusal> {
        let mut shelf = self.shelf_to_change(id)?;
        if items.len() > ITEMS_MAX {
            return Err(refusal::list_too_long(items.len(), ITEMS_MAX));
        }
        for item in items {
            if shelf.items >= SHELVED_MAX {
                return Err(refusal::shelf_too_large("things", SHELVED_MAX as usize));
            }
            if let Shelved::Object { id, object, is_made } = item {
                let is_new = shelf.objects.contains(id.0) && self.state.shelved_object(*id).is_none();
                let is_computed = id.is_virtual() && shelf.scope == Scope::Cluster;
                if !is_new && !is_computed || *is_made {
                    return Err(refusal::shelf_malformed(format_args!("object {id} is not new")));
                }
                check_shape(&object.body)?;
            }
            self.put_shelved((id, shelf.items), Some(Arc::new(item.clone())));
            shelf.items += 1;
        }
        self.put_shelf(id, Some(Arc::new(shelf)));
        Ok(())
    }

    fn make_tables(&mut self, id: JobId, tables: &[ObjectId]) -> Result<(), Refusal> {
        if tables.len() > TABLES_MAX {
            return Err(refusal::list_too_long(tables.len(), TABLES_MAX));
        }
        for table in tables {
            let (place, object, is_made) = self.shelved_table(id, *table)?;
            if is_made {
                return Err(refusal::shelf_malformed(format_args!("table {table} is made twice")));
            }
            if let Body::Table(shape) = &object.body {
                let target = |id: ObjectId| self.state.object_with_rows(id).map(|object| &object.body);
                let points_nowhere = |key: &crate::object::ForeignKey| {
                    let Some(Body::Table(target)) = target(key.target) else { return true };
                    key.target_columns.iter().any(|at| usize::from(*at) >= target.columns.len())
                };
                if shape.foreign_keys.iter().any(points_nowhere) {
                    return Err(refusal::malformed_key());
                }
            }
            let made = Shelved::Object { id: *table, object, is_made: true };
            self.put_shelved(place, Some(Arc::new(made)));
            self.done.storage.push(StorageChange::Shelve(*table));
        }
        Ok(())
    }

    fn fill_table(&mut self, id: JobId, table: ObjectId, rows: &Opaque) -> Result<(), Refusal> {
        if rows.expose().len() > ROWS_BYTES_MAX {
            return Err(refusal::job_too_large("rows of one step", ROWS_BYTES_MAX));
        }
        let (_, _, is_made) = self.shelved_table(id, table)?;
        if !is_made {
            return Err(refusal::object_gone(table));
        }
        self.done.storage.push(StorageChange::Fill(table));
        Ok(())
    }

    /// Where a table or sequence is on this shelf, and whether it is in the row store.
    fn shelved_table(&self, job: JobId, id: ObjectId) -> Result<Placed, Refusal> {
        let gone = || refusal::object_gone(id);
        let place = *self.state.shelved_objects.get(&id).filter(|place| place.0 == job).ok_or_else(gone)?;
        match self.state.shelved.get(&place).map(Arc::as_ref) {
            Some(Shelved::Object { object, is_made, .. }) if has_rows(&object.body) => {
                Ok((place, Arc::clone(object), *is_made))
            }
            _ => Err(gone()),
        }
    }

    /// While what the job did is taken back, and nothing else.
    fn clear_shelf(&mut self, id: JobId, job: &Job) -> Result<(), Refusal> {
        if job.status != JobStatus::Reverting {
            return Err(refusal::report_out_of_place(id, job.status));
        }
        if self.state.shelf(id).is_none() {
            return Ok(());
        }
        let items: Vec<_> = self
            .state
            .shelved(id)
            .take(TABLES_MAX)
            .map(|(number, item)| (number, item.table().filter(|(_, is_made)| *is_made)))
            .collect();
        let is_last = items.len() < TABLES_MAX;
        for (number, table) in items {
            self.put_shelved((id, number), None);
            if let Some((table, _)) = table {
                self.done.storage.push(StorageChange::Clear(table));
            }
        }
        if is_last {
            self.put_shelf(id, None);
        }
        Ok(())
    }

    /// B.7.4, but for tables, of which the databases decide: [`Self::may_restore_into`].
    fn may_restore_scope(&self, owner: PrincipalId, scope: Scope) -> Result<(), Refusal> {
        let may = match scope {
            Scope::Objects => true,
            Scope::Cluster | Scope::Users => {
                self.state.index.is_admin(owner)
                    || self.state.index.holds(owner, ObjectId::CLUSTER, Privilege::Restore)
            }
        };
        may.then_some(()).ok_or_else(refusal::may_not_restore_cluster)
    }

    /// A new database needs the right to make one; what goes into one that is there needs RESTORE on it.
    fn may_restore_into(&self, owner: PrincipalId, object: &Object) -> Result<(), Refusal> {
        if let Body::Database = object.body {
            let may = self.state.index.holds(owner, ObjectId::CLUSTER, Privilege::Restore)
                || self.state.has_option(owner, RoleOption::CreateDb);
            return may.then_some(()).ok_or_else(refusal::may_not_restore_databases);
        }
        match self.state.database_of(object.parent) {
            Some(database) if !self.state.is_system(database) => {
                self.state.check_privilege(owner, database, Privilege::Restore)
            }
            // It is in what is published before it, or nowhere, which is refused there.
            Some(_) | None => Err(refusal::object_gone(object.parent)),
        }
    }

    fn require_empty_cluster(&self) -> Result<(), Refusal> {
        let found = self.state.databases_in_use();
        if found.is_empty() { Ok(()) } else { Err(refusal::cluster_not_empty(&found)) }
    }

    /// Sh3.
    fn publish(&mut self, id: JobId, mut job: Arc<Job>, position: &Opaque) -> Result<(), Refusal> {
        let shelf = self.shelf_to_change(id)?;
        self.may_restore_scope(job.owner, shelf.scope)?;
        let items: Vec<_> = self.state.shelved(id).map(|(number, item)| (number, Arc::clone(item))).collect();
        for (number, _) in &items {
            self.put_shelved((id, *number), None);
        }
        self.put_shelf(id, None);
        if shelf.scope == Scope::Cluster {
            self.drop_first_databases()?;
        }
        let items: Vec<_> = items.into_iter().map(|(_, item)| item).collect();
        self.publish_principals(&job, &shelf, &items)?;
        self.publish_objects(&job, &shelf, &items)?;
        self.publish_rest(&shelf, &items)?;
        let changed = Arc::make_mut(&mut job);
        changed.status = JobStatus::Succeeded;
        changed.progress.fraction_ppm = Some(FRACTION_PPM_MAX);
        self.end(id, changed);
        // Nothing goes on from there: it is what came of the job, for who waits for it.
        changed.progress.checkpoint = position.clone();
        self.put_changed(id, job);
        Ok(())
    }

    fn drop_first_databases(&mut self) -> Result<(), Refusal> {
        self.require_empty_cluster()?;
        let databases: Vec<_> = self.state.databases().map(|(id, _)| id).collect();
        for database in databases {
            let schemas: Vec<_> = self.state.children(database).map(|(id, _)| id).collect();
            for gone in schemas.into_iter().chain([database]) {
                self.remove_object(gone);
            }
        }
        Ok(())
    }

    fn publish_principals(
        &mut self,
        job: &Job,
        shelf: &Shelf,
        items: &[Arc<Shelved>],
    ) -> Result<(), Refusal> {
        for item in items {
            if let Shelved::Principal { id, principal } = item.as_ref() {
                self.publish_principal(job.owner, shelf, *id, principal)?;
            }
        }
        for item in items {
            let Shelved::Membership { role, member, admin_option } = item.as_ref() else { continue };
            if shelf.scope == Scope::Objects {
                return Err(refusal::shelf_malformed("it has members of roles"));
            }
            for end in [role, member] {
                if self.state.principal(*end).is_none() {
                    return Err(refusal::principal_gone(*end));
                }
            }
            if (*role, *member) == (PrincipalId::ADMIN, PrincipalId::ROOT) {
                continue;
            }
            if self.state.index.acts_as(*role, *member) {
                return Err(refusal::shelf_malformed("a role is a member of itself"));
            }
            // Sh5.
            let is_above = self.state.index.is_admin(*role) && !self.state.index.is_admin(job.owner);
            if is_above && shelf.scope == Scope::Cluster {
                continue;
            }
            // The roles of the backup are who restores' to give; those that are there are not.
            let is_new = shelf.principals.contains(role.0);
            let may = is_new
                || shelf.scope == Scope::Cluster
                || self.state.index.is_admin(job.owner)
                || self.state.admin_option(job.owner, *role);
            if !may {
                return Err(refusal::may_not_restore_member(&self.state.principal_name(*role)));
            }
            self.put_membership(*role, *member, *admin_option);
        }
        Ok(())
    }

    /// `root` and `admin` stay as they are: the backup must not say how the operator logs in.
    fn publish_principal(
        &mut self,
        owner: PrincipalId,
        shelf: &Shelf,
        id: PrincipalId,
        principal: &Principal,
    ) -> Result<(), Refusal> {
        let is_fixed = matches!(id, PrincipalId::ROOT | PrincipalId::ADMIN);
        if shelf.scope == Scope::Objects || !is_fixed && principal.name.check_new().is_err() {
            return Err(refusal::shelf_malformed(format_args!("it has the user {}", principal.name)));
        }
        // Who may make users may give them options; who may restore them brings none.
        let mut options = principal.options.iter().filter(|option| *option != RoleOption::NoLogin);
        if let Some(option) = options.next()
            && shelf.scope == Scope::Users
            && !self.state.has_option(owner, RoleOption::CreateRole)
        {
            return Err(refusal::may_not_restore_option(&principal.name, option));
        }
        let there = self.state.principal_id(&principal.name);
        match there {
            Some(there) if there == id && shelf.scope == Scope::Cluster => {
                // Sh5.
                let is_above = self.state.index.is_admin(id) && !self.state.index.is_admin(owner);
                if !is_fixed && !is_above {
                    self.put_principal(id, principal.clone());
                }
                Ok(())
            }
            Some(_) => Err(refusal::role_exists(&principal.name)),
            None if shelf.principals.contains(id.0) && self.state.principal(id).is_none() => {
                self.put_principal(id, principal.clone());
                Ok(())
            }
            None => Err(refusal::shelf_malformed(format_args!("user {} has no new id", principal.name))),
        }
    }

    /// Parents first; what each refers to is looked at when all are there.
    fn publish_objects(&mut self, job: &Job, shelf: &Shelf, items: &[Arc<Shelved>]) -> Result<(), Refusal> {
        let mut objects: Vec<(ObjectId, &Arc<Object>, bool)> = items
            .iter()
            .filter_map(|item| match item.as_ref() {
                Shelved::Object { id, object, is_made } => Some((*id, object, *is_made)),
                _ => None,
            })
            .collect();
        objects.sort_by_key(|(id, object, _)| (object.kind(), *id));
        let mut new = BTreeSet::new();
        for (id, object, is_made) in &objects {
            if has_rows(&object.body) != *is_made {
                return Err(refusal::shelf_malformed(format_args!("table {} is not there yet", object.name)));
            }
            if id.is_virtual() {
                self.publish_computed(*id, object)?;
                continue;
            }
            let is_outside = matches!(object.kind(), ObjectKind::ExternalConnection | ObjectKind::IamRole);
            // The one through which the backup is read is there already.
            if is_outside && self.is_taken(object) && shelf.scope == Scope::Cluster {
                continue;
            }
            let published = match shelf.scope {
                Scope::Cluster => self.as_it_was(*id, object)?,
                Scope::Objects if !is_outside => {
                    if !new.contains(&object.parent) {
                        self.may_restore_into(job.owner, object)?;
                    }
                    self.as_new(job.owner, object)?
                }
                Scope::Objects | Scope::Users => {
                    return Err(refusal::shelf_malformed(format_args!("it has the object {}", object.name)));
                }
            };
            self.check_new_name(&published)?;
            new.insert(*id);
            self.put_object(*id, published);
            if *is_made {
                self.done.storage.push(StorageChange::Publish(*id));
            }
        }
        for (id, _, _) in &objects {
            let Some(object) = self.state.object(*id).filter(|_| new.contains(id)) else { continue };
            self.state.check_references(&object.body)?;
            self.state.check_shape(object)?;
            for named in object.references_of(*id).into_iter().filter(|named| !new.contains(named)) {
                self.may_be_named(job.owner, object, named)?;
            }
        }
        for id in &new {
            let has_public =
                |work: &Self| work.state.child(*id, Namespace::Schemas, &Name::from("public")).is_some();
            if self.state.kind(*id) == Some(ObjectKind::Database) && !has_public(self) {
                return Err(refusal::shelf_malformed("a database has no schema public"));
            }
        }
        Ok(())
    }

    /// Sh4.
    fn may_be_named(&self, owner: PrincipalId, object: &Object, named: ObjectId) -> Result<(), Refusal> {
        if self.state.kind(named) == Some(ObjectKind::Type) {
            return self.state.check_privilege(owner, named, Privilege::Usage);
        }
        Err(refusal::shelf_malformed(format_args!("{} names what is not in it", object.name)))
    }

    /// Of what is computed a backup says only what was granted. What this release does not have is left out.
    fn publish_computed(&mut self, id: ObjectId, object: &Object) -> Result<(), Refusal> {
        let Some(built_in) = self.state.object(id).cloned() else { return Ok(()) };
        self.check_travelled(RecordKey::Object(id), &object.acl, built_in.kind())?;
        self.put_object(id, Object { acl: object.acl.clone(), ..built_in });
        Ok(())
    }

    fn is_taken(&self, object: &Object) -> bool {
        let namespace = Namespace::of(object.kind());
        namespace.is_some_and(|namespace| self.state.child(object.parent, namespace, &object.name).is_some())
    }

    /// C.8.1, of a cluster's backup: owner and grants are kept.
    fn as_it_was(&self, id: ObjectId, object: &Object) -> Result<Object, Refusal> {
        let key = RecordKey::Object(id);
        self.state.check_principal(key, object.owner).map_err(malformed)?;
        self.check_travelled(key, &object.acl, object.kind())?;
        let all = |superuser| object.acl.entry(superuser).map(|entry| entry.privileges);
        let superusers = [PrincipalId::ADMIN, PrincipalId::ROOT];
        if !object.kind().is_held_by_rank()
            && superusers.into_iter().any(|superuser| all(superuser) != Some(PrivilegeSet::ALL))
        {
            return Err(refusal::shelf_malformed(format_args!("admins do not hold ALL on {}", object.name)));
        }
        Ok(object.clone())
    }

    /// C.8.1, of any other: owner and grants are those of something that is made now, there, by who restores.
    fn as_new(&self, owner: PrincipalId, object: &Object) -> Result<Object, Refusal> {
        let comment = object.comment.clone();
        if let Body::Database = object.body {
            return Ok(Object { comment, ..new_database(object.name.clone(), owner) });
        }
        if matches!(object.body, Body::Schema) && object.name.as_str() == "public" {
            return Ok(Object { comment, ..new_public_schema(object.parent) });
        }
        let database = self.state.database_of(object.parent);
        let database = database.ok_or_else(|| refusal::object_gone(object.parent))?;
        let schema = (object.parent != database).then_some(object.parent);
        let acl = match DefaultClass::of(object.kind()) {
            Some(class) => self.state.new_acl_for(owner, class, database, schema),
            None => return Err(refusal::shelf_malformed(format_args!("it has the object {}", object.name))),
        };
        Ok(Object { owner, acl, ..object.clone() })
    }

    /// That it fits into its parent, and that its name is one and is free there.
    fn check_new_name(&mut self, object: &Object) -> Result<(), Refusal> {
        let kind = object.kind();
        if self.state.kind(object.parent) != Some(object.container()) || self.state.is_system(object.parent) {
            return Err(refusal::shelf_malformed(format_args!(
                "{} is in what cannot contain it",
                object.name
            )));
        }
        check_name(&object.name, kind)?;
        let key = RecordKey::Object(object.parent);
        match self.state.check_place(key, object) {
            Ok(()) => Ok(()),
            Err(RestoreError::NameTaken(_)) => Err(self.name_taken(object)),
            Err(error) => Err(malformed(error)),
        }
    }

    fn name_taken(&self, object: &Object) -> Refusal {
        match object.kind() {
            ObjectKind::Database => refusal::database_exists(&object.name),
            ObjectKind::Schema => refusal::schema_exists(&object.name),
            ObjectKind::Type => refusal::type_exists(&self.state.full_name(object)),
            _ => refusal::relation_exists(&self.state.full_name(object)),
        }
    }

    fn publish_rest(&mut self, shelf: &Shelf, items: &[Arc<Shelved>]) -> Result<(), Refusal> {
        for item in items {
            match item.as_ref() {
                Shelved::Object { .. } | Shelved::Principal { .. } | Shelved::Membership { .. } => {}
                _ if shelf.scope != Scope::Cluster => {
                    return Err(refusal::shelf_malformed("it has what only a cluster's backup has"));
                }
                Shelved::SystemPrivileges(acl) => {
                    self.check_travelled(RecordKey::SystemPrivileges, acl, ObjectKind::Cluster)?;
                    // Who is not in the backup keeps what it holds: else who restores might not see the end of it.
                    let there = self.state.system_acl.entries().iter();
                    let kept = there.filter(|entry| acl.entry(entry.grantee).is_none());
                    let united: Acl = kept.chain(acl.entries()).copied().collect();
                    self.put_system_acl(united);
                }
                Shelved::RoleSettings { database, role, settings } => {
                    self.touched.push(RecordKey::RoleSettings { database: *database, role: *role });
                    let restored = self.state.restore_role_settings(*database, *role, settings.clone());
                    restored.map_err(malformed)?;
                }
                Shelved::DefaultPrivileges { holder, creator, defaults } => {
                    self.touched.push(RecordKey::DefaultPrivileges { holder: *holder, creator: *creator });
                    let restored = self.state.restore_defaults(*holder, *creator, defaults.clone());
                    restored.map_err(malformed)?;
                }
                Shelved::Setting(setting, value) => self.publish_setting(*setting, value)?,
            }
        }
        Ok(())
    }

    fn publish_setting(&mut self, setting: Setting, value: &str) -> Result<(), Refusal> {
        let canonical = setting.row().setting_type.canonical(value);
        let value = canonical.ok_or_else(|| refusal::setting_value(setting, value))?;
        self.put_setting(setting, Some(value));
        Ok(())
    }

    fn check_travelled(&self, key: RecordKey, acl: &Acl, kind: ObjectKind) -> Result<(), Refusal> {
        self.state.check_acl(key, acl, kind).map_err(malformed)
    }
}

fn malformed(error: RestoreError) -> Refusal {
    refusal::shelf_malformed(error)
}
