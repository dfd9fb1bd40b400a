//! Controllers of pods.

use super::object::{self, Lives};
use super::pod;
use super::scope::{Errors, Scope};
use crate::names;
use serde_json::{Value, json};

fn metadata(new: &Value, old: Option<&Value>) -> Errors {
    object::metadata(new, old, Lives::InNamespace, names::is_dns_subdomain)
}

pub(super) fn pod_template(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old);
    template(&Scope::root(new).at("template"), &mut errors);
    errors
}

pub(super) fn template(template: &Scope<'_>, errors: &mut Errors) {
    object::labels(&template.at("metadata").at("labels"), errors);
    object::annotations(&template.at("metadata").at("annotations"), errors);
    pod::spec(&template.at("spec"), errors);
}

/// Selector, template and whether one matches the other.
pub(super) fn selected_template(spec: &Scope<'_>, errors: &mut Errors) {
    let selector = spec.at("selector");
    if selector.present() {
        object::selector(&selector, errors);
        let empty =
            selector.at("matchLabels").is_empty() && selector.at("matchExpressions").is_empty();
        if empty {
            errors.push(selector.invalid("empty selector is invalid for deployment"));
        }
    } else {
        errors.push(selector.required(""));
    }
    matches(spec, errors);
    template(&spec.at("template"), errors);
    always_restarts(spec, errors);
}

fn matches(spec: &Scope<'_>, errors: &mut Errors) {
    let empty = json!({});
    let labels = spec.path(&["template", "metadata", "labels"]);
    let shown = if labels.present() {
        labels.value
    } else {
        &empty
    };
    let selector = spec.at("selector");
    if !selector.is_empty() && !object::selects(selector.value, shown) {
        let scope = Scope {
            path: labels.path,
            value: shown,
        };
        errors.push(scope.invalid("`selector` does not match template `labels`"));
    }
}

fn always_restarts(spec: &Scope<'_>, errors: &mut Errors) {
    let policy = spec.path(&["template", "spec", "restartPolicy"]);
    if matches!(policy.text(), "Never" | "OnFailure") {
        policy.one_of(&["Always"], errors);
    }
    let deadline = spec.path(&["template", "spec", "activeDeadlineSeconds"]);
    if deadline.present() {
        errors.push(deadline.forbidden("activeDeadlineSeconds in ReplicaSet is not Supported"));
    }
}

/// The message about an empty selector names the kind.
pub(super) fn name_kind(errors: &mut Errors, kind: &str) {
    for error in errors {
        error.detail = error.detail.replace(
            "is invalid for deployment",
            &format!("is invalid for {kind}"),
        );
    }
}

/// The message about a deadline names the kind; a Deployment's is that of its ReplicaSets.
pub(super) fn name_deadline(errors: &mut Errors, kind: &str) {
    for error in errors {
        let of_kind = format!("activeDeadlineSeconds in {kind} is");
        error.detail = error
            .detail
            .replace("activeDeadlineSeconds in ReplicaSet is", &of_kind);
    }
}

fn selector_immutable(new: &Scope<'_>, old: Option<&Value>, errors: &mut Errors) {
    if let Some(old) = old {
        new.at("selector")
            .unchanged(&Scope::root(old).path(&["spec", "selector"]), errors);
    }
}

pub(super) fn deployment(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old);
    let spec = Scope::root(new).at("spec");
    spec.at("replicas").not_negative(&mut errors);
    selected_template(&spec, &mut errors);
    strategy(&spec.at("strategy"), &mut errors);
    for key in [
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    ] {
        spec.at(key).not_negative(&mut errors);
    }
    let (deadline, ready) = (
        spec.at("progressDeadlineSeconds"),
        spec.at("minReadySeconds"),
    );
    if deadline
        .integer()
        .is_some_and(|limit| limit <= ready.integer().unwrap_or_default())
    {
        errors.push(deadline.invalid("must be greater than minReadySeconds"));
    }
    selector_immutable(&spec, old, &mut errors);
    errors
}

