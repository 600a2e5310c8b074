//! Names to ids, one look-up each, beside the maps that list names in order. Looking up takes text as it is, without making
//! a name of it.
//!
//! By linear hashing (Litwin 1980): there are as many buckets as names, and a new name splits one bucket, so that no change
//! costs more than another. A bucket is a record that has the names in itself: finding one follows no pointer to it.
//!
//! The hash is the same everywhere and no secret: who makes names that collide makes those look-ups slower and no others.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName};
use crate::packed::Packed;
use crate::state::Namespace;

/// A function of the records, like the index. Cloning costs a few reference counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    buckets: Packed,
    principals: u32,
    objects: u32,
}

impl PartialEq for Named {
    /// States with the same records have the same names.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Named {}

/// Where a name means something, and the name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key<'a> {
    /// Principals, or a [`Namespace`] of objects.
    space: u16,
    /// The object that the name is in; of principals 0.
    parent: u32,
    name: &'a [u8],
}

/// The space of principals. Those of objects follow.
const PRINCIPALS: u16 = 0;
/// Words of an entry before its name: space, parent, id and length, all but the first in two halves.
const HEAD: usize = 7;

impl Named {
    pub(super) fn principal(&self, name: &str) -> Option<PrincipalId> {
        self.find(Key::principal(name)).map(PrincipalId)
    }

    pub(super) fn set_principal(&mut self, name: &RoleName, id: PrincipalId) {
        self.principals += 1;
        self.insert(Key::principal(name.as_str()), id.0);
    }

    pub(super) fn remove_principal(&mut self, name: &RoleName) {
        if self.remove(Key::principal(name.as_str())) {
            self.principals -= 1;
        }
    }

    pub(super) fn child(&self, parent: ObjectId, namespace: Namespace, name: &str) -> Option<ObjectId> {
        self.find(Key::child(parent, namespace, name)).map(ObjectId)
    }

    pub(super) fn set_child(&mut self, parent: ObjectId, namespace: Namespace, name: &Name, id: ObjectId) {
        self.objects += 1;
        self.insert(Key::child(parent, namespace, name.as_str()), id.0);
    }

    pub(super) fn remove_child(&mut self, parent: ObjectId, namespace: Namespace, name: &Name) {
        if self.remove(Key::child(parent, namespace, name.as_str())) {
            self.objects -= 1;
        }
    }

    /// How many names of principals and of objects there are.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.principals, self.objects)
    }

    fn find(&self, key: Key<'_>) -> Option<u32> {
        let bucket = self.buckets.at(address(key.hash(), self.len()))?;
        entries(bucket.record()).find(|entry| key.is_of(entry)).map(|entry| joined(entry[3], entry[4]))
    }

    /// Adds a name that is not there, and was counted.
    fn insert(&mut self, key: Key<'_>, id: u32) {
        let buckets = self.len();
        // One more than before: the last bucket is new, and takes its part of the one that it was in until now.
        let split = without_first_bit(buckets - 1);
        if split != buckets - 1 {
            let (mut stays, mut goes) = (Vec::new(), Vec::new());
            for entry in entries(&self.bucket(split)) {
                let to = if address(hash_of(entry), buckets) == split { &mut stays } else { &mut goes };
                to.extend_from_slice(entry);
            }
            self.put(split, &stays);
            self.put(buckets - 1, &goes);
        }
        let at = address(key.hash(), buckets);
        let mut words = self.bucket(at);
        words.extend([key.space, low(key.parent), high(key.parent), low(id), high(id)]);
        let len = u32::try_from(key.name.len()).unwrap_or(u32::MAX);
        words.extend([low(len), high(len)]);
        words.extend(key.name.chunks(2).map(word));
        self.put(at, &words);
    }

    /// Removes a name before it is counted as gone; says whether it was there.
    fn remove(&mut self, key: Key<'_>) -> bool {
        let buckets = self.len();
        let at = address(key.hash(), buckets);
        let before = self.bucket(at);
        let after: Vec<u16> = entries(&before).filter(|entry| !key.is_of(entry)).flatten().copied().collect();
        if before.len() == after.len() {
            return false;
        }
        self.put(at, &after);
        // One fewer than before: the last bucket goes back to where it came from.
        let (last, into) = (buckets - 1, without_first_bit(buckets - 1));
        if into != last {
            let mut words = self.bucket(into);
            words.extend(self.bucket(last));
            self.put(into, &words);
            self.put(last, &[]);
        }
        true
    }

    /// How many buckets there are: one for each name, and at least one.
    fn len(&self) -> u32 {
        (self.principals + self.objects).max(1)
    }

    fn bucket(&self, at: u32) -> Vec<u16> {
        self.buckets.at(at).map_or_else(Vec::new, |bucket| bucket.record().to_vec())
    }

    fn put(&mut self, at: u32, words: &[u16]) {
        self.buckets.set(at, Some(words).filter(|words| !words.is_empty()));
    }
}

