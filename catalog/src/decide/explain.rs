//! Why a decision is as it is, from the records alone: every reason of an allow, or what an allow would take.
//!
//! A *reason* is one right (everybody's grant, rank, ownership, the grant of one role) with one shortest path of
//! memberships that leads to whoever has it. Two sentences are exact, and `catalog/tests/explain.rs` holds them on
//! generated catalogs:
//!
//! * Each reason is enough: a catalog with nothing but the memberships of its path and its right allows.
//! * Together they are all: with the right of each of them taken away the same question is denied. What takes a right
//!   away: REVOKE of the privilege from the role of a grant, another owner, for rank the end of each membership in
//!   `admin`. So of a decision with one reason that reason is what flips it. Only the rank of `root`, `admin` and `node`
//!   themselves cannot be taken away.
//!
//! Nothing here reads the index, which decides: so that the two can be compared.

use std::collections::{BTreeMap, VecDeque};

use crate::grant::AclEntry;
use crate::id::{ObjectId, PrincipalId};
use crate::index::is_superuser;
use crate::privilege::{ObjectKind, Privilege};
use crate::state::State;
use crate::view::View;

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// Yes, for each of these; never empty. First what everybody may, then rank, ownership, and grants, the nearest first.
    Allow(Vec<Reason>),
    /// No.
    Deny(Missing),
}

/// Why somebody holds a privilege. A path begins with the principal and ends with whoever has the right; each one
/// belongs directly to the next. It is one of the shortest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was granted to `public`.
    Public {
        /// What everybody holds.
        entry: AclEntry,
    },
    /// It is, or belongs to, one of those that need no grant here.
    Superuser {
        /// To `admin`; of `root`, `admin` and `node` themselves just these.
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

/// What an allow would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The object is gone, or never was.
    Object,
    /// So is the principal, which holds what everybody holds.
    Principal,
    /// No grant of it can be made: there is no such privilege on such an object, and `public` has no grant options.
    NotGrantable,
    /// No grant of it can be made: what is held on the system's objects does not change.
    OfSystem,
    /// A grant to one of these, or ownership by one of them: itself, and the roles that it belongs to, the nearest first.
    Grant {
        /// Whom to grant it.
        to: Vec<PrincipalId>,
        /// Who owns the object, and so may grant it beside the admins and who has the grant option. None: nobody.
        owner: Option<PrincipalId>,
    },
}

impl Explanation {
    /// The decision.
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

impl Reason {
    /// From the principal to whoever has the right; empty for what everybody may.
    pub fn path(&self) -> &[PrincipalId] {
        match self {
            Self::Public { .. } => &[],
            Self::Superuser { path } | Self::Owner { path } | Self::Granted { path, .. } => path,
        }
    }

