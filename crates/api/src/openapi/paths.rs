//! Operations.

use super::schemas::reference;
use crate::kind::{Kind, Subresource};
use crate::schema;
use serde_json::{Map, Value, json};

const WRITE: [&str; 4] = ["dryRun", "fieldManager", "fieldValidation", "pretty"];
const PATCH: [&str; 5] = [
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "force",
    "pretty",
];
const LIST: [&str; 11] = [
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const DELETE: [&str; 6] = [
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "pretty",
    "propagationPolicy",
];
const PATCH_TYPES: [&str; 5] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+cbor",
];

/// (HTTP method, action, query parameters).
type Operation = (&'static str, &'static str, &'static [&'static str]);

/// Adds the paths of a kind and its subresources.
pub(super) fn of_kind(kind: &Kind, all: &mut Map<String, Value>) {
    let root = super::path_of(kind);
    let place = if kind.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("/{root}{place}/{}", kind.plural);
    let item = format!("{collection}/{{name}}");
    if kind.namespaced && kind.allows("list") {
        let everywhere = format!("/{root}/{}", kind.plural);
        all.insert(everywhere, path(kind, &everywhere_operations(kind), &[]));
    }
    let parameters: &[&str] = if kind.namespaced { &["namespace"] } else { &[] };
    let named: &[&str] = if kind.namespaced {
        &["name", "namespace"]
    } else {
        &["name"]
    };
    all.insert(
        collection,
        path(kind, &collection_operations(kind), parameters),
    );
    if ["get", "update", "patch", "delete"]
        .iter()
        .any(|verb| kind.allows(verb))
    {
        all.insert(item.clone(), path(kind, &item_operations(kind), named));
    }
    for sub in &kind.subresources {
        all.insert(format!("{item}/{}", sub.name), subresource(sub, named));
    }
}

fn everywhere_operations(kind: &Kind) -> Vec<Operation> {
    if kind.allows("list") {
        vec![("get", "list", &LIST)]
    } else {
        Vec::new()
    }
}

fn collection_operations(kind: &Kind) -> Vec<Operation> {
    let all: [(&str, Operation); 3] = [
        ("list", ("get", "list", &LIST)),
        ("create", ("post", "post", &WRITE)),
        ("deletecollection", ("delete", "deletecollection", &DELETE)),
    ];
    allowed(kind, &all)
}

fn item_operations(kind: &Kind) -> Vec<Operation> {
    let all: [(&str, Operation); 4] = [
        ("get", ("get", "get", &["pretty"])),
        ("update", ("put", "put", &WRITE)),
        ("patch", ("patch", "patch", &PATCH)),
        ("delete", ("delete", "delete", &DELETE)),
    ];
    allowed(kind, &all)
}

fn allowed(kind: &Kind, all: &[(&str, Operation)]) -> Vec<Operation> {
    all.iter()
        .filter(|(verb, _)| kind.allows(verb))
        .map(|(_, operation)| *operation)
        .collect()
}

fn path(kind: &Kind, operations: &[Operation], parameters: &[&str]) -> Value {
    let gvk = json!({"group": kind.group, "kind": kind.kind, "version": kind.version});
    let body = schema::get(kind.schema).name;
    let list = schema::by_kind(&kind.group, &kind.version, &format!("{}List", kind.kind));
    let list = list.map_or(body, |id| schema::get(id).name);
    let mut out = Map::new();
    for operation in operations {
        let answer = if operation.1 == "list" { list } else { body };
        out.insert(
            operation.0.into(),
            describe(operation, &gvk, [body, answer]),
        );
    }
    out.insert("parameters".into(), in_path(parameters));
    Value::Object(out)
}

fn subresource(sub: &Subresource, parameters: &[&str]) -> Value {
    let (group, version, kind) = &sub.response;
    let gvk = json!({"group": group, "kind": kind, "version": version});
    let body = schema::by_kind(group, version, kind).map_or("", |id| schema::get(id).name);
    let all: [(&str, Operation); 4] = [
        ("get", ("get", "get", &["pretty"])),
        ("update", ("put", "put", &WRITE)),
        ("patch", ("patch", "patch", &PATCH)),
        ("create", ("post", "post", &WRITE)),
    ];
    let streams = matches!(
        sub.name.as_ref(),
        "attach" | "exec" | "portforward" | "proxy"
    );
    let mut out = Map::new();
    for (verb, (method, action, query)) in all {
        if sub.verbs.contains(&verb) {
            let action = if streams { "connect" } else { action };
            let query: &'static [&'static str] = if streams { &[] } else { query };
            out.insert(
                method.into(),
                describe(&(method, action, query), &gvk, [body, body]),
            );
        }
    }
    out.insert("parameters".into(), in_path(parameters));
    Value::Object(out)
}

fn describe(operation: &Operation, gvk: &Value, [body, answer]: [&str; 2]) -> Value {
    let (method, action, query) = *operation;
    let mut out = Map::new();
    out.insert("x-kubernetes-action".into(), action.into());
    out.insert("x-kubernetes-group-version-kind".into(), gvk.clone());
    out.insert(
        "parameters".into(),
        query.iter().map(|name| parameter(name)).collect(),
    );
    if action != "connect" && !body.is_empty() {
        let patch = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
        let content = match method {
            "post" | "put" => Some(content(&["*/*"], body)),
            "patch" if schema::by_name(patch).is_some() => Some(content(&PATCH_TYPES, patch)),
            "patch" => Some(content(&PATCH_TYPES, body)),
            _ => None,
        };
        if let Some(content) = content {
            out.insert(
                "requestBody".into(),
                json!({"content": content, "required": true}),
            );
        }
    }
    let ok = if action == "connect" || answer.is_empty() {
        json!({"description": "OK"})
    } else {
        let types = ["application/json", "application/yaml"];
        json!({"description": "OK", "content": content(&types, answer)})
    };
    out.insert(
        "responses".into(),
        json!({"200": ok, "401": {"description": "Unauthorized"}}),
    );
    Value::Object(out)
}

fn content(types: &[&str], body: &str) -> Value {
    let entries: Map<String, Value> = types
        .iter()
        .map(|name| ((*name).to_owned(), json!({"schema": reference(body)})))
        .collect();
    Value::Object(entries)
}

fn parameter(name: &str) -> Value {
    let kind = match name {
        "limit" | "timeoutSeconds" | "gracePeriodSeconds" => "integer",
        "allowWatchBookmarks"
        | "sendInitialEvents"
        | "watch"
        | "force"
        | "orphanDependents"
        | "ignoreStoreReadErrorWithClusterBreakingPotential" => "boolean",
        _ => "string",
    };
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn in_path(names: &[&str]) -> Value {
    let of = |name: &&str| {
        json!({
            "name": name, "in": "path", "required": true,
            "schema": {"type": "string", "uniqueItems": true},
        })
    };
    names.iter().map(of).collect()
}
