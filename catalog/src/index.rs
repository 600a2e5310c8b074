//! The decision index: per principal whom it acts as, per object who owns it and who holds what, laid out so that the
//! predicate touches few cache lines.
//!
//! It is part of the state and is moved by the same step that moves a record, so that a command later in the log, and a
//! reader of the view, decide by the same index and the same code. Both tables are of small records in shared arrays
//! (`catalog::packed`): a change copies one of them, whatever the size of the catalog. `closure` and `target` say what a
//! record is; docs/adr/0015 says what else was tried.
//!
//! C1: for each principal the index holds exactly itself and what it reaches through memberships, sorted.
//! C2: for each object the index holds its kind, owner and grants.
//!
//! `invariant` recomputes both. Nothing here knows a name, an option or a text.

use std::hint::black_box;

use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId};
use crate::packed::{Found, Packed};
use crate::privilege::{ALL_BIT, ObjectKind, Privilege, PrivilegeSet, Realm};

mod closure;
mod target;

pub use closure::Closure;
pub use target::Target;

/// What decisions need, precomputed. Cloning costs a few reference counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    principals: Packed,
    objects: Packed,
    /// Those whose ids begin at [`ObjectId::FIRST_VIRTUAL`], counted from there.
    computed: Packed,
}

/// One question: does the principal hold the privilege on the object?
pub type Question = (PrincipalId, ObjectId, Privilege);

/// Questions that [`Index::holds_each`] has under way at once: about as many cache misses as a processor waits for at once.
const BATCH: usize = 16;

