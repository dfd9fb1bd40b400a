//! Webhook configurations and extension APIs.

use super::object::{self, Lives, metadata, path_segment};
use super::scope::{Errors, Scope};
use crate::names;
use serde_json::Value;
use std::collections::BTreeSet;

const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const MAX_CONDITIONS: usize = 64;

pub(super) fn webhooks(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let mut seen = BTreeSet::new();
    for hook in Scope::root(new).items("webhooks") {
        let name = hook.at("name");
        qualified(&name, &mut errors);
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
        webhook(&hook, &mut errors);
    }
    errors
}

/// A domain with at least three parts.
fn qualified(name: &Scope<'_>, errors: &mut Errors) {
    if !name.require(errors) {
        return;
    }
    name.name(names::is_dns_subdomain, errors);
    if name.text().split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.push(name.invalid(why));
    }
}

fn webhook(hook: &Scope<'_>, errors: &mut Errors) {
    let versions = hook.at("admissionReviewVersions");
    let known = hook.items("admissionReviewVersions");
    if known.is_empty() {
        errors.push(versions.required("must specify one of v1, v1beta1"));
    } else if !known
        .iter()
        .any(|version| VERSIONS.contains(&version.text()))
    {
        errors.push(versions.invalid("must include at least one of v1, v1beta1"));
    }
    for rule in hook.items("rules") {
        operations(&rule, errors);
        resource_rule(&rule, errors);
    }
    for (key, allowed) in [
        ("failurePolicy", ["Fail", "Ignore"]),
        ("matchPolicy", ["Equivalent", "Exact"]),
        ("reinvocationPolicy", ["IfNeeded", "Never"]),
    ] {
        if hook.at(key).present() {
            hook.at(key).one_of(&allowed, errors);
        }
    }
    let effects = hook.at("sideEffects");
    if effects.present() {
        effects.one_of(&["None", "NoneOnDryRun"], errors);
    } else {
        errors.push(effects.required("must specify one of None, NoneOnDryRun"));
    }
    let timeout = hook.at("timeoutSeconds");
    if timeout.integer().is_some_and(|s| !(1..=30).contains(&s)) {
        errors.push(timeout.invalid("the timeout value must be between 1 and 30 seconds"));
    }
    for key in ["namespaceSelector", "objectSelector"] {
        object::selector(&hook.at(key), errors);
    }
    client(&hook.at("clientConfig"), errors);
    conditions(hook, errors);
}

pub(super) fn operations(rule: &Scope<'_>, errors: &mut Errors) {
    let list = rule.items("operations");
    let field = rule.at("operations");
    if list.is_empty() {
        errors.push(field.required(""));
    }
    if list.len() > 1 && list.iter().any(|operation| operation.text() == "*") {
        errors.push(field.invalid("if '*' is present, must not specify other operations"));
    }
    for operation in list {
        operation.one_of(&["*", "CONNECT", "CREATE", "DELETE", "UPDATE"], errors);
    }
}

pub(super) fn resource_rule(rule: &Scope<'_>, errors: &mut Errors) {
    for (key, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let (field, list) = (rule.at(key), rule.items(key));
        if list.is_empty() {
            errors.push(field.required(""));
        }
        if list.len() > 1 && list.iter().any(|item| item.text() == "*") {
            let why = format!("if '*' is present, must not specify other {what}");
            errors.push(field.invalid(why));
        }
        if key == "apiVersions" {
            for version in list.iter().filter(|version| version.is_empty()) {
                errors.push(version.required(""));
            }
        }
    }
    let (field, list) = (rule.at("resources"), rule.items("resources"));
    if list.is_empty() {
        errors.push(field.required(""));
    }
    let texts: Vec<&str> = list.iter().map(Scope::text).collect();
    for resource in &list {
        if resource.is_empty() {
            errors.push(resource.required(""));
        }
    }
    if texts.contains(&"*/*") && texts.len() > 1 {
        errors.push(field.invalid("if '*/*' is present, must not specify other resources"));
    }
    if texts.contains(&"*") && texts.iter().any(|text| *text != "*" && !text.contains('/')) {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.push(field.invalid(why));
    }
    if rule.at("scope").present() {
        rule.at("scope")
            .one_of(&["*", "Cluster", "Namespaced"], errors);
    }
}

