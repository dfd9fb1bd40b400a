//! `/openapi/v3`: schemas for clients that validate and explain.

use crate::discovery::hash;
use crate::http::query::Query;
use crate::http::respond::{self, Response, not_found_page};
use crate::server::ApiServer;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{
    ACCEPT, CACHE_CONTROL, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use plimsoll_api::kind::Kinds;
use plimsoll_api::openapi;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long a document named by its hash may be kept.
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Documents made so far, by the kinds they were made from.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    kinds: Arc<Kinds>,
    by_path: BTreeMap<String, (Bytes, String)>,
}

impl Documents {
    /// The document at `path` (`apis/apps/v1`) and its hash, made on first use.
    fn get(&self, server: &ApiServer, path: &str) -> Option<(Bytes, String)> {
        let kinds = server.kinds();
        let (group, version) = paths(&kinds).remove(path)?;
        let mut made = self.made.lock();
        if made.as_ref().is_none_or(|m| !Arc::ptr_eq(&m.kinds, &kinds)) {
            *made = Some(Made {
                kinds: Arc::clone(&kinds),
                by_path: BTreeMap::new(),
            });
        }
        let known = made
            .as_mut()?
            .by_path
            .entry(path.to_owned())
            .or_insert_with(|| {
                let document = openapi::v3(&kinds, &group, &version);
                let bytes: Bytes = serde_json::to_vec(&document).unwrap_or_default().into();
                let tag = hash(&bytes);
                (bytes, tag)
            });
        Some(known.clone())
    }
}

/// Path of each group version's document.
fn paths(kinds: &Kinds) -> BTreeMap<String, (String, String)> {
    let versions: BTreeSet<(String, String)> = kinds
        .iter()
        .map(|k| (k.group.to_string(), k.version.to_string()))
        .collect();
    versions
        .into_iter()
        .map(|(group, version)| {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            (path, (group, version))
        })
        .collect()
}

/// `/openapi/v2` without a single definition. kubectl turns to it for kinds that are not served,
/// and goes on to say so when they are not in it either; without it, it says something else.
pub(crate) fn version_two(headers: &HeaderMap) -> Response {
    const TITLE: &str = "Kubernetes";
    const VERSION: &str = "v1.36.2";
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok());
    if !accept.is_some_and(|types| types.contains("proto-openapi.spec.v2")) {
        let document = json!({
            "swagger": "2.0", "info": {"title": TITLE, "version": VERSION}, "paths": {},
            "definitions": {},
        });
        return respond::plain(200, "application/json", document.to_string());
    }
    // openapi.v2.Document in protobuf: swagger = 1, info = 2 with title = 1 and version = 2.
    let field = |number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap_or_default();
        [&[number << 3 | 2, length], bytes].concat()
    };
    let info = [field(1, TITLE.as_bytes()), field(2, VERSION.as_bytes())].concat();
    let document = [field(1, b"2.0"), field(2, &info)].concat();
    let media = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    respond::plain(200, media, document)
}

/// The list of documents, each with its hash.
pub(crate) fn index(server: &ApiServer) -> Response {
    let documents = &server.0.documents;
    let list: serde_json::Map<String, serde_json::Value> = paths(&server.kinds())
        .into_keys()
        .filter_map(|path| {
            let (_, tag) = documents.get(server, &path)?;
            let url = format!("/openapi/v3/{path}?hash={tag}");
            Some((path, json!({"serverRelativeURL": url})))
        })
        .collect();
    let body = serde_json::to_vec(&json!({"paths": list})).unwrap_or_default();
    respond::plain(200, "application/json", body)
}

/// One document.
pub(crate) fn document(
    server: &ApiServer,
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Response {
    let Some((bytes, tag)) = server.0.documents.get(server, path) else {
        return not_found_page();
    };
    let asked = query.get("hash");
    if asked.is_some_and(|asked| asked != tag) {
        let mut moved = respond::plain(301, "text/plain; charset=utf-8", Bytes::new());
        if let Ok(url) = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={tag}")) {
            moved.headers_mut().insert(LOCATION, url);
        }
        return moved;
    }
    let quoted = format!("\"{tag}\"");
    let known = headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let mut response = if known == Some(quoted.as_str()) {
        respond::plain(304, "application/json", Bytes::new())
    } else {
        let mut wanted = crate::http::negotiate::plain_json();
        let accepts = headers
            .get(http::header::ACCEPT_ENCODING)
            .and_then(|v| v.to_str().ok());
        wanted.gzip = accepts.is_some_and(|e| e.contains("gzip"));
        respond::json(200, &wanted, bytes)
    };
    let answer = response.headers_mut();
    answer.insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(value) = HeaderValue::from_str(&quoted) {
        answer.insert(ETAG, value);
    }
    if asked.is_some() {
        answer.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        let until = server.now().checked_add(YEAR).unwrap_or(Timestamp::MAX);
        let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&until);
        if let Some(value) = text.ok().and_then(|t| HeaderValue::from_str(&t).ok()) {
            answer.insert(EXPIRES, value);
        }
    }
    response
}
