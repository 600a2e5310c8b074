//! What nodes say to each other, as bytes: hellos, frames of requests and answers, chunks of snapshots, and the bounds
//! of each. Pure: no socket, no clock. `quic` moves the bytes; what a body means is the business of its kind.
//!
//! Invariants:
//! - R1: a length is checked against its bound before memory is reserved for it.
//! - R2: no bytes make a decoder panic; what is not understood is refused by name.
//! - R3: what is here is on the wire. Numbers are never reused, layouts never change; the hello least of all, because
//!   it is read before the versions are known. `docs/rpc-format.md` is the same in prose.

use crate::config::{APPEND_BYTES_MAX, ENTRY_BYTES_MAX, FORWARD_BYTES_MAX};
use crate::transport::RequestKind;

mod hello;

pub use hello::{Expected, Hello, HelloAnswer, Mismatch, negotiate};

/// The oldest protocol that this release speaks.
pub const PROTOCOL_MIN: u16 = 1;
/// The newest protocol that this release speaks.
pub const PROTOCOL_MAX: u16 = 1;
/// What the TLS handshake agrees on. Changed only if the hello itself had to change.
pub const ALPN: &[u8] = b"grantd-raft/1";
/// This release, as the hello shows it to operators. Never compared.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The most bytes of a sealed hello or of the answer to it.
pub const HELLO_BYTES_MAX: usize = 4 << 10;
/// The most bytes of a reason: longer ones are cut where they are sent.
pub const REASON_BYTES_MAX: usize = 2 << 10;
/// The most bytes of a request or answer that has no reason to be large.
pub const SMALL_BYTES_MAX: usize = 256 << 10;
/// Room for what surrounds entries and statements in a body.
pub const BODY_SLACK_BYTES: usize = 1 << 20;
/// The most bytes of any body, whatever its kind.
pub const FRAME_BYTES_MAX: usize = FORWARD_BYTES_MAX + BODY_SLACK_BYTES;
/// The bytes of all chunks of a snapshot but the last.
pub const CHUNK_BYTES: usize = 256 << 10;
/// The most bytes that describe a snapshot before its first chunk.
pub const SNAPSHOT_HEADER_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(APPEND_BYTES_MAX + ENTRY_BYTES_MAX + BODY_SLACK_BYTES <= FRAME_BYTES_MAX);
const _: () = assert!(REASON_BYTES_MAX * 2 <= HELLO_BYTES_MAX);

/// The first byte of a stream says what follows on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    /// One hello and its answer. The first stream of a connection, and never again.
    Hello = 1,
    /// Frames of requests one way, frames of answers the other way, in any order.
    Requests = 2,
    /// One snapshot, and one answer.
    Snapshot = 3,
}

impl StreamKind {
    /// The kind of a first byte, or none: the peer is newer, or not a peer.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Hello, Self::Requests, Self::Snapshot].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Bytes of [`FrameHeader`] on the wire.
pub const FRAME_HEADER_BYTES: usize = 14;

/// What comes before each body: `len u32 | id u64 | kind u16`, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the body.
    pub len: u32,
    /// Which request: chosen by who asks, unique on its stream, repeated by the answer.
    pub id: u64,
    /// A [`RequestKind`]'s number in a request, an [`AnswerKind`]'s in an answer.
    pub kind: u16,
}

