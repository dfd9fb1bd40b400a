//! The name server's sockets.

use super::{Zone, answer, plain, reply};
use crate::proxy::table::Directory;
use crate::runtime::Network;
use hickory_proto::op::{Message, ResponseCode};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

/// A host's resolver that does not answer within this is passed over.
const FORWARD: Duration = Duration::from_secs(2);
/// A TCP client that is silent for this long is dropped.
const TCP_IDLE: Duration = Duration::from_secs(30);

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
    /// Resolvers for all other names; see [`Server::host_resolvers`].
    pub upstream: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    queries: AtomicUsize,
}

/// The running name server; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    stop: CancellationToken,
}

impl Server {
    /// Starts answering, on UDP and TCP. An address that is still taken is tried again.
    pub fn start(config: Config) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            config,
            queries: AtomicUsize::new(0),
        });
        let (udp, tcp) = (Arc::clone(&shared), shared);
        run(&stop, async move { udp.udp().await });
        run(&stop, async move { tcp.tcp().await });
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

fn run(stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(work).await });
}

impl Shared {
    async fn udp(self: Arc<Self>) {
        loop {
            if let Err(error) = Arc::clone(&self).serve_udp().await {
                if error.kind() == io::ErrorKind::Unsupported {
                    return tracing::info!(%error, "no name server (UDP)");
                }
                tracing::warn!(address = %self.config.address, %error, "name server (UDP) failed");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
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
            let Some(packet) = buffer.get(..length).map(<[u8]>::to_vec) else {
                continue;
            };
            let Ok(query) = Message::from_vec(&packet) else {
                continue;
            };
            let limit = usize::from(query.max_payload().clamp(512, 1232));
            if let Some(response) = self.local(&query) {
                drop(socket.send_to(&encode(&response, limit), from).await);
                continue;
            }
            let (server, socket) = (Arc::clone(&self), Arc::clone(&socket));
            tokio::spawn(async move {
                let bytes = server.forward(&packet, &query).await;
                drop(socket.send_to(&bytes, from).await);
            });
        }
    }

    async fn tcp(self: Arc<Self>) {
        loop {
            if let Err(error) = Arc::clone(&self).serve_tcp().await {
                if error.kind() == io::ErrorKind::Unsupported {
                    return tracing::info!(%error, "no name server (TCP)");
                }
                tracing::warn!(address = %self.config.address, %error, "name server (TCP) failed");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn serve_tcp(self: Arc<Self>) -> io::Result<()> {
        let listener = self.config.network.listen(self.config.address).await?;
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
            let query = Message::from_vec(&packet).map_err(io::Error::other)?;
            let bytes = match self.local(&query) {
                Some(response) => encode(&response, usize::from(u16::MAX)),
                None => self.forward(&packet, &query).await,
            };
            let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
            stream.write_u16(length).await?;
            stream.write_all(&bytes).await?;
        }
    }

    /// The answer, unless somebody else has to give it.
    fn local(&self, query: &Message) -> Option<Message> {
        let rotation = self.queries.fetch_add(1, Ordering::Relaxed);
        let domain = self.config.domain.as_str();
        let own = self
            .config
            .services
            .read(|t| answer(&Zone { domain, table: t }, query, rotation));
        if own.is_some() {
            return own;
        }
        let name = query
            .queries
            .first()
            .map(|q| plain(q.name()))
            .unwrap_or_default();
        let nobody_knows = !name.contains('.') || self.config.upstream.is_empty();
        nobody_knows.then(|| failure(query, ResponseCode::NXDomain))
    }

    /// Asks the host's resolvers one after the other.
    async fn forward(&self, packet: &[u8], query: &Message) -> Vec<u8> {
        for upstream in &self.config.upstream {
            match tokio::time::timeout(FORWARD, ask(*upstream, packet)).await {
                Ok(Ok(bytes)) => return bytes,
                Ok(Err(error)) => tracing::debug!(%upstream, %error, "resolver failed"),
                Err(_) => tracing::debug!(%upstream, "resolver silent"),
            }
        }
        encode(&failure(query, ResponseCode::ServFail), 512)
    }
}

async fn ask(upstream: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Only an answer to this very question counts.
        if buffer.get(..2) == packet.get(..2) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

fn failure(query: &Message, code: ResponseCode) -> Message {
    let mut response = reply(query);
    response.metadata.response_code = code;
    response
}

/// The message as bytes; cut short (and marked so) where it is longer than the limit.
fn encode(response: &Message, limit: usize) -> Vec<u8> {
    let whole = response.to_vec().unwrap_or_default();
    if whole.len() <= limit {
        whole
    } else {
        response.truncate().to_vec().unwrap_or_default()
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
