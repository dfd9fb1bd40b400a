//! Priority and DefaultTolerationSeconds.

use super::Request;
use crate::resource::patch::Part;
use crate::resource::present::parse;
use crate::store::ListQuery;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};

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
        meta::default_at(pod, &["spec"], "priority", 0);
        meta::default_at(pod, &["spec"], "preemptionPolicy", "PreemptLowerPriority");
        return Ok(());
    };
    let value = meta::integer(&class, &["value"]).unwrap_or(0);
    let sent = meta::integer(pod, &["spec", "priority"]);
    if sent.is_some_and(|sent| sent != value) {
        return Err(request.forbidden(
            "the integer value of priority must not be provided in pod spec; priority admission controller computed it from the given PriorityClass name",
        ));
    }
    let policy = meta::text(&class, &["preemptionPolicy"]);
    let policy = if policy.is_empty() {
        "PreemptLowerPriority"
    } else {
        policy
    };
    let spec = meta::object_mut(pod, &["spec"]);
    spec.insert("priorityClassName".into(), meta::name(&class).into());
    spec.insert("priority".into(), value.into());
    spec.insert("preemptionPolicy".into(), policy.into());
    Ok(())
}

fn find(request: &Request<'_>, name: &str) -> Result<Option<Value>, ApiError> {
    let server = request.writer.server;
    let entry = server.find("scheduling.k8s.io", "priorityclasses", ("", name));
    let entry = entry.ok_or_else(|| {
        request.forbidden(&format!("no PriorityClass with name {name} was found"))
    })?;
    parse(&entry.json).map(Some)
}

/// The class marked `globalDefault`; the lowest of several.
fn default_class(request: &Request<'_>) -> Option<Value> {
    let server = request.writer.server;
    let kind = server.stored_kind("scheduling.k8s.io", "priorityclasses")?;
    let query = ListQuery {
        resource: std::sync::Arc::clone(&kind.storage),
        ..ListQuery::default()
    };
    let page = server.store().list(&query).ok()?;
    let classes = page
        .entries
        .iter()
        .filter_map(|entry| parse(&entry.json).ok());
    let defaults =
        classes.filter(|c| c.get("globalDefault").and_then(Value::as_bool) == Some(true));
    defaults.min_by_key(|class| meta::integer(class, &["value"]))
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
