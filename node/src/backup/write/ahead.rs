//! A look at what is still to be written: how much it is, and of which tables there is anything.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Instant;

use grantd_catalog::id::ObjectId;
use grantd_raft::rows::{Counted, Past};

use super::{TABLES_AT_ONCE, Writer, past};
use crate::backup::BackupError;
use crate::backup::manifest::TableEntry;

/// How many rows are counted at most to tell how far it is: some seconds. Of more the tables are counted.
const COUNT_MAX: u64 = 1 << 24;
/// How many are counted by one read: some tens of milliseconds. As long as it reads, SQLite's write-ahead log grows.
const COUNTED_AT_ONCE: u64 = 1 << 16;
/// How much longer than such a read took nothing is counted: whoever writes has to sync its log on the same disk.
const COUNT_REST: u32 = 2;

impl Writer<'_> {
    /// Counts the rows that are to be written, as they are now, for who is told how far it is. Changes are not counted.
    pub(super) async fn count(&mut self) -> Result<(), BackupError> {
        if self.order.incremental {
            return Ok(());
        }
        let done = self.manifest.next.as_ref().map_or(self.manifest.tables.len(), |next| next.table);
        let (done, ahead) = self.manifest.tables.split_at(done);
        let mut rows: u64 = done.iter().map(|table| table.rows).sum();
        let ids: Vec<_> = ahead.iter().map(|table| ObjectId(table.id)).collect();
        let most = rows.saturating_add(COUNT_MAX);
        for some in ids.chunks(TABLES_AT_ONCE) {
            let mut from = Some(Counted::default());
            while let Some(at) = from {
                if rows >= most {
                    return Ok(());
                }
                let asked = some.to_vec();
                let count = move |past: &Past<'_>| past.count_from(&asked, at.clone(), COUNTED_AT_ONCE);
                let begun = Instant::now();
                let (counted, next) = past(self.gate, self.job, some, count).await?;
                rows += counted;
                from = next;
                tokio::time::sleep(begun.elapsed() * COUNT_REST).await;
            }
        }
        self.progress.rows_expected = Some(rows);
        Ok(())
    }

    /// Those of some tables of which there is something to be written: a cluster has thousands that are empty, or stay as they are.
    pub(super) async fn busy(&mut self, some: Range<usize>) -> Result<BTreeSet<ObjectId>, BackupError> {
        self.step().await?;
        let tables = &self.manifest.tables[some];
        let (start, end) = (self.manifest.start.map(|start| start.0), self.order.end);
        // One without a shape came after the layer's begin, or never was.
        let is_asked = |table: &&TableEntry| self.order.incremental || table.shape.is_some();
        let ids: Vec<_> = tables.iter().filter(is_asked).map(|table| ObjectId(table.id)).collect();
        let asked = ids.clone();
        let read = move |past: &Past<'_>| match start {
            Some(start) => past.changed_within(&asked, start, end),
            None => past.not_empty_at(&asked, end),
        };
        Ok(past(self.gate, self.job, &ids, read).await?.into_iter().collect())
    }
}
