//! `PodAutoscaler` of `plimsoll.dev/v1alpha1`: an autoscaler with the spec and status of a
//! `HorizontalPodAutoscaler`, plus schedules and a sync period of its own.
//!
//! It is for clusters whose built-in controller cannot be switched off: that one leaves this kind
//! alone. The one home of its definition is [`definition`]; the API server of `up` creates it at
//! start and `install` prints it.

mod metrics;
mod schema;
mod status;

use crate::definition::{Frame, Scope, age, column};
use crate::{convert, defaults, meta, print};
use serde_json::{Map, Value, json};

/// API group.
pub const GROUP: &str = "plimsoll.dev";
/// The only version.
pub const VERSION: &str = "v1alpha1";
/// `plimsoll.dev/v1alpha1`.
pub const API_VERSION: &str = "plimsoll.dev/v1alpha1";
/// The kind.
pub const KIND: &str = "PodAutoscaler";
/// The resource.
pub const PLURAL: &str = "podautoscalers";
/// The annotation of a `HorizontalPodAutoscaler` that means what `spec.syncPeriod` means here.
pub const SYNC_PERIOD_ANNOTATION: &str = "plimsoll.dev/sync-period";

const FRAME: Frame = Frame {
    group: GROUP,
    versions: &[VERSION],
    kind: KIND,
    plural: PLURAL,
    short_names: &["pa"],
    categories: &["all", "plimsoll"],
    scope: Scope::Namespaced,
};

/// The CustomResourceDefinition, ready to be created or printed.
pub fn definition() -> Value {
    let described = "Scales a workload by what its pods use, by metrics and by the time of day. Like \
                     a HorizontalPodAutoscaler, for clusters whose built-in controller of those \
                     cannot be switched off.";
    FRAME.definition(described, schema::spec(), status::status(), columns())
}

/// The columns of `kubectl get`, as of a `HorizontalPodAutoscaler`. Text that no JSONPath can put
/// together is in the status.
fn columns() -> Vec<Value> {
    let targets = "Each metric: what it is now / what it should be.";
    let replicas = "How many replicas there are.";
    vec![
        column(
            "Reference",
            "string",
            ".status.reference",
            "What is scaled.",
        ),
        column("Targets", "string", ".status.targets", targets),
        column(
            "MinPods",
            "integer",
            ".spec.minReplicas",
            "The lower bound.",
        ),
        column(
            "MaxPods",
            "integer",
            ".spec.maxReplicas",
            "The upper bound.",
        ),
        column("Replicas", "integer", ".status.currentReplicas", replicas),
        age(),
    ]
}

/// Fills in what the definition's defaults cannot: as for a `HorizontalPodAutoscaler`.
pub fn complete(object: &mut Value) {
    defaults::autoscaler(object);
}

/// The texts `reference` and `targets` of the status, as `kubectl get hpa` would show them.
pub fn shown(spec: &Value, status: &Value) -> (String, String) {
    let object = json!({"spec": spec, "status": status});
    (
        print::autoscaler_reference(&object),
        print::autoscaler_targets(&object),
    )
}

/// Metadata that a converted object keeps.
const KEPT: [&str; 4] = ["name", "namespace", "labels", "annotations"];
/// An annotation that describes the object it was converted from.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The `PodAutoscaler` that does what a `HorizontalPodAutoscaler` (`autoscaling/v2` or `v1`) does;
/// `None` for any other object. Its sync-period annotation becomes the field.
pub fn from_horizontal(object: &Value) -> Option<Value> {
    if meta::text(object, &["kind"]) != "HorizontalPodAutoscaler" {
        return None;
    }
    let mut source = match meta::text(object, &["apiVersion"]) {
        "autoscaling/v1" => (convert::AUTOSCALER.to_stored)(object.clone()),
        "autoscaling/v2" => object.clone(),
        _ => return None,
    };
    let mut metadata = Map::new();
    for key in KEPT {
        if let Some(value) = meta::at(&source, &["metadata", key]) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let mut spec = meta::object_mut(&mut source, &["spec"]).clone();
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.shift_remove(LAST_APPLIED);
        if let Some(period) = annotations.shift_remove(SYNC_PERIOD_ANNOTATION) {
            spec.insert("syncPeriod".to_owned(), period);
        }
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
    Some(json!({
        "apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec,
    }))
}

#[cfg(test)]
mod tests {
    use super::from_horizontal;
    use serde_json::json;

    #[test]
    fn a_v1_autoscaler_becomes_a_pod_autoscaler() {
        let hpa = json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "labels": {"team": "a"},
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                    "plimsoll.dev/sync-period": "5s",
                },
            },
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 2, "maxReplicas": 5, "targetCPUUtilizationPercentage": 60,
            },
            "status": {"currentReplicas": 2, "desiredReplicas": 2},
        });
        let converted = from_horizontal(&hpa).unwrap();
        let target = json!({"type": "Utilization", "averageUtilization": 60});
        assert_eq!(
            converted,
            json!({
                "apiVersion": "plimsoll.dev/v1alpha1", "kind": "PodAutoscaler",
                "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "a"}},
                "spec": {
                    "scaleTargetRef":
                        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                    "minReplicas": 2, "maxReplicas": 5, "syncPeriod": "5s",
                    "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
                },
            })
        );
        assert_eq!(from_horizontal(&json!({"kind": "Deployment"})), None);
    }
}
