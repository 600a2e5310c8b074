//! Values from and to PostgreSQL's text form, for SQL and for the protocol alike.
//!
//! Source of the forms: PostgreSQL 18 manual, chapter 8.

mod array;
pub mod time;

use std::fmt::{self, Write};

use crate::error::{SqlError, state};
use crate::value::decimal::Decimal;
use crate::value::interval::{self, Interval, Unit};
use crate::value::json::Json;
use crate::value::{Datum, SqlType, nul_in_text, out_of_range, single};

pub use array::ITEMS_MAX as ARRAY_ITEMS_MAX;

/// Reads `text` as a value of `sql_type`, as PostgreSQL's input functions do (22P02 and its kin when it is none).
pub fn parse(text: &str, sql_type: SqlType) -> Result<Datum, SqlError> {
    if text.contains('\0') {
        return Err(nul_in_text());
    }
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    match sql_type {
        SqlType::Text | SqlType::Varchar | SqlType::Name | SqlType::Enum(_) | SqlType::Unknown => {
            Ok(Datum::Text(text.to_owned()))
        }
        SqlType::Bool => parse_bool(trimmed).map(Datum::Bool).ok_or_else(|| invalid("bool", text)),
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Oid | SqlType::Reg(_) => {
            parse_int(trimmed, text, sql_type)
        }
        SqlType::Float8 => parse_float(trimmed, text).map(Datum::Float),
        SqlType::Bytea => parse_bytes(text).map(Datum::Bytes).ok_or_else(|| invalid("bytes", text)),
        SqlType::Uuid => parse_uuid(trimmed).map(Datum::Uuid).ok_or_else(|| invalid("uuid", text)),
        SqlType::TimestampTz => {
            time::parse(trimmed).map(Datum::TimestampTz).map_err(|fault| no_time(fault, "timestamptz", text))
        }
        SqlType::Float4 => parse_single(trimmed, text).map(Datum::Float4),
        SqlType::Timestamp => time::parse_local(trimmed)
            .map(Datum::Timestamp)
            .map_err(|fault| no_time(fault, "timestamp", text)),
        SqlType::Date => {
            time::parse_date(trimmed).map(Datum::Date).map_err(|fault| no_time(fault, "date", text))
        }
        SqlType::Time => {
            time::parse_time(trimmed).map(Datum::Time).map_err(|fault| no_time(fault, "time", text))
        }
        SqlType::Interval => parse_interval(trimmed, Unit::Micros(1_000_000)).map(Datum::Interval),
        SqlType::Numeric => match Decimal::parse(trimmed)? {
            Some(decimal) => Ok(Datum::Numeric(decimal.to_string())),
            None => Err(invalid("decimal", text)),
        },
        SqlType::Jsonb => Json::parse(text).map(|json| Datum::Jsonb(json.to_string())),
        // Blanks at the end are none of the value.
        SqlType::Bpchar(_) => Ok(Datum::Text(text.trim_end_matches(' ').to_owned())),
        SqlType::TextArray => {
            array::parse(text).map(Datum::TextArray).ok_or_else(|| invalid(sql_type.word(), text))
        }
        SqlType::Array(element) => {
            let items = array::parse(text).ok_or_else(|| invalid(sql_type.word(), text))?;
            // Each as it would be shown: what is no number must not be kept as one.
            let shown = |item: String| parse(&item, element.wire_type()).map(|item| format(&item));
            let items = items.into_iter().map(|item| item.map_or(Ok(None), shown));
            items.collect::<Result<_, _>>().map(Datum::TextArray)
        }
    }
}

/// The text form of a value; none for NULL. Timestamps are shown in UTC.
pub fn format(datum: &Datum) -> Option<String> {
    if matches!(datum, Datum::Null) {
        return None;
    }
    Some(built(|out| write(datum, out)))
}

/// Appends the text form of a value; nothing for NULL, which has none.
///
/// # Errors
/// Only those of `out`.
pub fn write(datum: &Datum, out: &mut impl Write) -> fmt::Result {
    match datum {
        Datum::Null => Ok(()),
        Datum::Bool(value) => out.write_char(if *value { 't' } else { 'f' }),
        Datum::Int(value) => write!(out, "{value}"),
        Datum::Float(value) => out.write_str(&float(*value)),
        Datum::Text(value) => out.write_str(value),
        Datum::Bytes(value) => out.write_str("\\x").and_then(|()| write_hex(value, out)),
        Datum::Uuid(value) => write_uuid(value, out),
        Datum::Float4(value) => out.write_str(&float4(*value)),
        Datum::TimestampTz(micros) => time::write(*micros, out),
        Datum::Timestamp(micros) => time::write_local(*micros, out),
        Datum::Date(days) => time::write_date(*days, out),
        Datum::Time(micros) => time::write_time(*micros, out),
        Datum::Interval(value) => write!(out, "{value}"),
        Datum::Numeric(value) | Datum::Jsonb(value) => out.write_str(value),
        Datum::TextArray(items) => array::write(items, out),
    }
}

