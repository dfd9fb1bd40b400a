//! What is known of the cluster when the checks begin. Everything here was read; nothing asks.

use crate::install::rights::Rule;
use crate::run::builtin::Verdict;
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::BTreeMap;

/// What was read, or why it could not be.
pub(super) type Answer<T> = Result<T, String>;

/// Everything that was read.
#[derive(Debug)]
pub(super) struct Facts {
    /// `1.36`, as the server says: major, minor, and the whole version.
    pub(super) version: Answer<(u32, u32, String)>,
    /// Versions of each API group, by the group's name.
    pub(super) groups: BTreeMap<String, Vec<String>>,
    /// By how much the server's clock is ahead of ours.
    pub(super) skew: Option<SignedDuration>,
    /// Whether the server can vouch for users to other API servers.
    pub(super) aggregation: Answer<bool>,
    /// What the user may not do, of what installing takes.
    pub(super) missing_rights: Answer<Vec<MissingRight>>,
    /// APIServices by name.
    pub(super) api_services: Answer<BTreeMap<String, ApiService>>,
    /// Whether another controller obeys HorizontalPodAutoscalers.
    pub(super) builtin: Verdict,
    /// Deployments, StatefulSets and ReplicaSets that nobody owns.
    pub(super) workloads: Answer<Vec<Workload>>,
    /// HorizontalPodAutoscalers.
    pub(super) autoscalers: Answer<Vec<Value>>,
    /// Nodes, and whether their kubelets answer through the API server.
    pub(super) kubelets: Answer<Vec<(String, Answer<()>)>>,
    /// Labels of the namespace to install into; `None` if it is not there yet.
    pub(super) namespace: Answer<Option<BTreeMap<String, String>>>,
}

/// Something the user may not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MissingRight {
    /// What for.
    pub(super) rule: Rule,
    /// The verb.
    pub(super) verb: String,
    /// `GROUP/RESOURCE`.
    pub(super) resource: String,
}

/// Who serves a group's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiService {
    /// `NAMESPACE/NAME` of the Service; `None` if the API server serves it itself.
    pub(super) service: Option<String>,
    /// Whether it answers; else why not.
    pub(super) available: Answer<()>,
}

/// A workload that can be scaled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Workload {
    /// `Deployment`.
    pub(super) kind: &'static str,
    /// Namespace.
    pub(super) namespace: String,
    /// Name.
    pub(super) name: String,
    /// `spec.selector`.
    pub(super) selector: Value,
    /// `spec.template`.
    pub(super) template: Value,
}
