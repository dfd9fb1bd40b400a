//! Protobuf bodies: the envelope and a table-driven transcoder to and from JSON objects.
//!
//! Upstream's encoder writes every field that it holds by value, zero or not: `status: {}`, empty
//! strings, `nodePort: 0`. JSON clients leave those out, so decoding does too, by one rule: a zero
//! scalar is kept only where the field is required (JSON prints it then) or where upstream holds a
//! pointer and so tells zero from absent (`replicas: 0` of a Deployment, `gracePeriodSeconds: 0`).
//! Which fields those are is a flag in the schema table. Empty messages stay, as in upstream's
//! JSON (`resources: {}`, and `emptyDir: {}` means something); the zero time goes.

mod read;
mod wire;
mod write;

use crate::schema::{self, TypeId};
use crate::status::ApiError;
use serde_json::Value;
use wire::{Reader, Wire};

pub(crate) use wire::{put_bytes, put_nested, put_varint};

/// What every Kubernetes protobuf body starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Deepest nesting of messages.
const MAX_DEPTH: usize = 100;

/// The wrapper of a protobuf body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// The message.
    pub raw: &'a [u8],
}

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("unexpected end of protobuf data")]
    Truncated,
    #[error("a protobuf integer is longer than 64 bits")]
    LongInteger,
    #[error("protobuf wire type {0} is not supported")]
    WireType(u64),
    #[error("protobuf field number {0} is out of range")]
    FieldNumber(u64),
    #[error("{0}: wrong protobuf wire type")]
    WrongWireType(&'static str),
    #[error("{0}: not UTF-8")]
    NotUtf8(&'static str),
    #[error("{field}: {why}")]
    Value { field: &'static str, why: String },
    #[error("the object is nested too deeply")]
    TooDeep,
}

/// Opens a protobuf body.
///
/// # Errors
///
/// 400 when the bytes do not start with the magic number or the wrapper is malformed.
pub fn decode_envelope(body: &[u8]) -> Result<Envelope<'_>, ApiError> {
    let message = body.strip_prefix(MAGIC).ok_or_else(|| {
        ApiError::bad_request("provided data does not appear to be a protobuf message")
    })?;
    open(message).map_err(|error| ApiError::bad_request(format!("protobuf envelope: {error}")))
}

fn open(message: &[u8]) -> Result<Envelope<'_>, Malformed> {
    let mut envelope = Envelope {
        api_version: String::new(),
        kind: String::new(),
        raw: &[],
    };
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        match (number, value) {
            (1, Wire::Bytes(type_meta)) => {
                let mut inner = Reader::new(type_meta);
                while let Some((number, value)) = inner.next()? {
                    match number {
                        1 => value
                            .text("apiVersion")?
                            .clone_into(&mut envelope.api_version),
                        2 => value.text("kind")?.clone_into(&mut envelope.kind),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(raw)) => envelope.raw = raw,
            _ => {}
        }
    }
    Ok(envelope)
}

/// Decodes a message to the object that JSON would have carried, without `apiVersion` and `kind`
/// (the envelope has them; see [`decode_object`]).
///
/// # Errors
///
/// 400 for malformed or too deeply nested messages.
pub fn decode(ty: TypeId, raw: &[u8]) -> Result<Value, ApiError> {
    read::message(ty, raw, MAX_DEPTH).map_err(|error| {
        let kind = schema::get(ty).short_name();
        ApiError::bad_request(format!(
            "protobuf body cannot be handled as a {kind}: {error}"
        ))
    })
}

/// Decodes an opened body as the given type, with the envelope's `apiVersion` and `kind` first.
///
/// # Errors
///
/// As for [`decode`].
pub fn decode_object(ty: TypeId, envelope: &Envelope<'_>) -> Result<Value, ApiError> {
    let mut object = decode(ty, envelope.raw)?;
    name_type(&mut object, envelope);
    Ok(object)
}

fn name_type(object: &mut Value, envelope: &Envelope<'_>) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    for (key, value) in [
        ("kind", &envelope.kind),
        ("apiVersion", &envelope.api_version),
    ] {
        if !value.is_empty() {
            map.shift_insert(0, key.to_owned(), Value::from(value.as_str()));
        }
    }
}

