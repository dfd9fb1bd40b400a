//! Priority and DefaultTolerationSeconds.

use super::Request;
use crate::resource::patch::Part;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;

/// Seconds a pod stays on a node that is not ready or not reachable.
const OUTAGE_SECONDS: u32 = 300;

/// Resolves `priorityClassName` into `priority` and `preemptionPolicy`.
pub(super) fn set_priority(
    request: &Request<'_>,
    pod: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if !request.is_core("Pod") || request.part != Part::Main {
        return Ok(());
    }
    if let Some(old) = old {
        // Immutable: what the first write resolved stays.
        for key in ["priority", "preemptionPolicy"] {
            if let Some(value) = meta::at(old, &["spec", key]) {
                meta::default_at(pod, &["spec"], key, value.clone());
            }
        }
        return Ok(());
    }
    let name = meta::text(pod, &["spec", "priorityClassName"]).to_owned();
    let class = if name.is_empty() {
        default_class(request)
    } else {
        find(request, &name)?
    };
    let Some(class) = class else {
        as_computed(request, pod, 0, "PreemptLowerPriority")?;
        meta::default_at(pod, &["spec"], "priority", 0);
        meta::default_at(pod, &["spec"], "preemptionPolicy", "PreemptLowerPriority");
        return Ok(());
    };
    let value = meta::integer(&class, &["value"]).unwrap_or(0);
    let policy = match meta::text(&class, &["preemptionPolicy"]) {
        "" => "PreemptLowerPriority",
        policy => policy,
    };
    as_computed(request, pod, value, policy)?;
    let spec = meta::object_mut(pod, &["spec"]);
    spec.insert("priorityClassName".into(), meta::name(&class).into());
    spec.insert("priority".into(), value.into());
    spec.insert("preemptionPolicy".into(), policy.into());
    Ok(())
}

/// What a pod says of its priority must be what its class says.
fn as_computed(
    request: &Request<'_>,
    pod: &Value,
    value: i64,
    policy: &str,
) -> Result<(), ApiError> {
    let computed = "priority admission controller computed";
    let source = "from the given PriorityClass name";
    if let Some(sent) = meta::integer(pod, &["spec", "priority"]).filter(|sent| *sent != value) {
        return Err(request.forbidden(&format!(
            "the integer value of priority ({sent}) must not be provided in pod spec; {computed} {value} {source}"
        )));
    }
    let sent = meta::text(pod, &["spec", "preemptionPolicy"]);
    if !sent.is_empty() && sent != policy {
        return Err(request.forbidden(&format!(
            "the string value of PreemptionPolicy ({sent}) must not be provided in pod spec; {computed} {policy} {source}"
        )));
    }
    Ok(())
}

/// Refuses a second default class.
pub(super) fn check_class(
    request: &Request<'_>,
    class: &Value,
    _: Option<&Value>,
) -> Result<(), ApiError> {
    let kind = request.writer.kind;
    let is_class = kind.group == "scheduling.k8s.io" && kind.kind == "PriorityClass";
    if !is_class || !is_default(class) {
        return Ok(());
    }
    let classes = &request.writer.server.0.admission.priority_classes;
    let others = classes.in_namespace("").into_iter();
    match others
        .filter(|other| is_default(other))
        .find(|other| meta::name(other) != request.name)
    {
        None => Ok(()),
        Some(other) => Err(request.forbidden(&format!(
            "PriorityClass {} is already marked as default. Only one default can exist",
            meta::name(&other)
        ))),
    }
}

fn find(request: &Request<'_>, name: &str) -> Result<Option<Arc<Value>>, ApiError> {
    let classes = &request.writer.server.0.admission.priority_classes;
    let found = classes.get("", name);
    found
        .map(Some)
        .ok_or_else(|| request.forbidden(&format!("no PriorityClass with name {name} was found")))
}

/// The class marked `globalDefault`; the lowest of several.
fn default_class(request: &Request<'_>) -> Option<Arc<Value>> {
    let classes = &request.writer.server.0.admission.priority_classes;
    classes
        .in_namespace("")
        .into_iter()
        .filter(|class| is_default(class))
        .min_by_key(|class| meta::integer(class, &["value"]))
}

fn is_default(class: &Value) -> bool {
    class.get("globalDefault").and_then(Value::as_bool) == Some(true)
}

/// Adds the two tolerations that let a pod outlive a short outage of its node.
#[expect(clippy::unnecessary_wraps, reason = "one signature for every step")]
pub(super) fn tolerate_outages(
    request: &Request<'_>,
    pod: &mut Value,
    _: Option<&Value>,
) -> Result<(), ApiError> {
    if !request.is_core("Pod") || request.part != Part::Main {
        return Ok(());
    }
    let mut tolerations = meta::list(pod, &["spec", "tolerations"]).to_vec();
    let before = tolerations.len();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let covered = tolerations.iter().any(|t| covers(t, key));
        if !covered {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": OUTAGE_SECONDS,
            }));
        }
    }
    if tolerations.len() > before {
        meta::object_mut(pod, &["spec"]).insert("tolerations".into(), tolerations.into());
    }
    Ok(())
}

fn covers(toleration: &Value, key: &str) -> bool {
    let own = meta::text(toleration, &["key"]);
    let effect = meta::text(toleration, &["effect"]);
    (own.is_empty() || own == key) && (effect.is_empty() || effect == "NoExecute")
}