impl Index {
    /// The closure of `principal`. None: it was dropped, or never was; `public` and `node` have none.
    #[inline]
    pub fn closure(&self, principal: PrincipalId) -> Option<Closure<'_>> {
        self.principals.at(principal.0).map(Closure)
    }

    /// Sets or removes the closure of `principal`: itself and what it reaches, sorted, each once.
    pub(crate) fn set_closure(&mut self, principal: PrincipalId, roles: Option<&[PrincipalId]>) {
        self.principals.set(principal.0, roles.map(closure::pack).as_deref());
    }

    /// What is known of `object`.
    #[inline]
    pub fn target(&self, object: ObjectId) -> Option<Target<'_>> {
        let (table, key) = self.place(object);
        table.at(key).map(Target)
    }

    /// Sets what is known of `object`.
    pub(crate) fn set_target(&mut self, object: ObjectId, kind: ObjectKind, owner: PrincipalId, acl: &Acl) {
        let record = target::pack(kind, owner, acl);
        let (table, key) = self.place_mut(object);
        table.set(key, Some(&record));
    }

    /// Removes what is known of `object`.
    pub(crate) fn remove_target(&mut self, object: ObjectId) {
        let (table, key) = self.place_mut(object);
        table.set(key, None);
    }

    #[inline]
    fn place(&self, object: ObjectId) -> (&Packed, u32) {
        match object.0.checked_sub(ObjectId::FIRST_VIRTUAL.0) {
            None => (&self.objects, object.0),
            Some(at) => (&self.computed, at),
        }
    }

    fn place_mut(&mut self, object: ObjectId) -> (&mut Packed, u32) {
        match object.0.checked_sub(ObjectId::FIRST_VIRTUAL.0) {
            None => (&mut self.objects, object.0),
            Some(at) => (&mut self.computed, at),
        }
    }

    /// Whether `principal` is `role` or belongs to it, directly or not. `public` is not a role in this sense.
    pub fn acts_as(&self, principal: PrincipalId, role: PrincipalId) -> bool {
        principal == role || self.closure(principal).is_some_and(|closure| closure.contains(role))
    }

    /// Whether `principal` is `root`, `admin`, `node`, or a member of `admin`.
    pub fn is_admin(&self, principal: PrincipalId) -> bool {
        is_superuser(principal) || self.closure(principal).is_some_and(Closure::is_admin)
    }

    /// Whether `principal` owns `object`, directly or through a role. `node` passes every check.
    pub fn owns(&self, principal: PrincipalId, object: ObjectId) -> bool {
        let Some(target) = self.target(object) else { return false };
        principal == PrincipalId::NODE
            || self
                .closure(principal)
                .zip(target.owner())
                .is_some_and(|(closure, owner)| closure.contains(owner))
    }

    /// Whether `principal` holds `privilege` on `object`.
    ///
    /// A principal that was dropped holds what `public` holds. On an object that is gone nobody holds anything. RULE
    /// is held by nobody. Cost: two look-ups, and a comparison of each role of the closure with all grantees at once.
    /// Source: authorization spec, A.4.
    #[inline]
    pub fn holds(&self, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> bool {
        // Neither look-up waits for the other.
        let (target, closure) = (self.target(object), self.closure(principal));
        holds((principal, object, privilege), target, closure)
    }

    /// The answers to `questions`, appended in their order. As [`Self::holds`] for each, but the processor waits for the
    /// memory of several at once.
    pub fn holds_each(&self, questions: &[Question], answers: &mut Vec<bool>) {
        answers.reserve(questions.len());
        for group in questions.chunks(BATCH) {
            let mut places = [(None, None); BATCH];
            for ((principal, object, _), place) in group.iter().zip(&mut places) {
                let (table, key) = self.place(*object);
                *place = (table.near(key), self.principals.near(principal.0));
            }
            let mut records = [(None, None); BATCH];
            for (((principal, object, _), place), record) in group.iter().zip(places).zip(&mut records) {
                let (table, key) = self.place(*object);
                let target = place.0.and_then(|near| table.in_array(near, key));
                let closure = place.1.and_then(|near| self.principals.in_array(near, principal.0));
                *record = (target, closure);
            }
            // Reading is what brings a record into the cache.
            let touch = |record: Option<Found<'_>>| {
                record.map_or(0, |found| found.word(0) ^ found.word(found.len() - 1))
            };
            for (target, closure) in records {
                black_box(touch(target) ^ touch(closure));
            }
            let each = group.iter().zip(records);
            answers.extend(each.map(|(question, (target, closure))| {
                holds(*question, target.map(Target), closure.map(Closure))
            }));
        }
    }

    /// Whether `principal` holds anything on `object`, or owns it. Source: authorization spec, A.4 (HasAnyPrivilege).
    pub fn holds_any(&self, principal: PrincipalId, object: ObjectId) -> bool {
        let Some(target) = self.target(object) else { return false };
        if principal == PrincipalId::NODE || target.public() != 0 {
            return true;
        }
        let Some(closure) = self.closure(principal) else { return false };
        ((target.is_ranked() || target.is_held_by_superusers()) && closure.is_admin())
            || target.any_entry(closure, u16::MAX, |_| true)
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
        let realm = realm(object);
        target.any_entry(closure, u16::MAX, |at| {
            target.is_owner(at) || may_grant(target.options(at), listed, realm)
        })
    }

    /// Every closure, sorted by principal.
    pub fn closures(&self) -> impl Iterator<Item = (PrincipalId, &[u16])> {
        self.principals.iter().map(|(id, record)| (PrincipalId(id), record))
    }

    /// Every object, sorted.
    pub fn targets(&self) -> impl Iterator<Item = (ObjectId, &[u16])> {
        let computed = self.computed.iter().map(|(at, record)| (ObjectId::FIRST_VIRTUAL.0 + at, record));
        self.objects.iter().chain(computed).map(|(id, record)| (ObjectId(id), record))
    }

    /// Bytes on the heap: of closures, and of what is known of objects.
    pub fn heap_bytes(&self) -> (usize, usize) {
        (self.principals.heap_bytes(), self.objects.heap_bytes() + self.computed.heap_bytes())
    }
}

/// The predicate. Source: authorization spec, A.4, whose steps are numbered here.
#[inline]
fn holds(
    (principal, object, privilege): Question,
    target: Option<Target<'_>>,
    closure: Option<Closure<'_>>,
) -> bool {
    let Some(target) = target else { return false };
    let question = privilege.question(realm(object));
    if target.is_ranked() {
        // 1. What has no stored ALL of the superusers.
        if let Some(answer) = holds_by_rank((principal, privilege), target, closure) {
            return answer;
        }
    }
    // 2. Everybody's.
    if target.public() & question != 0 {
        return true;
    }
    // 3. Its own, and that of its roles.
    let Some(closure) = closure else {
        return principal == PrincipalId::NODE && privilege != Privilege::Rule;
    };
    (question & ALL_BIT != 0 && target.is_held_by_superusers() && closure.is_admin())
        || target.any_entry(closure, question, |_| true)
}

