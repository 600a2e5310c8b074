//! What an act needs, as data: computed by whoever plans the act, decided by `decide`, carried in the log with the
//! act, and decided again where it is applied.

use bincode::{Decode, Encode};

use crate::id::ObjectId;
use crate::name::Name;
use crate::privilege::Privilege;
use crate::role::RoleOption;

/// The most needs of one act.
pub const NEEDS_MAX: usize = 4_096;

/// All of these must hold, and the first that does not is the one that is reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Requirement {
    /// In the order of the original's checks: USAGE on the schema before SELECT on the table, UPDATE before SELECT.
    pub needs: Vec<Need>,
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Need {
    /// `privilege` on `object` (system privileges: on [`ObjectId::CLUSTER`]).
    Privilege {
        /// On what.
        object: ObjectId,
        /// Which.
        privilege: Privilege,
    },
    /// Any privilege on `object`, or its ownership.
    AnyPrivilege {
        /// On what.
        object: ObjectId,
    },
    /// Ownership of `object`, direct or through a role.
    Ownership {
        /// Of what.
        object: ObjectId,
    },
    /// Membership in `admin`; `action` ends the sentence `only users with the admin role are allowed to …`.
    Admin {
        /// What only they may do.
        action: String,
    },
    /// The option, set on exactly this principal.
    Option(RoleOption),
    /// The system privilege, or the role option of the same name.
    SystemOrOption(Privilege),
    /// One of these privileges on `object`, in the order in which a refusal names them.
    AnyOf {
        /// On what.
        object: ObjectId,
        /// Which; not empty.
        privileges: Vec<Privilege>,
    },
    /// What a URI of something outside needs.
    Outside(UriAccess),
    /// A changefeed.
    Changefeed {
        /// Of these tables; not empty.
        tables: Vec<ObjectId>,
        /// Where to.
        to: FeedTo,
    },
}

/// Where a changefeed goes, as far as it decides who may make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FeedTo {
    /// To the client that asked.
    Client,
    /// Where a URI leads.
    Uri,
    /// Where an external connection leads.
    Connection,
}

/// What using a URI of something outside takes, as whoever read the URI says: the catalog reads none. It holds no secret.
///
/// Roles and the connection are names and not ids: a role that a URI names need not be in the catalog, and what it is there
/// when it is used counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct UriAccess {
    /// What a refusal calls it: `s3`, `gs`, `nodelocal`.
    pub provider: String,
    /// It is reached with what a node itself is in a cloud: `AUTH=implicit`.
    pub implicit: bool,
    /// It leads where only nodes get: their files, HTTP, an endpoint that the URI names.
    pub only_nodes: bool,
    /// The roles of clouds that are taken on on the way, as the URI names them.
    pub roles: Vec<Name>,
    /// The external connection that it goes through.
    pub connection: Option<Name>,
}

impl Requirement {
    /// What everybody may do.
    pub const NOTHING: Self = Self { needs: Vec::new() };

    /// Adds a need, once.
    pub fn need(&mut self, need: Need) {
        if !self.needs.contains(&need) {
            self.needs.push(need);
        }
    }

    /// Adds a privilege on an object, once.
    pub fn privilege(&mut self, object: ObjectId, privilege: Privilege) {
        self.need(Need::Privilege { object, privilege });
    }
}
