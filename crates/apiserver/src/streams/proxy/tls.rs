//! TLS to targets whose certificate nobody vouches for.

use crate::outbound::AcceptAnyone;
use plimsoll_api::node::Connection;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Agrees on TLS with whoever is at the other end.
///
/// Like every API server, this one does not check the certificates of pods and services it proxies
/// to: nothing in the cluster says which authority should have signed them.
pub(super) async fn wrap(connection: Connection, host: &str) -> io::Result<Connection> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AcceptAnyone(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let ip = host.parse::<SocketAddr>().map(|at| at.ip());
    let ip = ip.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let stream = TlsConnector::from(Arc::new(config))
        .connect(ServerName::from(ip), connection)
        .await?;
    Ok(Box::new(stream))
}