    /// What is told first.
    const fn order(&self) -> u8 {
        match self {
            Self::Public { .. } => 0,
            Self::Superuser { .. } => 1,
            Self::Owner { .. } => 2,
            Self::Granted { .. } => 3,
        }
    }
}

/// Why [`holds`](super::holds) says what it says, from the same view. Cost: the edges above the principal, and a
/// search of the grants for each role; not for the hot path.
pub fn explain(view: &View, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> Explanation {
    let state = view.state();
    let Some(kind) = state.kind(object) else { return Explanation::Deny(Missing::Object) };
    let is_legal = privilege.is_legal_on(kind);
    let by_rank = kind.is_held_by_rank() && privilege != Privilege::NoSqlLogin;
    // Where there is rank, an ALL means what can be granted; on the cluster only that of the superusers themselves.
    let is_bound =
        kind.is_held_by_rank() && (kind != ObjectKind::Cluster || (by_rank && is_superuser(principal)));
    if privilege == Privilege::Rule || (is_bound && !is_legal) {
        return Explanation::Deny(Missing::NotGrantable);
    }
    let asked = Asked { state, principal, object, by_rank, is_grantable: is_legal };
    asked.explain(|entry| entry.privileges.covers(privilege))
}

/// Why [`holds_grant_option`](super::holds_grant_option) says what it says. Cost: as [`explain`].
pub fn explain_grant_option(
    view: &View,
    principal: PrincipalId,
    object: ObjectId,
    privilege: Privilege,
) -> Explanation {
    let state = view.state();
    let Some(kind) = state.kind(object) else { return Explanation::Deny(Missing::Object) };
    let is_grantable = principal != PrincipalId::PUBLIC && privilege.is_legal_on(kind);
    let asked = Asked { state, principal, object, by_rank: true, is_grantable };
    asked.explain(|entry| {
        entry.grant_options.contains(Privilege::All) || entry.grant_options.contains(privilege)
    })
}

/// A question about an object that is there.
struct Asked<'a> {
    state: &'a State,
    principal: PrincipalId,
    object: ObjectId,
    /// Whether superusers need no grant.
    by_rank: bool,
    /// Whether a grant could make it so, where grants can change.
    is_grantable: bool,
}

impl Asked<'_> {
    fn explain(&self, covers: impl Fn(&AclEntry) -> bool) -> Explanation {
        let acl = self.state.acl(self.object).cloned().unwrap_or_default();
        let covering = |grantee| acl.entry(grantee).filter(|entry| covers(entry)).copied();
        let roles = Roles::above(self.state, self.principal);
        let owner = self.state.object(self.object).map(|object| object.owner);
        let mut reasons: Vec<_> =
            covering(PrincipalId::PUBLIC).map(|entry| Reason::Public { entry }).into_iter().collect();
        for role in roles.each() {
            if self.ranks(role) {
                reasons.push(Reason::Superuser { path: roles.path_to(role) });
            }
            if owner == Some(role) {
                reasons.push(Reason::Owner { path: roles.path_to(role) });
            }
            if let Some(entry) = covering(role) {
                reasons.push(Reason::Granted { path: roles.path_to(role), entry });
            }
        }
        if reasons.is_empty() {
            return Explanation::Deny(self.missing(&roles, owner));
        }
        reasons.sort_by_key(Reason::order);
        Explanation::Allow(reasons)
    }

    /// Whether it is `role` by which the principal has its rank.
    fn ranks(&self, role: PrincipalId) -> bool {
        let of_its_own = is_superuser(self.principal);
        let by_role = if of_its_own { role == self.principal } else { role == PrincipalId::ADMIN };
        by_role && (self.by_rank || role == PrincipalId::NODE)
    }

    fn missing(&self, roles: &Roles, owner: Option<PrincipalId>) -> Missing {
        let to: Vec<_> = match self.principal {
            PrincipalId::PUBLIC => vec![PrincipalId::PUBLIC],
            _ => roles.each().collect(),
        };
        if to.is_empty() {
            return Missing::Principal;
        }
        if !self.is_grantable {
            return Missing::NotGrantable;
        }
        // Of what is the system's, grants change on the virtual tables that every database has, and on nothing else.
        let is_everywhere = self
            .state
            .object(self.object)
            .is_some_and(|object| object.kind() == ObjectKind::VirtualTable && object.parent.is_virtual());
        if self.state.is_system(self.object) && !is_everywhere {
            return Missing::OfSystem;
        }
        Missing::Grant { to, owner: owner.filter(|owner| *owner != PrincipalId::NODE) }
    }
}

/// A principal and every role that it belongs to, and how it comes to each.
struct Roles {
    /// The nearest first.
    order: Vec<PrincipalId>,
    /// Of each role but the first, who belongs to it on the way.
    member: BTreeMap<PrincipalId, PrincipalId>,
}

impl Roles {
    /// Those of `principal`; none, if it was dropped or is `public`.
    fn above(state: &State, principal: PrincipalId) -> Self {
        let mut roles = Self { order: Vec::new(), member: BTreeMap::new() };
        if principal != PrincipalId::NODE && state.principal(principal).is_none() {
            return roles;
        }
        let mut open = VecDeque::from([principal]);
        while let Some(at) = open.pop_front() {
            roles.order.push(at);
            for (role, _) in state.roles_of(at) {
                if role != principal && !roles.member.contains_key(&role) {
                    roles.member.insert(role, at);
                    open.push_back(role);
                }
            }
        }
        roles
    }

    fn each(&self) -> impl Iterator<Item = PrincipalId> {
        self.order.iter().copied()
    }

    fn path_to(&self, role: PrincipalId) -> Vec<PrincipalId> {
        let mut path: Vec<_> = std::iter::successors(Some(role), |at| self.member.get(at).copied()).collect();
        path.reverse();
        path
    }
}
