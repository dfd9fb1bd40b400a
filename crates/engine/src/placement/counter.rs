//! Counts of pods by node and place, kept up to date pod by pod: what affinity, anti-affinity and
//! spreading are decided from.
//!
//! A counter is made the first time a pod's terms ask for it and counts the pods that are there
//! once. From then on each placed pod moves the few counters its shape belongs to.

use super::pod_affinity::PodTerm;
use super::selector::Operator;
use super::set::Slot;
use super::shape::{Here, Shape, ShapeId, Shapes};
use super::topology::{KeyId, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A counter's number.
pub(super) type CounterId = usize;
/// Labels of namespaces.
pub(super) type Namespaces = BTreeMap<Arc<str>, BTreeMap<String, String>>;

/// What running pods say in a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// They must be near such pods.
    Near,
    /// They must not be.
    Apart,
    /// They like to be, with this weight; below zero, they dislike it.
    Preferred(i64),
}

/// Which pods are counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counted {
    /// Those that all terms select.
    Selected(Vec<PodTerm>),
    /// The same, without those being deleted.
    SelectedAndStaying(Vec<PodTerm>),
    /// Those that carry the term.
    Carrying(Role, PodTerm),
}

/// Which pods are counted, and by which label of nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CounterKey {
    pub(super) counted: Counted,
    pub(super) topology_key: String,
}

/// Numbers of pods.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    counted: Counted,
    pub(super) key: KeyId,
    by_node: Vec<u32>,
    by_domain: Vec<u32>,
    /// Pods on nodes that have the label.
    pub(super) total: u64,
}

impl Counter {
    /// Pods on a node.
    pub(super) fn on_node(&self, slot: Slot) -> u32 {
        self.by_node.get(slot).copied().unwrap_or(0)
    }

    /// Pods in a node's place; `None` if the node is in none.
    pub(super) fn in_place_of(&self, slot: Slot, topology: &Topology) -> Option<u32> {
        let domain = topology.domain(self.key, slot)?;
        let count = usize::try_from(domain)
            .ok()
            .and_then(|at| self.by_domain.get(at));
        Some(count.copied().unwrap_or(0))
    }

    fn counts(&self, shape: &Shape, namespaces: &Namespaces) -> bool {
        match &self.counted {
            Counted::Selected(terms) | Counted::SelectedAndStaying(terms) => {
                terms.iter().all(|term| selects(term, shape, namespaces))
            }
            Counted::Carrying(role, term) => carries(shape, *role, term),
        }
    }

    /// Whether it counts pods whose terms select this shape.
    fn faces(&self, shape: &Shape, namespaces: &Namespaces) -> bool {
        match &self.counted {
            Counted::Carrying(_, term) => selects(term, shape, namespaces),
            Counted::Selected(_) | Counted::SelectedAndStaying(_) => false,
        }
    }

    pub(super) fn role(&self) -> Option<Role> {
        match &self.counted {
            Counted::Carrying(role, _) => Some(*role),
            Counted::Selected(_) | Counted::SelectedAndStaying(_) => None,
        }
    }

    fn relevant(&self, here: Here) -> u32 {
        match self.counted {
            Counted::SelectedAndStaying(_) => here.all - here.terminating.min(here.all),
            Counted::Selected(_) | Counted::Carrying(..) => here.all,
        }
    }

    fn change(&mut self, slot: Slot, by: i64, topology: &Topology) {
        let add = |list: &mut Vec<u32>, at: usize| {
            if at >= list.len() {
                list.resize(at + 1, 0);
            }
            if let Some(count) = list.get_mut(at) {
                let changed = i64::from(*count).saturating_add(by).max(0);
                *count = u32::try_from(changed).unwrap_or(u32::MAX);
            }
        };
        add(&mut self.by_node, slot);
        let domain = topology.domain(self.key, slot);
        if let Some(domain) = domain.and_then(|d| usize::try_from(d).ok()) {
            add(&mut self.by_domain, domain);
            self.total = self.total.saturating_add_signed(by);
        }
    }
}

pub(super) fn selects(term: &PodTerm, shape: &Shape, namespaces: &Namespaces) -> bool {
    let labels = namespaces.get(&shape.namespace);
    term.selects(&shape.namespace, labels, &shape.spec.labels)
}

fn carries(shape: &Shape, role: Role, term: &PodTerm) -> bool {
    match role {
        Role::Near => shape.terms.near.contains(term),
        Role::Apart => shape.terms.apart.contains(term),
        Role::Preferred(weight) => {
            let mut terms = shape.terms.preferred.iter();
            terms.any(|(w, t)| *w == weight && t == term)
        }
    }
}

