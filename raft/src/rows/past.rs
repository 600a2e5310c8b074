//! Reading the change history: changes of tables in the order of their commits, what a table was, and its rows as of a time.
//!
//! One consistent snapshot of the file, any node, bounded memory. Nothing here looks at privileges: whoever asks has decided.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::{Body, Object, Table};
use grantd_catalog::record::RecordKey;
use grantd_catalog::wire;
use rusqlite::OptionalExtension;

use crate::rows::history::{
    self, Content, Place, RowRecord, RowsKept, ShapeRecord, damaged, decode_object, decode_rows,
    decode_shape, encode_key, time_at,
};
use crate::rows::{Collation, RowsError, Value};

/// The most bytes of changed rows that a look at a table as of a time holds in memory.
const ROWS_AT_BYTES_MAX: usize = 64 << 20;

/// Why the history does not tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PastError {
    /// What was asked for is gone, or was before there was a history.
    #[error("the history of object {table} after {asked} was collected: it begins after {floor}")]
    Collected {
        /// The table.
        table: ObjectId,
        /// What was asked for.
        asked: Timestamp,
        /// From where on there is something.
        floor: Timestamp,
    },
    /// Nobody knows yet what will be at that time.
    #[error("{asked} is after {resolved}, up to which all is known")]
    Future {
        /// What was asked for.
        asked: Timestamp,
        /// Up to where all is known.
        resolved: Timestamp,
    },
    /// There was no such table at that time.
    #[error("object {0} was no table at that time")]
    NoTable(ObjectId),
    /// More rows changed since then than are held in memory.
    #[error("more than {ROWS_AT_BYTES_MAX} bytes of rows changed since then")]
    TooMuch,
    /// The file failed.
    #[error(transparent)]
    Rows(#[from] RowsError),
}

impl From<rusqlite::Error> for PastError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Rows(error.into())
    }
}

/// Something that happened to a table.
#[derive(Clone, Debug, PartialEq)]
pub struct PastChange {
    /// The table.
    pub table: ObjectId,
    /// When. Changes of one commit have one time. Several of them may have one place.
    pub place: Place,
    /// What.
    pub what: PastRecord,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum PastRecord {
    /// To a row.
    Row(RowRecord),
    /// To the table.
    Shape(ShapeRecord),
}

/// Changes in the order of their commits.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The changes; of one commit those of a table that was touched by several statements stand together.
    pub changes: Vec<PastChange>,
    /// Where the next page begins; none: up to the time that was asked for, or that is known, there is nothing more.
    pub next: Option<Place>,
}

/// The history as of one applied version.
pub struct Past<'c> {
    sqlite: &'c rusqlite::Connection,
    resolved: Timestamp,
    from: Timestamp,
    collations: &'c [Collation],
}

/// Is shown what one row of the history holds, put together.
pub(super) type Seen<'s> = &'s mut dyn FnMut(Content, &[u8]) -> Result<(), PastError>;

/// The next thing of one table, where pages put several in order.
type Turn = Reverse<(Place, ObjectId)>;

impl<'c> Past<'c> {
    pub(super) fn new(
        sqlite: &'c rusqlite::Connection,
        resolved: Timestamp,
        from: Timestamp,
        collations: &'c [Collation],
    ) -> Self {
        Self { sqlite, resolved, from, collations }
    }

