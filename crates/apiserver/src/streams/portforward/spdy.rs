//! Port forwarding over SPDY, plain or inside WebSocket: a stream of data and one for errors a
//! connection, tied together by a request ID.

use super::{Ports, Sink, Source, parse_port};
use crate::call::Call;
use crate::http::respond::Response;
use crate::streams::spdy::{self, Incoming, Reader, Stream, Writer};
use crate::streams::upgrade::{self, Takeover};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use plimsoll_api::status::ApiError;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// The protocol inside SPDY.
const PROTOCOLS: [&str; 1] = ["portforward.k8s.io"];
/// How long the second stream of a pair may be late.
const PATIENCE: Duration = Duration::from_secs(30);

/// Switches to SPDY.
pub(super) fn open(call: &Call, ports: Ports) -> Result<Response, ApiError> {
    if let Err(refusal) = upgrade::choose_spdy(call, &PROTOCOLS) {
        return Ok(*refusal);
    }
    Takeover::of(call)?.run(async move |upgraded| serve(TokioIo::new(upgraded), ports).await);
    Ok(upgrade::switching_to_spdy(PROTOCOLS[0]))
}

/// Forwards whatever the client on `io` asks for, until it leaves.
pub(super) async fn serve<IO>(io: IO, ports: Ports)
where
    IO: AsyncRead + AsyncWrite + Send + 'static,
{
    let (incoming, driver) = spdy::open(io);
    tokio::join!(driver, pair_up(incoming, ports));
}

/// The first stream of a pair, and when it came.
struct Half {
    since: Instant,
    port: String,
    kind: Kind,
    streams: (Reader, Writer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Error,
    Data,
}

/// Ties streams together and carries each pair.
async fn pair_up(mut incoming: Incoming, ports: Ports) {
    let mut waiting: BTreeMap<String, Half> = BTreeMap::new();
    let mut running = FuturesUnordered::new();
    loop {
        let oldest = waiting.values().map(|half| half.since + PATIENCE).min();
        let late = async {
            match oldest {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(()) = running.next(), if !running.is_empty() => {}
            stream = incoming.next() => {
                let Some(stream) = stream else { return };
                let taken = alongside(take(stream), &mut running).await;
                let Some((id, half)) = taken else { continue };
                match waiting.remove(&id) {
                    Some(first) if first.kind != half.kind => {
                        running.push(forward(&ports, first, half));
                    }
                    // Two of a kind: the newer one is meant.
                    _ => drop(waiting.insert(id, half)),
                }
            }
            () = late => {
                let now = Instant::now();
                let is_due = |half: &Half| half.since + PATIENCE <= now;
                let due = waiting.iter().filter(|(_, half)| is_due(half));
                let due: Vec<String> = due.map(|(id, _)| id.clone()).collect();
                for half in due.iter().filter_map(|id| waiting.remove(id)) {
                    alongside(give_up(half), &mut running).await;
                }
            }
        }
    }
}

/// Does `work` while what runs goes on. What runs may have been given the room to answer that
/// `work` waits for: unless it is polled, both would wait for ever.
async fn alongside<T>(
    work: impl Future<Output = T>,
    running: &mut FuturesUnordered<impl Future<Output = ()>>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            Some(()) = running.next(), if !running.is_empty() => {}
        }
    }
}

/// Takes a stream if it makes sense.
async fn take(stream: Stream) -> Option<(String, Half)> {
    let kind = match stream.headers.text("streamtype") {
        "error" => Kind::Error,
        "data" => Kind::Data,
        _ => {
            stream.refuse().await;
            return None;
        }
    };
    let port = stream.headers.text("port").to_owned();
    if let Err(why) = parse_port(&port) {
        tracing::debug!(%why, "a port is not forwarded");
        stream.refuse().await;
        return None;
    }
    // Clients that send no request ID open the error stream first, then the data stream.
    let id = match (stream.headers.text("requestid"), kind) {
        ("", Kind::Error) => format!("stream {}", stream.id),
        ("", Kind::Data) => format!("stream {}", stream.id.saturating_sub(2)),
        (id, _) => id.to_owned(),
    };
    let since = Instant::now();
    let streams = stream.accept().await;
    Some((
        id,
        Half {
            since,
            port,
            kind,
            streams,
        },
    ))
}

async fn give_up(half: Half) {
    let (_, writer) = half.streams;
    if half.kind == Kind::Error {
        let text = "error: timed out waiting for streams";
        let _gone = writer.send(Bytes::from_static(text.as_bytes())).await;
        let _gone = writer.finish().await;
    } else {
        writer.cancel().await;
    }
}

/// Carries one connection.
async fn forward(ports: &Ports, first: Half, second: Half) {
    let (error, data) = match first.kind {
        Kind::Error => (first, second),
        Kind::Data => (second, first),
    };
    let (_, error) = error.streams;
    let (reader, writer) = data.streams;
    let mut source = FromClient(reader);
    let left = writer.gone();
    let mut sink = ToClient(Some(writer));
    let carry = async {
        let port = parse_port(&data.port)?;
        ports.carry(port, &mut source, &mut sink).await
    };
    let carried = tokio::select! {
        biased;
        () = left => Ok(()),
        carried = carry => carried,
    };
    if let Err(why) = carried {
        let _gone = error.send(Bytes::from(why)).await;
    }
    let _gone = error.finish().await;
    if let Some(writer) = sink.0 {
        // Cut off: an end would look like all there was.
        writer.cancel().await;
    }
}

struct FromClient(Reader);

impl Source for FromClient {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.read().await
    }
}

struct ToClient(Option<Writer>);

impl Sink for ToClient {
    async fn put(&mut self, bytes: Bytes) -> bool {
        match &self.0 {
            Some(writer) => writer.send(bytes).await.is_ok(),
            None => false,
        }
    }

    async fn end(&mut self) {
        if let Some(writer) = self.0.take() {
            let _gone = writer.finish().await;
        }
    }
}
