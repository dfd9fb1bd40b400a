//! Which place each node is in, per topology key: labels as small numbers.

use super::set::Slot;
use std::collections::BTreeMap;

/// A topology key's number.
pub(super) type KeyId = usize;
/// A value's number under its key.
pub(super) type Domain = u32;
/// The number of a node that lacks the label.
const NOWHERE: Domain = Domain::MAX;

/// Nodes by the values of the labels that anybody asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Topology {
    ids: BTreeMap<String, KeyId>,
    keys: Vec<Key>,
}

#[derive(Debug, Clone, Default)]
struct Key {
    name: String,
    values: BTreeMap<String, Domain>,
    of_node: Vec<Domain>,
}

impl Key {
    fn set(&mut self, slot: Slot, value: Option<&String>) {
        let domain = value.map_or(NOWHERE, |value| {
            let next = Domain::try_from(self.values.len()).unwrap_or(NOWHERE);
            self.values.get(value).copied().unwrap_or_else(|| {
                self.values.insert(value.clone(), next);
                next
            })
        });
        if slot >= self.of_node.len() {
            self.of_node.resize(slot + 1, NOWHERE);
        }
        if let Some(at) = self.of_node.get_mut(slot) {
            *at = domain;
        }
    }
}

impl Topology {
    /// The key's number, if somebody asked for it before.
    pub(super) fn known(&self, name: &str) -> Option<KeyId> {
        self.ids.get(name).copied()
    }

    /// Begins to follow a key; `nodes` are all nodes there are.
    pub(super) fn follow<'a>(
        &mut self,
        name: &str,
        nodes: impl Iterator<Item = (Slot, &'a BTreeMap<String, String>)>,
    ) -> KeyId {
        if let Some(id) = self.known(name) {
            return id;
        }
        let mut key = Key {
            name: name.to_owned(),
            ..Key::default()
        };
        for (slot, labels) in nodes {
            key.set(slot, labels.get(name));
        }
        let id = self.keys.len();
        self.ids.insert(name.to_owned(), id);
        self.keys.push(key);
        id
    }

    /// Takes over a node's labels; `None` = the node is gone.
    pub(super) fn set_node(&mut self, slot: Slot, labels: Option<&BTreeMap<String, String>>) {
        for key in &mut self.keys {
            let value = labels.and_then(|labels| labels.get(&key.name));
            key.set(slot, value);
        }
    }

    /// Where a node is.
    pub(super) fn domain(&self, key: KeyId, slot: Slot) -> Option<Domain> {
        let domain = *self.keys.get(key)?.of_node.get(slot)?;
        (domain != NOWHERE).then_some(domain)
    }

    /// How many values the key has ever had.
    pub(super) fn domains(&self, key: KeyId) -> usize {
        self.keys.get(key).map_or(0, |key| key.values.len())
    }
}
