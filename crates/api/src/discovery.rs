//! Discovery documents, as pure functions of the table of kinds.
//!
//! `/api` and `/apis` in the aggregated form (`apidiscovery.k8s.io/v2`) and the older per-group
//! documents, which `kubectl drain` and `kubectl auth can-i` still read.

use crate::kind::{Kind, Kinds, Text};
use crate::local::{LocalGroup, LocalResource, OpenResource};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Groups in the order clients prefer them when a short name is ambiguous.
const ORDER: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// What one group version serves.
#[derive(Debug, Default)]
struct Served<'a> {
    kinds: Vec<&'a Kind>,
    locals: Vec<LocalResource>,
    open: Vec<OpenResource>,
}

/// Groups in preference order, each with its versions, newest stable first.
type Groups<'a> = Vec<(String, Vec<(String, Served<'a>)>)>;

/// `APIGroupDiscoveryList` for `/api` (`legacy`: only the core group) or `/apis` (all others).
pub fn aggregated(kinds: &Kinds, locals: &[Arc<dyn LocalGroup>], legacy: bool) -> Value {
    let items: Vec<Value> = groups(kinds, locals)
        .into_iter()
        .filter(|(group, _)| group.is_empty() == legacy)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|(version, served)| {
                    json!({
                        "version": version,
                        "resources": discovered(served, &group, version),
                        "freshness": "Current",
                    })
                })
                .collect();
            let metadata = if group.is_empty() {
                json!({})
            } else {
                json!({"name": group})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items,
    })
}

/// `APIVersions` for `/api`; `server` is the address clients may use, e.g. `127.0.0.1:6443`.
pub fn api_versions(server: &str) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}],
    })
}

/// `APIGroupList` for `/apis`.
pub fn api_group_list(kinds: &Kinds, locals: &[Arc<dyn LocalGroup>]) -> Value {
    let list: Vec<Value> = groups(kinds, locals)
        .iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| group_body(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list})
}

/// `APIGroup` for `/apis/GROUP`; `None` if nothing serves it.
pub fn api_group(kinds: &Kinds, locals: &[Arc<dyn LocalGroup>], group: &str) -> Option<Value> {
    let all = groups(kinds, locals);
    let (_, versions) = all
        .iter()
        .find(|(name, _)| name == group && !name.is_empty())?;
    let mut body = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Some(into), Value::Object(from)) = (body.as_object_mut(), group_body(group, versions)) {
        into.extend(from);
    }
    Some(body)
}

/// `APIResourceList` for `/api/v1` or `/apis/GROUP/VERSION`; `None` if nothing serves it.
pub fn api_resource_list(
    kinds: &Kinds,
    locals: &[Arc<dyn LocalGroup>],
    group: &str,
    version: &str,
) -> Option<Value> {
    let all = groups(kinds, locals);
    let (_, versions) = all.iter().find(|(name, _)| name == group)?;
    let (_, served) = versions.iter().find(|(name, _)| name == version)?;
    let mut resources: Vec<Value> = Vec::new();
    for kind in &served.kinds {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|sub| {
            let (group, version, response) = &sub.response;
            let mut entry = Map::new();
            entry.insert(
                "name".into(),
                format!("{}/{}", kind.plural, sub.name).into(),
            );
            entry.insert("singularName".into(), "".into());
            entry.insert("namespaced".into(), kind.namespaced.into());
            if *group != kind.group || *version != kind.version {
                if !group.is_empty() {
                    entry.insert("group".into(), text(group));
                }
                entry.insert("version".into(), text(version));
            }
            entry.insert("kind".into(), text(response));
            entry.insert("verbs".into(), json!(sub.verbs));
            Value::Object(entry)
        }));
    }
    for local in &served.locals {
        resources.push(json!({
            "name": local.plural, "singularName": local.singular,
            "namespaced": local.namespaced, "kind": local.kind, "verbs": local.verbs,
        }));
    }
    for open in &served.open {
        resources.push(json!({
            "name": open.name, "singularName": "", "namespaced": open.namespaced,
            "kind": open.kind, "verbs": ["get"],
        }));
    }
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version(group, version), "resources": resources,
    }))
}

