//! Rows as Parquet, and back, value for value.
//!
//! Each stored column becomes a column of the type that other tools expect. An enum becomes two: its label, which is for them, and
//! the number that stands for it in rows, which is what is restored. Changes have three columns more: what happened, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::{Body, ColumnType, Object, Table};
use grantd_raft::rows::{Value, ddl};
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
    Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::manifest::Content;
use super::{BackupError, GROUP_BYTES};
use crate::value::text;

/// What a change of a row did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It is new.
    Insert,
    /// It was another.
    Update,
    /// It is gone. Only its key is told.
    Delete,
}

/// A change of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What.
    pub op: Op,
    /// When.
    pub time: Timestamp,
    /// The row after it; of one that is gone the key, and NULL.
    pub row: Vec<Value>,
}

/// The columns of a table's files.
#[derive(Clone, Debug)]
pub struct Columns {
    columns: Vec<Column>,
    schema: TypePtr,
    content: Content,
}

/// A column of a file.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    name: String,
    kind: Form,
    /// Of an enum: what its numbers are called.
    labels: Option<BTreeMap<i64, String>>,
}

/// How values of a column are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Double,
    Text,
    Json,
    Bytes,
    Uuid,
    TimestampTz,
    Timestamp,
    Date,
    Time,
    Enum,
}

impl Column {
    /// One that is no enum's.
    pub(crate) fn new(name: &str, kind: Form) -> Self {
        Self { name: name.to_owned(), kind, labels: None }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How its values are stored.
    pub(crate) fn form(&self) -> Form {
        self.kind
    }
}

/// The stored columns of a table or sequence, and the places of its key among them. None: it is neither.
pub fn stored(object: &Object) -> Option<(Table, Vec<usize>)> {
    let mut table = match &object.body {
        Body::Table(table) => Table::clone(table),
        Body::Sequence(_) => ddl::sequence_table(),
        _ => return None,
    };
    let stored: Vec<u16> =
        (0..).zip(&table.columns).filter(|(_, column)| column.computed.is_none()).map(|(at, _)| at).collect();
    let key = table
        .primary_key
        .iter()
        .map(|at| stored.iter().position(|stored| stored == at))
        .collect::<Option<_>>()?;
    table.columns.retain(|column| column.computed.is_none());
    Some((table, key))
}

impl Columns {
    /// Those of a table or sequence; none: it is neither. `labels`: what an enum type's numbers are called.
    pub fn of(
        object: &Object,
        content: Content,
        labels: impl Fn(ObjectId) -> Option<BTreeMap<i64, String>>,
    ) -> Result<Option<Self>, BackupError> {
        let Some((table, _)) = stored(object) else { return Ok(None) };
        let column = |column: &grantd_catalog::object::Column| Column {
            name: column.name.to_string(),
            kind: Form::of(column.column_type),
            labels: column.column_type.enum_type().map(|id| labels(id).unwrap_or_default()),
        };
        let columns: Vec<Column> = table.columns.iter().map(column).collect();
        let schema = schema(&columns, content).map_err(|error| broken(&error))?;
        Ok(Some(Self { columns, schema, content }))
    }
}

impl Form {
    const fn of(column: ColumnType) -> Self {
        match column {
            ColumnType::Bool => Self::Bool,
            ColumnType::Int2 => Self::Int2,
            ColumnType::Int4 => Self::Int4,
            ColumnType::Int8 => Self::Int8,
            // The row store holds doubles; the nearest single would not always be the same.
            ColumnType::Float4 | ColumnType::Float8 => Self::Double,
            // A decimal has any number of digits, and keeps how many zeros it was written with.
            ColumnType::Text { .. }
            | ColumnType::Char { .. }
            | ColumnType::Decimal { .. }
            | ColumnType::Interval => Self::Text,
            ColumnType::Jsonb => Self::Json,
            ColumnType::Bytes => Self::Bytes,
            ColumnType::Uuid => Self::Uuid,
            ColumnType::TimestampTz => Self::TimestampTz,
            ColumnType::Timestamp => Self::Timestamp,
            ColumnType::Date => Self::Date,
            ColumnType::Time => Self::Time,
            ColumnType::Enum(_) => Self::Enum,
        }
    }

