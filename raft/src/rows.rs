//! The row store: catalog records and user tables in one SQLite file, read through a pool, changed only by what the
//! log carries.
//!
//! [`Store`] belongs to the machine's thread and is the only writer. A client's statement runs through
//! [`Transaction`]: on a reader, or under [`Store::capture`], which takes what the statement changed as an SQLite
//! changeset and undoes it. Every replica, the proposer too, then applies the bytes.
//!
//! It decides nothing about who may do what. `session` and `virtual_table` are two of the three modules with
//! `unsafe`; the third is [`crate::memory`].

use std::any::Any;
use std::cmp::Ordering;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::memory::Held;

mod value;
mod connection;
pub mod ddl;
mod file;
mod session;
mod changeset;
mod apply;
mod virtual_table;
mod history;
mod past;
mod page;
mod reader;
mod dump;
mod store;
mod step;
mod reshape;

pub use self::apply::{ApplyError, RowDelta};
pub use self::connection::StoreOptions;
pub use self::dump::dump;
pub use self::file::{MetaKey, OpenRowsError, RecordBytes, RecordChange, TableChecksum};
pub use self::history::encode_rows;
pub use self::history::{
    CHUNK_BYTES, Cause, HistoryFile, Place, ROW_OVERHEAD_BYTES, RowRecord, RowsKept, ShapeRecord, Taken,
};
pub(crate) use self::history::{encode_key, encode_row};
pub use self::page::{Counted, KeyOrder, RowsAt, RowsPage, Window};
pub use self::past::{Page, Past, PastChange, PastError, PastRecord};
pub use self::reader::{
    Checksums, Reader, Readers, SnapshotContents, SnapshotSource, quick_check, snapshot_contents,
};
pub use self::step::{Alteration, Fill, StepError, StorageStep};
pub use self::store::{Captured, Store};
pub use self::virtual_table::{Scan, VirtualRow, VirtualRows, VirtualTable};

/// A value as the row store holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A signed 64-bit integer; also BOOL (0, 1) and TIMESTAMPTZ (microseconds).
    Integer(i64),
    /// A double.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// What a prepared statement touches, as SQLite's authorizer reported it while preparing: the second of the two
/// independent checks. Table names are those of the store (`t104`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Reads a column; an empty column name means that the rows are counted or tested for existence.
    Read {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The innermost WITH item in whose text the column is named, if SQLite says: of rows that are only counted
        /// it does not always.
        within: Option<String>,
    },
    /// Inserts rows.
    Insert {
        /// The table.
        table: String,
    },
    /// Updates a column.
    Update {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Deletes rows.
    Delete {
        /// The table.
        table: String,
    },
    /// Calls a function.
    Function {
        /// Its name, in lower case.
        name: String,
    },
    /// Anything else: a pragma, ATTACH, DDL. Never legal in a client's statement.
    Other {
        /// What, for the log.
        what: String,
    },
}

/// The rows of a result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowSet {
    /// Column names.
    pub columns: Vec<String>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
    /// Rows that INSERT, UPDATE or DELETE changed.
    pub changes: u64,
    /// The memory of the rows, until the last copy of this is gone.
    pub held: Share,
}

/// A share of the memory of a result. Results are compared without it.
#[derive(Clone, Debug, Default)]
pub struct Share(#[allow(dead_code, reason = "it is only dropped")] Option<Arc<Held>>);

impl Share {
    fn of(held: Held) -> Self {
        Self(Some(Arc::new(held)))
    }
}

impl Eq for Share {}

impl PartialEq for Share {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What went wrong in the row store, in SQLite's terms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RowsError {
    /// SQLite's extended result code.
    pub code: i32,
    /// Its message.
    pub message: String,
}

impl RowsError {
    /// Whether SQLite refused the text of a statement or its size, which every node that has this SQLite does.
    pub(crate) fn is_of_statement(&self) -> bool {
        use rusqlite::ffi;
        matches!(self.code & 0xff, ffi::SQLITE_ERROR | ffi::SQLITE_TOOBIG)
    }

    /// Whether a value is at fault, which every node says.
    pub(crate) fn is_of_value(&self) -> bool {
        self.code & 0xff == rusqlite::ffi::SQLITE_MISMATCH
    }

    /// Whether the statement wanted more memory than it may have.
    pub fn is_out_of_memory(&self) -> bool {
        self.code & 0xff == rusqlite::ffi::SQLITE_NOMEM
    }

    /// Whether there is no room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        self.code & 0xff == rusqlite::ffi::SQLITE_FULL
    }

    /// Whether the disk or the file failed, rather than the statement. A writer that meets one must stop the node: it
    /// no longer knows what the file holds.
    pub fn is_fatal(&self) -> bool {
        use rusqlite::ffi;
        matches!(
            self.code & 0xff,
            ffi::SQLITE_IOERR
                | ffi::SQLITE_CORRUPT
                | ffi::SQLITE_FULL
                | ffi::SQLITE_NOTADB
                | ffi::SQLITE_CANTOPEN
                | ffi::SQLITE_NOMEM
                | ffi::SQLITE_PROTOCOL
        )
    }
}

