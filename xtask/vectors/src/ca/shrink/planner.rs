//! Families `planner` and `node-removal`: what-ifs over all nodes.

use super::{Scenario, drain, facts};
use crate::differ::Outcome;
use anyhow::{Context, Result};
use jiff::SignedDuration;
use plimsoll_engine::cluster::{
    ClusterNode, Deletion, Deletions, EvictedPod, GroupFacts, KeepReason, NodeVerdict, Pace,
    Parallelism, Planner, PodsOnNodes, SCALE_DOWN_DISABLED, ShrinkInput, ShrinkOptions, ShrinkPlan,
};
use plimsoll_engine::placement::Snapshot;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

struct World {
    snapshot: Snapshot,
    nodes: Vec<ClusterNode>,
    pods: PodsOnNodes,
    deletions: Deletions,
}

impl World {
    /// The nodes of the scenario, those not eligible set aside by their annotation.
    fn of(scenario: Scenario<'_>, eligible: impl Fn(&str) -> bool) -> Result<Self> {
        let mut snapshot = Snapshot::default();
        let (mut nodes, mut deletions) = (Vec::new(), Deletions::default());
        for raw in scenario.list("nodes") {
            let (mut node, placed) = facts::node(raw, "")?;
            let group = Arc::from("ng1");
            node.group = Some(Arc::clone(&group));
            if node.being_deleted.take().is_some() {
                let deletion = Deletion {
                    group,
                    drains: true,
                    since: scenario.now()?,
                };
                deletions.nodes.insert(Arc::clone(&node.name), deletion);
            } else if !eligible(&node.name) {
                let set = (SCALE_DOWN_DISABLED.into(), "true".into());
                node.annotations.extend([set]);
            }
            snapshot.set_node(placed);
            nodes.push(node);
        }
        let mut pods = PodsOnNodes::default();
        for pod in facts::pods(scenario, "pods")? {
            snapshot.place(&pod.node, pod.pod.clone());
            pods.set(pod);
        }
        Ok(Self {
            snapshot,
            nodes,
            pods,
            deletions,
        })
    }

    fn look(&mut self, scenario: Scenario<'_>, options: &ShrinkOptions) -> Result<ShrinkPlan> {
        let mut group: GroupFacts = facts::group(&json!({ "id": "ng1", "target": 1000 }));
        // Whether it is eligible is given.
        group.options.scale_down_utilization_threshold = f64::INFINITY;
        Ok(Planner::default().look(ShrinkInput {
            snapshot: &mut self.snapshot,
            nodes: &self.nodes,
            pods: &self.pods,
            groups: &[group],
            budgets: &facts::budgets(scenario)?,
            in_progress: &self.deletions,
            expected: &BTreeMap::new(),
            cannot_grow: &BTreeSet::new(),
            options,
            cooldown: None,
            now: scenario.now()?,
        }))
    }
}

/// By how much a controller is below its replicas.
fn missing(scenario: Scenario<'_>, uid: &str) -> Option<usize> {
    let known = |set: &&Value| set.pointer("/metadata/uid").and_then(Value::as_str) == Some(uid);
    let set = scenario.list("replicaSets").find(known)?;
    let count = |path| set.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let missing = count("/spec/replicas").saturating_sub(count("/status/replicas"));
    usize::try_from(missing).ok()
}

pub(super) fn look(scenario: Scenario<'_>) -> Result<Outcome> {
    let eligible: Vec<&str> = scenario
        .list("eligible")
        .filter_map(Value::as_str)
        .collect();
    let mut world = World::of(scenario, |name| eligible.contains(&name))?;
    for pod in facts::pods(scenario, "recentEvictions")? {
        let owner = pod.owner.as_ref();
        let missing = owner.and_then(|owner| missing(scenario, &owner.uid));
        world.deletions.evicted.push(EvictedPod { pod, missing });
    }
    let set = scenario.get("options").context("no options")?;
    let number = |key: &str| set.get(key).and_then(Value::as_i64).unwrap_or(0);
    let options = ShrinkOptions {
        drain: drain::options(set),
        parallelism: Parallelism {
            all: usize::try_from(number("maxScaleDownParallelism"))?,
            drains: 1,
        },
        pace: Some(Pace {
            scan_interval: SignedDuration::from_secs(10),
            unneeded_time: SignedDuration::from_secs(number("scaleDownUnneededTimeSec")),
        }),
        ..ShrinkOptions::default()
    };
    let plan = world.look(scenario, &options)?;
    let mut outcome = Outcome::default();
    outcome.trace.push(format!("{:?}", plan.nodes));
    let (unneeded, kept): (Vec<_>, Vec<_>) = plan
        .nodes
        .iter()
        .partition(|(_, verdict)| matches!(verdict, NodeVerdict::Unneeded { .. }));
    let names = |nodes: Vec<(&Arc<str>, &NodeVerdict)>| {
        nodes.into_iter().map(|(name, _)| json!(&**name)).collect()
    };
    outcome.check_list("unneeded", names(unneeded), scenario.expect);
    outcome.check_list("unremovable", names(kept), scenario.expect);
    Ok(outcome)
}

pub(super) fn removal(scenario: Scenario<'_>) -> Result<Outcome> {
    let candidate = scenario.get("candidate").and_then(Value::as_str);
    let candidate = candidate.context("no candidate")?;
    let mut world = World::of(scenario, |name| name == candidate)?;
    let plan = world.look(scenario, &ShrinkOptions::default())?;
    let verdict = plan.nodes.get(candidate);
    let removable = matches!(verdict, Some(NodeVerdict::Unneeded { .. }));
    let mut outcome = Outcome::default();
    outcome.check_given("removable", removable, scenario.expect);
    let reason = match verdict {
        Some(NodeVerdict::Kept(why)) => Some(why.name()),
        Some(NodeVerdict::Unneeded { .. }) => None,
        None => Some(KeepReason::NoNodeInfo.name()),
    };
    if !removable {
        outcome.check_given("reason", reason, scenario.expect);
    }
    outcome.trace.push(format!("{verdict:?}"));
    Ok(outcome)
}
