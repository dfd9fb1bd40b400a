//! The horizontal autoscaler on a stream of samples.

use crate::rig::{Rig, condition};
use kube::api::Api;
use kube::core::DynamicObject;
use parking_lot::Mutex;
use plimsoll_api::usage::{ContainerUsage, PodUsage, Samples};
use plimsoll_clock::Clock;
use plimsoll_controllers::horizontal::{Explanations, Horizontal, Metrics, Options, Signals};
use plimsoll_controllers::pods::Caches;
use plimsoll_controllers::runtime::Writer;
use plimsoll_controllers::supervisor::Context;
use plimsoll_sources::metrics::Pipeline;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A load in thousandths of a core, shared evenly by the ready pods and measured each second.
#[derive(Clone, Default)]
pub(crate) struct Load {
    pub(crate) milli: Arc<Mutex<Option<u64>>>,
    pub(crate) pipeline: Pipeline,
    /// What the autoscaler says.
    pub(crate) explanations: Explanations,
}

impl Load {
    pub(crate) fn set(&self, milli: u64) {
        *self.milli.lock() = Some(milli);
    }

    /// Measures from now on.
    pub(crate) fn begin(&self, rig: &mut Rig) {
        let (caches, clock) = (rig.context.caches.clone(), rig.clock);
        drop(rig.tasks.spawn(self.clone().measure(caches, clock)));
    }

    async fn measure(self, caches: Caches, clock: Clock) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let Some(milli) = *self.milli.lock() else {
                continue;
            };
            let pods = caches.pods.list(Some("default"));
            let ready: Vec<_> = pods.iter().filter(|pod| pod.is_ready()).collect();
            let share = milli * 1_000_000 / u64::try_from(ready.len().max(1)).unwrap();
            let usage = PodUsage {
                timestamp: clock.now(),
                window_ms: 1000,
                containers: [ContainerUsage {
                    name: "c".into(),
                    cpu_nano: share,
                    memory_bytes: 1 << 20,
                }]
                .into(),
            };
            let names = ready.iter().map(|pod| {
                let key = &pod.meta.key;
                (Arc::clone(&key.namespace), Arc::clone(&key.name))
            });
            self.pipeline.publish(Samples {
                pods: names.map(|name| (name, Some(usage.clone()))).collect(),
                nodes: Vec::new(),
            });
        }
    }
}

/// A cluster whose pods are measured, without an autoscaler.
pub(crate) async fn measured() -> (Rig, Load) {
    let mut rig = Rig::start().await;
    let load = Load::default();
    load.begin(&mut rig);
    (rig, load)
}

/// An autoscaler that reaches the cluster through `client`.
pub(crate) fn autoscale(
    rig: &Rig,
    load: &Load,
    client: kube::Client,
    options: Options,
) -> Horizontal {
    let signals = Signals {
        usage: load.pipeline.usage.clone(),
        rounds: load.pipeline.subscribe(),
        explanations: load.explanations.clone(),
        metrics: Metrics::default(),
    };
    let context = Context {
        writer: Writer::new(client.clone()),
        client,
        ..rig.context.clone()
    };
    Horizontal::start(&context, signals, options)
}

pub(crate) async fn start() -> (Rig, Load) {
    scaling(Rig::start().await, Options::default())
}

/// Starts the autoscaler and the load.
pub(crate) fn scaling(mut rig: Rig, options: Options) -> (Rig, Load) {
    let load = Load::default();
    let running = autoscale(&rig, &load, rig.client.clone(), options);
    drop(rig.tasks.spawn(async move {
        std::future::pending::<()>().await;
        drop(running);
    }));
    load.begin(&mut rig);
    (rig, load)
}

pub(crate) fn autoscalers(rig: &Rig) -> Api<DynamicObject> {
    let version = ("autoscaling", "v2");
    rig.api(
        "default",
        version,
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
    )
}

/// 50% of 100m, 1 to 10 replicas.
pub(crate) fn autoscaler(name: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    })
}

pub(crate) async fn replicas(rig: &Rig) -> i64 {
    let web = rig.deployments().get("web").await.unwrap();
    web.data["spec"]["replicas"].as_i64().unwrap()
}

