//! Lines of the text and CSV formats, and their fields.

use super::bad;
use crate::error::SqlError;
use crate::sql::parse::copy::{CopyFormat, CopyOptions};

/// Cuts lines out of bytes, and fields out of lines.
#[derive(Debug)]
pub(super) struct Lines {
    is_csv: bool,
    delimiter: u8,
    quote: u8,
    escape: u8,
    null: Vec<u8>,
    /// How lines end: the first one says.
    end: Option<End>,
    /// How many bytes of the line that is not whole were looked at.
    scanned: usize,
    /// CSV: within quotes, at `scanned`.
    quoted: bool,
    /// CSV: an escape that is not the quote stood before `scanned`.
    escaped: bool,
    /// Lines before the one that is looked at.
    before: u64,
    /// Line breaks within quotes of the line that is looked at.
    inner: u64,
    /// The number of the line that was cut last.
    number: u64,
    /// The fields of the line that was split last: where they end in `bytes`.
    fields: Vec<Field>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    end: usize,
    null: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Newline,
    Return,
    Both,
}

/// A line at the beginning of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// How long it is.
    pub(super) line: usize,
    /// How long it is with its end.
    pub(super) whole: usize,
}

/// What a byte is to the search for a line's end.
enum Step {
    /// Part of the line, with the next one if it is two.
    Inner(usize),
    /// The line ends here, with so many bytes.
    End(usize),
    /// The bytes after it must come first.
    Wait,
}

