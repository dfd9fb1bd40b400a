//! Where a node's kubelet is, and a client that reaches it.

use super::options::{KubeletTls, Reach};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use k8s_openapi::api::core::v1::Node;
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use std::path::Path;
use std::time::Duration;
use tower::{BoxError, Layer as _, ServiceExt as _};

/// What metrics-server reads.
const PATH: &str = "/metrics/resource";
/// How long a connection is kept without a request on it.
const IDLE: Duration = Duration::from_secs(90);

/// Why there is no way to kubelets.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The certificates or credentials cannot be used.
    #[error("the credentials for kubelets cannot be used")]
    Credentials(#[source] Box<kube::Error>),
    /// Only one of the two was given.
    #[error("--kubelet-client-certificate and --kubelet-client-key go together")]
    HalfCertificate,
}

/// A client that reaches kubelets by absolute URLs, with the credentials that `config` has for the
/// API server unless `tls` names others.
///
/// # Errors
/// [`AccessError`].
pub fn kubelet_client(config: &Config, tls: &KubeletTls) -> Result<Client, AccessError> {
    let mut config = config.clone();
    config.tls_server_name = None;
    config.proxy_url = None;
    config.accept_invalid_certs = tls.insecure;
    if let Some(authority) = &tls.authority {
        config.root_cert_file = Some(authority.clone());
    }
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            config.auth_info.client_certificate = Some(text(certificate));
            config.auth_info.client_certificate_data = None;
            config.auth_info.client_key = Some(text(key));
            config.auth_info.client_key_data = None;
        }
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => return Err(AccessError::HalfCertificate),
    }
    let bad = |error| AccessError::Credentials(Box::new(error));
    let connector = config.rustls_https_connector().map_err(bad)?;
    let authorized = config.auth_layer().map_err(bad)?;
    let hyper: HyperClient<_, Body> = HyperClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .build(connector);
    let service = hyper
        .map_err(BoxError::from)
        .map_response(|response: http::Response<_>| {
            response.map(|body: hyper::body::Incoming| body.map_err(BoxError::from))
        });
    Ok(match authorized {
        Some(layer) => Client::new(layer.layer(service), "default"),
        None => Client::new(service, "default"),
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The URL of a node's readings: absolute, or a path of the API server's. `None` if the node has no
/// address of a wanted type.
pub(super) fn url(node: &Node, reach: &Reach) -> Option<String> {
    let name = node.metadata.name.as_deref()?;
    if reach.through_apiserver {
        return Some(format!("/api/v1/nodes/{name}/proxy{PATH}"));
    }
    let status = node.status.as_ref();
    let addresses = status?.addresses.as_deref().unwrap_or_default();
    let address = reach.address_types.iter().find_map(|wanted| {
        let found = addresses
            .iter()
            .find(|a| a.type_ == *wanted && !a.address.is_empty());
        found.map(|found| found.address.as_str())
    })?;
    let announced = status
        .filter(|_| reach.node_status_port)
        .and_then(|s| s.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref())
        .and_then(|endpoint| u16::try_from(endpoint.port).ok())
        .filter(|port| *port != 0);
    let port = announced.unwrap_or(reach.port);
    Some(if address.contains(':') {
        format!("https://[{address}]:{port}{PATH}")
    } else {
        format!("https://{address}:{port}{PATH}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn node(addresses: &[(&str, &str)]) -> Node {
        let addresses: Vec<_> = addresses
            .iter()
            .map(|(kind, address)| json!({"type": kind, "address": address}))
            .collect();
        let status = json!({
            "addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": 10_333}},
        });
        serde_json::from_value(json!({"metadata": {"name": "n1"}, "status": status})).unwrap()
    }

    #[rstest]
    #[case::preferred(&[("InternalIP", "10.0.0.1"), ("Hostname", "host")], false, Some("https://host:10250/metrics/resource"))]
    #[case::next_best(&[("ExternalIP", "1.2.3.4"), ("InternalIP", "10.0.0.1")], false, Some("https://10.0.0.1:10250/metrics/resource"))]
    #[case::six(&[("InternalIP", "fd00::1")], false, Some("https://[fd00::1]:10250/metrics/resource"))]
    #[case::status_port(&[("InternalIP", "10.0.0.1")], true, Some("https://10.0.0.1:10333/metrics/resource"))]
    #[case::unwanted(&[("Other", "x")], false, None)]
    #[case::none(&[], false, None)]
    fn an_address_is_chosen_by_type(
        #[case] addresses: &[(&str, &str)],
        #[case] node_status_port: bool,
        #[case] want: Option<&str>,
    ) {
        let reach = Reach {
            node_status_port,
            ..Reach::default()
        };
        assert_eq!(url(&node(addresses), &reach).as_deref(), want);
    }

    #[test]
    fn the_api_server_can_pass_requests_on() {
        let reach = Reach {
            through_apiserver: true,
            ..Reach::default()
        };
        let want = "/api/v1/nodes/n1/proxy/metrics/resource";
        assert_eq!(url(&node(&[]), &reach).as_deref(), Some(want));
    }
}
