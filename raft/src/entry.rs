//! What one log entry says.

use bincode::{Decode, Encode};
use grantd_catalog::command::{Actor, Command, NameContext, Outcome};
use grantd_catalog::id::Timestamp;
use grantd_catalog::require::Requirement;

/// One entry: the leader's timestamp, and a batch of catalog changes, one of row changes, or a transaction.
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
    /// Parts of a transaction that is too large for one entry. They are kept, and take effect with the
    /// [`Body::Transaction`] of the same number and leader, or never: see `machine`, T2.
    Stage {
        /// The transaction, as its leader numbers them.
        number: u64,
        /// Which of its stages, from 0.
        stage: u32,
        /// The next of its parts.
        parts: Vec<Part>,
    },
    /// One transaction; applied whole or not at all.
    Transaction(Transaction),
}

/// A transaction that was committed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Transaction {
    /// The transaction, as its leader numbers them.
    pub number: u64,
    /// The index of the last entry that changed rows or their shape where it ran; it must still be the last one.
    pub base: u64,
    /// What the statements needed, and of whom; each is decided again where the rows that it let change are applied.
    pub by: Vec<(Actor, Requirement)>,
    /// How many [`Body::Stage`] hold its first parts.
    pub stages: u32,
    /// Its parts, or the rest of them, in order.
    pub parts: Vec<Part>,
}

/// What one statement of a transaction changed. Appended to, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Part {
    /// The catalog.
    Catalog(Proposal),
    /// Rows.
    Rows {
        /// Which of [`Transaction::by`] let it.
        by: u32,
        /// An SQLite changeset, or a piece of one.
        changeset: Vec<u8>,
        /// Whether it ends here. If not the next part is of rows too, and its bytes belong to this one.
        ends: bool,
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

impl Proposal {
    /// Whether somebody may be allowed less after it.
    pub fn tightens(&self) -> bool {
        self.commands.iter().any(Command::tightens)
    }
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
