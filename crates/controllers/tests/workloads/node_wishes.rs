//! Nodes for what the horizontal autoscaler wants and may not write yet.

use crate::autoscaling::{Load, autoscale, autoscaler, autoscalers, replicas};
use crate::node_autoscaling::{deploy, hasty, provider, start, target};
use crate::rig::Rig;
use crate::scheduling;
use kube::api::DeleteParams;
use plimsoll_api::local::LocalRequest;
use plimsoll_api::nodegroup::NodeProvider;
use plimsoll_controllers::horizontal::{Horizontal, Options as Horizontals};
use plimsoll_controllers::nodes::{IntendedOptions, NodeAutoscaler, Options, Signals};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Two pods a node; nodes take 20 s, and go when they have been unneeded for a minute.
struct Stage {
    rig: Rig,
    load: Load,
    provider: Arc<dyn NodeProvider>,
    horizontal: Option<Horizontal>,
    signals: Signals,
    _nodes: NodeAutoscaler,
}

/// A growth of at most four pods a minute.
fn slowly() -> Value {
    json!({"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]}})
}

/// A deployment of two pods of half a core on one node, an autoscaler that wants them half used, and
/// room for `most` pods.
async fn staged(options: Options, behavior: &Value, most: i32) -> Stage {
    let mut rig = scheduling::start().await;
    let load = Load::default();
    load.begin(&mut rig);
    let horizontal = autoscale(&rig, &load, rig.client.clone(), Horizontals::default());
    let provider = provider(&rig, &[("workers", (1, 30), 1000)]).await;
    let (nodes, signals) = start(&rig, &provider, options);
    deploy(&rig, 2).await;
    load.set(500);
    let mut hpa = autoscaler("web");
    hpa["spec"]["behavior"] = behavior.clone();
    hpa["spec"]["maxReplicas"] = json!(most);
    rig.create(&autoscalers(&rig), hpa).await;
    let stage = Stage {
        rig,
        load,
        provider,
        horizontal: Some(horizontal),
        signals,
        _nodes: nodes,
    };
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(stage.standing().await, (2, 1));
    stage
}

fn intending() -> Options {
    Options {
        intended: Some(IntendedOptions::default()),
        ..hasty()
    }
}

impl Stage {
    /// Replicas of the deployment, and the size of the group.
    async fn standing(&self) -> (i64, usize) {
        let size = target(&self.provider, "workers").await;
        (replicas(&self.rig).await, size)
    }

    /// What node agents do, for a while; answers every size the group had, in order.
    async fn pass(&self, time: Duration) -> Vec<usize> {
        let (begun, mut sizes) = (Instant::now(), Vec::new());
        while begun.elapsed() < time {
            self.tend().await;
            let now = target(&self.provider, "workers").await;
            if sizes.last() != Some(&now) {
                sizes.push(now);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        sizes
    }

    /// Pods that have a node run; those that end are gone.
    async fn tend(&self) {
        for pod in self.rig.list(&self.rig.pods()).await {
            let name = pod.metadata.name.clone().unwrap();
            let bound = pod.data["spec"]["nodeName"].is_string();
            if pod.metadata.deletion_timestamp.is_some() {
                let now = DeleteParams::default().grace_period(0);
                drop(self.rig.pods().delete(&name, &now).await);
            } else if bound && !pod.data["status"]["podIP"].is_string() {
                self.rig.set_ready(&name, true).await;
            }
        }
    }

    /// Waits until the group has as many nodes as the pods fill, which is fewer than eight.
    async fn until_tight(&self) -> Duration {
        let begun = Instant::now();
        loop {
            self.tend().await;
            let (replicas, size) = self.standing().await;
            let needed = usize::try_from(replicas).unwrap().div_ceil(2);
            if size == needed && size < 8 {
                return begun.elapsed();
            }
            let late = begun.elapsed() > Duration::from_secs(900);
            assert!(!late, "{size} nodes for {replicas} pods");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn group(&self) -> Value {
        let request = LocalRequest {
            resource: "nodegroups".into(),
            name: Some("workers".into()),
            ..LocalRequest::default()
        };
        self.signals.explanations.read(request).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_are_ordered_for_all_that_is_wanted_and_wait_for_the_pods() {
    let stage = staged(intending(), &slowly(), 40).await;
    // 4000m are 16 pods at half of half a core; four may come each minute.
    stage.load.set(4000);
    let sizes = stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.standing().await, (6, 8));
    assert!(
        sizes.len() <= 3,
        "one order or two, and none too large: {sizes:?}"
    );
    let group = stage.group().await;
    let steps = group["lastOrder"]["trace"].as_array().unwrap();
    let why = steps[0].as_str().unwrap();
    assert!(
        why.starts_with("counts 10 pods that hpa/web wants: Deployment default/web has or makes 6")
            || why.starts_with("counts 14 pods that hpa/web wants"),
        "{steps:#?}"
    );
    // The nodes are there long before the last pods are, and none goes meanwhile nor comes.
    let sizes = stage.pass(Duration::from_secs(150)).await;
    assert_eq!(sizes, [8]);
    assert_eq!(stage.standing().await, (14, 8));
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.standing().await, (16, 8));
    assert_eq!(crate::node_autoscaling::bound(&stage.rig).await, 16);
}

#[tokio::test(start_paused = true)]
async fn the_maximum_bounds_the_wish() {
    let stage = staged(intending(), &slowly(), 10).await;
    stage.load.set(4000);
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(stage.standing().await, (6, 5));
}

#[tokio::test(start_paused = true)]
async fn a_window_holds_back_pods_and_not_their_nodes() {
    let window = json!({"scaleUp": {"stabilizationWindowSeconds": 300}});
    let stage = staged(intending(), &window, 40).await;
    stage.load.set(2000);
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.standing().await, (2, 4));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_may_not_grow_needs_no_nodes() {
    let never = json!({"scaleUp": {"selectPolicy": "Disabled"}});
    let stage = staged(intending(), &never, 40).await;
    stage.load.set(4000);
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(stage.standing().await, (2, 1));
}

#[tokio::test(start_paused = true)]
async fn unless_asked_for_nothing_is_ordered_ahead() {
    let stage = staged(hasty(), &slowly(), 40).await;
    stage.load.set(4000);
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(stage.standing().await, (6, 3));
}

#[tokio::test(start_paused = true)]
async fn a_blind_autoscaler_asks_for_nothing_any_more() {
    let stage = staged(intending(), &slowly(), 40).await;
    stage.load.set(4000);
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.standing().await, (6, 8));
    // Samples count for a minute, and nodes that nobody needs stay for another one.
    *stage.load.milli.lock() = None;
    let took = stage.until_tight().await;
    assert!(took > Duration::from_secs(100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_that_is_gone_asks_for_nothing_any_more() {
    let mut stage = staged(intending(), &slowly(), 40).await;
    stage.load.set(4000);
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.standing().await, (6, 8));
    // It does not even say that it goes.
    drop(stage.horizontal.take());
    let wishes = &stage.rig.context.wishes;
    assert_eq!(wishes.in_force(stage.rig.clock.now()).len(), 1);
    stage
        .rig
        .until("its wish runs out", async || {
            wishes.in_force(stage.rig.clock.now()).is_empty()
        })
        .await;
    stage.until_tight().await;
    assert_eq!(stage.standing().await, (6, 3));
}
