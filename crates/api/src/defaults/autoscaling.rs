//! Horizontal pod autoscalers, `autoscaling/v2`.

use super::{Fields, child, ensure, is_set, set, set_text};
use crate::meta;
use serde_json::{Value, json};

/// The same for an object served as `v1`; the v1 form itself has nothing to fill in.
pub(super) fn stored_autoscaler(object: &mut Value) {
    if meta::text(object, &["apiVersion"]) == "autoscaling/v2" {
        autoscaler(object);
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