    pub(super) fn sqlite(&self) -> &'c rusqlite::Connection {
        self.sqlite
    }

    pub(super) fn collations(&self) -> &'c [Collation] {
        self.collations
    }

    /// What became of a table after `time`, the oldest first.
    pub(super) fn shapes_after(
        &self,
        table: ObjectId,
        time: Timestamp,
    ) -> Result<Vec<ShapeRecord>, PastError> {
        let mut find = self.sqlite.prepare_cached(
            "SELECT bytes FROM grantd_history
             WHERE object = ?1 AND content = 2 AND (nanos, logical, number) > (?2, ?3, ?4)
             ORDER BY nanos, logical, number",
        )?;
        let mut rows = find.query((table.0, time.nanos.cast_signed(), time.logical, u32::MAX))?;
        let mut shapes = Vec::new();
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(0)?.as_blob().map_err(|error| damaged(&error))?;
            shapes.push(decode_shape(history::open(bytes)?)?);
        }
        Ok(shapes)
    }

    /// The time up to which nothing more can come: that of the last applied entry.
    pub fn resolved(&self) -> Timestamp {
        self.resolved
    }

    /// From where on the history of a table is whole: changes after that time are all there.
    pub fn floor(&self, table: ObjectId) -> Result<Timestamp, PastError> {
        let mut find = self
            .sqlite
            .prepare_cached("SELECT nanos, logical FROM grantd_history_floor WHERE object = ?1")?;
        let floor = find.query_row([table.0], |row| time_at(row, 0)).optional()?;
        Ok(floor.map_or(self.from, |floor| floor.max(self.from)))
    }

    /// Changes of these tables after `after`, of commits up to `up_to` as far as all is known, some `bytes_max` of them;
    /// at least what one row of the history holds. [`Place::after`] makes a place of a time.
    pub fn changes(
        &self,
        tables: &[ObjectId],
        after: Place,
        up_to: Timestamp,
        bytes_max: usize,
    ) -> Result<Page, PastError> {
        let up_to = up_to.min(self.resolved);
        let mut turns: BinaryHeap<Turn> = BinaryHeap::new();
        for table in tables {
            self.expect_kept(*table, after.time)?;
            turns.extend(self.next_place(*table, after, up_to)?.map(|place| Reverse((place, *table))));
        }
        let (mut changes, mut bytes) = (Vec::new(), 0);
        let mut last = after;
        while let Some(Reverse((place, table))) = turns.pop() {
            if bytes > 0 && bytes >= bytes_max {
                return Ok(Page { changes, next: Some(last) });
            }
            let (end, whats, length) = self.read_at(table, place)?;
            bytes += length;
            changes.extend(whats.into_iter().map(|what| PastChange { table, place, what }));
            last = Place { time: place.time, number: end };
            turns.extend(self.next_place(table, last, up_to)?.map(|place| Reverse((place, table))));
        }
        Ok(Page { changes, next: None })
    }

    /// What an object was at a time; none: there was no such.
    pub fn object_at(&self, object: ObjectId, time: Timestamp) -> Result<Option<Arc<Object>>, PastError> {
        self.expect_known(time)?;
        self.expect_kept(object, time)?;
        let mut find = self.sqlite.prepare_cached(
            "SELECT bytes FROM grantd_history
             WHERE object = ?1 AND content = 2 AND (nanos, logical, number) > (?2, ?3, ?4)
             ORDER BY nanos, logical, number LIMIT 1",
        )?;
        let next: Option<Vec<u8>> = find
            .query_row((object.0, time.nanos.cast_signed(), time.logical, u32::MAX), |row| row.get(0))
            .optional()?;
        match next {
            Some(bytes) => Ok(decode_shape(history::open(&bytes)?)?.before),
            None => self.object_now(object),
        }
    }

    /// Each row that a table had at a time, in no order, as the row store holds it. Cost: grows with the table, and with what
    /// changed since; the latter is held in memory.
    pub fn rows_at(
        &self,
        table: ObjectId,
        time: Timestamp,
        seen: &mut dyn FnMut(Vec<Value>) -> Result<(), RowsError>,
    ) -> Result<(), PastError> {
        self.expect_known(time)?;
        self.expect_kept(table, time)?;
        let mut back = Back::from(self.object_now(table)?.as_deref());
        self.each_after(table, time, &mut |content, body| back.undo(content, body))?;
        let Some(key) = back.key else { return Err(PastError::NoTable(table)) };
        if back.is_here {
            history::scan(self.sqlite, table, &mut |row| {
                let row = back.maps.iter().fold(row, |row, map| map_back(&row, map));
                let key = key_of(&key, &row);
                match back.rows.remove(&key) {
                    Some(Some(was)) => seen(was)?,
                    Some(None) => {}
                    None => seen(row)?,
                }
                Ok(true)
            })?;
        }
        for row in back.rows.into_values().flatten() {
            seen(row)?;
        }
        Ok(())
    }

    fn expect_kept(&self, table: ObjectId, asked: Timestamp) -> Result<(), PastError> {
        let floor = self.floor(table)?;
        if asked < floor { Err(PastError::Collected { table, asked, floor }) } else { Ok(()) }
    }

    fn expect_known(&self, asked: Timestamp) -> Result<(), PastError> {
        let resolved = self.resolved;
        if asked > resolved { Err(PastError::Future { asked, resolved }) } else { Ok(()) }
    }

    pub(super) fn object_now(&self, object: ObjectId) -> Result<Option<Arc<Object>>, PastError> {
        let mut find = self.sqlite.prepare_cached("SELECT value FROM grantd_record WHERE key = ?1")?;
        let key = wire::encode_key(RecordKey::Object(object));
        let found: Option<Vec<u8>> = find.query_row([key], |row| row.get(0)).optional()?;
        Ok(found.map(|bytes| decode_object(&bytes)).transpose()?)
    }

    fn next_place(
        &self,
        table: ObjectId,
        after: Place,
        up_to: Timestamp,
    ) -> Result<Option<Place>, PastError> {
        let mut find = self.sqlite.prepare_cached(
            "SELECT nanos, logical, number FROM grantd_history
             WHERE object = ?1 AND (nanos, logical, number) > (?2, ?3, ?4)
             ORDER BY nanos, logical, number LIMIT 1",
        )?;
        let Place { time, number } = after;
        let found = find
            .query_row((table.0, time.nanos.cast_signed(), time.logical, number), |row| {
                Ok(Place { time: time_at(row, 0)?, number: row.get(2)? })
            })
            .optional()?;
        Ok(found.filter(|place| place.time <= up_to))
    }

    /// Those of these tables that anything happened to after one time, up to another. Cost: a look at each.
    pub fn changed_within(
        &self,
        tables: &[ObjectId],
        after: Timestamp,
        up_to: Timestamp,
    ) -> Result<Vec<ObjectId>, PastError> {
        let mut changed = Vec::new();
        for table in tables {
            self.expect_kept(*table, after)?;
            changed.extend(self.next_place(*table, Place::after(after), up_to)?.map(|_| *table));
        }
        Ok(changed)
    }

    /// What stands at a place, the number of its last row, and its bytes.
    fn read_at(&self, table: ObjectId, place: Place) -> Result<(u32, Vec<PastRecord>, usize), PastError> {
        let mut find = self.sqlite.prepare_cached(
            "SELECT number, content, bytes FROM grantd_history
             WHERE object = ?1 AND nanos = ?2 AND logical = ?3 AND number >= ?4 ORDER BY number",
        )?;
        let time = place.time;
        let mut rows = find.query((table.0, time.nanos.cast_signed(), time.logical, place.number))?;
        let mut pieces = Vec::new();
        while let Some(row) = rows.next()? {
            let (number, content) = (row.get(0)?, row.get(1)?);
            let body = history::open(row.get_ref(2)?.as_blob().map_err(|error| damaged(&error))?)?;
            match content_of(content)? {
                Content::Piece => pieces.extend_from_slice(body),
                Content::Shape => {
                    let shape = decode_shape(body)?;
                    return Ok((number, vec![PastRecord::Shape(shape)], body.len()));
                }
                Content::Rows => {
                    let length = pieces.len() + body.len();
                    let records = if pieces.is_empty() {
                        decode_rows(body)?
                    } else {
                        pieces.extend_from_slice(body);
                        decode_rows(&pieces)?
                    };
                    return Ok((number, records.into_iter().map(PastRecord::Row).collect(), length));
                }
            }
        }
        Err(damaged(&"a record does not end").into())
    }

    /// Shows what happened to a table after `time`, the newest first.
    pub(super) fn each_after(
        &self,
        table: ObjectId,
        time: Timestamp,
        seen: Seen<'_>,
    ) -> Result<(), PastError> {
        let mut find = self.sqlite.prepare_cached(
            "SELECT content, bytes FROM grantd_history
             WHERE object = ?1 AND (nanos, logical, number) > (?2, ?3, ?4)
             ORDER BY nanos DESC, logical DESC, number DESC",
        )?;
        let mut rows = find.query((table.0, time.nanos.cast_signed(), time.logical, u32::MAX))?;
        // Pieces of a record come before the one that ends it: here after it.
        let mut whole: Option<(Content, Vec<u8>)> = None;
        while let Some(row) = rows.next()? {
            let content = content_of(row.get(0)?)?;
            let body = history::open(row.get_ref(1)?.as_blob().map_err(|error| damaged(&error))?)?;
            match (content, &mut whole) {
                (Content::Piece, Some((_, end))) => {
                    end.splice(0..0, body.iter().copied());
                }
                (Content::Piece, None) => return Err(damaged(&"a record does not end").into()),
                (content, whole) => {
                    if let Some((content, bytes)) = whole.replace((content, body.to_vec())) {
                        seen(content, &bytes)?;
                    }
                }
            }
        }
        whole.map_or(Ok(()), |(content, bytes)| seen(content, &bytes))
    }
}

