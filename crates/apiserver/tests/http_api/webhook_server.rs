//! A webhook over TLS on loopback whose answers a test decides.

use crate::rig::Rig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::serve::{Listener, Peer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

type Answerer = dyn Fn(&Value) -> Option<String> + Send + Sync;

/// A running webhook.
pub(crate) struct WebhookServer {
    pub(crate) address: SocketAddr,
    ca: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    stop: CancellationToken,
}

impl Drop for WebhookServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl WebhookServer {
    /// Answers each review's request by a response without its uid.
    pub(crate) async fn new(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        Self::raw(move |request| {
            let mut response = answer(request);
            if response.get("uid").is_none() {
                response["uid"] = request["uid"].clone();
            }
            let review = json!({
                "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
                "response": response,
            });
            Some(review.to_string())
        })
        .await
    }

    /// Answers whatever `answer` says, or never.
    pub(crate) async fn raw(
        answer: impl Fn(&Value) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let pki = Pki::ephemeral(&[]).unwrap();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.address();
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let answer: Arc<Answerer> = Arc::new(answer);
        let log = Arc::clone(&asked);
        let handler = move |request: Request<Incoming>, _: Peer| {
            let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
            async move {
                let path = request.uri().to_string();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let review: Value = serde_json::from_slice(&body).unwrap();
                log.lock().push((path, review.clone()));
                let Some(text) = answer(&review["request"]) else {
                    return std::future::pending().await;
                };
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
            }
        };
        let stop = CancellationToken::new();
        let tls = pki.server_config().unwrap();
        tokio::spawn(listener.serve(tls, handler, stop.clone(), Duration::from_millis(10)));
        Self {
            address,
            ca: pki.ca().to_owned(),
            asked,
            stop,
        }
    }

    /// What it was asked so far: the `request` of each review.
    pub(crate) fn asked(&self) -> Vec<Value> {
        let asked = self.asked.lock();
        asked
            .iter()
            .map(|(_, review)| review["request"].clone())
            .collect()
    }

    /// The URLs and bodies it was sent.
    pub(crate) fn calls(&self) -> Vec<(String, Value)> {
        self.asked.lock().clone()
    }

    /// How to call it.
    pub(crate) fn client_config(&self, path: &str) -> Value {
        let address = self.address;
        json!({"url": format!("https://{address}{path}"), "caBundle": STANDARD.encode(&self.ca)})
    }

    /// Registers it for ConfigMaps, with `changes` to the webhook; mutating or validating.
    pub(crate) async fn register(&self, rig: &Rig, kind: &str, name: &str, changes: Value) {
        let mut hook = json!({
            "name": format!("{name}.example.com"),
            "clientConfig": self.client_config("/admit"),
            "rules": [{
                "operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": [""],
                "apiVersions": ["v1"], "resources": ["configmaps"],
            }],
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        });
        for (key, value) in changes.as_object().unwrap() {
            hook[key] = value.clone();
        }
        let configuration = json!({"metadata": {"name": name}, "webhooks": [hook]});
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations");
        rig.post(&path, &configuration).await.expect(201);
    }
}

/// A JSON patch as a response carries it.
pub(crate) fn patched(operations: &Value) -> Value {
    json!({
        "allowed": true, "patchType": "JSONPatch",
        "patch": STANDARD.encode(operations.to_string()),
    })
}
