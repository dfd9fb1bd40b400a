//! Settings of node autoscaling: upstream's flags with upstream's defaults (reference §16), and a
//! few of our own.

use super::actuation;
use super::asking::Adviser;
use super::expanders::ExpanderName;
use jiff::SignedDuration;
use plimsoll_engine::cluster::{
    BackoffOptions, GroupOptions, GrowthOptions, HealthOptions, ProvisioningTimes, ShrinkOptions,
    TaintRules,
};
use std::time::Duration;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// When to look.
    pub pace: Pace,
    /// How one of several groups is chosen (`--expander`); each narrows the choice of the one before.
    pub expanders: Vec<ExpanderName>,
    /// Who is asked for `--expander=grpc`; without, that one keeps all options.
    pub adviser: Option<Adviser>,
    /// Which nodes to add; its expanders are made of the above anew for each look.
    pub growth: GrowthOptions,
    /// Which nodes to remove; `None` = none ever (`--scale-down-enabled=false`).
    pub shrink: Option<ShrinkOptions>,
    /// How removal is carried out.
    pub actuation: actuation::Settings,
    /// How long groups that failed to grow are left alone.
    pub backoff: BackoffOptions,
    /// When the cluster and its groups count as healthy.
    pub health: HealthOptions,
    /// What holds for groups that have no such option of their own.
    pub group: GroupOptions,
    /// What nodes to come are expected to be like.
    pub templates: TemplateOptions,
    /// What to do with instances that are none of the above.
    pub repair: RepairOptions,
    /// What is told, and where.
    pub report: ReportOptions,
    /// Ask for nodes for replicas that workloads want and that have no pod yet, and for those that
    /// autoscalers of this process want and may not write yet (opt-in).
    ///
    /// Departs: upstream's `--enable-proactive-scaleup` waits for the controllers' status, and knows
    /// nothing of autoscalers.
    pub intended: Option<IntendedOptions>,
    /// What to do about `CapacityBuffer`s; `None` = they are not even read.
    pub buffers: Option<BufferOptions>,
    /// Heed `CapacityQuota`s (`--capacity-quotas-enabled`); otherwise they are not even read.
    pub capacity_quotas: bool,
    /// What to do about `ProvisioningRequest`s; `None` = they are not even read.
    pub provisioning: Option<ProvisioningOptions>,
    /// Decide and tell, but change nothing.
    pub observe_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pace: Pace::default(),
            expanders: vec![ExpanderName::LeastWaste],
            adviser: None,
            growth: GrowthOptions::default(),
            shrink: Some(ShrinkOptions::default()),
            actuation: actuation::Settings::default(),
            backoff: BackoffOptions::default(),
            health: HealthOptions::default(),
            group: GroupOptions::default(),
            templates: TemplateOptions::default(),
            repair: RepairOptions::default(),
            report: ReportOptions::default(),
            intended: None,
            buffers: None,
            capacity_quotas: false,
            provisioning: None,
            observe_only: false,
        }
    }
}

/// When to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The longest time between two looks (`--scan-interval`).
    pub scan_interval: Duration,
    /// A burst of pods that find no node is over after so long without a further one.
    pub quiet: Duration,
    /// A burst is not waited for longer than this.
    pub burst: Duration,
    /// How long changes that are in no hurry (a pod ended) wait for others.
    pub calm: Duration,
    /// How long the provider may take to tell its groups, or to take an order.
    pub provider_timeout: Duration,
}

impl Default for Pace {
    /// Departs: upstream looks every 10 s, and not at pods younger than 2 s.
    fn default() -> Self {
        Self {
            scan_interval: Duration::from_secs(10),
            quiet: Duration::from_millis(200),
            burst: Duration::from_secs(1),
            calm: Duration::from_secs(1),
            provider_timeout: Duration::from_secs(120),
        }
    }
}

/// What nodes to come are expected to be like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateOptions {
    /// Which taints are not expected on new nodes.
    pub taints: TaintRules,
    /// `--force-ds`: also count pods of DaemonSets that the example node lacks.
    pub force_daemons: bool,
    /// `--scale-from-unschedulable`: a cordoned node stands for nodes that are not.
    pub from_unschedulable: bool,
}

/// What to do with instances that never become nodes, and with groups below their minimum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepairOptions {
    /// `--force-delete-unregistered-nodes`: also below the group's minimum.
    pub force_delete_unregistered: bool,
    /// `--force-delete-failed-nodes`: the same for instances that failed to be made.
    pub force_delete_failed: bool,
    /// `--enforce-node-group-min-size`: grow groups that are below their minimum.
    pub enforce_min_size: bool,
}

