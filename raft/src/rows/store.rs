//! The writer of the file.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Sequence, Table};
use rusqlite::config::DbConfig;
use rusqlite::{OptionalExtension, ffi};

use crate::config::{PINS_MAX, READERS_MAX, WRITE_TIME_MAX};
use crate::private;
use crate::rows::apply::{self, ApplyError, RowDelta, Shapes};
use crate::rows::connection::{Connection, Mode, StoreOptions};
use crate::rows::ddl::Shape;
use crate::rows::file::{
    MetaKey, OpenRowsError, RecordBytes, RecordChange, TableChecksum, add_tables, checksum, copy,
    prepare_file, read_meta, read_records,
};
use crate::rows::history::{HistoryFile, decode_row_values};
use crate::rows::reader::{Readers, SnapshotSource};
use crate::rows::session::Session;
use crate::rows::{Extensions, RowsError, Transaction, ddl};

/// What came of a capture.
#[derive(Debug, PartialEq, Eq)]
pub enum Captured<R, E> {
    /// It ran. Its changes are visible to the captures after it, until the transaction is rolled back.
    Changed(R, Vec<u8>),
    /// It said no; what it changed is undone.
    Refused(E),
    /// SQLite rolled back the whole transaction under it (a write that was cancelled, a full disk): every capture
    /// since `begin` is undone and must be made again, after a new `begin`.
    Lost(Result<R, E>),
}

fn cannot_open(path: &Path, error: &std::io::Error) -> OpenRowsError {
    let source = RowsError { code: ffi::SQLITE_CANTOPEN, message: error.to_string() };
    OpenRowsError::Failed { path: path.to_owned(), source }
}

/// The writer. Used by one thread, the machine's.
///
/// A failed write leaves its transaction open or rolled back, never half committed. After an error that
/// [`RowsError::is_fatal`] the node must stop.
pub struct Store {
    path: PathBuf,
    options: StoreOptions,
    /// What is committed is done on this one. Foreign keys never act on it.
    applies: Connection,
    /// Where statements run to see what they change, which is always taken back. Foreign keys act on it. A connection of its
    /// own, because to switch them makes SQLite prepare every statement of a connection anew.
    captures: Connection,
    /// Whether the open transaction is one of captures.
    capturing: bool,
    readers: Arc<Readers>,
    pins: Arc<Readers>,
    /// Where a table is tried before it is proposed. Undone DDL makes SQLite read its whole schema anew: here that is
    /// nothing.
    trial: Connection,
    /// Whether tables were changed in the open transaction.
    reshaped: Cell<bool>,
    /// Tables; what [`Store::apply_changeset`] compares with.
    shapes: Shapes,
}

impl Store {
    /// Opens or makes `state.db`. What a crash left is recovered by SQLite: the last transactions may be gone, each
    /// of them whole.
    pub fn open(path: &Path, extensions: &Extensions) -> Result<Self, OpenRowsError> {
        Self::open_with(StoreOptions::default(), path, extensions)
    }

    /// As [`Store::open`], with other options than the usual.
    pub fn open_with(
        options: StoreOptions,
        path: &Path,
        extensions: &Extensions,
    ) -> Result<Self, OpenRowsError> {
        // A file system of a test keeps its own files.
        if options.vfs.is_none() {
            private::open(path).map_err(|error| cannot_open(path, &error))?;
        }
        let opened = Connection::open(path, Mode::Write, &options, extensions);
        let applies = opened.map_err(|error| OpenRowsError::from_rows(path, error))?;
        prepare_file(&applies.sqlite, path)?;
        let captures = Connection::open(path, Mode::Write, &options, extensions)
            .map_err(|error| OpenRowsError::from_rows(path, error))?;
        // SQLite does not sync the name of a file that it made, and the log is purged on the word of this one.
        let directory = path.parent().unwrap_or(Path::new("."));
        let synced = File::open(directory).and_then(|opened| opened.sync_all());
        synced.map_err(|error| cannot_open(path, &error))?;
        let readers = Readers::new(path, &options, extensions, READERS_MAX);
        let pins = Readers::new(path, &options, extensions, PINS_MAX);
        let trial =
            Connection::open(Path::new(":memory:"), Mode::Trial, &StoreOptions::default(), extensions)
                .map_err(|error| OpenRowsError::from_rows(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            options,
            applies,
            captures,
            capturing: false,
            readers: Arc::new(readers),
            pins: Arc::new(pins),
            trial,
            reshaped: Cell::new(false),
            shapes: Shapes::new(),
        })
    }

