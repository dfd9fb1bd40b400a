//! `metadata`.

use super::scope::{Errors, Scope};
use crate::names;
use crate::status::{CauseReason, FieldError};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) type NameRule = fn(&str) -> Result<(), String>;

/// Where objects of the kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lives {
    InNamespace,
    InCluster,
}

/// Finalizers that need no prefix.
const OWN_FINALIZERS: [&str; 3] = ["foregroundDeletion", "kubernetes", "orphan"];
const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;

/// A namespaced kind with no rules of its own.
pub(crate) fn namespaced_object(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    any_metadata(new, old, Lives::InNamespace, names::is_dns_subdomain)
}

/// A cluster-wide kind with no rules of its own.
pub(crate) fn cluster_object(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    any_metadata(new, old, Lives::InCluster, names::is_dns_subdomain)
}

/// Everything wrong with the `metadata` of a kind that only knows qualified finalizers beside
/// Kubernetes' own.
pub(super) fn metadata(new: &Value, old: Option<&Value>, lives: Lives, rule: NameRule) -> Errors {
    let mut errors = any_metadata(new, old, lives, rule);
    for finalizer in Scope::root(new).at("metadata").items("finalizers") {
        let name = finalizer.text();
        if !name.contains('/') && !OWN_FINALIZERS.contains(&name) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(finalizer.invalid(why));
        }
    }
    errors
}

/// Everything wrong with the `metadata` of any kind.
fn any_metadata(new: &Value, old: Option<&Value>, lives: Lives, rule: NameRule) -> Errors {
    let mut errors = Vec::new();
    let meta = Scope::root(new).at("metadata");
    if meta.at("name").is_empty() && meta.at("generateName").is_empty() {
        errors.push(meta.at("name").required("name or generateName is required"));
    }
    let prefix = meta.at("generateName");
    if !prefix.is_empty() {
        // A trailing dash is what people write; the suffix completes the name.
        let probe = format!("{}a", prefix.text());
        if let Err(why) = rule(&probe) {
            errors.push(prefix.invalid(why));
        }
    }
    if !meta.at("name").is_empty() {
        meta.at("name").name(rule, &mut errors);
    }
    namespace(&meta, lives, &mut errors);
    meta.at("generation").not_negative(&mut errors);
    labels(&meta.at("labels"), &mut errors);
    annotations(&meta.at("annotations"), &mut errors);
    owners(&meta, &mut errors);
    finalizers(&meta, &mut errors);
    if let Some(old) = old {
        update(&meta, &Scope::root(old).at("metadata"), &mut errors);
    }
    errors
}

fn finalizers(meta: &Scope<'_>, errors: &mut Errors) {
    let list = meta.items("finalizers");
    for finalizer in &list {
        let name = finalizer.text();
        if let Err(why) = names::is_qualified_name(name) {
            let path = meta.at("finalizers").path;
            errors.push(FieldError::invalid(path, finalizer.value, why));
        }
    }
    let has = |name: &str| list.iter().any(|finalizer| finalizer.text() == name);
    if has("orphan") && has("foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(meta.at("finalizers").invalid(why));
    }
}

fn namespace(meta: &Scope<'_>, lives: Lives, errors: &mut Errors) {
    let namespace = meta.at("namespace");
    match lives {
        Lives::InNamespace if namespace.is_empty() => errors.push(namespace.required("")),
        Lives::InNamespace => namespace.name(names::is_dns_label, errors),
        Lives::InCluster if !namespace.is_empty() => {
            errors.push(namespace.forbidden("not allowed on this type"));
        }
        Lives::InCluster => {}
    }
}

pub(super) fn labels(labels: &Scope<'_>, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        if let Err(why) = names::is_qualified_name(key) {
            errors.push(FieldError::invalid(labels.path.clone(), &key.into(), why));
        }
        if let Err(why) = names::is_label_value(value.text()) {
            errors.push(FieldError::invalid(labels.path.clone(), value.value, why));
        }
    }
}

