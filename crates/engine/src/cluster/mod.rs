//! Node autoscaling: how many nodes of which group, and which nodes are no longer needed.
//!
//! Pure decisions on [`placement::Snapshot`](crate::placement::Snapshot): what goes in is what the
//! cluster holds, what comes out is a plan with the reasons of every group, node and pod.
//!
//! ```text
//! grow:  pending ─▶ filter ─▶ equivalence ─▶ fits ─▶ estimate (bins | firstfit) ─▶ expander
//!                                                      ─▶ balance ─▶ quota ─▶ GrowthPlan
//! shrink: nodes ─▶ sift ─▶ drain rules ─▶ what-if ─▶ timers ─▶ floors, budgets ─▶ ShrinkPlan
//! ```
//!
//! Facts: reference/cluster-autoscaler.md.

mod backoff;
mod balance;
mod bins;
mod buffers;
mod consolidate;
mod cooldown;
mod decide;
mod deletion_budget;
mod disruption;
mod drain;
mod eligibility;
mod equivalence;
mod estimate;
mod even;
mod expander;
mod explain;
mod filter;
mod firstfit;
mod fits;
mod floors;
mod group;
mod grow;
mod growth;
mod health;
mod judged;
mod limits;
mod order;
mod pending;
mod plan;
mod planner;
mod provision;
mod quota;
mod remedy;
mod removable;
mod removal;
mod replace;
mod residents;
mod running;
mod shrink;
mod sift;
mod similar;
mod simulate;
mod template;
#[cfg(test)]
mod testing;
mod timers;
mod upcoming;
mod utilization;
mod weigh;
mod whatif;

pub use backoff::{Backoff, BackoffOptions, BackoffWindow};
pub use balance::{Share, balanced};
pub use buffers::{BufferFacts, POD_PREFIX as BUFFER_POD_PREFIX};
pub use consolidate::{
    ConsolidationOptions, ConsolidationPolicy, Replacement, Stake, disruption_of_pod,
};
pub use cooldown::{Cooldowns, Happened};
pub use deletion_budget::{Bucket, Going, Whole, buckets, crop};
pub use disruption::{Evictable, Exhausted, RemainingBudgets};
pub use drain::{
    DAEMON_SET_POD, DrainContext, DrainRule, Drainability, Judgement, SAFE_LOCAL_VOLUMES,
    SAFE_TO_EVICT, SYSTEM_NAMESPACE, drainability, is_long_terminating, is_of_daemon_set,
    judge_all,
};
pub use eligibility::{SCALE_DOWN_DISABLED, eligible, is_being_deleted, is_disabled, is_ready};
pub use equivalence::by_controller;
pub use estimate::estimate_nodes;
pub use expander::{
    Candidate, Choice as ExpanderChoice, Context as ExpanderContext, Expander, PodPrices,
    Preference, PriceInput, Waste, choose, kept as kept_by, preferred_cpu, price_score, waste,
};
pub use explain::{Answer, in_words};
pub use filter::{asks_for_nothing, place_on_existing};
pub use floors::FloorsLeft;
pub use group::{GroupFacts, GroupId, GroupOptions, NodeTemplate, TemplateSource};
pub use grow::{allowed, cannot_grow, grow, grow_beside};
pub use growth::{GrowthInput, GrowthOptions};
pub use health::{
    ClusterHealth, GroupHealth, GrowthRequest, HealthInput, HealthOptions, NodeCounts,
    Unregistered, health,
};
pub use limits::{EstimateLimit, Threshold};
pub use order::{decreasing as decreasing_order, size as pod_size, weightiest};
pub use pending::PendingPod;
pub use plan::{
    ExpansionOption, GroupVerdict, GrowthOutcome, GrowthPlan, NoHelp, PodVerdict, Resize,
    SkipReason,
};
pub use planner::{Planner, PlannerMemory};
pub use provision::{
    BookedPod, POD_PREFIX as PROVISIONING_POD_PREFIX, Partial, PodSet, ProvisioningAnswer,
    ProvisioningAsk, ProvisioningClass, ProvisioningInput, ProvisioningParameters,
    ProvisioningTimes, RequestStage, RequestState, left_over, provision,
};
pub use quota::{
    CLUSTER_WIDE, ExceededQuota, ExceededResource, QUOTA_OBJECT, Quota, in_units as quota_amount,
};
pub use removable::removable_at;
pub use removal::{
    Blocker, BlockerReason, KeepReason, NodeVerdict, Removal, RemovalCause, ShrinkPlan,
};
pub use replace::{Replacements, UnderWay};
pub use residents::{PodsOnNodes, Residents};
pub use running::{ClusterNode, OwnerKind, PodOwner, Readiness, RunningPod};
pub use shrink::{
    Delays, Deletion, Deletions, DrainOptions, EvictedPod, Floor, Pace, Parallelism, ShrinkInput,
    ShrinkOptions,
};
pub use similar::Similarity;
pub use template::{
    LiveNode, TEMPLATE_NODE, TaintRules, best as best_template, cleaned, no_larger, of_live,
    takes_daemon, template_name,
};
pub use timers::Timers;
pub use upcoming::{is_upcoming, put_upcoming};
pub use utilization::{DevicePool, Ignored, Utilization, UtilizationError, utilization};
