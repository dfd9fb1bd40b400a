//! Pods that wait, and providers that do not do what they are asked for.

use crate::autoscaler::start;
use crate::site::Site;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn sold_out() -> ProviderError {
    ProviderError {
        class: ErrorClass::OutOfResources,
        code: "SoldOut".into(),
        message: "no such machines left".into(),
    }
}

/// Calls that ask for machines of a group: for how many each.
pub(crate) fn increases(calls: &[String], group: &str) -> Vec<String> {
    let wanted = format!("increase {group} by ");
    let calls = calls.iter().filter_map(|call| call.strip_prefix(&wanted));
    calls.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn pods_that_wait_get_exactly_the_nodes_they_need_at_once() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    let _autoscaler = start(&site);
    site.deploy(6, "500m").await;
    let asked = site
        .rig
        .until("machines are asked for", async || {
            site.yard.target("ng") > 0
        })
        .await;
    assert!(asked < Duration::from_secs(2), "{asked:?}");
    site.until_ready(6).await;
    site.pass(5 * MINUTE).await;
    assert_eq!(site.yard.target("ng"), 3);
    assert_eq!(increases(&site.yard.calls(), "ng"), ["3"]);
    let told = site.told("TriggeredScaleUp").await;
    assert_eq!(told, ["pod triggered scale-up: [{ng 0->3 (max: 10)}]"; 6]);
}

