//! Families `binpacking`, `fastpath`, `estimate-limit`, `pod-order` and `equivalence`.

use super::{Scenario, wire};
use crate::differ::Outcome;
use anyhow::{Context, Result};
use jiff::SignedDuration;
use plimsoll_engine::cluster::{
    EstimateLimit, PendingPod, Threshold, by_controller, decreasing_order, estimate_nodes,
    weightiest,
};
use plimsoll_engine::placement::Snapshot;
use serde_json::{Value, json};
use std::sync::Arc;

/// The pods of each group, told apart by name.
fn grouped(scenario: Scenario<'_>) -> Result<Vec<Vec<PendingPod>>> {
    let mut groups = Vec::new();
    for (at, group) in scenario.list("podGroups").iter().enumerate() {
        let exemplar = wire::pending(group.get("pod").context("a group without pod")?)?;
        let count = group.get("count").and_then(Value::as_u64).unwrap_or(0);
        let pod = |number: u64| {
            let mut pod = exemplar.clone();
            pod.pod.name = Arc::from(format!("{}-{at}-{number}", pod.pod.name));
            pod
        };
        groups.push((0..count).map(pod).collect());
    }
    Ok(groups)
}

pub(super) fn estimate(scenario: Scenario<'_>) -> Result<Outcome> {
    let groups = grouped(scenario)?;
    let template = wire::template(scenario.get("template"), &[])?;
    let mut snapshot = wire::snapshot(scenario.list("existingNodes"), &[])?;
    let pods: Vec<PendingPod> = groups.iter().flatten().cloned().collect();
    let most = usize::try_from(scenario.number("maxNodes"))?;
    let (nodes, placed) =
        estimate_nodes(&mut snapshot, &template, &pods, (most > 0).then_some(most));
    let mut from = 0;
    let per_group = groups.iter().map(|group| {
        let range = from..from + group.len();
        from = range.end;
        placed.iter().filter(|at| range.contains(*at)).count()
    });
    let per_group: Vec<usize> = per_group.collect();
    let mut outcome = Outcome::default();
    outcome.check_given("newNodes", nodes, scenario.expect);
    outcome.check_given("scheduledPods", placed.len(), scenario.expect);
    outcome.check_given("scheduledPerGroup", json!(per_group), scenario.expect);
    Ok(outcome)
}

pub(super) fn by_number(scenario: Scenario<'_>) -> Result<Outcome> {
    let groups = grouped(scenario)?;
    let template = wire::template(scenario.get("template"), &[])?;
    let known = groups
        .iter()
        .filter_map(|group| Some((&group.first()?.pod, group.len())));
    let known: Vec<_> = known.collect();
    let best = weightiest(&known, &template);
    let best = best.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX));
    let mut outcome = Outcome::default();
    outcome.check_given("groupIndex", best, scenario.expect);
    // What is worked out by number has to be what pod by pod comes to.
    let pods: Vec<PendingPod> = groups.into_iter().flatten().collect();
    let (_, placed) = estimate_nodes(&mut Snapshot::default(), &template, &pods, None);
    outcome.check("placed", placed.len(), &json!(pods.len()));
    Ok(outcome)
}

pub(super) fn limit(scenario: Scenario<'_>) -> Result<Outcome> {
    let number = |raw: &Value, key: &str| raw.get(key).and_then(Value::as_i64).unwrap_or(0);
    let thresholds: Vec<Threshold> = scenario
        .list("thresholds")
        .iter()
        .map(|raw| Threshold {
            nodes: number(raw, "nodes"),
            duration: SignedDuration::from_secs(number(raw, "durationSec")),
        })
        .collect();
    let limit = EstimateLimit::of(&thresholds);
    let wanted = scenario.expect.get("ops").and_then(Value::as_array);
    let asked = wanted.context("no ops")?.len();
    let mut added = 0;
    let answer = |_| {
        let permitted = limit.permits(added, SignedDuration::ZERO);
        added += usize::from(permitted);
        if permitted { "+" } else { "-" }
    };
    let answers: Vec<&str> = (0..asked).map(answer).collect();
    let mut outcome = Outcome::default();
    outcome.check_given("ops", json!(answers), scenario.expect);
    Ok(outcome)
}

pub(super) fn order(scenario: Scenario<'_>) -> Result<Outcome> {
    let template = wire::template(scenario.get("template"), &[])?;
    let pods = wire::all_pending(scenario.list("pods"))?;
    let requests: Vec<_> = pods.iter().map(|pod| &pod.pod.spec.requests).collect();
    let order = decreasing_order(&requests, &template);
    let names = order
        .into_iter()
        .filter_map(|at| pods.get(at))
        .map(|pod| &*pod.pod.name);
    let mut outcome = Outcome::default();
    outcome.check_given("order", wire::names(names), scenario.expect);
    Ok(outcome)
}

pub(super) fn equivalence(scenario: Scenario<'_>) -> Result<Outcome> {
    let pods = wire::all_pending(scenario.list("pods"))?;
    let groups = by_controller(&pods).into_iter().map(|group| {
        let members = group.into_iter().filter_map(|at| pods.get(at));
        let mut names: Vec<&str> = members.map(|pod| &*pod.pod.name).collect();
        names.sort_unstable();
        names
    });
    // The scenarios sort groups and members by name.
    let mut groups: Vec<Vec<&str>> = groups.collect();
    groups.sort_unstable();
    let groups = json!(groups);
    let mut outcome = Outcome::default();
    outcome.check_given("groups", groups, scenario.expect);
    Ok(outcome)
}
