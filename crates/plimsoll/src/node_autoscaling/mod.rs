//! The flags of node autoscaling, which `plimsoll run` and `plimsoll up` share. Names and defaults
//! are upstream's (reference §16).

mod growth;
mod limits;
mod provider;
mod provisioning;
mod report;
mod shrink;
mod unused;

pub(crate) use provider::ProviderArgs;

use crate::run::duration;
use anyhow::{Result, bail, ensure};
use clap::{ArgAction, Args};
use growth::{BufferArgs, GrowthArgs, LimitArgs, NodeStateArgs, SimilarArgs};
use jiff::SignedDuration;
use plimsoll_controllers::nodes::{ExpanderName, IntendedOptions, Options, Pace, RepairOptions};
use provisioning::ProvisioningArgs;
use report::ReportArgs;
use shrink::{ActuationArgs, ConsolidationArgs, DrainArgs, EvictionArgs, PaceArgs, ShrinkArgs};
use std::time::Duration;
use unused::UnusedArgs;

/// Settings of node autoscaling.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeAutoscalingArgs {
    #[command(flatten)]
    pace: LookArgs,
    #[command(flatten)]
    devices: DeviceArgs,
    #[command(flatten)]
    growth: GrowthArgs,
    #[command(flatten)]
    buffers: BufferArgs,
    #[command(flatten)]
    provisioning: ProvisioningArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    similar: SimilarArgs,
    #[command(flatten)]
    state: NodeStateArgs,
    #[command(flatten)]
    shrink: ShrinkArgs,
    #[command(flatten)]
    delays: PaceArgs,
    #[command(flatten)]
    consolidation: ConsolidationArgs,
    #[command(flatten)]
    drain: DrainArgs,
    #[command(flatten)]
    actuation: ActuationArgs,
    #[command(flatten)]
    evictions: EvictionArgs,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    unused: UnusedArgs,
}

/// When to look, and what to put right.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling")]
struct LookArgs {
    /// The longest time between two looks at the nodes; changes are looked at when they happen
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    scan_interval: Duration,
    /// How long to wait for further pods that find no node before nodes are added for them
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = duration)]
    scale_up_quiet_window: Duration,
    /// The longest such wait
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    scale_up_longest_window: Duration,
    /// Grow groups that are below their minimum
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    enforce_node_group_min_size: bool,
    /// Remove machines that never became nodes also below the group's minimum
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    force_delete_unregistered_nodes: bool,
    /// The same for machines that failed to be made
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    force_delete_failed_nodes: bool,
}

/// What pods claim beside resources.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling")]
struct DeviceArgs {
    /// Count devices that pods claim; cannot be switched off
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    enable_dynamic_resource_allocation: bool,
}

impl NodeAutoscalingArgs {
    /// The controller's options.
    pub(crate) fn options(&self) -> Result<Options> {
        check_expanders(&self.growth.expander)?;
        let cutoff = self.growth.expendable_pods_priority_cutoff;
        let state = &self.state;
        let shrink = self.shrink.options(&self.delays, &self.drain, cutoff);
        let mut shrink = self.shrink.scale_down_enabled.then_some(shrink);
        if let Some(shrink) = &mut shrink {
            shrink.floors = self.limits.floors();
            self.consolidation.add_to(shrink);
        }
        let times = (state.max_node_provision_time, state.max_node_startup_time);
        let (pace, growth) = (&self.pace, &self.growth);
        Ok(Options {
            pace: Pace {
                scan_interval: pace.scan_interval.max(Duration::from_millis(100)),
                quiet: pace.scale_up_quiet_window,
                burst: pace.scale_up_longest_window,
                ..Pace::default()
            },
            expanders: growth.expander.clone(),
            adviser: growth.adviser()?,
            growth: growth.options(&self.limits, &self.similar),
            shrink,
            actuation: self.actuation.settings(&self.evictions, cutoff)?,
            backoff: growth.backoff(),
            health: state.health(),
            group: self.shrink.group(times),
            templates: state.templates(),
            repair: RepairOptions {
                force_delete_unregistered: pace.force_delete_unregistered_nodes,
                force_delete_failed: pace.force_delete_failed_nodes,
                enforce_min_size: pace.enforce_node_group_min_size,
            },
            report: self.report.options(),
            intended: growth.enable_proactive_scaleup.then_some(IntendedOptions {
                limit: growth.pod_injection_limit,
            }),
            buffers: self.buffers.options(growth.pod_injection_limit),
            capacity_quotas: self.limits.capacity_quotas_enabled,
            provisioning: self.provisioning.options(),
            observe_only: false,
        })
    }

    /// The same for a cluster of our own, which has no `/health-check`.
    pub(crate) fn warn_in_cluster(&self) {
        self.warn();
        for flag in self.report.about_health() {
            tracing::warn!("--{flag} does nothing in a cluster of its own");
        }
    }

    /// Says in the log which of the given flags do nothing.
    pub(crate) fn warn(&self) {
        for flag in self.unused.given() {
            tracing::warn!("--{flag} does nothing here");
        }
        if !self.devices.enable_dynamic_resource_allocation {
            tracing::warn!("--enable-dynamic-resource-allocation=false does nothing: it is locked");
        }
    }
}

