//! What another server says that it serves.

use super::registration::Registration;
use crate::auth::Identity;
use crate::outbound::{Answer, Limits, OutboundError, complete};
use crate::server::ApiServer;
use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue};
use http::{Request, Uri};
use plimsoll_api::meta;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Bounds of a question to another server.
const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(5),
    body_bytes: 16 << 20,
};
const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// What a server serves of one group version.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Discovered {
    /// `resources` of a version in aggregated discovery.
    pub(super) resources: Value,
    /// `serverRelativeURL` of its OpenAPI document, if it has one.
    pub(super) openapi: Option<String>,
}

/// GETs a path of another server as the aggregator itself.
pub(super) async fn get(
    server: &ApiServer,
    registration: &Registration,
    path: &str,
    accept: &'static str,
) -> Result<Answer, OutboundError> {
    let mut to = registration
        .destination()
        .map_err(OutboundError::Unusable)?;
    to.certificate = server.front_proxy_certificate();
    let uri = format!("{}{path}", registration.service.origin());
    let uri: Uri = uri
        .parse()
        .map_err(|_| OutboundError::Unusable(format!("parse {uri:?}: not a URL")))?;
    let mut request = Request::get(uri).header(ACCEPT, HeaderValue::from_static(accept));
    if let Some(headers) = request.headers_mut() {
        let who = Identity::new("system:kube-aggregator", &["system:masters"]);
        super::proxy::identify(headers, &who);
    }
    let request = request
        .body(complete(Bytes::new()))
        .map_err(|error| OutboundError::Unusable(error.to_string()))?;
    server.0.outbound.whole(&to, request, LIMITS).await
}

/// Learns what a server that answers serves: from aggregated discovery, else from the older list.
pub(super) async fn discover(server: &ApiServer, registration: &Registration) -> Discovered {
    let Registration { group, version, .. } = registration;
    let json = |answer: Answer| serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    let groups = get(server, registration, "/apis", AGGREGATED).await;
    let groups = groups.map(json).unwrap_or_default();
    let resources = if meta::text(&groups, &["kind"]) == "APIGroupDiscoveryList" {
        from_aggregated(&groups, group, version)
    } else {
        let path = format!("/apis/{group}/{version}");
        let list = get(server, registration, &path, "application/json").await;
        from_list(&list.map(json).unwrap_or_default(), group, version)
    };
    let index = get(server, registration, "/openapi/v3", "application/json").await;
    let index = index.map(json).unwrap_or_default();
    let path = format!("apis/{group}/{version}");
    let url = meta::text(&index, &["paths", &path, "serverRelativeURL"]);
    Discovered {
        resources,
        openapi: (!url.is_empty()).then(|| url.to_owned()),
    }
}

fn from_aggregated(groups: &Value, group: &str, version: &str) -> Value {
    let ours = meta::list(groups, &["items"])
        .iter()
        .filter(|item| meta::name(item) == group)
        .flat_map(|item| meta::list(item, &["versions"]))
        .find(|entry| meta::text(entry, &["version"]) == version);
    ours.and_then(|entry| entry.get("resources"))
        .cloned()
        .unwrap_or_else(|| json!([]))
}

/// The resources of an `APIResourceList`, with their subresources beneath them.
fn from_list(list: &Value, group: &str, version: &str) -> Value {
    let mut resources: Vec<Value> = Vec::new();
    let mut places: Map<String, Value> = Map::new();
    let listed = meta::list(list, &["resources"]);
    for resource in listed {
        let name = meta::text(resource, &["name"]);
        if name.contains('/') {
            continue;
        }
        let namespaced = resource.get("namespaced") == Some(&Value::Bool(true));
        let mut entry = json!({
            "resource": name, "responseKind": response_kind(resource, group, version),
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": meta::text(resource, &["singularName"]),
            "verbs": resource.get("verbs").cloned().unwrap_or_else(|| json!([])),
        });
        for key in ["shortNames", "categories"] {
            if let Some(value) = resource.get(key) {
                meta::as_object(&mut entry).insert(key.into(), value.clone());
            }
        }
        places.insert(name.to_owned(), resources.len().into());
        resources.push(entry);
    }
    for resource in listed {
        let name = meta::text(resource, &["name"]);
        let Some((parent, subresource)) = name.split_once('/') else {
            continue;
        };
        let place = places.get(parent).and_then(Value::as_u64);
        let place = place.and_then(|p| usize::try_from(p).ok());
        let Some(parent) = place.and_then(|p| resources.get_mut(p)) else {
            continue;
        };
        let entry = json!({
            "subresource": subresource,
            "responseKind": response_kind(resource, group, version),
            "verbs": resource.get("verbs").cloned().unwrap_or_else(|| json!([])),
        });
        let mut known = meta::list(parent, &["subresources"]).to_vec();
        known.push(entry);
        meta::as_object(parent).insert("subresources".into(), known.into());
    }
    resources.into()
}

fn response_kind(resource: &Value, group: &str, version: &str) -> Value {
    let own = |key: &str, usual: &str| {
        let said = meta::text(resource, &[key]);
        if said.is_empty() {
            usual.to_owned()
        } else {
            said.to_owned()
        }
    };
    json!({
        "group": own("group", group), "version": own("version", version),
        "kind": meta::text(resource, &["kind"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_list_becomes_the_newer_form() {
        let list = json!({"resources": [
            {"name": "things/scale", "kind": "Scale", "group": "autoscaling", "version": "v1",
             "namespaced": true, "verbs": ["get"]},
            {"name": "things", "singularName": "thing", "kind": "Thing", "namespaced": true,
             "verbs": ["get", "list"], "shortNames": ["th"]},
        ]});
        let expected = json!([{
            "resource": "things", "scope": "Namespaced", "singularResource": "thing",
            "responseKind": {"group": "g", "version": "v1", "kind": "Thing"},
            "verbs": ["get", "list"], "shortNames": ["th"],
            "subresources": [{
                "subresource": "scale", "verbs": ["get"],
                "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
            }],
        }]);
        assert_eq!(from_list(&list, "g", "v1"), expected);
    }

    #[test]
    fn only_the_registered_version_is_taken() {
        let groups = json!({"items": [{"metadata": {"name": "g"}, "versions": [
            {"version": "v2", "resources": [1]}, {"version": "v1", "resources": [2]},
        ]}]});
        assert_eq!(from_aggregated(&groups, "g", "v1"), json!([2]));
        assert_eq!(from_aggregated(&groups, "h", "v1"), json!([]));
    }
}
