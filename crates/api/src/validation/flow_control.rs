//! Flow control.

use super::object::{Lives, metadata};
use super::scope::{Errors, Scope};
use crate::names;
use serde_json::Value;

const MAX_PRECEDENCE: i64 = 10_000;

pub(super) fn flow_schema(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    let precedence = spec.at("matchingPrecedence");
    match precedence.integer().unwrap_or_default() {
        number if number <= 0 => errors.push(precedence.invalid("must be a positive value")),
        number if number > MAX_PRECEDENCE => {
            let why = format!("must not be greater than {MAX_PRECEDENCE}");
            errors.push(precedence.invalid(why));
        }
        1 if meta_name(new) != "exempt" => {
            errors.push(
                precedence.invalid("only the schema named 'exempt' may have matchingPrecedence 1"),
            );
        }
        _ => {}
    }
    let method = spec.path(&["distinguisherMethod", "type"]);
    if spec.at("distinguisherMethod").present() {
        method.one_of(&["ByNamespace", "ByUser"], &mut errors);
    }
    let level = spec.path(&["priorityLevelConfiguration", "name"]);
    if level.is_empty() {
        errors.push(level.required("must reference a priority level"));
    } else {
        level.name(names::is_dns_subdomain, &mut errors);
    }
    for rule in spec.items("rules") {
        rules(&rule, &mut errors);
    }
    errors
}

fn meta_name(object: &Value) -> &str {
    crate::meta::name(object)
}

fn rules(rule: &Scope<'_>, errors: &mut Errors) {
    if rule.items("subjects").is_empty() {
        errors.push(
            rule.at("subjects")
                .required("subjects must contain at least one value"),
        );
    }
    for subject in rule.items("subjects") {
        match subject.at("kind").text() {
            "User" => drop(subject.at("user").at("name").require(errors)),
            "Group" => drop(subject.at("group").at("name").require(errors)),
            "ServiceAccount" => {
                subject.at("serviceAccount").at("name").require(errors);
                subject.at("serviceAccount").at("namespace").require(errors);
            }
            _ => subject
                .at("kind")
                .one_of(&["Group", "ServiceAccount", "User"], errors),
        }
    }
    let (resources, urls) = (rule.items("resourceRules"), rule.items("nonResourceRules"));
    if resources.is_empty() && urls.is_empty() {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(rule.required(why));
    }
    for (list, keys) in [
        (resources, ["verbs", "apiGroups", "resources"].as_slice()),
        (urls, &["verbs", "nonResourceURLs"]),
    ] {
        for entry in list {
            for key in keys {
                if entry.at(key).is_empty() {
                    let why = format!("{key} must contain at least one value");
                    errors.push(entry.at(key).required(&why));
                }
            }
        }
    }
}

pub(super) fn priority_level(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    let (kind, limited, exempt) = (spec.at("type"), spec.at("limited"), spec.at("exempt"));
    let is_exempt = meta_name(new) == "exempt";
    if is_exempt != (kind.text() == "Exempt") && matches!(kind.text(), "Exempt" | "Limited") {
        let why = "type must be 'Exempt' if and only if name is 'exempt'";
        errors.push(kind.invalid(why));
    }
    match kind.text() {
        "Exempt" if limited.present() => {
            errors.push(limited.forbidden("must be nil if the type is not Limited"));
        }
        "Exempt" => exempt
            .at("nominalConcurrencyShares")
            .not_negative(&mut errors),
        "Limited" if exempt.present() => {
            errors.push(exempt.forbidden("must be nil if the type is Limited"));
        }
        "Limited" if !limited.present() => {
            errors.push(limited.required("must not be empty when type is Limited"));
        }
        "Limited" => limits(&limited, &mut errors),
        _ => kind.one_of(&["Exempt", "Limited"], &mut errors),
    }
    errors
}

fn limits(limited: &Scope<'_>, errors: &mut Errors) {
    limited.at("nominalConcurrencyShares").not_negative(errors);
    limited.at("lendablePercent").not_negative(errors);
    let lendable = limited.at("lendablePercent");
    if lendable.integer().is_some_and(|percent| percent > 100) {
        errors.push(lendable.invalid("must be between 0 and 100, inclusive"));
    }
    let response = limited.at("limitResponse");
    let queuing = response.at("queuing");
    match response.at("type").text() {
        "Reject" if queuing.present() => {
            errors.push(
                queuing.forbidden("must be nil if limited.limitResponse.type is not Limited"),
            );
        }
        "Reject" => {}
        "Queue" if !queuing.present() => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(queuing.required(why));
        }
        "Queue" => {
            for key in ["queues", "handSize", "queueLengthLimit"] {
                if queuing.at(key).integer().unwrap_or_default() <= 0 {
                    errors.push(queuing.at(key).invalid("must be positive"));
                }
            }
            let number = |key: &str| queuing.at(key).integer().unwrap_or_default();
            if number("handSize") > number("queues") {
                let why = format!(
                    "should not be greater than queues ({}) - {}",
                    number("queues"),
                    "a flow cannot be dealt more queues than there are"
                );
                errors.push(queuing.at("handSize").invalid(why));
            }
        }
        _ => response.at("type").one_of(&["Queue", "Reject"], errors),
    }
}
