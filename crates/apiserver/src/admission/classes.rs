//! Which of several classes is the default.

use super::follow::Followed;
use plimsoll_api::meta;
use serde_json::Value;
use std::cmp::Reverse;

/// The name of the class that one of the annotations marks: the newest, then the first by name.
pub(super) fn default(classes: &Followed<Value>, annotations: &[&str]) -> Option<String> {
    let marked = |class: &Value| {
        annotations
            .iter()
            .any(|key| meta::text(class, &["metadata", "annotations", key]) == "true")
    };
    classes
        .in_namespace("")
        .into_iter()
        .filter(|class| marked(class))
        // Whole seconds in UTC: the texts sort as the times do. Names come in order.
        .min_by_key(|class| {
            Reverse(meta::text(class, &["metadata", "creationTimestamp"]).to_owned())
        })
        .map(|class| meta::name(&class).to_owned())
}
