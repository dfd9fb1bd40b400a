//! Asks a running cluster how it is, the way any client would.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the API server says of itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    /// Answer of `/readyz`.
    pub(crate) ready: bool,
    /// Nodes that are Ready, and all.
    pub(crate) nodes: (usize, usize),
    /// Pods that run, and all.
    pub(crate) pods: (usize, usize),
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = if self.ready { "ready" } else { "not ready" };
        let (nodes, pods) = (self.nodes, self.pods);
        write!(
            f,
            "{ready}; {} of {} node(s) Ready; {} of {} pod(s) running",
            nodes.0, nodes.1, pods.0, pods.1
        )
    }
}

/// A client with the credentials of a kubeconfig file.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("reading {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("using {}", kubeconfig.display()))?;
    Client::try_from(config).context("building a client")
}

/// Asks, from outside any runtime.
pub(crate) fn ask(kubeconfig: &Path) -> Result<Health> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, examine(kubeconfig))
            .await
            .context("no answer in time")?
    })
}

async fn examine(kubeconfig: &Path) -> Result<Health> {
    let client = client(kubeconfig).await?;
    let request = http::Request::get("/readyz").body(Vec::new())?;
    let ready = client
        .request_text(request)
        .await
        .is_ok_and(|text| text == "ok");
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await?
        .items;
    let pods = Api::<Pod>::all(client)
        .list(&ListParams::default())
        .await?
        .items;
    let node_ready = |node: &&Node| {
        let conditions = node
            .status
            .iter()
            .flat_map(|s| s.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
    };
    let running = |pod: &&Pod| {
        pod.status
            .as_ref()
            .and_then(|s| s.phase.as_deref())
            .is_some_and(|p| p == "Running")
    };
    Ok(Health {
        ready,
        nodes: (nodes.iter().filter(node_ready).count(), nodes.len()),
        pods: (pods.iter().filter(running).count(), pods.len()),
    })
}
