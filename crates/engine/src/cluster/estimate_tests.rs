//! Estimates against the worked examples, and the two ways of packing against each other.

use super::*;
use crate::cluster::testing::{node, pending, spec, template};
use crate::placement::{HOSTNAME_LABEL, HostPort, LabelSelector, PodSpec, PodTerm, Requirement};
use proptest::prelude::*;

/// Classes as (pods, CPU, memory, kind): kinds 0–3 differ in what they ask of others.
type Drawn = Vec<(usize, i64, i64, u8)>;

fn of_kind(cpu: i64, memory: i64, kind: u8) -> PodSpec {
    let mut of = spec(cpu, memory);
    of.labels.insert("app".into(), kind.to_string());
    let apart_from = |app: &str| PodTerm {
        selector: Some(LabelSelector {
            requirements: vec![Requirement::equals("app", app)],
        }),
        topology_key: HOSTNAME_LABEL.into(),
        ..PodTerm::default()
    };
    match kind {
        1 => of.pod_anti_affinity.required.push(apart_from("1")),
        2 => of.pod_anti_affinity.required.push(apart_from("0")),
        3 => of.host_ports.push(HostPort {
            protocol: "TCP".into(),
            ip: String::new(),
            port: 80,
        }),
        _ => {}
    }
    of
}

fn pods_of(drawn: &Drawn) -> Vec<PendingPod> {
    let mut pods = Vec::new();
    for (at, (count, cpu, memory, kind)) in drawn.iter().enumerate() {
        pods.extend(pending(
            &format!("p{at}"),
            *count,
            of_kind(*cpu, *memory, *kind),
        ));
    }
    pods
}

/// Both ways to the answer.
fn both(drawn: &Drawn, of: &NodeTemplate, most: Option<usize>) -> (Estimate, Estimate) {
    let pods = pods_of(drawn);
    let mut snapshot = Snapshot::default();
    snapshot.set_node(node("there", 100_000, 1 << 40));
    let all: Vec<usize> = (0..pods.len()).collect();
    let classes = equivalence::classes(&mut snapshot, &pods, &all);
    let fitting: Vec<usize> = (0..classes.len()).collect();
    let load = Load {
        pods: &pods,
        classes: &classes,
        fitting: &fitting,
    };
    let by_number = estimate(&mut snapshot, of, &load, most, Method::Best);
    let one_by_one = estimate(&mut snapshot, of, &load, most, Method::PodByPod);
    assert_eq!(snapshot.node_count(), 1, "the snapshot is as before");
    (by_number, one_by_one)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn by_number_is_what_pod_by_pod_comes_to(
        drawn in proptest::collection::vec((1usize..12, 0i64..1300, 0i64..1300, 0u8..5), 1..7),
        most in proptest::option::of(0usize..9),
        places in 1usize..9,
    ) {
        let mut of = template("t", 1000, 1000);
        of.node.max_pods = places;
        of.daemons.push(PodFacts::new("kube-system", "proxy", spec(100, 0)));
        let (by_number, one_by_one) = both(&drawn, &of, most);
        prop_assert_eq!(by_number, one_by_one);
    }
}

#[test]
fn one_pod_that_minds_others_does_not_change_what_the_rest_needs() {
    let of = template("t", 4000, 1 << 40);
    let plain: Drawn = vec![(300, 700, 1, 4), (200, 300, 1, 4)];
    let (alone, _) = both(&plain, &of, None);
    let mut pods = pods_of(&plain);
    let mut bound = spec(1, 0);
    bound.labels.insert("app".into(), "zonal".into());
    bound.pod_anti_affinity.required.push(PodTerm {
        selector: Some(LabelSelector {
            requirements: vec![Requirement::equals("app", "zonal")],
        }),
        topology_key: "zone".into(),
        ..PodTerm::default()
    });
    pods.extend(pending("zonal", 1, bound));
    let (nodes, placed) = estimate_nodes(&mut Snapshot::default(), &of, &pods, None);
    assert_eq!((nodes, placed.len()), (alone.nodes, 501));
}
