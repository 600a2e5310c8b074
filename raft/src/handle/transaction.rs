//! Transactions and snapshots that stay, as `node` holds them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use grantd_catalog::command::Outcome;
use grantd_catalog::id::Version;
use grantd_catalog::refusal::{Refusal, SqlState};
use grantd_catalog::view::View;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::config::{STAGE_BYTES_MAX, STAGE_TIME};
use crate::entry::Proposal;
use crate::handle::grant::asked_length;
use crate::handle::{Handle, Node};
use crate::lease::Lease;
use crate::machine::{Act, Answer, SharedWrite, Work, leader_lost, version_of_record};
use crate::rows::{Reader, RowsError, Transaction};
use crate::write::{Mark, Ran, ReadSet, Receipt, RowWrite, TransactionError, Unavailable};

const ACTIVE_TRANSACTION: SqlState = SqlState::new("25001");
/// How often a snapshot is begun until rows and catalog are of one version. They are unless something is applied in the
/// few microseconds between.
const PIN_ATTEMPTS_MAX: u32 = 50;

/// A transaction that holds the writer: nobody else writes rows or changes tables until it is over. Dropped, it is
/// rolled back.
///
/// It lives on this node, while this node leads, for at most [`crate::config::TRANSACTION_TIME_MAX`].
pub struct OpenTransaction {
    node: Arc<Node>,
    number: u64,
    base: Version,
    ended: bool,
    /// Whether something that it did, perhaps taken back, takes rights away.
    tightens: bool,
}

impl Handle {
    /// Opens a transaction: waits its turn for the writer, as long as a proposal would wait. On the leader only, else
    /// [`Unavailable::NotLeader`]. `read`: what the transaction read before; 40001 if any of it changed since.
    pub async fn begin(
        &self,
        read: Option<ReadSet>,
    ) -> Result<Result<OpenTransaction, Refusal>, Unavailable> {
        let node = Arc::clone(&self.node);
        let number = node.transactions.fetch_add(1, Ordering::Relaxed);
        // Made before it is asked for: whatever becomes of the question, to drop it gives the writer back.
        let mut transaction =
            OpenTransaction { node, number, base: Version(0), ended: false, tightens: false };
        let node = &self.node;
        let receipt = node.submit(Work::Begin { number, read }, node.deadline()).await;
        let receipt = receipt.map_err(|error| match error {
            // Nobody wrote anything.
            Unavailable::Unknown(_) => Unavailable::NoLeader(node.tuning.request_timeout),
            other => other,
        })?;
        Ok(match receipt.outcomes.into_iter().next() {
            Some(Outcome::Refused(refusal)) => Err(refusal),
            Some(Outcome::Done(_)) | None => {
                transaction.base = receipt.version;
                Ok(transaction)
            }
        })
    }

    /// A consistent snapshot of rows and catalog that stays until it is dropped, at most
    /// [`crate::config::PIN_TIME_MAX`]. Contains everything that this node had applied before the call.
    /// [`Unavailable::Busy`]: there are [`crate::config::PINS_MAX`] already.
    pub async fn pin(&self) -> Result<PinnedSnapshot, Unavailable> {
        self.node.pin().await
    }
}

impl OpenTransaction {
    /// Runs a statement, which is given the transaction's own view and sees its own changes. Gives the write back with
    /// what it holds, unless the node stops. A refused write leaves the transaction as it was before the statement;
    /// so does one that was interrupted.
    pub async fn run(
        &mut self,
        write: Box<dyn RowWrite>,
    ) -> (Option<Box<dyn RowWrite>>, Result<Ran, TransactionError>) {
        let shared: SharedWrite = Arc::new(Mutex::new(Some(write)));
        let lease = self.node.lease();
        let ran = self.ask(|answer| Act::Run(Arc::clone(&shared), answer)).await;
        let write = shared.lock().await.take();
        let ran = match ran {
            // A refusal may be of a right that was given elsewhere, which no lease tells of.
            Ok(Ran::Refused) => self.confirmed(Ran::Refused).await,
            Ok(ran) => self.current(lease, ran).await,
            Err(error) => Err(error),
        };
        (write, ran)
    }

