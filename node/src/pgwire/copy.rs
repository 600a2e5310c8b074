//! The data of COPY: bytes to rows and rows to bytes, in the text, CSV and binary formats. No I/O; what is not whole
//! yet waits in a buffer that is bounded by one row.
//!
//! `line` cuts lines and fields, `binary` cuts tuples, `encode` writes. Source: PostgreSQL 15, `copyfromparse.c` and
//! `copyto.c`, whose messages these are; `node/tests/pgwire/copy.rs` shows them at work.

mod binary;
mod encode;
mod line;
#[cfg(test)]
mod tests;

use bytes::BytesMut;
use grantd_catalog::refusal::SqlState;
use grantd_raft::config::ENTRY_BYTES_MAX;

use crate::error::{SqlError, state};
use crate::sql::execute::{CopiedRows, CopyIn};
use crate::sql::parse::copy::{CopyFormat, Header};
use crate::value::{Datum, SqlType, text};

pub use encode::Encoder;

use binary::Tuples;
use line::Lines;

/// The most bytes of one row: what no entry of the log can take.
pub const ROW_BYTES_MAX: usize = ENTRY_BYTES_MAX;
/// Rows that are handed on together, if they are not large.
const BATCH_ROWS: usize = 1_000;
/// Bytes after which fewer rows are handed on.
const BATCH_BYTES: usize = 1 << 20;
/// How much of a value or line a message repeats, as in PostgreSQL.
const SHOWN_BYTES_MAX: usize = 100;

/// 22P04.
const BAD_COPY_FILE_FORMAT: SqlState = SqlState::new("22P04");

/// Takes the client's bytes apart.
#[derive(Debug)]
pub struct Decoder {
    into: CopyIn,
    input: BytesMut,
    form: Form,
    /// The end mark was there.
    ended: bool,
    /// The line of names was there, or none is to come.
    past_header: bool,
    /// Whole rows.
    rows: CopiedRows,
    bytes: usize,
}

#[derive(Debug)]
enum Form {
    Lines(Lines),
    Tuples(Tuples),
}

impl Decoder {
    /// A decoder of what is copied `into` a table.
    pub fn new(into: CopyIn) -> Self {
        let form = match into.options.format {
            CopyFormat::Binary => Form::Tuples(Tuples::default()),
            CopyFormat::Text | CopyFormat::Csv => Form::Lines(Lines::new(&into.options)),
        };
        let past_header = into.options.header == Header::Off;
        Self {
            into,
            input: BytesMut::new(),
            form,
            ended: false,
            past_header,
            rows: CopiedRows::default(),
            bytes: 0,
        }
    }

    /// Takes the bytes of one message. Where messages begin and end means nothing.
    ///
    /// # Errors
    /// 22P04 where they are not the format's, those of the types' input functions, 22021, 54000. The detail says where.
    pub fn push(&mut self, data: &[u8]) -> Result<(), SqlError> {
        if self.ended && !matches!(self.form, Form::Tuples(_)) {
            // As in PostgreSQL, what follows the end mark is not looked at.
            return Ok(());
        }
        self.input.extend_from_slice(data);
        self.bytes += data.len();
        self.decode(false)?;
        if self.input.len() > ROW_BYTES_MAX {
            let error = SqlError::too_large(format!("a row of COPY has more than {ROW_BYTES_MAX} bytes"));
            return Err(self.placed(error, &Place::Row));
        }
        Ok(())
    }

