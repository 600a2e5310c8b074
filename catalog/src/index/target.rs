//! What decisions need to know of an object, as a record: the kind with flags, what `public` holds, and then for each
//! grantee the low half of its id, and what it holds in 16 bits; where there are any, the high halves and the grant options.
//!
//! The owner is a grantee that holds [`OWNER_BIT`]. That `root` and `admin` hold ALL is a flag: it is so nearly everywhere.

use std::array::from_fn;

use wide::{CmpEq, i16x8};

use crate::grant::{Acl, AclEntry};
use crate::id::PrincipalId;
use crate::index::closure::{Closure, high, joined, low};
use crate::packed::Found;
use crate::privilege::{OWNER_BIT, ObjectKind, PrivilegeSet, Realm};

/// The bits of the first word that say the kind.
const KIND: u16 = 0xF;
/// `root` and `admin` hold ALL, and have no entries here.
const SUPERUSERS: u16 = 1 << 4;
/// The high halves are there.
const WIDE: u16 = 1 << 5;
/// The grant options are there.
const OPTIONS: u16 = 1 << 6;
/// Superusers hold everything by rank here. As [`ObjectKind::is_held_by_rank`].
const RANKED: u16 = 1 << 7;
/// Words before the low halves.
const HEAD: usize = 2;
/// Entries that are compared at once.
const LANES: usize = 16;

/// All ones for each lane of entries, and then none: a window of it says which lanes are there.
static THERE: [u16; 2 * LANES] = {
    let mut ones = [0; 2 * LANES];
    let mut at = 0;
    while at < LANES {
        ones[at] = u16::MAX;
        at += 1;
    }
    ones
};

/// [`LANES`] words.
type Pair = [i16x8; 2];

/// Entries, and which of them are of a role that was compared with them.
struct Entries {
    grantees: Pair,
    found: Pair,
}

impl Entries {
    #[inline]
    fn compare(&mut self, role: u16) {
        let role = i16x8::splat(role.cast_signed());
        for half in 0..2 {
            self.found[half] |= self.grantees[half].cmp_eq(role);
        }
    }
}

#[inline]
fn lanes(words: Option<&[u16; LANES]>) -> Pair {
    let (halves, _) = words.map_or(&[][..], |words| &words[..]).as_chunks::<8>();
    from_fn(|half| halves.get(half).map_or(i16x8::default(), |half| i16x8::new(half.map(u16::cast_signed))))
}

/// What is known of an object.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a>(pub(super) Found<'a>);

/// Which privileges an object of this kind is asked about.
const fn realm(kind: ObjectKind) -> Realm {
    match kind {
        ObjectKind::Cluster => Realm::Cluster,
        _ => Realm::Objects,
    }
}

/// The record of an object.
pub(super) fn pack(kind: ObjectKind, owner: PrincipalId, acl: &Acl) -> Vec<u16> {
    // C6: what is held is legal on the kind, so it has a bit.
    let packed = |set: PrivilegeSet| set.packed(realm(kind)).unwrap_or_default();
    let has_all = |id| acl.entry(id).is_some_and(|entry: &AclEntry| entry.privileges == PrivilegeSet::ALL);
    let superusers = has_all(PrincipalId::ROOT) && has_all(PrincipalId::ADMIN);
    // The entries are sorted (C6), and the owner finds its place among them.
    let mut entries = Vec::with_capacity(acl.entries().len() + 1);
    let mut public = 0;
    for entry in acl.entries() {
        match entry.grantee {
            PrincipalId::PUBLIC => public = packed(entry.privileges),
            PrincipalId::ROOT | PrincipalId::ADMIN if superusers => {}
            grantee => entries.push((grantee, packed(entry.privileges), packed(entry.grant_options))),
        }
    }
    match entries.binary_search_by_key(&owner, |(grantee, _, _)| *grantee) {
        Ok(at) => entries[at].1 |= OWNER_BIT,
        Err(at) => entries.insert(at, (owner, OWNER_BIT, 0)),
    }
    let wide = entries.iter().any(|(grantee, _, _)| high(*grantee) != 0);
    let with_options = entries.iter().any(|(_, _, options)| *options != 0);
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    let head = kind as u16
        | flag(superusers, SUPERUSERS)
        | flag(wide, WIDE)
        | flag(with_options, OPTIONS)
        | flag(kind.is_held_by_rank(), RANKED);
    let mut record = Vec::with_capacity(HEAD + 4 * entries.len());
    record.extend([head, public]);
    record.extend(entries.iter().map(|(grantee, _, _)| low(*grantee)));
    record.extend(entries.iter().map(|(_, held, _)| held));
    if wide {
        record.extend(entries.iter().map(|(grantee, _, _)| high(*grantee)));
    }
    if with_options {
        record.extend(entries.iter().map(|(_, _, options)| options));
    }
    record
}