/// The schema type of an `apiVersion` and a `kind`.
pub fn type_of(api_version: &str, kind: &str) -> Option<TypeId> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    schema::by_kind(group, version, kind)
}

/// The type of schemas inside custom resource definitions.
fn json_schema_props() -> TypeId {
    const NAME: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    static FOUND: std::sync::OnceLock<TypeId> = std::sync::OnceLock::new();
    *FOUND.get_or_init(|| schema::by_name(NAME).unwrap_or(TypeId(u16::MAX)))
}

/// Encodes an object as a message. Fields the schema does not know are left out.
///
/// # Errors
///
/// 500 when a value does not have the type the schema says (stored objects always do).
pub fn encode(ty: TypeId, object: &Value) -> Result<Vec<u8>, ApiError> {
    let mut out = Vec::new();
    write::value(ty, object, &mut out).map_err(|error| unfit(ty, &error))?;
    Ok(out)
}

/// Encodes the JSON text of an object as a message and appends it to `out`, without a tree in
/// between. Fields the schema does not know are left out.
///
/// # Errors
///
/// As for [`encode`], and 500 for text that is not JSON.
pub fn transcode(ty: TypeId, json: &[u8], out: &mut Vec<u8>) -> Result<(), ApiError> {
    let mut source = serde_json::Deserializer::from_slice(json);
    write::value(ty, &mut source, out).map_err(|error| unfit(ty, &error))
}

/// Encodes the metadata in an object's JSON text as a `PartialObjectMetadata` message.
///
/// # Errors
///
/// As for [`transcode`].
pub fn transcode_metadata(json: &[u8], out: &mut Vec<u8>) -> Result<(), ApiError> {
    let mut source = serde_json::Deserializer::from_slice(json);
    let row = schema::partial_object_metadata();
    write::message(row, &mut source, out)
        .map_err(|error| ApiError::internal(format!("metadata as protobuf: {error}")))
}

fn unfit(ty: TypeId, error: &serde_json::Error) -> ApiError {
    let kind = schema::get(ty).short_name();
    ApiError::internal(format!("a {kind} does not fit protobuf: {error}"))
}

/// Wraps a message as a body.
pub fn encode_envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(raw.len() + api_version.len() + kind.len() + 24);
    body.extend_from_slice(MAGIC);
    put_type(&mut body, api_version, kind);
    put_bytes(&mut body, 2, raw);
    body.extend_from_slice(UNSAID);
    body
}

/// The wrapper's content encoding and type, which nobody says.
const UNSAID: &[u8] = b"\x1a\x00\x22\x00";

fn put_type(out: &mut Vec<u8>, api_version: &str, kind: &str) {
    put_nested(out, 1, |out| {
        put_bytes(out, 1, api_version.as_bytes());
        put_bytes(out, 2, kind.as_bytes());
    });
}

/// What goes before and after the items of a list's body. `length` is that of all items as
/// [`put_item`] writes them, in bytes.
///
/// Every list type has its metadata in field 1 and its items in field 2.
pub fn list_envelope(
    api_version: &str,
    kind: &str,
    metadata: &[u8],
    length: usize,
) -> (Vec<u8>, &'static [u8]) {
    let mut about = Vec::with_capacity(metadata.len() + 4);
    put_bytes(&mut about, 1, metadata);
    let mut head = MAGIC.to_vec();
    put_type(&mut head, api_version, kind);
    put_varint(&mut head, 2 << 3 | 2);
    put_varint(&mut head, (about.len() + length) as u64);
    head.extend_from_slice(&about);
    (head, UNSAID)
}

/// One item of a list, with its tag and length, written by `write`.
///
/// # Errors
///
/// What `write` fails with; `out` may hold a part of the item then.
pub fn put_item<E>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let mut outcome = Ok(());
    put_nested(out, 2, |out| outcome = write(out));
    outcome
}

/// An event of a watch: a length of four bytes, big-endian, and a `WatchEvent` whose object is a
/// whole body. The event itself has no wrapper.
pub fn watch_frame(event: &str, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + event.len() + 24);
    frame.extend_from_slice(&[0; 4]);
    put_bytes(&mut frame, 1, event.as_bytes());
    put_nested(&mut frame, 2, |out| put_bytes(out, 1, body));
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    if let Some(head) = frame.get_mut(..4) {
        head.copy_from_slice(&length.to_be_bytes());
    }
    frame
}
