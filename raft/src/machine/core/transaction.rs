//! Applying a transaction: whole or not at all, the same on every node.
//!
//! T1: a transaction is in one entry's effect or in none.
//! T2: the row store keeps the stages of at most one transaction, of the newest leader: the first stage of another one,
//! any transaction that is applied, and any entry of another leader drop them. A leader proposes under its own term
//! only and terms do not fall in the log, so nothing that was dropped could still have taken effect.
//! T3: what a statement needed is decided again on the catalog as it is where its rows are applied: after all entries
//! before this one, and after what the transaction itself did to the catalog before.

use std::collections::BTreeSet;
use std::sync::Arc;

use grantd_catalog::command::{Done, Outcome};
use grantd_catalog::decide::{Decision, decide};
use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::view::View;

use crate::codec::{self, Kind};
use crate::entry::{Part, Proposal, Reply, Transaction};
use crate::machine::core::history::Commit;
use crate::machine::core::{Core, FORMAT, MachineError, retry};

/// A transaction on its way into the state.
struct Applying<'t> {
    index: u64,
    time: Timestamp,
    transaction: &'t Transaction,
    /// As of what was applied of it.
    view: Arc<View>,
    /// Which of what it needs was decided upon that view.
    decided: BTreeSet<u32>,
    /// The pieces of a changeset that has not ended.
    pieces: Vec<u8>,
    /// What it does, for the history.
    commit: Commit,
}

impl Core {
    pub(super) fn apply_stage(
        &mut self,
        number: u64,
        stage: u32,
        parts: &Vec<Part>,
    ) -> Result<Reply, MachineError> {
        if stage == 0 {
            self.store.clear_stages()?;
        }
        self.store.put_stage(number, stage, &codec::seal_value(Kind::Stage, FORMAT, parts))?;
        Ok(Reply::new())
    }

    pub(super) fn apply_transaction(
        &mut self,
        index: u64,
        time: Timestamp,
        transaction: &Transaction,
    ) -> Result<Outcome, MachineError> {
        let refused = if transaction.base == self.last.index && self.has_stages(transaction)? {
            self.refresh_view(index);
            let (catalog, last, stale) = (self.catalog.clone(), self.last, self.view_is_stale);
            let pending = self.pending.len();
            self.store.savepoint()?;
            let (refused, commit) = self.apply_parts(index, time, transaction)?;
            if refused.is_some() {
                self.store.undo()?;
                (self.catalog, self.last, self.view_is_stale) = (catalog, last, stale);
                self.history.limits_changed();
                self.pending.truncate(pending);
            } else {
                self.history.absorb(&mut self.store, commit)?;
                self.store.release()?;
            }
            refused
        } else {
            Some(retry())
        };
        self.store.clear_stages()?;
        Ok(match refused {
            None => Outcome::Done(Done { changed: true, ..Done::default() }),
            Some(refusal) => Outcome::Refused(refusal),
        })
    }

    /// Whether what was staged is all of this transaction's, and nothing else.
    fn has_stages(&self, transaction: &Transaction) -> Result<bool, MachineError> {
        let first = self.store.stage(0)?;
        let whole = self.store.stages()? == transaction.stages;
        Ok(transaction.stages == 0 || whole && first.is_some_and(|(number, _)| number == transaction.number))
    }

    /// Some: why it is refused; what was done of it is to be undone.
    fn apply_parts(
        &mut self,
        index: u64,
        time: Timestamp,
        transaction: &Transaction,
    ) -> Result<(Option<Refusal>, Commit), MachineError> {
        let view = Arc::clone(&self.view);
        let (decided, pieces) = (BTreeSet::new(), Vec::new());
        let commit = Commit::new(time, transaction.stages > 0 || transaction.parts.len() > 1);
        let mut applying = Applying { index, time, transaction, view, decided, pieces, commit };
        for stage in 0..transaction.stages {
            let Some((_, bytes)) = self.store.stage(stage)? else {
                let what = format!("stage {stage} of its transaction is missing");
                return Err(MachineError::Invariant { index, what });
            };
            let parts: Vec<Part> = codec::open_value(Kind::Stage, FORMAT, &bytes)?;
            for part in &parts {
                if let Some(refusal) = self.apply_part(&mut applying, part)? {
                    return Ok((Some(refusal), applying.commit));
                }
            }
        }
        for part in &transaction.parts {
            if let Some(refusal) = self.apply_part(&mut applying, part)? {
                return Ok((Some(refusal), applying.commit));
            }
        }
        if !applying.pieces.is_empty() {
            let what = "the last changeset of its transaction does not end".to_owned();
            return Err(MachineError::Invariant { index, what });
        }
        Ok((None, applying.commit))
    }

    fn apply_part(
        &mut self,
        applying: &mut Applying<'_>,
        part: &Part,
    ) -> Result<Option<Refusal>, MachineError> {
        match part {
            Part::Catalog(proposal) => self.apply_catalog_part(applying, proposal),
            Part::Rows { by, changeset, ends } => {
                if let Some(refusal) = applying.decide(*by)? {
                    return Ok(Some(refusal));
                }
                if !*ends {
                    applying.pieces.extend_from_slice(changeset);
                } else if applying.pieces.is_empty() {
                    self.change_rows(applying.index, &mut applying.commit, changeset)?;
                } else {
                    let mut whole = std::mem::take(&mut applying.pieces);
                    whole.extend_from_slice(changeset);
                    self.change_rows(applying.index, &mut applying.commit, &whole)?;
                }
                Ok(None)
            }
        }
    }

    fn apply_catalog_part(
        &mut self,
        applying: &mut Applying<'_>,
        proposal: &Proposal,
    ) -> Result<Option<Refusal>, MachineError> {
        let version = Version(applying.index);
        let mut tried = self.catalog.apply(version, applying.time, proposal)?;
        if let Some(Outcome::Refused(_)) = tried.outcomes.last()
            && let Some(Outcome::Refused(refusal)) = tried.outcomes.pop()
        {
            return Ok(Some(refusal));
        }
        self.change_catalog(applying.index, &mut applying.commit, proposal, &tried)?;
        applying.view = Arc::new(self.view.next(version, self.catalog.state().clone()));
        applying.decided.clear();
        Ok(None)
    }
}

impl Applying<'_> {
    fn decide(&mut self, by: u32) -> Result<Option<Refusal>, MachineError> {
        if self.decided.contains(&by) {
            return Ok(None);
        }
        let place = usize::try_from(by).unwrap_or(usize::MAX);
        let Some((actor, requirement)) = self.transaction.by.get(place) else {
            let what = format!("nobody is named number {by} of those who changed rows");
            return Err(MachineError::Invariant { index: self.index, what });
        };
        match decide(&self.view, actor.current, requirement) {
            Decision::Deny(refusal) => Ok(Some(refusal)),
            Decision::Allow => {
                self.decided.insert(by);
                Ok(None)
            }
        }
    }
}
