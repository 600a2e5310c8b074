//! Protection of the change history.

use crate::command::Actor;
use crate::id::PrincipalId;
use crate::object::Body;
use crate::protection::{Protection, ProtectionId};
use crate::refusal::Refusal;
use crate::spec::{Model, Told, say};

impl Model {
    pub(super) fn protect_history(
        &mut self,
        actor: Actor,
        id: ProtectionId,
        protection: &Protection,
    ) -> Result<Told, Refusal> {
        self.only_keepers(actor)?;
        let mut tables = protection.tables.clone();
        if let Some(tables) = &mut tables {
            tables.sort();
            tables.dedup();
            if tables.len() > 1_000 {
                return Err(say::protection_too_large("more than 1000 tables"));
            }
            for table in tables {
                let there = self
                    .objects
                    .iter()
                    .any(|known| known.id == *table && matches!(known.body, Body::Table(_)));
                if !there {
                    return Err(say::object_is_gone(*table));
                }
            }
        }
        if protection.holder.len() > 256 {
            return Err(say::protection_too_large("a note of more than 256 bytes"));
        }
        let others = self.protections.iter().filter(|(known, _)| *known != id).count();
        if others == self.protections.len() && others >= 1_000 {
            return Err(say::too_many_protections());
        }
        self.protections.retain(|(known, _)| *known != id);
        self.protections.push((id, Protection { tables, ..protection.clone() }));
        self.protections.sort_by_key(|(known, _)| *known);
        Ok(Told::default())
    }

    pub(super) fn release_history(&mut self, actor: Actor, id: ProtectionId) -> Result<Told, Refusal> {
        self.only_keepers(actor)?;
        self.protections.retain(|(known, _)| *known != id);
        Ok(Told::default())
    }

    fn only_keepers(&self, actor: Actor) -> Result<(), Refusal> {
        if actor.current != PrincipalId::NODE && !self.is_admin(actor.current) {
            return Err(say::admin_only("protect the change history"));
        }
        Ok(())
    }
}
