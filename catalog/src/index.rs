//! The decision index: per principal whom it acts as, per object who owns it and who holds what, laid out so that the
//! predicate touches few cache lines.
//!
//! It is part of the state and is moved by the same step that moves a record, so that a command later in the log, and a
//! reader of the view, decide by the same index and the same code. Tables are dense in the id and share what did not
//! change: a change costs a few copied slots, whatever the size of the catalog.
//!
//! C1: for each principal the index holds exactly itself and what it reaches through memberships, sorted.
//! C2: for each object the index holds its kind, owner and ACL.
//!
//! `invariant` recomputes both. Nothing here knows a name, an option or a text.

use std::sync::Arc;

use crate::dense::{ByObject, Dense};
use crate::grant::{Acl, AclEntry};
use crate::id::{ObjectId, PrincipalId};
use crate::privilege::{ObjectKind, Privilege, PrivilegeSet};

/// What decisions need, precomputed. Cloning costs three reference counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    principals: Dense<Closure>,
    objects: ByObject<Target>,
}

/// Whom a principal acts as. Most closures are small, and then they lie in the table itself.
#[derive(Clone, Debug)]
pub struct Closure(Roles);

#[derive(Clone, Debug)]
enum Roles {
    Few { count: u8, ids: [PrincipalId; FEW] },
    Many(Arc<[PrincipalId]>),
}

/// As many roles as fit beside a count into half a cache line.
const FEW: usize = 7;

/// What decisions need to know of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    acl: Acl,
    /// The grantees of `acl` alone, so that a search touches few cache lines and an entry only when it is found.
    grantees: Arc<[PrincipalId]>,
    /// The privileges of the entry of `public`, which answers most questions before anything else is looked at.
    public: PrivilegeSet,
    owner: PrincipalId,
    kind: ObjectKind,
}

impl Closure {
    /// The closure that consists of `roles`, sorted and without repeats: the principal itself, and what it reaches.
    pub fn new(roles: &[PrincipalId]) -> Self {
        let mut ids = [PrincipalId(0); FEW];
        match (u8::try_from(roles.len()), ids.get_mut(..roles.len())) {
            (Ok(count), Some(few)) => {
                few.copy_from_slice(roles);
                Self(Roles::Few { count, ids })
            }
            (Ok(_) | Err(_), _) => Self(Roles::Many(roles.into())),
        }
    }

    /// Itself and every role it belongs to, sorted.
    #[inline]
    pub fn roles(&self) -> &[PrincipalId] {
        match &self.0 {
            Roles::Few { count, ids } => &ids[..usize::from(*count)],
            Roles::Many(ids) => ids,
        }
    }

    /// Whether `role` is in it.
    pub fn contains(&self, role: PrincipalId) -> bool {
        self.roles().binary_search(&role).is_ok()
    }

    /// Whether `admin` is in it. Only `root` sorts before it.
    fn is_admin(&self) -> bool {
        self.roles().iter().take(2).any(|role| *role == PrincipalId::ADMIN)
    }
}

impl PartialEq for Closure {
    fn eq(&self, other: &Self) -> bool {
        self.roles() == other.roles()
    }
}

impl Eq for Closure {}

impl Target {
    /// The entry of an object.
    pub fn new(kind: ObjectKind, owner: PrincipalId, acl: Acl) -> Self {
        let public = acl.entry(PrincipalId::PUBLIC).map_or(PrivilegeSet::EMPTY, |entry| entry.privileges);
        let grantees = acl.entries().iter().map(|entry| entry.grantee).collect();
        Self { acl, grantees, public, owner, kind }
    }

    /// Whether superusers hold everything here without an entry, but for what takes something away.
    const fn is_held_by_rank(&self, privilege: Privilege) -> bool {
        self.kind.is_held_by_rank() && !matches!(privilege, Privilege::NoSqlLogin)
    }

