//! Where usage comes from: the flags, with metrics-server's names.

use super::flags::duration;
use clap::{ArgAction, Args};
use plimsoll_sources::metrics::kubelet::{KubeletTls, Reach, ScrapeOptions};
use plimsoll_sources::metrics::poll::PollOptions;
use plimsoll_sources::metrics::source::{NoSource, SourceChoice};
use std::path::PathBuf;
use std::time::Duration;

/// How kubelets are measured at.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct MetricsArgs {
    /// Where usage comes from: `kubelet`, `api` (who serves metrics.k8s.io already), or `auto`:
    /// kubelets, unless somebody else serves metrics.k8s.io
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = parse_source)]
    metrics_source: SourceChoice,
    /// Time between two measurements of a node
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    metric_resolution: Duration,
    /// Measurements older than this are not used [default: three times the resolution]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    metrics_max_age: Option<Duration>,
    /// Measure nodes with these labels only
    #[arg(long, value_name = "SELECTOR", default_value = "")]
    node_selector: String,
    #[command(flatten)]
    kubelet: KubeletArgs,
}

/// How kubelets are reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Metrics")]
struct KubeletArgs {
    /// Types of node addresses to use, the preferred first
    #[arg(
        long = "kubelet-preferred-address-types",
        overrides_with = "address_types",
        value_name = "TYPE,…",
        value_delimiter = ',',
        default_value = "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP"
    )]
    address_types: Vec<String>,
    /// Use the port in a node's status instead of --kubelet-port
    #[arg(long = "kubelet-use-node-status-port", overrides_with = "status_port")]
    status_port: bool,
    /// Port of the kubelets
    #[arg(long = "kubelet-port", value_name = "PORT", default_value_t = 10_250)]
    port: u16,
    /// Reach kubelets through the API server, where they cannot be reached from here; takes the
    /// right to get nodes/proxy
    #[arg(long = "kubelet-through-apiserver", value_name = "BOOL", default_value_t = false,
          action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    through_apiserver: bool,
    /// Accept any certificate from kubelets
    #[arg(long = "kubelet-insecure-tls")]
    insecure_tls: bool,
    /// Authorities of the kubelets' certificates [default: the API server's]
    #[arg(long = "kubelet-certificate-authority", value_name = "FILE")]
    authority: Option<PathBuf>,
    /// Certificate to show to kubelets [default: the API server's credentials]
    #[arg(
        long = "kubelet-client-certificate",
        value_name = "FILE",
        requires = "key"
    )]
    certificate: Option<PathBuf>,
    /// Key of that certificate
    #[arg(
        long = "kubelet-client-key",
        value_name = "FILE",
        requires = "certificate"
    )]
    key: Option<PathBuf>,
    /// How long a kubelet may take to answer
    #[arg(long = "kubelet-request-timeout", value_name = "DURATION", default_value = "10s",
          value_parser = duration)]
    request_timeout: Duration,
}

fn parse_source(text: &str) -> Result<SourceChoice, NoSource> {
    text.parse()
}

impl MetricsArgs {
    /// The source that the flag names.
    pub(super) fn asked_for(&self) -> SourceChoice {
        self.metrics_source
    }

    /// Which source. Nodes are of the whole cluster: in some namespaces alone there are none.
    pub(super) fn source(&self, everywhere: bool) -> SourceChoice {
        if everywhere {
            self.metrics_source
        } else {
            SourceChoice::Api
        }
    }

    /// The options of reading another metrics server.
    pub(super) fn polling(&self, namespaces: &[&str]) -> PollOptions {
        PollOptions {
            period: self.metric_resolution.max(Duration::from_secs(1)),
            max_age: self.metrics_max_age,
            namespaces: namespaces.iter().map(|&name| name.to_owned()).collect(),
            ..PollOptions::default()
        }
    }

    /// The scraper's options.
    pub(super) fn scraping(&self) -> ScrapeOptions {
        let kubelet = &self.kubelet;
        ScrapeOptions {
            resolution: self.metric_resolution.max(Duration::from_secs(1)),
            max_age: self.metrics_max_age,
            request_timeout: kubelet.request_timeout,
            node_selector: self.node_selector.clone(),
            reach: Reach {
                address_types: kubelet.address_types.clone(),
                node_status_port: kubelet.status_port,
                port: kubelet.port,
                through_apiserver: kubelet.through_apiserver,
            },
            tls: KubeletTls {
                insecure: kubelet.insecure_tls,
                authority: kubelet.authority.clone(),
                certificate: kubelet.certificate.clone(),
                key: kubelet.key.clone(),
            },
        }
    }
}
