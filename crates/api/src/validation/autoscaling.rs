//! Horizontal pod autoscalers.

use super::object::{self, Lives, path_segment};
use super::scope::{Errors, Scope};
use crate::status::FieldError;
use crate::{convert, names};
use serde_json::Value;

/// Metric source types with the field that holds each.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
const MAX_STABILIZATION_SECONDS: i64 = 3600;
const MAX_PERIOD_SECONDS: i64 = 1800;

/// Whether an autoscaler may ask for no replicas at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zero {
    /// Only where that is stored already.
    Stored,
    /// Always.
    Allowed,
}

pub(super) fn autoscaler(new: &Value, old: Option<&Value>) -> Errors {
    judge(new, old, Zero::Stored)
}

/// With the feature `HPAScaleToZero`.
pub(super) fn autoscaler_to_zero(new: &Value, old: Option<&Value>) -> Errors {
    judge(new, old, Zero::Allowed)
}

/// The served v1 form, judged as the v2 object it is stored as.
pub(super) fn converted(new: &Value, old: Option<&Value>) -> Errors {
    judge_converted(new, old, Zero::Stored)
}

/// The served v1 form with the feature `HPAScaleToZero`.
pub(super) fn converted_to_zero(new: &Value, old: Option<&Value>) -> Errors {
    judge_converted(new, old, Zero::Allowed)
}

fn judge_converted(new: &Value, old: Option<&Value>, zero: Zero) -> Errors {
    let convert = |value: &Value| {
        let version = crate::meta::text(value, &["apiVersion"]);
        if version == "autoscaling/v1" {
            (convert::AUTOSCALER.to_stored)(value.clone())
        } else {
            value.clone()
        }
    };
    judge(&convert(new), old.map(convert).as_ref(), zero)
}

fn judge(new: &Value, old: Option<&Value>, zero: Zero) -> Errors {
    let mut errors = object::metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    let old_spec = old.map(|old| Scope::root(old).at("spec"));
    bounds((&spec, old_spec.as_ref()), zero, &mut errors);
    target(&spec.at("scaleTargetRef"), old_spec.as_ref(), &mut errors);
    metrics(&spec, &mut errors);
    behavior(&spec.at("behavior"), &mut errors);
    status(&Scope::root(new).at("status"), &mut errors);
    errors
}

/// The one thing upstream checks of a status.
fn status(status: &Scope<'_>, errors: &mut Errors) {
    for key in ["currentReplicas", "desiredReplicas"] {
        let count = status.at(key);
        if count.integer().is_some_and(|count| count < 0) {
            errors.push(count.invalid("must be greater than or equal to 0"));
        }
    }
}

fn bounds((spec, old): (&Scope<'_>, Option<&Scope<'_>>), zero: Zero, errors: &mut Errors) {
    let (min, max) = (spec.at("minReplicas"), spec.at("maxReplicas"));
    // Scaling to zero is kept where it is stored already; new objects need the feature.
    let stored_zero = old.is_some_and(|old| old.at("minReplicas").integer() == Some(0));
    let lowest = i64::from(!stored_zero && zero == Zero::Stored);
    if min.integer().is_some_and(|min| min < lowest) {
        errors.push(min.invalid(format!("must be greater than or equal to {lowest}")));
    }
    let most = max.integer().unwrap_or_default();
    if most == 0 {
        errors.push(max.required(""));
    }
    let shown = if max.present() {
        max.value.clone()
    } else {
        Value::from(0)
    };
    if most < 1 {
        errors.push(FieldError::invalid(
            max.path.clone(),
            &shown,
            "must be greater than 0",
        ));
    } else if min.integer().is_some_and(|min| most < min) {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(max.path, &shown, why));
    }
}

