//! TaintNodesByCondition: a new node takes no pods before it is ready.

use super::Request;
use crate::resource::patch::Part;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};

/// Taints a new node.
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
