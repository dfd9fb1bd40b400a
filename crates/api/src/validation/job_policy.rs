//! What a Job does about failed pods and partial success.

use super::scope::{Errors, Scope};
use std::collections::BTreeSet;

const MOST_RULES: usize = 20;
/// The largest number of indexes.
const MOST_INDEXES: i64 = 100_000;

/// The policies of a Job's spec.
pub(super) fn policies(spec: &Scope<'_>, errors: &mut Errors) {
    let indexed = spec.at("completionMode").text() == "Indexed";
    for key in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
        if spec.at(key).present() && !indexed {
            errors.push(spec.at(key).invalid("requires indexed completion mode"));
        }
    }
    if spec.at("maxFailedIndexes").present() && !spec.at("backoffLimitPerIndex").present() {
        let why = "when maxFailedIndexes is specified";
        errors.push(spec.at("backoffLimitPerIndex").required(why));
    }
    for key in ["completions", "parallelism"] {
        if indexed && spec.at(key).integer().is_some_and(|n| n > MOST_INDEXES) {
            let why = format!(
                "must be less than or equal to {MOST_INDEXES} when completion mode is Indexed"
            );
            errors.push(spec.at(key).invalid(why));
        }
    }
    let most = spec.at("maxFailedIndexes");
    let completions = spec.at("completions").integer();
    if completions.is_some_and(|completions| most.integer().is_some_and(|most| most > completions))
    {
        errors.push(most.invalid("must be less than or equal to completions"));
    }
    failure(spec, indexed, errors);
    if indexed {
        super::success_policy::policy(spec, errors);
    }
    replacement(spec, errors);
    let manager = spec.at("managedBy");
    if manager.present() {
        super::address::domain_path(&manager, errors);
    }
}

fn replacement(spec: &Scope<'_>, errors: &mut Errors) {
    let policy = spec.at("podReplacementPolicy");
    if !policy.present() {
        return;
    }
    if spec.at("podFailurePolicy").present() {
        policy.one_of(&["Failed"], errors);
    } else {
        policy.one_of(&["Failed", "TerminatingOrFailed"], errors);
    }
}

fn failure(spec: &Scope<'_>, indexed: bool, errors: &mut Errors) {
    let policy = spec.at("podFailurePolicy");
    if !policy.present() {
        return;
    }
    let restart = spec.path(&["template", "spec", "restartPolicy"]);
    if restart.text() != "Never" {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.push(restart.invalid(why));
    }
    let rules = policy.items("rules");
    if rules.len() > MOST_RULES {
        let why = format!("must have at most {MOST_RULES} items");
        errors.push(policy.at("rules").invalid(why));
    }
    let containers: BTreeSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.path(&["template", "spec"]).items(list))
        .map(|container| container.at("name").text())
        .collect();
    for rule in rules {
        action(&rule, indexed, errors);
        let (codes, conditions) = (rule.at("onExitCodes"), rule.at("onPodConditions"));
        match (codes.present(), !conditions.is_empty()) {
            (true, true) => {
                let why = "specifying both OnExitCodes and OnPodConditions is not supported";
                errors.push(rule.invalid(why));
            }
            (false, false) => {
                let why = "specifying one of OnExitCodes and OnPodConditions is required";
                errors.push(rule.invalid(why));
            }
            (true, false) => exit_codes(&codes, &containers, errors),
            (false, true) => {
                for condition in rule.items("onPodConditions") {
                    condition.at("type").require(errors);
                    let status = condition.at("status");
                    status.one_of(&["False", "True", "Unknown"], errors);
                }
            }
        }
    }
}

fn action(rule: &Scope<'_>, indexed: bool, errors: &mut Errors) {
    let action = rule.at("action");
    if action.is_empty() {
        errors.push(
            action.required("valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
        );
    } else if action.text() == "FailIndex" && !indexed {
        errors.push(action.invalid("requires the backoffLimitPerIndex to be set"));
    } else {
        action.one_of(&["Count", "FailIndex", "FailJob", "Ignore"], errors);
    }
}

fn exit_codes(codes: &Scope<'_>, containers: &BTreeSet<&str>, errors: &mut Errors) {
    let operator = codes.at("operator");
    operator.one_of(&["In", "NotIn"], errors);
    let name = codes.at("containerName");
    if name.present() && !containers.contains(name.text()) {
        errors.push(
            name.invalid("must be one of the container or initContainer names in the pod template"),
        );
    }
    let values = codes.items("values");
    if values.is_empty() {
        errors.push(codes.at("values").invalid("at least one value is required"));
    }
    let mut last = None;
    for value in values {
        let number = value.integer().unwrap_or_default();
        if operator.text() == "In" && number == 0 {
            errors.push(value.invalid("must not be 0 for the In operator"));
        }
        if last == Some(number) {
            errors.push(value.duplicate());
        } else if last.is_some_and(|last| last > number) {
            errors.push(codes.at("values").invalid("must be ordered"));
        }
        last = Some(number);
    }
}
