//! Parameters from the wire to values.

use bytes::{Buf, Bytes};

use super::{Format, JSONB_VERSION, NUMERIC_NEGATIVE, POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS};
use crate::error::SqlError;
use crate::pgwire::reply::state;
use crate::value::decimal::Decimal;
use crate::value::interval::Interval;
use crate::value::json::Json;
use crate::value::text::time::{DAYS, MICROS_PER_DAY};
use crate::value::text::{self, ARRAY_ITEMS_MAX};
use crate::value::{Datum, Family, SqlType};

/// Decodes parameter `index` (from 0) of `sql_type`.
///
/// # Errors
/// Those of the type's text form; 22P03 for bytes that are not its binary form, 22008 for a time that is out of range,
/// 22021 for text that is not UTF-8 or has a zero byte. The message names the parameter.
pub fn parameter(
    value: Option<&Bytes>,
    sql_type: SqlType,
    format: Format,
    index: usize,
) -> Result<Datum, SqlError> {
    self::value(value, sql_type, format).map_err(|mut error| {
        error.body.message = format!("error in argument for ${}: {}", index + 1, error.body.message);
        error
    })
}

/// Decodes a value of `sql_type`; none: NULL.
///
/// # Errors
/// As [`parameter`], whose message names no parameter.
pub fn value(value: Option<&Bytes>, sql_type: SqlType, format: Format) -> Result<Datum, SqlError> {
    let Some(bytes) = value else { return Ok(Datum::Null) };
    match format {
        Format::Text => utf8(bytes)
            .map_err(|fault| fault.into_error(sql_type))
            .and_then(|text| text::parse(text, sql_type)),
        Format::Binary => from_binary(bytes, sql_type).map_err(|fault| fault.into_error(sql_type)),
    }
}

/// What is wrong with the bytes of a value.
#[derive(Debug)]
enum Fault {
    /// Not of the type's binary form.
    Binary,
    /// Of the form, and out of range.
    Range,
    /// Not UTF-8, or with a zero byte.
    Encoding,
}

