//! Filling defaults in.

use super::schema::Schema;
use serde_json::{Map, Value};

/// Fills what is absent and has a default; nulls that are not allowed count as absent.
pub fn fill(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            drop_nulls(schema, map);
            fill_map(schema, map);
        }
        Value::Array(items) => {
            let Some(below) = &schema.items else { return };
            for item in items {
                if item.is_null()
                    && !below.nullable
                    && let Some(default) = &below.default
                {
                    *item = default.clone();
                }
                fill(below, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Nulls where null is no value are not there.
fn drop_nulls(schema: &Schema, map: &mut Map<String, Value>) {
    if !map.values().any(Value::is_null) {
        return;
    }
    map.retain(|key, value| {
        let kept = |below: &Schema| below.nullable || below.preserve && below.ty.is_none();
        !value.is_null() || schema.key(key).is_none_or(kept)
    });
}

fn fill_map(schema: &Schema, map: &mut Map<String, Value>) {
    if schema.has_defaults {
        for (name, below) in &schema.properties {
            if let Some(default) = &below.default
                && !map.contains_key(name)
            {
                map.insert(name.clone(), default.clone());
            }
        }
    }
    for (key, value) in map {
        if let Some(below) = schema.key(key) {
            fill(below, value);
        }
    }
}
