//! Answers.

use super::body::{Body, full, stream};
use super::negotiate::{Encoding, Wanted};
use super::yaml;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, VARY, WARNING,
};
use plimsoll_api::protobuf;
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

/// An answer from JSON text, in the encoding the client wants.
pub(crate) fn json(code: u16, wanted: &Wanted, bytes: Bytes) -> Response {
    let media = wanted.encoding.media_type();
    match wanted.encoding {
        Encoding::Json => json_text(code, wanted, bytes),
        Encoding::Yaml => match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) => whole(code, wanted, media, yaml::document(&value).into()),
            Err(_) => json_text(code, wanted, bytes),
        },
        Encoding::Protobuf => match protobuf_of(&bytes) {
            Some(body) => whole(code, wanted, media, body.into()),
            None => json_text(code, wanted, bytes),
        },
    }
}

/// The protobuf body of an object that names its type; `None` if protobuf does not have it.
pub(crate) fn protobuf_of(json: &[u8]) -> Option<Vec<u8>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named<'a> {
        #[serde(borrow)]
        api_version: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    let named: Named<'_> = serde_json::from_slice(json).ok()?;
    let ty = protobuf::type_of(&named.api_version, &named.kind)?;
    let mut raw = Vec::new();
    protobuf::transcode(ty, json, &mut raw).ok()?;
    Some(protobuf::encode_envelope(
        &named.api_version,
        &named.kind,
        &raw,
    ))
}

fn json_text(code: u16, wanted: &Wanted, bytes: Bytes) -> Response {
    let mut bytes = bytes;
    if wanted.pretty
        && let Ok(value) = serde_json::from_slice::<Value>(&bytes)
    {
        bytes = serde_json::to_vec_pretty(&value).unwrap_or_default().into();
    }
    let mut body = Vec::with_capacity(bytes.len() + 1);
    body.extend_from_slice(&bytes);
    body.push(b'\n');
    whole(code, wanted, Encoding::Json.media_type(), body.into())
}

/// A body that is complete, compressed if it is long and the client can unpack it.
pub(crate) fn whole(
    code: u16,
    wanted: &Wanted,
    content_type: &'static str,
    body: Bytes,
) -> Response {
    if !wanted.gzip || body.len() < COMPRESS_FROM {
        return plain(code, content_type, body);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = encoder.write_all(&body).and_then(|()| encoder.finish());
    let Ok(packed) = packed else {
        return plain(code, content_type, body);
    };
    let mut response = compressed(content_type, packed.into());
    *response.status_mut() = status(code);
    response
}

/// A body that is compressed already.
pub(crate) fn compressed(content_type: &'static str, packed: Bytes) -> Response {
    let mut response = plain(200, content_type, packed);
    say_compressed(&mut response);
    response
}

fn say_compressed(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// A JSON answer made of many parts, separated by commas between `head` and `tail`. A long one is
/// put together (and compressed) while it is sent, so that it never exists twice.
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
    let media = wanted.encoding.media_type();
    if wanted.encoding == Encoding::Json && !wanted.pretty {
        return chunks(wanted, media, length, joined);
    }
    let mut whole: Vec<u8> = Vec::with_capacity(length);
    joined.for_each(|chunk| whole.extend_from_slice(&chunk));
    whole.pop();
    json(200, wanted, whole.into())
}

/// A body of `length` bytes in chunks: sent as they come where it is long.
pub(crate) fn chunks(
    wanted: &Wanted,
    content_type: &'static str,
    length: usize,
    chunks: impl Iterator<Item = Bytes> + Send + 'static,
) -> Response {
    if length < CHUNK {
        let mut all: Vec<u8> = Vec::with_capacity(length);
        chunks.for_each(|chunk| all.extend_from_slice(&chunk));
        return plain(200, content_type, all);
    }
    if wanted.gzip && length >= COMPRESS_FROM {
        let packed = Packed {
            chunks,
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        };
        let mut response = streaming(content_type, stream(futures::stream::iter(packed)));
        say_compressed(&mut response);
        return response;
    }
    let mut response = streaming(content_type, stream(futures::stream::iter(chunks)));
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Chunks, compressed one by one.
struct Packed<I> {
    chunks: I,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I: Iterator<Item = Bytes>> Iterator for Packed<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut encoder = self.encoder.take()?;
            let Some(chunk) = self.chunks.next() else {
                // Writing to memory does not fail.
                return encoder.finish().ok().map(Bytes::from);
            };
            encoder.write_all(&chunk).ok()?;
            let ready = std::mem::take(encoder.get_mut());
            self.encoder = Some(encoder);
            if !ready.is_empty() {
                return Some(ready.into());
            }
        }
    }
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

/// An answer from a value.
pub(crate) fn value(code: u16, wanted: &Wanted, value: &Value) -> Response {
    json(
        code,
        wanted,
        serde_json::to_vec(value).unwrap_or_default().into(),
    )
}

/// A failure as a `Status`, in the encoding the client wants.
pub(crate) fn failure(error: &ApiError, wanted: &Wanted) -> Response {
    let mut response = value(error.code, wanted, &error.to_status());
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

    #[tokio::test]
    async fn a_long_list_is_compressed_as_it_is_sent() {
        let mut wanted = crate::http::negotiate::plain_json();
        wanted.gzip = true;
        let item = Bytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat(100)));
        let response = parts(&wanted, b"{\"items\":[".to_vec(), vec![item; 3_000], b"]}");
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        assert!(response.headers().get(CONTENT_LENGTH).is_none());
        let packed = response.into_body().collect().await.unwrap().to_bytes();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut text)
            .unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["items"].as_array().unwrap().len(), 3_000);
    }
}
