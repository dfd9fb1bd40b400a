//! Disruption budgets, leases and priorities.

use super::object::{self, Lives, metadata};
use super::scope::{Errors, Scope, same};
use super::workload::{amount, at_most_all};
use crate::names;
use serde_json::Value;

pub(super) fn budget(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    let (min, max) = (spec.at("minAvailable"), spec.at("maxUnavailable"));
    if min.present() && max.present() {
        errors.push(spec.invalid("minAvailable and maxUnavailable cannot be both set"));
    }
    for bound in [&min, &max] {
        if bound.present() {
            amount(bound, &mut errors);
            at_most_all(bound, &mut errors);
        }
    }
    object::selector(&spec.at("selector"), &mut errors);
    let eviction = spec.at("unhealthyPodEvictionPolicy");
    if eviction.present() {
        eviction.one_of(&["AlwaysAllow", "IfHealthyBudget"], &mut errors);
    }
    errors
}

pub(super) fn lease(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    let lasts = spec.at("leaseDurationSeconds");
    if lasts.integer().is_some_and(|seconds| seconds <= 0) {
        errors.push(lasts.invalid("must be greater than 0"));
    }
    spec.at("leaseTransitions").not_negative(&mut errors);
    let holder = spec.at("holderIdentity");
    if holder.present() && holder.is_empty() {
        errors.push(holder.invalid("must not be empty"));
    }
    let (strategy, preferred) = (spec.at("strategy"), spec.at("preferredHolder"));
    if strategy.present() {
        strategy.name(names::is_qualified_name, &mut errors);
    } else if !preferred.is_empty() {
        let why = "may only be specified if `strategy` is defined";
        errors.push(preferred.forbidden(why));
    }
    errors
}

pub(super) fn priority_class(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let root = Scope::root(new);
    let name = root.at("metadata").at("name");
    let built_in = matches!(
        name.text(),
        "system-cluster-critical" | "system-node-critical"
    );
    if name.text().starts_with("system-") && !built_in {
        let why = format!(
            "priority class names with 'system-' prefix are reserved for system use only. error: {} is not a known system priority class",
            name.text()
        );
        errors.push(name.forbidden(&why));
    }
    let value = root.at("value");
    if !built_in && value.integer().is_some_and(|value| value > 1_000_000_000) {
        let why = "maximum allowed value of a user defined priority is 1000000000";
        errors.push(value.forbidden(why));
    }
    root.at("preemptionPolicy")
        .one_of(&["Never", "PreemptLowerPriority"], &mut errors);
    if let Some(old) = old {
        for key in ["value", "preemptionPolicy"] {
            if !same(root.at(key).value, Scope::root(old).at(key).value) {
                errors.push(root.at(key).forbidden("may not be changed in an update."));
            }
        }
    }
    errors
}
