//! The change history as the file keeps it: what each commit did to each table, for as long as `machine` does not collect it.
//!
//! One row of `grantd_history` for each commit and table, or several for a large one: a chunk of records, each a row before
//! and after; or what became of the table itself. The key begins with the table, so who reads one table reads nothing of
//! others. `raft/docs/history-format.md` has the bytes. Who decides what is kept, and for how long: `machine`, H1 to H4. What is
//! read of it: `past`.

use std::sync::Arc;

use bincode::{Decode, Encode};
use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::Object;
use grantd_catalog::record::Record;
use grantd_catalog::wire;
use rusqlite::ffi;

use crate::codec::{self, CodecError, Kind};
use crate::rows::file::StoredColumn;
use crate::rows::{RowsError, Store, Value, ddl, file};

/// The format of chunks and shapes.
const FORMAT: u16 = 1;
/// From how many bytes on a chunk is full.
pub const CHUNK_BYTES: usize = 64 << 10;
/// The most bytes of one row of the history. One change of a row may be larger: it is cut.
const PIECE_BYTES_MAX: usize = 4 << 20;
/// What a row of the history takes beside its bytes, counted against the bound.
pub const ROW_OVERHEAD_BYTES: u64 = 48;

/// Where something stands in the history: after the commits before, and in its commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The commit.
    pub time: Timestamp,
    /// Counts what the commit did, over all tables.
    pub number: u32,
}

impl Place {
    /// No commit has a later time.
    pub const END: Timestamp = Timestamp { nanos: i64::MAX.cast_unsigned(), logical: u32::MAX };

    /// After all that was done up to `time`.
    pub const fn after(time: Timestamp) -> Self {
        Self { time, number: u32::MAX }
    }
}

/// Why a row came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Cause {
    /// A statement changed rows.
    Changed,
    /// The table got another shape that touches its rows: all of the old shape go, all of the new one come.
    Reshaped,
    /// The table was dropped.
    Dropped,
}

/// What became of a row. Values are those of the stored columns of the table as it was then, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct RowRecord {
    /// Why.
    pub cause: Cause,
    /// None: it is new.
    pub before: Option<Vec<Value>>,
    /// None: it is gone.
    pub after: Option<Vec<Value>>,
}

/// What became of a table, a sequence or an enum type. Owners and grants are not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeRecord {
    /// None: it is new.
    pub before: Option<Arc<Object>>,
    /// None: it is gone.
    pub after: Option<Arc<Object>>,
    /// What it means for rows of the table.
    pub rows: RowsKept,
}

/// What another shape of a table means for its rows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RowsKept {
    /// Each stays; for each stored column the one that it was before, none: it is new and NULL.
    Kept(Vec<Option<u16>>),
    /// Each goes, and comes in the new shape: see [`Cause::Reshaped`].
    Rewritten,
}

/// What is in one row of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Content {
    /// Records, or the last piece of one.
    Rows = 0,
    /// A piece of a record that goes on in the next number.
    Piece = 1,
    /// What became of the table.
    Shape = 2,
}

#[derive(Encode, Decode)]
enum ValueV1 {
    Null,
    Integer(i64),
    /// The bits of a double.
    Real(u64),
    Text(String),
    Blob(Vec<u8>),
}

#[derive(Encode, Decode)]
enum RecordV1 {
    Inserted(Cause, Vec<ValueV1>),
    Deleted(Cause, Vec<ValueV1>),
    /// The row before, and the columns that differ after.
    Updated(Vec<ValueV1>, Vec<Option<ValueV1>>),
}

#[derive(Encode, Decode)]
struct ShapeV1 {
    /// As the catalog's records say it.
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
    rows: RowsKept,
}

impl From<Value> for ValueV1 {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(integer) => Self::Integer(integer),
            Value::Real(real) => Self::Real(real.to_bits()),
            Value::Text(text) => Self::Text(text),
            Value::Blob(blob) => Self::Blob(blob),
        }
    }
}