    /// Whether a value may stand in such a column.
    fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Bool, Value::Integer(value)) => matches!(value, 0 | 1),
            (Self::Int2 | Self::Int4 | Self::Date, Value::Integer(value)) => i32::try_from(*value).is_ok(),
            (
                Self::Int8 | Self::TimestampTz | Self::Timestamp | Self::Time | Self::Enum,
                Value::Integer(_),
            )
            | (Self::Double, Value::Real(_))
            | (Self::Text | Self::Json, Value::Text(_))
            | (Self::Bytes, Value::Blob(_)) => true,
            (Self::Uuid, value) => uuid(value).is_some(),
            _ => false,
        }
    }

    const fn physical(self) -> Physical {
        match self {
            Self::Bool => Physical::BOOLEAN,
            Self::Int2 | Self::Int4 | Self::Date => Physical::INT32,
            Self::Int8 | Self::TimestampTz | Self::Timestamp | Self::Time | Self::Enum => Physical::INT64,
            Self::Double => Physical::DOUBLE,
            Self::Text | Self::Json | Self::Bytes => Physical::BYTE_ARRAY,
            Self::Uuid => Physical::FIXED_LEN_BYTE_ARRAY,
        }
    }

    fn logical(self) -> Option<LogicalType> {
        Some(match self {
            Self::Bool | Self::Double | Self::Bytes => return None,
            Self::Int2 => LogicalType::integer(16, true),
            Self::Int4 => LogicalType::integer(32, true),
            Self::Int8 | Self::Enum => LogicalType::integer(64, true),
            Self::Text => LogicalType::String,
            Self::Json => LogicalType::Json,
            Self::Uuid => LogicalType::Uuid,
            Self::TimestampTz => LogicalType::timestamp(true, TimeUnit::MICROS),
            Self::Timestamp => LogicalType::timestamp(false, TimeUnit::MICROS),
            Self::Date => LogicalType::Date,
            Self::Time => LogicalType::time(false, TimeUnit::MICROS),
        })
    }
}

/// A column of a file's schema. An enum's is its number.
pub(crate) fn leaf(name: &str, form: Form) -> Result<TypePtr, ParquetError> {
    primitive(name, form.physical(), form.logical())
}

fn primitive(name: &str, physical: Physical, logical: Option<LogicalType>) -> Result<TypePtr, ParquetError> {
    let leaf = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    let leaf = if physical == Physical::FIXED_LEN_BYTE_ARRAY { leaf.with_length(UUID_BYTES) } else { leaf };
    leaf.build().map(Arc::new)
}

fn schema(columns: &[Column], content: Content) -> Result<TypePtr, ParquetError> {
    let mut fields = Vec::new();
    if content == Content::Changes {
        fields.push(leaf(OP, Form::Text)?);
        let nanos = LogicalType::timestamp(true, TimeUnit::NANOS);
        fields.push(primitive(NANOS, Physical::INT64, Some(nanos))?);
        fields.push(leaf(LOGICAL, Form::Int8)?);
    }
    for column in columns {
        if column.kind == Form::Enum {
            fields.push(leaf(&column.name, Form::Text)?);
            fields.push(leaf(&format!("{NUMBER}{}", column.name), Form::Enum)?);
        } else {
            fields.push(leaf(&column.name, column.kind)?);
        }
    }
    Type::group_type_builder("rows").with_fields(fields).build().map(Arc::new)
}

/// A file that is being written, in memory.
pub struct FileWriter {
    columns: Columns,
    file_bytes: usize,
    /// None: how its columns are written is not known before the first group.
    file: Option<SerializedFileWriter<Vec<u8>>>,
    /// The group that is not full.
    rows: Vec<Change>,
    waiting: usize,
    /// What is in the file, with what waits.
    pub count: u64,
    /// Bytes of values.
    pub bytes: u64,
}

impl FileWriter {
    /// An empty one, of about so many bytes when it is full.
    pub fn new(columns: &Columns, file_bytes: usize) -> Self {
        let columns = columns.clone();
        Self { columns, file_bytes, file: None, rows: Vec::new(), waiting: 0, count: 0, bytes: 0 }
    }

    /// Adds a row. Of a file of rows only the row counts.
    pub fn add(&mut self, change: Change) -> Result<(), BackupError> {
        let size = change.row.iter().map(size).sum::<usize>();
        self.waiting += size + change.row.len() * size_of::<Value>();
        self.bytes += size as u64;
        self.count += 1;
        self.rows.push(change);
        if self.waiting >= GROUP_BYTES || self.rows.len() >= GROUP_ROWS_MAX {
            self.group()?;
        }
        Ok(())
    }

    /// How large the file is by now, without what waits.
    pub fn written(&self) -> usize {
        self.file.as_ref().map_or(0, SerializedFileWriter::bytes_written)
    }

