//! Pods and the specs of pod templates.

use super::container;
use super::object::{self, Lives};
use super::scope::{Errors, Scope, same};
use super::{gated, lifecycle, placement, security, volume};
use crate::names;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const UPDATE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn pod(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = object::metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let root = Scope::root(new);
    spec(&root.at("spec"), &mut errors);
    match old {
        Some(old) => update(&root.at("spec"), &Scope::root(old).at("spec"), &mut errors),
        None => create(&root.at("spec"), &mut errors),
    }
    errors
}

/// What a pod and a pod template share.
pub(super) fn spec(spec: &Scope<'_>, errors: &mut Errors) {
    let volumes = volume::volumes(spec, errors);
    container::containers(spec, &volumes, errors);
    spec.at("restartPolicy")
        .one_of(&["Always", "Never", "OnFailure"], errors);
    let dns = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    spec.at("dnsPolicy").one_of(&dns, errors);
    let deadline = spec.at("activeDeadlineSeconds");
    if deadline
        .integer()
        .is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds))
    {
        errors.push(deadline.invalid("must be between 1 and 2147483647, inclusive"));
    }
    spec.at("terminationGracePeriodSeconds")
        .not_negative(errors);
    for key in [
        "serviceAccountName",
        "nodeName",
        "priorityClassName",
        "runtimeClassName",
    ] {
        if !spec.at(key).is_empty() {
            spec.at(key).name(names::is_dns_subdomain, errors);
        }
    }
    for key in ["hostname", "subdomain"] {
        if !spec.at(key).is_empty() {
            spec.at(key).name(names::is_dns_label, errors);
        }
    }
    object::labels(&spec.at("nodeSelector"), errors);
    tolerations(spec, errors);
    placement::spread(spec, errors);
    placement::affinity(spec, errors);
    placement::gates(spec, errors);
    placement::claims(spec, errors);
    security::contexts(spec, errors);
    security::names_of(spec, errors);
    lifecycle::pod(spec, errors);
}

/// What only a pod that is being made must meet.
fn create(spec: &Scope<'_>, errors: &mut Errors) {
    if !spec.at("ephemeralContainers").is_empty() {
        let field = spec.at("ephemeralContainers");
        errors.push(field.forbidden("cannot be set on create"));
    }
    if !spec.at("nodeName").is_empty() && !spec.at("schedulingGates").is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.push(spec.at("nodeName").forbidden(why));
    }
}

pub(super) fn tolerations(spec: &Scope<'_>, errors: &mut Errors) {
    for toleration in spec.items("tolerations") {
        let (key, operator) = (toleration.at("key"), toleration.at("operator"));
        if key.is_empty() {
            if operator.text() != "Exists" {
                let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
                errors.push(operator.invalid(why));
            }
        } else {
            key.name(names::is_qualified_name, errors);
        }
        if !operator.is_empty() {
            operator.one_of(&["Equal", "Exists", "Gt", "Lt"], errors);
        }
        if operator.text() == "Exists" && !toleration.at("value").is_empty() {
            let why = "value must be empty when `operator` is 'Exists'";
            errors.push(operator.invalid(why));
        }
        let effect = toleration.at("effect");
        if !effect.is_empty() {
            effect.one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"], errors);
        }
        if toleration.at("tolerationSeconds").present() && effect.text() != "NoExecute" {
            errors
                .push(effect.invalid("effect must be 'NoExecute' when `tolerationSeconds` is set"));
        }
    }
}

/// What an existing pod may still change.
fn update(new: &Scope<'_>, old: &Scope<'_>, errors: &mut Errors) {
    let count = |scope: &Scope<'_>, key: &str| scope.items(key).len();
    for key in ["containers", "initContainers"] {
        if count(new, key) != count(old, key) {
            errors.push(
                new.at(key)
                    .forbidden("pod updates may not add or remove containers"),
            );
            return;
        }
    }
    let deadline = new.at("activeDeadlineSeconds");
    let old_deadline = old.at("activeDeadlineSeconds");
    match (deadline.integer(), old_deadline.integer()) {
        (Some(now), Some(before)) if now > before => {
            errors.push(deadline.invalid("must be less than or equal to previous value"));
            return;
        }
        (None, Some(_)) => {
            errors.push(deadline.invalid("must not update from a positive integer to nil value"));
            return;
        }
        _ => {}
    }
    let tolerations = old.items("tolerations");
    let kept = tolerations.iter().all(|toleration| {
        new.items("tolerations").iter().any(|other| {
            let [left, right] = [other, toleration].map(|t| without(t.value, "tolerationSeconds"));
            same(&left, &right)
        })
    });
    if !kept {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(new.at("tolerations").forbidden(why));
    }
    let mut munged = new.value.clone();
    restore_mutable(&mut munged, old);
    gated::update(new, old, &mut munged, errors);
    copy(&mut munged, old.value, &["schedulingGates"]);
    if !same(&munged, old.value) {
        errors.push(new.forbidden(&format!("{UPDATE}\n{}", changed(&munged, old.value))));
    }
}

/// Puts the stored value of everything that may change back into the copy that is compared.
fn restore_mutable(munged: &mut Value, old: &Scope<'_>) {
    for key in ["containers", "initContainers"] {
        let olds = old.items(key);
        let Some(list) = munged.get_mut(key).and_then(Value::as_array_mut) else {
            continue;
        };
        for (container, before) in list.iter_mut().zip(&olds) {
            copy(container, before.value, &["image"]);
        }
    }
    let mutable = [
        "activeDeadlineSeconds",
        "tolerations",
        "ephemeralContainers",
    ];
    copy(munged, old.value, &mutable);
    let was_negative = old
        .at("terminationGracePeriodSeconds")
        .integer()
        .is_some_and(|s| s < 0);
    if was_negative && munged.get("terminationGracePeriodSeconds") == Some(&json!(1)) {
        copy(munged, old.value, &["terminationGracePeriodSeconds"]);
    }
}

/// Takes over fields of another object, absent ones too.
pub(super) fn copy(into: &mut Value, from: &Value, keys: &[&str]) {
    let Some(map) = into.as_object_mut() else {
        return;
    };
    for key in keys {
        match from.get(*key) {
            Some(value) => drop(map.insert((*key).into(), value.clone())),
            None => drop(map.shift_remove(*key)),
        }
    }
}

fn without(value: &Value, key: &str) -> Value {
    let mut copy = value.clone();
    if let Some(map) = copy.as_object_mut() {
        map.shift_remove(key);
    }
    copy
}

/// Names the top-level fields of the spec that differ.
fn changed(new: &Value, old: &Value) -> String {
    let keys = |value: &Value| -> BTreeSet<String> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect()
    };
    let all: BTreeSet<String> = keys(new).union(&keys(old)).cloned().collect();
    let field = |value: &Value, key: &str| value.get(key).cloned().unwrap_or(Value::Null);
    let names: Vec<String> = all
        .into_iter()
        .filter(|key| !same(&field(new, key), &field(old, key)))
        .map(|key| format!("spec.{key}"))
        .collect();
    format!("changed: {}", names.join(", "))
}
