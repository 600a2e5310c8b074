//! Numbers and texts in frames: read with bounds, written with the length put in at the end.

use grantd_catalog::id::Version;

use super::{Changed, HEAD_BYTES, KINDS, LENGTH_BYTES, NAME_BYTES_MAX, TEXT_BYTES_MAX, TooLarge};
use crate::check::question::{Question, ResourceKind};
use crate::gate::Freshness;

/// Bytes that are not of this protocol; what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

const ENDS_EARLY: Malformed = Malformed("a frame ends before what it says");

/// Takes values off the front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// `count` arrays of one size, where they lie.
    pub(super) fn arrays<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]], Malformed> {
        let (arrays, _) = self.take(count * N)?.as_chunks();
        Ok(arrays)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn version(&mut self) -> Result<Version, Malformed> {
        self.u64().map(Version)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a byte that says yes or no says neither")),
        }
    }

    /// How many of something follow.
    pub(super) fn count(&mut self, most: usize) -> Result<usize, Malformed> {
        let count = usize::from(self.u16()?);
        if count > most { Err(Malformed("a frame has more items than is allowed")) } else { Ok(count) }
    }

    pub(super) fn text(&mut self, most: usize) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u16()?);
        if length > most {
            return Err(Malformed("a text is longer than is allowed"));
        }
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    pub(super) fn freshness(&mut self) -> Result<Freshness, Malformed> {
        match (self.u8()?, self.version()?) {
            (0, Version(0)) => Ok(Freshness::Local),
            (1, version) => Ok(Freshness::AtLeast(version)),
            (2, Version(0)) => Ok(Freshness::Linearizable),
            _ => Err(Malformed("a freshness is not known, or has a version that means nothing")),
        }
    }

    pub(super) fn kind(&mut self) -> Result<ResourceKind, Malformed> {
        let number = usize::from(self.u8()?);
        KINDS.get(number).copied().ok_or(Malformed("a kind of resource is not known"))
    }

    pub(super) fn question(&mut self) -> Result<Question, Malformed> {
        Ok(Question {
            subject: self.text(NAME_BYTES_MAX)?.to_owned(),
            action: self.text(NAME_BYTES_MAX)?.to_owned(),
            kind: self.kind()?,
            name: self.text(NAME_BYTES_MAX)?.to_owned(),
        })
    }

    pub(super) fn optional_id(&mut self) -> Result<Option<u32>, Malformed> {
        match (self.boolean()?, self.u32()?) {
            (true, id) => Ok(Some(id)),
            (false, 0) => Ok(None),
            (false, _) => Err(Malformed("nothing was found, and it has an id")),
        }
    }

    pub(super) fn changed(&mut self) -> Result<Changed, Malformed> {
        let (kind, a, b) = (self.u8()?, self.u32()?, self.u32()?);
        Changed::from_parts(kind, a, b).ok_or(Malformed("a changed record is of no known kind"))
    }

    /// That nothing is left over.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("a frame has bytes left over")) }
    }
}

/// Appends one frame. Its length is put in when this is dropped.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    begin: usize,
}

impl<'o> Writer<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>, id: u32, kind: u8) -> Self {
        let begin = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        out.extend_from_slice(&id.to_le_bytes());
        out.push(kind);
        debug_assert_eq!(out.len(), begin + LENGTH_BYTES + HEAD_BYTES, "the head is as long as it says");
        Self { out, begin }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// How many of something follow. The caller has checked that they are not too many.
    pub(super) fn count(&mut self, count: usize) -> &mut Self {
        self.u16(u16::try_from(count).expect("every bound of a count is below 2^16"))
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        self.count(text.len()).bytes(text.as_bytes())
    }

    pub(super) fn freshness(&mut self, freshness: Freshness) -> &mut Self {
        match freshness {
            Freshness::Local => self.u8(0).u64(0),
            Freshness::AtLeast(version) => self.u8(1).u64(version.0),
            Freshness::Linearizable => self.u8(2).u64(0),
        }
    }

    pub(super) fn kind(&mut self, kind: ResourceKind) -> &mut Self {
        // A virtual table is asked for as a table.
        let place = KINDS.iter().position(|known| *known == kind).unwrap_or(TABLE);
        self.u8(u8::try_from(place).expect("there are few kinds"))
    }

    pub(super) fn question(&mut self, question: &Question) -> &mut Self {
        self.text(&question.subject).text(&question.action).kind(question.kind).text(&question.name)
    }

    /// Ends the frame, or takes it back if it is longer than `most`.
    pub(super) fn end_within(self, most: usize) -> Result<(), TooLarge> {
        let given = self.out.len() - self.begin - LENGTH_BYTES;
        if given > most {
            self.out.truncate(self.begin);
            return Err(TooLarge { what: "bytes:", given, most });
        }
        Ok(())
    }
}

/// Its place among the kinds.
const TABLE: usize = 3;

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let length = self.out.len().saturating_sub(self.begin + LENGTH_BYTES);
        if let (Ok(length), Some(place)) =
            (u32::try_from(length), self.out.get_mut(self.begin..self.begin + LENGTH_BYTES))
        {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}
