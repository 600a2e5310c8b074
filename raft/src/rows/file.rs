//! What a file of the row store looks like from outside: its layout, its facts, its sums, copies of it.

use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{OptionalExtension, ffi};

use crate::rows::{RowsError, ddl};

/// The layout of the file that this release writes, in its `user_version`.
const FORMAT: i64 = 3;
/// `grnt`, in the file's `application_id`: tells a stranger's SQLite file from ours.
const APPLICATION_ID: i64 = 0x6772_6e74;
/// What is kept of a transaction that is too large for one entry, until it takes effect.
const LAYOUT_2: &str = "CREATE TABLE grantd_staged
    (stage INTEGER NOT NULL PRIMARY KEY, number INTEGER NOT NULL, parts BLOB NOT NULL) STRICT;";
/// The change history, and up to where it was collected. The index is for those rows only that say what became of a table:
/// whoever reads needs the next one.
const LAYOUT_3: &str = "CREATE TABLE grantd_history (
        object INTEGER NOT NULL, nanos INTEGER NOT NULL, logical INTEGER NOT NULL, number INTEGER NOT NULL,
        content INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (object, nanos, logical, number)) STRICT, WITHOUT ROWID;
    CREATE INDEX grantd_history_shapes ON grantd_history (object, nanos, logical, number) WHERE content = 2;
    CREATE TABLE grantd_history_floor
        (object INTEGER NOT NULL PRIMARY KEY, nanos INTEGER NOT NULL, logical INTEGER NOT NULL) STRICT;";
/// Tables of the row store's own that are the same on every node.
const HISTORY_TABLES: &str = "'grantd_history', 'grantd_history_floor'";
/// Pages that a copy moves between two looks at anything else.
const COPY_PAGES: i32 = 1_024;

/// A catalog record: key and value.
pub type RecordBytes = (Vec<u8>, Vec<u8>);

/// What becomes of a catalog record: its key, and its value; none: it is gone.
pub type RecordChange = (Vec<u8>, Option<Vec<u8>>);

/// Facts about the file as a whole, kept beside the records and moved by the same transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// The last applied log id.
    Applied,
    /// The last applied membership.
    Membership,
    /// The index of the last entry that changed catalog or rows.
    LastData,
    /// Whose file this is.
    Identity,
    /// What is known of the change history as a whole.
    History,
}

impl MetaKey {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Membership => "membership",
            Self::LastData => "last_data",
            Self::Identity => "identity",
            Self::History => "history",
        }
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenRowsError {
    /// Another program's file.
    #[error("`{path}` is not a row store of grantd; move it away, or choose another data directory")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer release wrote it.
    #[error("`{path}` has format {found}, and this release reads up to {FORMAT}; start the newer release")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: i64,
    },
    /// SQLite finds it damaged.
    #[error(
        "`{path}` is damaged: {what}; stop the node, remove it from the cluster, and join again with an empty \
         directory and a new id"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        what: String,
    },
    /// It cannot be opened, read or written.
    #[error("`{path}` cannot be opened")]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: RowsError,
    },
}

impl OpenRowsError {
    pub(super) fn from_rows(path: &Path, source: RowsError) -> Self {
        let path = path.to_owned();
        match source.code & 0xff {
            ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Self::Damaged { path, what: source.message },
            _ => Self::Failed { path, source },
        }
    }
}

/// A table's rows in one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableChecksum {
    /// The table's name in the store.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// CRC-32C over the names of its columns, and its rows in key order.
    pub crc: u32,
}

pub(super) fn copy(from: &rusqlite::Connection, to: &mut rusqlite::Connection) -> Result<(), RowsError> {
    let backup = Backup::new(from, to)?;
    loop {
        match backup.step(COPY_PAGES)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            // Nobody else writes to either file; waiting would hide a mistake.
            other => {
                let message = format!("a copy of the row store stopped: {other:?}");
                return Err(RowsError { code: ffi::SQLITE_BUSY, message });
            }
        }
    }
}

/// Whether the file is ours; false: it is new and empty.
pub(super) fn check_header(sqlite: &rusqlite::Connection, path: &Path) -> Result<bool, OpenRowsError> {
    let pragma = |name: &str| -> Result<i64, OpenRowsError> {
        sqlite
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(|error| OpenRowsError::from_rows(path, error.into()))
    };
    let (application, format) = (pragma("application_id")?, pragma("user_version")?);
    let schema = pragma("schema_version")?;
    if (application, format, schema) == (0, 0, 0) {
        return Ok(false);
    }
    if application != APPLICATION_ID {
        return Err(OpenRowsError::Foreign { path: path.to_owned() });
    }
    if format > FORMAT {
        return Err(OpenRowsError::NewerFormat { path: path.to_owned(), found: format });
    }
    Ok(true)
}

pub(super) fn prepare_file(sqlite: &rusqlite::Connection, path: &Path) -> Result<(), OpenRowsError> {
    if check_header(sqlite, path)? {
        return add_tables(sqlite).map_err(|error| OpenRowsError::from_rows(path, error));
    }
    let made = sqlite.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         CREATE TABLE grantd_meta (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
         CREATE TABLE grantd_record (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = 1;
         COMMIT"
    ));
    made.map_err(|error| OpenRowsError::from_rows(path, error.into()))?;
    add_tables(sqlite).map_err(|error| OpenRowsError::from_rows(path, error))
}

