//! The transaction that holds the writer, on the leader: a base and a list of parts.
//!
//! Its parts are what it is; the open transaction of the row store is only where the next statement runs. Whoever needs
//! the row store for something else rolls that one back, and the next statement begins with a replay of the parts. So
//! applying entries, a statement that SQLite undoes with all before it, and ROLLBACK TO need nothing of their own.
//!
//! Each statement is captured by itself, with the changes of those before it under it. Nothing of it leaves this module
//! before COMMIT.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grantd_catalog::command::{Actor, Outcome};
use grantd_catalog::id::Version;
use grantd_catalog::refusal::{Refusal, SqlState, state as sqlstate};
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;

use crate::codec;
use crate::config::{
    ENTRY_BYTES_MAX, STAGE_BYTES_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_NEEDS_BYTES_MAX,
    TRANSACTION_PARTS_MAX,
};
use crate::entry::{Body, Part, Proposal, Transaction};
use crate::machine::catalog::Catalog;
use crate::machine::core::{Core, MachineError, RETRY, disk_full, not_done, retry};
use crate::machine::writer::{ATTEMPTS_MAX, ENTRY_OVERHEAD_BYTES, SharedWrite, exhausted};
use crate::rows::{ApplyError, Captured};
use crate::types::CommittedLeaderId;
use crate::write::{Mark, Ran, TransactionError};

/// The state of a name of a savepoint that is none.
const NO_SUCH_SAVEPOINT: SqlState = SqlState::new("3B001");

/// One statement's changes.
enum Held {
    Catalog(Proposal),
    Rows { actor: Actor, requirement: Requirement, changeset: Vec<u8> },
}

impl Held {
    fn bytes(&self) -> usize {
        match self {
            Self::Catalog(proposal) => codec::encode(proposal).len(),
            Self::Rows { changeset, .. } => changeset.len(),
        }
    }
}

/// The transaction, and where its next statement runs.
pub(super) struct Open {
    number: u64,
    leader: CommittedLeaderId,
    base: u64,
    held: Vec<Held>,
    /// Of all that is held.
    bytes: usize,
    began: Instant,
    /// The catalog with what the transaction did to it, and its view; none: it did nothing. As of when the row store's
    /// transaction was opened.
    fork: Option<(Catalog, Arc<View>)>,
}

/// What a statement comes to: its answer, or why there is none.
pub type Answer<T> = Result<T, TransactionError>;

