//! Which names a definition gets, and the conditions that say so.

use super::definition::Names;
use crate::meta;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Names that other definitions of the same group hold.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Plurals, singulars and short names.
    pub resources: BTreeSet<String>,
    /// Kinds and list kinds.
    pub kinds: BTreeSet<String>,
}

impl Taken {
    /// Adds the names a definition holds.
    pub fn add(&mut self, names: &Names) {
        let resources = [&names.plural, &names.singular].into_iter();
        self.resources
            .extend(resources.chain(&names.short_names).cloned());
        self.kinds
            .extend([names.kind.clone(), names.list_kind.clone()]);
        self.resources.remove("");
        self.kinds.remove("");
    }
}

/// A name that cannot be had.
struct Conflict {
    reason: &'static str,
    message: String,
}

/// The status of a definition next to what others hold; `now` is the time of what changes.
pub fn status(definition: &Value, taken: &Taken, now: &str) -> Value {
    let wanted = meta::at(definition, &["spec", "names"])
        .cloned()
        .unwrap_or_default();
    let held = meta::at(definition, &["status", "acceptedNames"]).cloned();
    let (accepted, conflict) = accept(&wanted, held.unwrap_or_default(), taken);
    let mut status = definition.get("status").cloned().unwrap_or_default();
    let map = meta::as_object(&mut status);
    map.insert("acceptedNames".into(), accepted);
    let was_established = holds(definition, "Established");
    let named = match &conflict {
        None => ("NamesAccepted", true, "NoConflicts", "no conflicts found"),
        Some(c) => ("NamesAccepted", false, c.reason, c.message.as_str()),
    };
    set_condition(map, named, now);
    if !was_established {
        let established = match &conflict {
            None => {
                let why = "the initial names have been accepted";
                ("Established", true, "InitialNamesAccepted", why)
            }
            Some(_) => (
                "Established",
                false,
                "NotAccepted",
                "not all names are accepted",
            ),
        };
        set_condition(map, established, now);
    }
    status
}

/// Whether a condition of a definition is true.
pub fn holds(definition: &Value, condition: &str) -> bool {
    let conditions = meta::list(definition, &["status", "conditions"]);
    conditions
        .iter()
        .any(|c| meta::text(c, &["type"]) == condition && meta::text(c, &["status"]) == "True")
}

/// Marks a definition whose deletion begins: its objects go first.
pub fn begin_deletion(definition: &mut Value, now: &str) {
    let metadata = meta::object_mut(definition, &["metadata"]);
    let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Value::Array(list) = finalizers
        && !list.iter().any(|f| f == CLEANUP)
    {
        list.push(CLEANUP.into());
    }
    let why =
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    let status = meta::object_mut(definition, &["status"]);
    set_condition(
        status,
        ("Terminating", true, "InstanceDeletionPending", why),
        now,
    );
}

/// Lets a definition go whose objects are gone.
pub fn end_deletion(definition: &mut Value, now: &str) {
    let metadata = meta::object_mut(definition, &["metadata"]);
    if let Some(Value::Array(list)) = metadata.get_mut("finalizers") {
        list.retain(|f| f != CLEANUP);
        if list.is_empty() {
            metadata.shift_remove("finalizers");
        }
    }
    let status = meta::object_mut(definition, &["status"]);
    let condition = (
        "Terminating",
        false,
        "InstanceDeletionCompleted",
        "removed all instances",
    );
    set_condition(status, condition, now);
}

/// Holds a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

fn accept(wanted: &Value, mut held: Value, taken: &Taken) -> (Value, Option<Conflict>) {
    let mut conflict = None;
    let fields = [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("shortNames", "ShortNamesConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ];
    let accepted = meta::as_object(&mut held);
    for (field, reason, taken) in fields {
        let Some(value) = wanted.get(field) else {
            accepted.shift_remove(field);
            continue;
        };
        let names = value
            .as_array()
            .map_or(std::slice::from_ref(value), Vec::as_slice);
        let used = names.iter().find_map(|name| {
            let name = name.as_str()?;
            (accepted.get(field) != Some(value) && taken.contains(name)).then_some(name)
        });
        match used {
            None => drop(accepted.insert(field.into(), value.clone())),
            Some(name) => {
                // The last one is what the condition says.
                conflict = Some(Conflict {
                    reason,
                    message: format!("{name:?} is already in use"),
                });
                // The type has no such thing as no name.
                if matches!(field, "plural" | "kind") {
                    accepted.entry(field).or_insert_with(|| "".into());
                }
            }
        }
    }
    match wanted.get("categories") {
        Some(categories) => drop(accepted.insert("categories".into(), categories.clone())),
        None => drop(accepted.shift_remove("categories")),
    }
    (held, conflict)
}

/// Sets a condition (type, status, reason, message); its time moves only with its status.
fn set_condition(
    status: &mut Map<String, Value>,
    (kind, holds, reason, message): (&str, bool, &str, &str),
    now: &str,
) {
    let value = if holds { "True" } else { "False" };
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    let Value::Array(list) = list else { return };
    let found = list.iter_mut().find(|c| meta::text(c, &["type"]) == kind);
    let new = |time: &str| {
        json!({
            "type": kind, "status": value, "lastTransitionTime": time, "reason": reason,
            "message": message,
        })
    };
    match found {
        Some(condition) => {
            let same = meta::text(condition, &["status"]) == value;
            let time = meta::text(condition, &["lastTransitionTime"]).to_owned();
            *condition = new(if same { &time } else { now });
        }
        None => list.push(new(now)),
    }
}
