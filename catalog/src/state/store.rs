//! The only code that writes the state's maps. Each step keeps the index true to them (C1, C2).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::defaults::DefaultPrivileges;
use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId, ScheduleId};
use crate::index::Index;
use crate::job::{ClaimLease, Job, JobId};
use crate::name::Name;
use crate::object::{Body, ColumnType, Object};
use crate::privilege::ObjectKind;
use crate::protection::{Protection, ProtectionId};
use crate::record::RecordKey;
use crate::refusal::{self, Refusal};
use crate::role::{Principal, RoleSettings};
use crate::schedule::Schedule;
use crate::setting::Setting;
use crate::shelf::{Shelf, Shelved};
use crate::state::{Namespace, State, Work};

impl State {
    /// Puts a principal in its place. Its name is free, or its own and the same as before.
    pub(super) fn put_principal(&mut self, id: PrincipalId, principal: Principal) {
        let name = principal.name.clone();
        if self.principals.insert(id, Arc::new(principal)).is_none() {
            self.named.set_principal(&name, id);
            self.principal_names.insert(name, id);
            self.renew_closure(id);
        }
    }

    /// Takes a principal away, and every edge that it is in.
    pub(super) fn remove_principal(&mut self, id: PrincipalId) {
        let below = self.descendants(id);
        let roles: Vec<_> = self.roles_of(id).map(|(role, _)| role).collect();
        let members: Vec<_> = self.members_of(id).map(|(member, _)| member).collect();
        for role in roles {
            self.cut(role, id);
        }
        for member in members {
            self.cut(id, member);
        }
        if let Some(principal) = self.principals.remove(&id) {
            self.principal_names.remove(&principal.name);
            self.named.remove_principal(&principal.name);
        }
        self.index.set_closure(id, None);
        for principal in below.into_iter().filter(|below| *below != id) {
            self.renew_closure(principal);
        }
    }

    /// Puts the edge `role ← member` in its place. It closes no cycle.
    pub(super) fn put_membership(&mut self, role: PrincipalId, member: PrincipalId, admin_option: bool) {
        if self.link(role, member, admin_option) {
            self.renew_below(member);
        }
    }

    /// Takes the edge `role ← member` away, if it is there.
    pub(super) fn remove_membership(&mut self, role: PrincipalId, member: PrincipalId) {
        if self.cut(role, member) {
            self.renew_below(member);
        }
    }

    /// Puts an object in its place. Its name in its parent is free or its own.
    pub(super) fn put_object(&mut self, id: ObjectId, object: impl Into<Arc<Object>>) {
        let object = object.into();
        let kind = object.kind();
        self.index.set_target(id, kind, object.owner, &object.acl);
        let before = self.objects.set(id, Some(Arc::clone(&object)));
        // Most often only what was granted is another: GRANT on all of many tables comes through here for each.
        let same_body = before.as_ref().is_some_and(|before| before.body == object.body);
        let same_place = same_body
            && before
                .as_ref()
                .is_some_and(|before| (before.parent, &before.name) == (object.parent, &object.name));
        if !same_place {
            if let Some(before) = &before {
                self.unlist(before);
            }
            self.enlist(kind, (object.parent, key_name(&object)), id);
        }
        if !same_body {
            for target in before.map(|before| before.references_of(id)).unwrap_or_default() {
                self.referrers.remove(&(target, id));
            }
            self.referrers.extend(object.references_of(id).into_iter().map(|target| (target, id)));
        }
    }

    /// Takes an object away. What it contained is gone already.
    pub(super) fn remove_object(&mut self, id: ObjectId) {
        let Some(object) = self.objects.set(id, None) else { return };
        self.index.remove_target(id);
        self.unlist(&object);
        for target in object.references_of(id) {
            self.referrers.remove(&(target, id));
        }
    }

    fn enlist(&mut self, kind: ObjectKind, (parent, name): (ObjectId, Name), id: ObjectId) {
        let Some(namespace) = Namespace::of(kind) else { return };
        let mut names = self.names.get(&(parent, namespace)).cloned().unwrap_or_default();
        self.named.set_child(parent, namespace, &name, id);
        names.insert(name, id);
        self.names.insert((parent, namespace), names);
    }

    fn unlist(&mut self, object: &Object) {
        let Some(namespace) = Namespace::of(object.kind()) else { return };
        let mut names = self.names.get(&(object.parent, namespace)).cloned().unwrap_or_default();
        let name = key_name(object);
        names.remove(&name);
        self.named.remove_child(object.parent, namespace, &name);
        if names.is_empty() {
            self.names.remove(&(object.parent, namespace));
        } else {
            self.names.insert((object.parent, namespace), names);
        }
    }

