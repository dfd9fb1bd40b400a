//! Node groups for other autoscalers, by Cluster Autoscaler's external gRPC protocol.

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use plimsoll_api::nodegroup::NodeProvider;
use plimsoll_apiserver::pki::Pki;
use plimsoll_sources::nodes::externalgrpc::{Tls, serve};
use serde_json::json;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What is served, and as whom.
pub(super) struct Plugin<'a> {
    /// Who resizes the groups.
    pub(super) provider: Arc<dyn NodeProvider>,
    /// Signs the server's certificate and those of who may ask.
    pub(super) pki: &'a Pki,
    /// Where the credentials for those who ask are written.
    pub(super) dir: PathBuf,
}

impl Plugin<'_> {
    /// Listens, and writes what an autoscaler needs. The future serves until `stop`.
    pub(super) async fn listen(
        self,
        address: SocketAddr,
        stop: CancellationToken,
    ) -> Result<BoxFuture<'static, ()>> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("--node-groups-grpc {address}"))?;
        let address = listener.local_addr()?;
        let server = self.pki.serving().context("the plug-in's certificate")?;
        let asker = self.pki.client("node-groups", &[]);
        let asker = asker.context("the certificate for the plug-in")?;
        let dir = std::path::absolute(&self.dir).unwrap_or(self.dir);
        let file = |name: &str| dir.join(name);
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        write(&file("ca.crt"), self.pki.ca())?;
        write(&file("client.crt"), &asker.cert)?;
        write(&file("client.key"), &asker.key)?;
        // A JSON string is one of YAML, too.
        let quoted = |name: &str| json!(file(name).display().to_string());
        let config = format!(
            "address: \"{address}\"\ncacert: {}\ncert: {}\nkey: {}\n",
            quoted("ca.crt"),
            quoted("client.crt"),
            quoted("client.key")
        );
        write(&file("cloud-config.yaml"), &config)?;
        tracing::info!(%address, config = %file("cloud-config.yaml").display(), "node groups are served");
        let tls = Tls {
            identity: (server.cert.into(), server.key.into()),
            clients: Some(self.pki.ca().into()),
        };
        let provider = self.provider;
        Ok(Box::pin(async move {
            let stopped = stop.cancelled_owned();
            if let Err(error) = serve(provider, listener, Some(tls), stopped).await {
                tracing::error!(%error, "node groups are no longer served");
            }
        }))
    }
}

/// A file that only its owner reads.
fn write(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    let options = options.create(true).write(true).truncate(true).mode(0o600);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}
