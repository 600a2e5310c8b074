//! A state from records: at start-up and when a snapshot is installed. Whatever the records say, the result keeps the
//! invariants that the code relies on, or there is no result.

use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId};
use crate::object::{Body, Object};
use crate::privilege::ObjectKind;
use crate::record::{Counters, Record, RecordKey};
use crate::role::Principal;
use crate::state::{Namespace, State};

/// Why records are not a catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what its fields mean")]
pub enum RestoreError {
    #[error("the catalog has no record {0:?}")]
    Missing(RecordKey),
    #[error("the catalog has two records {0:?}")]
    Twice(RecordKey),
    #[error("the catalog's record {0:?} is of another kind than its key")]
    Mismatch(RecordKey),
    #[error("the catalog's record {0:?} has an id that was never handed out")]
    UnknownId(RecordKey),
    #[error("the catalog's record {key:?} refers to principal {principal}, which does not exist")]
    NoPrincipal { key: RecordKey, principal: PrincipalId },
    #[error("the catalog's record {key:?} is in object {parent}, which cannot contain it")]
    WrongParent { key: RecordKey, parent: ObjectId },
    #[error("the catalog's record {0:?} has the name of another one")]
    NameTaken(RecordKey),
    #[error(
        "the catalog's record {0:?} has an access list that is unsorted, empty in places, or not legal for its kind"
    )]
    MalformedAcl(RecordKey),
    #[error("the catalog's record {0:?} is a table that cannot be: {1}")]
    MalformedTable(RecordKey, String),
    #[error("the catalog's record {0:?} makes a role a member of itself")]
    Cycle(RecordKey),
}

impl State {
    /// The state that has exactly `records`, in any order.
    ///
    /// Errors: records that contradict each other or themselves; the first one found is named. Cost: linear, beside the
    /// closures.
    pub fn restore(records: impl IntoIterator<Item = (RecordKey, Record)>) -> Result<Self, RestoreError> {
        let mut sorted = std::collections::BTreeMap::new();
        for (key, record) in records {
            if sorted.insert(key, record).is_some() {
                return Err(RestoreError::Twice(key));
            }
        }
        for key in [RecordKey::Counters, RecordKey::SystemPrivileges] {
            if !sorted.contains_key(&key) {
                return Err(RestoreError::Missing(key));
            }
        }
        let mut state = Self::empty();
        // Principals come before edges, and edges before ACLs and objects: that is the order of keys.
        let mut objects = Vec::new();
        for (key, record) in sorted {
            match (key, record) {
                (RecordKey::Counters, Record::Counters(counters)) => state.counters = counters,
                (RecordKey::Principal(id), Record::Principal(principal)) => {
                    state.restore_principal(id, principal)?;
                }
                (RecordKey::Membership { role, member }, Record::Membership { admin_option }) => {
                    state.restore_membership(role, member, admin_option)?;
                }
                (RecordKey::SystemPrivileges, Record::SystemPrivileges(acl)) => {
                    state.check_acl(key, &acl, ObjectKind::Cluster)?;
                    state.put_system_acl(acl);
                }
                (RecordKey::Object(id), Record::Object(object)) => objects.push((id, object)),
                (
                    RecordKey::Counters
                    | RecordKey::Principal(_)
                    | RecordKey::Membership { .. }
                    | RecordKey::SystemPrivileges
                    | RecordKey::Object(_),
                    Record::Counters(_)
                    | Record::Principal(_)
                    | Record::Membership { .. }
                    | Record::SystemPrivileges(_)
                    | Record::Object(_),
                ) => return Err(RestoreError::Mismatch(key)),
            }
        }
        for fixed in [PrincipalId::ROOT, PrincipalId::ADMIN] {
            if state.principal(fixed).is_none() {
                return Err(RestoreError::Missing(RecordKey::Principal(fixed)));
            }
        }
        state.restore_closures()?;
        state.restore_objects(objects)?;
        Ok(state)
    }

