//! CustomResourceDefinitions at work: each write of one is followed by a reconciliation that
//! settles its names, serves its kinds and sees its deletion through. Nothing polls.
//!
//! A definition is served before its status says `Established`, so whoever waits for that
//! condition finds the resource in place.

pub(crate) mod convert;
mod registry;
mod removal;
pub(crate) mod rules;
mod settle;

pub(crate) use registry::Registry;
pub(crate) use settle::{load, observe, resume};

use crate::server::ApiServer;
use crate::store::Key;
use plimsoll_api::kind::Kind;
use plimsoll_api::status::ApiError;

/// Where definitions are stored.
const STORAGE: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// Whether a kind is that of definitions.
pub(crate) fn is_definition(kind: &Kind) -> bool {
    kind.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

/// Reacts to a write: does nothing unless a definition was written. Returns once the change is in
/// force, even if that takes a second write of the definition's status.
pub(crate) async fn written(server: &ApiServer, kind: &Kind, name: &str) {
    if is_definition(kind) {
        observe(server, name).await;
    }
}

/// 405 for a new object of a definition that is being deleted.
pub(crate) fn accepts_new(kind: &Kind) -> Result<(), ApiError> {
    if kind
        .custom
        .as_ref()
        .is_some_and(|custom| custom.terminating)
    {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::new(405, "MethodNotAllowed", why).about(
            &kind.group,
            &kind.plural,
            "",
        ));
    }
    Ok(())
}

fn key(name: &str) -> Key {
    Key {
        resource: STORAGE.into(),
        namespace: "".into(),
        name: name.into(),
    }
}
