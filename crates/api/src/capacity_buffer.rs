//! `CapacityBuffer` of `autoscaling.x-k8s.io/v1beta1`: room for pods that are not there yet
//! (reference/cluster-autoscaler.md §14).
//!
//! The kind is upstream's. Its definition is created by `up` where buffers are looked at, and
//! printed by `install` with node autoscaling.

use crate::definition::schema::{
    LONGEST_NAME, conditions, count, object, plain, quantities, rule, text, with,
};
use crate::definition::{Frame, Scope, age, column, condition_column};
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

const FRAME: Frame = Frame {
    group: GROUP,
    // Parity: objects written for the alpha are the same.
    versions: &[VERSION, "v1alpha1"],
    kind: KIND,
    plural: PLURAL,
    short_names: &["cb"],
    categories: &[],
    scope: Scope::Namespaced,
};

/// The CustomResourceDefinition, ready to be created or printed.
pub fn definition() -> Value {
    let described = "Room that is held for pods which are not there yet.";
    FRAME.definition(described, spec(), status(), columns())
}

fn columns() -> Vec<Value> {
    let replicas = "For how many pods room is held.";
    let ready = "Whether it is known what room is wanted.";
    let provisioning = "Whether nodes are kept and added for it.";
    vec![
        column("Replicas", "integer", ".status.replicas", replicas),
        condition_column("Ready", "ReadyForProvisioning", ready),
        condition_column("Provisioning", "Provisioning", provisioning),
        age(),
    ]
}

fn name(description: &str) -> Value {
    with(text(description, LONGEST_NAME), json!({"minLength": 1}))
}

fn template_ref(description: &str) -> Value {
    let properties = json!({"name": name("Its name.")});
    object(description, properties, &["name"], Vec::new())
}

fn spec() -> Value {
    let strategy = "How room is held; buffers of another strategy are left alone.";
    let percentage = "For how many pods: so many percent of the workload's, rounded up.";
    let workload = object(
        "The workload whose pods room is held for.",
        json!({
            "apiGroup": text("Its API group; empty for core.", LONGEST_NAME),
            "kind": name("Its kind."),
            "name": name("Its name."),
        }),
        &["kind", "name"],
        Vec::new(),
    );
    object(
        "What room is wanted.",
        json!({
            "provisioningStrategy": with(plain(strategy), json!({"default": ACTIVE_CAPACITY})),
            "podTemplateRef": template_ref("The PodTemplate that says what the pods are like."),
            "scalableRef": workload,
            "replicas": count("For how many pods, at least.", 0),
            "percentage": count(percentage, 0),
            "limits": quantities("What all these pods may ask for at most."),
        }),
        &[],
        vec![
            rule(
                "has(self.podTemplateRef) != has(self.scalableRef)",
                "exactly one of podTemplateRef and scalableRef must be set",
            ),
            rule(
                "!has(self.percentage) || has(self.scalableRef)",
                "percentage needs a scalableRef",
            ),
            rule(
                "has(self.replicas) || has(self.percentage) || has(self.limits)",
                "at least one of replicas, percentage and limits must be set",
            ),
        ],
    )
}

fn status() -> Value {
    object(
        "What has come of it.",
        json!({
            "provisioningStrategy": plain("How room is held."),
            "podTemplateRef": template_ref("The PodTemplate that was read."),
            "podTemplateGeneration": {
                "description": "Its generation then.", "type": "integer", "format": "int64",
            },
            "replicas": count("For how many pods room is held.", 0),
            "conditions": conditions("Whether room is known, and to be had."),
        }),
        &[],
        Vec::new(),
    )
}
