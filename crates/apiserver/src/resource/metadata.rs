//! The metadata that the server itself looks after.

use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::status::FieldError;
use serde_json::Value;

/// Metadata that only the server writes.
pub(super) const SYSTEM: &[&str] = &[
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "resourceVersion",
    "selfLink",
    "managedFields",
];

/// Takes over from the stored object what an update may not change.
pub(super) fn carry_over(new: &mut Value, old: &Value) {
    let metadata = meta::object_mut(new, &["metadata"]);
    for key in SYSTEM {
        metadata.shift_remove(*key);
    }
    for key in SYSTEM
        .iter()
        .copied()
        .chain(["name", "namespace", "generateName"])
    {
        if let Some(value) = meta::at(old, &["metadata", key]) {
            metadata.insert(key.into(), value.clone());
        }
    }
    let root = meta::as_object(new);
    for key in ["kind", "apiVersion"] {
        if let Some(value) = old.get(key) {
            root.insert(key.into(), value.clone());
        }
    }
}

/// Whether anything but metadata and status differs.
pub(super) fn body_differs(new: &Value, old: &Value) -> bool {
    let differs = |one: &Value, other: &Value| {
        let mut fields = one.as_object().into_iter().flatten();
        fields.any(|(key, value)| {
            !matches!(key.as_str(), "metadata" | "status" | "kind" | "apiVersion")
                && other.get(key) != Some(value)
        })
    };
    // Both ways round, for fields that only one of them has.
    differs(new, old) || differs(old, new)
}

/// Finalizers may not be added once deletion has begun.
pub(super) fn new_finalizers(new: &Value, old: &Value) -> Vec<FieldError> {
    let path = ["metadata", "finalizers"];
    let before = meta::list(old, &path);
    let added: Vec<&Value> = meta::list(new, &path)
        .iter()
        .filter(|f| !before.contains(f))
        .collect();
    if added.is_empty() || !meta::is_deleting(old) {
        return Vec::new();
    }
    let names: Vec<String> = added.iter().map(ToString::to_string).collect();
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        names.join(", ")
    );
    vec![FieldError::forbidden("metadata.finalizers", why)]
}

/// Whether deletion has begun and nothing holds the object back any more.
pub(crate) fn is_finished(kind: &Kind, object: &Value) -> bool {
    let free = meta::list(object, &["metadata", "finalizers"]).is_empty();
    let grace = meta::integer(object, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0);
    let content_gone =
        !kind.is("", "Namespace") || meta::list(object, &["spec", "finalizers"]).is_empty();
    meta::is_deleting(object) && free && grace == 0 && content_gone
}

/// A time as objects carry it: whole seconds, UTC.
pub(crate) fn whole_seconds(time: jiff::Timestamp) -> String {
    let seconds = jiff::Timestamp::from_second(time.as_second()).unwrap_or(time);
    seconds.to_string()
}
