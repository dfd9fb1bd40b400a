//! A server in memory and a client that shows raw answers.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use plimsoll_api::gates::FeatureGates;
use plimsoll_api::kind::Kinds;
use plimsoll_api::kinds;
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_apiserver::{ApiServer, Body, ClusterSettings, Config};
use plimsoll_clock::Clock;
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tower::ServiceExt;

pub(crate) struct Rig {
    pub(crate) server: ApiServer,
    pub(crate) identity: Identity,
}

pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// Asserts the code and gives the body.
    pub(crate) fn expect(&self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.text);
        self.json()
    }

    /// Asserts a failure Status.
    pub(crate) fn expect_failure(&self, code: u16, reason: &str, message: &str) -> Value {
        let status = self.expect(code);
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["status"], "Failure");
        assert_eq!(status["code"], code);
        assert_eq!(
            status["reason"].as_str().unwrap_or_default(),
            reason,
            "{status}"
        );
        let said = status["message"].as_str().unwrap();
        assert!(said.contains(message), "{said:?} does not say {message:?}");
        status
    }
}

/// An open watch.
pub(crate) struct Lines {
    body: Body,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next event; `None` when the stream ends.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event's type, object name and resourceVersion.
    pub(crate) async fn step(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with_history(Options::ephemeral()).await
    }

    /// A server whose store keeps as much history as `options` say.
    pub(crate) async fn with_history(options: Options) -> Self {
        Self::over(Store::open(options).unwrap()).await
    }

    /// A server with features turned on or off.
    pub(crate) async fn gated(gates: FeatureGates) -> Self {
        let store = Store::open(Options::ephemeral()).unwrap();
        Self::of(store, kinds::gated(gates)).await
    }

    /// A server over a store.
    pub(crate) async fn over(store: Store) -> Self {
        Self::of(store, kinds::built_in()).await
    }

    async fn of(store: Store, kinds: Kinds) -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let server = ApiServer::new(Config {
            store,
            clock,
            kinds,
            seed: 42,
            cluster: ClusterSettings::default(),
            nodes: None,
            locals: Vec::new(),
            token_key: Pki::ephemeral(&[]).unwrap().token_key(),
        });
        server.bootstrap().await.unwrap();
        Self {
            server,
            identity: Identity::new("admin", &["system:masters"]),
        }
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let service = self.server.service(self.identity.clone());
        let response = service.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap_or_default();
        Answer {
            code: parts.status,
            headers: parts.headers,
            text,
        }
    }

    /// The headers and bytes of a successful answer.
    pub(crate) async fn bytes(&self, request: Request<Full<Bytes>>) -> (http::HeaderMap, Bytes) {
        let service = self.server.service(self.identity.clone());
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let (parts, body) = response.into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes())
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, String)>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        let bytes = match body {
            Some((content_type, text)) => {
                request = request.header("content-type", content_type);
                Bytes::from(text)
            }
            None => Bytes::new(),
        };
        self.send(request.body(Full::new(bytes)).unwrap()).await
    }

    /// A request with any body.
    pub(crate) async fn call_with_bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        let bytes = body.map_or_else(Bytes::new, |(content_type, bytes)| {
            if let Some(headers) = request.headers_mut() {
                headers.insert("content-type", content_type.parse().unwrap());
            }
            bytes.into()
        });
        self.send(request.body(Full::new(bytes)).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let request = Request::get(path).header("accept", accept);
        self.send(request.body(Full::default()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(
            Method::POST,
            path,
            Some(("application/json", body.to_string())),
        )
        .await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(
            Method::PUT,
            path,
            Some(("application/json", body.to_string())),
        )
        .await
    }

    pub(crate) async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        let content_type = format!("application/{kind}-patch+json");
        self.call(Method::PATCH, path, Some((&content_type, body.to_string())))
            .await
    }

    pub(crate) async fn delete(&self, path: &str, options: Option<&Value>) -> Answer {
        let body = options.map(|o| ("application/json", o.to_string()));
        self.call(Method::DELETE, path, body).await
    }

    pub(crate) async fn watch(&self, path: &str) -> Lines {
        let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
        let service = self.server.service(self.identity.clone());
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Lines {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }

    /// A connection that speaks HTTP/1.1 and may switch protocols.
    pub(crate) fn connection(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (server, identity) = (self.server.clone(), self.identity.clone());
        let service = hyper::service::service_fn(move |request| {
            let (server, identity) = (server.clone(), identity.clone());
            async move { Ok::<_, Infallible>(server.handle(Some(identity), request).await) }
        });
        let io = hyper_util::rt::TokioIo::new(theirs);
        let connection = hyper::server::conn::http1::Builder::new();
        tokio::spawn(connection.serve_connection(io, service).with_upgrades());
        ours
    }

    /// A WebSocket, and the protocol that was agreed on; `offered` may be empty.
    pub(crate) async fn websocket(
        &self,
        path: &str,
        offered: &str,
    ) -> (WebSocketStream<DuplexStream>, String) {
        self.try_websocket(path, offered).await.unwrap()
    }

    /// As [`Rig::websocket`], or the code of the refusal.
    pub(crate) async fn try_websocket(
        &self,
        path: &str,
        offered: &str,
    ) -> Result<(WebSocketStream<DuplexStream>, String), u16> {
        let mut request = format!("ws://localhost{path}")
            .into_client_request()
            .unwrap();
        let name = "sec-websocket-protocol";
        if !offered.is_empty() {
            request.headers_mut().insert(name, offered.parse().unwrap());
        }
        match tokio_tungstenite::client_async(request, self.connection()).await {
            Ok((socket, answer)) => {
                let chosen = answer.headers().get(name);
                let chosen = chosen.map_or("", |value| value.to_str().unwrap());
                Ok((socket, chosen.to_owned()))
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Says that the container of a pod runs, as a node agent would.
    pub(crate) async fn started(&self, pod: &str) {
        let status = json!({"status": {"podIP": "10.244.0.5", "containerStatuses": [{
            "name": "main", "state": {"running": {}}, "ready": true, "restartCount": 0,
            "image": "nginx", "imageID": "",
        }]}});
        self.patch(&format!("{PODS}/{pod}/status"), "strategic-merge", &status)
            .await
            .expect(200);
    }

    /// A ConfigMap in `default`.
    pub(crate) async fn config_map(&self, name: &str, labels: &Value) -> Value {
        let body = json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}});
        self.post(CONFIG_MAPS, &body).await.expect(201)
    }

    /// The account pods run as; a controller's job in a real cluster.
    pub(crate) async fn default_account(&self) {
        let path = "/api/v1/namespaces/default/serviceaccounts";
        self.post(path, &json!({"metadata": {"name": "default"}}))
            .await
            .expect(201);
    }

    /// A pod in `default`, bound to node `n1` if `bound`.
    pub(crate) async fn pod(&self, name: &str, bound: Bound) -> Value {
        let body = json!({
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "nginx"}]},
        });
        let pod = self.post(PODS, &body).await.expect(201);
        if bound == Bound::No {
            return pod;
        }
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
        self.post(&format!("{PODS}/{name}/binding"), &binding)
            .await
            .expect(201);
        self.get(&format!("{PODS}/{name}")).await.expect(200)
    }
}

#[derive(PartialEq)]
pub(crate) enum Bound {
    Yes,
    No,
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
            },
        },
    })
}