#[tokio::test(start_paused = true)]
async fn the_next_node_of_a_group_with_unlike_machines_counts_for_the_least_of_them() {
    let site = Site::start().await;
    site.yard.group("ng", (1, 10), "4").await;
    site.yard.behave(|manner| manner.least_cpu = Some("2"));
    let _autoscaler = start(&site);
    site.pass(2 * MINUTE).await;
    // Four fit the node that is there; one more like it would take the rest.
    site.deploy(8, "1").await;
    let grown = site.rig.until("machines are asked for", async || {
        site.yard.target("ng") > 1
    });
    grown.await;
    assert_eq!(increases(&site.yard.calls(), "ng"), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_provider_is_not_asked_again_while_it_thinks() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    site.yard.behave(|manner| {
        manner.delay = MINUTE;
        manner.boot = 4 * MINUTE;
    });
    let _autoscaler = start(&site);
    site.deploy(6, "500m").await;
    site.until_ready(6).await;
    site.pass(5 * MINUTE).await;
    assert_eq!(site.yard.target("ng"), 3);
    assert_eq!(site.yard.most(), 3);
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_while_machines_boot_get_only_what_is_missing() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    site.yard.behave(|manner| manner.boot = 4 * MINUTE);
    let _autoscaler = start(&site);
    site.deploy(3, "500m").await;
    site.pass(MINUTE).await;
    // Two machines are on their way, with room for one more pod.
    assert_eq!(site.yard.target("ng"), 2);
    site.scale(4).await;
    site.pass(MINUTE).await;
    assert_eq!(site.yard.target("ng"), 2);
    site.scale(7).await;
    site.pass(MINUTE).await;
    assert_eq!(site.yard.target("ng"), 4);
    site.until_ready(7).await;
    site.pass(5 * MINUTE).await;
    assert_eq!(increases(&site.yard.calls(), "ng"), ["2", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_refused_waits_and_the_next_one_helps_at_once() {
    let site = Site::start().await;
    // The first is the better fit, and is tried first.
    site.yard.group("fit", (0, 10), "1").await;
    site.yard.group("large", (0, 10), "4").await;
    site.yard
        .behave(|manner| manner.refuses = Some(("increase fit", sold_out())));
    let _autoscaler = start(&site);
    site.deploy(2, "500m").await;
    let ready = site.until_ready(2).await;
    assert!(ready < Duration::from_secs(30), "{ready:?}");
    let calls = site.yard.calls();
    assert_eq!(increases(&calls, "fit"), ["1"], "{calls:?}");
    assert_eq!(increases(&calls, "large"), ["1"], "{calls:?}");
    // More pods: the refused group is left alone for five minutes.
    site.scale(10).await;
    site.pass(MINUTE).await;
    let calls = site.yard.calls();
    assert!(increases(&calls, "fit").is_empty(), "{calls:?}");
    assert_eq!(site.yard.target("fit"), 0);
    site.until_ready(10).await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_cannot_be_read_is_not_acted_upon() {
    let site = Site::start().await;
    site.yard.group("ng", (1, 10), "1").await;
    let down = ProviderError::new(ErrorClass::Unreachable, "no route to the provider");
    site.yard
        .behave(|manner| manner.refuses = Some(("groups", down)));
    let _autoscaler = start(&site);
    site.deploy(4, "500m").await;
    site.pass(10 * MINUTE).await;
    assert_eq!(site.yard.calls(), [""; 0]);
    assert_eq!(site.nodes().await.len(), 1);
    site.yard.behave(|manner| manner.refuses = None);
    site.until_ready(4).await;
    assert_eq!(site.yard.target("ng"), 2);
}

#[tokio::test(start_paused = true)]
async fn stale_sizes_do_not_lead_to_more_and_more_machines() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 100), "1").await;
    let _autoscaler = start(&site);
    site.pass(MINUTE).await;
    site.yard.freeze();
    site.deploy(6, "500m").await;
    site.pass(14 * MINUTE).await;
    assert_eq!(site.yard.target("ng"), 3, "{:?}", site.yard.calls());
    site.yard.behave(|manner| manner.stale = None);
    site.until_ready(6).await;
    site.pass(5 * MINUTE).await;
    assert_eq!(site.yard.most(), 3);
}

#[tokio::test(start_paused = true)]
async fn machines_that_are_only_claimed_do_not_hide_pods_for_good() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    site.yard.behave(|manner| manner.phantom = 2);
    let _autoscaler = start(&site);
    site.deploy(4, "500m").await;
    site.until_ready(4).await;
    site.pass(20 * MINUTE).await;
    assert_eq!(site.yard.most(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_never_becomes_a_node_is_given_up_for_another_group() {
    let site = Site::start().await;
    site.yard.group("fit", (0, 10), "1").await;
    site.yard.group("large", (0, 10), "4").await;
    site.yard.behave(|manner| manner.never_joins = Some("fit"));
    let _autoscaler = start(&site);
    site.deploy(4, "500m").await;
    site.pass(14 * MINUTE).await;
    assert_eq!(site.yard.target("fit"), 2);
    assert_eq!(site.yard.target("large"), 0);
    let took = site.until_ready(4).await;
    assert!(took < 3 * MINUTE, "{took:?}");
    site.until("the machines are deleted", async || {
        site.yard.target("fit") == 0
    })
    .await;
    assert!(site.yard.most() <= 3);
}

#[tokio::test(start_paused = true)]
async fn machines_that_turn_out_to_be_sold_out_are_replaced_from_another_group_at_once() {
    let site = Site::start().await;
    site.yard.group("fit", (0, 10), "1").await;
    site.yard.group("large", (0, 10), "4").await;
    site.yard.behave(|manner| manner.sold_out = Some("fit"));
    let _autoscaler = start(&site);
    site.deploy(4, "500m").await;
    let took = site.until_ready(4).await;
    assert!(took < MINUTE, "{took:?}");
    site.until("the places are given back", async || {
        site.yard.target("fit") == 0
    })
    .await;
    let calls = site.yard.calls();
    assert_eq!(increases(&calls, "fit"), ["2"], "{calls:?}");
    assert_eq!(increases(&calls, "large"), ["1"], "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn pods_that_no_machine_could_run_ask_for_none() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    let _autoscaler = start(&site);
    site.deploy(3, "1500m").await;
    site.pass(10 * MINUTE).await;
    assert_eq!(site.yard.calls(), [""; 0]);
    let told = site.told("NotTriggerScaleUp").await;
    assert_eq!(told, ["pod didn't trigger scale-up: 1 Insufficient cpu"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_while_machines_boot_asks_for_no_more() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    site.yard.behave(|manner| manner.boot = 4 * MINUTE);
    let first = start(&site);
    site.deploy(6, "500m").await;
    site.pass(MINUTE).await;
    assert_eq!(site.yard.target("ng"), 3);
    first.kill().await;
    let _second = start(&site);
    site.until_ready(6).await;
    site.pass(5 * MINUTE).await;
    assert_eq!(site.yard.most(), 3);
}
