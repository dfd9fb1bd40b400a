//! Pods that wait for a node.

use crate::placement::PodFacts;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// A pod that no node can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingPod {
    /// What it asks for.
    pub pod: PodFacts,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// Uid of the managing controller; `None` for a bare pod.
    pub controller: Option<Arc<str>>,
    /// Whether a DaemonSet manages it (such pods never ask for nodes).
    pub of_daemon_set: bool,
    /// `spec.priority`, where it is set: `None` is never expendable.
    pub priority: Option<i32>,
    /// The annotation `cluster-autoscaler.kubernetes.io/pod-scale-up-delay`, where it parses.
    pub scale_up_delay: Option<SignedDuration>,
    /// Hash of labels and spec without what differs between replicas (projected volumes and their
    /// mounts, hostname, env): pods with equal ones are alike to every rule.
    pub fingerprint: u64,
}
