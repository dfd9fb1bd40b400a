//! What was done to a node is undone, whatever happens to that.

use super::machines::Mood;
use super::stage::{Stage, removal, taint, whole};
use crate::faults::Fault;
use plimsoll_api::nodegroup::ErrorClass;
use plimsoll_controllers::nodes::actuation::Failure;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_provider_that_never_answers_has_its_time() {
    let stage = Stage::of(&["a"]).await;
    *stage.machines.mood.lock() = Mood::IsSilent;
    stage.start(&[removal("a", &[])], &[]);
    let failure = stage.failure().await;
    let Failure::Provider(error) = failure else {
        panic!("{failure}");
    };
    assert_eq!(error.class, ErrorClass::Unreachable);
    assert!(stage.is_free("a").await);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_promised_to_go_and_stays_is_released() {
    let stage = Stage::of(&["a"]).await;
    *stage.machines.mood.lock() = Mood::Lies;
    stage.start(&[removal("a", &[])], &[]);
    tokio::time::sleep(Duration::from_secs(290)).await;
    assert!(!stage.is_free("a").await);
    let outcomes = stage.settled().await;
    assert_eq!(outcomes[0].result, Ok(()));
    assert!(stage.is_free("a").await);
    let events = stage.rig.events("ScaleDownFailed").await;
    assert_eq!(events.len(), 1, "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cordoned_before_stays_cordoned() {
    let stage = Stage::of(&["a"]).await;
    stage
        .change("a", json!({"spec": {"unschedulable": true}}))
        .await;
    *stage.machines.mood.lock() = Mood::Refuses(vec!["a"]);
    stage.start(&[removal("a", &[])], &[]);
    assert!(matches!(stage.failure().await, Failure::Provider(_)));
    let node = stage.node("a").await.unwrap();
    assert_eq!(node.data["spec"]["unschedulable"], true);
    assert_eq!(stage.mark("a").await, None);
    assert_eq!(node.metadata.annotations.unwrap_or_default().len(), 0);
}

/// What happens to writes of the node `a`.
fn on_writes(stage: &Stage, fault: Fault) {
    stage.faults.set(move |method, uri| {
        let hit = method == "PATCH" && uri.contains("/nodes/a");
        hit.then(|| fault.clone())
    });
}

/// How often the node `a` was written to, whoever got an answer.
fn writes(stage: &Stage) -> usize {
    let asked = stage.faults.asked();
    let hit = |asked: &&String| asked.starts_with("PATCH") && asked.contains("/nodes/a");
    asked.iter().filter(hit).count()
}

async fn version(stage: &Stage) -> Option<String> {
    stage.node("a").await.unwrap().metadata.resource_version
}

#[tokio::test(start_paused = true)]
async fn a_mark_whose_answer_gets_lost_is_undone() {
    let stage = Stage::of(&["a"]).await;
    let before = version(&stage).await;
    on_writes(&stage, Fault::Lost);
    stage.start(&[removal("a", &[])], &[]);
    assert!(matches!(stage.failure().await, Failure::Mark(_)));
    assert_eq!(writes(&stage), 2);
    assert_ne!(version(&stage).await, before);
    assert!(stage.is_free("a").await);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_comes_late_is_undone() {
    let stage = Stage::of(&["a"]).await;
    on_writes(&stage, Fault::Late(Duration::from_secs(50)));
    stage.start(&[removal("a", &[])], &[]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.faults.set(|_, _| None);
    assert!(matches!(stage.failure().await, Failure::Mark(_)));
    let early = version(&stage).await;
    assert!(stage.is_free("a").await);
    assert_eq!(writes(&stage), 1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(writes(&stage), 1);
    assert_ne!(version(&stage).await, early);
    assert!(stage.is_free("a").await);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_goes_though_the_call_failed_is_seen_off() {
    let stage = Stage::of(&["a", "b"]).await;
    *stage.machines.mood.lock() = Mood::Refuses(vec!["a"]);
    *stage.machines.slow.lock() = Duration::from_secs(20);
    stage.start(&[whole("a", &[]), whole("b", &[])], &[]);
    stage.until_marked("b").await;
    stage.machines.remove(&"b".into());
    let outcomes = stage.settled().await;
    let of = |name: &str| {
        let outcome = outcomes.iter().find(|one| *one.node == *name);
        outcome.unwrap().result.is_ok()
    };
    assert_eq!((of("a"), of("b")), (false, true));
    assert!(stage.is_free("a").await);
    assert!(stage.node("b").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_release_is_tried_until_the_server_takes_it() {
    let stage = Stage::of(&["a"]).await;
    *stage.machines.mood.lock() = Mood::Refuses(vec!["a"]);
    stage.start(&[removal("a", &[])], &[]);
    stage.until_marked("a").await;
    stage
        .faults
        .set(|method, _| (method == "PATCH").then_some(Fault::Reset));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!stage.is_free("a").await);
    stage.faults.set(|_, _| None);
    let waited = stage
        .until("released", async || stage.is_free("a").await)
        .await;
    assert!(waited <= Duration::from_secs(31), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn writes_of_others_do_not_get_lost() {
    let stage = Stage::of(&["a"]).await;
    // The actuator's copy of the node is old: its watch is cut off.
    stage
        .faults
        .set(|method, uri| (method == "GET" && uri.contains("/nodes?")).then_some(Fault::Reset));
    let taints = json!([{"key": "mine", "value": "x", "effect": "NoSchedule"}]);
    let other = json!({"metadata": {"labels": {"late": "yes"}}, "spec": {"taints": taints}});
    stage.change("a", other).await;
    stage.start(&[removal("a", &[])], &[]);
    stage.until_marked("a").await;
    let node = stage.node("a").await.unwrap();
    assert_eq!(taint(&node, "mine").as_deref(), Some("x"));
}
