//! Messages: bytes of rows, in the form of the original. Source: cloud-jobs specification, D.3.
//!
//! JSON has the members of an object in the order of their names, a blank behind `,` and `:`, and values as the original has
//! them: times as of RFC 3339, bytes as `\x…` in a string, numbers of any length as they are.

use std::fmt::Write;

use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::{Refusal, SqlState};
use grantd_raft::rows::Value;

use super::columns::{Cell, seal};
use super::options::{Envelope, Format, Message};
use super::shape::{Column, Shape};
use crate::value::{Datum, SqlType, text};

/// What becomes of a row in one commit.
#[derive(Clone, Copy, Debug)]
pub struct Row<'r> {
    /// The row before, and what the table was then. None: there was none.
    pub before: Option<(&'r Shape, &'r [Value])>,
    /// The row after. None: it is gone.
    pub after: Option<(&'r Shape, &'r [Value])>,
    /// The commit, or that of a scan.
    pub updated: Timestamp,
    /// The name of the topic.
    pub topic: &'r str,
}

/// Writes messages in one form.
#[derive(Clone, Copy, Debug)]
pub struct Encoder(Message);

impl Encoder {
    /// In this form.
    pub const fn new(message: Message) -> Self {
        Self(message)
    }

    /// The key, as a JSON array: `[1, "a"]`.
    pub fn key(self, row: &Row<'_>) -> Result<Vec<u8>, Refusal> {
        let mut out = String::new();
        push_key(row, &mut out)?;
        Ok(out.into_bytes())
    }

    /// The message. None: it says by its key alone that the row is gone, or changed.
    pub fn value(self, row: &Row<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        let mut out = String::with_capacity(TYPICAL_BYTES);
        match (self.0.envelope, self.0.format) {
            (Envelope::KeyOnly, _) => return Ok(None),
            (_, Format::Csv) => match row.after {
                None => return Ok(None),
                Some((shape, values)) => push_csv(shape, values, &mut out)?,
            },
            (_, Format::Parquet) => return self.columns(row).map(Some),
            (Envelope::Wrapped, Format::Json) => self.push_wrapped(row, &mut out)?,
            (Envelope::Row, Format::Json) if row.after.is_none() => return Ok(None),
            (Envelope::Row | Envelope::Bare, Format::Json) => self.push_bare(row, &mut out)?,
        }
        Ok(Some(out.into_bytes()))
    }

    /// That nothing more comes up to this time.
    pub fn resolved(self, time: Timestamp) -> Vec<u8> {
        let time = shown(time);
        match self.0.envelope {
            Envelope::Wrapped | Envelope::KeyOnly => format!("{{\"resolved\":\"{time}\"}}"),
            Envelope::Row | Envelope::Bare => format!("{{\"__crdb__\":{{\"resolved\":\"{time}\"}}}}"),
        }
        .into_bytes()
    }

    /// How it is written.
    pub const fn format(self) -> Format {
        self.0.format
    }

    /// The columns of a file of Parquet, in [`super::columns::File`]'s order. Of a row that is gone those of the key.
    fn columns(self, row: &Row<'_>) -> Result<Vec<u8>, Refusal> {
        let (event, told) = match (row.before, row.after) {
            (None, after) => ("c", after),
            (Some(_), Some(after)) => ("u", Some(after)),
            (Some(before), None) => ("d", Some(before)),
        };
        let Some((shape, values)) = told else { return Err(unfit("a change")) };
        if values.len() != shape.columns.len() {
            return Err(unfit("a row"));
        }
        let mut cells = Vec::with_capacity(values.len() + ABOUT_COLUMNS_MAX);
        for (at, (column, value)) in shape.columns.iter().zip(values).enumerate() {
            cells.push(match (column.sql_type, value) {
                _ if row.after.is_none() && !shape.key.contains(&at) => Cell::Null,
                (SqlType::Enum(_), Value::Integer(position)) => {
                    Cell::Text(column.label(*position).ok_or_else(|| unfit("a label"))?)
                }
                (_, value) => Cell::of(value),
            });
        }
        cells.push(Cell::Text(event));
        let time = shown(row.updated);
        cells.extend(
            [self.0.updated, self.0.mvcc_timestamp].iter().filter(|is| **is).map(|_| Cell::Text(&time)),
        );
        let mut before = String::new();
        if self.0.diff {
            push_row(row.before, &mut before)?;
            cells.push(if row.before.is_some() { Cell::Text(&before) } else { Cell::Null });
        }
        seal(&cells).map_err(|error| unfit(&error))
    }

