//! How kubelets are reached and how often; metrics-server's flags and defaults.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a [`super::Scraper`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeOptions {
    /// Time between two readings of a node (`--metric-resolution`). metrics-server's own default is
    /// 60 s, its manifests say 15 s, which is the default here; 1 s is possible.
    pub resolution: Duration,
    /// What is older is not served (`--metrics-max-age`); `None` is three times the resolution.
    pub max_age: Option<Duration>,
    /// How long a kubelet may take to answer (`--kubelet-request-timeout`, 10 s).
    pub request_timeout: Duration,
    /// Only nodes with these labels (`--node-selector`); empty for all.
    pub node_selector: String,
    /// How to reach a node.
    pub reach: Reach,
    /// Whom to trust and what to show.
    pub tls: KubeletTls,
}

impl Default for ScrapeOptions {
    fn default() -> Self {
        Self {
            resolution: Duration::from_secs(15),
            max_age: None,
            request_timeout: Duration::from_secs(10),
            node_selector: String::new(),
            reach: Reach::default(),
            tls: KubeletTls::default(),
        }
    }
}

impl ScrapeOptions {
    /// Beyond this age a sample is no longer served.
    pub fn freshness(&self) -> Duration {
        self.max_age
            .unwrap_or_else(|| self.resolution.saturating_mul(3))
    }
}

/// Which address and port of a node to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Types of node addresses, the preferred first (`--kubelet-preferred-address-types`).
    pub address_types: Vec<String>,
    /// Use the port in the node's status (`--kubelet-use-node-status-port`).
    pub node_status_port: bool,
    /// The port otherwise (`--kubelet-port`, 10250).
    pub port: u16,
    /// Ask the API server to pass the request on, where nodes cannot be reached from here
    /// (`--kubelet-through-apiserver`). Departs: metrics-server cannot.
    pub through_apiserver: bool,
}

impl Default for Reach {
    fn default() -> Self {
        let types = [
            "Hostname",
            "InternalDNS",
            "InternalIP",
            "ExternalDNS",
            "ExternalIP",
        ];
        Self {
            address_types: types.map(str::to_owned).to_vec(),
            node_status_port: false,
            port: 10_250,
            through_apiserver: false,
        }
    }
}

/// TLS towards kubelets. Files are those of the process that scrapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubeletTls {
    /// Accept any certificate (`--kubelet-insecure-tls`).
    pub insecure: bool,
    /// Authorities of kubelets' certificates (`--kubelet-certificate-authority`); the API server's
    /// otherwise.
    pub authority: Option<PathBuf>,
    /// A client certificate to show (`--kubelet-client-certificate`); the API credentials otherwise.
    pub certificate: Option<PathBuf>,
    /// Its key (`--kubelet-client-key`).
    pub key: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::ScrapeOptions;
    use std::time::Duration;

    #[test]
    fn the_longest_resolution_has_a_freshness() {
        let options = ScrapeOptions {
            resolution: Duration::MAX,
            ..ScrapeOptions::default()
        };
        assert_eq!(options.freshness(), Duration::MAX);
    }
}
