//! An immutable, decision-ready projection of one version of the catalog.
//!
//! The index that decisions need is kept by the state itself, step by step, so making the next view costs nothing
//! beyond what the command touched. [`View::build`] computes the index from the records alone: the two must be equal.

use std::sync::Arc;

use crate::id::{ObjectId, PrincipalId, Version};
use crate::index::{Closure, Index};
use crate::refusal::Refusal;
use crate::role::RoleOption;
use crate::state::State;

/// One version of the catalog with what decisions need precomputed. Shared by all readers; never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    version: Version,
    state: State,
}

impl View {
    /// Builds a view whose index is computed from scratch: at start-up, and in tests as the twin of [`Self::next`].
    /// Cost: linear in the catalog.
    pub fn build(version: Version, state: State) -> Self {
        Self { version, state: state.with_new_index() }
    }

    /// The view of `state` at `version`, which comes after this one's. Cost: none that grows with the catalog.
    pub fn next(self: &Arc<Self>, version: Version, state: State) -> Self {
        debug_assert!(version > self.version, "views are made in the order of versions");
        Self { version, state }
    }

    /// The last log entry that it contains.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The catalog itself, for names and listings.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What decisions are made from.
    pub fn index(&self) -> &Index {
        self.state.index()
    }

    /// Whether `principal` is `role` or belongs to it, directly or not.
    pub fn acts_as(&self, principal: PrincipalId, role: PrincipalId) -> bool {
        self.index().acts_as(principal, role)
    }

    /// The roles that `principal` belongs to, directly or not, sorted by id; not itself and not `public`.
    pub fn ancestors(&self, principal: PrincipalId) -> impl Iterator<Item = PrincipalId> {
        let closure = self.index().closure(principal);
        closure.into_iter().flat_map(Closure::roles).filter(move |role| *role != principal)
    }

    /// Whether `principal` is `root`, `admin`, `node`, or a member of `admin`.
    pub fn is_admin(&self, principal: PrincipalId) -> bool {
        self.index().is_admin(principal)
    }

    /// Whether `principal` owns `object`, directly or through a role.
    pub fn owns(&self, principal: PrincipalId, object: ObjectId) -> bool {
        self.index().owns(principal, object)
    }

    /// Whether `principal` has `option`, set on exactly itself, or is an admin.
    pub fn has_option(&self, principal: PrincipalId, option: RoleOption) -> bool {
        self.state.has_option(principal, option)
    }

    /// Whether `principal` may grant and revoke `role` by ADMIN OPTION, its own or a role's.
    pub fn admin_option(&self, principal: PrincipalId, role: PrincipalId) -> bool {
        self.state.admin_option(principal, role)
    }

    /// Whether `principal` may log in by SQL; if not, what the client is told before any password is asked for.
    pub fn may_log_in(&self, principal: PrincipalId) -> Result<(), Refusal> {
        self.state.may_log_in(principal)
    }
}
