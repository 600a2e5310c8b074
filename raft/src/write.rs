//! What a client of this crate hands in to be written, and what it is told.

use std::sync::Arc;

use grantd_catalog::command::{Actor, Outcome};
use grantd_catalog::id::Version;
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
    /// Too many proposals wait for the writer, or too many reads for a reader. Nothing was done.
    #[error("too many statements wait")]
    Busy,
    /// It was proposed and no answer came: it may or may not take effect.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The node stops.
    #[error("the node is shutting down")]
    Stopping,
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
