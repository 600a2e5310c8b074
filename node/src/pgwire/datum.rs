//! Values on the wire: format codes, OIDs, sizes, and the binary form. `parse` decodes parameters. Text forms are
//! those of `value::text`.
//!
//! Source of the binary forms: PostgreSQL's `*send` and `*recv` functions.

mod parse;
#[cfg(test)]
mod tests;

use bytes::{BufMut, BytesMut};

use crate::error::SqlError;
use crate::pgwire::reply::state;
use crate::value::decimal::Decimal;
use crate::value::{Datum, SqlType, text};

pub use parse::{parameter, value};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the protocol's words")]
pub enum Format {
    Text,
    Binary,
}

impl Format {
    /// The format of value `index` by the protocol's rule: none given means text, one means that one for all.
    pub fn of(formats: &[Self], index: usize) -> Self {
        match formats {
            [] => Self::Text,
            [all] => *all,
            each => each.get(index).copied().unwrap_or(Self::Text),
        }
    }

    /// The protocol's number for it.
    pub const fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

/// The OID that clients are told. What is not known is text, as in PostgreSQL since version 10.
pub const fn wire_oid(sql_type: SqlType) -> u32 {
    match sql_type {
        SqlType::Unknown => SqlType::Text.oid(),
        known => known.oid(),
    }
}

/// PostgreSQL's `typlen`: bytes of a value, or -1 if they vary.
pub const fn wire_size(sql_type: SqlType) -> i16 {
    match sql_type {
        SqlType::Bool => 1,
        SqlType::Int2 => 2,
        SqlType::Int4
        | SqlType::Float4
        | SqlType::Date
        | SqlType::Oid
        | SqlType::Reg(_)
        | SqlType::Enum(_) => 4,
        SqlType::Int8 | SqlType::Float8 | SqlType::Timestamp | SqlType::TimestampTz | SqlType::Time => 8,
        SqlType::Uuid => 16,
        SqlType::Name => 64,
        SqlType::Text
        | SqlType::Varchar
        | SqlType::Bytea
        | SqlType::TextArray
        | SqlType::Array(_)
        | SqlType::Interval
        | SqlType::Numeric
        | SqlType::Jsonb
        | SqlType::Bpchar(_)
        | SqlType::Unknown => -1,
    }
}

/// The type of an OID that a client gave for a parameter; none: the client leaves it to the server.
///
/// # Errors
/// 42704 for a type that is not supported.
pub fn type_of_oid(oid: u32) -> Result<Option<SqlType>, SqlError> {
    if oid == 0 || oid == SqlType::Unknown.oid() {
        return Ok(None);
    }
    // Some clients say JSON for what they send as text.
    if oid == JSON_OID {
        return Ok(Some(SqlType::Jsonb));
    }
    SqlType::from_oid(oid).map(Some).ok_or_else(|| {
        let code = grantd_catalog::refusal::state::UNDEFINED_OBJECT;
        SqlError::new(code, format!("parameters of the type with OID {oid} are not supported"))
    })
}

/// PostgreSQL's other type of JSON.
const JSON_OID: u32 = 114;
/// Microseconds from the Unix epoch to 2000-01-01, from which the binary format counts.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Days from the Unix epoch to 2000-01-01.
const POSTGRES_EPOCH_DAYS: i64 = 10_957;
/// The first byte of a JSONB value: the version of its binary form.
const JSONB_VERSION: u8 = 1;
/// PostgreSQL's `NUMERIC_NEG`: the sign of a negative number.
const NUMERIC_NEGATIVE: u16 = 0x4000;

/// Appends one value of a row with its length word. `sql_type` is the column's.
///
/// # Errors
/// XX000 if the value is not of the type, 22003 or 22008 if the binary form cannot hold it.
pub fn encode(datum: &Datum, sql_type: SqlType, format: Format, out: &mut BytesMut) -> Result<(), SqlError> {
    if matches!(datum, Datum::Null) {
        out.put_i32(-1);
        return Ok(());
    }
    let start = out.len();
    out.put_i32(0);
    match format {
        Format::Text => match (datum, sql_type) {
            (Datum::TextArray(items), SqlType::Array(element)) if element.is_vector() => {
                let items: Vec<_> = items.iter().flatten().map(String::as_str).collect();
                out.put_slice(items.join(" ").as_bytes());
            }
            _ => text::write(datum, out).expect("a buffer grows as needed"),
        },
        Format::Binary => encode_binary(datum, sql_type, out)?,
    }
    if let (Datum::Text(value), SqlType::Bpchar(chars)) = (datum, sql_type) {
        fill(value, chars as usize, out)?;
    }
    let length = i32::try_from(out.len() - start - 4)
        .map_err(|_| SqlError::new(state::NUMERIC_OUT_OF_RANGE, "a value is longer than 2 GiB"))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Blanks behind a value of CHAR(n), which is held without them.
fn fill(value: &str, chars: usize, out: &mut BytesMut) -> Result<(), SqlError> {
    let blanks = chars.saturating_sub(value.chars().count());
    if blanks > BLANKS_MAX {
        return Err(SqlError::too_large(format!(
            "a value of CHAR({chars}) has more than {BLANKS_MAX} blanks"
        ))
        .with_hint("Cast it to TEXT."));
    }
    out.put_bytes(b' ', blanks);
    Ok(())
}

/// The most blanks of one value: a row of as many such columns as there may be shall still fit into memory.
const BLANKS_MAX: usize = 64 << 10;

fn encode_binary(datum: &Datum, sql_type: SqlType, out: &mut BytesMut) -> Result<(), SqlError> {
    match (datum, sql_type) {
        (Datum::Bool(value), SqlType::Bool) => out.put_u8(u8::from(*value)),
        (Datum::Int(value), SqlType::Int2) => out.put_i16(narrow(*value)?),
        (Datum::Int(value), SqlType::Int4) => out.put_i32(narrow(*value)?),
        (Datum::Int(value), SqlType::Oid) => out.put_u32(narrow(*value)?),
        (Datum::Int(value), SqlType::Int8) => out.put_i64(*value),
        (Datum::Float(value), SqlType::Float8) => out.put_f64(*value),
        (
            Datum::Text(value),
            SqlType::Text
            | SqlType::Varchar
            | SqlType::Bpchar(_)
            | SqlType::Name
            | SqlType::Enum(_)
            | SqlType::Unknown,
        ) => out.put_slice(value.as_bytes()),
        (Datum::Bytes(value), SqlType::Bytea) => out.put_slice(value),
        (Datum::Uuid(value), SqlType::Uuid) => out.put_slice(value),
        (Datum::TimestampTz(micros), SqlType::TimestampTz) => {
            let shifted = micros.checked_sub(POSTGRES_EPOCH_MICROS);
            out.put_i64(shifted.ok_or_else(|| {
                SqlError::new(state::DATETIME_OVERFLOW, "timestamp is out of range for the binary format")
            })?);
        }
        (Datum::Float4(value), SqlType::Float4) => out.put_f32(*value),
        (Datum::Timestamp(micros), SqlType::Timestamp) => {
            let shifted = micros.checked_sub(POSTGRES_EPOCH_MICROS);
            out.put_i64(shifted.ok_or_else(|| {
                SqlError::new(state::DATETIME_OVERFLOW, "timestamp is out of range for the binary format")
            })?);
        }
        (Datum::Date(days), SqlType::Date) => out.put_i32(narrow(*days - POSTGRES_EPOCH_DAYS)?),
        (Datum::Time(micros), SqlType::Time) => out.put_i64(*micros),
        (Datum::Interval(value), SqlType::Interval) => {
            out.put_i64(value.micros);
            out.put_i32(value.days);
            out.put_i32(value.months);
        }
        (Datum::Numeric(value), SqlType::Numeric) => encode_numeric(value, out)?,
        (Datum::Jsonb(value), SqlType::Jsonb) => {
            out.put_u8(JSONB_VERSION);
            out.put_slice(value.as_bytes());
        }
        (Datum::TextArray(items), SqlType::TextArray) => encode_array(items, SqlType::Text, out)?,
        (Datum::TextArray(items), SqlType::Array(element)) => encode_array(items, element.wire_type(), out)?,
        _ => {
            let message = format!("a value of type {sql_type:?} was expected and another was computed");
            return Err(SqlError::new(state::INTERNAL, message));
        }
    }
    Ok(())
}

/// Groups of four digits: their number, the weight of the first, the sign, the scale, the groups.
fn encode_numeric(value: &str, out: &mut BytesMut) -> Result<(), SqlError> {
    let decimal = Decimal::from_canonical(value)?;
    let (negative, groups, weight) = decimal.groups();
    let too_long = || SqlError::new(state::NUMERIC_OUT_OF_RANGE, "value overflows numeric format");
    out.put_u16(u16::try_from(groups.len()).map_err(|_| too_long())?);
    out.put_i16(i16::try_from(weight).map_err(|_| too_long())?);
    out.put_u16(if negative { NUMERIC_NEGATIVE } else { 0 });
    out.put_u16(u16::try_from(decimal.scale()).map_err(|_| too_long())?);
    for group in groups {
        out.put_u16(group);
    }
    Ok(())
}

fn encode_array(items: &[Option<String>], of: SqlType, out: &mut BytesMut) -> Result<(), SqlError> {
    let length = |bytes: usize| {
        i32::try_from(bytes).map_err(|_| SqlError::new(state::NUMERIC_OUT_OF_RANGE, "an array is too long"))
    };
    out.put_i32(i32::from(!items.is_empty()));
    out.put_i32(i32::from(items.iter().any(Option::is_none)));
    out.put_u32(of.oid());
    if !items.is_empty() {
        out.put_i32(length(items.len())?);
        out.put_i32(1);
    }
    for item in items {
        match item {
            None => out.put_i32(-1),
            Some(item) if of.int_range().is_some() || of == SqlType::Bool => {
                let value = text::parse(item, of)?;
                encode(&value, of, Format::Binary, out)?;
            }
            Some(item) => {
                out.put_i32(length(item.len())?);
                out.put_slice(item.as_bytes());
            }
        }
    }
    Ok(())
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, SqlError> {
    T::try_from(value).map_err(|_| SqlError::new(state::NUMERIC_OUT_OF_RANGE, "integer out of range"))
}
