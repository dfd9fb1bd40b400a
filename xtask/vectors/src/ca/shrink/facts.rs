//! Objects of scenarios as the engine's facts.

use super::Scenario;
use crate::ca::wire;
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use plimsoll_controllers::facts;
use plimsoll_controllers::pods::{BudgetView, NodeView, PodView};
use plimsoll_controllers::runtime::Cached;
use plimsoll_engine::cluster::{ClusterNode, GroupFacts, GroupOptions, RunningPod, TaintRules};
use plimsoll_engine::placement::{BudgetFacts, NodeFacts};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node as removal and as placement see it.
pub(super) fn node(raw: &Value, gpu_label: &str) -> Result<(ClusterNode, NodeFacts)> {
    let view: NodeView = wire::node_view(raw, Timestamp::UNIX_EPOCH)?;
    // No node of these scenarios is still starting.
    let started = (SignedDuration::ZERO, Timestamp::MAX);
    let cluster = ClusterNode {
        readiness: facts::readiness(&view, gpu_label, &TaintRules::default(), started),
        ..facts::of_cluster_node(&view, gpu_label)
    };
    Ok((cluster, facts::of_node(&view, BTreeMap::new())))
}

/// A pod on its node. Whether its controller exists is known where the scenario lists controllers.
pub(super) fn pod(raw: &Value, controllers: Option<&Value>) -> Result<RunningPod> {
    let view: PodView = wire::pod_view(raw)?;
    let spec = facts::spec_of(&view, None);
    let placed = facts::of_pod(&view, Arc::new(spec));
    let owner = view.meta.controller();
    let found = owner.zip(controllers).map(|(owner, controllers)| {
        let list = match &*owner.kind {
            "ReplicaSet" => "replicaSets",
            "ReplicationController" => "replicationControllers",
            "Job" => "jobs",
            "StatefulSet" => "statefulSets",
            _ => "daemonSets",
        };
        let namespace = view.meta.namespace();
        let list = controllers.get(list).and_then(Value::as_array);
        let named = |object: &&Value| {
            let text = |path| object.pointer(path).and_then(Value::as_str);
            text("/metadata/name") == Some(&*owner.name)
                && text("/metadata/namespace") == Some(namespace)
        };
        list.into_iter().flatten().find(named)
    });
    let replicas = found.flatten().and_then(|object| {
        let replicas = object.pointer("/spec/replicas").and_then(Value::as_u64);
        usize::try_from(replicas?).ok()
    });
    let exists = found.map(|object| object.is_some());
    let mut pod = facts::of_running(&view, placed, (replicas, exists));
    // Recorded pods have no zero priority where they have none.
    pod.priority = raw
        .pointer("/spec/priority")
        .and_then(Value::as_i64)
        .and_then(|priority| i32::try_from(priority).ok());
    Ok(pod)
}

/// All pods of a list of the scenario.
pub(super) fn pods(scenario: Scenario<'_>, list: &str) -> Result<Vec<RunningPod>> {
    let controllers = scenario.get("controllers");
    scenario
        .list(list)
        .map(|raw| pod(raw, controllers))
        .collect()
}

/// All disruption budgets. Selectors are as the API server's: an absent one selects nobody.
pub(super) fn budgets(scenario: Scenario<'_>) -> Result<Vec<BudgetFacts>> {
    let budget = |raw: &Value| {
        let wire = serde_json::from_value(raw.clone()).context("budget")?;
        Ok(facts::of_budget(&BudgetView::from_wire(wire)))
    };
    scenario.list("pdbs").map(budget).collect()
}

/// A group of the scenario.
pub(super) fn group(raw: &Value) -> GroupFacts {
    let number = |key: &str| {
        let number = raw.get(key).and_then(Value::as_u64).unwrap_or(0);
        usize::try_from(number).unwrap_or(usize::MAX)
    };
    let id = raw.get("id").or_else(|| raw.get("group"));
    let atomic = raw.get("atomic").and_then(Value::as_bool);
    GroupFacts {
        id: id.and_then(Value::as_str).unwrap_or_default().into(),
        min: number("minSize"),
        max: number("maxSize"),
        target: number("target"),
        exists: true,
        options: GroupOptions {
            zero_or_max_node_scaling: atomic.unwrap_or(false),
            ..GroupOptions::default()
        },
        template: None,
    }
}
