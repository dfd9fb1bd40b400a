//! Resource quotas.

use super::object::{Lives, metadata};
use super::scope::{Errors, Scope, same};
use crate::names;
use crate::status::FieldError;
use serde_json::Value;

/// Names that need no prefix.
const STANDARD: &[&str] = &[
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// Names that scopes of pods may bound.
const COMPUTE: &[&str] = &[
    "cpu",
    "limits.cpu",
    "limits.memory",
    "memory",
    "pods",
    "requests.cpu",
    "requests.memory",
];

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

pub(super) fn resource_quota(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let root = Scope::root(new);
    let spec = root.at("spec");
    for amounts in [
        spec.at("hard"),
        root.at("status").at("hard"),
        root.at("status").at("used"),
    ] {
        for (name, amount) in amounts.entries() {
            resource(name, &amount, &mut errors);
        }
    }
    scopes(&spec, &mut errors);
    selector(&spec, &mut errors);
    if let Some(old) = old {
        let before = Scope::root(old).at("spec");
        for key in ["scopes", "scopeSelector"] {
            if !same(spec.at(key).value, before.at(key).value) {
                errors.push(spec.at(key).invalid("field is immutable"));
            }
        }
    }
    errors
}

fn resource(name: &str, amount: &Scope<'_>, errors: &mut Errors) {
    let mut refuse = |why: &str| {
        errors.push(FieldError::invalid(amount.path.clone(), &name.into(), why));
    };
    if let Err(why) = names::is_qualified_name(name) {
        return refuse(&why);
    }
    let huge = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
    if !name.contains('/') && !STANDARD.contains(&name) && !huge {
        return refuse("must be a standard resource for quotas");
    }
    match amount.quantity() {
        None => errors.push(amount.invalid(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        )),
        Some(value) if value.is_negative() => {
            errors.push(amount.invalid("must be greater than or equal to 0"));
        }
        Some(value) if is_count(name) && value.milli() % 1000 != 0 => {
            errors.push(amount.invalid("must be an integer"));
        }
        Some(_) => {}
    }
}

/// Whether the name counts things, of which there are no fractions.
fn is_count(name: &str) -> bool {
    let sizes = ["cpu", "memory", "ephemeral-storage", "storage", "hugepages"];
    !sizes.iter().any(|size| name.contains(size)) || name.starts_with("count/")
}

fn scopes(spec: &Scope<'_>, errors: &mut Errors) {
    let scopes = spec.at("scopes");
    let named: Vec<&str> = spec.items("scopes").iter().map(Scope::text).collect();
    for scope in &named {
        if !SCOPES.contains(scope) {
            errors.push(scopes.invalid("unsupported scope"));
        }
        fits(scope, spec, &scopes, errors);
    }
    conflicts(&named, &scopes, errors);
}

/// Scopes only make sense for resources they tell apart.
fn fits(scope: &str, spec: &Scope<'_>, field: &Scope<'_>, errors: &mut Errors) {
    for (name, _) in spec.at("hard").entries() {
        let fits = match scope {
            "BestEffort" => name == "pods",
            "VolumeAttributesClass" => {
                matches!(name, "persistentvolumeclaims" | "requests.storage")
            }
            _ => COMPUTE.contains(&name),
        };
        if STANDARD.contains(&name) && SCOPES.contains(&scope) && !fits {
            errors.push(field.invalid("unsupported scope applied to resource"));
        }
    }
}

fn conflicts(named: &[&str], field: &Scope<'_>, errors: &mut Errors) {
    for pair in [
        ["BestEffort", "NotBestEffort"],
        ["Terminating", "NotTerminating"],
    ] {
        if pair.iter().all(|scope| named.contains(scope)) {
            errors.push(field.invalid("conflicting scopes"));
        }
    }
}

fn selector(spec: &Scope<'_>, errors: &mut Errors) {
    let field = spec.path(&["scopeSelector", "matchExpressions"]);
    let requirements = spec.at("scopeSelector").items("matchExpressions");
    let mut named = Vec::new();
    for requirement in &requirements {
        let (scope, operator) = (requirement.at("scopeName"), requirement.at("operator"));
        named.push(scope.text());
        if !SCOPES.contains(&scope.text()) {
            errors.push(scope.invalid("unsupported scope"));
        }
        fits(scope.text(), spec, &field, errors);
        let by_value = matches!(scope.text(), "PriorityClass" | "VolumeAttributesClass");
        if !by_value && operator.text() != "Exists" {
            let why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.push(operator.invalid(why));
        }
        let values = requirement.at("values");
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => errors.push(values.required(
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(values.invalid(
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
    }
    conflicts(&named, &field, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::fine(json!({"hard": {"pods": "3", "requests.cpu": "500m", "count/jobs.batch": "2", "requests.example.com/gpu": "1"}}), "")]
    #[case::unknown(json!({"hard": {"cows": "3"}}), "spec.hard[cows]: Invalid value: \"cows\": must be a standard resource for quotas")]
    #[case::fraction(json!({"hard": {"pods": "1500m"}}), "spec.hard[pods]: Invalid value: \"1500m\": must be an integer")]
    #[case::negative(json!({"hard": {"cpu": "-1"}}), "spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0")]
    #[case::scope(json!({"hard": {"pods": "1"}, "scopes": ["Sometimes"]}), "spec.scopes: Invalid value: [\"Sometimes\"]: unsupported scope")]
    #[case::scope_of_cpu(json!({"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}), "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource")]
    #[case::conflict(json!({"hard": {"pods": "1"}, "scopes": ["Terminating", "NotTerminating"]}),
        "spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\"]: conflicting scopes")]
    #[case::values(json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}),
        "spec.scopeSelector.matchExpressions[0].values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector")]
    fn checks(#[case] spec: Value, #[case] want: &str) {
        let object = json!({"metadata": {"name": "q", "namespace": "d"}, "spec": spec});
        let errors = resource_quota(&object, None);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.join("|"), want);
    }
}
