//! Writes through the API, with the answer taken into the cache at once.

use super::{Cache, Cached, Meta, ObjectKey, Owner};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::{Request, Status};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use std::sync::Arc;

/// A write that the server refused or that did not get through.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {target}")]
pub struct WriteError {
    /// `create`, `patch`, …
    verb: &'static str,
    /// Plural, namespace and name.
    target: String,
    /// What the client reported.
    #[source]
    source: Box<kube::Error>,
}

impl WriteError {
    /// What the server answered, if it did.
    fn status(&self) -> Option<&Status> {
        if let kube::Error::Api(status) = &*self.source {
            Some(status)
        } else {
            None
        }
    }

    /// The HTTP status, if the server answered.
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// What the server said, or what went wrong on the way.
    pub fn message(&self) -> String {
        let said = self.status().map(|status| status.message.clone());
        said.unwrap_or_else(|| self.source.to_string())
    }

    /// The machine-readable reason, e.g. `AlreadyExists`; empty if the server did not answer.
    pub fn reason(&self) -> &str {
        self.status().map_or("", |status| &status.reason)
    }

    /// The object or its namespace is gone.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The object changed meanwhile (or a uid did not match).
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409) && self.reason() != "AlreadyExists"
    }

    /// An object of that name exists.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }

    /// The namespace is being deleted, so nothing can be created in it any more.
    pub fn is_namespace_terminating(&self) -> bool {
        self.code() == Some(403) && self.message().contains("because it is being terminated")
    }
}

/// How to delete an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Deletion {
    /// Only the object with this uid.
    pub uid: Option<Arc<str>>,
    /// Only while it has this resourceVersion.
    pub revision: Option<u64>,
    /// Seconds to end gracefully; the object's own if absent.
    pub grace_seconds: Option<u32>,
    /// What happens to dependents; the server's default if absent.
    pub propagation: Option<PropagationPolicy>,
}

impl Deletion {
    /// In the background, only the object with this uid.
    pub fn of(uid: &Arc<str>) -> Self {
        Self {
            uid: Some(Arc::clone(uid)),
            revision: None,
            grace_seconds: None,
            propagation: Some(PropagationPolicy::Background),
        }
    }

    pub(super) fn params(&self) -> DeleteParams {
        DeleteParams {
            grace_period_seconds: self.grace_seconds,
            propagation_policy: self.propagation.clone(),
            preconditions: self.uid.as_ref().map(|uid| Preconditions {
                uid: Some(uid.to_string()),
                resource_version: self.revision.map(|revision| revision.to_string()),
            }),
            ..DeleteParams::default()
        }
    }
}

/// Writes objects. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    manager: Option<&'static str>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

/// An HTTP request as kube builds it.
pub(super) type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

