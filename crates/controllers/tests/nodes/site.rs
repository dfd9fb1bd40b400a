//! A cluster on machines of a [`Yard`], and what must hold there whatever goes wrong.

use crate::rig::Rig;
use crate::yard::Yard;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use plimsoll_controllers::facts::TO_BE_DELETED;
use plimsoll_controllers::pods::{Caches, NodeView, PodView};
use plimsoll_controllers::scheduler;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest a test waits, in virtual time.
const PATIENCE: Duration = Duration::from_secs(2400);
/// How often the stand-in of the node agents looks.
const TICK: Duration = Duration::from_millis(500);

/// What was seen, tick by tick.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Fewest ready pods since [`Site::count_from_now`].
    fewest: Option<usize>,
    counting: bool,
    /// Nodes that are tainted or cordoned, since when.
    marked: BTreeMap<String, Instant>,
    /// The longest a node was marked and then was not any more, though it stayed.
    longest_spared: Duration,
}

/// A cluster with a scheduler, whose nodes are machines of a yard.
pub(crate) struct Site {
    pub(crate) rig: Rig,
    pub(crate) yard: Yard,
    seen: Arc<Mutex<Seen>>,
    grace: Arc<Mutex<Duration>>,
}

/// Runs pods on working machines, and looks at what must hold.
struct Kubelets {
    /// Twice a second for hours: what there is comes from caches, not from lists.
    caches: Caches,
    pods: Api<DynamicObject>,
    yard: Yard,
    clock: Clock,
    seen: Arc<Mutex<Seen>>,
    grace: Arc<Mutex<Duration>>,
    ending: BTreeMap<String, Instant>,
    started: u16,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let mut rig = Rig::start().await;
        let context = rig.context.clone();
        drop(rig.tasks.spawn(scheduler::control(context)));
        let yard = Yard::new(rig.client.clone());
        let (seen, grace) = (Arc::default(), Arc::new(Mutex::new(Duration::ZERO)));
        let kubelets = Kubelets {
            caches: rig.context.caches.clone(),
            pods: rig.pods(),
            yard: yard.clone(),
            clock: rig.clock,
            seen: Arc::clone(&seen),
            grace: Arc::clone(&grace),
            ending: BTreeMap::new(),
            started: 0,
        };
        drop(rig.tasks.spawn(kubelets.work()));
        let accounts = rig.core("default", "serviceaccounts", "ServiceAccount");
        rig.until("service account", async || rig.count(&accounts).await == 1)
            .await;
        Self {
            rig,
            yard,
            seen,
            grace,
        }
    }

    /// Pods take this long to end from now on.
    pub(crate) fn end_in(&self, grace: Duration) {
        *self.grace.lock() = grace;
    }

    /// A deployment `web` whose pods ask for `cpu`.
    pub(crate) async fn deploy(&self, replicas: usize, cpu: &str) {
        self.deploy_like(replicas, cpu, &json!({})).await;
    }

    /// The same; `extra` is merged into the spec of its pods.
    pub(crate) async fn deploy_like(&self, replicas: usize, cpu: &str, extra: &Value) {
        let mut body = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i",
                    "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}]}}},
        });
        json_patch::merge(&mut body["spec"]["template"]["spec"], extra);
        self.rig.create(&self.rig.deployments(), body).await;
    }

    pub(crate) async fn scale(&self, replicas: usize) {
        let patch = json!({"spec": {"replicas": replicas}});
        self.rig.patch(&self.rig.deployments(), "web", patch).await;
    }

    /// A budget for `web`.
    pub(crate) async fn protect(&self, min_available: usize) {
        let budgets = self.rig.api(
            "default",
            ("policy", "v1"),
            "poddisruptionbudgets",
            "PodDisruptionBudget",
        );
        let body = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": "web"}}},
        });
        self.rig.create(&budgets, body).await;
        self.rig
            .until("the budget is counted", async || {
                let budget = budgets.get("web").await.unwrap();
                budget.data["status"]["observedGeneration"].as_i64() == Some(1)
            })
            .await;
    }

    /// Waits until so many pods of `web` are ready on machines that work; returns how long.
    pub(crate) async fn until_ready(&self, count: usize) -> Duration {
        let what = format!("{count} pods are ready");
        self.until(&what, async || self.ready() == count).await
    }

    fn ready(&self) -> usize {
        let pods = self.rig.context.caches.pods.list(Some("default"));
        pods.iter().filter(|pod| serves(pod, &self.yard)).count()
    }

    /// Names of all nodes.
    pub(crate) async fn nodes(&self) -> Vec<String> {
        let nodes = self.rig.list(&self.rig.cluster("nodes", "Node")).await;
        nodes
            .into_iter()
            .filter_map(|node| node.metadata.name)
            .collect()
    }

    /// Waits until there are so many nodes; returns how long.
    pub(crate) async fn until_nodes(&self, count: usize) -> Duration {
        let what = format!("{count} nodes");
        self.until(&what, async || self.nodes().await.len() == count)
            .await
    }

    /// Waits until `check` holds, with a look every tick; returns how long it took. Waits are long
    /// here: looking more often would be most of the work.
    pub(crate) async fn until(&self, what: &str, mut check: impl AsyncFnMut() -> bool) -> Duration {
        let start = Instant::now();
        while !check().await {
            assert!(start.elapsed() < PATIENCE, "never: {what}, {:?}", self.yard);
            tokio::time::sleep(TICK).await;
        }
        start.elapsed()
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Pods count from now on.
    pub(crate) fn count_from_now(&self) {
        let mut seen = self.seen.lock();
        seen.counting = true;
        seen.fewest = None;
    }

    /// Fewest ready pods there were since.
    pub(crate) fn fewest(&self) -> usize {
        self.seen.lock().fewest.unwrap()
    }

    /// Nodes that are marked now.
    pub(crate) fn marked(&self) -> Vec<String> {
        self.seen.lock().marked.keys().cloned().collect()
    }

    /// The longest a node that stayed was marked in vain.
    pub(crate) fn longest_spared(&self) -> Duration {
        self.seen.lock().longest_spared
    }

    /// Waits until one node is marked; returns its name.
    pub(crate) async fn until_marked(&self) -> String {
        self.until("a node is marked", async || !self.marked().is_empty())
            .await;
        self.marked().remove(0)
    }

    /// Waits until no node is marked.
    pub(crate) async fn until_unmarked(&self) -> Duration {
        self.until("no node is marked", async || self.marked().is_empty())
            .await
    }

    /// Messages of the events of one reason, in any namespace.
    pub(crate) async fn told(&self, reason: &str) -> Vec<String> {
        let events = self.rig.cluster("events", "Event");
        let mut events = self.rig.list(&events).await;
        events.retain(|event| event.data["reason"] == reason);
        let text = |event: &DynamicObject| event.data["message"].as_str().map(str::to_owned);
        let mut messages: Vec<String> = events.iter().filter_map(text).collect();
        messages.sort();
        messages
    }
}

