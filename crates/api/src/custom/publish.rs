//! The schemas of a custom kind as OpenAPI components.

use crate::kind::Kind;
use crate::meta;
use serde_json::{Map, Value, json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// The component names of an object and of a list: `com.example.stable.v1.CronTab`.
pub(crate) fn names(kind: &Kind) -> [String; 2] {
    let mut parts: Vec<&str> = kind.group.split('.').collect();
    parts.reverse();
    let prefix = format!("{}.{}", parts.join("."), kind.version);
    [
        format!("{prefix}.{}", kind.kind),
        format!("{prefix}.{}", kind.list_kind()),
    ]
}

/// The components of a custom kind by name; nothing for built-in ones.
pub(crate) fn schemas(kind: &Kind) -> Map<String, Value> {
    let Some(custom) = &kind.custom else {
        return Map::new();
    };
    let [object_name, list_name] = names(kind);
    let gvk = |name: &str| json!([{"group": kind.group, "kind": name, "version": kind.version}]);
    let mut object = Value::clone(&custom.written_schema);
    strip(&mut object);
    has_metadata(&mut object);
    meta::as_object(&mut object).insert("x-kubernetes-group-version-kind".into(), gvk(&kind.kind));
    let list = json!({
        "description": format!("{} is a list of {}", kind.list_kind(), kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"description": API_VERSION, "type": "string"},
            "items": {
                "description": format!("List of {}.", kind.plural),
                "type": "array", "items": {"allOf": [reference(&object_name)], "default": {}},
            },
            "kind": {"description": KIND, "type": "string"},
            "metadata": metadata("ListMeta", "What the list is true at and where it goes on."),
        },
        "x-kubernetes-group-version-kind": gvk(&kind.list_kind()),
    });
    Map::from_iter([(object_name, object), (list_name, list)])
}

const API_VERSION: &str = "The version of the schema that the object is written in.";
const KIND: &str = "What the object is, e.g. the kind of its definition.";

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn metadata(of: &str, description: &str) -> Value {
    json!({"description": description, "allOf": [reference(&format!("{META}{of}"))]})
}

/// Adds what every object has, whatever its schema says.
fn has_metadata(schema: &mut Value) {
    let properties = meta::object_mut(schema, &["properties"]);
    let all = [
        (
            "apiVersion",
            json!({"description": API_VERSION, "type": "string"}),
        ),
        ("kind", json!({"description": KIND, "type": "string"})),
        (
            "metadata",
            metadata(
                "ObjectMeta",
                "Name, labels and other data about the object.",
            ),
        ),
    ];
    for (key, property) in all {
        properties.insert(key.into(), property);
    }
    properties.sort_keys();
}

/// Makes a structural schema an OpenAPI one, at every level.
fn strip(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    for (key, value) in map.iter_mut() {
        match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                for (_, property) in properties {
                    strip(property);
                }
            }
            ("items" | "additionalProperties", value) => strip(value),
            (_, _) => {}
        }
    }
    if map.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        has_metadata(schema);
    }
}
