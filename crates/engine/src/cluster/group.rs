//! Node groups: what can be resized.

use crate::placement::{NodeFacts, PodFacts, Resources};
use jiff::SignedDuration;
use std::sync::Arc;

/// The provider's name of a group.
pub type GroupId = Arc<str>;

/// A group as the provider tells it, with the options that hold for it.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupFacts {
    /// Name.
    pub id: GroupId,
    /// It is never shrunk below this many nodes.
    pub min: usize,
    /// It is never grown above this many nodes.
    pub max: usize,
    /// How many nodes the provider has been asked for.
    pub target: usize,
    /// Whether it exists at the provider; one that does not is created when it is first grown.
    pub exists: bool,
    /// Options, the defaults of the flags overlaid with the group's own.
    pub options: GroupOptions,
    /// What a new node will be; `None` where nobody knows.
    pub template: Option<Arc<NodeTemplate>>,
}

/// Settings that a group may have of its own (upstream: `NodeGroupAutoscalingOptions`).
#[derive(Debug, Clone, PartialEq)]
pub struct GroupOptions {
    /// A node is a candidate for removal up to this share of requests to allocatable, 0–1.
    pub scale_down_utilization_threshold: f64,
    /// The same for nodes with GPUs, by their GPU alone.
    pub scale_down_gpu_utilization_threshold: f64,
    /// How long a ready node must be unneeded.
    pub scale_down_unneeded_time: SignedDuration,
    /// How long an unready node must be unneeded.
    pub scale_down_unready_time: SignedDuration,
    /// How long an instance may take to become a registered node.
    pub max_node_provision_time: SignedDuration,
    /// How long a registered node may take to become ready.
    pub max_node_startup_time: SignedDuration,
    /// The group has all its nodes or none.
    pub zero_or_max_node_scaling: bool,
    /// Whether pods of DaemonSets are left out of the utilization.
    pub ignore_daemonsets_utilization: bool,
}

impl Default for GroupOptions {
    /// Upstream's flag defaults (reference §16).
    fn default() -> Self {
        Self {
            scale_down_utilization_threshold: 0.5,
            scale_down_gpu_utilization_threshold: 0.5,
            scale_down_unneeded_time: SignedDuration::from_mins(10),
            scale_down_unready_time: SignedDuration::from_mins(20),
            max_node_provision_time: SignedDuration::from_mins(15),
            max_node_startup_time: SignedDuration::from_mins(15),
            zero_or_max_node_scaling: false,
            ignore_daemonsets_utilization: false,
        }
    }
}

/// Where a template comes from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TemplateSource {
    /// A ready node of the group.
    LiveNode,
    /// A node of the group that was ready once.
    Remembered,
    /// What the provider says about nodes that do not exist yet.
    Provider,
    /// A node of the group that is not ready.
    UnreadyNode,
}

/// What a new node of a group will be.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeTemplate {
    /// The node, cleaned of what belongs to one machine only.
    pub node: NodeFacts,
    /// `status.capacity`: what expanders weigh.
    pub capacity: Resources,
    /// Pods that every new node gets: of DaemonSets, and mirror pods.
    pub daemons: Vec<PodFacts>,
    /// Where it comes from.
    pub source: TemplateSource,
    /// Price of one node and hour in US dollars, where known.
    pub price_per_hour: Option<f64>,
    /// The extended resource that stands for its GPU, where it has one.
    pub gpu: Option<Arc<str>>,
}
