//! What a quota's status says.

use super::QuotaView;
use crate::nodes::conditions::{Condition, merged};
use jiff::Timestamp;
use plimsoll_api::capacity_quota::{RECONCILED, VALID};
use plimsoll_engine::cluster::quota_amount;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The status as it should be: what is used, or why the quota is not in force.
pub(super) fn wanted(
    view: &QuotaView,
    used: Result<BTreeMap<String, i64>, &String>,
    now: Timestamp,
) -> Value {
    let generation = view.meta.generation;
    // Parity: reasons and messages are upstream's.
    let (valid, reconciled) = match &used {
        Ok(_) => (
            condition(
                VALID,
                "True",
                "ValidationSucceeded",
                "CapacityQuota is valid",
            ),
            condition(
                RECONCILED,
                "True",
                "ReconciliationSucceeded",
                "CapacityQuota successfully reconciled",
            ),
        ),
        Err(why) => (
            condition(VALID, "False", "ValidationFailed", why),
            condition(
                RECONCILED,
                "False",
                "ReconciliationFailed",
                "Validation failed",
            ),
        ),
    };
    let before = view.status.pointer("/used/resources");
    let resources = used
        .ok()
        .map(|used| json!({ "resources": amounts(used, before) }));
    json!({
        "used": resources,
        "conditions": merged(&view.status, [valid, reconciled], generation, now),
        "observedGeneration": generation,
    })
}

/// What is used, by resource. What is not limited any more goes: a merge patch takes off what is null.
fn amounts(used: BTreeMap<String, i64>, before: Option<&Value>) -> Map<String, Value> {
    let shown = used.into_iter().map(|(name, amount)| {
        let amount = quota_amount(&name, amount);
        (name, json!(amount))
    });
    let mut shown: Map<String, Value> = shown.collect();
    let before = before.and_then(Value::as_object);
    for name in before.into_iter().flat_map(Map::keys) {
        if !shown.contains_key(name) {
            shown.insert(name.clone(), Value::Null);
        }
    }
    shown
}

fn condition(
    kind: &'static str,
    holds: &'static str,
    reason: &'static str,
    message: &str,
) -> Condition {
    Condition {
        kind,
        holds,
        reason,
        message: message.to_owned(),
    }
}
