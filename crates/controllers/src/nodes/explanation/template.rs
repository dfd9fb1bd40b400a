//! Node templates as JSON, from which a client can make placement's facts again.

use plimsoll_engine::cluster::{NodeTemplate, TemplateSource};
use plimsoll_engine::placement::{Effect, NodeFacts, Resources, Taint};
use plimsoll_quantity::Quantity;
use serde_json::{Map, Value, json};

/// A template: the node as a v1 Node, and what runs on it from the start.
pub(super) fn shown(template: &NodeTemplate) -> Value {
    let daemons: Vec<Value> = template
        .daemons
        .iter()
        .map(|pod| {
            json!({
                "namespace": pod.namespace, "name": pod.name,
                "requests": amounts(&pod.spec.requests),
            })
        })
        .collect();
    json!({
        "node": node(&template.node, &template.capacity),
        "daemons": daemons,
        "source": source(template.source).0,
        "pricePerHour": template.price_per_hour,
        "gpu": template.gpu,
    })
}

/// What a new node will be, in words.
pub(super) fn sentence(template: &NodeTemplate) -> String {
    let node = &template.node;
    let cpu = Quantity::from_milli(node.allocatable.cpu_milli);
    let memory = Quantity::from_bytes(node.allocatable.memory_bytes);
    let price = template.price_per_hour;
    let price = price.map_or_else(String::new, |price| format!(", {price:.4} $/h"));
    let (_, from) = source(template.source);
    format!(
        "a new node has {cpu} CPU, {memory} of memory and room for {} pods{price} ({from})",
        node.max_pods
    )
}

fn source(source: TemplateSource) -> (&'static str, &'static str) {
    match source {
        TemplateSource::LiveNode => ("LiveNode", "as a ready node of the group has it"),
        TemplateSource::Remembered => ("Remembered", "as a node of the group once had it"),
        TemplateSource::Provider => ("Provider", "as the provider says"),
        TemplateSource::UnreadyNode => ("UnreadyNode", "as an unready node of the group has it"),
    }
}

fn node(node: &NodeFacts, capacity: &Resources) -> Value {
    let taints: Vec<Value> = node.taints.iter().map(taint).collect();
    let mut allocatable = amounts(&node.allocatable);
    allocatable.insert("pods".into(), json!(node.max_pods.to_string()));
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": node.name, "labels": node.labels },
        "spec": { "taints": taints, "unschedulable": node.unschedulable },
        "status": { "allocatable": allocatable, "capacity": amounts(capacity) },
    })
}

fn taint(taint: &Taint) -> Value {
    let effect = match taint.effect {
        Effect::NoSchedule => "NoSchedule",
        Effect::PreferNoSchedule => "PreferNoSchedule",
        Effect::NoExecute => "NoExecute",
    };
    json!({ "key": taint.key, "value": taint.value, "effect": effect })
}

/// Amounts as quantities.
fn amounts(resources: &Resources) -> Map<String, Value> {
    let mut map = Map::new();
    let mut set = |name: &str, amount: Quantity| {
        map.insert(name.to_owned(), json!(amount.to_string()));
    };
    set("cpu", Quantity::from_milli(resources.cpu_milli));
    set("memory", Quantity::from_bytes(resources.memory_bytes));
    if resources.ephemeral_bytes > 0 {
        let amount = Quantity::from_bytes(resources.ephemeral_bytes);
        set("ephemeral-storage", amount);
    }
    for (name, amount) in &resources.extended {
        set(name, Quantity::from_value(*amount));
    }
    map
}