impl<'a> Key<'a> {
    fn principal(name: &'a str) -> Self {
        Self { space: PRINCIPALS, parent: 0, name: name.as_bytes() }
    }

    fn child(parent: ObjectId, namespace: Namespace, name: &'a str) -> Self {
        Self { space: 1 + namespace as u16, parent: parent.0, name: name.as_bytes() }
    }

    fn hash(self) -> u64 {
        let mut hasher = FixedState::default().build_hasher();
        hasher.write_u64(u64::from(self.space) << u32::BITS | u64::from(self.parent));
        hasher.write(self.name);
        hasher.finish()
    }

    /// Whether `entry` has this key.
    fn is_of(self, entry: &[u16]) -> bool {
        self.space == entry[0]
            && self.parent == joined(entry[1], entry[2])
            && self.name.len() == joined(entry[5], entry[6]) as usize
            && self.name.chunks(2).map(word).eq(entry[HEAD..].iter().copied())
    }
}

/// The hash of an entry's key.
fn hash_of(entry: &[u16]) -> u64 {
    let len = joined(entry[5], entry[6]) as usize;
    let mut name: Vec<u8> = entry[HEAD..].iter().flat_map(|word| word.to_le_bytes()).collect();
    name.truncate(len);
    Key { space: entry[0], parent: joined(entry[1], entry[2]), name: &name }.hash()
}

/// The entries of a bucket.
fn entries(mut words: &[u16]) -> impl Iterator<Item = &[u16]> {
    std::iter::from_fn(move || {
        let len = joined(*words.get(5)?, *words.get(6)?) as usize;
        let (entry, rest) = words.split_at_checked(HEAD + len.div_ceil(2))?;
        words = rest;
        Some(entry)
    })
}

/// The bucket of a hash among so many.
#[expect(clippy::cast_possible_truncation, reason = "as many bits as a number of buckets has are kept")]
const fn address(hash: u64, buckets: u32) -> u32 {
    let at = hash as u32 & (buckets.next_power_of_two() - 1);
    if at < buckets { at } else { without_first_bit(at) }
}

/// Where the names of a bucket were before it was made.
const fn without_first_bit(bucket: u32) -> u32 {
    match bucket.checked_ilog2() {
        Some(bit) => bucket ^ (1 << bit),
        None => 0,
    }
}

fn word(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[0], bytes.get(1).copied().unwrap_or_default()])
}

#[expect(clippy::cast_possible_truncation, reason = "the other half is `high`")]
const fn low(number: u32) -> u16 {
    number as u16
}

const fn high(number: u32) -> u16 {
    (number >> u16::BITS) as u16
}

const fn joined(low: u16, high: u16) -> u32 {
    (high as u32) << u16::BITS | low as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_finds_what_a_map_finds_while_it_grows_and_shrinks() {
        let (mut named, mut model) = (Named::default(), BTreeMap::new());
        let mut dice = 1_u32;
        for step in 0..6_000_u32 {
            dice = dice.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            // Grows for the first half and shrinks in the second.
            let (number, adds) = (dice >> 8 & 0x1FF, (dice >> 20) % 3 != if step < 3_000 { 0 } else { 1 });
            let (parent, name) =
                (ObjectId(number % 3), Name::from("x".repeat(number as usize % 90).as_str()));
            let (space, role) = (Namespace::Relations, RoleName::from(format!("r{number}").as_str()));
            if adds && !model.contains_key(&(parent.0, name.clone())) {
                named.set_child(parent, space, &name, ObjectId(step << 8));
                model.insert((parent.0, name.clone()), step << 8);
            } else if !adds {
                named.remove_child(parent, space, &name);
                model.remove(&(parent.0, name.clone()));
            }
            named.remove_principal(&role);
            assert_eq!(named.principal(role.as_str()), None);
            if adds {
                named.set_principal(&role, PrincipalId(step));
                assert_eq!(named.principal(role.as_str()), Some(PrincipalId(step)));
            }
            if step % 100 == 0 {
                for ((parent, name), id) in &model {
                    let found = named.child(ObjectId(*parent), space, name.as_str());
                    assert_eq!(found, Some(ObjectId(*id)), "{name} in {parent}");
                    assert_eq!(named.child(ObjectId(*parent), Namespace::Functions, name.as_str()), None);
                }
                assert_eq!(named.counts().1 as usize, model.len());
            }
        }
    }
}
