//! The whole model as the records that a replica would keep, so that the two can be compared at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::defaults::DefaultClass;
use crate::grant::{Acl, AclEntry};
use crate::id::{ObjectId, PrincipalId};
use crate::job::JobId;
use crate::object::{Body, Object};
use crate::privilege::Privilege;
use crate::record::{Counters, Record, RecordKey};
use crate::role::{Principal, RoleOptions, RoleSettings};
use crate::spec::{Model, ModelGrant};
use crate::system;

impl Model {
    /// Every record, in the form that [`comparable`] makes.
    pub fn records(&self) -> BTreeMap<RecordKey, Record> {
        let mut records = BTreeMap::new();
        let next_principal = PrincipalId(self.next_principal);
        let counters = Counters { next_principal, next_object: ObjectId(self.next_object) };
        records.insert(RecordKey::Counters, Record::Counters(counters));
        for known in &self.principals {
            let principal = Principal {
                name: known.name.clone(),
                is_role: known.is_role,
                options: known.options.iter().fold(RoleOptions::EMPTY, |set, option| set.with(*option)),
                password: known.password.clone(),
                valid_until: known.valid_until,
            };
            records.insert(RecordKey::Principal(known.id), Record::Principal(principal));
        }
        for edge in &self.edges {
            let key = RecordKey::Membership { role: edge.role, member: edge.member };
            records.insert(key, Record::Membership { admin_option: edge.admin_option });
        }
        let system = acl(&self.grants_on(ObjectId::CLUSTER));
        if !system.entries().is_empty() {
            records.insert(RecordKey::SystemPrivileges, Record::SystemPrivileges(system));
        }
        self.add_object_records(&mut records);
        for known in &self.role_settings {
            let key = RecordKey::RoleSettings { database: known.database, role: known.role };
            let empty = || Record::RoleSettings(RoleSettings { variables: Vec::new() });
            if let Record::RoleSettings(settings) = records.entry(key).or_insert_with(empty) {
                settings.variables.push((known.name.clone(), known.value.clone()));
            }
        }
        for (setting, value) in &self.settings {
            records.insert(RecordKey::Setting(*setting), Record::Setting(value.clone()));
        }
        for (id, protection) in &self.protections {
            records.insert(RecordKey::Protection(*id), Record::Protection(protection.clone()));
        }
        if self.next_job != 1 {
            records.insert(RecordKey::NextJob, Record::NextJob(JobId(self.next_job)));
        }
        for (id, job) in self.job_records() {
            records.insert(RecordKey::Job(id), Record::Job(job));
        }
        for (node, lease) in &self.claim_leases {
            records.insert(RecordKey::ClaimLease { node: *node }, Record::ClaimLease(*lease));
        }
        for (id, schedule) in &self.schedules {
            records.insert(RecordKey::Schedule(*id), Record::Schedule(Arc::new(schedule.clone())));
        }
        records.extend(self.shelf_records());
        records
    }

    fn add_object_records(&self, records: &mut BTreeMap<RecordKey, Record>) {
        for known in &self.objects {
            let object = Object {
                name: known.name.clone(),
                parent: known.parent,
                owner: known.owner,
                acl: acl(&self.grants_on(known.id)),
                body: known.body.clone(),
                comment: known.comment.clone(),
            };
            records.insert(RecordKey::Object(known.id), Record::Object(Arc::new(object)));
        }
        for id in &self.virtual_changed {
            if let Some(known) = system::object(*id) {
                let object = Object { acl: acl(&self.grants_on(*id)), ..known.clone() };
                records.insert(RecordKey::Object(*id), Record::Object(Arc::new(object)));
            }
        }
    }

    /// Every entry of default privileges of whoever's are not as built in: holder, creator, class, and the entry.
    pub fn default_entries_stored(&self) -> Vec<(ObjectId, PrincipalId, DefaultClass, AclEntry)> {
        let mut stored = Vec::new();
        for known in &self.defaults {
            for entry in &known.entries {
                let entry_stored = AclEntry {
                    grantee: entry.grantee,
                    privileges: entry.privileges.iter().copied().collect(),
                    grant_options: entry.grant_options.iter().copied().collect(),
                };
                stored.push((known.holder, known.creator, entry.class, entry_stored));
            }
        }
        stored.sort();
        stored
    }
}

/// The same of records.
pub fn default_entries_stored(
    records: &BTreeMap<RecordKey, Record>,
) -> Vec<(ObjectId, PrincipalId, DefaultClass, AclEntry)> {
    let mut stored = Vec::new();
    for (key, record) in records {
        let RecordKey::DefaultPrivileges { holder, creator } = key else { continue };
        let Record::DefaultPrivileges(defaults) = record else { continue };
        for class in DefaultClass::EACH {
            for entry in defaults.acl(class).entries() {
                stored.push((*holder, *creator, class, *entry));
            }
        }
    }
    stored.sort();
    stored
}

/// Records without what the model does not know (where labels stand in rows), the record of system privileges when there
/// are none, and default privileges: for those see [`default_entries_stored`].
pub fn comparable(records: &BTreeMap<RecordKey, Record>) -> BTreeMap<RecordKey, Record> {
    let mut records = records.clone();
    for (key, record) in &mut records {
        let Record::Object(object) = record else { continue };
        if let Body::Type(made) = &mut Arc::make_mut(object).body {
            assert!(made.labels.is_sorted_by(|a, b| a.position < b.position), "labels of {key:?}");
            for (position, label) in (0..).zip(&mut made.labels) {
                label.position = position;
            }
        }
    }
    let none = Record::SystemPrivileges(Acl::default());
    records.retain(|key, record| *record != none && !matches!(key, RecordKey::DefaultPrivileges { .. }));
    records
}

fn acl(grants: &[ModelGrant]) -> Acl {
    let set = |list: &[Privilege]| list.iter().copied().collect();
    grants
        .iter()
        .map(|grant| AclEntry {
            grantee: grant.grantee,
            privileges: set(&grant.privileges),
            grant_options: set(&grant.grant_options),
        })
        .collect()
}
