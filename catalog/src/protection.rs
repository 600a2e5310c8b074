//! Protection of the change history: what keeps changes after a time from being collected.
//!
//! A job that reads the history puts a record here before it begins, moves it along, and releases it at its end. What is
//! collected, and when, is `raft`'s.

use std::fmt;

use bincode::{Decode, Encode};

use crate::id::{ObjectId, Timestamp};

/// The most records: each is looked at where history is collected.
pub const PROTECTIONS_MAX: usize = 1_000;
/// The most bytes of the note that says who holds a record.
pub const HOLDER_BYTES_MAX: usize = 256;

/// Names a record. Chosen at random by whoever puts it, so that it can be put again when its outcome was unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ProtectionId(pub u128);

impl fmt::Display for ProtectionId {
    /// As a UUID.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// What is kept, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Protection {
    /// Changes after this are kept.
    pub since: Timestamp,
    /// Of which tables, sorted; none: of all, also of those that are yet to come. A table may be dropped meanwhile.
    pub tables: Option<Vec<ObjectId>>,
    /// Who holds it, for operators: `job 7`.
    pub holder: String,
}

impl Protection {
    /// Whether it keeps the changes of this table.
    pub fn covers(&self, table: ObjectId) -> bool {
        self.tables.as_ref().is_none_or(|tables| tables.binary_search(&table).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_a_uuid() {
        let id = ProtectionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
    }
}
