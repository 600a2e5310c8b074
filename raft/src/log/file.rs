//! Opens `raft.db`, reads it, and checks all of it before anything trusts it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bincode::Decode;
use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension, ffi};
use tokio::sync::mpsc;

use crate::codec::{self, CodecError, Kind};
use crate::log::{FailureHandler, LogStore, Memory, QUEUE_MAX, Shared, next_index, wal, writer};
use crate::memory;
use crate::private;
use crate::types::{LogEntry, LogEntryV1, LogId, LogIdV1, VoteV1};

/// The layout of the file that this release writes, in its `user_version`, and the format of its records.
const FORMAT: i64 = 1;
/// The format of each record and meta value.
pub(super) const RECORD_FORMAT: u16 = 1;
/// `grlg`, in the file's `application_id`.
const APPLICATION_ID: i64 = 0x6772_6c67;
/// Rows that a reader takes between two looks at its byte limit.
const READ_ROWS: u32 = 1_024;

/// How to open a log.
#[derive(Clone)]
pub struct OpenOptions {
    /// What to do when it cannot be written any more.
    pub on_failure: FailureHandler,
    /// A registered SQLite file system; none: the system's. How tests give it a disk that fails.
    pub vfs: Option<String>,
    /// Pages of write-ahead log after which the thread that commits moves them into the file: some 4 MiB.
    pub checkpoint_pages: i32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { on_failure: Arc::new(abort), vfs: None, checkpoint_pages: 1_000 }
    }
}

/// L3. Not an exit code from main: nothing may run on, least of all what would answer a client.
fn abort(error: &io::Error) {
    tracing::error!(
        %error,
        "the log cannot be written and the node stops; make room on its disk, or repair it, then start the node again"
    );
    std::process::abort();
}

/// Why a log is not opened. What was acknowledged may be missing, so the node must not take part.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// Another program's file.
    #[error("`{path}` is not a log of grantd; move it away, or choose another data directory")]
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
    /// An entry, or what is said about the entries, is damaged.
    #[error(
        "`{path}` is damaged at {place}: {what}; this node may have lost what it acknowledged: remove it from the \
         cluster with `grantd node remove`, then join again with an empty directory and a new id"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// `entry 17`, `the vote`.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// It cannot be opened, read or written.
    #[error("`{path}` cannot be opened: {what}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// SQLite's or the system's words.
        what: String,
    },
}

/// Opens or makes the log in the file `path`. Reads all of it: some 1 s for 1 GB.
///
/// The caller holds the directory's lock. What a crash left of a transaction that was not reported complete is
/// undone.
pub fn open(path: &Path, options: OpenOptions) -> Result<LogStore, OpenLogError> {
    check_write_ahead_log(path)?;
    let opener = Opener { path: path.to_owned(), vfs: options.vfs.clone() };
    // A file system of a test keeps its own files.
    if options.vfs.is_none() {
        private::open(path).map_err(|error| opener.failed(error.to_string()))?;
    }
    let connection = opener.writer(options.checkpoint_pages)?;
    let memory = opener.load(&connection)?;
    // SQLite does not sync the name of a file that it made.
    let directory = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|opened| opened.sync_all());
    synced.map_err(|error| opener.failed(error.to_string()))?;

    let (jobs, queue) = mpsc::channel(QUEUE_MAX);
    let reader = Reader { opener, connection: None };
    let shared = Arc::new(Shared {
        path: path.to_owned(),
        memory: Mutex::new(memory),
        reader: Mutex::new(reader),
        thread: Mutex::new(None),
    });
    let thread = writer::start(connection, queue, Arc::clone(&shared), options.on_failure);
    let thread =
        thread.map_err(|error| OpenLogError::Failed { path: path.to_owned(), what: error.to_string() })?;
    *shared.thread.lock().expect("new") = Some(thread);
    Ok(LogStore { shared, jobs })
}

fn check_write_ahead_log(path: &Path) -> Result<(), OpenLogError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let wal_path = PathBuf::from(name);
    let bytes = match std::fs::read(&wal_path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OpenLogError::Failed { path: wal_path, what: error.to_string() }),
    };
    match wal::damaged_frame(&bytes) {
        None => Ok(()),
        Some(frame) => Err(OpenLogError::Damaged {
            path: wal_path,
            place: format!("frame {frame}"),
            what: "its checksum is wrong, and later transactions follow it".to_owned(),
        }),
    }
}

struct Opener {
    path: PathBuf,
    vfs: Option<String>,
}

impl Opener {
    fn failed(&self, what: String) -> OpenLogError {
        OpenLogError::Failed { path: self.path.clone(), what }
    }

    fn damaged(&self, place: impl Into<String>, what: impl ToString) -> OpenLogError {
        OpenLogError::Damaged { path: self.path.clone(), place: place.into(), what: what.to_string() }
    }

