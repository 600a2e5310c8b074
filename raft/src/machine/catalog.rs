//! The catalog as the machine keeps it: a state, and its records as bytes.

use grantd_catalog::command::{Command, Done, Outcome};
use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::invariant;
use grantd_catalog::record::{Change, RecordKey};
use grantd_catalog::state::{RestoreError, State};
use grantd_catalog::wire::{self, WireError};

use crate::entry::Proposal;
use crate::machine::core::ShapeChange;
use crate::rows::{RecordBytes, RecordChange, StorageStep};

/// Why records and catalog do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A record's bytes.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Records that contradict each other.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A catalog that must not be.
    #[error("the catalog is broken: {0}")]
    Broken(String),
}

/// What a proposal came to. Refused: only outcomes.
pub(super) struct Tried {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) records: Vec<RecordChange>,
    /// The keys of the records.
    pub(super) keys: Vec<RecordKey>,
    pub(super) storage: Vec<StorageStep>,
    /// What it means for the change history.
    pub(super) shapes: Vec<ShapeChange>,
    /// Whether it changes what is kept of the history.
    pub(super) moves_history: bool,
}

/// The newest state. A clone shares everything with it.
#[derive(Clone)]
pub(super) struct Catalog {
    state: State,
}

impl Catalog {
    /// That of a new cluster.
    pub(super) fn bootstrap() -> Self {
        Self { state: State::bootstrap() }
    }

    /// That of the records of a file. Checked as a whole: what is wrong here would be wrong in every answer.
    pub(super) fn restore(records: &[RecordBytes]) -> Result<Self, CatalogError> {
        let decoded: Result<Vec<_>, WireError> = records
            .iter()
            .map(|(key, value)| Ok((wire::decode_key(key)?, wire::decode_record(value)?)))
            .collect();
        let restored = Self { state: State::restore(decoded?)? };
        restored.check()?;
        Ok(restored)
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// All records.
    pub(super) fn records(&self) -> Result<Vec<RecordBytes>, CatalogError> {
        let encoded = self
            .state
            .records()
            .map(|(key, record)| Ok((wire::encode_key(key), wire::encode_record(&record)?)));
        encoded.collect()
    }

    /// That every property of a catalog holds. Cost: linear in the catalog.
    pub(super) fn check(&self) -> Result<(), CatalogError> {
        match invariant::check_all(&self.state).first() {
            None => Ok(()),
            Some(violation) => Err(CatalogError::Broken(format!("{violation:?}"))),
        }
    }

    /// What the row store would have to do for a proposal. Nothing, if it would be refused.
    pub(super) fn tried(
        &self,
        version: Version,
        time: Timestamp,
        proposal: &Proposal,
    ) -> Result<Vec<StorageStep>, CatalogError> {
        let mut copy = self.clone();
        Ok(copy.apply(version, time, proposal)?.storage)
    }

    /// Applies the commands of a proposal, whole or not at all: the first refusal refuses all.
    pub(super) fn apply(
        &mut self,
        version: Version,
        time: Timestamp,
        proposal: &Proposal,
    ) -> Result<Tried, CatalogError> {
        let mut state = self.state.clone();
        let (mut outcomes, mut storage, mut changes) = (Vec::new(), Vec::new(), Vec::<Change>::new());
        let mut shapes = Vec::new();
        for command in &proposal.commands {
            let before = state.clone();
            let (steps_before, changes_before) = (storage.len(), changes.len());
            let outcome =
                state.apply(version, time, proposal.actor, &proposal.context, command, &mut changes);
            let refused =
                match &outcome {
                    Outcome::Refused(_) => true,
                    Outcome::Done(done) => {
                        storage.extend(steps(command, done, &state, &before)?);
                        if command.changes_shape() {
                            let objects = changes[changes_before..].iter().filter_map(Change::object);
                            shapes.extend(objects.filter_map(|id| {
                                ShapeChange::of(id, &before, &state, &storage, steps_before)
                            }));
                        }
                        false
                    }
                };
            outcomes.push(outcome);
            if refused {
                let (records, keys, storage) = (Vec::new(), Vec::new(), Vec::new());
                let (shapes, moves_history) = (Vec::new(), false);
                return Ok(Tried { outcomes, records, keys, storage, shapes, moves_history });
            }
        }
        let records: Result<Vec<_>, WireError> = changes
            .iter()
            .map(|change| {
                let value = change.value.as_ref().map(wire::encode_record).transpose()?;
                Ok((wire::encode_key(change.key), value))
            })
            .collect();
        self.state = state;
        let moves_history = changes.iter().any(Change::is_of_history);
        let keys = changes.iter().map(|change| change.key).collect();
        Ok(Tried { outcomes, records: records?, keys, storage, shapes, moves_history })
    }
}

fn steps(
    command: &Command,
    done: &Done,
    after: &State,
    before: &State,
) -> Result<Vec<StorageStep>, CatalogError> {
    StorageStep::list(command, done, after, before)
        .map_err(|id| CatalogError::Broken(format!("object {id} is not the table that a command says it is")))
}
