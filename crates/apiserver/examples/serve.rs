//! An API server by itself, for trying clients against: no controllers, no nodes.
//!
//! `cargo run -p plimsoll-apiserver --example serve -- KUBECONFIG [PORT]` serves on loopback until
//! interrupted and writes an administrator's kubeconfig to the file.

use plimsoll_api::kinds;
use plimsoll_apiserver::pki::{Context, Pki, kubeconfig};
use plimsoll_apiserver::serve::Listener;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use plimsoll_clock::Clock;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments
        .next()
        .ok_or("name the kubeconfig file to write")?;
    let port: u16 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let pki = Pki::ephemeral(&[])?;
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let address = listener.address();
    let cluster = ClusterSettings {
        advertise_port: address.port(),
        ca: pki.ca().to_owned(),
        ..ClusterSettings::default()
    };
    let server = ApiServer::new(Config {
        store: Store::open(Options::ephemeral())?,
        clock: Clock::system(),
        kinds: kinds::built_in(),
        seed: 1,
        cluster,
        nodes: None,
        locals: Vec::new(),
        token_key: pki.token_key(),
    });
    server.bootstrap().await?;
    let tended = server.clone();
    tokio::spawn(async move { tended.tend().await });
    let admin = pki.client("kubernetes-admin", &["system:masters"])?;
    let url = format!("https://{address}");
    let context = Context {
        name: "plimsoll",
        server: &url,
        ca: pki.ca(),
        client: &admin,
    };
    std::fs::write(&file, kubeconfig(&context))?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stopping.cancel();
        }
    });
    let handler = move |request, peer: plimsoll_apiserver::serve::Peer| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.handle(peer.identity, request).await) }
    };
    listener
        .serve(pki.server_config()?, handler, stop, Duration::from_secs(2))
        .await;
    Ok(())
}
