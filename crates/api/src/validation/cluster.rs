//! Namespaces, nodes, events and access control.

use super::object::{self, Lives, metadata, path_segment};
use super::scope::{Errors, Scope, same};
use crate::names;
use serde_json::Value;

pub(super) fn namespace(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_label);
    for finalizer in Scope::root(new).at("spec").items("finalizers") {
        let name = finalizer.text();
        if let Err(why) = names::is_qualified_name(name) {
            errors.push(finalizer.invalid(why));
        } else if !name.contains('/') && name != "kubernetes" {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(finalizer.invalid(why));
        }
    }
    errors
}

pub(super) fn node(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    for taint in spec.items("taints") {
        taint.at("key").name(names::is_qualified_name, &mut errors);
        if !taint.at("value").is_empty() {
            taint.at("value").name(names::is_label_value, &mut errors);
        }
        if taint.at("effect").is_empty() {
            errors.push(taint.at("effect").required(""));
        } else {
            let effects = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
            taint.at("effect").one_of(&effects, &mut errors);
        }
    }
    if let Some(old) = old {
        for key in ["podCIDR", "providerID"] {
            let before = Scope::root(old).path(&["spec", key]);
            if !before.is_empty() && !same(before.value, spec.at(key).value) {
                let why = "node updates may only change labels, taints, or capacity (or configSource, if the DynamicKubeletConfig feature gate is enabled)";
                errors.push(spec.at(key).forbidden(why));
            }
        }
    }
    errors
}

pub(super) fn event(new: &Value, old: Option<&Value>) -> Errors {
    about(new, old, "involvedObject")
}

pub(super) fn new_event(new: &Value, old: Option<&Value>) -> Errors {
    let about_field = if new.get("regarding").is_some() {
        "regarding"
    } else {
        "involvedObject"
    };
    about(new, old, about_field)
}

fn about(new: &Value, old: Option<&Value>, field: &str) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let root = Scope::root(new);
    let about = root.at(field).at("namespace");
    let own = root.at("metadata").at("namespace").text();
    let fits = if about.is_empty() {
        // Events about cluster-wide objects live in one of two namespaces.
        matches!(own, "default" | "kube-system" | "")
    } else {
        about.text() == own
    };
    if !fits {
        errors.push(about.invalid("does not match event.namespace"));
    }
    errors
}

pub(super) fn role(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, path_segment);
    rules(new, Lives::InNamespace, &mut errors);
    errors
}

pub(super) fn cluster_role(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, path_segment);
    rules(new, Lives::InCluster, &mut errors);
    for selector in Scope::root(new)
        .at("aggregationRule")
        .items("clusterRoleSelectors")
    {
        object::selector(&selector, &mut errors);
    }
    errors
}

fn rules(new: &Value, lives: Lives, errors: &mut Errors) {
    for rule in Scope::root(new).items("rules") {
        if rule.at("verbs").is_empty() {
            errors.push(
                rule.at("verbs")
                    .required("verbs must contain at least one value"),
            );
        }
        let urls = rule.at("nonResourceURLs");
        if !urls.is_empty() {
            if lives == Lives::InNamespace {
                let why = "namespaced rules cannot apply to non-resource URLs";
                errors.push(urls.invalid(why));
            }
            if !rule.at("apiGroups").is_empty() || !rule.at("resources").is_empty() {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(urls.invalid(why));
            }
            continue;
        }
        if rule.at("apiGroups").is_empty() {
            let why = "resource rules must supply at least one api group";
            errors.push(rule.at("apiGroups").required(why));
        }
        if rule.at("resources").is_empty() {
            let why = "resource rules must supply at least one resource";
            errors.push(rule.at("resources").required(why));
        }
    }
}

pub(super) fn role_binding(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, path_segment);
    binding(new, old, &["ClusterRole", "Role"], &mut errors);
    errors
}

pub(super) fn cluster_role_binding(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, path_segment);
    binding(new, old, &["ClusterRole"], &mut errors);
    errors
}

fn binding(new: &Value, old: Option<&Value>, roles: &[&str], errors: &mut Errors) {
    let root = Scope::root(new);
    let role = root.at("roleRef");
    role.at("apiGroup")
        .one_of(&["rbac.authorization.k8s.io"], errors);
    role.at("kind").one_of(roles, errors);
    if role.at("name").require(errors) {
        role.at("name").name(path_segment, errors);
    }
    for subject in root.items("subjects") {
        subject.at("name").require(errors);
        match subject.at("kind").text() {
            "ServiceAccount" => {
                if !subject.at("apiGroup").is_empty() {
                    subject.at("apiGroup").one_of(&[""], errors);
                }
                subject.at("namespace").require(errors);
            }
            "User" | "Group" => {
                subject
                    .at("apiGroup")
                    .one_of(&["rbac.authorization.k8s.io"], errors);
            }
            _ => subject
                .at("kind")
                .one_of(&["Group", "ServiceAccount", "User"], errors),
        }
    }
    if let Some(old) = old
        && !same(role.value, Scope::root(old).at("roleRef").value)
    {
        errors.push(role.invalid("cannot change roleRef"));
    }
}
