//! Flags about adding nodes.

use super::limits::{GpuLimit, Range};
use crate::run::duration;
use anyhow::Result;
use clap::{ArgAction, Args};
use plimsoll_controllers::nodes::{Adviser, BufferOptions, ExpanderName, TemplateOptions};
use plimsoll_engine::cluster::{
    BackoffOptions, CLUSTER_WIDE, Floor, GrowthOptions, HealthOptions, Quota, Similarity,
    TaintRules,
};
use plimsoll_engine::placement::LabelSelector;
use plimsoll_sources::nodes::externalgrpc::GrpcExpander;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How many nodes, and which pods they are for.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: adding nodes")]
pub(super) struct GrowthArgs {
    /// How one of several groups is chosen: random, most-pods, least-nodes, least-waste, price,
    /// priority, grpc, one after the other
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        default_value = "least-waste"
    )]
    pub(super) expander: Vec<ExpanderName>,
    /// Where the server listens that --expander=grpc asks
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "",
        hide_default_value = true
    )]
    grpc_expander_url: String,
    /// The authority that vouches for it, in PEM
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    grpc_expander_cert: String,
    /// Never add nodes for pods of a lower priority, and remove theirs without regard to them
    #[arg(
        long,
        value_name = "PRIORITY",
        default_value_t = -10,
        allow_negative_numbers = true
    )]
    pub(super) expendable_pods_priority_cutoff: i32,
    /// Add no nodes for pods younger than this
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    new_pod_scale_up_delay: Duration,
    /// Most nodes added to a group at once; 0 for any number
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_nodes_per_scaleup: usize,
    /// Add nodes to a cluster that has none
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    scale_up_from_zero: bool,
    /// Also add nodes for replicas that workloads want and that have no pods yet, and for those that
    /// autoscalers want and may not write yet
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) enable_proactive_scaleup: bool,
    /// Most such replicas at once, and most pods of CapacityBuffers
    #[arg(long, value_name = "COUNT", default_value_t = 5000)]
    pub(super) pod_injection_limit: usize,
    /// How long a group that failed to grow is left alone at first
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    initial_node_group_backoff_duration: Duration,
    /// How long at most
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    max_node_group_backoff_duration: Duration,
    /// After so long without a failure all is forgotten
    #[arg(long, value_name = "DURATION", default_value = "3h", value_parser = duration)]
    node_group_backoff_reset_timeout: Duration,
}

impl GrowthArgs {
    /// Who answers `--expander=grpc`.
    pub(super) fn adviser(&self) -> Result<Option<Adviser>> {
        if !self.expander.contains(&ExpanderName::Grpc) {
            return Ok(None);
        }
        let service =
            GrpcExpander::new(&self.grpc_expander_url, Path::new(&self.grpc_expander_cert))?;
        Ok(Some(Adviser(Arc::new(service))))
    }

    pub(super) fn backoff(&self) -> BackoffOptions {
        let signed = super::signed;
        BackoffOptions {
            initial: signed(self.initial_node_group_backoff_duration),
            max: signed(self.max_node_group_backoff_duration),
            reset_after: signed(self.node_group_backoff_reset_timeout),
        }
    }

    pub(super) fn options(&self, limits: &LimitArgs, similar: &SimilarArgs) -> GrowthOptions {
        let or_none = |count: usize| (count > 0).then_some(count);
        GrowthOptions {
            max_nodes_total: or_none(limits.max_nodes_total),
            max_nodes_per_scaleup: or_none(self.max_nodes_per_scaleup),
            expendable_below: self.expendable_pods_priority_cutoff,
            new_pod_delay: super::signed(self.new_pod_scale_up_delay),
            balance: similar.similarity(),
            quotas: limits.quotas(),
            from_zero: self.scale_up_from_zero,
            ..GrowthOptions::default()
        }
    }
}

/// Room for pods that are not there yet.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: adding nodes")]
pub(super) struct BufferArgs {
    /// Tell in the status of CapacityBuffers what they come to
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    capacity_buffer_controller_enabled: bool,
    /// Keep and add nodes for CapacityBuffers
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    capacity_buffer_pod_injection_enabled: bool,
}

impl BufferArgs {
    /// What to do about buffers, of which never more than `limit` pods count.
    pub(super) fn options(&self, limit: usize) -> Option<BufferOptions> {
        let options = BufferOptions {
            resolve: self.capacity_buffer_controller_enabled,
            inject: self.capacity_buffer_pod_injection_enabled,
            limit,
        };
        (options.resolve || options.inject).then_some(options)
    }
}

/// Limits on the whole cluster.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: limits")]
pub(super) struct LimitArgs {
    /// Never have more nodes than this in the cluster; 0 for any number
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    max_nodes_total: usize,
    /// Least and most cores in the cluster
    #[arg(long, value_name = "MIN:MAX", default_value = "0:320000")]
    cores_total: Range,
    /// Least and most memory in the cluster, in GiB
    #[arg(long, value_name = "MIN:MAX", default_value = "0:6400000")]
    memory_total: Range,
    /// Least and most GPUs of a type; may be given several times
    #[arg(long, value_name = "TYPE:MIN:MAX")]
    gpu_total: Vec<GpuLimit>,
    /// Heed CapacityQuotas: limits on nodes with certain labels
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) capacity_quotas_enabled: bool,
}

