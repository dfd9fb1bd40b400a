//! Node autoscaling: the controller around [`plimsoll_engine::cluster`].
//!
//! ```text
//! caches ──news──> World (snapshot, nodes, pods) ─┐
//! provider ──groups──> templates, health ─────────┼─> grow ──orders──> provider
//! earlier lives ──ConfigMap──> Registry ──────────┘   shrink ──────> Actuator
//!                                                      └─> status, events, series, explanations
//! ```
//!
//! A look begins when something happened that could change its outcome: at once (after a short quiet
//! window) for a pod that finds no node and for a node that comes or goes, a second later for what
//! is in no hurry, and at the latest after the scan interval. Orders to the provider run beside the
//! loop, so that one group's failure sends the pods to the next group at once.

pub mod actuation;
mod asking;
mod autoscaler;
mod buffers;
mod calls;
mod conditions;
mod config_map;
mod expanders;
mod explanation;
mod growing;
mod held;
mod intended;
mod memory;
mod metrics;
mod news;
mod observing;
mod options;
pub mod priorities;
mod provisioning;
mod pulse;
mod quotas;
mod readable;
mod registry;
mod repairing;
mod reporting;
mod shrinking;
mod status;
mod templates;
mod text;
mod told;
mod work;
mod world;

pub use asking::Adviser;
pub use autoscaler::{NodeAutoscaler, Signals};
pub use expanders::ExpanderName;
pub use explanation::{Explanations, GroupStanding, Look, explains};
pub use metrics::Metrics;
pub use options::{
    BufferOptions, IntendedOptions, Options, Pace, ProvisioningOptions, RepairOptions,
    ReportOptions, TemplateOptions,
};
pub use pulse::{Pulse, Stuck};
