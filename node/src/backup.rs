//! Backups: what one is as bytes, writing one, and reading it. `docs/backup-format.md` is for whoever reads one without us.
//!
//! A [`Collection`] is a place with layers: a full backup, and incremental ones that say what happened since. A layer is
//! finished when its manifest is there. Names are new for each write, and nothing is written over or taken away: so a role that
//! may only put is enough to write fulls, and a bucket may forbid the rest.
//!
//! [`mod@write`]: the catalog of one moment, and the rows of a time that is read page by page, each page a short read of its own under
//! a permit of its own (`raft::rows`, `Past::next_page`). No transaction and no snapshot is held open, so no writer waits, and who
//! goes on after a restart reads on at the same time. [`read`]: layers up to a time, every checksum first; rows by a table, merged
//! in the order of the key.
//!
//! Bounds: a writer holds at most two files of [`FILE_BYTES`], a group of rows, two pages, one that is read while the other becomes
//! part of a file, and as much again of what is undone; a reader one file and a window.
//!
//! [`work`] is the job that writes one; what it was asked for is [`details`]. What is not here: statements, who may do what (a
//! [`Job`] is asked for a permit before each step), how a KMS is asked (`cloud::kms`).

pub mod names;
pub mod cipher;
mod kms;
pub mod manifest;
pub mod data;
pub mod catalog;
pub mod collection;
mod worker;
pub mod write;
pub mod read;
pub mod show;
pub mod details;
pub mod work;

use async_trait::async_trait;
use grantd_catalog::id::ObjectId;
use grantd_catalog::refusal::{Refusal, SqlState};

pub use self::collection::Collection;

use crate::cloud::storage::StorageError;
use crate::gate::Permit;

/// Who wants a backup to be written or read.
#[async_trait]
pub trait Job: Send + Sync {
    /// Leave of its owner to read these tables, decided now. An error ends the work: what the owner lost, the job lost.
    async fn permit(&self, tables: &[ObjectId]) -> Result<Permit, Refusal>;

    /// Told before each step how far it is. An error ends the work, which can go on from its last checkpoint.
    async fn step(&self, progress: &Progress) -> Result<(), Refusal>;
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Tables that are done.
    pub tables: u64,
    /// All tables.
    pub tables_expected: u64,
    /// Rows, or changes of rows.
    pub rows: u64,
    /// How many there were when it was begun; none: nobody counted.
    pub rows_expected: Option<u64>,
    /// Bytes of their values.
    pub bytes: u64,
    /// Files that are there.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
}

impl Progress {
    /// What is done, and all there is: rows if somebody counted them, else tables.
    pub fn done(&self) -> (u64, u64) {
        match self.rows_expected {
            Some(rows) if rows > 0 => (self.rows, rows),
            _ => (self.tables, self.tables_expected),
        }
    }
}

/// Why a backup was not written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The place did not do what was asked: perhaps it will, or with other credentials.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It cannot be, or may not be, or the job was stopped.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

impl BackupError {
    /// As a client reads it.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Storage(error) => error.refusal(),
            Self::Refused(refusal) => refusal.clone(),
        }
    }

    fn new(code: SqlState, message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, message))
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Refused(refusal) => Self::Refused(refusal.with_hint(hint)),
            storage @ Self::Storage(_) => storage,
        }
    }

    /// A file is not what was written. `what`: in words.
    fn damaged(file: &str, what: impl std::fmt::Display) -> Self {
        Self::new(DATA_CORRUPTED, format!("backup file {file} is damaged: {what}"))
            .hint("Nothing of the backup was used. Restore an earlier one, or get the file from a copy of the bucket.")
    }
}

impl From<Refusal> for BackupError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// PostgreSQL's name for it.
const DATA_CORRUPTED: SqlState = SqlState::new("XX001");
/// PostgreSQL's name for it.
const UNDEFINED_FILE: SqlState = SqlState::new("58P01");
/// PostgreSQL's name for it.
const DUPLICATE_FILE: SqlState = SqlState::new("58P02");

/// From how many bytes on a file of data is full. A file is in memory whole while it is written and read: with what is on its way
/// to the place, and what is read for the next, a writer stays below 32 MiB.
pub const FILE_BYTES: usize = 8 << 20;
/// The most that a configuration may ask for.
pub const FILE_BYTES_MAX: usize = 32 << 20;
/// From how many bytes of values on a group of rows is full.
const GROUP_BYTES: usize = 2 << 20;
/// How many bytes of rows are read at once.
const PAGE_BYTES: usize = 2 << 20;
/// The most bytes of a file that a reader takes into memory: a put is no larger.
const READ_BYTES_MAX: u64 = crate::cloud::storage::PUT_BYTES_MAX as u64;
