//! Ends and new starts: what one life of the autoscaler leaves to the next.

use crate::autoscaler::{Autoscaler, options, start, start_set};
use crate::growing::{increases, sold_out};
use crate::site::Site;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// Two nodes with two pods each, of which one is left; a removal has begun.
async fn emptying() -> (Site, Autoscaler) {
    let site = Site::start().await;
    site.yard.group("ng", (1, 4), "1").await;
    let autoscaler = start(&site);
    site.deploy(4, "450m").await;
    site.until_ready(4).await;
    site.until_nodes(2).await;
    site.end_in(Duration::from_secs(25));
    site.scale(2).await;
    site.until_marked().await;
    (site, autoscaler)
}

#[tokio::test(start_paused = true)]
async fn marks_of_an_earlier_life_come_off_once_the_provider_can_be_read() {
    let (site, first) = emptying().await;
    first.kill().await;
    let down = ProviderError::new(ErrorClass::Unreachable, "no route to the provider");
    site.yard
        .behave(|manner| manner.refuses = Some(("groups", down)));
    // All room is needed again.
    site.scale(4).await;
    let _second = start(&site);
    site.pass(2 * MINUTE).await;
    assert_eq!(site.marked().len(), 1);
    site.yard.behave(|manner| manner.refuses = None);
    let unmarked = site.until_unmarked().await;
    assert!(unmarked < MINUTE, "{unmarked:?}");
    site.end_in(Duration::ZERO);
    site.until_ready(4).await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_does_not_hold_up_the_end() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 4), "1").await;
    let autoscaler = start(&site);
    site.pass(MINUTE).await;
    site.yard.behave(|manner| manner.delay = 60 * MINUTE);
    site.pass(MINUTE / 2).await;
    let began = Instant::now();
    autoscaler.stop().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_failed_is_left_alone_over_a_restart() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    site.yard
        .behave(|manner| manner.refuses = Some(("increase", sold_out())));
    let first = start(&site);
    site.deploy(2, "450m").await;
    site.pass(MINUTE).await;
    assert_eq!(increases(&site.yard.calls(), "ng"), ["1"]);
    first.kill().await;
    let _second = start(&site);
    site.pass(3 * MINUTE).await;
    assert_eq!(increases(&site.yard.calls(), "ng"), [""; 0]);
    site.yard.behave(|manner| manner.refuses = None);
    let ready = site.until_ready(2).await;
    assert!(ready < 2 * MINUTE, "{ready:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_node_was_like_is_known_over_a_restart() {
    let site = Site::start().await;
    site.yard.group("ng", (0, 10), "1").await;
    let first = start(&site);
    site.deploy(2, "450m").await;
    site.until_ready(2).await;
    // A node is an example once it has been ready for a minute.
    site.pass(2 * MINUTE).await;
    site.scale(0).await;
    site.until_nodes(0).await;
    first.kill().await;
    site.yard.behave(|manner| manner.secretive = true);
    let _second = start(&site);
    site.scale(4).await;
    let ready = site.until_ready(4).await;
    assert!(ready < MINUTE, "{ready:?}");
    assert_eq!(site.nodes().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_judged_before_its_drain_by_the_rules_it_was_chosen_by() {
    let site = Site::start().await;
    site.yard.group("ng", (1, 4), "1").await;
    let mut options = options();
    if let Some(shrink) = &mut options.shrink {
        shrink.drain.skip_local_storage = false;
    }
    let _autoscaler = start_set(&site, options);
    let volumes = json!({"volumes": [{"name": "cache", "emptyDir": {}}]});
    site.deploy_like(3, "450m", &volumes).await;
    site.until_ready(3).await;
    assert_eq!(site.nodes().await.len(), 2);
    // One of the two that share a node goes: each node is left with one.
    site.scale(2).await;
    site.until_nodes(1).await;
    site.until_ready(2).await;
    assert_eq!(site.told("ScaleDownFailed").await, [""; 0]);
}