    /// Sets the variables of sessions, or with none left takes the record away.
    pub(super) fn put_role_settings(
        &mut self,
        database: ObjectId,
        role: PrincipalId,
        settings: RoleSettings,
    ) {
        if settings.variables.is_empty() {
            self.role_settings.remove(&(database, role));
        } else {
            self.role_settings.insert((database, role), Arc::new(settings));
        }
    }

    /// Sets default privileges; none: as built in.
    pub(super) fn put_defaults(
        &mut self,
        holder: ObjectId,
        creator: PrincipalId,
        defaults: Option<DefaultPrivileges>,
    ) {
        match defaults {
            Some(defaults) => self.defaults.insert((holder, creator), Arc::new(defaults)),
            None => self.defaults.remove(&(holder, creator)),
        };
    }

    /// Sets a cluster setting; none: its default.
    pub(super) fn put_setting(&mut self, setting: Setting, value: Option<String>) {
        match value {
            Some(value) => self.settings.insert(setting, value),
            None => self.settings.remove(&setting),
        };
    }

    /// Sets a protection of the change history; none: there is none.
    pub(super) fn put_protection(&mut self, id: ProtectionId, protection: Option<Protection>) {
        match protection {
            Some(protection) => self.protections.insert(id, protection),
            None => self.protections.remove(&id),
        };
    }

    /// Sets a job; none: there is none.
    pub(super) fn put_job(&mut self, id: JobId, job: Option<Arc<Job>>) {
        match job {
            Some(job) => self.jobs.insert(id, job),
            None => self.jobs.remove(&id),
        };
    }

    /// Sets until when a node holds its claims; none: it has none.
    pub(super) fn put_claim_lease(&mut self, node: u64, lease: Option<ClaimLease>) {
        match lease {
            Some(lease) => self.claim_leases.insert(node, lease),
            None => self.claim_leases.remove(&node),
        };
    }

    /// Sets a schedule; none: there is none.
    pub(super) fn put_schedule(&mut self, id: ScheduleId, schedule: Option<Arc<Schedule>>) {
        match schedule {
            Some(schedule) => self.schedules.insert(id, schedule),
            None => self.schedules.remove(&id),
        };
    }

    /// Sets the shelf of a job; none: there is none.
    pub(super) fn put_shelf(&mut self, job: JobId, shelf: Option<Arc<Shelf>>) {
        match shelf {
            Some(shelf) => self.shelves.insert(job, shelf),
            None => self.shelves.remove(&job),
        };
    }

    /// Puts a thing on a shelf; none: takes it away.
    pub(super) fn put_shelved(&mut self, place: (JobId, u32), item: Option<Arc<Shelved>>) {
        let before = match item {
            Some(item) => {
                if let Shelved::Object { id, .. } = item.as_ref() {
                    self.shelved_objects.insert(*id, place);
                }
                self.shelved.insert(place, item)
            }
            None => self.shelved.remove(&place),
        };
        if let Some(Shelved::Object { id, .. }) = before.as_deref()
            && !self.shelved.contains_key(&place)
        {
            self.shelved_objects.remove(id);
        }
    }

    /// Sets what was granted on the cluster. Nobody owns it; `node`, which nobody is a member of, stands for that.
    pub(super) fn put_system_acl(&mut self, acl: Acl) {
        self.index.set_target(ObjectId::CLUSTER, ObjectKind::Cluster, PrincipalId::NODE, &acl);
        self.system_acl = acl;
    }

    /// Adds or changes an edge without the closures; says whether it is new.
    pub(super) fn link(&mut self, role: PrincipalId, member: PrincipalId, admin_option: bool) -> bool {
        self.member_of.insert((member, role), admin_option);
        self.members.insert((role, member), admin_option).is_none()
    }

    fn cut(&mut self, role: PrincipalId, member: PrincipalId) -> bool {
        self.member_of.remove(&(member, role));
        self.members.remove(&(role, member)).is_some()
    }

    /// Computes the closures of `principal` and of whoever belongs to it anew.
    fn renew_below(&mut self, principal: PrincipalId) {
        for below in self.descendants(principal) {
            self.renew_closure(below);
        }
    }