    /// What the machine decided on the newest view that this node has, since `lease` was loaded. It counts if no other node
    /// could report a change that took rights away meanwhile.
    async fn current<T>(&self, lease: Lease, decided: T) -> Result<T, TransactionError> {
        // Read after it was decided; nothing is applied while the machine decides. B2, B3.
        if self.node.holds(lease) { Ok(decided) } else { self.confirmed(decided).await }
    }

    /// The same, if this node led still after it was decided: rows and rights were the newest then.
    async fn confirmed<T>(&self, decided: T) -> Result<T, TransactionError> {
        self.node.confirmed_index().await.map_err(|_| TransactionError::Lost(leader_lost()))?;
        Ok(decided)
    }

    /// Changes the catalog within the transaction, and the tables with it. An outcome for each command that was reached;
    /// if the last one is a refusal, by the catalog or by the rows that are there, nothing changed.
    pub async fn propose(&mut self, proposal: Proposal) -> Result<Vec<Outcome>, TransactionError> {
        if asked_length(&proposal).is_some() {
            return Err(TransactionError::Refused(not_in_a_transaction()));
        }
        self.tightens |= proposal.tightens();
        self.ask(|answer| Act::Propose(proposal, answer)).await
    }

    /// The catalog as the transaction has it now: the newest of the cluster, with what the transaction changed. It has
    /// the newest privileges, so statements are decided on it as well.
    pub async fn view(&mut self) -> Result<Arc<View>, TransactionError> {
        let lease = self.node.lease();
        let view = self.ask(Act::View).await?;
        self.current(lease, view).await
    }

    /// The version that it was opened upon.
    pub fn base(&self) -> Version {
        self.base
    }

    /// The place where it began.
    pub fn start(&self) -> Mark {
        Mark { transaction: self.number, parts: 0 }
    }

    /// A place to come back to: SAVEPOINT.
    pub async fn mark(&mut self) -> Result<Mark, TransactionError> {
        self.ask(Act::Mark).await
    }

    /// Undoes what was done after `mark`: ROLLBACK TO. The mark stays; those after it are gone.
    pub async fn roll_back_to(&mut self, mark: &Mark) -> Result<(), TransactionError> {
        let mark = *mark;
        self.ask(|answer| Act::RollBackTo(mark, answer)).await
    }

    /// Makes it take effect, whole or not at all. The receipt's one outcome is a refusal if a privilege is missing now,
    /// or what it was made upon changed (40001). [`Unavailable::Unknown`]: nobody can say whether it took effect; all
    /// others: it did not.
    pub async fn commit(mut self) -> Result<Receipt, Unavailable> {
        let bytes = match self.ask(Act::Bytes).await {
            Ok(bytes) => bytes,
            Err(TransactionError::Unavailable(unavailable)) => return Err(unavailable),
            Err(TransactionError::Lost(refusal) | TransactionError::Refused(refusal)) => {
                let version = self.node.machine.published().view().version();
                return Ok(Receipt { version, outcomes: vec![Outcome::Refused(refusal)] });
            }
        };
        self.ended = true;
        let (answer, receiver) = oneshot::channel();
        self.node.machine.transact(self.number, Act::Commit(answer));
        let stages = u32::try_from(bytes / STAGE_BYTES_MAX).unwrap_or(u32::MAX);
        let waited = self.node.tuning.request_timeout + STAGE_TIME * stages;
        match timeout_at(Instant::now() + waited, receiver).await {
            Ok(Ok(answer)) => {
                if let Ok(receipt) = &answer
                    && self.tightens
                    && receipt.is_done()
                {
                    self.node.enforce(receipt.version).await;
                }
                self.node.confirmed(answer).await
            }
            Ok(Err(_)) => Err(Unavailable::Unknown("the node stopped before it was applied".to_owned())),
            Err(_) => Err(Unavailable::Unknown(format!("no quorum answered within {waited:?}"))),
        }
    }

