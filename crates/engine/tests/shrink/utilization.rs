//! Utilization, by reference §12.1 and its example E4.

use crate::cast::{GIB, at, owner, pod};
use plimsoll_engine::cluster::{
    ClusterNode, Ignored, OwnerKind, RunningPod, UtilizationError, utilization,
};
use plimsoll_engine::placement::Resources;
use rstest::rstest;

fn node() -> ClusterNode {
    ClusterNode {
        name: "n1".into(),
        allocatable: Resources::of(3920, 4 * GIB),
        allocatable_known: true,
        ..ClusterNode::default()
    }
}

fn daemon(cpu: i64) -> RunningPod {
    RunningPod {
        owner: Some(owner(OwnerKind::DaemonSet)),
        ..pod("ds", "n1", cpu)
    }
}

fn mirror(cpu: i64) -> RunningPod {
    RunningPod {
        mirror: true,
        ..pod("static", "n1", cpu)
    }
}

#[rstest]
// Reference E4.
#[case::plain(1900, false, false, 2380.0 / 3920.0)]
#[case::without_daemon_sets(1900, true, false, 2000.0 / 3540.0)]
#[case::without_both(1900, true, true, 1900.0 / 3440.0)]
#[case::smaller(1600, true, true, 1600.0 / 3440.0)]
fn what_is_ignored_leaves_both_sides(
    #[case] app: i64,
    #[case] daemon_sets: bool,
    #[case] mirrors: bool,
    #[case] share: f64,
) {
    let pods = [pod("app", "n1", app), daemon(380), mirror(100)];
    let ignored = Ignored {
        daemon_sets,
        mirrors,
    };
    let found = utilization(&node(), &pods, ignored, at(0)).unwrap();
    assert!((found.share - share).abs() < 1e-9, "{found:?}");
    assert_eq!(&*found.resource, "cpu");
}

#[rstest]
#[case::just_gone(60, 0.0)]
#[case::within_its_grace(59, 0.25)]
fn who_should_be_gone_does_not_count(#[case] seconds_late: i64, #[case] share: f64) {
    let leaving = RunningPod {
        deletion: Some(at(0)),
        ..pod("app", "n1", 980)
    };
    // 30 s of its own and 30 s on top must be over.
    let now = at(seconds_late + i64::from(share < 0.1));
    let found = utilization(&node(), &[leaving], Ignored::default(), now).unwrap();
    assert!((found.share - share).abs() < 1e-9, "{found:?}");
}

#[test]
fn a_gpu_decides_alone_and_one_that_is_not_there_counts_as_unused() {
    let mut node = node();
    node.gpu = Some("nvidia.com/gpu".into());
    let mut wants = pod("app", "n1", 3900);
    let mut spec = (*wants.pod.spec).clone();
    spec.requests
        .extended
        .insert("nvidia.com/gpu".to_owned(), 1);
    wants.pod.spec = spec.into();
    let share = |node: &ClusterNode| {
        let found = utilization(node, [&wants], Ignored::default(), at(0)).unwrap();
        (found.share, found.gpu, found.cpu)
    };
    assert_eq!(share(&node), (0.0, 0.0, 0.0));
    node.allocatable
        .extended
        .insert("nvidia.com/gpu".to_owned(), 4);
    assert_eq!(share(&node), (0.25, 0.25, 0.0));
}

#[test]
fn a_node_that_says_nothing_is_an_error() {
    let mut node = node();
    node.allocatable.memory_bytes = 0;
    let error = |node: &ClusterNode| utilization(node, [], Ignored::default(), at(0)).unwrap_err();
    assert_eq!(
        error(&node),
        UtilizationError::Nothing("memory", "n1".into())
    );
    node.allocatable_known = false;
    assert_eq!(error(&node).to_string(), "failed to get memory from n1");
}
