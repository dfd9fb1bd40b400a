//! What it costs to place a pod among 5,000 nodes.

use plimsoll_engine::placement::{
    Decision, LabelSelector, NodeFacts, PodFacts, PodSpec, PodTerm, Requirement, Resources,
    Snapshot, SpreadConstraint, decide, preempt,
};
use std::sync::Arc;

const NODES: usize = 5_000;
const PODS: usize = 1_000;
const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";

fn main() {
    divan::main();
}

fn cluster() -> Snapshot {
    let mut snapshot = Snapshot::default();
    for number in 0..NODES {
        let name = format!("node-{number}");
        let labels = [(HOSTNAME, name.clone()), (ZONE, format!("z{}", number % 3))];
        snapshot.set_node(NodeFacts {
            labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
            allocatable: Resources::of(16_000, 64 << 30),
            max_pods: 110,
            name,
            ..NodeFacts::default()
        });
    }
    snapshot
}

fn spec() -> PodSpec {
    PodSpec {
        labels: [("app".to_owned(), "web".to_owned())].into(),
        requests: Resources::of(500, 1 << 30),
        ..PodSpec::default()
    }
}

fn web() -> LabelSelector {
    LabelSelector {
        requirements: vec![Requirement::equals("app", "web")],
    }
}

fn run(bencher: divan::Bencher<'_, '_>, specs: &[Arc<PodSpec>]) {
    let pods: Vec<PodFacts> = specs
        .iter()
        .cycle()
        .take(PODS)
        .enumerate()
        .map(|(number, spec)| PodFacts::new("bench", &format!("p{number}"), Arc::clone(spec)))
        .collect();
    bencher
        .with_inputs(|| (cluster(), pods.clone()))
        .bench_values(|(mut snapshot, pods)| {
            for (tie, pod) in (0u64..).zip(pods) {
                let node = decide(&mut snapshot, &pod, tie).node().map(str::to_owned);
                snapshot.place(&node.expect("there is room"), pod);
            }
            snapshot
        });
}

/// Requests alone.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn plain(bencher: divan::Bencher<'_, '_>) {
    run(bencher, &[Arc::new(spec())]);
}

/// As many kinds of pods as pods.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn distinct(bencher: divan::Bencher<'_, '_>) {
    let own = |number: usize| {
        let mut spec = spec();
        spec.labels.insert("pod".into(), number.to_string());
        spec.default_spread = Some(web());
        Arc::new(spec)
    };
    run(bencher, &(0..PODS).map(own).collect::<Vec<_>>());
}

/// Hard by zone, and by default.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn spread(bencher: divan::Bencher<'_, '_>) {
    let constraint = |key: &str| SpreadConstraint {
        topology_key: key.to_owned(),
        selector: Some(web()),
        ..SpreadConstraint::default()
    };
    let spread = vec![constraint(ZONE), constraint(HOSTNAME)];
    run(bencher, &[Arc::new(PodSpec { spread, ..spec() })]);
}

/// A node each.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn apart(bencher: divan::Bencher<'_, '_>) {
    let mut apart = spec();
    apart.pod_anti_affinity.required = vec![PodTerm {
        selector: Some(web()),
        topology_key: HOSTNAME.to_owned(),
        ..PodTerm::default()
    }];
    run(bencher, &[Arc::new(apart)]);
}

/// Whom to remove for one pod, on full nodes.
#[divan::bench]
fn preemption(bencher: divan::Bencher<'_, '_>) {
    let mut snapshot = cluster();
    let low = Arc::new(PodSpec {
        requests: Resources::of(2000, 1 << 30),
        ..spec()
    });
    for node in 0..NODES {
        for number in 0..8 {
            let pod = PodFacts::new("bench", &format!("low-{node}-{number}"), Arc::clone(&low));
            snapshot.place(&format!("node-{node}"), pod);
        }
    }
    let vip = PodFacts::new(
        "bench",
        "vip",
        PodSpec {
            priority: 10,
            ..spec()
        },
    );
    let Decision::Nowhere(failure) = decide(&mut snapshot, &vip, 0) else {
        return;
    };
    let mut tie = 0;
    bencher.bench_local(|| {
        tie += 1;
        preempt(&mut snapshot, &vip, &failure, &[], tie)
    });
}
