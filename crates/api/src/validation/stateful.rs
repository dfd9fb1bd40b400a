//! StatefulSets.

use super::object::{self, Lives};
use super::scope::{Errors, Scope, same};
use super::workload::{amount, at_most_all, name_deadline, name_kind, selected_template, zero};
use crate::names;
use serde_json::{Value, json};

const UPDATE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// What may change of the spec.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn stateful_set(new: &Value, old: Option<&Value>) -> Errors {
    // Pods are named after it, so a new one must be a label. Older ones must stay changeable.
    let name = match old {
        None => names::is_dns_label,
        Some(_) => names::is_dns_subdomain,
    };
    let mut errors = object::metadata(new, old, Lives::InNamespace, name);
    let spec = Scope::root(new).at("spec");
    management(&spec.at("podManagementPolicy"), &mut errors);
    strategy(&spec.at("updateStrategy"), &mut errors);
    let retention = spec.at("persistentVolumeClaimRetentionPolicy");
    for when in ["whenDeleted", "whenScaled"] {
        if retention.present() {
            retention
                .at(when)
                .one_of(&["Delete", "Retain"], &mut errors);
        }
    }
    for key in ["replicas", "minReadySeconds"] {
        spec.at(key).not_negative(&mut errors);
    }
    let start = spec.at("ordinals").at("start");
    if start.integer().is_some_and(|start| start < 0) {
        errors.push(start.invalid("must be greater than or equal to 0"));
    }
    spec.at("revisionHistoryLimit").not_negative(&mut errors);
    template_with_claims(&spec, &mut errors);
    if let Some(old) = old
        && !same(&fixed(new), &fixed(old))
    {
        errors.push(spec.forbidden(UPDATE));
    }
    name_kind(&mut errors, "statefulset");
    name_deadline(&mut errors, "StatefulSet");
    errors
}

fn management(policy: &Scope<'_>, errors: &mut Errors) {
    match policy.text() {
        "OrderedReady" | "Parallel" => {}
        "" => errors.push(policy.required("")),
        _ => errors.push(policy.invalid("must be 'OrderedReady' or 'Parallel'")),
    }
}

fn strategy(strategy: &Scope<'_>, errors: &mut Errors) {
    let rolling = strategy.at("rollingUpdate");
    match strategy.at("type").text() {
        "RollingUpdate" => rolling_update(&rolling, errors),
        "OnDelete" if rolling.present() => {
            errors.push(rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"));
        }
        "OnDelete" => {}
        "" => errors.push(strategy.required("")),
        _ => errors.push(strategy.invalid("must be 'RollingUpdate' or 'OnDelete'")),
    }
}

fn rolling_update(rolling: &Scope<'_>, errors: &mut Errors) {
    rolling.at("partition").not_negative(errors);
    let unavailable = rolling.at("maxUnavailable");
    if unavailable.present() {
        amount(&unavailable, errors);
        if zero(&unavailable) {
            errors.push(unavailable.invalid("cannot be 0"));
        }
        at_most_all(&unavailable, errors);
    }
}

/// The part of the spec that may not change.
fn fixed(object: &Value) -> Value {
    let mut spec = object.get("spec").cloned().unwrap_or(Value::Null);
    if let Some(map) = spec.as_object_mut() {
        map.retain(|key, _| !MUTABLE.contains(&key.as_str()));
    }
    spec
}

/// Claim templates are volumes too: mounts may name them.
///
/// Departs: upstream takes any pod template here and lets the creation of the pods fail.
fn template_with_claims(spec: &Scope<'_>, errors: &mut Errors) {
    let mut extended = spec.value.clone();
    let claims: Vec<Value> = spec
        .items("volumeClaimTemplates")
        .iter()
        .map(|claim| json!({"name": claim.path(&["metadata", "name"]).text(), "emptyDir": {}}))
        .collect();
    if !claims.is_empty() {
        let pod = crate::meta::object_mut(&mut extended, &["template", "spec"]);
        let volumes = pod.entry("volumes").or_insert_with(|| json!([]));
        if let Some(list) = volumes.as_array_mut() {
            // A claim template replaces a volume of the same name.
            list.retain(|volume| {
                !claims
                    .iter()
                    .any(|claim| claim.get("name") == volume.get("name"))
            });
            list.extend(claims);
        }
    }
    let scope = Scope {
        path: spec.path.clone(),
        value: &extended,
    };
    selected_template(&scope, errors);
}
