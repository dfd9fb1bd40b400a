//! Node autoscaling: how many nodes of which group, and which nodes are no longer needed.
//!
//! Pure decisions on [`placement::Snapshot`](crate::placement::Snapshot): what goes in is what the
//! cluster holds, what comes out is a plan with the reasons of every group, node and pod.
//!
//! Facts: reference/cluster-autoscaler.md.

mod consolidate;
mod cooldown;
mod decide;
mod deletion_budget;
mod disruption;
mod drain;
mod eligibility;
mod even;
mod explain;
mod floors;
mod group;
mod judged;
mod pending;
mod plan;
mod planner;
mod remedy;
mod removable;
mod removal;
mod residents;
mod running;
mod shrink;
mod simulate;
mod timers;
mod utilization;

pub use consolidate::{ConsolidationOptions, ConsolidationPolicy, Replacement};
pub use cooldown::{Cooldowns, Happened};
pub use deletion_budget::{Bucket, Going, Whole, buckets, crop};
pub use disruption::{Evictable, Exhausted, RemainingBudgets};
pub use drain::{
    DAEMON_SET_POD, DrainContext, DrainRule, Drainability, Judgement, SAFE_LOCAL_VOLUMES,
    SAFE_TO_EVICT, SYSTEM_NAMESPACE, drainability, is_long_terminating, is_of_daemon_set,
    judge_all,
};
pub use eligibility::{SCALE_DOWN_DISABLED, eligible, is_being_deleted, is_disabled, is_ready};
pub use explain::Answer;
pub use floors::FloorsLeft;
pub use group::{GroupFacts, GroupId, GroupOptions, NodeTemplate, TemplateSource};
pub use pending::PendingPod;
pub use plan::{
    ExpansionOption, GroupVerdict, GrowthOutcome, GrowthPlan, NoHelp, PodVerdict, Resize,
    SkipReason,
};
pub use planner::{Planner, PlannerMemory};
pub use removable::removable_at;
pub use removal::{
    Blocker, BlockerReason, KeepReason, NodeVerdict, Removal, RemovalCause, ShrinkPlan,
};
pub use residents::{PodsOnNodes, Residents};
pub use running::{ClusterNode, OwnerKind, PodOwner, Readiness, RunningPod};
pub use shrink::{
    Delays, Deletion, Deletions, DrainOptions, EvictedPod, Floor, Pace, Parallelism, ShrinkInput,
    ShrinkOptions,
};
pub use timers::Timers;
pub use utilization::{DevicePool, Ignored, Utilization, UtilizationError, utilization};