impl Writer {
    /// Writes through `client`.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            manager: None,
        }
    }

    /// The same writer under a name that `metadata.managedFields` shows for its patches; without,
    /// the server takes the client's.
    #[must_use]
    pub fn managed_by(&self, manager: &'static str) -> Self {
        Self {
            manager: Some(manager),
            ..self.clone()
        }
    }

    /// The name for `metadata.managedFields`.
    pub fn manager(&self) -> Option<&'static str> {
        self.manager
    }

    fn patch_params(&self) -> PatchParams {
        PatchParams {
            field_manager: self.manager.map(str::to_owned),
            ..PatchParams::default()
        }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Creates an object in `namespace` (empty for cluster-scoped kinds).
    pub async fn create<V: Cached>(
        &self,
        cache: &Cache<V>,
        namespace: &str,
        body: &impl Serialize,
    ) -> Result<Arc<V>, WriteError> {
        let target = Target::new::<V::Wire>(&ObjectKey::new(namespace, ""));
        let request = encode(body)
            .and_then(|body| Request::new(&*target.path).create(&PostParams::default(), body));
        Ok(cache.observe(self.send("create", &target, request).await?))
    }

    /// Applies a JSON merge patch. Put `metadata.resourceVersion` or `metadata.uid` into it to
    /// guard it.
    pub async fn patch<V: Cached>(
        &self,
        cache: &Cache<V>,
        key: &ObjectKey,
        patch: &Value,
    ) -> Result<Arc<V>, WriteError> {
        let target = Target::new::<V::Wire>(key);
        let request = Request::new(&*target.path).patch(
            &key.name,
            &self.patch_params(),
            &Patch::Merge(patch),
        );
        Ok(cache.observe(self.send("patch", &target, request).await?))
    }

    /// Applies a JSON merge patch to a subresource that answers with the object (`status`).
    pub async fn patch_subresource<V: Cached>(
        &self,
        cache: &Cache<V>,
        key: &ObjectKey,
        subresource: &str,
        patch: &Value,
    ) -> Result<Arc<V>, WriteError> {
        self.patch_part(cache, key, subresource, &Patch::Merge(patch))
            .await
    }

    /// Applies a strategic merge patch to a subresource that answers with the object: lists of
    /// built-in kinds are merged by their key, so that a condition leaves the others alone.
    pub async fn merge_subresource<V: Cached>(
        &self,
        cache: &Cache<V>,
        key: &ObjectKey,
        subresource: &str,
        patch: &Value,
    ) -> Result<Arc<V>, WriteError> {
        self.patch_part(cache, key, subresource, &Patch::Strategic(patch))
            .await
    }

    async fn patch_part<V: Cached>(
        &self,
        cache: &Cache<V>,
        key: &ObjectKey,
        subresource: &str,
        patch: &Patch<&Value>,
    ) -> Result<Arc<V>, WriteError> {
        let target = Target::new::<V::Wire>(key);
        let request = Request::new(&*target.path).patch_subresource(
            subresource,
            &key.name,
            &self.patch_params(),
            patch,
        );
        Ok(cache.observe(self.send("patch the status of", &target, request).await?))
    }

    /// Replaces the owners of exactly this object (by uid). One that is gone is a success.
    pub async fn set_owners<V: Cached>(
        &self,
        cache: &Cache<V>,
        object: &Meta,
        owners: &[Owner],
    ) -> Result<(), WriteError> {
        let owners: Vec<_> = owners.iter().map(Owner::to_reference).collect();
        let patch = json!({"metadata": {
            "uid": *object.uid, "ownerReferences": null_if_empty(&owners),
        }});
        match self.patch(cache, &object.key, &patch).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Replaces an object.
    pub async fn replace<V: Cached>(
        &self,
        cache: &Cache<V>,
        key: &ObjectKey,
        body: &impl Serialize,
    ) -> Result<Arc<V>, WriteError> {
        let target = Target::new::<V::Wire>(key);
        let request = encode(body).and_then(|body| {
            Request::new(&*target.path).replace(&key.name, &PostParams::default(), body)
        });
        Ok(cache.observe(self.send("replace", &target, request).await?))
    }

    /// POSTs to a subresource (`binding`, `eviction`); the answer is dropped.
    pub async fn post_subresource<R: Resource<DynamicType = ()>>(
        &self,
        key: &ObjectKey,
        subresource: &str,
        body: &impl Serialize,
    ) -> Result<(), WriteError> {
        let target = Target::new::<R>(key);
        let request = encode(body).and_then(|body| {
            let params = PostParams::default();
            Request::new(&*target.path).create_subresource(subresource, &key.name, &params, body)
        });
        let _answer: IgnoredAny = self.send("post to", &target, request).await?;
        Ok(())
    }

    /// PUTs a subresource (`finalize`); the answer is dropped.
    pub async fn put_subresource<R: Resource<DynamicType = ()>>(
        &self,
        key: &ObjectKey,
        subresource: &str,
        body: &impl Serialize,
    ) -> Result<(), WriteError> {
        let target = Target::new::<R>(key);
        let request = encode(body).and_then(|body| {
            let params = PostParams::default();
            Request::new(&*target.path).replace_subresource(subresource, &key.name, &params, body)
        });
        let _answer: IgnoredAny = self.send("put", &target, request).await?;
        Ok(())
    }

    /// Deletes an object. One that is gone already is a success.
    pub async fn delete<R: Resource<DynamicType = ()>>(
        &self,
        key: &ObjectKey,
        deletion: &Deletion,
    ) -> Result<(), WriteError> {
        let target = Target::new::<R>(key);
        let request = Request::new(&*target.path).delete(&key.name, &deletion.params());
        match self.send::<IgnoredAny>("delete", &target, request).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        target: &Target,
        request: Built,
    ) -> Result<T, WriteError> {
        let failed = |source| WriteError {
            verb,
            target: target.to_string(),
            source: Box::new(source),
        };
        let request = request.map_err(|error| failed(kube::Error::BuildRequest(error)))?;
        self.client.request(request).await.map_err(failed)
    }
}

fn encode(body: &impl Serialize) -> Result<Vec<u8>, kube::core::request::Error> {
    serde_json::to_vec(body).map_err(kube::core::request::Error::SerializeBody)
}

/// A list for a merge patch: an empty one removes the field, as absent and empty are the same.
pub(crate) fn null_if_empty<T: Serialize>(list: &[T]) -> Value {
    if list.is_empty() {
        Value::Null
    } else {
        json!(list)
    }
}

/// Where a write goes.
pub(super) struct Target {
    pub(super) path: String,
    pub(super) plural: String,
    pub(super) key: ObjectKey,
}

impl Target {
    fn new<R: Resource<DynamicType = ()>>(key: &ObjectKey) -> Self {
        Self {
            path: R::url_path(&(), key.namespace()),
            plural: R::plural(&()).into_owned(),
            key: key.clone(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.plural, self.key)
    }
}