impl Open {
    pub(super) fn new(number: u64, leader: CommittedLeaderId, base: u64) -> Self {
        Self { number, leader, base, held: Vec::new(), bytes: 0, began: Instant::now(), fork: None }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// What its changes take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn leader(&self) -> CommittedLeaderId {
        self.leader
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// As if it had changed so much.
    #[cfg(test)]
    pub(super) fn pretend(&mut self, bytes: usize) {
        self.bytes = bytes;
    }

    /// The catalog as the transaction has it: the newest, with what it did.
    pub(super) fn view(&mut self, core: &mut Core) -> Result<Answer<Arc<View>>, MachineError> {
        Ok(self.resume(core)?.map(|()| self.current_view(core)))
    }

    fn current_view(&self, core: &Core) -> Arc<View> {
        self.fork.as_ref().map_or_else(|| Arc::clone(core.view()), |(_, view)| Arc::clone(view))
    }

    /// Opens the row store's transaction if it is not open, and replays the parts in it.
    fn resume(&mut self, core: &mut Core) -> Result<Answer<()>, MachineError> {
        if core.store().is_open() {
            return Ok(Ok(()));
        }
        if core.last_data() != self.base {
            return Ok(Err(TransactionError::Lost(retry())));
        }
        self.fork = None;
        core.store().begin_captures()?;
        if self.held.is_empty() {
            return Ok(Ok(()));
        }
        core.store().enforce_foreign_keys(false)?;
        for held in &self.held {
            match held {
                Held::Rows { changeset, .. } => {
                    match core.store().apply_changeset(changeset, &mut |_| Ok(())) {
                        Ok(_) => {}
                        Err(ApplyError::Failed(error)) if error.is_full() => {
                            core.store().rollback()?;
                            return Ok(Err(TransactionError::Lost(disk_full())));
                        }
                        Err(source) => return Err(MachineError::Changeset { index: self.base, source }),
                    }
                }
                Held::Catalog(proposal) => match change(core, &mut self.fork, proposal)? {
                    Ok(_) => {}
                    // Rights changed meanwhile.
                    Err(refusal) => {
                        core.store().rollback()?;
                        return Ok(Err(TransactionError::Lost(refusal)));
                    }
                },
            }
        }
        core.store().enforce_foreign_keys(true)?;
        Ok(Ok(()))
    }

    /// Runs a statement. None: its client took the write back.
    pub(super) fn run(&mut self, core: &mut Core, write: &SharedWrite) -> Result<Answer<Ran>, MachineError> {
        let mut held = write.blocking_lock();
        let Some(write) = held.as_mut() else { return Ok(Ok(Ran::Refused)) };
        for _ in 0..ATTEMPTS_MAX {
            if let Err(error) = self.resume(core)? {
                return Ok(Err(error));
            }
            let view = self.current_view(core);
            match core.store().capture(|rows| write.run(&view, rows))? {
                Captured::Refused(_) | Captured::Lost(Err(_)) => return Ok(Ok(Ran::Refused)),
                Captured::Lost(Ok(_)) => {}
                Captured::Changed(_, changeset) if changeset.is_empty() => {
                    return Ok(Ok(Ran::Done { changed: false }));
                }
                Captured::Changed((actor, requirement), changeset) => {
                    let rows = Held::Rows { actor, requirement, changeset };
                    if let Some(refusal) = self.too_large(&rows) {
                        // With all before it, which is replayed.
                        core.suspend()?;
                        return Ok(Err(TransactionError::Refused(refusal)));
                    }
                    self.hold(rows);
                    return Ok(Ok(Ran::Done { changed: true }));
                }
            }
        }
        Ok(Err(TransactionError::Refused(exhausted())))
    }

    /// Changes the catalog. The last outcome is the refusal, if any; then nothing changed.
    pub(super) fn propose(
        &mut self,
        core: &mut Core,
        proposal: Proposal,
    ) -> Result<Answer<Vec<Outcome>>, MachineError> {
        if let Err(error) = self.resume(core)? {
            return Ok(Err(error));
        }
        let held = Held::Catalog(proposal);
        if let Some(refusal) = self.too_large(&held) {
            return Ok(Ok(vec![Outcome::Refused(refusal)]));
        }
        let Held::Catalog(proposal) = &held else { return Ok(Ok(Vec::new())) };
        core.store().savepoint()?;
        core.store().enforce_foreign_keys(false)?;
        let changed = change(core, &mut self.fork, proposal)?;
        let outcomes = match changed {
            Ok(outcomes) => {
                core.store().release()?;
                if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Done(done) if done.changed)) {
                    self.hold(held);
                }
                outcomes
            }
            Err(refusal) => {
                // SQLite may have undone more than the savepoint; then the parts are replayed.
                if core.store().is_open() {
                    core.store().undo()?;
                }
                vec![Outcome::Refused(refusal)]
            }
        };
        core.store().enforce_foreign_keys(true)?;
        Ok(Ok(outcomes))
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { transaction: self.number, parts: self.held.len() }
    }

    /// Drops what came after `mark`.
    pub(super) fn roll_back_to(&mut self, core: &mut Core, mark: &Mark) -> Result<Answer<()>, MachineError> {
        if mark.transaction != self.number || mark.parts > self.held.len() {
            let refusal = Refusal::new(NO_SUCH_SAVEPOINT, "savepoint does not exist");
            return Ok(Err(TransactionError::Refused(refusal)));
        }
        if mark.parts < self.held.len() {
            self.held.truncate(mark.parts);
            self.bytes = self.held.iter().map(Held::bytes).sum();
            core.suspend()?;
        }
        Ok(Ok(()))
    }

    /// Why it takes no more, if so.
    fn too_large(&self, next: &Held) -> Option<Refusal> {
        let bytes = next.bytes();
        let most = match next {
            // A proposal is never cut.
            Held::Catalog(_) => STAGE_BYTES_MAX,
            Held::Rows { .. } => TRANSACTION_BYTES_MAX,
        };
        let too_many = self.held.len() >= TRANSACTION_PARTS_MAX;
        let too_large = bytes > most || self.bytes.saturating_add(bytes) > TRANSACTION_BYTES_MAX;
        (too_many || too_large).then(|| {
            Refusal::new(
                sqlstate::PROGRAM_LIMIT_EXCEEDED,
                format!(
                    "the transaction's changes take {} bytes in {} statements, and may take \
                     {TRANSACTION_BYTES_MAX} in {TRANSACTION_PARTS_MAX}",
                    self.bytes.saturating_add(bytes),
                    self.held.len() + 1
                ),
            )
            .with_hint("Commit more often.")
        })
    }

    fn hold(&mut self, held: Held) {
        self.bytes += held.bytes();
        self.held.push(held);
    }

    /// The entries that make it take effect, in order; only the last one does. None: it changed nothing.
    pub(super) fn into_entries(self) -> Result<Option<Vec<Body>>, Refusal> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let mut by: Vec<(Actor, Requirement)> = Vec::new();
        let mut needs_bytes = 0;
        let mut stages = Stages::default();
        for held in self.held {
            match held {
                Held::Catalog(proposal) => stages.push(Part::Catalog(proposal)),
                Held::Rows { actor, requirement, changeset } => {
                    let need = (actor, requirement);
                    let place = by.iter().position(|known| *known == need).unwrap_or_else(|| {
                        needs_bytes += codec::encode(&need).len();
                        by.push(need);
                        by.len() - 1
                    });
                    if needs_bytes > TRANSACTION_NEEDS_BYTES_MAX {
                        return Err(needs_too_much());
                    }
                    stages.push_rows(u32::try_from(place).unwrap_or(u32::MAX), changeset);
                }
            }
        }
        let (number, base) = (self.number, self.base);
        let transaction =
            |by, stages, parts| Body::Transaction(Transaction { number, base, by, stages, parts });
        let (mut full, rest) = stages.finish();
        if full.is_empty() && rest.bytes + needs_bytes + ENTRY_OVERHEAD_BYTES <= ENTRY_BYTES_MAX {
            return Ok(Some(vec![transaction(by, 0, rest.parts)]));
        }
        full.push(rest);
        let count = u32::try_from(full.len()).unwrap_or(u32::MAX);
        let staged =
            (0..count).zip(full).map(|(stage, full)| Body::Stage { number, stage, parts: full.parts });
        let mut entries: Vec<Body> = staged.collect();
        entries.push(transaction(by, count, Vec::new()));
        Ok(Some(entries))
    }
}

