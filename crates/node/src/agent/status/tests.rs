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