    /// The client has sent everything.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self) -> Result<(), SqlError> {
        if self.ended { Ok(()) } else { self.decode(true) }
    }

    /// Whether enough rows are here to be handed on.
    pub fn is_full(&self) -> bool {
        self.rows.lines.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// The whole rows that came since the last call.
    pub fn take(&mut self) -> CopiedRows {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }

    fn decode(&mut self, last: bool) -> Result<(), SqlError> {
        while !self.ended {
            let more = match &self.form {
                Form::Lines(_) => self.line(last)?,
                Form::Tuples(_) => self.tuple(last)?,
            };
            if !more {
                break;
            }
        }
        match &self.form {
            Form::Tuples(_) if self.ended && !self.input.is_empty() => {
                Err(bad("received copy data after EOF marker"))
            }
            _ => Ok(()),
        }
    }

    /// Decodes one line; `false`: there is no whole one.
    fn line(&mut self, last: bool) -> Result<bool, SqlError> {
        let Form::Lines(lines) = &mut self.form else { return Ok(false) };
        let cut = match lines.cut(&self.input, last) {
            Ok(Some(cut)) => cut,
            Ok(None) => return Ok(false),
            Err(error) => return Err(self.placed(error, &Place::Row)),
        };
        let whole = self.input.split_to(cut.whole);
        let line = &whole[..cut.line];
        if line == b"\\." {
            self.ended = true;
            return Ok(true);
        }
        let Form::Lines(lines) = &mut self.form else { return Ok(false) };
        let split = lines.split(line);
        match split {
            Err(error) => return Err(self.placed(error, &Place::Line(line))),
            Ok(()) if self.past_header => self.row(line)?,
            Ok(()) => {
                self.past_header = true;
                written(line).map_err(|error| self.placed(error, &Place::Row))?;
                self.check_header().map_err(|error| self.placed(error, &Place::Line(line)))?;
            }
        }
        Ok(true)
    }

    /// The values of the line that was split last.
    fn row(&mut self, line: &[u8]) -> Result<(), SqlError> {
        let Form::Lines(lines) = &self.form else { return Ok(()) };
        let columns = &self.into.columns;
        if lines.count() > columns.len() {
            return Err(self.placed(bad("extra data after last expected column"), &Place::Line(line)));
        }
        for (at, column) in columns.iter().enumerate() {
            if at >= lines.count() {
                let error = bad(format!("missing data for column \"{}\"", column.name));
                return Err(self.placed(error, &Place::Line(line)));
            }
            let datum = match lines.field(at, &self.into.options, &column.name) {
                None => Datum::Null,
                Some(bytes) => parse(bytes, column.sql_type)
                    .map_err(|error| self.placed(error, &Place::Value(&column.name, bytes)))?,
            };
            self.rows.values.push(datum);
        }
        self.rows.lines.push(lines.number());
        Ok(())
    }

    fn check_header(&self) -> Result<(), SqlError> {
        let Form::Lines(lines) = &self.form else { return Ok(()) };
        if self.into.options.header != Header::Match {
            return Ok(());
        }
        let (got, expected) = (lines.count(), self.into.columns.len());
        if got != expected {
            let message = format!("wrong number of fields in header line: got {got}, expected {expected}");
            return Err(bad(message));
        }
        for (at, column) in self.into.columns.iter().enumerate() {
            let field = lines.field(at, &self.into.options, &column.name);
            let shown = field.map_or_else(|| self.into.options.null.clone(), shown);
            if field != Some(column.name.as_bytes()) {
                return Err(bad(format!(
                    "column name mismatch in header line field {}: got \"{shown}\", expected \"{}\"",
                    at + 1,
                    column.name
                )));
            }
        }
        Ok(())
    }

    /// Decodes one tuple; `false`: there is no whole one.
    fn tuple(&mut self, last: bool) -> Result<bool, SqlError> {
        let Form::Tuples(tuples) = &mut self.form else { return Ok(false) };
        match tuples.cut(&mut self.input, self.into.columns.len(), last) {
            Ok(binary::Cut::More) => Ok(false),
            Ok(binary::Cut::End) => {
                self.ended = true;
                Ok(true)
            }
            Ok(binary::Cut::Header) => Ok(true),
            Ok(binary::Cut::Tuple(tuple)) => {
                let number = tuples.number();
                let decoded = binary::values(&tuple, &self.into.columns, &mut self.rows.values);
                decoded
                    .map(|()| self.rows.lines.push(number))
                    .map(|()| true)
                    .map_err(|(error, column)| self.placed(error, &Place::Column(&column)))
            }
            Err(error) => Err(self.placed(error, &Place::Row)),
        }
    }

    /// The error with where it is.
    fn placed(&self, error: SqlError, place: &Place<'_>) -> SqlError {
        let number = match &self.form {
            Form::Lines(lines) => lines.number(),
            Form::Tuples(tuples) => tuples.number(),
        };
        let begin = format!("COPY {}, line {number}", self.into.relation);
        let place = match place {
            Place::Row => begin,
            Place::Line(line) => format!("{begin}: \"{}\"", shown(line)),
            Place::Column(name) => format!("{begin}, column {name}"),
            Place::Value(column, value) => format!("{begin}, column {column}: \"{}\"", shown(value)),
        };
        let detail = match &error.body.detail {
            Some(detail) => format!("{detail} {place}"),
            None => place,
        };
        error.with_detail(detail)
    }
}

/// Where in the data something is wrong.
enum Place<'a> {
    Row,
    Line(&'a [u8]),
    Column(&'a str),
    Value(&'a str, &'a [u8]),
}

fn parse(bytes: &[u8], sql_type: SqlType) -> Result<Datum, SqlError> {
    text::parse(written(bytes)?, sql_type)
}

fn written(bytes: &[u8]) -> Result<&str, SqlError> {
    std::str::from_utf8(bytes).map_err(|_| {
        SqlError::new(state::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"")
    })
}

/// The beginning of what the client sent, for a message.
fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let mut text = String::from_utf8_lossy(cut).into_owned();
    if bytes.len() > SHOWN_BYTES_MAX {
        text.truncate(text.trim_end_matches('\u{fffd}').len());
        text.push_str("...");
    }
    text
}

fn bad(message: impl Into<String>) -> SqlError {
    SqlError::new(BAD_COPY_FILE_FORMAT, message)
}
