//! `ProvisioningRequest` of `autoscaling.x-k8s.io`: room for pods that come later, asked for as a
//! whole (reference/cluster-autoscaler.md §14).
//!
//! The kind is upstream's, and so are its conditions and their reasons, which queues such as Kueue
//! read. Its definition is created by `up` where requests are looked at, and printed by `install`
//! with node autoscaling.

use crate::definition::schema::{LONGEST_NAME, conditions, count, object, rule, text, with};
use crate::definition::{Frame, Scope, age, column, condition_column};
use serde_json::{Value, json};

/// API group.
pub const GROUP: &str = "autoscaling.x-k8s.io";
/// The version objects are stored in.
pub const VERSION: &str = "v1";
/// The older version, which is served with a warning.
pub const OLD_VERSION: &str = "v1beta1";
/// `autoscaling.x-k8s.io/v1`.
pub const API_VERSION: &str = "autoscaling.x-k8s.io/v1";
/// The kind.
pub const KIND: &str = "ProvisioningRequest";
/// The resource.
pub const PLURAL: &str = "provisioningrequests";

/// Annotation of a pod: the request (of its own namespace) whose room it is for.
pub const CONSUMES: &str = "autoscaling.x-k8s.io/consume-provisioning-request";
/// The same as older pods spell it.
pub const CONSUMES_OLD: &str = "cluster-autoscaler.kubernetes.io/consume-provisioning-request";

/// Most pods of one pod set.
const MOST_PODS: u32 = 16_384;
/// Most pod sets of a request.
const MOST_SETS: usize = 32;
/// What names of classes and of templates look like.
const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

const FRAME: Frame = Frame {
    group: GROUP,
    versions: &[VERSION, OLD_VERSION],
    kind: KIND,
    plural: PLURAL,
    short_names: &["provreq", "provreqs"],
    categories: &[],
    scope: Scope::Namespaced,
};

/// The CustomResourceDefinition, ready to be created or printed.
pub fn definition() -> Value {
    let described = "Room for pods that come later: looked for, or made, as a whole.";
    let mut definition = FRAME.definition(described, spec(), status(), columns());
    if let Some(old) = definition.pointer_mut("/spec/versions/1") {
        let warning = format!("{GROUP}/{OLD_VERSION} {KIND} is deprecated; use {API_VERSION}");
        let keywords = json!({"deprecated": true, "deprecationWarning": warning});
        *old = with(old.take(), keywords);
    }
    definition
}

fn columns() -> Vec<Value> {
    let class = "How room is provided.";
    let accepted = "Whether somebody looks for room.";
    let provisioned = "Whether there is room, or will be.";
    let failed = "Whether it was given up.";
    vec![
        column("Class", "string", ".spec.provisioningClassName", class),
        condition_column("Accepted", "Accepted", accepted),
        condition_column("Provisioned", "Provisioned", provisioned),
        condition_column("Failed", "Failed", failed),
        age(),
    ]
}

/// Whoever wants something else makes another request.
fn immutable(schema: Value) -> Value {
    let rules = vec![rule("self == oldSelf", "Value is immutable")];
    with(schema, json!({"x-kubernetes-validations": rules}))
}

fn name(description: &str) -> Value {
    with(text(description, LONGEST_NAME), json!({"pattern": NAME}))
}

fn spec() -> Value {
    let sets = json!({
        "description": "The pods, by what they are like.",
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_SETS,
        "items": pod_set(),
    });
    let parameters = json!({
        "description": "What else the class is told: ValidUntilSeconds, noRetry, \
                        partialCapacityCheck, processorInstance.",
        "type": "object",
        "maxProperties": 100,
        "additionalProperties": text("A value.", 255),
    });
    let class = "How room is provided: check-capacity.autoscaling.x-k8s.io looks for it on nodes, \
                 best-effort-atomic-scale-up.autoscaling.x-k8s.io adds the nodes that are missing. \
                 Requests of other classes are left alone.";
    object(
        "What room is wanted. It cannot be changed.",
        json!({
            "podSets": immutable(sets),
            "provisioningClassName": immutable(name(class)),
            "parameters": immutable(parameters),
        }),
        &["podSets", "provisioningClassName"],
        Vec::new(),
    )
}

fn pod_set() -> Value {
    let template = object(
        "The PodTemplate, in the request's namespace, that says what they are like.",
        json!({"name": name("Its name.")}),
        &["name"],
        Vec::new(),
    );
    let number = with(
        count("How many there are.", 1),
        json!({"maximum": MOST_PODS}),
    );
    object(
        "Pods that are alike.",
        json!({"podTemplateRef": template, "count": number}),
        &["count", "podTemplateRef"],
        Vec::new(),
    )
}

fn status() -> Value {
    let details = json!({
        "description": "What else the class tells.",
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": text("A value.", 32_768),
    });
    object(
        "What has come of it.",
        json!({
            "conditions": conditions("Accepted, Provisioned, Failed, BookingExpired, CapacityRevoked."),
            "provisioningClassDetails": details,
        }),
        &[],
        Vec::new(),
    )
}

#[cfg(test)]
mod tests {
    use super::definition;

    #[test]
    fn both_versions_are_served_and_the_older_one_warns() {
        let definition = definition();
        let versions = definition["spec"]["versions"].as_array().unwrap();
        let names: Vec<_> = versions
            .iter()
            .map(|v| v["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["v1", "v1beta1"]);
        assert!(versions[0]["deprecated"].is_null());
        assert_eq!(versions[1]["deprecated"], true);
        assert_eq!(versions[1]["served"], true);
        assert_eq!(versions[1]["schema"], versions[0]["schema"]);
    }
}