    /// The pool of readers.
    pub fn readers(&self) -> Arc<Readers> {
        Arc::clone(&self.readers)
    }

    /// The pool of readers for snapshots that stay.
    pub fn pins(&self) -> Arc<Readers> {
        Arc::clone(&self.pins)
    }

    /// Begins the transaction that everything below happens in.
    pub fn begin(&mut self) -> Result<(), RowsError> {
        // SQLite may have rolled back the last one by itself.
        self.forget_tables();
        self.capturing = false;
        self.applies.execute("BEGIN IMMEDIATE")
    }

    /// Begins one for captures, in which foreign keys act. It can only be rolled back.
    pub fn begin_captures(&mut self) -> Result<(), RowsError> {
        self.forget_tables();
        self.capturing = true;
        self.captures.execute("BEGIN IMMEDIATE")?;
        // SQLite looks whether another connection changed tables when it runs a statement, and not when it prepares one.
        self.captures.sqlite.prepare_cached("SELECT 1 FROM grantd_meta")?.exists([])?;
        self.enforce_foreign_keys(true)
    }

    /// Whether foreign keys act among captures. What they did is in the changeset: where that is done again, and where a table
    /// is made anew, they must not act again.
    pub fn enforce_foreign_keys(&mut self, on: bool) -> Result<(), RowsError> {
        let sqlite = &self.captures.sqlite;
        // To set it makes SQLite prepare every statement anew.
        if sqlite.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY)? != on {
            sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, on)?;
        }
        Ok(())
    }

    /// Where the open transaction is.
    fn connection(&self) -> &Connection {
        if self.capturing { &self.captures } else { &self.applies }
    }

    /// Whether a transaction is open: begun, and neither ended nor rolled back by SQLite itself.
    pub fn is_open(&self) -> bool {
        !self.connection().sqlite.is_autocommit()
    }

    /// Begins a part of the open transaction that can be undone alone.
    pub fn savepoint(&mut self) -> Result<(), RowsError> {
        self.connection().execute("SAVEPOINT part")
    }

    /// Keeps what was done since [`Store::savepoint`].
    pub fn release(&mut self) -> Result<(), RowsError> {
        self.connection().execute("RELEASE part")
    }

    /// Undoes what was done since [`Store::savepoint`].
    pub fn undo(&mut self) -> Result<(), RowsError> {
        let reshaped = self.reshaped.get();
        self.forget_tables();
        // Perhaps before the savepoint.
        self.reshaped.set(reshaped);
        self.connection().execute("ROLLBACK TO part")?;
        self.connection().execute("RELEASE part")
    }

    /// Commits it. A crash may still take it back, whole, with all later ones: see [`Store::make_durable`].
    pub fn commit(&mut self) -> Result<(), RowsError> {
        self.applies.execute("COMMIT")?;
        self.reshaped.set(false);
        Ok(())
    }

    /// Undoes it. Nothing to do if SQLite already has.
    pub fn rollback(&mut self) -> Result<(), RowsError> {
        self.forget_tables();
        let connection = self.connection();
        if connection.sqlite.is_autocommit() { Ok(()) } else { connection.execute("ROLLBACK") }
    }

    /// Makes everything that was committed before survive a crash. Cost: one sync of the disk. Before the log may
    /// be purged.
    pub fn make_durable(&mut self) -> Result<(), RowsError> {
        // A commit under FULL syncs the write-ahead log, and with it every frame before.
        self.applies.sqlite.pragma_update(None, "synchronous", "FULL")?;
        let written = self.applies.sqlite.execute_batch(
            "BEGIN IMMEDIATE;
             INSERT INTO grantd_meta VALUES ('synced', x'00')
                 ON CONFLICT DO UPDATE SET value = iif(value = x'00', x'01', x'00');
             COMMIT",
        );
        if written.is_err() && !self.applies.sqlite.is_autocommit() {
            self.applies.execute("ROLLBACK")?;
        }
        self.applies.sqlite.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(written?)
    }

    /// Writes and removes catalog records. One statement for all: GRANT on all tables of a schema changes thousands.
    pub fn write_records(&mut self, changes: &[RecordChange]) -> Result<(), RowsError> {
        let sqlite = &self.connection().sqlite;
        let mut put = sqlite.prepare_cached(
            "INSERT INTO grantd_record VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
        )?;
        for (key, value) in changes {
            match value {
                Some(value) => put.execute((key, value))?,
                None => sqlite.prepare_cached("DELETE FROM grantd_record WHERE key = ?1")?.execute([key])?,
            };
        }
        Ok(())
    }

    /// All catalog records in key order.
    pub fn records(&self) -> Result<Vec<RecordBytes>, RowsError> {
        read_records(&self.connection().sqlite)
    }

    /// Writes a fact about the file.
    pub fn put_meta(&mut self, key: MetaKey, value: &[u8]) -> Result<(), RowsError> {
        let mut statement = self.connection().sqlite.prepare_cached(
            "INSERT INTO grantd_meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
        )?;
        statement.execute((key.as_str(), value))?;
        Ok(())
    }

    /// A fact about the file.
    pub fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, RowsError> {
        read_meta(&self.connection().sqlite, key)
    }

    /// Keeps a stage of a transaction until it takes effect.
    pub fn put_stage(&mut self, number: u64, stage: u32, parts: &[u8]) -> Result<(), RowsError> {
        // SQLite's integers are signed; the number comes back as it went in.
        let mut put =
            self.connection().sqlite.prepare_cached("INSERT INTO grantd_staged VALUES (?1, ?2, ?3)")?;
        put.execute((stage, number.cast_signed(), parts))?;
        Ok(())
    }

    /// A stage that was kept, and the number of its transaction.
    pub fn stage(&self, stage: u32) -> Result<Option<(u64, Vec<u8>)>, RowsError> {
        let mut get = self
            .connection()
            .sqlite
            .prepare_cached("SELECT number, parts FROM grantd_staged WHERE stage = ?1")?;
        let found = get.query_row([stage], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?)));
        Ok(found.optional()?)
    }

    /// How many stages are kept.
    pub fn stages(&self) -> Result<u32, RowsError> {
        let mut count = self.connection().sqlite.prepare_cached("SELECT count(*) FROM grantd_staged")?;
        Ok(count.query_row([], |row| row.get(0))?)
    }

    /// Drops all stages.
    pub fn clear_stages(&mut self) -> Result<(), RowsError> {
        self.connection().execute("DELETE FROM grantd_staged")
    }

    /// Makes the table of an object that has no foreign keys.
    pub fn create_table(&mut self, id: ObjectId, table: &Table) -> Result<(), RowsError> {
        self.run(&Shape::alone(id, table).create())
    }

    /// Whether SQLite takes a table. Nothing is made. Cost: that of the table alone, whatever else there is.
    pub fn try_table(&self, shape: &Shape) -> Result<(), RowsError> {
        self.trial.sqlite.execute_batch("BEGIN")?;
        let made = self.trial.sqlite.execute_batch(&shape.create());
        if !self.trial.sqlite.is_autocommit() {
            self.trial.sqlite.execute_batch("ROLLBACK")?;
        }
        Ok(made?)
    }

    /// Makes the table of a sequence, with its row.
    pub fn create_sequence(&mut self, id: ObjectId, sequence: &Sequence) -> Result<(), RowsError> {
        self.create_table(id, &ddl::sequence_table())?;
        self.execute(&ddl::sequence_row(id, sequence))
    }

    /// Puts rows into a table that nobody has seen yet, all or, where the transaction is rolled back, none. `replaces`: in the
    /// place of what is there. Foreign keys do not act: what they refer to may come later.
    pub fn fill(&mut self, id: ObjectId, rows: &[u8], replaces: bool) -> Result<(), ApplyError> {
        let table = ddl::table_name(id);
        let rows = decode_row_values(rows).map_err(|_| ApplyError::Malformed)?;
        if replaces {
            self.execute(&format!("DELETE FROM {}", ddl::quote(&table))).map_err(ApplyError::Failed)?;
        }
        let connection = if self.capturing { &self.captures } else { &self.applies };
        apply::fill(&connection.sqlite, &mut self.shapes, &table, &rows)
    }

    /// Drops the table of an object. Cost: grows with its rows.
    pub fn drop_table(&mut self, id: ObjectId) -> Result<(), RowsError> {
        self.forget_shape(&ddl::table_name(id));
        self.run(&ddl::drop_table(id))
    }

    /// Applies what [`Store::capture`] took on this node or another, and shows each row that it changes. An error means that
    /// this replica differs from the one that captured, or that its disk fails: the transaction is to be rolled back, and
    /// the node must stop.
    pub fn apply_changeset(
        &mut self,
        changeset: &[u8],
        seen: &mut dyn FnMut(RowDelta) -> Result<(), RowsError>,
    ) -> Result<(), ApplyError> {
        let connection = if self.capturing { &self.captures } else { &self.applies };
        apply::apply(&connection.sqlite, &mut self.shapes, changeset, seen)
    }

    /// [`Self::apply_changeset`], for who keeps what it is shown in the history.
    pub fn apply_and_keep(
        &mut self,
        changeset: &[u8],
        seen: &mut dyn FnMut(&HistoryFile<'_>, RowDelta) -> Result<(), RowsError>,
    ) -> Result<(), ApplyError> {
        let sqlite = &self.applies.sqlite;
        let history = HistoryFile::new(sqlite);
        apply::apply(sqlite, &mut self.shapes, changeset, &mut |row| seen(&history, row))
    }

    /// Forgets what tables are, if they were changed and that is undone.
    fn forget_tables(&mut self) {
        if self.reshaped.replace(false) {
            self.shapes.clear();
            self.connection().forget();
        }
    }

    /// Runs statements of the row store's own that change tables, once.
    pub(super) fn run(&self, sql: &str) -> Result<(), RowsError> {
        self.reshaped.set(true);
        Ok(self.connection().sqlite.execute_batch(sql)?)
    }

    /// Whether a query of the row store's own has a row.
    pub(super) fn has_row(&self, sql: &str) -> Result<bool, RowsError> {
        Ok(self.connection().sqlite.prepare(sql)?.exists([])?)
    }

    /// The table is another from now on.
    pub(super) fn forget_shape(&mut self, table: &str) {
        self.shapes.remove(table);
    }

    /// Runs statements of a client in the open transaction and takes what they changed.
    ///
    /// They may take [`WRITE_TIME_MAX`] together.
    ///
    /// Refused: undone by itself, the captures before stay. The caller rolls the transaction back when it has all
    /// changesets. Errors: only of the disk or of use outside a transaction.
    pub fn capture<R, E>(
        &mut self,
        run: impl FnOnce(&mut dyn Transaction) -> Result<R, E>,
    ) -> Result<Captured<R, E>, RowsError> {
        let connection = self.connection();
        if connection.sqlite.is_autocommit() {
            let message = "a capture needs an open transaction".to_owned();
            return Err(RowsError { code: ffi::SQLITE_MISUSE, message });
        }
        connection.execute("SAVEPOINT item")?;
        let mut session = Session::attach(&connection.sqlite)?;
        let outcome = run(&mut connection.client_within(WRITE_TIME_MAX));
        if connection.sqlite.is_autocommit() {
            return Ok(Captured::Lost(outcome));
        }
        match outcome {
            Ok(result) => {
                let changeset = session.changeset()?;
                drop(session);
                connection.execute("RELEASE item")?;
                Ok(Captured::Changed(result, changeset))
            }
            Err(refused) => {
                drop(session);
                connection.execute("ROLLBACK TO item")?;
                connection.execute("RELEASE item")?;
                Ok(Captured::Refused(refused))
            }
        }
    }

    /// Checksums of the catalog records and of each table.
    pub fn checksum(&self) -> Result<(u32, Vec<TableChecksum>), RowsError> {
        checksum(&self.connection().sqlite)
    }

    /// A consistent view of the file as it is now, for a snapshot: later writes do not wait for it and are not in it.
    pub fn snapshot_source(&self) -> Result<SnapshotSource, RowsError> {
        SnapshotSource::begin(&self.path, &self.options)
    }

    /// Copies everything as it is now into `file`: see [`SnapshotSource::write_to`].
    pub fn backup_to(&self, file: &Path) -> Result<(), RowsError> {
        self.snapshot_source()?.write_to(file)
    }

    /// Replaces the whole content by that of a snapshot file, in one transaction, durably. Readers keep what they
    /// see until they are done. Not inside a transaction. The caller has checked the file: see [`crate::rows::quick_check`].
    pub fn install(&mut self, file: &Path) -> Result<(), RowsError> {
        self.shapes.clear();
        for connection in [&self.applies, &self.captures] {
            connection.forget();
            connection.sqlite.flush_prepared_statement_cache();
        }
        self.applies.sqlite.pragma_update(None, "synchronous", "FULL")?;
        let copied = Connection::open(file, Mode::Read, &self.options, &Extensions::default())
            .and_then(|from| copy(&from.sqlite, &mut self.applies.sqlite))
            .and_then(|()| add_tables(&self.applies.sqlite));
        self.applies.sqlite.pragma_update(None, "synchronous", "NORMAL")?;
        copied
    }

    pub(super) fn sqlite(&self) -> &rusqlite::Connection {
        &self.connection().sqlite
    }

    fn execute(&self, sql: &str) -> Result<(), RowsError> {
        Ok(self.connection().sqlite.execute_batch(sql)?)
    }
}