impl FrameHeader {
    /// The header of a body of `len` bytes, which its maker has bounded by [`FRAME_BYTES_MAX`].
    pub fn new(len: usize, id: u64, kind: u16) -> Self {
        assert!(len <= FRAME_BYTES_MAX, "a body of {len} bytes");
        Self { len: u32::try_from(len).expect("bounded above"), id, kind }
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.id.to_le_bytes());
        bytes[12..].copy_from_slice(&self.kind.to_le_bytes());
        bytes
    }

    /// The header in `bytes`. Any bytes are a header; see [`Self::request`] and [`Self::answer`].
    pub fn decode(bytes: [u8; FRAME_HEADER_BYTES]) -> Self {
        let [a, b, c, d, id @ .., e, f] = bytes;
        Self {
            len: u32::from_le_bytes([a, b, c, d]),
            id: u64::from_le_bytes(id),
            kind: u16::from_le_bytes([e, f]),
        }
    }

    /// What request it begins; none: of a kind that only a newer release knows. Its body can be passed over.
    pub fn request(&self) -> Result<Option<RequestKind>, FrameError> {
        let kind = RequestKind::from_number(self.kind);
        self.bounded(kind.map_or(FRAME_BYTES_MAX, request_bytes_max))?;
        Ok(kind)
    }

    /// What answer it begins, to a request of `kind`.
    pub fn answer(&self, kind: RequestKind) -> Result<AnswerKind, FrameError> {
        let answer = AnswerKind::from_number(self.kind).ok_or(FrameError::AnswerKind { kind: self.kind })?;
        self.bounded(match answer {
            AnswerKind::Done => answer_bytes_max(kind),
            AnswerKind::Refused => REASON_BYTES_MAX,
            AnswerKind::Working => 0,
        })?;
        Ok(answer)
    }

    /// What answer it begins, to a snapshot.
    pub fn snapshot_answer(&self) -> Result<AnswerKind, FrameError> {
        let answer = AnswerKind::from_number(self.kind).ok_or(FrameError::AnswerKind { kind: self.kind })?;
        self.bounded(match answer {
            AnswerKind::Done => SMALL_BYTES_MAX,
            AnswerKind::Refused => REASON_BYTES_MAX,
            AnswerKind::Working => 0,
        })?;
        Ok(answer)
    }

    fn bounded(&self, max: usize) -> Result<(), FrameError> {
        // R1.
        if self.len as usize > max {
            return Err(FrameError::TooLong { kind: self.kind, len: self.len, max });
        }
        Ok(())
    }
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum AnswerKind {
    /// The answer.
    Done = 1,
    /// The request was not handled; the body says why, in UTF-8.
    Refused = 2,
    /// Nothing yet, but the peer works on it. Only for snapshots, as often as it likes.
    Working = 3,
}

impl AnswerKind {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    fn from_number(number: u16) -> Option<Self> {
        [Self::Done, Self::Refused, Self::Working].into_iter().find(|kind| kind.number() == number)
    }
}

/// The most bytes of a request's body.
pub fn request_bytes_max(kind: RequestKind) -> usize {
    match kind {
        RequestKind::Append => APPEND_BYTES_MAX + ENTRY_BYTES_MAX + BODY_SLACK_BYTES,
        RequestKind::Propose => ENTRY_BYTES_MAX + BODY_SLACK_BYTES,
        RequestKind::Forward => FRAME_BYTES_MAX,
        RequestKind::Heartbeat
        | RequestKind::Vote
        | RequestKind::PreVote
        | RequestKind::TransferLeader
        | RequestKind::ReadIndex
        | RequestKind::Join
        | RequestKind::Ask
        | RequestKind::Lease => SMALL_BYTES_MAX,
    }
}

/// The most bytes of the answer to a request of `kind`.
pub fn answer_bytes_max(kind: RequestKind) -> usize {
    match kind {
        RequestKind::Propose => ENTRY_BYTES_MAX + BODY_SLACK_BYTES,
        RequestKind::Forward | RequestKind::Ask => FRAME_BYTES_MAX,
        RequestKind::Append
        | RequestKind::Heartbeat
        | RequestKind::Vote
        | RequestKind::PreVote
        | RequestKind::TransferLeader
        | RequestKind::ReadIndex
        | RequestKind::Join
        | RequestKind::Lease => SMALL_BYTES_MAX,
    }
}

/// Bytes of [`SnapshotStart`] on the wire.
pub const SNAPSHOT_START_BYTES: usize = 12;

/// What comes first on a snapshot's stream: `header_len u32 | length u64`; then the header, then the chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotStart {
    /// Bytes of the header.
    pub header_len: u32,
    /// Bytes of the snapshot, without headers.
    pub length: u64,
}

