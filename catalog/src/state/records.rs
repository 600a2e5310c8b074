//! The state as records, which is how it is kept.

use crate::id::ObjectId;
use crate::job::JobId;
use crate::object::Object;
use crate::record::{Record, RecordKey};
use crate::state::State;
use crate::system;

impl State {
    /// All records, sorted by key.
    pub fn records(&self) -> impl Iterator<Item = (RecordKey, Record)> {
        let principals = self.principals.keys().map(|id| RecordKey::Principal(*id));
        let members =
            self.members.keys().map(|(role, member)| RecordKey::Membership { role: *role, member: *member });
        let objects = self.objects.iter().map(|(id, _)| RecordKey::Object(id));
        let role_settings = self
            .role_settings
            .keys()
            .map(|(database, role)| RecordKey::RoleSettings { database: *database, role: *role });
        let defaults = self
            .defaults
            .keys()
            .map(|(holder, creator)| RecordKey::DefaultPrivileges { holder: *holder, creator: *creator });
        let settings = self.settings.keys().map(|setting| RecordKey::Setting(*setting));
        let protections = self.protections.keys().map(|id| RecordKey::Protection(*id));
        std::iter::once(RecordKey::Counters)
            .chain(principals)
            .chain(members)
            .chain(std::iter::once(RecordKey::SystemPrivileges))
            .chain(objects)
            .chain(role_settings)
            .chain(defaults)
            .chain(settings)
            .chain(protections)
            .chain(self.job_keys())
            .chain(self.shelf_keys())
            .chain(self.schedules.keys().map(|id| RecordKey::Schedule(*id)))
            .filter_map(|key| Some((key, self.record(key)?)))
    }

    /// The record that stands at `key`.
    pub fn record(&self, key: RecordKey) -> Option<Record> {
        match key {
            RecordKey::Counters => Some(Record::Counters(self.counters)),
            RecordKey::Principal(id) => self.principal(id).cloned().map(Record::Principal),
            RecordKey::Membership { role, member } => {
                self.members.get(&(role, member)).map(|option| Record::Membership { admin_option: *option })
            }
            RecordKey::SystemPrivileges => Some(Record::SystemPrivileges(self.system_acl.clone())),
            RecordKey::Object(id) => {
                self.objects.get(id).filter(|object| !is_built_in(id, object)).cloned().map(Record::Object)
            }
            RecordKey::RoleSettings { database, role } => {
                self.role_settings(database, role).cloned().map(Record::RoleSettings)
            }
            RecordKey::DefaultPrivileges { holder, creator } => {
                self.default_privileges(holder, creator).cloned().map(Record::DefaultPrivileges)
            }
            RecordKey::Setting(setting) => self.settings.get(&setting).cloned().map(Record::Setting),
            RecordKey::Protection(id) => self.protections.get(&id).cloned().map(Record::Protection),
            RecordKey::NextJob => (self.next_job != JobId::FIRST).then_some(Record::NextJob(self.next_job)),
            RecordKey::Job(id) => self.jobs.get(&id).cloned().map(Record::Job),
            RecordKey::ClaimLease { node } => self.claim_leases.get(&node).copied().map(Record::ClaimLease),
            RecordKey::Shelf(job) => self.shelves.get(&job).cloned().map(Record::Shelf),
            RecordKey::Shelved { job, number } => {
                self.shelved.get(&(job, number)).cloned().map(Record::Shelved)
            }
            RecordKey::Schedule(id) => self.schedules.get(&id).cloned().map(Record::Schedule),
        }
    }

    /// Whether the same record stands at `key` here and there. Compares without copying.
    pub(super) fn has_same_record(&self, other: &Self, key: RecordKey) -> bool {
        match key {
            RecordKey::Counters => self.counters == other.counters,
            RecordKey::Principal(id) => self.principals.get(&id) == other.principals.get(&id),
            RecordKey::Membership { role, member } => {
                self.members.get(&(role, member)) == other.members.get(&(role, member))
            }
            RecordKey::SystemPrivileges => self.system_acl == other.system_acl,
            RecordKey::Object(id) => self.objects.get(id) == other.objects.get(id),
            RecordKey::RoleSettings { database, role } => {
                self.role_settings.get(&(database, role)) == other.role_settings.get(&(database, role))
            }
            RecordKey::DefaultPrivileges { holder, creator } => {
                self.defaults.get(&(holder, creator)) == other.defaults.get(&(holder, creator))
            }
            RecordKey::Setting(setting) => self.settings.get(&setting) == other.settings.get(&setting),
            RecordKey::Protection(id) => self.protections.get(&id) == other.protections.get(&id),
            RecordKey::NextJob => self.next_job == other.next_job,
            RecordKey::Job(id) => self.jobs.get(&id) == other.jobs.get(&id),
            RecordKey::ClaimLease { node } => self.claim_leases.get(&node) == other.claim_leases.get(&node),
            RecordKey::Shelf(job) => self.shelves.get(&job) == other.shelves.get(&job),
            RecordKey::Shelved { job, number } => {
                self.shelved.get(&(job, number)) == other.shelved.get(&(job, number))
            }
            RecordKey::Schedule(id) => self.schedules.get(&id) == other.schedules.get(&id),
        }
    }
}

/// Whether every cluster has exactly this without a record.
fn is_built_in(id: ObjectId, object: &Object) -> bool {
    id.is_virtual() && system::object(id) == Some(object)
}
