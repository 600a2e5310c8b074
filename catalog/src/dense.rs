//! A persistent table that is dense in a `u32` key: two levels of small shared arrays below a root.
//!
//! Reading is three loads. Writing copies one leaf, one branch and the root's pointers; everything else is shared
//! with the tables it was cloned from. [`ByObject`] is one for ids of objects.

use std::sync::Arc;
use std::{array, mem};

use crate::id::ObjectId;

/// Slots of a leaf. Small, because copying one touches whatever its slots point to.
const LEAF: usize = 16;
/// Leaves of a branch. For the same reason.
const BRANCH: usize = 32;

/// Keys to values. Cloning costs one reference count.
#[derive(Debug)]
pub(crate) struct Dense<T> {
    root: Arc<Vec<Option<Arc<Branch<T>>>>>,
}

#[derive(Debug)]
struct Branch<T> {
    leaves: [Option<Arc<Leaf<T>>>; BRANCH],
}

#[derive(Clone, Debug)]
struct Leaf<T> {
    slots: [Option<T>; LEAF],
}

impl<T> Clone for Branch<T> {
    fn clone(&self) -> Self {
        Self { leaves: self.leaves.clone() }
    }
}

impl<T> Clone for Dense<T> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root) }
    }
}

impl<T> Default for Dense<T> {
    fn default() -> Self {
        Self { root: Arc::default() }
    }
}

impl<T> Dense<T> {
    /// The value of `key`.
    #[inline]
    pub(crate) fn at(&self, key: u32) -> Option<&T> {
        let (branch, leaf, slot) = place(key);
        let branch = self.root.get(branch)?.as_ref()?;
        branch.leaves[leaf].as_ref()?.slots[slot].as_ref()
    }

    /// All values in key order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.root.iter().enumerate().flat_map(|(b, branch)| {
            let leaves = branch.iter().flat_map(|branch| branch.leaves.iter().enumerate());
            leaves.flat_map(move |(l, leaf)| {
                let slots = leaf.iter().flat_map(|leaf| leaf.slots.iter().enumerate());
                slots.map(move |(s, slot)| ((b * BRANCH + l) * LEAF + s, slot))
            })
        });
        slots.filter_map(|(key, slot)| {
            let key = u32::try_from(key).expect("a key came from a u32");
            slot.as_ref().map(|value| (key, value))
        })
    }
}

impl<T: Clone> Dense<T> {
    /// Sets or removes the value of `key`, and gives back what was there. The root grows with the greatest key: ids come
    /// from a counter.
    pub(crate) fn set(&mut self, key: u32, value: Option<T>) -> Option<T> {
        let (branch, leaf, slot) = place(key);
        if value.is_none() && self.at(key).is_none() {
            return None;
        }
        let root = Arc::make_mut(&mut self.root);
        if root.len() <= branch {
            root.resize(branch + 1, None);
        }
        let branch =
            root[branch].get_or_insert_with(|| Arc::new(Branch { leaves: array::from_fn(|_| None) }));
        let leaf = Arc::make_mut(branch).leaves[leaf]
            .get_or_insert_with(|| Arc::new(Leaf { slots: array::from_fn(|_| None) }));
        mem::replace(&mut Arc::make_mut(leaf).slots[slot], value)
    }
}

impl<T: PartialEq> PartialEq for Dense<T> {
    /// By content: empty leaves that were left behind do not count. Cost: none if they share everything.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root) || self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for Dense<T> {}

/// Objects to values. What is computed has ids that begin at [`ObjectId::FIRST_VIRTUAL`], and a table of its own.
#[derive(Debug)]
pub(crate) struct ByObject<T> {
    stored: Dense<T>,
    computed: Dense<T>,
}

impl<T> ByObject<T> {
    /// The value of `id`.
    #[inline]
    pub(crate) fn get(&self, id: ObjectId) -> Option<&T> {
        match id.0.checked_sub(ObjectId::FIRST_VIRTUAL.0) {
            None => self.stored.at(id.0),
            Some(at) => self.computed.at(at),
        }
    }

    /// All values, sorted by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ObjectId, &T)> {
        let computed = self.computed.iter().map(|(at, value)| (ObjectId::FIRST_VIRTUAL.0 + at, value));
        self.stored.iter().chain(computed).map(|(id, value)| (ObjectId(id), value))
    }
}

impl<T: Clone> ByObject<T> {
    /// Sets or removes the value of `id`, and gives back what was there.
    pub(crate) fn set(&mut self, id: ObjectId, value: Option<T>) -> Option<T> {
        match id.0.checked_sub(ObjectId::FIRST_VIRTUAL.0) {
            None => self.stored.set(id.0, value),
            Some(at) => self.computed.set(at, value),
        }
    }
}

impl<T> Clone for ByObject<T> {
    fn clone(&self) -> Self {
        Self { stored: self.stored.clone(), computed: self.computed.clone() }
    }
}

impl<T> Default for ByObject<T> {
    fn default() -> Self {
        Self { stored: Dense::default(), computed: Dense::default() }
    }
}

impl<T: PartialEq> PartialEq for ByObject<T> {
    fn eq(&self, other: &Self) -> bool {
        (&self.stored, &self.computed) == (&other.stored, &other.computed)
    }
}

impl<T: Eq> Eq for ByObject<T> {}

const fn place(key: u32) -> (usize, usize, usize) {
    let key = key as usize;
    (key / (LEAF * BRANCH), key / LEAF % BRANCH, key % LEAF)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_holds_what_a_map_holds_and_old_clones_do_not_change() {
        let mut table = Dense::default();
        let mut model = BTreeMap::new();
        let mut history = Vec::new();
        let mut key = 7_u32;
        for step in 0..2_000_u32 {
            key = key.wrapping_mul(1_103_515_245).wrapping_add(12_345) % 9_000;
            let value = if step % 3 == 0 { None } else { Some(step) };
            table.set(key, value);
            match value {
                Some(value) => model.insert(key, value),
                None => model.remove(&key),
            };
            if step % 400 == 0 {
                history.push((table.clone(), model.clone()));
            }
        }
        history.push((table, model));
        for (table, model) in history {
            let expected: Vec<_> = model.iter().map(|(key, value)| (*key, value)).collect();
            assert_eq!(table.iter().collect::<Vec<_>>(), expected);
            assert!((0..9_000).all(|key| table.at(key) == model.get(&key)));
        }
    }
}
