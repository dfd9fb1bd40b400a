//! Request bodies as objects: JSON, YAML and protobuf.

use crate::call::Call;
use http::header::CONTENT_TYPE;
use plimsoll_api::decode::{self, Decoded, FieldValidation};
use plimsoll_api::kind::Kind;
use plimsoll_api::schema::{self, TypeId};
use plimsoll_api::status::ApiError;
use plimsoll_api::{meta, protobuf};
use serde_json::Value;

/// The encoding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// What describes the fields of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Schema<'a> {
    /// A table.
    Table(TypeId),
    /// A kind's own, which is no table if the kind is custom.
    Kind(&'a Kind),
}

impl Schema<'_> {
    fn json(self, body: &[u8], mode: FieldValidation) -> Result<Decoded, ApiError> {
        match self {
            Self::Table(table) => decode::json(table, body, mode),
            Self::Kind(kind) => kind.decode_json(body, mode),
        }
    }

    fn value(self, value: Value, mode: FieldValidation) -> Result<Decoded, ApiError> {
        match self {
            Self::Table(table) => decode::value(table, value, mode),
            Self::Kind(kind) => kind.decode_value(value, mode),
        }
    }

    /// The table that protobuf needs; custom kinds have none.
    fn table(self) -> Option<TypeId> {
        match self {
            Self::Table(table) => Some(table),
            Self::Kind(kind) => kind.custom.is_none().then_some(kind.schema),
        }
    }
}

/// What a body should be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// Its schema.
    pub(crate) schema: Schema<'a>,
    /// Its `apiVersion`.
    pub(crate) api_version: &'a str,
    /// Its `kind`.
    pub(crate) kind: &'a str,
}

/// The body as an object of the call's kind.
pub(crate) fn object(call: &Call) -> Result<Value, ApiError> {
    let api_version = call.kind.api_version();
    let kind = call.kind.kind.as_ref();
    typed(
        call,
        Expected {
            schema: Schema::Kind(&call.kind),
            api_version: &api_version,
            kind,
        },
    )
}

/// The body as an object of the subresource's own kind.
pub(crate) fn subresource(call: &Call, name: &str) -> Result<Value, ApiError> {
    let found = call
        .kind
        .subresource(name)
        .ok_or_else(ApiError::no_such_resource)?;
    let (group, version, kind) = &found.response;
    let table = schema::by_kind(group, version, kind)
        .ok_or_else(|| ApiError::not_yet(&format!("bodies of kind {kind}")))?;
    let api_version = if group.is_empty() {
        version.to_string()
    } else {
        format!("{group}/{version}")
    };
    typed(
        call,
        Expected {
            schema: Schema::Table(table),
            api_version: &api_version,
            kind,
        },
    )
}

/// The body as what is expected; warnings go to the call.
pub(crate) fn typed(call: &Call, expected: Expected<'_>) -> Result<Value, ApiError> {
    let mode = field_validation(call)?;
    let decoded = match encoding(call, expected)? {
        Encoding::Json => match expected.schema.json(&call.body, mode) {
            Ok(decoded) => {
                check_type(&decoded.object, expected)?;
                decoded
            }
            Err(error) => {
                // An object of another kind has other fields: say that rather than what they are.
                check_type(&peek(&call.body), expected)?;
                return Err(error);
            }
        },
        Encoding::Yaml => {
            let value = yaml(&call.body)?;
            check_type(&value, expected)?;
            expected.schema.value(value, mode)?
        }
        Encoding::Protobuf => {
            let envelope = protobuf::decode_envelope(&call.body)?;
            let head = serde_json::json!({
                "apiVersion": envelope.api_version, "kind": envelope.kind,
            });
            check_type(&head, expected)?;
            let table = expected
                .schema
                .table()
                .ok_or_else(ApiError::no_such_resource)?;
            let object = protobuf::decode(table, envelope.raw)?;
            Decoded {
                object,
                warnings: Vec::new(),
            }
        }
    };
    call.warn(decoded.warnings);
    let mut object = decoded.object;
    if !object.is_object() {
        return Err(ApiError::bad_request("the request body must be an object"));
    }
    let map = meta::as_object(&mut object);
    map.insert("kind".into(), expected.kind.into());
    map.insert("apiVersion".into(), expected.api_version.into());
    Ok(object)
}

/// `fieldValidation` of the query.
pub(crate) fn field_validation(call: &Call) -> Result<FieldValidation, ApiError> {
    match call.query.text("fieldValidation") {
        "" | "Warn" => Ok(FieldValidation::Warn),
        "Strict" => Ok(FieldValidation::Strict),
        "Ignore" => Ok(FieldValidation::Ignore),
        other => Err(ApiError::bad_request(format!(
            "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
        ))),
    }
}

/// The media type of the body, without parameters.
pub(crate) fn media_type(call: &Call) -> &str {
    let text = call
        .headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// YAML as JSON, with YAML 1.1's words for booleans, as upstream reads it.
pub(crate) fn yaml(body: &[u8]) -> Result<Value, ApiError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        ApiError::bad_request(format!("error converting YAML to JSON: {error}"))
    })?;
    serde_saphyr::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("error converting YAML to JSON: {error}")))
}

fn encoding(call: &Call, expected: Expected<'_>) -> Result<Encoding, ApiError> {
    let has_table = expected.schema.table().is_some();
    match media_type(call) {
        "" | "application/json" => Ok(Encoding::Json),
        "application/yaml" => Ok(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" if has_table => Ok(Encoding::Protobuf),
        _ if !has_table => Err(unsupported(&["application/json", "application/yaml"])),
        _ => Err(unsupported(&[
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ])),
    }
}

/// 415 naming what would be accepted.
pub(crate) fn unsupported(accepted: &[&str]) -> ApiError {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    ApiError::new(415, "UnsupportedMediaType", message)
}

fn check_type(body: &Value, expected: Expected<'_>) -> Result<(), ApiError> {
    let (version, kind) = (
        meta::text(body, &["apiVersion"]),
        meta::text(body, &["kind"]),
    );
    if !version.is_empty() && version != expected.api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            expected.api_version
        )));
    }
    if !kind.is_empty() && kind != expected.kind {
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({kind}) does not match the expected kind ({})",
            expected.kind
        )));
    }
    Ok(())
}

/// Only `apiVersion` and `kind` of a JSON body; nothing if it is malformed, which decoding reports.
fn peek(body: &[u8]) -> Value {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        #[serde(default)]
        api_version: String,
        #[serde(default)]
        kind: String,
    }
    match serde_json::from_slice::<Head>(body) {
        Ok(head) => serde_json::json!({"apiVersion": head.api_version, "kind": head.kind}),
        Err(_) => Value::Null,
    }
}