/// Makes what a file of an earlier layout lacks. Nothing to do for the newest.
pub(super) fn add_tables(sqlite: &rusqlite::Connection) -> Result<(), RowsError> {
    let format: i64 = sqlite.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format >= FORMAT {
        return Ok(());
    }
    let added = sqlite.execute_batch(&format!(
        "BEGIN IMMEDIATE; {} {LAYOUT_3} PRAGMA user_version = {FORMAT}; COMMIT",
        if format < 2 { LAYOUT_2 } else { "" }
    ));
    if added.is_err() && !sqlite.is_autocommit() {
        sqlite.execute_batch("ROLLBACK")?;
    }
    Ok(added?)
}

pub(super) fn read_meta(sqlite: &rusqlite::Connection, key: MetaKey) -> Result<Option<Vec<u8>>, RowsError> {
    let mut statement = sqlite.prepare_cached("SELECT value FROM grantd_meta WHERE key = ?1")?;
    Ok(statement.query_row([key.as_str()], |row| row.get(0)).optional()?)
}

pub(super) fn read_records(sqlite: &rusqlite::Connection) -> Result<Vec<RecordBytes>, RowsError> {
    let mut statement = sqlite.prepare("SELECT key, value FROM grantd_record ORDER BY key")?;
    let records = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(records.collect::<Result<_, rusqlite::Error>>()?)
}

/// Whether a column of the table's key is declared with an order of ours.
pub(super) fn key_has_order(sqlite: &rusqlite::Connection, table: &str) -> Result<bool, RowsError> {
    let mut columns = sqlite.prepare_cached(
        "SELECT 1 FROM pragma_index_list(?1) AS list, pragma_index_xinfo(list.name) AS info
         WHERE list.origin = 'pk' AND info.key AND info.coll <> 'BINARY'",
    )?;
    Ok(columns.exists([table])?)
}

/// A column that is not generated.
pub(super) struct StoredColumn {
    pub(super) name: String,
    /// Its place in the key, from 1; 0: not in it.
    pub(super) key: i64,
    /// Whether it holds doubles.
    pub(super) is_real: bool,
}

/// The columns of a table that are not generated, in order. Empty: no such table.
pub(super) fn stored_columns(
    sqlite: &rusqlite::Connection,
    table: &str,
) -> Result<Vec<StoredColumn>, RowsError> {
    let mut statement =
        sqlite.prepare_cached("SELECT name, pk, type = 'REAL' FROM pragma_table_info(?1) ORDER BY cid")?;
    let columns = statement.query_map([table], |row| {
        Ok(StoredColumn { name: row.get(0)?, key: row.get(1)?, is_real: row.get(2)? })
    })?;
    Ok(columns.collect::<Result<_, rusqlite::Error>>()?)
}

pub(super) fn checksum(sqlite: &rusqlite::Connection) -> Result<(u32, Vec<TableChecksum>), RowsError> {
    let catalog = checksum_query(sqlite, "SELECT key, value FROM grantd_record ORDER BY key")?.1;
    let mut names = sqlite.prepare(&format!(
        "SELECT name FROM sqlite_master WHERE type = 'table'
         AND (name GLOB 't[0-9]*' OR name IN ({HISTORY_TABLES})) ORDER BY length(name), name"
    ))?;
    let names: Vec<String> =
        names.query_map([], |row| row.get(0))?.collect::<Result<_, rusqlite::Error>>()?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let query = rows_in_order(sqlite, &name)?;
        let (rows, crc) = checksum_query(sqlite, &query)?;
        tables.push(TableChecksum { name, rows, crc });
    }
    Ok((catalog, tables))
}

/// The query of all of a table's rows, in the order of its key.
pub(super) fn rows_in_order(sqlite: &rusqlite::Connection, table: &str) -> Result<String, RowsError> {
    let mut key = sqlite.prepare_cached("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")?;
    let key = key.query_map([table], |row| Ok(ddl::quote(&row.get::<_, String>(0)?)))?;
    let order = key.collect::<Result<Vec<_>, rusqlite::Error>>()?;
    Ok(format!("SELECT * FROM {} ORDER BY {}", ddl::quote(table), order.join(", ")))
}

fn checksum_query(sqlite: &rusqlite::Connection, query: &str) -> Result<(u64, u32), RowsError> {
    use rusqlite::types::ValueRef;

    let mut statement = sqlite.prepare(query)?;
    let width = statement.column_count();
    let (mut count, mut crc) = (0, 0);
    // The columns are part of what a table is; an empty one has nothing else.
    for name in statement.column_names() {
        crc = crc32c::crc32c_append(crc, name.as_bytes());
        crc = crc32c::crc32c_append(crc, &[0]);
    }
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        count += 1;
        for at in 0..width {
            let mut add = |tag: u8, bytes: &[u8]| {
                crc = crc32c::crc32c_append(crc, &[tag]);
                crc = crc32c::crc32c_append(crc, &(bytes.len() as u64).to_le_bytes());
                crc = crc32c::crc32c_append(crc, bytes);
            };
            match row.get_ref(at)? {
                ValueRef::Null => add(0, &[]),
                ValueRef::Integer(integer) => add(1, &integer.to_le_bytes()),
                ValueRef::Real(real) => add(2, &real.to_bits().to_le_bytes()),
                ValueRef::Text(text) => add(3, text),
                ValueRef::Blob(blob) => add(4, blob),
            }
        }
    }
    Ok((count, crc))
}