/// An opaque id of the stored form: equal for two resources exactly if they share it.
pub fn storage_version_hash(stored_api_version: &str, kind: &str) -> String {
    let stored = if stored_api_version.contains('/') {
        format!("{stored_api_version}/{kind}")
    } else {
        format!("/{stored_api_version}/{kind}")
    };
    let digest = Sha256::digest(stored.as_bytes());
    let short: Vec<u8> = digest.iter().copied().take(8).collect();
    STANDARD.encode(short)
}

fn groups<'a>(kinds: &'a Kinds, locals: &[Arc<dyn LocalGroup>]) -> Groups<'a> {
    let mut all: BTreeMap<String, BTreeMap<String, Served<'a>>> = BTreeMap::new();
    for kind in kinds.iter() {
        let versions = all.entry(kind.group.to_string()).or_default();
        versions
            .entry(kind.version.to_string())
            .or_default()
            .kinds
            .push(kind);
    }
    for local in locals {
        let versions = all.entry(local.group().to_owned()).or_default();
        let served = versions.entry(local.version().to_owned()).or_default();
        served.locals.extend(local.resources());
        served.open.extend(local.open_resources());
    }
    let mut list: Groups<'a> = all
        .into_iter()
        .map(|(group, versions)| {
            let mut versions: Vec<(String, Served<'a>)> = versions.into_iter().collect();
            versions.sort_by_key(|(version, _)| Reverse(version_rank(version)));
            (group, versions)
        })
        .collect();
    // Stable: groups outside the list keep their alphabetical order behind it.
    list.sort_by_key(|(group, _)| ORDER.iter().position(|known| known == group).unwrap_or(999));
    list
}

/// Orders versions as clients prefer them: GA over beta over alpha, then by number; whatever else
/// definitions call a version comes last, in alphabetical order.
pub fn version_rank(version: &str) -> (u8, u32, u32, Reverse<String>) {
    if !is_ranked(version) {
        return (0, 0, 0, Reverse(version.to_owned()));
    }
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let rest = version.strip_prefix('v').unwrap_or(version);
    if let Some((major, minor)) = rest.split_once("beta") {
        (2, number(major), number(minor), Reverse(String::new()))
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (1, number(major), number(minor), Reverse(String::new()))
    } else {
        (3, number(rest), 0, Reverse(String::new()))
    }
}

