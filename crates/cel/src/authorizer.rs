//! `authorizer`: what the requester may do, asked from within an expression.

use crate::types::OpaqueType;

/// Decides what somebody may do. Answers at once.
pub trait Authorizer: std::fmt::Debug + Sync {
    /// Whether the requester, or the named service account, may do this.
    fn decide(&self, question: &Question) -> Decision;
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// `(namespace, name)` of the service account it is about; `None` for the requester.
    pub account: Option<(String, String)>,
    /// A path that is no resource; empty for resources.
    pub path: String,
    /// API group.
    pub group: String,
    /// Plural.
    pub resource: String,
    /// Subresource or empty.
    pub subresource: String,
    /// Namespace or empty.
    pub namespace: String,
    /// Name or empty.
    pub name: String,
    /// Field selector or empty.
    pub field_selector: String,
    /// Label selector or empty.
    pub label_selector: String,
    /// `get`, `create` …
    pub verb: String,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong while deciding; empty for nothing.
    pub error: String,
}

/// A question being put together.
#[derive(Debug, Clone)]
pub struct Check<'a> {
    pub(crate) authorizer: &'a dyn Authorizer,
    pub(crate) question: Question,
    pub(crate) stage: Stage,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `authorizer.serviceAccount(…)`.
    Account,
    /// `authorizer.path(…)`.
    Path,
    /// `authorizer.group(…)`.
    Group,
    /// `authorizer.group(…).resource(…)`.
    Resource,
}

impl<'a> Check<'a> {
    /// A complete question about a resource, to which only the verb is missing.
    pub fn resource(authorizer: &'a dyn Authorizer, question: Question) -> Self {
        Self {
            authorizer,
            question,
            stage: Stage::Resource,
        }
    }

    pub(crate) fn kind(&self) -> OpaqueType {
        match self.stage {
            Stage::Account => OpaqueType::Authorizer,
            Stage::Path => OpaqueType::PathCheck,
            Stage::Group => OpaqueType::GroupCheck,
            Stage::Resource => OpaqueType::ResourceCheck,
        }
    }
}
