//! Questions for others: the host's resolvers.

use super::{reply, wire};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// A resolver that does not answer within this is passed over.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions under way at a time; more are refused, so that a silent resolver does not pile them up.
const MOST: usize = 1000;

/// How a question came and has to be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// The resolvers behind this server.
#[derive(Debug)]
pub(super) struct Upstream {
    resolvers: Vec<SocketAddr>,
    /// The one that answered last.
    good: AtomicUsize,
    under_way: Semaphore,
    questions: AtomicU16,
}

impl Upstream {
    pub(super) fn new(resolvers: Vec<SocketAddr>) -> Self {
        Self {
            resolvers,
            good: AtomicUsize::new(0),
            under_way: Semaphore::new(MOST),
            questions: AtomicU16::new(1),
        }
    }

    /// Whether there is nobody to ask.
    pub(super) fn is_nobody(&self) -> bool {
        self.resolvers.is_empty()
    }

    /// Passes a query on; a failure where nobody answers it.
    pub(super) async fn forward(
        &self,
        packet: &[u8],
        query: &Message,
        transport: Transport,
    ) -> Vec<u8> {
        match self.ask(packet, transport).await {
            Some(bytes) => bytes,
            None => wire::encode(&failure(query, ResponseCode::ServFail), 512),
        }
    }

    /// Adds what an alias outside the zone stands for.
    pub(super) async fn complete(
        &self,
        mut response: Message,
        target: Name,
        kind: RecordType,
    ) -> Message {
        let id = self.questions.fetch_add(1, Ordering::Relaxed);
        let mut question = Message::new(id, MessageType::Query, OpCode::Query);
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(target, kind));
        let found = match question.to_vec() {
            Ok(packet) if !self.is_nobody() => self.found(&packet).await,
            _ => None,
        };
        match found {
            Some(found) => {
                response.metadata.response_code = found.metadata.response_code;
                response.answers.extend(found.answers);
            }
            None if self.is_nobody() => {
                response.metadata.response_code = ResponseCode::NXDomain;
            }
            None => response.metadata.response_code = ResponseCode::ServFail,
        }
        response
    }

    async fn found(&self, packet: &[u8]) -> Option<Message> {
        let short = self.ask(packet, Transport::Udp).await?;
        let short = Message::from_vec(&short).ok()?;
        if !short.metadata.truncation {
            return Some(short);
        }
        let long = self.ask(packet, Transport::Tcp).await?;
        Message::from_vec(&long).ok()
    }

    /// Asks one after the other, the one that answered last first.
    async fn ask(&self, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let _permit = self.under_way.try_acquire().ok()?;
        let first = self.good.load(Ordering::Relaxed);
        for index in 0..self.resolvers.len() {
            let index = (first + index) % self.resolvers.len();
            let resolver = *self.resolvers.get(index)?;
            let asked = async {
                match transport {
                    Transport::Udp => ask_udp(resolver, packet).await,
                    Transport::Tcp => ask_tcp(resolver, packet).await,
                }
            };
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(bytes)) => {
                    self.good.store(index, Ordering::Relaxed);
                    return Some(bytes);
                }
                Ok(Err(error)) => tracing::debug!(%resolver, %error, "resolver failed"),
                Err(_) => tracing::debug!(%resolver, "resolver silent"),
            }
        }
        None
    }
}

/// A refusal with a reason.
pub(super) fn failure(query: &Message, code: ResponseCode) -> Message {
    let mut response = reply(query);
    response.metadata.response_code = code;
    response
}

async fn ask_udp(resolver: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Only an answer to this very question counts.
        if length >= 2 && buffer.get(..2) == packet.get(..2) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(resolver: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(packet);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
