//! What a RESTORE brings, kept on a shelf until all of it is there: records under ids of this cluster that nobody can name,
//! list or hold anything on, because they are in no map that names, lists or decides. The last step publishes all of them, or
//! none.
//!
//! Each step of a shelf has a number, and is done once: so a node that does not know what came of a step says it again, and
//! who goes on elsewhere goes on behind the last one. `state` applies them; the rows are in the row store all the while.
//!
//! Source: cloud-jobs spec, B.7.4 and C.8; `docs/adr/0025-restore-from-a-shelf.md`.

use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::defaults::DefaultPrivileges;
use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId};
use crate::job::Opaque;
use crate::object::{Body, Object};
use crate::role::{Principal, RoleSettings};
use crate::setting::Setting;

/// The most things of one step: one entry of the log stays small.
pub const ITEMS_MAX: usize = 1_000;
/// The most tables that one step makes or takes away: each is a statement of the row store, and nothing else is applied meanwhile.
pub const TABLES_MAX: usize = 100;
/// The most bytes of the rows of one step. With all that is around them they fit into one entry of the log.
pub const ROWS_BYTES_MAX: usize = 7 << 20;
/// The most things on one shelf: all are in the memory of each node, and one command publishes them.
pub const SHELVED_MAX: u32 = 2_000_000;
/// The most bytes of where it goes on from: written anew with each step.
pub const POSITION_BYTES_MAX: usize = 4 * 1024;

/// What is restored. It decides what may be on the shelf, who may publish it, and what of owners and grants travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Scope {
    /// A whole cluster, into an empty one: all is kept as it was.
    Cluster,
    /// Databases, or tables and what belongs to them: owned by who restores, with what new objects get.
    Objects,
    /// Users and roles that are not there, and their memberships.
    Users,
}

/// Ids that were handed out at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Ids {
    /// The first of them.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Ids {
    /// Whether it is one of them.
    pub const fn contains(self, id: u32) -> bool {
        id >= self.first && id - self.first < self.count
    }
}

/// The shelf of a job.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Shelf {
    /// What is restored.
    pub scope: Scope,
    /// What new objects are called by.
    pub objects: Ids,
    /// What new principals are called by.
    pub principals: Ids,
    /// How many steps were done.
    pub steps: u64,
    /// How many things were put on it.
    pub items: u32,
    /// Where it goes on from, as whoever does the steps wrote it down with the last one.
    pub position: Opaque,
}

/// A thing on a shelf. Appended to, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Shelved {
    /// An object. Its owner and grants count only where a whole cluster is restored.
    Object {
        /// One of the shelf's, or that of something computed.
        id: ObjectId,
        /// As it is to be.
        object: Arc<Object>,
        /// Whether its table is in the row store.
        is_made: bool,
    },
    /// A user or role: one of the shelf's, or one that is there under the same name.
    Principal {
        /// Which.
        id: PrincipalId,
        /// As it is to be.
        principal: Principal,
    },
    /// A membership.
    Membership {
        /// What the member belongs to.
        role: PrincipalId,
        /// Who belongs to it.
        member: PrincipalId,
        /// Whether it may grant and revoke the role.
        admin_option: bool,
    },
    /// What is granted on the cluster.
    SystemPrivileges(Acl),
    /// Variables that sessions begin with.
    RoleSettings {
        /// In sessions of this database; the cluster: of any.
        database: ObjectId,
        /// Of this role; [`PrincipalId::EVERYBODY`]: of all.
        role: PrincipalId,
        /// Which.
        settings: RoleSettings,
    },
    /// Default privileges.
    DefaultPrivileges {
        /// The database or schema in which objects are made.
        holder: ObjectId,
        /// Who makes them; [`PrincipalId::EVERYBODY`]: all roles.
        creator: PrincipalId,
        /// What they get.
        defaults: DefaultPrivileges,
    },
    /// A cluster setting.
    Setting(Setting, String),
}

impl Shelved {
    /// The object whose table is in the row store, or is to be there.
    pub fn table(&self) -> Option<(ObjectId, bool)> {
        match self {
            Self::Object { id, object, is_made } => has_rows(&object.body).then_some((*id, *is_made)),
            Self::Principal { .. }
            | Self::Membership { .. }
            | Self::SystemPrivileges(_)
            | Self::RoleSettings { .. }
            | Self::DefaultPrivileges { .. }
            | Self::Setting(..) => None,
        }
    }
}

/// Whether an object of this body has a table in the row store.
pub const fn has_rows(body: &Body) -> bool {
    matches!(body, Body::Table(_) | Body::Sequence(_))
}

/// One step of a restore. Appended to, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ShelfStep {
    /// The first one: the shelf is there, with as many ids.
    Begin {
        /// What is restored.
        scope: Scope,
        /// How many ids of objects.
        objects: u32,
        /// How many ids of principals.
        principals: u32,
    },
    /// Puts things on it; at most [`ITEMS_MAX`].
    Put(Vec<Shelved>),
    /// Makes the tables of objects on it; at most [`TABLES_MAX`].
    Make(Vec<ObjectId>),
    /// Puts rows into one of these tables.
    Fill {
        /// Which.
        table: ObjectId,
        /// In the row store's own form; at most [`ROWS_BYTES_MAX`].
        rows: Opaque,
    },
    /// The last one: all is there for everybody, and the job has succeeded.
    Publish,
    /// Takes things from it, at most [`TABLES_MAX`]; with the last one the shelf goes. Not numbered: it can be said as often
    /// as one likes.
    Clear,
}
