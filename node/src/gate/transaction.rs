//! Transactions and kept snapshots, behind the gate: each statement of them has a permit of its own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use grantd_catalog::command::Outcome;
use grantd_catalog::id::Version;
use grantd_catalog::refusal::{Refusal, SqlState, state};
use grantd_catalog::view::View;
use grantd_raft::entry::Proposal;
use grantd_raft::handle::{
    Mark, OpenTransaction, PinnedSnapshot, ReadSet, Receipt, RowWrite, TransactionError, Unavailable,
};
use grantd_raft::rows::Transaction;

use super::{
    Gate, Guarded, GuardedWrite, Permit, PinnedRead, Snapshot, Write, Writer, applied, no_answer, tried,
    unavailable,
};

/// The most places that a transaction is asked to remember.
const MARKS_MAX: usize = 100_000;

const SERIALIZATION_FAILURE: SqlState = SqlState::new("40001");

/// A snapshot of rows and catalog that is kept.
pub struct Pinned(Box<dyn Snapshot>);

/// An open transaction, where the leader is.
pub struct Open(Box<dyn Writer>);

/// What came of asking for one.
#[derive(Debug)]
pub enum Begun {
    /// It is open.
    Open(Open),
    /// This node does not lead; nothing was done.
    NotLeader,
}

/// Why a statement did not run in its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was refused; the transaction is as it was before it.
    Refused(Refusal),
    /// The transaction is over, and nothing of it took effect.
    Lost(Refusal),
}

/// 40001: nothing of the transaction took effect, and it can only begin anew.
pub fn restart(reason: &str) -> Refusal {
    Refusal::new(SERIALIZATION_FAILURE, format!("restart transaction: {reason}"))
        .with_hint("Nothing of the transaction took effect. Roll back, and run it again.")
}

impl Gate {
    /// Keeps a snapshot of the rows that this node has now.
    pub async fn pin(&self) -> Result<Pinned, Refusal> {
        self.replica.pin().await.map(Pinned).map_err(unavailable)
    }

    /// Begins a transaction, when its turn comes. 40001: what it read before has changed, or its turn did not come.
    pub async fn begin(&self, read: Option<ReadSet>) -> Result<Begun, Refusal> {
        match self.replica.begin(read).await {
            Ok(Ok(writer)) => Ok(Begun::Open(Open(writer))),
            Ok(Err(refusal)) => Err(refusal),
            Err(Unavailable::NotLeader { .. }) => Ok(Begun::NotLeader),
            Err(Unavailable::NoLeader(waited)) => {
                Err(restart(&format!("the turn to write did not come within {waited:?}")))
            }
            Err(other) => Err(unavailable(other)),
        }
    }
}

impl Pinned {
    /// The catalog of its version: what names mean on it, and never who may do what.
    pub fn view(&self) -> Arc<View> {
        self.0.view()
    }

    /// Reads rows, which are as old as the snapshot or as the permit's view, never newer.
    pub async fn read<T: Send + 'static>(
        &mut self,
        permit: Permit,
        read: impl FnOnce(&mut dyn Transaction) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        if permit.version < self.0.view().version() {
            return Err(Refusal::new(super::INTERNAL, "a permit is older than what it is for"));
        }
        let answer = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&answer);
        let run: PinnedRead = Box::new(move |rows| {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(read(rows));
        });
        self.0.read(run).await.map_err(unavailable)?;
        let outcome = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.ok_or_else(no_answer)
    }
}

impl Open {
    /// The version that it was opened upon.
    pub fn base(&self) -> Version {
        self.0.base()
    }

    /// The newest catalog, with the transaction's own changes of it.
    pub async fn view(&mut self) -> Result<Arc<View>, Stopped> {
        self.0.view().await.map_err(stopped)
    }

    /// Runs a statement, decided on the view that it is planned on. It is given back with what it holds.
    pub async fn write<W: Write>(&mut self, write: W) -> (Result<(), Stopped>, Option<W>) {
        let shared = Arc::new(Mutex::new(Guarded { write: Some(write), refused: None }));
        let outcome = self.0.run(Box::new(GuardedWrite(Arc::clone(&shared)))).await;
        let mut guarded = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (write, refused) = (guarded.write.take(), guarded.refused.take());
        let outcome = match (outcome, refused) {
            (Err(error), _) => Err(stopped(error)),
            (Ok(()), Some(refusal)) => Err(Stopped::Refused(refusal)),
            (Ok(()), None) => Ok(()),
        };
        (outcome, write)
    }

