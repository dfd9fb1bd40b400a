//! The nodes' own HTTPS servers, on this machine's loopback: what a kubelet serves on port 10250, for
//! metrics servers and other tools that ask the nodes themselves.

use anyhow::Result;
use parking_lot::Mutex;
use plimsoll_apiserver::ApiServer;
use plimsoll_apiserver::kubelet;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::serve::Listener;
use plimsoll_cluster::ControlPlane;
use plimsoll_node::agent::NodeSpec;
use std::collections::BTreeMap;
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

/// Servers of nodes that come and go.
#[derive(Clone)]
pub(super) struct Doorkeeper {
    server: ApiServer,
    pub(super) pki: Pki,
    pub(super) stop: CancellationToken,
    open: Arc<Mutex<BTreeMap<String, CancellationToken>>>,
}

impl Doorkeeper {
    /// With no door open yet.
    pub(super) fn new(server: ApiServer, pki: &Pki, stop: &CancellationToken) -> Self {
        Self {
            server,
            pki: pki.clone(),
            stop: stop.clone(),
            open: Arc::default(),
        }
    }

    /// Opens a server for a node that is about to come, and tells the node of it. A node without
    /// one is reached through the API server.
    pub(super) async fn open(&self, spec: &mut NodeSpec) {
        if self.open.lock().len() >= MOST {
            return;
        }
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = match Listener::bind(anywhere).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(node = spec.name, %error, "no server of its own");
                return;
            }
        };
        let names = [
            spec.name.clone(),
            "localhost".to_owned(),
            Ipv4Addr::LOCALHOST.to_string(),
        ];
        let tls = match self.pki.kubelet_config(&names) {
            Ok(tls) => tls,
            Err(error) => {
                tracing::warn!(node = spec.name, %error, "no server of its own");
                return;
            }
        };
        spec.server = Some(listener.address());
        let stop = self.stop.child_token();
        self.open.lock().insert(spec.name.clone(), stop.clone());
        let (server, node) = (self.server.clone(), spec.name.clone());
        tokio::spawn(async move {
            kubelet::serve(server, &node, (listener, tls), stop, GRACE).await;
        });
    }

    /// Closes the server of a node that has gone.
    pub(super) fn close(&self, node: &str) {
        if let Some(stop) = self.open.lock().remove(node) {
            stop.cancel();
        }
    }
}
