//! A Swagger document in the protobuf form of gnostic (`openapi.v2.Document`), which is what
//! kubectl asks `/openapi/v2` for. Written: definitions in full, operations with their parameters,
//! bodies and vendor extensions; descriptions of responses are not.

use crate::protobuf::{put_bytes, put_nested, put_varint};
use serde_json::{Map, Value};

/// Numbers of `Schema`'s text fields.
const TEXTS: [(&str, u16); 5] = [
    ("$ref", 1),
    ("format", 2),
    ("title", 3),
    ("description", 4),
    ("pattern", 13),
];
/// Numbers of `Schema`'s integer fields.
const INTEGERS: [(&str, u16); 6] = [
    ("maxLength", 11),
    ("minLength", 12),
    ("maxItems", 14),
    ("minItems", 15),
    ("maxProperties", 17),
    ("minProperties", 18),
];
/// Methods of a `PathItem`.
const METHODS: [(&str, u16); 7] = [
    ("get", 2),
    ("put", 3),
    ("post", 4),
    ("delete", 5),
    ("options", 6),
    ("head", 7),
    ("patch", 8),
];

/// Encodes a document made by [`super::v2`].
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, 1, document.get("swagger"));
    if let Some(info) = document.get("info") {
        put_nested(&mut out, 2, |out| {
            put_text(out, 1, info.get("title"));
            put_text(out, 2, info.get("version"));
        });
    }
    put_nested(&mut out, 8, |out| {
        for (path, item) in entries(document.get("paths")) {
            named(out, 2, path, |out| path_item(out, item));
        }
    });
    put_nested(&mut out, 9, |out| {
        for (name, found) in entries(document.get("definitions")) {
            named(out, 1, name, |out| schema(out, found));
        }
    });
    out
}

fn entries(map: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.and_then(Value::as_object).into_iter().flatten()
}

fn put_text(out: &mut Vec<u8>, number: u16, value: Option<&Value>) {
    if let Some(text) = value.and_then(Value::as_str) {
        put_bytes(out, number, text.as_bytes());
    }
}

fn put_flag(out: &mut Vec<u8>, number: u16, value: Option<&Value>) {
    if value == Some(&Value::Bool(true)) {
        put_varint(out, u64::from(number) << 3);
        put_varint(out, 1);
    }
}

/// A name in field 1 and what it names in field 2.
fn named(out: &mut Vec<u8>, number: u16, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    put_nested(out, number, |out| {
        put_bytes(out, 1, name.as_bytes());
        put_nested(out, 2, value);
    });
}

/// Any value, as YAML; JSON is YAML.
fn any(out: &mut Vec<u8>, value: &Value) {
    put_bytes(out, 2, value.to_string().as_bytes());
}

fn extensions(out: &mut Vec<u8>, number: u16, map: &Map<String, Value>) {
    for (key, value) in map.iter().filter(|(key, _)| key.starts_with("x-")) {
        named(out, number, key, |out| any(out, value));
    }
}

fn schema(out: &mut Vec<u8>, value: &Value) {
    let Some(map) = value.as_object() else { return };
    for (key, number) in TEXTS {
        put_text(out, number, map.get(key));
    }
    if let Some(value) = map.get("default") {
        put_nested(out, 5, |out| any(out, value));
    }
    for (key, number) in INTEGERS {
        if let Some(value) = map.get(key).and_then(Value::as_u64) {
            put_varint(out, u64::from(number) << 3);
            put_varint(out, value);
        }
    }
    for name in map
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        put_text(out, 19, Some(name));
    }
    for value in map
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        put_nested(out, 20, |out| any(out, value));
    }
    match map.get("additionalProperties") {
        Some(Value::Bool(_)) => put_nested(out, 21, |out| {
            put_flag(out, 2, map.get("additionalProperties"));
        }),
        Some(inner) => put_nested(out, 21, |out| put_nested(out, 1, |out| schema(out, inner))),
        None => {}
    }
    if let Some(kind) = map.get("type") {
        put_nested(out, 22, |out| put_text(out, 1, Some(kind)));
    }
    if let Some(inner) = map.get("items") {
        put_nested(out, 23, |out| put_nested(out, 1, |out| schema(out, inner)));
    }
    if let Some(properties) = map.get("properties") {
        put_nested(out, 25, |out| {
            for (name, inner) in entries(Some(properties)) {
                named(out, 1, name, |out| schema(out, inner));
            }
        });
    }
    extensions(out, 31, map);
}

fn path_item(out: &mut Vec<u8>, item: &Value) {
    for (method, number) in METHODS {
        if let Some(found) = item.get(method).and_then(Value::as_object) {
            put_nested(out, number, |out| operation(out, found));
        }
    }
    parameters(out, 9, item.get("parameters"));
}

fn operation(out: &mut Vec<u8>, map: &Map<String, Value>) {
    let texts = |out: &mut Vec<u8>, key: &str, number| {
        for text in map.get(key).and_then(Value::as_array).into_iter().flatten() {
            put_text(out, number, Some(text));
        }
    };
    texts(out, "tags", 1);
    put_text(out, 3, map.get("description"));
    put_text(out, 5, map.get("operationId"));
    texts(out, "produces", 6);
    texts(out, "consumes", 7);
    parameters(out, 8, map.get("parameters"));
    put_nested(out, 9, |out| {
        for (code, response) in entries(map.get("responses")) {
            named(out, 1, code, |out| {
                put_nested(out, 1, |out| put_text(out, 1, response.get("description")));
            });
        }
    });
    texts(out, "schemes", 10);
    put_flag(out, 11, map.get("deprecated"));
    extensions(out, 13, map);
}

/// Each parameter is a choice of a choice: body or not; in the query or in the path.
fn parameters(out: &mut Vec<u8>, number: u16, list: Option<&Value>) {
    for parameter in list.and_then(Value::as_array).into_iter().flatten() {
        put_nested(out, number, |out| {
            put_nested(out, 1, |out| match place(parameter) {
                "body" => put_nested(out, 1, |out| body(out, parameter)),
                "path" => put_nested(out, 2, |out| {
                    put_nested(out, 4, |out| simple(out, parameter, (5, 6, 20)));
                }),
                _ => put_nested(out, 2, |out| {
                    put_nested(out, 3, |out| simple(out, parameter, (6, 7, 21)));
                }),
            });
        });
    }
}

fn place(parameter: &Value) -> &str {
    parameter
        .get("in")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn body(out: &mut Vec<u8>, parameter: &Value) {
    put_text(out, 2, parameter.get("name"));
    put_text(out, 3, parameter.get("in"));
    put_flag(out, 4, parameter.get("required"));
    if let Some(found) = parameter.get("schema") {
        put_nested(out, 5, |out| schema(out, found));
    }
}

/// A parameter of a simple type; the numbers are those of type, format and uniqueness.
fn simple(out: &mut Vec<u8>, parameter: &Value, (kind, format, unique): (u16, u16, u16)) {
    put_flag(out, 1, parameter.get("required"));
    put_text(out, 2, parameter.get("in"));
    put_text(out, 3, parameter.get("description"));
    put_text(out, 4, parameter.get("name"));
    put_text(out, kind, parameter.get("type"));
    put_text(out, format, parameter.get("format"));
    put_flag(out, unique, parameter.get("uniqueItems"));
}
