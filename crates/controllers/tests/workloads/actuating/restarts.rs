//! The program ends in the middle of removals, in order or not.

use super::machines::Mood;
use super::stage::{Stage, removal};
use plimsoll_controllers::nodes::actuation::Phase;
use rstest::rstest;
use serde_json::json;
use std::time::Duration;

/// A node with one pod, under way as far as `phase`.
async fn under_way(phase: Phase) -> Stage {
    let stage = Stage::with_web().await;
    if phase == Phase::Deleting {
        *stage.machines.mood.lock() = Mood::IsSilent;
    }
    if phase == Phase::Waiting {
        let annotation = "delay-deletion.cluster-autoscaler.kubernetes.io/x";
        stage
            .change("a", json!({"metadata": {"annotations": {annotation: ""}}}))
            .await;
    }
    *stage.machines.slow.lock() = Duration::from_secs(60);
    stage.start(&[], &[removal("a", &["web"])]);
    let is_there = async || {
        if phase > Phase::Draining {
            stage.rig.tend_pods().await;
        }
        stage.actuator.running()[0].phase == phase
    };
    stage.until("phase", is_there).await;
    assert!(!stage.is_free("a").await);
    stage
}

#[rstest]
#[case::settling(Phase::Settling)]
#[case::draining(Phase::Draining)]
#[case::waiting(Phase::Waiting)]
#[case::deleting(Phase::Deleting)]
#[tokio::test(start_paused = true)]
async fn a_crash_leaves_a_node_that_the_next_life_releases(#[case] phase: Phase) {
    let mut stage = under_way(phase).await;
    stage.crash().await;
    *stage.machines.mood.lock() = Mood::Obeys;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!stage.is_free("a").await);
    let released = stage.actuator.clean_up_leftovers().await.unwrap();
    assert_eq!(released, ["a".into()]);
    stage
        .until("released", async || stage.is_free("a").await)
        .await;
    stage
        .until("told", async || {
            !stage
                .rig
                .events("ClusterAutoscalerCleanup")
                .await
                .is_empty()
        })
        .await;
    assert_eq!(stage.actuator.clean_up_leftovers().await, Ok(Vec::new()));
    // Life goes on: the same node may go after all.
    stage.rig.tend_pods().await;
    stage
        .change("a", json!({"metadata": {"annotations": null}}))
        .await;
    stage.start(&[], &[removal("a", &["web"])]);
    assert_eq!(stage.settled().await[0].result, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_machine_is_going_keeps_its_taint_over_a_crash() {
    let mut stage = under_way(Phase::Leaving).await;
    stage.crash().await;
    assert_eq!(stage.actuator.clean_up_leftovers().await, Ok(Vec::new()));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(stage.mark("a").await.is_some());
    stage.settled().await;
    assert!(stage.node("a").await.is_none());
}

#[rstest]
#[case::settling(Phase::Settling, true)]
#[case::draining(Phase::Draining, true)]
#[case::waiting(Phase::Waiting, true)]
// Nobody knows whether the provider has heard.
#[case::deleting(Phase::Deleting, false)]
#[case::leaving(Phase::Leaving, false)]
#[tokio::test(start_paused = true)]
async fn an_end_in_order_releases_what_no_provider_was_asked_for(
    #[case] phase: Phase,
    #[case] free: bool,
) {
    let stage = under_way(phase).await;
    stage.actuator.stop().await;
    assert_eq!(stage.is_free("a").await, free);
    assert_eq!(stage.actuator.running(), []);
}

#[tokio::test(start_paused = true)]
async fn nodes_of_others_are_left_alone() {
    let stage = Stage::of(&["a", "b"]).await;
    let taint = json!([{"key": "ToBeDeletedByClusterAutoscaler", "value": "1",
        "effect": "NoSchedule"}]);
    for node in ["a", "b"] {
        let spec = json!({"spec": {"unschedulable": true, "taints": taint}});
        stage.change(node, spec).await;
    }
    stage.machines.foreign.lock().insert("b".into());
    *stage.machines.mood.lock() = Mood::IsSilent;
    assert!(stage.actuator.clean_up_leftovers().await.is_err());
    *stage.machines.mood.lock() = Mood::Obeys;
    let released = stage.actuator.clean_up_leftovers().await;
    assert_eq!(released, Ok(vec!["a".into()]));
    stage
        .until("released", async || stage.is_free("a").await)
        .await;
    assert!(stage.mark("b").await.is_some());
}