impl SnapshotStart {
    /// Its bytes.
    pub fn encode(&self) -> [u8; SNAPSHOT_START_BYTES] {
        let mut bytes = [0; SNAPSHOT_START_BYTES];
        bytes[..4].copy_from_slice(&self.header_len.to_le_bytes());
        bytes[4..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// The start in `bytes`.
    pub fn decode(bytes: [u8; SNAPSHOT_START_BYTES]) -> Result<Self, FrameError> {
        let [a, b, c, d, length @ ..] = bytes;
        let header_len = u32::from_le_bytes([a, b, c, d]);
        if header_len as usize > SNAPSHOT_HEADER_BYTES_MAX {
            return Err(FrameError::SnapshotHeader { len: header_len });
        }
        Ok(Self { header_len, length: u64::from_le_bytes(length) })
    }
}

/// Bytes of [`ChunkHeader`] on the wire.
pub const CHUNK_HEADER_BYTES: usize = 8;

/// What comes before each chunk: `len u32 | crc32c u32`.
///
/// QUIC's own checks end at its sockets; this one covers the way from the sender's file to the receiver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Bytes of the chunk: 1 to [`CHUNK_BYTES`].
    pub len: u32,
    /// CRC-32C of the chunk.
    pub crc: u32,
}

impl ChunkHeader {
    /// The header of `chunk`, which its maker has bounded by [`CHUNK_BYTES`].
    pub fn of(chunk: &[u8]) -> Self {
        assert!(!chunk.is_empty() && chunk.len() <= CHUNK_BYTES, "a chunk of {} bytes", chunk.len());
        Self { len: u32::try_from(chunk.len()).expect("bounded above"), crc: crc32c::crc32c(chunk) }
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; CHUNK_HEADER_BYTES] {
        let mut bytes = [0; CHUNK_HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// The header in `bytes`, when `left` bytes of the snapshot have not come yet.
    pub fn decode(bytes: [u8; CHUNK_HEADER_BYTES], left: u64) -> Result<Self, FrameError> {
        let [a, b, c, d, e, f, g, h] = bytes;
        let len = u32::from_le_bytes([a, b, c, d]);
        if len == 0 || len as usize > CHUNK_BYTES || u64::from(len) > left {
            return Err(FrameError::Chunk { len, left });
        }
        Ok(Self { len, crc: u32::from_le_bytes([e, f, g, h]) })
    }

    /// Whether `chunk` is what the sender read, at `offset` of the snapshot.
    pub fn check(&self, chunk: &[u8], offset: u64) -> Result<(), FrameError> {
        if crc32c::crc32c(chunk) == self.crc {
            return Ok(());
        }
        Err(FrameError::ChunkChecksum { offset })
    }
}

/// Why a frame is refused. The connection, or the snapshot's stream, ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The body is longer than its kind may be.
    #[error("a frame of kind {kind} announces {len} bytes; at most {max} are allowed")]
    TooLong {
        /// The kind's number.
        kind: u16,
        /// Bytes announced.
        len: u32,
        /// Bytes allowed.
        max: usize,
    },
    /// An answer of a kind that is not known.
    #[error("an answer has the unknown kind {kind}")]
    AnswerKind {
        /// Its number.
        kind: u16,
    },
    /// A hello, or its answer, that is too long.
    #[error("a hello announces {len} bytes; at most {HELLO_BYTES_MAX} are allowed")]
    Hello {
        /// Bytes announced.
        len: u32,
    },
    /// A snapshot's header that is too long.
    #[error("a snapshot's header announces {len} bytes; at most {SNAPSHOT_HEADER_BYTES_MAX} are allowed")]
    SnapshotHeader {
        /// Bytes announced.
        len: u32,
    },
    /// A chunk of no bytes, of too many, or of more than the snapshot has.
    #[error("a snapshot's chunk announces {len} bytes where {left} are missing")]
    Chunk {
        /// Bytes announced.
        len: u32,
        /// Bytes of the snapshot that have not come yet.
        left: u64,
    },
    /// A chunk that is not what was read from the sender's file.
    #[error("the snapshot's chunk at byte {offset} is corrupt")]
    ChunkChecksum {
        /// Where in the snapshot.
        offset: u64,
    },
}

/// The length in front of a sealed hello or its answer: `len u32`.
pub fn hello_len(bytes: [u8; 4]) -> Result<usize, FrameError> {
    let len = u32::from_le_bytes(bytes);
    if len as usize > HELLO_BYTES_MAX {
        return Err(FrameError::Hello { len });
    }
    Ok(len as usize)
}

/// As much of `reason` as goes over the wire: [`REASON_BYTES_MAX`] bytes, whole characters.
pub fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}