    /// The whole file.
    pub fn finish(mut self) -> Result<Vec<u8>, BackupError> {
        self.group()?;
        let file = match self.file {
            Some(file) => file,
            None => begin(&self.columns, self.file_bytes, &[])?,
        };
        file.into_inner().map_err(|error| broken(&error))
    }

    fn group(&mut self) -> Result<(), BackupError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut rows = std::mem::take(&mut self.rows);
        self.waiting = 0;
        let columns = &self.columns;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(begin(columns, self.file_bytes, &rows)?),
        };
        let wrong = |column: &Column| {
            BackupError::new(
                crate::error::state::INTERNAL,
                format!("column {} holds a value that is not of its type", column.name),
            )
        };
        let written = (|| {
            let mut group = file.next_row_group()?;
            if columns.content == Content::Changes {
                put::<ByteArrayType>(&mut group, rows.iter().map(|change| Some(word(change.op).into())))?;
                put::<Int64Type>(
                    &mut group,
                    rows.iter().map(|change| Some(change.time.nanos.cast_signed())),
                )?;
                put::<Int64Type>(&mut group, rows.iter().map(|change| Some(i64::from(change.time.logical))))?;
            }
            for (at, column) in columns.columns.iter().enumerate() {
                // Texts move from the rows into the column: they are not copied.
                let taken = |change: &mut Change| match change.row.get_mut(at) {
                    Some(value) => std::mem::replace(value, Value::Null),
                    None => Value::Null,
                };
                if !column_of(&mut group, column, rows.iter_mut().map(taken).collect())? {
                    return Ok(Err(wrong(column)));
                }
            }
            group.close()?;
            Ok(Ok(()))
        })();
        written.map_err(|error: ParquetError| broken(&error))?
    }
}

