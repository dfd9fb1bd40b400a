//! Slim views of the kinds that controllers watch, and the caches they all share.
//!
//! A view keeps what some controller reads and nothing else; ten thousand pods take about ten
//! mebibytes. Parts that only the scheduler looks into stay undecoded text.

mod allocated;
mod attempt;
mod availability;
mod budget;
mod caches;
mod control;
mod namespace;
mod node;
mod node_terms;
mod pod;
mod pod_devices;
mod pod_volumes;
mod replication;
mod selector;
mod service;
mod stateful;
mod template;
mod toleration;
mod volume;
mod workload;

pub(crate) use availability::availability;
pub(crate) use control::PodControl;
pub(crate) use node_terms::node_term;
pub(crate) use pod::null_as_empty;
pub(crate) use template::{hash, sorted};
pub(crate) use toleration::{covers, tolerations, untolerated};
pub(crate) use workload::{template_labels, template_value};

pub use allocated::Allocated;
pub use attempt::{Attempt, Exit};
pub use budget::{Bound, BudgetCondition, BudgetStatus, BudgetView};
pub use caches::{Caches, label_key};
pub use namespace::{NamespaceView, ServiceAccountView};
pub use node::{ImageNames, NodeView, Taint};
pub use pod::{Condition, Container, ContainerRole, Phase, Placement, PodView, PodWire, Port};
pub use pod_devices::PodDeviceClaim;
pub use pod_volumes::PodClaim;
pub use replication::ReplicationControllerView;
pub use selector::{Requirement, Selector, SelectorError};
pub use service::{ServicePort, ServiceView, TargetPort};
pub use stateful::{
    ClaimRetention, PodManagement, Retention, StatefulSetStatus, StatefulSetView, StatefulUpdate,
};
pub use volume::{
    AccessMode, AccessModes, ClaimCondition, ClaimRef, ClaimView, ClassView, VolumeView,
};
pub use workload::{
    DeploymentStatus, DeploymentView, ReplicaSetStatus, ReplicaSetView, RollingUpdate,
    StatusCondition, Strategy,
};
