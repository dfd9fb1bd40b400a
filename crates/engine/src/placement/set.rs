//! Sets of nodes as bits.

/// A node's place in a snapshot; given to another node once it is gone.
pub(super) type Slot = usize;

/// A set of nodes of one snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSet {
    words: Vec<u64>,
}

impl NodeSet {
    /// Adds a node.
    pub(super) fn insert(&mut self, slot: Slot) {
        let word = slot / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(bits) = self.words.get_mut(word) {
            *bits |= 1 << (slot % 64);
        }
    }

    /// Takes a node out.
    pub(super) fn remove(&mut self, slot: Slot) {
        if let Some(bits) = self.words.get_mut(slot / 64) {
            *bits &= !(1 << (slot % 64));
        }
    }

    /// Whether the node is in it.
    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.words
            .get(slot / 64)
            .is_some_and(|bits| bits >> (slot % 64) & 1 == 1)
    }

    /// How many nodes are in it.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|bits| bits.count_ones() as usize)
            .sum()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|bits| *bits == 0)
    }

    /// The nodes in it, in ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.words.iter().enumerate().flat_map(|(word, &bits)| {
            let mut rest = bits;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(word * 64 + bit)
            })
        })
    }

    /// Keeps only what is in `other`, too.
    pub(super) fn intersect(&mut self, other: &Self) {
        for (word, bits) in self.words.iter_mut().enumerate() {
            *bits &= other.words.get(word).copied().unwrap_or(0);
        }
    }

    /// Adds what is in `other`.
    pub(super) fn unite(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (bits, more) in self.words.iter_mut().zip(&other.words) {
            *bits |= more;
        }
    }
}

impl Extend<Slot> for NodeSet {
    fn extend<I: IntoIterator<Item = Slot>>(&mut self, slots: I) {
        slots.into_iter().for_each(|slot| self.insert(slot));
    }
}

impl FromIterator<Slot> for NodeSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::default();
        set.extend(slots);
        set
    }
}

#[cfg(test)]
mod tests {
    use super::NodeSet;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_does_what_a_set_of_numbers_does(
            a in prop::collection::btree_set(0usize..300, 0..60),
            b in prop::collection::btree_set(0usize..300, 0..60),
        ) {
            let bits = |set: &BTreeSet<usize>| set.iter().copied().collect::<NodeSet>();
            let list = |set: &NodeSet| set.iter().collect::<BTreeSet<_>>();
            let apply = |with: fn(&mut NodeSet, &NodeSet)| {
                let mut out = bits(&a);
                with(&mut out, &bits(&b));
                out
            };
            prop_assert_eq!(list(&apply(NodeSet::intersect)), &a & &b);
            prop_assert_eq!(list(&apply(NodeSet::unite)), &a | &b);
            let mut less = bits(&a);
            for slot in &b {
                less.remove(*slot);
            }
            prop_assert_eq!(list(&less), &a - &b);
            prop_assert_eq!((less.len(), less.is_empty()), ((&a - &b).len(), (&a - &b).is_empty()));
            for slot in 0..310 {
                prop_assert_eq!(less.contains(slot), a.contains(&slot) && !b.contains(&slot));
            }
        }
    }
}
