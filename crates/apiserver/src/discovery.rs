//! `/api` and `/apis`: what is served.

use crate::aggregation;
use crate::http::negotiate::{Shape, Wanted};
use crate::http::respond::{self, Response, not_found_page};
use crate::http::route::Route;
use crate::server::ApiServer;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, StatusCode};
use plimsoll_api::discovery;
use plimsoll_api::local::LocalGroup;
use plimsoll_api::meta;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;

/// Content type of aggregated discovery.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// The same for clients of Kubernetes 1.26 to 1.29.
const AGGREGATED_BETA: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// Answers a discovery path.
pub(crate) fn answer(
    server: &ApiServer,
    route: &Route,
    wanted: &Wanted,
    headers: &HeaderMap,
) -> Response {
    let kinds = server.kinds();
    let locals: Vec<Arc<dyn LocalGroup>> = server.0.locals.read().clone();
    let cluster = &server.0.cluster;
    let body = match (route, &wanted.shape) {
        (Route::CoreVersions | Route::Groups, Shape::Discovery(version)) => {
            let core = *route == Route::CoreVersions;
            let mut body = discovery::aggregated(&kinds, &locals, core);
            if !core {
                aggregation::extend_groups(server, &mut body);
            }
            let api_version = format!("apidiscovery.k8s.io/{version}");
            meta::as_object(&mut body).insert("apiVersion".into(), api_version.into());
            let content_type = if *version == "v2" {
                AGGREGATED
            } else {
                AGGREGATED_BETA
            };
            return cached(&body, content_type, headers);
        }
        (Route::CoreVersions, _) => {
            let address = format!("{}:{}", cluster.advertise_address, cluster.advertise_port);
            Some(discovery::api_versions(&address))
        }
        (Route::Groups, _) => {
            let mut body = discovery::api_group_list(&kinds, &locals);
            aggregation::extend_groups(server, &mut body);
            Some(body)
        }
        (Route::Group(group), _) => {
            let own = discovery::api_group(&kinds, &locals, group);
            aggregation::extend_group(server, group, own)
        }
        (Route::GroupVersion(group, version), _) => {
            discovery::api_resource_list(&kinds, &locals, group, version)
        }
        (Route::Resource(_) | Route::OpenApiIndex | Route::OpenApi(_) | Route::Other(_), _) => None,
    };
    match body {
        Some(body) => respond::value(200, wanted, &body),
        None => not_found_page(),
    }
}

/// Whether a group version is served at all.
pub(crate) fn serves(server: &ApiServer, group: &str, version: &str) -> bool {
    let kinds = server.kinds();
    let stored = kinds
        .iter()
        .any(|k| k.group == group && k.version == version);
    let locals = server.0.locals.read();
    stored
        || locals
            .iter()
            .any(|l| l.group() == group && l.version() == version)
}

/// An answer that clients keep and ask about by its hash.
fn cached(body: &Value, content_type: &'static str, headers: &HeaderMap) -> Response {
    let bytes: Bytes = serde_json::to_vec(body).unwrap_or_default().into();
    let tag = format!("\"{}\"", hash(&bytes));
    let known = headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok()) == Some(tag.as_str());
    let mut response = respond::plain(200, content_type, bytes);
    if known {
        response = respond::plain(304, content_type, Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// SHA-256 in upper-case hexadecimal.
pub(crate) fn hash(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(out, "{byte:02X}").unwrap_or_default();
    }
    out
}
