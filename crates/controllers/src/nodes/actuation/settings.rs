//! How removal is carried out: upstream's flags (reference §16), with their defaults.

use super::priorities::{self, Wave};
use plimsoll_engine::cluster::DrainOptions;
use std::time::Duration;

/// Settings of carrying out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Taints and cordons.
    pub taints: TaintSettings,
    /// Evictions.
    pub evictions: EvictionSettings,
    /// How long annotations `delay-deletion.cluster-autoscaler.kubernetes.io/*` may hold a node
    /// back (`--node-deletion-delay-timeout`).
    pub delay_timeout: Duration,
    /// How long deletions of a group are gathered for one call of the provider
    /// (`--node-deletion-batcher-interval`). What comes within 50 ms is gathered anyway.
    pub batch_interval: Duration,
    /// How long one call of the provider may take. A call that takes longer counts as failed.
    pub provider_timeout: Duration,
    /// How long a machine may take to disappear after the provider agreed to remove it (upstream
    /// calls it `MaxCloudProviderNodeDeletionTime`). A node that is still there then is released.
    pub leave_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            taints: TaintSettings::default(),
            evictions: EvictionSettings::default(),
            delay_timeout: Duration::from_secs(120),
            batch_interval: Duration::ZERO,
            provider_timeout: Duration::from_secs(300),
            leave_timeout: Duration::from_secs(300),
        }
    }
}

/// Settings of taints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaintSettings {
    /// Whether a node that goes is cordoned (`--cordon-node-before-terminating`).
    pub cordon: bool,
    /// How long to wait after the taint, so that a scheduler that has not seen it yet can finish
    /// (`--node-delete-delay-after-taint`).
    pub delay: Duration,
    /// Whether that wait is twice the time the slowest taint took to be written instead
    /// (`--dynamic-node-delete-delay-after-taint-enabled`).
    pub dynamic_delay: bool,
    /// Soft taints set or removed in one look (`--max-bulk-soft-taint-count`); 0 switches them off.
    pub soft_count: usize,
    /// How long that may take (`--max-bulk-soft-taint-time`).
    pub soft_time: Duration,
}

impl Default for TaintSettings {
    fn default() -> Self {
        Self {
            cordon: true,
            delay: Duration::from_secs(5),
            dynamic_delay: false,
            soft_count: 10,
            soft_time: Duration::from_secs(3),
        }
    }
}

/// Settings of evictions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvictionSettings {
    /// Which pods go first, and how long each may take: see [`priorities::parse`]
    /// (`--drain-priority-config`, else `--max-graceful-termination-sec`).
    pub waves: Vec<Wave>,
    /// How long an eviction is tried again (`--max-pod-eviction-time`).
    pub max_time: Duration,
    /// Longest pause between two attempts (upstream: always 10 s; here pauses grow up to it).
    pub retry: Duration,
    /// How much longer than its grace period a pod may take to end.
    pub headroom: Duration,
    /// Whether pods of DaemonSets on nodes with other pods are evicted
    /// (`--daemonset-eviction-for-occupied-nodes`).
    pub daemons_of_occupied: bool,
    /// The same for nodes without (`--daemonset-eviction-for-empty-nodes`).
    pub daemons_of_empty: bool,
    /// Which pods must not be moved: the rules by which nodes are chosen.
    pub rules: DrainOptions,
    /// Pods of lower priority hold no node back (`--expendable-pods-priority-cutoff`).
    pub expendable_below: i32,
}

impl Default for EvictionSettings {
    fn default() -> Self {
        Self {
            waves: priorities::all_at_once(Duration::from_secs(600)),
            max_time: Duration::from_secs(120),
            retry: Duration::from_secs(10),
            headroom: Duration::from_secs(30),
            daemons_of_occupied: true,
            daemons_of_empty: false,
            rules: DrainOptions::default(),
            expendable_below: -10,
        }
    }
}
