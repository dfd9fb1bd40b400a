//! The generic path of every kind.

pub(crate) mod apply;
pub(crate) mod create;
pub(crate) mod decode;
pub(crate) mod delete;
pub(crate) mod delete_options;
pub(crate) mod encode;
pub(crate) mod feed;
pub(crate) mod filter;
pub(crate) mod idle;
pub(crate) mod managers;
pub(crate) mod metadata;
pub(crate) mod options;
pub(crate) mod own;
pub(crate) mod paging;
pub(crate) mod patch;
pub(crate) mod present;
pub(crate) mod read;
pub(crate) mod subresource;
pub(crate) mod update;
pub(crate) mod watch;
pub(crate) mod write;

use crate::call::Call;
use crate::http::negotiate::{self, Offer, Shape};
use crate::http::respond::Response;
use crate::reviews;
use plimsoll_api::status::ApiError;

/// Hands a request to the handler of its verb.
pub(crate) async fn serve(call: &Call) -> Result<Response, ApiError> {
    let deprecation = call
        .kind
        .custom
        .as_ref()
        .and_then(|c| c.deprecation.clone())
        .or_else(|| idle::deprecation(&call.kind));
    call.warn(deprecation.into_iter().collect());
    if matches!(call.verb, "create" | "update" | "patch") {
        managers::check_options(call, patch::is_apply(call))?;
    }
    if call.path.subresource.is_some() {
        return subresource::serve(call).await;
    }
    if !call.kind.allows(call.verb) {
        return Err(ApiError::method_not_allowed());
    }
    if matches!(call.verb, "create") {
        if call.path.name.is_some() {
            return Err(ApiError::method_not_allowed());
        }
        if reviews::is_review(&call.kind) {
            if !matches!(call.wanted.shape, Shape::Object) {
                // A question has no metadata and no columns.
                return Err(negotiate::not_acceptable(Offer::BuiltIn));
            }
            return reviews::create(call);
        }
        if call.kind.is("", "Binding") {
            return subresource::binding::create(call).await;
        }
    }
    match call.verb {
        "get" => read::get(call).await,
        "list" => read::list(call).await,
        "watch" => watch::open(call).await,
        "create" => create::create(call).await,
        "update" if call.path.name.is_some() => update::update(call).await,
        "patch" if call.path.name.is_some() => patch::patch(call, patch::Part::Main).await,
        "delete" => delete::delete(call).await,
        "deletecollection" => delete::collection(call).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}
