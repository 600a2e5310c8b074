//! The catalog as records: what a replica keeps on disk, one value per key, and what one command changed.

use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::defaults::DefaultPrivileges;
use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId, ScheduleId};
use crate::job::{ClaimLease, Job, JobId};
use crate::object::Object;
use crate::protection::{Protection, ProtectionId};
use crate::role::{Principal, RoleSettings};
use crate::schedule::Schedule;
use crate::setting::Setting;
use crate::shelf::{Shelf, Shelved};

/// Where a record stands. `Ord` is the order of everything that lists records; `wire` encodes a key so that its bytes
/// sort the same way. Appended to, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum RecordKey {
    /// The one record of counters.
    Counters,
    /// A principal.
    Principal(PrincipalId),
    /// A membership edge.
    Membership {
        /// What the member belongs to.
        role: PrincipalId,
        /// Who belongs to it.
        member: PrincipalId,
    },
    /// The one record of system privileges.
    SystemPrivileges,
    /// An object. Of what is computed ([`crate::system`]) only what differs from what every cluster has.
    Object(ObjectId),
    /// Variables that sessions begin with.
    RoleSettings {
        /// In sessions of this database; the cluster: of any.
        database: ObjectId,
        /// Of this role; [`PrincipalId::EVERYBODY`]: of all.
        role: PrincipalId,
    },
    /// Default privileges.
    DefaultPrivileges {
        /// The database or schema in which objects are made.
        holder: ObjectId,
        /// Who makes them; [`PrincipalId::EVERYBODY`]: all roles.
        creator: PrincipalId,
    },
    /// A cluster setting that was set.
    Setting(Setting),
    /// A protection of the change history.
    Protection(ProtectionId),
    /// The one record of the id of the next job. None: there was never one.
    NextJob,
    /// A job.
    Job(JobId),
    /// Until when a node holds its claims of jobs.
    ClaimLease {
        /// The node.
        node: u64,
    },
    /// The shelf of a job.
    Shelf(JobId),
    /// A thing on it.
    Shelved {
        /// Whose shelf.
        job: JobId,
        /// In the order in which they came.
        number: u32,
    },
    /// A schedule.
    Schedule(ScheduleId),
}

/// What stands there. Appended to, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Record {
    /// For [`RecordKey::Counters`].
    Counters(Counters),
    /// For [`RecordKey::Principal`].
    Principal(Principal),
    /// For [`RecordKey::Membership`].
    Membership {
        /// Whether the member may grant and revoke the role.
        admin_option: bool,
    },
    /// For [`RecordKey::SystemPrivileges`].
    SystemPrivileges(Acl),
    /// For [`RecordKey::Object`]. Shared with the state.
    Object(Arc<Object>),
    /// For [`RecordKey::RoleSettings`].
    RoleSettings(RoleSettings),
    /// For [`RecordKey::DefaultPrivileges`].
    DefaultPrivileges(DefaultPrivileges),
    /// For [`RecordKey::Setting`].
    Setting(String),
    /// For [`RecordKey::Protection`].
    Protection(Protection),
    /// For [`RecordKey::NextJob`].
    NextJob(JobId),
    /// For [`RecordKey::Job`]. Shared with the state.
    Job(Arc<Job>),
    /// For [`RecordKey::ClaimLease`].
    ClaimLease(ClaimLease),
    /// For [`RecordKey::Shelf`]. Shared with the state.
    Shelf(Arc<Shelf>),
    /// For [`RecordKey::Shelved`]. Shared with the state.
    Shelved(Arc<Shelved>),
    /// For [`RecordKey::Schedule`]. Shared with the state.
    Schedule(Arc<Schedule>),
}

/// The next ids. They only grow, so that no id is ever used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Counters {
    /// The id of the next principal.
    pub next_principal: PrincipalId,
    /// The id of the next object.
    pub next_object: ObjectId,
}

impl Change {
    /// The object whose record it is of.
    pub fn object(&self) -> Option<ObjectId> {
        match self.key {
            RecordKey::Object(id) => Some(id),
            _ => None,
        }
    }

    /// Whether it changes what is kept of the history of rows, and for how long.
    pub fn is_of_history(&self) -> bool {
        matches!(
            self.key,
            RecordKey::Protection(_) | RecordKey::Setting(Setting::HistoryTtl | Setting::HistoryBytesMax)
        )
    }
}

/// What one command did to one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which record.
    pub key: RecordKey,
    /// What stands there now; none: it is gone.
    pub value: Option<Record>,
}
