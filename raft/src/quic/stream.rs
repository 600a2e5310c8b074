//! Reading and writing of `rpc`'s bytes on quinn's streams.

use bytes::{Bytes, BytesMut};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt};

use super::{CloseCode, tls};
use crate::rpc::{FRAME_HEADER_BYTES, FrameError, FrameHeader, HELLO_BYTES_MAX, hello_len};

/// Bodies of up to this many bytes are copied behind their header: one write is cheaper than two.
const COPIED_BYTES_MAX: usize = 16 << 10;
/// A body's buffer grows as its bytes come; this much is reserved at first.
const RESERVED_BYTES: usize = 64 << 10;

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum ReadFailure {
    /// The peer ended, reset or lost the stream.
    Ended(String),
    /// The peer sent what cannot be.
    Malformed(String),
}

impl ReadFailure {
    pub(super) fn text(self) -> String {
        match self {
            Self::Ended(text) | Self::Malformed(text) => text,
        }
    }
}

impl From<FrameError> for ReadFailure {
    fn from(error: FrameError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<ReadError> for ReadFailure {
    fn from(error: ReadError) -> Self {
        Self::Ended(match &error {
            ReadError::ConnectionLost(lost) => tls::explain(lost),
            ReadError::Reset(_) => "it gave up the stream".to_owned(),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => {
                error.to_string()
            }
        })
    }
}

impl From<ReadExactError> for ReadFailure {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Malformed("a frame ends before its end".to_owned()),
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}

/// Exactly `N` bytes.
pub(super) async fn read_array<const N: usize>(recv: &mut RecvStream) -> Result<[u8; N], ReadFailure> {
    let mut bytes = [0; N];
    recv.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// The next frame's header; none: the stream ended between two frames.
pub(super) async fn read_header(recv: &mut RecvStream) -> Result<Option<FrameHeader>, ReadFailure> {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    match recv.read_exact(&mut bytes).await {
        Ok(()) => Ok(Some(FrameHeader::decode(bytes))),
        Err(ReadExactError::FinishedEarly(0)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A body of `len` bytes, which the caller has checked against its bound. Without a copy if it came in one piece.
pub(super) async fn read_body(recv: &mut RecvStream, len: usize) -> Result<Bytes, ReadFailure> {
    let early = || ReadFailure::Malformed("a frame ends before its end".to_owned());
    if len == 0 {
        return Ok(Bytes::new());
    }
    let first = recv.read_chunk(len, true).await?.ok_or_else(early)?.bytes;
    if first.len() == len {
        return Ok(first);
    }
    let mut body = BytesMut::with_capacity(len.min(RESERVED_BYTES.max(first.len())));
    body.extend_from_slice(&first);
    while body.len() < len {
        let chunk = recv.read_chunk(len - body.len(), true).await?.ok_or_else(early)?;
        body.extend_from_slice(&chunk.bytes);
    }
    Ok(body.freeze())
}

/// A sealed hello or its answer.
pub(super) async fn read_hello(recv: &mut RecvStream) -> Result<Bytes, ReadFailure> {
    let len = hello_len(read_array(recv).await?)?;
    read_body(recv, len).await
}

/// Writes a sealed hello or its answer, with its length before it.
pub(super) async fn write_hello(send: &mut SendStream, sealed: &[u8]) -> Result<(), String> {
    assert!(sealed.len() <= HELLO_BYTES_MAX, "a hello of {} bytes", sealed.len());
    let len = u32::try_from(sealed.len()).expect("bounded above");
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend_from_slice(sealed);
    send.write_all(&bytes).await.map_err(|error| error.to_string())
}

/// Frames that are to be written together.
#[derive(Default)]
pub(super) struct Outgoing {
    small: BytesMut,
    chunks: Vec<Bytes>,
}

impl Outgoing {
    pub(super) fn frame(&mut self, id: u64, kind: u16, body: Bytes) {
        self.small.extend_from_slice(&FrameHeader::new(body.len(), id, kind).encode());
        if body.len() <= COPIED_BYTES_MAX {
            self.small.extend_from_slice(&body);
        } else {
            self.chunks.push(self.small.split().freeze());
            self.chunks.push(body);
        }
    }

    /// Writes and forgets them.
    pub(super) async fn write(&mut self, send: &mut SendStream) -> Result<(), String> {
        if !self.small.is_empty() {
            self.chunks.push(self.small.split().freeze());
        }
        let written = send.write_all_chunks(&mut self.chunks).await;
        self.chunks.clear();
        written.map_err(|error| error.to_string())
    }
}

/// A stream that is reset unless it was finished: quinn finishes a dropped stream, and half a request would look like
/// a whole one.
pub(super) struct Outlet {
    pub(super) send: SendStream,
    finished: bool,
}

impl Outlet {
    pub(super) fn new(send: SendStream) -> Self {
        Self { send, finished: false }
    }

    /// Says that no more comes. What was written is still delivered.
    pub(super) fn finish(&mut self) {
        // Fails only if the stream is over already.
        let _ = self.send.finish();
        self.finished = true;
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.send.reset(VarInt::from(CloseCode::GivenUp));
        }
    }
}
