//! What shrinking comes to.

use super::GroupId;
use super::consolidate::Replacement;
use super::utilization::Utilization;
use crate::placement::PodKey;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a pod keeps its node (upstream's names, reference §12.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockerReason {
    /// Its controller does not exist.
    ControllerNotFound,
    /// Its controller has too few replicas (`--min-replica-count`).
    MinReplicasReached,
    /// Nothing would replace it.
    NotReplicated,
    /// The annotation `safe-to-evict: "false"`.
    NotSafeToEvictAnnotation,
    /// A pod of kube-system without a disruption budget.
    UnmovableKubeSystemPod,
    /// It has data on the node.
    LocalStorageRequested,
    /// Its disruption budget allows nothing now.
    NotEnoughPdb,
    /// It asked to be left alone until it is done.
    OnCompletion,
    /// The rules could not be evaluated.
    UnexpectedError,
}

/// The pod that keeps a node, and what would lift it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// The pod.
    pub pod: PodKey,
    /// Why.
    pub reason: BlockerReason,
    /// The object, flag or annotation that decides, and what to change: one sentence.
    pub remedy: String,
}

/// Why a node stays (upstream's enum, reference §12.8).
#[derive(Debug, Clone, PartialEq)]
pub enum KeepReason {
    /// The annotation `scale-down-disabled`.
    ScaleDownDisabledAnnotation,
    /// Not ready, and `--scale-down-unready-enabled=false`.
    ScaleDownUnreadyDisabled,
    /// It belongs to no group.
    NotAutoscaled,
    /// Unneeded, but not for long enough.
    NotUnneededLongEnough {
        /// Since when.
        since: Timestamp,
        /// How long it must be.
        needed: SignedDuration,
    },
    /// Unneeded and unready, but not for long enough.
    NotUnreadyLongEnough {
        /// Since when.
        since: Timestamp,
        /// How long it must be.
        needed: SignedDuration,
    },
    /// The group is at its minimum.
    NodeGroupMinSizeReached {
        /// The minimum.
        min: usize,
    },
    /// As many deletions of the group run as may.
    NodeGroupMaxDeletionCountReached,
    /// The group goes as a whole or not at all.
    AtomicScaleDownFailed,
    /// The cluster's minimum of cores or memory, or a quota.
    MinimalResourceLimitExceeded {
        /// Which resources.
        resources: Vec<String>,
    },
    /// Its deletion is under way.
    CurrentlyBeingDeleted,
    /// Its pods request more than the threshold.
    NotUnderutilized {
        /// Share of requests, 0–1.
        utilization: f64,
        /// The threshold.
        threshold: f64,
        /// `cpu`, `memory` or the GPU's name.
        resource: Arc<str>,
    },
    /// Unneeded, and kept for another reason: a cooldown, the budget of deletions.
    NotUnneededOtherReason(String),
    /// Judged a short while ago, and nothing changed since.
    RecentlyUnremovable {
        /// The judgement.
        why: Box<KeepReason>,
        /// When it is judged again.
        until: Timestamp,
    },
    /// A pod of it would fit nowhere else.
    NoPlaceToMovePods {
        /// The pod.
        pod: PodKey,
        /// The scheduler's words.
        why: String,
    },
    /// A pod keeps it.
    BlockedByPod(Blocker),
    /// A pod keeps it until it is done.
    BlockedByOnCompletionPod(Blocker),
    /// Nothing is known of it.
    NoNodeInfo,
    /// It could not be judged.
    UnexpectedError(String),
}

/// What is thought of one node.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeVerdict {
    /// It stays.
    Kept(KeepReason),
    /// It is not needed, since then.
    Unneeded {
        /// Since when.
        since: Timestamp,
        /// Why it is not gone yet; `None` if it goes now.
        waiting: Option<KeepReason>,
    },
}

/// Why a node goes (upstream's label of `scaled_down_nodes_total`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemovalCause {
    /// Nothing has to be moved.
    Empty,
    /// Its pods fit elsewhere.
    Underutilized,
    /// It does not work.
    Unready,
    /// Something cheaper took its place.
    Replaced,
}

