//! The nodes' own HTTPS servers, on this machine's loopback: what a kubelet serves on port 10250, for
//! metrics servers and other tools that ask the nodes themselves.

use anyhow::Result;
use plimsoll_apiserver::kubelet;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::serve::Listener;
use plimsoll_cluster::ControlPlane;
use plimsoll_node::agent::NodeSpec;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Beyond so many nodes none has a server of its own: each takes a socket, and tools reach all of
/// them through the API server.
const MOST: usize = 64;
/// How long open requests may take to end at a stop.
const GRACE: Duration = Duration::from_millis(200);

/// Listeners that do not accept yet, with the names of their nodes.
#[derive(Debug, Default)]
pub(super) struct Doors(Vec<(String, Listener)>);

impl Doors {
    /// Takes a port for each node and tells the node of it. A node without one is reached through
    /// the API server.
    pub(super) async fn open(specs: &mut [NodeSpec]) -> Self {
        let mut doors = Self::default();
        if specs.len() > MOST {
            tracing::info!(
                nodes = specs.len(),
                "nodes are reached through the API server only"
            );
            return doors;
        }
        for spec in specs {
            let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            match Listener::bind(anywhere).await {
                Ok(listener) => {
                    spec.server = Some(listener.address());
                    doors.0.push((spec.name.clone(), listener));
                }
                Err(error) => tracing::warn!(node = spec.name, %error, "no server of its own"),
            }
        }
        doors
    }

    /// Starts serving.
    pub(super) fn serve(
        self,
        plane: &mut ControlPlane,
        pki: &Pki,
        stop: &CancellationToken,
    ) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut names: Vec<String> = self.0.iter().map(|(name, _)| name.clone()).collect();
        names.extend(["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()]);
        let tls = pki.kubelet_config(&names)?;
        for (node, listener) in self.0 {
            let (server, stop) = (plane.server.clone(), stop.clone());
            let tls = Arc::clone(&tls);
            plane.keep(async move {
                kubelet::serve(server, &node, (listener, tls), stop, GRACE).await;
            });
        }
        Ok(())
    }
}
