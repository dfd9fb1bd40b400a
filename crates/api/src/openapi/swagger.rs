//! OpenAPI v2 (`/openapi/v2`): the same documents in the older form, all versions in one.

use serde_json::{Map, Value, json};

/// One Swagger document from the v3 documents of every group version.
pub fn v2(documents: impl IntoIterator<Item = Value>) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for mut document in documents {
        if let Some(Value::Object(found)) = document.get_mut("paths").map(Value::take) {
            paths.extend(
                found
                    .into_iter()
                    .map(|(path, item)| (path, path_item(item))),
            );
        }
        let schemas = document.pointer_mut("/components/schemas").map(Value::take);
        if let Some(Value::Object(found)) = schemas {
            for (name, found) in found {
                definitions.entry(name).or_insert_with(|| schema(found));
            }
        }
    }
    paths.sort_keys();
    definitions.sort_keys();
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {
            "description": "Bearer Token authentication", "type": "apiKey",
            "name": "authorization", "in": "header",
        }},
        "security": [{"BearerToken": []}],
    })
}

fn path_item(item: Value) -> Value {
    let Value::Object(item) = item else {
        return json!({});
    };
    let converted = item.into_iter().map(|(key, value)| {
        let value = match value {
            Value::Array(parameters) if key == "parameters" => {
                parameters.into_iter().map(parameter).collect()
            }
            Value::Object(found) if key != "parameters" => operation(found),
            Value::Object(_)
            | Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => Value::Null,
        };
        (key, value)
    });
    Value::Object(converted.collect())
}

/// An operation: what it consumes and produces are lists beside one schema each.
fn operation(mut operation: Map<String, Value>) -> Value {
    let mut parameters: Vec<Value> = match operation.shift_remove("parameters") {
        Some(Value::Array(list)) => list.into_iter().map(parameter).collect(),
        Some(_) | None => Vec::new(),
    };
    let mut consumes = vec![Value::from("*/*")];
    if let Some(body) = operation.shift_remove("requestBody") {
        let (types, found) = content(body.get("content"));
        consumes = types;
        let required = body.get("required").cloned().unwrap_or(Value::Bool(false));
        parameters.push(json!({
            "name": "body", "in": "body", "required": required, "schema": found,
        }));
    }
    let mut produces = Vec::new();
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        for response in responses.values_mut() {
            let Value::Object(response) = response else {
                continue;
            };
            if let Some(found) = response.shift_remove("content") {
                let (types, found) = content(Some(&found));
                response.insert("schema".into(), found);
                produces = types;
            }
        }
    }
    operation.insert("consumes".into(), consumes.into());
    operation.insert("produces".into(), produces.into());
    operation.insert("schemes".into(), json!(["https"]));
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    Value::Object(operation)
}

/// The media types and the one schema of a `content` object.
fn content(content: Option<&Value>) -> (Vec<Value>, Value) {
    let content = content.and_then(Value::as_object);
    let types = content.into_iter().flat_map(Map::keys);
    let types = types.map(|name| Value::from(name.as_str())).collect();
    let first = content.and_then(|map| map.values().next());
    let found = first.and_then(|media| media.get("schema")).cloned();
    (types, schema(found.unwrap_or_else(|| json!({}))))
}

/// A parameter: its type stands beside its name.
fn parameter(parameter: Value) -> Value {
    let Value::Object(mut parameter) = parameter else {
        return json!({});
    };
    if let Some(Value::Object(found)) = parameter.shift_remove("schema") {
        parameter.extend(found);
    }
    Value::Object(parameter)
}

/// A schema. References move, wrapped ones are unwrapped, and alternatives become the one type that
/// v2 can say.
fn schema(value: Value) -> Value {
    let Value::Object(mut map) = value else {
        return value;
    };
    if let Some(Value::Array(mut wrapped)) = map.shift_remove("allOf")
        && let Some(Value::Object(only)) = wrapped.pop()
    {
        map.extend(only);
    }
    if let Some(target) = map.get_mut("$ref") {
        let text = target.as_str().unwrap_or_default();
        *target = Value::from(text.replace("#/components/schemas/", "#/definitions/"));
    }
    if map.shift_remove("oneOf").is_some() || map.shift_remove("anyOf").is_some() {
        map.insert("type".into(), "string".into());
    }
    map.shift_remove("nullable");
    // A default of an object says nothing that the reference does not.
    if map.get("default").is_some_and(Value::is_object) {
        map.shift_remove("default");
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            *inner = schema(inner.take());
        }
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        for inner in properties.values_mut() {
            *inner = schema(inner.take());
        }
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_the_newer_form_becomes_one_of_the_older() {
        let document = json!({
            "paths": {"/api/v1/pods/{name}": {
                "parameters": [{"name": "name", "in": "path", "schema": {"type": "string"}}],
                "patch": {
                    "parameters": [{"name": "dryRun", "in": "query", "schema": {"type": "string"}}],
                    "requestBody": {"required": true, "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/A"}},
                    }},
                    "responses": {"200": {"description": "OK", "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/A"}},
                        "application/yaml": {"schema": {"$ref": "#/components/schemas/A"}},
                    }}},
                },
            }},
            "components": {"schemas": {
                "A": {"type": "object", "properties": {
                    "b": {"allOf": [{"$ref": "#/components/schemas/B"}], "description": "b"},
                    "list": {"type": "array", "items": {"$ref": "#/components/schemas/B"}},
                }},
                "B": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
            }},
        });
        let got = v2([document]);
        let path = &got["paths"]["/api/v1/pods/{name}"];
        assert_eq!(path["parameters"][0]["type"], "string");
        let operation = &path["patch"];
        assert_eq!(operation["consumes"], json!(["application/json"]));
        assert_eq!(
            operation["produces"],
            json!(["application/json", "application/yaml"])
        );
        assert_eq!(
            operation["parameters"][1]["schema"]["$ref"],
            "#/definitions/A"
        );
        assert_eq!(
            operation["responses"]["200"]["schema"]["$ref"],
            "#/definitions/A"
        );
        let definitions = &got["definitions"];
        let b = json!({"description": "b", "$ref": "#/definitions/B"});
        assert_eq!(definitions["A"]["properties"]["b"], b);
        let list = &definitions["A"]["properties"]["list"]["items"]["$ref"];
        assert_eq!(list, "#/definitions/B");
        let any = json!({"format": "int-or-string", "type": "string"});
        assert_eq!(definitions["B"], any);
    }
}