impl From<ValueV1> for Value {
    fn from(value: ValueV1) -> Self {
        match value {
            ValueV1::Null => Self::Null,
            ValueV1::Integer(integer) => Self::Integer(integer),
            ValueV1::Real(bits) => Self::Real(f64::from_bits(bits)),
            ValueV1::Text(text) => Self::Text(text),
            ValueV1::Blob(blob) => Self::Blob(blob),
        }
    }
}

/// Byte for byte: two zeros of different sign are different.
pub(crate) fn is_same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Real(left), Value::Real(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

fn values(row: Vec<Value>) -> Vec<ValueV1> {
    row.into_iter().map(ValueV1::from).collect()
}

fn row(values: Vec<ValueV1>) -> Vec<Value> {
    values.into_iter().map(Value::from).collect()
}

/// The bytes of a record; none: it says nothing, as the row is what it was.
pub(crate) fn encode_row(record: RowRecord) -> Option<Vec<u8>> {
    let said = match (record.before, record.after) {
        (None, None) => return None,
        (None, Some(after)) => RecordV1::Inserted(record.cause, values(after)),
        (Some(before), None) => RecordV1::Deleted(record.cause, values(before)),
        (Some(before), Some(after)) => {
            let changed =
                |(before, after): (&Value, Value)| (!is_same_value(before, &after)).then(|| after.into());
            let changed: Vec<_> = before.iter().zip(after).map(changed).collect();
            if changed.iter().all(Option::is_none) {
                return None;
            }
            RecordV1::Updated(values(before), changed)
        }
    };
    Some(codec::encode(&said))
}

/// The bytes of values, for telling rows apart by their key.
pub(crate) fn encode_key<'v>(key: impl Iterator<Item = &'v Value>) -> Vec<u8> {
    codec::encode(&key.cloned().map(ValueV1::from).collect::<Vec<_>>())
}

/// Rows as a command carries them: the stored columns of each, in the table's order.
pub fn encode_rows(rows: Vec<Vec<Value>>) -> Vec<u8> {
    codec::seal_value(Kind::Rows, ROWS_FORMAT, &rows.into_iter().map(values).collect::<Vec<_>>())
}

/// The rows of [`encode_rows`].
pub(super) fn decode_row_values(bytes: &[u8]) -> Result<Vec<Vec<Value>>, CodecError> {
    let rows: Vec<Vec<ValueV1>> = codec::open_value(Kind::Rows, ROWS_FORMAT, bytes)?;
    Ok(rows.into_iter().map(row).collect())
}

/// The format of rows in a command.
const ROWS_FORMAT: u16 = 1;

/// The records of a chunk that was sealed by [`seal`].
pub(super) fn decode_rows(body: &[u8]) -> Result<Vec<RowRecord>, RowsError> {
    let mut records = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (record, taken): (RecordV1, usize) =
            codec::decode_first(Kind::History, rest).map_err(|error| damaged(&error))?;
        rest = &rest[taken..];
        records.push(match record {
            RecordV1::Inserted(cause, after) => RowRecord { cause, before: None, after: Some(row(after)) },
            RecordV1::Deleted(cause, before) => RowRecord { cause, before: Some(row(before)), after: None },
            RecordV1::Updated(before, changed) => {
                let before = row(before);
                let mut after = before.clone();
                for (value, changed) in after.iter_mut().zip(changed) {
                    if let Some(changed) = changed {
                        *value = changed.into();
                    }
                }
                RowRecord { cause: Cause::Changed, before: Some(before), after: Some(after) }
            }
        });
    }
    Ok(records)
}

pub(super) fn decode_shape(body: &[u8]) -> Result<ShapeRecord, RowsError> {
    let said: ShapeV1 = codec::decode(Kind::History, body).map_err(|error| damaged(&error))?;
    let object = |bytes: Option<Vec<u8>>| bytes.map(|bytes| decode_object(&bytes)).transpose();
    Ok(ShapeRecord { before: object(said.before)?, after: object(said.after)?, rows: said.rows })
}