    fn restore_principal(&mut self, id: PrincipalId, principal: Principal) -> Result<(), RestoreError> {
        let key = RecordKey::Principal(id);
        let Counters { next_principal, .. } = self.counters;
        let is_fixed = matches!(id, PrincipalId::ROOT | PrincipalId::ADMIN);
        if !is_fixed && !(PrincipalId::FIRST_ORDINARY..next_principal).contains(&id) {
            return Err(RestoreError::UnknownId(key));
        }
        if principal.name.is_reserved() || self.principal_id(&principal.name).is_some() {
            return Err(RestoreError::NameTaken(key));
        }
        self.put_principal(id, principal);
        Ok(())
    }

    fn restore_membership(
        &mut self,
        role: PrincipalId,
        member: PrincipalId,
        admin_option: bool,
    ) -> Result<(), RestoreError> {
        let key = RecordKey::Membership { role, member };
        for principal in [role, member] {
            self.check_principal(key, principal)?;
        }
        self.link(role, member, admin_option);
        Ok(())
    }

    /// Computes every closure, after all edges are there; refuses edges that close a cycle.
    fn restore_closures(&mut self) -> Result<(), RestoreError> {
        let with_roles: std::collections::BTreeSet<_> =
            self.member_of.keys().map(|(member, _)| *member).collect();
        for principal in with_roles {
            self.renew_closure(principal);
        }
        let cyclic = self.members.keys().find(|(role, member)| self.index.acts_as(*role, *member));
        match cyclic {
            Some((role, member)) => {
                Err(RestoreError::Cycle(RecordKey::Membership { role: *role, member: *member }))
            }
            None => Ok(()),
        }
    }

    /// Puts the objects in, parents first.
    fn restore_objects(&mut self, mut objects: Vec<(ObjectId, Object)>) -> Result<(), RestoreError> {
        objects.sort_by_key(|(id, object)| (object.kind(), *id));
        for (id, object) in objects {
            let key = RecordKey::Object(id);
            let is_fixed = matches!(
                id,
                ObjectId::SYSTEM_DATABASE
                    | ObjectId::SYSTEM_PUBLIC_SCHEMA
                    | ObjectId::DEFAULT_DATABASE
                    | ObjectId::DEFAULT_PUBLIC_SCHEMA
            );
            if !is_fixed && !(ObjectId::FIRST_ORDINARY..self.counters.next_object).contains(&id) {
                return Err(RestoreError::UnknownId(key));
            }
            if object.owner != PrincipalId::NODE {
                self.check_principal(key, object.owner)?;
            }
            self.check_acl(key, &object.acl, object.kind())?;
            self.check_place(key, &object)?;
            if let Body::Table(table) = &object.body {
                super::table::check(table)
                    .map_err(|refusal| RestoreError::MalformedTable(key, refusal.message))?;
            }
            self.put_object(id, object);
        }
        Ok(())
    }

    fn check_place(&self, key: RecordKey, object: &Object) -> Result<(), RestoreError> {
        let container = match object.body {
            Body::Database => ObjectKind::Cluster,
            Body::Schema => ObjectKind::Database,
            Body::Table(_) => ObjectKind::Schema,
        };
        if self.kind(object.parent) != Some(container) {
            return Err(RestoreError::WrongParent { key, parent: object.parent });
        }
        let taken = Namespace::of(object.kind())
            .and_then(|namespace| self.child(object.parent, namespace, &object.name));
        if taken.is_some() { Err(RestoreError::NameTaken(key)) } else { Ok(()) }
    }

    fn check_principal(&self, key: RecordKey, principal: PrincipalId) -> Result<(), RestoreError> {
        match self.principal(principal) {
            Some(_) => Ok(()),
            None => Err(RestoreError::NoPrincipal { key, principal }),
        }
    }

    fn check_acl(&self, key: RecordKey, acl: &Acl, kind: ObjectKind) -> Result<(), RestoreError> {
        let legal = acl.entries().iter().all(|entry| {
            entry.privileges.union(entry.grant_options).minus(kind.legal()).is_empty()
                && (entry.grantee != PrincipalId::PUBLIC || entry.grant_options.is_empty())
        });
        if !acl.is_well_formed() || !legal {
            return Err(RestoreError::MalformedAcl(key));
        }
        for entry in acl.entries().iter().filter(|entry| entry.grantee != PrincipalId::PUBLIC) {
            self.check_principal(key, entry.grantee)?;
        }
        Ok(())
    }
}
