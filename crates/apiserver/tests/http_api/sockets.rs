//! The API over real connections: HTTP/1.1 and HTTP/2, compression, clients that stop reading.

use crate::rig::{CONFIG_MAPS, Rig};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::serve::{Listener, Peer};
use plimsoll_apiserver::store::Options;
use rstest::rstest;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// A listener in front of a rig's server.
struct Site {
    rig: Rig,
    pki: Pki,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    async fn new(options: Options) -> Self {
        let rig = Rig::with_history(options).await;
        let pki = Pki::ephemeral(&[]).unwrap();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.address();
        let stop = CancellationToken::new();
        let server = rig.server.clone();
        let handler = move |request: Request<Incoming>, peer: Peer| {
            let server = server.clone();
            async move { Ok::<_, std::convert::Infallible>(server.handle(peer.identity, request).await) }
        };
        let tls = pki.server_config().unwrap();
        let grace = Duration::from_millis(50);
        tokio::spawn(listener.serve(tls, handler, stop.clone(), grace));
        Self {
            rig,
            pki,
            address,
            stop,
        }
    }

    fn tls(&self, alpn: &[u8]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.pki.ca().as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = self.pki.client("admin", &["system:masters"]).unwrap();
        let cert = CertificateDer::from_pem_slice(client.cert.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![cert], key)
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    /// Sends one request on a connection of its own.
    async fn send(&self, alpn: &[u8], request: Request<Full<Bytes>>) -> Response<Incoming> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = self.tls(alpn).connect(name, tcp).await.unwrap();
        let io = TokioIo::new(tls);
        if alpn == HTTP2 {
            let executor = TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
                .await
                .unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
    }

    async fn get(&self, alpn: &[u8], path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let uri = format!("https://127.0.0.1{path}");
        let mut request = Request::get(uri).header("host", "127.0.0.1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(alpn, request.body(Full::default()).unwrap())
            .await
    }

    async fn whole(&self, alpn: &[u8], path: &str, headers: &[(&str, &str)]) -> (HeaderMap, Bytes) {
        let response = self.get(alpn, path, headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (parts, body) = response.into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes())
    }
}

/// The lines of a watch.
struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}

async fn large_map(site: &Site, name: &str, kilobytes: usize) {
    let text = "plimsoll ".repeat(kilobytes * 1024 / 9);
    let body = json!({"metadata": {"name": name}, "data": {"text": text}});
    site.rig.post(CONFIG_MAPS, &body).await.expect(201);
}

#[rstest]
#[case::http1(HTTP1)]
#[case::http2(HTTP2)]
#[tokio::test]
async fn lists_and_watches_work_over_both_protocols(#[case] alpn: &[u8]) {
    let site = Site::new(Options::ephemeral()).await;
    site.rig.config_map("a", &json!({})).await;
    let (_, body) = site.whole(alpn, CONFIG_MAPS, &[]).await;
    let list: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion={from}");
    let response = site.get(alpn, &path, &[]).await;
    let mut lines = Lines {
        body: response.into_body(),
        buffer: Vec::new(),
    };
    site.rig.config_map("b", &json!({})).await;
    let event = lines.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("b"))
    );
}

#[rstest]
#[case::json("application/json", true)]
#[case::protobuf("application/vnd.kubernetes.protobuf", true)]
#[case::short("application/json", false)]
#[tokio::test]
async fn long_answers_are_compressed(#[case] accept: &str, #[case] long: bool) {
    let site = Site::new(Options::ephemeral()).await;
    large_map(&site, "a", if long { 200 } else { 20 }).await;
    let plain = site.whole(HTTP1, CONFIG_MAPS, &[("accept", accept)]).await;
    assert!(plain.0.get("content-encoding").is_none());
    let headers = [("accept", accept), ("accept-encoding", "gzip")];
    for path in [CONFIG_MAPS.to_owned(), format!("{CONFIG_MAPS}/a")] {
        let plain = site.whole(HTTP1, &path, &[("accept", accept)]).await.1;
        let (head, packed) = site.whole(HTTP2, &path, &headers).await;
        assert_eq!(head.get("content-encoding").is_some(), long, "{path}");
        let mut text = Vec::new();
        if long {
            assert_eq!(head["vary"], "Accept-Encoding");
            flate2::read::GzDecoder::new(&packed[..])
                .read_to_end(&mut text)
                .unwrap();
            assert!(packed.len() * 10 < text.len());
        } else {
            text.extend_from_slice(&packed);
        }
        assert_eq!(text, plain, "{path}");
    }
}

#[rstest]
#[case::http1(HTTP1)]
#[case::http2(HTTP2)]
#[tokio::test]
async fn a_head_has_no_body_and_options_are_refused(#[case] alpn: &[u8]) {
    let site = Site::new(Options::ephemeral()).await;
    for (method, code) in [(Method::HEAD, 200), (Method::OPTIONS, 405)] {
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("https://127.0.0.1{CONFIG_MAPS}"))
            .header("host", "127.0.0.1")
            .body(Full::default())
            .unwrap();
        let response = site.send(alpn, request).await;
        assert_eq!(response.status(), code);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), method == Method::HEAD);
    }
}

/// A watcher that stops reading costs others nothing: history moves on, and when it reads again it
/// is told to start over.
#[tokio::test]
async fn a_stalled_watcher_is_dropped_and_others_go_on() {
    // Far more than sockets and buffers in between take.
    const COUNT: usize = 400;
    let mut options = Options::ephemeral();
    options.history_events = 50;
    let site = Site::new(options).await;
    let path = format!(
        "{CONFIG_MAPS}?watch=true&resourceVersion=0&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    );
    let stalled = site.get(HTTP1, &path, &[]).await;
    let lively = site.get(HTTP1, &path, &[]).await;
    let mut lively = Lines {
        body: lively.into_body(),
        buffer: Vec::new(),
    };
    for n in 0..COUNT {
        large_map(&site, &format!("m{n}"), 64).await;
        let event = lively.next().await.unwrap();
        assert_eq!(event["object"]["metadata"]["name"], format!("m{n}"));
    }
    assert!(site.rig.server.store().stats().events <= 50);
    let mut stalled = Lines {
        body: stalled.into_body(),
        buffer: Vec::new(),
    };
    let (mut seen, mut last) = (0, Value::Null);
    while let Some(event) = stalled.next().await {
        seen += 1;
        last = event;
    }
    assert!(seen < COUNT, "the watcher never fell behind");
    assert_eq!(
        (&last["type"], &last["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(last["object"]["reason"], "Expired");
}
