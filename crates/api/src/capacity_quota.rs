//! `CapacityQuota` of `autoscaling.x-k8s.io/v1beta1`: how much the nodes with certain labels may
//! come to (reference/cluster-autoscaler.md §14).
//!
//! The kind and its rules are upstream's, with columns for `kubectl get` besides. Its definition is
//! created by `up` where quotas are looked at, and printed by `install` with node autoscaling.

use crate::definition::schema::{conditions, object, quantities, rule, text, with, word};
use crate::definition::{Frame, Scope, age, column, condition_column};
use serde_json::{Value, json};

pub use crate::capacity_buffer::{API_VERSION, GROUP, VERSION};

/// The kind.
pub const KIND: &str = "CapacityQuota";
/// The resource.
pub const PLURAL: &str = "capacityquotas";
/// The condition that says whether it is in force.
pub const VALID: &str = "cluster-autoscaler.kubernetes.io/valid";
/// The condition that says whether `status.used` is what there is.
pub const RECONCILED: &str = "Reconciled";

/// What the value of a label is like.
const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
/// What the key of a label is like: a name, behind a domain or not.
const LABEL_KEY: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
    [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

const FRAME: Frame = Frame {
    group: GROUP,
    // Parity: objects written for the alpha are the same.
    versions: &[VERSION, "v1alpha1"],
    kind: KIND,
    plural: PLURAL,
    short_names: &["cq"],
    categories: &[],
    scope: Scope::Cluster,
};

/// The CustomResourceDefinition, ready to be created or printed.
pub fn definition() -> Value {
    let described = "A limit on what the nodes with certain labels come to together. No node is \
        added that would exceed it.";
    FRAME.definition(described, spec(), status(), columns())
}

fn columns() -> Vec<Value> {
    let used = |resource: &str| format!(".status.used.resources.{resource}");
    let limit = |resource: &str| format!(".spec.limits.resources.{resource}");
    let amount = |name: &str, path: &str, meaning: &str| column(name, "string", path, meaning);
    vec![
        amount("Nodes", &used("nodes"), "How many nodes there are."),
        amount("Max-Nodes", &limit("nodes"), "How many there may be."),
        amount("CPU", &used("cpu"), "How many cores they have."),
        amount("Max-CPU", &limit("cpu"), "How many they may have."),
        amount("Memory", &used("memory"), "How much memory they have."),
        amount("Max-Memory", &limit("memory"), "How much they may have."),
        condition_column("Valid", VALID, "Whether it is in force."),
        age(),
    ]
}

fn spec() -> Value {
    let resources = quantities(
        "How much at most, by resource: cpu, memory, nodes (how many), and extended resources such \
         as nvidia.com/gpu. Whole numbers, as 32Gi, 2k or 10; not 500m.",
    );
    let rules = [
        rule(
            "self.all(key, size(key) <= 63)",
            "Resource names must be 63 characters or less.",
        ),
        rule(
            "self.all(key, type(self[key]) == int ? self[key] >= 0 : \
             (!self[key].startsWith('-') && quantity(self[key]).isInteger()))",
            "All resource quantities must be non-negative integers.",
        ),
    ];
    let keywords = json!({"maxProperties": 20, "x-kubernetes-validations": rules});
    let limits = object(
        "The limits.",
        json!({"resources": with(resources, keywords)}),
        &["resources"],
        Vec::new(),
    );
    object(
        "What is limited.",
        json!({"selector": selector(), "limits": limits}),
        &["limits"],
        Vec::new(),
    )
}

/// The value of a label.
///
/// Departs: upstream asks CEL's `format`, which servers before 1.31 do not know: they would refuse
/// the whole definition.
fn label_value(description: &str) -> Value {
    with(text(description, 63), json!({"pattern": LABEL_VALUE}))
}

/// A label selector, checked when it is written but for the keys of `matchLabels`: no definition can
/// bound their length, so a rule about them may cost too much. They are checked when it is read.
fn selector() -> Value {
    let labels = json!({
        "description": "Labels with the value each must have.",
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": label_value("The value."),
    });
    let expressions = json!({
        "description": "Requirements that must all be met.",
        "type": "array",
        "maxItems": 16,
        "items": expression(),
        "x-kubernetes-list-type": "atomic",
    });
    let selector = object(
        "Which nodes count, by their labels. Without it, or empty: all nodes.",
        json!({"matchLabels": labels, "matchExpressions": expressions}),
        &[],
        Vec::new(),
    );
    with(selector, json!({"x-kubernetes-map-type": "atomic"}))
}

fn expression() -> Value {
    let operators = ["In", "NotIn", "Exists", "DoesNotExist"];
    object(
        "A requirement on one label.",
        json!({
            "key": with(text("The label.", 316), json!({"pattern": LABEL_KEY})),
            "operator": word("How it is compared.", &operators),
            "values": {
                "description": "What it is compared with; none for Exists and DoesNotExist.",
                "type": "array",
                "maxItems": 64,
                "items": label_value("A value."),
                "x-kubernetes-list-type": "atomic",
            },
        }),
        &["key", "operator"],
        vec![
            rule(
                "self.operator in ['In', 'NotIn'] ? \
                 (has(self.values) && size(self.values) > 0) : true",
                "values set must be non-empty when operator is In or NotIn",
            ),
            rule(
                "self.operator in ['Exists', 'DoesNotExist'] ? \
                 (!has(self.values) || size(self.values) == 0) : true",
                "values set must be empty when operator is Exists or DoesNotExist",
            ),
        ],
    )
}

fn status() -> Value {
    let used = object(
        "What there is.",
        json!({"resources": quantities("How much, by limited resource.")}),
        &["resources"],
        Vec::new(),
    );
    object(
        "What has come of it.",
        json!({
            "used": used,
            "conditions": conditions("Whether it is in force, and what is used is known."),
            "observedGeneration": {
                "description": "The generation of the spec that this is about.",
                "type": "integer", "format": "int64",
            },
        }),
        &[],
        Vec::new(),
    )
}

#[cfg(test)]
mod tests {
    use crate::{capacity_buffer, capacity_quota, pod_autoscaler, provisioning_request};

    /// Kubernetes 1.29 and 1.30 do not know that library of CEL, and refuse definitions that use it.
    #[test]
    fn definitions_are_understood_by_older_servers() {
        for definition in [
            capacity_buffer::definition(),
            capacity_quota::definition(),
            pod_autoscaler::definition(),
            provisioning_request::definition(),
        ] {
            let text = definition.to_string();
            assert!(!text.contains("format."), "{text}");
        }
    }
}
