//! The WebSocket handshake and the channel protocols of exec and attach.

use crate::call::Call;
use crate::http::body::full;
use crate::http::respond::Response;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use plimsoll_api::meta;
use plimsoll_api::node::{Input, Output, Session};
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Version 5 only: the next byte names a channel that the client has finished writing.
const CLOSE: u8 = 255;

/// Protocols spoken, best first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// How the exit code reaches the client.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    /// As a failure with an `ExitCode` cause.
    ByCode,
    /// Always a success (attach).
    Quiet,
    /// With this Status: the session could not begin.
    Refused(Value),
}

/// A handshake that has been read.
#[derive(Debug)]
pub(super) struct Handshake {
    upgrade: OnUpgrade,
    accept: String,
    protocol: &'static str,
}

impl Handshake {
    /// Reads the handshake of a request.
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        let headers = &call.headers;
        let upgrade = text(headers, &UPGRADE).to_ascii_lowercase();
        if upgrade.contains("spdy") {
            let what =
                "SPDY streams (use a client that speaks WebSocket, such as kubectl 1.31 or later)";
            return Err(ApiError::not_yet(what));
        }
        let key = headers.get(SEC_WEBSOCKET_KEY);
        let (true, Some(key)) = (upgrade.contains("websocket"), key) else {
            return Err(ApiError::bad_request("Upgrade request required"));
        };
        let offered = text(headers, &SEC_WEBSOCKET_PROTOCOL);
        let offered: Vec<&str> = offered.split(',').map(str::trim).collect();
        let protocol = PROTOCOLS.into_iter().find(|p| offered.contains(p)).ok_or_else(|| {
            ApiError::bad_request(format!(
                "unable to upgrade connection: none of the protocols {offered:?} is supported; this server speaks {PROTOCOLS:?}"
            ))
        })?;
        let taken = call.upgrade.lock().take();
        let upgrade =
            taken.ok_or_else(|| ApiError::internal("the connection was taken over already"))?;
        Ok(Self {
            upgrade,
            accept: derive_accept_key(key.as_bytes()),
            protocol,
        })
    }

    /// Switches protocols and carries the session, or the reason why there is none: kubectl
    /// would take a refused upgrade for a server that does not speak WebSocket.
    pub(super) fn carry(
        self,
        session: Result<Session, ApiError>,
        ending: Ending,
    ) -> Result<Response, ApiError> {
        let accept = HeaderValue::from_str(&self.accept).map_err(ApiError::internal)?;
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            match (upgrade.await, session) {
                (Ok(upgraded), Ok(session)) => pump(upgraded, session, ending).await,
                (Ok(upgraded), Err(why)) => refuse(upgraded, &why).await,
                (Err(error), _) => {
                    tracing::debug!(%error, "a stream's connection was not upgraded");
                }
            }
        });
        let mut response = http::Response::new(full(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(self.protocol),
        );
        Ok(response)
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

/// Ends a session that could not begin.
async fn refuse(upgraded: Upgraded, why: &ApiError) {
    let (input, _) = mpsc::channel(1);
    let (_, output) = mpsc::channel(1);
    let (ended, exit) = oneshot::channel();
    drop(ended);
    let session = Session {
        input,
        output,
        exit,
    };
    pump(upgraded, session, Ending::Refused(why.to_status())).await;
}

/// Moves bytes both ways until the process ends or the client leaves.
async fn pump(upgraded: Upgraded, session: Session, ending: Ending) {
    let io = TokioIo::new(upgraded);
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let (mut to_client, mut from_client) = socket.split();
    let Session {
        input,
        mut output,
        exit,
    } = session;
    let outgoing = async {
        while let Some(chunk) = output.recv().await {
            let (channel, bytes) = match chunk {
                Output::Stdout(bytes) => (STDOUT, bytes),
                Output::Stderr(bytes) => (STDERR, bytes),
            };
            to_client.send(message(channel, &bytes)).await?;
        }
        let status = exit_status(exit.await.ok(), &ending);
        to_client
            .send(message(ERROR, status.to_string().as_bytes()))
            .await?;
        // Clients take a close without a code for a broken connection.
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::default(),
        };
        to_client.send(Message::Close(Some(frame))).await?;
        to_client.flush().await
    };
    let incoming = async {
        let mut input = Some(input);
        while let Some(Ok(received)) = from_client.next().await {
            if received.is_close() {
                break;
            }
            let Some(event) = event(&received) else {
                continue;
            };
            // A process that no longer reads is no reason to end the session.
            if let Some(sender) = &input
                && sender.send(event).await.is_err()
            {
                input = None;
            }
        }
    };
    tokio::pin!(outgoing, incoming);
    tokio::select! {
        biased;
        sent = &mut outgoing => {
            if let Err(error) = sent {
                tracing::debug!(%error, "a stream's client went away");
                return;
            }
        }
        () = &mut incoming => return,
    }
    // The client answers the close; without waiting, its last reads could fail.
    tokio::time::timeout(std::time::Duration::from_secs(5), incoming)
        .await
        .unwrap_or_default();
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut frame = Vec::with_capacity(bytes.len() + 1);
    frame.push(channel);
    frame.extend_from_slice(bytes);
    Message::Binary(frame.into())
}

/// What a message from the client means; `None` for what carries nothing.
fn event(message: &Message) -> Option<Input> {
    let bytes: &[u8] = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(text) => text.as_bytes(),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => return None,
    };
    let (channel, rest) = bytes.split_first()?;
    match *channel {
        STDIN if rest.is_empty() => None,
        STDIN => Some(Input::Stdin(Bytes::copy_from_slice(rest))),
        RESIZE => {
            let size: Value = serde_json::from_slice(rest).ok()?;
            let cells =
                |key: &str| meta::integer(&size, &[key]).and_then(|n| u16::try_from(n).ok());
            Some(Input::Resize {
                width: cells("Width")?,
                height: cells("Height")?,
            })
        }
        CLOSE if rest == [STDIN] => Some(Input::CloseStdin),
        _ => None,
    }
}

/// The Status that ends a session.
fn exit_status(code: Option<i32>, ending: &Ending) -> Value {
    match (code, ending) {
        (_, Ending::Refused(status)) => status.clone(),
        (Some(0), _) | (_, Ending::Quiet) => json!({"metadata": {}, "status": "Success"}),
        (Some(code), Ending::ByCode) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        (None, Ending::ByCode) => {
            ApiError::internal("the session ended without an exit code").to_status()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_carry_input_sizes_and_the_end_of_stdin() {
        let binary = |bytes: &[u8]| event(&Message::Binary(bytes.to_vec().into()));
        assert_eq!(binary(b"\x00hi"), Some(Input::Stdin("hi".into())));
        let resize = binary(b"\x04{\"Width\":80,\"Height\":24}");
        assert_eq!(
            resize,
            Some(Input::Resize {
                width: 80,
                height: 24
            })
        );
        assert_eq!(binary(&[255, 0]), Some(Input::CloseStdin));
        assert_eq!(binary(b"\x04nonsense"), None);
        assert_eq!(binary(b""), None);
    }

    #[test]
    fn exit_codes_become_causes() {
        assert_eq!(exit_status(Some(0), &Ending::ByCode)["status"], "Success");
        let failed = exit_status(Some(3), &Ending::ByCode);
        assert_eq!(failed["details"]["causes"][0]["message"], "3");
        assert_eq!(exit_status(Some(3), &Ending::Quiet)["status"], "Success");
    }
}
