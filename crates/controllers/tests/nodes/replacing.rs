//! Nodes that cheaper ones take the place of.

use crate::autoscaler::{Autoscaler, options, start_set};
use crate::growing::{increases, sold_out};
use crate::site::Site;
use jiff::SignedDuration;
use plimsoll_engine::cluster::{ConsolidationOptions, ConsolidationPolicy};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Two pods on a dear node, and a group of cheap ones that would do.
async fn dear() -> (Site, Autoscaler) {
    let site = Site::start().await;
    site.yard.group("dear", (0, 4), "4").await;
    site.yard.charge("dear", 0.4);
    let mut options = options();
    if let Some(shrink) = &mut options.shrink {
        shrink.consolidation = Some(ConsolidationOptions {
            policy: ConsolidationPolicy::AnySaving,
            after: SignedDuration::from_mins(1),
            patience: SignedDuration::from_mins(5),
            ..ConsolidationOptions::default()
        });
    }
    let autoscaler = start_set(&site, options);
    site.deploy(2, "450m").await;
    site.until_ready(2).await;
    site.protect(1).await;
    site.count_from_now();
    site.yard.group("cheap", (0, 4), "1").await;
    site.yard.charge("cheap", 0.05);
    (site, autoscaler)
}

#[tokio::test(start_paused = true)]
async fn the_new_node_comes_before_the_dear_one_goes() {
    let (site, _autoscaler) = dear().await;
    site.until("the dear node is gone", async || {
        site.yard.target("dear") == 0
    })
    .await;
    assert!(site.fewest() >= 1, "{}", site.fewest());
    site.until_ready(2).await;
    site.until_unmarked().await;
    site.pass(10 * MINUTE).await;
    assert_eq!(increases(&site.yard.calls(), "cheap"), ["1"]);
    assert_eq!(site.nodes().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_is_refused_rests_and_costs_nothing() {
    let (site, _autoscaler) = dear().await;
    site.yard
        .behave(|manner| manner.refuses = Some(("increase cheap", sold_out())));
    site.until("it is tried", async || {
        !increases(&site.yard.calls(), "cheap").is_empty()
    })
    .await;
    site.pass(4 * MINUTE).await;
    assert_eq!(increases(&site.yard.calls(), "cheap"), [""; 0]);
    assert_eq!(site.marked(), [""; 0]);
    assert_eq!(site.fewest(), 2);
    site.yard.behave(|manner| manner.refuses = None);
    site.until("the dear node is gone", async || {
        site.yard.target("dear") == 0
    })
    .await;
    site.until_ready(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_node_that_does_not_come_is_given_up() {
    let (site, _autoscaler) = dear().await;
    site.yard
        .behave(|manner| manner.never_joins = Some("cheap"));
    site.until("it is tried", async || site.yard.target("cheap") == 1)
        .await;
    site.pass(20 * MINUTE).await;
    assert_eq!(site.marked(), [""; 0]);
    assert_eq!(site.fewest(), 2);
    assert_eq!(site.yard.target("dear"), 1);
    assert!(site.yard.most() <= 3, "{}", site.yard.most());
}
