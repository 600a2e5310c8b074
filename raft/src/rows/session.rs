//! SQLite's session extension: what a transaction changed as bytes, and those bytes applied to another database.
//!
//! One of the two places with `unsafe` outside tests; the other is `virtual_table`. rusqlite's own wrapper needs
//! libclang at build time and lacks the two calls that replication needs: the object option for tables without a
//! declared key, and the flags of apply.
//! Nothing unsafe leaves this module: a [`Session`] borrows its connection, and every pointer that SQLite hands out
//! is copied from and freed before a function returns.
//!
//! Source: <https://www.sqlite.org/session.html>; traps: `docs/adr`, the row store.
#![allow(unsafe_code, reason = "raw calls into the session extension; each block argues why it is sound")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use libsqlite3_sys as ffi;
use rusqlite::Connection;

use crate::rows::RowsError;

/// Why a changeset was not applied. Every one of them means that this database is not the one that the changeset was
/// made upon, so a replica that meets one must stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The bytes are no changeset.
    #[error("the bytes are not a changeset: SQLite code {code}")]
    Malformed {
        /// SQLite's extended result code.
        code: i32,
    },
    /// It changes a table that is not here, or one of another shape. SQLite itself would skip it in silence.
    #[error("the changeset changes table `{table}` with {columns} columns, but here it {here}")]
    Shape {
        /// The table.
        table: String,
        /// Columns in the changeset.
        columns: usize,
        /// What is here.
        here: String,
    },
    /// A row is not what it was where the changeset was made.
    #[error("a row of table `{table}` differs from where the changeset was made: {conflict}")]
    Conflict {
        /// The table.
        table: String,
        /// Which conflict SQLite saw.
        conflict: &'static str,
    },
    /// SQLite failed: full disk, failed read.
    #[error("the changeset was not applied: {0}")]
    Failed(#[source] RowsError),
}

/// Records what changes in one connection from its creation until it is dropped.
pub(super) struct Session<'c> {
    raw: *mut ffi::sqlite3_session,
    connection: PhantomData<&'c Connection>,
}

impl<'c> Session<'c> {
    /// Attached to every table.
    pub(super) fn attach(connection: &'c Connection) -> Result<Self, RowsError> {
        let mut raw = ptr::null_mut();
        // SAFETY: the handle is open for as long as `connection` is borrowed, which is longer than the session
        // lives; the name is a C string; `raw` is a valid place for the result.
        let code = unsafe { ffi::sqlite3session_create(connection.handle(), c"main".as_ptr(), &raw mut raw) };
        if code != ffi::SQLITE_OK {
            return Err(code_error(code, "a session could not be created"));
        }
        let session = Self { raw, connection: PhantomData };
        let mut on: c_int = 1;
        // SAFETY: `raw` is the session just made; this option reads and writes one int.
        let code = unsafe {
            ffi::sqlite3session_object_config(
                session.raw,
                ffi::SQLITE_SESSION_OBJCONFIG_ROWID,
                (&raw mut on).cast::<c_void>(),
            )
        };
        if code != ffi::SQLITE_OK {
            return Err(code_error(code, "a session could not be told to record every table"));
        }
        // SAFETY: a null name means every table.
        let code = unsafe { ffi::sqlite3session_attach(session.raw, ptr::null()) };
        if code != ffi::SQLITE_OK {
            return Err(code_error(code, "a session could not be attached"));
        }
        Ok(session)
    }

