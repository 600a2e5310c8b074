//! Protection of the change history: put and released by the cluster's own jobs, and by admins.

use crate::command::LIST_MAX;
use crate::id::PrincipalId;
use crate::object::Body;
use crate::protection::{HOLDER_BYTES_MAX, PROTECTIONS_MAX, Protection, ProtectionId};
use crate::refusal::{self, Refusal};
use crate::state::{State, Work};

impl State {
    /// The record of this id.
    pub fn protection(&self, id: ProtectionId) -> Option<&Protection> {
        self.protections.get(&id)
    }

    /// All of them, sorted by id.
    pub fn protections(&self) -> impl Iterator<Item = (ProtectionId, &Protection)> {
        self.protections.iter().map(|(id, protection)| (*id, protection))
    }
}

impl Work<'_> {
    /// A record that is there is replaced: so a job moves its own along.
    pub(super) fn protect_history(
        &mut self,
        id: ProtectionId,
        protection: &Protection,
    ) -> Result<(), Refusal> {
        self.require_keeper()?;
        self.keep_history(id, protection)
    }

    /// The same for who may: a job keeps what it reads.
    pub(super) fn keep_history(&mut self, id: ProtectionId, protection: &Protection) -> Result<(), Refusal> {
        let mut protection = protection.clone();
        if let Some(tables) = &mut protection.tables {
            tables.sort_unstable();
            tables.dedup();
            if tables.len() > LIST_MAX {
                return Err(refusal::protection_too_large(&format!("more than {LIST_MAX} tables")));
            }
            let table = |object: &crate::object::Object| matches!(object.body, Body::Table(_));
            if let Some(gone) = tables.iter().find(|id| !self.state.object(**id).is_some_and(table)) {
                return Err(refusal::object_gone(*gone));
            }
        }
        if protection.holder.len() > HOLDER_BYTES_MAX {
            return Err(refusal::protection_too_large(&format!(
                "a note of more than {HOLDER_BYTES_MAX} bytes"
            )));
        }
        if self.state.protection(id).is_none() && self.state.protections.len() >= PROTECTIONS_MAX {
            return Err(refusal::too_many_protections(PROTECTIONS_MAX));
        }
        self.put_protection(id, Some(protection));
        Ok(())
    }

    /// Nothing happens to one that is not there.
    pub(super) fn release_history(&mut self, id: ProtectionId) -> Result<(), Refusal> {
        self.require_keeper()?;
        self.put_protection(id, None);
        Ok(())
    }

    fn require_keeper(&self) -> Result<(), Refusal> {
        if self.actor.current == PrincipalId::NODE || self.is_admin() {
            return Ok(());
        }
        Err(refusal::admin_only("protect the change history"))
    }
}
