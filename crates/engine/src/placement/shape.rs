//! Shapes: pods of one namespace that ask for the same. What is known of one holds for all.

use super::counter::{Counted, CounterId, CounterKey, Role};
use super::pod::PodSpec;
use super::pod_affinity::PodTerm;
use super::rules::Own;
use super::set::Slot;
use super::spread::{SpreadConstraint, WhenUnsatisfiable, system_defaults};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A shape's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShapeId(pub(super) usize);

impl ShapeId {
    /// Of a pod that is nowhere looked up by its shape.
    pub(super) const NONE: Self = Self(usize::MAX);
}

/// The part of shapes that concerns a node by itself: pods that differ only in labels, or in what
/// they say about other pods, share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NeedsId(u64);

/// Needs by what they are. The namespace matters only if there are claims.
#[derive(Debug, Clone, Default)]
struct NeedsTable {
    ids: BTreeMap<(Option<Arc<str>>, PodSpec), Needs>,
    next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Needs {
    id: NeedsId,
    /// How many shapes have them.
    shapes: usize,
}

impl NeedsTable {
    fn key(namespace: &Arc<str>, spec: &PodSpec) -> (Option<Arc<str>>, PodSpec) {
        let alone = PodSpec {
            requests: spec.requests.clone(),
            node_name: spec.node_name.clone(),
            node_selector: spec.node_selector.clone(),
            affinity: spec.affinity.clone(),
            tolerations: spec.tolerations.clone(),
            host_ports: spec.host_ports.clone(),
            images: spec.images.clone(),
            claims: spec.claims.clone(),
            devices: spec.devices.clone(),
            priority: spec.priority,
            ..PodSpec::default()
        };
        let named = !spec.claims.is_empty() || !spec.devices.is_empty();
        let namespace = named.then(|| Arc::clone(namespace));
        (namespace, alone)
    }

    fn enter(&mut self, namespace: &Arc<str>, spec: &PodSpec) -> NeedsId {
        let next = NeedsId(self.next);
        let needs = self.ids.entry(Self::key(namespace, spec)).or_insert(Needs {
            id: next,
            shapes: 0,
        });
        needs.shapes += 1;
        self.next += u64::from(needs.id == next);
        needs.id
    }

    /// Returns the needs if no shape has them any more.
    fn leave(&mut self, shape: &Shape) -> Option<NeedsId> {
        let key = Self::key(&shape.namespace, &shape.spec);
        let needs = self.ids.get_mut(&key)?;
        needs.shapes = needs.shapes.saturating_sub(1);
        if needs.shapes > 0 {
            return None;
        }
        self.ids.remove(&key).map(|needs| needs.id)
    }
}

/// What a shape says about other pods, with label keys and the own namespace filled in.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    pub(super) near: Vec<PodTerm>,
    pub(super) apart: Vec<PodTerm>,
    /// Liked (weight above zero) and disliked (below).
    pub(super) preferred: Vec<(i64, PodTerm)>,
    pub(super) hard_spread: Vec<SpreadConstraint>,
    pub(super) soft_spread: Vec<SpreadConstraint>,
    /// Whether nodes that lack one of the soft constraints' labels score nothing at all.
    pub(super) all_keys_needed: bool,
}

impl Terms {
    fn of(namespace: &str, spec: &PodSpec) -> Self {
        let resolve = |term: &PodTerm| term.resolved(namespace, &spec.labels);
        let weighted = |affinity: &super::pod_affinity::PodAffinity, sign: i64| {
            let terms = affinity.preferred.iter();
            terms
                .map(|w| (w.weight.saturating_mul(sign), resolve(&w.term)))
                .collect::<Vec<_>>()
        };
        let mut preferred = weighted(&spec.pod_affinity, 1);
        preferred.extend(weighted(&spec.pod_anti_affinity, -1));
        let own: Vec<SpreadConstraint> = spec
            .spread
            .iter()
            .map(|constraint| constraint.resolved(&spec.labels))
            .collect();
        let hard = |c: &SpreadConstraint| c.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule;
        let (hard_spread, mut soft_spread): (Vec<_>, Vec<_>) = own.into_iter().partition(hard);
        let all_keys_needed = !spec.spread.is_empty();
        let by_default = spec.default_spread.as_ref();
        if let Some(selector) =
            by_default.filter(|s| !all_keys_needed && !s.requirements.is_empty())
        {
            soft_spread = system_defaults(selector);
        }
        Self {
            near: spec.pod_affinity.required.iter().map(resolve).collect(),
            apart: spec
                .pod_anti_affinity
                .required
                .iter()
                .map(resolve)
                .collect(),
            preferred,
            hard_spread,
            soft_spread,
            all_keys_needed,
        }
    }

