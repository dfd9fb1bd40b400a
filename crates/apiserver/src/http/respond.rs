//! Answers.

use super::body::{Body, full, stream};
use super::negotiate::Wanted;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, VARY, WARNING,
};
use plimsoll_api::status::ApiError;
use serde_json::Value;
use std::io::Write;

/// An answer.
pub(crate) type Response = http::Response<Body>;

/// Bodies from this size on are compressed, in bytes.
const COMPRESS_FROM: usize = 128 * 1024;

/// Longer lists are sent in chunks of about this many bytes.
const CHUNK: usize = 64 * 1024;

/// An answer with a body of the given type.
pub(crate) fn plain(code: u16, content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let bytes = bytes.into();
    let length = bytes.len();
    let mut response = http::Response::new(full(bytes));
    *response.status_mut() = status(code);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// An answer that is sent as it comes.
pub(crate) fn streaming(content_type: &'static str, body: Body) -> Response {
    let mut response = http::Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A JSON answer from bytes that are JSON already: indented or compressed if the client wants it.
pub(crate) fn json(code: u16, wanted: &Wanted, bytes: Bytes) -> Response {
    let mut bytes = bytes;
    if wanted.pretty
        && let Ok(value) = serde_json::from_slice::<Value>(&bytes)
    {
        bytes = serde_json::to_vec_pretty(&value).unwrap_or_default().into();
    }
    let mut body = Vec::with_capacity(bytes.len() + 1);
    body.extend_from_slice(&bytes);
    body.push(b'\n');
    if !wanted.gzip || body.len() < COMPRESS_FROM {
        return plain(code, wanted.content_type, body);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = encoder.write_all(&body).and_then(|()| encoder.finish());
    let Ok(packed) = packed else {
        return plain(code, wanted.content_type, body);
    };
    let mut response = plain(code, wanted.content_type, packed);
    response
        .headers_mut()
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// A JSON answer made of many parts, separated by commas between `head` and `tail`. A long one is
/// put together while it is sent, so that it never exists twice.
pub(crate) fn parts(wanted: &Wanted, head: Vec<u8>, items: Vec<Bytes>, tail: &[u8]) -> Response {
    let commas = items.len().saturating_sub(1);
    let length: usize = head.len() + items.iter().map(Bytes::len).sum::<usize>() + commas;
    let joined = Joined {
        chunk: head,
        items: items.into_iter(),
        tail: Some([tail, b"\n"].concat()),
        separate: false,
    };
    let length = length + tail.len() + 1;
    if wanted.pretty || wanted.gzip || length < CHUNK {
        let mut whole: Vec<u8> = Vec::with_capacity(length);
        joined.for_each(|chunk| whole.extend_from_slice(&chunk));
        whole.pop();
        return json(200, wanted, whole.into());
    }
    let mut response = streaming(wanted.content_type, stream(futures::stream::iter(joined)));
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Parts joined into chunks of about [`CHUNK`] bytes.
struct Joined {
    /// What has been gathered for the next chunk.
    chunk: Vec<u8>,
    items: std::vec::IntoIter<Bytes>,
    tail: Option<Vec<u8>>,
    /// Whether the next item needs a comma before it.
    separate: bool,
}

impl Iterator for Joined {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.tail.as_ref()?;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.reserve(CHUNK);
        for item in self.items.by_ref() {
            if std::mem::replace(&mut self.separate, true) {
                chunk.push(b',');
            }
            chunk.extend_from_slice(&item);
            if chunk.len() >= CHUNK {
                return Some(chunk.into());
            }
        }
        chunk.extend(self.tail.take()?);
        Some(chunk.into())
    }
}

/// A JSON answer from a value.
pub(crate) fn value(code: u16, wanted: &Wanted, value: &Value) -> Response {
    json(
        code,
        wanted,
        serde_json::to_vec(value).unwrap_or_default().into(),
    )
}

/// A failure as a `Status`.
pub(crate) fn failure(error: &ApiError) -> Response {
    let mut body = serde_json::to_vec(&error.to_status()).unwrap_or_default();
    body.push(b'\n');
    let mut response = plain(error.code, "application/json", body);
    let seconds = error
        .details
        .get("retryAfterSeconds")
        .and_then(Value::as_u64);
    if let Some(seconds) = seconds.or_else(|| matches!(error.code, 503 | 504).then_some(1)) {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The answer for a path that is not part of the API.
pub(crate) fn not_found_page() -> Response {
    let mut response = plain(404, "text/plain; charset=utf-8", "404 page not found\n");
    let nosniff = HeaderName::from_static("x-content-type-options");
    response
        .headers_mut()
        .insert(nosniff, HeaderValue::from_static("nosniff"));
    response
}

/// Headers every answer carries.
pub(crate) fn complete(response: &mut Response, audit_id: &str, warnings: &[String]) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(audit_id) {
        headers.insert(HeaderName::from_static("audit-id"), id);
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache, private"));
    for text in warnings {
        let escaped = text
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace(['\n', '\r'], " ");
        if let Ok(header) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            headers.append(WARNING, header);
        }
    }
}

fn status(code: u16) -> http::StatusCode {
    http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use rstest::rstest;

    #[rstest]
    #[case(0)]
    #[case(1)]
    #[case(3)]
    #[case(3_000)]
    #[tokio::test]
    async fn a_list_is_as_long_as_announced_and_is_json(#[case] count: usize) {
        let wanted = crate::http::negotiate::plain_json();
        let item = Bytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat(100)));
        let items = vec![item; count];
        let response = parts(&wanted, b"{\"items\":[".to_vec(), items, b"]}");
        let announced = response.headers()[CONTENT_LENGTH].clone();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(announced, bytes.len().to_string());
        assert!(bytes.ends_with(b"]}\n"));
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["items"].as_array().unwrap().len(), count);
    }
}