/// A table on its way back in time.
struct Back {
    /// Whether the rows that are here now, but for those in `rows`, were there.
    is_here: bool,
    /// What makes of such a row what it was: for each column then the one that it is now; the newest change first.
    maps: Vec<Vec<usize>>,
    /// The places of the key's columns among those stored; none: there is no table.
    key: Option<Vec<usize>>,
    /// By their keys, rows that were others, or none.
    rows: BTreeMap<Vec<u8>, Option<Vec<Value>>>,
    bytes: usize,
}

impl Back {
    fn from(now: Option<&Object>) -> Self {
        let key = now.and_then(key_places);
        Self { is_here: key.is_some(), maps: Vec::new(), key, rows: BTreeMap::new(), bytes: 0 }
    }

    fn undo(&mut self, content: Content, body: &[u8]) -> Result<(), PastError> {
        match content {
            Content::Rows | Content::Piece => {
                decode_rows(body)?.into_iter().rev().try_for_each(|record| self.undo_row(record))
            }
            Content::Shape => {
                let shape = decode_shape(body)?;
                self.undo_shape(&shape);
                Ok(())
            }
        }
    }

    fn undo_row(&mut self, record: RowRecord) -> Result<(), PastError> {
        let key = self.key.as_ref().ok_or_else(|| damaged(&"a row of no table changed"))?;
        let Some(row) = record.before.as_ref().or(record.after.as_ref()) else { return Ok(()) };
        let key = key_of(key, row);
        self.bytes += key.len() + row.iter().map(Value::bytes).sum::<usize>();
        if self.bytes > ROWS_AT_BYTES_MAX {
            return Err(PastError::TooMuch);
        }
        self.rows.insert(key, record.before);
        Ok(())
    }

