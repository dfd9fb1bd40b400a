//! What of a pod matters for the load.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A pod that takes requests.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) node: String,
    pub(crate) container: String,
    /// Millicores it may use at most.
    pub(crate) limit: f64,
    /// Millicores it has requested.
    pub(crate) request: f64,
    pub(crate) is_ready: bool,
    /// Work waiting.
    pub(crate) backlog: f64,
    /// Work done and not yet told to the runtime.
    pub(crate) untold: f64,
    pub(crate) told: Timestamp,
}

impl Server {
    /// As the pod's first container has it; none without containers.
    pub(crate) fn of(pod: &Pod, node_milli: f64, now: Timestamp) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let container = spec.containers.first()?;
        let resources = container.resources.as_ref();
        let requests = resources.and_then(|r| r.requests.as_ref());
        let limits = resources.and_then(|r| r.limits.as_ref());
        let limit = milli(limits.and_then(|l| l.get("cpu"))).filter(|limit| *limit > 0.0);
        let request = milli(requests.and_then(|r| r.get("cpu"))).or(limit);
        Some(Self {
            node: spec.node_name.clone().unwrap_or_default(),
            container: container.name.clone(),
            limit: limit.unwrap_or(node_milli).min(node_milli),
            request: request.unwrap_or_default(),
            is_ready: is_ready(pod),
            backlog: 0.0,
            untold: 0.0,
            told: now,
        })
    }
}

fn milli(quantity: Option<&Quantity>) -> Option<f64> {
    let parsed: plimsoll_quantity::Quantity = quantity?.0.parse().ok()?;
    Some(parsed.as_f64() * 1000.0)
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status
        .and_then(|s| s.conditions.as_ref())
        .into_iter()
        .flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}
