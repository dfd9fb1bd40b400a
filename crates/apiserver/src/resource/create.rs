//! POST.

use super::write::Writer;
use super::{decode, idle};
use crate::call::Call;
use crate::http::respond::Response;
use plimsoll_api::status::ApiError;

/// Creates an object.
pub(crate) async fn create(call: &Call) -> Result<Response, ApiError> {
    if call.kind.namespaced && call.path.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let run = call.run()?;
    let object = decode::object(call)?;
    let written = Writer::of(call, run)
        .create(call.namespace(), object)
        .await?;
    call.warn(idle::warning(&call.kind).into_iter().collect());
    call.object(201, &written)
}