    /// Whether one of `closure` owns the object or has an entry of which `accepts` is true. `root`, `admin` and their
    /// like come first in both lists, so a superuser is recognized at once.
    fn any_entry(&self, closure: &Closure, accepts: impl Fn(&AclEntry) -> bool) -> bool {
        let grantees = &self.grantees[..];
        let mut from = 0;
        for role in closure.roles() {
            if *role == self.owner {
                return true;
            }
            from += grantees[from..].partition_point(|grantee| grantee < role);
            if grantees.get(from) == Some(role) && accepts(&self.acl.entries()[from]) {
                return true;
            }
        }
        false
    }
}

impl Index {
    /// The closure of `principal`. None: it was dropped, or never was; `public` and `node` have none.
    pub fn closure(&self, principal: PrincipalId) -> Option<&Closure> {
        self.principals.at(principal.0)
    }

    /// Sets or removes the closure of `principal`.
    pub fn set_closure(&mut self, principal: PrincipalId, closure: Option<Closure>) {
        self.principals.set(principal.0, closure);
    }

    /// What is known of `object`.
    pub fn target(&self, object: ObjectId) -> Option<&Target> {
        self.objects.get(object)
    }

    /// Sets or removes what is known of `object`.
    pub fn set_target(&mut self, object: ObjectId, target: Option<Target>) {
        self.objects.set(object, target);
    }

    /// Whether `principal` is `role` or belongs to it, directly or not. `public` is not a role in this sense.
    pub fn acts_as(&self, principal: PrincipalId, role: PrincipalId) -> bool {
        principal == role || self.closure(principal).is_some_and(|closure| closure.contains(role))
    }

    /// Whether `principal` is `root`, `admin`, `node`, or a member of `admin`.
    pub fn is_admin(&self, principal: PrincipalId) -> bool {
        is_superuser(principal) || self.closure(principal).is_some_and(|closure| closure.is_admin())
    }

    /// Whether `principal` owns `object`, directly or through a role. `node` passes every check.
    pub fn owns(&self, principal: PrincipalId, object: ObjectId) -> bool {
        let Some(target) = self.target(object) else { return false };
        principal == PrincipalId::NODE
            || self.closure(principal).is_some_and(|closure| closure.contains(target.owner))
    }

