//! Ingress classes, Service ranges and their addresses.

use super::object::{Lives, NameRule, metadata, path_segment, too_long};
use super::prefix::Prefix;
use super::scope::{Errors, Scope, same};
use crate::names;
use serde_json::Value;
use std::net::IpAddr;

const MAX_CONTROLLER: usize = 250;

pub(super) fn ingress_class(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    let controller = spec.at("controller");
    if controller.text().len() > MAX_CONTROLLER {
        errors.push(too_long(&controller, MAX_CONTROLLER));
    }
    domain_path(&controller, &mut errors);
    let parameters = spec.at("parameters");
    if parameters.present() {
        parameters_of(&parameters, &mut errors);
    }
    if let Some(old) = old {
        controller.unchanged(&Scope::root(old).path(&["spec", "controller"]), &mut errors);
    }
    errors
}

/// `example.com/some-path`.
pub(super) fn domain_path(field: &Scope<'_>, errors: &mut Errors) {
    if !field.require(errors) {
        return;
    }
    match field.text().split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            if let Err(why) = names::is_dns_subdomain(host) {
                errors.push(field.invalid(why));
            }
        }
        _ => errors.push(field.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")")),
    }
}

fn parameters_of(parameters: &Scope<'_>, errors: &mut Errors) {
    let group = parameters.at("apiGroup");
    if !group.is_empty() {
        group.name(names::is_dns_subdomain, errors);
    }
    for key in ["kind", "name"] {
        if parameters.at(key).require(errors) {
            parameters.at(key).name(path_segment, errors);
        }
    }
    let (scope, namespace) = (parameters.at("scope"), parameters.at("namespace"));
    match scope.text() {
        "" => errors.push(scope.required("")),
        "Cluster" if namespace.present() => {
            errors.push(namespace.forbidden("`parameters.scope` is set to 'Cluster'"));
        }
        "Namespace" if namespace.is_empty() => {
            errors.push(namespace.required("`parameters.scope` is set to 'Namespace'"));
        }
        "Namespace" => namespace.name(names::is_dns_label, errors),
        _ => scope.one_of(&["Cluster", "Namespace"], errors),
    }
}

pub(super) fn service_cidr(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    let (field, cidrs) = (spec.at("cidrs"), spec.items("cidrs"));
    if cidrs.is_empty() {
        errors.push(field.required("at least one CIDR required"));
    }
    if cidrs.len() > 2 {
        errors.push(field.invalid("may only hold up to 2 values"));
    }
    let mut families = Vec::new();
    for cidr in &cidrs {
        match Prefix::parse(cidr.text()) {
            None => errors.push(cidr.invalid(Prefix::WANTED)),
            Some(prefix) => families.push(prefix.is_v4()),
        }
    }
    if let [first, second] = families.as_slice()
        && first == second
    {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96";
        errors.push(field.invalid(why));
    }
    if let Some(old) = old {
        let before = Scope::root(old).at("spec").items("cidrs");
        // A second family may be added; what is there stays.
        let kept = before.len() <= cidrs.len()
            && before
                .iter()
                .zip(&cidrs)
                .all(|(old, new)| same(old.value, new.value));
        if !kept {
            errors.push(field.invalid("field is immutable"));
        }
    }
    errors
}

/// The name of an IPAddress is the address in its canonical form.
fn is_address(name: &str) -> Result<(), String> {
    match name.parse::<IpAddr>() {
        Err(_) => Err("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()),
        Ok(address) if address.to_string() != name => Err(format!(
            "must be in canonical form ({:?})",
            address.to_string()
        )),
        Ok(_) => Ok(()),
    }
}

pub(super) fn ip_address(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, is_address);
    let parent = Scope::root(new).path(&["spec", "parentRef"]);
    if parent.present() {
        for key in ["resource", "name"] {
            if parent.at(key).require(&mut errors) {
                parent.at(key).name(path_segment, &mut errors);
            }
        }
        for (key, rule) in [
            ("group", names::is_dns_subdomain as NameRule),
            ("namespace", path_segment),
        ] {
            if !parent.at(key).is_empty() {
                parent.at(key).name(rule, &mut errors);
            }
        }
    } else {
        errors.push(parent.required(""));
    }
    if let Some(old) = old {
        parent.unchanged(&Scope::root(old).path(&["spec", "parentRef"]), &mut errors);
    }
    errors
}
