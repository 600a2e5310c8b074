//! A state from records: at start-up and when a snapshot is installed. Whatever the records say, the result keeps the
//! invariants that the code relies on, or there is no result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::defaults::{DefaultClass, DefaultPrivileges, DefaultsFor};
use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId, ScheduleId};
use crate::job::{Job, JobId};
use crate::object::{Body, Object};
use crate::privilege::ObjectKind;
use crate::record::{Counters, Record, RecordKey};
use crate::refusal::Refusal;
use crate::role::{Principal, RoleSettings};
use crate::schedule::Schedule;
use crate::state::store::key_name;
use crate::state::{Namespace, State};

/// Why records are not a catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what its fields mean")]
pub enum RestoreError {
    #[error("the catalog has no record {0:?}")]
    Missing(RecordKey),
    #[error("the catalog has two records {0:?}")]
    Twice(RecordKey),
    #[error("the catalog's record {0:?} is of another kind than its key")]
    Mismatch(RecordKey),
    #[error("the catalog's record {0:?} has an id that was never handed out")]
    UnknownId(RecordKey),
    #[error("the catalog's record {key:?} refers to principal {principal}, which does not exist")]
    NoPrincipal { key: RecordKey, principal: PrincipalId },
    #[error("the catalog's record {key:?} is in object {parent}, which cannot contain it")]
    WrongParent { key: RecordKey, parent: ObjectId },
    #[error("the catalog's record {0:?} has the name of another one")]
    NameTaken(RecordKey),
    #[error(
        "the catalog's record {0:?} has an access list that is unsorted, empty in places, or not legal for its kind"
    )]
    MalformedAcl(RecordKey),
    #[error("the catalog's record {0:?} is an object that cannot be: {1}")]
    MalformedObject(RecordKey, String),
    #[error("the catalog's record {0:?} has variables that are unsorted, or none")]
    MalformedVariables(RecordKey),
    #[error("the catalog's record {0:?} makes a role a member of itself")]
    Cycle(RecordKey),
}

