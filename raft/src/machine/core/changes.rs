//! What changed when, since this node started: how a transaction that has read knows whether it may go on to write.

use std::collections::BTreeMap;

use grantd_catalog::id::ObjectId;

use crate::write::ReadSet;

/// The last change of each table's rows, and of the shape of anything.
pub(super) struct Changes {
    /// Nothing is known of changes up to here.
    floor: u64,
    shape: u64,
    tables: BTreeMap<ObjectId, u64>,
}

impl Changes {
    /// Of a file in which nothing changed after `last`.
    pub(super) fn none_since(last: u64) -> Self {
        Self { floor: last, shape: last, tables: BTreeMap::new() }
    }

    /// Something has another shape or name. Whoever read before cannot go on, so older changes of rows do not matter.
    pub(super) fn shape(&mut self, index: u64) {
        self.shape = index;
        self.tables.clear();
    }

    /// A row of this table changed.
    pub(super) fn row(&mut self, table: ObjectId, index: u64) {
        self.tables.insert(table, index);
    }

    /// Whether nothing of what `read` read has changed since.
    pub(super) fn is_unchanged(&self, read: &ReadSet) -> bool {
        let version = read.version.0;
        let kept = |table: &ObjectId| self.tables.get(table).is_none_or(|changed| *changed <= version);
        version >= self.floor && version >= self.shape && read.tables.iter().all(kept)
    }
}
