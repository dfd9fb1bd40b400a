//! What a provider says and does not do, or does and does not say.

use crate::autoscaler::{options, start, start_set};
use crate::growing::increases;
use crate::site::Site;
use kube::api::{DeleteParams, Patch, PatchParams};
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use serde_json::json;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_size_that_nothing_stands_behind_is_lowered_when_its_time_is_up() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    site.yard.behave(|manner| manner.phantom = 2);
    let _autoscaler = start(&site);
    site.pass(14 * MINUTE).await;
    assert_eq!(site.yard.calls(), [""; 0]);
    // Once --max-node-provision-time is over, and not once more.
    site.pass(2 * MINUTE).await;
    assert_eq!(site.yard.calls(), ["decrease ng by 2"]);
    assert_eq!(site.told("ScaleUpTimedOut").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_stay_after_their_machines_are_not_taken_for_new_ones() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    let _autoscaler = start(&site);
    site.deploy(4, "450m").await;
    site.until_ready(4).await;
    site.yard.behave(|manner| {
        manner.lingers = 4 * MINUTE;
        manner.boot = 2 * MINUTE;
    });
    site.scale(0).await;
    site.until("the machines are gone", async || {
        site.yard.target("ng") == 0
    })
    .await;
    assert_eq!(site.nodes().await.len(), 2);
    site.yard.calls();
    site.scale(4).await;
    site.until_ready(4).await;
    site.pass(5 * MINUTE).await;
    assert_eq!(increases(&site.yard.calls(), "ng"), ["2"]);
    assert_eq!(site.nodes().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_obeyed_and_not_answered_is_no_failure() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    site.yard.behave(|manner| manner.mute = Some("increase"));
    let _autoscaler = start(&site);
    site.deploy(6, "500m").await;
    site.until_ready(6).await;
    // Longer than an answer is waited for.
    site.pass(4 * MINUTE).await;
    site.yard.behave(|manner| manner.mute = None);
    assert_eq!(site.told("FailedToScaleUpGroup").await, [""; 0]);
    // The group is not left alone for it.
    site.scale(8).await;
    let ready = site.until_ready(8).await;
    assert!(ready < MINUTE, "{ready:?}");
    assert_eq!(increases(&site.yard.calls(), "ng"), ["3", "1"]);
}

#[tokio::test(start_paused = true)]
async fn failed_machines_that_never_go_do_not_keep_other_groups_from_growing() {
    let site = Site::start().await;
    site.yard.group("fit", (0, 10), "1").await;
    site.yard.group("large", (0, 10), "4").await;
    site.yard.behave(|manner| {
        manner.sold_out = Some("fit");
        manner.keeps = Some("fit");
    });
    let _autoscaler = start(&site);
    site.deploy(2, "450m").await;
    let ready = site.until_ready(2).await;
    assert!(ready < MINUTE, "{ready:?}");
    site.yard.calls();
    site.pass(10 * MINUTE).await;
    // They are given back once a minute, not at every look.
    let calls = site.yard.calls();
    let given_back = calls.iter().filter(|call| call.contains("delete fit"));
    assert!((5..=11).contains(&given_back.count()), "{calls:?}");
    site.until_ready(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_whose_code_fails_has_refused() {
    let site = Site::start().await;
    site.yard.group("fit", (0, 10), "1").await;
    site.yard.group("large", (0, 10), "4").await;
    site.yard
        .behave(|manner| manner.panics = Some("increase fit"));
    let _autoscaler = start(&site);
    site.deploy(2, "450m").await;
    let ready = site.until_ready(2).await;
    assert!(ready < MINUTE, "{ready:?}");
    let calls = site.yard.calls();
    assert_eq!(increases(&calls, "fit"), ["1"], "{calls:?}");
    assert_eq!(increases(&calls, "large"), ["1"], "{calls:?}");
    // A look that breaks off is made anew.
    site.yard.behave(|manner| manner.panics = Some("groups"));
    site.pass(MINUTE).await;
    site.yard.behave(|manner| manner.panics = None);
    site.scale(10).await;
    site.until_ready(10).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_says_of_new_machines_counts_more_than_the_last_ones() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    let _autoscaler = start(&site);
    site.deploy(2, "450m").await;
    site.until_ready(2).await;
    // A node is an example once it has been ready for a minute.
    site.pass(2 * MINUTE).await;
    site.scale(0).await;
    site.until_nodes(0).await;
    site.yard.reshape("ng", "4");
    let containers = json!([{"name": "c", "image": "i", "resources": {"requests": {"cpu": "3"}}}]);
    let pods = json!({"spec": {"containers": containers}});
    let larger = json!({"spec": {"replicas": 1, "template": pods}});
    let deployments = site.rig.deployments();
    site.rig.patch(&deployments, "web", larger).await;
    let ready = site.until_ready(1).await;
    assert!(ready < MINUTE, "{ready:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_a_waiting_pod_fits_stays_until_the_pod_is_there() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    let _autoscaler = start(&site);
    // Its scheduler is slow.
    let body = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late", "namespace": "default"},
        "spec": {"schedulerName": "slow", "containers": [{"name": "c", "image": "i",
            "resources": {"requests": {"cpu": "450m"}}}]},
    });
    site.rig.create(&site.rig.pods(), body).await;
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
    let status = Patch::Merge(json!({"status": {"conditions": [condition]}}));
    let (pods, params) = (site.rig.pods(), PatchParams::default());
    let waits = pods.patch_status("late", &params, &status).await;
    waits.unwrap();
    site.until_nodes(1).await;
    site.pass(10 * MINUTE).await;
    assert_eq!(site.yard.calls(), ["increase ng by 1"]);
    pods.delete("late", &DeleteParams::default()).await.unwrap();
    site.until_nodes(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_orders_fail_is_asked_again_when_its_backoff_is_over() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    let refused = ProviderError::new(ErrorClass::QuotaExceeded, "no more than none");
    site.yard
        .behave(|manner| manner.refuses = Some(("increase", refused)));
    let mut options = options();
    // So that no look is at the very end of a window, where it would not double.
    options.pace.scan_interval = Duration::from_secs(7);
    let _autoscaler = start_set(&site, options);
    site.deploy(2, "450m").await;
    // Windows of 5 and then 10 minutes.
    site.pass(14 * MINUTE).await;
    assert_eq!(increases(&site.yard.calls(), "ng"), ["1", "1"]);
    site.yard.behave(|manner| manner.refuses = None);
    site.pass(MINUTE / 2).await;
    assert_eq!(site.yard.target("ng"), 0);
    site.until_ready(2).await;
    assert_eq!(increases(&site.yard.calls(), "ng"), ["1"]);
}
