//! The rules of CustomResourceDefinition itself.

use super::formats::is_known;
use crate::meta;
use serde_json::{Value, json};

/// Defaults of a definition.
pub(crate) fn default(definition: &mut Value) {
    let kind = meta::text(definition, &["spec", "names", "kind"]).to_owned();
    if definition.get("spec").is_some_and(Value::is_object) {
        meta::default_at(
            definition,
            &["spec"],
            "conversion",
            json!({"strategy": "None"}),
        );
        if !kind.is_empty() {
            let names = ["spec", "names"];
            meta::default_at(definition, &names, "singular", kind.to_lowercase());
            meta::default_at(definition, &names, "listKind", format!("{kind}List"));
        }
    }
}

/// A new definition has no conditions; what it stores in is noted.
pub(crate) fn prepare_create(definition: &mut Value) {
    let stored = storage_version(definition);
    meta::as_object(definition).insert(
        "status".into(),
        json!({
            "acceptedNames": {"plural": "", "kind": ""}, "conditions": [],
            "storedVersions": stored.into_iter().collect::<Vec<_>>(),
        }),
    );
}

/// A changed definition keeps its status; a new storage version is noted.
pub(crate) fn prepare_update(new: &mut Value, old: &Value) {
    let stored = storage_version(new);
    let status = old.get("status").cloned().unwrap_or_else(|| json!({}));
    let map = meta::as_object(new);
    map.insert("status".into(), status);
    let Some(stored) = stored else { return };
    let list = meta::object_mut(new, &["status"])
        .entry("storedVersions")
        .or_insert_with(|| json!([]));
    if let Value::Array(list) = list
        && !list.iter().any(|v| *v == stored)
    {
        list.push(stored.into());
    }
}

/// Formats of texts that nobody knows are no error, but probably a mistake.
pub(crate) fn warnings(definition: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let versions = meta::list(definition, &["spec", "versions"]).iter();
    for (index, version) in versions.enumerate() {
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        if let Some(schema) = meta::at(version, &["schema", "openAPIV3Schema"]) {
            unknown_formats(schema, &path, &mut found);
        }
    }
    found
}

fn unknown_formats(schema: &Value, path: &str, found: &mut Vec<String>) {
    let format = meta::text(schema, &["format"]);
    if meta::text(schema, &["type"]) == "string" && !format.is_empty() && !is_known(format) {
        found.push(format!("{path}.format: unrecognized format {format:?}"));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        unknown_formats(property, &format!("{path}.properties[{name}]"), found);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(key).filter(|below| below.is_object()) {
            unknown_formats(below, &format!("{path}.{key}"), found);
        }
    }
}

fn storage_version(definition: &Value) -> Option<String> {
    let versions = meta::list(definition, &["spec", "versions"]).iter();
    let mut storage = versions.filter(|v| v.get("storage") == Some(&Value::Bool(true)));
    storage.next().map(|v| meta::text(v, &["name"]).to_owned())
}