    fn sqlite(&self, place: &str, error: &rusqlite::Error) -> OpenLogError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                self.damaged(place, error)
            }
            _ => self.failed(format!("{place}: {error}")),
        }
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection, OpenLogError> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
        // Its statements are not clients', but SQLite takes an allocator only before anything else.
        memory::install().map_err(|code| self.failed(format!("SQLite's allocator: code {code}")))?;
        let opened = match &self.vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(&self.path, flags, vfs.as_str()),
            None => Connection::open_with_flags(&self.path, flags),
        };
        opened.map_err(|error| self.sqlite("the file", &error))
    }

    fn writer(&self, checkpoint_pages: i32) -> Result<Connection, OpenLogError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let prepared = (|| {
            connection.pragma_update(None, "trusted_schema", false)?;
            let journal: String =
                connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "wal_autocheckpoint", checkpoint_pages)?;
            Ok(journal)
        })();
        match prepared.map_err(|error| self.sqlite("the file", &error))?.as_str() {
            "wal" => {}
            journal => return Err(self.failed(format!("its journal mode is `{journal}` and not `wal`"))),
        }
        self.prepare_file(&connection).map(|()| connection)
    }

    fn prepare_file(&self, connection: &Connection) -> Result<(), OpenLogError> {
        let pragma = |name: &str| -> Result<i64, OpenLogError> {
            let value = connection.pragma_query_value(None, name, |row| row.get(0));
            value.map_err(|error| self.sqlite("the file", &error))
        };
        match (pragma("application_id")?, pragma("user_version")?, pragma("schema_version")?) {
            (0, 0, 0) => {
                let made = connection.execute_batch(&format!(
                    "BEGIN IMMEDIATE;
                     CREATE TABLE log (idx INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;
                     CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
                     PRAGMA application_id = {APPLICATION_ID};
                     PRAGMA user_version = {FORMAT};
                     COMMIT"
                ));
                made.map_err(|error| self.sqlite("the file", &error))?;
            }
            (APPLICATION_ID, found, _) if found > FORMAT => {
                return Err(OpenLogError::NewerFormat { path: self.path.clone(), found });
            }
            (APPLICATION_ID, _, _) => {}
            _ => return Err(OpenLogError::Foreign { path: self.path.clone() }),
        }
        // Empties the write-ahead log, so that no remains of an interrupted transaction stay behind the next ones:
        // `wal` relies on it. Nobody else has the file open.
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        emptied.map_err(|error| self.sqlite("the file", &error))
    }

    fn meta<T: Decode<()>>(
        &self,
        connection: &Connection,
        key: &str,
        kind: Kind,
    ) -> Result<Option<T>, OpenLogError> {
        let value: Option<Vec<u8>> = connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(|error| self.sqlite(key, &error))?;
        let decoded = value.map(|value| codec::open_value(kind, RECORD_FORMAT, &value)).transpose();
        decoded.map_err(|error| match error {
            CodecError::NewerFormat { found, .. } => {
                OpenLogError::NewerFormat { path: self.path.clone(), found: i64::from(found) }
            }
            error => self.damaged(format!("`{key}`"), error),
        })
    }

    /// Counts this opening, durably: two never have the same number.
    fn count_boot(&self, connection: &Connection) -> Result<u64, OpenLogError> {
        let last: Option<u64> = self.meta(connection, "boot", Kind::Boot)?;
        let boot = last.unwrap_or_default() + 1;
        let written = connection.execute(
            "INSERT INTO meta VALUES ('boot', ?1) ON CONFLICT DO UPDATE SET value = excluded.value",
            [codec::seal_value(Kind::Boot, RECORD_FORMAT, &boot)],
        );
        written.map_err(|error| self.sqlite("`boot`", &error))?;
        Ok(boot)
    }

    /// Reads and checks everything; the newest entries stay in memory.
    fn load(&self, connection: &Connection) -> Result<Memory, OpenLogError> {
        let purged: Option<LogIdV1> = self.meta(connection, "purged", Kind::LogId)?;
        let committed: Option<LogIdV1> = self.meta(connection, "committed", Kind::LogId)?;
        let vote: Option<VoteV1> = self.meta(connection, "vote", Kind::Vote)?;
        let mut memory = Memory {
            identity: self.meta(connection, "identity", Kind::Identity)?,
            boot: self.count_boot(connection)?,
            vote: vote.map(Into::into),
            committed: committed.map(Into::into),
            purged: purged.map(Into::into),
            last: purged.map(Into::into),
            tail: std::collections::VecDeque::new(),
            tail_bytes: 0,
            flushed: u64::MAX,
            failed: None,
        };
        // What is below `purged` counts as gone: a purge that was interrupted between two slices goes on later.
        let mut statement = connection
            .prepare("SELECT idx, record FROM log WHERE idx >= ?1 ORDER BY idx")
            .map_err(|error| self.sqlite("the entries", &error))?;
        let first = sql_index(memory.first());
        let mut rows = statement.query([first]).map_err(|error| self.sqlite("the entries", &error))?;
        loop {
            let expected = next_index(memory.last.as_ref());
            let place = format!("entry {expected}");
            let row = rows.next().map_err(|error| self.sqlite(&place, &error))?;
            let Some(row) = row else { break };
            let read = (|| Ok((row.get::<_, i64>(0)?, row.get_ref(1)?.as_blob()?)))();
            let (index, record) = read.map_err(|error: rusqlite::Error| self.sqlite(&place, &error))?;
            let entry = self.check_entry(&memory, expected, index, record)?;
            memory.push(entry);
            memory.trim();
        }
        if let Some(committed) = memory.committed
            && memory.last.is_none_or(|last| last.index < committed.index)
        {
            let what = format!("it ends before entry {}, which was committed", committed.index);
            return Err(self.damaged("its end", what));
        }
        memory.flushed = next_index(memory.last.as_ref());
        Ok(memory)
    }

    fn check_entry(
        &self,
        memory: &Memory,
        expected: u64,
        index: i64,
        record: &[u8],
    ) -> Result<LogEntry, OpenLogError> {
        let place = format!("entry {expected}");
        // The first entry of all may have any index: a node that came up through a snapshot has a purged id.
        let index = u64::try_from(index).map_err(|_| self.damaged(&place, "a negative index"))?;
        if index != expected {
            return Err(self.damaged(&place, format!("it is missing; the next one is {index}")));
        }
        let entry = decode_entry(record).map_err(|what| self.damaged(&place, what))?;
        if entry.log_id.index != index {
            return Err(self.damaged(&place, format!("it says that it is entry {}", entry.log_id.index)));
        }
        if memory.last.is_some_and(|last| last.leader_id > entry.log_id.leader_id) {
            return Err(self.damaged(&place, "its term is lower than that of the entry before"));
        }
        Ok(entry)
    }
}

