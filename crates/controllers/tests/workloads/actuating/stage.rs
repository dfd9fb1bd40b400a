//! Nodes, pods and an actuator in front of a server.

use super::machines::Machines;
use crate::faults::Faults;
use crate::rig::Rig;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use plimsoll_controllers::nodes::actuation::{Actuator, Failure, Outcome, Settings};
use plimsoll_controllers::runtime::Reference;
use plimsoll_controllers::supervisor::{Context, Options};
use plimsoll_engine::cluster::{Removal, RemovalCause, ShrinkPlan};
use plimsoll_engine::placement::PodKey;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest a test waits, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(3600);
const STEP: Duration = Duration::from_millis(100);

pub(super) struct Stage {
    pub(super) rig: Rig,
    pub(super) faults: Faults,
    pub(super) machines: Arc<Machines>,
    pub(super) settings: Settings,
    pub(super) actuator: Actuator,
}

fn status_map() -> Reference {
    Reference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: "default".into(),
        name: "cluster-autoscaler-status".into(),
        uid: "".into(),
        revision: 0,
        field_path: "".into(),
    }
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(super) async fn with(settings: Settings) -> Self {
        let rig = Rig::start_with(Options {
            node_grace: None,
            ..Options::default()
        })
        .await;
        let accounts = rig.core("default", "serviceaccounts", "ServiceAccount");
        rig.until("service account", async || rig.count(&accounts).await == 1)
            .await;
        let machines = Machines::new(rig.cluster("nodes", "Node"));
        let faults = Faults::none();
        let actuator = start(&rig, &faults, &machines, &settings).await;
        Self {
            rig,
            faults,
            machines,
            settings,
            actuator,
        }
    }

    /// With these nodes.
    pub(super) async fn of(nodes: &[&str]) -> Self {
        let stage = Self::new().await;
        stage.join(nodes).await;
        stage
    }

    /// With a node `a` that pod `web` runs on.
    pub(super) async fn with_web() -> Self {
        let stage = Self::of(&["a"]).await;
        stage.run("web", "a", json!({})).await;
        stage
    }

    /// The same; the removal of the node has begun.
    pub(super) async fn draining() -> Self {
        let stage = Self::with_web().await;
        stage.start(&[], &[removal("a", &["web"])]);
        stage
    }

    /// The program dies where it is and starts anew.
    pub(super) async fn crash(&mut self) {
        let (rig, machines) = (&self.rig, &self.machines);
        self.actuator = start(rig, &self.faults, machines, &self.settings).await;
    }

    pub(super) fn nodes(&self) -> Api<DynamicObject> {
        self.rig.cluster("nodes", "Node")
    }

    /// Nodes join and work.
    pub(super) async fn join(&self, names: &[&str]) {
        for name in names {
            let body = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                "spec": {"providerID": format!("test://{name}")}});
            self.rig.create(&self.nodes(), body).await;
            self.set_ready(name, "True").await;
            self.machines.add(name);
        }
        self.until("nodes without taints", async || {
            let nodes = self.rig.list(&self.nodes()).await;
            nodes
                .iter()
                .all(|node| node.data["spec"].get("taints").is_none())
        })
        .await;
    }

    pub(super) async fn set_ready(&self, node: &str, ready: &str) {
        let patch = json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let params = PatchParams::default();
        let patch = Patch::Merge(&patch);
        self.nodes()
            .patch_status(node, &params, &patch)
            .await
            .unwrap();
    }

    /// A pod that runs on a node; `extra` is merged into it.
    pub(super) async fn run(&self, name: &str, node: &str, extra: Value) {
        let mut body = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"},
                // Nothing replaces it.
                "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}],
                "tolerations": [{"operator": "Exists"}]}});
        json_patch::merge(&mut body, &extra);
        self.rig.create(&self.rig.pods(), body).await;
        self.rig.set_ready(name, true).await;
    }

    pub(super) async fn change(&self, node: &str, patch: Value) {
        self.rig.patch(&self.nodes(), node, patch).await;
    }

    /// `spec` of a node, `null` if there is none.
    pub(super) async fn node(&self, name: &str) -> Option<DynamicObject> {
        self.nodes().get_opt(name).await.unwrap()
    }

    /// The value of the taint of a begun removal.
    pub(super) async fn mark(&self, name: &str) -> Option<String> {
        taint(&self.node(name).await?, "ToBeDeletedByClusterAutoscaler")
    }

    /// Whether nothing of a removal is left on a node that exists.
    pub(super) async fn is_free(&self, name: &str) -> bool {
        let Some(node) = self.node(name).await else {
            return false;
        };
        let notes = node.metadata.annotations.clone().unwrap_or_default();
        taint(&node, "ToBeDeletedByClusterAutoscaler").is_none()
            && node.data["spec"]["unschedulable"] != true
            && !notes.contains_key("plimsoll.dev/cordoned-for-removal")
    }

    /// Waits (in virtual time) until `check` holds; answers how long it took. Removals take
    /// minutes, so that the steps are longer than the rig's.
    pub(super) async fn until(&self, what: &str, mut check: impl AsyncFnMut() -> bool) -> Duration {
        let start = Instant::now();
        while !check().await {
            assert!(start.elapsed() < PATIENCE, "never: {what}");
            tokio::time::sleep(STEP).await;
        }
        start.elapsed()
    }

    /// Waits until a node is marked.
    pub(super) async fn until_marked(&self, node: &str) {
        self.until("marked", async || self.mark(node).await.is_some())
            .await;
    }

    /// Waits until a pod is told to leave.
    pub(super) async fn until_evicted(&self, pod: &str) {
        self.until("evicted", async || self.leaves(pod).await).await;
    }

    /// Waits until no removal is under way; node agents do their work meanwhile.
    pub(super) async fn settled(&self) -> Vec<Outcome> {
        self.until("settled", async || {
            self.rig.tend_pods().await;
            self.actuator.running().is_empty()
        })
        .await;
        self.actuator.outcomes()
    }

    /// Waits likewise, and answers why the only removal failed.
    pub(super) async fn failure(&self) -> Failure {
        let outcomes = self.settled().await;
        let [outcome] = &*outcomes else {
            panic!("one outcome and not {outcomes:?}");
        };
        outcome.result.clone().unwrap_err()
    }

    pub(super) fn start(&self, empty: &[Removal], drain: &[Removal]) {
        self.actuator.start(&ShrinkPlan {
            empty: empty.to_vec(),
            drain: drain.to_vec(),
            ..ShrinkPlan::default()
        });
    }

    /// A budget that keeps so many pods labelled `app=web`.
    pub(super) async fn protect(&self, min_available: i32) {
        let budgets = self.budgets();
        let body = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": min_available},
        });
        self.rig.create(&budgets, body).await;
        self.until("budget counted", async || {
            let budget = budgets.get("web").await.unwrap();
            budget.data["status"]["observedGeneration"] == 1
        })
        .await;
    }

    pub(super) fn budgets(&self) -> Api<DynamicObject> {
        let kind = "PodDisruptionBudget";
        self.rig
            .api("default", ("policy", "v1"), "poddisruptionbudgets", kind)
    }

    pub(super) async fn pod(&self, name: &str) -> Option<DynamicObject> {
        self.rig.pods().get_opt(name).await.unwrap()
    }

    /// Whether a pod was told to leave.
    pub(super) async fn leaves(&self, name: &str) -> bool {
        let pod = self.pod(name).await;
        pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
    }
}

