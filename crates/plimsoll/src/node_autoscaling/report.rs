//! Flags about what is told.

use crate::run::duration;
use clap::{ArgAction, Args};
use plimsoll_controllers::nodes::ReportOptions;
use std::time::Duration;

/// What is told, and where.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: reports")]
pub(super) struct ReportArgs {
    /// Write a ConfigMap that says how nodes and groups are
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    write_status_configmap: bool,
    /// Its name
    #[arg(long, value_name = "NAME", default_value = "cluster-autoscaler-status")]
    status_config_map_name: String,
    /// Its namespace, and that of what is remembered over restarts (upstream's --namespace)
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    node_autoscaler_namespace: String,
    /// The cluster's name, for the log
    #[arg(long, value_name = "NAME", default_value = "")]
    cluster_name: String,
    /// Show series for each group, too
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    emit_per_nodegroup_metrics: bool,
    /// Tell an event again that was told minutes ago
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    record_duplicated_events: bool,
    /// /health-check fails after so long without a look
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    max_inactivity: Duration,
    /// /health-check fails after so long without a look that succeeded
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    max_failing_time: Duration,
    /// /health-check fails if the first look takes longer
    #[arg(long, value_name = "DURATION", default_value = "20m", value_parser = duration)]
    max_startup_time: Duration,
}

impl ReportArgs {
    /// Flags about `/health-check` that were given, as far as their values show.
    pub(super) fn about_health(&self) -> Vec<&'static str> {
        let (given, usual) = (self.options(), ReportOptions::default());
        let flags = [
            ("max-inactivity", given.max_inactivity, usual.max_inactivity),
            ("max-failing-time", given.max_failing, usual.max_failing),
            ("max-startup-time", given.max_startup, usual.max_startup),
        ];
        let other = flags.into_iter().filter(|(_, given, usual)| given != usual);
        other.map(|(flag, ..)| flag).collect()
    }

    pub(super) fn options(&self) -> ReportOptions {
        ReportOptions {
            namespace: self.node_autoscaler_namespace.clone(),
            status: self
                .write_status_configmap
                .then(|| self.status_config_map_name.clone()),
            cluster: self.cluster_name.clone(),
            per_group_metrics: self.emit_per_nodegroup_metrics,
            duplicated_events: self.record_duplicated_events,
            max_inactivity: self.max_inactivity,
            max_failing: self.max_failing_time,
            max_startup: self.max_startup_time,
            ..ReportOptions::default()
        }
    }
}