impl State {
    /// The state that has exactly `records`, in any order.
    ///
    /// Errors: records that contradict each other or themselves; the first one found is named. Cost: linear, beside the
    /// closures.
    #[allow(clippy::too_many_lines, reason = "one arm for each kind of record")]
    pub fn restore(records: impl IntoIterator<Item = (RecordKey, Record)>) -> Result<Self, RestoreError> {
        let sorted = sorted(records)?;
        let mut state = Self::empty();
        // Principals come before edges, and edges before ACLs and objects: that is the order of keys.
        let mut objects = Vec::new();
        let mut defaults = Vec::new();
        let mut role_settings = Vec::new();
        for (key, record) in sorted {
            match (key, record) {
                (RecordKey::Counters, Record::Counters(counters)) => state.counters = counters,
                (RecordKey::Principal(id), Record::Principal(principal)) => {
                    state.restore_principal(id, principal)?;
                }
                (RecordKey::Membership { role, member }, Record::Membership { admin_option }) => {
                    state.restore_membership(role, member, admin_option)?;
                }
                (RecordKey::SystemPrivileges, Record::SystemPrivileges(acl)) => {
                    state.check_acl(key, &acl, ObjectKind::Cluster)?;
                    state.put_system_acl(acl);
                }
                (RecordKey::Object(id), Record::Object(object)) => objects.push((id, object)),
                (RecordKey::RoleSettings { database, role }, Record::RoleSettings(settings)) => {
                    role_settings.push((database, role, settings));
                }
                (RecordKey::DefaultPrivileges { holder, creator }, Record::DefaultPrivileges(held)) => {
                    defaults.push((holder, creator, held));
                }
                (RecordKey::Setting(setting), Record::Setting(value)) => {
                    state.put_setting(setting, Some(value));
                }
                (RecordKey::Protection(id), Record::Protection(protection)) => {
                    state.put_protection(id, Some(protection));
                }
                (RecordKey::NextJob, Record::NextJob(next)) => state.next_job = next,
                (RecordKey::Job(id), Record::Job(job)) => state.restore_job(id, job)?,
                (RecordKey::ClaimLease { node }, Record::ClaimLease(lease)) => {
                    state.put_claim_lease(node, Some(lease));
                }
                (RecordKey::Shelf(job), Record::Shelf(shelf)) => state.put_shelf(job, Some(shelf)),
                (RecordKey::Shelved { job, number }, Record::Shelved(item)) => {
                    state.put_shelved((job, number), Some(item));
                }
                (RecordKey::Schedule(id), Record::Schedule(schedule)) => {
                    state.restore_schedule(id, schedule)?;
                }
                (
                    RecordKey::Counters
                    | RecordKey::Principal(_)
                    | RecordKey::Membership { .. }
                    | RecordKey::SystemPrivileges
                    | RecordKey::Object(_)
                    | RecordKey::RoleSettings { .. }
                    | RecordKey::DefaultPrivileges { .. }
                    | RecordKey::Setting(_)
                    | RecordKey::Protection(_)
                    | RecordKey::NextJob
                    | RecordKey::Job(_)
                    | RecordKey::ClaimLease { .. }
                    | RecordKey::Shelf(_)
                    | RecordKey::Shelved { .. }
                    | RecordKey::Schedule(_),
                    Record::Counters(_)
                    | Record::Principal(_)
                    | Record::Membership { .. }
                    | Record::SystemPrivileges(_)
                    | Record::Object(_)
                    | Record::RoleSettings(_)
                    | Record::DefaultPrivileges(_)
                    | Record::Setting(_)
                    | Record::Protection(_)
                    | Record::NextJob(_)
                    | Record::Job(_)
                    | Record::ClaimLease(_)
                    | Record::Shelf(_)
                    | Record::Shelved(_)
                    | Record::Schedule(_),
                ) => return Err(RestoreError::Mismatch(key)),
            }
        }
        for fixed in [PrincipalId::ROOT, PrincipalId::ADMIN] {
            if state.principal(fixed).is_none() {
                return Err(RestoreError::Missing(RecordKey::Principal(fixed)));
            }
        }
        state.restore_closures()?;
        state.restore_objects(objects)?;
        for (holder, creator, held) in defaults {
            state.restore_defaults(holder, creator, held)?;
        }
        for (database, role, settings) in role_settings {
            state.restore_role_settings(database, role, settings)?;
        }
        Ok(state)
    }

    fn restore_principal(&mut self, id: PrincipalId, principal: Principal) -> Result<(), RestoreError> {
        let key = RecordKey::Principal(id);
        let Counters { next_principal, .. } = self.counters;
        let is_fixed = matches!(id, PrincipalId::ROOT | PrincipalId::ADMIN);
        if !is_fixed && !(PrincipalId::FIRST_ORDINARY..next_principal).contains(&id) {
            return Err(RestoreError::UnknownId(key));
        }
        if principal.name.is_reserved() || self.principal_id(&principal.name).is_some() {
            return Err(RestoreError::NameTaken(key));
        }
        self.put_principal(id, principal);
        Ok(())
    }

    /// The key of the next id comes before those of jobs. The owner may be gone; it was handed out.
    fn restore_job(&mut self, id: JobId, job: Arc<Job>) -> Result<(), RestoreError> {
        let handed_out = (JobId::FIRST..self.next_job).contains(&id)
            && job.owner < self.counters.next_principal.max(PrincipalId::FIRST_ORDINARY);
        if !handed_out {
            return Err(RestoreError::UnknownId(RecordKey::Job(id)));
        }
        self.put_job(id, Some(job));
        Ok(())
    }