fn target(target: &Scope<'_>, old: Option<&Scope<'_>>, errors: &mut Errors) {
    for key in ["kind", "name"] {
        if target.at(key).require(errors) {
            target.at(key).name(path_segment, errors);
        }
    }
    let unchanged = old.is_some_and(|old| {
        ["kind", "apiVersion"]
            .iter()
            .all(|key| old.at("scaleTargetRef").at(key).text() == target.at(key).text())
    });
    if unchanged {
        return;
    }
    let version = target.at("apiVersion");
    if let Some(error) = bad_version(&version) {
        errors.push(error);
    } else if !version.text().contains('/') && target.at("kind").text() != "ReplicationController" {
        let shown = Value::from(version.text());
        errors.push(FieldError::invalid(
            version.path,
            &shown,
            "apiVersion must specify API group",
        ));
    }
}

fn bad_version(version: &Scope<'_>) -> Option<FieldError> {
    let slashes = version.text().matches('/').count();
    (slashes > 1).then(|| {
        version.invalid(format!(
            "unexpected GroupVersion string: {}",
            version.text()
        ))
    })
}

fn metrics(spec: &Scope<'_>, errors: &mut Errors) {
    let metrics = spec.items("metrics");
    for metric in &metrics {
        source(metric, errors);
    }
    let from_outside = metrics
        .iter()
        .any(|metric| metric.at("object").present() || metric.at("external").present());
    if spec.at("minReplicas").integer() == Some(0) && !from_outside {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(spec.at("metrics").forbidden(why));
    }
}

fn source(metric: &Scope<'_>, errors: &mut Errors) {
    let kind = metric.at("type");
    if kind.is_empty() {
        errors.push(kind.required("must specify a metric source type"));
    }
    let names = SOURCES.map(|(name, _)| name);
    kind.one_of(&names, errors);
    // Parity: upstream looks twice, and says so twice.
    kind.one_of(&names, errors);
    // Parity: upstream looks at the sources in this order and checks the first one present.
    let order = [
        "object",
        "external",
        "pods",
        "resource",
        "containerResource",
    ];
    let present: Vec<&str> = order
        .into_iter()
        .filter(|field| metric.at(field).present())
        .collect();
    if let Some(first) = present.first() {
        check_source(&metric.at(first), first, errors);
    }
    let expected = SOURCES
        .iter()
        .find(|(name, _)| *name == kind.text())
        .map(|(_, field)| *field);
    if let Some(field) = expected.filter(|field| !present.contains(field)) {
        let why = "must populate information for the given metric source";
        errors.push(metric.at(field).required(why));
    }
    if present.len() != 1 {
        for field in present.iter().filter(|field| Some(**field) != expected) {
            errors.push(
                metric
                    .at(field)
                    .forbidden("must populate the given metric source only"),
            );
        }
    }
}

fn check_source(source: &Scope<'_>, field: &str, errors: &mut Errors) {
    let goal = source.at("target");
    let (value, average) = (goal.at("value"), goal.at("averageValue"));
    match field {
        "object" => {
            let object = source.at("describedObject");
            for key in ["kind", "name"] {
                if object.at(key).require(errors) {
                    object.at(key).name(path_segment, errors);
                }
            }
            errors.extend(bad_version(&object.at("apiVersion")));
            identifier(&source.at("metric"), errors);
            check_target(&goal, errors);
            if !value.present() && !average.present() {
                errors.push(average.required("must set either a target value or averageValue"));
            }
        }
        "external" => {
            identifier(&source.at("metric"), errors);
            check_target(&goal, errors);
            if !value.present() && !average.present() {
                let why = "must set either a target value for metric or a per-pod target";
                errors.push(average.required(why));
            }
            if value.present() && average.present() {
                let why = "may not set both a target value for metric and a per-pod target";
                errors.push(value.forbidden(why));
            }
        }
        "pods" => {
            identifier(&source.at("metric"), errors);
            check_target(&goal, errors);
            if !positive(&average) {
                errors.push(average.required("must specify a positive target averageValue"));
            }
        }
        _ => resource(source, field, errors),
    }
}

