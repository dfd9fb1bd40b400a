//! Family `pod-filter`.

use super::{Scenario, wire};
use crate::differ::Outcome;
use anyhow::{Result, bail};
use jiff::SignedDuration;
use plimsoll_engine::cluster::{PendingPod, asks_for_nothing, place_on_existing};
use serde_json::{Value, json};

/// The lowest priority: nothing is expendable.
const NOTHING: i32 = i32::MIN;

pub(super) fn run(scenario: Scenario<'_>) -> Result<Outcome> {
    match scenario.get("filter").as_str().unwrap_or_default() {
        "expendable" => expendable(scenario),
        "young" => young(scenario),
        "schedulable-on-existing" => schedulable(scenario),
        other => bail!("nobody knows the filter {other:?}"),
    }
}

fn expendable(scenario: Scenario<'_>) -> Result<Outcome> {
    let cutoff = i32::try_from(scenario.number("cutoff"))?;
    let pods = wire::all_pending(scenario.list("pods"))?;
    kept(scenario, &pods, (cutoff, SignedDuration::ZERO))
}

fn young(scenario: Scenario<'_>) -> Result<Outcome> {
    let now = wire::now(scenario.given)?;
    let mut pods = Vec::new();
    for raw in scenario.list("pods") {
        let age = raw.get("ageSec").and_then(Value::as_i64).unwrap_or(0);
        let pod = json!({ "metadata": { "name": raw.get("name"), "namespace": "default",
            "annotations": raw.get("annotations") }, "spec": { "containers": [] } });
        let mut pod = wire::pending(&pod)?;
        pod.created = Some(now - SignedDuration::from_secs(age));
        pods.push(pod);
    }
    let delay = SignedDuration::from_secs(scenario.number("newPodScaleUpDelaySec"));
    kept(scenario, &pods, (NOTHING, delay))
}

fn kept(
    scenario: Scenario<'_>,
    pods: &[PendingPod],
    limits: (i32, SignedDuration),
) -> Result<Outcome> {
    let now = wire::now(scenario.given)?;
    let asks = |pod: &&PendingPod| asks_for_nothing(pod, limits.0, limits.1, now).is_none();
    let kept = pods.iter().filter(asks).map(|pod| &*pod.pod.name);
    let mut outcome = Outcome::default();
    outcome.check_given("kept", wire::names(kept), scenario.expect);
    Ok(outcome)
}

fn schedulable(scenario: Scenario<'_>) -> Result<Outcome> {
    let mut snapshot = wire::snapshot(scenario.list("nodes"), scenario.list("pods"))?;
    let pending = wire::all_pending(scenario.list("pendingPods"))?;
    let all: Vec<&PendingPod> = pending.iter().collect();
    let (rest, _) = place_on_existing(&mut snapshot, &all, 0);
    let names = rest
        .into_iter()
        .filter_map(|at| pending.get(at))
        .map(|pod| &*pod.pod.name);
    let mut outcome = Outcome::default();
    outcome.check_given("stillUnschedulable", wire::names(names), scenario.expect);
    Ok(outcome)
}
