//! Conversion between the versions of a definition by its webhook.
//!
//! Definitions whose versions convert by renaming need none of this: it costs them a comparison.

use crate::outbound::{Destination, Limits};
use crate::resource::present::{bytes_of, parse};
use crate::server::ApiServer;
use crate::store::{Entry, Event, Frame};
use bytes::Bytes;
use plimsoll_api::custom::Conversion;
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a webhook may take, and how much it may answer.
const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(30),
    body_bytes: 64 << 20,
};

/// Whether objects of the kind may need a webhook to be read or written.
pub(crate) fn by_webhook(kind: &Kind) -> bool {
    webhook(kind).is_some()
}

fn webhook(kind: &Kind) -> Option<&Arc<Value>> {
    match &kind.custom.as_ref()?.conversion {
        Conversion::Webhook(webhook) => Some(webhook),
        Conversion::Rename => None,
    }
}

/// Objects in the version `api_version`, in order; those that are in it already stay as they are.
///
/// # Errors
/// 500 when the webhook cannot be asked, refuses, or answers something else.
pub(crate) async fn objects(
    server: &ApiServer,
    kind: &Kind,
    mut objects: Vec<Value>,
    api_version: &str,
) -> Result<Vec<Value>, ApiError> {
    let Some(webhook) = webhook(kind) else {
        return Ok(objects);
    };
    let is_other = |object: &Value| meta::text(object, &["apiVersion"]) != api_version;
    let (places, old): (Vec<usize>, Vec<Value>) = objects
        .iter()
        .enumerate()
        .filter(|(_, object)| is_other(object))
        .map(|(place, object)| (place, object.clone()))
        .unzip();
    if old.is_empty() {
        return Ok(objects);
    }
    let from = old
        .first()
        .map(|o| meta::text(o, &["apiVersion"]).to_owned());
    let converted = ask(server, webhook, &old, api_version)
        .await
        .map_err(|why| {
            let from = from.unwrap_or_default();
            let (group, version) = from.split_once('/').unwrap_or(("", &from));
            ApiError::internal(format!(
                "conversion webhook for {group}/{version}, Kind={} failed: {why}",
                kind.kind
            ))
        })?;
    for ((place, old), new) in places.into_iter().zip(old).zip(converted) {
        if let Some(object) = objects.get_mut(place) {
            *object = accepted(&old, new, api_version).map_err(ApiError::internal)?;
        }
    }
    Ok(objects)
}

/// One object in the version `api_version`.
///
/// # Errors
/// As [`objects`].
pub(crate) async fn object(
    server: &ApiServer,
    kind: &Kind,
    object: Value,
    api_version: &str,
) -> Result<Value, ApiError> {
    if !by_webhook(kind) {
        return Ok(object);
    }
    let converted = objects(server, kind, vec![object], api_version).await?;
    Ok(converted.into_iter().next().unwrap_or_default())
}

/// Entries whose JSON is in the served version, ready to be shown. One call for all of them.
///
/// # Errors
/// As [`objects`].
pub(crate) async fn entries(
    server: &ApiServer,
    kind: &Kind,
    entries: Vec<Arc<Entry>>,
) -> Result<Vec<Arc<Entry>>, ApiError> {
    if !by_webhook(kind) {
        return Ok(entries);
    }
    let parsed = entries.iter().map(|entry| parse(&entry.json));
    let parsed = parsed.collect::<Result<Vec<Value>, ApiError>>()?;
    let converted = objects(server, kind, parsed, &kind.api_version()).await?;
    let shown = entries.iter().zip(converted).map(|(entry, object)| {
        let mut entry = Entry::clone(entry);
        entry.json = bytes_of(&kind.to_served(object));
        Arc::new(entry)
    });
    Ok(shown.collect())
}

