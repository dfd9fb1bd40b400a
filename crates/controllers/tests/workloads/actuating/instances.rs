//! Machines without nodes, and targets without machines.

use super::machines::Mood;
use super::stage::Stage;
use plimsoll_controllers::nodes::actuation::{Floor, Unwanted};
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn machines_that_never_became_nodes_go_down_to_the_minimum() {
    let stage = Stage::of(&["a", "b"]).await;
    let ids: Vec<Arc<str>> = ["x", "y", "z"].map(Arc::from).into();
    *stage.machines.target.lock() = 3;
    let group = stage.machines.group();
    let keep = (Unwanted::Unregistered, Floor::Keep);
    let gone = stage.actuator.delete_instances(&group, &ids, keep).await;
    assert_eq!(gone, Ok(2));
    let ignore = (Unwanted::Failed, Floor::Ignore);
    let group = stage.machines.group();
    let gone = stage
        .actuator
        .delete_instances(&group, &ids[2..], ignore)
        .await;
    assert_eq!(gone, Ok(1));
    assert_eq!(stage.machines.calls(), ["g: x,y", "force: z"]);
    stage
        .until("told", async || {
            stage.rig.events("DeleteUnregistered").await.len() == 2
        })
        .await;
    let want = ["Removed unregistered node x", "Removed unregistered node y"];
    assert_eq!(stage.rig.events("DeleteUnregistered").await, want);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_nothing_fulfils_is_lowered() {
    let stage = Stage::new().await;
    *stage.machines.target.lock() = 5;
    let group = stage.machines.group();
    assert_eq!(stage.actuator.revert_target(&group, 5).await, Ok(0));
    assert_eq!(stage.actuator.revert_target(&group, 3).await, Ok(2));
    assert_eq!(*stage.machines.target.lock(), 3);
    *stage.machines.mood.lock() = Mood::Refuses(vec![]);
    let group = stage.machines.group();
    assert!(stage.actuator.revert_target(&group, 1).await.is_err());
    stage
        .until("told", async || {
            !stage.rig.events("FailedToRevertScaleUp").await.is_empty()
        })
        .await;
}