    /// Computes one closure anew. Cost: the edges above the principal.
    pub(super) fn renew_closure(&mut self, principal: PrincipalId) {
        let roles: Vec<_> = self.reachable(principal).into_iter().collect();
        self.index.set_closure(principal, Some(&roles));
    }

    /// The same records with an index that is computed from them alone.
    pub(crate) fn with_new_index(mut self) -> Self {
        self.index = Index::default();
        let principals: Vec<_> = self.principals.keys().copied().collect();
        for principal in principals {
            self.renew_closure(principal);
        }
        for (id, object) in self.objects.iter() {
            self.index.set_target(id, object.kind(), object.owner, &object.acl);
        }
        self.put_system_acl(self.system_acl.clone());
        self
    }

    /// `principal` and every role that it reaches, from the edges alone.
    pub(crate) fn reachable(&self, principal: PrincipalId) -> BTreeSet<PrincipalId> {
        walk(principal, |at, next| next.extend(self.roles_of(at).map(|(role, _)| role)))
    }

    /// `principal` and everybody who reaches it, from the edges alone.
    fn descendants(&self, principal: PrincipalId) -> BTreeSet<PrincipalId> {
        walk(principal, |at, next| next.extend(self.members_of(at).map(|(member, _)| member)))
    }
}

/// What an object is found by in its parent: its name, and for a function also the types of its arguments.
pub(super) fn key_name(object: &Object) -> Name {
    match &object.body {
        Body::Function(function) => signature(&object.name, function.argument_types()),
        _ => object.name.clone(),
    }
}

/// The key of a function. No two signatures have the same; as in PostgreSQL the bound of a VARCHAR is no part of one.
pub(super) fn signature(name: &Name, types: impl Iterator<Item = ColumnType>) -> Name {
    let unbounded = |argument| match argument {
        ColumnType::Text { .. } => ColumnType::Text { chars_max: None },
        other => other,
    };
    let types: Vec<_> = types.map(|argument| format!("{:?}", unbounded(argument))).collect();
    Name::from(format!("{name}({})", types.join(",")).as_str())
}

/// What can be reached from `start` by `steps`. Ends on cycles too.
fn walk(start: PrincipalId, steps: impl Fn(PrincipalId, &mut Vec<PrincipalId>)) -> BTreeSet<PrincipalId> {
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(at) = open.pop() {
        if seen.insert(at) {
            steps(at, &mut open);
        }
    }
    seen
}

