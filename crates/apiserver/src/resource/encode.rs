//! From an object to what the store keeps.

use crate::store::{Draft, Entry, Index, Key};
use plimsoll_api::kind::Kind;
use plimsoll_api::{kinds, meta};
use serde_json::Value;
use std::sync::Arc;

/// Metadata that is written before the resourceVersion.
const FIRST: [&str; 4] = ["name", "generateName", "namespace", "uid"];
/// Metadata that is written after it, in this order; anything else follows.
const NEXT: [&str; 9] = [
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// The draft of an object in its stored version. `kind` must be the stored one: its selectable
/// fields become the index.
pub(crate) fn draft(kind: &Kind, key: Key, object: &Value) -> Draft {
    let mut head = b"{\"kind\":".to_vec();
    put(&mut head, &kind.kind.as_ref().into());
    head.extend_from_slice(b",\"apiVersion\":");
    put(&mut head, &kind.stored_api_version.as_ref().into());
    head.extend_from_slice(b",\"metadata\":{");
    let metadata = object.get("metadata").and_then(Value::as_object);
    let field = |name: &str| metadata.and_then(|m| m.get(name));
    for name in FIRST {
        if let Some(value) = field(name) {
            member(&mut head, name, value);
            head.push(b',');
        }
    }
    head.extend_from_slice(b"\"resourceVersion\":\"");
    let mut tail = b"\"".to_vec();
    for name in NEXT {
        if let Some(value) = field(name) {
            tail.push(b',');
            member(&mut tail, name, value);
        }
    }
    for (name, value) in metadata.into_iter().flatten() {
        let written = FIRST.contains(&name.as_str()) || NEXT.contains(&name.as_str());
        if !written && name != "resourceVersion" {
            tail.push(b',');
            member(&mut tail, name, value);
        }
    }
    tail.push(b'}');
    for (name, value) in object.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "kind" | "apiVersion" | "metadata") {
            tail.push(b',');
            member(&mut tail, name, value);
        }
    }
    tail.push(b'}');
    Draft {
        key,
        uid: meta::uid(object).into(),
        head,
        tail,
        index: index(kind, object),
    }
}

/// Whether a draft would store what is stored, whatever the order of its fields.
pub(crate) fn is_same(draft: &Draft, entry: &Entry) -> bool {
    let revision = entry.revision.to_string();
    let new = [&draft.head, revision.as_bytes(), &draft.tail].concat();
    if *new == *entry.json {
        return true;
    }
    let parse = |json: &[u8]| serde_json::from_slice::<Value>(json).ok();
    parse(&new) == parse(&entry.json)
}

/// The complete JSON of an object that is not stored (dry runs).
pub(crate) fn unstored(object: &Value) -> bytes::Bytes {
    let mut object = object.clone();
    meta::object_mut(&mut object, &["metadata"]).shift_remove("resourceVersion");
    super::present::bytes_of(&object)
}

fn index(kind: &Kind, object: &Value) -> Index {
    let labels = meta::at(object, &["metadata", "labels"]).and_then(Value::as_object);
    let mut labels: Vec<(Arc<str>, Arc<str>)> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            (
                key.as_str().into(),
                value.as_str().unwrap_or_default().into(),
            )
        })
        .collect();
    labels.sort();
    let fields = kind
        .indexed()
        .map(|path| kinds::field_value(object, path).into());
    let owners = meta::list(object, &["metadata", "ownerReferences"])
        .iter()
        .map(|owner| meta::text(owner, &["uid"]).into());
    Index {
        labels: labels.into(),
        fields: fields.collect(),
        owners: owners.collect(),
        deleting: meta::is_deleting(object),
    }
}

fn member(out: &mut Vec<u8>, name: &str, value: &Value) {
    put(out, &name.into());
    out.push(b':');
    put(out, value);
}

fn put(out: &mut Vec<u8>, value: &Value) {
    // Writing JSON values into memory cannot fail: keys are strings and the writer is a Vec.
    serde_json::to_writer(out, value).unwrap_or_default();
}
