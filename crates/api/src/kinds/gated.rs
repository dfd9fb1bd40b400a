//! What feature gates change of a kind's rules.

use super::rows::Row;
use crate::gates::{Feature, FeatureGates};
use crate::kind::Strategy;
use crate::{convert, meta, validation};
use serde_json::Value;

/// Where kinds keep a pod's spec.
const POD_SPECS: [(&str, &[&str]); 9] = [
    ("Pod", &["spec"]),
    ("PodTemplate", &["template", "spec"]),
    ("ReplicationController", &["spec", "template", "spec"]),
    ("DaemonSet", &["spec", "template", "spec"]),
    ("Deployment", &["spec", "template", "spec"]),
    ("ReplicaSet", &["spec", "template", "spec"]),
    ("StatefulSet", &["spec", "template", "spec"]),
    ("Job", &["spec", "template", "spec"]),
    (
        "CronJob",
        &["spec", "jobTemplate", "spec", "template", "spec"],
    ),
];

/// Adjusts the rules of a kind to the features that are on.
pub(super) fn apply(strategy: &mut Strategy, row: &Row, gates: FeatureGates) {
    if row.group == "autoscaling" {
        if gates.is_on(Feature::HpaScaleToZero) {
            strategy.validate = validation::autoscaler_to_zero(row.version);
        }
        if !gates.is_on(Feature::HpaConfigurableTolerance) {
            strategy.drop_disabled = tolerances;
        }
    }
    let no_resources = !gates.is_on(Feature::PodLevelResources);
    if pod_spec(row.kind).is_some() && no_resources {
        strategy.drop_disabled = pod_level_resources;
    }
    if row.kind == "StatefulSet" && !gates.is_on(Feature::MaxUnavailableStatefulSet) {
        strategy.drop_disabled = if no_resources {
            bound_and_resources
        } else {
            unavailable_bound
        };
    }
}

pub(super) fn nothing(_: &mut Value, _: Option<&Value>) {}

fn pod_spec(kind: &str) -> Option<&'static [&'static str]> {
    let mut kinds = POD_SPECS.iter();
    kinds.find(|(name, _)| *name == kind).map(|(_, path)| *path)
}

/// Drops the tolerances of an autoscaler unless the stored one has any.
fn tolerances(new: &mut Value, old: Option<&Value>) {
    if old.is_some_and(has_tolerance) || !has_tolerance(new) {
        return;
    }
    let was_v1 = meta::text(new, &["apiVersion"]) == "autoscaling/v1";
    if was_v1 {
        *new = (convert::AUTOSCALER.to_stored)(new.take());
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = new.pointer_mut(&format!("/spec/behavior/{direction}"));
        if let Some(rules) = rules.and_then(Value::as_object_mut) {
            rules.shift_remove("tolerance");
        }
    }
    if was_v1 {
        *new = (convert::AUTOSCALER.from_stored)(new.take());
    }
}

fn has_tolerance(hpa: &Value) -> bool {
    if meta::text(hpa, &["apiVersion"]) == "autoscaling/v1" {
        return has_tolerance(&(convert::AUTOSCALER.to_stored)(hpa.clone()));
    }
    ["scaleUp", "scaleDown"].iter().any(|direction| {
        let tolerance = meta::at(hpa, &["spec", "behavior", direction, "tolerance"]);
        tolerance.is_some_and(|tolerance| !tolerance.is_null())
    })
}

fn bound_and_resources(new: &mut Value, old: Option<&Value>) {
    unavailable_bound(new, old);
    pod_level_resources(new, old);
}

/// Drops how many pods of a StatefulSet may be unavailable unless the stored one says it.
fn unavailable_bound(new: &mut Value, old: Option<&Value>) {
    const ROLLING: [&str; 3] = ["spec", "updateStrategy", "rollingUpdate"];
    let used = |object: &Value| {
        let bound = meta::at(object, &ROLLING).and_then(|rolling| rolling.get("maxUnavailable"));
        bound.is_some_and(|bound| !bound.is_null())
    };
    if used(new) && !old.is_some_and(used) {
        meta::object_mut(new, &ROLLING).shift_remove("maxUnavailable");
    }
}