    fn undo_shape(&mut self, shape: &ShapeRecord) {
        self.key = shape.before.as_deref().and_then(key_places);
        match &shape.rows {
            RowsKept::Rewritten => {
                self.is_here = false;
                self.rows.clear();
                self.bytes = 0;
            }
            RowsKept::Kept(kept) => {
                let columns = shape.before.as_deref().map_or(0, |before| stored(before).count());
                let now = |at: usize| kept.iter().position(|was| *was == u16::try_from(at).ok());
                let map: Vec<usize> = (0..columns).filter_map(now).collect();
                let Some(key) = &self.key else { return };
                let rows = std::mem::take(&mut self.rows).into_iter().map(|(old, row)| match row {
                    Some(row) => {
                        let row = map_back(&row, &map);
                        (key_of(key, &row), Some(row))
                    }
                    // The key's own columns stay in their order.
                    None => (old, None),
                });
                self.rows = rows.collect();
                self.maps.push(map);
            }
        }
    }
}

pub(super) fn map_back(row: &[Value], map: &[usize]) -> Vec<Value> {
    map.iter().filter_map(|at| row.get(*at).cloned()).collect()
}

fn key_of(places: &[usize], row: &[Value]) -> Vec<u8> {
    encode_key(places.iter().filter_map(|at| row.get(*at)))
}

/// The columns that are stored, with their positions in the catalog.
pub(super) fn stored(object: &Object) -> impl Iterator<Item = u16> {
    let table = match &object.body {
        Body::Table(table) => Some(table),
        _ => None,
    };
    let columns = table.into_iter().flat_map(|table| (0..).zip(&table.columns));
    columns.filter(|(_, column)| column.computed.is_none()).map(|(at, _)| at)
}

/// Where the columns of the key are among those stored.
pub(super) fn key_places(object: &Object) -> Option<Vec<usize>> {
    let key = match &object.body {
        Body::Table(table) => table.primary_key.clone(),
        // Its row has one key, the last of its columns.
        Body::Sequence(_) => {
            let Table { primary_key, .. } = crate::rows::ddl::sequence_table();
            return Some(primary_key.iter().map(|at| usize::from(*at)).collect());
        }
        _ => return None,
    };
    key.iter().map(|at| stored(object).position(|stored| stored == *at)).collect()
}

fn content_of(number: u8) -> Result<Content, RowsError> {
    [Content::Rows, Content::Piece, Content::Shape]
        .into_iter()
        .find(|content| *content as u8 == number)
        .ok_or_else(|| damaged(&format!("content {number} is not known to this release")))
}
