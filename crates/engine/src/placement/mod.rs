//! Where a pod fits: one implementation of the scheduler's rules, for the scheduler and for
//! node autoscaling.
//!
//! [`Snapshot`] holds the nodes with what runs on them and is changed pod by pod. [`decide`] filters
//! and scores all nodes for one pod and returns the choice, or the reasons of all nodes;
//! [`preempt`] then says whom to remove. What-ifs are [`Snapshot::fork`]s.
//!
//! ```
//! use plimsoll_engine::placement::{NodeFacts, PodFacts, PodSpec, Resources, Snapshot, decide};
//!
//! let mut snapshot = Snapshot::default();
//! snapshot.set_node(NodeFacts {
//!     name: "n1".into(),
//!     allocatable: Resources::of(1000, 1 << 30),
//!     max_pods: 110,
//!     ..NodeFacts::default()
//! });
//! let spec = PodSpec { requests: Resources::of(250, 64 << 20), ..PodSpec::default() };
//! let pod = PodFacts::new("default", "web-1", spec);
//! assert_eq!(decide(&mut snapshot, &pod, 0).node(), Some("n1"));
//! snapshot.place("n1", pod);
//! ```
//!
//! ```text
//! events ─▶ Snapshot ─┬─▶ Neighbours: shapes of pods, counters by node and place
//!                     ├─▶ Rankings: what each node is to pods of one shape, by itself
//!                     └─▶ Changes: which nodes a ranking has to look at again
//! decide: ranking + rules about other pods ─▶ fitting nodes ─▶ scores ─▶ choice
//! ```
//!
//! Facts: reference/embedded-cluster.md §16 (plugins, weights, reason strings).

mod affinity;
mod asked;
mod company;
mod counter;
mod decision;
mod devices;
mod explain;
mod filters;
mod fit;
mod fork;
mod message;
mod neighbours;
mod node;
mod pod;
mod pod_affinity;
mod preempt;
mod profile;
mod ranking;
mod refusal;
mod resources;
mod rules;
mod scores;
mod selector;
mod set;
mod shape;
mod snapshot;
mod spread;
mod taints;
mod topology;
mod volumes;

pub use affinity::{NodeAffinity, NodeTerm, PreferredTerm};
pub use asked::NodePlace;
pub use company::{Company, Relations};
pub use decision::{Choice, Decision, Failure, RefusedNodes, decide};
pub use devices::{
    AllottedDevice, Amount, Attribute, ConstraintKind, DeviceAllocation, DeviceClaimFacts,
    DeviceClassFacts, DeviceConstraint, DeviceFacts, DeviceOption, DeviceRequest, DeviceRequests,
    DeviceWish, PoolFacts, PoolReach, PoolUse, QualifiedName,
};
pub use explain::{Explanation, NodeReport, Obstacle, Remedy, ScoreSheet, Shortage, explain};
pub use fit::RoomSearch;
pub use node::{NodeFacts, NodeState};
pub use pod::{HostPort, PodFacts, PodKey, PodSpec, PreemptionPolicy};
pub use pod_affinity::{PodAffinity, PodTerm, WeightedPodTerm};
pub use preempt::{BudgetFacts, Hopeless, NoPreemption, Plan, Preemption, Victim, preempt};
pub use profile::{Profile, ScoringStrategy, Weights};
pub use refusal::{Refusal, Refused};
pub use resources::Resources;
pub use selector::{LabelSelector, Operator, Requirement};
pub use set::NodeSet;
pub use snapshot::{Snapshot, Version};
pub use spread::{HOSTNAME as HOSTNAME_LABEL, Inclusion, SpreadConstraint, WhenUnsatisfiable};
pub use taints::{Effect, Taint, Toleration, TolerationOperator};
pub use volumes::{ClaimFacts, ClaimKey, ClaimPhase, ClassFacts, READ_WRITE_ONCE_POD, VolumeFacts};
