//! Admission policies and their bindings.

use super::object::{self, Lives, metadata};
use super::registration::{conditions, operations, resource_rule};
use super::scope::{Errors, Scope};
use crate::names;
use serde_json::Value;
use std::collections::BTreeSet;

/// The shape of a policy; its expressions are compiled elsewhere.
fn policy(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    if spec.at("failurePolicy").present() {
        spec.at("failurePolicy")
            .one_of(&["Fail", "Ignore"], &mut errors);
    }
    let kind = spec.at("paramKind");
    if kind.present() {
        for key in ["apiVersion", "kind"] {
            kind.at(key).require(&mut errors);
        }
    }
    let constraints = spec.at("matchConstraints");
    if !constraints.present() {
        errors.push(constraints.required(""));
    } else if constraints.items("resourceRules").is_empty() {
        errors.push(constraints.at("resourceRules").required(""));
    }
    matches(&constraints, &mut errors);
    conditions(&spec, &mut errors);
    let mut seen = BTreeSet::new();
    for variable in spec.items("variables") {
        let name = variable.at("name");
        if name.require(&mut errors) && !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
        variable.at("expression").require(&mut errors);
    }
    errors
}

fn matches(constraints: &Scope<'_>, errors: &mut Errors) {
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in constraints.items(list) {
            operations(&rule, errors);
            resource_rule(&rule, errors);
        }
    }
    for key in ["namespaceSelector", "objectSelector"] {
        object::selector(&constraints.at(key), errors);
    }
    if constraints.at("matchPolicy").present() {
        let allowed = ["Equivalent", "Exact"];
        constraints.at("matchPolicy").one_of(&allowed, errors);
    }
}

pub(super) fn validating_policy(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = policy(new, old);
    let spec = Scope::root(new).at("spec");
    if spec.at("validations").is_empty() && spec.at("auditAnnotations").is_empty() {
        let why = "validations or auditAnnotations must be specified";
        errors.push(spec.at("validations").required(why));
    }
    for validation in spec.items("validations") {
        if validation.at("expression").text().trim().is_empty() {
            errors.push(
                validation
                    .at("expression")
                    .required("expression is not specified"),
            );
        }
        let reason = validation.at("reason");
        let known = [
            "Forbidden",
            "Invalid",
            "RequestEntityTooLarge",
            "Unauthorized",
        ];
        if reason.present() {
            reason.one_of(&known, &mut errors);
        }
    }
    errors
}

pub(super) fn mutating_policy(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = policy(new, old);
    let spec = Scope::root(new).at("spec");
    spec.at("reinvocationPolicy").require(&mut errors);
    if spec.items("mutations").is_empty() {
        errors.push(
            spec.at("mutations")
                .required("mutations must contain at least one item"),
        );
    }
    for mutation in spec.items("mutations") {
        let field = match mutation.at("patchType").text() {
            "ApplyConfiguration" => "applyConfiguration",
            "JSONPatch" => "jsonPatch",
            "" => {
                errors.push(mutation.at("patchType").required(""));
                continue;
            }
            _ => {
                let known = ["ApplyConfiguration", "JSONPatch"];
                mutation.at("patchType").one_of(&known, &mut errors);
                continue;
            }
        };
        mutation.at(field).at("expression").require(&mut errors);
    }
    errors
}

pub(super) fn policy_binding(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    let policy = spec.at("policyName");
    if policy.require(&mut errors) {
        policy.name(names::is_dns_subdomain, &mut errors);
    }
    let reference = spec.at("paramRef");
    if reference.present() {
        if reference.at("name").is_empty() != reference.at("selector").present() {
            let why = "one of name or selector must be specified";
            errors.push(reference.required(why));
        }
        let action = reference.at("parameterNotFoundAction");
        if action.require(&mut errors) {
            action.one_of(&["Allow", "Deny"], &mut errors);
        }
    }
    matches(&spec.at("matchResources"), &mut errors);
    errors
}

pub(super) fn validating_binding(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = policy_binding(new, old);
    let spec = Scope::root(new).at("spec");
    let (field, actions) = (
        spec.at("validationActions"),
        spec.items("validationActions"),
    );
    if actions.is_empty() {
        errors.push(field.required("at least one validation action is required"));
    }
    let mut seen = BTreeSet::new();
    for action in &actions {
        action.one_of(&["Audit", "Deny", "Warn"], &mut errors);
        if !seen.insert(action.text()) {
            errors.push(action.duplicate());
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(field.invalid(why));
    }
    errors
}
