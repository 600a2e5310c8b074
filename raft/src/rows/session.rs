//! SQLite's session extension: what a transaction changed, as bytes. What they say is read by `changeset`.
//!
//! One of the places with `unsafe` outside tests. rusqlite's own wrapper needs libclang at build time and lacks a call that
//! replication needs: the object option for tables without a declared key.
//! Nothing unsafe leaves this module: a [`Session`] borrows its connection, and every pointer that SQLite hands out
//! is copied from and freed before a function returns.
//!
//! Source: <https://www.sqlite.org/session.html>; traps: `docs/adr`, the row store.
#![allow(unsafe_code, reason = "raw calls into the session extension; each block argues why it is sound")]

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use libsqlite3_sys as ffi;
use rusqlite::Connection;

use crate::rows::RowsError;

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

fn code_error(code: c_int, what: &str) -> RowsError {
    RowsError { code, message: format!("{what}: {} (SQLite code {code})", ffi::code_to_str(code)) }
}
