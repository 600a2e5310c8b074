//! Bytes from a client, taken apart strictly. No I/O, no state.
//!
//! The decoder is our own and not that of the `pgwire` crate: that one reads past the end of a frame into the next,
//! panics on a body that is too short, and replaces bytes that are not UTF-8, so that a statement could be executed
//! that nobody sent. Here a frame is cut out first, each field is bounded by it, and it must be used up whole.
//!
//! Source: PostgreSQL 18 manual, chapter 54.7 "Message Formats".

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::pgwire::datum::Format;

/// The most bytes of a frame of a client that has logged in: twice the bound of a log entry, so that a statement that
/// is too long for the log still gets an ordinary error.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// The most bytes of a frame before login, and of a startup packet, as in PostgreSQL.
pub const LOGIN_FRAME_BYTES_MAX: usize = 10_000;
/// The tag and the length word.
pub const FRAME_HEADER_BYTES: usize = 5;

/// A frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the protocol's message of the same name")]
pub enum Message {
    Query(String),
    Parse {
        name: String,
        text: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Execute {
        portal: String,
        rows_max: usize,
    },
    Close(Target),
    Flush,
    Sync,
    Terminate,
    FunctionCall,
    /// Ignored outside of COPY, as in PostgreSQL; so are the next two.
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
    /// PasswordMessage, SASLInitialResponse or SASLResponse: which, depends on what was asked for.
    Password(Bytes),
}

/// Binds values to a statement's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The portal to make.
    pub portal: String,
    /// The statement that it is made of.
    pub statement: String,
    /// None: all text; one: for all; else one for each parameter.
    pub parameter_formats: Vec<Format>,
    /// The values; none: NULL.
    pub parameters: Vec<Option<Bytes>>,
    /// None: all text; one: for all; else one for each column.
    pub result_formats: Vec<Format>,
}

/// What Describe and Close are about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the protocol's words")]
pub enum Target {
    Statement(String),
    Portal(String),
}

/// Why a frame cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The stream is not the protocol: nothing that follows can be trusted, the connection ends. 08P01.
    #[error("{0}")]
    Malformed(String),
    /// The frame is longer than is allowed. 54000; the connection ends, for the frame is not read.
    #[error("message of {bytes} bytes is longer than {bytes_max}")]
    TooLong {
        /// What the frame says.
        bytes: u64,
        /// What is allowed.
        bytes_max: usize,
    },
    /// The frame is whole but a text in it is not UTF-8. 22021; the connection goes on.
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    NotUtf8,
}

