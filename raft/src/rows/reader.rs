//! Readers of the file: the pool, checksums, and copies for snapshots.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use grantd_catalog::id::Timestamp;
use rusqlite::ffi;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::READ_TIME_MAX;
use crate::private;
use crate::rows::connection::{Connection, Mode, StoreOptions};
use crate::rows::file::{
    MetaKey, OpenRowsError, RecordBytes, TableChecksum, check_header, checksum, copy, read_meta, read_records,
};
use crate::rows::past::Past;
use crate::rows::{Extensions, RowsError, Transaction};

/// The [`MetaKey::Applied`] of a moment, the sum over the catalog records in key order, and that of each table.
pub type Checksums = (Option<Vec<u8>>, u32, Vec<TableChecksum>);

/// A bounded number of connections that read.
pub struct Readers {
    path: PathBuf,
    options: StoreOptions,
    extensions: Extensions,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path, options: &StoreOptions, extensions: &Extensions, most: usize) -> Self {
        Self {
            path: path.to_owned(),
            options: options.clone(),
            extensions: extensions.clone(),
            permits: Arc::new(Semaphore::new(most)),
            idle: Mutex::default(),
        }
    }

    /// Waits for a reader. Dropping the future gives up the place in the queue. Cost: opening a connection while
    /// there are fewer than may be, some 200 µs.
    pub async fn acquire(self: &Arc<Self>) -> Result<Reader, RowsError> {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => Connection::open(&self.path, Mode::Read, &self.options, &self.extensions)?,
        };
        Ok(Reader { connection: Some(connection), pool: Arc::clone(self), _permit: permit })
    }
}

/// A connection that reads; goes back to its pool when dropped.
pub struct Reader {
    connection: Option<Connection>,
    pool: Arc<Readers>,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// Runs `read` on a consistent snapshot, for at most [`READ_TIME_MAX`]; it is told the [`MetaKey::Applied`] of that
    /// snapshot. Blocks: not for a thread that runs tasks.
    pub fn read<T>(
        &mut self,
        read: impl FnOnce(Option<Vec<u8>>, &mut dyn Transaction) -> T,
    ) -> Result<T, RowsError> {
        let connection = self.connection.as_mut().expect("taken only by drop");
        connection.execute("BEGIN")?;
        let applied = read_meta(&connection.sqlite, MetaKey::Applied)?;
        let result = read(applied, &mut connection.client_within(READ_TIME_MAX));
        // A statement that SQLite had no memory for ended it.
        if !connection.sqlite.is_autocommit() {
            connection.execute("ROLLBACK")?;
        }
        Ok(result)
    }

    /// Begins a snapshot that stays until [`Reader::unpin`], or until this is dropped, and tells its
    /// [`MetaKey::Applied`].
    pub fn pin(&mut self) -> Result<Option<Vec<u8>>, RowsError> {
        let connection = self.connection.as_mut().expect("taken only by drop");
        connection.execute("BEGIN")?;
        read_meta(&connection.sqlite, MetaKey::Applied)
    }

    /// Ends the snapshot.
    pub fn unpin(&mut self) -> Result<(), RowsError> {
        self.connection.as_mut().expect("taken only by drop").execute("ROLLBACK")
    }

    /// Runs `read` on the snapshot that was pinned, for at most [`READ_TIME_MAX`]. None: SQLite ended it, because a read
    /// before failed.
    pub fn read_pinned<T>(&mut self, read: impl FnOnce(&mut dyn Transaction) -> T) -> Option<T> {
        let connection = self.connection.as_mut().expect("taken only by drop");
        if connection.sqlite.is_autocommit() {
            return None;
        }
        Some(read(&mut connection.client_within(READ_TIME_MAX)))
    }