/// The object of a record of the catalog.
pub(super) fn decode_object(bytes: &[u8]) -> Result<Arc<Object>, RowsError> {
    match wire::decode_record(bytes) {
        Ok(Record::Object(object)) => Ok(object),
        Ok(_) => Err(damaged(&"a record of the catalog is not of an object")),
        Err(error) => Err(damaged(&error)),
    }
}

pub(super) fn open(bytes: &[u8]) -> Result<&[u8], RowsError> {
    let (format, body) = codec::open(Kind::History, bytes).map_err(|error| damaged(&error))?;
    if format == FORMAT {
        return Ok(body);
    }
    Err(damaged(&format!("format {format} of the history is not known to this release")))
}

pub(super) fn damaged(what: &dyn std::fmt::Display) -> RowsError {
    RowsError { code: ffi::SQLITE_CORRUPT, message: format!("the change history cannot be read: {what}") }
}

fn encode_shape(shape: &ShapeRecord) -> Result<Vec<u8>, RowsError> {
    let object = |object: &Option<Arc<Object>>| {
        object.as_ref().map(|object| wire::encode_record(&Record::Object(Arc::clone(object)))).transpose()
    };
    let too_long =
        |error: wire::WireError| RowsError { code: ffi::SQLITE_TOOBIG, message: error.to_string() };
    let (before, after) = (object(&shape.before).map_err(too_long)?, object(&shape.after).map_err(too_long)?);
    Ok(codec::encode(&ShapeV1 { before, after, rows: shape.rows.clone() }))
}

/// What a collection took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Rows of the history.
    pub rows: usize,
    /// Their bytes, as they are counted.
    pub bytes: u64,
    /// The newest commit of which something was taken.
    pub newest: Option<Timestamp>,
    /// The oldest commit that is still there.
    pub oldest: Option<Timestamp>,
}

/// The history in the file of an open transaction.
#[derive(Clone, Copy)]
pub struct HistoryFile<'c>(&'c rusqlite::Connection);

impl<'c> HistoryFile<'c> {
    pub(super) fn new(sqlite: &'c rusqlite::Connection) -> Self {
        Self(sqlite)
    }

    /// Keeps records of one table, encoded one after another. Gives the number that comes next, and the bytes.
    pub fn put(&self, table: ObjectId, place: Place, records: &[u8]) -> Result<(u32, u64), RowsError> {
        let (mut number, mut bytes) = (place.number, 0);
        let mut pieces = records.chunks(PIECE_BYTES_MAX).peekable();
        while let Some(piece) = pieces.next() {
            let content = if pieces.peek().is_some() { Content::Piece } else { Content::Rows };
            bytes += self.put_content(table, Place { number, ..place }, content, piece)?;
            number += 1;
        }
        Ok((number, bytes))
    }

    /// Keeps what became of a table. Gives the bytes.
    pub fn put_shape(&self, table: ObjectId, place: Place, shape: &ShapeRecord) -> Result<u64, RowsError> {
        let bytes = encode_shape(shape)?;
        self.put_content(table, place, Content::Shape, &bytes)
    }

    fn put_content(
        &self,
        table: ObjectId,
        place: Place,
        content: Content,
        body: &[u8],
    ) -> Result<u64, RowsError> {
        let sealed = codec::seal(Kind::History, FORMAT, body);
        let mut put = self.0.prepare_cached("INSERT INTO grantd_history VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        let time = place.time;
        put.execute((table.0, time.nanos.cast_signed(), time.logical, place.number, content as u8, &sealed))?;
        Ok(counted(sealed.len()))
    }

    /// Shows each row of a table as it is, in the order of its key, until `seen` has enough.
    pub fn scan(
        &self,
        table: ObjectId,
        seen: &mut dyn FnMut(Vec<Value>) -> Result<bool, RowsError>,
    ) -> Result<(), RowsError> {
        scan(self.0, table, seen)
    }
}

impl Store {
    /// The history, to add to it in the open transaction.
    pub fn history_file(&self) -> HistoryFile<'_> {
        HistoryFile::new(self.sqlite())
    }

