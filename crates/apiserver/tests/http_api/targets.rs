//! What there is to connect to in these tests: ports of a pod, and an HTTP server.

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use plimsoll_api::node::{Connection, Destination};
use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Echoes what it gets, and its end.
const ECHO: u16 = 7;
/// Reads to the end, then says how much that was.
const COUNT: u16 = 8;
/// Says something and hangs up without waiting for anything.
const GREET: u16 = 9;

/// Connects to a port of the pod (see the constants; others are closed), or to the HTTP server.
pub(crate) fn dial(to: Destination) -> std::io::Result<Connection> {
    let (near, far) = tokio::io::duplex(16 * 1024);
    match to {
        Destination::Pod { port, .. } if (ECHO..=GREET).contains(&port) => {
            tokio::spawn(serve_port(port, far));
        }
        Destination::Address(at) if at.port() == 81 => {
            return Err(Error::from_raw_os_error(111));
        }
        Destination::Address(at) => drop(tokio::spawn(serve_http(far, at.to_string()))),
        Destination::Agent { node } => drop(tokio::spawn(serve_http(far, node))),
        Destination::Pod { .. } => {
            return Err(Error::new(
                ErrorKind::ConnectionRefused,
                "connection refused",
            ));
        }
    }
    Ok(Box::new(near))
}

async fn serve_port(port: u16, mut stream: DuplexStream) {
    let mut received = 0;
    if port == GREET {
        stream.write_all(b"hello").await.unwrap();
        return;
    }
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        received += length;
        if port == ECHO && stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    if port == COUNT {
        let _left = stream.write_all(received.to_string().as_bytes()).await;
    }
}

async fn serve_http(stream: DuplexStream, me: String) {
    let service = hyper::service::service_fn(move |request| {
        let me = me.clone();
        async move { Ok::<_, Infallible>(answer(request, &me).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    let serving = connection.serve_connection(TokioIo::new(stream), service);
    let _left = serving.with_upgrades().await;
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Error>;

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

async fn answer(mut request: Request<Incoming>, me: &str) -> Response<Body> {
    let response = Response::builder();
    match request.uri().path() {
        "/page" => response
            .header("content-type", "text/html; charset=utf-8")
            .body(full("<a href=\"/next\">next</a>")),
        "/moved" => response
            .status(302)
            .header("location", format!("http://{me}/next?a=b"))
            .body(full("")),
        "/broken" => {
            let chunks = [Ok("half".into()), Err(Error::other("broken"))];
            let chunks = futures::stream::iter(chunks).then(async |chunk| {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                chunk
            });
            let frames = chunks.map(|chunk| chunk.map(http_body::Frame::data));
            response.body(StreamBody::new(frames).boxed_unsync())
        }
        "/switch" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let mut four = [0; 4];
                stream.read_exact(&mut four).await.unwrap();
                stream.write_all(&four).await.unwrap();
            });
            response
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header("connection", "Upgrade")
                .header("upgrade", "four")
                .body(full(""))
        }
        _ => {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let headers = ["host", "authorization", "x-own", "x-forwarded-uri", "te"];
            let headers = headers.map(|name| {
                let value = parts.headers.get(name);
                format!("{name}={}", value.map_or("", |v| v.to_str().unwrap()))
            });
            let text = format!(
                "{me} {} {} [{}] {}",
                parts.method,
                parts.uri,
                headers.join(" "),
                String::from_utf8_lossy(&body)
            );
            response
                .header("x-answer", "yes")
                .header("keep-alive", "timeout=5")
                .body(full(text))
        }
    }
    .unwrap()
}