impl Fault {
    fn into_error(self, sql_type: SqlType) -> SqlError {
        match self {
            Self::Binary => SqlError::new(
                state::INVALID_BINARY_REPRESENTATION,
                format!("invalid binary data for type {}", sql_type.word()),
            ),
            Self::Range => SqlError::new(state::DATETIME_OVERFLOW, "timestamp out of range"),
            Self::Encoding => SqlError::new(
                state::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\"",
            ),
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::Encoding)?;
    if text.contains('\0') { Err(Fault::Encoding) } else { Ok(text) }
}

fn from_binary(bytes: &Bytes, sql_type: SqlType) -> Result<Datum, Fault> {
    match sql_type {
        SqlType::Text | SqlType::Varchar | SqlType::Name | SqlType::Enum(_) | SqlType::Unknown => {
            utf8(bytes).map(|text| Datum::Text(text.to_owned()))
        }
        SqlType::Bool => match array(bytes)? {
            [0] => Ok(Datum::Bool(false)),
            [1] => Ok(Datum::Bool(true)),
            _ => Err(Fault::Binary),
        },
        SqlType::Int2 => array(bytes).map(|bytes| Datum::Int(i16::from_be_bytes(bytes).into())),
        SqlType::Int4 => array(bytes).map(|bytes| Datum::Int(i32::from_be_bytes(bytes).into())),
        SqlType::Oid | SqlType::Reg(_) => {
            array(bytes).map(|bytes| Datum::Int(u32::from_be_bytes(bytes).into()))
        }
        SqlType::Int8 => array(bytes).map(|bytes| Datum::Int(i64::from_be_bytes(bytes))),
        SqlType::Float8 => array(bytes).map(|bytes| Datum::Float(f64::from_be_bytes(bytes))),
        SqlType::Bytea => Ok(Datum::Bytes(bytes.to_vec())),
        SqlType::Uuid => array(bytes).map(Datum::Uuid),
        SqlType::TimestampTz => {
            let micros = i64::from_be_bytes(array(bytes)?).checked_add(POSTGRES_EPOCH_MICROS);
            micros.map(Datum::TimestampTz).ok_or(Fault::Range)
        }
        SqlType::TextArray => binary_array(bytes.clone(), SqlType::Text),
        SqlType::Array(element) => binary_array(bytes.clone(), element.wire_type()),
        SqlType::Float4 => array(bytes).map(|bytes| Datum::Float4(f32::from_be_bytes(bytes))),
        SqlType::Timestamp => {
            let micros = i64::from_be_bytes(array(bytes)?);
            // PostgreSQL's infinities.
            if matches!(micros, i64::MIN | i64::MAX) {
                return Err(Fault::Range);
            }
            micros.checked_add(POSTGRES_EPOCH_MICROS).map(Datum::Timestamp).ok_or(Fault::Range)
        }
        SqlType::Date => {
            let days = i64::from(i32::from_be_bytes(array(bytes)?)) + POSTGRES_EPOCH_DAYS;
            if DAYS.contains(&days) { Ok(Datum::Date(days)) } else { Err(Fault::Range) }
        }
        SqlType::Time => match i64::from_be_bytes(array(bytes)?) {
            micros @ 0..=MICROS_PER_DAY => Ok(Datum::Time(micros)),
            _ => Err(Fault::Range),
        },
        SqlType::Interval => {
            let mut bytes = bytes.clone();
            let word = |bytes: &mut Bytes| bytes.try_get_i32().map_err(|_| Fault::Binary);
            let micros = bytes.try_get_i64().map_err(|_| Fault::Binary)?;
            let (days, months) = (word(&mut bytes)?, word(&mut bytes)?);
            if !bytes.is_empty() {
                return Err(Fault::Binary);
            }
            Ok(Datum::Interval(Interval { months, days, micros }))
        }
        SqlType::Numeric => binary_numeric(bytes.clone()),
        SqlType::Jsonb => {
            // The binary form of JSON is its text, which never begins with this byte.
            let text = bytes.strip_prefix(&[JSONB_VERSION]).unwrap_or(bytes);
            let json = Json::parse(utf8(text)?).map_err(|_| Fault::Binary)?;
            Ok(Datum::Jsonb(json.to_string()))
        }
        SqlType::Bpchar(_) => utf8(bytes).map(|text| Datum::Text(text.trim_end_matches(' ').to_owned())),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::Binary)
}

/// The inverse of `encode_numeric`. NaN and the infinities are refused.
fn binary_numeric(mut bytes: Bytes) -> Result<Datum, Fault> {
    let word = |bytes: &mut Bytes| bytes.try_get_u16().map_err(|_| Fault::Binary);
    let count = usize::from(word(&mut bytes)?);
    let weight = bytes.try_get_i16().map_err(|_| Fault::Binary)?;
    let (sign, scale) = (word(&mut bytes)?, word(&mut bytes)?);
    if !matches!(sign, 0 | NUMERIC_NEGATIVE) || bytes.len() != count * 2 {
        return Err(Fault::Binary);
    }
    let mut groups = Vec::with_capacity(count);
    for _ in 0..count {
        groups.push(word(&mut bytes)?);
    }
    if groups.iter().any(|group| *group > 9_999) {
        return Err(Fault::Binary);
    }
    Decimal::from_groups(sign == NUMERIC_NEGATIVE, &groups, weight.into(), scale.into())
        .map(|decimal| Datum::Numeric(decimal.to_string()))
        .ok_or(Fault::Binary)
}

/// An array of one dimension; its items are kept as texts.
fn binary_array(mut bytes: Bytes, of: SqlType) -> Result<Datum, Fault> {
    let word = |bytes: &mut Bytes| bytes.try_get_i32().map_err(|_| Fault::Binary);
    let dimensions = word(&mut bytes)?;
    let _has_null = word(&mut bytes)?;
    let element = bytes.try_get_u32().map_err(|_| Fault::Binary)?;
    let is_text = |oid: u32| SqlType::from_oid(oid).is_some_and(|known| known.family() == Family::Text);
    if element != of.oid() && !(is_text(element) && is_text(of.oid())) {
        return Err(Fault::Binary);
    }
    if dimensions == 0 && bytes.is_empty() {
        return Ok(Datum::TextArray(Vec::new()));
    }
    let count = word(&mut bytes)?;
    let _lower_bound = word(&mut bytes)?;
    let count = usize::try_from(count).map_err(|_| Fault::Binary)?;
    // Each item has at least a length word, so that a count is never believed beyond what is there.
    if dimensions != 1 || count > ARRAY_ITEMS_MAX || count * 4 > bytes.len() {
        return Err(Fault::Binary);
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        items.push(match word(&mut bytes)? {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| Fault::Binary)?;
                if length > bytes.len() {
                    return Err(Fault::Binary);
                }
                text::format(&from_binary(&bytes.split_to(length), of)?)
            }
        });
    }
    if bytes.is_empty() { Ok(Datum::TextArray(items)) } else { Err(Fault::Binary) }
}
