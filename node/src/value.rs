//! Values and types as clients see them, and how the row store holds them.

use std::cmp::Ordering;
use std::sync::Arc;

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::ColumnType;
use grantd_raft::rows::{Collation, Value};

use self::interval::Interval;
use crate::error::{SqlError, state};

pub mod decimal;
pub mod interval;
pub mod json;
pub mod text;

/// The type of a column or parameter, with PostgreSQL's OID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "PostgreSQL's types of the same name")]
pub enum SqlType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float8,
    Text,
    Varchar,
    Bytea,
    Uuid,
    TimestampTz,
    Float4,
    Timestamp,
    Date,
    Time,
    Interval,
    Numeric,
    Jsonb,
    /// CHAR(n), whose values are shown with blanks up to n characters; 0: as they are.
    Bpchar(u32),
    Oid,
    Name,
    TextArray,
    /// An array of another type that the system tables have.
    Array(Element),
    /// An OID whose text is a name; in results it is that text.
    Reg(Reg),
    /// An enum type of the catalog. Inside of a statement its values are positions, in results they are labels.
    Enum(ObjectId),
    /// Not known: a parameter that nothing pins down, a bare NULL.
    Unknown,
}

/// What an array that is not [`SqlType::TextArray`] is of. The two vectors are arrays that PostgreSQL prints with blanks
/// between and counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "PostgreSQL's types of the same name")]
pub enum Element {
    Name,
    Int2,
    Int4,
    Int8,
    Oid,
    AclItem,
    Int2Vector,
    OidVector,
    /// Its items are `t` and `f`.
    Bool,
}

impl Element {
    /// The type of one item inside of a statement.
    pub const fn sql_type(self) -> SqlType {
        match self {
            Self::Name => SqlType::Name,
            Self::Int2 | Self::Int2Vector => SqlType::Int2,
            Self::Int4 => SqlType::Int4,
            Self::Int8 => SqlType::Int8,
            Self::Oid | Self::OidVector => SqlType::Oid,
            Self::AclItem | Self::Bool => SqlType::Text,
        }
    }

    /// The type that clients are told an item has.
    pub const fn wire_type(self) -> SqlType {
        match self {
            Self::Bool => SqlType::Bool,
            other => other.sql_type(),
        }
    }

    /// Whether it is one of the two vectors.
    pub const fn is_vector(self) -> bool {
        matches!(self, Self::Int2Vector | Self::OidVector)
    }
}

/// What an OID is of whose text is a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "regclass and its kin")]
pub enum Reg {
    Class,
    Type,
    Role,
    Namespace,
}
/// The OID of an enum type is this and the number of its object.
const ENUM_OID_BASE: u32 = 100_000;

/// A value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the value of the type of the same name")]
pub enum Datum {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Uuid([u8; 16]),
    Float4(f32),
    /// Microseconds since the Unix epoch.
    TimestampTz(i64),
    /// The same without a time zone.
    Timestamp(i64),
    /// Days since the Unix epoch.
    Date(i64),
    /// Microseconds since midnight.
    Time(i64),
    Interval(Interval),
    /// A canonical text of [`decimal`].
    Numeric(String),
    /// A canonical text of [`json`].
    Jsonb(String),
    TextArray(Vec<Option<String>>),
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
}

/// Types that compare with each other and convert without a cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the types of the same name")]
pub enum Family {
    Bool,
    Int,
    Float,
    Text,
    Bytes,
    Uuid,
    Timestamp,
    /// Without a time zone.
    LocalTimestamp,
    Date,
    Time,
    Interval,
    Numeric,
    Json,
    TextArray,
    Enum(ObjectId),
    Unknown,
}

impl SqlType {
    /// Every type that every cluster has.
    pub const ALL: [Self; 35] = [
        Self::Bool,
        Self::Int2,
        Self::Int4,
        Self::Int8,
        Self::Float8,
        Self::Text,
        Self::Varchar,
        Self::Bytea,
        Self::Uuid,
        Self::TimestampTz,
        Self::Float4,
        Self::Timestamp,
        Self::Date,
        Self::Time,
        Self::Interval,
        Self::Numeric,
        Self::Jsonb,
        Self::Bpchar(0),
        Self::Oid,
        Self::Name,
        Self::TextArray,
        Self::Array(Element::Name),
        Self::Array(Element::Int2),
        Self::Array(Element::Int4),
        Self::Array(Element::Int8),
        Self::Array(Element::Oid),
        Self::Array(Element::AclItem),
        Self::Array(Element::Bool),
        Self::Array(Element::Int2Vector),
        Self::Array(Element::OidVector),
        Self::Reg(Reg::Class),
        Self::Reg(Reg::Type),
        Self::Reg(Reg::Role),
        Self::Reg(Reg::Namespace),
        Self::Unknown,
    ];

