//! Parameters from the wire to values.

use bytes::{Buf, Bytes};

use super::{Format, POSTGRES_EPOCH_MICROS};
use crate::pgwire::reply::state;
use crate::sql::error::SqlError;
use crate::sql::value::text::{self, ARRAY_ITEMS_MAX};
use crate::sql::value::{Datum, Element, SqlType};

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
    let Some(bytes) = value else { return Ok(Datum::Null) };
    let datum = match format {
        Format::Text => utf8(bytes)
            .map_err(|fault| fault.into_error(sql_type))
            .and_then(|text| text::parse(text, sql_type)),
        Format::Binary => from_binary(bytes, sql_type).map_err(|fault| fault.into_error(sql_type)),
    };
    datum.map_err(|mut error| {
        error.body.message = format!("error in argument for ${}: {}", index + 1, error.body.message);
        error
    })
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
        SqlType::TextArray | SqlType::Array(Element::Name) => binary_array(bytes.clone()),
        // Clients send arrays of numbers as text unless they were told otherwise.
        SqlType::Array(_) => Err(Fault::Binary),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::Binary)
}

fn binary_array(mut bytes: Bytes) -> Result<Datum, Fault> {
    let word = |bytes: &mut Bytes| bytes.try_get_i32().map_err(|_| Fault::Binary);
    let dimensions = word(&mut bytes)?;
    let (_has_null, _element) = (word(&mut bytes)?, word(&mut bytes)?);
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
                Some(utf8(&bytes.split_to(length))?.to_owned())
            }
        });
    }
    if bytes.is_empty() { Ok(Datum::TextArray(items)) } else { Err(Fault::Binary) }
}