    /// The first table after this one that has a history, and its oldest commit.
    pub fn next_history(&self, after: Option<ObjectId>) -> Result<Option<(ObjectId, Timestamp)>, RowsError> {
        let mut find = self.sqlite().prepare_cached(
            "SELECT object, nanos, logical FROM grantd_history WHERE object > ?1
             ORDER BY object, nanos, logical, number LIMIT 1",
        )?;
        let after = after.map_or(-1, |after| i64::from(after.0));
        let mut rows = find.query([after])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some((ObjectId(row.get(0)?), time_at(row, 1)?)))
    }

    /// Up to which commit the history of each table was collected; of those that are not here nothing was.
    pub fn history_floors(&self) -> Result<Vec<(ObjectId, Timestamp)>, RowsError> {
        let mut read = self.sqlite().prepare("SELECT object, nanos, logical FROM grantd_history_floor")?;
        let mut rows = read.query([])?;
        let mut floors = Vec::new();
        while let Some(row) = rows.next()? {
            floors.push((ObjectId(row.get(0)?), time_at(row, 1)?));
        }
        Ok(floors)
    }

    /// Notes up to which commit the history of a table was collected; none: it is forgotten with the table.
    pub fn put_floor(&mut self, table: ObjectId, floor: Option<Timestamp>) -> Result<(), RowsError> {
        match floor {
            Some(floor) => self
                .sqlite()
                .prepare_cached(
                    "INSERT INTO grantd_history_floor VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET nanos = excluded.nanos, logical = excluded.logical",
                )?
                .execute((table.0, floor.nanos.cast_signed(), floor.logical))?,
            None => self
                .sqlite()
                .prepare_cached("DELETE FROM grantd_history_floor WHERE object = ?1")?
                .execute([table.0])?,
        };
        Ok(())
    }

    /// Takes the oldest rows of a table's history, of commits up to `up_to`, at most `most` of them, until `enough` bytes
    /// are taken.
    pub fn take_history(
        &mut self,
        table: ObjectId,
        up_to: Timestamp,
        most: usize,
        enough: u64,
    ) -> Result<Taken, RowsError> {
        let mut taken = Taken::default();
        let mut last = None;
        {
            let mut find = self.sqlite().prepare_cached(
                "SELECT nanos, logical, number, length(bytes) FROM grantd_history WHERE object = ?1
                 ORDER BY nanos, logical, number",
            )?;
            let mut rows = find.query([table.0])?;
            while let Some(row) = rows.next()? {
                let time = time_at(row, 0)?;
                if time > up_to || taken.rows == most || taken.bytes >= enough {
                    taken.oldest = Some(time);
                    break;
                }
                taken.rows += 1;
                taken.bytes += counted(row.get::<_, u32>(3)? as usize);
                taken.newest = Some(time);
                last = Some(row.get::<_, i64>(2)?);
            }
        }
        if let (Some(time), Some(number)) = (taken.newest, last) {
            let mut delete = self.sqlite().prepare_cached(
                "DELETE FROM grantd_history WHERE object = ?1 AND (nanos, logical, number) <= (?2, ?3, ?4)",
            )?;
            delete.execute((table.0, time.nanos.cast_signed(), time.logical, number))?;
        }
        Ok(taken)
    }
}

pub(super) fn scan(
    sqlite: &rusqlite::Connection,
    table: ObjectId,
    seen: &mut dyn FnMut(Vec<Value>) -> Result<bool, RowsError>,
) -> Result<(), RowsError> {
    scan_after(sqlite, table, None, seen)
}

