//! Another API server behind a Service: its listener on loopback, its Service in the first one.

use crate::rig::Rig;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use parking_lot::Mutex;
use plimsoll_apiserver::Body;
use plimsoll_apiserver::outbound::Connect;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::serve::{Listener, Peer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a request to the extension server looked like.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

/// A running extension server for `toys.example.com/v1`.
pub(crate) struct Extension {
    ca: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    healthy: Arc<AtomicBool>,
    /// Lines to send on open watches.
    pub(crate) events: mpsc::UnboundedSender<Bytes>,
    stop: CancellationToken,
}

impl Drop for Extension {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Every endpoint is this address.
#[derive(Debug)]
pub(crate) struct Always(pub(crate) SocketAddr);

#[async_trait]
impl Connect for Always {
    async fn connect(&self, _: SocketAddr) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.0).await
    }
}

type Events = Arc<Mutex<Option<mpsc::UnboundedReceiver<Bytes>>>>;

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn answer(path: &str, body: &str, healthy: bool, events: &Events) -> Response<Body> {
    let resources = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "toys.example.com/v1",
        "resources": [{"name": "toys", "singularName": "toy", "kind": "Toy", "namespaced": true,
                       "verbs": ["get", "list", "watch"], "shortNames": ["ty"]}],
    });
    let (route, query) = path.split_once('?').unwrap_or((path, ""));
    let text = match route {
        _ if !healthy => {
            let mut response = Response::new(full("broken"));
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            return response;
        }
        "/apis/toys.example.com/v1" => resources.to_string(),
        "/openapi/v3" => json!({"paths": {"apis/toys.example.com/v1": {
            "serverRelativeURL": "/openapi/v3/apis/toys.example.com/v1?hash=AB",
        }}})
        .to_string(),
        "/openapi/v3/apis/toys.example.com/v1" => json!({"openapi": "3.0.0"}).to_string(),
        _ if query.contains("watch=true") => {
            let receiver = events.lock().take().unwrap();
            let frames = tokio_stream(receiver).map(|b| Ok(http_body::Frame::data(b)));
            return Response::new(StreamBody::new(frames).boxed_unsync());
        }
        _ if route.starts_with("/apis/toys.example.com/v1/") => {
            json!({"kind": "Toy", "sent": body}).to_string()
        }
        _ => {
            let mut response = Response::new(full("404 page not found"));
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            return response;
        }
    };
    let mut response = Response::new(full(text));
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    response
}

fn tokio_stream(
    receiver: mpsc::UnboundedReceiver<Bytes>,
) -> impl futures::Stream<Item = Bytes> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((item, receiver))
    })
}

impl Extension {
    /// Starts it, and makes every Service of `rig` lead to it.
    pub(crate) async fn start(rig: &Rig) -> Self {
        let pki = Pki::ephemeral(&["toys.default.svc".to_owned()]).unwrap();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        rig.server.set_network(Arc::new(Always(listener.address())));
        let (events, receiver) = mpsc::unbounded_channel();
        let receiver: Events = Arc::new(Mutex::new(Some(receiver)));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let healthy = Arc::new(AtomicBool::new(true));
        let (log, health) = (Arc::clone(&seen), Arc::clone(&healthy));
        let handler = move |request: Request<Incoming>, _: Peer| {
            let (log, health) = (Arc::clone(&log), Arc::clone(&health));
            let events = Arc::clone(&receiver);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = String::from_utf8(body.to_vec()).unwrap();
                let path = head.uri.path_and_query().unwrap().to_string();
                let response = answer(&path, &body, health.load(Ordering::Relaxed), &events);
                let headers = head.headers;
                log.lock().push(Seen {
                    path,
                    headers,
                    body,
                });
                Ok::<_, Infallible>(response)
            }
        };
        let (tls, stop) = (pki.server_config().unwrap(), CancellationToken::new());
        tokio::spawn(listener.serve(tls, handler, stop.clone(), Duration::from_millis(10)));
        Self {
            ca: pki.ca().to_owned(),
            seen,
            healthy,
            events,
            stop,
        }
    }

    /// Answers 500 to everything from now on, or no longer.
    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// The requests that users made.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock();
        let by_users = seen
            .iter()
            .filter(|s| s.headers["x-remote-user"] != "system:kube-aggregator");
        by_users.cloned().collect()
    }

    /// All requests.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Its APIService.
    pub(crate) fn registration(&self, group: &str) -> Value {
        json!({
            "metadata": {"name": format!("v1.{group}")},
            "spec": {
                "group": group, "version": "v1", "groupPriorityMinimum": 2000,
                "versionPriority": 10, "caBundle": STANDARD.encode(&self.ca),
                "service": {"namespace": "default", "name": "toys"},
            },
        })
    }
}

/// The Service and, apart from it, one endpoint of it.
pub(crate) async fn service(rig: &Rig) {
    let ports = json!([{"name": "https", "port": 443}]);
    let service = json!({"metadata": {"name": "toys"}, "spec": {"ports": ports}});
    rig.post("/api/v1/namespaces/default/services", &service)
        .await
        .expect(201);
}

/// An endpoint of the Service.
pub(crate) async fn endpoint(rig: &Rig) {
    let slice = json!({
        "metadata": {"name": "toys-1", "labels": {"kubernetes.io/service-name": "toys"}},
        "addressType": "IPv4", "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": true}}],
    });
    rig.post(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        &slice,
    )
    .await
    .expect(201);
}
