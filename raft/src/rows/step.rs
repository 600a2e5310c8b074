//! What a change of the catalog does to the tables of the row store, in the open transaction. The same on every node: it
//! depends on the two catalogs and the rows alone.
//!
//! Who proposes it does it first on the rows that there are, and takes it back: what they do not satisfy is refused there,
//! and never in the log.

use grantd_catalog::command::{ColumnSource, Command, Done, StorageChange};
use grantd_catalog::id::ObjectId;
use grantd_catalog::job::Opaque;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Sequence};
use grantd_catalog::refusal::{self, Refusal, SqlState};
use grantd_catalog::shelf::ShelfStep;
use grantd_catalog::state::State;

use crate::rows::ddl::Shape;
use crate::rows::{ApplyError, RowsError, Store, reshape};

/// One change of the row store's own tables, with all that it takes.
#[derive(Clone, Debug)]
pub enum StorageStep {
    /// Make this table.
    Create(Box<Shape>),
    /// Make the table of this sequence, with its row.
    CreateSequence(ObjectId, Sequence),
    /// Drop the table that this object had.
    Drop(ObjectId),
    /// Give a table another shape.
    Alter(Box<Alteration>),
    /// Make a table that is on a shelf: it has no history yet.
    Shelve(Box<Self>),
    /// Put rows into one.
    Fill(Box<Fill>),
    /// It is on no shelf any more: its history begins.
    Publish(ObjectId),
    /// Drop it, as if it had never been.
    Clear(ObjectId),
}

/// Rows that are put into a table on a shelf.
#[derive(Clone, Debug)]
pub struct Fill {
    /// Which table.
    pub id: ObjectId,
    /// As [`encode_rows`](crate::rows::encode_rows) writes them.
    pub rows: Opaque,
    /// Whether they take the place of what is there: a sequence has its one row from the beginning.
    pub replaces: bool,
}

/// A table gets another shape.
#[derive(Clone, Debug)]
pub struct Alteration {
    /// What clients call it.
    pub name: Name,
    /// What it was.
    pub before: Shape,
    /// What it is to be.
    pub after: Shape,
    /// For each column of `after` where its values come from.
    pub sources: Vec<ColumnSource>,
}

impl Alteration {
    /// Whether its rows are made anew, and not left as they are.
    pub fn rewrites(&self) -> bool {
        reshape::rewrites(self)
    }
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The rows that there are do not satisfy it, or the row store takes no such table: what the client is told. Every node
    /// that has the same rows says the same.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// SQLite failed.
    #[error(transparent)]
    Failed(#[from] RowsError),
}

impl StepError {
    /// What is said against rows that a command brings.
    fn of_rows(error: ApplyError) -> Self {
        match error {
            ApplyError::Failed(error) if error.is_of_value() => {
                Self::Refused(refusal::shelf_malformed(error))
            }
            ApplyError::Failed(error) if error.is_of_statement() => Self::of_table(error),
            ApplyError::Failed(error) => Self::Failed(error),
            error @ (ApplyError::Malformed | ApplyError::Shape { .. } | ApplyError::Conflict { .. }) => {
                Self::Refused(refusal::shelf_malformed(error))
            }
        }
    }