    /// PostgreSQL's OID.
    pub const fn oid(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Bytea => 17,
            Self::Name => 19,
            Self::Int8 => 20,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Text => 25,
            Self::Oid => 26,
            Self::Float8 => 701,
            Self::Unknown => 705,
            Self::TextArray => 1009,
            Self::Array(Element::Int2Vector) => 22,
            Self::Array(Element::OidVector) => 30,
            Self::Array(Element::Bool) => 1000,
            Self::Array(Element::Name) => 1003,
            Self::Array(Element::Int2) => 1005,
            Self::Array(Element::Int4) => 1007,
            Self::Array(Element::Int8) => 1016,
            Self::Array(Element::Oid) => 1028,
            Self::Array(Element::AclItem) => 1034,
            Self::Reg(Reg::Class) => 2205,
            Self::Reg(Reg::Type) => 2206,
            Self::Reg(Reg::Namespace) => 4089,
            Self::Reg(Reg::Role) => 4096,
            Self::Varchar => 1043,
            Self::TimestampTz => 1184,
            Self::Float4 => 700,
            Self::Bpchar(_) => 1042,
            Self::Date => 1082,
            Self::Time => 1083,
            Self::Timestamp => 1114,
            Self::Interval => 1186,
            Self::Numeric => 1700,
            Self::Jsonb => 3802,
            Self::Uuid => 2950,
            Self::Enum(id) => ENUM_OID_BASE.wrapping_add(id.0),
        }
    }

    /// The type of an OID; none: not one of ours. Whether an enum type exists only the catalog knows.
    pub fn from_oid(oid: u32) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|known| known.oid() == oid);
        let enum_id = || oid.checked_sub(ENUM_OID_BASE).filter(|id| *id >= ObjectId::FIRST_ORDINARY.0);
        known.or_else(|| enum_id().map(|id| Self::Enum(ObjectId(id))))
    }

    /// What it compares with.
    pub const fn family(self) -> Family {
        match self {
            Self::Bool => Family::Bool,
            Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid | Self::Reg(_) => Family::Int,
            Self::Float4 | Self::Float8 => Family::Float,
            Self::Text | Self::Varchar | Self::Bpchar(_) | Self::Name => Family::Text,
            Self::Bytea => Family::Bytes,
            Self::Uuid => Family::Uuid,
            Self::TimestampTz => Family::Timestamp,
            Self::Timestamp => Family::LocalTimestamp,
            Self::Date => Family::Date,
            Self::Time => Family::Time,
            Self::Interval => Family::Interval,
            Self::Numeric => Family::Numeric,
            Self::Jsonb => Family::Json,
            Self::TextArray | Self::Array(_) => Family::TextArray,
            Self::Enum(id) => Family::Enum(id),
            Self::Unknown => Family::Unknown,
        }
    }

    /// The word in messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int",
            Self::Float8 => "float",
            Self::Text => "string",
            Self::Varchar => "varchar",
            Self::Bytea => "bytes",
            Self::Uuid => "uuid",
            Self::TimestampTz => "timestamptz",
            Self::Float4 => "float4",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Time => "time",
            Self::Interval => "interval",
            Self::Numeric => "decimal",
            Self::Jsonb => "jsonb",
            Self::Bpchar(_) => "char",
            Self::Oid => "oid",
            Self::Name => "name",
            Self::TextArray => "string[]",
            Self::Array(Element::Bool) => "bool[]",
            Self::Array(Element::Name) => "name[]",
            Self::Array(Element::Int2) => "int2[]",
            Self::Array(Element::Int4) => "int4[]",
            Self::Array(Element::Int8) => "int[]",
            Self::Array(Element::Oid) => "oid[]",
            Self::Array(Element::AclItem) => "aclitem[]",
            Self::Array(Element::Int2Vector) => "int2vector",
            Self::Array(Element::OidVector) => "oidvector",
            Self::Reg(Reg::Class) => "regclass",
            Self::Reg(Reg::Type) => "regtype",
            Self::Reg(Reg::Role) => "regrole",
            Self::Reg(Reg::Namespace) => "regnamespace",
            Self::Enum(_) => "enum",
            Self::Unknown => "unknown",
        }
    }

    /// The type of a stored column.
    pub const fn of_column(column: ColumnType) -> Self {
        match column {
            ColumnType::Bool => Self::Bool,
            ColumnType::Int2 => Self::Int2,
            ColumnType::Int4 => Self::Int4,
            ColumnType::Int8 => Self::Int8,
            ColumnType::Float8 => Self::Float8,
            ColumnType::Text { chars_max: Some(_) } => Self::Varchar,
            ColumnType::Text { chars_max: None } => Self::Text,
            ColumnType::Bytes => Self::Bytea,
            ColumnType::Uuid => Self::Uuid,
            ColumnType::TimestampTz => Self::TimestampTz,
            ColumnType::Float4 => Self::Float4,
            ColumnType::Timestamp => Self::Timestamp,
            ColumnType::Date => Self::Date,
            ColumnType::Time => Self::Time,
            ColumnType::Interval => Self::Interval,
            ColumnType::Decimal { .. } => Self::Numeric,
            ColumnType::Jsonb => Self::Jsonb,
            ColumnType::Char { chars } => Self::Bpchar(chars),
            ColumnType::Enum(id) => Self::Enum(id),
        }
    }

    /// The same without a length that values are filled up to: of what a client sends, and of what comes from several places.
    #[must_use]
    pub const fn any_length(self) -> Self {
        match self {
            Self::Bpchar(_) => Self::Bpchar(0),
            other => other,
        }
    }

    /// The integer range, for integer types.
    pub const fn int_range(self) -> Option<(i64, i64)> {
        match self {
            Self::Int2 => Some((i16::MIN as i64, i16::MAX as i64)),
            Self::Int4 => Some((i32::MIN as i64, i32::MAX as i64)),
            Self::Oid | Self::Reg(_) => Some((0, u32::MAX as i64)),
            Self::Int8 => Some((i64::MIN, i64::MAX)),
            Self::Bool
            | Self::Float8
            | Self::Text
            | Self::Varchar
            | Self::Bytea
            | Self::Uuid
            | Self::TimestampTz
            | Self::Float4
            | Self::Timestamp
            | Self::Date
            | Self::Time
            | Self::Interval
            | Self::Numeric
            | Self::Jsonb
            | Self::Bpchar(_)
            | Self::Name
            | Self::TextArray
            | Self::Array(_)
            | Self::Enum(_)
            | Self::Unknown => None,
        }
    }
}

