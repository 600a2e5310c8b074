//! A persistent table of small records of 16-bit words: so many records to an array as are dense in the key, each where
//! the array's first words say.
//!
//! A record costs its words and one more. Reading finds the array ([`Dense`]), the place, the record: what the processor
//! waits for are the last two. Writing copies one array. A long record has a place of its own, so that its neighbours do not
//! copy it.

use std::sync::Arc;

use imbl::OrdMap;

use crate::dense::Dense;

/// Records of an array. More make writing dearer, and fewer the tree above larger.
const RECORDS: usize = 64;
/// The words before the first record: where each one begins, and where the last one ends.
const PLACES: usize = RECORDS + 1;
/// The words of the longest record in an array.
const WORDS_MAX: usize = 256;
/// Stands for a record that has a place of its own. No record has one word.
const ELSEWHERE: [u16; 1] = [0];
/// Slots of a level of the tree. Copying a node touches what each of its slots points to, so a change pays for each.
const SLOTS: usize = 16;

const _: () = assert!(PLACES + RECORDS * WORDS_MAX <= u16::MAX as usize, "a place is a word");

/// Keys to records. Cloning costs two reference counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    arrays: Dense<Arc<[u16]>, SLOTS>,
    long: OrdMap<u32, Arc<[u16]>>,
}

/// A record, and whatever follows it: reading a few words too many is cheaper than not to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    words: &'a [u16],
    len: usize,
}

impl<'a> Found<'a> {
    /// The record alone.
    #[inline]
    pub(crate) fn record(self) -> &'a [u16] {
        &self.words[..self.len]
    }

    /// How many words the record has.
    #[inline]
    pub(crate) const fn len(self) -> usize {
        self.len
    }

    /// The word at `at`, which is in the record.
    #[inline]
    pub(crate) const fn word(self, at: usize) -> u16 {
        self.words[at]
    }

    /// `N` words from `at`; those beyond the record are anything.
    #[inline]
    pub(crate) fn lanes<const N: usize>(self, at: usize) -> [u16; N] {
        let rest = &self.words[at..];
        rest.first_chunk().copied().unwrap_or_else(|| {
            let mut lanes = [0; N];
            lanes[..rest.len()].copy_from_slice(rest);
            lanes
        })
    }
}

impl Packed {
    /// The record of `key`.
    // Always inlined, as what it calls: a result of three words goes through memory otherwise, at the cost of the answer.
    #[inline(always)]
    pub(crate) fn at(&self, key: u32) -> Option<Found<'_>> {
        self.in_array(self.near(key)?, key)
    }

    /// The array that has the record of `key`, if there is one.
    #[inline(always)]
    pub(crate) fn near(&self, key: u32) -> Option<&[u16]> {
        self.arrays.at(place(key).0).map(|words| &words[..])
    }

    /// The record of `key` in the array that [`Self::near`] gave.
    #[inline(always)]
    pub(crate) fn in_array<'a>(&'a self, words: &'a [u16], key: u32) -> Option<Found<'a>> {
        let (_, slot) = place(key);
        let (begin, end) = (usize::from(words[slot]), usize::from(words[slot + 1]));
        match end - begin {
            0 => None,
            1 => self.long.get(&key).map(|words| Found { words, len: words.len() }),
            len => Some(Found { words: &words[begin..], len }),
        }
    }

    /// All records in key order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[u16])> {
        let keys = self.arrays.iter().flat_map(|(array, _)| {
            let first = array * key_of(RECORDS);
            first..first + key_of(RECORDS)
        });
        keys.filter_map(|key| self.at(key).map(|found| (key, found.record())))
    }

    /// Sets or removes the record of `key`. It has at least two words.
    pub(crate) fn set(&mut self, key: u32, record: Option<&[u16]>) {
        debug_assert!(record.is_none_or(|record| record.len() > ELSEWHERE.len()));
        let record = match record {
            Some(long) if long.len() > WORDS_MAX => {
                self.long.insert(key, long.into());
                &ELSEWHERE[..]
            }
            other => {
                if !self.long.is_empty() {
                    self.long.remove(&key);
                }
                other.unwrap_or_default()
            }
        };
        let (array, slot) = place(key);
        let before = self.near(key).unwrap_or(&EMPTY);
        let changed = replaced(before, slot, record);
        let is_empty = changed.len() == PLACES;
        self.arrays.set(array, (!is_empty).then_some(changed));
    }

    /// Bytes on the heap: what all records need together.
    pub(crate) fn heap_bytes(&self) -> usize {
        let array = |words: &Arc<[u16]>| size_of_val::<[u16]>(words) + 2 * size_of::<usize>();
        let long = self.long.values().map(|words| array(words) + size_of::<(u32, Arc<[u16]>)>());
        self.arrays.heap_bytes()
            + self.arrays.iter().map(|(_, words)| array(words)).sum::<usize>()
            + long.sum::<usize>()
    }
}