    /// What changed so far. Empty if nothing did.
    pub(super) fn changeset(&mut self) -> Result<Vec<u8>, RowsError> {
        let mut len: c_int = 0;
        let mut bytes: *mut c_void = ptr::null_mut();
        // SAFETY: `raw` lives; both places are valid for the results.
        let code = unsafe { ffi::sqlite3session_changeset(self.raw, &raw mut len, &raw mut bytes) };
        if code != ffi::SQLITE_OK {
            return Err(code_error(code, "the changes of a transaction could not be collected"));
        }
        let len = usize::try_from(len).unwrap_or(0);
        let copy = if bytes.is_null() || len == 0 {
            Vec::new()
        } else {
            // SAFETY: SQLite returned a buffer of `len` bytes that is ours until it is freed below.
            unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), len) }.to_vec()
        };
        // SAFETY: allocated by SQLite, or null, and not used again.
        unsafe { ffi::sqlite3_free(bytes) };
        Ok(copy)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `sqlite3session_create`, deleted once, while its connection is still open.
        unsafe { ffi::sqlite3session_delete(self.raw) };
    }
}

/// A table that a changeset changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChangedTable {
    /// Its columns.
    pub(super) columns: usize,
    /// For each column whether it is part of the key.
    pub(super) key: Vec<bool>,
}

/// The tables that `changeset` changes. Cost: reads all of it.
pub(super) fn changed_tables(changeset: &[u8]) -> Result<BTreeMap<String, ChangedTable>, ApplyError> {
    let malformed = |code| ApplyError::Malformed { code };
    let len = c_int::try_from(changeset.len()).map_err(|_| malformed(ffi::SQLITE_TOOBIG))?;
    let mut iterator = ptr::null_mut();
    // SAFETY: the buffer is valid for `len` bytes and outlives the iterator; SQLite does not write to it.
    let code = unsafe {
        ffi::sqlite3changeset_start(&raw mut iterator, len, changeset.as_ptr().cast_mut().cast::<c_void>())
    };
    if code != ffi::SQLITE_OK {
        return Err(malformed(code));
    }
    let mut tables = BTreeMap::new();
    let walked = walk(iterator, &mut tables);
    // SAFETY: made above, finalized once. It repeats an error that `next` met.
    let code = unsafe { ffi::sqlite3changeset_finalize(iterator) };
    walked.map_err(malformed)?;
    if code == ffi::SQLITE_OK { Ok(tables) } else { Err(malformed(code)) }
}

fn walk(
    iterator: *mut ffi::sqlite3_changeset_iter,
    tables: &mut BTreeMap<String, ChangedTable>,
) -> Result<(), c_int> {
    loop {
        // SAFETY: the iterator is open.
        match unsafe { ffi::sqlite3changeset_next(iterator) } {
            ffi::SQLITE_ROW => {}
            ffi::SQLITE_DONE => return Ok(()),
            code => return Err(code),
        }
        let (mut name, mut columns, mut operation, mut indirect) = (ptr::null(), 0, 0, 0);
        // SAFETY: the iterator is on a change; all four places are valid.
        let code = unsafe {
            ffi::sqlite3changeset_op(
                iterator,
                &raw mut name,
                &raw mut columns,
                &raw mut operation,
                &raw mut indirect,
            )
        };
        if code != ffi::SQLITE_OK {
            return Err(code);
        }
        // SAFETY: a C string that lives until the iterator moves on; copied here.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        if tables.contains_key(&name) {
            continue;
        }
        let (mut key, mut count) = (ptr::null_mut(), 0);
        // SAFETY: as above; `key` points to `count` bytes that live as long as the iterator.
        let code = unsafe { ffi::sqlite3changeset_pk(iterator, &raw mut key, &raw mut count) };
        if code != ffi::SQLITE_OK {
            return Err(code);
        }
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: see above.
        let key = unsafe { std::slice::from_raw_parts(key, count) }.iter().map(|flag| *flag != 0).collect();
        tables.insert(name, ChangedTable { columns: usize::try_from(columns).unwrap_or(0), key });
    }
}

