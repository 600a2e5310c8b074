//! Rows to bytes.

use bytes::{BufMut, BytesMut};
use grantd_raft::rows::Share;

use super::binary::SIGNATURE;
use crate::error::SqlError;
use crate::pgwire::datum::{self, Format};
use crate::sql::execute::CopyOut;
use crate::sql::parse::copy::{CopyFormat, CopyOptions, Header};
use crate::value::{ColumnInfo, Datum};

/// Writes the rows of a COPY, one after the other.
#[derive(Debug)]
pub struct Encoder {
    options: CopyOptions,
    columns: Vec<ColumnInfo>,
    force_quote: Vec<bool>,
    rows: std::vec::IntoIter<Vec<Datum>>,
    next: Part,
    /// One value's text, before it is quoted.
    scratch: BytesMut,
    /// The rows' memory.
    _held: Share,
}

#[derive(Debug)]
enum Part {
    Header,
    Rows,
    End,
}

impl Encoder {
    /// An encoder of `from`.
    pub fn new(from: CopyOut) -> Self {
        let CopyOut { options, rows } = from;
        let forced = |column: &ColumnInfo| options.force_quote.has(&column.name);
        let force_quote = rows.columns.iter().map(forced).collect();
        Self {
            options,
            columns: rows.columns,
            force_quote,
            rows: rows.rows.into_iter(),
            next: Part::Header,
            scratch: BytesMut::new(),
            _held: rows.held,
        }
    }

    /// How many columns a row has.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The format that the client is told.
    pub fn format(&self) -> Format {
        format_code(self.options.format)
    }

    /// Appends what one CopyData message carries: a header, a row, the end mark. False: there is no more.
    ///
    /// # Errors
    /// Those of the values' encodings.
    pub fn next(&mut self, out: &mut BytesMut) -> Result<bool, SqlError> {
        let is_binary = self.options.format == CopyFormat::Binary;
        if matches!(self.next, Part::Header) {
            self.next = Part::Rows;
            if is_binary {
                out.put_slice(SIGNATURE);
                out.put_u64(0);
                return Ok(true);
            }
            if self.options.header != Header::Off {
                self.names(out);
                return Ok(true);
            }
        }
        if matches!(self.next, Part::End) {
            return Ok(false);
        }
        match self.rows.next() {
            Some(row) if is_binary => self.tuple(&row, out).map(|()| true),
            Some(row) => self.line(&row, out).map(|()| true),
            None => {
                self.next = Part::End;
                if is_binary {
                    out.put_i16(-1);
                }
                Ok(is_binary)
            }
        }
    }

    fn names(&self, out: &mut BytesMut) {
        for (at, column) in self.columns.iter().enumerate() {
            if at > 0 {
                out.put_u8(self.options.delimiter);
            }
            match self.options.format {
                CopyFormat::Csv => self.csv(column.name.as_bytes(), false, out),
                CopyFormat::Text | CopyFormat::Binary => self.text(column.name.as_bytes(), out),
            }
        }
        out.put_u8(b'\n');
    }

    fn tuple(&self, row: &[Datum], out: &mut BytesMut) -> Result<(), SqlError> {
        let count = i16::try_from(row.len()).map_err(|_| SqlError::too_large("too many columns"))?;
        out.put_i16(count);
        for (datum, column) in row.iter().zip(&self.columns) {
            datum::encode(datum, column.sql_type, Format::Binary, out)?;
        }
        Ok(())
    }

    fn line(&mut self, row: &[Datum], out: &mut BytesMut) -> Result<(), SqlError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        for (at, (datum, column)) in row.iter().zip(&self.columns).enumerate() {
            if at > 0 {
                out.put_u8(self.options.delimiter);
            }
            if *datum == Datum::Null {
                out.put_slice(self.options.null.as_bytes());
                continue;
            }
            scratch.clear();
            datum::encode(datum, column.sql_type, Format::Text, &mut scratch)?;
            // Without the length word.
            let value = &scratch[4..];
            match self.options.format {
                CopyFormat::Csv => self.csv(value, self.force_quote[at], out),
                CopyFormat::Text | CopyFormat::Binary => self.text(value, out),
            }
        }
        out.put_u8(b'\n');
        self.scratch = scratch;
        Ok(())
    }

    fn text(&self, value: &[u8], out: &mut BytesMut) {
        for byte in value {
            let letter = match byte {
                8 => b'b',
                12 => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                11 => b'v',
                b'\\' => b'\\',
                other if *other == self.options.delimiter => *other,
                other => {
                    out.put_u8(*other);
                    continue;
                }
            };
            out.put_u8(b'\\');
            out.put_u8(letter);
        }
    }

    fn csv(&self, value: &[u8], forced: bool, out: &mut BytesMut) {
        let CopyOptions { delimiter, quote, escape, null, .. } = &self.options;
        let special = |byte: &u8| byte == delimiter || byte == quote || matches!(byte, b'\n' | b'\r');
        // A lone `\.` would read as the end mark.
        let is_end = self.columns.len() == 1 && value == b"\\.";
        if !forced && !is_end && value != null.as_bytes() && !value.iter().any(special) {
            out.put_slice(value);
            return;
        }
        out.put_u8(*quote);
        for byte in value {
            if byte == quote || byte == escape {
                out.put_u8(*escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(*quote);
    }
}

/// The format that the client is told.
pub(crate) fn format_code(format: CopyFormat) -> Format {
    match format {
        CopyFormat::Text | CopyFormat::Csv => Format::Text,
        CopyFormat::Binary => Format::Binary,
    }
}
