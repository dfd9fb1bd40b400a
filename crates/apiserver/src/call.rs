//! One request for a resource, with everything its handler needs.

use crate::auth::Identity;
use crate::custom::convert;
use crate::http::Body;
use crate::http::negotiate::Wanted;
use crate::http::query::Query;
use crate::http::respond::Response;
use crate::http::route::ResourcePath;
use crate::remarks::Remarks;
use crate::resource::present;
use crate::server::{ApiServer, key};
use crate::store::{Entry, Key, StoreError};
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use plimsoll_api::kind::Kind;
use plimsoll_api::status::{ApiError, FieldError};
use std::sync::Arc;

/// A request for a resource of the store.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) server: ApiServer,
    pub(crate) identity: Identity,
    pub(crate) kind: Arc<Kind>,
    pub(crate) path: ResourcePath,
    pub(crate) verb: &'static str,
    pub(crate) query: Query,
    pub(crate) wanted: Wanted,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body of a request that is passed on; `body` is empty then.
    pub(crate) incoming: Mutex<Option<Body>>,
    pub(crate) upgrade: Mutex<Option<OnUpgrade>>,
    pub(crate) remarks: Remarks,
}

/// Whether a write is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// It is stored.
    Real,
    /// Everything is checked and nothing is stored.
    Dry,
}

impl Call {
    /// The namespace in the path, or `""`.
    pub(crate) fn namespace(&self) -> &str {
        self.path.namespace.as_deref().unwrap_or_default()
    }

    /// The name in the path, or `""`.
    pub(crate) fn name(&self) -> &str {
        self.path.name.as_deref().unwrap_or_default()
    }

    /// Where the object named by the path lives.
    pub(crate) fn key(&self) -> Key {
        key(&self.kind, self.namespace(), self.name())
    }

    /// `dryRun` of the query.
    pub(crate) fn run(&self) -> Result<Run, ApiError> {
        let values: Vec<&str> = self.query.all("dryRun").filter(|v| !v.is_empty()).collect();
        dry_run(&values)
    }

    /// Adds a `Warning` header to the answer.
    pub(crate) fn warn(&self, warnings: Vec<String>) {
        self.remarks.warn(warnings);
    }

    /// An object of the call's kind as the answer.
    pub(crate) fn object(&self, code: u16, json: &Bytes) -> Result<Response, ApiError> {
        present::object(code, &self.kind, &self.wanted, json, self.server.now())
    }

    /// A stored object of the call's kind as the answer.
    pub(crate) async fn stored(&self, code: u16, entry: Arc<Entry>) -> Result<Response, ApiError> {
        let shown = convert::entries(&self.server, &self.kind, vec![entry]).await?;
        let entry = shown.first().ok_or_else(|| self.not_found())?;
        self.object(code, &entry.json)
    }

    /// 404 for the object the path names.
    pub(crate) fn not_found(&self) -> ApiError {
        not_found(&self.kind, self.name())
    }
}

/// Reads `dryRun` values.
pub(crate) fn dry_run(values: &[&str]) -> Result<Run, ApiError> {
    match values {
        [] => Ok(Run::Real),
        many if many.iter().all(|v| *v == "All") => Ok(Run::Dry),
        many => {
            let value = serde_json::json!(many);
            let errors = [FieldError::not_supported("dryRun", &value, &["All"])];
            Err(ApiError::invalid(
                "meta.k8s.io",
                "CreateOptions",
                "",
                &errors,
            ))
        }
    }
}

/// 404 for an object of `kind`.
pub(crate) fn not_found(kind: &Kind, name: &str) -> ApiError {
    ApiError::not_found(&kind.group, &kind.plural, name)
}

/// What a refusal of the store means to a client.
pub(crate) fn refused(kind: &Kind, name: &str, error: &StoreError) -> ApiError {
    match error {
        StoreError::Exists(_) => ApiError::already_exists(&kind.group, &kind.plural, name),
        StoreError::Missing => not_found(kind, name),
        StoreError::Conflict(_) => ApiError::modified(&kind.group, &kind.plural, name),
        StoreError::Compacted { .. } => ApiError::expired(error.to_string()),
        StoreError::TooSlow => ApiError::expired("too old resource version"),
        StoreError::Closed => {
            ApiError::new(503, "ServiceUnavailable", "the API server is shutting down")
        }
        StoreError::Future { .. }
        | StoreError::Io(_)
        | StoreError::Sealed(_)
        | StoreError::Newer { .. }
        | StoreError::Locked(_)
        | StoreError::Damaged { .. } => ApiError::internal(error),
    }
}
