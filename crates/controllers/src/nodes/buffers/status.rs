//! What a buffer's status says.

use super::view::BufferView;
use super::{Room, Standing};
use crate::nodes::conditions::{Condition, merged};
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
    let conditions = conditions.map(|(kind, (holds, reason, message))| Condition {
        kind,
        holds,
        reason,
        message,
    });
    let conditions = merged(&view.status, conditions, view.meta.generation, now);
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
    let Standing { there, coming, why } = standing;
    let reason = if *there >= all {
        "CapacityReady"
    } else if there.saturating_add(*coming) >= all {
        "NodesComing"
    } else {
        "CapacityMissing"
    };
    let mut message =
        format!("{there} of {all} pods have room on nodes, {coming} will have on nodes to come");
    if let Some((_, why)) = why.as_deref().and_then(|why| why.split_once(": ")) {
        message.push_str("; no further nodes: ");
        message.push_str(why);
    }
    ("True", reason, message)
}