    /// The counters of pods that carry these terms.
    pub(super) fn carried(&self) -> Vec<CounterKey> {
        let near = self.near.iter().map(|term| (Role::Near, term));
        let apart = self.apart.iter().map(|term| (Role::Apart, term));
        let liked = self.preferred.iter();
        let liked = liked.map(|(weight, term)| (Role::Preferred(*weight), term));
        let all = near.chain(apart).chain(liked);
        all.map(|(role, term)| CounterKey {
            topology_key: term.topology_key.clone(),
            counted: Counted::Carrying(role, term.clone()),
        })
        .collect()
    }

    /// Whether pods elsewhere are mentioned in terms that running pods are counted by.
    pub(super) fn carries(&self) -> bool {
        !(self.near.is_empty() && self.apart.is_empty() && self.preferred.is_empty())
    }
}

/// Pods on one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Here {
    pub(super) all: u32,
    pub(super) terminating: u32,
}

/// One shape.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) namespace: Arc<str>,
    pub(super) spec: Arc<PodSpec>,
    pub(super) terms: Arc<Terms>,
    pub(super) needs: NeedsId,
    hash: u64,
    /// Pods of this shape by node.
    pub(super) placed: BTreeMap<Slot, Here>,
    /// Counters that count pods of this shape.
    pub(super) counted_by: Vec<CounterId>,
    /// Counters of running pods whose terms select this shape.
    pub(super) facing: Vec<CounterId>,
    /// The counters behind its own terms, once they were asked for.
    pub(super) own: Option<Arc<Own>>,
    /// How many counters were looked at for the two lists.
    pub(super) seen: usize,
    /// When it was asked for last, in decisions.
    pub(super) last_used: u64,
}

/// All shapes in use.
#[derive(Debug, Clone, Default)]
pub(super) struct Shapes {
    list: Vec<Option<Shape>>,
    free: Vec<ShapeId>,
    by_hash: BTreeMap<u64, Vec<ShapeId>>,
    needs: NeedsTable,
    asked: u64,
}

impl Shapes {
    /// The shape, new (`true`) or known.
    pub(super) fn intern(&mut self, namespace: &Arc<str>, spec: &Arc<PodSpec>) -> (ShapeId, bool) {
        self.asked += 1;
        let mut hasher = DefaultHasher::new();
        (namespace, spec).hash(&mut hasher);
        let hash = hasher.finish();
        let asked = self.asked;
        for id in self.by_hash.get(&hash).into_iter().flatten() {
            let Some(Some(shape)) = self.list.get_mut(id.0) else {
                continue;
            };
            let same = Arc::ptr_eq(&shape.spec, spec) || shape.spec == *spec;
            if same && shape.namespace == *namespace {
                shape.last_used = asked;
                return (*id, false);
            }
        }
        let shape = Shape {
            namespace: Arc::clone(namespace),
            spec: Arc::clone(spec),
            terms: Arc::new(Terms::of(namespace, spec)),
            needs: self.needs.enter(namespace, spec),
            hash,
            placed: BTreeMap::new(),
            counted_by: Vec::new(),
            facing: Vec::new(),
            own: None,
            seen: 0,
            last_used: asked,
        };
        (self.insert(shape), true)
    }

    fn insert(&mut self, shape: Shape) -> ShapeId {
        let id = self.free.pop().unwrap_or(ShapeId(self.list.len()));
        self.by_hash.entry(shape.hash).or_default().push(id);
        match self.list.get_mut(id.0) {
            Some(place) => *place = Some(shape),
            None => self.list.push(Some(shape)),
        }
        id
    }

    pub(super) fn get(&self, id: ShapeId) -> Option<&Shape> {
        self.list.get(id.0)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: ShapeId) -> Option<&mut Shape> {
        self.list.get_mut(id.0)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Shape> {
        self.list.iter().flatten()
    }

    pub(super) fn numbered(&self) -> impl Iterator<Item = (ShapeId, &Shape)> {
        let places = self.list.iter().enumerate();
        places.filter_map(|(at, place)| Some((ShapeId(at), place.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Shape> {
        self.list.iter_mut().flatten()
    }

    /// How many shapes are known.
    pub(super) fn len(&self) -> usize {
        self.list.len() - self.free.len()
    }

    /// Forgets shapes without pods that were not asked for in the last `recent` times. Returns the
    /// needs that no shape has any more.
    pub(super) fn sweep(&mut self, recent: u64) -> Vec<NeedsId> {
        let limit = self.asked.saturating_sub(recent);
        let mut gone = Vec::new();
        for (at, place) in self.list.iter_mut().enumerate() {
            let unused = |shape: &Shape| shape.placed.is_empty() && shape.last_used < limit;
            let Some(shape) = place.take_if(|shape| unused(shape)) else {
                continue;
            };
            let id = ShapeId(at);
            if let Some(ids) = self.by_hash.get_mut(&shape.hash) {
                ids.retain(|other| *other != id);
            }
            self.free.push(id);
            gone.extend(self.needs.leave(&shape));
        }
        self.by_hash.retain(|_, ids| !ids.is_empty());
        gone
    }
}
