//! A persistent table that is dense in a `u32` key: a tree of small shared arrays that grows by a level when the greatest
//! key needs one.
//!
//! Reading is one load for each level. Writing copies one array of each level, so that it costs about the same whatever
//! the table holds; everything else is shared with the tables it was cloned from. [`ByObject`] is one for ids of objects.

use std::sync::Arc;
use std::{array, mem};

use crate::id::ObjectId;

/// Slots of an array in a table of objects. Few, because copying an array touches whatever its slots point to.
const OBJECTS: usize = 4;

/// Keys to values; `F` slots in an array, a power of two. Cloning costs one reference count.
#[derive(Debug)]
pub(crate) struct Dense<T, const F: usize> {
    root: Option<Arc<Node<T, F>>>,
    /// Levels of branches above the leaves.
    depth: u32,
}

#[derive(Debug)]
enum Node<T, const F: usize> {
    Branch([Option<Arc<Node<T, F>>>; F]),
    Leaf([Option<T>; F]),
}

impl<T: Clone, const F: usize> Clone for Node<T, F> {
    fn clone(&self) -> Self {
        match self {
            Self::Branch(nodes) => Self::Branch(nodes.clone()),
            Self::Leaf(slots) => Self::Leaf(slots.clone()),
        }
    }
}

impl<T, const F: usize> Clone for Dense<T, F> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), depth: self.depth }
    }
}

impl<T, const F: usize> Default for Dense<T, F> {
    fn default() -> Self {
        Self { root: None, depth: 0 }
    }
}

impl<T, const F: usize> Dense<T, F> {
    /// Bits of a key that one level looks at.
    const BITS: u32 = {
        assert!(F.is_power_of_two() && F > 1);
        F.trailing_zeros()
    };

    /// The value of `key`.
    #[inline(always)]
    pub(crate) fn at(&self, key: u32) -> Option<&T> {
        if !self.reaches(key) {
            return None;
        }
        let mut node = self.root.as_deref()?;
        let mut shift = self.depth * Self::BITS;
        loop {
            match node {
                Node::Branch(nodes) => node = nodes[Self::slot(key, shift)].as_deref()?,
                Node::Leaf(slots) => return slots[Self::slot(key, 0)].as_ref(),
            }
            shift -= Self::BITS;
        }
    }

    /// All values in key order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        Iter { open: self.root.as_deref().map(|root| (root, 0, 0)).into_iter().collect() }
    }

    /// Bytes of its arrays on the heap, without what the values have there.
    pub(crate) fn heap_bytes(&self) -> usize {
        let counts = size_of::<Node<T, F>>() + 2 * size_of::<usize>();
        self.root.as_deref().map_or(0, |root| nodes(root) * counts)
    }

    /// Whether a table of this depth has a place for `key`.
    const fn reaches(&self, key: u32) -> bool {
        match key.checked_shr((self.depth + 1) * Self::BITS) {
            Some(above) => above == 0,
            None => true,
        }
    }

    const fn slot(key: u32, shift: u32) -> usize {
        (key >> shift) as usize & (F - 1)
    }
}

/// Arrays that were entered, each with its next slot and the key of its first one in units of a slot.
struct Iter<'a, T, const F: usize> {
    open: Vec<(&'a Node<T, F>, usize, u32)>,
}

impl<'a, T, const F: usize> Iterator for Iter<'a, T, F> {
    type Item = (u32, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, slot, first) = self.open.last_mut()?;
            let at = *slot;
            *slot += 1;
            // Below 2^32: a key came from a `u32`.
            let key = *first | u32::try_from(at).unwrap_or_default();
            match node {
                _ if at == F => drop(self.open.pop()),
                Node::Leaf(slots) => {
                    if let Some(value) = &slots[at] {
                        return Some((key, value));
                    }
                }
                Node::Branch(nodes) => {
                    if let Some(node) = &nodes[at] {
                        self.open.push((node, 0, key << Dense::<T, F>::BITS));
                    }
                }
            }
        }
    }
}

