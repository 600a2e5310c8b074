//! What one log entry says.

use bincode::{Decode, Encode};
use grantd_catalog::command::{Actor, Command, NameContext, Outcome};
use grantd_catalog::id::Timestamp;
use grantd_catalog::require::Requirement;

/// One entry: the leader's timestamp, and a batch of catalog changes or of row changes, never both.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// Strictly increasing in log order.
    pub time: Timestamp,
    /// What changes.
    pub body: Body,
}

/// What an entry changes. Appended to, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Body {
    /// Catalog changes of one or more clients; each proposal is applied whole or not at all.
    Catalog(Vec<Proposal>),
    /// Row changes of one or more clients, captured one after another on `base`.
    Rows {
        /// The index of the last entry that the captures were made upon. Where it is applied the last entry that
        /// changed catalog or rows must be this one, else every item is refused and nothing changes.
        base: u64,
        /// In the order of capture.
        items: Vec<RowChange>,
    },
}

/// Commands of one client that take effect together.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Proposal {
    /// Who asks.
    pub actor: Actor,
    /// What its unqualified names mean.
    pub context: NameContext,
    /// In order; the first refusal refuses all.
    pub commands: Vec<Command>,
}

/// The changes of one statement.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RowChange {
    /// Who asked.
    pub actor: Actor,
    /// What the statement needs; decided again where it is applied.
    pub requirement: Requirement,
    /// An SQLite changeset. Empty: the statement changed nothing and is not proposed.
    pub changeset: Vec<u8>,
}

/// What came of an entry, item by item: an [`Outcome`] for each command of each proposal, or one for each row change.
pub type Reply = Vec<Vec<Outcome>>;