    /// Whether `principal` holds `privilege` on `object`.
    ///
    /// A principal that was dropped holds what `public` holds. On an object that is gone nobody holds anything. RULE
    /// is held by nobody. Cost: two lookups and a search of the ACL per role of the closure.
    /// Source: authorization spec, A.4, whose steps are numbered here.
    pub fn holds(&self, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> bool {
        let Some(target) = self.target(object) else { return false };
        if privilege == Privilege::Rule {
            return false;
        }
        // 1. What has no stored ALL of the superusers. Whether it can be granted there is asked on no other kind: that
        // is a search.
        let by_rank = target.is_held_by_rank(privilege);
        if by_rank && is_superuser(principal) {
            return privilege.is_legal_on(target.kind);
        }
        // On the cluster `admin` has ALL; elsewhere nobody holds what cannot be granted.
        let is_ranked = target.kind.is_held_by_rank() && target.kind != ObjectKind::Cluster;
        if is_ranked && !privilege.is_legal_on(target.kind) {
            return false;
        }
        // 2. Everybody's.
        if target.public.covers(privilege) {
            return true;
        }
        // 3. Its own, and that of its roles.
        if principal == PrincipalId::NODE {
            return true;
        }
        let Some(closure) = self.closure(principal) else { return false };
        // `admin` has an ALL there that is not stored.
        if by_rank && closure.is_admin() {
            return true;
        }
        target.any_entry(closure, |entry| entry.privileges.covers(privilege))
    }

    /// Whether `principal` holds anything on `object`, or owns it. Source: authorization spec, A.4 (HasAnyPrivilege).
    pub fn holds_any(&self, principal: PrincipalId, object: ObjectId) -> bool {
        let Some(target) = self.target(object) else { return false };
        if principal == PrincipalId::NODE || !target.public.is_empty() {
            return true;
        }
        let Some(closure) = self.closure(principal) else { return false };
        (target.kind.is_held_by_rank() && closure.is_admin()) || target.any_entry(closure, |_| true)
    }

    /// Whether `principal` may grant and revoke all of `listed` on `object`: as an admin, as the owner, or because one
    /// of its roles has the grant option for the whole list; options of several roles are not added up (T-28).
    ///
    /// Source: authorization spec, E.4. `public` never has any.
    pub fn holds_grant_options(
        &self,
        principal: PrincipalId,
        object: ObjectId,
        listed: PrivilegeSet,
    ) -> bool {
        let Some(target) = self.target(object) else { return false };
        if self.is_admin(principal) {
            return true;
        }
        let Some(closure) = self.closure(principal) else { return false };
        target.any_entry(closure, |entry| {
            entry.grant_options.contains(Privilege::All) || listed.minus(entry.grant_options).is_empty()
        })
    }

    /// Every closure, sorted by principal.
    pub fn closures(&self) -> impl Iterator<Item = (PrincipalId, &Closure)> {
        self.principals.iter().map(|(id, closure)| (PrincipalId(id), closure))
    }

    /// Every object, sorted.
    pub fn targets(&self) -> impl Iterator<Item = (ObjectId, &Target)> {
        self.objects.iter()
    }
}

/// Who passes without being looked up.
pub(crate) const fn is_superuser(principal: PrincipalId) -> bool {
    matches!(principal, PrincipalId::ROOT | PrincipalId::ADMIN | PrincipalId::NODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(acl: impl IntoIterator<Item = (u32, PrivilegeSet, PrivilegeSet)>) -> Index {
        let mut index = Index::default();
        let roles = [PrincipalId(100), PrincipalId(101), PrincipalId(102)];
        index.set_closure(PrincipalId(100), Some(Closure::new(&roles)));
        let entries = acl.into_iter().map(|(grantee, privileges, grant_options)| AclEntry {
            grantee: PrincipalId(grantee),
            privileges,
            grant_options,
        });
        let target = Target::new(ObjectKind::Table, PrincipalId(109), entries.collect());
        index.set_target(ObjectId(104), Some(target));
        index
    }

    #[test]
    fn grant_options_of_several_roles_are_not_added_up() {
        let (select, insert) = (PrivilegeSet::of(Privilege::Select), PrivilegeSet::of(Privilege::Insert));
        let index = index([(101, select, select), (102, insert, insert)]);
        let may = |listed| index.holds_grant_options(PrincipalId(100), ObjectId(104), listed);
        assert!(may(select));
        assert!(may(insert));
        assert!(!may(select.union(insert)));
    }

    #[test]
    fn what_everybody_holds_cannot_be_granted_onwards() {
        let select = PrivilegeSet::of(Privilege::Select);
        let index = index([(PrincipalId::PUBLIC.0, select, select)]);
        assert!(index.holds(PrincipalId(100), ObjectId(104), Privilege::Select));
        assert!(index.holds(PrincipalId(777), ObjectId(104), Privilege::Select));
        assert!(!index.holds_grant_options(PrincipalId(100), ObjectId(104), select));
    }

    #[test]
    fn a_closure_of_any_size_contains_what_it_was_made_of() {
        for size in [1, FEW - 1, FEW, FEW + 1, 255, 256, 300] {
            let roles: Vec<_> =
                (0..size).map(|at| PrincipalId(u32::try_from(at * 2).expect("small"))).collect();
            let closure = Closure::new(&roles);
            assert_eq!(closure.roles(), roles);
            assert!(roles.iter().all(|role| closure.contains(*role)));
            assert!(!closure.contains(PrincipalId(1)));
            assert_eq!(closure.is_admin(), size > 1, "the second one is admin");
        }
    }

    #[test]
    fn nobody_holds_anything_on_what_is_not_there() {
        let index = index([]);
        assert!(!index.holds(PrincipalId::ROOT, ObjectId(105), Privilege::Select));
        assert!(!index.holds(PrincipalId::NODE, ObjectId(105), Privilege::Select));
        assert!(index.holds(PrincipalId::NODE, ObjectId(104), Privilege::Select));
    }
}