impl Lines {
    pub(super) fn new(options: &CopyOptions) -> Self {
        Self {
            is_csv: options.format == CopyFormat::Csv,
            delimiter: options.delimiter,
            quote: options.quote,
            escape: options.escape,
            null: options.null.clone().into_bytes(),
            end: None,
            scanned: 0,
            quoted: false,
            escaped: false,
            before: 0,
            inner: 0,
            number: 0,
            fields: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// The number of the line that is at hand.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The first line of `input`; none: more bytes must come. `last`: none will.
    pub(super) fn cut(&mut self, input: &[u8], last: bool) -> Result<Option<Cut>, SqlError> {
        self.number = self.before + 1;
        while self.scanned < input.len() {
            match self.step(&input[self.scanned..], last)? {
                Step::Inner(bytes) => self.scanned += bytes,
                Step::Wait => return Ok(None),
                Step::End(bytes) => {
                    let line = self.scanned;
                    self.next_line();
                    return Ok(Some(Cut { line, whole: line + bytes }));
                }
            }
        }
        if !last || input.is_empty() {
            return Ok(None);
        }
        let line = self.scanned;
        self.next_line();
        Ok(Some(Cut { line, whole: line }))
    }

    fn next_line(&mut self) {
        self.before += 1 + self.inner;
        self.number = self.before;
        (self.scanned, self.inner, self.quoted, self.escaped) = (0, 0, false, false);
    }

    fn step(&mut self, rest: &[u8], last: bool) -> Result<Step, SqlError> {
        let (byte, next) = (rest[0], rest.get(1).copied());
        if self.is_csv {
            self.toggle(byte);
            if self.quoted {
                let breaks = if matches!(self.end, None | Some(End::Newline)) { b'\n' } else { b'\r' };
                self.inner += u64::from(byte == breaks);
                return Ok(Step::Inner(1));
            }
        }
        match byte {
            b'\\' if !self.is_csv => match next {
                Some(_) => Ok(Step::Inner(2)),
                None if last => Ok(Step::Inner(1)),
                None => Ok(Step::Wait),
            },
            b'\n' => match self.end {
                None | Some(End::Newline) => {
                    self.end = Some(End::Newline);
                    Ok(Step::End(1))
                }
                Some(End::Return | End::Both) => Err(self.literal("newline", "\\n")),
            },
            b'\r' => match (self.end, next) {
                (None | Some(End::Both), Some(b'\n')) => {
                    self.end = Some(End::Both);
                    Ok(Step::End(2))
                }
                (None | Some(End::Both), None) if !last => {
                    // The quotes were looked at, and must not be again.
                    Ok(Step::Wait)
                }
                (None | Some(End::Return), _) => {
                    self.end = Some(End::Return);
                    Ok(Step::End(1))
                }
                (Some(End::Both | End::Newline), _) => Err(self.literal("carriage return", "\\r")),
            },
            _ => Ok(Step::Inner(1)),
        }
    }

    /// Whether the next byte is within quotes. The quotes themselves may be taken for either.
    fn toggle(&mut self, byte: u8) {
        let escape = (self.escape != self.quote).then_some(self.escape);
        if self.quoted && Some(byte) == escape {
            self.escaped = !self.escaped;
        }
        if byte == self.quote && !self.escaped {
            self.quoted = !self.quoted;
        }
        if Some(byte) != escape {
            self.escaped = false;
        }
    }

    fn literal(&self, what: &str, escape: &str) -> SqlError {
        match self.is_csv {
            true => bad(format!("unquoted {what} found in data"))
                .with_hint(format!("Use quoted CSV field to represent {what}.")),
            false => bad(format!("literal {what} found in data"))
                .with_hint(format!("Use \"{escape}\" to represent {what}.")),
        }
    }

    /// Splits a line into its fields.
    pub(super) fn split(&mut self, line: &[u8]) -> Result<(), SqlError> {
        self.fields.clear();
        self.bytes.clear();
        if self.is_csv { self.split_csv(line) } else { self.split_text(line) }
    }

    /// How many fields the line has.
    pub(super) fn count(&self) -> usize {
        self.fields.len()
    }

    /// A field of the line that was split last; none: NULL.
    pub(super) fn field<'l>(&'l self, at: usize, options: &'l CopyOptions, column: &str) -> Option<&'l [u8]> {
        let start = if at == 0 { 0 } else { self.fields[at - 1].end };
        let field = self.fields[at];
        let bytes = &self.bytes[start..field.end];
        match field.null {
            true if options.force_not_null.has(column) => Some(&self.null),
            true => None,
            false if bytes == self.null && options.force_null.has(column) => None,
            false => Some(bytes),
        }
    }

    fn split_text(&mut self, line: &[u8]) -> Result<(), SqlError> {
        let mut rest = line;
        loop {
            let start = rest;
            let mut more = false;
            while let Some((&byte, after)) = rest.split_first() {
                if byte == self.delimiter {
                    more = true;
                    break;
                }
                rest = after;
                match byte {
                    b'\\' => rest = self.unescape(rest)?,
                    other => self.bytes.push(other),
                }
            }
            let raw = &start[..start.len() - rest.len()];
            self.end_field(raw == self.null);
            if !more {
                return Ok(());
            }
            rest = &rest[1..];
        }
    }

    /// What follows a backslash; gives back what is left.
    fn unescape<'l>(&mut self, rest: &'l [u8]) -> Result<&'l [u8], SqlError> {
        let Some((&byte, mut rest)) = rest.split_first() else {
            // A backslash at the end of the data stands for itself.
            self.bytes.push(b'\\');
            return Ok(rest);
        };
        let value = match byte {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let mut value = byte - b'0';
                for _ in 0..2 {
                    let Some((digit @ b'0'..=b'7', after)) = rest.split_first() else { break };
                    // The eighth bit of three large digits is dropped, as in PostgreSQL.
                    value = (value << 3) | (digit - b'0');
                    rest = after;
                }
                value
            }
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                let mut value = 0;
                for _ in 0..2 {
                    let Some((digit, after)) = rest.split_first() else { break };
                    let Some(digit) = char::from(*digit).to_digit(16) else { break };
                    value = (value << 4) | u8::try_from(digit).unwrap_or(0);
                    rest = after;
                }
                value
            }
            b'.' => return Err(bad("end-of-copy marker is not alone on its line")),
            other => other,
        };
        self.bytes.push(value);
        Ok(rest)
    }

    fn split_csv(&mut self, line: &[u8]) -> Result<(), SqlError> {
        let mut at = 0;
        loop {
            let (start, mut was_quoted) = (at, false);
            while at < line.len() && line[at] != self.delimiter {
                if line[at] == self.quote {
                    was_quoted = true;
                    at = self.quoted_part(line, at + 1)?;
                } else {
                    self.bytes.push(line[at]);
                    at += 1;
                }
            }
            self.end_field(!was_quoted && line[start..at] == self.null[..]);
            if at >= line.len() {
                return Ok(());
            }
            at += 1;
        }
    }

    /// What stands between quotes, from behind the first one; gives back where it goes on.
    fn quoted_part(&mut self, line: &[u8], mut at: usize) -> Result<usize, SqlError> {
        while let Some(&byte) = line.get(at) {
            let next = line.get(at + 1).copied();
            if byte == self.escape
                && let Some(next) = next
                && (next == self.escape || next == self.quote)
            {
                self.bytes.push(next);
                at += 2;
            } else if byte == self.quote {
                return Ok(at + 1);
            } else {
                self.bytes.push(byte);
                at += 1;
            }
        }
        Err(bad("unterminated CSV quoted field"))
    }

    fn end_field(&mut self, null: bool) {
        self.fields.push(Field { end: self.bytes.len(), null });
    }
}
