//! Component schemas.

use super::descriptions;
use crate::schema::{self, FieldDef, FieldType, Item, ListType, Shape, TypeDef, TypeId};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Schemas of the types and of everything they refer to, by full name.
pub(super) fn reachable(roots: &[TypeId]) -> Map<String, Value> {
    let mut seen: BTreeSet<TypeId> = BTreeSet::new();
    let mut open: Vec<TypeId> = roots.to_vec();
    while let Some(id) = open.pop() {
        if schema::get(id).name.is_empty() || !seen.insert(id) {
            continue;
        }
        open.extend(
            schema::get(id)
                .fields
                .iter()
                .filter_map(|field| referred(field.ty)),
        );
    }
    seen.into_iter()
        .map(|id| {
            let row = schema::get(id);
            (row.name.to_owned(), type_schema(row))
        })
        .collect()
}

/// A reference to a component.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn referred(ty: FieldType) -> Option<TypeId> {
    match ty {
        FieldType::One(item)
        | FieldType::List(item)
        | FieldType::Map(item)
        | FieldType::MapOfLists(item) => match item {
            Item::Type(id) => Some(id),
            Item::String | Item::Int32 | Item::Int64 | Item::Double | Item::Bool | Item::Bytes => {
                None
            }
        },
    }
}

fn type_schema(row: &TypeDef) -> Value {
    let mut out = Map::new();
    if let Some(text) = descriptions::of(row.short_name()) {
        out.insert("description".into(), text.into());
    }
    match row.shape {
        Shape::Object => object(row, &mut out),
        Shape::Quantity => {
            out.insert(
                "oneOf".into(),
                json!([{"type": "string"}, {"type": "number"}]),
            );
        }
        Shape::IntOrString => {
            out.insert("format".into(), "int-or-string".into());
            out.insert(
                "oneOf".into(),
                json!([{"type": "integer"}, {"type": "string"}]),
            );
        }
        Shape::Time | Shape::MicroTime => {
            out.insert("type".into(), "string".into());
            out.insert("format".into(), "date-time".into());
        }
        Shape::RawExtension | Shape::FieldsV1 => {
            out.insert("type".into(), "object".into());
        }
        // Any value: no type at all.
        Shape::Json
        | Shape::JsonSchemaOrArray
        | Shape::JsonSchemaOrBool
        | Shape::JsonSchemaOrStrings => {}
    }
    if let Some((group, version, kind)) = row.gvk {
        let gvk = json!([{"group": group, "kind": kind, "version": version}]);
        out.insert("x-kubernetes-group-version-kind".into(), gvk);
    }
    if row.atomic && row.shape == Shape::Object {
        out.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    Value::Object(out)
}

fn object(row: &TypeDef, out: &mut Map<String, Value>) {
    out.insert("type".into(), "object".into());
    let required: Vec<&str> = row
        .fields
        .iter()
        .filter(|field| field.required())
        .map(|field| field.name)
        .collect();
    if !required.is_empty() {
        out.insert("required".into(), json!(required));
    }
    let properties: Map<String, Value> = row
        .fields
        .iter()
        .map(|field| (field.name.to_owned(), property(row.short_name(), field)))
        .collect();
    if !properties.is_empty() {
        out.insert("properties".into(), Value::Object(properties));
    }
}

fn property(parent: &str, field: &FieldDef) -> Value {
    let mut out = match field.ty {
        FieldType::One(item) => one(item),
        FieldType::List(item) => fields(json!({"type": "array", "items": element(item)})),
        FieldType::Map(item) => {
            fields(json!({"type": "object", "additionalProperties": element(item)}))
        }
        FieldType::MapOfLists(item) => {
            let list = json!({"type": "array", "items": element(item)});
            fields(json!({"type": "object", "additionalProperties": list}))
        }
    };
    if let Some(text) = descriptions::of(&format!("{parent}.{}", field.name)) {
        out.insert("description".into(), text.into());
    }
    if let Some(kind) = field.list_type() {
        let kind = match kind {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map => "map",
        };
        out.insert("x-kubernetes-list-type".into(), kind.into());
    }
    if !field.list_map_keys().is_empty() {
        out.insert(
            "x-kubernetes-list-map-keys".into(),
            json!(field.list_map_keys()),
        );
    }
    if field.atomic_map() {
        out.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    let strategies: Vec<&str> = [
        (field.patch_merges(), "merge"),
        (field.patch_retains_keys(), "retainKeys"),
    ]
    .into_iter()
    .filter_map(|(has, name)| has.then_some(name))
    .collect();
    if !strategies.is_empty() {
        out.insert(
            "x-kubernetes-patch-strategy".into(),
            strategies.join(",").into(),
        );
    }
    if let Some(key) = field.patch_merge_key() {
        out.insert("x-kubernetes-patch-merge-key".into(), key.into());
    }
    Value::Object(out)
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

/// A property that may carry more keys: references are wrapped, as `$ref` allows no neighbours.
fn one(item: Item) -> Map<String, Value> {
    match item {
        Item::Type(_) => fields(json!({"allOf": [element(item)]})),
        Item::String | Item::Int32 | Item::Int64 | Item::Double | Item::Bool | Item::Bytes => {
            fields(element(item))
        }
    }
}

fn element(item: Item) -> Value {
    match item {
        Item::String => json!({"type": "string"}),
        Item::Int32 => json!({"type": "integer", "format": "int32"}),
        Item::Int64 => json!({"type": "integer", "format": "int64"}),
        Item::Double => json!({"type": "number", "format": "double"}),
        Item::Bool => json!({"type": "boolean"}),
        Item::Bytes => json!({"type": "string", "format": "byte"}),
        Item::Type(id) => reference(schema::get(id).name),
    }
}
