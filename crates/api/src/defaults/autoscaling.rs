//! Horizontal pod autoscalers, `autoscaling/v2`.

use super::{Fields, child, ensure, is_set, set, set_text};
use crate::meta;
use serde_json::{Value, json};

/// The autoscaler itself: its spec, and the shape its status always has.
pub(super) fn horizontal(object: &mut Value) {
    autoscaler(object);
    status(object);
}

/// Parity: `currentMetrics` and `desiredReplicas` are always written, `currentReplicas` not as zero.
fn status(object: &mut Value) {
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    status.entry("currentMetrics").or_insert(Value::Null);
    status.entry("desiredReplicas").or_insert_with(|| 0.into());
    if status.get("currentReplicas").and_then(Value::as_i64) == Some(0) {
        status.shift_remove("currentReplicas");
    }
}

/// The same for an object served as `v1`; the v1 form itself has nothing to fill in.
///
/// Parity: what v1 says of a behavior is validated before it is filled in, so a direction without
/// policies stays without (and is refused).
pub(super) fn stored_autoscaler(object: &mut Value) {
    if meta::text(object, &["apiVersion"]) != "autoscaling/v2" {
        return;
    }
    let bare = ["scaleUp", "scaleDown"].map(|direction| {
        let rules = meta::at(object, &["spec", "behavior", direction]);
        let rules = rules.and_then(Value::as_object);
        rules.is_some_and(|rules| !is_set(rules, "policies"))
    });
    horizontal(object);
    for (direction, bare) in ["scaleUp", "scaleDown"].into_iter().zip(bare) {
        let rules = object.pointer_mut(&format!("/spec/behavior/{direction}"));
        if let Some(rules) = rules.and_then(Value::as_object_mut).filter(|_| bare) {
            rules.shift_remove("policies");
        }
    }
}

pub(crate) fn autoscaler(object: &mut Value) {
    let spec = meta::object_mut(object, &["spec"]);
    set(spec, "minReplicas", 1);
    if !is_set(spec, "metrics") {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".into(), json!([cpu]));
    }
    // No behavior and an empty one are different controllers: only the second is filled in.
    if let Some(behavior) = child(spec, "behavior") {
        let up = ensure(behavior, "scaleUp");
        set(up, "stabilizationWindowSeconds", 0);
        rules(
            up,
            &json!([
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ]),
        );
        let down = ensure(behavior, "scaleDown");
        rules(
            down,
            &json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
    }
}

/// An explicit empty list of policies stays (and is refused later); an absent one is filled.
fn rules(rules: &mut Fields, policies: &Value) {
    set_text(rules, "selectPolicy", "Max");
    set(rules, "policies", policies.clone());
}
