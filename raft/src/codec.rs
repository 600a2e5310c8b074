//! Bytes that outlive a process or leave it: the envelope around everything on disk and on the wire, and bincode
//! with a limit inside it.
//!
//! Envelope: `magic u8 | kind u16 | format u16 | len u32 | crc32c u32 | body`, numbers little-endian. The checksum
//! covers the header before it and the body, so a flip of any bit is found.
//!
//! It does not know what the bodies mean. Rules for whoever does: the type of a body is frozen once released, a change
//! is a new format number with a converter at decoding, and bytes of an unknown kind or format are refused, never
//! skipped.

use bincode::{Decode, Encode};

/// The first byte of every envelope. Not ASCII and not zero, so neither text nor a hole in a file looks like one.
pub const MAGIC: u8 = 0xA7;
/// Bytes of an envelope before its body.
pub const HEADER_BYTES: usize = 13;
/// The most bytes of a body: the largest message is a forwarded statement or answer, and has room to spare.
pub const BODY_BYTES_MAX: usize = 48 << 20;
/// The most memory that decoding one body may claim. Without it a hostile length makes bincode panic.
const DECODE_BYTES_MAX: usize = 256 << 20;

const _: () = assert!(crate::config::FORWARD_BYTES_MAX < BODY_BYTES_MAX);
const _: () = assert!(crate::config::ENTRY_BYTES_MAX < BODY_BYTES_MAX);

/// What an envelope holds. The numbers are on disk and on the wire: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A replicated [`crate::entry::Entry`].
    Entry = 1,
    /// One record of the Raft log: its id and payload.
    LogRecord = 2,
    /// A Raft vote.
    Vote = 3,
    /// A Raft log id.
    LogId = 4,
    /// Who a directory belongs to.
    Identity = 5,
    /// A Raft membership with the log id that it came with.
    Membership = 6,
    /// A record of the catalog.
    CatalogRecord = 7,
    /// The header of a snapshot file, of earlier releases.
    Snapshot = 8,
    /// A message between members.
    Message = 9,
    /// What a node says of itself before anything else.
    Hello = 10,
    /// Parts of a transaction, kept until it takes effect.
    Stage = 11,
    /// Part of the change history, or what is known of it as a whole.
    History = 12,
    /// How often a node has started.
    Boot = 13,
    /// What a kind of job keeps in its record.
    Job = 14,
    /// Rows that a command brings.
    Rows = 15,
}

