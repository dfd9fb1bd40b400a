//! Families `balance` and `balance-quota`.

use super::{Scenario, scale_up, wire};
use crate::differ::Outcome;
use anyhow::Result;
use plimsoll_engine::cluster::{GroupFacts, Share, balanced};
use serde_json::{Map, Value, json};

pub(super) fn balance(scenario: Scenario<'_>) -> Result<Outcome> {
    let groups: Result<Vec<GroupFacts>> = scenario
        .list("groups")
        .iter()
        .map(|raw| wire::group(raw, None))
        .collect();
    let groups = groups?;
    let shares: Vec<Share> = groups
        .iter()
        .map(|group| Share {
            target: group.target,
            max: group.max,
        })
        .collect();
    let nodes = usize::try_from(scenario.number("newNodes"))?;
    let sizes: Map<String, Value> = groups
        .iter()
        .zip(balanced(&shares, nodes))
        .filter(|(group, size)| group.target != *size)
        .map(|(group, size)| (group.id.to_string(), json!(size)))
        .collect();
    let mut outcome = Outcome::default();
    outcome.check_given("newSizes", sizes, scenario.expect);
    Ok(outcome)
}

/// As many pods as nodes are needed, each as large as the free part of a node.
pub(super) fn with_quota(scenario: Scenario<'_>) -> Result<Outcome> {
    let pod = |at: i64| {
        json!({ "metadata": { "name": format!("pending-{at}"), "namespace": "default" },
            "spec": { "containers": [{ "resources": { "requests": { "cpu": "800m" } } }] } })
    };
    let mut given = scenario.given.clone();
    if let Some(given) = given.as_object_mut() {
        let pods: Vec<Value> = (0..scenario.number("newNodesNeeded")).map(pod).collect();
        given.insert("pendingPods".into(), Value::Array(pods));
        given.insert(
            "options".into(),
            json!({ "balanceSimilarNodeGroups": true }),
        );
    }
    scale_up::run(Scenario {
        given: &given,
        expect: scenario.expect,
    })
}
