//! Port forwarding over WebSocket: SPDY in binary messages, or the older form with two channels a
//! port (data, then errors), each of which begins with the port's number.

use super::{Ports, Sink, Source, parse_port, spdy};
use crate::call::Call;
use crate::http::respond::Response;
use crate::streams::upgrade::Takeover;
use crate::streams::websocket::{self, Coding, Receiver};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use plimsoll_api::status::ApiError;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::Message;

/// SPDY inside WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Protocols spoken: the tunnel, then those with channels.
const PROTOCOLS: [(&str, Coding); 4] = [
    (TUNNEL, Coding::Binary),
    ("v4.channel.k8s.io", Coding::Binary),
    ("v4.base64.channel.k8s.io", Coding::Base64),
    ("", Coding::Binary),
];
/// Most ports of one request: their channels are numbered in one byte.
const PORTS: usize = 127;
/// Messages that may wait for a port.
const WAITING: usize = 16;

/// Switches to WebSocket.
pub(super) fn open(call: &Call, ports: Ports) -> Result<Response, ApiError> {
    let chosen = websocket::choose(&call.headers, &PROTOCOLS.map(|(name, _)| name))?;
    let (name, coding) = PROTOCOLS.get(chosen).copied().unwrap_or(PROTOCOLS[0]);
    if name == TUNNEL {
        let response = websocket::switching(call, name)?;
        Takeover::of(call)?.run(async move |upgraded| {
            let (io, work) = websocket::tunnel(upgraded);
            tokio::join!(work, spdy::serve(io, ports));
        });
        return Ok(response);
    }
    let numbers = numbers(call)?;
    let response = websocket::switching(call, name)?;
    Takeover::of(call)?.run(async move |upgraded| {
        let (sender, receiver) = websocket::speak(upgraded).await;
        let (say, said) = mpsc::channel(WAITING);
        let mut inputs = Vec::new();
        let mut connections = Vec::new();
        for (index, port) in (0_u8..).zip(numbers) {
            let (input, source) = mpsc::channel(WAITING);
            inputs.push(input);
            let wire = Wire {
                coding,
                channel: index.saturating_mul(2),
                say: say.clone(),
            };
            connections.push(forward(&ports, port, source, wire));
        }
        drop(say);
        let served = futures::future::join_all(connections);
        let outgoing = write(sender, said);
        let mut receiver = receiver;
        let incoming = distribute(&mut receiver, coding, inputs);
        let sender = tokio::select! {
            biased;
            (_, sender) = async { tokio::join!(served, outgoing) } => sender,
            () = incoming => None,
        };
        if let Some(sender) = sender {
            websocket::close(sender, receiver).await;
        }
    });
    Ok(response)
}

/// The ports in the query.
fn numbers(call: &Call) -> Result<Vec<u16>, ApiError> {
    let texts = call.query.all("ports").chain(call.query.all("port"));
    let texts = texts.flat_map(|text| text.split(','));
    let numbers: Result<Vec<u16>, String> = texts.map(parse_port).collect();
    let numbers = numbers.map_err(ApiError::bad_request)?;
    match numbers.len() {
        0 => Err(ApiError::bad_request(
            "query parameter \"ports\" is required",
        )),
        1..=PORTS => Ok(numbers),
        _ => {
            let message = format!("at most {PORTS} ports can be forwarded by one request");
            Err(ApiError::bad_request(message))
        }
    }
}

/// Writes what the ports say until all have ended; gives the sender back while the client is there.
async fn write(
    mut sender: websocket::Sender,
    mut said: mpsc::Receiver<Message>,
) -> Option<websocket::Sender> {
    while let Some(message) = said.recv().await {
        sender.send(message).await.ok()?;
    }
    Some(sender)
}

/// Hands the client's messages to their ports until the client leaves.
async fn distribute(receiver: &mut Receiver, coding: Coding, inputs: Vec<mpsc::Sender<Bytes>>) {
    while let Some(Ok(message)) = receiver.next().await {
        if message.is_close() {
            return;
        }
        // Even channels carry data; clients have nothing to say on the others.
        let Some((channel, bytes)) = coding.read(&message) else {
            continue;
        };
        let input = inputs.get(usize::from(channel / 2));
        if let Some(input) = input.filter(|_| channel % 2 == 0) {
            // A port that has ended takes nothing more.
            let _gone = input.send(bytes).await;
        }
    }
}

/// Carries the connection to one port.
async fn forward(ports: &Ports, port: u16, mut source: mpsc::Receiver<Bytes>, mut wire: Wire) {
    let number = Bytes::copy_from_slice(&port.to_le_bytes());
    for channel in [wire.channel, wire.errors()] {
        wire.send(channel, &number).await;
    }
    if let Err(why) = ports.carry(port, &mut source, &mut wire).await {
        wire.send(wire.errors(), why.as_bytes()).await;
    }
}

/// The channels of one port.
struct Wire {
    coding: Coding,
    channel: u8,
    say: mpsc::Sender<Message>,
}

impl Wire {
    fn errors(&self) -> u8 {
        self.channel.saturating_add(1)
    }

    async fn send(&self, channel: u8, bytes: &[u8]) -> bool {
        self.say
            .send(self.coding.channel(channel, bytes))
            .await
            .is_ok()
    }
}

impl Source for mpsc::Receiver<Bytes> {
    async fn next(&mut self) -> Option<Bytes> {
        self.recv().await
    }
}

impl Sink for Wire {
    async fn put(&mut self, bytes: Bytes) -> bool {
        self.send(self.channel, &bytes).await
    }

    async fn end(&mut self) {}
}
