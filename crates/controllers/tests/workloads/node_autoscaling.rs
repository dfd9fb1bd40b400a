//! Node autoscaling as a whole: pods that find no node, groups that grow and shrink, what is told.

use crate::rig::{Rig, deployment};
use crate::scheduling;
use kube::api::DynamicObject;
use plimsoll_api::exposition::{Exposition, Page};
use plimsoll_api::nodegroup::NodeProvider;
use plimsoll_controllers::nodes::{NodeAutoscaler, Options, Signals};
use plimsoll_engine::cluster::GroupOptions;
use plimsoll_sources::nodes::fleet::{GroupConfig, PaperNodes, Shape};
use plimsoll_sources::nodes::local::Local;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Groups with their sizes and millicores; a new node takes 20 s.
pub(crate) async fn provider(
    rig: &Rig,
    groups: &[(&str, (usize, usize), u64)],
) -> Arc<dyn NodeProvider> {
    let groups = groups.iter().map(|(name, sizes, cpu_milli)| {
        let shape = Shape {
            cpu_milli: *cpu_milli,
            ..Shape::default()
        };
        GroupConfig::new(name, *sizes, shape).with_boot(Duration::from_secs(20))
    });
    let machines = PaperNodes::new(rig.client.clone(), rig.clock);
    let local = Local::new(groups, Arc::new(machines));
    let existing = rig.list(&rig.cluster("nodes", "Node")).await;
    let names = existing.into_iter().filter_map(|node| node.metadata.name);
    let existing: Vec<Arc<str>> = names.map(Into::into).collect();
    local.start(&existing).await.unwrap();
    Arc::new(local)
}

/// Nodes go after a minute; nothing else holds them up.
pub(crate) fn hasty() -> Options {
    let mut options = Options {
        group: GroupOptions {
            scale_down_unneeded_time: jiff::SignedDuration::from_mins(1),
            ..GroupOptions::default()
        },
        ..Options::default()
    };
    let shrink = options.shrink.as_mut().unwrap();
    shrink.delays.after_add = jiff::SignedDuration::from_secs(30);
    options
}

pub(crate) fn start(
    rig: &Rig,
    provider: &Arc<dyn NodeProvider>,
    options: Options,
) -> (NodeAutoscaler, Signals) {
    let signals = Signals::default();
    let provider = Arc::clone(provider);
    let started = NodeAutoscaler::start(&rig.context, provider, options, signals.clone());
    (started, signals)
}

pub(crate) async fn target(provider: &Arc<dyn NodeProvider>, group: &str) -> usize {
    let groups = provider.groups().await.unwrap();
    groups.iter().find(|g| &*g.id == group).unwrap().target
}

pub(crate) async fn bound(rig: &Rig) -> usize {
    let pods = rig.list(&rig.pods()).await;
    pods.iter()
        .filter(|pod| pod.data["spec"]["nodeName"].is_string())
        .count()
}

