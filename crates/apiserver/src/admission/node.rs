//! Nodes: TaintNodesByCondition and PodTopologyLabels.

use super::{Operation, Request};
use crate::resource::patch::Part;
use crate::resource::present::parse;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};

/// Labels of a node that its pods get.
const TOPOLOGY: [&str; 2] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Taints a new node: it takes no pods before it is ready.
#[expect(clippy::unnecessary_wraps, reason = "one signature for every step")]
pub(super) fn taint_unready(
    request: &Request<'_>,
    node: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if !request.is_core("Node") || old.is_some() || request.part != Part::Main {
        return Ok(());
    }
    let key = "node.kubernetes.io/not-ready";
    let taints = meta::list(node, &["spec", "taints"]);
    if taints.iter().any(|t| meta::text(t, &["key"]) == key) {
        return Ok(());
    }
    let mut taints = taints.to_vec();
    taints.push(json!({"key": key, "effect": "NoSchedule"}));
    meta::object_mut(node, &["spec"]).insert("taints".into(), taints.into());
    Ok(())
}

/// Tells a pod the zone and the region of the node it is bound to.
pub(super) fn label_topology(
    request: &Request<'_>,
    pod: &mut Value,
    _: Option<&Value>,
) -> Result<(), ApiError> {
    let binds = request.part == Part::Placement && request.operation == Operation::Update;
    if !request.is_core("Pod") || !binds {
        return Ok(());
    }
    let name = meta::text(pod, &["spec", "nodeName"]);
    let Some(entry) = request.writer.server.find("", "nodes", ("", name)) else {
        return Ok(());
    };
    let labelled = |key: &&str| entry.index.labels.iter().any(|(known, _)| &**known == *key);
    if !TOPOLOGY.iter().any(labelled) {
        return Ok(());
    }
    let node = parse(&entry.json)?;
    for key in TOPOLOGY {
        if let Some(value) = meta::at(&node, &["metadata", "labels", key]) {
            meta::object_mut(pod, &["metadata", "labels"]).insert(key.into(), value.clone());
        }
    }
    Ok(())
}
