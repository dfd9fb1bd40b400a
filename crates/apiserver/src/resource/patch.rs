//! PATCH.

use super::apply;
use super::decode::{self, media_type, unsupported};
use super::present::to_served;
use super::write::Writer;
use crate::call::Call;
use crate::http::respond::Response;
use plimsoll_api::status::ApiError;
use plimsoll_api::{meta, patch};
use serde_json::Value;

/// What part of an object a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The object itself; its status stays.
    Main,
    /// The status only.
    Status,
    /// Fields that a subresource handler picked out of a stored object.
    Other,
    /// Where a pod runs. Upstream does not count this as a change of the spec's generation.
    Placement,
}

/// The patch types that change an object without knowing who owns what.
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(bytes::Bytes),
    /// RFC 7386.
    Merge(Value),
    /// With the schema's merge keys.
    Strategic(Value),
}

/// Server-side apply's media type. Its bodies may be JSON, which is YAML.
const APPLY: &str = "application/apply-patch+yaml";

/// Whether a request is a server-side apply.
pub(crate) fn is_apply(call: &Call) -> bool {
    call.verb == "patch" && media_type(call) == APPLY
}

impl Patch {
    /// The patch a request carries.
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        let parsed = || {
            serde_json::from_slice::<Value>(&call.body)
                .map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))
        };
        match media_type(call) {
            "application/json-patch+json" => Ok(Self::Json(call.body.clone())),
            "application/merge-patch+json" => Ok(Self::Merge(parsed()?)),
            "application/strategic-merge-patch+json" if call.kind.custom.is_none() => {
                Ok(Self::Strategic(parsed()?))
            }
            _ if call.kind.custom.is_some() => Err(unsupported(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                APPLY,
            ])),
            _ => Err(unsupported(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
                APPLY,
            ])),
        }
    }

    /// The patched object, not checked yet.
    pub(crate) fn apply(
        &self,
        schema: plimsoll_api::schema::TypeId,
        object: &Value,
    ) -> Result<Value, ApiError> {
        match self {
            Self::Json(operations) => patch::json(object, operations),
            Self::Merge(change) => {
                let mut object = object.clone();
                patch::merge(&mut object, change);
                Ok(object)
            }
            Self::Strategic(change) => patch::strategic(schema, object, change),
        }
    }
}

/// Patches an object or its status.
pub(crate) async fn patch(call: &Call, part: Part) -> Result<Response, ApiError> {
    if is_apply(call) {
        let (code, written) = apply::serve(call, part).await?;
        return call.object(code, &written);
    }
    let run = call.run()?;
    let change = Patch::of(call)?;
    let mode = decode::field_validation(call)?;
    let writer = Writer::of(call, run);
    let warned = parking_lot::Mutex::new(Vec::new());
    let step = |old: &Value| {
        let served = to_served(&call.kind, old.clone());
        let patched = change.apply(call.kind.schema, &served)?;
        let decoded = call.kind.decode_value(patched, mode)?;
        *warned.lock() = decoded.warnings;
        let mut object = decoded.object;
        let map = meta::as_object(&mut object);
        map.insert("kind".into(), call.kind.kind.as_ref().into());
        map.insert("apiVersion".into(), call.kind.api_version().into());
        super::update::named(&object, call)?;
        Ok(writer.stored_form(object))
    };
    let written = writer.update(&call.key(), part, &step).await?;
    call.warn(warned.into_inner());
    call.object(200, &written)
}
