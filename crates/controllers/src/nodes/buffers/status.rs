//! What a buffer's status says.

use super::view::BufferView;
use super::{Room, Standing};
use jiff::Timestamp;
use plimsoll_api::capacity_buffer::ACTIVE_CAPACITY;
use serde_json::{Value, json};

/// The status as it should be. `standing` is missing where no room is held.
pub(super) fn wanted(
    view: &BufferView,
    room: &Result<Room, String>,
    standing: Option<&Standing>,
    now: Timestamp,
) -> Value {
    let known = room.as_ref().ok();
    let template = known.and_then(|room| room.template.as_ref());
    let replicas = known.map_or(0, |room| room.replicas);
    let conditions = [
        ("ReadyForProvisioning", ready(room)),
        ("Provisioning", provisioning(room, standing)),
    ];
    let conditions = conditions.map(|(kind, (holds, reason, message))| {
        json!({
            "type": kind, "status": holds, "reason": reason, "message": message,
            "observedGeneration": view.meta.generation,
            "lastTransitionTime": since(view, kind, holds, now),
        })
    });
    // A merge patch takes off what is null.
    json!({
        "provisioningStrategy": ACTIVE_CAPACITY,
        "replicas": i32::try_from(replicas).unwrap_or(i32::MAX),
        "podTemplateRef": template.map(|(name, _)| json!({"name": name})),
        "podTemplateGeneration": template.map(|(_, generation)| generation),
        "conditions": conditions,
    })
}

/// Whether a condition holds, why in one word, and in more.
type Said = (&'static str, &'static str, String);

fn ready(room: &Result<Room, String>) -> Said {
    match room {
        Ok(room) => {
            let message = format!("room for {} pods is wanted", room.replicas);
            ("True", "AttributesSetSuccessfully", message)
        }
        Err(why) => ("False", "Error", why.clone()),
    }
}

fn provisioning(room: &Result<Room, String>, standing: Option<&Standing>) -> Said {
    let (Ok(room), Some(standing)) = (room, standing) else {
        let why = "no nodes are kept or added for it";
        return ("False", "NotProvisioned", why.to_owned());
    };
    let all = room.replicas;
    let Standing { there, coming } = standing;
    let reason = if *there >= all {
        "CapacityReady"
    } else if there.saturating_add(*coming) >= all {
        "NodesComing"
    } else {
        "CapacityMissing"
    };
    let message =
        format!("{there} of {all} pods have room on nodes, {coming} will have on nodes to come");
    ("True", reason, message)
}

/// Since when the condition is as it is.
fn since(view: &BufferView, kind: &str, holds: &str, now: Timestamp) -> Value {
    let known = view.status.get("conditions").and_then(Value::as_array);
    let known = known
        .into_iter()
        .flatten()
        .find(|known| has(known, "type", kind) && has(known, "status", holds));
    let since = known.and_then(|known| known.get("lastTransitionTime"));
    since
        .cloned()
        .unwrap_or_else(|| json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
}

fn has(condition: &Value, field: &str, text: &str) -> bool {
    condition.get(field).and_then(Value::as_str) == Some(text)
}

/// Whether the status says this already.
pub(super) fn says(view: &BufferView, wanted: &Value) -> bool {
    let fields = wanted.as_object().into_iter().flatten();
    let same = |key: &str, value: &Value| view.status.get(key).unwrap_or(&Value::Null) == value;
    fields.into_iter().all(|(key, value)| same(key, value))
}