impl RemovalCause {
    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Underutilized => "underutilized",
            Self::Unready => "unready",
            Self::Replaced => "replaced",
        }
    }
}

/// A node that goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Removal {
    /// Node.
    pub node: Arc<str>,
    /// Its group.
    pub group: GroupId,
    /// Pods to be evicted, and the node each would fit on.
    pub moves: Vec<(PodKey, Arc<str>)>,
    /// Pods of DaemonSets on it.
    pub daemon_pods: Vec<PodKey>,
    /// Share of requests, 0–1.
    pub utilization: f64,
    /// Since when it is unneeded.
    pub since: Timestamp,
    /// Why it goes.
    pub cause: RemovalCause,
    /// The group goes as a whole: on any failure all of it stays.
    pub atomic: bool,
}

impl BlockerReason {
    /// Upstream's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ControllerNotFound => "ControllerNotFound",
            Self::MinReplicasReached => "MinReplicasReached",
            Self::NotReplicated => "NotReplicated",
            Self::NotSafeToEvictAnnotation => "NotSafeToEvictAnnotation",
            Self::UnmovableKubeSystemPod => "UnmovableKubeSystemPod",
            Self::LocalStorageRequested => "LocalStorageRequested",
            Self::NotEnoughPdb => "NotEnoughPdb",
            Self::OnCompletion => "OnCompletion",
            Self::UnexpectedError => "UnexpectedError",
        }
    }
}

impl KeepReason {
    /// Upstream's name: the label `reason` of `unremovable_nodes_count`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ScaleDownDisabledAnnotation => "ScaleDownDisabledAnnotation",
            Self::ScaleDownUnreadyDisabled => "ScaleDownUnreadyDisabled",
            Self::NotAutoscaled => "NotAutoscaled",
            Self::NotUnneededLongEnough { .. } => "NotUnneededLongEnough",
            Self::NotUnreadyLongEnough { .. } => "NotUnreadyLongEnough",
            Self::NodeGroupMinSizeReached { .. } => "NodeGroupMinSizeReached",
            Self::NodeGroupMaxDeletionCountReached => "NodeGroupMaxDeletionCountReached",
            Self::AtomicScaleDownFailed => "AtomicScaleDownFailed",
            Self::MinimalResourceLimitExceeded { .. } => "MinimalResourceLimitExceeded",
            Self::CurrentlyBeingDeleted => "CurrentlyBeingDeleted",
            Self::NotUnderutilized { .. } => "NotUnderutilized",
            Self::NotUnneededOtherReason(_) => "NotUnneededOtherReason",
            Self::RecentlyUnremovable { .. } => "RecentlyUnremovable",
            Self::NoPlaceToMovePods { .. } => "NoPlaceToMovePods",
            Self::BlockedByPod(_) => "BlockedByPod",
            Self::BlockedByOnCompletionPod(_) => "BlockedByOnCompletionPod",
            Self::NoNodeInfo => "NoNodeInfo",
            Self::UnexpectedError(_) => "UnexpectedError",
        }
    }
}

impl Removal {
    /// Whether nothing has to be moved.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }
}

/// Which nodes go now, and why the others do not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShrinkPlan {
    /// Nodes with nothing to move.
    pub empty: Vec<Removal>,
    /// Nodes to be drained.
    pub drain: Vec<Removal>,
    /// Every node that was looked at.
    pub nodes: BTreeMap<Arc<str>, NodeVerdict>,
    /// How much of each candidate is asked for.
    pub utilization: BTreeMap<Arc<str>, Utilization>,
    /// Why nothing goes now, where that holds for all nodes.
    pub cooldown: Option<String>,
    /// Groups to grow so that dearer nodes can go (consolidation only).
    pub replacements: Vec<Replacement>,
    /// What happened, one sentence a step, with the numbers.
    pub trace: Vec<String>,
}
