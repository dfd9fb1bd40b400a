//! What the API shows of a pod, state by state.

use super::*;
use crate::agent::state::Live;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn pod(policy: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 3},
        "spec": {"restartPolicy": policy, "containers": [{"name": "app", "image": "nginx",
            "resources": {"requests": {"cpu": "100m"}}}]},
    }))
    .unwrap()
}

fn up(pod: &Pod) -> PodState {
    let mut state = PodState::new(pod, at(0));
    state.sandbox = true;
    state.ip = Some("10.244.1.2".parse().unwrap());
    state.containers[0].running(Live {
        id: "simulated://1".into(),
        image_id: "simulated:nginx".into(),
        since: at(1),
    });
    state
}

fn ended(code: i32) -> Ended {
    Ended {
        id: "simulated://1".into(),
        image_id: "simulated:nginx".into(),
        code,
        reason: if code == 0 { "Completed" } else { "Error" },
        message: String::new(),
        started: Some(at(1)),
        finished: at(9),
    }
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == kind)
        .unwrap()
}

#[test]
fn a_running_ready_pod_shows_all_five_conditions_true() {
    let pod = pod("Always");
    let mut state = up(&pod);
    state.containers[0].started = true;
    state.containers[0].ready = true;
    let mut shown = status(&pod, &state, "10.0.0.1".parse().unwrap(), &[]);
    stamp(&mut shown, at(2));
    assert_eq!(shown["phase"], "Running");
    assert_eq!(shown["podIP"], "10.244.1.2");
    assert_eq!(shown["qosClass"], "Burstable");
    assert_eq!(
        shown["containerStatuses"][0]["allocatedResources"]["cpu"],
        "100m"
    );
    for kind in CONDITIONS {
        let condition = condition(&shown, kind);
        assert_eq!(condition["status"], "True", "{kind}");
        assert_eq!(condition["observedGeneration"], 3);
        assert_eq!(condition["lastTransitionTime"], "1970-01-01T00:00:02Z");
    }
}

#[test]
fn an_unchanged_condition_keeps_its_transition_time() {
    let pod = pod("Always");
    let state = up(&pod);
    let mut first = status(&pod, &state, "10.0.0.1".parse().unwrap(), &[]);
    stamp(&mut first, at(2));
    let seen = seen_conditions(&first);
    let mut second = status(&pod, &state, "10.0.0.1".parse().unwrap(), &seen);
    stamp(&mut second, at(50));
    assert_eq!(first, second);
    assert_eq!(condition(&second, "Ready")["reason"], "ContainersNotReady");
}

#[rstest::rstest]
#[case::success_with_never("Never", 0, "Succeeded")]
#[case::failure_with_never("Never", 1, "Failed")]
#[case::failure_to_be_restarted("OnFailure", 1, "Running")]
#[case::success_to_be_restarted("Always", 0, "Running")]
fn the_phase_follows_exit_code_and_policy(
    #[case] policy: &str,
    #[case] code: i32,
    #[case] want: &str,
) {
    let pod = pod(policy);
    let mut state = up(&pod);
    state.containers[0].ended(ended(code));
    assert_eq!(phase(&pod, &state), want);
}

#[test]
fn a_pod_without_requests_is_best_effort_and_equal_limits_guarantee() {
    let mut pod = pod("Always");
    pod.spec.containers[0].resources = crate::agent::view::Resources::default();
    assert_eq!(qos(&pod), "BestEffort");
    let both = [
        ("cpu".to_owned(), "1".to_owned()),
        ("memory".to_owned(), "1Gi".to_owned()),
    ];
    pod.spec.containers[0].resources.limits = both.clone().into();
    assert_eq!(qos(&pod), "Guaranteed");
    pod.spec.containers[0].resources.requests = [("cpu".into(), "500m".into())].into();
    assert_eq!(qos(&pod), "Burstable");
}

/// A pod with an init container, a sidecar and a main container that never restarts.
fn with_sidecar() -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app"}],
            "initContainers": [{"name": "init"}, {"name": "side", "restartPolicy": "Always"}]},
    }))
    .unwrap()
}

fn runs() -> Live {
    Live {
        id: "simulated://1".into(),
        image_id: "simulated:nginx".into(),
        since: at(1),
    }
}

/// What three containers have come to: exit codes, or `None` while they run.
#[rstest::rstest]
#[case::the_sidecar_starts([Some(0), None], "Pending")]
#[case::init_failed_but_the_sidecar_runs([Some(1), None], "Pending")]
#[case::init_failed([Some(1), Some(0)], "Failed")]
fn before_the_main_container(#[case] codes: [Option<i32>; 2], #[case] want: &str) {
    let pod = with_sidecar();
    let mut state = PodState::new(&pod, at(0));
    for (container, code) in state.containers.iter_mut().zip(codes) {
        container.running(runs());
        if let Some(code) = code {
            container.ended(ended(code));
        }
    }
    assert_eq!(phase(&pod, &state), want);
}

