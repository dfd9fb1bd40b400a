//! Dropping what a schema does not know.

use super::path::Path;
use super::schema::Schema;
use serde_json::Value;

/// Keys that every object with metadata has, whatever its schema says.
const IMPLICIT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Whether a value is an object with metadata of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Resource,
    Part,
}

/// Drops unknown fields of a whole object; returns their paths in the order of the object.
pub fn prune(schema: &Schema, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(schema, object, Place::Resource, &Path::ROOT, &mut unknown);
    unknown
}

/// Drops unknown fields of a part of an object, e.g. of a default.
pub(super) fn prune_part(schema: &Schema, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(schema, value, Place::Part, &Path::ROOT, &mut unknown);
    unknown
}

fn walk(
    schema: &Schema,
    value: &mut Value,
    place: Place,
    path: &Path<'_>,
    unknown: &mut Vec<String>,
) {
    match value {
        Value::Object(map) => {
            let is_resource = place == Place::Resource || schema.embedded;
            map.retain(|key, value| {
                if is_resource && IMPLICIT.contains(&key.as_str()) {
                    return true;
                }
                let here = path.key(key);
                match schema.key(key) {
                    Some(below) => walk(below, value, Place::Part, &here, unknown),
                    None if schema.preserve => {}
                    None => {
                        unknown.push(here.text());
                        return false;
                    }
                }
                true
            });
        }
        Value::Array(items) => {
            let Some(below) = &schema.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                walk(below, item, Place::Part, &path.index(index), unknown);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