/// Drops the resources of whole pods unless the stored object has any.
fn pod_level_resources(new: &mut Value, old: Option<&Value>) {
    let Some(path) = pod_spec(meta::text(new, &["kind"])) else {
        return;
    };
    let used = |object: &Value| {
        let resources = meta::at(object, path).and_then(|spec| spec.get("resources"));
        resources.is_some_and(|resources| !resources.is_null())
    };
    if used(new) && !old.is_some_and(used) {
        meta::object_mut(new, path).shift_remove("resources");
    }
}

#[cfg(test)]
mod tests {
    use super::{bound_and_resources, pod_level_resources, tolerances, unavailable_bound};
    use crate::meta;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn hpa(behavior: &Value) -> Value {
        json!({ "apiVersion": "autoscaling/v2", "spec": { "behavior": behavior } })
    }

    #[test]
    fn a_tolerance_stays_only_where_one_is_stored() {
        let with = hpa(&json!({ "scaleUp": { "tolerance": "0.2" } }));
        let without = hpa(&json!({ "scaleUp": {} }));
        let mut new = with.clone();
        tolerances(&mut new, Some(&with));
        assert_eq!(new, with);
        tolerances(&mut new, Some(&without));
        assert_eq!(new, without);
    }

    #[test]
    fn a_bound_of_a_stateful_set_stays_only_where_one_is_stored() {
        let set = |rolling: Value| {
            json!({
                "kind": "StatefulSet", "spec": {
                    "updateStrategy": {"rollingUpdate": rolling},
                    "template": {"spec": {"resources": {}}},
                },
            })
        };
        let with = set(json!({"partition": 1, "maxUnavailable": 2}));
        let without = set(json!({"partition": 1}));
        let mut new = with.clone();
        unavailable_bound(&mut new, Some(&with));
        assert_eq!(new, with);
        unavailable_bound(&mut new, Some(&without));
        assert_eq!(new, without);
        bound_and_resources(&mut new, None);
        assert_eq!(
            meta::at(&new, &["spec", "template", "spec", "resources"]),
            None
        );
    }

    #[test]
    fn a_tolerance_in_the_annotation_of_v1_is_dropped_too() {
        let annotation = json!({ "ScaleUp": { "Tolerance": "0.2", "SelectPolicy": "Max" } });
        let key = "autoscaling.alpha.kubernetes.io/behavior";
        let mut new = json!({
            "apiVersion": "autoscaling/v1", "spec": {},
            "metadata": { "annotations": { key: annotation.to_string() } },
        });
        tolerances(&mut new, None);
        let text = new["metadata"]["annotations"][key].as_str().unwrap();
        let kept: Value = serde_json::from_str(text).unwrap();
        assert_eq!(kept["ScaleUp"]["Tolerance"], Value::Null);
        assert_eq!(kept["ScaleUp"]["SelectPolicy"], "Max");
    }

    #[rstest]
    #[case("Pod", "/spec")]
    #[case("Deployment", "/spec/template/spec")]
    #[case("CronJob", "/spec/jobTemplate/spec/template/spec")]
    fn resources_of_whole_pods_are_dropped(#[case] kind: &str, #[case] pointer: &str) {
        let mut object = json!({ "kind": kind });
        let keys: Vec<&str> = pointer.split('/').skip(1).collect();
        meta::object_mut(&mut object, &keys)
            .insert("resources".into(), json!({ "requests": { "cpu": "1" } }));
        let mut new = object.clone();
        pod_level_resources(&mut new, Some(&object));
        assert_eq!(new, object);
        pod_level_resources(&mut new, None);
        assert_eq!(new.pointer(pointer), Some(&json!({})));
    }
}
