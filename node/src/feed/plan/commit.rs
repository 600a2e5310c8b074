//! One commit, put together: what became of each row in all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::Refusal;
use grantd_raft::rows::{Cause, RowRecord, Value};

use super::{Change, RowVersion};
use crate::feed::shape::Shape;

/// The commit that is being read.
#[derive(Default)]
pub(super) struct Commit {
    pub time: Timestamp,
    /// In the order in which rows were touched first.
    rows: Vec<Touched>,
    /// Where a row is, by table and key; made with the second row, as most commits have one.
    by_key: HashMap<(usize, Vec<u8>), usize>,
    pub bytes: usize,
    /// Tables that are written anew, and whose rows are sent again.
    pub backfilled: BTreeSet<usize>,
    /// Tables whose rows are to be scanned as of this commit.
    pub scans: BTreeSet<usize>,
    /// The feed ends before this commit.
    pub end: Option<Refusal>,
}

struct Touched {
    target: usize,
    before: Option<RowVersion>,
    after: Option<RowVersion>,
    /// By a statement, and not only by another shape of the table.
    changed: bool,
}

impl Commit {
    /// What became of a row of a table that was of this shape.
    pub fn put(&mut self, target: usize, shape: &Arc<Shape>, record: RowRecord) {
        // The table is gone at the end of the commit, and the feed with it.
        if record.cause == Cause::Dropped {
            return;
        }
        let Some(row) = record.before.as_ref().or(record.after.as_ref()) else { return };
        let key = (target, key_of(shape, row));
        self.bytes += key.1.len() + row.iter().map(length).sum::<usize>();
        let version = |row| RowVersion { shape: Arc::clone(shape), row };
        let after = record.after.map(version);
        let changed = record.cause == Cause::Changed;
        match self.by_key.get(&key) {
            Some(at) => {
                let touched = &mut self.rows[*at];
                touched.after = after;
                touched.changed |= changed;
            }
            None => {
                self.by_key.insert(key, self.rows.len());
                let before = record.before.map(version);
                self.rows.push(Touched { target, before, after, changed });
            }
        }
    }

    /// Whether what comes of the commit hangs on all of it.
    pub fn is_boundary(&self) -> bool {
        self.end.is_some() || !self.scans.is_empty() || !self.backfilled.is_empty()
    }

    /// Gives what there is; the commit goes on.
    pub fn hand_out(&mut self, out: &mut Vec<Change>) {
        self.by_key.clear();
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        out.extend(rows.into_iter().filter_map(|row| self.change(row)));
    }

    /// Gives all of it.
    pub fn end(mut self, out: &mut Vec<Change>) {
        self.hand_out(out);
    }

    fn change(&self, row: Touched) -> Option<Change> {
        let Touched { target, before, after, changed } = row;
        let is_something = before.is_some() || after.is_some();
        // A scan as of this commit has every row that is there.
        let is_scanned = after.is_some() && self.scans.contains(&target);
        let is_asked = changed || after.is_some() && self.backfilled.contains(&target);
        (is_something && !is_scanned && is_asked).then_some(Change {
            target,
            before,
            after,
            updated: self.time,
        })
    }
}

/// Bytes that are equal where keys are.
fn key_of(shape: &Shape, row: &[Value]) -> Vec<u8> {
    let mut key = Vec::with_capacity(16);
    for value in shape.key.iter().filter_map(|at| row.get(*at)) {
        let (tag, bytes): (u8, &[u8]) = match value {
            Value::Null => (0, &[]),
            Value::Integer(integer) => (1, &integer.to_le_bytes()),
            Value::Real(real) => (2, &real.to_bits().to_le_bytes()),
            Value::Text(text) => (3, text.as_bytes()),
            Value::Blob(blob) => (4, blob),
        };
        key.push(tag);
        key.extend_from_slice(&bytes.len().to_le_bytes());
        key.extend_from_slice(bytes);
    }
    key
}

/// What a value takes, roughly.
fn length(value: &Value) -> usize {
    match value {
        Value::Null | Value::Integer(_) | Value::Real(_) => 16,
        Value::Text(text) => 32 + text.len(),
        Value::Blob(blob) => 32 + blob.len(),
    }
}
