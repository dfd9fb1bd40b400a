//! Validation of CustomResourceDefinition: names, versions, conversion and schemas.

mod columns;
mod defaults;
mod lists;
mod nested;
mod place;
mod schema;
mod versions;

use crate::status::FieldError;
use crate::{meta, names, validation};
use place::Place;
use serde_json::Value;

type Errors = Vec<FieldError>;

/// Everything wrong with a definition.
pub(crate) fn definition(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = validation::cluster_object(new, old);
    let spec = Place::root(new).at("spec");
    let wanted = format!(
        "{}.{}",
        spec.at("names").at("plural").text(),
        spec.at("group").text()
    );
    if meta::name(new) != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(
            "metadata.name",
            &meta::name(new).into(),
            why,
        ));
    }
    approval(new, old, &mut errors);
    group(&spec.at("group"), &mut errors);
    let scope = spec.at("scope");
    if scope.text().is_empty() {
        errors.push(scope.required(""));
    } else {
        scope.one_of(&["Cluster", "Namespaced"], &mut errors);
    }
    if spec.at("preserveUnknownFields").is_true() {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(spec.at("preserveUnknownFields").invalid(why));
    }
    resource_names(&spec.at("names"), &mut errors);
    versions::check(&spec, old, &mut errors);
    conversion(&spec.at("conversion"), &mut errors);
    stored_versions(new, &mut errors);
    if let Some(old) = old {
        immutable(&spec, old, &mut errors);
    }
    errors
}

/// Groups of the project itself need a word of approval.
fn approval(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    const KEY: &str = "api-approved.kubernetes.io";
    let group = meta::text(new, &["spec", "group"]);
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        group == *domain
            || group
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    });
    let approved = |object: &Value| meta::at(object, &["metadata", "annotations", KEY]).is_some();
    if protected && !approved(new) && old.is_none_or(approved) {
        let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111";
        errors.push(FieldError::required(
            format!("metadata.annotations[{KEY}]"),
            why,
        ));
    }
}

fn group(group: &Place<'_>, errors: &mut Errors) {
    if group.text().is_empty() {
        errors.push(group.required(""));
    } else if let Err(why) = names::is_dns_subdomain(group.text()) {
        errors.push(group.invalid(why));
    } else if !group.text().contains('.') {
        errors.push(group.invalid("should be a domain with at least one dot"));
    }
}

fn resource_names(names: &Place<'_>, errors: &mut Errors) {
    for key in ["plural", "singular", "kind", "listKind"] {
        let name = names.at(key);
        let mixed = matches!(key, "kind" | "listKind");
        if name.text().is_empty() {
            errors.push(name.required(""));
            continue;
        }
        let Err(why) = names::is_dns_1035_label(&name.text().to_lowercase()) else {
            if !mixed && name.text() != name.text().to_lowercase() {
                errors.extend(
                    names::is_dns_1035_label(name.text())
                        .err()
                        .map(|w| name.invalid(w)),
                );
            }
            continue;
        };
        let why = if mixed {
            format!("may have mixed case, but should otherwise match: {why}")
        } else {
            why
        };
        errors.push(name.invalid(why));
    }
    let list_kind = names.at("listKind");
    if !list_kind.text().is_empty() && list_kind.text() == names.at("kind").text() {
        errors.push(list_kind.invalid("kind and listKind may not be the same"));
    }
    for key in ["shortNames", "categories"] {
        for name in names.items(key) {
            errors.extend(
                names::is_dns_1035_label(name.text())
                    .err()
                    .map(|w| name.invalid(w)),
            );
        }
    }
}

fn conversion(conversion: &Place<'_>, errors: &mut Errors) {
    let strategy = conversion.at("strategy");
    if conversion.is_absent() {
        return;
    }
    if strategy.text().is_empty() {
        errors.push(strategy.required(""));
        return;
    }
    strategy.one_of(&["None", "Webhook"], errors);
    let webhook = conversion.at("webhook");
    if strategy.text() != "Webhook" {
        if !webhook.is_absent() {
            errors.push(webhook.forbidden("should not be set when strategy is not set to Webhook"));
        }
        return;
    }
    let client = webhook.at("clientConfig");
    let (url, service) = (client.at("url"), client.at("service"));
    if client.is_absent() {
        let field = conversion.at("webhookClientConfig");
        errors.push(field.required("required when strategy is set to Webhook"));
    } else if url.is_absent() == service.is_absent() {
        errors.push(client.required("exactly one of url or service is required"));
    } else if !service.is_absent() {
        for key in ["namespace", "name"] {
            if service.at(key).text().is_empty() {
                errors.push(service.at(key).required(""));
            }
        }
    } else if !url.text().starts_with("https://") {
        errors.push(url.invalid("'https' is the only allowed URL scheme"));
    }
    let versions = webhook.at("conversionReviewVersions");
    let known = |v: &Place<'_>| matches!(v.text(), "v1" | "v1beta1");
    let listed = webhook.items("conversionReviewVersions");
    if listed.is_empty() {
        errors.push(versions.required(""));
    } else if !listed.iter().any(known) {
        errors.push(versions.invalid("must include at least one of v1, v1beta1"));
    }
}

/// Versions that objects may still be stored in stay.
fn stored_versions(definition: &Value, errors: &mut Errors) {
    let versions = meta::list(definition, &["spec", "versions"]);
    let listed = |name: &str| versions.iter().any(|v| meta::text(v, &["name"]) == name);
    for stored in Place::root(definition).at("status").items("storedVersions") {
        let name = stored.text();
        if !listed(name) {
            errors.push(stored.invalid(format!(
                "missing from spec.versions; {name} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {name} and removes {name} from status.storedVersions"
            )));
        }
    }
}

fn immutable(spec: &Place<'_>, old: &Value, errors: &mut Errors) {
    let before = Place::root(old).at("spec");
    let established = crate::custom::accept::holds(old, "Established");
    let always = [vec!["group"], vec!["names", "plural"]];
    let once_established = [vec!["scope"], vec!["names", "kind"]];
    let fields = always
        .iter()
        .chain(once_established.iter().filter(|_| established));
    for field in fields {
        let (new, old) = (spec.path(field), before.path(field));
        if new.value != old.value {
            errors.push(new.invalid("field is immutable"));
        }
    }
}
