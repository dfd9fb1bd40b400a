//! Objects of a scenario as facts. Scenarios leave out what does not matter, and give ages instead
//! of times.

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use plimsoll_controllers::facts;
use plimsoll_controllers::pods::{NodeView, PodView};
use plimsoll_controllers::runtime::Cached;
use plimsoll_engine::cluster::{
    ClusterNode, GroupFacts, GroupOptions, NodeTemplate, PendingPod, Readiness, TaintRules,
    TemplateSource,
};
use plimsoll_engine::placement::{NodeFacts, PodFacts, Snapshot};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What time it is where the scenario does not say.
pub(crate) fn now(given: &Value) -> Result<Timestamp> {
    let text = given.get("now").and_then(Value::as_str);
    Ok(text.unwrap_or("2026-01-01T12:00:00Z").parse()?)
}

/// Replaces an age in seconds by the time it means.
fn dated(object: &mut Value, age: &str, time: &str, now: Timestamp) {
    let seconds = object.get(age).and_then(Value::as_i64);
    let then = seconds.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    if let (Some(then), Some(object)) = (then, object.as_object_mut()) {
        object.insert(time.to_owned(), json!(then.to_string()));
    }
}

/// A Node.
pub(crate) fn node_view(raw: &Value, now: Timestamp) -> Result<NodeView> {
    let mut node = raw.clone();
    if let Some(metadata) = node.get_mut("metadata") {
        dated(metadata, "ageSeconds", "creationTimestamp", now);
    }
    let conditions = node.pointer_mut("/status/conditions");
    for condition in conditions
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        dated(
            condition,
            "secondsSinceTransition",
            "lastTransitionTime",
            now,
        );
    }
    let wire = serde_json::from_value(node).with_context(|| format!("node {raw}"))?;
    Ok(NodeView::from_wire(wire))
}

/// What placement knows of a Node.
pub(crate) fn node(raw: &Value, now: Timestamp) -> Result<NodeFacts> {
    Ok(facts::of_node(&node_view(raw, now)?, BTreeMap::new()))
}

/// What node autoscaling knows of a Node of `group`.
pub(crate) fn cluster_node(raw: &Value, group: &str, now: Timestamp) -> Result<ClusterNode> {
    let view = node_view(raw, now)?;
    let young = (GroupOptions::default().max_node_startup_time, now);
    Ok(ClusterNode {
        group: (!group.is_empty()).then(|| group.into()),
        readiness: facts::readiness(&view, "", &TaintRules::default(), young),
        ..facts::of_cluster_node(&view, "")
    })
}

/// A Pod.
pub(crate) fn pod_view(raw: &Value) -> Result<PodView> {
    let mut pod = raw.clone();
    if let Some(pod) = pod.as_object_mut() {
        pod.entry("metadata").or_insert_with(|| json!({}));
    }
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.entry("name").or_insert_with(|| json!("pod"));
        metadata
            .entry("namespace")
            .or_insert_with(|| json!("default"));
    }
    let wire = serde_json::from_value(pod).with_context(|| format!("pod {raw}"))?;
    Ok(PodView::from_wire(wire))
}

/// What placement knows of a Pod.
pub(crate) fn pod(raw: &Value) -> Result<PodFacts> {
    let view = pod_view(raw)?;
    let spec = facts::spec_of(&view, None);
    Ok(facts::of_pod(&view, Arc::new(spec)))
}

/// A Pod that waits.
pub(crate) fn pending(raw: &Value) -> Result<PendingPod> {
    let view = pod_view(raw)?;
    let facts = facts::of_pod(&view, Arc::new(facts::spec_of(&view, None)));
    let priority = raw.pointer("/spec/priority").and_then(Value::as_i64);
    Ok(PendingPod {
        priority: priority.and_then(|priority| i32::try_from(priority).ok()),
        ..facts::of_pending(&view, facts)
    })
}

/// All Pods of a list that wait.
pub(crate) fn all_pending(raw: &[Value]) -> Result<Vec<PendingPod>> {
    raw.iter().map(pending).collect()
}

/// What a new node like this Node will be.
pub(crate) fn template(raw: &Value, daemons: &[Value]) -> Result<NodeTemplate> {
    let view = node_view(raw, Timestamp::UNIX_EPOCH)?;
    let capacity = facts::of_cluster_node(&view, "").capacity;
    let daemons: Result<Vec<PodFacts>> = daemons.iter().map(pod).collect();
    Ok(NodeTemplate {
        node: facts::of_node(&view, BTreeMap::new()),
        capacity,
        daemons: daemons?,
        source: TemplateSource::LiveNode,
        price_per_hour: None,
        gpu: None,
    })
}

/// A group with its sizes.
pub(crate) fn group(raw: &Value, template: Option<NodeTemplate>) -> Result<GroupFacts> {
    let number = |key: &str| {
        let number = raw.get(key).and_then(Value::as_u64);
        number.and_then(|number| usize::try_from(number).ok())
    };
    let id = raw
        .get("id")
        .and_then(Value::as_str)
        .context("a group without id")?;
    Ok(GroupFacts {
        id: id.into(),
        min: number("minSize").unwrap_or(0),
        max: number("maxSize").unwrap_or(0),
        target: number("target")
            .or_else(|| number("currentSize"))
            .unwrap_or(0),
        exists: true,
        options: GroupOptions::default(),
        template: template.map(Arc::new),
    })
}

/// A snapshot of these Nodes and the Pods on them.
pub(crate) fn snapshot(nodes: &[Value], pods: &[Value]) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    for raw in nodes {
        snapshot.set_node(node(raw, Timestamp::UNIX_EPOCH)?);
    }
    for raw in pods {
        let on = raw.pointer("/spec/nodeName").and_then(Value::as_str);
        if let Some(on) = on {
            snapshot.place(on, pod(raw)?);
        }
    }
    Ok(snapshot)
}

/// Names of pods as JSON.
pub(crate) fn names<'a>(pods: impl Iterator<Item = &'a str>) -> Value {
    pods.map(|name| json!(name)).collect()
}

/// A node that works, whatever its conditions say: many scenarios leave them out.
pub(crate) fn working(mut node: ClusterNode) -> ClusterNode {
    node.readiness = Readiness::Ready;
    node
}