/// Tends pods for a while; returns every size the deployment had, in order.
pub(crate) async fn sizes(rig: &Rig, time: Duration) -> Vec<i64> {
    let start = tokio::time::Instant::now();
    let mut sizes = vec![replicas(rig).await];
    while start.elapsed() < time {
        rig.tend_pods().await;
        let now = replicas(rig).await;
        if sizes.last() != Some(&now) {
            sizes.push(now);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    sizes
}

#[tokio::test(start_paused = true)]
async fn load_scales_out_holds_and_scales_in_after_the_window() {
    let (rig, load) = start().await;
    load.set(20);
    rig.deploy(1).await;
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    assert_eq!(sizes(&rig, Duration::from_secs(20)).await, [1]);

    // 190m over 50m each is 4 replicas; one at 190% of its request at most doubles at first.
    load.set(190);
    let grown = sizes(&rig, Duration::from_secs(60)).await;
    assert_eq!(grown.first(), Some(&1));
    assert_eq!(grown.last(), Some(&4));
    let hpa = autoscalers(&rig).get("web").await.unwrap();
    let (status, reason, message) = condition(&hpa, "ScalingActive");
    assert_eq!((&*status, &*reason), ("True", "ValidMetricFound"));
    assert_eq!(
        message,
        "the HPA was able to successfully calculate a replica count from cpu resource \
         utilization (percentage of request)"
    );
    let told = rig.events("SuccessfulRescale").await;
    let above = "reason: cpu resource utilization (percentage of request) above target";
    assert!(told.contains(&format!("New size: 4; {above}")), "{told:?}");

    // Within tolerance of the target: nothing moves.
    load.set(205);
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await, [4]);

    load.set(20);
    assert_eq!(sizes(&rig, Duration::from_secs(295)).await, [4]);
    let hpa = autoscalers(&rig).get("web").await.unwrap();
    assert_eq!(condition(&hpa, "AbleToScale").1, "ScaleDownStabilized");
    assert_eq!(sizes(&rig, Duration::from_secs(20)).await, [4, 1]);
    let told = rig.events("SuccessfulRescale").await;
    assert!(told.contains(&"New size: 1; reason: All metrics below target".to_owned()));
    let hpa = autoscalers(&rig).get("web").await.unwrap();
    assert_eq!(hpa.data["status"]["desiredReplicas"], 1);
}

#[tokio::test(start_paused = true)]
async fn missing_metrics_are_told_and_nothing_moves() {
    let (rig, load) = start().await;
    rig.deploy(2).await;
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    assert_eq!(sizes(&rig, Duration::from_secs(40)).await, [2]);
    let hpa = autoscalers(&rig).get("web").await.unwrap();
    let (status, reason, message) = condition(&hpa, "ScalingActive");
    assert_eq!((&*status, &*reason), ("False", "FailedGetResourceMetric"));
    assert_eq!(
        message,
        "the HPA was unable to compute the replica count: failed to get cpu utilization: \
         unable to get metrics for resource cpu: no metrics returned from resource metrics API"
    );
    load.set(80);
    sizes(&rig, Duration::from_secs(20)).await;
    let hpa = autoscalers(&rig).get("web").await.unwrap();
    assert_eq!(condition(&hpa, "ScalingActive").1, "ValidMetricFound");
}

#[tokio::test(start_paused = true)]
async fn two_autoscalers_of_one_target_hold_each_other() {
    let (rig, load) = start().await;
    load.set(500);
    rig.deploy(2).await;
    for name in ["one", "two"] {
        rig.create(&autoscalers(&rig), autoscaler(name)).await;
    }
    rig.until("ambiguous", async || {
        let hpa = autoscalers(&rig).get("one").await.unwrap();
        condition(&hpa, "ScalingActive").1 == "AmbiguousSelector"
    })
    .await;
    let hpa = autoscalers(&rig).get("one").await.unwrap();
    assert_eq!(
        condition(&hpa, "ScalingActive").2,
        "pods by selector app=web are controlled by multiple HPAs: [default/one default/two]"
    );
    autoscalers(&rig)
        .delete("two", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    let grown = sizes(&rig, Duration::from_secs(60)).await;
    assert_eq!(grown.last(), Some(&10));
}

#[tokio::test(start_paused = true)]
async fn a_missing_target_is_told() {
    let (rig, _load) = start().await;
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    rig.until("told", async || {
        let hpa = autoscalers(&rig).get("web").await.unwrap();
        condition(&hpa, "AbleToScale").1 == "FailedGetScale"
    })
    .await;
    let hpa = autoscalers(&rig).get("web").await.unwrap();
    assert_eq!(
        condition(&hpa, "AbleToScale").2,
        "the HPA controller was unable to get the target's current scale: \
         deployments.apps \"web\" not found"
    );
}
