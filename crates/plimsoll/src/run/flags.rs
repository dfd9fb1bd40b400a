//! The flags of `plimsoll run`, in groups. Names that upstream has are upstream's.

use anyhow::{Context, Result, ensure};
use clap::{ArgAction, Args, ValueEnum};
use jiff::SignedDuration;
use plimsoll_controllers::horizontal::Options;
use plimsoll_controllers::runtime::election::Timing;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Which API server, and as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ConnectionArgs {
    /// The kubeconfig [default: the pod's service account inside a cluster, else $KUBECONFIG or
    /// ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// Which autoscalers are taken care of.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Scope")]
pub(crate) struct ScopeArgs {
    /// Take care of autoscalers in these namespaces only; may be given several times. Rights in
    /// them suffice then [default: all namespaces]
    #[arg(
        short,
        long = "namespace",
        value_name = "NAMESPACE,…",
        value_delimiter = ','
    )]
    pub(crate) namespaces: Vec<String>,
    /// Take care of autoscalers with these labels only, e.g. team=web,tier!=test
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
    pub(crate) selector: String,
    /// Decide and explain, but write nothing to the cluster
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) dry_run: bool,
    /// Obey HorizontalPodAutoscalers even where the cluster's own controller seems to do so. Only
    /// for clusters where it is known not to run: two controllers would undo each other's work
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) take_over: bool,
}

impl ScopeArgs {
    /// The namespaces in scope; empty for all.
    pub(crate) fn namespaces(&self) -> Vec<&str> {
        let named = self.namespaces.iter().map(String::as_str);
        named.filter(|name| !name.is_empty()).collect()
    }
}

/// The horizontal autoscaler's own settings.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Horizontal autoscaling")]
pub(crate) struct HorizontalArgs {
    /// How long an autoscaler goes unevaluated at most
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    horizontal_pod_autoscaler_sync_period: Duration,
    /// How long a higher recommendation holds back scaling down, where `behavior` does not say
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    horizontal_pod_autoscaler_downscale_stabilization: Duration,
    /// How far the metric may be from its target without scaling
    #[arg(long, value_name = "RATIO", default_value_t = 0.1)]
    horizontal_pod_autoscaler_tolerance: f64,
    /// How long after a pod's start its CPU may be skipped
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    horizontal_pod_autoscaler_cpu_initialization_period: Duration,
    /// How long after a pod's start changes of readiness count as its first
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    horizontal_pod_autoscaler_initial_readiness_delay: Duration,
    /// How many autoscalers are worked on at once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    concurrent_horizontal_pod_autoscaler_syncs: u16,
}

impl HorizontalArgs {
    /// The controller's options.
    pub(crate) fn options(&self) -> Result<Options> {
        let tolerance = self.horizontal_pod_autoscaler_tolerance;
        ensure!(
            tolerance.is_finite() && tolerance >= 0.0,
            "--horizontal-pod-autoscaler-tolerance must be zero or more, not {tolerance}"
        );
        let mut options = Options {
            sync_period: self.horizontal_pod_autoscaler_sync_period,
            concurrent_syncs: usize::from(self.concurrent_horizontal_pod_autoscaler_syncs),
            ..Options::default()
        };
        let settings = &mut options.settings;
        settings.tolerance = tolerance;
        settings.downscale_stabilization =
            signed(self.horizontal_pod_autoscaler_downscale_stabilization);
        settings.cpu_initialization =
            signed(self.horizontal_pod_autoscaler_cpu_initialization_period);
        settings.readiness_delay = signed(self.horizontal_pod_autoscaler_initial_readiness_delay);
        Ok(options)
    }
}

