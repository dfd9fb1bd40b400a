//! Errors in the form Kubernetes clients branch on: `Status` bodies with code, reason and causes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Why a field was refused; the `reason` of one `Status` cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CauseReason {
    /// The value is malformed or out of range.
    FieldValueInvalid,
    /// The field must be set.
    FieldValueRequired,
    /// The value is not one of the allowed ones.
    FieldValueNotSupported,
    /// The field may not be set here.
    FieldValueForbidden,
    /// The same value appears twice.
    FieldValueDuplicate,
    /// The value has the wrong type.
    FieldValueTypeInvalid,
    /// The text is too long.
    FieldValueTooLong,
    /// There are too many items.
    FieldValueTooMany,
    /// The referenced object does not exist.
    FieldValueNotFound,
}

/// One refused field, e.g. `spec.replicas: Invalid value: -1: must be greater than or equal to 0`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Dotted path with list indexes and quoted map keys, e.g. `spec.containers[0].name`.
    pub field: String,
    /// The class of the refusal.
    pub reason: CauseReason,
    /// The refusal without the path, e.g. `Required value: must be set`.
    pub detail: String,
}

impl FieldError {
    /// `field: Invalid value: VALUE: why`. Strings print quoted, other values as JSON.
    pub fn invalid(field: impl Into<String>, value: &Value, why: impl std::fmt::Display) -> Self {
        Self::new(
            field,
            CauseReason::FieldValueInvalid,
            format!("Invalid value: {value}: {why}"),
        )
    }

    /// `field: Required value[: why]`.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let detail = if why.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {why}")
        };
        Self::new(field, CauseReason::FieldValueRequired, detail)
    }

    /// `field: Unsupported value: VALUE: supported values: "A", "B"`.
    pub fn not_supported(field: impl Into<String>, value: &Value, allowed: &[&str]) -> Self {
        let mut sorted: Vec<String> = allowed.iter().map(|a| format!("{a:?}")).collect();
        sorted.sort();
        let detail = format!(
            "Unsupported value: {value}: supported values: {}",
            sorted.join(", ")
        );
        Self::new(field, CauseReason::FieldValueNotSupported, detail)
    }

    /// `field: Forbidden: why`.
    pub fn forbidden(field: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::new(
            field,
            CauseReason::FieldValueForbidden,
            format!("Forbidden: {why}"),
        )
    }

    /// `field: Duplicate value: VALUE`.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(
            field,
            CauseReason::FieldValueDuplicate,
            format!("Duplicate value: {value}"),
        )
    }

    fn new(field: impl Into<String>, reason: CauseReason, detail: String) -> Self {
        Self {
            field: field.into(),
            reason,
            detail,
        }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.detail)
    }
}

/// A failure answer of the API: everything a `Status` body carries.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, e.g. `NotFound`; empty where upstream sends none.
    pub reason: &'static str,
    /// What a person reads.
    pub message: String,
    /// The `details` object (`{}` where there is nothing to say).
    pub details: Value,
}

impl ApiError {
    /// An error without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: json!({}),
        }
    }

    /// 404 `pods "x" not found`; `resource` is the plural with its group, e.g. `deployments.apps`.
    pub fn not_found(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(group, plural));
        Self::new(404, "NotFound", message).about(group, plural, name)
    }

    /// 404 for a path that names no resource.
    pub fn no_such_resource() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// 409 `configmaps "a" already exists`.
    pub fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(group, plural));
        Self::new(409, "AlreadyExists", message).about(group, plural, name)
    }

    /// 409 with `why` after the object's name.
    pub fn conflict(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let resource = qualified(group, plural);
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::new(409, "Conflict", message).about(group, plural, name)
    }

    /// 409 for a stale `resourceVersion`.
    pub fn modified(group: &str, plural: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, plural, name, why)
    }

    /// 422 listing every refused field; `kind` is the Kind, not the plural.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let text = match list.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|e| json!({"reason": e.reason, "message": e.detail, "field": e.field}))
            .collect();
        let mut error = Self::new(
            422,
            "Invalid",
            format!("{} {name:?} is invalid: {text}", qualified(group, kind)),
        )
        .about(group, kind, name);
        if let Some(details) = error.details.as_object_mut() {
            details.insert("causes".into(), Value::Array(causes));
        }
        error
    }

    /// 400 BadRequest.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 403 `pods "x" is forbidden: why`.
    pub fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let resource = qualified(group, plural);
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {name:?} is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message).about(group, plural, name)
    }

    /// 405 MethodNotAllowed.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    /// 410 Expired.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 500 InternalError.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
    }

    /// 501 for something Kubernetes has and this server does not have yet; says so plainly.
    pub fn not_yet(what: &str) -> Self {
        Self::new(
            501,
            "NotImplemented",
            format!("plimsoll does not serve {what} yet"),
        )
    }

    /// Names the object the error is about.
    #[must_use]
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let mut details = serde_json::Map::new();
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                details.insert(key.into(), value.into());
            }
        }
        self.details = Value::Object(details);
        self
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message,
        });
        if let Some(map) = status.as_object_mut() {
            if !self.reason.is_empty() {
                map.insert("reason".into(), self.reason.into());
            }
            map.insert("details".into(), self.details.clone());
            map.insert("code".into(), self.code.into());
        }
        status
    }
}

fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{group}")
    }
}