/// Parity: each once, and nothing after one that always chooses.
fn check_expanders(names: &[ExpanderName]) -> Result<()> {
    for (at, name) in names.iter().enumerate() {
        let before = names.get(..at).unwrap_or_default();
        ensure!(!before.contains(name), "--expander: {name} is named twice");
        if before.contains(&ExpanderName::Random) {
            bail!("--expander: {name} after random would have nothing to choose");
        }
    }
    Ok(())
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::NodeAutoscalingArgs;
    use clap::{CommandFactory, Parser};
    use plimsoll_controllers::nodes::{ExpanderName, Options, ProvisioningOptions};
    use plimsoll_engine::cluster::Similarity;
    use rstest::rstest;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: NodeAutoscalingArgs,
    }

    fn options(flags: &str) -> anyhow::Result<Options> {
        let words = std::iter::once("command").chain(flags.split_whitespace());
        Command::try_parse_from(words)?.args.options()
    }

    #[test]
    fn without_flags_the_options_are_the_defaults() {
        let mut usual = Options::default();
        let got = options("").unwrap();
        // The limits that upstream's flags make are no limits in practice.
        assert_eq!(got.growth.quotas[0].limits["cpu"], 320_000_000);
        usual.growth.quotas.clone_from(&got.growth.quotas);
        assert_eq!(got, usual);
    }

    #[test]
    fn upstreams_usual_command_line_is_understood() {
        let got = options(
            "--expander=least-waste --skip-nodes-with-local-storage=false \
             --balance-similar-node-groups --skip-nodes-with-system-pods=false \
             --scale-down-delay-after-add=30s --scale-down-unneeded-time 1m \
             --stderrthreshold=info --logtostderr=true \
             --kube-client-qps=50 --gpu-total=nvidia-tesla-k80:0:4",
        )
        .unwrap();
        let shrink = got.shrink.unwrap();
        assert!(!shrink.drain.skip_local_storage && !shrink.drain.skip_system_pods);
        assert_eq!(shrink.delays.after_add.as_secs(), 30);
        assert_eq!(got.group.scale_down_unneeded_time.as_secs(), 60);
        assert_eq!(got.growth.balance, Some(Similarity::default().on_aws()));
        assert_eq!(got.growth.quotas[0].limits["nvidia.com/gpu"], 4);
    }

    #[rstest]
    #[case::twice("--expander=random,random")]
    #[case::after_random("--expander=random,most-pods")]
    #[case::unknown("--expander=best")]
    #[case::grpc_without_address("--expander=grpc --grpc-expander-cert=ca.crt")]
    #[case::grpc_without_certificate("--expander=grpc --grpc-expander-url=there:443")]
    #[case::drain_order("--drain-priority-config=high:5")]
    #[case::limits("--cores-total=5")]
    fn wrong_values_are_refused(#[case] flags: &str) {
        assert!(options(flags).is_err());
    }

    #[test]
    fn buffers_are_looked_at_when_asked_for() {
        let got = options("--capacity-buffer-pod-injection-enabled --pod-injection-limit=7");
        let got = got.unwrap().buffers.unwrap();
        assert!(got.inject && !got.resolve && got.limit == 7);
        assert!(
            options("--capacity-quotas-enabled")
                .unwrap()
                .capacity_quotas
        );
    }

    #[test]
    fn requests_are_looked_at_when_asked_for() {
        assert_eq!(options("").unwrap().provisioning, None);
        let got = options("--enable-provisioning-requests").unwrap();
        assert_eq!(got.provisioning, Some(ProvisioningOptions::default()));
        let got = options(
            "--enable-provisioning-requests=true --provisioning-request-initial-backoff-time=2m \
             --provisioning-request-max-backoff-time=15m --check-capacity-batch-processing \
             --check-capacity-provisioning-request-max-batch-size=5 \
             --check-capacity-provisioning-request-batch-timebox=3s \
             --check-capacity-processor-instance=second",
        );
        let got = got.unwrap().provisioning.unwrap();
        assert_eq!(got.times.first_pause.as_secs(), 120);
        assert_eq!(got.times.longest_pause.as_secs(), 900);
        assert_eq!((got.batch, got.timebox.as_secs()), (5, 3));
        assert_eq!(got.instance, "second");
    }

    #[test]
    fn flags_about_the_health_check_are_known_when_they_are_given() {
        let given = |flags: &str| {
            let words = std::iter::once("command").chain(flags.split_whitespace());
            Command::try_parse_from(words)
                .unwrap()
                .args
                .report
                .about_health()
        };
        assert_eq!(given(""), [""; 0]);
        assert_eq!(given("--max-failing-time=1m"), ["max-failing-time"]);
    }

    #[test]
    fn expanders_may_be_chained() {
        let got = options("--expander=priority,least-waste").unwrap();
        let want = [ExpanderName::Priority, ExpanderName::LeastWaste];
        assert_eq!(got.expanders, want);
    }

    /// Upstream's flags, except for those about the provider, the election and the API server.
    #[test]
    fn every_flag_of_upstream_is_known() {
        let command = Command::command();
        let known: Vec<&str> = command
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .collect();
        for flag in include_str!("upstream_flags.txt").split_whitespace() {
            let aliased =
                |arg: &clap::Arg| arg.get_all_aliases().is_some_and(|all| all.contains(&flag));
            let is_known = known.contains(&flag) || command.get_arguments().any(aliased);
            assert!(is_known, "--{flag}");
        }
    }
}