    async fn ask<T>(
        &self,
        act: impl FnOnce(oneshot::Sender<Answer<T>>) -> Act,
    ) -> Result<T, TransactionError> {
        let (answer, receiver) = oneshot::channel();
        self.node.machine.transact(self.number, act(answer));
        // No time limit: each statement has its own, and the machine answers in the order in which it is asked.
        receiver.await.unwrap_or(Err(TransactionError::Unavailable(Unavailable::Stopping)))
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if !self.ended {
            self.node.machine.transact(self.number, Act::RollBack);
        }
    }
}

/// A snapshot of rows and catalog at one version, on this node.
pub struct PinnedSnapshot {
    view: Arc<View>,
    /// Emptied when it was kept for too long.
    reader: Arc<std::sync::Mutex<Option<Reader>>>,
    kept: Duration,
    limit: tokio::task::JoinHandle<()>,
}

impl PinnedSnapshot {
    /// Its catalog. For what names mean; who may do what is decided on the newest view.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// Runs `read` on its rows, on a thread that may block.
    pub async fn read<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&mut dyn Transaction) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let reader = Arc::clone(&self.reader);
        let run = move || {
            let mut reader = reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            reader.as_mut().and_then(|reader| reader.read_pinned(read))
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(Some(result)) => Ok(result),
            Ok(None) => Err(Unavailable::Expired(self.kept)),
            Err(panicked) => Err(unread(&panicked)),
        }
    }
}

impl Drop for PinnedSnapshot {
    fn drop(&mut self) {
        self.limit.abort();
    }
}

impl Node {
    async fn pin(&self) -> Result<PinnedSnapshot, Unavailable> {
        let deadline = self.deadline();
        let acquired = timeout_at(deadline, self.machine.pins().acquire()).await;
        let mut reader = acquired.map_err(|_| Unavailable::Busy)?.map_err(|error| unread(&error))?;
        for _ in 0..PIN_ATTEMPTS_MAX {
            let begin = move || reader.pin().map(|applied| (reader, version_of_record(applied.as_deref())));
            let begun = tokio::task::spawn_blocking(begin).await.map_err(|panicked| unread(&panicked))?;
            let (begun, version) = begun.map_err(|error: RowsError| unread(&error))?;
            reader = begun;
            let view = self.at_least(version, deadline).await?;
            if view.version() == version {
                return Ok(keep(view, reader, self.tuning.pin_time));
            }
            reader.unpin().map_err(|error| unread(&error))?;
        }
        Err(Unavailable::Busy)
    }
}

fn keep(view: Arc<View>, reader: Reader, kept_for: Duration) -> PinnedSnapshot {
    let reader = Arc::new(std::sync::Mutex::new(Some(reader)));
    let kept = Arc::clone(&reader);
    let limit = tokio::spawn(async move {
        tokio::time::sleep(kept_for).await;
        // A read that runs just now holds the lock; to wait for it is not for a thread that runs tasks.
        let end = move || drop(kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let _ = tokio::task::spawn_blocking(end).await;
    });
    PinnedSnapshot { view, reader, kept: kept_for, limit }
}

/// Shorter leases wait for longer ones before they go to the log, and a transaction is not to hold the writer meanwhile.
fn not_in_a_transaction() -> Refusal {
    let message = "grantd.lease.duration cannot be changed within a transaction";
    Refusal::new(ACTIVE_TRANSACTION, message).with_hint("SET it, or RESET it, as a statement of its own.")
}

fn unread(error: &impl std::fmt::Display) -> Unavailable {
    Unavailable::Unknown(format!("the row store cannot be read: {error}"))
}