/// What is told, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOptions {
    /// Namespace of the ConfigMaps (upstream's `--namespace`).
    pub namespace: String,
    /// Name of the status ConfigMap (`--status-config-map-name`); `None` = none is written
    /// (`--write-status-configmap=false`).
    pub status: Option<String>,
    /// `--cluster-name`, shown in the log.
    pub cluster: String,
    /// `--emit-per-nodegroup-metrics`.
    pub per_group_metrics: bool,
    /// `--record-duplicated-events`: do not hold back an event that was told minutes ago.
    pub duplicated_events: bool,
    /// Name of the ConfigMap with what a restart must not forget; `None` = it does.
    pub memory: Option<String>,
    /// `--max-inactivity`: how long without a look the health check holds.
    pub max_inactivity: Duration,
    /// `--max-failing-time`: how long looks may fail.
    pub max_failing: Duration,
    /// `--max-startup-time`: how long the first look may take.
    pub max_startup: Duration,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            namespace: "kube-system".to_owned(),
            status: Some("cluster-autoscaler-status".to_owned()),
            cluster: String::new(),
            per_group_metrics: false,
            duplicated_events: false,
            memory: Some("plimsoll-node-autoscaler".to_owned()),
            max_inactivity: Duration::from_secs(600),
            max_failing: Duration::from_secs(900),
            max_startup: Duration::from_secs(1200),
        }
    }
}

/// Nodes for replicas that have no pod yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntendedOptions {
    /// Never more such pods at once (`--pod-injection-limit`).
    pub limit: usize,
}

impl Default for IntendedOptions {
    fn default() -> Self {
        Self { limit: 5000 }
    }
}

/// What to do about `CapacityBuffer`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferOptions {
    /// Write their status (`--capacity-buffer-controller-enabled`).
    pub resolve: bool,
    /// Hold room for them (`--capacity-buffer-pod-injection-enabled`).
    pub inject: bool,
    /// Never for more pods of all buffers together (`--pod-injection-limit`).
    pub limit: usize,
}

/// What to do about `ProvisioningRequest`s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisioningOptions {
    /// How long everything takes.
    pub times: ProvisioningTimes,
    /// How many that check capacity are answered in one look
    /// (`--check-capacity-provisioning-request-max-batch-size` with
    /// `--check-capacity-batch-processing`, else 1).
    pub batch: usize,
    /// After so long the others are left to the next look
    /// (`--check-capacity-provisioning-request-batch-timebox`).
    pub timebox: Duration,
    /// `--check-capacity-processor-instance`; empty = none.
    pub instance: String,
}

impl Default for ProvisioningOptions {
    fn default() -> Self {
        Self {
            times: ProvisioningTimes::default(),
            batch: 1,
            timebox: Duration::from_secs(10),
            instance: String::new(),
        }
    }
}

/// The options of a group: its own over those of the flags.
pub(super) fn of_group(
    defaults: &GroupOptions,
    own: &plimsoll_api::nodegroup::OptionOverrides,
) -> GroupOptions {
    let pick = |own: Option<SignedDuration>, usual| own.unwrap_or(usual);
    GroupOptions {
        scale_down_utilization_threshold: own
            .scale_down_utilization_threshold
            .unwrap_or(defaults.scale_down_utilization_threshold),
        scale_down_gpu_utilization_threshold: own
            .scale_down_gpu_utilization_threshold
            .unwrap_or(defaults.scale_down_gpu_utilization_threshold),
        scale_down_unneeded_time: pick(
            own.scale_down_unneeded_time,
            defaults.scale_down_unneeded_time,
        ),
        scale_down_unready_time: pick(
            own.scale_down_unready_time,
            defaults.scale_down_unready_time,
        ),
        max_node_provision_time: pick(
            own.max_node_provision_time,
            defaults.max_node_provision_time,
        ),
        max_node_startup_time: pick(own.max_node_startup_time, defaults.max_node_startup_time),
        zero_or_max_node_scaling: own
            .zero_or_max_node_scaling
            .unwrap_or(defaults.zero_or_max_node_scaling),
        ignore_daemonsets_utilization: own
            .ignore_daemonsets_utilization
            .unwrap_or(defaults.ignore_daemonsets_utilization),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_api::nodegroup::OptionOverrides;

    #[test]
    fn a_groups_own_options_prevail() {
        let own = OptionOverrides {
            scale_down_utilization_threshold: Some(0.7),
            scale_down_unready_time: Some(SignedDuration::from_secs(5)),
            ..OptionOverrides::default()
        };
        let usual = GroupOptions::default();
        let options = of_group(&usual, &own);
        let want = GroupOptions {
            scale_down_utilization_threshold: 0.7,
            scale_down_unready_time: SignedDuration::from_secs(5),
            ..usual
        };
        assert_eq!(options, want);
    }
}
