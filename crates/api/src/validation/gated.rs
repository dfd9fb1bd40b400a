//! What may change of a pod that waits behind scheduling gates: gates go, placement narrows.

use super::pod::copy;
use super::scope::{Errors, Scope, same};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const ADDITIONS: &str = "only additions are allowed (no mutations or deletions)";

/// Checks the gates and, of a gated pod, the node selector and node affinity; puts what may change
/// back in `munged`.
pub(super) fn update(new: &Scope<'_>, old: &Scope<'_>, munged: &mut Value, errors: &mut Errors) {
    gates(new, old, errors);
    if old.items("schedulingGates").is_empty() {
        return;
    }
    selector(
        &new.at("nodeSelector"),
        old.at("nodeSelector").value,
        errors,
    );
    copy(munged, old.value, &["nodeSelector"]);
    affinity(
        &new.path(&["affinity", "nodeAffinity"]),
        &old.path(&["affinity", "nodeAffinity"]),
        errors,
    );
    restore_node_affinity(munged, old.value);
}

fn gates(new: &Scope<'_>, old: &Scope<'_>, errors: &mut Errors) {
    let known: BTreeSet<&str> = old
        .items("schedulingGates")
        .iter()
        .map(|gate| gate.at("name").text())
        .collect();
    for gate in new.items("schedulingGates") {
        let name = gate.at("name");
        if !known.contains(name.text()) {
            let why = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                name.text()
            );
            errors.push(name.forbidden(&why));
        }
    }
}

fn selector(new: &Scope<'_>, old: &Value, errors: &mut Errors) {
    let old = old.as_object().into_iter().flatten();
    let kept = |(key, value): (&String, &Value)| new.value.get(key) == Some(value);
    if !old.into_iter().all(kept) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(new.invalid(why));
    }
}

/// Terms stay as many as they are (unless there were none) and may only demand more.
fn affinity(new: &Scope<'_>, old: &Scope<'_>, errors: &mut Errors) {
    let old_terms = old.at(REQUIRED).items("nodeSelectorTerms");
    let new_terms = new.at(REQUIRED).items("nodeSelectorTerms");
    if old_terms.is_empty() {
        return;
    }
    if old_terms.len() != new_terms.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(new.path(&[REQUIRED, "nodeSelectorTerms"]).invalid(why));
        return;
    }
    for (new, old) in new_terms.iter().zip(&old_terms) {
        if !demands_more(new, old) {
            errors.push(new.invalid(ADDITIONS));
        }
    }
}

/// Whether every requirement of the old term is still there, in its place. An empty term matches
/// nothing, so that one may not be added to.
fn demands_more(new: &Scope<'_>, old: &Scope<'_>) -> bool {
    let lists = ["matchExpressions", "matchFields"];
    let is_empty = |term: &Scope<'_>| lists.iter().all(|key| term.items(key).is_empty());
    if is_empty(old) {
        return is_empty(new);
    }
    lists.iter().all(|key| {
        let (old, new) = (old.items(key), new.items(key));
        old.len() <= new.len() && old.iter().zip(&new).all(|(o, n)| same(o.value, n.value))
    })
}

/// Puts the stored node affinity back into the copy that is compared; affinity to pods stays as
/// sent, for that may not change.
fn restore_node_affinity(munged: &mut Value, old: &Value) {
    let stored = old.get("affinity").and_then(|all| all.get("nodeAffinity"));
    let Some(spec) = munged.as_object_mut() else {
        return;
    };
    let affinity = spec.entry("affinity").or_insert_with(|| json!({}));
    if affinity.is_null() {
        *affinity = json!({});
    }
    let Some(all) = affinity.as_object_mut() else {
        return;
    };
    match stored {
        Some(stored) => drop(all.insert("nodeAffinity".into(), stored.clone())),
        None => drop(all.shift_remove("nodeAffinity")),
    }
    if all.is_empty() && old.get("affinity").is_none() {
        spec.shift_remove("affinity");
    }
}
