//! `eviction`: a deletion that disruption budgets may refuse.

use super::binding::put_condition;
use crate::admission::webhook::Subject;
use crate::admission::{self, Operation};
use crate::call::{Call, Run, dry_run};
use crate::http::respond::{self, Response};
use crate::resource::decode;
use crate::resource::delete_options::DeleteOptions;
use crate::resource::managers::Tracking;
use crate::resource::metadata::whole_seconds;
use crate::resource::patch::Part;
use crate::resource::present::parse;
use crate::resource::write::Writer;
use crate::server::key;
use crate::store::{Entry, ListQuery};
use plimsoll_api::meta;
use plimsoll_api::selector::LabelSelector;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;

/// Pods a budget may have in flight at once.
const IN_FLIGHT: usize = 2000;

/// Evicts the pod the path names.
pub(super) async fn create(call: &Call) -> Result<Response, ApiError> {
    let mut eviction = decode::subresource(call, "eviction")?;
    let name = meta::name(&eviction);
    if !name.is_empty() && name != call.name() {
        return Err(ApiError::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let subject = Subject::of_call(call, call.run()?, Operation::Create);
    admission::subresource(&subject, &mut eviction, None).await?;
    let options = eviction
        .get("deleteOptions")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let mut options = DeleteOptions::read(&options)?;
    let asked: Vec<&str> = call.query.all("dryRun").filter(|v| !v.is_empty()).collect();
    if dry_run(&asked)? == Run::Dry {
        options.run = Run::Dry;
    }
    let entry = call
        .server
        .store()
        .get(&call.key())
        .ok_or_else(|| call.not_found())?;
    let pod = parse(&entry.json)?;
    if !bypasses_budgets(&pod) {
        ask_budget(call, &pod, options.run).await?;
        if options.run == Run::Real {
            mark(call, &entry).await?;
        }
    }
    let uid = entry.uid.to_string();
    options.uid.get_or_insert(uid);
    Writer::of(call, options.run)
        .delete(&call.key(), &options)
        .await?;
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    Ok(respond::value(201, &call.wanted, &status))
}

/// Pods that serve nobody are not protected.
fn bypasses_budgets(pod: &Value) -> bool {
    let phase = meta::text(pod, &["status", "phase"]);
    matches!(phase, "Pending" | "Succeeded" | "Failed") || meta::is_deleting(pod)
}

async fn mark(call: &Call, entry: &Arc<Entry>) -> Result<(), ApiError> {
    let now = whole_seconds(call.server.now());
    let step = |old: &Value| {
        let mut pod = old.clone();
        put_condition(
            &mut pod,
            json!({
                "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting", "lastProbeTime": null,
                "lastTransitionTime": now,
            }),
        );
        Ok(pod)
    };
    let writer = Writer {
        tracking: Tracking::Off,
        ..Writer::of(call, Run::Real)
    };
    writer
        .update(&entry.key, Part::Other, &step)
        .await
        .map(drop)
}

/// Finds the pod's budget and takes one disruption from it.
async fn ask_budget(call: &Call, pod: &Value, run: Run) -> Result<(), ApiError> {
    let Some(kind) = call.server.stored_kind("policy", "poddisruptionbudgets") else {
        return Ok(());
    };
    let query = ListQuery {
        resource: Arc::clone(&kind.storage),
        namespace: Some(call.namespace().into()),
        ..ListQuery::default()
    };
    let page = call
        .server
        .store()
        .list(&query)
        .map_err(ApiError::internal)?;
    let budgets: Vec<Value> = page
        .entries
        .iter()
        .filter_map(|e| parse(&e.json).ok())
        .collect();
    let mut mine = budgets.iter().filter(|budget| selects(budget, pod));
    let Some(budget) = mine.next() else {
        return Ok(());
    };
    if mine.next().is_some() {
        return Err(ApiError::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    if !is_ready(pod) && unready_may_go(budget) {
        return Ok(());
    }
    let writer = Writer {
        kind: &kind,
        tracking: Tracking::Off,
        ..Writer::of(call, run)
    };
    let now = whole_seconds(call.server.now());
    let name = meta::name(pod).to_owned();
    let step = |old: &Value| disrupt(old, &name, &now);
    let key = key(&kind, call.namespace(), meta::name(budget));
    writer.update(&key, Part::Other, &step).await.map(drop)
}

fn selects(budget: &Value, pod: &Value) -> bool {
    let selector = budget
        .get("spec")
        .and_then(|s| s.get("selector"))
        .unwrap_or(&Value::Null);
    let Ok(selector) = LabelSelector::from_object(selector) else {
        return false;
    };
    let labels = meta::at(pod, &["metadata", "labels"]);
    selector.matches(|key| labels.and_then(|l| l.get(key)).and_then(Value::as_str))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = meta::list(pod, &["status", "conditions"]);
    conditions
        .iter()
        .any(|c| meta::text(c, &["type"]) == "Ready" && meta::text(c, &["status"]) == "True")
}

/// Whether a pod that is not ready may go without taking from the budget.
fn unready_may_go(budget: &Value) -> bool {
    let count = |name: &str| meta::integer(budget, &["status", name]).unwrap_or(0);
    let policy = meta::text(budget, &["spec", "unhealthyPodEvictionPolicy"]);
    let (healthy, desired) = (count("currentHealthy"), count("desiredHealthy"));
    policy == "AlwaysAllow" || (healthy >= desired && desired > 0)
}

/// Takes one disruption from a budget, or says why not.
fn disrupt(budget: &Value, pod: &str, now: &str) -> Result<Value, ApiError> {
    let name = meta::name(budget);
    let count = |field: &str| meta::integer(budget, &["status", field]).unwrap_or(0);
    let observed = count("observedGeneration");
    let generation = meta::integer(budget, &["metadata", "generation"]).unwrap_or(0);
    if observed < generation {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(too_many(&why, 10));
    }
    let in_flight = meta::at(budget, &["status", "disruptedPods"]).and_then(Value::as_object);
    if in_flight.is_some_and(|pods| pods.len() > IN_FLIGHT) {
        let why = format!("DisruptedPods map too big for PodDisruptionBudget {name}");
        return Err(ApiError::forbidden(
            "policy",
            "poddisruptionbudgets",
            name,
            &why,
        ));
    }
    let allowed = count("disruptionsAllowed");
    if allowed <= 0 {
        let (healthy, desired) = (count("currentHealthy"), count("desiredHealthy"));
        let why = format!(
            "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        );
        return Err(too_many(&why, 0));
    }
    let mut new = budget.clone();
    let status = meta::object_mut(&mut new, &["status"]);
    status.insert("disruptionsAllowed".into(), (allowed - 1).into());
    meta::object_mut(&mut new, &["status", "disruptedPods"]).insert(pod.into(), now.into());
    Ok(new)
}

fn too_many(why: &str, retry_after: u32) -> ApiError {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut error = ApiError::new(429, "TooManyRequests", message);
    error.details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
    if retry_after > 0 {
        meta::as_object(&mut error.details).insert("retryAfterSeconds".into(), retry_after.into());
    }
    error
}
