//! Pods that ask for the same, so that what holds for one holds for all.

use super::pending::PendingPod;
use crate::placement::{Company, NodeAffinity, PodFacts, PodSpec, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Upstream's limit of different groups of one controller.
const GROUPS_PER_CONTROLLER: usize = 10;

/// Pods alike to every hard rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class {
    /// Places in the list of pods, ascending.
    pub(super) pods: Vec<usize>,
    /// What they ask of other pods.
    pub(super) company: Company,
    /// Whether a hard rule of another class (or its own) counts its pods.
    pub(super) minded: bool,
    /// Classes that cannot share a node with it; itself, where no two of its pods can.
    pub(super) apart: BTreeSet<usize>,
}

/// Splits pods the way upstream does: by controller, labels and spec (which the fingerprint stands
/// for). Pods of no controller or of a DaemonSet are alone, as is every pod after a controller has
/// ten different groups. Returns places in the list.
pub fn by_controller(pods: &[PendingPod]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    let mut per_controller: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, pod) in pods.iter().enumerate() {
        let controller = pod.controller.as_deref().filter(|_| !pod.of_daemon_set);
        let Some(controller) = controller else {
            groups.push(vec![at]);
            continue;
        };
        if let Some(group) = known.get(&(controller, pod.fingerprint)) {
            if let Some(group) = groups.get_mut(*group) {
                group.push(at);
            }
            continue;
        }
        let different = per_controller.entry(controller).or_insert(0);
        if *different < GROUPS_PER_CONTROLLER {
            *different += 1;
            known.insert((controller, pod.fingerprint), groups.len());
        }
        groups.push(vec![at]);
    }
    groups
}

/// What the hard rules of one node read of a spec.
fn bare(spec: &PodSpec) -> PodSpec {
    PodSpec {
        requests: spec.requests.clone(),
        node_name: spec.node_name.clone(),
        node_selector: spec.node_selector.clone(),
        affinity: NodeAffinity {
            required: spec.affinity.required.clone(),
            ..NodeAffinity::default()
        },
        tolerations: spec.tolerations.clone(),
        ..PodSpec::default()
    }
}

/// Splits pods into classes, in the order of their first pods.
///
/// Departs: upstream's groups belong to one controller each, so that pods of many controllers (bare
/// pods, Jobs) are judged one by one. Here only what they ask for matters; and labels only where
/// other pods ask for them.
pub(super) fn classes(
    snapshot: &mut Snapshot,
    pods: &[PendingPod],
    considered: &[usize],
) -> Vec<Class> {
    let by_spec = group_by_spec(pods, considered);
    let first = |class: &Class| Some(&pods.get(*class.pods.first()?)?.pod);
    let exemplars: Vec<&PodFacts> = by_spec.iter().filter_map(first).collect();
    let relations = snapshot.relations(&exemplars);
    let mut by_needs: BTreeMap<PodSpec, usize> = BTreeMap::new();
    let mut classes: Vec<Class> = Vec::new();
    // Where each class by spec went.
    let mut went: Vec<usize> = Vec::new();
    let each = by_spec.into_iter().zip(exemplars).zip(relations.minded);
    for ((mut class, pod), minded) in each {
        class.company = pod.spec.company().max(snapshot.avoidance(pod));
        class.minded = minded;
        let next = classes.len();
        let alike = class.company == Company::Indifferent && !minded;
        let known = alike.then(|| *by_needs.entry(bare(&pod.spec)).or_insert(next));
        went.push(known.unwrap_or(next));
        match known.and_then(|known| classes.get_mut(known)) {
            Some(same) => same.pods.extend(class.pods),
            None => classes.push(class),
        }
    }
    for (apart, class) in relations.apart.into_iter().zip(&went) {
        let apart = apart
            .into_iter()
            .filter_map(|other| went.get(other).copied());
        if let Some(class) = classes.get_mut(*class) {
            class.apart.extend(apart);
        }
    }
    for class in &mut classes {
        class.pods.sort_unstable();
    }
    classes
}

fn group_by_spec(pods: &[PendingPod], considered: &[usize]) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::new();
    // Most pods of a controller share one spec, so pointers are compared first.
    let mut by_pointer: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    let mut by_value: BTreeMap<(&str, &PodSpec), usize> = BTreeMap::new();
    for at in considered {
        let Some(pending) = pods.get(*at) else {
            continue;
        };
        let pod = &pending.pod;
        let pointer = (Arc::as_ptr(&pod.spec).addr(), &*pod.namespace);
        let known = by_pointer.get(&pointer).copied();
        let class = known.unwrap_or_else(|| {
            let next = classes.len();
            let class = *by_value.entry((&pod.namespace, &pod.spec)).or_insert(next);
            by_pointer.insert(pointer, class);
            class
        });
        match classes.get_mut(class) {
            Some(class) => class.pods.push(*at),
            None => classes.push(Class {
                pods: vec![*at],
                company: Company::Indifferent,
                minded: false,
                apart: BTreeSet::new(),
            }),
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{pending, spec};
    use crate::placement::{HOSTNAME_LABEL, LabelSelector, PodTerm, Requirement};

    fn labelled(cpu: i64, app: &str) -> PodSpec {
        let mut spec = spec(cpu, 1);
        spec.labels.insert("app".into(), app.into());
        spec
    }

    fn pods_of(pods: &[PendingPod]) -> Vec<Vec<usize>> {
        let all: Vec<usize> = (0..pods.len()).collect();
        let classes = classes(&mut Snapshot::default(), pods, &all);
        classes.into_iter().map(|class| class.pods).collect()
    }

    #[test]
    fn pods_of_many_controllers_are_one_class_if_they_ask_for_the_same() {
        let mut pods = pending("a", 2, labelled(100, "a"));
        pods.extend(pending("b", 2, labelled(100, "b")));
        pods.extend(pending("c", 1, labelled(200, "a")));
        assert_eq!(pods_of(&pods), [vec![0, 1, 2, 3], vec![4]]);
    }

    #[test]
    fn labels_tell_apart_where_somebody_minds_them() {
        let mut shy = labelled(100, "shy");
        shy.pod_anti_affinity.required.push(PodTerm {
            selector: Some(LabelSelector {
                requirements: vec![Requirement::equals("app", "b")],
            }),
            topology_key: HOSTNAME_LABEL.into(),
            ..PodTerm::default()
        });
        let mut pods = pending("a", 1, labelled(100, "a"));
        pods.extend(pending("b", 1, labelled(100, "b")));
        pods.extend(pending("shy", 1, shy));
        pods.extend(pending("c", 1, labelled(100, "c")));
        assert_eq!(pods_of(&pods), [vec![0, 3], vec![1], vec![2]]);
    }

    #[test]
    fn upstreams_groups_belong_to_one_controller_and_are_ten_at_most() {
        let mut pods = pending("a", 2, spec(1, 1));
        pods.extend(pending("b", 1, spec(1, 1)));
        let mut bare = pending("bare", 2, spec(1, 1));
        for pod in &mut bare {
            pod.controller = None;
        }
        pods.extend(bare);
        assert_eq!(
            by_controller(&pods),
            [vec![0, 1], vec![2], vec![3], vec![4]]
        );
        let mut variants = pending("a", 24, spec(1, 1));
        for (at, pod) in variants.iter_mut().enumerate() {
            pod.fingerprint = at as u64 / 2;
        }
        // Ten pairs, and the last two pairs one by one.
        assert_eq!(by_controller(&variants).len(), 14);
    }
}
