//! What was granted: ACLs of objects, and edges between principals.
//!
//! No grantor is recorded (T-4): whoever may grant may also revoke what another granted, and nothing cascades.

use std::collections::BTreeSet;
use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::id::PrincipalId;
use crate::privilege::{ObjectKind, Privilege, PrivilegeSet};

/// What one grantee holds on one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct AclEntry {
    /// Who holds it; may be `public`.
    pub grantee: PrincipalId,
    /// What it holds; never empty.
    pub privileges: PrivilegeSet,
    /// What it may grant onwards. `public` never has any. Not always a subset of `privileges` by bits: `ALL`
    /// stands for every kind on either side.
    pub grant_options: PrivilegeSet,
}

impl AclEntry {
    /// An entry that holds nothing yet.
    pub const fn none(grantee: PrincipalId) -> Self {
        Self { grantee, privileges: PrivilegeSet::EMPTY, grant_options: PrivilegeSet::EMPTY }
    }

    /// ALL with grant option: what `root` and `admin` hold on every object that is not the system's.
    pub const fn superuser(grantee: PrincipalId) -> Self {
        Self { grantee, privileges: PrivilegeSet::ALL, grant_options: PrivilegeSet::ALL }
    }

    /// The entry after GRANT of `listed`. Never takes a grant option away (T-21). `ALL` absorbs: once it is held,
    /// single kinds are not recorded, but for NOSQLLOGIN, which `ALL` does not stand for.
    ///
    /// Source: authorization spec, E.5; for NOSQLLOGIN docs/adr/0007.
    #[must_use]
    pub fn granted(self, listed: PrivilegeSet, grant_option: GrantOption) -> Self {
        let with_option = grant_option == GrantOption::With;
        let has_all = self.privileges.contains(Privilege::All);
        if has_all && (!with_option || self.grant_options.contains(Privilege::All)) {
            return Self { privileges: self.privileges.union(listed.negative()), ..self };
        }
        if listed.contains(Privilege::All) {
            let grant_options = if with_option { PrivilegeSet::ALL } else { self.grant_options };
            let privileges = PrivilegeSet::ALL.union(self.privileges.union(listed).negative());
            return Self { privileges, grant_options, ..self };
        }
        let grant_options = if with_option { self.grant_options.union(listed) } else { self.grant_options };
        Self { privileges: self.privileges.union(listed), grant_options, ..self }
    }

    /// The entry after REVOKE of `listed` on an object of `kind`; it may hold nothing then. What is not held is
    /// revoked without complaint (T-3). NOSQLLOGIN alone is no part of `ALL`, which stays whole then.
    ///
    /// Source: authorization spec, E.5; for NOSQLLOGIN docs/adr/0007.
    #[must_use]
    pub fn revoked(self, listed: PrivilegeSet, kind: ObjectKind) -> Self {
        if listed.contains(Privilege::All) {
            return Self::none(self.grantee);
        }
        if listed == listed.negative() {
            let (privileges, grant_options) =
                (self.privileges.minus(listed), self.grant_options.minus(listed));
            return Self { privileges, grant_options, ..self };
        }
        Self {
            grantee: self.grantee,
            privileges: self.privileges.exploded(kind).minus(listed),
            grant_options: self.grant_options.exploded(kind).minus(listed),
        }
    }

    /// The entry after REVOKE GRANT OPTION FOR `listed`: what is held stays, and is not exploded.
    ///
    /// Source: authorization spec, E.5.
    #[must_use]
    pub fn revoked_option(self, listed: PrivilegeSet, kind: ObjectKind) -> Self {
        if !listed.contains(Privilege::All) {
            return Self { grant_options: self.grant_options.exploded(kind).minus(listed), ..self };
        }
        let privileges = if self.privileges.contains(Privilege::All) {
            PrivilegeSet::ALL.union(self.privileges.negative())
        } else {
            self.privileges
        };
        Self { privileges, grant_options: PrivilegeSet::EMPTY, ..self }
    }
}

/// Whether a GRANT was WITH GRANT OPTION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantOption {
    /// WITH GRANT OPTION.
    With,
    /// Without it.
    Without,
}

/// The entries of one object, sorted by grantee, without repeats. Cloning costs a reference count: an object and the
/// decision index share them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Acl(Arc<[AclEntry]>);

impl Acl {
    /// The entries, sorted by grantee.
    pub fn entries(&self) -> &[AclEntry] {
        &self.0
    }

    /// The entry of exactly `grantee`. Cost: a binary search.
    pub fn entry(&self, grantee: PrincipalId) -> Option<&AclEntry> {
        self.0.binary_search_by_key(&grantee, |entry| entry.grantee).ok().map(|at| &self.0[at])
    }

    /// Puts `entry` in the place of its grantee's, or takes that away when the new one holds nothing.
    /// Cost: copies the entries.
    pub fn set(&mut self, entry: AclEntry) {
        let at = self.0.partition_point(|held| held.grantee < entry.grantee);
        let replaced = usize::from(self.0.get(at).is_some_and(|held| held.grantee == entry.grantee));
        let new = Some(entry).filter(|entry| !entry.privileges.is_empty());
        if new.is_none() && replaced == 0 {
            return;
        }
        self.0 =
            self.0[..at].iter().copied().chain(new).chain(self.0[at + replaced..].iter().copied()).collect();
    }

    /// The same with the entry of each of `grantees` changed; one that holds nothing afterwards is gone.
    /// Cost: linear in both.
    #[must_use]
    pub fn with(&self, grantees: &BTreeSet<PrincipalId>, change: impl Fn(AclEntry) -> AclEntry) -> Self {
        if let (Some(one), 1) = (grantees.first(), grantees.len()) {
            let mut acl = self.clone();
            acl.set(change(self.entry(*one).copied().unwrap_or(AclEntry::none(*one))));
            return acl;
        }
        let mut entries = Vec::with_capacity(self.0.len() + grantees.len());
        let mut held = self.0.iter().copied().peekable();
        for grantee in grantees {
            while let Some(entry) = held.next_if(|entry| entry.grantee < *grantee) {
                entries.push(entry);
            }
            let entry = held.next_if(|entry| entry.grantee == *grantee);
            entries.push(change(entry.unwrap_or(AclEntry::none(*grantee))));
        }
        entries.extend(held);
        entries.retain(|entry| !entry.privileges.is_empty());
        Self(entries.into())
    }

    /// Whether the entries are sorted without repeats and none is empty: true of every ACL that was made by
    /// [`Self::set`], to be asked of one that was decoded.
    pub fn is_well_formed(&self) -> bool {
        self.0.is_sorted_by(|a, b| a.grantee < b.grantee)
            && self.0.iter().all(|entry| !entry.privileges.is_empty())
    }
}

impl FromIterator<AclEntry> for Acl {
    fn from_iter<I: IntoIterator<Item = AclEntry>>(entries: I) -> Self {
        let mut acl = Self::default();
        for entry in entries {
            acl.set(entry);
        }
        acl
    }
}

/// The edge `role ← member`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Membership {
    /// What the member belongs to.
    pub role: PrincipalId,
    /// Who belongs to it.
    pub member: PrincipalId,
    /// Whether the member, and who belongs to it, may grant and revoke `role`.
    pub admin_option: bool,
}
