//! NamespaceLifecycle.

use super::Request;
use crate::resource::patch::Part;
use crate::resource::present::parse;
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};

/// New objects need a namespace that exists and is not going away.
pub(super) fn must_accept(
    request: &Request<'_>,
    _: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if old.is_some() || request.part != Part::Main || !request.writer.kind.namespaced {
        return Ok(());
    }
    let name = request.namespace;
    let entry = request.writer.server.find("", "namespaces", ("", name));
    let entry = entry.ok_or_else(|| ApiError::not_found("", "namespaces", name))?;
    if !entry.index.deleting {
        return Ok(());
    }
    let why =
        format!("unable to create new content in namespace {name} because it is being terminated");
    let mut error = request.forbidden(&why);
    let deleted = parse(&entry.json)?;
    let since = meta::text(&deleted, &["metadata", "deletionTimestamp"]);
    meta::as_object(&mut error.details).insert(
        "causes".into(),
        json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {name} is being terminated since {since}"),
            "field": "metadata.namespace",
        }]),
    );
    Err(error)
}

/// Some namespaces always exist.
pub(super) fn may_be_deleted(kind: &Kind, name: &str) -> Result<(), ApiError> {
    let fixed = ["default", "kube-system", "kube-public"];
    if kind.group.is_empty() && kind.kind == "Namespace" && fixed.contains(&name) {
        let why = "this namespace may not be deleted";
        return Err(ApiError::forbidden("", "namespaces", name, why));
    }
    Ok(())
}