impl LimitArgs {
    fn quotas(&self) -> Vec<Quota> {
        let mut limits = BTreeMap::from([
            ("cpu".to_owned(), self.cores_total.max.saturating_mul(1000)),
            (
                "memory".to_owned(),
                self.memory_total.max.saturating_mul(1 << 30),
            ),
        ]);
        for gpu in &self.gpu_total {
            limits.insert(gpu.resource.clone(), gpu.range.max);
        }
        vec![Quota {
            id: CLUSTER_WIDE.to_owned(),
            selector: LabelSelector::default(),
            limits,
        }]
    }

    pub(super) fn floors(&self) -> Vec<Floor> {
        let gibibytes = self.memory_total.min.saturating_mul(1 << 30);
        let gpus = self.gpu_total.iter();
        let gpus = gpus.map(|gpu| (gpu.resource.as_str(), gpu.range.min));
        let all = [("cpu", self.cores_total.min), ("memory", gibibytes)];
        let least: BTreeMap<_, _> = all
            .into_iter()
            .chain(gpus)
            .filter(|(_, least)| *least > 0)
            .map(|(name, least)| (name.into(), least))
            .collect();
        if least.is_empty() {
            return Vec::new();
        }
        vec![Floor {
            name: CLUSTER_WIDE.into(),
            least,
        }]
    }
}

/// Groups among which new nodes are spread.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: adding nodes")]
pub(super) struct SimilarArgs {
    /// Spread new nodes over groups that are alike (the same machines in several zones)
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    balance_similar_node_groups: bool,
    /// A label that groups alike may differ by; may be given several times
    #[arg(long, value_name = "LABEL")]
    balancing_ignore_label: Vec<String>,
    /// Groups are alike if they have the same values of these labels, and whatever else
    #[arg(long, value_name = "LABEL")]
    balancing_label: Vec<String>,
    /// By how much the memory of groups alike may differ
    #[arg(long, value_name = "RATIO", default_value_t = 0.015)]
    memory_difference_ratio: f64,
    /// By how much what is allocatable may differ
    #[arg(long, value_name = "RATIO", default_value_t = 0.05)]
    max_allocatable_difference_ratio: f64,
    /// By how much what is free may differ
    #[arg(long, value_name = "RATIO", default_value_t = 0.05)]
    max_free_difference_ratio: f64,
}

impl SimilarArgs {
    fn similarity(&self) -> Option<Similarity> {
        let mut similarity = Similarity::default().on_aws();
        let ignored = self.balancing_ignore_label.iter().cloned();
        similarity.ignored_labels.extend(ignored);
        self.balance_similar_node_groups.then(|| Similarity {
            labels: self.balancing_label.clone(),
            memory_ratio: self.memory_difference_ratio,
            allocatable_ratio: self.max_allocatable_difference_ratio,
            free_ratio: self.max_free_difference_ratio,
            ..similarity
        })
    }
}

/// What nodes to come are expected to be like, and when nodes count as ready.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: state of nodes")]
pub(super) struct NodeStateArgs {
    /// So many unready nodes never matter
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    ok_total_unready_count: usize,
    /// Nothing is changed while a larger share of the nodes is unready
    #[arg(long, value_name = "PERCENT", default_value_t = 45.0)]
    max_total_unready_percentage: f64,
    /// How long a new machine may take to become a node
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub(super) max_node_provision_time: Duration,
    /// How long a new node may take to become ready
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub(super) max_node_startup_time: Duration,
    /// A taint of nodes that are being set up; may be given several times
    #[arg(long, value_name = "KEY", alias = "ignore-taint")]
    startup_taint: Vec<String>,
    /// What the keys of such taints begin with; may be given several times
    #[arg(long, value_name = "PREFIX")]
    startup_taint_prefix: Vec<String>,
    /// A taint that says how a node is, and is not expected on new ones; may be given several times
    #[arg(long, value_name = "KEY")]
    status_taint: Vec<String>,
    /// Count pods of every DaemonSet on new nodes, also where the example node lacks them
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    force_ds: bool,
    /// Let cordoned nodes stand for new ones that are not
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    scale_from_unschedulable: bool,
}

impl NodeStateArgs {
    pub(super) fn health(&self) -> HealthOptions {
        HealthOptions {
            ok_total_unready_count: self.ok_total_unready_count,
            max_total_unready_percentage: self.max_total_unready_percentage,
        }
    }

    pub(super) fn templates(&self) -> TemplateOptions {
        let mut taints = TaintRules::default();
        taints.startup.extend(self.startup_taint.iter().cloned());
        let prefixes = self.startup_taint_prefix.iter().cloned();
        taints.startup_prefixes.extend(prefixes);
        taints.status.extend(self.status_taint.iter().cloned());
        TemplateOptions {
            taints,
            force_daemons: self.force_ds,
            from_unschedulable: self.scale_from_unschedulable,
        }
    }
}
