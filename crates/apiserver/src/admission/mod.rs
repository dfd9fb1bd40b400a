//! What every write is asked after it has been understood and before it is validated.

pub(crate) mod account;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod service;

use crate::auth::rbac::escalation;
use crate::resource::patch::Part;
use crate::resource::write::Writer;
use plimsoll_api::status::ApiError;
use serde_json::Value;

/// What is about to happen to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It comes into being.
    Create,
    /// It changes.
    Update,
    /// It goes, or is marked to go.
    Delete,
}

/// A write, as admission sees it. Who asks is `writer.identity`, dry runs are `writer.run`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) writer: &'a Writer<'a>,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) part: Part,
    #[expect(dead_code, reason = "read by webhooks and policies")]
    pub(crate) operation: Operation,
}

impl Request<'_> {
    /// Whether the object is this core kind.
    pub(crate) fn is_core(&self, kind: &str) -> bool {
        self.writer.kind.group.is_empty() && self.writer.kind.kind == kind
    }

    /// 403 about the object.
    pub(crate) fn forbidden(&self, why: &str) -> ApiError {
        let kind = &self.writer.kind;
        ApiError::forbidden(&kind.group, &kind.plural, self.name, why)
    }
}

/// One step: may change the object, may refuse it. `old` is absent on create.
type Plugin = fn(&Request<'_>, &mut Value, Option<&Value>) -> Result<(), ApiError>;

/// The built-in steps that may change an object, in upstream's order.
const MUTATING: &[Plugin] = &[
    namespace::must_accept,
    account::inject,
    node::taint_unready,
    pod::set_priority,
    pod::tolerate_outages,
];

/// Runs the steps that may change an object: the built-in ones, then policies and webhooks.
pub(crate) async fn mutate(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    MUTATING
        .iter()
        .try_for_each(|plugin| plugin(request, object, old))?;
    std::future::ready(Ok(())).await
}

/// Runs the steps that only agree or refuse, on an object that is valid: policies, webhooks, and
/// the quota last.
pub(crate) async fn validate(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    escalation::check(request, object, old)?;
    std::future::ready(Ok(())).await
}

/// Whether an object may be deleted at all.
pub(crate) async fn delete(request: &Request<'_>, _: &Value) -> Result<(), ApiError> {
    namespace::may_be_deleted(request.writer.kind, request.name)?;
    std::future::ready(Ok(())).await
}