/// A deployment `web` whose pods ask for half a core each.
pub(crate) async fn deploy(rig: &Rig, replicas: i32) {
    let mut web = deployment("a", replicas);
    web["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] =
        json!("500m");
    rig.create(&rig.deployments(), web).await;
}

pub(crate) async fn scale(rig: &Rig, replicas: i32) {
    let patch = json!({"spec": {"replicas": replicas}});
    rig.patch(&rig.deployments(), "web", patch).await;
}

/// Messages of events with this reason, in all namespaces.
pub(crate) async fn told(rig: &Rig, reason: &str) -> Vec<String> {
    let mut events = rig.list(&rig.cluster("events", "Event")).await;
    events.retain(|event| event.data["reason"] == reason);
    let text = |event: &DynamicObject| event.data["message"].as_str().unwrap().to_owned();
    let mut messages: Vec<String> = events.iter().map(text).collect();
    messages.sort();
    messages.dedup();
    messages
}

async fn status(rig: &Rig) -> Option<String> {
    let maps = rig.core("kube-system", "configmaps", "ConfigMap");
    let map = maps.get_opt("cluster-autoscaler-status").await.unwrap()?;
    map.data["data"]["status"].as_str().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn pods_without_a_node_get_nodes_within_a_second_of_their_scheduling() {
    let rig = scheduling::start().await;
    let provider = provider(&rig, &[("workers", (1, 6), 1000)]).await;
    let (autoscaler, signals) = start(&rig, &provider, hasty());
    // The first look is over.
    rig.until("the status is told", async || {
        status(&rig)
            .await
            .is_some_and(|text| text.contains("Running"))
    })
    .await;
    deploy(&rig, 9).await;
    let took = rig
        .until("the group is resized", async || {
            target(&provider, "workers").await == 5
        })
        .await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let took = rig
        .until("all pods have nodes", async || bound(&rig).await == 9)
        .await;
    assert!(took < Duration::from_secs(22), "{took:?}");
    assert_eq!(target(&provider, "workers").await, 5, "no node too many");
    let triggered = "pod triggered scale-up: [{workers 1->5 (max: 6)}]";
    assert_eq!(told(&rig, "TriggeredScaleUp").await, [triggered]);
    let set = told(&rig, "ScaledUpGroup").await;
    assert!(
        set.contains(&"Scale-up: group workers size set to 5 instead of 1 (max: 6)".to_owned()),
        "{set:?}"
    );
    let mut page = Page::default();
    signals.metrics.expose(&mut page);
    let text = page.into_text();
    for line in ["scaled_up_nodes_total 4\n", "cluster_safe_to_autoscale 1\n"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    autoscaler.stop().await;
    assert_eq!(
        status(&rig).await,
        None,
        "the status goes with the autoscaler"
    );
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_not_needed_go_down_to_the_minimum() {
    let rig = scheduling::start().await;
    let provider = provider(&rig, &[("workers", (1, 6), 1000)]).await;
    let (_autoscaler, _) = start(&rig, &provider, hasty());
    deploy(&rig, 9).await;
    // Nobody tends pods before they have a node: that would hide that they lack one.
    rig.until("all pods have nodes", async || bound(&rig).await == 9)
        .await;
    scale(&rig, 1).await;
    let nodes = rig.cluster("nodes", "Node");
    let begun = tokio::time::Instant::now();
    // A look a second: nothing here happens faster.
    while rig.count(&nodes).await > 1 {
        assert!(begun.elapsed() < Duration::from_secs(600), "nodes stay");
        rig.tend_pods().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(60), "{took:?}");
    assert!(took < Duration::from_secs(240), "{took:?}");
    assert_eq!(target(&provider, "workers").await, 1);
    assert_eq!(bound(&rig).await, 1);
    let left = rig.list(&nodes).await;
    let spec = &left[0].data["spec"];
    assert!(
        spec["taints"].as_array().is_none_or(Vec::is_empty),
        "{spec}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_no_group_helps_is_told_why() {
    let rig = scheduling::start().await;
    let groups = [("small", (0, 6), 1000), ("full", (1, 1), 4000)];
    let provider = provider(&rig, &groups).await;
    let (_autoscaler, _) = start(&rig, &provider, hasty());
    rig.create(&rig.pods(), scheduling::pod("big", "8")).await;
    let want = "pod didn't trigger scale-up: 1 Insufficient cpu, 1 max node group size reached";
    rig.until("the pod is told", async || {
        told(&rig, "NotTriggerScaleUp").await == [want]
    })
    .await;
    assert_eq!(target(&provider, "small").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_neither_forgets_timers_nor_asks_twice() {
    let rig = scheduling::start().await;
    let provider = provider(&rig, &[("workers", (0, 9), 1000)]).await;
    let (autoscaler, _) = start(&rig, &provider, hasty());
    deploy(&rig, 4).await;
    rig.until("the group is resized", async || {
        target(&provider, "workers").await == 2
    })
    .await;
    // A crash, while the machines boot.
    drop(autoscaler);
    let (_autoscaler, _) = start(&rig, &provider, hasty());
    rig.until("all pods have nodes", async || bound(&rig).await == 4)
        .await;
    assert_eq!(target(&provider, "workers").await, 2);
    let maps = rig.core("kube-system", "configmaps", "ConfigMap");
    let kept: Value = rig
        .list(&maps)
        .await
        .into_iter()
        .find(|map| map.metadata.name.as_deref() == Some("plimsoll-node-autoscaler"))
        .unwrap()
        .data;
    assert!(kept["data"]["requests"].is_string() && kept["data"]["timers"].is_string());
}