    /// Changes the catalog. The commands are tried on a copy of the transaction's own first, so that most refusals
    /// touch nothing. What is returned is what the client is told beside success.
    pub async fn propose(&mut self, proposal: Proposal) -> Result<Vec<Refusal>, Stopped> {
        let view = self.view().await?;
        tried(&view, &proposal).map_err(Stopped::Refused)?;
        let outcomes = self.0.propose(proposal).await.map_err(stopped)?;
        let mut notices = Vec::new();
        for outcome in outcomes {
            match outcome {
                Outcome::Done(done) => notices.extend(done.notices),
                Outcome::Refused(refusal) => return Err(Stopped::Refused(refusal)),
            }
        }
        Ok(notices)
    }

    /// A number for where it is.
    pub async fn mark(&mut self) -> Result<u32, Stopped> {
        self.0.mark().await.map_err(stopped)
    }

    /// Takes back everything after a place where it was; 0: everything.
    pub async fn roll_back_to(&mut self, mark: u32) -> Result<(), Stopped> {
        self.0.roll_back_to(mark).await.map_err(stopped)
    }

    /// Ends it: the version that contains it. Every requirement of it is decided once more where it is applied. 40003:
    /// nobody can say whether it took effect; every other refusal: it did not.
    pub async fn commit(self) -> Result<Version, Refusal> {
        match self.0.commit().await {
            Ok(receipt) => applied(&receipt).map(|()| receipt.version),
            Err(unknown @ Unavailable::Unknown(_)) => Err(unavailable(unknown)),
            Err(other) => Err(restart(&other.to_string())),
        }
    }
}

fn stopped(error: TransactionError) -> Stopped {
    match error {
        TransactionError::Refused(refusal) => Stopped::Refused(refusal),
        TransactionError::Lost(refusal) => Stopped::Lost(refusal),
        TransactionError::Unavailable(unavailable) => Stopped::Lost(restart(&unavailable.to_string())),
    }
}

#[async_trait]
impl Snapshot for PinnedSnapshot {
    fn view(&self) -> Arc<View> {
        PinnedSnapshot::view(self)
    }

    async fn read(&mut self, read: PinnedRead) -> Result<(), Unavailable> {
        PinnedSnapshot::read(self, read).await
    }
}

/// A transaction with the places that it was asked to remember.
struct Marked {
    open: OpenTransaction,
    marks: Vec<Mark>,
}

/// A transaction that has just begun.
pub(super) fn marked(open: OpenTransaction) -> Box<dyn Writer> {
    let marks = vec![open.start()];
    Box::new(Marked { open, marks })
}

#[async_trait]
impl Writer for Marked {
    fn base(&self) -> Version {
        self.open.base()
    }

    async fn view(&mut self) -> Result<Arc<View>, TransactionError> {
        self.open.view().await
    }

    async fn run(&mut self, write: Box<dyn RowWrite>) -> Result<(), TransactionError> {
        // Whether the write said no is known to the write.
        self.open.run(write).await.1.map(|_| ())
    }

    async fn propose(&mut self, proposal: Proposal) -> Result<Vec<Outcome>, TransactionError> {
        self.open.propose(proposal).await
    }

    async fn mark(&mut self) -> Result<u32, TransactionError> {
        let mark = self.open.mark().await?;
        if self.marks.last() != Some(&mark) {
            if self.marks.len() == MARKS_MAX {
                return Err(TransactionError::Refused(Refusal::new(
                    state::PROGRAM_LIMIT_EXCEEDED,
                    format!("a transaction has at most {MARKS_MAX} savepoints"),
                )));
            }
            self.marks.push(mark);
        }
        Ok(u32::try_from(self.marks.len() - 1).unwrap_or(u32::MAX))
    }

    async fn roll_back_to(&mut self, mark: u32) -> Result<(), TransactionError> {
        let at = mark as usize;
        let Some(mark) = self.marks.get(at).copied() else {
            return Err(TransactionError::Lost(restart("a savepoint is lost")));
        };
        self.open.roll_back_to(&mark).await?;
        self.marks.truncate(at + 1);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<Receipt, Unavailable> {
        self.open.commit().await
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pinned").field(&self.0.view().version()).finish()
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Open")
    }
}
