//! Nodes that are no longer needed, and what goes wrong while they are removed.

use crate::autoscaler::{start, start_with};
use crate::requests::{Fault, Faults};
use crate::site::Site;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use rstest::rstest;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// Longer than every delay of [`start`]'s options together, with time for drains.
const A_WHILE: Duration = Duration::from_secs(600);

/// Four nodes with two pods each, of which so many are left.
async fn half_empty(left: usize) -> Site {
    let site = Site::start().await;
    site.yard.group("ng", (1, 4), "1").await;
    let first = start(&site);
    site.deploy(8, "450m").await;
    site.until_ready(8).await;
    site.until_nodes(4).await;
    first.kill().await;
    site.scale(left).await;
    site.until_ready(left).await;
    site
}

/// What must hold in the end.
async fn is_at_rest(site: &Site, nodes: usize, pods: usize) {
    site.until_nodes(nodes).await;
    site.until_ready(pods).await;
    site.until_unmarked().await;
    site.pass(A_WHILE).await;
    assert_eq!(site.marked(), [""; 0]);
    assert_eq!(site.nodes().await.len(), nodes);
    assert_eq!(site.yard.target("ng"), nodes);
}

#[tokio::test(start_paused = true)]
async fn empty_nodes_go_and_the_last_ones_stay() {
    let site = half_empty(0).await;
    let _autoscaler = start(&site);
    is_at_rest(&site, 1, 0).await;
    assert_eq!(site.longest_spared(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn drains_never_take_more_pods_than_the_budget_lets_go() {
    let site = half_empty(4).await;
    site.protect(3).await;
    site.end_in(Duration::from_secs(20));
    site.count_from_now();
    let _autoscaler = start(&site);
    is_at_rest(&site, 2, 4).await;
    assert!(site.fewest() >= 3, "{}", site.fewest());
}

#[tokio::test(start_paused = true)]
async fn pods_that_take_long_to_end_are_not_awaited_beside_their_replacements() {
    let site = half_empty(4).await;
    site.yard.calls();
    site.end_in(Duration::from_secs(45));
    let _autoscaler = start(&site);
    is_at_rest(&site, 2, 4).await;
    let calls = site.yard.calls();
    let ordered = calls.iter().any(|call| call.contains("increase"));
    assert!(!ordered, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_lets_nothing_go_keeps_every_node() {
    let site = half_empty(4).await;
    let nodes = site.nodes().await;
    site.protect(4).await;
    site.count_from_now();
    let _autoscaler = start(&site);
    site.pass(2 * A_WHILE).await;
    // Nodes that happened to be empty may go.
    assert!(site.nodes().await.len() >= 2, "{nodes:?}");
    assert_eq!(site.fewest(), 4);
    assert_eq!(site.marked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_deleted_is_usable_again() {
    let site = half_empty(2).await;
    let refused = ProviderError::new(ErrorClass::Other, "the machine is locked");
    site.yard
        .behave(|manner| manner.refuses = Some(("delete", refused)));
    let _autoscaler = start(&site);
    site.until_marked().await;
    let spared = site.until_unmarked().await;
    assert!(spared < 5 * MINUTE, "{spared:?}");
    assert_eq!(site.nodes().await.len(), 4);
    site.until_ready(2).await;
    assert!(!site.told("ScaleDownFailed").await.is_empty());
    site.yard.behave(|manner| manner.refuses = None);
    is_at_rest(&site, 1, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_while_it_is_drained_leaves_nothing_behind() {
    let site = half_empty(4).await;
    site.protect(2).await;
    site.end_in(Duration::from_secs(25));
    let _autoscaler = start(&site);
    let dying = site.until_marked().await;
    site.yard.break_down(&dying).await;
    site.pass(MINUTE).await;
    site.yard.vanish(&dying).await;
    site.end_in(Duration::ZERO);
    is_at_rest(&site, 2, 4).await;
    assert!(!site.nodes().await.contains(&dying));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_breaks_while_it_is_drained_and_stays_does_not_stay_marked() {
    let site = half_empty(4).await;
    site.end_in(Duration::from_secs(25));
    let _autoscaler = start(&site);
    let dying = site.until_marked().await;
    site.yard.break_down(&dying).await;
    site.pass(2 * A_WHILE).await;
    let marked = site.marked();
    assert!(marked.is_empty(), "{marked:?}");
    site.until_ready(4).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_middle_of_a_drain_leaves_no_node_marked() {
    let site = half_empty(4).await;
    site.protect(3).await;
    site.end_in(Duration::from_secs(25));
    site.count_from_now();
    let first = start(&site);
    site.until_marked().await;
    first.kill().await;
    let second = start(&site);
    site.pass(Duration::from_secs(5)).await;
    // And once more, wherever it is now.
    second.kill().await;
    let _third = start(&site);
    is_at_rest(&site, 2, 4).await;
    assert!(site.fewest() >= 3, "{}", site.fewest());
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_the_need_gone_leaves_no_node_marked() {
    let site = half_empty(4).await;
    site.end_in(Duration::from_secs(25));
    let first = start(&site);
    site.until_marked().await;
    first.kill().await;
    // All room is needed again.
    site.scale(8).await;
    let _second = start(&site);
    site.end_in(Duration::ZERO);
    is_at_rest(&site, 4, 8).await;
}

#[rstest]
#[case::are_refused(Fault::Answer(500, "{}".into()))]
#[case::are_not_answered(Fault::Silence)]
#[case::break_off(Fault::Reset)]
#[tokio::test(start_paused = true)]
async fn evictions_that_fail_give_the_node_back(#[case] fault: Fault) {
    let site = half_empty(4).await;
    let faults = Faults::none();
    faults.set(move |method, uri| {
        let evicts = method == "POST" && uri.contains("/eviction");
        evicts.then(|| fault.clone())
    });
    site.count_from_now();
    let _autoscaler = start_with(&site, faults.client(site.rig.client.clone()));
    site.until_marked().await;
    let spared = site.until_unmarked().await;
    assert!(spared < 6 * MINUTE, "{spared:?}");
    assert_eq!(site.fewest(), 4);
    faults.set(|_, _| None);
    is_at_rest(&site, 2, 4).await;
}

#[tokio::test(start_paused = true)]
async fn taints_that_cannot_be_removed_at_once_are_removed_later() {
    let site = half_empty(4).await;
    let faults = Faults::none();
    let refused = ProviderError::new(ErrorClass::Other, "the machine is locked");
    site.yard
        .behave(|manner| manner.refuses = Some(("delete", refused)));
    let _autoscaler = start_with(&site, faults.client(site.rig.client.clone()));
    site.until_marked().await;
    faults.set(|method, uri| {
        let writes = method != "GET" && uri.contains("/nodes/");
        writes.then_some(Fault::Reset)
    });
    site.pass(10 * MINUTE).await;
    faults.set(|_, _| None);
    site.yard.behave(|manner| manner.refuses = None);
    is_at_rest(&site, 2, 4).await;
}
