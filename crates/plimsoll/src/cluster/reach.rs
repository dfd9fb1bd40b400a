//! How the API server reaches pods: through the network they are in.

use async_trait::async_trait;
use plimsoll_apiserver::outbound::Connect;
use plimsoll_node::runtime::Network;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

/// The pods' network, for webhooks and extension servers behind Services.
#[derive(Debug)]
pub(super) struct ThroughPods(pub(super) Arc<dyn Network>);

#[async_trait]
impl Connect for ThroughPods {
    async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        match self.0.connect(address).await {
            // Simulated pods have no network, but a server beside the cluster may be real.
            Err(error) if error.kind() == ErrorKind::Unsupported && is_here(address).await => {
                TcpStream::connect(address).await
            }
            other => other,
        }
    }
}

/// Whether the address is one of this machine's.
async fn is_here(address: SocketAddr) -> bool {
    TcpListener::bind((address.ip(), 0)).await.is_ok()
}