/// The same from behind a key on.
pub(super) fn scan_after(
    sqlite: &rusqlite::Connection,
    table: ObjectId,
    after: Option<&[Value]>,
    seen: &mut dyn FnMut(Vec<Value>) -> Result<bool, RowsError>,
) -> Result<(), RowsError> {
    let behind = Behind::of(sqlite, table, after)?;
    let all = list(behind.columns.iter());
    let mut statement = sqlite.prepare(&format!("SELECT {all} {}", behind.rows))?;
    let mut rows = statement.query(rusqlite::params_from_iter(after.unwrap_or_default()))?;
    while let Some(row) = rows.next()? {
        if !seen(values_of(row, behind.columns.len())?)? {
            return Ok(());
        }
    }
    Ok(())
}

/// How many rows a table has behind a key, at most so many, and the key of the last if it is so many.
pub(super) fn count_after(
    sqlite: &rusqlite::Connection,
    table: ObjectId,
    after: Option<&[Value]>,
    most: u64,
) -> Result<(u64, Option<Vec<Value>>), RowsError> {
    let behind = Behind::of(sqlite, table, after)?;
    let limit = i64::try_from(most).unwrap_or(i64::MAX).max(1);
    let parameters = || rusqlite::params_from_iter(after.unwrap_or_default());
    let last = format!("SELECT {} {} LIMIT 1 OFFSET {}", behind.key, behind.rows, limit - 1);
    let mut last = sqlite.prepare(&last)?;
    let columns = last.column_count();
    if let Some(row) = last.query(parameters())?.next()? {
        return Ok((most.max(1), Some(values_of(row, columns)?)));
    }
    let count = format!("SELECT count(*) FROM (SELECT 1 {})", behind.rows);
    let counted: i64 = sqlite.query_row(&count, parameters(), |row| row.get(0))?;
    Ok((counted.unsigned_abs(), None))
}

/// SQL of a table's rows behind a key, in its order; the key's values are the parameters.
struct Behind {
    columns: Vec<StoredColumn>,
    /// The columns of the key.
    key: String,
    /// From FROM on.
    rows: String,
}

impl Behind {
    fn of(
        sqlite: &rusqlite::Connection,
        table: ObjectId,
        after: Option<&[Value]>,
    ) -> Result<Self, RowsError> {
        let name = ddl::table_name(table);
        let columns = file::stored_columns(sqlite, &name)?;
        let mut key: Vec<_> = columns.iter().filter(|column| column.key > 0).collect();
        key.sort_by_key(|column| column.key);
        let key = list(key.into_iter());
        let is_behind = match after.map_or(0, <[Value]>::len) {
            0 => String::new(),
            count => {
                let values = (1..=count).map(|at| format!("?{at}")).collect::<Vec<_>>().join(", ");
                format!(" WHERE ({key}) > ({values})")
            }
        };
        let rows = format!("FROM {}{is_behind} ORDER BY {key}", ddl::quote(&name));
        Ok(Self { columns, key, rows })
    }
}

fn list<'c>(columns: impl Iterator<Item = &'c StoredColumn>) -> String {
    columns.map(|column| ddl::quote(&column.name)).collect::<Vec<_>>().join(", ")
}

fn values_of(row: &rusqlite::Row<'_>, columns: usize) -> Result<Vec<Value>, RowsError> {
    (0..columns).map(|at| Value::try_from(row.get_ref(at)?)).collect()
}

pub(super) fn time_at(row: &rusqlite::Row<'_>, at: usize) -> Result<Timestamp, rusqlite::Error> {
    Ok(Timestamp { nanos: row.get::<_, i64>(at)?.cast_unsigned(), logical: row.get(at + 1)? })
}

fn counted(bytes: usize) -> u64 {
    bytes as u64 + ROW_OVERHEAD_BYTES
}
