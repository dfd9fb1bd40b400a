//! OpenAPI documents (v3, v2 and v2 as protobuf), generated from the schema tables and the table of kinds.
//!
//! Clients use them to learn which operations check fields (`fieldValidation` on PATCH), how lists
//! merge in a strategic merge patch, and for `kubectl explain`.

mod descriptions;
mod glossary;
mod gnostic;
mod parameters;
mod paths;
mod schemas;
mod swagger;

pub use gnostic::encode as gnostic;
pub use swagger::v2;

use crate::custom::publish;
use crate::kind::{Kind, Kinds};
use crate::schema;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The document of one group version; a version nothing serves has no paths.
pub fn v3(kinds: &Kinds, group: &str, version: &str) -> Value {
    let served: Vec<&Arc<Kind>> = kinds
        .iter()
        .filter(|kind| kind.group == group && kind.version == version)
        .collect();
    let mut all = Map::new();
    let mut roots: Vec<schema::TypeId> = Vec::new();
    for kind in &served {
        paths::of_kind(kind, &mut all);
        roots.extend(root_types(kind));
    }
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.";
    let custom = served.iter().flat_map(|kind| publish::schemas(kind));
    let custom: Map<String, Value> = custom.collect();
    if !custom.is_empty() {
        let parts = ["ListMeta", "ObjectMeta"].into_iter();
        roots.extend(parts.filter_map(|name| schema::by_name(&format!("{meta}{name}"))));
    }
    for name in ["DeleteOptions", "Status", "Patch", "WatchEvent"] {
        roots.extend(schema::by_name(&format!("{meta}{name}")));
    }
    let mut schemas = schemas::reachable(&roots);
    schemas.extend(custom);
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": all,
        "components": {"schemas": schemas},
    })
}

/// The index of all documents: path → address with the hash of what the document is made from.
pub fn index(kinds: &Kinds) -> Value {
    let versions: BTreeSet<String> = kinds.iter().map(|kind| path_of(kind)).collect();
    let mut paths = Map::new();
    for path in versions {
        let hash = hash(kinds, &path);
        let address = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({"serverRelativeURL": address}));
    }
    json!({"paths": paths})
}

/// The hash in the index for one document path (`api/v1`, `apis/apps/v1`), upper-case hex. It
/// changes when the set of kinds of the version, their shape or this program's version changes.
pub fn hash(kinds: &Kinds, path: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(env!("CARGO_PKG_VERSION"));
    digest.update(path);
    for kind in kinds.iter().filter(|kind| path_of(kind) == path) {
        digest.update(kind.plural.as_bytes());
        digest.update(kind.schema.0.to_be_bytes());
        if let Some(custom) = &kind.custom {
            digest.update(custom.schema_hash);
        }
        for sub in &kind.subresources {
            digest.update(sub.name.as_bytes());
        }
    }
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .concat()
}

/// `api/v1` or `apis/GROUP/VERSION`.
fn path_of(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}/{}", kind.group, kind.version)
    }
}

/// The object's type, its list's and the bodies of its subresources.
fn root_types(kind: &Kind) -> Vec<schema::TypeId> {
    let list = schema::by_kind(&kind.group, &kind.version, &format!("{}List", kind.kind));
    let bodies = kind.subresources.iter().filter_map(|sub| {
        let (group, version, name) = &sub.response;
        schema::by_kind(group, version, name)
    });
    std::iter::once(kind.schema)
        .chain(list)
        .chain(bodies)
        .collect()
}
