//! Limit ranges.

use super::object::{Lives, metadata};
use super::scope::{Errors, Scope};
use crate::names;
use crate::status::FieldError;
use plimsoll_quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeSet;

const AMOUNTS: [&str; 5] = [
    "max",
    "min",
    "default",
    "defaultRequest",
    "maxLimitRequestRatio",
];

pub(super) fn limit_range(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let mut types = BTreeSet::new();
    for limit in Scope::root(new).at("spec").items("limits") {
        let kind = limit.at("type");
        if let Err(why) = names::is_qualified_name(kind.text()) {
            errors.push(kind.invalid(why));
        } else if !kind.text().contains('/') && !is_standard(kind.text()) {
            errors.push(kind.invalid("must be a standard limit type or fully qualified"));
        }
        if !types.insert(kind.text()) {
            errors.push(kind.duplicate());
        }
        entry(&limit, kind.text(), &mut errors);
    }
    errors
}

fn is_standard(kind: &str) -> bool {
    matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim")
}

fn entry(limit: &Scope<'_>, kind: &str, errors: &mut Errors) {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for field in AMOUNTS {
        let amounts = limit.at(field);
        if kind == "Pod" && field.starts_with("default") {
            if !amounts.is_empty() {
                errors.push(amounts.forbidden("may not be specified when `type` is 'Pod'"));
            }
            continue;
        }
        for (name, amount) in amounts.entries() {
            resource_name(kind, name, &amount, errors);
            names.insert(name);
        }
    }
    if kind == "PersistentVolumeClaim"
        && amount(limit, "min", "storage").is_none()
        && amount(limit, "max", "storage").is_none()
    {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(limit.at("limits").required(why));
    }
    for name in names {
        order(limit, name, errors);
    }
}

fn resource_name(kind: &str, name: &str, amount: &Scope<'_>, errors: &mut Errors) {
    let mut refuse = |why: &str| {
        errors.push(FieldError::invalid(amount.path.clone(), &name.into(), why));
    };
    if let Err(why) = names::is_qualified_name(name) {
        refuse(&why);
    } else if !name.contains('/') {
        let fits = match kind {
            "Pod" | "Container" => super::container::is_standard(name),
            _ => super::container::is_standard(name) || name == "storage",
        };
        if !fits {
            refuse("must be a standard resource for containers");
        }
    }
}

fn amount(limit: &Scope<'_>, field: &str, name: &str) -> Option<Quantity> {
    limit.at(field).at(name).quantity()
}

/// Refuses bounds and defaults that contradict each other.
fn order(limit: &Scope<'_>, name: &str, errors: &mut Errors) {
    let of = |field: &str| amount(limit, field, name);
    let mut refuse = |field: &str, value: Quantity, why: String| {
        let path = format!("{}[{name}]", limit.at(field).path);
        let shown = Value::from(value.to_string());
        errors.push(FieldError::invalid(path, &shown, why));
    };
    let rules = [
        ("min", "max", "min", "min value", "max value"),
        (
            "min",
            "defaultRequest",
            "defaultRequest",
            "min value",
            "default request value",
        ),
        (
            "defaultRequest",
            "max",
            "defaultRequest",
            "default request value",
            "max value",
        ),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "default request value",
            "default limit value",
        ),
        ("min", "default", "default", "min value", "default value"),
        ("default", "max", "default", "default value", "max value"),
    ];
    for (low, high, blamed, low_name, high_name) in rules {
        if let (Some(less), Some(more)) = (of(low), of(high))
            && less > more
        {
            let shown = of(blamed).unwrap_or(less);
            let why = format!("{low_name} {less} is greater than {high_name} {more}");
            refuse(blamed, shown, why);
        }
    }
    let Some(ratio) = of("maxLimitRequestRatio") else {
        return;
    };
    if ratio < Quantity::from_value(1) {
        let why = format!("ratio {ratio} is less than 1");
        refuse("maxLimitRequestRatio", ratio, why);
    }
    if let (Some(min), Some(max)) = (of("min"), of("max"))
        && !min.is_zero()
        && ratio.as_f64() > max.as_f64() / min.as_f64()
    {
        let most = max.as_f64() / min.as_f64();
        let why = format!("ratio {ratio} is greater than max/min = {most:.6}");
        refuse("maxLimitRequestRatio", ratio, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::fine(json!([{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}}]), "")]
    #[case::unknown_type(json!([{"type": "Node"}]),
        "spec.limits[0].type: Invalid value: \"Node\": must be a standard limit type or fully qualified")]
    #[case::twice(json!([{"type": "Pod"}, {"type": "Pod"}]), "spec.limits[1].type: Duplicate value: \"Pod\"")]
    #[case::pods_have_no_defaults(json!([{"type": "Pod", "default": {"cpu": "1"}}]),
        "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'")]
    #[case::min_over_max(json!([{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}]),
        "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1")]
    #[case::default_over_max(json!([{"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "2"}}]),
        "spec.limits[0].default[cpu]: Invalid value: \"2\": default value 2 is greater than max value 1")]
    #[case::ratio(json!([{"type": "Container", "maxLimitRequestRatio": {"cpu": "500m"}}]),
        "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1")]
    #[case::claims_need_storage(json!([{"type": "PersistentVolumeClaim"}]),
        "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided")]
    #[case::strange_resource(json!([{"type": "Container", "max": {"cows": "1"}}]),
        "spec.limits[0].max[cows]: Invalid value: \"cows\": must be a standard resource for containers")]
    fn checks(#[case] limits: Value, #[case] want: &str) {
        let object =
            json!({"metadata": {"name": "l", "namespace": "d"}, "spec": {"limits": limits}});
        let errors = limit_range(&object, None);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.join("|"), want);
    }
}
