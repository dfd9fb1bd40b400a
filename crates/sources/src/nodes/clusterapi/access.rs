//! Reading and writing the objects.

use super::machine::Machine;
use super::scalable::Source;
use super::template::Reference;
use super::watching::Watched;
use super::{Absent, Settings};
use http::{Method, Request};
use jiff::Timestamp;
use kube::core::ApiResource;
use kube::{Client, Error};
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Objects of one answer.
const PAGE: usize = 500;
/// How often a change of a scale that somebody else changed meanwhile is tried.
const ATTEMPTS: usize = 5;
/// For how long the answer about a template is good: templates are replaced, not changed.
const TEMPLATE_FRESH: Duration = Duration::from_secs(120);

/// Namespace of a template and what it is, with when it was asked for and what it said.
type Templates = BTreeMap<(String, Reference), (Instant, Option<Value>)>;

/// The management cluster.
pub(super) struct Access {
    client: Client,
    group: String,
    wanted: Option<String>,
    /// The version that is spoken, once it is known.
    version: Mutex<Option<Arc<str>>>,
    absent: Absent,
    templates: Mutex<Templates>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl Access {
    pub(super) fn new(client: Client, settings: &Settings) -> Self {
        Self {
            client,
            group: settings.group.clone(),
            wanted: settings.version.clone(),
            version: Mutex::default(),
            absent: Absent::default(),
            templates: Mutex::default(),
        }
    }

    /// Whom it asks.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The version that is spoken: the one that is wanted, or else the group's preferred one.
    async fn version(&self) -> Result<Arc<str>, ProviderError> {
        let known = self.version.lock().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let version: Arc<str> = match &self.wanted {
            Some(version) => version.as_str().into(),
            None => self.preferred(&self.group).await?.into(),
        };
        *self.version.lock() = Some(Arc::clone(&version));
        Ok(version)
    }

    /// The version is looked up anew when it is needed.
    pub(super) fn forget_version(&self) {
        *self.version.lock() = None;
    }

    async fn root(&self) -> Result<String, ProviderError> {
        let version = self.version().await?;
        Ok(format!("/apis/{}/{version}", self.group))
    }

    async fn preferred(&self, group: &str) -> Result<String, ProviderError> {
        let about = self.get(&format!("/apis/{group}")).await?;
        let version = about.pointer("/preferredVersion/version");
        let version = version.and_then(Value::as_str);
        Ok(version.unwrap_or("v1beta1").to_owned())
    }

    /// A kind in the version that is spoken.
    ///
    /// # Errors
    /// The version cannot be found out.
    pub(super) async fn resource(&self, kind: Watched) -> Result<ApiResource, ProviderError> {
        let version = self.version().await?;
        Ok(ApiResource {
            group: self.group.clone(),
            version: version.to_string(),
            api_version: format!("{}/{version}", self.group),
            kind: kind.name().to_owned(),
            plural: kind.plural().to_owned(),
        })
    }

    async fn get(&self, path: &str) -> Result<Value, ProviderError> {
        self.send(Method::GET, path, None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Value, ProviderError> {
        let mut request = Request::builder().method(method).uri(path);
        let mut bytes = Vec::new();
        if let Some((media, body)) = body {
            request = request.header("Content-Type", media);
            bytes = body.to_string().into_bytes();
        }
        let request = request
            .body(bytes)
            .map_err(|error| ProviderError::new(ErrorClass::Invalid, format!("{path}: {error}")))?;
        let answer = self.client.request(request).await;
        answer.map_err(|error| failure(path, &error))
    }

    /// Whether the version that is spoken has a kind.
    pub(super) async fn serves(&self, plural: &str) -> Result<bool, ProviderError> {
        let about = self.get(&self.root().await?).await?;
        let resources = about.get("resources").and_then(Value::as_array);
        let is_it = |one: &Value| one.get("name").and_then(Value::as_str) == Some(plural);
        Ok(resources.is_some_and(|resources| resources.iter().any(is_it)))
    }

    /// Every object of a kind. A kind that is not served has none.
    ///
    /// # Errors
    /// Also where the kind is served and its objects are not found: an API server that starts says
    /// so for a moment, and groups that vanish would be ordered anew.
    pub(super) async fn list(&self, plural: &str) -> Result<Vec<Value>, ProviderError> {
        match self.pages(plural).await {
            Err(error) if error.class == ErrorClass::NotFound => {}
            answer => return answer,
        }
        // Perhaps it is served in another version now.
        self.forget_version();
        if self.serves(plural).await? {
            return self.pages(plural).await;
        }
        if self.is_news(plural) {
            tracing::info!(plural, "the management cluster has no such kind");
        }
        Ok(Vec::new())
    }

    async fn pages(&self, plural: &str) -> Result<Vec<Value>, ProviderError> {
        let root = self.root().await?;
        let mut objects = Vec::new();
        let mut next = String::new();
        loop {
            let path = format!("{root}/{plural}?limit={PAGE}{next}");
            let mut page = self.get(&path).await?;
            if let Some(items) = page.get_mut("items").and_then(Value::as_array_mut) {
                objects.append(items);
            }
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => next = format!("&continue={token}"),
                _ => return Ok(objects),
            }
        }
    }

    /// Whether this was not said before.
    pub(super) fn is_news(&self, what: &str) -> bool {
        self.absent.lock().insert(what.to_owned())
    }

    async fn scale_path(&self, source: &Source) -> Result<String, ProviderError> {
        let (plural, namespace, name) = (source.kind.plural(), &source.namespace, &source.name);
        let root = self.root().await?;
        Ok(format!(
            "{root}/namespaces/{namespace}/{plural}/{name}/scale"
        ))
    }

    /// How many replicas a scale asks for now.
    pub(super) async fn size(&self, source: &Source) -> Result<usize, ProviderError> {
        let scale = self.get(&self.scale_path(source).await?).await?;
        Ok(replicas(&scale))
    }

    /// Changes a scale from what it is to what `resize` makes of it, or leaves it with its error.
    pub(super) async fn rescale(
        &self,
        source: &Source,
        resize: impl Fn(usize) -> Result<usize, ProviderError> + Send,
    ) -> Result<(), ProviderError> {
        let path = self.scale_path(source).await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut scale = self.get(&path).await?;
            let size = replicas(&scale);
            let wanted = resize(size)?;
            if wanted == size {
                return Ok(());
            }
            if let Some(map) = scale.as_object_mut() {
                map.insert("spec".to_owned(), json!({"replicas": wanted}));
            }
            let body = Some(("application/json", &scale));
            match self.send(Method::PUT, &path, body).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code == "409" && attempts < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Marks a machine for deletion, or takes the mark off.
    pub(super) async fn mark(
        &self,
        machine: &Machine,
        since: Option<Timestamp>,
    ) -> Result<(), ProviderError> {
        let key = format!("{}/delete-machine", self.group);
        let value = since.map(|since| since.to_string());
        let change = json!({"metadata": {"annotations": {key: value}}});
        let (namespace, name) = (&machine.namespace, &machine.name);
        let root = self.root().await?;
        let path = format!("{root}/namespaces/{namespace}/machines/{name}");
        let body = Some(("application/merge-patch+json", &change));
        self.send(Method::PATCH, &path, body).await.map(drop)
    }

    /// The status of an infrastructure's template: what its machines have; at most two minutes old.
    /// `None` where the template is not there or may not be read: annotations may still say it.
    pub(super) async fn capacity(
        &self,
        source: &Source,
        reference: &Reference,
    ) -> Result<Option<Value>, ProviderError> {
        let key = (source.namespace.clone(), reference.clone());
        if let Some((at, status)) = self.templates.lock().get(&key)
            && at.elapsed() < TEMPLATE_FRESH
        {
            return Ok(status.clone());
        }
        let status = self.ask_capacity(source, reference).await?;
        let mut templates = self.templates.lock();
        templates.retain(|_, (at, _)| at.elapsed() < TEMPLATE_FRESH);
        templates.insert(key, (Instant::now(), status.clone()));
        Ok(status)
    }

    async fn ask_capacity(
        &self,
        source: &Source,
        reference: &Reference,
    ) -> Result<Option<Value>, ProviderError> {
        let Reference {
            group,
            version,
            kind,
            name,
        } = reference;
        let version = match version {
            Some(version) => Ok(version.clone()),
            None => self.preferred(group).await,
        };
        let root = version.map(|version| format!("/apis/{group}/{version}"));
        let plural = format!("{}s", kind.to_ascii_lowercase());
        let found = match root {
            Ok(root) => {
                let namespace = &source.namespace;
                self.get(&format!("{root}/namespaces/{namespace}/{plural}/{name}"))
                    .await
            }
            Err(error) => Err(error),
        };
        match found {
            Ok(mut object) => Ok(object.get_mut("status").map(Value::take)),
            Err(error) if [ErrorClass::NotFound, ErrorClass::Forbidden].contains(&error.class) => {
                if self.is_news(&format!("{plural}/{name}")) {
                    tracing::info!(%error, "sizes of new nodes come from annotations only");
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn replicas(scale: &Value) -> usize {
    let size = scale.pointer("/spec/replicas").and_then(Value::as_u64);
    usize::try_from(size.unwrap_or(0)).unwrap_or(usize::MAX)
}

fn failure(path: &str, error: &Error) -> ProviderError {
    let Error::Api(status) = error else {
        let message = format!("{path}: {error}");
        return ProviderError::new(ErrorClass::Unreachable, message);
    };
    let class = match status.code {
        401 | 403 => ErrorClass::Forbidden,
        404 => ErrorClass::NotFound,
        400 | 422 => ErrorClass::Invalid,
        429 => ErrorClass::Throttled,
        503 | 504 => ErrorClass::Unreachable,
        _ => ErrorClass::Other,
    };
    ProviderError {
        class,
        code: status.code.to_string(),
        message: status.message.clone(),
    }
}
