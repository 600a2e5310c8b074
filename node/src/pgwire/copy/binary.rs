//! Tuples of the binary format.

use bytes::{Buf, Bytes, BytesMut};

use super::bad;
use crate::error::SqlError;
use crate::pgwire::datum::{self, Format};
use crate::value::{ColumnInfo, Datum};

/// What every file begins with.
pub(super) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// What follows it: flags, and the length of what else the header has.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;
/// Flags that must be understood.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// The flag of rows that begin with an OID, which PostgreSQL has not had since version 12.
const HAS_OIDS: u32 = 1 << 16;

/// Cuts tuples out of bytes.
#[derive(Debug, Default)]
pub(super) struct Tuples {
    /// The header was there; how much of what else it has is still to come.
    extension: Option<usize>,
    number: u64,
}

/// What was at the beginning of the bytes.
pub(super) enum Cut {
    /// Nothing whole.
    More,
    /// The header, or a part of it.
    Header,
    /// The fields of a tuple.
    Tuple(Bytes),
    /// The end mark.
    End,
}

impl Tuples {
    /// The number of the tuple that is at hand.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Takes what is whole off the beginning of `input`. `last`: nothing more comes.
    pub(super) fn cut(&mut self, input: &mut BytesMut, columns: usize, last: bool) -> Result<Cut, SqlError> {
        match self.extension {
            None => return self.header(input, last),
            Some(0) => {}
            Some(left) => {
                let skipped = left.min(input.len());
                input.advance(skipped);
                self.extension = Some(left - skipped);
                return if skipped == 0 { Ok(Cut::More) } else { Ok(Cut::Header) };
            }
        }
        let more = |input: &BytesMut| match last && !input.is_empty() {
            true => Err(bad("unexpected EOF in COPY data")),
            false => Ok(Cut::More),
        };
        let Some(count) = input.get(..2).map(|mut word| word.get_i16()) else { return more(input) };
        if count == -1 {
            input.advance(2);
            return Ok(Cut::End);
        }
        self.number += 1;
        if usize::try_from(count) != Ok(columns) {
            return Err(bad(format!("row field count is {count}, expected {columns}")));
        }
        let mut at = 2;
        for _ in 0..columns {
            let length = input.get(at..at + 4).map(|mut word| word.get_i32());
            let length = match length {
                Some(-1) => 0,
                Some(length) => usize::try_from(length).map_err(|_| bad("invalid field size"))?,
                None => return self.again(more(input)),
            };
            at += 4 + length;
        }
        if input.len() < at {
            return self.again(more(input));
        }
        let mut tuple = input.split_to(at).freeze();
        tuple.advance(2);
        Ok(Cut::Tuple(tuple))
    }

    /// The same tuple will be looked at again when there is more of it.
    fn again(&mut self, more: Result<Cut, SqlError>) -> Result<Cut, SqlError> {
        self.number -= u64::from(more.is_ok());
        more
    }

    fn header(&mut self, input: &mut BytesMut, last: bool) -> Result<Cut, SqlError> {
        let known = input.len().min(SIGNATURE.len());
        if input[..known] != SIGNATURE[..known] || (last && known < SIGNATURE.len()) {
            return Err(bad("COPY file signature not recognized"));
        }
        if input.len() < HEADER_BYTES {
            return if last { Err(bad("invalid COPY file header (missing flags)")) } else { Ok(Cut::More) };
        }
        let mut header = input.split_to(HEADER_BYTES);
        header.advance(SIGNATURE.len());
        let (flags, extension) = (header.get_u32(), header.get_i32());
        if flags & HAS_OIDS != 0 {
            return Err(bad("invalid COPY file header (WITH OIDS)"));
        }
        if flags & CRITICAL_FLAGS != 0 {
            return Err(bad("unrecognized critical flags in COPY file header"));
        }
        let extension =
            usize::try_from(extension).map_err(|_| bad("invalid COPY file header (missing length)"))?;
        self.extension = Some(extension);
        Ok(Cut::Header)
    }
}

/// Decodes a tuple that was cut. The error comes with the column.
pub(super) fn values(
    tuple: &Bytes,
    columns: &[ColumnInfo],
    out: &mut Vec<Datum>,
) -> Result<(), (SqlError, String)> {
    let mut rest = tuple.clone();
    for column in columns {
        let value = match usize::try_from(rest.get_i32()) {
            Ok(length) => Some(rest.split_to(length)),
            Err(_) => None,
        };
        let datum = datum::value(value.as_ref(), column.sql_type, Format::Binary);
        out.push(datum.map_err(|error| (error, column.name.clone()))?);
    }
    Ok(())
}
