//! ALTER … OWNER TO and REASSIGN OWNED. Source: authorization spec, F.2 to F.4.

use crate::command::{OwnedName, RoleSpec};
use crate::id::{ObjectId, PrincipalId};
use crate::object::{Body, Object};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal};
use crate::role::RoleOption;
use crate::state::Work;

impl Work<'_> {
    pub(super) fn alter_owner(
        &mut self,
        name: &OwnedName,
        if_exists: bool,
        owner: &RoleSpec,
    ) -> Result<(), Refusal> {
        let found = self.state.resolve_owned(self.context, name);
        let Some(id) = self.found(found, if_exists)? else { return Ok(()) };
        match name {
            OwnedName::Database(_)
            | OwnedName::Schema(_)
            | OwnedName::ExternalConnection(_)
            | OwnedName::IamRole(_) => {}
            OwnedName::Table(_)
            | OwnedName::View(_)
            | OwnedName::Sequence(_)
            | OwnedName::Type(_)
            | OwnedName::Function(_) => self.require_usage(id)?,
        }
        let owner = self.state.resolve_role(self.actor, owner)?;
        self.check_new_owner(id, owner)?;
        self.set_owner(id, owner);
        Ok(())
    }

    /// Steps 2 to 5 of F.2; what the system owns it keeps, whoever asks.
    fn check_new_owner(&self, id: ObjectId, owner: PrincipalId) -> Result<(), Refusal> {
        let caller = self.actor.current;
        let Some(object) = self.state.object(id) else { return Err(refusal::object_gone(id)) };
        let may_act = self.is_admin() || self.state.index.owns(caller, id);
        if object.owner == PrincipalId::NODE || !may_act {
            return Err(refusal::not_owner(object.kind(), &object.name));
        }
        if !self.is_admin() && !self.state.index.acts_as(caller, owner) {
            return Err(refusal::not_member(&self.state.principal_name(owner)));
        }
        // T-8: whom the last check is about differs from kind to kind.
        match object.body {
            Body::Database => self.require_option(RoleOption::CreateDb),
            Body::Schema => self.require(object.parent, Privilege::Create),
            // It is in nothing that CREATE could be held on.
            Body::ExternalConnection(_) | Body::IamRole => Ok(()),
            _ => self.state.check_privilege(owner, object.parent, Privilege::Create),
        }
    }

    /// Reassigns what is in the current database, but for functions, which later releases reassign too, and the database
    /// itself; needs no CREATE (F.4). External connections and roles of clouds are in no
    /// database.
    pub(super) fn reassign_owned(&mut self, from: &[RoleSpec], to: &RoleSpec) -> Result<(), Refusal> {
        self.check_list(from.len())?;
        let from: Result<Vec<_>, _> =
            from.iter().map(|spec| self.state.resolve_role(self.actor, spec)).collect();
        let from = from?;
        let to = self.state.resolve_role(self.actor, to)?;
        if !self.is_admin() {
            let acts_as = |role| self.state.index.acts_as(self.actor.current, role);
            if !acts_as(to) {
                return Err(refusal::may_not_reassign_to());
            }
            if !from.iter().all(|role| acts_as(*role)) {
                return Err(refusal::may_not_reassign_from());
            }
        }
        let database = self.state.current_database(self.context)?;
        let schemas: Vec<_> = self.state.children(database).map(|(id, _)| id).collect();
        let inside = schemas.iter().flat_map(|schema| self.state.children(*schema)).map(|(id, _)| id);
        let all: Vec<_> = std::iter::once(database).chain(schemas.iter().copied()).chain(inside).collect();
        for id in all {
            let moves =
                |object: &Object| object.kind() != ObjectKind::Function && from.contains(&object.owner);
            if self.state.object(id).is_some_and(moves) {
                self.set_owner(id, to);
            }
        }
        Ok(())
    }

    /// Only the owner changes: entries stay as they are, and the old owner keeps what it was granted.
    fn set_owner(&mut self, id: ObjectId, owner: PrincipalId) {
        let Some(object) = self.state.object(id) else { return };
        if object.owner != owner {
            self.put_object(id, Object { owner, ..object.clone() });
        }
    }
}
