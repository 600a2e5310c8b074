//! The one function that answers "may u do k on o?".
//!
//! The predicate itself is in [`crate::index`], so that commands that are being applied, and readers of a view, ask
//! the same code.

use std::collections::{BTreeSet, VecDeque};

use crate::grant::AclEntry;
use crate::id::{ObjectId, PrincipalId};
use crate::index::is_superuser;
use crate::privilege::{ObjectKind, Privilege, PrivilegeSet};
use crate::refusal::Refusal;
use crate::require::Requirement;
use crate::view::View;

/// An answer with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every need holds.
    Allow,
    /// The first need that does not hold, in the client's words.
    Deny(Refusal),
}

/// Why somebody holds a privilege, or that it does not. A path begins with the principal and ends with the role that
/// made the difference; each one belongs directly to the next. It is one of the shortest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It does not: the default.
    Nothing,
    /// Everybody does.
    Public,
    /// It is, or belongs to, one of those that need no grant here.
    Superuser {
        /// To `root`, `admin` or `node`.
        path: Vec<PrincipalId>,
    },
    /// It is, or belongs to, the owner.
    Owner {
        /// To the owner.
        path: Vec<PrincipalId>,
    },
    /// It was granted.
    Granted {
        /// To the grantee.
        path: Vec<PrincipalId>,
        /// What the grantee holds.
        entry: AclEntry,
    },
}

/// Decides whether `principal` holds everything that an act needs.
///
/// Order: needs are checked as listed. Cost: see [`holds`]; texts are made only for a denial.
pub fn decide(view: &View, principal: PrincipalId, requirement: &Requirement) -> Decision {
    let denied = requirement.needs.iter().find_map(|need| view.state().check(principal, need).err());
    denied.map_or(Decision::Allow, Decision::Deny)
}

/// Whether `principal` holds `privilege` on `object`: the predicate of the authorization spec's A.4.
pub fn holds(view: &View, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> bool {
    view.index().holds(principal, object, privilege)
}

/// Whether `principal` may grant `privilege` on `object` (E.4).
pub fn holds_grant_option(
    view: &View,
    principal: PrincipalId,
    object: ObjectId,
    privilege: Privilege,
) -> bool {
    view.index().holds_grant_options(principal, object, PrivilegeSet::of(privilege))
}

/// Whether `principal` may grant all of `listed` on `object` in one statement: one role must have the option for the
/// whole list (T-28).
pub fn holds_grant_options(
    view: &View,
    principal: PrincipalId,
    object: ObjectId,
    listed: PrivilegeSet,
) -> bool {
    view.index().holds_grant_options(principal, object, listed)
}

/// Whether `principal` holds anything on `object`, or owns it.
pub fn holds_any(view: &View, principal: PrincipalId, object: ObjectId) -> bool {
    view.index().holds_any(principal, object)
}

/// Why [`holds`] says what it says, from the same view; anything but [`Reason::Nothing`] is a yes.
///
/// Of several reasons: everybody's first, then rank, ownership, and the nearest grantee. Cost: the edges above the
/// principal; not for the hot path.
pub fn explain(view: &View, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> Reason {
    if !holds(view, principal, object, privilege) {
        return Reason::Nothing;
    }
    let state = view.state();
    let acl = state.acl(object).map_or(&[][..], |acl| acl.entries());
    let covers = |entry: &&AclEntry| entry.privileges.covers(privilege);
    if acl.iter().filter(covers).any(|entry| entry.grantee == PrincipalId::PUBLIC) {
        return Reason::Public;
    }
    let owner = state.object(object).map(|found| found.owner);
    let is_ranked = state.kind(object).is_some_and(ObjectKind::is_held_by_rank);
    let mut paths = VecDeque::from([vec![principal]]);
    let mut seen = BTreeSet::from([principal]);
    let mut granted = None;
    while let Some(path) = paths.pop_front() {
        let Some(at) = path.last().copied() else { continue };
        let by_rank = is_ranked && is_superuser(at) && privilege != Privilege::NoSqlLogin;
        if by_rank || at == PrincipalId::NODE {
            return Reason::Superuser { path };
        }
        if owner == Some(at) {
            return Reason::Owner { path };
        }
        let entry = acl.iter().filter(covers).find(|entry| entry.grantee == at);
        if let (None, Some(entry)) = (&granted, entry) {
            granted = Some(Reason::Granted { path: path.clone(), entry: *entry });
        }
        for (role, _) in state.roles_of(at).filter(|(role, _)| seen.insert(*role)) {
            paths.push_back(path.iter().copied().chain([role]).collect());
        }
    }
    granted.unwrap_or(Reason::Nothing)
}
