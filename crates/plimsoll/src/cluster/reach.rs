//! How the API server reaches pods: through the network they are in.

use async_trait::async_trait;
use plimsoll_apiserver::outbound::Connect;
use plimsoll_node::runtime::Network;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// The pods' network, for webhooks and extension servers behind Services.
#[derive(Debug)]
pub(super) struct ThroughPods(pub(super) Arc<dyn Network>);

#[async_trait]
impl Connect for ThroughPods {
    async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        self.0.connect(address).await
    }
}