/// `{a,"b c",NULL}`: an array in text form, which is how the row store holds one.
pub fn array_text(items: &[Option<String>]) -> String {
    built(|out| array::write(items, out))
}

/// The items of an array in text form.
pub fn parse_array(text: &str) -> Option<Vec<Option<String>>> {
    array::parse(text)
}

fn built(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    write(&mut text).expect("a string grows");
    text
}

fn invalid(type_name: &str, text: &str) -> SqlError {
    SqlError::new(
        state::INVALID_TEXT_REPRESENTATION,
        format!("could not parse \"{}\" as type {type_name}", shortened(text)),
    )
}

/// At most 100 characters of what a client wrote, for a message.
fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Some(true),
        "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn parse_int(trimmed: &str, text: &str, sql_type: SqlType) -> Result<Datum, SqlError> {
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid("int", text));
    }
    let value: i64 = trimmed.parse().map_err(|_| out_of_range(sql_type))?;
    match sql_type.int_range() {
        Some((low, high)) if (low..=high).contains(&value) => Ok(Datum::Int(value)),
        _ => Err(out_of_range(sql_type)),
    }
}

fn parse_float(trimmed: &str, text: &str) -> Result<f64, SqlError> {
    match trimmed.to_ascii_lowercase().as_str() {
        "nan" => return Err(SqlError::unsupported("the float NaN")),
        "infinity" | "+infinity" | "inf" | "+inf" => return Ok(f64::INFINITY),
        "-infinity" | "-inf" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let plain = trimmed.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: f64 = match trimmed.parse() {
        Ok(value) if plain => value,
        _ => return Err(invalid("float", text)),
    };
    if value.is_infinite() {
        return Err(SqlError::new(
            state::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{}\" is out of range for type float", shortened(text)),
        ));
    }
    Ok(value)
}

/// Hex (`\x…`) or escape form.
pub fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        if !digits.len().is_multiple_of(2) {
            return None;
        }
        return digits.chunks(2).map(|pair| Some(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?)).collect();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'\\' {
            out.push(first);
            rest = tail;
        } else if let [b'\\', after @ ..] = tail {
            out.push(b'\\');
            rest = after;
        } else if let [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = tail {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            return None;
        }
    }
    Some(out)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// 32 hex digits, with hyphens after groups of four, in braces or not.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut digits = Vec::with_capacity(32);
    for byte in inner.bytes() {
        if byte == b'-' {
            if digits.is_empty() || !digits.len().is_multiple_of(4) || digits.len() >= 32 {
                return None;
            }
        } else {
            digits.push(hex_digit(byte)?);
        }
    }
    if digits.len() != 32 || inner.contains("--") {
        return None;
    }
    let mut out = [0; 16];
    for (to, pair) in out.iter_mut().zip(digits.chunks(2)) {
        *to = pair[0] << 4 | pair[1];
    }
    Some(out)
}

fn no_time(fault: time::Fault, word: &str, text: &str) -> SqlError {
    match fault {
        time::Fault::Form => SqlError::new(
            state::INVALID_DATETIME,
            format!("could not parse \"{}\" as type {word}", shortened(text)),
        ),
        time::Fault::Field => SqlError::new(
            state::DATETIME_OVERFLOW,
            format!("date/time field value out of range: \"{}\"", shortened(text)),
        ),
        time::Fault::Range => SqlError::new(state::DATETIME_OVERFLOW, format!("{word} out of range")),
        time::Fault::Infinity => SqlError::unsupported(format!("infinity as a {word}")),
    }
}

/// An interval; a number without a unit counts `unit`.
pub fn parse_interval(text: &str, unit: Unit) -> Result<Interval, SqlError> {
    Interval::parse(text, unit).map_err(|fault| match fault {
        interval::Fault::Form => SqlError::new(
            state::INVALID_DATETIME,
            format!("could not parse \"{}\" as type interval", shortened(text)),
        ),
        interval::Fault::Range => interval::out_of_range(),
    })
}

fn parse_single(trimmed: &str, text: &str) -> Result<f32, SqlError> {
    let value = parse_float(trimmed, text)?;
    // Of the text, not of the double: that would be rounded twice.
    let near: f32 =
        if value.is_infinite() { single(value) } else { trimmed.parse().unwrap_or(single(value)) };
    if near.is_infinite() && value.is_finite() {
        return Err(SqlError::new(
            state::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{}\" is out of range for type float4", shortened(text)),
        ));
    }
    Ok(near)
}

/// `2026-01-31 12:00:00.5+00`.
pub fn timestamp(micros: i64) -> String {
    built(|out| time::write(micros, out))
}

