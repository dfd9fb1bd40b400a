//! Family `deletion-budget`.

use super::Scenario;
use crate::differ::Outcome;
use plimsoll_engine::cluster::{Bucket, Going, Parallelism, Whole, crop as cropped};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn groups<'a>(scenario: Scenario<'a>, key: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    scenario.list(key).map(|raw| {
        let group = raw.get("group").and_then(Value::as_str);
        (group.unwrap_or_default(), raw)
    })
}

fn names(raw: &Value) -> Vec<&str> {
    let names = raw.get("nodes").and_then(Value::as_array);
    names
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

pub(super) fn crop(scenario: Scenario<'_>) -> Outcome {
    let mut registered: BTreeMap<&str, usize> = BTreeMap::new();
    for key in ["empty", "drain", "otherNodes"] {
        for (group, raw) in groups(scenario, key) {
            *registered.entry(group).or_insert(0) += names(raw).len();
        }
    }
    let wanted = |key: &str| -> Vec<Bucket<&str>> {
        let buckets = groups(scenario, key).map(|(group, raw)| {
            let atomic = raw.get("atomic").and_then(Value::as_bool).unwrap_or(false);
            let target = raw.get("target").and_then(Value::as_u64).unwrap_or(0);
            Bucket {
                group: group.into(),
                atomic: atomic.then(|| Whole {
                    target: usize::try_from(target).unwrap_or(usize::MAX),
                    registered: registered.get(group).copied().unwrap_or(0),
                }),
                nodes: names(raw),
            }
        });
        buckets.collect()
    };
    let wanted = Going {
        empty: wanted("empty"),
        drain: wanted("drain"),
    };
    let running = (
        scenario.count("emptyDeletionsInProgress"),
        scenario.count("drainDeletionsInProgress"),
    );
    let limits = Parallelism {
        all: scenario.count("maxScaleDownParallelism"),
        drains: scenario.count("maxDrainParallelism"),
    };
    let going = cropped(wanted, running, limits);
    let shown = |buckets: &[Bucket<&str>]| {
        let shown = buckets.iter();
        shown
            .map(|bucket| json!({ "group": &*bucket.group, "nodes": bucket.nodes }))
            .collect()
    };
    let mut outcome = Outcome::default();
    outcome.check_list("empty", shown(&going.empty), scenario.expect);
    outcome.check_list("drain", shown(&going.drain), scenario.expect);
    outcome
}
