//! Flags of upstream's that have nothing to say here. They are taken, so that a command line need
//! not be changed, and the log says that they do nothing.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// What nothing here depends on: other clouds, the way upstream computes and logs, what is always
/// or never so here.
const FLAGS: [&str; 42] = [
    "frequent-loops-enabled",
    "scale-down-non-empty-candidates-count",
    "scale-down-candidates-pool-ratio",
    "scale-down-candidates-pool-min-count",
    "scale-down-simulation-timeout",
    "max-empty-bulk-delete",
    "estimator",
    "max-nodegroup-binpacking-duration",
    "max-binpacking-time",
    "fastpath-binpacking-enabled",
    "parallel-scale-up",
    "salvo-scale-up",
    "salvo-scale-up-budget",
    "scaleup-simulation-for-skipped-node-groups-enabled",
    "node-info-cache-expire-time",
    "kube-client-qps",
    "kube-client-burst",
    "kube-api-content-type",
    "debugging-snapshot-enabled",
    "profiling",
    "predicate-parallelism",
    "cluster-snapshot-parallelism",
    "scheduler-config-file",
    "bypassed-scheduler-names",
    "allowed-scheduler-names",
    "provisioning-request-max-backoff-cache-size",
    "capacity-buffer-pod-dry-run-enabled",
    "enable-csi-node-aware-scheduling",
    "enable-graceful-degradation",
    "pending-pods-batching-timeout",
    "node-removal-latency-tracking-enabled",
    "max-node-skip-eval-time-tracker-enabled",
    "async-node-groups",
    "regional",
    "kubernetes",
    "user-agent",
    "enable-inter-pod-affinity-hostname-fast-path",
    "bulk-mig-instances-listing-enabled",
    "gce-concurrent-refreshes",
    "gce-mig-instances-min-refresh-wait-time",
    "stderrthreshold",
    "logtostderr",
];

/// The given ones among these flags.
#[derive(Debug, Clone, Default)]
pub(super) struct UnusedArgs(Vec<&'static str>);

impl UnusedArgs {
    /// Without their dashes.
    pub(super) fn given(&self) -> &[&'static str] {
        &self.0
    }
}

fn arg(name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::Append)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide(true)
}

impl Args for UnusedArgs {
    fn augment_args(command: Command) -> Command {
        FLAGS
            .into_iter()
            .fold(command, |command, name| command.arg(arg(name)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for UnusedArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = |name: &&str| matches.contains_id(name);
        Ok(Self(FLAGS.into_iter().filter(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