fn resource(source: &Scope<'_>, field: &str, errors: &mut Errors) {
    let name = source.at("name");
    if name.is_empty() {
        errors.push(name.required("must specify a resource name"));
    }
    if field == "containerResource" {
        let why = "must be a standard resource for containers";
        let custom = name.text().contains('/');
        if !name.is_empty() && !custom && !super::container::is_standard(name.text()) {
            errors.push(name.invalid(why));
        }
        let container = source.at("container");
        if container.is_empty() {
            errors.push(container.required("must specify a container"));
        } else {
            container.name(names::is_dns_label, errors);
        }
    }
    let goal = source.at("target");
    check_target(&goal, errors);
    let (percent, average) = (goal.at("averageUtilization"), goal.at("averageValue"));
    if !percent.present() && !average.present() {
        let why = "must set either a target raw value or a target utilization";
        errors.push(percent.required(why));
    }
    if percent.present() && average.present() {
        let why = "may not set both a target raw value and a target utilization";
        errors.push(average.forbidden(why));
    }
}

fn identifier(metric: &Scope<'_>, errors: &mut Errors) {
    let name = metric.at("name");
    if name.is_empty() {
        errors.push(name.required("must specify a metric name"));
    } else {
        name.name(path_segment, errors);
    }
}

fn check_target(target: &Scope<'_>, errors: &mut Errors) {
    let kind = target.at("type");
    if kind.is_empty() {
        errors.push(kind.required("must specify a metric target type"));
    }
    if !matches!(kind.text(), "Utilization" | "Value" | "AverageValue") {
        let shown = Value::from(kind.text());
        let why = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(kind.path, &shown, why));
    }
    for key in ["value", "averageValue"] {
        let number = target.at(key);
        if number.present() && !positive(&number) {
            errors.push(number.invalid("must be positive"));
        }
    }
    let percent = target.at("averageUtilization");
    if percent.integer().is_some_and(|percent| percent < 1) {
        errors.push(percent.invalid("must be greater than 0"));
    }
}

fn positive(number: &Scope<'_>) -> bool {
    number
        .quantity()
        .is_some_and(|quantity| !quantity.is_zero() && !quantity.is_negative())
}

fn behavior(behavior: &Scope<'_>, errors: &mut Errors) {
    for direction in ["scaleUp", "scaleDown"] {
        let rules = behavior.at(direction);
        if rules.present() {
            scaling_rules(&rules, errors);
        }
    }
}

fn scaling_rules(rules: &Scope<'_>, errors: &mut Errors) {
    let window = rules.at("stabilizationWindowSeconds");
    if window.integer().is_some_and(|seconds| seconds < 0) {
        errors.push(window.invalid("must be greater than or equal to zero"));
    }
    if window
        .integer()
        .is_some_and(|seconds| seconds > MAX_STABILIZATION_SECONDS)
    {
        let why = format!("must be less than or equal to {MAX_STABILIZATION_SECONDS}");
        errors.push(window.invalid(why));
    }
    if rules.at("selectPolicy").present() {
        rules
            .at("selectPolicy")
            .one_of(&["Disabled", "Max", "Min"], errors);
    }
    if rules.at("policies").is_empty() {
        errors.push(
            rules
                .at("policies")
                .required("must specify at least one Policy"),
        );
    }
    for policy in rules.items("policies") {
        policy.at("type").one_of(&["Percent", "Pods"], errors);
        for key in ["value", "periodSeconds"] {
            let number = policy.at(key);
            if number.integer().unwrap_or_default() <= 0 {
                let shown = Value::from(number.integer().unwrap_or_default());
                let why = "must be greater than zero";
                errors.push(FieldError::invalid(number.path, &shown, why));
            }
        }
        let period = policy.at("periodSeconds");
        if period
            .integer()
            .is_some_and(|seconds| seconds > MAX_PERIOD_SECONDS)
        {
            errors.push(period.invalid(format!(
                "must be less than or equal to {MAX_PERIOD_SECONDS}"
            )));
        }
    }
    let tolerance = rules.at("tolerance");
    if tolerance
        .quantity()
        .is_some_and(|tolerance| tolerance.is_negative())
    {
        errors.push(tolerance.invalid("must be greater or equal to zero"));
    }
}