impl<T: Clone, const F: usize> Dense<T, F> {
    /// Sets or removes the value of `key`, and gives back what was there. Cost: an array of each level is copied, unless
    /// nobody shares it.
    pub(crate) fn set(&mut self, key: u32, value: Option<T>) -> Option<T> {
        if value.is_none() && self.at(key).is_none() {
            return None;
        }
        while !self.reaches(key) {
            if let Some(root) = self.root.take() {
                let mut nodes = array::from_fn(|_| None);
                nodes[0] = Some(root);
                self.root = Some(Arc::new(Node::Branch(nodes)));
            }
            self.depth += 1;
        }
        let mut depth = self.depth;
        let mut node = self.root.get_or_insert_with(|| new_node(depth));
        loop {
            match Arc::make_mut(node) {
                Node::Leaf(slots) => return mem::replace(&mut slots[Self::slot(key, 0)], value),
                Node::Branch(nodes) => {
                    let slot = &mut nodes[Self::slot(key, depth * Self::BITS)];
                    depth -= 1;
                    node = slot.get_or_insert_with(|| new_node(depth));
                }
            }
        }
    }
}

fn new_node<T, const F: usize>(depth: u32) -> Arc<Node<T, F>> {
    Arc::new(match depth {
        0 => Node::Leaf(array::from_fn(|_| None)),
        _ => Node::Branch(array::from_fn(|_| None)),
    })
}

impl<T: PartialEq, const F: usize> PartialEq for Dense<T, F> {
    /// By content: empty arrays that were left behind do not count. Cost: what the two do not share.
    fn eq(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (Some(one), Some(other_root)) if self.depth == other.depth => same(one, other_root),
            _ => self.iter().eq(other.iter()),
        }
    }
}

impl<T, const F: usize> Dense<T, F> {
    /// Whether two tables have their arrays in common, and so hold the same. Cost: one comparison.
    pub(crate) fn shares_all_with(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// Whether two arrays of one level hold the same.
fn same<T: PartialEq, const F: usize>(one: &Arc<Node<T, F>>, other: &Arc<Node<T, F>>) -> bool {
    Arc::ptr_eq(one, other)
        || match (&**one, &**other) {
            (Node::Leaf(one), Node::Leaf(other)) => one == other,
            (Node::Branch(one), Node::Branch(other)) => one.iter().zip(other).all(|pair| match pair {
                (Some(one), Some(other)) => same(one, other),
                (Some(node), None) | (None, Some(node)) => is_empty(node),
                (None, None) => true,
            }),
            (Node::Leaf(_), Node::Branch(_)) | (Node::Branch(_), Node::Leaf(_)) => false,
        }
}

/// An array and those below it.
fn nodes<T, const F: usize>(node: &Node<T, F>) -> usize {
    match node {
        Node::Leaf(_) => 1,
        Node::Branch(below) => 1 + below.iter().flatten().map(|node| nodes(node)).sum::<usize>(),
    }
}

fn is_empty<T, const F: usize>(node: &Node<T, F>) -> bool {
    match node {
        Node::Leaf(slots) => slots.iter().all(Option::is_none),
        Node::Branch(nodes) => nodes.iter().flatten().all(|node| is_empty(node)),
    }
}

impl<T: Eq, const F: usize> Eq for Dense<T, F> {}

/// Objects to values. What is computed has ids that begin at [`ObjectId::FIRST_VIRTUAL`], and a table of its own.
#[derive(Debug)]
pub(crate) struct ByObject<T> {
    stored: Dense<T, OBJECTS>,
    computed: Dense<T, OBJECTS>,
}

impl<T> ByObject<T> {
    /// As [`Dense::shares_all_with`].
    pub(crate) fn shares_all_with(&self, other: &Self) -> bool {
        self.stored.shares_all_with(&other.stored) && self.computed.shares_all_with(&other.computed)
    }

    /// The value of `id`.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_holds_what_a_map_holds_and_old_clones_do_not_change() {
        let mut table = Dense::<u32, 8>::default();
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
            let expected: Vec<_> = model.iter().map(|(key, value)| (*key, *value)).collect();
            assert_eq!(table.iter().map(|(key, value)| (key, *value)).collect::<Vec<_>>(), expected);
            assert!((0..9_000).all(|key| table.at(key) == model.get(&key)));
        }
    }

    #[test]
    fn what_was_removed_leaves_no_difference() {
        let mut one = Dense::<u32, 8>::default();
        one.set(3, Some(3));
        let mut other = one.clone();
        assert_eq!(one, other);
        for key in [4, 70, 5_000, u32::MAX] {
            other.set(key, Some(key));
            assert_ne!(one, other);
            assert_eq!(other.at(key), Some(&key));
            other.set(key, None);
            assert_eq!(one, other);
            assert_eq!(other, one);
        }
    }
}