/// Whether a version has the form `v1`, `v1beta2` or `v1alpha3`.
fn is_ranked(version: &str) -> bool {
    let Some(rest) = version.strip_prefix('v') else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts = rest.split_once("beta").or_else(|| rest.split_once("alpha"));
    match parts {
        Some((major, minor)) => is_number(major) && is_number(minor),
        None => is_number(rest),
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn group_body(group: &str, versions: &[(String, Served<'_>)]) -> Value {
    let list: Vec<Value> = versions
        .iter()
        .map(|(version, _)| {
            json!({"groupVersion": group_version(group, version), "version": version})
        })
        .collect();
    let preferred = list.first().cloned().unwrap_or(Value::Null);
    json!({"name": group, "versions": list, "preferredVersion": preferred})
}

fn text(value: &Text) -> Value {
    Value::String(value.to_string())
}

fn texts(values: &[Text]) -> Value {
    values.iter().map(AsRef::<str>::as_ref).collect()
}

fn resource(kind: &Kind) -> Value {
    let mut entry = Map::new();
    entry.insert("name".into(), text(&kind.plural));
    entry.insert("singularName".into(), text(&kind.singular));
    entry.insert("namespaced".into(), kind.namespaced.into());
    entry.insert("kind".into(), text(&kind.kind));
    entry.insert("verbs".into(), texts(&kind.verbs));
    if !kind.short_names.is_empty() {
        entry.insert("shortNames".into(), texts(&kind.short_names));
    }
    if !kind.categories.is_empty() {
        entry.insert("categories".into(), texts(&kind.categories));
    }
    if kind.allows("list") {
        let hash = storage_version_hash(&kind.stored_api_version, &kind.kind);
        entry.insert("storageVersionHash".into(), hash.into());
    }
    Value::Object(entry)
}

fn discovered(served: &Served<'_>, group: &str, version: &str) -> Vec<Value> {
    let mut list: Vec<Value> = served
        .kinds
        .iter()
        .map(|kind| discovered_kind(kind))
        .collect();
    list.extend(served.locals.iter().map(|local| {
        json!({
            "resource": local.plural,
            "responseKind": {"group": group, "version": version, "kind": local.kind},
            "scope": scope(local.namespaced),
            "singularResource": local.singular,
            "verbs": local.verbs,
        })
    }));
    list.extend(discovered_open(&served.open, group, version));
    list
}

/// Open resources in the aggregated form: `pods/a` and `pods/b` are subresources of a resource
/// `pods` that has no kind of its own, which is how clients know that it cannot be read itself.
fn discovered_open(open: &[OpenResource], group: &str, version: &str) -> Vec<Value> {
    let mut parents: BTreeMap<&str, (bool, Vec<Value>)> = BTreeMap::new();
    let mut list = Vec::new();
    for resource in open {
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        match resource.name.split_once('/') {
            Some((parent, name)) => {
                let (namespaced, below) = parents.entry(parent).or_default();
                *namespaced |= resource.namespaced;
                below.push(json!({"subresource": name, "responseKind": kind, "verbs": ["get"]}));
            }
            None => list.push(json!({
                "resource": resource.name, "responseKind": kind,
                "scope": scope(resource.namespaced), "singularResource": "", "verbs": ["get"],
            })),
        }
    }
    list.extend(parents.into_iter().map(|(parent, (namespaced, below))| {
        json!({
            "resource": parent, "responseKind": {"group": "", "version": "", "kind": ""},
            "scope": scope(namespaced), "singularResource": "", "verbs": [],
            "subresources": below,
        })
    }));
    list
}

fn scope(namespaced: bool) -> &'static str {
    if namespaced { "Namespaced" } else { "Cluster" }
}

fn discovered_kind(kind: &Kind) -> Value {
    let mut entry = Map::new();
    entry.insert("resource".into(), text(&kind.plural));
    entry.insert(
        "responseKind".into(),
        response(kind, &kind.group, &kind.version, &kind.kind),
    );
    entry.insert("scope".into(), scope(kind.namespaced).into());
    entry.insert("singularResource".into(), text(&kind.singular));
    entry.insert("verbs".into(), texts(&kind.verbs));
    if !kind.short_names.is_empty() {
        entry.insert("shortNames".into(), texts(&kind.short_names));
    }
    if !kind.categories.is_empty() {
        entry.insert("categories".into(), texts(&kind.categories));
    }
    if !kind.subresources.is_empty() {
        let list: Vec<Value> = kind
            .subresources
            .iter()
            .map(|sub| {
                let (group, version, name) = &sub.response;
                json!({
                    "subresource": sub.name,
                    "responseKind": response(kind, group, version, name),
                    "verbs": sub.verbs,
                })
            })
            .collect();
        entry.insert("subresources".into(), Value::Array(list));
    }
    Value::Object(entry)
}

/// Group and version stay empty where they are those of the document.
fn response(kind: &Kind, group: &Text, version: &Text, name: &Text) -> Value {
    if *group == kind.group && *version == kind.version {
        json!({"group": "", "version": "", "kind": name})
    } else {
        json!({"group": group, "version": version, "kind": name})
    }
}
