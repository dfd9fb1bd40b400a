//! What people are told: events and log lines (reference §8, §15; the texts are upstream's).

use super::outcome::Failure;
use crate::pods::{NodeView, PodView};
use crate::runtime::{Cache, Recorder, Reference};
use parking_lot::Mutex;
use plimsoll_engine::cluster::Removal;

/// Tells events on nodes, pods and the status ConfigMap.
#[derive(Debug)]
pub(super) struct Told {
    recorder: Recorder,
    nodes: Cache<NodeView>,
    /// The status ConfigMap, where one is written.
    status: Mutex<Option<Reference>>,
}

impl Told {
    pub(super) fn new(recorder: &Recorder, nodes: &Cache<NodeView>) -> Self {
        Self {
            recorder: recorder.component("cluster-autoscaler"),
            nodes: nodes.clone(),
            status: Mutex::new(None),
        }
    }

    pub(super) fn set_status(&self, status: Reference) {
        *self.status.lock() = Some(status);
    }

    fn node(&self, name: &str) -> Option<Reference> {
        let node = self.nodes.find("", name)?;
        Some(Reference::to("v1", "Node", &node.meta))
    }

    fn on_status(&self, reason: &str, message: String) {
        tracing::info!("{message}");
        if let Some(status) = &*self.status.lock() {
            self.recorder.normal(status, reason, message);
        }
    }

    /// Something went wrong that concerns no single node.
    pub(super) fn trouble(&self, reason: &str, message: String) {
        tracing::warn!("{message}");
        if let Some(status) = &*self.status.lock() {
            self.recorder.warning(status, reason, message);
        }
    }

    /// Something went well that concerns no single node.
    pub(super) fn note(&self, reason: &str, message: String) {
        self.on_status(reason, message);
    }

    /// A removal begins.
    pub(super) fn begins(&self, removal: &Removal, drain: bool) {
        let node = &removal.node;
        if drain {
            let pods: Vec<&str> = removal.moves.iter().map(|(pod, _)| &*pod.name).collect();
            let (share, pods) = (removal.utilization, pods.join(","));
            let message = format!(
                "Scale-down: removing node {node}, utilization: {{{share:.4}}}, pods to reschedule: {pods}"
            );
            self.on_status("ScaleDown", message);
        } else {
            let message = format!("Scale-down: removing empty node {node:?}");
            self.on_status("ScaleDownEmpty", message);
        }
    }

    /// The node has its taint.
    pub(super) fn marked(&self, node: &NodeView) {
        let about = Reference::to("v1", "Node", &node.meta);
        let message = "marked the node as toBeDeleted/unschedulable".to_owned();
        self.recorder.normal(&about, "ScaleDown", message);
    }

    /// The provider agreed to remove the node.
    pub(super) fn removed(&self, node: &str, drain: bool) {
        if let Some(about) = self.node(node) {
            let message = "node removed by cluster autoscaler".to_owned();
            self.recorder.normal(&about, "ScaleDown", message);
        }
        if drain {
            self.on_status(
                "ScaleDown",
                format!("Scale-down: node {node} removed with drain"),
            );
        } else {
            self.on_status(
                "ScaleDownEmpty",
                format!("Scale-down: empty node {node} removed"),
            );
        }
    }

    /// The node stays.
    pub(super) fn failed(&self, node: &str, failure: &Failure) {
        tracing::warn!(node, "Scale-down: {failure}");
        if let Some(about) = self.node(node) {
            self.recorder
                .warning(&about, "ScaleDownFailed", failure.to_string());
        }
    }

    /// What an earlier life had begun is undone.
    pub(super) fn cleaned(&self, node: &str) {
        tracing::info!(node, "released a node that was left marked for removal");
        if let Some(about) = self.node(node) {
            let message = "marked the node as schedulable".to_owned();
            self.recorder
                .normal(&about, "ClusterAutoscalerCleanup", message);
        }
    }

    /// A pod is evicted.
    pub(super) fn evicts(&self, pod: &PodView) {
        let about = Reference::to("v1", "Pod", &pod.meta);
        let message = "deleting pod for node scale down".to_owned();
        self.recorder.normal(&about, "ScaleDown", message);
    }

    /// A pod could not be evicted.
    pub(super) fn not_evicted(&self, pod: &PodView) {
        let about = Reference::to("v1", "Pod", &pod.meta);
        let message = "failed to delete pod for ScaleDown".to_owned();
        self.recorder.warning(&about, "ScaleDownFailed", message);
    }
}
