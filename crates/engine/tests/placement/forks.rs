//! What-ifs.

use crate::build::*;
use plimsoll_engine::placement::*;

/// Everything that can be seen of a snapshot from outside.
fn seen(snapshot: &mut Snapshot) -> String {
    let mut web = app("web");
    web.pod_anti_affinity = required(vec![term("web", ZONE)]);
    web.spread = vec![spread("web", HOSTNAME, WhenUnsatisfiable::ScheduleAnyway)];
    let report = explain(snapshot, &pod("probe", web));
    let mut nodes: Vec<String> = snapshot
        .nodes()
        .map(|n| {
            let pods: Vec<PodKey> = n.pods().map(PodFacts::key).collect();
            let awaited: Vec<PodKey> = n.nominated().map(PodFacts::key).collect();
            format!("{:?} {:?} {pods:?} {awaited:?}", n.facts, n.used)
        })
        .collect();
    nodes.sort();
    let mut reports = report.nodes;
    reports.sort_by(|a, b| a.node.cmp(&b.node));
    format!("{nodes:#?} {reports:#?}")
}

fn stir(snapshot: &mut Snapshot) {
    snapshot.set_node(node("new", "c", 2000));
    snapshot.place("new", pod("web-9", app("web")));
    snapshot.place("b", pod("web-0", app("web")));
    snapshot.set_node(NodeFacts {
        unschedulable: true,
        ..node("a", "moved", 1000)
    });
    snapshot.nominate("b", pod("vip", spec(100)));
    snapshot.place("a", pod("nominee", spec(100)));
    snapshot.remove_node("b");
    snapshot.displace("default", "web-1");
}

fn world() -> Snapshot {
    let mut snapshot = cluster(&[("a", "za"), ("b", "zb")]);
    snapshot.place("a", pod("web-0", app("web")));
    snapshot.place("b", pod("web-1", app("web")));
    snapshot.nominate("a", pod("nominee", spec(100)));
    snapshot
}

#[test]
fn reverting_leaves_no_trace() {
    let mut snapshot = world();
    let before = seen(&mut snapshot);
    snapshot.fork();
    stir(&mut snapshot);
    assert_ne!(seen(&mut snapshot), before);
    snapshot.revert();
    assert_eq!(seen(&mut snapshot), before);
}

#[test]
fn forks_nest_and_commits_are_taken_back_from_outside() {
    let mut snapshot = world();
    let before = seen(&mut snapshot);
    snapshot.fork();
    snapshot.displace("default", "web-0");
    let between = seen(&mut snapshot);
    snapshot.fork();
    stir(&mut snapshot);
    snapshot.revert();
    assert_eq!(seen(&mut snapshot), between);
    snapshot.fork();
    stir(&mut snapshot);
    let stirred = seen(&mut snapshot);
    snapshot.commit();
    assert_eq!(seen(&mut snapshot), stirred);
    snapshot.revert();
    assert_eq!(seen(&mut snapshot), before);
    snapshot.revert();
    snapshot.commit();
    assert_eq!(seen(&mut snapshot), before, "no fork is open");
}

#[test]
fn a_commit_stays() {
    let (mut snapshot, mut direct) = (world(), world());
    snapshot.fork();
    stir(&mut snapshot);
    snapshot.commit();
    stir(&mut direct);
    assert_eq!(seen(&mut snapshot), seen(&mut direct));
}
