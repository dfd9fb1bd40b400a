//! The name server's sockets.

use super::forward::{Transport, Upstream, failure};
use super::wire::{self, Received};
use super::{Answer, Zone, answer, plain};
use crate::proxy::table::Directory;
use crate::runtime::Network;
use hickory_proto::op::{Message, Query, ResponseCode};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A TCP client that is silent for this long is dropped.
const TCP_IDLE: Duration = Duration::from_secs(30);
/// The pause before an address that is still taken is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// What the name server needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Services and endpoints.
    pub services: Directory,
    /// The pods' network.
    pub network: Arc<dyn Network>,
    /// `10.96.0.10:53`.
    pub address: SocketAddr,
    /// `cluster.local`.
    pub domain: String,
    /// First address and prefix length of the Services' range, like 10.96.0.0 and 12.
    pub service_range: (Ipv4Addr, u8),
    /// Resolvers for all other names; see [`Server::host_resolvers`].
    pub upstream: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    upstream: Upstream,
    queries: AtomicUsize,
}

/// The running name server; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    stop: CancellationToken,
}

impl Server {
    /// Starts answering, on UDP and TCP, as soon as the Services are known: a name must not be
    /// denied because it has not been read yet. An address that is still taken is tried again.
    pub fn start(config: Config) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            upstream: Upstream::new(config.upstream.clone()),
            config,
            queries: AtomicUsize::new(0),
        });
        for transport in [Transport::Udp, Transport::Tcp] {
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            tokio::spawn(async move { stop.run_until_cancelled(shared.run(transport)).await });
        }
        Self { stop }
    }

    /// The resolvers named in the text of the host's `/etc/resolv.conf`.
    pub fn host_resolvers(resolv_conf: &str) -> Vec<SocketAddr> {
        let lines = resolv_conf.lines().map(str::split_whitespace);
        let servers = lines.filter_map(|mut words| match (words.next(), words.next()) {
            (Some("nameserver"), Some(address)) => address.parse().ok(),
            _ => None,
        });
        servers.map(|ip| SocketAddr::new(ip, 53)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    async fn run(self: Arc<Self>, transport: Transport) {
        self.config.services.synced().await;
        loop {
            let served = match transport {
                Transport::Udp => Arc::clone(&self).serve_udp().await,
                Transport::Tcp => Arc::clone(&self).serve_tcp().await,
            };
            if let Err(error) = served {
                if error.kind() == io::ErrorKind::Unsupported {
                    return tracing::info!(?transport, %error, "no name server");
                }
                let address = self.config.address;
                tracing::warn!(%address, ?transport, %error, "name server failed");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn serve_udp(self: Arc<Self>) -> io::Result<()> {
        let socket = Arc::new(self.config.network.bind_udp(self.config.address).await?);
        let mut buffer = vec![0; 4096];
        loop {
            // A receive error on UDP is about an earlier answer; it must not end the server.
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let packet = buffer.get(..length).unwrap_or_default();
            let query = match wire::read(packet) {
                Received::Query(query) => query,
                Received::Malformed(told) => {
                    drop(socket.send_to(&told, from).await);
                    continue;
                }
                Received::Ignored => continue,
            };
            if let Answer::Whole(response) = self.local(&query) {
                let bytes = wire::encode(&response, wire::limit(&query));
                drop(socket.send_to(&bytes, from).await);
                continue;
            }
            let (server, socket, packet) =
                (Arc::clone(&self), Arc::clone(&socket), packet.to_vec());
            tokio::spawn(async move {
                let bytes = server.answer(&packet, &query, Transport::Udp).await;
                drop(socket.send_to(&bytes, from).await);
            });
        }
    }

    async fn serve_tcp(self: Arc<Self>) -> io::Result<()> {
        let listener: TcpListener = self.config.network.listen(self.config.address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                if let Err(error) = server.converse(stream).await {
                    tracing::trace!(%error, "name server connection ended");
                }
            });
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = tokio::time::timeout(TCP_IDLE, stream.read_u16()).await??;
            let mut packet = vec![0; usize::from(length)];
            tokio::time::timeout(TCP_IDLE, stream.read_exact(&mut packet)).await??;
            let bytes = match wire::read(&packet) {
                Received::Query(query) => self.answer(&packet, &query, Transport::Tcp).await,
                Received::Malformed(told) => told,
                Received::Ignored => return Ok(()),
            };
            let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
            let mut framed = length.to_be_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            stream.write_all(&framed).await?;
        }
    }

    /// The whole answer, others asked where need be.
    async fn answer(&self, packet: &[u8], query: &Message, transport: Transport) -> Vec<u8> {
        let limit = match transport {
            Transport::Udp => wire::limit(query),
            Transport::Tcp => usize::from(u16::MAX),
        };
        match self.local(query) {
            Answer::Whole(response) => wire::encode(&response, limit),
            Answer::Alias(response, target) => {
                let kind = query.queries.first().map(Query::query_type);
                let Some(kind) = kind else {
                    return wire::encode(&response, limit);
                };
                let response = self.upstream.complete(response, target, kind).await;
                wire::encode(&response, limit)
            }
            Answer::Elsewhere => self.upstream.forward(packet, query, transport).await,
        }
    }

    /// What can be said without asking others.
    fn local(&self, query: &Message) -> Answer {
        let rotation = self.queries.fetch_add(1, Ordering::Relaxed);
        let own = self.config.services.read(|table| {
            let zone = Zone {
                domain: &self.config.domain,
                table,
                server: self.config.address.ip(),
                services: self.config.service_range,
            };
            answer(&zone, query, rotation)
        });
        if !matches!(own, Answer::Elsewhere) {
            return own;
        }
        let name = query
            .queries
            .first()
            .map(|q| plain(q.name()))
            .unwrap_or_default();
        // Names of one label are the cluster's own short names, which no outside server has.
        if self.upstream.is_nobody() || !(name.is_empty() || name.contains('.')) {
            return Answer::Whole(failure(query, ResponseCode::NXDomain));
        }
        Answer::Elsewhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_resolvers_are_read_from_resolv_conf() {
        let text = "# x\nsearch a\nnameserver 1.1.1.1\nnameserver fe80::1\nnameserver bad\n";
        let got: Vec<String> = Server::host_resolvers(text)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(got, ["1.1.1.1:53", "[fe80::1]:53"]);
    }
}
