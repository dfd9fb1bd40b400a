//! `/openapi/v3` and `/openapi/v2`: schemas for clients that validate and explain.

use crate::aggregation;
use crate::discovery::hash;
use crate::http::negotiate;
use crate::http::query::Query;
use crate::http::respond::{self, Response, not_found_page};
use crate::server::ApiServer;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{
    ACCEPT, CACHE_CONTROL, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use plimsoll_api::kind::Kinds;
use plimsoll_api::openapi;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::Arc;

/// How long a document named by its hash may be kept.
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Documents are kept up to this many compressed bytes; beyond it they are made anew when asked
/// for.
const KEPT_BYTES: usize = 2 << 20;

/// What kubectl asks for, and what it then gets: upstream's answer has no `@`, which is not legal
/// in a media type.
const GNOSTIC: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Documents made so far, compressed, by the kinds they were made from.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    kinds: Arc<Kinds>,
    by_path: BTreeMap<String, Bytes>,
    bytes: usize,
}

impl Documents {
    /// The document under a name, compressed; made by `make` on first use.
    fn get(&self, kinds: &Arc<Kinds>, name: &str, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        let mut slot = self.made.lock();
        let known = slot.take().filter(|old| Arc::ptr_eq(&old.kinds, kinds));
        let mut current = known.unwrap_or_else(|| Made {
            kinds: Arc::clone(kinds),
            by_path: BTreeMap::new(),
            bytes: 0,
        });
        let document = match current.by_path.get(name) {
            Some(document) => document.clone(),
            None => pack(&make()),
        };
        if !current.by_path.contains_key(name) {
            if current.bytes + document.len() > KEPT_BYTES {
                current.by_path.clear();
                current.bytes = 0;
            }
            current.bytes += document.len();
            current.by_path.insert(name.to_owned(), document.clone());
        }
        *slot = Some(current);
        document
    }
}

/// What `unpack` undoes. Most clients do that themselves.
fn pack(document: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    encoder.write_all(document).unwrap_or_default();
    encoder.finish().unwrap_or_default().into()
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut document = Vec::new();
    let read = GzDecoder::new(packed).read_to_end(&mut document);
    // It was packed above.
    read.map(|_| document).unwrap_or_default()
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

/// `/openapi/v2`: every version in one document, as JSON or in gnostic's protobuf.
pub(crate) fn version_two(server: &ApiServer, headers: &HeaderMap) -> Response {
    let kinds = server.kinds();
    let make = || {
        let documents = paths(&kinds).into_values();
        openapi::v2(documents.map(|(group, version)| openapi::v3(&kinds, &group, &version)))
    };
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok());
    let documents = &server.0.documents;
    let (media, bytes) = if accept.is_some_and(|types| types.contains("proto-openapi.spec.v2")) {
        let make = || openapi::gnostic(&make());
        (GNOSTIC, documents.get(&kinds, "v2.pb", make))
    } else {
        let make = || serde_json::to_vec(&make()).unwrap_or_default();
        ("application/json", documents.get(&kinds, "v2.json", make))
    };
    let tag = hash(&bytes);
    tagged(headers, media, &tag, &bytes)
}

/// The list of documents, each with its hash. Makes none of them.
pub(crate) fn index(server: &ApiServer, headers: &HeaderMap) -> Response {
    let mut body = openapi::index(&server.kinds());
    aggregation::extend_index(server, &mut body);
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    let tag = hash(&bytes);
    tagged(headers, "application/json", &tag, &pack(&bytes))
}

/// One document.
pub(crate) fn document(
    server: &ApiServer,
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Response {
    let kinds = server.kinds();
    let Some((group, version)) = paths(&kinds).remove(path) else {
        return not_found_page();
    };
    let tag = openapi::hash(&kinds, path);
    let asked = query.get("hash").filter(|asked| !asked.is_empty());
    if asked.is_some_and(|asked| asked != tag) {
        let mut moved = respond::plain(301, "text/plain; charset=utf-8", Bytes::new());
        if let Ok(url) = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={tag}")) {
            moved.headers_mut().insert(LOCATION, url);
        }
        return moved;
    }
    let make = || {
        let document = openapi::v3(&kinds, &group, &version);
        serde_json::to_vec(&document).unwrap_or_default()
    };
    let bytes = server.0.documents.get(&kinds, path, make);
    let mut response = tagged(headers, "application/json", &tag, &bytes);
    if asked.is_some() {
        let answer = response.headers_mut();
        answer.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        let until = server.now().checked_add(YEAR).unwrap_or(Timestamp::MAX);
        let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&until);
        if let Some(value) = text.ok().and_then(|t| HeaderValue::from_str(&t).ok()) {
            answer.insert(EXPIRES, value);
        }
    }
    response
}

/// An answer that clients keep and ask about by its tag, from a compressed document.
fn tagged(headers: &HeaderMap, media: &'static str, tag: &str, packed: &Bytes) -> Response {
    let quoted = format!("\"{tag}\"");
    let known = headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let known = known.is_some_and(|tags| tags.split(',').any(|t| t.trim() == quoted));
    let mut response = if known {
        respond::plain(304, media, Bytes::new())
    } else if negotiate::gzip(headers) {
        respond::compressed(media, packed.clone())
    } else {
        respond::plain(200, media, unpack(packed))
    };
    let answer = response.headers_mut();
    answer.append(VARY, HeaderValue::from_static("Accept"));
    if let Ok(value) = HeaderValue::from_str(&quoted) {
        answer.insert(ETAG, value);
    }
    response
}
