//! gRPC probes: `grpc.health.v1.Health/Check` of the public health checking protocol, over HTTP/2
//! without TLS.

use super::http::AGENT;
use crate::runtime::Runtime;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::Arc;

/// Most of an answer that is read, in bytes.
const MOST_READ: usize = 64 * 1024;
/// `grpc-status` of a method that the server does not have.
const UNIMPLEMENTED: &str = "12";

/// Asks the server at `address` whether `service` is healthy; an empty name means all of it.
pub(super) async fn check(
    runtime: &Arc<dyn Runtime>,
    address: SocketAddr,
    service: &str,
) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("error: health rpc probe failed: {e}");
    let connected = runtime.network().connect(address).await;
    let stream = connected
        .map_err(|e| format!("error: health rpc probe failed: dial tcp {address}: connect: {e}"))?;
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = shaken.await.map_err(|e| failed(&e))?;
    // It ends when the sender is dropped.
    tokio::spawn(async move { drop(connection.await) });
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", AGENT)
        .body(Full::new(message(service)))
        .map_err(|e| failed(&e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let head = response.headers().clone();
    let body = Limited::new(response.into_body(), MOST_READ)
        .collect()
        .await;
    let body = body.map_err(|e| failed(&e))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    judge(&head, &trailers, &body.to_bytes())
}

/// A length-prefixed `HealthCheckRequest`: field 1 is the service's name.
fn message(service: &str) -> Bytes {
    let mut inner = BytesMut::new();
    if !service.is_empty() {
        inner.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            inner.put_u8(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        inner.put_u8(u8::try_from(length).unwrap_or(0));
        inner.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + inner.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(inner.len()).unwrap_or(u32::MAX));
    framed.put(inner);
    framed.freeze()
}

/// What the answer says.
fn judge(head: &HeaderMap, trailers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let field = |name: &str| {
        let found = trailers.get(name).or_else(|| head.get(name));
        found.and_then(|value| value.to_str().ok())
    };
    match field("grpc-status") {
        Some("0") => {}
        Some(UNIMPLEMENTED) => {
            let why = field("grpc-message").unwrap_or_default();
            return Err(format!(
                "error: this server does not implement the grpc health protocol \
                 (grpc.health.v1.Health): {why}"
            ));
        }
        Some(code) => {
            let why = field("grpc-message").unwrap_or_default();
            return Err(format!(
                "error: health rpc probe failed: code {code}: {why}"
            ));
        }
        None => return Err("error: health rpc probe failed: no grpc status came".to_owned()),
    }
    let name = match status(body) {
        Some(1) => return Ok(()),
        Some(0) => "UNKNOWN",
        Some(2) => "NOT_SERVING",
        Some(3) => "SERVICE_UNKNOWN",
        Some(_) | None => "an unknown status",
    };
    Err(format!("service unhealthy (responded with {name:?})"))
}

/// Field 1 of a length-prefixed `HealthCheckResponse`; absent means 0.
fn status(body: &[u8]) -> Option<u8> {
    let (head, message) = body.split_at_checked(5)?;
    if head.first() != Some(&0) {
        return None;
    }
    match message {
        [] => Some(0),
        [0x08, value, ..] => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn answer(status: &'static str, body: &[u8]) -> Result<(), String> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        judge(&HeaderMap::new(), &trailers, body)
    }

    #[rstest]
    #[case::serving("0", &[0, 0, 0, 0, 2, 8, 1], "")]
    #[case::not_serving("0", &[0, 0, 0, 0, 2, 8, 2], "service unhealthy (responded with \"NOT_SERVING\")")]
    #[case::unknown("0", &[0, 0, 0, 0, 0], "service unhealthy (responded with \"UNKNOWN\")")]
    #[case::cut_short("0", &[0, 0], "service unhealthy (responded with \"an unknown status\")")]
    #[case::no_such_service("5", &[], "error: health rpc probe failed: code 5: ")]
    #[case::no_health("12", &[], "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ")]
    fn answers(#[case] status: &'static str, #[case] body: &[u8], #[case] want: &str) {
        assert_eq!(answer(status, body).err().unwrap_or_default(), want);
    }

    #[test]
    fn requests_carry_the_services_name() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = message(&"x".repeat(200));
        assert_eq!(&long[5..8], [0x0a, 0xc8, 0x01]);
    }
}
