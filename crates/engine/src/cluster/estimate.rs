//! How many new nodes of one group the pods need: first-fit packing, the largest first.

use super::bins::{Bins, Item, Measure, Permits};
use super::equivalence::{self, Class};
use super::firstfit;
use super::fits;
use super::group::NodeTemplate;
use super::order;
use super::pending::PendingPod;
use crate::placement::{Company, PodFacts, Snapshot};

/// What decides about the pods of an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Arithmetic where that is exact, else pod by pod.
    Best,
    /// Pod by pod.
    #[cfg(test)]
    PodByPod,
}

/// What is packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    /// All pending pods.
    pub(super) pods: &'a [PendingPod],
    /// All classes.
    pub(super) classes: &'a [Class],
    /// The classes that fit a new node of the group.
    pub(super) fitting: &'a [usize],
}

impl<'a> Load<'a> {
    pub(super) fn class(&self, class: usize) -> Option<&'a Class> {
        self.classes.get(class)
    }

    /// The first pod of a class: what holds for it holds for all.
    pub(super) fn exemplar(&self, class: usize) -> Option<&'a PodFacts> {
        let class = self.classes.get(class)?;
        Some(&self.pods.get(*class.pods.first()?)?.pod)
    }

    /// The fitting classes, the largest first.
    fn in_order(&self, template: &NodeTemplate) -> Vec<usize> {
        let known: Vec<(usize, &PodFacts)> = self
            .fitting
            .iter()
            .filter_map(|class| Some((*class, self.exemplar(*class)?)))
            .collect();
        let requests: Vec<_> = known.iter().map(|(_, pod)| &pod.spec.requests).collect();
        let order = order::decreasing(&requests, template);
        let class = |at: usize| known.get(at).map(|(class, _)| *class);
        order.into_iter().filter_map(class).collect()
    }
}

/// What an estimate comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Estimate {
    /// New nodes that got pods.
    pub(super) nodes: usize,
    /// Pods that found room, by class; classes without any are left out.
    pub(super) placed: Vec<(usize, usize)>,
    /// Which class has how many pods on each new node, in the order nodes are added; empty where
    /// none was needed (see [`Estimate::nodes`]).
    pub(super) loads: Vec<Vec<(usize, usize)>>,
}

impl Estimate {
    /// The pods that found room, by their places in the list.
    pub(super) fn pods(&self, load: &Load<'_>) -> Vec<usize> {
        let mut pods = Vec::new();
        for (class, count) in &self.placed {
            let class = load.class(*class).into_iter().flat_map(|class| &class.pods);
            pods.extend(class.take(*count));
        }
        pods.sort_unstable();
        pods
    }
}

/// Packs the load on new nodes of a group, `most` at most. The snapshot is as before afterwards.
pub(super) fn estimate(
    snapshot: &mut Snapshot,
    template: &NodeTemplate,
    load: &Load<'_>,
    most: Option<usize>,
    method: Method,
) -> Estimate {
    let order = load.in_order(template);
    let bound = order.iter().any(|class| {
        let class = load.class(*class);
        class.is_some_and(|class| class.company == Company::Bound)
    });
    if bound || method != Method::Best {
        firstfit::estimate(snapshot, template, (load, &order), most)
    } else {
        by_number(template, (load, &order), most)
    }
}

/// How many new nodes like the template these pods need, `most` at most, and which pods found room
/// on them (by their places in the list, ascending). The snapshot is as before afterwards.
///
/// Pods that fit no new node at all are left out before.
pub fn estimate_nodes(
    snapshot: &mut Snapshot,
    template: &NodeTemplate,
    pods: &[PendingPod],
    most: Option<usize>,
) -> (usize, Vec<usize>) {
    let all: Vec<usize> = (0..pods.len()).collect();
    let classes = equivalence::classes(snapshot, pods, &all);
    let load = Load {
        pods,
        classes: &classes,
        fitting: &[],
    };
    let taken = fits::taken_by(snapshot, template, &load);
    let load = Load {
        fitting: &taken,
        ..load
    };
    let estimate = estimate(snapshot, template, &load, most, Method::Best);
    (estimate.nodes, estimate.pods(&load))
}

fn by_number(template: &NodeTemplate, of: (&Load<'_>, &[usize]), most: Option<usize>) -> Estimate {
    let (load, order) = of;
    let specs = order.iter().filter_map(|class| load.exemplar(*class));
    let measure = Measure::of(specs.map(|pod| &*pod.spec));
    let mut bins = Bins::new(template, &measure, Permits::new(most));
    let mut estimate = Estimate::default();
    for class in order {
        let (Some(pods), Some(pod)) = (load.class(*class), load.exemplar(*class)) else {
            continue;
        };
        let item = Item {
            wanted: measure.amounts(&pod.spec.requests),
            apart: pods.apart.clone(),
        };
        let placed = bins.pack(*class, &item, pods.pods.len());
        if placed > 0 {
            estimate.placed.push((*class, placed));
        }
    }
    estimate.nodes = bins.nodes();
    estimate.loads = bins
        .loads()
        .map(|load| load.iter().map(|(c, n)| (*c, *n)).collect())
        .collect();
    estimate
}

#[cfg(test)]
#[path = "estimate_tests.rs"]
mod tests;
