//! First-fit packing pod by pod on the snapshot, where pods ask for more of each other than not to
//! share a node.

use super::bins::Permits;
use super::estimate::{Estimate, Load};
use super::group::NodeTemplate;
use super::template;
use crate::placement::{Company, NodePlace, PodFacts, Refusal, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Packs classes in this order. The snapshot is as before afterwards.
pub(super) fn estimate(
    snapshot: &mut Snapshot,
    template: &NodeTemplate,
    of: (&Load<'_>, &[usize]),
    most: Option<usize>,
) -> Estimate {
    let (load, order) = of;
    let mut packing = Packing {
        snapshot,
        template,
        permits: Permits::new(most),
        refused: false,
        nodes: Vec::new(),
        places: Vec::new(),
        loads: Vec::new(),
        others: BTreeSet::new(),
        there: None,
        full: 0,
    };
    packing.snapshot.fork();
    let mut placed = Vec::new();
    for class in order {
        let Some(pods) = load.class(*class) else {
            continue;
        };
        let all = pods.pods.iter().filter_map(|at| load.pods.get(*at));
        let all: Vec<&PodFacts> = all.map(|pending| &pending.pod).collect();
        let count = match all.first() {
            Some(pod) if pods.company == Company::Indifferent && !pods.minded => {
                packing.pour(*class, pod, all.len())
            }
            _ => packing.pack(*class, &all, pods.company),
        };
        if count > 0 {
            placed.push((*class, count));
        }
    }
    packing.snapshot.revert();
    let used = packing.loads.iter().filter(|load| !load.is_empty()).count();
    Estimate {
        // Parity: a node that was there and took a pod for the sake of spreading counts as new.
        nodes: used + packing.others.len(),
        placed,
        loads: packing
            .loads
            .into_iter()
            .map(|load| load.into_iter().collect())
            .collect(),
    }
}

struct Packing<'a> {
    snapshot: &'a mut Snapshot,
    template: &'a NodeTemplate,
    permits: Permits,
    refused: bool,
    /// The new nodes: names, and places in the snapshot.
    nodes: Vec<Arc<str>>,
    places: Vec<NodePlace>,
    /// Pods on each of them by class.
    loads: Vec<BTreeMap<usize, usize>>,
    /// Nodes that were there and took pods.
    others: BTreeSet<Arc<str>>,
    /// Nodes that were there and may have room for the class that is packed, once somebody asked.
    there: Option<Vec<(Arc<str>, NodePlace)>>,
    /// New nodes before this one have no room for the class that is packed.
    full: usize,
}

impl Packing<'_> {
    /// Packs pods of one class. Returns how many found room.
    fn pack(&mut self, class: usize, pods: &[&PodFacts], company: Company) -> usize {
        (self.there, self.full) = (None, 0);
        let mut placed = 0;
        let mut from = 0;
        for pod in pods {
            self.pass_full(pod);
            from = from.max(self.full);
            let Some(at) = self.snapshot.first_fit(pod, &self.places, from) else {
                break;
            };
            self.put(class, pod, at);
            placed += 1;
            // Where coming pods only take room, nodes that refused one refuse its like.
            if company != Company::Bound {
                from = at;
            }
        }
        for pod in pods.iter().skip(placed) {
            if self.refused || !self.pack_one(class, pod) {
                break;
            }
            placed += 1;
        }
        placed
    }

    /// Passes the new nodes that have no room for the pod and its like any more.
    fn pass_full(&mut self, pod: &PodFacts) {
        while let Some(place) = self.places.get(self.full) {
            if !self.snapshot.refuses_alone(&pod.spec, *place) {
                break;
            }
            self.full += 1;
        }
    }

    /// Puts a pod on the last new node or on another one. Returns whether it has room.
    fn pack_one(&mut self, class: usize, pod: &PodFacts) -> bool {
        if let Some(last) = self.nodes.len().checked_sub(1) {
            let name = self.nodes.get(last).map(Arc::clone).unwrap_or_default();
            let Some(refused) = self.snapshot.refusal_on(pod, &name) else {
                self.put(class, pod, last);
                return true;
            };
            let uneven = refused.reasons.contains(&Refusal::TooUneven);
            if uneven && pod.spec.spreads_by_node() && self.put_anywhere(class, pod) {
                return true;
            }
            if self.loads.last().is_some_and(BTreeMap::is_empty) {
                return false;
            }
        }
        if self.permits.take(1) == 0 {
            self.refused = true;
            return false;
        }
        let at = self.add_node();
        let name = self.nodes.get(at).map(Arc::clone).unwrap_or_default();
        if self.snapshot.refusal_on(pod, &name).is_some() {
            return false;
        }
        self.put(class, pod, at);
        true
    }

    /// Tries every node: those that were there first.
    fn put_anywhere(&mut self, class: usize, pod: &PodFacts) -> bool {
        let there = self.there.take().unwrap_or_else(|| self.with_room(pod));
        let places: Vec<NodePlace> = there.iter().map(|(_, place)| *place).collect();
        let found = self.snapshot.first_fit(pod, &places, 0);
        let name = found
            .and_then(|at| there.get(at))
            .map(|(name, _)| Arc::clone(name));
        self.there = Some(there);
        if let Some(name) = name {
            self.snapshot.place(&name, pod.clone());
            self.others.insert(name);
            return true;
        }
        self.pass_full(pod);
        let Some(at) = self.snapshot.first_fit(pod, &self.places, self.full) else {
            return false;
        };
        self.put(class, pod, at);
        true
    }

    /// The nodes that were there and have room for a pod by themselves.
    fn with_room(&self, pod: &PodFacts) -> Vec<(Arc<str>, NodePlace)> {
        let new: BTreeSet<&str> = self.nodes.iter().map(|name| &**name).collect();
        let names = self.snapshot.nodes().map(|state| state.facts.name.as_str());
        let old = names.filter(|name| !new.contains(name));
        let known = old.filter_map(|name| Some((name, self.snapshot.place_of(name)?)));
        known
            .filter(|(_, place)| !self.snapshot.refuses_alone(&pod.spec, *place))
            .map(|(name, place)| (name.into(), place))
            .collect()
    }

    /// Packs pods that only take room, as many at a time as a node has room for.
    fn pour(&mut self, class: usize, pod: &PodFacts, pods: usize) -> usize {
        let mut left = pods;
        for at in 0..self.nodes.len() {
            left -= self.fill(class, pod, (at, left));
        }
        while left > 0 && !self.refused {
            // The last node is empty and has no room, so another has none, either.
            if self.loads.last().is_some_and(BTreeMap::is_empty) {
                break;
            }
            if self.permits.take(1) == 0 {
                self.refused = true;
                break;
            }
            let at = self.add_node();
            let filled = self.fill(class, pod, (at, left));
            if filled == 0 {
                break;
            }
            left -= filled;
        }
        pods - left
    }

    /// Puts as many of the pods on a node as it has room for. Returns how many.
    fn fill(&mut self, class: usize, pod: &PodFacts, of: (usize, usize)) -> usize {
        let (at, most) = of;
        let Some(name) = self.nodes.get(at).map(Arc::clone) else {
            return 0;
        };
        let count = self.snapshot.room_alone(&pod.spec, &name, most);
        if count > 0 {
            self.snapshot.place_many(&name, pod, count);
            if let Some(load) = self.loads.get_mut(at) {
                *load.entry(class).or_insert(0) += count;
            }
        }
        count
    }

    fn put(&mut self, class: usize, pod: &PodFacts, at: usize) {
        let Some(name) = self.nodes.get(at) else {
            return;
        };
        self.snapshot.place(name, pod.clone());
        if let Some(load) = self.loads.get_mut(at) {
            *load.entry(class).or_insert(0) += 1;
        }
    }

    fn add_node(&mut self) -> usize {
        let at = self.nodes.len();
        let name = format!("{}-{at}", self.template.node.name);
        template::put(self.snapshot, self.template, &name);
        self.places.extend(self.snapshot.place_of(&name));
        self.nodes.push(name.into());
        self.loads.push(BTreeMap::new());
        at
    }
}
