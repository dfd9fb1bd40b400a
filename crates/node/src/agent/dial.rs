//! Connections to pods, to addresses of the cluster, and to the nodes' own servers.

use super::{Agents, Node, server};
use plimsoll_api::node::{Connection, Destination};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpStream;

impl Agents {
    /// Opens a connection.
    pub(super) async fn dial(&self, to: Destination) -> io::Result<Connection> {
        let stream = match to {
            Destination::Pod {
                namespace,
                name,
                port,
            } => self.dial_pod((&namespace, &name), port).await?,
            Destination::Address(address) => self.dial_address(address).await?,
            Destination::Agent { node } => {
                let node = self.node(&node)?;
                return Ok(server::connect(self, node));
            }
        };
        Ok(Box::new(stream))
    }

    fn node(&self, name: &str) -> io::Result<Arc<Node>> {
        let found = self.roster.lock().nodes.get(name).map(Arc::clone);
        found.ok_or_else(|| {
            let message = format!("node {name:?} is not run here");
            io::Error::new(io::ErrorKind::NotFound, message)
        })
    }

    async fn dial_pod(&self, name: (&str, &str), port: u16) -> io::Result<TcpStream> {
        let entry = self.shared.board.get(name.0, name.1);
        let place = entry.and_then(|entry| Some((entry.address?, entry)));
        let (ip, entry) = place.ok_or_else(|| {
            let message = format!("pod {}/{} is not running", name.0, name.1);
            io::Error::new(io::ErrorKind::NotFound, message)
        })?;
        let network = entry.runtime.network();
        let inside = network.connect_inside(&entry.uid, SocketAddr::new(ip, port));
        inside.await.map_err(|error| {
            let uid = &entry.uid;
            let why = match error.raw_os_error() {
                Some(_) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    format!("dial tcp4 127.0.0.1:{port}: connect: connection refused")
                }
                Some(_) | None => error.to_string(),
            };
            let message =
                format!("failed to connect to localhost:{port} inside namespace {uid:?}: {why}");
            io::Error::new(error.kind(), message)
        })
    }

    /// Connects to an address as somebody inside the cluster would.
    async fn dial_address(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let nodes = self.nodes();
        // Pods on the host's network, which answer for their node.
        if nodes.iter().any(|node| node.address == address.ip()) {
            let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
            return TcpStream::connect(local).await;
        }
        let owner = nodes
            .iter()
            .find(|node| node.pool.lock().contains(address.ip()));
        match owner {
            Some(node) => node.runtime.network().connect(address).await,
            None => TcpStream::connect(address).await,
        }
    }
}
