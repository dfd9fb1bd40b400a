//! Reading and writing ConfigMaps of our own.

use kube::Client;
use serde_json::{Value, json};
use std::time::Duration;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigMapError {
    /// There is none of that name.
    #[error("it does not exist")]
    Absent,
    /// There is no such namespace.
    #[error(
        "there is no namespace {0}: kubectl create namespace {0}, or name another one with \
         --node-autoscaler-namespace"
    )]
    NoNamespace(String),
    /// No answer in time.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    /// The request could not be made.
    #[error("the request could not be made")]
    Request(#[from] http::Error),
    /// The server refused, or could not be reached.
    #[error("the server refused")]
    Refused(#[from] kube::Error),
}

/// One ConfigMap.
#[derive(Clone)]
pub(super) struct ConfigMap {
    client: Client,
    namespace: String,
    name: String,
}

impl std::fmt::Debug for ConfigMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConfigMap({}/{})", self.namespace, self.name)
    }
}

impl ConfigMap {
    pub(super) fn new(client: &Client, namespace: &str, name: &str) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.parent(), self.name)
    }

    fn parent(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    /// What there is.
    pub(super) async fn get(&self) -> Result<Value, ConfigMapError> {
        self.send(http::Request::get(self.path()).body(Vec::new()))
            .await
    }

    /// Merges `patch` into it; makes it where there is none. Returns it.
    pub(super) async fn merge(&self, patch: &Value) -> Result<Value, ConfigMapError> {
        let request = http::Request::patch(self.path())
            .header("content-type", "application/merge-patch+json")
            .body(patch.to_string().into_bytes());
        match self.send(request).await {
            Err(ConfigMapError::Absent) => self.create(patch).await,
            done => done,
        }
    }

    async fn create(&self, patch: &Value) -> Result<Value, ConfigMapError> {
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        json_merge(&mut map, patch);
        json_merge(&mut map, &json!({"metadata": {"name": self.name}}));
        let request = http::Request::post(self.parent())
            .header("content-type", "application/json")
            .body(map.to_string().into_bytes());
        match self.send(request).await {
            Err(ConfigMapError::Absent) => Err(ConfigMapError::NoNamespace(self.namespace.clone())),
            done => done,
        }
    }

    /// Deletes it, if there is one.
    pub(super) async fn delete(&self) -> Result<(), ConfigMapError> {
        let request = http::Request::delete(self.path()).body(Vec::new());
        match self.send(request).await {
            Ok(_) | Err(ConfigMapError::Absent) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, http::Error>,
    ) -> Result<Value, ConfigMapError> {
        let answer = tokio::time::timeout(PATIENCE, self.client.request(request?)).await;
        match answer.map_err(|_| ConfigMapError::Late)? {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(ConfigMapError::Absent),
            Err(error) => Err(error.into()),
        }
    }
}

/// Adds what `patch` says to a new object; what it removes is not there.
fn json_merge(object: &mut Value, patch: &Value) {
    let (Some(object), Some(patch)) = (object.as_object_mut(), patch.as_object()) else {
        return;
    };
    for (key, value) in patch {
        if value.is_object() {
            let inner = object.entry(key.clone()).or_insert_with(|| json!({}));
            json_merge(inner, value);
        } else if !value.is_null() {
            object.insert(key.clone(), value.clone());
        }
    }
}
