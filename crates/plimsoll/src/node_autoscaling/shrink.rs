//! Flags about removing nodes.

use crate::run::duration;
use anyhow::{Context, Result};
use clap::{ArgAction, Args};
use plimsoll_controllers::nodes::actuation::{
    EvictionSettings, Settings, TaintSettings, priorities,
};
use plimsoll_engine::cluster::{
    ConsolidationOptions, ConsolidationPolicy, Delays, DrainOptions, GroupOptions, Parallelism,
    ShrinkOptions, Similarity,
};
use std::time::Duration;

/// Which nodes go, and when.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: removing nodes")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of upstream's"
)]
pub(super) struct ShrinkArgs {
    /// Remove nodes at all
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) scale_down_enabled: bool,
    /// Remove nodes that are not ready, too
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    scale_down_unready_enabled: bool,
    /// How long a node must be unneeded
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    scale_down_unneeded_time: Duration,
    /// The same for a node that is not ready
    #[arg(long, value_name = "DURATION", default_value = "20m", value_parser = duration)]
    scale_down_unready_time: Duration,
    /// A node may be unneeded up to this share of requests to what it has, 0 to 1
    #[arg(long, value_name = "RATIO", default_value_t = 0.5)]
    scale_down_utilization_threshold: f64,
    /// The same for GPUs
    #[arg(long, value_name = "RATIO", default_value_t = 0.5)]
    scale_down_gpu_utilization_threshold: f64,
    /// Leave pods of DaemonSets out of that share
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    ignore_daemonsets_utilization: bool,
    /// Leave mirrors of static pods out of it
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    ignore_mirror_pods_utilization: bool,
    /// How long a node that cannot go is not looked at again, unless something changes
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    unremovable_node_recheck_timeout: Duration,
    /// Take back timers after a restart from soft taints no older than this; 0 never
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    node_deletion_candidate_ttl: Duration,
}

/// Moves between groups, which upstream does not make.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: removing nodes")]
pub(super) struct ConsolidationArgs {
    /// Replace nodes by cheaper ones: off, balanced (if the money saved outweighs the pods disturbed)
    /// or any-saving
    #[arg(long, value_name = "POLICY", default_value = "off",
          value_parser = ["off", "balanced", "any-saving"])]
    consolidation: String,
    /// How long that must have been worth it
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    consolidate_after: Duration,
    /// Remove nodes from the largest of similar groups first
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    balance_scale_down: bool,
}

impl ConsolidationArgs {
    pub(super) fn add_to(&self, options: &mut ShrinkOptions) {
        let alike = || Similarity::default().on_aws();
        options.balance = self.balance_scale_down.then(alike);
        let usual = ConsolidationOptions::default();
        let policy = match self.consolidation.as_str() {
            "balanced" => usual.policy,
            "any-saving" => ConsolidationPolicy::AnySaving,
            _ => return,
        };
        options.consolidation = Some(ConsolidationOptions {
            policy,
            after: super::signed(self.consolidate_after),
            ..usual
        });
    }
}

/// What holds removal up.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: removing nodes")]
pub(super) struct PaceArgs {
    /// Remove nothing for this long after nodes were added
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    scale_down_delay_after_add: Duration,
    /// The same after a node was removed
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    scale_down_delay_after_delete: Duration,
    /// The same after a removal failed
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = duration)]
    scale_down_delay_after_failure: Duration,
    /// These delays hold for the group concerned only
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    scale_down_delay_type_local: bool,
    /// Most nodes being removed at once
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    max_scale_down_parallelism: usize,
    /// Most nodes being drained at once
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    max_drain_parallelism: usize,
}

/// Which pods keep their node.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: removing nodes")]
pub(super) struct DrainArgs {
    /// Keep nodes with pods of kube-system that have no disruption budget
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    skip_nodes_with_system_pods: bool,
    /// Keep nodes with pods that have data on them (hostPath, emptyDir)
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    skip_nodes_with_local_storage: bool,
    /// Keep nodes with pods of controllers that are none of Kubernetes' own
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    skip_nodes_with_custom_controller_pods: bool,
    /// Keep nodes with pods of a ReplicaSet that wants fewer replicas than this
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    min_replica_count: usize,
    /// How long a pod of kube-system may keep its node (upstream's spelling)
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    blocking_system_pod_distruption_timeout: Duration,
}