/// A file without groups. `rows`: the first that it will have, which tell how its columns are written.
fn begin(
    columns: &Columns,
    file_bytes: usize,
    rows: &[Change],
) -> Result<SerializedFileWriter<Vec<u8>>, BackupError> {
    let level = ZstdLevel::try_new(super::manifest::LEVEL).map_err(|error| broken(&error))?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(format!("grantd {}", env!("CARGO_PKG_VERSION")));
    for (at, column) in columns.columns.iter().enumerate() {
        if !repeats(rows, at) {
            let path = ColumnPath::new(vec![column.name.clone()]);
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    // What is not used of it costs nothing; to grow would hold it twice.
    let bytes = Vec::with_capacity(file_bytes + GROUP_BYTES);
    let file = SerializedFileWriter::new(bytes, Arc::clone(&columns.schema), Arc::new(properties.build()));
    file.map_err(|error| broken(&error))
}

/// Whether a column has the same values again and again, so that a dictionary of them is worth its making. One of values that are all
/// different costs the time to find that out, in each group, and makes the file larger.
fn repeats(rows: &[Change], at: usize) -> bool {
    let sample = &rows[..rows.len().min(SAMPLE_ROWS)];
    let different: BTreeSet<&[u8]> = sample
        .iter()
        .filter_map(|change| match change.row.get(at)? {
            Value::Text(text) => Some(text.as_bytes()),
            Value::Blob(blob) => Some(blob.as_slice()),
            Value::Null | Value::Integer(_) | Value::Real(_) => None,
        })
        .collect();
    let numbers: BTreeSet<u64> = sample
        .iter()
        .filter_map(|change| match change.row.get(at)? {
            Value::Integer(integer) => Some(integer.cast_unsigned()),
            Value::Real(real) => Some(real.to_bits()),
            Value::Null | Value::Text(_) | Value::Blob(_) => None,
        })
        .collect();
    2 * (different.len() + numbers.len()) <= sample.len()
}

/// Rows of a file that stand together.
pub(crate) type Group<'g> = SerializedRowGroupWriter<'g, Vec<u8>>;

/// Writes a group's next column. False: a value is not of the column's type.
pub(crate) fn column_of(
    group: &mut Group<'_>,
    column: &Column,
    values: Vec<Value>,
) -> Result<bool, ParquetError> {
    let form = column.kind;
    let fits = values.iter().all(|value| matches!(value, Value::Null) || form.holds(value));
    let integers =
        || values.iter().map(|value| if let Value::Integer(value) = value { Some(*value) } else { None });
    match form {
        Form::Bool => put::<BoolType>(group, integers().map(|value| value.map(|value| value != 0)))?,
        Form::Int2 | Form::Int4 | Form::Date => {
            let small = |value: Option<i64>| value.and_then(|value| i32::try_from(value).ok());
            put::<Int32Type>(group, integers().map(small))?;
        }
        Form::Int8 | Form::TimestampTz | Form::Timestamp | Form::Time => {
            put::<Int64Type>(group, integers())?;
        }
        Form::Enum => {
            let label = |number: i64| Some(column.labels.as_ref()?.get(&number)?.as_str().into());
            put::<ByteArrayType>(group, integers().map(|number| number.and_then(label)))?;
            put::<Int64Type>(group, integers())?;
        }
        Form::Double => {
            let double = |value: &Value| if let Value::Real(value) = value { Some(*value) } else { None };
            put::<DoubleType>(group, values.iter().map(double))?;
        }
        Form::Text | Form::Json | Form::Bytes => {
            let bytes = |value| match value {
                Value::Text(text) => Some(text.into_bytes().into()),
                Value::Blob(blob) => Some(blob.into()),
                Value::Null | Value::Integer(_) | Value::Real(_) => None,
            };
            put::<ByteArrayType>(group, values.into_iter().map(bytes))?;
        }
        Form::Uuid => {
            let uuid = |value: &Value| uuid(value).map(|uuid| ByteArray::from(uuid.to_vec()).into());
            put::<FixedLenByteArrayType>(group, values.iter().map(uuid))?;
        }
    }
    Ok(fits)
}

/// A UUID that is written as it is shown.
fn uuid(value: &Value) -> Option<[u8; 16]> {
    match value {
        Value::Text(value) => text::parse_uuid(value).filter(|uuid| text::uuid(uuid) == *value),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => None,
    }
}

fn put<T: DataType>(
    group: &mut Group<'_>,
    column: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    for value in column {
        levels.push(i16::from(value.is_some()));
        values.extend(value);
    }
    let mut writer =
        group.next_column()?.ok_or_else(|| ParquetError::General("a column too much".to_owned()))?;
    writer.typed::<T>().write_batch(&values, Some(&levels), None)?;
    writer.close()
}

/// A file that is read, a group of rows at a time.
pub struct File {
    columns: Columns,
    reader: SerializedFileReader<Bytes>,
}

impl File {
    /// Of the file's bytes.
    pub fn open(columns: &Columns, bytes: Bytes) -> Result<Self, String> {
        let reader = SerializedFileReader::new(bytes).map_err(|error| error.to_string())?;
        let found = reader.metadata().file_metadata().schema();
        let expected = columns.schema.get_fields();
        let same = |(found, expected): (&TypePtr, &TypePtr)| {
            found.name() == expected.name() && found.get_physical_type() == expected.get_physical_type()
        };
        let is_primitive = found.get_fields().iter().all(|field| field.is_primitive());
        if !is_primitive
            || found.get_fields().len() != expected.len()
            || !found.get_fields().iter().zip(expected).all(same)
        {
            return Err("its columns are not those of the table".to_owned());
        }
        Ok(Self { columns: columns.clone(), reader })
    }

    /// How many groups it has.
    pub fn groups(&self) -> usize {
        self.reader.num_row_groups()
    }

    /// The rows of a group.
    pub fn group(&self, at: usize) -> Result<Vec<Change>, String> {
        let read = || -> Result<Vec<Change>, ParquetError> {
            let group = self.reader.get_row_group(at)?;
            let group = &*group;
            let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            let mut next = 0..;
            let mut place = || next.next().unwrap_or(0);
            let is_changes = self.columns.content == Content::Changes;
            let (mut ops, mut nanos, mut logicals) = (Vec::new(), Vec::new(), Vec::new());
            if is_changes {
                ops = get::<ByteArrayType>(group, place(), rows)?;
                nanos = get::<Int64Type>(group, place(), rows)?;
                logicals = get::<Int64Type>(group, place(), rows)?;
            }
            let mut columns = Vec::new();
            for column in &self.columns.columns {
                if column.kind == Form::Enum {
                    place();
                }
                columns.push(values(group, place(), column.kind, rows)?.into_iter());
            }
            let mut changes = Vec::new();
            for at in 0..rows {
                let row = columns.iter_mut().map(|column| column.next().unwrap_or(Value::Null)).collect();
                let (op, time) = if is_changes {
                    let op = ops.get(at).and_then(Option::as_ref).and_then(|op| parse_word(op.data()));
                    let nanos = nanos.get(at).copied().flatten();
                    let logical =
                        logicals.get(at).copied().flatten().and_then(|logical| u32::try_from(logical).ok());
                    match (op, nanos, logical) {
                        (Some(op), Some(nanos), Some(logical)) => {
                            (op, Timestamp { nanos: nanos.cast_unsigned(), logical })
                        }
                        _ => return Err(ParquetError::General("a change says not what or when".to_owned())),
                    }
                } else {
                    (Op::Insert, Timestamp::default())
                };
                changes.push(Change { op, time, row });
            }
            Ok(changes)
        };
        read().map_err(|error| error.to_string())
    }
}

fn get<T: DataType>(
    group: &dyn RowGroupReader,
    at: usize,
    rows: usize,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(at)?);
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (read, ..) = reader.read_records(rows, Some(&mut levels), None, &mut values)?;
    if read != rows {
        return Err(ParquetError::General(format!("a column has {read} values, and the group {rows} rows")));
    }
    let mut values = values.into_iter();
    Ok(levels.into_iter().map(|level| if level > 0 { values.next() } else { None }).collect())
}

fn values(
    group: &dyn RowGroupReader,
    at: usize,
    kind: Form,
    rows: usize,
) -> Result<Vec<Value>, ParquetError> {
    let or_null = |value: Option<Value>| value.unwrap_or(Value::Null);
    let text = |bytes: ByteArray| {
        let bytes = bytes.data().to_vec();
        String::from_utf8(bytes)
            .map(Value::Text)
            .map_err(|_| ParquetError::General("a text is no UTF-8".to_owned()))
    };
    Ok(match kind {
        Form::Bool => {
            let values = get::<BoolType>(group, at, rows)?.into_iter();
            values.map(|value| or_null(value.map(|value| Value::Integer(i64::from(value))))).collect()
        }
        Form::Int2 | Form::Int4 | Form::Date => {
            let values = get::<Int32Type>(group, at, rows)?.into_iter();
            values.map(|value| or_null(value.map(|value| Value::Integer(i64::from(value))))).collect()
        }
        Form::Int8 | Form::TimestampTz | Form::Timestamp | Form::Time | Form::Enum => {
            get::<Int64Type>(group, at, rows)?
                .into_iter()
                .map(|value| or_null(value.map(Value::Integer)))
                .collect()
        }
        Form::Double => get::<DoubleType>(group, at, rows)?
            .into_iter()
            .map(|value| or_null(value.map(Value::Real)))
            .collect(),
        Form::Text | Form::Json => {
            let values = get::<ByteArrayType>(group, at, rows)?.into_iter();
            values.map(|value| value.map_or(Ok(Value::Null), text)).collect::<Result<_, _>>()?
        }
        Form::Bytes => {
            let values = get::<ByteArrayType>(group, at, rows)?.into_iter();
            values.map(|value| or_null(value.map(|value| Value::Blob(value.data().to_vec())))).collect()
        }
        Form::Uuid => {
            let uuid = |value: FixedLenByteArray| {
                let bytes: [u8; 16] = value.data().try_into().unwrap_or_default();
                Value::Text(text::uuid(&bytes))
            };
            let values = get::<FixedLenByteArrayType>(group, at, rows)?.into_iter();
            values.map(|value| or_null(value.map(uuid))).collect()
        }
    })
}

fn word(op: Op) -> &'static str {
    match op {
        Op::Insert => "insert",
        Op::Update => "update",
        Op::Delete => "delete",
    }
}

