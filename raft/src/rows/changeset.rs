//! What the bytes of a changeset say. Reads only: SQLite's session extension writes them, see `session`.
//!
//! The layout is documented in SQLite's `sqlite3session.c` and part of its stable file formats. For each table a header:
//! `T`, the number of columns, a byte for each that says whether it is of the key, the name with a NUL. Then its changes:
//! an operation, a byte that says whether a trigger did it, and the row before, after, or both. A value is a byte for its
//! type and its bytes; of an update only the key and what changed have one.

use std::fmt;
use std::str;

use rusqlite::ffi;
use rusqlite::types::ValueRef;

/// The bytes are no changeset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are not a changeset")
    }
}

/// A table that rows change in, as it was where they did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'c> {
    /// Its name.
    pub(super) table: &'c str,
    /// For each column, but for those that are generated, not 0 if it is of the key.
    pub(super) key: &'c [u8],
}

/// A row that changed. None in the place of a column: it is not said, because it did not change.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change<'c> {
    /// It is new.
    Insert(Vec<ValueRef<'c>>),
    /// It is gone.
    Delete(Vec<ValueRef<'c>>),
    /// It has the same key and other values.
    Update {
        /// The key, and what the others were.
        before: Vec<Option<ValueRef<'c>>>,
        /// What the others are.
        after: Vec<Option<ValueRef<'c>>>,
    },
}

/// One thing that a changeset says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item<'c> {
    /// What follows is of this table.
    Table(Header<'c>),
    /// A row of it.
    Row(Change<'c>),
}

/// Reads a changeset from its beginning.
pub(super) struct Reader<'c> {
    rest: &'c [u8],
    columns: usize,
}

impl<'c> Reader<'c> {
    pub(super) fn new(changeset: &'c [u8]) -> Self {
        Self { rest: changeset, columns: 0 }
    }

    /// The next thing. None: that was all.
    pub(super) fn next(&mut self) -> Result<Option<Item<'c>>, Malformed> {
        let Some((tag, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        if *tag == b'T' {
            return self.header().map(|header| Some(Item::Table(header)));
        }
        // Whether a trigger or a foreign key did it is all one here.
        self.take(1)?;
        let change = match i32::from(*tag) {
            ffi::SQLITE_INSERT => Change::Insert(self.whole()?),
            ffi::SQLITE_DELETE => Change::Delete(self.whole()?),
            ffi::SQLITE_UPDATE => Change::Update { before: self.record()?, after: self.record()? },
            _ => return Err(Malformed),
        };
        Ok(Some(Item::Row(change)))
    }

    fn header(&mut self) -> Result<Header<'c>, Malformed> {
        self.columns = self.length()?;
        let key = self.take(self.columns)?;
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let name = self.take(end)?;
        self.take(1)?;
        let table = str::from_utf8(name).map_err(|_| Malformed)?;
        Ok(Header { table, key })
    }

    /// A row of which every column is said.
    fn whole(&mut self) -> Result<Vec<ValueRef<'c>>, Malformed> {
        self.record()?.into_iter().map(|value| value.ok_or(Malformed)).collect()
    }

    fn record(&mut self) -> Result<Vec<Option<ValueRef<'c>>>, Malformed> {
        // No table has no column. Each value takes a byte at least, so this reserves no more than came.
        if self.columns == 0 || self.columns > self.rest.len() {
            return Err(Malformed);
        }
        (0..self.columns).map(|_| self.value()).collect()
    }

    fn value(&mut self) -> Result<Option<ValueRef<'c>>, Malformed> {
        let tag = self.take(1)?[0];
        Ok(Some(match i32::from(tag) {
            0 => return Ok(None),
            ffi::SQLITE_INTEGER => ValueRef::Integer(i64::from_be_bytes(self.word()?)),
            ffi::SQLITE_FLOAT => ValueRef::Real(f64::from_be_bytes(self.word()?)),
            ffi::SQLITE_TEXT => ValueRef::Text(self.sized()?),
            ffi::SQLITE_BLOB => ValueRef::Blob(self.sized()?),
            ffi::SQLITE_NULL => ValueRef::Null,
            _ => return Err(Malformed),
        }))
    }

    fn word(&mut self) -> Result<[u8; 8], Malformed> {
        self.take(8)?.try_into().map_err(|_| Malformed)
    }

    fn sized(&mut self) -> Result<&'c [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    /// SQLite's variable-length integer: seven bits in each byte, the highest first, another one follows if the eighth is
    /// set. A length has 31 bits.
    fn length(&mut self) -> Result<usize, Malformed> {
        let mut length: usize = 0;
        for _ in 0..5 {
            let byte = self.take(1)?[0];
            length = length << 7 | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return if length <= i32::MAX as usize { Ok(length) } else { Err(Malformed) };
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, bytes: usize) -> Result<&'c [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}