impl Datum {
    /// The value as the row store holds it, checked against the type that the statement expects.
    pub fn to_row(&self, expected: SqlType) -> Result<Value, SqlError> {
        let value = match self {
            Self::Null => return Ok(Value::Null),
            Self::Bool(value) => Value::Integer(i64::from(*value)),
            Self::Int(value) => {
                if let Some((low, high)) = expected.int_range()
                    && !(low..=high).contains(value)
                {
                    return Err(out_of_range(expected));
                }
                Value::Integer(*value)
            }
            Self::Float(value) if value.is_nan() => return Err(SqlError::unsupported("the float NaN")),
            Self::Float(value) => Value::Real(*value),
            Self::Text(value) if value.contains('\0') => return Err(nul_in_text()),
            Self::Text(value) => Value::Text(value.clone()),
            Self::Bytes(value) => Value::Blob(value.clone()),
            Self::Uuid(value) => Value::Text(text::uuid(value)),
            Self::Float4(value) if value.is_nan() => return Err(SqlError::unsupported("the float NaN")),
            Self::Float4(value) => Value::Real(f64::from(*value)),
            Self::TimestampTz(value) | Self::Timestamp(value) | Self::Date(value) | Self::Time(value) => {
                Value::Integer(*value)
            }
            Self::Interval(value) => Value::Text(value.to_string()),
            Self::Numeric(value) | Self::Jsonb(value) => Value::Text(value.clone()),
            Self::TextArray(items) => Value::Text(text::array_text(items)),
        };
        let family = match self {
            Self::Null => Family::Unknown,
            Self::Bool(_) => Family::Bool,
            Self::Int(_) => Family::Int,
            Self::Float(_) => Family::Float,
            Self::Text(_) => Family::Text,
            Self::Bytes(_) => Family::Bytes,
            Self::Uuid(_) => Family::Uuid,
            Self::Float4(_) => Family::Float,
            Self::TimestampTz(_) => Family::Timestamp,
            Self::Timestamp(_) => Family::LocalTimestamp,
            Self::Date(_) => Family::Date,
            Self::Time(_) => Family::Time,
            Self::Interval(_) => Family::Interval,
            Self::Numeric(_) => Family::Numeric,
            Self::Jsonb(_) => Family::Json,
            Self::TextArray(_) => Family::TextArray,
        };
        // The row store looks a label up.
        let is_label = family == Family::Text && matches!(expected, SqlType::Enum(_) | SqlType::Unknown);
        if family == expected.family() || is_label {
            Ok(value)
        } else if let (Self::Text(written), false) = (self, expected == SqlType::Unknown) {
            // A client may send every parameter as text.
            text::parse(written, expected)?.to_row(expected)
        } else {
            Err(SqlError::new(
                state::DATATYPE_MISMATCH,
                format!("a parameter is not of type {}", expected.word()),
            ))
        }
    }

