//! The catalog of a new cluster. Source: authorization spec, B.1, B.4, E.7.

use crate::dense::ByObject;
use crate::grant::{Acl, AclEntry};
use crate::id::{ObjectId, PrincipalId};
use crate::index::Index;
use crate::name::{Name, RoleName};
use crate::object::{Body, Object};
use crate::privilege::{Privilege, PrivilegeSet};
use crate::record::Counters;
use crate::role::{Principal, RoleOptions};
use crate::state::State;
use crate::state::named::Named;
use crate::system;

impl State {
    /// A new cluster's catalog: `root`, a member of `admin` with ADMIN OPTION; databases `defaultdb` and `system`.
    pub fn bootstrap() -> Self {
        let mut state = Self::empty();
        let principal = |name: &str, is_role| Principal {
            name: RoleName::from(name),
            is_role,
            options: RoleOptions::EMPTY,
            password: None,
            valid_until: None,
        };
        state.put_principal(PrincipalId::ROOT, principal("root", false));
        state.put_principal(PrincipalId::ADMIN, principal("admin", true));
        state.put_membership(PrincipalId::ADMIN, PrincipalId::ROOT, true);
        state.put_object(ObjectId::SYSTEM_DATABASE, system_database());
        state.put_object(ObjectId::SYSTEM_PUBLIC_SCHEMA, system_public_schema());
        let database = new_database(Name::from("defaultdb"), PrincipalId::ROOT);
        state.put_object(ObjectId::DEFAULT_DATABASE, database);
        state.put_object(ObjectId::DEFAULT_PUBLIC_SCHEMA, new_public_schema(ObjectId::DEFAULT_DATABASE));
        state
    }

    /// A catalog of nothing but what is computed, to put records into.
    pub(super) fn empty() -> Self {
        let mut state = Self {
            principals: imbl::OrdMap::new(),
            principal_names: imbl::OrdMap::new(),
            members: imbl::OrdMap::new(),
            member_of: imbl::OrdMap::new(),
            objects: ByObject::default(),
            names: imbl::OrdMap::new(),
            referrers: imbl::OrdSet::new(),
            system_acl: Acl::default(),
            role_settings: imbl::OrdMap::new(),
            defaults: imbl::OrdMap::new(),
            settings: imbl::OrdMap::new(),
            protections: imbl::OrdMap::new(),
            jobs: imbl::OrdMap::new(),
            next_job: crate::job::JobId::FIRST,
            claim_leases: imbl::OrdMap::new(),
            schedules: imbl::OrdMap::new(),
            shelves: imbl::OrdMap::new(),
            shelved: imbl::OrdMap::new(),
            shelved_objects: imbl::OrdMap::new(),
            counters: Counters {
                next_principal: PrincipalId::FIRST_ORDINARY,
                next_object: ObjectId::FIRST_ORDINARY,
            },
            named: Named::default(),
            index: Index::default(),
        };
        state.put_system_acl(Acl::default());
        for (id, object) in system::objects() {
            state.put_object(*id, object.clone());
        }
        state
    }
}

/// A database as CREATE DATABASE makes it: `public` may connect.
pub(super) fn new_database(name: Name, owner: PrincipalId) -> Object {
    let acl = superusers().chain([held(PrincipalId::PUBLIC, &[Privilege::Connect])]).collect();
    Object { name, parent: ObjectId::CLUSTER, owner, acl, body: Body::Database, comment: None }
}

/// Schema `public` of a new database: owned by `admin`, and everybody may use it and create in it.
pub(super) fn new_public_schema(database: ObjectId) -> Object {
    let everybody = held(PrincipalId::PUBLIC, &[Privilege::Create, Privilege::Usage]);
    Object {
        name: Name::from("public"),
        parent: database,
        owner: PrincipalId::ADMIN,
        acl: superusers().chain([everybody]).collect(),
        body: Body::Schema,
        comment: None,
    }
}

/// The ACL of any other new object: what `root` and `admin` hold everywhere, and nothing for the owner, whose rights
/// are not stored (T-5).
pub(super) fn new_acl() -> Acl {
    superusers().collect()
}

/// `root` and `admin` hold CONNECT on `system` and nothing else: a fixed set, on which GRANT and REVOKE are refused.
fn system_database() -> Object {
    let connect = PrivilegeSet::of(Privilege::Connect);
    Object {
        name: Name::from("system"),
        parent: ObjectId::CLUSTER,
        owner: PrincipalId::NODE,
        acl: fixed(connect).collect(),
        body: Body::Database,
        comment: None,
    }
}

/// Everybody may look names up in it, so that what is refused is the table and not its schema.
fn system_public_schema() -> Object {
    let usage = PrivilegeSet::of(Privilege::Usage);
    Object {
        name: Name::from("public"),
        parent: ObjectId::SYSTEM_DATABASE,
        owner: PrincipalId::NODE,
        acl: fixed(usage).chain([held(PrincipalId::PUBLIC, &[Privilege::Usage])]).collect(),
        body: Body::Schema,
        comment: None,
    }
}

fn superusers() -> impl Iterator<Item = AclEntry> {
    [AclEntry::superuser(PrincipalId::ROOT), AclEntry::superuser(PrincipalId::ADMIN)].into_iter()
}

fn fixed(set: PrivilegeSet) -> impl Iterator<Item = AclEntry> {
    [PrincipalId::ROOT, PrincipalId::ADMIN].into_iter().map(move |grantee| AclEntry {
        grantee,
        privileges: set,
        grant_options: set,
    })
}

fn held(grantee: PrincipalId, privileges: &[Privilege]) -> AclEntry {
    AclEntry { privileges: privileges.iter().copied().collect(), ..AclEntry::none(grantee) }
}
