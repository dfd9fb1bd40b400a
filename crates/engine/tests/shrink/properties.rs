//! What holds in any cluster.

use crate::cast::{Cluster, annotated, budget, is_unneeded, pod, reason};
use jiff::SignedDuration;
use plimsoll_engine::cluster::{NodeVerdict, Parallelism, Planner, SAFE_TO_EVICT, ShrinkPlan};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Requests of the pods of each node.
fn loads() -> impl Strategy<Value = Vec<Vec<i64>>> {
    prop::collection::vec(prop::collection::vec(0i64..334, 0..4), 1..8)
}

fn cluster(loads: &[Vec<i64>]) -> Cluster {
    let mut cluster = Cluster::of(loads.len());
    for (node, pods) in loads.iter().enumerate() {
        for (number, cpu) in pods.iter().enumerate() {
            let name = format!("p{node}-{number}");
            cluster.add([pod(&name, &format!("n{}", node + 1), *cpu)]);
        }
    }
    cluster.options.parallelism = Parallelism {
        all: 100,
        drains: 100,
    };
    cluster
}

/// With pods that keep their nodes, and a budget over all pods.
fn hardened(mut cluster: Cluster, hard: &[(usize, u8)], allowed: Option<i32>) -> Cluster {
    cluster.options.recheck = SignedDuration::from_mins(2);
    cluster.budgets = allowed.map(budget).into_iter().collect();
    for (number, (node, kind)) in hard.iter().enumerate() {
        let node = format!("n{}", node % cluster.nodes.len() + 1);
        let mut pod = pod(&format!("h{number}"), &node, 1);
        match kind {
            0 => pod.owner = None,
            1 => pod = annotated(pod, SAFE_TO_EVICT, "false"),
            2 => pod = annotated(pod, SAFE_TO_EVICT, "on-completion"),
            _ => pod = annotated(pod, SAFE_TO_EVICT, "true"),
        }
        cluster.add([pod]);
    }
    cluster
}

/// What is thought of each node, whatever the time it has been so. Whether a pod finds a place
/// depends on where earlier ones went, which is remembered on purpose.
fn verdicts(plan: &ShrinkPlan) -> BTreeMap<String, String> {
    let timeless = |verdict: &NodeVerdict| match reason(verdict) {
        "NoPlaceToMovePods" => "tried".to_owned(),
        _ if is_unneeded(verdict) => "tried".to_owned(),
        why => why.to_owned(),
    };
    let nodes = plan.nodes.iter();
    nodes
        .map(|(name, verdict)| (name.to_string(), timeless(verdict)))
        .collect()
}

proptest! {
    #[test]
    fn what_goes_leaves_room_for_its_pods(loads in loads()) {
        let mut cluster = cluster(&loads);
        cluster.look(0);
        let plan = cluster.look(601);
        let gone: BTreeSet<String> = plan.empty.iter().chain(&plan.drain)
            .map(|removal| removal.node.to_string()).collect();
        let mut used: BTreeMap<String, i64> = BTreeMap::new();
        for (node, pods) in loads.iter().enumerate() {
            used.insert(format!("n{}", node + 1), pods.iter().sum());
        }
        for removal in plan.empty.iter().chain(&plan.drain) {
            let held = cluster.pods.on(&removal.node).map_or(0, |pods| pods.pods().len());
            prop_assert_eq!(removal.moves.len(), held);
            for (key, to) in &removal.moves {
                let cpu = cluster.pods.pod(key).unwrap().pod.spec.requests.cpu_milli;
                *used.get_mut(&*removal.node).unwrap() -= cpu;
                *used.get_mut(&**to).unwrap() += cpu;
            }
        }
        // A pod may be sent to a node that goes later, which then sends it on: in the end all fit.
        let total: i64 = used.values().sum();
        let left = loads.len() - gone.len();
        prop_assert!(total <= 1000 * i64::try_from(left).unwrap());
        for (node, used) in &used {
            prop_assert!(*used <= 1000 || gone.contains(node), "{node} {used}");
        }
    }

    #[test]
    fn what_is_kept_between_looks_changes_no_answer(
        loads in loads(),
        more in loads(),
        hard in prop::collection::vec((0usize..8, 0u8..4), 0..4),
        allowed in prop::option::of((any::<bool>(), any::<bool>())),
    ) {
        let allowed = allowed.map(|(before, now)| (i32::from(before) * 100, i32::from(now) * 100));
        let mut kept = hardened(cluster(&loads), &hard, allowed.map(|(before, _)| before));
        kept.look(0);
        let mut fresh = hardened(cluster(&loads), &hard, None);
        // What was unneeded before is tried first: that is no cache.
        fresh.planner = Planner::remembering(kept.planner.memory().clone());
        for one in [&mut kept, &mut fresh] {
            one.budgets = allowed.map(|(_, now)| budget(now)).into_iter().collect();
            for (node, pods) in more.iter().enumerate().take(loads.len()) {
                for (number, cpu) in pods.iter().enumerate() {
                    let name = format!("q{node}-{number}");
                    one.add([pod(&name, &format!("n{}", node + 1), *cpu)]);
                }
            }
        }
        // Past the marks, so that both judge everything.
        let (kept, fresh) = (kept.look(200), fresh.look(200));
        prop_assert_eq!(&kept.utilization, &fresh.utilization);
        prop_assert_eq!(verdicts(&kept), verdicts(&fresh));
    }
}
