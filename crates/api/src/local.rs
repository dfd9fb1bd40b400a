//! API groups that parts of this program serve themselves (metrics, explanations) instead of the
//! store. The API server puts them into discovery and routes to them, as it would to an aggregated
//! API server.

use crate::kind::Column;
use crate::status::ApiError;
use async_trait::async_trait;
use serde_json::Value;

/// One read-only resource of a local group.
#[derive(Debug, Clone)]
pub struct LocalResource {
    /// `pods`.
    pub plural: &'static str,
    /// Often empty, as for `metrics.k8s.io`.
    pub singular: &'static str,
    /// `PodMetrics`.
    pub kind: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Served verbs (`get`, `list`).
    pub verbs: &'static [&'static str],
    /// Columns for `kubectl get`.
    pub columns: Vec<Column>,
    /// One cell a column.
    pub cells: fn(object: &Value, now: jiff::Timestamp) -> Vec<Value>,
}

/// A resource whose name is known only at run time, as a metric's is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenResource {
    /// `pods/http_requests`, `deployments.apps/queue_length` or, without an object, `queue_length`.
    pub name: String,
    /// Whether it is read in a namespace.
    pub namespaced: bool,
    /// What a read answers, e.g. `MetricValueList`.
    pub kind: &'static str,
}

/// A read of a local resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalRequest {
    /// Plural of the resource.
    pub resource: String,
    /// Namespace, unless cluster-scoped or across all.
    pub namespace: Option<String>,
    /// Name for `get`; `None` for `list`.
    pub name: Option<String>,
    /// What stands behind the name; only groups with [open paths](LocalGroup::is_open) get it.
    pub subresource: Option<String>,
    /// `labelSelector` as sent.
    pub label_selector: String,
    /// `fieldSelector` as sent.
    pub field_selector: String,
    /// `metricLabelSelector` as sent.
    pub metric_label_selector: String,
    /// All parameters as sent, decoded, for those that only one group knows.
    pub parameters: Vec<(String, String)>,
}

impl LocalRequest {
    /// The first value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A group version served in process.
#[async_trait]
pub trait LocalGroup: Send + Sync + std::fmt::Debug {
    /// API group, e.g. `metrics.k8s.io`.
    fn group(&self) -> &'static str;
    /// Version, e.g. `v1beta1`.
    fn version(&self) -> &'static str;
    /// What it serves.
    fn resources(&self) -> Vec<LocalResource>;
    /// Whether every path below the version is the group's to answer, with subresources and
    /// wildcards, instead of only the paths of [`LocalGroup::resources`].
    fn is_open(&self) -> bool {
        false
    }
    /// What a group with open paths has to offer now, for discovery.
    fn open_resources(&self) -> Vec<OpenResource> {
        Vec::new()
    }
    /// Answers a `get` with an object and a `list` with a List object.
    async fn read(&self, request: LocalRequest) -> Result<Value, ApiError>;
}