    /// The client's value of what the row store returned in a column of type `sql_type`.
    pub fn from_row(value: Value, sql_type: SqlType) -> Result<Self, SqlError> {
        let wrong = || SqlError::internal(format!("the row store returned no {}", sql_type.word()));
        Ok(match (sql_type.family(), value) {
            (_, Value::Null) => Self::Null,
            (Family::Bool, Value::Integer(0)) => Self::Bool(false),
            (Family::Bool, Value::Integer(1)) => Self::Bool(true),
            (Family::Int, Value::Integer(value)) => Self::Int(value),
            (Family::Float, Value::Real(value)) if sql_type == SqlType::Float4 => Self::Float4(single(value)),
            (Family::Float, Value::Real(value)) => Self::Float(value),
            (Family::LocalTimestamp, Value::Integer(value)) => Self::Timestamp(value),
            (Family::Date, Value::Integer(value)) => Self::Date(value),
            (Family::Time, Value::Integer(value)) => Self::Time(value),
            (Family::Interval, Value::Text(value)) => Self::Interval(Interval::from_canonical(&value)?),
            (Family::Numeric, Value::Text(value)) => Self::Numeric(value),
            (Family::Json, Value::Text(value)) => Self::Jsonb(value),
            // In RETURNING SQLite gives whole numbers of a REAL column as it stores them.
            (Family::Float, Value::Integer(value)) => Self::Float(value as f64),
            (Family::Text | Family::Enum(_) | Family::Unknown, Value::Text(value)) => Self::Text(value),
            (Family::Bytes, Value::Blob(value)) => Self::Bytes(value),
            (Family::Uuid, Value::Text(value)) => Self::Uuid(text::parse_uuid(&value).ok_or_else(wrong)?),
            (Family::Timestamp, Value::Integer(value)) => Self::TimestampTz(value),
            (Family::TextArray, Value::Text(value)) => {
                Self::TextArray(text::parse_array(&value).ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        })
    }
}

/// The orders of texts that are values of a type, for the row store.
pub fn collations() -> Vec<Collation> {
    let collation =
        |name, compare: fn(&str, &str) -> Ordering| Collation { name, compare: Arc::new(compare) };
    vec![
        collation("decimal", decimal::compare),
        collation("interval", interval::compare),
        collation("jsonb", json::compare),
    ]
}

/// The nearest number of single precision.
#[allow(clippy::cast_possible_truncation, reason = "the nearest is what is wanted")]
pub const fn single(value: f64) -> f32 {
    value as f32
}

/// 22003 for an integer type.
pub fn out_of_range(sql_type: SqlType) -> SqlError {
    let message = match sql_type {
        SqlType::Int8 => "integer out of range".to_owned(),
        other => format!("integer out of range for type {}", other.word()),
    };
    SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

/// 22021: PostgreSQL's text never holds the zero character.
pub fn nul_in_text() -> SqlError {
    SqlError::new(state::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\": 0x00")
}
