//! `spec.metrics`: what is measured.

use crate::definition::schema::{
    LONGEST_NAME, Reason, label_selector, object, path_segment, positive_quantity, rule_at, text,
    with, word,
};
use serde_json::{Value, json};

/// Source types with the field that holds each.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
/// Metrics of one autoscaler; bounds what judging them may cost.
const MOST_METRICS: u32 = 50;

/// The list.
pub(super) fn metrics() -> Value {
    let cpu = json!([{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80},
    }}]);
    json!({
        "description": "What is measured. The replica count is the largest that any metric asks \
                        for. Without any, cpu is held at 80% of its request.",
        "type": "array",
        "maxItems": MOST_METRICS,
        "x-kubernetes-list-type": "atomic",
        "default": cpu,
        "items": metric(),
    })
}

fn metric() -> Value {
    let mut rules = Vec::new();
    for (kind, field) in SOURCES {
        let at = format!(".{field}");
        rules.push(rule_at(
            &at,
            Reason::Required,
            &format!("self.type != '{kind}' || has(self.{field})"),
            "must populate information for the given metric source",
        ));
        rules.push(rule_at(
            &at,
            Reason::Forbidden,
            &format!("self.type == '{kind}' || !has(self.{field})"),
            "must populate the given metric source only",
        ));
    }
    let kinds = SOURCES.map(|(kind, _)| kind);
    object(
        "One measured thing: a type and the field of the same name.",
        json!({
            "type": word("Where the metric comes from.", &kinds),
            "resource": resource(),
            "containerResource": container_resource(),
            "pods": pods(),
            "object": described(),
            "external": external(),
        }),
        &["type"],
        rules,
    )
}

fn resource() -> Value {
    let name = text("The resource, e.g. cpu or memory.", LONGEST_NAME);
    object(
        "A resource that the pods' containers request, on average over the pods.",
        json!({"name": with(name, json!({"minLength": 1})), "target": target()}),
        &["name", "target"],
        percentage_or_amount(),
    )
}

fn container_resource() -> Value {
    let name = text("The resource, e.g. cpu or memory.", LONGEST_NAME);
    let container = json!({
        "description": "The container of each pod that is looked at.",
        "type": "string", "minLength": 1, "maxLength": 63,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    });
    let mut rules = percentage_or_amount();
    rules.push(rule_at(
        ".name",
        Reason::Invalid,
        "self.name.contains('/') || self.name in ['cpu', 'memory', 'ephemeral-storage'] || \
         self.name.startsWith('hugepages-')",
        "must be a standard resource for containers",
    ));
    object(
        "A resource that one container of each pod requests, on average over the pods.",
        json!({
            "name": with(name, json!({"minLength": 1})),
            "container": container,
            "target": target(),
        }),
        &["name", "container", "target"],
        rules,
    )
}

fn percentage_or_amount() -> Vec<Value> {
    vec![
        rule_at(
            ".target.averageUtilization",
            Reason::Required,
            "has(self.target.averageUtilization) || has(self.target.averageValue)",
            "must set either a target raw value or a target utilization",
        ),
        rule_at(
            ".target.averageValue",
            Reason::Forbidden,
            "!has(self.target.averageUtilization) || !has(self.target.averageValue)",
            "may not set both a target raw value and a target utilization",
        ),
    ]
}

fn pods() -> Value {
    object(
        "A custom metric of each pod, on average over the pods.",
        json!({"metric": identifier(), "target": target()}),
        &["metric", "target"],
        vec![rule_at(
            ".target.averageValue",
            Reason::Required,
            "has(self.target.averageValue)",
            "must specify a positive target averageValue",
        )],
    )
}

/// A selector of series of a metric.
pub(super) fn series() -> Value {
    label_selector(
        "Narrows the metric down to series with these labels. All of them count when it is absent.",
    )
}

fn described() -> Value {
    let described_object = object(
        "The object that the metric describes.",
        json!({
            "apiVersion": with(text("Its API version.", LONGEST_NAME), api_version_rule()),
            "kind": path_segment("Its kind."),
            "name": path_segment("Its name."),
        }),
        &["kind", "name"],
        Vec::new(),
    );
    object(
        "A custom metric of one object, e.g. the requests per second of an Ingress.",
        json!({"describedObject": described_object, "metric": identifier(), "target": target()}),
        &["describedObject", "metric", "target"],
        vec![rule_at(
            ".target.averageValue",
            Reason::Required,
            "has(self.target.value) || has(self.target.averageValue)",
            "must set either a target value or averageValue",
        )],
    )
}

/// An API version is a version, or a group and a version.
pub(super) fn api_version_rule() -> Value {
    let rule = json!({
        "rule": "self.split('/').size() <= 2",
        "messageExpression": "'unexpected GroupVersion string: ' + self",
        "message": "unexpected GroupVersion string",
    });
    json!({"x-kubernetes-validations": [rule]})
}

fn external() -> Value {
    object(
        "A metric from outside the cluster, e.g. the length of a queue. Series that match are \
         added up.",
        json!({"metric": identifier(), "target": target()}),
        &["metric", "target"],
        vec![
            rule_at(
                ".target.averageValue",
                Reason::Required,
                "has(self.target.value) || has(self.target.averageValue)",
                "must set either a target value for metric or a per-pod target",
            ),
            rule_at(
                ".target.value",
                Reason::Forbidden,
                "!has(self.target.value) || !has(self.target.averageValue)",
                "may not set both a target value for metric and a per-pod target",
            ),
        ],
    )
}

fn identifier() -> Value {
    object(
        "Which metric.",
        json!({"name": path_segment("The metric's name."), "selector": series()}),
        &["name"],
        Vec::new(),
    )
}

fn target() -> Value {
    object(
        "What is to be held: a type and the number it names.",
        json!({
            "type": word(
                "Whether the target is a percentage of the request, a total, or an average per pod.",
                &["Utilization", "Value", "AverageValue"],
            ),
            "averageUtilization": {
                "description": "Percent of the pods' requests, on average.",
                "type": "integer", "format": "int32", "minimum": 1,
            },
            "averageValue": positive_quantity("An average per pod."),
            "value": positive_quantity("A total."),
        }),
        &["type"],
        Vec::new(),
    )
}