/// Every counter there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    ids: BTreeMap<CounterKey, CounterId>,
    list: Vec<Counter>,
    /// Counters whose selector asks for one of these values of a label, ascending.
    by_label: BTreeMap<String, BTreeMap<String, Vec<CounterId>>>,
    /// Those whose selector asks for no value.
    by_no_label: Vec<CounterId>,
    /// Whether any counter selects namespaces by their labels.
    by_namespace_labels: bool,
}

impl Counters {
    pub(super) fn get(&self, id: CounterId) -> Option<&Counter> {
        self.list.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the labels of namespaces decide who is counted.
    pub(super) fn read_namespaces(&self) -> bool {
        self.by_namespace_labels
    }

    pub(super) fn known(&self, key: &CounterKey) -> Option<CounterId> {
        self.ids.get(key).copied()
    }

    /// Makes a counter that starts with the pods that are there.
    pub(super) fn make(
        &mut self,
        key: CounterKey,
        topology_key: KeyId,
        world: &World<'_>,
    ) -> CounterId {
        let mut counter = Counter {
            counted: key.counted.clone(),
            key: topology_key,
            by_node: Vec::new(),
            by_domain: Vec::new(),
            total: 0,
        };
        for shape in world.shapes.iter() {
            if shape.placed.is_empty() || !counter.counts(shape, world.namespaces) {
                continue;
            }
            for (slot, here) in &shape.placed {
                let pods = i64::from(counter.relevant(*here));
                counter.change(*slot, pods, world.topology);
            }
        }
        let id = self.list.len();
        self.index(id, &key.counted);
        self.list.push(counter);
        self.ids.insert(key, id);
        id
    }

    fn index(&mut self, id: CounterId, counted: &Counted) {
        let terms = match counted {
            Counted::Selected(terms) | Counted::SelectedAndStaying(terms) => terms.as_slice(),
            Counted::Carrying(_, term) => std::slice::from_ref(term),
        };
        self.by_namespace_labels |= terms.iter().any(|term| term.namespace_selector.is_some());
        let term = terms.first();
        let Some(selector) = term.and_then(|term| term.selector.as_ref()) else {
            return;
        };
        let mut requirements = selector.requirements.iter();
        let Some(asked) = requirements.find(|r| r.operator == Operator::In) else {
            self.by_no_label.push(id);
            return;
        };
        let by_value = self.by_label.entry(asked.key.clone()).or_default();
        for value in &asked.values {
            by_value.entry(value.clone()).or_default().push(id);
        }
    }

    /// Looks at the counters made since the shape was looked at last.
    pub(super) fn acquaint(&self, shape: &mut Shape, namespaces: &Namespaces) {
        if shape.seen == self.list.len() {
            return;
        }
        let labels = shape.spec.labels.iter();
        let by_label = labels.filter_map(|(key, value)| self.by_label.get(key)?.get(value));
        let mut candidates: Vec<CounterId> = Vec::new();
        for list in by_label.chain([&self.by_no_label]) {
            let new = list.partition_point(|id| *id < shape.seen);
            candidates.extend(list.iter().skip(new));
        }
        candidates.sort_unstable();
        candidates.dedup();
        for id in candidates {
            let Some(counter) = self.list.get(id) else {
                continue;
            };
            if counter.faces(shape, namespaces) {
                shape.facing.push(id);
            } else if counter.role().is_none() && counter.counts(shape, namespaces) {
                shape.counted_by.push(id);
            }
        }
        let carried = shape.terms.carried();
        let known = carried.iter().filter_map(|key| self.known(key));
        let new: BTreeSet<CounterId> = known.filter(|id| *id >= shape.seen).collect();
        shape.counted_by.extend(new);
        shape.seen = self.list.len();
    }

    /// Pods of a shape came to a node (`by` above zero) or left it.
    pub(super) fn count(&mut self, shape: &Shape, moved: Moved, topology: &Topology) {
        for id in &shape.counted_by {
            let Some(counter) = self.list.get_mut(*id) else {
                continue;
            };
            let staying = matches!(counter.counted, Counted::SelectedAndStaying(_));
            if !(staying && moved.terminating) {
                counter.change(moved.slot, moved.by, topology);
            }
        }
    }
}

/// A pod that came or went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) shape: ShapeId,
    pub(super) slot: Slot,
    pub(super) terminating: bool,
    /// +1 or −1.
    pub(super) by: i64,
}

/// What a new counter counts.
#[derive(Debug)]
pub(super) struct World<'a> {
    pub(super) shapes: &'a Shapes,
    pub(super) topology: &'a Topology,
    pub(super) namespaces: &'a Namespaces,
}