/// Which of several processes acts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Leader election")]
pub(crate) struct ElectionArgs {
    /// Act only while holding a lease, so that of several processes one acts
    #[arg(long = "leader-elect", value_name = "BOOL", default_value_t = true,
          action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    pub(crate) enabled: bool,
    /// How long the others wait before they take over a lease that is not renewed
    #[arg(long = "leader-elect-lease-duration", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    lease_duration: Duration,
    /// How long a leader that cannot renew its lease goes on
    #[arg(long = "leader-elect-renew-deadline", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    renew_deadline: Duration,
    /// The pause between two attempts to take or renew the lease
    #[arg(long = "leader-elect-retry-period", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    retry_period: Duration,
    /// Name of the lease
    #[arg(
        long = "leader-elect-resource-name",
        value_name = "NAME",
        default_value = "plimsoll"
    )]
    pub(crate) lease_name: String,
    /// Namespace of the lease [default: the pod's own inside a cluster, else plimsoll-system]
    #[arg(long = "leader-elect-resource-namespace", value_name = "NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,
}

impl ElectionArgs {
    /// The timing, checked.
    pub(crate) fn timing(&self) -> Result<Timing> {
        let timing = Timing {
            lease_duration: self.lease_duration,
            renew_deadline: self.renew_deadline,
            retry_period: self.retry_period,
        };
        timing
            .check()
            .context("the --leader-elect durations do not fit together")?;
        Ok(timing)
    }
}

/// What is served by default.
const APIS: &str = "explain,metrics";

/// What is served, and where.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Serving")]
pub(crate) struct ServingArgs {
    /// Where /healthz, /livez and /readyz answer over HTTP; 0 for nowhere
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8081", value_parser = address)]
    pub(crate) health_bind_address: Bind,
    /// Where /metrics answers over HTTP; 0 for nowhere
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) metrics_bind_address: Bind,
    /// APIs to serve for the cluster
    #[arg(long, value_name = "API,…", value_delimiter = ',', default_value = APIS,
          value_parser = ["", "explain", "metrics", "custom", "external"])]
    pub(crate) serve: Vec<String>,
    /// Port of these APIs, over TLS; 0 to serve none
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) secure_port: u16,
    /// Where the API server reaches this process [default: $POD_IP]
    #[arg(long, value_name = "IP", env = "POD_IP")]
    pub(crate) advertise_address: Option<IpAddr>,
    /// Certificate to serve them with [default: one made at the start]
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    pub(crate) tls_cert_file: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub(crate) tls_private_key_file: Option<PathBuf>,
}

impl ServingArgs {
    /// Whether other APIs are asked for than those of the default.
    pub(crate) fn asks_for_apis(&self) -> bool {
        let apis = || self.serve.iter().filter(|api| !api.is_empty());
        apis().count() > 0 && !apis().eq(APIS.split(','))
    }
}

/// A place to listen, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bind(pub(crate) Option<SocketAddr>);

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LoggingArgs {
    /// How much is logged: 0 to 3 what changes, 4 and 5 what is done, 6 and more everything
    #[arg(short, long, value_name = "LEVEL", default_value_t = 0)]
    pub(crate) v: u8,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) logging_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// A duration as Go writes it: `15s`, `1m30s`, `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let parsed: SignedDuration = text
        .parse()
        .map_err(|_| format!("{text:?} is no duration such as 15s or 1m30s"))?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

/// `127.0.0.1:8081`, `[::1]:8081`, `:8081` for all addresses, `0` for nowhere.
fn address(text: &str) -> Result<Bind, String> {
    if text == "0" {
        return Ok(Bind(None));
    }
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
        let all = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        return Ok(Bind(Some(SocketAddr::new(all, port))));
    }
    let parsed = text
        .parse()
        .map_err(|_| format!("{text:?} is not ADDRESS:PORT, :PORT or 0"))?;
    Ok(Bind(Some(parsed)))
}

#[cfg(test)]
mod tests {
    use super::{Bind, address, duration};
    use std::time::Duration;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m0s"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "15", "-5s", "a week", "1d2"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_may_leave_out_the_host_or_everything() {
        assert_eq!(address("0"), Ok(Bind(None)));
        assert_eq!(address(":80"), Ok(Bind(Some("[::]:80".parse().unwrap()))));
        assert_eq!(
            address("127.0.0.1:1"),
            Ok(Bind(Some("127.0.0.1:1".parse().unwrap())))
        );
        for wrong in ["", "80", ":http", "localhost:80"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
