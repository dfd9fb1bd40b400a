//! `CapacityBuffer` of `autoscaling.x-k8s.io/v1beta1`: room for pods that are not there yet
//! (reference/cluster-autoscaler.md §14).
//!
//! The kind is upstream's. Its definition is created by `up` where buffers are looked at, and
//! printed by `install` with node autoscaling.

use serde_json::{Value, json};

/// API group.
pub const GROUP: &str = "autoscaling.x-k8s.io";
/// The version served here.
pub const VERSION: &str = "v1beta1";
/// `autoscaling.x-k8s.io/v1beta1`.
pub const API_VERSION: &str = "autoscaling.x-k8s.io/v1beta1";
/// The kind.
pub const KIND: &str = "CapacityBuffer";
/// The resource.
pub const PLURAL: &str = "capacitybuffers";
/// The one strategy there is: nodes that run.
pub const ACTIVE_CAPACITY: &str = "buffer.x-k8s.io/active-capacity";

/// The CustomResourceDefinition, ready to be created or printed.
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{PLURAL}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "plural": PLURAL,
                "singular": "capacitybuffer",
                "kind": KIND,
                "listKind": "CapacityBufferList",
                "shortNames": ["cb"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "Room that is held for pods which are not there yet.",
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "spec": spec(),
                        "status": status(),
                    },
                    "required": ["spec"],
                }},
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(),
            }],
        },
    })
}

fn columns() -> Value {
    let condition = |kind: &str| format!(".status.conditions[?(@.type==\"{kind}\")].status");
    json!([
        {"name": "Replicas", "type": "integer", "jsonPath": ".status.replicas",
         "description": "For how many pods room is held."},
        {"name": "Ready", "type": "string", "jsonPath": condition("ReadyForProvisioning"),
         "description": "Whether it is known what room is wanted."},
        {"name": "Provisioning", "type": "string", "jsonPath": condition("Provisioning"),
         "description": "Whether nodes are kept and added for it."},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ])
}

fn name(description: &str) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 253, "description": description})
}

fn count(description: &str) -> Value {
    json!({"type": "integer", "format": "int32", "minimum": 0, "description": description})
}

fn quantities(description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": true,
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        },
    })
}

fn template_ref(description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "properties": {"name": name("Its name.")},
        "required": ["name"],
    })
}

fn spec() -> Value {
    json!({
        "type": "object",
        "description": "What room is wanted.",
        "properties": {
            "provisioningStrategy": {
                "type": "string",
                "default": ACTIVE_CAPACITY,
                "description": "How room is held; buffers of another strategy are left alone.",
            },
            "podTemplateRef": template_ref("The PodTemplate that says what the pods are like."),
            "scalableRef": {
                "type": "object",
                "description": "The workload whose pods room is held for.",
                "properties": {
                    "apiGroup": {"type": "string", "maxLength": 253,
                                 "description": "Its API group; empty for core."},
                    "kind": name("Its kind."),
                    "name": name("Its name."),
                },
                "required": ["kind", "name"],
            },
            "replicas": count("For how many pods, at least."),
            "percentage": count("For how many pods: so many percent of the workload's, rounded up."),
            "limits": quantities("What all these pods may ask for at most."),
        },
        "x-kubernetes-validations": [
            {"rule": "has(self.podTemplateRef) != has(self.scalableRef)",
             "message": "exactly one of podTemplateRef and scalableRef must be set"},
            {"rule": "!has(self.percentage) || has(self.scalableRef)",
             "message": "percentage needs a scalableRef"},
            {"rule": "has(self.replicas) || has(self.percentage) || has(self.limits)",
             "message": "at least one of replicas, percentage and limits must be set"},
        ],
    })
}

fn status() -> Value {
    let word = json!({"type": "string"});
    json!({
        "type": "object",
        "description": "What has come of it.",
        "properties": {
            "provisioningStrategy": word,
            "podTemplateRef": template_ref("The PodTemplate that was read."),
            "podTemplateGeneration": {"type": "integer", "format": "int64"},
            "replicas": count("For how many pods room is held."),
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "properties": {
                        "type": word,
                        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                        "reason": word,
                        "message": word,
                        "observedGeneration": {"type": "integer", "format": "int64"},
                        "lastTransitionTime": {"type": "string", "format": "date-time"},
                    },
                    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                },
            },
        },
    })
}
