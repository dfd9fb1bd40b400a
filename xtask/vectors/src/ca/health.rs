//! Family `cluster-health`.

use super::{Scenario, wire};
use crate::differ::Outcome;
use anyhow::{Context, Result};
use jiff::SignedDuration;
use plimsoll_controllers::facts;
use plimsoll_engine::cluster::{
    ClusterNode, GroupFacts, HealthInput, HealthOptions, TaintRules, health,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn run(scenario: Scenario<'_>) -> Result<Outcome> {
    let now = wire::now(scenario.given)?;
    let startup = SignedDuration::from_secs(scenario.number("maxNodeStartupTimeSec"));
    let mut nodes = Vec::new();
    for raw in scenario.list("nodes") {
        let group = raw.get("group").and_then(Value::as_str).unwrap_or_default();
        let node = raw.get("node").context("an entry without node")?;
        let view = wire::node_view(node, now)?;
        nodes.push(ClusterNode {
            readiness: facts::readiness(&view, "", &TaintRules::default(), (startup, now)),
            ..wire::cluster_node(node, group, now)?
        });
    }
    let groups: Result<Vec<GroupFacts>> = scenario
        .list("nodeGroups")
        .iter()
        .map(|raw| wire::group(raw, None))
        .collect();
    let groups = groups?;
    let percentage = scenario.get("maxTotalUnreadyPercentage").as_f64();
    let got = health(&HealthInput {
        nodes: &nodes,
        groups: &groups,
        unregistered: &BTreeMap::new(),
        requests: &BTreeMap::new(),
        leaving: &BTreeSet::new(),
        deleting: &BTreeMap::new(),
        backed_off: &BTreeSet::new(),
        options: HealthOptions {
            ok_total_unready_count: usize::try_from(scenario.number("okTotalUnreadyCount"))?,
            max_total_unready_percentage: percentage.unwrap_or(45.0),
        },
        now,
    });
    let by_group: Map<String, Value> = got
        .groups
        .iter()
        .map(|(id, group)| (id.to_string(), json!(group.healthy)))
        .collect();
    let mut outcome = Outcome::default();
    outcome.check_given("clusterHealthy", got.healthy, scenario.expect);
    outcome.check_given("groupHealthy", by_group, scenario.expect);
    outcome.check_given("ready", got.counts.ready, scenario.expect);
    outcome.check_given("notStarted", got.counts.not_started, scenario.expect);
    Ok(outcome)
}