/// An event whose objects are in the served version.
///
/// # Errors
/// As [`objects`].
pub(crate) async fn event(
    server: &ApiServer,
    kind: &Kind,
    event: Arc<Event>,
) -> Result<Arc<Event>, ApiError> {
    if !by_webhook(kind) {
        return Ok(event);
    }
    let both = std::iter::once(Arc::clone(&event.entry)).chain(event.previous.clone());
    let mut shown = entries(server, kind, both.collect()).await?.into_iter();
    Ok(Arc::new(Event {
        change: event.change,
        entry: shown.next().unwrap_or_else(|| Arc::clone(&event.entry)),
        previous: shown.next(),
        frame: Frame::default(),
        protobuf: Frame::default(),
    }))
}

/// JSON in the served version.
///
/// # Errors
/// As [`objects`].
pub(crate) async fn json(server: &ApiServer, kind: &Kind, json: Bytes) -> Result<Bytes, ApiError> {
    if !by_webhook(kind) {
        return Ok(json);
    }
    let stored = parse(&json)?;
    let converted = object(server, kind, stored, &kind.api_version()).await?;
    Ok(bytes_of(&kind.to_served(converted)))
}

async fn ask(
    server: &ApiServer,
    webhook: &Value,
    objects: &[Value],
    api_version: &str,
) -> Result<Vec<Value>, String> {
    let uid = server.0.random.uid();
    let versions = meta::list(webhook, &["conversionReviewVersions"]);
    let known = versions.iter().filter_map(Value::as_str);
    let version = known
        .into_iter()
        .find(|v| matches!(*v, "v1" | "v1beta1"))
        .unwrap_or("v1");
    let review = json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
    });
    let config = webhook.get("clientConfig").unwrap_or(&Value::Null);
    let destination = Destination::from_client_config(config).map_err(|e| e.to_string())?;
    let body = Bytes::from(review.to_string());
    let outbound = &server.0.outbound;
    let answer = outbound
        .post(
            &destination,
            ("timeout=30s", "kube-apiserver"),
            body,
            LIMITS,
        )
        .await
        .map_err(|e| format!("Post {:?}: {e}", destination.url("timeout=30s")))?;
    if !answer.code.is_success() {
        return Err(format!("the server answered {}", answer.code));
    }
    let review: Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
    read(&review, &uid, objects.len())
}

/// The objects of an answer.
fn read(review: &Value, uid: &str, count: usize) -> Result<Vec<Value>, String> {
    let response = review.get("response").unwrap_or(&Value::Null);
    let said = meta::text(response, &["uid"]);
    if said != uid {
        return Err(format!("expected response.uid={uid:?}, got {said:?}"));
    }
    if meta::text(response, &["result", "status"]) != "Success" {
        let message = meta::text(response, &["result", "message"]);
        let message = if message.is_empty() {
            "webhook failed without a reason"
        } else {
            message
        };
        return Err(message.to_owned());
    }
    let objects = meta::list(response, &["convertedObjects"]).to_vec();
    if objects.len() != count {
        let got = objects.len();
        return Err(format!("webhook returned {got} objects, expected {count}"));
    }
    Ok(objects)
}

/// A converted object, if it still is the same one: webhooks may only change labels and annotations
/// of its metadata.
fn accepted(old: &Value, mut new: Value, api_version: &str) -> Result<Value, String> {
    let got = meta::text(&new, &["apiVersion"]);
    if got != api_version {
        return Err(format!(
            "conversion webhook returned an object of version {got:?}, expected {api_version:?}"
        ));
    }
    for path in [
        &["kind"][..],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "uid"],
    ] {
        if meta::at(old, path) != meta::at(&new, path) {
            return Err(format!(
                "conversion webhook must not change {}",
                path.join(".")
            ));
        }
    }
    let mut metadata = old.get("metadata").cloned().unwrap_or_default();
    for key in ["labels", "annotations"] {
        let map = meta::as_object(&mut metadata);
        match meta::at(&new, &["metadata", key]) {
            Some(value) => drop(map.insert(key.into(), value.clone())),
            None => drop(map.shift_remove(key)),
        }
    }
    let map = meta::as_object(&mut new);
    map.insert("metadata".into(), metadata);
    Ok(new)
}
