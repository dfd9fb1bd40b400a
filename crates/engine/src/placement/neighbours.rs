//! Shapes, places and counters together: who runs near whom.

use super::counter::{
    Counted, Counter, CounterId, CounterKey, Counters, Moved, Namespaces, World, selects,
};
use super::pod::PodSpec;
use super::pod_affinity::PodTerm;
use super::set::Slot;
use super::shape::{NeedsId, Shape, ShapeId, Shapes, Terms};
use super::topology::{KeyId, Topology};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Shapes that are kept although no pod has them.
const SPARE_SHAPES: usize = 1024;
/// Counters beyond which those that nobody needs are looked for.
const SPARE_COUNTERS: usize = 1024;

/// Who runs near whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Neighbours {
    pub(super) shapes: Shapes,
    pub(super) topology: Topology,
    pub(super) namespaces: Namespaces,
    counters: Counters,
    /// Labels of the nodes, for topology keys that nobody asked for yet.
    labels: BTreeMap<Slot, BTreeMap<String, String>>,
    /// How many shapes there were after the last sweep.
    shapes_kept: usize,
    counters_kept: usize,
}

impl Neighbours {
    /// The shape of pods of `namespace` that ask for `spec`.
    pub(super) fn shape(&mut self, namespace: &Arc<str>, spec: &Arc<PodSpec>) -> ShapeId {
        let (id, new) = self.shapes.intern(namespace, spec);
        if new {
            self.follow_terms(id);
        }
        id
    }

    /// Makes the counters of pods that carry the shape's terms.
    fn follow_terms(&mut self, id: ShapeId) {
        let Some(terms) = self.shapes.get(id).map(|shape| Arc::clone(&shape.terms)) else {
            return;
        };
        if !terms.carries() {
            return;
        }
        for CounterKey {
            counted,
            topology_key,
        } in terms.carried()
        {
            self.counter(counted, &topology_key);
        }
    }

    /// The counter of these pods by this label, made if need be.
    pub(super) fn counter(&mut self, counted: Counted, topology_key: &str) -> CounterId {
        let key = CounterKey {
            counted,
            topology_key: topology_key.to_owned(),
        };
        if let Some(id) = self.counters.known(&key) {
            return id;
        }
        let labels = self.labels.iter().map(|(slot, labels)| (*slot, labels));
        let topology_key = self.topology.follow(topology_key, labels);
        let world = World {
            shapes: &self.shapes,
            topology: &self.topology,
            namespaces: &self.namespaces,
        };
        self.counters.make(key, topology_key, &world)
    }

    /// The number of a topology key.
    pub(super) fn key(&mut self, name: &str) -> KeyId {
        let labels = self.labels.iter().map(|(slot, labels)| (*slot, labels));
        self.topology.follow(name, labels)
    }

    pub(super) fn read(&self, id: CounterId) -> Option<&Counter> {
        self.counters.get(id)
    }

    /// The shape, acquainted with every counter.
    pub(super) fn acquainted(&mut self, id: ShapeId) -> Option<&Shape> {
        let shape = self.shapes.get_mut(id)?;
        self.counters.acquaint(shape, &self.namespaces);
        Some(shape)
    }

    /// Whether any rule about other pods concerns pods of the shape.
    pub(super) fn concerned(&mut self, id: ShapeId) -> bool {
        let Some(shape) = self.shapes.get_mut(id) else {
            return false;
        };
        self.counters.acquaint(shape, &self.namespaces);
        let terms = &shape.terms;
        let faced = |id: &CounterId| self.counters.get(*id).is_some_and(|c| c.total > 0);
        terms.carries()
            || !terms.hard_spread.is_empty()
            || !terms.soft_spread.is_empty()
            || shape.facing.iter().any(faced)
    }

    pub(super) fn terms(&self, id: ShapeId) -> Arc<Terms> {
        let shape = self.shapes.get(id);
        shape
            .map(|shape| Arc::clone(&shape.terms))
            .unwrap_or_default()
    }

    /// Whether a term selects pods of the shape.
    pub(super) fn selected(&self, term: &PodTerm, shape: ShapeId) -> bool {
        self.shapes
            .get(shape)
            .is_some_and(|shape| selects(term, shape, &self.namespaces))
    }

    /// A pod came to a node or left it.
    pub(super) fn moved(&mut self, moved: Moved) {
        let Some(shape) = self.shapes.get_mut(moved.shape) else {
            return;
        };
        self.counters.acquaint(shape, &self.namespaces);
        let here = shape.placed.entry(moved.slot).or_default();
        let change = |count: &mut u32| {
            let changed = i64::from(*count).saturating_add(moved.by).max(0);
            *count = u32::try_from(changed).unwrap_or(u32::MAX);
        };
        change(&mut here.all);
        if moved.terminating {
            change(&mut here.terminating);
        }
        if here.all == 0 {
            shape.placed.remove(&moved.slot);
        }
        self.counters.count(shape, moved, &self.topology);
    }

    /// Takes over a node's labels; the pods on it must not be counted meanwhile.
    pub(super) fn set_node(&mut self, slot: Slot, labels: Option<&BTreeMap<String, String>>) {
        self.topology.set_node(slot, labels);
        match labels {
            Some(labels) => drop(self.labels.insert(slot, labels.clone())),
            None => drop(self.labels.remove(&slot)),
        }
    }

    /// Takes over a namespace's labels (`None` = it is gone). Returns whether anything may have
    /// changed.
    pub(super) fn set_namespace(
        &mut self,
        name: &str,
        labels: Option<BTreeMap<String, String>>,
    ) -> bool {
        let known = self.namespaces.get(name);
        if known == labels.as_ref() {
            return false;
        }
        match labels {
            Some(labels) => drop(self.namespaces.insert(name.into(), labels)),
            None => drop(self.namespaces.remove(name)),
        }
        if self.counters.read_namespaces() {
            self.recount();
        }
        true
    }

    /// Begins counting anew. Counters are made again when somebody asks for them.
    fn recount(&mut self) {
        self.counters = Counters::default();
        let mut carrying = Vec::new();
        for shape in self.shapes.iter_mut() {
            shape.counted_by.clear();
            shape.facing.clear();
            shape.own = None;
            shape.seen = 0;
        }
        for (id, shape) in self.shapes.numbered() {
            if shape.terms.carries() {
                carrying.push(id);
            }
        }
        for id in carrying {
            self.follow_terms(id);
        }
    }

    /// Forgets shapes and counters that nobody needs any more, now and then. Returns the
    /// needs that are gone with them.
    pub(super) fn sweep(&mut self) -> Vec<NeedsId> {
        let mut gone = Vec::new();
        if self.shapes.len() > 2 * self.shapes_kept.max(SPARE_SHAPES) {
            gone = self.shapes.sweep(SPARE_SHAPES as u64);
            self.shapes_kept = self.shapes.len();
        }
        if self.counters.len() > 2 * self.counters_kept.max(SPARE_COUNTERS) {
            self.recount();
            self.counters_kept = self.counters.len();
        }
        gone
    }
}
