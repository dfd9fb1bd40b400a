//! Indexes that a cache keeps up to date as objects change.

use super::{Cache, Cached, ObjectKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Computes the values an object is found by.
pub(super) type Values<V> = fn(&V) -> Vec<Arc<str>>;

/// Postings of one index.
pub(super) struct Postings<V> {
    values: Values<V>,
    keys: BTreeMap<Arc<str>, BTreeSet<ObjectKey>>,
}

impl<V> Postings<V> {
    pub(super) fn new(values: Values<V>) -> Self {
        Self {
            values,
            keys: BTreeMap::new(),
        }
    }

    pub(super) fn apply(&mut self, key: &ObjectKey, old: Option<&V>, new: Option<&V>) {
        let before = old.map(self.values).unwrap_or_default();
        let after = new.map(self.values).unwrap_or_default();
        for value in before.iter().filter(|value| !after.contains(value)) {
            if let Some(keys) = self.keys.get_mut(value) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(value);
                }
            }
        }
        for value in after {
            if !before.contains(&value) {
                self.keys.entry(value).or_default().insert(key.clone());
            }
        }
    }

    pub(super) fn keys(&self, value: &str) -> impl ExactSizeIterator<Item = &ObjectKey> {
        static NONE: BTreeSet<ObjectKey> = BTreeSet::new();
        self.keys.get(value).unwrap_or(&NONE).iter()
    }
}

/// A handle to one index of a cache.
#[derive(Debug)]
pub struct Index<V: Cached> {
    pub(super) cache: Cache<V>,
    pub(super) slot: usize,
}

impl<V: Cached> Clone for Index<V> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            slot: self.slot,
        }
    }
}

impl<V: Cached> Index<V> {
    /// The objects with this value, ordered by namespace and name.
    pub fn get(&self, value: &str) -> Vec<Arc<V>> {
        self.cache.indexed(self.slot, value)
    }

    /// How many objects have this value.
    pub fn count(&self, value: &str) -> usize {
        self.cache.count_indexed(self.slot, value)
    }
}
