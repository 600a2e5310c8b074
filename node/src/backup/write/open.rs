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
    pub(super) fn new(columns: &Columns, shape: u32, file_bytes: usize) -> Result<Self, BackupError> {
        Ok(Self { file: FileWriter::new(columns, file_bytes)?, shape, keys: None, times: None })
    }

    pub(super) fn row(&mut self, row: Vec<Value>, places: &[usize]) -> Result<(), BackupError> {
        let key: Vec<Value> = places.iter().filter_map(|at| row.get(*at).cloned()).collect();
        match &mut self.keys {
            Some((_, last)) => *last = key,
            None => self.keys = Some((key.clone(), key)),
        }
        self.file.add(Change { op: Op::Insert, time: Timestamp::default(), row })
    }

    pub(super) fn change(
        &mut self,
        record: RowRecord,
        time: Timestamp,
        places: &[usize],
    ) -> Result<(), BackupError> {
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
