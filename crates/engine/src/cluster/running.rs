//! Nodes and what runs on them, as removal sees them.

use super::GroupId;
use super::utilization::DevicePool;
use crate::placement::{PodFacts, Resources};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether a node works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    #[default]
    Ready,
    /// It has not become ready yet and is young enough.
    NotStarted,
    /// It does not.
    Unready,
    /// A device it should have (GPU, DRA, CSI driver) is missing.
    ResourceUnready,
    /// The provider keeps it suspended.
    Suspended,
}

/// A node, beside what placement knows of it under the same name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterNode {
    /// Name.
    pub name: Arc<str>,
    /// `spec.providerID`; empty where there is none.
    pub provider_id: Arc<str>,
    /// Its group; `None` if no provider knows it.
    pub group: Option<GroupId>,
    /// Whether it works.
    pub readiness: Readiness,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// When its `Ready` condition last changed.
    pub ready_changed: Option<Timestamp>,
    /// `status.allocatable`; a missing entry is an error where utilization needs it.
    pub allocatable: Resources,
    /// Whether `status.allocatable` names CPU and memory both.
    pub allocatable_known: bool,
    /// `status.capacity`.
    pub capacity: Resources,
    /// Annotations (all of them: delays of deletion have names of their own).
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// Since when it carries `ToBeDeletedByClusterAutoscaler`.
    pub being_deleted: Option<Timestamp>,
    /// Since when it carries `DeletionCandidateOfClusterAutoscaler`.
    pub candidate: Option<Timestamp>,
    /// The extended resource that stands for its GPU, where it has the provider's GPU label; empty
    /// where the GPU is a device of `device_pools`.
    pub gpu: Option<Arc<str>>,
    /// Pools of devices that are on this node only (dynamic resource allocation).
    pub device_pools: Vec<DevicePool>,
    /// Price of one hour in US dollars, where known.
    pub price_per_hour: Option<f64>,
}

/// Kinds that own pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// ReplicaSet.
    ReplicaSet,
    /// ReplicationController.
    ReplicationController,
    /// StatefulSet.
    StatefulSet,
    /// Job.
    Job,
    /// DaemonSet.
    DaemonSet,
    /// Anything else.
    Other,
}

/// The managing controller of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodOwner {
    /// Kind.
    pub kind: OwnerKind,
    /// Name.
    pub name: Arc<str>,
    /// Uid.
    pub uid: Arc<str>,
    /// Wanted replicas, where the controller was found and has such a number. `None` also where it
    /// does not exist: see `exists`.
    pub replicas: Option<usize>,
    /// Whether the controller exists; `None` where nobody looked.
    pub exists: Option<bool>,
}

/// A pod on a node, beside what placement knows of it under the same key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunningPod {
    /// What placement knows.
    pub pod: PodFacts,
    /// Node.
    pub node: Arc<str>,
    /// Managing controller.
    pub owner: Option<PodOwner>,
    /// Whether it is the mirror of a static pod.
    pub mirror: bool,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`, which lies the grace period after the request.
    pub deletion: Option<Timestamp>,
    /// `spec.terminationGracePeriodSeconds` (30 where unset).
    pub grace_seconds: i64,
    /// Phase Failed, or Succeeded with a restart policy other than Always.
    pub terminal: bool,
    /// Annotations.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// Names of its volumes that live on the node: hostPath, and emptyDir not in memory.
    pub local_volumes: Vec<Arc<str>>,
    /// `spec.priority`, where it is set.
    pub priority: Option<i32>,
}
