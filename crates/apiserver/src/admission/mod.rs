//! What every write is asked after it has been understood and before it is validated.

pub(crate) mod account;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod service;

use crate::resource::patch::Part;
use crate::resource::write::Writer;
use plimsoll_api::kind::Kind;
use plimsoll_api::status::ApiError;
use serde_json::Value;

/// A write, as admission sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) writer: &'a Writer<'a>,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) part: Part,
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

/// The steps in upstream's order. Those that upstream has between them and this server does not
/// have yet: LimitRanger (after the namespace), PodSecurity (after the taints), the storage ones
/// (after the tolerations), policies and webhooks (at the end), ResourceQuota (last).
const PLUGINS: &[Plugin] = &[
    namespace::must_accept,
    account::inject,
    node::taint_unready,
    pod::set_priority,
    pod::tolerate_outages,
];

/// Runs every step.
pub(crate) fn admit(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    PLUGINS
        .iter()
        .try_for_each(|plugin| plugin(request, object, old))
}

/// Whether an object may be deleted at all.
pub(crate) fn admit_delete(kind: &Kind, name: &str) -> Result<(), ApiError> {
    namespace::may_be_deleted(kind, name)
}
