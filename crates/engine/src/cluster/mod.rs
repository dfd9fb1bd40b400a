//! Node autoscaling: how many nodes of which group, and which nodes are no longer needed.
//!
//! Pure decisions on [`placement::Snapshot`](crate::placement::Snapshot): what goes in is what the
//! cluster holds, what comes out is a plan with the reasons of every group, node and pod.
//!
//! Facts: reference/cluster-autoscaler.md.

mod explain;
mod group;
mod pending;
mod plan;
mod removal;
mod running;

pub use explain::Answer;
pub use group::{GroupFacts, GroupId, GroupOptions, NodeTemplate, TemplateSource};
pub use pending::PendingPod;
pub use plan::{
    ExpansionOption, GroupVerdict, GrowthOutcome, GrowthPlan, NoHelp, PodVerdict, Resize,
    SkipReason,
};
pub use removal::{Blocker, BlockerReason, KeepReason, NodeVerdict, Removal, ShrinkPlan};
pub use running::{ClusterNode, OwnerKind, PodOwner, Readiness, RunningPod};
