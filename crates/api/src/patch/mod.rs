//! The patch types of the API: JSON patch, merge patch, strategic merge patch.
//!
//! All of them are pure: they answer what the object would become.

mod order;
mod strategic;

use crate::schema::TypeId;
use crate::status::ApiError;
use json_patch::{Patch, PatchOperation};
use serde_json::{Value, json};

/// Most operations of one JSON patch.
const MAX_OPERATIONS: usize = 10_000;
/// Most bytes (as JSON) that the `copy` operations of one patch may copy.
const MAX_COPIED: usize = 3 << 20;

/// Applies an RFC 7386 merge patch in place: nulls delete, lists replace.
pub fn merge(target: &mut Value, patch: &Value) {
    json_patch::merge(target, patch);
}

/// Applies an RFC 6902 patch.
///
/// # Errors
///
/// 400 when the patch is malformed, 413 when it has too many operations or copies too much, 422 when
/// an operation (also a `test`) fails.
pub fn json(original: &Value, patch: &[u8]) -> Result<Value, ApiError> {
    let Patch(operations) = serde_json::from_slice(patch)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if operations.len() > MAX_OPERATIONS {
        let count = operations.len();
        return Err(too_large(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    let mut result = original.clone();
    let mut copied = 0_usize;
    for (index, operation) in operations.iter().enumerate() {
        if let PatchOperation::Copy(copy) = operation
            && let Some(source) = result.pointer(copy.from.as_str())
        {
            copied = copied.saturating_add(source.to_string().len());
            if copied > MAX_COPIED {
                return Err(too_large("the JSON patch copies too much".to_owned()));
            }
        }
        json_patch::patch(&mut result, std::slice::from_ref(operation)).map_err(|error| {
            // Each operation is applied alone, so to the library it is always the first.
            let which = format!("operation '/{index}'");
            unprocessable(&error.to_string().replacen("operation '/0'", &which, 1))
        })?;
    }
    Ok(result)
}

/// Applies a strategic merge patch: lists with a merge key merge element by element, and the
/// directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/F` and `$setElementOrder/F` steer.
///
/// # Errors
///
/// 400 for a patch that is no object, for a malformed directive and for a list element without its
/// merge key.
///
/// Departs: upstream answers 500 for the last; it is the client's error.
pub fn strategic(ty: TypeId, original: &Value, patch: &Value) -> Result<Value, ApiError> {
    strategic::apply(ty, original, patch).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn too_large(message: String) -> ApiError {
    ApiError::new(413, "RequestEntityTooLarge", message)
}

fn unprocessable(why: &str) -> ApiError {
    let message = "the server rejected our request due to an error in our request";
    let mut error = ApiError::new(422, "Invalid", message);
    // kubectl prints causes as "field: message".
    let cause = json!({"reason": "UnexpectedServerResponse", "message": why, "field": "patch"});
    error.details = json!({"causes": [cause]});
    error
}