    fn restore_schedule(&mut self, id: ScheduleId, schedule: Arc<Schedule>) -> Result<(), RestoreError> {
        if !(JobId::FIRST..self.next_job).contains(&JobId(id.0)) {
            return Err(RestoreError::UnknownId(RecordKey::Schedule(id)));
        }
        self.put_schedule(id, Some(schedule));
        Ok(())
    }

    fn restore_membership(
        &mut self,
        role: PrincipalId,
        member: PrincipalId,
        admin_option: bool,
    ) -> Result<(), RestoreError> {
        let key = RecordKey::Membership { role, member };
        for principal in [role, member] {
            self.check_principal(key, principal)?;
        }
        self.link(role, member, admin_option);
        Ok(())
    }

    /// Computes every closure, after all edges are there; refuses edges that close a cycle.
    fn restore_closures(&mut self) -> Result<(), RestoreError> {
        let with_roles: BTreeSet<_> = self.member_of.keys().map(|(member, _)| *member).collect();
        for principal in with_roles {
            self.renew_closure(principal);
        }
        let cyclic = self.members.keys().find(|(role, member)| self.index.acts_as(*role, *member));
        match cyclic {
            Some((role, member)) => {
                Err(RestoreError::Cycle(RecordKey::Membership { role: *role, member: *member }))
            }
            None => Ok(()),
        }
    }

    /// Puts the objects in, parents first.
    fn restore_objects(&mut self, mut objects: Vec<(ObjectId, Arc<Object>)>) -> Result<(), RestoreError> {
        objects.sort_by_key(|(id, object)| (object.kind(), *id));
        for (id, object) in objects {
            let key = RecordKey::Object(id);
            if id.is_virtual() {
                self.restore_virtual(id, &object)?;
                continue;
            }
            let is_fixed = matches!(
                id,
                ObjectId::SYSTEM_DATABASE
                    | ObjectId::SYSTEM_PUBLIC_SCHEMA
                    | ObjectId::DEFAULT_DATABASE
                    | ObjectId::DEFAULT_PUBLIC_SCHEMA
            );
            if matches!(object.body, Body::VirtualTable) {
                return Err(RestoreError::UnknownId(key));
            }
            if !is_fixed && !(ObjectId::FIRST_ORDINARY..self.counters.next_object).contains(&id) {
                return Err(RestoreError::UnknownId(key));
            }
            if object.owner != PrincipalId::NODE {
                self.check_principal(key, object.owner)?;
            }
            self.check_acl(key, &object.acl, object.kind())?;
            self.check_place(key, &object)?;
            check_shape(&object.body)
                .map_err(|refusal| RestoreError::MalformedObject(key, refusal.message))?;
            self.put_object(id, object);
        }
        for (id, object) in self.objects.iter() {
            self.check_references(&object.body)
                .and_then(|()| self.check_shape(object))
                .map_err(|refusal| RestoreError::MalformedObject(RecordKey::Object(id), refusal.message))?;
        }
        Ok(())
    }

    /// Of what is computed a record changes only what was granted. A table that this release does not have any more is
    /// left out.
    fn restore_virtual(&mut self, id: ObjectId, object: &Object) -> Result<(), RestoreError> {
        self.check_acl(RecordKey::Object(id), &object.acl, object.kind())?;
        if let Some(built_in) = self.object(id).cloned() {
            self.put_object(id, Object { acl: object.acl.clone(), ..built_in });
        }
        Ok(())
    }

    pub(super) fn restore_defaults(
        &mut self,
        holder: ObjectId,
        creator: PrincipalId,
        held: DefaultPrivileges,
    ) -> Result<(), RestoreError> {
        let key = RecordKey::DefaultPrivileges { holder, creator };
        let kind = match self.kind(holder) {
            Some(kind @ (ObjectKind::Database | ObjectKind::Schema)) if !self.is_system(holder) => kind,
            _ => return Err(RestoreError::WrongParent { key, parent: holder }),
        };
        if creator != PrincipalId::EVERYBODY {
            self.check_principal(key, creator)?;
        }
        for class in DefaultClass::EACH {
            self.check_acl(key, held.acl(class), class.kind())?;
        }
        if held == DefaultPrivileges::built_in(DefaultsFor { holder: kind, creator }) {
            return Err(RestoreError::MalformedAcl(key));
        }
        self.put_defaults(holder, creator, Some(held));
        Ok(())
    }

