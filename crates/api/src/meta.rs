//! Reading and writing `metadata` of an untyped object.

use serde_json::{Map, Value};

/// Follows `path` through nested objects; `None` where anything is absent.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| value.get(key))
}

/// The string at `path`, or `""`.
pub fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at `path`.
pub fn integer(object: &Value, path: &[&str]) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// The list at `path`, or an empty one.
pub fn list<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// `metadata.name`, or `""`.
pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// `metadata.namespace`, or `""`.
pub fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

/// `metadata.uid`, or `""`.
pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// Whether deletion has begun.
pub fn is_deleting(object: &Value) -> bool {
    at(object, &["metadata", "deletionTimestamp"]).is_some_and(|t| !t.is_null())
}

/// The object map at `path`, created (replacing anything that is not an object) where absent.
pub fn object_mut<'a>(object: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let mut here = as_object(object);
    for key in path {
        here = as_object(here.entry(*key).or_insert(Value::Null));
    }
    here
}

/// The value as an object map, replaced by an empty one if it is something else.
pub fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable!("replaced by an object above")
        }
    }
}

/// Sets `key` of the map at `path` if it is absent or null.
pub fn default_at(object: &mut Value, path: &[&str], key: &str, value: impl Into<Value>) {
    let map = object_mut(object, path);
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.into(), value.into());
    }
}
