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
/// How often an eviction is tried against concurrent writes.
const ATTEMPTS: usize = 20;
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

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
    evict(call, &options).await?;
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    Ok(respond::value(201, &call.wanted, &status))
}

/// Looks at the pod, asks its budget and deletes it.
async fn evict(call: &Call, options: &DeleteOptions) -> Result<(), ApiError> {
    let mut attempt = 1;
    loop {
        let entry = call
            .server
            .store()
            .get(&call.key())
            .ok_or_else(|| call.not_found())?;
        let pod = parse(&entry.json)?;
        if !bypasses_budgets(&pod) {
            return evict_serving(call, &entry, &pod, options).await;
        }
        let mut options = options.clone();
        let free_to_retry = options.version.is_none();
        // A pending pod may come under protection while it is being looked at.
        if meta::text(&pod, &["status", "phase"]) == "Pending" && !meta::is_deleting(&pod) {
            let seen = || entry.revision.to_string();
            options.version.get_or_insert_with(seen);
        }
        match delete(call, &options).await {
            Err(error) if error.code == 409 && free_to_retry && attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

/// Evicts a pod that counts for its budget.
async fn evict_serving(
    call: &Call,
    entry: &Entry,
    pod: &Value,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let mut options = options.clone();
    let mut retry_by_client = None;
    if let Permit::WhileUnready(budget) = ask_budget(call, pod, options.run).await?
        && options.version.is_none()
    {
        // Nothing was taken from the budget, so the pod must still be what was looked at.
        options.version = Some(entry.revision.to_string());
        retry_by_client = Some(budget);
    }
    let outcome = match options.run {
        Run::Real => mark(call, &mut options).await,
        Run::Dry => Ok(()),
    };
    let outcome = match outcome {
        Ok(()) => delete(call, &options).await,
        Err(error) => Err(error),
    };
    match (outcome, retry_by_client) {
        (Err(error), Some(budget)) if error.code == 409 => Err(still_processed(&budget)),
        (outcome, _) => outcome,
    }
}

async fn delete(call: &Call, options: &DeleteOptions) -> Result<(), ApiError> {
    let writer = Writer::of(call, options.run);
    writer.delete(&call.key(), options).await.map(drop)
}

/// Pods that serve nobody are not protected.
fn bypasses_budgets(pod: &Value) -> bool {
    let phase = meta::text(pod, &["status", "phase"]);
    matches!(phase, "Pending" | "Succeeded" | "Failed") || meta::is_deleting(pod)
}

/// Tells the pod why it ends. The deletion is then bound to the pod as it is after that.
async fn mark(call: &Call, options: &mut DeleteOptions) -> Result<(), ApiError> {
    let now = whole_seconds(call.server.now());
    let (uid, version) = (options.uid.clone(), options.version.clone());
    let step = |old: &Value| {
        check_preconditions(old, uid.as_deref(), version.as_deref())?;
        let mut pod = old.clone();
        put_condition(&mut pod, condition(old, &now));
        Ok(pod)
    };
    let writer = Writer {
        tracking: Tracking::Off,
        ..Writer::of(call, Run::Real)
    };
    let marked = writer.update(&call.key(), Part::Other, &step).await?;
    let marked = parse(&marked)?;
    options.uid = Some(meta::uid(&marked).to_owned());
    if options.version.is_some() {
        options.version = Some(meta::text(&marked, &["metadata", "resourceVersion"]).to_owned());
    }
    Ok(())
}

fn check_preconditions(
    pod: &Value,
    uid: Option<&str>,
    version: Option<&str>,
) -> Result<(), ApiError> {
    let conflict = |why: String| Err(ApiError::conflict("", "pods", meta::name(pod), &why));
    let own = meta::text(pod, &["metadata", "resourceVersion"]);
    match (uid, version) {
        (Some(uid), _) if uid != meta::uid(pod) => conflict(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            meta::uid(pod)
        )),
        (_, Some(version)) if version != own => conflict(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({own}). The object might have been modified"
        )),
        (_, _) => Ok(()),
    }
}

/// The condition that says why the pod ends; its time is that of the first such word.
fn condition(pod: &Value, now: &str) -> Value {
    let known = meta::list(pod, &["status", "conditions"])
        .iter()
        .find(|c| meta::text(c, &["type"]) == "DisruptionTarget")
        .filter(|c| meta::text(c, &["status"]) == "True")
        .map(|c| meta::text(c, &["lastTransitionTime"]))
        .filter(|since| !since.is_empty());
    let mut condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null,
        "lastTransitionTime": known.unwrap_or(now),
    });
    if let Some(generation) = meta::at(pod, &["metadata", "generation"]).cloned() {
        meta::as_object(&mut condition).insert("observedGeneration".into(), generation);
    }
    condition
}

