//! Family `similar`.

use super::{Scenario, wire};
use crate::differ::Outcome;
use anyhow::Result;
use plimsoll_engine::cluster::Similarity;
use serde_json::Value;

pub(super) fn run(scenario: Scenario<'_>) -> Result<Outcome> {
    let texts = |key: &str| {
        let texts = scenario.list(key).iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let ratio = |key: &str, default: f64| {
        let ratio = scenario.get("ratios").get(key).and_then(Value::as_f64);
        ratio.unwrap_or(default)
    };
    let mut similarity = Similarity {
        memory_ratio: ratio("memory", 0.015),
        allocatable_ratio: ratio("allocatable", 0.05),
        free_ratio: ratio("free", 0.05),
        ..Similarity::default()
    };
    similarity
        .ignored_labels
        .extend(texts("extraIgnoredLabels"));
    match scenario.get("comparator").as_str() {
        Some("aws") => similarity = similarity.on_aws(),
        Some("labels") => similarity.labels = texts("balancingLabels"),
        _ => {}
    }
    // What runs on an example node is what takes from the free part of new ones.
    let one = wire::template(scenario.get("n1"), scenario.list("pods1"))?;
    let other = wire::template(scenario.get("n2"), scenario.list("pods2"))?;
    let difference = similarity.difference(&one, &other);
    let mut outcome = Outcome::default();
    outcome.check_given("similar", difference.is_none(), scenario.expect);
    outcome.trace.extend(difference);
    Ok(outcome)
}