fn strategy(strategy: &Scope<'_>, errors: &mut Errors) {
    let rolling = strategy.at("rollingUpdate");
    match strategy.at("type").text() {
        "Recreate" => {
            if rolling.present() {
                errors.push(
                    rolling.forbidden("may not be specified when strategy `type` is 'Recreate'"),
                );
            }
        }
        "RollingUpdate" => rolling_update(&rolling, errors),
        _ => strategy
            .at("type")
            .one_of(&["Recreate", "RollingUpdate"], errors),
    }
}

fn rolling_update(rolling: &Scope<'_>, errors: &mut Errors) {
    let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
    amount(&unavailable, errors);
    amount(&surge, errors);
    if zero(&unavailable) && zero(&surge) {
        errors.push(unavailable.invalid("may not be 0 when `maxSurge` is 0"));
    }
    at_most_all(&unavailable, errors);
}

pub(super) fn percent(value: &Scope<'_>) -> Option<i64> {
    value
        .text()
        .strip_suffix('%')
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?
        .parse()
        .ok()
}

pub(super) fn zero(value: &Scope<'_>) -> bool {
    value.integer() == Some(0) || percent(value) == Some(0)
}

/// A count that is not negative, or a percentage.
pub(super) fn amount(value: &Scope<'_>, errors: &mut Errors) {
    if value.value.is_string() {
        if percent(value).is_none() {
            errors.push(value.invalid(
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ));
        }
    } else {
        value.not_negative(errors);
    }
}

pub(super) fn at_most_all(value: &Scope<'_>, errors: &mut Errors) {
    if percent(value).is_some_and(|percent| percent > 100) {
        errors.push(value.invalid("must not be greater than 100%"));
    }
}

pub(super) fn replica_set(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old);
    let spec = Scope::root(new).at("spec");
    spec.at("replicas").not_negative(&mut errors);
    spec.at("minReadySeconds").not_negative(&mut errors);
    selected_template(&spec, &mut errors);
    selector_immutable(&spec, old, &mut errors);
    name_kind(&mut errors, "replicaset");
    errors
}

pub(super) fn replication_controller(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old);
    let spec = Scope::root(new).at("spec");
    spec.at("replicas").not_negative(&mut errors);
    spec.at("minReadySeconds").not_negative(&mut errors);
    spec.at("selector").require(&mut errors);
    let labels = spec.path(&["template", "metadata", "labels"]);
    let wanted = spec.at("selector");
    let unmatched = wanted
        .entries()
        .iter()
        .any(|(key, value)| labels.value.get(*key) != Some(value.value));
    if unmatched {
        errors.push(labels.invalid("`selector` does not match template `labels`"));
    }
    let pods = spec.at("template");
    if pods.present() {
        template(&pods, &mut errors);
    } else {
        errors.push(pods.required(""));
    }
    always_restarts(&spec, &mut errors);
    name_deadline(&mut errors, "ReplicationController");
    errors
}

pub(super) fn daemon_set(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old);
    let spec = Scope::root(new).at("spec");
    selected_template(&spec, &mut errors);
    spec.at("minReadySeconds").not_negative(&mut errors);
    spec.at("revisionHistoryLimit").not_negative(&mut errors);
    let strategy = spec.at("updateStrategy");
    strategy
        .at("type")
        .one_of(&["OnDelete", "RollingUpdate"], &mut errors);
    if strategy.at("type").text() == "RollingUpdate" {
        let rolling = strategy.at("rollingUpdate");
        let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
        amount(&unavailable, &mut errors);
        amount(&surge, &mut errors);
        at_most_all(&unavailable, &mut errors);
        at_most_all(&surge, &mut errors);
        match (zero(&unavailable), zero(&surge)) {
            (true, true) => {
                errors.push(unavailable.required("cannot be 0 when maxSurge is 0"));
            }
            (false, false) => {
                errors.push(surge.invalid("may not be set when maxUnavailable is non-zero"));
            }
            (true, false) | (false, true) => {}
        }
    }
    selector_immutable(&spec, old, &mut errors);
    name_kind(&mut errors, "daemonset");
    errors
}