#[rstest::rstest]
#[case::all_run(None, None, "Running")]
#[case::the_sidecar_still_runs(Some(0), None, "Running")]
#[case::a_failure_waits_for_it_too(Some(2), None, "Running")]
#[case::all_has_ended(Some(0), Some(143), "Succeeded")]
#[case::all_has_ended_badly(Some(2), Some(143), "Failed")]
fn after_the_main_container(
    #[case] main: Option<i32>,
    #[case] side: Option<i32>,
    #[case] want: &str,
) {
    let pod = with_sidecar();
    let mut state = PodState::new(&pod, at(0));
    for (container, code) in state.containers.iter_mut().zip([Some(0), side, main]) {
        container.running(runs());
        if let Some(code) = code {
            container.ended(ended(code));
        }
    }
    assert_eq!(phase(&pod, &state), want);
    assert_eq!(is_terminal(&pod, &state), want != "Running");
}

#[test]
fn a_rejected_pod_shows_why_and_no_containers() {
    let pod = pod("Always");
    let mut state = PodState::new(&pod, at(0));
    state.failed = Some(PodFailure {
        reason: "OutOfcpu",
        message: "Pod was rejected: no".into(),
        at: FailedAt::Admission,
    });
    let shown = status(&pod, &state, "10.0.0.1".parse().unwrap(), &[]);
    assert_eq!(shown["phase"], "Failed");
    assert_eq!(shown["reason"], "OutOfcpu");
    assert!(shown["containerStatuses"].is_null());
}

#[test]
fn an_evicted_pod_shows_its_reason_when_it_has_ended() {
    let pod = pod("Always");
    let mut state = up(&pod);
    state.failed = Some(PodFailure {
        reason: "Evicted",
        message: "The node was low on resource: memory. ".into(),
        at: FailedAt::Life(Some(0)),
    });
    let shown = status(&pod, &state, "10.0.0.1".parse().unwrap(), &[]);
    assert_eq!(shown["phase"], "Running");
    assert!(shown["reason"].is_null());
    assert_eq!(
        condition(&shown, "DisruptionTarget")["reason"],
        "TerminationByKubelet"
    );
    state.containers[0].ended(ended(137));
    let shown = status(&pod, &state, "10.0.0.1".parse().unwrap(), &[]);
    assert_eq!(shown["phase"], "Failed");
    assert_eq!(shown["reason"], "Evicted");
    assert_eq!(condition(&shown, "Ready")["reason"], "PodFailed");
}

#[test]
fn a_resize_shows_as_pending_and_then_in_progress() {
    let before = pod("Always");
    let mut after = before.clone();
    after.metadata.generation = Some(4);
    after.spec.containers[0].resources.requests = [("cpu".into(), "200m".into())].into();
    let mut state = up(&after);
    let mut resize = Resize::of(&before);
    resize.pending = Some(crate::agent::resize::Pending {
        reason: "Deferred",
        message: "not now".into(),
    });
    state.resize = Some(Box::new(resize));
    let shown = status(&after, &state, "10.0.0.1".parse().unwrap(), &[]);
    let pending = condition(&shown, "PodResizePending");
    assert_eq!(
        (&pending["status"], &pending["reason"]),
        (&json!("True"), &json!("Deferred"))
    );
    assert_eq!(pending["observedGeneration"], 4);
    let container = &shown["containerStatuses"][0];
    assert_eq!(container["allocatedResources"]["cpu"], "100m");
    let seen = seen_conditions(&shown);
    state.resize.as_mut().unwrap().grant(&after);
    let shown = status(&after, &state, "10.0.0.1".parse().unwrap(), &seen);
    assert_eq!(condition(&shown, "PodResizeInProgress")["status"], "True");
    let container = &shown["containerStatuses"][0];
    assert_eq!(container["allocatedResources"]["cpu"], "200m");
    assert_eq!(container["resources"]["requests"]["cpu"], "100m");
    assert_eq!(passed(&shown, &seen), ["PodResizePending"]);
}

#[rstest::rstest]
#[case::while_it_was_active(FailedAt::Life(Some(0)), true)]
#[case::before_it_began(FailedAt::Admission, false)]
fn only_an_eviction_is_a_disruption(#[case] at: FailedAt, #[case] want: bool) {
    let pod = pod("Always");
    let mut state = PodState::new(&pod, Timestamp::UNIX_EPOCH);
    state.failed = Some(PodFailure {
        reason: "Evicted",
        message: "The node had condition: [DiskPressure]. ".into(),
        at,
    });
    let shown = status(&pod, &state, "10.0.0.1".parse().unwrap(), &[]);
    let list = shown["conditions"].as_array().unwrap();
    let has = list.iter().any(|c| c["type"] == "DisruptionTarget");
    assert_eq!(has, want);
}