    fn push_wrapped(self, row: &Row<'_>, out: &mut String) -> Result<(), Refusal> {
        out.push_str("{\"after\": ");
        push_row(row.after, out)?;
        if self.0.diff {
            out.push_str(", \"before\": ");
            push_row(row.before, out)?;
        }
        let mut first = false;
        self.push_about(row, &mut first, out)?;
        out.push('}');
        Ok(())
    }

    fn push_bare(self, row: &Row<'_>, out: &mut String) -> Result<(), Refusal> {
        let about = self.0.updated || self.0.mvcc_timestamp || self.0.key_in_value || self.0.topic_in_value;
        out.push('{');
        let mut first = true;
        // Sorted among the columns by its name, as they are.
        let mut pending = about;
        if let Some((shape, values)) = row.after {
            for at in &shape.by_name {
                let column = &shape.columns[*at];
                if pending && column.name.as_str() > ABOUT {
                    pending = false;
                    self.push_metadata(row, &mut first, out)?;
                }
                separate(&mut first, out);
                out.push_str(&column.member);
                push_value(column, values.get(*at).unwrap_or(&Value::Null), out)?;
            }
        }
        if pending {
            self.push_metadata(row, &mut first, out)?;
        }
        out.push('}');
        Ok(())
    }

    fn push_metadata(self, row: &Row<'_>, first: &mut bool, out: &mut String) -> Result<(), Refusal> {
        separate(first, out);
        out.push_str("\"__crdb__\": {");
        let mut inner = true;
        self.push_about(row, &mut inner, out)?;
        out.push('}');
        Ok(())
    }

    /// The members beside the row.
    fn push_about(self, row: &Row<'_>, first: &mut bool, out: &mut String) -> Result<(), Refusal> {
        if self.0.key_in_value {
            separate(first, out);
            out.push_str("\"key\": ");
            push_key(row, out)?;
        }
        if self.0.mvcc_timestamp {
            separate(first, out);
            push_time("\"mvcc_timestamp\": \"", row.updated, out);
        }
        if self.0.topic_in_value {
            separate(first, out);
            out.push_str("\"topic\": ");
            push_string(row.topic, out);
        }
        if self.0.updated {
            separate(first, out);
            push_time("\"updated\": \"", row.updated, out);
        }
        Ok(())
    }
}

/// A time as messages have it: `1532377312562986715.0000000000`.
pub fn shown(time: Timestamp) -> String {
    format!("{}.{:010}", time.nanos, time.logical)
}

/// The hash that Go's clients of Kafka choose partitions by.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn separate(first: &mut bool, out: &mut String) {
    if !std::mem::replace(first, false) {
        out.push_str(", ");
    }
}

fn push_time(member: &str, time: Timestamp, out: &mut String) {
    // A String takes everything, here and below.
    let _ = write!(out, "{member}{}.{:010}\"", time.nanos, time.logical);
}

fn push_key(row: &Row<'_>, out: &mut String) -> Result<(), Refusal> {
    let Some((shape, values)) = row.after.or(row.before) else { return Ok(()) };
    out.push('[');
    let mut first = true;
    for at in &shape.key {
        separate(&mut first, out);
        let (column, value) = (shape.columns.get(*at), values.get(*at));
        let (Some(column), Some(value)) = (column, value) else { return Err(unfit("the key")) };
        push_value(column, value, out)?;
    }
    out.push(']');
    Ok(())
}

fn push_row(row: Option<(&Shape, &[Value])>, out: &mut String) -> Result<(), Refusal> {
    let Some((shape, values)) = row else {
        out.push_str("null");
        return Ok(());
    };
    if values.len() != shape.columns.len() {
        return Err(unfit("a row"));
    }
    out.push('{');
    let mut first = true;
    for at in &shape.by_name {
        separate(&mut first, out);
        out.push_str(&shape.columns[*at].member);
        push_value(&shape.columns[*at], &values[*at], out)?;
    }
    out.push('}');
    Ok(())
}

