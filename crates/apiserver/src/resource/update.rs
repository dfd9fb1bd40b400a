//! PUT.

use super::decode;
use super::patch::Part;
use super::write::Writer;
use crate::call::Call;
use crate::http::respond::Response;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;

/// Replaces an object, or creates it where the kind allows that.
pub(crate) async fn update(call: &Call) -> Result<Response, ApiError> {
    let run = call.run()?;
    let object = decode::object(call)?;
    named(&object, call)?;
    let writer = Writer::of(call, run);
    let exists = call.server.store().get(&call.key()).is_some();
    if !exists && call.kind.create_on_update {
        let written = writer.create(call.namespace(), object).await?;
        return call.object(201, &written);
    }
    let object = writer.stored_form(object);
    let written = writer
        .update(&call.key(), Part::Main, &|_| Ok(object.clone()))
        .await?;
    call.object(200, &written)
}

/// The body must name the object that the path names.
pub(crate) fn named(object: &serde_json::Value, call: &Call) -> Result<(), ApiError> {
    agrees(object, call)?;
    if meta::name(object).is_empty() {
        return Err(ApiError::bad_request("the name of the object must be set"));
    }
    Ok(())
}

/// Whatever the body says of the object's name and namespace must be what the path says.
pub(crate) fn agrees(object: &serde_json::Value, call: &Call) -> Result<(), ApiError> {
    let name = meta::name(object);
    if name != call.name() && !name.is_empty() {
        let path = call.name();
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({path})"
        )));
    }
    let namespace = meta::namespace(object);
    if !namespace.is_empty() && namespace != call.namespace() {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}
