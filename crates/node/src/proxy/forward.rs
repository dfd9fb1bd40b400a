//! Moving bytes between clients and endpoints.

use super::{Goal, Place, Protocol, Route};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// An endpoint that does not answer within this is passed over.
const CONNECT: Duration = Duration::from_secs(1);
/// A UDP client that is silent for this long is forgotten.
const UDP_IDLE: Duration = Duration::from_secs(60);
/// Most clients of one UDP port at a time.
const UDP_CLIENTS: usize = 4096;

/// Listens until the route is stopped; an address that is still taken is tried again.
pub(super) async fn serve(route: Arc<Route>) {
    let stop = route.stop.clone();
    let listen = async {
        let mut pause = Duration::from_millis(20);
        loop {
            let served = match route.protocol {
                Protocol::Tcp => tcp(&route).await,
                Protocol::Udp => udp(&route).await,
            };
            if let Err(error) = served {
                tracing::debug!(place = ?route.place, %error, "cannot listen");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = listen => {}
    }
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
    let Some((mut endpoint, at)) = connect(&route, from).await else {
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
    let network = &route.proxy.config.network;
    for at in route.choose(from.ip()) {
        match tokio::time::timeout(CONNECT, network.connect(at)).await {
            Ok(Ok(stream)) => return Some((stream, at)),
            Ok(Err(error)) => tracing::debug!(%at, %error, "endpoint refused; trying another"),
            Err(_) => tracing::debug!(%at, "endpoint silent; trying another"),
        }
    }
    None
}

async fn udp(route: &Arc<Route>) -> io::Result<()> {
    let network = &route.proxy.config.network;
    let socket = Arc::new(match route.place {
        Place::Cluster(at) => network.bind_udp(at).await?,
        Place::Host(at) => UdpSocket::bind(at).await?,
    });
    let mut flows: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        // A flow whose reply task has ended is held only here.
        flows.retain(|_, flow| Arc::strong_count(flow) > 1);
        let flow = match flows.get(&from) {
            Some(flow) => Arc::clone(flow),
            None if flows.len() >= UDP_CLIENTS => continue,
            None => {
                let Some(at) = route.choose(from.ip()).into_iter().next() else {
                    continue;
                };
                let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
                let flow = Arc::new(network.bind_udp(any).await?);
                if flow.connect(at).await.is_err() {
                    continue;
                }
                route.connected(from.ip(), at);
                flows.insert(from, Arc::clone(&flow));
                tokio::spawn(replies(Arc::clone(&socket), Arc::clone(&flow), from));
                flow
            }
        };
        if let Some(packet) = buffer.get(..length) {
            drop(flow.send(packet).await);
        }
    }
}

async fn replies(socket: Arc<UdpSocket>, flow: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; 65_536];
    while let Ok(Ok(length)) = tokio::time::timeout(UDP_IDLE, flow.recv(&mut buffer)).await {
        let Some(packet) = buffer.get(..length) else {
            return;
        };
        if socket.send_to(packet, client).await.is_err() {
            return;
        }
    }
}
