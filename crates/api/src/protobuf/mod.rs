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

/// Encodes an object as a message. Fields the schema does not know are left out.
///
/// # Errors
///
/// 500 when a value does not have the type the schema says (stored objects always do).
pub fn encode(ty: TypeId, object: &Value) -> Result<Vec<u8>, ApiError> {
    write::message(ty, object).map_err(|field| {
        ApiError::internal(format!("field {field} does not fit its protobuf type"))
    })
}

/// Wraps a message as a body.
pub fn encode_envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut type_meta = Vec::new();
    wire::put_bytes(&mut type_meta, 1, api_version.as_bytes());
    wire::put_bytes(&mut type_meta, 2, kind.as_bytes());
    let mut body = MAGIC.to_vec();
    wire::put_bytes(&mut body, 1, &type_meta);
    wire::put_bytes(&mut body, 2, raw);
    wire::put_bytes(&mut body, 3, b"");
    wire::put_bytes(&mut body, 4, b"");
    body
}