/// An array of no records.
#[expect(clippy::cast_possible_truncation, reason = "a small constant, see the assertion above")]
const EMPTY: [u16; PLACES] = [PLACES as u16; PLACES];

/// The words of an array with another record in one slot. They are written where they stay: a copy of a copy is what a
/// change would spend its time on.
fn replaced(words: &[u16], slot: usize, record: &[u16]) -> Arc<[u16]> {
    let (begin, end) = (usize::from(words[slot]), usize::from(words[slot + 1]));
    let len = words.len() - (end - begin) + record.len();
    let mut changed: Arc<[u16]> = std::iter::repeat_n(0, len).collect();
    // Nobody else has it yet.
    let to = Arc::make_mut(&mut changed);
    to[..=slot].copy_from_slice(&words[..=slot]);
    // What is behind moves by the difference. It stays in bounds, see the assertion above.
    let moved = u16::try_from(begin + record.len()).unwrap_or(u16::MAX).wrapping_sub(words[slot + 1]);
    for (to, place) in to[slot + 1..PLACES].iter_mut().zip(&words[slot + 1..PLACES]) {
        *to = place.wrapping_add(moved);
    }
    to[PLACES..begin].copy_from_slice(&words[PLACES..begin]);
    to[begin..begin + record.len()].copy_from_slice(record);
    to[begin + record.len()..].copy_from_slice(&words[end..]);
    changed
}

const fn place(key: u32) -> (u32, usize) {
    (key / key_of(RECORDS), key as usize % RECORDS)
}

#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
const fn key_of(count: usize) -> u32 {
    count as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_holds_what_a_map_holds_of_any_length() {
        let mut table = Packed::default();
        let mut model: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
        let mut old = Vec::new();
        let mut dice = 1_u32;
        for step in 0..4_000_u32 {
            dice = dice.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            let (key, len) = (dice >> 8 & 0x1FF, 2 + (dice >> 20) as usize % (2 * WORDS_MAX));
            if step % 4 == 0 {
                model.remove(&key);
            } else {
                model.insert(key, (0..len).map(|at| u16::try_from(at).unwrap() ^ 7).collect());
            }
            table.set(key, model.get(&key).map(Vec::as_slice));
            if step % 1_000 == 500 {
                old.push((table.clone(), model.clone()));
            }
        }
        old.push((table.clone(), model.clone()));
        for (table, model) in &old {
            let expected: Vec<_> = model.iter().map(|(key, record)| (*key, &record[..])).collect();
            assert_eq!(table.iter().collect::<Vec<_>>(), expected);
            assert!(
                (0..0x200).all(|key| table.at(key).map(Found::record) == model.get(&key).map(|r| &r[..]))
            );
        }
        assert!(old.iter().all(|(_, model)| model.values().any(|record| record.len() > WORDS_MAX)));
        for key in 0..0x200 {
            table.set(key, None);
        }
        assert_eq!(table, Packed::default());
    }

    #[test]
    fn lanes_beyond_the_last_record_can_be_read() {
        let mut table = Packed::default();
        table.set(9, Some(&[1, 2, 3]));
        assert_eq!(table.at(9).unwrap().lanes::<4>(1)[..2], [2, 3]);
    }
}