impl Work<'_> {
    /// An id that was never used.
    pub(super) fn new_principal_id(&mut self) -> Result<PrincipalId, Refusal> {
        let id = self.state.counters.next_principal;
        let next = id.0.checked_add(1).ok_or_else(|| refusal::ids_exhausted("roles"))?;
        self.state.counters.next_principal = PrincipalId(next);
        self.touched.push(RecordKey::Counters);
        Ok(id)
    }

    /// An id that was never used.
    pub(super) fn new_object_id(&mut self) -> Result<ObjectId, Refusal> {
        let id = self.state.counters.next_object;
        let next = id.0.checked_add(1).ok_or_else(|| refusal::ids_exhausted("objects"))?;
        self.state.counters.next_object = ObjectId(next);
        self.touched.push(RecordKey::Counters);
        Ok(id)
    }

    /// An id that was never used.
    pub(super) fn new_job_id(&mut self) -> Result<JobId, Refusal> {
        let id = self.state.next_job;
        self.state.next_job = JobId(id.0.checked_add(1).ok_or_else(|| refusal::ids_exhausted("jobs"))?);
        self.touched.push(RecordKey::NextJob);
        Ok(id)
    }

    /// [`State::put_principal`], remembered.
    pub(super) fn put_principal(&mut self, id: PrincipalId, principal: Principal) {
        self.touched.push(RecordKey::Principal(id));
        self.state.put_principal(id, principal);
    }

    /// [`State::remove_principal`], remembered. Its variables and the defaults of what it made go with it.
    pub(super) fn remove_principal(&mut self, id: PrincipalId) {
        let settings: Vec<_> =
            self.state.role_settings.keys().filter(|(_, role)| *role == id).copied().collect();
        for (database, role) in settings {
            self.put_role_settings(database, role, RoleSettings::default());
        }
        let defaults: Vec<_> =
            self.state.defaults.keys().filter(|(_, creator)| *creator == id).copied().collect();
        for (holder, creator) in defaults {
            self.put_defaults(holder, creator, None);
        }
        self.touched.push(RecordKey::Principal(id));
        let above = self.state.roles_of(id).map(|(role, _)| RecordKey::Membership { role, member: id });
        let below = self.state.members_of(id).map(|(member, _)| RecordKey::Membership { role: id, member });
        self.touched.extend(above.chain(below));
        self.state.remove_principal(id);
    }

    /// [`State::put_membership`], remembered.
    pub(super) fn put_membership(&mut self, role: PrincipalId, member: PrincipalId, admin_option: bool) {
        self.touched.push(RecordKey::Membership { role, member });
        self.state.put_membership(role, member, admin_option);
    }

    /// [`State::remove_membership`], remembered.
    pub(super) fn remove_membership(&mut self, role: PrincipalId, member: PrincipalId) {
        self.touched.push(RecordKey::Membership { role, member });
        self.state.remove_membership(role, member);
    }

    /// [`State::put_object`], remembered.
    pub(super) fn put_object(&mut self, id: ObjectId, object: Object) {
        self.touched.push(RecordKey::Object(id));
        self.state.put_object(id, object);
    }

    /// [`State::remove_object`], remembered. Default privileges and variables that it holds go with it.
    pub(super) fn remove_object(&mut self, id: ObjectId) {
        let of_it = (id, PrincipalId(0))..=(id, PrincipalId(u32::MAX));
        let settings: Vec<_> = self.state.role_settings.range(of_it).map(|((_, role), _)| *role).collect();
        for role in settings {
            self.put_role_settings(id, role, RoleSettings::default());
        }
        let defaults: Vec<_> = self.state.all_default_privileges_of(id).map(|(creator, _)| creator).collect();
        for creator in defaults {
            self.put_defaults(id, creator, None);
        }
        self.touched.push(RecordKey::Object(id));
        self.state.remove_object(id);
    }

    /// [`State::put_system_acl`], remembered.
    pub(super) fn put_system_acl(&mut self, acl: Acl) {
        self.touched.push(RecordKey::SystemPrivileges);
        self.state.put_system_acl(acl);
    }

    /// [`State::put_role_settings`], remembered.
    pub(super) fn put_role_settings(
        &mut self,
        database: ObjectId,
        role: PrincipalId,
        settings: RoleSettings,
    ) {
        self.touched.push(RecordKey::RoleSettings { database, role });
        self.state.put_role_settings(database, role, settings);
    }

    /// [`State::put_defaults`], remembered.
    pub(super) fn put_defaults(
        &mut self,
        holder: ObjectId,
        creator: PrincipalId,
        defaults: Option<DefaultPrivileges>,
    ) {
        self.touched.push(RecordKey::DefaultPrivileges { holder, creator });
        self.state.put_defaults(holder, creator, defaults);
    }

    /// [`State::put_setting`], remembered.
    pub(super) fn put_setting(&mut self, setting: Setting, value: Option<String>) {
        self.touched.push(RecordKey::Setting(setting));
        self.state.put_setting(setting, value);
    }

    /// [`State::put_protection`], remembered.
    pub(super) fn put_protection(&mut self, id: ProtectionId, protection: Option<Protection>) {
        self.touched.push(RecordKey::Protection(id));
        self.state.put_protection(id, protection);
    }

    /// [`State::put_job`], remembered.
    pub(super) fn put_job(&mut self, id: JobId, job: Option<Arc<Job>>) {
        self.touched.push(RecordKey::Job(id));
        self.state.put_job(id, job);
    }

    /// [`State::put_claim_lease`], remembered.
    pub(super) fn put_claim_lease(&mut self, node: u64, lease: Option<ClaimLease>) {
        self.touched.push(RecordKey::ClaimLease { node });
        self.state.put_claim_lease(node, lease);
    }

    /// [`State::put_schedule`], remembered.
    pub(super) fn put_schedule(&mut self, id: ScheduleId, schedule: Option<Arc<Schedule>>) {
        self.touched.push(RecordKey::Schedule(id));
        self.state.put_schedule(id, schedule);
    }

    /// [`State::put_shelf`], remembered.
    pub(super) fn put_shelf(&mut self, job: JobId, shelf: Option<Arc<Shelf>>) {
        self.touched.push(RecordKey::Shelf(job));
        self.state.put_shelf(job, shelf);
    }

    /// [`State::put_shelved`], remembered.
    pub(super) fn put_shelved(&mut self, place: (JobId, u32), item: Option<Arc<Shelved>>) {
        let (job, number) = place;
        self.touched.push(RecordKey::Shelved { job, number });
        self.state.put_shelved(place, item);
    }
}
