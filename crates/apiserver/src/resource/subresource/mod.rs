//! Subresources.

pub(crate) mod binding;
mod connect;
mod eviction;
mod finalize;
mod resize;
mod scale;
mod token;

use super::decode;
use super::patch::{self, Part};
use super::update::named;
use super::write::Writer;
use crate::call::Call;
use crate::http::respond::Response;
use crate::streams;
use plimsoll_api::status::ApiError;

/// Hands a request to its subresource. The kind has it: the dispatcher checked.
pub(super) async fn serve(call: &Call) -> Result<Response, ApiError> {
    let name = call.path.subresource.as_deref().unwrap_or_default();
    let known = call
        .kind
        .subresource(name)
        .ok_or_else(ApiError::no_such_resource)?;
    let asks = name == "proxy" && call.verb == "options";
    if !known.verbs.contains(&call.verb) && !asks {
        return Err(ApiError::method_not_allowed());
    }
    connect::admit(call, name).await?;
    match (name, call.verb) {
        ("log", _) => streams::log::read(call).await,
        ("exec", _) => streams::exec::open(call, streams::exec::Purpose::Exec),
        ("attach", _) => streams::exec::open(call, streams::exec::Purpose::Attach),
        ("portforward", _) => streams::portforward::open(call),
        ("proxy", _) => streams::proxy::serve(call).await,
        ("scale", verb) => scale::serve(call, verb).await,
        ("binding", _) => binding::create(call).await,
        ("eviction", _) => eviction::create(call).await,
        ("token", _) => token::create(call).await,
        ("finalize", _) => finalize::update(call).await,
        (_, "get") => super::read::get(call).await,
        ("status" | "approval", "update") => replace_status(call).await,
        ("status" | "approval", "patch") => patch::patch(call, Part::Status).await,
        ("resize", verb) => resize::serve(call, verb, resize::Part::Resources).await,
        ("ephemeralcontainers", verb) => resize::serve(call, verb, resize::Part::Ephemeral).await,
        (other, _) => Err(ApiError::not_yet(&format!("the {other} subresource"))),
    }
}

async fn replace_status(call: &Call) -> Result<Response, ApiError> {
    let object = decode::object(call)?;
    named(&object, call)?;
    let writer = Writer::of(call, call.run()?);
    let object = writer.stored_form(object);
    let written = writer
        .update(&call.key(), Part::Status, &|_| Ok(object.clone()))
        .await?;
    call.object(200, &written)
}
