//! What a client of this crate hands in to be written, and what it is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use grantd_catalog::command::{Actor, Outcome};
use grantd_catalog::id::{ObjectId, Version};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;

use crate::config::NodeId;
use crate::rows::Transaction;

/// What a proposal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The version that contains it, or at which it was refused.
    pub version: Version,
    /// One for each command that was reached; the last one is the refusal, if any. Of a row write: one; none if the
    /// write itself said no.
    pub outcomes: Vec<Outcome>,
}

impl Receipt {
    /// Whether it took effect.
    pub fn is_done(&self) -> bool {
        matches!(self.outcomes.last(), Some(Outcome::Done(_)))
    }
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The node is in no cluster yet.
    #[error("this node is not part of a cluster yet")]
    NotInitialized,
    /// No leader confirmed itself in time. Nothing was proposed.
    #[error("no leader answered within {0:?}")]
    NoLeader(std::time::Duration),
    /// This node does not lead; the leader is elsewhere or unknown. Nothing was proposed.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, as far as is known.
        leader: Option<NodeId>,
    },
    /// Too many proposals wait for the writer, or for a transaction that holds it, or too many reads for a reader.
    /// Nothing was done.
    #[error("too many statements wait")]
    Busy,
    /// It was proposed and no answer came: it may or may not take effect.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The node stops.
    #[error("the node is shutting down")]
    Stopping,
    /// A pinned snapshot was kept for longer than it may be, and is gone. Nothing was done.
    #[error("the snapshot was kept for longer than {0:?}")]
    Expired(std::time::Duration),
}

/// A write of rows, run by the leader's writer with nothing else in flight.
///
/// It is called with the exact view that the change will be applied upon. It plans, decides, runs its statement, and
/// says what the statement needs; what it changed is captured, undone, and proposed. It may be called again, on a
/// newer view, when a batch had to be captured anew.
pub trait RowWrite: Send {
    /// Runs the statement. An error undoes what this write did and proposes nothing.
    fn run(
        &mut self,
        view: &Arc<View>,
        rows: &mut dyn Transaction,
    ) -> Result<(Actor, Requirement), WriteRefused>;
}

/// The write said no; the reason stays with whoever made the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteRefused;

/// What a transaction read before it takes the writer: if any of it changed since, it cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadSet {
    /// The version of the snapshot that it read.
    pub version: Version,
    /// The tables (and sequences) whose rows it read.
    pub tables: BTreeSet<ObjectId>,
}

/// What came of a statement that ran in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It ran.
    Done {
        /// Whether it changed rows.
        changed: bool,
    },
    /// The write itself said no, and holds the reason. The transaction is as it was before the statement.
    Refused,
}

/// A place in a transaction to which it can be taken back: SAVEPOINT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The transaction's number.
    pub(crate) transaction: u64,
    /// How many parts it had.
    pub(crate) parts: usize,
}

/// Why a statement did not run in its transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The transaction is over, and nothing of it took effect: 40001, or the reason for which it cannot go on.
    #[error("{}", .0.message)]
    Lost(Refusal),
    /// The statement was refused. The transaction is as it was before it.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// Nothing can be said of the statement; the transaction is over, and nothing of it took effect.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