/// The history and the table's record are of one commit: this is a bug.
fn unfit(what: &str) -> Refusal {
    Refusal::new(SqlState::new("XX000"), format!("{what} of the change history does not fit its table"))
}

fn push_value(column: &Column, value: &Value, out: &mut String) -> Result<(), Refusal> {
    match (column.sql_type, value) {
        (_, Value::Null) => out.push_str("null"),
        (SqlType::Bool, Value::Integer(value)) => out.push_str(if *value == 0 { "false" } else { "true" }),
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Integer(value)) => {
            let _ = write!(out, "{value}");
        }
        (SqlType::Text | SqlType::Varchar | SqlType::Bpchar(_) | SqlType::Uuid, Value::Text(text)) => {
            push_string(text, out);
        }
        // Both are canonical texts that JSON takes.
        (SqlType::Numeric | SqlType::Jsonb, Value::Text(text)) => {
            let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
            if column.sql_type == SqlType::Numeric && !text.as_bytes().first().is_some_and(is_number) {
                push_string(text, out);
            } else {
                out.push_str(text);
            }
        }
        (SqlType::Enum(_), Value::Integer(position)) => match column.label(*position) {
            Some(label) => push_string(label, out),
            None => return Err(unfit("a label")),
        },
        (sql_type, value) => {
            let start = out.len();
            push_text(sql_type, value, out)?;
            let is_number = matches!(sql_type, SqlType::Float4 | SqlType::Float8);
            let is_finite = out.as_bytes()[start..].last().is_some_and(u8::is_ascii_digit);
            if !(is_number && is_finite) {
                let text = out.split_off(start);
                push_string(&as_of_rfc(sql_type, text), out);
            }
        }
    }
    Ok(())
}

/// As PostgreSQL's text has it.
fn push_text(sql_type: SqlType, value: &Value, out: &mut String) -> Result<(), Refusal> {
    let datum = Datum::from_row(value.clone(), sql_type).map_err(|error| error.body)?;
    let _ = text::write(&datum, out);
    Ok(())
}

/// Times with a `T`, and `Z` for UTC.
fn as_of_rfc(sql_type: SqlType, text: String) -> String {
    match sql_type {
        SqlType::Timestamp => text.replacen(' ', "T", 1),
        SqlType::TimestampTz => text.replacen(' ', "T", 1).replacen("+00", "Z", 1),
        _ => text,
    }
}

/// A string of JSON.
pub(super) fn push_string(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, char) in text.char_indices() {
        let plain = !matches!(char, '"' | '\\' | '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}');
        if plain {
            continue;
        }
        out.push_str(&text[from..at]);
        from = at + char.len_utf8();
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => {
                let _ = write!(out, "\\u{:04x}", u32::from(other));
            }
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// One line of CSV, without its end: columns in the order of the table, NULL is nothing.
fn push_csv(shape: &Shape, values: &[Value], out: &mut String) -> Result<(), Refusal> {
    let mut field = String::new();
    for (at, (column, value)) in shape.columns.iter().zip(values).enumerate() {
        if at > 0 {
            out.push(',');
        }
        field.clear();
        match (column.sql_type, value) {
            (_, Value::Null) => {}
            (SqlType::Enum(_), Value::Integer(position)) => {
                field.push_str(column.label(*position).ok_or_else(|| unfit("a label"))?);
            }
            (sql_type, value) => push_text(sql_type, value, &mut field)?,
        }
        let quoted =
            field.contains([',', '"', '\n', '\r']) || field.starts_with([' ', '\t']) || field == "\\.";
        if quoted {
            out.push('"');
            out.push_str(&field.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&field);
        }
    }
    Ok(())
}

/// What is beside a row in it.
const ABOUT: &str = "__crdb__";
/// Beside those of the table.
const ABOUT_COLUMNS_MAX: usize = 4;
/// Enough for a row of some columns, so that it grows seldom.
const TYPICAL_BYTES: usize = 256;

#[cfg(test)]
pub(super) mod tests;
