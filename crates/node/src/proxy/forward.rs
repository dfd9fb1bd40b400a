//! Moving bytes between clients and endpoints.

use super::route::Route;
use super::{Goal, Place, Protocol, health, udp};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// An endpoint that does not answer within this is passed over.
const CONNECT: Duration = Duration::from_secs(1);

/// Listens until it is stopped; what may pass is tried again.
pub(super) async fn serve(route: Arc<Route>, stop: CancellationToken) {
    let listen = async {
        let mut pause = Duration::from_millis(20);
        loop {
            let served = match route.protocol {
                Protocol::Tcp => tcp(&route).await,
                Protocol::Udp => udp::serve(&route).await,
            };
            let Err(error) = served else { continue };
            if error.kind() == io::ErrorKind::Unsupported {
                // Simulated pods have no network.
                return;
            }
            if error.kind() == io::ErrorKind::PermissionDenied {
                // A port that needs privileges: the same tomorrow.
                return tracing::info!(place = ?route.place, %error, "not listening");
            }
            // Taken, not this machine's address yet, or out of descriptors: all that may pass.
            tracing::debug!(place = ?route.place, %error, "cannot listen yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    };
    stop.run_until_cancelled(listen).await;
}

async fn tcp(route: &Arc<Route>) -> io::Result<()> {
    let listener = match route.place {
        Place::Cluster(at) => route.proxy.config.network.listen(at).await?,
        Place::Host(at) => TcpListener::bind(at).await?,
    };
    loop {
        match listener.accept().await {
            Ok((client, from)) => {
                tokio::spawn(connection(Arc::clone(route), client, from));
            }
            Err(error) => {
                // Out of file descriptors, or the client has left: neither ends the listener.
                tracing::debug!(place = ?route.place, %error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

async fn connection(route: Arc<Route>, mut client: TcpStream, from: SocketAddr) {
    if let Goal::Health(service) = &route.goal {
        let told = health::tell(&route.proxy.config.services, service, client).await;
        return drop(told);
    }
    let meant = client.local_addr().is_ok_and(|at| route.is_meant(at));
    let connected = if meant && route.admits(from.ip()) {
        connect(&route, from).await
    } else {
        None
    };
    let Some((mut endpoint, at)) = connected else {
        // Nobody to talk to: reset instead of a clean end that would look like an empty answer.
        drop(client.set_zero_linger());
        return;
    };
    route.connected(from.ip(), at);
    drop(client.set_nodelay(true));
    drop(endpoint.set_nodelay(true));
    // Ends each direction by itself, so half-closed connections keep their other half.
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut endpoint).await {
        tracing::trace!(%from, %at, %error, "connection broke");
    }
}

async fn connect(route: &Route, from: SocketAddr) -> Option<(TcpStream, SocketAddr)> {
    if let Goal::Host(at) = route.goal {
        return Some((TcpStream::connect(at).await.ok()?, at));
    }
    let choice = route.choose(from.ip())?;
    if let Some(stream) = attempt(route, choice.first()).await {
        return Some((stream, choice.first()));
    }
    for at in route.rest(&choice) {
        if let Some(stream) = attempt(route, at).await {
            return Some((stream, at));
        }
    }
    None
}

async fn attempt(route: &Route, at: SocketAddr) -> Option<TcpStream> {
    let network = &route.proxy.config.network;
    match tokio::time::timeout(CONNECT, network.connect(at)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%at, %error, "endpoint refused; trying another"),
        Err(_) => tracing::debug!(%at, "endpoint silent; trying another"),
    }
    None
}
