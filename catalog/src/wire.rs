//! How values become bytes, on disk and between nodes, and back.
//!
//! Values: bincode's standard configuration (variable-length integers, little endian), with a limit, because a hostile
//! length must not cost memory; and every byte must have been read, because what is left over is not what was written.
//! Keys: fixed-length, big endian, so that their bytes sort as [`RecordKey`] does.
//!
//! Bytes that were written once are read for ever: enums and structs are appended to, never reordered. What cannot be
//! done by appending gets a new format number. `catalog/tests/wire.rs` holds the golden bytes.
//!
//! This module does not say where bytes begin and end or whether they are intact: envelopes and checksums are `raft`'s.

use bincode::config::{self, Configuration, Limit};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bincode::{Decode, Encode};

use crate::record::{Record, RecordKey};

/// The most bytes of one encoded value; the same as of one log entry.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The number of the present format of records, in front of each. Greater ones are refused: they are of a newer
/// release.
pub const RECORD_FORMAT: u16 = 3;

/// The number of the present format of commands, proposals and outcomes, for the envelope that `raft` puts around them.
pub const COMMAND_FORMAT: u16 = 4;

/// Why bytes are not a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They break off, are too long, or say what no value says.
    #[error("the bytes are not a {what}: {reason}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A value, and then something else.
    #[error("{extra} bytes follow a {what}")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// How many bytes are left.
        extra: usize,
    },
    /// Written by a newer release.
    #[error("format {found} of a {what} is newer than {known}, the newest that this release reads")]
    NewerFormat {
        /// What was read.
        what: &'static str,
        /// Its format number.
        found: u16,
        /// The newest that is known.
        known: u16,
    },
    /// More than [`BYTES_MAX`].
    #[error("a {what} of {bytes} bytes exceeds the limit of {BYTES_MAX}")]
    TooLong {
        /// What was to be written.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
}

/// The bytes of a value; `what` names it in errors. Errors: only [`WireError::TooLong`] for this crate's types.
pub fn encode(what: &'static str, value: &impl Encode) -> Result<Vec<u8>, WireError> {
    encode_after(Vec::new(), what, value)
}

/// `begun`, and after it the bytes of a value. In one pass: what is encoded is small more often than not, and measuring
/// it first costs as much as writing it.
fn encode_after(begun: Vec<u8>, what: &'static str, value: &impl Encode) -> Result<Vec<u8>, WireError> {
    let mut writer = Bytes(begun);
    bincode::encode_into_writer(value, &mut writer, VALUES)
        .map_err(|error| WireError::Malformed { what, reason: error.to_string() })?;
    bounded(what, writer.0)
}

/// Bytes that are written to their end.
struct Bytes(Vec<u8>);

impl Writer for &mut Bytes {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// The value of `bytes`, all of them; `what` names it in errors.
pub fn decode<T: Decode<()>>(what: &'static str, bytes: &[u8]) -> Result<T, WireError> {
    let (value, read) = bincode::decode_from_slice(bytes, VALUES)
        .map_err(|error| WireError::Malformed { what, reason: error.to_string() })?;
    match bytes.len() - read {
        0 => Ok(value),
        extra => Err(WireError::Trailing { what, extra }),
    }
}

/// The bytes of a key. They sort as keys do.
pub fn encode_key(key: RecordKey) -> Vec<u8> {
    bincode::encode_to_vec(key, KEYS).expect("a key has a fixed length and encodes into memory")
}

/// The key of `bytes`.
pub fn decode_key(bytes: &[u8]) -> Result<RecordKey, WireError> {
    let what = "record key";
    let (key, read) = bincode::decode_from_slice(bytes, KEYS)
        .map_err(|error| WireError::Malformed { what, reason: error.to_string() })?;
    match bytes.len() - read {
        0 => Ok(key),
        extra => Err(WireError::Trailing { what, extra }),
    }
}

/// The bytes of a record: two of its format number, big endian, then the value.
pub fn encode_record(record: &Record) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.extend(RECORD_FORMAT.to_be_bytes());
    encode_after(bytes, "record", record)
}

/// The record of `bytes`.
pub fn decode_record(bytes: &[u8]) -> Result<Record, WireError> {
    let what = "record";
    let Some((format, value)) = bytes.split_first_chunk() else {
        return Err(WireError::Malformed { what, reason: "it has no format number".to_owned() });
    };
    match u16::from_be_bytes(*format) {
        RECORD_FORMAT => decode(what, value),
        found if found > RECORD_FORMAT => Err(WireError::NewerFormat { what, found, known: RECORD_FORMAT }),
        found => Err(WireError::Malformed { what, reason: format!("no release wrote format {found}") }),
    }
}

/// Most records are shorter.
const USUAL_BYTES: usize = 256;

fn bounded(what: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>, WireError> {
    if bytes.len() > BYTES_MAX { Err(WireError::TooLong { what, bytes: bytes.len() }) } else { Ok(bytes) }
}

const VALUES: Configuration<config::LittleEndian, config::Varint, Limit<BYTES_MAX>> =
    config::standard().with_limit::<BYTES_MAX>();

const KEYS: Configuration<config::BigEndian, config::Fixint, Limit<64>> =
    config::standard().with_big_endian().with_fixed_int_encoding().with_limit::<64>();
