//! LimitRanger: defaults and bounds for what containers, pods and claims ask for.

mod bounds;
mod pod;
mod range;

pub(crate) use range::LimitRange;

use super::{Operation, Request};
use crate::resource::patch::Part;
use plimsoll_api::meta;
use plimsoll_api::resources::{self, Amounts, Side};
use plimsoll_api::status::ApiError;
use range::{Limit, Subject};
use serde_json::Value;
use std::sync::Arc;

/// Fills in the defaults of the namespace's limit ranges.
#[expect(clippy::unnecessary_wraps, reason = "one signature for every step")]
pub(super) fn fill(
    request: &Request<'_>,
    object: &mut Value,
    _: Option<&Value>,
) -> Result<(), ApiError> {
    if request.is_core("Pod") && is_new_pod(request) {
        for range in ranges(request) {
            pod::fill(object, &range);
        }
    }
    Ok(())
}

/// Refuses what is outside the bounds of a limit range.
pub(super) fn check(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if old.is_some() && meta::is_deleting(object) {
        return Ok(());
    }
    let judge: fn(&Value, &Limit) -> Vec<String> = if request.is_core("Pod") {
        // A resize changes what containers ask for, other updates cannot.
        if !is_new_pod(request) && request.writer.subresource != "resize" {
            return Ok(());
        }
        pod::violations
    } else if request.is_core("PersistentVolumeClaim") && request.part == Part::Main {
        claim_violations
    } else {
        return Ok(());
    };
    for range in ranges(request) {
        let found = range.limits.iter().flat_map(|limit| judge(object, limit));
        if let Some(why) = joined(found) {
            return Err(request.forbidden(&why));
        }
    }
    Ok(())
}

fn is_new_pod(request: &Request<'_>) -> bool {
    request.operation == Operation::Create && request.part == Part::Main
}

fn ranges(request: &Request<'_>) -> Vec<Arc<LimitRange>> {
    let indexes = &request.writer.server.0.admission;
    indexes.limit_ranges.in_namespace(request.namespace)
}

/// One message as it is, several in brackets, each once.
fn joined(messages: impl Iterator<Item = String>) -> Option<String> {
    let mut seen: Vec<String> = Vec::new();
    for message in messages {
        if !seen.contains(&message) {
            seen.push(message);
        }
    }
    match seen.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

/// Only requests of a claim are anyone's wish; its limits are ignored.
fn claim_violations(claim: &Value, limit: &Limit) -> Vec<String> {
    if limit.subject != Subject::Claim {
        return Vec::new();
    }
    let spec = claim.get("spec").unwrap_or(&Value::Null);
    let requests = resources::declared(spec, Side::Requests);
    let none = Amounts::new();
    let sides = bounds::Asked {
        requests: &requests,
        limits: &none,
    };
    let low = limit
        .min
        .iter()
        .filter_map(|(name, min)| bounds::below(limit, (name, *min), sides));
    let high = limit
        .max
        .iter()
        .filter_map(|(name, max)| bounds::request_above(limit, (name, *max), sides));
    low.chain(high).collect()
}