/// What superusers hold without an entry on what is held by rank, and what nobody holds there; none: it depends on what was
/// granted.
#[cold]
fn holds_by_rank(
    (principal, privilege): (PrincipalId, Privilege),
    target: Target<'_>,
    closure: Option<Closure<'_>>,
) -> Option<bool> {
    let kind = target.kind()?;
    // What takes something away is not held by rank.
    let by_rank = privilege != Privilege::NoSqlLogin;
    let is_legal = privilege.is_legal_on(kind);
    if by_rank && is_superuser(principal) {
        return Some(is_legal);
    }
    // On the cluster `admin` has ALL; elsewhere nobody holds what cannot be granted.
    if kind != ObjectKind::Cluster && !is_legal {
        return Some(false);
    }
    let is_admin = closure.is_some_and(Closure::is_admin);
    (by_rank && is_admin && privilege != Privilege::Rule).then_some(true)
}

/// Whether who has the grant options `options` may grant all of `listed`.
fn may_grant(options: u16, listed: PrivilegeSet, realm: Realm) -> bool {
    options & ALL_BIT != 0 || listed.packed(realm).is_some_and(|listed| listed & !options == 0)
}

#[inline]
const fn realm(object: ObjectId) -> Realm {
    match object {
        ObjectId::CLUSTER => Realm::Cluster,
        _ => Realm::Objects,
    }
}

/// Who passes without being looked up.
pub(crate) const fn is_superuser(principal: PrincipalId) -> bool {
    matches!(principal, PrincipalId::ROOT | PrincipalId::ADMIN | PrincipalId::NODE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::AclEntry;

    fn index(acl: impl IntoIterator<Item = (u32, PrivilegeSet, PrivilegeSet)>) -> Index {
        let mut index = Index::default();
        let roles = [PrincipalId(100), PrincipalId(101), PrincipalId(102)];
        index.set_closure(PrincipalId(100), Some(&roles));
        let entries = acl.into_iter().map(|(grantee, privileges, grant_options)| AclEntry {
            grantee: PrincipalId(grantee),
            privileges,
            grant_options,
        });
        index.set_target(ObjectId(104), ObjectKind::Table, PrincipalId(109), &entries.collect());
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
        for (size, spread) in [(1, 2), (7, 2), (8, 40_000), (255, 2), (300, 1_000), (70_000, 3)] {
            let roles: Vec<_> = (0..size).map(|at| PrincipalId(at * spread)).collect();
            let mut index = Index::default();
            index.set_closure(PrincipalId(5), Some(&roles));
            let closure = index.closure(PrincipalId(5)).unwrap();
            assert!(closure.roles().eq(roles.iter().copied()));
            assert!(roles.iter().step_by(97).all(|role| closure.contains(*role)));
            assert!(!closure.contains(PrincipalId(1)));
            assert_eq!(closure.is_admin(), size > 1 && spread == 2, "the second one is admin");
        }
    }

    #[test]
    fn ids_whose_low_halves_are_the_same_are_not_taken_for_each_other() {
        let (low, high) = (PrincipalId(200), PrincipalId(200 + (7 << 16)));
        let select = PrivilegeSet::of(Privilege::Select);
        let one = |grantee| AclEntry { privileges: select, ..AclEntry::none(grantee) };
        for (in_closure, granted) in [(low, low), (low, high), (high, low), (high, high)] {
            let mut index = Index::default();
            index.set_closure(PrincipalId(9), Some(&[PrincipalId(9), in_closure]));
            let acl = [one(granted)].into_iter().collect();
            index.set_target(ObjectId(104), ObjectKind::Table, PrincipalId(109), &acl);
            let holds = index.holds(PrincipalId(9), ObjectId(104), Privilege::Select);
            assert_eq!(holds, in_closure == granted, "{in_closure} {granted}");
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
