//! The WebSocket handshake, and the channels that Kubernetes puts into WebSocket messages.

use crate::call::Call;
use crate::http::body::full;
use crate::http::respond::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use plimsoll_api::status::ApiError;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

/// Longest message a client may send, in bytes.
const LONGEST: usize = 4 * 1024 * 1024;
/// How long a client may take to answer a close.
const LINGER: Duration = Duration::from_secs(5);
/// Bytes that may wait inside a tunnel, each way.
const TUNNEL: usize = 64 * 1024;

/// A WebSocket connection.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;
/// Its sending half.
pub(super) type Sender = SplitSink<Socket, Message>;
/// Its receiving half.
pub(super) type Receiver = SplitStream<Socket>;

/// How bytes are written into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// As they are, in binary messages.
    Binary,
    /// As base64, in text messages.
    Base64,
}

/// Whether a request asks for WebSocket.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    super::upgrade::wants(headers, "websocket") && headers.contains_key(SEC_WEBSOCKET_KEY)
}

/// The first protocol that the client offers and the server speaks: its place in `known`. A client
/// that offers none gets the one named `""`, where there is one.
pub(super) fn choose(headers: &HeaderMap, known: &[&'static str]) -> Result<usize, ApiError> {
    let offered = super::upgrade::list(headers, &SEC_WEBSOCKET_PROTOCOL);
    let place = |name: &str| known.iter().position(|one| *one == name);
    let found = match offered.as_slice() {
        [] => place(""),
        many => many.iter().find_map(|name| place(name)),
    };
    found.ok_or_else(|| {
        let spoken: Vec<_> = known.iter().filter(|name| !name.is_empty()).collect();
        ApiError::bad_request(format!(
            "unable to upgrade connection: none of the protocols {offered:?} is supported; this server speaks {spoken:?}"
        ))
    })
}

/// The answer that switches to WebSocket with `protocol` (none if empty).
pub(super) fn switching(call: &Call, protocol: &'static str) -> Result<Response, ApiError> {
    let key = call.headers.get(SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| ApiError::bad_request("Upgrade request required"))?;
    let accept = derive_accept_key(key.as_bytes());
    let mut response = http::Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&accept).map_err(ApiError::internal)?;
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if !protocol.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(response)
}

/// Speaks WebSocket on a connection that has switched to it.
pub(super) async fn speak(upgraded: Upgraded) -> (Sender, Receiver) {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(LONGEST);
    config.max_frame_size = Some(LONGEST);
    let io = TokioIo::new(upgraded);
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    socket.split()
}

/// Whether a message was sent; `false` once the client has left.
pub(super) async fn say(sender: &mut Sender, message: Message) -> bool {
    sender.send(message).await.is_ok()
}

/// Says that nothing more comes, then waits a little for the client to hang up: without that, its
/// last reads could fail.
pub(super) async fn close(mut sender: Sender, mut receiver: Receiver) {
    // Clients take a close without a code for a broken connection.
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::default(),
    };
    if say(&mut sender, Message::Close(Some(frame))).await {
        let hung_up = async { while let Some(Ok(_)) = receiver.next().await {} };
        let _either = tokio::time::timeout(LINGER, hung_up).await;
    }
}

impl Coding {
    /// A message with bytes of a channel.
    pub(super) fn channel(self, channel: u8, bytes: &[u8]) -> Message {
        match self {
            Self::Binary => {
                let mut frame = Vec::with_capacity(bytes.len() + 1);
                frame.push(channel);
                frame.extend_from_slice(bytes);
                Message::Binary(frame.into())
            }
            Self::Base64 => {
                let mut text = char::from(b'0'.saturating_add(channel)).to_string();
                STANDARD.encode_string(bytes, &mut text);
                Message::Text(text.into())
            }
        }
    }

    /// A message that is nothing but bytes.
    pub(super) fn plain(self, bytes: Bytes) -> Message {
        match self {
            Self::Binary => Message::Binary(bytes),
            Self::Base64 => Message::Text(STANDARD.encode(&bytes).into()),
        }
    }

    /// The channel and the bytes of a client's message; `None` for what carries nothing.
    pub(super) fn read(self, message: &Message) -> Option<(u8, Bytes)> {
        let bytes: Bytes = match message {
            Message::Binary(bytes) => bytes.clone(),
            Message::Text(text) => text.clone().into(),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                return None;
            }
        };
        let (channel, rest) = bytes.split_first()?;
        match self {
            Self::Binary => Some((*channel, bytes.slice(1..))),
            Self::Base64 => {
                let decoded = STANDARD.decode(rest).ok()?;
                Some((channel.checked_sub(b'0')?, decoded.into()))
            }
        }
    }
}

/// A connection that carries another protocol's bytes in binary messages, as those bytes; and the
/// work of moving them, which ends with either side.
pub(super) fn tunnel(upgraded: Upgraded) -> (DuplexStream, impl Future<Output = ()> + Send) {
    let (near, far) = tokio::io::duplex(TUNNEL);
    let work = async move {
        let (mut sender, mut receiver) = speak(upgraded).await;
        let (mut from_near, mut to_near) = tokio::io::split(far);
        let incoming = async {
            while let Some(Ok(message)) = receiver.next().await {
                let bytes = match message {
                    Message::Binary(bytes) => bytes,
                    Message::Close(_) => break,
                    Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                        continue;
                    }
                };
                if to_near.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            // The other side sees the end; it may not care any more.
            let _gone = to_near.shutdown().await;
        };
        let outgoing = async {
            let mut buffer = bytes::BytesMut::new();
            loop {
                buffer.reserve(TUNNEL / 2);
                match from_near.read_buf(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                let message = Message::Binary(buffer.split().freeze());
                if !say(&mut sender, message).await {
                    return;
                }
            }
        };
        let left = tokio::select! {
            biased;
            () = incoming => true,
            () = outgoing => false,
        };
        if !left {
            close(sender, receiver).await;
        }
    };
    (near, work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::binary(Coding::Binary, Message::Binary(vec![1, b'h', b'i'].into()))]
    #[case::base64(Coding::Base64, Message::Text("1aGk=".into()))]
    fn a_channel_and_its_bytes_are_one_message(#[case] coding: Coding, #[case] message: Message) {
        assert_eq!(coding.channel(1, b"hi"), message);
        assert_eq!(coding.read(&message), Some((1, Bytes::from("hi"))));
    }

    #[rstest]
    #[case::empty(Coding::Binary, Message::Binary(Bytes::new()))]
    #[case::ping(Coding::Binary, Message::Ping(Bytes::from("x")))]
    #[case::no_base64(Coding::Base64, Message::Text("0%%%".into()))]
    #[case::no_channel(Coding::Base64, Message::Text("\u{1}aGk=".into()))]
    fn what_carries_nothing_is_passed_over(#[case] coding: Coding, #[case] message: Message) {
        assert_eq!(coding.read(&message), None);
    }

    #[rstest]
    #[case::the_clients_first_choice(&["v4.channel.k8s.io, v5.channel.k8s.io"], Some(1))]
    #[case::in_several_headers(&["nonsense", "v5.channel.k8s.io"], Some(2))]
    #[case::none_is_offered(&[], Some(0))]
    #[case::none_is_known(&["nonsense"], None)]
    fn the_protocol_is_agreed_on(#[case] offered: &[&'static str], #[case] want: Option<usize>) {
        let mut headers = HeaderMap::new();
        for one in offered {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(one));
        }
        let known = ["", "v4.channel.k8s.io", "v5.channel.k8s.io"];
        assert_eq!(choose(&headers, &known).ok(), want);
    }
}