/// Whether a pod is ready on a machine that works, and is not on its way out.
fn serves(pod: &PodView, yard: &Yard) -> bool {
    let is_on = |node: &Arc<str>| yard.works(node);
    pod.is_ready() && !pod.meta.is_deleting() && pod.node.as_ref().is_some_and(is_on)
}

/// Whether a node is cordoned or about to be deleted.
fn is_marked(node: &NodeView) -> bool {
    let mut taints = node.taints.iter();
    node.unschedulable || taints.any(|taint| taint.key == TO_BE_DELETED)
}

impl Kubelets {
    async fn work(mut self) {
        loop {
            tokio::time::sleep(TICK).await;
            let pods = self.caches.pods.list(Some("default"));
            for pod in &pods {
                self.tend(pod).await;
            }
            self.look(&pods, &self.caches.nodes.list(None));
        }
    }

    async fn tend(&mut self, pod: &PodView) {
        let name = pod.meta.name();
        if !self.yard.works(pod.node.as_deref().unwrap_or_default()) {
            return;
        }
        if pod.meta.is_deleting() {
            let since = *self
                .ending
                .entry(name.to_owned())
                .or_insert_with(Instant::now);
            if since.elapsed() >= *self.grace.lock() {
                let now = DeleteParams::default().grace_period(0);
                drop(self.pods.delete(name, &now).await);
                self.ending.remove(name);
            }
        } else if pod.ip.is_none() {
            self.run(name).await;
        }
    }

    async fn run(&mut self, name: &str) {
        self.started += 1;
        let now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let address = format!("10.1.{}.{}", self.started / 250, self.started % 250 + 1);
        let patch = json!({"status": {
            "phase": "Running", "podIP": address, "startTime": now,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        }});
        let patch = Patch::Merge(&patch);
        // It may have been deleted meanwhile.
        drop(
            self.pods
                .patch_status(name, &PatchParams::default(), &patch)
                .await,
        );
    }

    fn look(&self, pods: &[Arc<PodView>], nodes: &[Arc<NodeView>]) {
        let ready = pods.iter().filter(|pod| serves(pod, &self.yard)).count();
        let mut seen = self.seen.lock();
        if seen.counting {
            seen.fewest = Some(seen.fewest.map_or(ready, |fewest| fewest.min(ready)));
        }
        let mut marked = BTreeMap::new();
        for node in nodes {
            let name = node.meta.name().to_owned();
            let before = seen.marked.remove(&name);
            if is_marked(node) {
                marked.insert(name, before.unwrap_or_else(Instant::now));
            } else if let Some(since) = before {
                seen.longest_spared = seen.longest_spared.max(since.elapsed());
            }
        }
        seen.marked = marked;
    }
}