    pub(super) fn restore_role_settings(
        &mut self,
        database: ObjectId,
        role: PrincipalId,
        settings: RoleSettings,
    ) -> Result<(), RestoreError> {
        let key = RecordKey::RoleSettings { database, role };
        if !matches!(self.kind(database), Some(ObjectKind::Database | ObjectKind::Cluster)) {
            return Err(RestoreError::WrongParent { key, parent: database });
        }
        if role != PrincipalId::EVERYBODY {
            self.check_principal(key, role)?;
        }
        let sorted = settings.variables.is_sorted_by(|a, b| a.0 < b.0) && !settings.variables.is_empty();
        if !sorted {
            return Err(RestoreError::MalformedVariables(key));
        }
        self.put_role_settings(database, role, settings);
        Ok(())
    }

    pub(super) fn check_place(&self, key: RecordKey, object: &Object) -> Result<(), RestoreError> {
        if self.kind(object.parent) != Some(object.container()) {
            return Err(RestoreError::WrongParent { key, parent: object.parent });
        }
        let taken = Namespace::of(object.kind())
            .and_then(|namespace| self.child(object.parent, namespace, &key_name(object)));
        if taken.is_some() { Err(RestoreError::NameTaken(key)) } else { Ok(()) }
    }

    pub(super) fn check_principal(&self, key: RecordKey, principal: PrincipalId) -> Result<(), RestoreError> {
        match self.principal(principal) {
            Some(_) => Ok(()),
            None => Err(RestoreError::NoPrincipal { key, principal }),
        }
    }

    pub(super) fn check_acl(&self, key: RecordKey, acl: &Acl, kind: ObjectKind) -> Result<(), RestoreError> {
        let legal = acl.entries().iter().all(|entry| {
            entry.privileges.union(entry.grant_options).minus(kind.legal()).is_empty()
                && (entry.grantee != PrincipalId::PUBLIC || entry.grant_options.is_empty())
        });
        if !acl.is_well_formed() || !legal {
            return Err(RestoreError::MalformedAcl(key));
        }
        for entry in acl.entries().iter().filter(|entry| entry.grantee != PrincipalId::PUBLIC) {
            self.check_principal(key, entry.grantee)?;
        }
        Ok(())
    }
}

/// That an object of this body keeps what its type promises.
pub(super) fn check_shape(body: &Body) -> Result<(), Refusal> {
    match body {
        Body::Table(table) => super::table::check(table),
        Body::View(view) => super::views::check(view),
        Body::Sequence(sequence) => super::sequences::check(sequence),
        Body::Type(enum_type) => super::types::check(enum_type),
        Body::Function(function) => super::functions::check(function),
        Body::ExternalConnection(connection) => super::connections::check(connection),
        Body::Database | Body::Schema | Body::VirtualTable | Body::IamRole => Ok(()),
    }
}

/// The records in the order of their keys, each once, with those that every catalog has.
fn sorted(
    records: impl IntoIterator<Item = (RecordKey, Record)>,
) -> Result<BTreeMap<RecordKey, Record>, RestoreError> {
    let mut sorted = BTreeMap::new();
    for (key, record) in records {
        if sorted.insert(key, record).is_some() {
            return Err(RestoreError::Twice(key));
        }
    }
    for key in [RecordKey::Counters, RecordKey::SystemPrivileges] {
        if !sorted.contains_key(&key) {
            return Err(RestoreError::Missing(key));
        }
    }
    Ok(sorted)
}
