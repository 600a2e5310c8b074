//! Who owns what: ALTER … OWNER TO, REASSIGN OWNED, DROP OWNED (F).

use crate::command::{Actor, DropBehavior, NameContext, OwnedName, RoleSpec};
use crate::id::{ObjectId, PrincipalId};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::role::RoleOption;
use crate::spec::makes::missing;
use crate::spec::{Model, Told, say};

impl Model {
    /// F.2 and F.3.
    pub(super) fn alter_owner(
        &mut self,
        actor: Actor,
        context: &NameContext,
        object: &OwnedName,
        if_exists: bool,
        owner: &RoleSpec,
    ) -> Result<Told, Refusal> {
        let object = match self.owned(actor, context, object) {
            Ok(object) => object,
            Err(refusal) => return missing(if_exists, refusal),
        };
        let owner = self.principal(actor, owner)?;
        if self.owner(object) == Some(PrincipalId::NODE) {
            return Err(say::must_own(self.kind(object), &self.label(object)));
        }
        if !self.is_admin(actor.current) {
            if !self.owns(actor.current, object) {
                return Err(say::must_own(self.kind(object), &self.label(object)));
            }
            if !self.acts_as(actor.current).contains(&owner) {
                return Err(say::must_be_member(&self.principal_name(owner)));
            }
        }
        match self.kind(object) {
            ObjectKind::Database => self.check_option(actor.current, RoleOption::CreateDb)?,
            ObjectKind::Schema => {
                self.check_privilege(actor.current, self.parent(object), Privilege::Create)?;
            }
            ObjectKind::ExternalConnection | ObjectKind::IamRole => {}
            _ => self.check_privilege(owner, self.parent(object), Privilege::Create)?,
        }
        self.set_owner(object, owner);
        Ok(Told::default())
    }

    fn set_owner(&mut self, object: ObjectId, owner: PrincipalId) {
        for known in &mut self.objects {
            if known.id == object {
                known.owner = owner;
            }
        }
    }

    /// F.4. Functions and external connections stay with their owners.
    pub(super) fn reassign_owned(
        &mut self,
        actor: Actor,
        context: &NameContext,
        from: &[RoleSpec],
        to: &RoleSpec,
    ) -> Result<Told, Refusal> {
        let mut old = Vec::new();
        for role in from {
            old.push(self.principal(actor, role)?);
        }
        let new = self.principal(actor, to)?;
        if !self.is_admin(actor.current) {
            let acts_as = self.acts_as(actor.current);
            if !acts_as.contains(&new) {
                return Err(say::may_not_reassign("user must be a member of the new role"));
            }
            if old.iter().any(|role| !acts_as.contains(role)) {
                return Err(say::may_not_reassign("user must be a member of the old roles"));
            }
        }
        let database = self.current_database(context)?;
        let mut scope = vec![database];
        scope.extend(self.schemas_of(database));
        scope.extend(self.contents_of_database(database));
        for object in scope {
            let moves = self.kind(object) != ObjectKind::Function;
            if moves && self.owner(object).is_some_and(|owner| old.contains(&owner)) {
                self.set_owner(object, new);
            }
        }
        Ok(Told::default())
    }

    /// F.6. Schema `public` is never dropped, as the database is not.
    pub(super) fn drop_owned(
        &mut self,
        actor: Actor,
        context: &NameContext,
        by: &[RoleSpec],
        behavior: DropBehavior,
    ) -> Result<Told, Refusal> {
        let mut roles = Vec::new();
        for role in by {
            if let RoleSpec::Name(name) = role
                && name.as_str() == "node"
            {
                return Err(say::systems_objects_stay("node"));
            }
            let id = self.principal(actor, role)?;
            let name = self.principal_name(id);
            if [PrincipalId::ROOT, PrincipalId::ADMIN].contains(&id) {
                return Err(say::systems_objects_stay(name.as_str()));
            }
            if !self.is_admin(actor.current) && !self.acts_as(actor.current).contains(&id) {
                return Err(say::may_not_drop_owned());
            }
            if self.system_privileges().iter().any(|(_, _, grant)| grant.grantee == id) {
                return Err(say::has_system_privileges(&name));
            }
            roles.push(id);
        }
        let database = self.current_database(context)?;
        let mut scope = self.schemas_of(database);
        scope.extend(self.contents_of_database(database));
        let owned = |id: &ObjectId| {
            let stays = self.kind(*id) == ObjectKind::Function
                || self.kind(*id) == ObjectKind::Schema && self.label(*id) == "public";
            !stays && self.owner(*id).is_some_and(|owner| roles.contains(&owner))
        };
        let dropped: Vec<ObjectId> = scope.iter().copied().filter(owned).collect();
        if behavior == DropBehavior::Cascade && !dropped.is_empty() {
            return Err(say::no_cascade_of_owned());
        }
        // What is in schemas first, with the sequences of dropped tables.
        let (schemas, mut inside): (Vec<ObjectId>, Vec<ObjectId>) =
            dropped.iter().partition(|id| self.kind(**id) == ObjectKind::Schema);
        let listed = inside.len();
        let mut at = 0;
        while let Some(object) = inside.get(at).copied() {
            at += 1;
            for user in self.users(object) {
                if self.kind(user) == ObjectKind::Sequence && !inside.contains(&user) {
                    inside.push(user);
                }
            }
        }
        for sequence in &inside[listed..] {
            self.check_privilege(actor.current, *sequence, Privilege::Drop)?;
        }
        let mut needing: Vec<_> = inside.iter().flat_map(|object| self.users(*object)).collect();
        needing.extend(schemas.iter().flat_map(|schema| self.contents_of(*schema)));
        if needing.iter().any(|user| !inside.contains(user)) {
            return Err(say::others_depend());
        }
        let storage = self.remove(&inside);
        self.remove(&schemas);
        let dropped: Vec<_> = inside.into_iter().chain(schemas).collect();
        for object in scope.into_iter().chain([database]) {
            let kept = |grantee: PrincipalId| {
                !roles.contains(&grantee) || object == database && grantee == actor.current
            };
            let mut grants = self.grants_on(object);
            grants.retain(|grant| kept(grant.grantee));
            if !object.is_virtual() && !dropped.contains(&object) {
                self.set_grants(object, grants);
            }
        }
        Ok(Told { notices: Vec::new(), storage })
    }
}
