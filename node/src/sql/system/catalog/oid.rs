//! OIDs. Principals, databases, schemas and relations have their own ids; types and functions of clients lie above
//! those of PostgreSQL; indexes and constraints are numbered by their table.

use grantd_catalog::id::ObjectId;

/// Added to the id of a type or function, as CockroachDB does, so that no OID is one of PostgreSQL's own.
const ABOVE_BUILTIN: u32 = 100_000;
/// The first OID of an index, of a constraint, of a default: each is unique in its own table only.
const PARTS: u32 = 0x4000_0000;
/// How many OIDs there are from there on.
const PARTS_SPAN: u32 = 0xC000_0000;
/// How many parts of each kind a table may have before their OIDs repeat.
const PARTS_MAX: u32 = 2_048;
/// Where the indexes that are no constraint begin among a table's indexes.
pub const FIRST_PLAIN_INDEX: u16 = 512;
/// Where a table's CHECK constraints begin among its constraints.
pub const FIRST_CHECK: u16 = 1_024;
/// Where its foreign keys do.
pub const FIRST_FOREIGN_KEY: u16 = 1_536;

/// The OID of a type or function of a client.
pub fn above(id: ObjectId) -> u32 {
    id.0.saturating_add(ABOVE_BUILTIN)
}

/// The type or function that may have this OID.
pub fn below(oid: u32) -> Option<ObjectId> {
    oid.checked_sub(ABOVE_BUILTIN).map(ObjectId)
}

/// The OID of the part of `table` with this number.
pub fn part(table: ObjectId, number: u16) -> u32 {
    let number = u32::from(number).min(PARTS_MAX - 1);
    PARTS + (table.0 % (PARTS_SPAN / PARTS_MAX)) * PARTS_MAX + number
}

/// The table and number of a part.
pub fn part_of(oid: u32) -> Option<(ObjectId, u16)> {
    let within = oid.checked_sub(PARTS)?;
    Some((ObjectId(within / PARTS_MAX), u16::try_from(within % PARTS_MAX).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_again() {
        for (table, number) in [(104, 0), (104, 1), (9_999, 1_700), (1_500_000, 0)] {
            assert_eq!(part_of(part(ObjectId(table), number)), Some((ObjectId(table), number)));
        }
        assert_eq!(part_of(104), None);
        assert_eq!(below(above(ObjectId(7))), Some(ObjectId(7)));
    }
}
