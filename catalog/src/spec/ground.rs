//! A new cluster, and what every cluster has without a record.

use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName};
use crate::object::{Body, Object};
use crate::privilege::Privilege;
use crate::spec::{Model, ModelEdge, ModelGrant, ModelObject, ModelPrincipal};

impl Model {
    /// A new cluster: root in admin, `system`, `defaultdb` with its schema `public`.
    pub fn bootstrap() -> Self {
        let mut model = Self {
            principals: Vec::new(),
            edges: Vec::new(),
            objects: Vec::new(),
            held: Vec::new(),
            virtual_changed: Vec::new(),
            defaults: Vec::new(),
            role_settings: Vec::new(),
            settings: Vec::new(),
            protections: Vec::new(),
            jobs: Vec::new(),
            claim_leases: Vec::new(),
            schedules: Vec::new(),
            shelves: Vec::new(),
            now: crate::id::Timestamp::default(),
            next_job: 1,
            next_principal: PrincipalId::FIRST_ORDINARY.0,
            next_object: ObjectId::DEFAULT_DATABASE.0,
        };
        for (id, name, is_role) in [(PrincipalId::ROOT, "root", false), (PrincipalId::ADMIN, "admin", true)] {
            model.principals.push(ModelPrincipal {
                id,
                name: RoleName::normalize(name),
                is_role,
                options: Vec::new(),
                password: None,
                valid_until: None,
            });
        }
        let root_in_admin =
            ModelEdge { role: PrincipalId::ADMIN, member: PrincipalId::ROOT, admin_option: true };
        model.edges.push(root_in_admin);
        model.add_system_database();
        model.add_database(Name::normalize("defaultdb"), PrincipalId::ROOT);
        model.next_object = ObjectId::FIRST_ORDINARY.0;
        model.held.sort_by_key(|grant| (grant.object, grant.grantee));
        model
    }

    fn add_system_database(&mut self) {
        let things = [
            (ObjectId::SYSTEM_DATABASE, "system", ObjectId::CLUSTER, Body::Database, Privilege::Connect),
            (
                ObjectId::SYSTEM_PUBLIC_SCHEMA,
                "public",
                ObjectId::SYSTEM_DATABASE,
                Body::Schema,
                Privilege::Usage,
            ),
        ];
        for (object, name, parent, body, privilege) in things {
            let (name, owner) = (Name::normalize(name), PrincipalId::NODE);
            self.objects.push(ModelObject { id: object, name, parent, owner, body, comment: None });
            for grantee in [PrincipalId::ROOT, PrincipalId::ADMIN] {
                let (privileges, grant_options) = (vec![privilege], vec![privilege]);
                self.held.push(ModelGrant { object, grantee, privileges, grant_options });
            }
        }
        self.held.push(ModelGrant {
            object: ObjectId::SYSTEM_PUBLIC_SCHEMA,
            grantee: PrincipalId::PUBLIC,
            privileges: vec![Privilege::Usage],
            grant_options: Vec::new(),
        });
    }
}

/// What every cluster has on something virtual.
pub(super) fn grants_of(id: ObjectId, object: &Object) -> Vec<ModelGrant> {
    let entries = object.acl.entries().iter();
    entries
        .map(|entry| ModelGrant {
            object: id,
            grantee: entry.grantee,
            privileges: entry.privileges.iter().collect(),
            grant_options: entry.grant_options.iter().collect(),
        })
        .collect()
}
