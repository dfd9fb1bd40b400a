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
    /// Value and number of nodes of each domain; those without nodes are free for other values.
    domains: Vec<(String, usize)>,
    free: Vec<Domain>,
}

impl Key {
    /// No pod of the node may be counted meanwhile: the number of its place may pass to another.
    fn set(&mut self, slot: Slot, value: Option<&String>) {
        if slot >= self.of_node.len() {
            self.of_node.resize(slot + 1, NOWHERE);
        }
        let old = self.of_node.get(slot).copied().unwrap_or(NOWHERE);
        let domain = value.map_or(NOWHERE, |value| self.enter(value));
        self.leave(old);
        if let Some(at) = self.of_node.get_mut(slot) {
            *at = domain;
        }
    }

    /// One more node has the value.
    fn enter(&mut self, value: &str) -> Domain {
        let known = self.values.get(value).copied();
        let domain = known.or_else(|| self.free.pop()).unwrap_or_else(|| {
            let next = Domain::try_from(self.domains.len()).unwrap_or(NOWHERE);
            self.domains.push((String::new(), 0));
            next
        });
        if let Some((name, nodes)) = at(&mut self.domains, domain) {
            *nodes += 1;
            if known.is_none() {
                value.clone_into(name);
                self.values.insert(value.to_owned(), domain);
            }
        }
        domain
    }

    /// One node less has the value.
    fn leave(&mut self, domain: Domain) {
        let Some((name, nodes)) = at(&mut self.domains, domain) else {
            return;
        };
        *nodes = nodes.saturating_sub(1);
        if *nodes == 0 {
            self.values.remove(&std::mem::take(name));
            self.free.push(domain);
        }
    }
}

fn at(domains: &mut [(String, usize)], domain: Domain) -> Option<&mut (String, usize)> {
    domains.get_mut(usize::try_from(domain).ok()?)
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

    /// How many numbers the key's values have: all are smaller.
    pub(super) fn domains(&self, key: KeyId) -> usize {
        self.keys.get(key).map_or(0, |key| key.domains.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_without_nodes_leave_their_numbers_to_others() {
        let mut topology = Topology::default();
        let key = topology.follow("host", std::iter::empty());
        let labels = |value: &str| BTreeMap::from([("host".to_owned(), value.to_owned())]);
        topology.set_node(0, Some(&labels("kept")));
        for number in 0..100 {
            topology.set_node(1, Some(&labels(&format!("n{number}"))));
            assert_ne!(topology.domain(key, 1), topology.domain(key, 0));
            topology.set_node(1, None);
            assert_eq!(topology.domain(key, 1), None);
        }
        assert_eq!(topology.domains(key), 2);
        // The same label anew keeps the number.
        let before = topology.domain(key, 0);
        topology.set_node(0, Some(&labels("kept")));
        topology.set_node(2, Some(&labels("kept")));
        assert_eq!(topology.domain(key, 0), before);
        assert_eq!(topology.domain(key, 2), before);
    }
}