    /// What SQLite says against a table of its text or size.
    pub(super) fn of_table(error: RowsError) -> Self {
        if let Some(refusal) = raised(&error.message) {
            return Self::Refused(refusal);
        }
        if error.is_of_statement() {
            return Self::Refused(refusal::table_not_taken(&error.message));
        }
        Self::Failed(error)
    }
}

/// The rows that a command brings.
fn rows_of(command: &Command) -> Option<&Opaque> {
    match command {
        Command::Shelve { step, .. } => match step.as_ref() {
            ShelfStep::Fill { rows, .. } => Some(rows),
            _ => None,
        },
        _ => None,
    }
}

/// What a function of the extensions refuses: `!`, an SQLSTATE, `!`, a message. It depends on its arguments alone, so every
/// node says the same.
fn raised(message: &str) -> Option<Refusal> {
    let (code, text) = message.strip_prefix('!')?.split_once('!')?;
    let is_code = code.len() == SQLSTATE_BYTES && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then(|| Refusal::new(SqlState::new(code), text))
}

const SQLSTATE_BYTES: usize = 5;

impl StorageStep {
    /// The steps of a command that made `after` of `before`. Errors: an object that is not what the command says.
    pub fn list(
        command: &Command,
        done: &Done,
        after: &State,
        before: &State,
    ) -> Result<Vec<Self>, ObjectId> {
        let body = |id: ObjectId| after.object_with_rows(id).map(|object| &object.body);
        let created = |id: ObjectId| match body(id) {
            Some(Body::Sequence(sequence)) => Some(Self::CreateSequence(id, sequence.clone())),
            Some(_) | None => Some(Self::Create(Box::new(Shape::of(id, after)?))),
        };
        let step = |change: &StorageChange| match change {
            StorageChange::Create(id) => created(*id),
            StorageChange::Shelve(id) => created(*id).map(|step| Self::Shelve(Box::new(step))),
            StorageChange::Fill(id) => {
                let replaces = matches!(body(*id)?, Body::Sequence(_));
                Some(Self::Fill(Box::new(Fill { id: *id, rows: rows_of(command)?.clone(), replaces })))
            }
            StorageChange::Publish(id) => body(*id).map(|_| Self::Publish(*id)),
            StorageChange::Clear(id) => before.shelved_object(*id).map(|_| Self::Clear(*id)),
            StorageChange::Drop(id) => before.object(*id).map(|_| Self::Drop(*id)),
            StorageChange::Alter(id, sources) => {
                let name = after.object(*id)?.name.clone();
                let (before, after) = (Shape::of(*id, before)?, Shape::of(*id, after)?);
                Some(Self::Alter(Box::new(Alteration { name, before, after, sources: sources.clone() })))
            }
        };
        let id = |change: &StorageChange| match change {
            StorageChange::Create(id)
            | StorageChange::Drop(id)
            | StorageChange::Alter(id, _)
            | StorageChange::Shelve(id)
            | StorageChange::Fill(id)
            | StorageChange::Publish(id)
            | StorageChange::Clear(id) => *id,
        };
        done.storage.iter().map(|change| step(change).ok_or_else(|| id(change))).collect()
    }

    /// Does it in the open transaction, in which foreign keys do not act. What a failed step did is the caller's to undo.
    pub fn perform(&self, store: &mut Store) -> Result<(), StepError> {
        match self {
            Self::Create(shape) => store.run(&shape.create()).map_err(StepError::of_table),
            Self::CreateSequence(id, sequence) => Ok(store.create_sequence(*id, sequence)?),
            Self::Drop(id) => Ok(store.drop_table(*id)?),
            Self::Alter(alteration) => reshape::perform(store, alteration),
            Self::Shelve(step) => step.perform(store),
            Self::Fill(fill) => {
                store.fill(fill.id, fill.rows.expose(), fill.replaces).map_err(StepError::of_rows)
            }
            Self::Publish(_) => Ok(()),
            Self::Clear(id) => Ok(store.drop_table(*id)?),
        }
    }

    /// Whether the rows that there are, or that come, decide if it can be done.
    pub fn depends_on_rows(&self) -> bool {
        matches!(self, Self::Alter(_) | Self::Fill(_))
    }

    /// Whether SQLite takes the table that it makes, without a look at any other.
    pub fn try_alone(&self, store: &Store) -> Result<(), StepError> {
        match self {
            Self::Create(shape) => store.try_table(shape).map_err(StepError::of_table),
            Self::Shelve(step) => step.try_alone(store),
            Self::CreateSequence(..)
            | Self::Drop(_)
            | Self::Alter(_)
            | Self::Fill(_)
            | Self::Publish(_)
            | Self::Clear(_) => Ok(()),
        }
    }
}