/// Where a webhook is.
pub(super) fn client(config: &Scope<'_>, errors: &mut Errors) {
    let (url, service) = (config.at("url"), config.at("service"));
    if url.present() == service.present() {
        errors.push(config.required("exactly one of url or service is required"));
        return;
    }
    if url.present() {
        address(&url, errors);
        return;
    }
    for key in ["name", "namespace"] {
        let why = format!("service {key} is required");
        if service.at(key).is_empty() {
            errors.push(service.at(key).required(&why));
        }
    }
    let path = service.at("path");
    if path.present() && !path.text().starts_with('/') {
        errors.push(path.invalid("must start with a '/'"));
    }
    let port = service.at("port");
    if port.integer().is_some_and(|p| !(1..=65_535).contains(&p)) {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(port.invalid(why));
    }
}

fn address(url: &Scope<'_>, errors: &mut Errors) {
    let form = "; desired format: https://host[/path]";
    let Some(rest) = url.text().strip_prefix("https://") else {
        errors.push(url.invalid(format!("'https' is the only allowed URL scheme{form}")));
        return;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        errors.push(url.invalid(format!("host must be specified{form}")));
    }
    if host.contains('@') {
        errors.push(url.invalid("user information is not permitted in the URL"));
    }
    if rest.contains('#') {
        errors.push(url.invalid("fragments are not permitted in the URL"));
    }
    if rest.contains('?') {
        errors.push(url.invalid("query parameters are not permitted in the URL"));
    }
}

pub(super) fn conditions(owner: &Scope<'_>, errors: &mut Errors) {
    let conditions = owner.items("matchConditions");
    if conditions.len() > MAX_CONDITIONS {
        errors.push(too_many(
            &owner.at("matchConditions"),
            conditions.len(),
            MAX_CONDITIONS,
        ));
    }
    let mut seen = BTreeSet::new();
    for condition in conditions {
        let name = condition.at("name");
        if name.require(errors) {
            name.name(names::is_qualified_name, errors);
            if !seen.insert(name.text()) {
                errors.push(name.duplicate());
            }
        }
        if condition.at("expression").text().trim().is_empty() {
            errors.push(condition.at("expression").required(""));
        }
    }
}

fn too_many(field: &Scope<'_>, count: usize, most: usize) -> crate::status::FieldError {
    crate::status::FieldError {
        field: field.path.clone(),
        reason: crate::status::CauseReason::FieldValueTooMany,
        detail: format!("Too many: {count}: must have at most {most} items"),
    }
}

pub(super) fn api_service(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, path_segment);
    let root = Scope::root(new);
    let (name, spec) = (root.at("metadata").at("name"), root.at("spec"));
    let (group, version) = (spec.at("group").text(), spec.at("version").text());
    let wanted = format!("{version}.{group}");
    if name.text() != wanted {
        let why = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        errors.push(name.invalid(why));
    }
    if !group.is_empty() {
        spec.at("group").name(names::is_dns_subdomain, &mut errors);
    } else if version != "v1" {
        errors.push(
            spec.at("group")
                .required("only v1 may have an empty group and it better be legacy kube"),
        );
    }
    if spec.at("version").require(&mut errors) {
        spec.at("version")
            .name(names::is_dns_1035_label, &mut errors);
    }
    for (key, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let number = spec.at(key).integer().unwrap_or_default();
        if !(1..=most).contains(&number) {
            let why = format!("must be positive and less than {most}");
            errors.push(spec.at(key).invalid(why));
        }
    }
    let (service, bundle) = (spec.at("service"), spec.at("caBundle"));
    let insecure = spec.at("insecureSkipTLSVerify").value == &Value::Bool(true);
    if service.present() {
        for key in ["namespace", "name"] {
            service.at(key).require(&mut errors);
        }
        if insecure && !bundle.is_empty() {
            let why = "may not be true if caBundle is present";
            errors.push(spec.at("insecureSkipTLSVerify").invalid(why));
        }
    } else {
        let why = "local APIServices may not have a caBundle";
        if !bundle.is_empty() {
            errors.push(bundle.invalid(why));
        }
        if insecure {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(spec.at("insecureSkipTLSVerify").invalid(why));
        }
    }
    errors
}
