//! The schema of `status`: a `HorizontalPodAutoscaler`'s, and two texts for `kubectl get`.

use super::metrics::series;
use crate::definition::schema::{LONGEST_NAME, any_quantity, count, object, text, with};
use serde_json::{Value, json};

pub(super) fn status() -> Value {
    object(
        "What was found and decided last.",
        json!({
            "observedGeneration": {
                "description": "The generation of the spec that this is about.",
                "type": "integer", "format": "int64",
            },
            "lastScaleTime": {
                "description": "When the replica count was changed last.",
                "type": "string", "format": "date-time", "nullable": true,
            },
            "currentReplicas": count("The replicas asked for before the last pass.", 0),
            "desiredReplicas": count("The replicas the last pass decided on.", 0),
            "currentMetrics": with(
                json!({
                    "description": "What each metric of the spec was, in its order.",
                    "type": "array", "nullable": true, "x-kubernetes-list-type": "atomic",
                }),
                json!({"items": metric()}),
            ),
            "conditions": {
                "description": "Whether it is able to scale, is scaling, and is kept from more.",
                "type": "array", "items": condition(),
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
            },
            "reference": text("What is scaled, as Kind/name.", 2 * LONGEST_NAME + 1),
            "targets": {
                "description": "Each metric: what it is now / what it should be.",
                "type": "string",
            },
        }),
        &[],
        Vec::new(),
    )
}

fn condition() -> Value {
    object(
        "One fact about the autoscaler.",
        json!({
            "type": {"description": "Which fact.", "type": "string"},
            "status": {"description": "True, False or Unknown.", "type": "string"},
            "reason": {"description": "Why, in one word.", "type": "string"},
            "message": {"description": "Why, in one sentence.", "type": "string"},
            "lastTransitionTime": {
                "description": "When the status changed last.",
                "type": "string", "format": "date-time", "nullable": true,
            },
        }),
        &["type", "status"],
        Vec::new(),
    )
}

fn metric() -> Value {
    let name = || json!({"description": "The resource.", "type": "string"});
    let source = |description: &str, properties: Value| {
        let properties = with(properties, json!({"current": current()}));
        object(description, properties, &[], Vec::new())
    };
    object(
        "One metric; its type is empty where the metric could not be read.",
        json!({
            "type": {"description": "Where the metric comes from.", "type": "string"},
            "resource": source("A resource of the pods.", json!({"name": name()})),
            "containerResource": source(
                "A resource of one container of each pod.",
                json!({
                    "name": name(),
                    "container": {"description": "The container.", "type": "string"},
                }),
            ),
            "pods": source("A custom metric of each pod.", json!({"metric": identifier()})),
            "object": source(
                "A custom metric of one object.",
                json!({"metric": identifier(), "describedObject": described()}),
            ),
            "external": source(
                "A metric from outside the cluster.",
                json!({"metric": identifier()}),
            ),
        }),
        &["type"],
        Vec::new(),
    )
}

fn identifier() -> Value {
    let name = json!({"description": "The metric's name.", "type": "string"});
    object(
        "Which metric.",
        json!({"name": name, "selector": series()}),
        &["name"],
        Vec::new(),
    )
}

fn described() -> Value {
    let text = |description: &str| json!({"description": description, "type": "string"});
    object(
        "The object that the metric describes.",
        json!({
            "apiVersion": text("Its API version."),
            "kind": text("Its kind."),
            "name": text("Its name."),
        }),
        &["kind", "name"],
        Vec::new(),
    )
}

fn current() -> Value {
    object(
        "What it was.",
        json!({
            "averageUtilization": {
                "description": "Percent of the pods' requests, on average.",
                "type": "integer", "format": "int32",
            },
            "averageValue": any_quantity("The average per pod."),
            "value": any_quantity("The total."),
        }),
        &[],
        Vec::new(),
    )
}
