//! Datagrams: one flow a client, as long as either side speaks.

use super::Place;
use super::route::{Revision, Route};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A flow without a reply for this long is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// Most clients of one port at a time.
const MOST_CLIENTS: usize = 4096;

struct Flow {
    number: u64,
    socket: Arc<UdpSocket>,
    endpoint: SocketAddr,
    /// The state of the Service at which the endpoint was last found to be allowed.
    checked: Revision,
    _replies: DropGuard,
}

/// Clients and their flows.
struct Flows {
    route: Arc<Route>,
    socket: Arc<UdpSocket>,
    by_client: BTreeMap<SocketAddr, Flow>,
    ended: mpsc::UnboundedReceiver<(SocketAddr, u64)>,
    tell_end: mpsc::UnboundedSender<(SocketAddr, u64)>,
    count: u64,
}

/// Serves a port until it is dropped.
pub(super) async fn serve(route: &Arc<Route>) -> io::Result<()> {
    let socket = Arc::new(match route.place {
        Place::Cluster(at) => route.proxy.config.network.bind_udp(at).await?,
        Place::Host(at) => UdpSocket::bind(at).await?,
    });
    let (tell_end, ended) = mpsc::unbounded_channel();
    let mut flows = Flows {
        route: Arc::clone(route),
        socket: Arc::clone(&socket),
        by_client: BTreeMap::new(),
        ended,
        tell_end,
        count: 0,
    };
    let mut buffer = vec![0; 65_536];
    loop {
        // An error here is about an earlier datagram.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(packet) = buffer.get(..length) {
            flows.pass(from, packet).await;
        }
    }
}

impl Flows {
    async fn pass(&mut self, from: SocketAddr, packet: &[u8]) {
        while let Ok((client, number)) = self.ended.try_recv() {
            if self
                .by_client
                .get(&client)
                .is_some_and(|flow| flow.number == number)
            {
                self.by_client.remove(&client);
            }
        }
        if !self.route.admits(from.ip()) {
            self.by_client.remove(&from);
            return;
        }
        self.check(from);
        if !self.by_client.contains_key(&from) {
            match self.open(from).await {
                Ok(Some(flow)) => drop(self.by_client.insert(from, flow)),
                Ok(None) => return,
                Err(error) => return tracing::debug!(%from, %error, "no flow"),
            }
        }
        let Some(flow) = self.by_client.get(&from) else {
            return;
        };
        // Refused: the endpoint has closed its port, so the next datagram chooses anew.
        if flow.socket.send(packet).await.is_err() {
            self.by_client.remove(&from);
        }
    }

    /// Forgets the flow of a client whose endpoint is none any more.
    fn check(&mut self, from: SocketAddr) {
        let Some(flow) = self.by_client.get_mut(&from) else {
            return;
        };
        let revision = self.route.revision();
        if flow.checked == revision {
            return;
        }
        flow.checked = revision;
        if !self.route.allows(from.ip(), flow.endpoint) {
            self.by_client.remove(&from);
        }
    }

    async fn open(&mut self, from: SocketAddr) -> io::Result<Option<Flow>> {
        let room = self.by_client.len() < MOST_CLIENTS;
        let Some(choice) = self.route.choose(from.ip()).filter(|_| room) else {
            return Ok(None);
        };
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let socket = self.route.proxy.config.network.bind_udp(any).await?;
        let socket = Arc::new(socket);
        socket.connect(choice.first()).await?;
        self.route.connected(from.ip(), choice.first());
        self.count += 1;
        let stop = CancellationToken::new();
        let back = Back {
            client: from,
            to_client: Arc::clone(&self.socket),
            from_endpoint: Arc::clone(&socket),
        };
        let (tell, number, token) = (self.tell_end.clone(), self.count, stop.clone());
        tokio::spawn(async move {
            token.run_until_cancelled(back.replies()).await;
            // Nobody listens once the port is closed.
            tell.send((from, number)).unwrap_or_default();
        });
        Ok(Some(Flow {
            number: self.count,
            socket,
            endpoint: choice.first(),
            checked: choice.revision,
            _replies: stop.drop_guard(),
        }))
    }
}

/// The way back.
struct Back {
    client: SocketAddr,
    to_client: Arc<UdpSocket>,
    from_endpoint: Arc<UdpSocket>,
}

impl Back {
    async fn replies(self) {
        let mut buffer = vec![0; 65_536];
        while let Ok(Ok(length)) =
            tokio::time::timeout(IDLE, self.from_endpoint.recv(&mut buffer)).await
        {
            let Some(packet) = buffer.get(..length) else {
                return;
            };
            if self.to_client.send_to(packet, self.client).await.is_err() {
                return;
            }
        }
    }
}