    /// Runs `read` on the change history of a consistent snapshot, for at most [`READ_TIME_MAX`]. `times` makes of its
    /// [`MetaKey::LastData`] and [`MetaKey::History`] up to when all is known, and from when on there is a history.
    pub fn past<T>(
        &mut self,
        times: impl FnOnce(Option<Vec<u8>>, Option<Vec<u8>>) -> (Timestamp, Timestamp),
        read: impl FnOnce(Option<Vec<u8>>, &Past<'_>) -> T,
    ) -> Result<T, RowsError> {
        let connection = self.connection.as_mut().expect("taken only by drop");
        connection.execute("BEGIN")?;
        let last = read_meta(&connection.sqlite, MetaKey::LastData)?;
        let (resolved, from) = times(last, read_meta(&connection.sqlite, MetaKey::History)?);
        let limited = connection.client_within(READ_TIME_MAX);
        let applied = read_meta(&connection.sqlite, MetaKey::Applied)?;
        let collations = &self.pool.extensions.collations;
        let result = read(applied, &Past::new(&connection.sqlite, resolved, from, collations));
        drop(limited);
        connection.execute("ROLLBACK")?;
        Ok(result)
    }

    /// The [`MetaKey::Applied`] of a snapshot, and [`crate::rows::Store::checksum`] of it.
    pub fn checksum(&mut self) -> Result<Checksums, RowsError> {
        let connection = self.connection.as_ref().expect("taken only by drop");
        connection.sqlite.execute_batch("BEGIN")?;
        let applied = read_meta(&connection.sqlite, MetaKey::Applied)?;
        let (catalog, tables) = checksum(&connection.sqlite)?;
        connection.sqlite.execute_batch("ROLLBACK")?;
        Ok((applied, catalog, tables))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // After a panic or an error the transaction may still be open; a connection that cannot end it is closed.
        let clean = connection.sqlite.is_autocommit() || connection.sqlite.execute_batch("ROLLBACK").is_ok();
        if clean {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

/// A consistent view of the file, to be copied on any thread.
pub struct SnapshotSource {
    connection: Connection,
}

impl SnapshotSource {
    pub(super) fn begin(path: &Path, options: &StoreOptions) -> Result<Self, RowsError> {
        let connection = Connection::open(path, Mode::Read, options, &Extensions::default())?;
        connection.sqlite.execute_batch("BEGIN")?;
        // A deferred transaction begins with its first read.
        read_meta(&connection.sqlite, MetaKey::Applied)?;
        Ok(Self { connection })
    }

    /// Bytes of the file that [`SnapshotSource::write_to`] writes.
    pub fn length(&self) -> Result<u64, RowsError> {
        let pragma = |name| self.connection.sqlite.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok(pragma("page_count")?.unsigned_abs().saturating_mul(pragma("page_size")?.unsigned_abs()))
    }

    /// Writes the view to `file`, which must not exist; it is not synced, and what a failure leaves of it stays. Blocks: 1 GB takes
    /// some 2 s.
    pub fn write_to(self, file: &Path) -> Result<(), RowsError> {
        private::create(file).map_err(|error| file_error(file, &error))?;
        let mut to = rusqlite::Connection::open(file)?;
        to.pragma_update(None, "synchronous", "OFF")?;
        copy(&self.connection.sqlite, &mut to)?;
        // One file without companions: a snapshot is read where nothing else is written.
        let journal: String = to.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
        to.close().map_err(|(_, error)| error)?;
        if journal != "delete" {
            let message = format!("the snapshot keeps journal mode `{journal}`");
            return Err(RowsError { code: ffi::SQLITE_CANTOPEN, message });
        }
        Ok(())
    }
}

/// Whether a file is a row store of a format that this release reads, and undamaged as far as SQLite's quick check
/// sees. `extensions` has the orders in which the keys are kept. Cost: reads the whole file, 1 GB takes some 1.6 s.
pub fn quick_check(path: &Path, extensions: &Extensions) -> Result<(), OpenRowsError> {
    let failed = |error: RowsError| OpenRowsError::from_rows(path, error);
    let connection =
        Connection::open(path, Mode::Read, &StoreOptions::default(), extensions).map_err(failed)?;
    if !check_header(&connection.sqlite, path)? {
        return Err(OpenRowsError::Foreign { path: path.to_owned() });
    }
    let found: Result<String, rusqlite::Error> =
        connection.sqlite.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(what) => Err(OpenRowsError::Damaged { path: path.to_owned(), what }),
        Err(error) => Err(failed(error.into())),
    }
}

/// What a snapshot file says without being installed.
pub struct SnapshotContents {
    /// Its [`MetaKey::Applied`].
    pub applied: Option<Vec<u8>>,
    /// Its catalog records in key order.
    pub records: Vec<RecordBytes>,
}

/// Reads a snapshot file that [`quick_check`] found good.
pub fn snapshot_contents(path: &Path) -> Result<SnapshotContents, RowsError> {
    let connection = Connection::open(path, Mode::Read, &StoreOptions::default(), &Extensions::default())?;
    let applied = read_meta(&connection.sqlite, MetaKey::Applied)?;
    let records = read_records(&connection.sqlite)?;
    Ok(SnapshotContents { applied, records })
}

fn file_error(path: &Path, error: &std::io::Error) -> RowsError {
    RowsError { code: ffi::SQLITE_IOERR, message: format!("`{}`: {error}", path.display()) }
}