pub(super) fn annotations(annotations: &Scope<'_>, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in annotations.entries() {
        if let Err(why) = names::is_qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                annotations.path.clone(),
                &key.into(),
                why,
            ));
        }
        bytes += key.len() + value.text().len();
    }
    if bytes > MAX_ANNOTATIONS_BYTES {
        errors.push(too_long(annotations, MAX_ANNOTATIONS_BYTES));
    }
}

pub(super) fn too_long(field: &Scope<'_>, max: usize) -> FieldError {
    FieldError {
        field: field.path.clone(),
        reason: CauseReason::FieldValueTooLong,
        detail: format!("Too long: may not be more than {max} bytes"),
    }
}

fn owners(meta: &Scope<'_>, errors: &mut Errors) {
    let mut controller: Option<(String, String)> = None;
    for owner in meta.items("ownerReferences") {
        let version = owner.at("apiVersion");
        if version.is_empty() || version.text().ends_with('/') {
            errors.push(version.invalid_text("version must not be empty"));
        } else if version.text().split('/').count() > 2 {
            let why = format!("unexpected GroupVersion string: {}", version.text());
            errors.push(version.invalid(why));
        }
        if version.text() == "v1" && owner.at("kind").text() == "Event" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(meta.at("ownerReferences").invalid(why));
        }
        for key in ["kind", "name", "uid"] {
            if owner.at(key).is_empty() {
                let why = format!("{key} must not be empty");
                errors.push(FieldError::invalid(owner.at(key).path, &"".into(), why));
            }
        }
        if owner.at("controller").value != &Value::Bool(true) {
            continue;
        }
        let named = (
            owner.at("kind").text().to_owned(),
            owner.at("name").text().to_owned(),
        );
        if let Some((kind, name)) = &controller {
            let why = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {kind}/{name} and {}/{}",
                named.0, named.1
            );
            let list = meta.at("ownerReferences");
            errors.push(FieldError::invalid(list.path, list.value, why));
        }
        controller = Some(named);
    }
}

fn update(new: &Scope<'_>, old: &Scope<'_>, errors: &mut Errors) {
    for key in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
    ] {
        // The server fills these in from the stored object when the client leaves them out.
        if new.at(key).present() && key != "deletionTimestamp" {
            new.at(key).unchanged(&old.at(key), errors);
        }
    }
    if old.at("deletionTimestamp").present() {
        let names = |scope: &Scope<'_>| -> BTreeSet<String> {
            scope
                .items("finalizers")
                .iter()
                .map(|item| item.text().to_owned())
                .collect()
        };
        let known = names(old);
        let added: Vec<String> = names(new)
            .into_iter()
            .filter(|f| !known.contains(f))
            .collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            errors.push(new.at("finalizers").forbidden(&why));
        }
    }
}

/// `matchLabels` and `matchExpressions`.
pub(super) fn selector(selector: &Scope<'_>, errors: &mut Errors) {
    labels(&selector.at("matchLabels"), errors);
    for expression in selector.items("matchExpressions") {
        let values = expression.at("values");
        match expression.at("operator").text() {
            "In" | "NotIn" if values.is_empty() => {
                errors
                    .push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(values.forbidden(why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(
                expression
                    .at("operator")
                    .invalid("not a valid selector operator"),
            ),
        }
        expression.at("key").name(names::is_qualified_name, errors);
        for value in expression.items("values") {
            value.name(names::is_label_value, errors);
        }
    }
}

/// Whether a selector matches labels; malformed requirements match nothing.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let scope = Scope::root(selector);
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let all_equal = scope
        .at("matchLabels")
        .entries()
        .iter()
        .all(|(key, value)| label(key) == Some(value.text()));
    all_equal
        && scope.items("matchExpressions").iter().all(|expression| {
            let found = label(expression.at("key").text());
            let listed = expression
                .items("values")
                .iter()
                .any(|value| found == Some(value.text()));
            match expression.at("operator").text() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

/// A name that is one segment of a path (RBAC, HPA targets).
pub(super) fn path_segment(name: &str) -> Result<(), String> {
    if name == "." || name == ".." {
        return Err(format!("may not be '{name}'"));
    }
    for forbidden in ["/", "%"] {
        if name.contains(forbidden) {
            return Err(format!("may not contain '{forbidden}'"));
        }
    }
    Ok(())
}