/// Why bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// They end too early or too late.
    #[error("`{kind:?}`: {found} bytes where {expected} were announced")]
    Length {
        /// What was being read.
        kind: Kind,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// They do not begin like an envelope of this kind.
    #[error("`{kind:?}`: the bytes are something else")]
    Foreign {
        /// What was being read.
        kind: Kind,
    },
    /// The body or header is not what was written.
    #[error("`{kind:?}`: the checksum is {found:08x}, not {expected:08x}")]
    Checksum {
        /// What was being read.
        kind: Kind,
        /// As written.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// A newer release wrote them.
    #[error("`{kind:?}`: format {found} is newer than this release reads ({newest})")]
    NewerFormat {
        /// What was being read.
        kind: Kind,
        /// The format found.
        found: u16,
        /// The newest that this release knows.
        newest: u16,
    },
    /// The body does not decode.
    #[error("`{kind:?}`: the body does not decode: {reason}")]
    Body {
        /// What was being read.
        kind: Kind,
        /// What bincode says.
        reason: String,
    },
}

/// Puts `body` into an envelope. Panics if it is longer than [`BODY_BYTES_MAX`]: whoever makes bodies bounds them.
pub fn seal(kind: Kind, format: u16, body: &[u8]) -> Vec<u8> {
    assert!(body.len() <= BODY_BYTES_MAX, "an envelope of {} bytes", body.len());
    let len = u32::try_from(body.len()).expect("bounded above");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.push(MAGIC);
    bytes.extend_from_slice(&(kind as u16).to_le_bytes());
    bytes.extend_from_slice(&format.to_le_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    let crc = checksum(&bytes, body);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The format and body of an envelope that is exactly `bytes` long. Cost: one pass for the checksum.
pub fn open(kind: Kind, bytes: &[u8]) -> Result<(u16, &[u8]), CodecError> {
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(CodecError::Length { kind, expected: HEADER_BYTES, found: bytes.len() });
    };
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if header[0] != MAGIC || u16_at(1) != kind as u16 {
        return Err(CodecError::Foreign { kind });
    }
    let expected = u32_at(5) as usize;
    if expected > BODY_BYTES_MAX || expected != body.len() {
        return Err(CodecError::Length { kind, expected, found: body.len() });
    }
    let (written, computed) = (u32_at(9), checksum(&header[..9], body));
    if written != computed {
        return Err(CodecError::Checksum { kind, expected: written, found: computed });
    }
    Ok((u16_at(3), body))
}

/// Encodes `value` as the body of an envelope of `format`.
pub fn seal_value<T: Encode>(kind: Kind, format: u16, value: &T) -> Vec<u8> {
    seal(kind, format, &encode(value))
}

/// Decodes an envelope whose only known format is `format`; a newer one is refused by name.
pub fn open_value<T: Decode<()>>(kind: Kind, format: u16, bytes: &[u8]) -> Result<T, CodecError> {
    let (found, body) = open(kind, bytes)?;
    if found > format {
        return Err(CodecError::NewerFormat { kind, found, newest: format });
    }
    if found < format {
        return Err(CodecError::Foreign { kind });
    }
    decode(kind, body)
}

/// bincode's bytes of `value`.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard())
        .expect("a vector takes every value of our own types")
}

/// The value that `body` is, all of it: bytes left over are an error, because a newer writer may have meant them.
pub fn decode<T: Decode<()>>(kind: Kind, body: &[u8]) -> Result<T, CodecError> {
    let limits = bincode::config::standard().with_limit::<DECODE_BYTES_MAX>();
    match bincode::decode_from_slice(body, limits) {
        Ok((value, consumed)) if consumed == body.len() => Ok(value),
        Ok((_, consumed)) => Err(CodecError::Length { kind, expected: consumed, found: body.len() }),
        Err(error) => Err(CodecError::Body { kind, reason: error.to_string() }),
    }
}

/// The value that `bytes` begin with, and how many of them it takes.
pub fn decode_first<T: Decode<()>>(kind: Kind, bytes: &[u8]) -> Result<(T, usize), CodecError> {
    let limits = bincode::config::standard().with_limit::<DECODE_BYTES_MAX>();
    bincode::decode_from_slice(bytes, limits)
        .map_err(|error| CodecError::Body { kind, reason: error.to_string() })
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
    enum Sample {
        Number(u64),
        Texts(Vec<String>),
        Nested(Option<Box<Sample>>, Vec<u8>),
    }

    fn samples() -> impl Strategy<Value = Sample> {
        let leaf = prop_oneof![
            any::<u64>().prop_map(Sample::Number),
            prop::collection::vec(".{0,8}", 0..4).prop_map(Sample::Texts),
        ];
        (leaf, prop::option::of(prop::collection::vec(any::<u8>(), 0..64))).prop_map(|(leaf, bytes)| {
            match bytes {
                Some(bytes) => Sample::Nested(Some(Box::new(leaf)), bytes),
                None => leaf,
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn what_was_sealed_opens_and_nothing_shorter_longer_or_flipped_does(sample in samples(), extra in any::<u8>()) {
            let sealed = seal_value(Kind::LogRecord, 1, &sample);
            prop_assert_eq!(open_value::<Sample>(Kind::LogRecord, 1, &sealed), Ok(sample));
            for end in 0..sealed.len() {
                prop_assert!(open(Kind::LogRecord, &sealed[..end]).is_err());
            }
            for (at, bit) in (0..sealed.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1 << bit;
                prop_assert!(open(Kind::LogRecord, &flipped).is_err(), "bit {} of byte {}", bit, at);
            }
            let mut longer = sealed;
            longer.push(extra);
            prop_assert!(open(Kind::LogRecord, &longer).is_err());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(body in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = open(Kind::Entry, &body);
            let _ = decode::<Sample>(Kind::Entry, &body);
            let _ = open_value::<Sample>(Kind::Entry, 1, &seal(Kind::Entry, 1, &body));
        }
    }

    #[test]
    fn a_hostile_length_is_an_error_and_not_a_panic() {
        // Variant `Texts` with 2^63 strings.
        let mut body = vec![1, 253];
        body.extend_from_slice(&(1u64 << 63).to_le_bytes());
        assert!(matches!(decode::<Sample>(Kind::Entry, &body), Err(CodecError::Body { .. })));
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut body = encode(&Sample::Number(7));
        body.push(0);
        assert!(matches!(decode::<Sample>(Kind::Entry, &body), Err(CodecError::Length { .. })));
    }

    #[test]
    fn another_kind_and_a_newer_format_are_refused_by_name() {
        let sealed = seal_value(Kind::Vote, 2, &Sample::Number(7));
        assert_eq!(
            open_value::<Sample>(Kind::LogId, 2, &sealed),
            Err(CodecError::Foreign { kind: Kind::LogId })
        );
        assert_eq!(
            open_value::<Sample>(Kind::Vote, 1, &sealed),
            Err(CodecError::NewerFormat { kind: Kind::Vote, found: 2, newest: 1 })
        );
    }

    #[test]
    fn the_bytes_of_an_envelope_never_change() {
        let sealed = seal_value(Kind::Vote, 1, &(300u64, true));
        assert_eq!(sealed, [0xA7, 3, 0, 1, 0, 4, 0, 0, 0, 215, 250, 9, 124, 251, 44, 1, 1]);
    }
}
