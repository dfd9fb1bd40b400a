//! What is done next for a pod, state by state.

use super::*;
use crate::agent::state::{Ended, Live};
use serde_json::json;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn pod(policy: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": {"nodeName": "n1", "restartPolicy": policy, "containers": [{"name": "app"}]},
    }))
    .unwrap()
}

fn live(since: i64) -> Live {
    Live {
        id: "simulated://1".into(),
        image_id: "simulated:x".into(),
        since: at(since),
    }
}

fn ended(code: i32, finished: i64) -> Ended {
    Ended {
        id: "simulated://1".into(),
        image_id: "simulated:x".into(),
        code,
        reason: "Error",
        message: String::new(),
        started: Some(at(0)),
        finished: at(finished),
    }
}

fn up(pod: &Pod) -> PodState {
    let mut state = PodState::new(pod, at(0));
    state.sandbox = true;
    state
}

#[test]
fn a_bound_pod_gets_a_sandbox_then_its_container() {
    let pod = pod("Always");
    let mut state = PodState::new(&pod, at(0));
    assert_eq!(plan(&pod, &state, at(0)), Action::CreateSandbox);
    state.sandbox = true;
    assert_eq!(plan(&pod, &state, at(0)), Action::Start(0));
    state.containers[0].running(live(0));
    assert_eq!(plan(&pod, &state, at(0)), Action::Wait(None));
}

#[test]
fn a_crash_restarts_at_once_the_first_time_and_is_held_back_the_second() {
    let pod = pod("Always");
    let mut state = up(&pod);
    state.containers[0].ended(ended(1, 5));
    assert_eq!(plan(&pod, &state, at(5)), Action::Start(0));
    state.containers[0].backoff.raise(at(5), at(5));
    state.containers[0].ended(ended(1, 6));
    assert_eq!(
        plan(&pod, &state, at(6)),
        Action::Hold {
            index: 0,
            until: at(16)
        }
    );
}

#[rstest::rstest]
#[case::always_restarts_success("Always", 0, Action::Start(0))]
#[case::on_failure_restarts_failure("OnFailure", 1, Action::Start(0))]
#[case::on_failure_lets_success_be("OnFailure", 0, Action::RemoveSandbox)]
#[case::never_lets_failure_be("Never", 1, Action::RemoveSandbox)]
fn the_restart_policy_decides(#[case] policy: &str, #[case] code: i32, #[case] want: Action) {
    let pod = pod(policy);
    let mut state = up(&pod);
    state.containers[0].ended(ended(code, 1));
    assert_eq!(plan(&pod, &state, at(1)), want);
}

#[test]
fn deletion_stops_then_kills_then_takes_down_then_finishes() {
    let mut pod = pod("Always");
    pod.metadata.deletion_timestamp = Some(at(40));
    pod.metadata.deletion_grace_period_seconds = Some(30);
    let mut state = up(&pod);
    state.containers[0].running(live(0));
    assert_eq!(
        plan(&pod, &state, at(10)),
        Action::Stop {
            index: 0,
            deadline: at(40)
        }
    );
    state.containers[0].stop = Some(crate::agent::state::Stop::new(at(10), at(40)));
    assert_eq!(plan(&pod, &state, at(11)), Action::Wait(Some(at(40))));
    assert_eq!(plan(&pod, &state, at(40)), Action::Kill(0));
    state.containers[0].ended(ended(137, 40));
    assert_eq!(plan(&pod, &state, at(40)), Action::RemoveSandbox);
    state.over = true;
    assert_eq!(plan(&pod, &state, at(40)), Action::Finish);
}

#[rstest::rstest]
#[case::too_soon_to_be_seen(30, 10_400, Action::Wait(Some(Timestamp::from_millisecond(10_500).unwrap())))]
#[case::long_enough(30, 10_500, Action::Finish)]
#[case::without_grace(0, 10_001, Action::Finish)]
fn a_deleted_pod_is_to_be_seen_for_a_moment(
    #[case] grace: i64,
    #[case] now: i64,
    #[case] want: Action,
) {
    let mut pod = pod("Always");
    let mut state = up(&pod);
    pod.metadata.deletion_timestamp = Some(at(10 + grace));
    pod.metadata.deletion_grace_period_seconds = Some(grace);
    state.note_deletion(&pod, at(10));
    // Seen again, it is not seen anew.
    state.note_deletion(&pod, at(11));
    state.over = true;
    let now = Timestamp::from_millisecond(now).unwrap();
    assert_eq!(plan(&pod, &state, now), want);
}

#[test]
fn main_containers_wait_for_init_containers_and_sidecars() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": {"initContainers": [{"name": "a"}, {"name": "b", "restartPolicy": "Always"}],
                 "containers": [{"name": "app"}]},
    }))
    .unwrap();
    let mut state = up(&pod);
    assert_eq!(plan(&pod, &state, at(0)), Action::Start(0));
    state.containers[0].running(live(0));
    assert_eq!(plan(&pod, &state, at(0)), Action::Wait(None));
    state.containers[0].ended(ended(0, 1));
    assert_eq!(plan(&pod, &state, at(1)), Action::Start(1));
    state.containers[1].running(live(1));
    assert_eq!(plan(&pod, &state, at(1)), Action::Wait(None));
    state.containers[1].started = true;
    assert_eq!(plan(&pod, &state, at(1)), Action::Start(2));
}

