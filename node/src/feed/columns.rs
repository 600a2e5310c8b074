//! Rows as Parquet: the columns of a file, and rows on their way into one. Beside the columns of the table stand those that the
//! original has: `__crdb__event_type` (`c`, `u`, `d`), and as asked for `__crdb__updated`, `__crdb__mvcc_timestamp` and
//! `__crdb__before`.

use std::sync::Arc;

use bincode::{BorrowDecode, Encode};
use grantd_raft::rows::Value;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

use super::options::{Codec, Message};
use super::shape::Shape;
use crate::backup::data::{Column, Form, column_of, leaf};
use crate::value::SqlType;

/// A value on its way: messages are bytes.
#[derive(Encode, BorrowDecode)]
pub(super) enum Cell<'c> {
    /// NULL.
    Null,
    /// As the row store has it.
    Integer(i64),
    /// The same.
    Real(f64),
    /// The same; of an enum its label.
    Text(&'c str),
    /// The same.
    Blob(&'c [u8]),
}

impl<'c> Cell<'c> {
    /// Of a value that is no enum's.
    pub(super) fn of(value: &'c Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer(*value),
            Value::Real(value) => Self::Real(*value),
            Value::Text(text) => Self::Text(text),
            Value::Blob(bytes) => Self::Blob(bytes),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(*value),
            Self::Real(value) => Value::Real(*value),
            Self::Text(text) => Value::Text((*text).to_owned()),
            Self::Blob(bytes) => Value::Blob(bytes.to_vec()),
        }
    }
}

/// A row as bytes, which only [`File`] reads, in the process that wrote them.
pub(super) fn seal(row: &[Cell<'_>]) -> Result<Vec<u8>, String> {
    bincode::encode_to_vec(row, bincode::config::standard()).map_err(|error| error.to_string())
}

fn open(bytes: &[u8]) -> Result<Vec<Value>, ParquetError> {
    let opened = bincode::borrow_decode_from_slice::<Vec<Cell<'_>>, _>(bytes, bincode::config::standard());
    let (cells, _) = opened.map_err(|error| ParquetError::General(error.to_string()))?;
    Ok(cells.iter().map(Cell::value).collect())
}

/// A file that is written in memory: of one table, in one shape.
pub(super) struct File {
    columns: Vec<Column>,
    file: SerializedFileWriter<Vec<u8>>,
    /// The group that is not full.
    rows: Vec<Vec<Value>>,
    waiting: usize,
}

impl File {
    /// An empty one.
    pub fn new(shape: &Shape, message: Message, codec: Option<Codec>) -> Result<Self, ParquetError> {
        let own = shape.columns.iter().map(|column| (column.name.as_str(), form(column.sql_type)));
        let about = [
            ("__crdb__event_type", Form::Text, true),
            ("__crdb__updated", Form::Text, message.updated),
            ("__crdb__mvcc_timestamp", Form::Text, message.mvcc_timestamp),
            ("__crdb__before", Form::Json, message.diff),
        ];
        let about = about.into_iter().filter(|(.., is_asked)| *is_asked).map(|(name, form, _)| (name, form));
        let columns = own.chain(about).map(|(name, form)| Column::new(name, form)).collect::<Vec<_>>();
        let properties = WriterProperties::builder()
            .set_compression(match codec {
                None => Compression::UNCOMPRESSED,
                Some(Codec::Gzip) => Compression::GZIP(GzipLevel::default()),
                Some(Codec::Zstd) => Compression::ZSTD(ZstdLevel::default()),
            })
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(format!("grantd {}", env!("CARGO_PKG_VERSION")))
            .build();
        let file = SerializedFileWriter::new(Vec::new(), schema(&columns)?, Arc::new(properties))?;
        Ok(Self { columns, file, rows: Vec::new(), waiting: 0 })
    }

    /// Adds a sealed row.
    pub fn add(&mut self, row: &[u8]) -> Result<(), ParquetError> {
        self.rows.push(open(row)?);
        self.waiting += row.len();
        if self.waiting >= GROUP_BYTES || self.rows.len() >= GROUP_ROWS_MAX {
            self.group()?;
        }
        Ok(())
    }

    /// The whole file.
    pub fn finish(mut self) -> Result<Vec<u8>, ParquetError> {
        self.group()?;
        self.file.into_inner()
    }

    fn group(&mut self) -> Result<(), ParquetError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut rows = std::mem::take(&mut self.rows);
        self.waiting = 0;
        let mut group = self.file.next_row_group()?;
        for (at, column) in self.columns.iter().enumerate() {
            let value = |row: &mut Vec<Value>| {
                row.get_mut(at).map_or(Value::Null, |value| std::mem::replace(value, Value::Null))
            };
            let values = rows.iter_mut().map(value).collect();
            if !column_of(&mut group, column, values)? {
                let message = format!("column {} holds a value that is not of its type", column.name());
                return Err(ParquetError::General(message));
            }
        }
        group.close().map(drop)
    }
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().map(|column| leaf(column.name(), column.form())).collect::<Result<_, _>>()?;
    Type::group_type_builder("rows").with_fields(fields).build().map(Arc::new)
}

/// How a file has a type's values. Types that no column of a table is of are not in the history.
const fn form(sql_type: SqlType) -> Form {
    match sql_type {
        SqlType::Bool => Form::Bool,
        SqlType::Int2 => Form::Int2,
        SqlType::Int4 => Form::Int4,
        SqlType::Int8 | SqlType::Oid => Form::Int8,
        SqlType::Float4 | SqlType::Float8 => Form::Double,
        SqlType::Jsonb => Form::Json,
        SqlType::Bytea => Form::Bytes,
        SqlType::Uuid => Form::Uuid,
        SqlType::TimestampTz => Form::TimestampTz,
        SqlType::Timestamp => Form::Timestamp,
        SqlType::Date => Form::Date,
        SqlType::Time => Form::Time,
        // A decimal has any number of digits.
        SqlType::Numeric
        | SqlType::Interval
        | SqlType::Text
        | SqlType::Varchar
        | SqlType::Bpchar(_)
        | SqlType::Enum(_)
        | SqlType::Name
        | SqlType::TextArray
        | SqlType::Array(_)
        | SqlType::Reg(_)
        | SqlType::Unknown => Form::Text,
    }
}

/// Rows of a group, as bytes of messages: what a reader skips or reads at once.
const GROUP_BYTES: usize = 4 << 20;
/// Rows of a group where they are small: what stands in memory for a row is more than its bytes.
const GROUP_ROWS_MAX: usize = 16_384;
