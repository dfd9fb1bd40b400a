//! Following the objects, against an API server, in virtual time.

use super::tests::{GROUP, Rig, bare_rig, rig};
use kube::api::{DeleteParams, Patch, PatchParams};
use plimsoll_api::nodegroup::NodeProvider;
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Waits until the watches show everything.
async fn followed(rig: &Rig) {
    let shown = async {
        while rig.provider.watching.version().is_none() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let patience = Duration::from_secs(120);
    timeout(patience, shown).await.expect("the watches begin");
}

async fn replicas(rig: &Rig, replicas: usize) {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let api = rig.api("MachineDeployment");
    let done = api.patch("md", &PatchParams::default(), &patch).await;
    done.unwrap();
}

async fn woken(changes: &mut watch::Receiver<u64>) {
    let patience = Duration::from_secs(60);
    let news = timeout(patience, changes.changed()).await;
    news.expect("something has changed").unwrap();
}

async fn target(rig: &Rig) -> usize {
    let groups = rig.provider.groups().await.unwrap();
    groups
        .iter()
        .find(|group| &*group.id == GROUP)
        .unwrap()
        .target
}

#[tokio::test(start_paused = true)]
async fn what_changes_wakes_and_is_seen_without_a_list() {
    let rig = rig().await;
    rig.deployment(2).await;
    let mut changes = rig.provider.changes().unwrap();
    assert_eq!(target(&rig).await, 2);
    followed(&rig).await;
    changes.mark_unchanged();
    // Listed a moment ago, and for that reason not listed again now.
    rig.provider.listed().await.unwrap();
    replicas(&rig, 4).await;
    woken(&mut changes).await;
    assert_eq!(target(&rig).await, 4);
    rig.running("a").await;
    woken(&mut changes).await;
    let groups = rig.provider.groups().await.unwrap();
    assert!(
        groups[0]
            .instances
            .iter()
            .any(|one| &*one.id == "cloud://a")
    );
    let api = rig.api("MachineDeployment");
    api.delete("md", &DeleteParams::default()).await.unwrap();
    while !rig.provider.groups().await.unwrap().is_empty() {
        woken(&mut changes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn own_writes_are_seen_at_once() {
    let rig = rig().await;
    rig.deployment(2).await;
    assert_eq!(target(&rig).await, 2);
    followed(&rig).await;
    rig.provider.increase(GROUP, 2).await.unwrap();
    assert_eq!(target(&rig).await, 4);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(target(&rig).await, 4);
}

#[tokio::test(start_paused = true)]
async fn kinds_that_come_later_are_found() {
    let rig = bare_rig().await;
    let mut changes = rig.provider.changes().unwrap();
    assert!(rig.provider.groups().await.is_err());
    sleep(Duration::from_secs(90)).await;
    rig.define().await;
    rig.deployment(3).await;
    woken(&mut changes).await;
    followed(&rig).await;
    assert_eq!(target(&rig).await, 3);
    replicas(&rig, 1).await;
    woken(&mut changes).await;
    assert_eq!(target(&rig).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_no_hindrance() {
    let rig = rig().await;
    rig.deployment(3).await;
    let definitions = rig.all("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let name = "machinepools.cluster.x-k8s.io";
    let gone = definitions.delete(name, &DeleteParams::default()).await;
    gone.unwrap();
    assert_eq!(target(&rig).await, 3);
    followed(&rig).await;
    assert_eq!(target(&rig).await, 3);
    let shown = rig.provider.shown().unwrap();
    assert_eq!(shown.groups.len(), 1);
}