/// PostgreSQL's shortest form that reads back to the same number: scientific below 1e-4 and from 1e15.
pub fn float(value: f64) -> String {
    shortest(value, &format!("{value:e}"), &format!("{value}"), 15)
}

/// The same of single precision: scientific from 1e6.
pub fn float4(value: f32) -> String {
    shortest(f64::from(value), &format!("{value:e}"), &format!("{value}"), 6)
}

fn shortest(value: f64, scientific: &str, plain: &str, most: i32) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..most).contains(&exponent) {
        plain.to_owned()
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

/// `\x…`.
pub fn bytes(value: &[u8]) -> String {
    built(|out| out.write_str("\\x").and_then(|()| write_hex(value, out)))
}

/// `8-4-4-4-12` hex digits in lower case.
pub fn uuid(value: &[u8; 16]) -> String {
    built(|out| write_uuid(value, out))
}

fn write_uuid(value: &[u8; 16], out: &mut impl Write) -> fmt::Result {
    for (index, range) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
        if index > 0 {
            out.write_char('-')?;
        }
        write_hex(&value[range], out)?;
    }
    Ok(())
}

fn write_hex(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.write_char(char::from(DIGITS[usize::from(byte >> 4)]))?;
        out.write_char(char::from(DIGITS[usize::from(byte & 15)]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str, sql_type: SqlType) -> String {
        match parse(text, sql_type) {
            Ok(datum) => format(&datum).unwrap_or_default(),
            Err(error) => error.body.code.as_str().to_owned(),
        }
    }

    #[test]
    fn text_forms_are_those_of_postgresql() {
        let cases = [
            ("2026-11-21 10:00", SqlType::TimestampTz, "2026-11-21 10:00:00+00"),
            ("2026-11-21T10:00:00.250+02:00", SqlType::TimestampTz, "2026-11-21 08:00:00.25+00"),
            ("1969-12-31 23:59:59.999999Z", SqlType::TimestampTz, "1969-12-31 23:59:59.999999+00"),
            ("2026-02-30", SqlType::TimestampTz, "22008"),
            ("2026-02-30", SqlType::Date, "22008"),
            ("2026-2-3", SqlType::Date, "2026-02-03"),
            ("epoch", SqlType::Timestamp, "1970-01-01 00:00:00"),
            ("2026-11-21 10:00:00+02", SqlType::Timestamp, "2026-11-21 10:00:00"),
            ("2026-11-21 10:00:00.1234567", SqlType::Timestamp, "2026-11-21 10:00:00.123457"),
            ("infinity", SqlType::Date, "0A000"),
            ("6000000-01-01", SqlType::Date, "22008"),
            ("300000-01-01", SqlType::Timestamp, "22008"),
            ("10:30", SqlType::Time, "10:30:00"),
            ("25:00", SqlType::Time, "22008"),
            ("1 day 2h", SqlType::Interval, "1 day 02:00:00"),
            ("soon", SqlType::Interval, "22007"),
            ("1.50", SqlType::Numeric, "1.50"),
            ("1.5x", SqlType::Numeric, "22P02"),
            ("NaN", SqlType::Numeric, "0A000"),
            ("{\"b\":1,\"a\":2}", SqlType::Jsonb, "{\"a\": 2, \"b\": 1}"),
            ("ab  ", SqlType::Bpchar(0), "ab"),
            ("0.1", SqlType::Float4, "0.1"),
            ("16777217", SqlType::Float4, "1.6777216e+07"),
            ("1e39", SqlType::Float4, "22003"),
            ("tomorrow", SqlType::TimestampTz, "22007"),
            ("{A0EEBC99-9C0B4EF8-BB6D6BB9BD380A11}", SqlType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ("a0eebc99", SqlType::Uuid, "22P02"),
            ("\\xDEAD", SqlType::Bytea, "\\xdead"),
            ("a\\001", SqlType::Bytea, "\\x6101"),
            ("\\xabc", SqlType::Bytea, "22P02"),
            ("1e20", SqlType::Float8, "1e+20"),
            ("0.1", SqlType::Float8, "0.1"),
            ("-0.00001", SqlType::Float8, "-1e-05"),
            ("1e999", SqlType::Float8, "22003"),
            ("nan", SqlType::Float8, "0A000"),
            (" 42 ", SqlType::Int8, "42"),
            ("4 2", SqlType::Int8, "22P02"),
            ("32768", SqlType::Int2, "22003"),
            ("yes", SqlType::Bool, "t"),
            ("maybe", SqlType::Bool, "22P02"),
            ("a\0b", SqlType::Text, "22021"),
            ("{a, \"b c\",null}", SqlType::TextArray, "{a,\"b c\",NULL}"),
            ("{a", SqlType::TextArray, "22P02"),
        ];
        for (text, sql_type, expected) in cases {
            assert_eq!(round(text, sql_type), expected, "{text} as {sql_type:?}");
        }
    }
}
