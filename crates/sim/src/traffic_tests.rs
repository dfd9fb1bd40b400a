//! How the load meets the pods, moment by moment.

use super::Traffic;
use crate::{Load, Nodes, Scenario};
use k8s_openapi::api::core::v1::Pod;
use plimsoll_clock::Clock;
use plimsoll_node::runtime::simulated::{PodKey, UsageModel};
use serde_json::json;
use std::time::Duration;

fn pod(node: &str, is_ready: bool) -> Pod {
    let status = if is_ready { "True" } else { "False" };
    let pod = json!({
        "metadata": {"name": "any"},
        "spec": {"nodeName": node, "containers": [{"name": "app", "resources": {
            "requests": {"cpu": "100m"}, "limits": {"cpu": "500m"},
        }}]},
        "status": {"conditions": [{"type": "Ready", "status": status}]},
    });
    serde_json::from_value(pod).unwrap()
}

/// Requests of 10 ms: a rate of 1/s costs 10 millicores.
fn traffic(rate: f64) -> Traffic {
    let scenario = Scenario {
        load: Load::constant(rate),
        nodes: Nodes {
            cpu_milli: 600,
            ..Nodes::default()
        },
        warm_up: Duration::ZERO,
        ..Scenario::default()
    };
    Traffic::new(&scenario, Clock::starting_at(scenario.start))
}

async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn usage(traffic: &Traffic, name: &str) -> u64 {
    let pod = PodKey {
        namespace: "default",
        name,
        node: "a",
    };
    traffic.usage(pod, "app", traffic.clock.now()).0
}

#[tokio::test(start_paused = true)]
async fn the_load_is_spread_evenly_over_the_ready_pods() {
    let traffic = traffic(40.0);
    traffic.set("one", &pod("a", true));
    traffic.set("two", &pod("b", true));
    traffic.set("three", &pod("b", false));
    after(10).await;
    let shares = ["one", "two", "three", "none"].map(|name| usage(&traffic, name));
    assert_eq!(shares, [200, 200, 0, 0]);
    let reading = traffic.read();
    assert_eq!((reading.pods, reading.ready), (3, 2));
    assert!((reading.requests - 400.0).abs() < 1e-6 && reading.unserved.abs() < 1e-6);
    assert!((reading.used / reading.requested - 2.0).abs() < 1e-6);
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_cannot_do_waits_and_then_goes_unserved() {
    // 1,000 millicores for a pod with 500: half of each second's work waits, at most 10 s of it.
    let traffic = traffic(100.0);
    traffic.set("one", &pod("a", true));
    after(8).await;
    let reading = traffic.read();
    assert!((reading.wait_seconds - 8.0).abs() < 1e-6 && reading.unserved.abs() < 1e-6);
    after(12).await;
    assert_eq!(usage(&traffic, "one"), 500);
    let reading = traffic.read();
    assert!((reading.wait_seconds - 10.0).abs() < 1e-6);
    assert!(
        (reading.unserved - 500.0).abs() < 1e-6,
        "{}",
        reading.unserved
    );
    traffic.remove("one");
    assert!((traffic.read().unserved - 500.0).abs() < 1e-6);
    after(1).await;
    let reading = traffic.read();
    assert!((reading.unserved - reading.requests).abs() < 1e-6);
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_full_node_share_it() {
    let traffic = traffic(150.0);
    for name in ["one", "two", "three"] {
        traffic.set(name, &pod("a", true));
    }
    after(5).await;
    let shares = ["one", "two", "three"].map(|name| usage(&traffic, name));
    assert_eq!(shares, [200, 200, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_has_its_own_size() {
    let traffic = traffic(150.0);
    traffic.joined("large", 8000);
    for (name, node) in [("one", "a"), ("two", "a"), ("three", "large")] {
        traffic.set(name, &pod(node, true));
    }
    after(5).await;
    // Node `a` has 600 for two pods that want 500 each; the third has its limit to itself.
    let shares = ["one", "two", "three"].map(|name| usage(&traffic, name));
    assert_eq!(shares, [300, 300, 500]);
    traffic.left("large");
    for name in ["one", "two"] {
        traffic.remove(name);
    }
    let others = ["three", "four"];
    for name in others {
        traffic.set(name, &pod("large", true));
    }
    after(5).await;
    assert_eq!(others.map(|name| usage(&traffic, name)), [300, 300]);
}

#[tokio::test(start_paused = true)]
async fn usage_counts_from_the_start_of_the_container() {
    let traffic = traffic(20.0);
    traffic.set("one", &pod("a", false));
    after(100).await;
    let one = PodKey {
        namespace: "default",
        name: "one",
        node: "a",
    };
    let delay = traffic.start_delay(one, "app");
    after(delay.as_secs()).await;
    traffic.set("one", &pod("a", true));
    after(4).await;
    assert_eq!(usage(&traffic, "one"), 200);
}