#[test]
fn a_sidecar_that_crashes_later_holds_nothing_back() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": {"initContainers": [{"name": "b", "restartPolicy": "Always"}],
                 "containers": [{"name": "app"}]},
    }))
    .unwrap();
    let mut state = up(&pod);
    state.containers[0].running(live(0));
    state.containers[0].started = true;
    state.containers[1].running(live(1));
    state.born(1);
    state.containers[0].ended(ended(1, 2));
    state.containers[1].ended(ended(1, 2));
    assert!(state.initialized());
    assert_eq!(plan(&pod, &state, at(2)), Action::Start(0));
    state.containers[0].running(live(2));
    assert_eq!(plan(&pod, &state, at(2)), Action::Start(1));
    state.restart_all(at(3), None);
    assert!(!state.initialized());
}

#[test]
fn a_pod_past_its_active_deadline_fails() {
    let mut pod = pod("Always");
    pod.spec.active_deadline_seconds = Some(5);
    let mut state = up(&pod);
    state.containers[0].running(live(0));
    assert_eq!(plan(&pod, &state, at(4)), Action::Wait(Some(at(5))));
    assert!(matches!(plan(&pod, &state, at(5)), Action::Fail(_)));
}

fn with_debugger() -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": {
            "nodeName": "n1", "initContainers": [{"name": "init"}], "containers": [{"name": "app"}],
            "ephemeralContainers": [{"name": "dbg", "targetContainerName": "app"}],
        },
    }))
    .unwrap()
}

#[test]
fn an_ephemeral_container_runs_once_even_while_the_pod_cannot_start() {
    let pod = with_debugger();
    let mut state = up(&pod);
    assert_eq!(plan(&pod, &state, at(0)), Action::Start(2));
    state.containers[2].ended(ended(1, 5));
    assert_eq!(plan(&pod, &state, at(6)), Action::Start(0));
    state.containers[0].running(live(6));
    assert_eq!(plan(&pod, &state, at(7)), Action::Wait(None));
}

#[test]
fn a_pod_grows_by_its_ephemeral_containers_and_keeps_the_others() {
    let later = with_debugger();
    let mut before = later.clone();
    before.spec.ephemeral_containers.clear();
    let mut state = up(&before);
    state.containers[0].ended(ended(0, 1));
    state.containers[1].running(live(2));
    state.grow(&later);
    assert_eq!(state.containers.len(), 3);
    assert!(state.containers[1].is_running());
    assert_eq!(plan(&later, &state, at(3)), Action::Start(2));
    state.grow(&later);
    assert_eq!(state.containers.len(), 3);
}

#[test]
fn a_pod_that_is_over_does_not_wait_for_its_ephemeral_containers() {
    let mut pod = with_debugger();
    pod.spec.restart_policy = Some("Never".into());
    let mut state = up(&pod);
    state.containers[0].ended(ended(0, 1));
    state.containers[1].ended(ended(0, 5));
    state.containers[2].running(live(2));
    let stop = plan(&pod, &state, at(6));
    assert!(matches!(stop, Action::Stop { index: 2, .. }), "{stop:?}");
}

#[test]
fn a_program_that_cannot_start_shows_why_and_is_then_held_back() {
    let pod = pod("Always");
    let mut state = up(&pod);
    state.containers[0].last = Some(Box::new(ended(128, 5)));
    state.containers[0].backoff.raise(at(5), at(5));
    state.containers[0].run = Run::Waiting {
        reason: "RunContainerError",
        message: "no such program".into(),
        until: Some(at(7)),
    };
    assert_eq!(plan(&pod, &state, at(6)), Action::Wait(Some(at(7))));
    assert_eq!(
        plan(&pod, &state, at(7)),
        Action::Hold {
            index: 0,
            until: at(15)
        }
    );
    assert_eq!(plan(&pod, &state, at(15)), Action::Start(0));
}

#[test]
fn a_container_may_want_all_others_to_begin_anew() {
    let mut pod = pod("Never");
    pod.spec.containers[0].restart_policy_rules = serde_json::from_value(json!([
        {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [3]}},
    ]))
    .unwrap();
    let mut state = up(&pod);
    state.containers[0].ended(ended(3, 5));
    assert_eq!(plan(&pod, &state, at(5)), Action::RestartAll(0));
    state.restart_all(at(5), None);
    assert_eq!(plan(&pod, &state, at(5)), Action::Start(0));
    state.containers[0].ended(ended(4, 6));
    assert_eq!(plan(&pod, &state, at(6)), Action::RemoveSandbox);
}

#[test]
fn sidecars_end_after_the_main_container_the_last_one_first() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app"}], "initContainers": [
            {"name": "a", "restartPolicy": "Always"}, {"name": "b", "restartPolicy": "Always"}]},
    }))
    .unwrap();
    let mut state = up(&pod);
    for container in &mut state.containers {
        container.running(live(0));
        container.started = true;
    }
    state.containers[2].ended(ended(0, 5));
    for (index, next) in [(1, 0), (0, 1)] {
        let stop = plan(&pod, &state, at(5));
        assert!(
            matches!(stop, Action::Stop { index: i, .. } if i == index),
            "{stop:?}"
        );
        state.containers[index].ended(ended(143, 5));
        assert_eq!(state.containers[next].is_running(), index == 1);
    }
    assert_eq!(plan(&pod, &state, at(5)), Action::RemoveSandbox);
}

#[rstest::rstest]
#[case::a_long_grace(30, 40)]
#[case::none_at_all(0, 12)]
fn a_program_gets_two_seconds_at_least(#[case] grace: i64, #[case] want: i64) {
    let mut stop = crate::agent::state::Stop::new(at(10), at(10 + grace));
    assert_eq!(stop.deadline, at(want));
    stop.hurry(at(11));
    assert_eq!(stop.deadline, at(12));
    stop.asked(at(20));
    assert_eq!(stop.deadline, at(22));
}
