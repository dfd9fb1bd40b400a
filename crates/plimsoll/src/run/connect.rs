//! The way to the API server.

use super::flags::ConnectionArgs;
use super::requests::Requests;
use anyhow::{Context, Result};
use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// A client, and what is worth telling of it.
pub(crate) struct Connection {
    /// The client.
    pub(crate) client: Client,
    /// What it was made of.
    pub(crate) config: Config,
    /// `https://10.0.0.1:6443`.
    pub(crate) server: String,
    /// The pod's own namespace inside a cluster, else the context's.
    pub(crate) namespace: String,
    /// Whether this runs as a pod of the cluster, by its service account.
    pub(crate) in_cluster: bool,
    /// What the client asks for, counted.
    pub(crate) requests: Requests,
}

/// Builds the client; asks the server nothing yet.
pub(crate) async fn connect(args: &ConnectionArgs) -> Result<Connection> {
    let (mut config, in_cluster) = configuration(args).await?;
    let agent = concat!("plimsoll/", env!("CARGO_PKG_VERSION"));
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(agent)));
    let server = config.cluster_url.to_string();
    let requests = Requests::to(&config.cluster_url);
    let client = ClientBuilder::try_from(config.clone()).context("cannot use this kubeconfig")?;
    let client = client.with_layer(&requests).build();
    Ok(Connection {
        client,
        server: server.trim_end_matches('/').to_owned(),
        namespace: config.default_namespace.clone(),
        config,
        in_cluster,
        requests,
    })
}

async fn configuration(args: &ConnectionArgs) -> Result<(Config, bool)> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    if let Some(file) = &args.kubeconfig {
        let text = Kubeconfig::read_from(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let config = Config::from_custom_kubeconfig(text, &options)
            .await
            .with_context(|| format!("cannot use {}", file.display()))?;
        return Ok((config, false));
    }
    if args.context.is_none()
        && let Ok(config) = Config::incluster()
    {
        return Ok((config, true));
    }
    let config = Config::from_kubeconfig(&options)
        .await
        .context("found no usable kubeconfig; name one with --kubeconfig FILE")?;
    Ok((config, false))
}
