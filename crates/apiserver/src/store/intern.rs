//! One allocation per distinct text: namespaces, label keys and values, node names and owners
//! repeat across thousands of objects.

use super::{Draft, Index, Key};
use std::collections::HashSet;
use std::sync::Arc;

const FIRST_SWEEP: usize = 4096;

/// The texts in use.
#[derive(Debug)]
pub(super) struct Interner {
    known: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Interner {
    /// The shared copy of `text`.
    pub(super) fn share(&mut self, text: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = FIRST_SWEEP.max(self.known.len() * 2);
        }
        self.known.insert(Arc::clone(text));
        Arc::clone(text)
    }

    /// Shares everything in a draft that is likely to repeat. Names and uids are not.
    pub(super) fn share_draft(&mut self, draft: &mut Draft) {
        self.share_parts(&mut draft.key, &mut draft.index);
    }

    /// Shares the repeating parts of a key and an index.
    pub(super) fn share_parts(&mut self, key: &mut Key, index: &mut Index) {
        key.resource = self.share(&key.resource);
        key.namespace = self.share(&key.namespace);
        for (label, value) in &mut index.labels {
            *label = self.share(label);
            *value = self.share(value);
        }
        for text in index.fields.iter_mut().chain(&mut index.owners) {
            *text = self.share(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_one_allocation_and_unused_ones_are_swept() {
        let mut interner = Interner::default();
        let first = interner.share(&Arc::from("web"));
        let second = interner.share(&Arc::from("web"));
        assert!(Arc::ptr_eq(&first, &second));
        for n in 0..3 * FIRST_SWEEP {
            drop(interner.share(&Arc::from(n.to_string())));
        }
        assert!(interner.known.len() <= FIRST_SWEEP + 1);
        assert!(Arc::ptr_eq(&first, &interner.share(&Arc::from("web"))));
    }
}