/// Reads entries that are not in memory any more. Opened when first needed.
pub(super) struct Reader {
    opener: Opener,
    connection: Option<Connection>,
}

impl Reader {
    /// Entries of `[start, end)` up to `bytes_max` but at least one, if there are any. They are checked again: the
    /// disk may have changed under a running node.
    pub(super) fn entries(&mut self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.opener.connect(OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(io::Error::other)?,
        };
        let read = self.read(&connection, start, end, bytes_max);
        self.connection = Some(connection);
        read
    }

    /// Closes the file.
    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    fn read(
        &self,
        connection: &Connection,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<LogEntry>> {
        let failed = |error: rusqlite::Error| io::Error::other(self.opener.sqlite("reading entries", &error));
        let mut statement = connection
            .prepare_cached("SELECT idx, record FROM log WHERE idx >= ?1 AND idx < ?2 ORDER BY idx LIMIT ?3")
            .map_err(failed)?;
        let mut rows = statement.query((sql_index(start), sql_index(end), READ_ROWS)).map_err(failed)?;
        let (mut entries, mut bytes): (Vec<LogEntry>, usize) = (Vec::new(), 0);
        while let Some(row) = rows.next().map_err(failed)? {
            let index: i64 = row.get(0).map_err(failed)?;
            let record = row.get_ref(1).map_err(failed)?.as_blob().map_err(|error| failed(error.into()))?;
            bytes += record.len();
            if !entries.is_empty() && bytes > bytes_max {
                break;
            }
            let entry = decode_entry(record)
                .map_err(|what| io::Error::other(self.opener.damaged(format!("entry {index}"), what)))?;
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// A record of the file.
pub(super) fn encode_entry(entry: &LogEntry) -> Bytes {
    codec::seal_value(Kind::LogRecord, RECORD_FORMAT, &LogEntryV1::from(entry)).into()
}

fn decode_entry(record: &[u8]) -> Result<LogEntry, String> {
    let decoded: LogEntryV1 =
        codec::open_value(Kind::LogRecord, RECORD_FORMAT, record).map_err(|error| error.to_string())?;
    decoded.into_entry().map_err(|error| error.to_string())
}

/// A meta value.
pub(super) fn encode_log_id(id: &LogId) -> Vec<u8> {
    codec::seal_value(Kind::LogId, RECORD_FORMAT, &LogIdV1::from(id))
}

/// SQLite's integers are signed. An index beyond them cannot be reached by counting; it stands for "no end".
pub(super) fn sql_index(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// SQLite's words for an error, with its code: what an operator can look up. Without words of its own SQLite's message
/// is that of the code.
pub(super) fn describe(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            let (message, code) = (error.to_string(), failure.extended_code);
            match ffi::code_to_str(code) {
                words if words.eq_ignore_ascii_case(&message) => format!("{message} (code {code})"),
                words => format!("{message} ({words}, code {code})"),
            }
        }
        error => error.to_string(),
    }
}