/// Asked every few microseconds while a statement runs; true ends it with SQLite's code 9, interrupted.
pub type CancelCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a function may see of the statement that calls it: whatever the caller of the row store put there.
pub type StatementContext = Arc<dyn Any + Send + Sync>;

/// What the row store offers to statements beyond what is stored.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    /// Scalar functions.
    pub functions: Vec<Function>,
    /// Aggregate functions.
    pub aggregates: Vec<Aggregate>,
    /// Tables that are computed.
    pub tables: Vec<VirtualTable>,
    /// Orders of texts that columns are declared with. Every connection has them.
    pub collations: Vec<Collation>,
}

/// An order of texts that the row store offers to columns. A total order, and the same on every node for ever: keys are
/// kept in it.
#[derive(Clone)]
pub struct Collation {
    /// Its name, as columns are declared with.
    pub name: &'static str,
    /// Which of two texts comes first.
    pub compare: Compare,
}

/// The order of a [`Collation`].
pub type Compare = Arc<dyn Fn(&str, &str) -> Ordering + Send + Sync>;

impl fmt::Debug for Collation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collation").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An aggregate function that the row store offers to statements, over groups and over windows.
#[derive(Clone)]
pub struct Aggregate {
    /// Its name, in lower case.
    pub name: &'static str,
    /// How many arguments; -1: any number.
    pub arguments: i32,
    /// Begins a group.
    pub start: fn() -> Box<dyn Accumulator>,
}

impl fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What an [`Aggregate`] knows of the rows of one group. An error's text becomes the statement's error.
pub trait Accumulator: Send + UnwindSafe + RefUnwindSafe {
    /// Takes a row.
    fn add(&mut self, arguments: &[Value]) -> Result<(), String>;

    /// Gives the oldest row back, which has left the window.
    fn remove(&mut self, arguments: &[Value]) -> Result<(), String>;

    /// How much memory grows with the rows: of one that keeps them. Asked after each, so it must not count anew.
    fn bytes(&self) -> usize {
        0
    }

    /// What the rows make.
    fn value(&self) -> Result<Value, String>;
}

/// A scalar function that the row store offers to statements.
#[derive(Clone)]
pub struct Function {
    /// Its name, in lower case.
    pub name: &'static str,
    /// How many arguments; -1: any number.
    pub arguments: i32,
    /// Same arguments, same result, and independent of the statement's context.
    pub deterministic: bool,
    /// What it computes; an error's text becomes the statement's error.
    pub body: FunctionBody,
}

/// The body of a [`Function`].
pub type FunctionBody =
    Arc<dyn Fn(Option<&StatementContext>, &[Value]) -> Result<Value, String> + Send + Sync>;

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}

/// Runs SQL inside one transaction of the row store: a consistent read, or the capture of a write.
///
/// Object safe so that `node` can be tested without a cluster.
pub trait Transaction {
    /// Prepares one statement and reports what it touches. Cost: a few microseconds.
    fn prepare(&mut self, sql: &str) -> Result<Vec<Access>, RowsError>;

    /// Runs one statement with positional parameters (`?1` …), under the bounds of `config`.
    fn run(&mut self, sql: &str, parameters: &[Value]) -> Result<RowSet, RowsError>;

    /// What functions may see during the following statements.
    fn set_context(&mut self, context: Option<StatementContext>);

    /// When the following statements end early. For an implementation that runs nothing long: nothing to do.
    fn set_cancel(&mut self, cancel: Option<CancelCheck>) {
        let _ = cancel;
    }

    /// How many bytes each of the following statements may hold in memory at once. For an implementation that runs
    /// nothing large: nothing to do.
    fn set_memory(&mut self, bytes: usize) {
        let _ = bytes;
    }
}