fn parse_word(bytes: &[u8]) -> Option<Op> {
    [Op::Insert, Op::Update, Op::Delete].into_iter().find(|op| word(*op).as_bytes() == bytes)
}

/// What a value counts for.
fn size(value: &Value) -> usize {
    match value {
        Value::Null => 1,
        Value::Integer(_) | Value::Real(_) => 8,
        Value::Text(text) => text.len(),
        Value::Blob(blob) => blob.len(),
    }
}

fn broken(error: &ParquetError) -> BackupError {
    BackupError::new(crate::error::state::INTERNAL, format!("rows cannot be written: {error}"))
}

/// What happened to the row: `insert`, `update`, `delete`.
const OP: &str = "__grantd_op";
/// When, as nanoseconds since 1970.
const NANOS: &str = "__grantd_time";
/// Orders commits of one nanosecond.
const LOGICAL: &str = "__grantd_logical";
/// The number behind an enum's label: this, and the name of the column.
const NUMBER: &str = "__grantd_number_";
const UUID_BYTES: i32 = 16;
/// Rows of a group where they are small: what stands in memory for a row is more than its bytes.
const GROUP_ROWS_MAX: usize = 16_384;
/// How many rows tell whether values of a column repeat themselves.
const SAMPLE_ROWS: usize = 1_024;

#[cfg(test)]
mod tests;