impl Target<'_> {
    /// What kind of object it is.
    pub fn kind(self) -> Option<ObjectKind> {
        ObjectKind::ALL.get(usize::from(self.0.word(0) & KIND)).copied()
    }

    /// Whether superusers hold things here by rank.
    #[inline]
    pub(super) const fn is_ranked(self) -> bool {
        self.0.word(0) & RANKED != 0
    }

    /// Whether superusers hold ALL here by their entries, which are left out.
    #[inline]
    pub(super) const fn is_held_by_superusers(self) -> bool {
        self.0.word(0) & SUPERUSERS != 0
    }

    /// What everybody holds.
    #[inline]
    pub(super) const fn public(self) -> u16 {
        self.0.word(1)
    }

    /// Who owns it.
    pub(super) fn owner(self) -> Option<PrincipalId> {
        let count = self.count();
        (0..count).find(|at| self.0.word(HEAD + count + at) & OWNER_BIT != 0).map(|at| self.grantee(at))
    }

    /// The grant options of the entry at `at`.
    pub(super) const fn options(self, at: usize) -> u16 {
        if self.0.word(0) & OPTIONS == 0 {
            return 0;
        }
        let wide = if self.is_wide() { 1 } else { 0 };
        self.0.word(HEAD + (2 + wide) * self.count() + at)
    }

    /// Whether the entry at `at` is the owner's.
    pub(super) const fn is_owner(self, at: usize) -> bool {
        self.0.word(HEAD + self.count() + at) & OWNER_BIT != 0
    }

    /// Whether one of `closure` has an entry that holds one of the bits of `question`, and of which `accepts` is true.
    ///
    /// All entries are compared with a role at once, and nothing branches on what is found before the last role: it cannot
    /// be predicted.
    #[inline]
    pub(super) fn any_entry(
        self,
        closure: Closure<'_>,
        question: u16,
        accepts: impl Fn(usize) -> bool,
    ) -> bool {
        let (count, question) = (self.count(), i16x8::splat(question.cast_signed()));
        let mut at = 0;
        while at < count {
            let mut entries = Entries { grantees: self.pair(HEAD + at), found: Pair::default() };
            closure.each_low(|role| entries.compare(role));
            // What was read beyond the last entry does not count.
            let there = &THERE[LANES - LANES.min(count - at)..];
            let (held, there) = (self.pair(HEAD + count + at), lanes(there.first_chunk()));
            let found: Pair = from_fn(|half| entries.found[half] & held[half] & there[half] & question);
            let none = (found[0] | found[1]).cmp_eq(i16x8::default()).all();
            if !none && self.is_accepted(closure, at, found, &accepts) {
                return true;
            }
            at += LANES;
        }
        false
    }

    #[inline]
    fn pair(self, at: usize) -> Pair {
        lanes(Some(&self.0.lanes(at)))
    }

    /// Whether one of the entries at `at` and behind it that were `found` is of a role of the closure, by its whole id.
    #[inline]
    fn is_accepted(
        self,
        closure: Closure<'_>,
        at: usize,
        found: Pair,
        accepts: impl Fn(usize) -> bool,
    ) -> bool {
        let halves_are_enough = !self.is_wide() && !closure.is_wide();
        let found = found.map(i16x8::to_array);
        let entries = found
            .as_flattened()
            .iter()
            .enumerate()
            .filter(|(_, bits)| **bits != 0)
            .map(|(lane, _)| at + lane);
        entries.filter(|entry| halves_are_enough || closure.contains(self.grantee(*entry))).any(accepts)
    }

    #[inline]
    const fn is_wide(self) -> bool {
        self.0.word(0) & WIDE != 0
    }

    /// How many entries there are.
    #[inline]
    const fn count(self) -> usize {
        let words = self.0.len() - HEAD;
        // A division by a number that is not known would cost as much as the rest.
        match (self.0.word(0) & WIDE, self.0.word(0) & OPTIONS) {
            (0, 0) => words / 2,
            (0, _) | (_, 0) => words / 3,
            (_, _) => words / 4,
        }
    }

    fn grantee(self, at: usize) -> PrincipalId {
        let count = self.count();
        let high = if self.is_wide() { self.0.word(HEAD + 2 * count + at) } else { 0 };
        joined(self.0.word(HEAD + at), high)
    }
}

impl PartialEq for Target<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.record() == other.0.record()
    }
}

impl Eq for Target<'_> {}
