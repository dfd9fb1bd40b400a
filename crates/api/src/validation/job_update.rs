//! What may change in a Job.

use super::scope::{Errors, Scope, same};
use serde_json::{Map, Value};

/// Fields of a pod template that say where its pods may run.
const DIRECTIVES: [&str; 3] = ["nodeSelector", "tolerations", "schedulingGates"];

/// The rules for an update.
pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, before) = (Scope::root(new).at("spec"), Scope::root(old).at("spec"));
    completions(&spec, &before, errors);
    for key in [
        "selector",
        "completionMode",
        "backoffLimitPerIndex",
        "managedBy",
        "podFailurePolicy",
        "successPolicy",
    ] {
        spec.at(key).unchanged(&before.at(key), errors);
    }
    let template = spec.at("template");
    let mut allowed = before.at("template").value.clone();
    if rests(old) {
        take_over(&mut allowed, template.value);
    }
    if !same(template.value, &allowed) {
        errors.push(template.invalid("field is immutable"));
    }
}

/// An indexed Job may have more or fewer indexes, as many as run at a time.
fn completions(spec: &Scope<'_>, before: &Scope<'_>, errors: &mut Errors) {
    let completions = spec.at("completions");
    if spec.at("completionMode").text() != "Indexed" || !completions.present() {
        return completions.unchanged(&before.at("completions"), errors);
    }
    let changed = completions.value != before.at("completions").value;
    if changed && completions.value != spec.at("parallelism").value {
        errors.push(completions.invalid("can only be modified in tandem with spec.parallelism"));
    }
}

/// Whether the Job is suspended and no pod of it is left over from before.
fn rests(job: &Value) -> bool {
    let job = Scope::root(job);
    let mut conditions = job.at("status").items("conditions").into_iter();
    let suspended = conditions.any(|condition| {
        condition.at("type").text() == "Suspended" && condition.at("status").text() == "True"
    });
    let never_started = !job.path(&["status", "startTime"]).present();
    job.path(&["spec", "suspend"]).value == &Value::Bool(true) && (suspended || never_started)
}

/// Takes over what may change in the template of a Job at rest: labels and annotations, where its
/// pods may run, and what its containers ask for.
fn take_over(allowed: &mut Value, new: &Value) {
    for key in ["labels", "annotations"] {
        copy(allowed, new, &["metadata"], key);
    }
    for key in DIRECTIVES {
        copy(allowed, new, &["spec"], key);
    }
    copy(allowed, new, &["spec", "affinity"], "nodeAffinity");
    for list in ["containers", "initContainers"] {
        let pointer = format!("/spec/{list}");
        let wanted = new.pointer(&pointer).and_then(Value::as_array);
        let containers = allowed.pointer_mut(&pointer).and_then(Value::as_array_mut);
        let pairs = containers
            .into_iter()
            .flatten()
            .zip(wanted.into_iter().flatten());
        for (container, wanted) in pairs {
            copy(container, wanted, &[], "resources");
        }
    }
}

/// Makes a field the same as in another object.
fn copy(to: &mut Value, from: &Value, parents: &[&str], key: &str) {
    let source = parents
        .iter()
        .try_fold(from, |value, parent| value.get(parent));
    let source = source.and_then(|parent| parent.get(key)).cloned();
    let mut target = to;
    for parent in parents {
        let Some(map) = target.as_object_mut() else {
            return;
        };
        target = map
            .entry(*parent)
            .or_insert_with(|| Value::Object(Map::new()));
        if target.is_null() {
            *target = Value::Object(Map::new());
        }
    }
    if let Some(map) = target.as_object_mut() {
        match source {
            Some(value) => drop(map.insert(key.to_owned(), value)),
            None => drop(map.shift_remove(key)),
        }
    }
}