impl ShrinkArgs {
    /// What holds for groups that do not say otherwise.
    pub(super) fn group(&self, (provision, startup): (Duration, Duration)) -> GroupOptions {
        let signed = super::signed;
        GroupOptions {
            scale_down_utilization_threshold: self.scale_down_utilization_threshold,
            scale_down_gpu_utilization_threshold: self.scale_down_gpu_utilization_threshold,
            scale_down_unneeded_time: signed(self.scale_down_unneeded_time),
            scale_down_unready_time: signed(self.scale_down_unready_time),
            max_node_provision_time: signed(provision),
            max_node_startup_time: signed(startup),
            ignore_daemonsets_utilization: self.ignore_daemonsets_utilization,
            ..GroupOptions::default()
        }
    }

    pub(super) fn options(&self, pace: &PaceArgs, drain: &DrainArgs, cutoff: i32) -> ShrinkOptions {
        let signed = super::signed;
        ShrinkOptions {
            unready_enabled: self.scale_down_unready_enabled,
            ignore_mirror_pods_utilization: self.ignore_mirror_pods_utilization,
            expendable_cutoff: cutoff,
            recheck: signed(self.unremovable_node_recheck_timeout),
            candidate_ttl: signed(self.node_deletion_candidate_ttl),
            parallelism: Parallelism {
                all: pace.max_scale_down_parallelism,
                drains: pace.max_drain_parallelism,
            },
            delays: Delays {
                after_add: signed(pace.scale_down_delay_after_add),
                after_delete: signed(pace.scale_down_delay_after_delete),
                after_failure: signed(pace.scale_down_delay_after_failure),
                per_group: pace.scale_down_delay_type_local,
            },
            drain: DrainOptions {
                skip_system_pods: drain.skip_nodes_with_system_pods,
                skip_local_storage: drain.skip_nodes_with_local_storage,
                skip_custom_controllers: drain.skip_nodes_with_custom_controller_pods,
                min_replicas: drain.min_replica_count,
                system_pod_timeout: signed(drain.blocking_system_pod_distruption_timeout),
            },
            ..ShrinkOptions::default()
        }
    }
}

/// How nodes are drained and deleted.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: removing nodes")]
pub(super) struct ActuationArgs {
    /// Cordon a node before it is removed
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    cordon_node_before_terminating: bool,
    /// How long schedulers get to see the taint of a node that goes
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    node_delete_delay_after_taint: Duration,
    /// Wait twice as long as the slowest taint took to be written instead
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    dynamic_node_delete_delay_after_taint_enabled: bool,
    /// Most soft taints changed in one look; 0 for none at all
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    max_bulk_soft_taint_count: usize,
    /// How long that may take
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration)]
    max_bulk_soft_taint_time: Duration,
    /// How long annotations may hold a node's deletion up
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    node_deletion_delay_timeout: Duration,
    /// How long deletions in a group are gathered for one call of the provider
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    node_deletion_batcher_interval: Duration,
}

/// How pods are evicted.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: removing nodes")]
pub(super) struct EvictionArgs {
    /// Most seconds that evicted pods get to end
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    max_graceful_termination_sec: u64,
    /// How long evictions are tried
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    max_pod_eviction_time: Duration,
    /// In which order pods are evicted: PRIORITY:SECONDS, lowest priorities first
    #[arg(long, value_name = "PRIORITY:SECONDS,…", default_value = "")]
    drain_priority_config: String,
    /// Evict pods of DaemonSets from nodes with other pods
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    daemonset_eviction_for_occupied_nodes: bool,
    /// Evict pods of DaemonSets from nodes without others
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    daemonset_eviction_for_empty_nodes: bool,
}

impl ActuationArgs {
    pub(super) fn settings(&self, evictions: &EvictionArgs, cutoff: i32) -> Result<Settings> {
        let grace = Duration::from_secs(evictions.max_graceful_termination_sec);
        let waves = priorities::parse(&evictions.drain_priority_config, grace)
            .context("--drain-priority-config")?;
        Ok(Settings {
            taints: TaintSettings {
                cordon: self.cordon_node_before_terminating,
                delay: self.node_delete_delay_after_taint,
                dynamic_delay: self.dynamic_node_delete_delay_after_taint_enabled,
                soft_count: self.max_bulk_soft_taint_count,
                soft_time: self.max_bulk_soft_taint_time,
            },
            evictions: EvictionSettings {
                waves,
                max_time: evictions.max_pod_eviction_time,
                daemons_of_occupied: evictions.daemonset_eviction_for_occupied_nodes,
                daemons_of_empty: evictions.daemonset_eviction_for_empty_nodes,
                expendable_below: cutoff,
                ..EvictionSettings::default()
            },
            delay_timeout: self.node_deletion_delay_timeout,
            batch_interval: self.node_deletion_batcher_interval,
            ..Settings::default()
        })
    }
}
