//! Small JSON requests to the API, and list + watch as one stream.

use futures::{Stream, StreamExt};
use http::Request;
use kube::Client;
use kube::core::WatchEvent;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;

/// What can go wrong between a node agent and the API.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The request could not be built (a name that is no URI).
    #[error("cannot build the request for {path:?}")]
    Request {
        /// Path and query.
        path: String,
        /// Why.
        source: http::Error,
    },
    /// The API refused it or could not be reached.
    #[error("{verb} {path} failed")]
    Api {
        /// HTTP method.
        verb: &'static str,
        /// Path and query.
        path: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

impl ClusterError {
    /// The HTTP status code, where the API answered at all.
    pub fn code(&self) -> Option<u16> {
        let Self::Api { source, .. } = self else {
            return None;
        };
        let kube::Error::Api(status) = source.as_ref() else {
            return None;
        };
        Some(status.code)
    }
}

/// The API as the agents use it: plain JSON.
#[derive(Clone)]
pub struct Cluster(Client);

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    /// Uses this client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// GET.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClusterError> {
        self.send("GET", path, "application/json", Vec::new()).await
    }

    /// POST of an object.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, ClusterError> {
        self.send(
            "POST",
            path,
            "application/json",
            object.to_string().into_bytes(),
        )
        .await
    }

    /// PATCH with a JSON merge patch.
    pub async fn merge(&self, path: &str, change: &Value) -> Result<Value, ClusterError> {
        let body = change.to_string().into_bytes();
        self.send("PATCH", path, "application/merge-patch+json", body)
            .await
    }

    /// PATCH with a strategic merge patch (lists with merge keys merge).
    pub async fn strategic(&self, path: &str, change: &Value) -> Result<Value, ClusterError> {
        let body = change.to_string().into_bytes();
        self.send(
            "PATCH",
            path,
            "application/strategic-merge-patch+json",
            body,
        )
        .await
    }

    /// DELETE with options.
    pub async fn delete(&self, path: &str, options: &Value) -> Result<Value, ClusterError> {
        self.send(
            "DELETE",
            path,
            "application/json",
            options.to_string().into_bytes(),
        )
        .await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<T, ClusterError> {
        let request = request(verb, path, content_type, body)?;
        self.0
            .request(request)
            .await
            .map_err(|e| api_error(verb, path, e))
    }

    /// Keeps a copy of a collection up to date: lists it, then watches, and again after every
    /// failure. `path` has no query. Ends when the receiver is dropped.
    pub(crate) async fn follow<T>(self, path: &'static str, changes: mpsc::Sender<Change<T>>)
    where
        T: DeserializeOwned + Clone + Send + 'static,
    {
        let mut pause = Duration::from_millis(100);
        while !changes.is_closed() {
            match self.list_and_watch(path, &changes).await {
                Ok(()) => pause = Duration::from_millis(100),
                Err(error) => {
                    tracing::debug!(%path, error = ?error, "watch broke; listing again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(10));
                }
            }
        }
    }

    async fn list_and_watch<T>(
        &self,
        path: &str,
        changes: &mpsc::Sender<Change<T>>,
    ) -> Result<(), ClusterError>
    where
        T: DeserializeOwned + Clone + Send + 'static,
    {
        let list: List<T> = self.get(path).await?;
        let mut version = list.metadata.resource_version;
        if changes.send(Change::All(list.items)).await.is_err() {
            return Ok(());
        }
        loop {
            let query =
                format!("{path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}");
            let request = request("GET", &query, "application/json", Vec::new())?;
            let events = self
                .0
                .request_events::<Versioned<T>>(request)
                .await
                .map_err(|e| api_error("WATCH", path, e))?;
            let mut events = pin!(events);
            while let Some(event) = next(&mut events, changes).await {
                let event = event.map_err(|e| api_error("WATCH", path, e))?;
                let change = match event {
                    WatchEvent::Added(o) | WatchEvent::Modified(o) => {
                        version = o.version();
                        Change::Set(o.object)
                    }
                    WatchEvent::Deleted(o) => {
                        version = o.version();
                        Change::Gone(o.object)
                    }
                    WatchEvent::Bookmark(b) => {
                        version = b.metadata.resource_version;
                        continue;
                    }
                    WatchEvent::Error(status) => {
                        return Err(api_error("WATCH", path, kube::Error::Api(status)));
                    }
                };
                if changes.send(change).await.is_err() {
                    return Ok(());
                }
            }
            if changes.is_closed() {
                return Ok(());
            }
            // A server that ends watches at once must not make this spin.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The next event, or `None` when the watch ended or nobody listens any more.
async fn next<S: Stream + Unpin, T>(
    events: &mut S,
    changes: &mpsc::Sender<Change<T>>,
) -> Option<S::Item> {
    tokio::select! {
        biased;
        event = events.next() => event,
        () = changes.closed() => None,
    }
}

fn request(
    verb: &'static str,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<Request<Vec<u8>>, ClusterError> {
    Request::builder()
        .method(verb)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content_type)
        .header(http::header::ACCEPT, "application/json")
        .body(body)
        .map_err(|source| ClusterError::Request {
            path: path.to_owned(),
            source,
        })
}

fn api_error(verb: &'static str, path: &str, source: kube::Error) -> ClusterError {
    ClusterError::Api {
        verb,
        path: path.to_owned(),
        source: Box::new(source),
    }
}

/// One step of a followed collection.
#[derive(Debug, Clone)]
pub(crate) enum Change<T> {
    /// The whole collection; whatever is not in it is gone.
    All(Vec<T>),
    /// Added or changed.
    Set(T),
    /// Deleted.
    Gone(T),
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    items: Vec<T>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: String,
}

/// An object with its version beside it, whatever the object's own view keeps.
#[derive(Clone)]
struct Versioned<T> {
    version: String,
    object: T,
}

impl<T> Versioned<T> {
    fn version(&self) -> String {
        self.version.clone()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Versioned<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let raw = Value::deserialize(deserializer)?;
        let version = raw
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let object = T::deserialize(raw).map_err(D::Error::custom)?;
        Ok(Self { version, object })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_object_keeps_its_version_beside_the_view() {
        #[derive(Deserialize, Clone)]
        struct Named {
            metadata: std::collections::BTreeMap<String, String>,
        }
        let text = r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#;
        let seen: Versioned<Named> = serde_json::from_str(text).unwrap();
        assert_eq!(seen.version(), "7");
        assert_eq!(seen.object.metadata["name"], "a");
    }
}