async fn start(
    rig: &Rig,
    faults: &Faults,
    machines: &Arc<Machines>,
    settings: &Settings,
) -> Actuator {
    let client = faults.client(rig.client.clone());
    let context = Context::start(client, rig.clock, 9, Options::default());
    context.caches.nodes.ready().await;
    context.caches.pods.ready().await;
    let actuator = Actuator::new(&context, Arc::clone(machines) as _, settings.clone());
    actuator.tell_on(status_map());
    actuator
}

pub(super) fn taint(node: &DynamicObject, key: &str) -> Option<String> {
    let taints = node.data["spec"]["taints"].as_array()?;
    let taint = taints.iter().find(|taint| taint["key"] == key)?;
    Some(taint["value"].as_str().unwrap_or_default().to_owned())
}

/// A removal of a node from which these pods of namespace `default` have to move.
pub(super) fn removal(node: &str, pods: &[&str]) -> Removal {
    let moves = pods
        .iter()
        .map(|pod| (PodKey::new("default", pod), "x".into()));
    Removal {
        node: node.into(),
        group: "g".into(),
        moves: moves.collect(),
        daemon_pods: Vec::new(),
        utilization: 0.25,
        since: jiff::Timestamp::UNIX_EPOCH,
        cause: if pods.is_empty() {
            RemovalCause::Empty
        } else {
            RemovalCause::Underutilized
        },
        atomic: false,
    }
}

/// The same of a group that goes as a whole.
pub(super) fn whole(node: &str, pods: &[&str]) -> Removal {
    Removal {
        atomic: true,
        ..removal(node, pods)
    }
}
