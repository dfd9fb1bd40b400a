//! Families `removable-at` and `nodes-to-delete`: unneeded nodes that may go now.

use super::{Scenario, facts};
use crate::differ::Outcome;
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::cluster::{
    ClusterNode, Floor, FloorsLeft, GroupFacts, KeepReason, NodeVerdict, OwnerKind, Parallelism,
    Planner, PlannerMemory, PodOwner, PodsOnNodes, RunningPod, SAFE_TO_EVICT, ShrinkInput,
    ShrinkOptions, ShrinkPlan, removable_at as removable,
};
use plimsoll_engine::placement::{NodeFacts, PodFacts, PodSpec, Snapshot};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Lower limits by resource.
fn floor(name: &str, least: &Value) -> Floor {
    let least = least.as_object().into_iter().flatten();
    Floor {
        name: name.into(),
        least: least
            .map(|(resource, least)| (resource.as_str().into(), least.as_i64().unwrap_or(0)))
            .collect(),
    }
}

pub(super) fn removable_at(scenario: Scenario<'_>) -> Result<Outcome> {
    match scenario.get("node") {
        Some(raw) => one(scenario, raw),
        None => many(scenario),
    }
}

fn one(scenario: Scenario<'_>, raw: &Value) -> Result<Outcome> {
    let (node, _) = facts::node(raw, "")?;
    let seconds = |key: &str| {
        let seconds = scenario.get(key).and_then(Value::as_i64);
        SignedDuration::from_secs(seconds.unwrap_or(0))
    };
    let now = scenario.now()?;
    let since = now.checked_sub(seconds("unneededSinceSec"))?;
    let mut group = facts::group(scenario.given);
    group.target = scenario.count("targetSize");
    group.options.scale_down_unneeded_time = seconds("scaleDownUnneededTimeSec");
    group.options.scale_down_unready_time = seconds("scaleDownUnreadyTimeSec");
    let floors: Vec<Floor> = scenario
        .list("quotas")
        .map(|quota| {
            let id = quota.get("id").and_then(Value::as_str).unwrap_or_default();
            floor(id, quota.get("minLimits").unwrap_or(&Value::Null))
        })
        .collect();
    let mut left = FloorsLeft::new(&floors, &[&node]);
    let group = scenario.flag("inNodeGroup", true).then_some(&group);
    let size = scenario
        .count("targetSize")
        .saturating_sub(scenario.count("ongoingDeletions"));
    let found = removable(&node, group, (since, now), size, &mut left);
    let mut outcome = Outcome::default();
    let reason = found.err().map(|why| why.name());
    // Recordings name the absence of a reason, too.
    let got = reason.map_or_else(|| none_of(scenario.expect), |reason| json!(reason));
    outcome.check_given("reason", got, scenario.expect);
    Ok(outcome)
}

/// How the recording writes that there is no reason.
fn none_of(expect: &Value) -> Value {
    let written = expect.get("reason").and_then(Value::as_str);
    written
        .filter(|text| *text == "NoReason")
        .map_or(Value::Null, |text| json!(text))
}

fn many(scenario: Scenario<'_>) -> Result<Outcome> {
    let mut group = facts::group(scenario.given);
    group.target = scenario.count("targetSize");
    group.options.scale_down_unneeded_time = SignedDuration::ZERO;
    let now = scenario.now()?;
    let since = now.checked_sub(SignedDuration::from_secs(1))?;
    let mut size = group
        .target
        .saturating_sub(scenario.count("ongoingDeletions"));
    let mut outcome = Outcome::default();
    for (field, wanted) in [("empty", "numEmpty"), ("drain", "numDrain")] {
        let mut going = 0;
        for _ in 0..scenario.count(wanted) {
            let (node, mut floors) = (ClusterNode::default(), FloorsLeft::default());
            if removable(&node, Some(&group), (since, now), size, &mut floors).is_ok() {
                size -= 1;
                going += 1;
            }
        }
        outcome.check_given(field, going, scenario.expect);
    }
    Ok(outcome)
}

/// What the planner is asked about.
#[derive(Default)]
struct World {
    snapshot: Snapshot,
    nodes: Vec<ClusterNode>,
    groups: Vec<GroupFacts>,
    pods: PodsOnNodes,
    unneeded: BTreeMap<Arc<str>, Timestamp>,
}

impl World {
    fn add_node(&mut self, raw: &Value, group: &GroupFacts) -> Result<Arc<str>> {
        let (mut node, placed) = facts::node(raw, "")?;
        node.group = Some(Arc::clone(&group.id));
        let name = Arc::clone(&node.name);
        self.nodes.push(node);
        self.snapshot.set_node(placed);
        Ok(name)
    }

