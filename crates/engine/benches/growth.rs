//! How long a look at pending pods takes.

use jiff::Timestamp;
use plimsoll_engine::cluster::{
    ClusterNode, GroupFacts, GroupOptions, GrowthInput, GrowthOptions, GrowthPlan, NodeTemplate,
    PendingPod, TemplateSource, estimate_nodes, grow,
};
use plimsoll_engine::placement::{
    HOSTNAME_LABEL, LabelSelector, NodeFacts, PodFacts, PodSpec, PodTerm, Requirement, Resources,
    Snapshot,
};
use std::collections::BTreeMap;
use std::sync::Arc;

fn main() {
    divan::main();
}

fn node(name: &str, cpu: i64) -> NodeFacts {
    NodeFacts {
        name: name.into(),
        labels: [
            (HOSTNAME_LABEL.to_owned(), name.to_owned()),
            ("topology.kubernetes.io/zone".to_owned(), "a".to_owned()),
        ]
        .into(),
        allocatable: Resources::of(cpu, 64 << 30),
        max_pods: 110,
        ..NodeFacts::default()
    }
}

fn template(cpu: i64) -> NodeTemplate {
    let node = node("template", cpu);
    NodeTemplate {
        capacity: node.allocatable.clone(),
        node,
        daemons: Vec::new(),
        source: TemplateSource::Provider,
        price_per_hour: None,
        gpu: None,
    }
}

fn spec(cpu: i64, app: usize) -> PodSpec {
    PodSpec {
        labels: [("app".to_owned(), format!("app-{app}"))].into(),
        requests: Resources::of(cpu, 1 << 30),
        ..PodSpec::default()
    }
}

/// `deployments` kinds of pods, `each` of every kind, near each other in a zone if `near`.
fn pods(deployments: usize, each: usize, near: bool) -> Vec<PendingPod> {
    let mut pods = Vec::new();
    for app in 0..deployments {
        let mut spec = spec(100 + 50 * i64::try_from(app % 7).unwrap_or(0), app);
        if near {
            spec.pod_affinity.required.push(PodTerm {
                selector: Some(LabelSelector {
                    requirements: vec![Requirement::equals("app", &format!("app-{app}"))],
                }),
                topology_key: "topology.kubernetes.io/zone".into(),
                ..PodTerm::default()
            });
        }
        let spec = Arc::new(spec);
        pods.extend((0..each).map(|at| PendingPod {
            pod: PodFacts::new("default", &format!("app-{app}-{at}"), Arc::clone(&spec)),
            created: None,
            controller: None,
            of_daemon_set: false,
            priority: None,
            scale_up_delay: None,
            fingerprint: 0,
        }));
    }
    pods
}

/// A full cluster of `nodes` nodes in `groups` groups.
fn look(nodes: usize, groups: usize, pending: &[PendingPod]) -> GrowthPlan {
    let mut snapshot = Snapshot::default();
    for at in 0..nodes {
        let name = format!("node-{at}");
        snapshot.set_node(node(&name, 1000));
        snapshot.place(
            &name,
            PodFacts::new("default", &format!("full-{at}"), spec(1000, 9999)),
        );
    }
    let group = |at: usize| GroupFacts {
        id: format!("group-{at}").into(),
        min: 0,
        max: 5000,
        target: 0,
        exists: true,
        options: GroupOptions::default(),
        template: Some(Arc::new(template(
            4000 + 500 * i64::try_from(at).unwrap_or(0),
        ))),
    };
    let groups: Vec<GroupFacts> = (0..groups).map(group).collect();
    let existing: Vec<ClusterNode> = Vec::new();
    grow(GrowthInput {
        snapshot: &mut snapshot,
        groups: &groups,
        pending,
        existing: &existing,
        upcoming: &BTreeMap::new(),
        skipped: &BTreeMap::new(),
        options: &GrowthOptions::default(),
        now: Timestamp::UNIX_EPOCH,
        tie: 0,
    })
}

#[divan::bench(sample_count = 5)]
fn fifty_one_thousand_pods_on_one_group(bencher: divan::Bencher<'_, '_>) {
    let mut all = pods(1, 50_000, false);
    all.extend(pods(1, 1000, true).into_iter().map(|mut pod| {
        pod.pod.spec = Arc::new(spec(1900, 1));
        pod
    }));
    let of = template(2000);
    bencher.bench_local(|| estimate_nodes(&mut Snapshot::default(), &of, &all, None));
}

#[divan::bench(sample_count = 3, args = [(100, 2), (1000, 20)])]
fn ten_thousand_pods(bencher: divan::Bencher<'_, '_>, of: (usize, usize)) {
    let all = pods(50, 200, false);
    bencher.bench_local(|| look(of.0, of.1, &all));
}

#[divan::bench(sample_count = 3, args = [(100, 2), (1000, 20)])]
fn ten_thousand_pods_near_each_other(bencher: divan::Bencher<'_, '_>, of: (usize, usize)) {
    let all = pods(50, 200, true);
    bencher.bench_local(|| look(of.0, of.1, &all));
}

#[divan::bench(sample_count = 3)]
fn ten_thousand_pods_all_different(bencher: divan::Bencher<'_, '_>) {
    let mut all = pods(10_000, 1, false);
    for (at, pod) in all.iter_mut().enumerate() {
        let mut spec = (*pod.pod.spec).clone();
        spec.requests.memory_bytes += i64::try_from(at).unwrap_or(0) << 16;
        pod.pod.spec = Arc::new(spec);
    }
    bencher.bench_local(|| look(1000, 20, &all));
}
