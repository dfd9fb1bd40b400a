//! What holds in any cluster.

use crate::cast::{Cluster, pod};
use plimsoll_engine::cluster::Parallelism;
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
    fn what_is_kept_between_looks_changes_no_answer(loads in loads(), more in loads()) {
        let mut kept = cluster(&loads);
        kept.look(0);
        let mut fresh = cluster(&loads);
        for one in [&mut kept, &mut fresh] {
            for (node, pods) in more.iter().enumerate().take(loads.len()) {
                for (number, cpu) in pods.iter().enumerate() {
                    let name = format!("q{node}-{number}");
                    one.add([pod(&name, &format!("n{}", node + 1), *cpu)]);
                }
            }
        }
        // Past the marks, so that both judge everything.
        let (kept, fresh) = (kept.look(301), fresh.look(301));
        prop_assert_eq!(&kept.utilization, &fresh.utilization);
        let eligible = |plan: &plimsoll_engine::cluster::ShrinkPlan| -> Vec<String> {
            plan.nodes.iter().filter(|(_, v)| crate::cast::reason(v) == "NotUnderutilized")
                .map(|(name, _)| name.to_string()).collect()
        };
        prop_assert_eq!(eligible(&kept), eligible(&fresh));
    }
}