    fn add_pods(&mut self, node: &Arc<str>, count: u64, annotations: &[(&str, &str)]) {
        let written = annotations
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        let annotations: BTreeMap<Arc<str>, Arc<str>> = written.collect();
        for number in 0..count {
            let name = format!("{node}-{}-{number}", annotations.len());
            let facts = PodFacts::new("default", &name, PodSpec::default());
            self.snapshot.place(node, facts.clone());
            self.pods.set(RunningPod {
                pod: facts,
                node: Arc::clone(node),
                owner: Some(PodOwner {
                    kind: OwnerKind::ReplicaSet,
                    name: "rs".into(),
                    uid: "rs".into(),
                    replicas: None,
                    exists: None,
                }),
                annotations: annotations.clone(),
                ..RunningPod::default()
            });
        }
    }

    /// All nodes of the scenario; those in `removable` are candidates, unneeded for an hour.
    fn of(scenario: Scenario<'_>, now: Timestamp) -> Result<Self> {
        let mut world = Self::default();
        let since = now.checked_sub(SignedDuration::from_hours(1))?;
        for raw in scenario.list("nodeGroups") {
            let group = facts::group(raw);
            let list = |key: &str| raw.get(key).and_then(Value::as_array).into_iter().flatten();
            for candidate in list("removable") {
                let count = |key: &str| candidate.get(key).and_then(Value::as_u64).unwrap_or(0);
                let raw = candidate.get("node").context("no node")?;
                let node = world.add_node(raw, &group)?;
                world.add_pods(&node, count("podsToReschedule"), &[]);
                let waits = [(SAFE_TO_EVICT, "on-completion")];
                world.add_pods(&node, count("onCompletionPods"), &waits);
                world.unneeded.insert(node, since);
            }
            for raw in list("otherNodes") {
                let node = world.add_node(raw, &group)?;
                // Needed, and with room for what the others lose.
                world.add_pods(&node, 1, &[(SAFE_TO_EVICT, "false")]);
            }
            world.groups.push(group);
        }
        // Where no other node stands, pods still have somewhere to go.
        let spare = NodeFacts {
            name: "somewhere-else".to_owned(),
            max_pods: 1000,
            ..NodeFacts::default()
        };
        world.snapshot.set_node(spare);
        Ok(world)
    }

    fn look(&mut self, options: &ShrinkOptions, now: Timestamp) -> Result<ShrinkPlan> {
        let memory = json!({ "timers": { "since": self.unneeded, "looked": now } });
        let memory: PlannerMemory = serde_json::from_value(memory)?;
        Ok(Planner::remembering(memory).look(ShrinkInput {
            snapshot: &mut self.snapshot,
            nodes: &self.nodes,
            pods: &self.pods,
            groups: &self.groups,
            budgets: &[],
            in_progress: &plimsoll_engine::cluster::Deletions::default(),
            expected: &BTreeMap::new(),
            cannot_grow: &BTreeSet::new(),
            options,
            cooldown: None,
            now,
        }))
    }
}

pub(super) fn nodes_to_delete(scenario: Scenario<'_>) -> Result<Outcome> {
    let now = scenario.now()?;
    let mut world = World::of(scenario, now)?;
    let floors = scenario
        .get("minLimits")
        .map(|least| floor("cluster-wide", least));
    let options = ShrinkOptions {
        // The budget of deletions is no part of this.
        parallelism: Parallelism {
            all: usize::MAX,
            drains: usize::MAX,
        },
        floors: floors.into_iter().collect(),
        ..ShrinkOptions::default()
    };
    let plan = world.look(&options, now)?;
    let mut outcome = Outcome::default();
    outcome.trace.clone_from(&plan.trace);
    let names = |removals: &[plimsoll_engine::cluster::Removal]| {
        let mut names: Vec<Value> = removals.iter().map(|r| json!(&*r.node)).collect();
        names.sort_by_key(Value::to_string);
        names
    };
    let wanted = |key: &str| {
        let list = scenario.expect.get(key).and_then(Value::as_array);
        let mut list = list.cloned().unwrap_or_default();
        list.sort_by_key(Value::to_string);
        Value::Array(list)
    };
    outcome.check("empty", names(&plan.empty), &wanted("empty"));
    outcome.check("drain", names(&plan.drain), &wanted("drain"));
    if let Some(wanted) = scenario
        .expect
        .get("unremovable")
        .and_then(Value::as_object)
    {
        let kept: Map<String, Value> = wanted
            .keys()
            .map(|name| {
                (
                    name.clone(),
                    json!(reason(&plan, name).map(KeepReason::name)),
                )
            })
            .collect();
        outcome.check("unremovable", kept, &Value::Object(wanted.clone()));
    }
    Ok(outcome)
}

/// Why a node stays.
fn reason<'a>(plan: &'a ShrinkPlan, node: &str) -> Option<&'a KeepReason> {
    match plan.nodes.get(node)? {
        NodeVerdict::Kept(why) => Some(why),
        NodeVerdict::Unneeded { waiting, .. } => waiting.as_ref(),
    }
}
