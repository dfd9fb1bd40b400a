//! Dynamic resources: device classes, claims and slices.

use super::object::{Lives, metadata};
use super::scope::{Errors, Scope};
use crate::names;
use crate::status::{CauseReason, FieldError};
use serde_json::Value;
use std::collections::BTreeSet;

const MAX_REQUESTS: usize = 32;
const MAX_SELECTORS: usize = 32;
const MAX_DEVICES: usize = 128;
const MAX_ALTERNATIVES: usize = 8;

pub(super) fn class(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    selectors(&spec, &mut errors);
    for config in spec.items("config") {
        configuration(&config, &mut errors);
    }
    errors
}

pub(super) fn claim(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    devices(&spec.at("devices"), &mut errors);
    if let Some(old) = old {
        spec.unchanged(&Scope::root(old).at("spec"), &mut errors);
    }
    errors
}

pub(super) fn claim_template(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    super::object::labels(&spec.path(&["metadata", "labels"]), &mut errors);
    super::object::annotations(&spec.path(&["metadata", "annotations"]), &mut errors);
    devices(&spec.path(&["spec", "devices"]), &mut errors);
    if let Some(old) = old {
        spec.unchanged(&Scope::root(old).at("spec"), &mut errors);
    }
    errors
}

fn devices(devices: &Scope<'_>, errors: &mut Errors) {
    let requests = devices.items("requests");
    at_most(
        &devices.at("requests"),
        requests.len(),
        MAX_REQUESTS,
        errors,
    );
    let mut seen = BTreeSet::new();
    for request in &requests {
        let name = request.at("name");
        if name.require(errors) {
            name.name(names::is_dns_label, errors);
        }
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
        one_request(request, errors);
    }
    for constraint in devices.items("constraints") {
        known_requests(&constraint, &seen, errors);
        if !constraint.at("matchAttribute").present()
            && !constraint.at("distinctAttribute").present()
        {
            errors.push(constraint.at("matchAttribute").required(""));
        }
    }
    for config in devices.items("config") {
        known_requests(&config, &seen, errors);
        configuration(&config, errors);
    }
}

fn known_requests(owner: &Scope<'_>, known: &BTreeSet<&str>, errors: &mut Errors) {
    for name in owner.items("requests") {
        let main = name.text().split('/').next().unwrap_or_default();
        if !known.contains(main) {
            let why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
            errors.push(name.invalid(why));
        }
    }
}

fn one_request(request: &Scope<'_>, errors: &mut Errors) {
    let (exactly, options) = (request.at("exactly"), request.items("firstAvailable"));
    match (exactly.present(), options.is_empty()) {
        (true, true) => asks(&exactly, errors),
        (false, false) => {
            let field = request.at("firstAvailable");
            at_most(&field, options.len(), MAX_ALTERNATIVES, errors);
            for option in options {
                option.at("name").name(names::is_dns_label, errors);
                asks(&option, errors);
            }
        }
        (true, false) => {
            let why = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.push(request.invalid(why));
        }
        (false, true) => {
            errors
                .push(request.required("exactly one of `exactly` or `firstAvailable` is required"));
        }
    }
}

fn asks(request: &Scope<'_>, errors: &mut Errors) {
    let class = request.at("deviceClassName");
    if class.require(errors) {
        class.name(names::is_dns_subdomain, errors);
    }
    selectors(request, errors);
    let (mode, count) = (request.at("allocationMode"), request.at("count"));
    let number = count.integer().unwrap_or_default();
    match mode.text() {
        "All" if number != 0 => {
            errors.push(count.invalid("must not be specified when allocationMode is 'All'"));
        }
        "ExactCount" if number <= 0 => {
            errors.push(count.invalid("must be greater than zero"));
        }
        "All" | "ExactCount" => {}
        _ => mode.one_of(&["All", "ExactCount"], errors),
    }
    super::pod::tolerations(request, errors);
}

fn selectors(owner: &Scope<'_>, errors: &mut Errors) {
    let list = owner.items("selectors");
    at_most(&owner.at("selectors"), list.len(), MAX_SELECTORS, errors);
    for selector in list {
        if selector.at("cel").present() {
            selector.at("cel").at("expression").require(errors);
        } else {
            errors.push(selector.at("cel").required(""));
        }
    }
}

fn configuration(config: &Scope<'_>, errors: &mut Errors) {
    let opaque = config.at("opaque");
    if !opaque.present() {
        errors.push(opaque.required(""));
        return;
    }
    if opaque.at("driver").require(errors) {
        opaque.at("driver").name(names::is_dns_subdomain, errors);
    }
    if !opaque.at("parameters").value.is_object() {
        errors.push(opaque.at("parameters").required(""));
    }
}

fn at_most(field: &Scope<'_>, count: usize, most: usize, errors: &mut Errors) {
    if count > most {
        errors.push(FieldError {
            field: field.path.clone(),
            reason: CauseReason::FieldValueTooMany,
            detail: format!("Too many: {count}: must have at most {most} items"),
        });
    }
}

pub(super) fn slice(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    let (driver, pool) = (spec.at("driver"), spec.at("pool"));
    if driver.require(&mut errors) {
        driver.name(names::is_dns_subdomain, &mut errors);
    }
    pool.at("name").require(&mut errors);
    pool.at("generation").not_negative(&mut errors);
    if pool.at("resourceSliceCount").integer().unwrap_or_default() <= 0 {
        errors.push(
            pool.at("resourceSliceCount")
                .invalid("must be greater than zero"),
        );
    }
    let places = [
        "nodeName",
        "nodeSelector",
        "allNodes",
        "perDeviceNodeSelection",
    ];
    let chosen = places.iter().filter(|key| spec.at(key).present()).count();
    let what = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match chosen {
        0 => errors.push(spec.required(what)),
        1 => {}
        _ => errors.push(spec.invalid(format!("{what}, but multiple fields are set"))),
    }
    let devices = spec.items("devices");
    at_most(&spec.at("devices"), devices.len(), MAX_DEVICES, &mut errors);
    let mut seen = BTreeSet::new();
    for device in &devices {
        let name = device.at("name");
        if name.require(&mut errors) {
            name.name(names::is_dns_label, &mut errors);
        }
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
    }
    if let Some(old) = old {
        let before = Scope::root(old).at("spec");
        driver.unchanged(&before.at("driver"), &mut errors);
        pool.at("name")
            .unchanged(&before.at("pool").at("name"), &mut errors);
        spec.at("nodeName")
            .unchanged(&before.at("nodeName"), &mut errors);
    }
    errors
}