/// Cuts the first whole frame out of `buffer`; none: more bytes are needed.
pub fn split(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<(u8, Bytes)>, FrameError> {
    let Some(&tag) = buffer.first() else { return Ok(None) };
    // Refused before its length is believed: what is not the protocol shall not make the server wait for bytes.
    if !TAGS.contains(&tag) {
        return Err(malformed(format!("invalid frontend message type {tag}")));
    }
    let Some(length) = buffer.get(1..FRAME_HEADER_BYTES) else { return Ok(None) };
    let length = usize::try_from((&mut &*length).get_u32()).unwrap_or(usize::MAX);
    if length < 4 {
        return Err(malformed("invalid message length"));
    }
    if length > bytes_max {
        return Err(FrameError::TooLong { bytes: length as u64, bytes_max });
    }
    if buffer.len() < length + 1 {
        return Ok(None);
    }
    let mut frame = buffer.split_to(length + 1).freeze();
    frame.advance(FRAME_HEADER_BYTES);
    Ok(Some((tag, frame)))
}

/// Whether the next message is Sync, but for Closes, which change nothing that is executed; none: more bytes are needed.
/// What is longer than `AHEAD_BYTES_MAX` is not looked through.
pub fn sync_follows(buffer: &[u8]) -> Option<bool> {
    let mut rest = buffer;
    loop {
        match rest.first()? {
            b'S' => return Some(true),
            b'C' => {}
            _ => return Some(false),
        }
        let length = rest.get(1..FRAME_HEADER_BYTES)?;
        let length = usize::try_from((&mut &*length).get_u32()).unwrap_or(usize::MAX);
        if !(4..AHEAD_BYTES_MAX).contains(&(length + buffer.len() - rest.len())) {
            return Some(false);
        }
        rest = rest.get(length + 1..)?;
    }
}

/// So many bytes behind a statement are looked at: a few Closes.
const AHEAD_BYTES_MAX: usize = 4 << 10;

/// Takes the body of a frame apart. Every byte must be used.
pub fn decode(tag: u8, body: Bytes) -> Result<Message, FrameError> {
    let mut fields = Fields::new(body);
    let message = match tag {
        b'Q' => Message::Query(fields.text()?),
        b'P' => decode_parse(&mut fields)?,
        b'B' => Message::Bind(decode_bind(&mut fields)?),
        b'D' => Message::Describe(fields.target()?),
        b'E' => decode_execute(&mut fields)?,
        b'C' => Message::Close(fields.target()?),
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'F' => return Ok(Message::FunctionCall),
        b'c' => Message::CopyDone,
        b'd' => return Ok(Message::CopyData(fields.rest())),
        b'f' => Message::CopyFail(fields.text()?),
        b'p' => return Ok(Message::Password(fields.rest())),
        _ => return Err(malformed(format!("invalid frontend message type {tag}"))),
    };
    fields.end()?;
    Ok(message)
}

const TAGS: &[u8] = b"BCDEFHPQSXcdfp";

fn decode_parse(fields: &mut Fields) -> Result<Message, FrameError> {
    let (name, text) = (fields.text()?, fields.text()?);
    let count = fields.count(4)?;
    let types = (0..count).map(|_| fields.u32()).collect::<Result<_, _>>()?;
    Ok(Message::Parse { name, text, types })
}

fn decode_bind(fields: &mut Fields) -> Result<Bind, FrameError> {
    let (portal, statement) = (fields.text()?, fields.text()?);
    let parameter_formats = fields.formats()?;
    let count = fields.count(4)?;
    let parameters = (0..count).map(|_| fields.value()).collect::<Result<_, _>>()?;
    let result_formats = fields.formats()?;
    Ok(Bind { portal, statement, parameter_formats, parameters, result_formats })
}

fn decode_execute(fields: &mut Fields) -> Result<Message, FrameError> {
    let portal = fields.text()?;
    // Zero and less mean "all", as in PostgreSQL.
    let rows_max = match i32::from_be_bytes(fields.array()?) {
        rows @ 1.. => usize::try_from(rows).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    Ok(Message::Execute { portal, rows_max })
}

/// The mechanism and the data of a SASLInitialResponse.
pub fn decode_sasl_initial(body: Bytes) -> Result<(String, Bytes), FrameError> {
    let mut fields = Fields::new(body);
    let mechanism = fields.text()?;
    let data = fields.value()?.unwrap_or_default();
    fields.end()?;
    Ok((mechanism, data))
}

/// A frame's body, and how much of it was taken. Only what is kept is shared with it.
pub(crate) struct Fields {
    body: Bytes,
    taken: usize,
}

impl Fields {
    pub(crate) fn new(body: Bytes) -> Self {
        Self { body, taken: 0 }
    }

    pub(crate) fn left(&self) -> &[u8] {
        &self.body[self.taken..]
    }

    /// All that is left.
    fn rest(self) -> Bytes {
        self.body.slice(self.taken..)
    }

    /// Where the next `count` bytes are, which are taken.
    fn take(&mut self, count: usize) -> Result<Range<usize>, FrameError> {
        if self.left().len() < count {
            return Err(malformed("insufficient data left in message"));
        }
        let start = self.taken;
        self.taken += count;
        Ok(start..self.taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let place = self.take(N)?;
        Ok(<[u8; N]>::try_from(&self.body[place]).expect("it was cut to this length"))
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A count of items of at least `bytes_each` bytes, which must still be there.
    fn count(&mut self, bytes_each: usize) -> Result<usize, FrameError> {
        let count = usize::from(u16::from_be_bytes(self.array()?));
        if self.left().len() < count * bytes_each {
            return Err(malformed("insufficient data left in message"));
        }
        Ok(count)
    }

    /// A text that ends with a zero byte.
    pub(crate) fn text(&mut self) -> Result<String, FrameError> {
        let end = self.left().iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| malformed("invalid string in message"))?;
        let text = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(&self.body[text]).map(str::to_owned).map_err(|_| FrameError::NotUtf8)
    }

    fn target(&mut self) -> Result<Target, FrameError> {
        let [kind] = self.array()?;
        match kind {
            b'S' => self.text().map(Target::Statement),
            b'P' => self.text().map(Target::Portal),
            _ => Err(malformed(format!("invalid message subtype {kind}"))),
        }
    }

    fn formats(&mut self) -> Result<Vec<Format>, FrameError> {
        let count = self.count(2)?;
        let format = |code: [u8; 2]| match u16::from_be_bytes(code) {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            code => Err(malformed(format!("unsupported format code: {code}"))),
        };
        (0..count).map(|_| self.array().and_then(format)).collect()
    }

    fn value(&mut self) -> Result<Option<Bytes>, FrameError> {
        match i32::from_be_bytes(self.array()?) {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| malformed("invalid length of a value"))?;
                self.take(length).map(|place| Some(self.body.slice(place)))
            }
        }
    }

    fn end(&self) -> Result<(), FrameError> {
        if self.left().is_empty() {
            Ok(())
        } else {
            Err(malformed("invalid message format: bytes are left over"))
        }
    }
}

fn malformed(message: impl Into<String>) -> FrameError {
    FrameError::Malformed(message.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn a_frame_is_cut_out_only_when_it_is_whole() {
        let bytes = frame(b'Q', b"SELECT 1\0");
        for end in 0..bytes.len() {
            assert_eq!(split(&mut BytesMut::from(&bytes[..end]), FRAME_BYTES_MAX), Ok(None));
        }
        let mut buffer = BytesMut::from(&[bytes, frame(b'S', b"")].concat()[..]);
        let (tag, body) = split(&mut buffer, FRAME_BYTES_MAX).unwrap().unwrap();
        assert_eq!(decode(tag, body), Ok(Message::Query("SELECT 1".to_owned())));
        let (tag, body) = split(&mut buffer, FRAME_BYTES_MAX).unwrap().unwrap();
        assert_eq!(decode(tag, body), Ok(Message::Sync));
    }

    #[test]
    fn a_length_is_checked_before_it_is_waited_for() {
        let too_long = split(&mut BytesMut::from(&b"Q\xff\xff\xff\xff"[..]), 100);
        assert_eq!(too_long, Err(FrameError::TooLong { bytes: 0xffff_ffff, bytes_max: 100 }));
        let too_short = split(&mut BytesMut::from(&b"Q\0\0\0\x03"[..]), 100);
        assert_eq!(too_short, Err(malformed("invalid message length")));
        let unknown = split(&mut BytesMut::from(&b"G"[..]), 100);
        assert_eq!(unknown, Err(malformed("invalid frontend message type 71")));
    }

    #[test]
    fn a_body_that_is_too_short_or_too_long_is_refused() {
        let text = |message: &str| Err(malformed(message));
        let decode = |tag, body: &'static [u8]| decode(tag, Bytes::from_static(body));
        assert_eq!(decode(b'Q', b"SELECT 1"), text("invalid string in message"));
        assert_eq!(decode(b'Q', b"a\0b\0"), text("invalid message format: bytes are left over"));
        assert_eq!(decode(b'P', b"\0\0\xff\xff"), text("insufficient data left in message"));
        assert_eq!(decode(b'B', b"\0\0\0\0\0\x01\0\0\0\x09a\0\0"), text("insufficient data left in message"));
        assert_eq!(decode(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"), text("invalid length of a value"));
        assert_eq!(decode(b'B', b"\0\0\0\x01\0\x02\0\0\0\0"), text("unsupported format code: 2"));
        assert_eq!(decode(b'D', b"X\0"), text("invalid message subtype 88"));
        assert_eq!(decode(b'Q', b"\xff\0"), Err(FrameError::NotUtf8));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(tag in prop::sample::select(TAGS), body: Vec<u8>, more: Vec<u8>) {
            let _ = decode(tag, Bytes::from(body.clone()));
            let _ = decode_sasl_initial(Bytes::from(body.clone()));
            let mut buffer = BytesMut::from(&[frame(tag, &body), more].concat()[..]);
            while let Ok(Some((tag, body))) = split(&mut buffer, FRAME_BYTES_MAX) {
                let _ = decode(tag, body);
            }
        }
    }
}
