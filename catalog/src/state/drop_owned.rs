//! DROP OWNED BY. Source: authorization spec, F.6; the order of checks is that of v22.2's drop_owned_by.go.
//!
//! Schema `public` stays, whoever owns it: a database is never without. Functions stay too, as in v22.2; one that names
//! what would go, or is in a schema that would, is in the way like anything else.

use crate::command::{DropBehavior, RoleSpec};
use crate::grant::AclEntry;
use crate::id::{ObjectId, PrincipalId};
use crate::name::RoleName;
use crate::object::Object;
use crate::privilege::ObjectKind;
use crate::refusal::{self, Refusal};
use crate::state::drops::Dependents;
use crate::state::{State, Work};

impl Work<'_> {
    pub(super) fn drop_owned(&mut self, by: &[RoleSpec], behavior: DropBehavior) -> Result<(), Refusal> {
        self.check_list(by.len())?;
        let mut roles = Vec::with_capacity(by.len());
        for spec in by {
            roles.push(self.role_to_strip(spec)?);
        }
        let database = self.state.current_database(self.context)?;
        let schemas: Vec<_> = self.state.children(database).map(|(id, _)| id).collect();
        let inside: Vec<_> =
            schemas.iter().flat_map(|schema| self.state.children(*schema)).map(|(id, _)| id).collect();
        let goes = |id: &ObjectId| {
            let found = self.state.object(*id);
            found.is_some_and(|found| roles.contains(&found.owner) && !stays(found))
        };
        let owned: Vec<_> = inside.iter().copied().filter(goes).collect();
        let owned_schemas: Vec<_> = schemas.iter().copied().filter(goes).collect();
        if behavior == DropBehavior::Cascade && !(owned.is_empty() && owned_schemas.is_empty()) {
            return Err(refusal::no_cascade("DROP OWNED BY CASCADE is not yet supported"));
        }
        let all = self.state.with_dependents(owned, Dependents::Stay);
        for id in all.added() {
            self.require_dropping(*id)?;
        }
        let is_left = |schema: &ObjectId| self.state.children(*schema).any(|(id, _)| !all.contains(id));
        if owned_schemas.iter().any(is_left) || self.state.first_in_the_way(&all, Dependents::Stay).is_some()
        {
            return Err(refusal::owned_has_dependents());
        }
        self.remove_all(&all)?;
        for schema in owned_schemas {
            self.remove_object(schema);
        }
        for id in schemas.into_iter().chain(inside) {
            self.revoke_everything(id, &roles);
        }
        let caller = self.actor.current;
        let others: Vec<_> = roles.into_iter().filter(|role| *role != caller).collect();
        self.revoke_everything(database, &others);
        Ok(())
    }

    /// A role whose objects who acts may drop. That the role is one of the system's is said first, and that it does not
    /// exist before anything about privileges.
    fn role_to_strip(&self, spec: &RoleSpec) -> Result<PrincipalId, Refusal> {
        if let RoleSpec::Name(name) = spec
            && *name == RoleName::from("node")
        {
            return Err(refusal::owned_by_system(name));
        }
        let role = self.state.resolve_role(self.actor, spec)?;
        let name = self.state.principal_name(role);
        if matches!(role, PrincipalId::ROOT | PrincipalId::ADMIN) {
            return Err(refusal::owned_by_system(&name));
        }
        if !self.is_admin() && !self.state.index.acts_as(self.actor.current, role) {
            return Err(refusal::may_not_drop_owned());
        }
        if self.state.has_system_entries(role) {
            return Err(refusal::owned_has_system_privileges(&name));
        }
        Ok(role)
    }

    /// Takes the entries of `roles` on one object away.
    fn revoke_everything(&mut self, id: ObjectId, roles: &[PrincipalId]) {
        let Some(object) = self.state.object(id) else { return };
        let mut acl = object.acl.clone();
        for role in roles {
            acl.set(AclEntry::none(*role));
        }
        if acl != object.acl {
            self.put_object(id, Object { acl, ..object.clone() });
        }
    }
}

fn stays(object: &Object) -> bool {
    match object.kind() {
        ObjectKind::Function => true,
        ObjectKind::Schema => object.name.as_str() == "public",
        _ => false,
    }
}

impl State {
    /// Whether `role` holds what the original keeps in `system.privileges`: system privileges, and entries on external
    /// connections and virtual tables.
    fn has_system_entries(&self, role: PrincipalId) -> bool {
        let ranked = self.objects().filter(|(_, object)| object.kind().is_held_by_rank());
        self.system_acl.entry(role).is_some()
            || ranked.into_iter().any(|(_, object)| object.acl.entry(role).is_some())
    }
}