/// Parts, cut into what fits in an entry.
#[derive(Default)]
struct Stages {
    full: Vec<Stage>,
    last: Stage,
}

#[derive(Default)]
struct Stage {
    parts: Vec<Part>,
    bytes: usize,
}

/// What a part takes beside its bytes.
const PART_OVERHEAD_BYTES: usize = 16;

impl Stages {
    fn push(&mut self, part: Part) {
        let bytes = PART_OVERHEAD_BYTES
            + match &part {
                Part::Catalog(proposal) => codec::encode(proposal).len(),
                Part::Rows { changeset, .. } => changeset.len(),
            };
        if self.last.bytes + bytes > STAGE_BYTES_MAX && !self.last.parts.is_empty() {
            self.full.push(std::mem::take(&mut self.last));
        }
        self.last.bytes += bytes;
        self.last.parts.push(part);
    }

    fn push_rows(&mut self, by: u32, changeset: Vec<u8>) {
        if changeset.len() <= STAGE_BYTES_MAX - PART_OVERHEAD_BYTES {
            return self.push(Part::Rows { by, changeset, ends: true });
        }
        let pieces = changeset.chunks(STAGE_BYTES_MAX - PART_OVERHEAD_BYTES);
        let last = pieces.len() - 1;
        for (at, piece) in pieces.enumerate() {
            self.push(Part::Rows { by, changeset: piece.to_vec(), ends: at == last });
        }
    }

    fn finish(self) -> (Vec<Stage>, Stage) {
        (self.full, self.last)
    }
}

/// Changes the catalog of a transaction, and the row store with it. A refusal leaves the catalog as it was.
fn change(
    core: &mut Core,
    fork: &mut Option<(Catalog, Arc<View>)>,
    proposal: &Proposal,
) -> Result<Result<Vec<Outcome>, Refusal>, MachineError> {
    let version = Version(core.view().version().0 + 1);
    let time = core.last_time();
    let view = Arc::clone(core.view());
    let (catalog, store) = core.parts();
    let mut next = fork.as_ref().map_or_else(|| catalog.clone(), |(catalog, _)| catalog.clone());
    let mut tried = next.apply(version, time, proposal)?;
    if let Some(Outcome::Refused(_)) = tried.outcomes.last()
        && let Some(Outcome::Refused(refusal)) = tried.outcomes.pop()
    {
        return Ok(Err(refusal));
    }
    for step in &tried.storage {
        match step.perform(store) {
            Ok(()) => {}
            Err(error) => return not_done(error).map(Err),
        }
    }
    let view = Arc::new(view.next(version, next.state().clone()));
    *fork = Some((next, view));
    Ok(Ok(tried.outcomes))
}

/// What a transaction is told whose leader does not lead any more.
pub fn leader_lost() -> Refusal {
    Refusal::new(RETRY, "restart transaction: the node that ran it does not lead any more")
        .with_hint("Nothing of it took effect. Run the transaction again.")
}

pub(super) fn over() -> Refusal {
    Refusal::new(RETRY, "restart transaction: it is over").with_hint("Run the transaction again.")
}

/// What the next statement of a transaction that was open for too long is told.
pub(super) fn open_too_long(limit: Duration) -> Refusal {
    Refusal::new(RETRY, format!("restart transaction: it was open for longer than {limit:?}"))
        .with_hint("Nothing of it took effect. Run it again, with less between BEGIN and COMMIT.")
}

fn needs_too_much() -> Refusal {
    Refusal::new(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        format!(
            "the transaction's statements need more than {TRANSACTION_NEEDS_BYTES_MAX} bytes of privileges"
        ),
    )
    .with_hint("Commit more often.")
}
