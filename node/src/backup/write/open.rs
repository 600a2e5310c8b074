//! A file of data that is being filled: rows or changes, and what the manifest says of them.

use grantd_catalog::id::Timestamp;
use grantd_raft::rows::{RowRecord, Value};

use crate::backup::BackupError;
use crate::backup::data::{Change, Columns, FileWriter, Op};

/// A file that is being filled.
pub(super) struct Open {
    pub(super) file: FileWriter,
    pub(super) shape: u32,
    pub(super) keys: Option<(Vec<Value>, Vec<Value>)>,
    pub(super) times: Option<(Timestamp, Timestamp)>,
}

impl Open {
    pub(super) fn new(columns: &Columns, shape: u32, file_bytes: usize) -> Self {
        Self { file: FileWriter::new(columns, file_bytes), shape, keys: None, times: None }
    }

    /// Rows in the order of their keys, behind those that are there. `places`: of the key in a row.
    pub(super) fn rows(&mut self, rows: Vec<Vec<Value>>, places: &[usize]) -> Result<(), BackupError> {
        let key = |row: &Vec<Value>| places.iter().filter_map(|at| row.get(*at).cloned()).collect();
        if let Some((first, last)) = rows.first().zip(rows.last()) {
            let first = self.keys.take().map_or_else(|| key(first), |(first, _)| first);
            self.keys = Some((first, key(last)));
        }
        let inserted = |row| Change { op: Op::Insert, time: Timestamp::default(), row };
        rows.into_iter().try_for_each(|row| self.file.add(inserted(row)))
    }

    /// Changes in the order in which they happened. `places`: of the key in a row.
    pub(super) fn changes(
        &mut self,
        records: Vec<(RowRecord, Timestamp)>,
        places: &[usize],
    ) -> Result<(), BackupError> {
        records.into_iter().try_for_each(|(record, time)| self.change(record, time, places))
    }

    fn change(&mut self, record: RowRecord, time: Timestamp, places: &[usize]) -> Result<(), BackupError> {
        let (op, row) = match (record.before, record.after) {
            (None, Some(after)) => (Op::Insert, after),
            (Some(_), Some(after)) => (Op::Update, after),
            (Some(before), None) => {
                let only_key = |(at, value)| if places.contains(&at) { value } else { Value::Null };
                (Op::Delete, before.into_iter().enumerate().map(only_key).collect())
            }
            (None, None) => return Ok(()),
        };
        self.times = Some((self.times.map_or(time, |(first, _)| first), time));
        self.file.add(Change { op, time, row })
    }
}