/// Applies `changeset`. Any conflict ends it and undoes what it did.
///
/// Foreign keys do not act: what they did where the changeset was made is in it. Triggers are off by the connection's
/// configuration. That the tables exist in their shape is the caller's to check: see [`changed_tables`].
pub(super) fn apply(connection: &Connection, changeset: &[u8]) -> Result<(), ApplyError> {
    let len =
        c_int::try_from(changeset.len()).map_err(|_| ApplyError::Malformed { code: ffi::SQLITE_TOOBIG })?;
    let mut met: Option<(String, &'static str)> = None;
    // SAFETY: the handle is open while `connection` is borrowed; the buffer is valid for `len` bytes and only read;
    // `met` outlives the call and only the callback, on this thread, writes to it; no rebase buffer is asked for.
    let code = unsafe {
        ffi::sqlite3changeset_apply_v2(
            connection.handle(),
            len,
            changeset.as_ptr().cast_mut().cast::<c_void>(),
            None,
            Some(refuse_conflict),
            (&raw mut met).cast::<c_void>(),
            ptr::null_mut(),
            ptr::null_mut(),
            // Not FKNOACTION: with it SQLite forgets its schema before and after, and reads it anew. Foreign keys are off
            // on a connection that applies.
            0,
        )
    };
    match (code, met) {
        (ffi::SQLITE_OK, None) => Ok(()),
        (_, Some((table, conflict))) => Err(ApplyError::Conflict { table, conflict }),
        (code, None) if code & 0xff == ffi::SQLITE_CORRUPT => Err(ApplyError::Malformed { code }),
        (code, None) => Err(ApplyError::Failed(code_error(code, "SQLite refused it"))),
    }
}

/// Whether a foreign key is violated now that SQLite would look at only when the transaction is committed. A capture never
/// is: it is rolled back.
pub(super) fn violates_deferred_keys(connection: &Connection) -> bool {
    let (mut current, mut highest) = (0, 0);
    // SAFETY: the handle is open while `connection` is borrowed; both places are valid for the results.
    let code = unsafe {
        ffi::sqlite3_db_status(
            connection.handle(),
            ffi::SQLITE_DBSTATUS_DEFERRED_FKS,
            &raw mut current,
            &raw mut highest,
            0,
        )
    };
    // It fails for unknown questions only. Then nothing is let through.
    code != ffi::SQLITE_OK || current != 0
}

/// SQLite calls this for every change that does not fit. The answer is always the same.
unsafe extern "C" fn refuse_conflict(
    context: *mut c_void,
    conflict: c_int,
    iterator: *mut ffi::sqlite3_changeset_iter,
) -> c_int {
    // A panic must not cross into C.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let conflict = match conflict {
            ffi::SQLITE_CHANGESET_DATA => "its values differ",
            ffi::SQLITE_CHANGESET_NOTFOUND => "it is missing",
            ffi::SQLITE_CHANGESET_CONFLICT => "its key is taken",
            ffi::SQLITE_CHANGESET_CONSTRAINT => "a constraint forbids it",
            ffi::SQLITE_CHANGESET_FOREIGN_KEY => "a foreign key forbids it",
            _ => "an unknown conflict",
        };
        let mut name: *const c_char = ptr::null();
        let (mut columns, mut operation, mut indirect) = (0, 0, 0);
        // SAFETY: SQLite passes an iterator on the change in question, except for foreign keys, where asking for
        // the operation is answered with an error and leaves `name` null.
        let code = unsafe {
            ffi::sqlite3changeset_op(
                iterator,
                &raw mut name,
                &raw mut columns,
                &raw mut operation,
                &raw mut indirect,
            )
        };
        let table = if code == ffi::SQLITE_OK && !name.is_null() {
            // SAFETY: a C string that lives during this call; copied.
            unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
        } else {
            String::new()
        };
        // SAFETY: `context` is the `met` of `apply`, which waits for this call.
        unsafe { *context.cast::<Option<(String, &'static str)>>() = Some((table, conflict)) };
    }));
    ffi::SQLITE_CHANGESET_ABORT
}

fn code_error(code: c_int, what: &str) -> RowsError {
    RowsError { code, message: format!("{what}: {} (SQLite code {code})", ffi::code_to_str(code)) }
}
