//! The catalog of a backup, as of its time, under the ids that it had there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use grantd_catalog::defaults::DefaultPrivileges;
use grantd_catalog::grant::Acl;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::object::{Body, Object};
use grantd_catalog::record::{Record, RecordKey};
use grantd_catalog::refusal::shelf_too_large;
use grantd_catalog::role::{Principal, RoleSettings};
use grantd_catalog::setting::Setting;
use grantd_catalog::shelf::{SHELVED_MAX, has_rows};

use crate::backup::read::Backup;
use crate::backup::{BackupError, names};

/// What a backup has of a catalog. Tables and sequences have the shape of the backup's time; the rest was read a little later, and
/// what is not there without a table that was not there yet is left out by who chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Whether it is of a whole cluster.
    pub is_cluster: bool,
    /// Databases and what is in them, external connections, roles of clouds, and what was granted on what is computed.
    pub objects: BTreeMap<ObjectId, Arc<Object>>,
    /// Users and roles.
    pub principals: BTreeMap<PrincipalId, Principal>,
    /// (role, member) to ADMIN OPTION.
    pub memberships: BTreeMap<(PrincipalId, PrincipalId), bool>,
    /// What is granted on the cluster.
    pub system: Acl,
    /// (database or cluster, role or everybody) to variables.
    pub role_settings: BTreeMap<(ObjectId, PrincipalId), RoleSettings>,
    /// (holder, creator or everybody) to default privileges.
    pub defaults: BTreeMap<(ObjectId, PrincipalId), DefaultPrivileges>,
    /// Cluster settings that were set.
    pub settings: BTreeMap<Setting, String>,
}

impl Content {
    /// Reads it. Cost: the newest layer's files of the catalog, once.
    pub async fn read(backup: &Backup) -> Result<Self, BackupError> {
        let mut content = Self {
            is_cluster: backup.layers.first().is_some_and(|layer| layer.manifest.targets.cluster),
            ..Self::default()
        };
        let mut lines = 0;
        backup
            .catalog(|line| {
                lines += 1;
                if lines > SHELVED_MAX {
                    return Err(shelf_too_large("records", SHELVED_MAX as usize).into());
                }
                let (key, record) = line.decode(names::MANIFEST)?;
                content.take(key, record);
                Ok(())
            })
            .await?;
        // Of tables and sequences those of the backup's time, which come from the manifests; what was made later is none.
        let mut there = BTreeSet::new();
        for table in backup.tables()? {
            there.insert(table.id);
            // Without grants: those are in the line of the catalog, if it is still there.
            let granted = content.objects.get(&table.id);
            let shape = Object::clone(&table.shape);
            let object = match granted {
                Some(granted) => Object { acl: granted.acl.clone(), owner: granted.owner, ..shape },
                None => shape,
            };
            content.objects.insert(table.id, Arc::new(object));
        }
        content.objects.retain(|id, object| !has_rows(&object.body) || there.contains(id));
        Ok(content)
    }

    fn take(&mut self, key: RecordKey, record: Record) {
        match (key, record) {
            (RecordKey::Object(id), Record::Object(object)) => {
                self.objects.insert(id, object);
            }
            (RecordKey::Principal(id), Record::Principal(principal)) => {
                self.principals.insert(id, principal);
            }
            (RecordKey::Membership { role, member }, Record::Membership { admin_option }) => {
                self.memberships.insert((role, member), admin_option);
            }
            (RecordKey::SystemPrivileges, Record::SystemPrivileges(acl)) => self.system = acl,
            (RecordKey::RoleSettings { database, role }, Record::RoleSettings(settings)) => {
                self.role_settings.insert((database, role), settings);
            }
            (RecordKey::DefaultPrivileges { holder, creator }, Record::DefaultPrivileges(defaults)) => {
                self.defaults.insert((holder, creator), defaults);
            }
            (RecordKey::Setting(setting), Record::Setting(value)) => {
                self.settings.insert(setting, value);
            }
            // Nothing else is in a backup, and what is there besides is not restored.
            _ => {}
        }
    }

    /// What is directly in an object.
    pub fn children(&self, parent: ObjectId) -> impl Iterator<Item = (ObjectId, &Arc<Object>)> {
        self.objects
            .iter()
            .filter(move |(_, object)| object.parent == parent)
            .map(|(id, object)| (*id, object))
    }

    /// The database that an object is in, or is.
    pub fn database_of(&self, id: ObjectId) -> Option<ObjectId> {
        let mut at = id;
        // A path has three parts; whatever the records say, this ends.
        for _ in 0..PATH_MAX {
            let object = self.objects.get(&at)?;
            if matches!(object.body, Body::Database) {
                return Some(at);
            }
            at = object.parent;
        }
        None
    }
}

/// Database, schema, and what is in it.
const PATH_MAX: usize = 3;