/// On what grounds a pod may go.
enum Permit {
    /// No budget protects it, or its budget gave one disruption away.
    Granted,
    /// It is not ready, and this budget lets such pods go.
    WhileUnready(String),
}

/// Finds the pod's budget and takes one disruption from it.
async fn ask_budget(call: &Call, pod: &Value, run: Run) -> Result<Permit, ApiError> {
    let Some(kind) = call.server.stored_kind("policy", "poddisruptionbudgets") else {
        return Ok(Permit::Granted);
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
        return Ok(Permit::Granted);
    };
    if mine.next().is_some() {
        return Err(several_budgets());
    }
    let name = meta::name(budget);
    if !is_ready(pod) && unready_may_go(budget) {
        return Ok(Permit::WhileUnready(name.to_owned()));
    }
    let writer = Writer {
        kind: &kind,
        tracking: Tracking::Off,
        ..Writer::of(call, run)
    };
    let now = whole_seconds(call.server.now());
    let step = |old: &Value| disrupt(old, meta::name(pod), &now);
    let key = key(&kind, call.namespace(), name);
    let mut attempt = 1;
    loop {
        match writer.update(&key, Part::Other, &step).await {
            Ok(_) => return Ok(Permit::Granted),
            Err(error) if error.code == 409 && attempt < ATTEMPTS => attempt += 1,
            Err(error) if error.code == 409 => return Err(raced(name)),
            Err(error) => return Err(error),
        }
    }
}

fn several_budgets() -> ApiError {
    let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    // Upstream gives no reason here, and kubectl shows the message as it is.
    ApiError::new(500, "", why)
}

fn raced(budget: &str) -> ApiError {
    let why = format!("Timeout: couldn't update PodDisruptionBudget {budget:?} due to conflicts");
    let mut error = ApiError::new(504, "Timeout", why);
    error.details = json!({"retryAfterSeconds": 10});
    error
}

fn selects(budget: &Value, pod: &Value) -> bool {
    let selector = budget
        .get("spec")
        .and_then(|s| s.get("selector"))
        .unwrap_or(&Value::Null);
    if selector.is_null() {
        return false;
    }
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
        return Err(still_processed(name));
    }
    let forbid = |why: &str| {
        let plural = "poddisruptionbudgets";
        Err(ApiError::forbidden("policy", plural, name, why))
    };
    let allowed = count("disruptionsAllowed");
    if allowed < 0 {
        return forbid("pdb disruptions allowed is negative");
    }
    let in_flight = meta::at(budget, &["status", "disruptedPods"]).and_then(Value::as_object);
    if in_flight.is_some_and(|pods| pods.len() > IN_FLIGHT) {
        return forbid(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        );
    }
    if allowed == 0 {
        return Err(too_many(&exhausted(budget), 0));
    }
    let mut new = budget.clone();
    let status = meta::object_mut(&mut new, &["status"]);
    status.insert("disruptionsAllowed".into(), (allowed - 1).into());
    meta::object_mut(&mut new, &["status", "disruptedPods"]).insert(pod.into(), now.into());
    if allowed == 1 {
        let condition = json!({
            "type": DISRUPTION_ALLOWED, "status": "False", "observedGeneration": observed,
            "lastTransitionTime": now, "reason": "InsufficientPods", "message": "",
        });
        put_condition(&mut new, condition);
    }
    Ok(new)
}

/// Why a budget has nothing to give.
fn exhausted(budget: &Value) -> String {
    let name = meta::name(budget);
    let failed = meta::list(budget, &["status", "conditions"])
        .iter()
        .find(|c| meta::text(c, &["type"]) == DISRUPTION_ALLOWED)
        .filter(|c| meta::text(c, &["reason"]) == "SyncFailed");
    if let Some(condition) = failed {
        let why = meta::text(condition, &["message"]);
        return format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}"
        );
    }
    let count = |field: &str| meta::integer(budget, &["status", field]).unwrap_or(0);
    let (healthy, desired) = (count("currentHealthy"), count("desiredHealthy"));
    format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
}

fn still_processed(budget: &str) -> ApiError {
    let why = format!("The disruption budget {budget} is still being processed by the server.");
    too_many(&why, 10)
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
