//! Network policies.

use super::object::{self, Lives, metadata};
use super::prefix::Prefix;
use super::scope::{Errors, Scope};
use crate::names;
use serde_json::Value;

pub(super) fn network_policy(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    object::selector(&spec.at("podSelector"), &mut errors);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.items(rules) {
            for port in rule.items("ports") {
                one_port(&port, &mut errors);
            }
            for peer in rule.items(peers) {
                one_peer(&peer, &mut errors);
            }
        }
    }
    let types = spec.items("policyTypes");
    if types.len() > 2 {
        let why = "may not specify more than two policyTypes";
        errors.push(spec.at("policyTypes").invalid(why));
    } else {
        for kind in types {
            kind.one_of(&["Egress", "Ingress"], &mut errors);
        }
    }
    errors
}

fn one_port(port: &Scope<'_>, errors: &mut Errors) {
    let protocol = port.at("protocol");
    if protocol.present() {
        protocol.one_of(&["SCTP", "TCP", "UDP"], errors);
    }
    let (first, last) = (port.at("port"), port.at("endPort"));
    if first.present() {
        first.port_or_name(errors);
    }
    if !last.present() {
        return;
    }
    match first.integer() {
        Some(number) if last.integer().is_some_and(|end| end < number) => {
            errors.push(last.invalid("must be greater than or equal to `port`"));
        }
        Some(_) => last.port(errors),
        None if first.present() => {
            errors.push(last.invalid("may not be specified when `port` is non-numeric"));
        }
        None => errors.push(last.invalid("may not be specified when `port` is not specified")),
    }
}

fn one_peer(peer: &Scope<'_>, errors: &mut Errors) {
    let selectors = ["podSelector", "namespaceSelector"].map(|key| peer.at(key));
    let mut count = 0;
    for selector in selectors.iter().filter(|selector| selector.present()) {
        count += 1;
        object::selector(selector, errors);
    }
    let block = peer.at("ipBlock");
    if block.present() {
        count += 1;
        ip_block(&block, errors);
    }
    if count == 0 {
        errors.push(peer.required("must specify a peer"));
    } else if count > 1 && block.present() {
        errors.push(peer.forbidden("may not specify both ipBlock and another peer"));
    }
}

fn ip_block(block: &Scope<'_>, errors: &mut Errors) {
    let cidr = block.at("cidr");
    if !cidr.require(errors) {
        return;
    }
    let Some(outer) = Prefix::parse(cidr.text()) else {
        errors.push(cidr.invalid(Prefix::WANTED));
        return;
    };
    for except in block.items("except") {
        match Prefix::parse(except.text()) {
            None => errors.push(except.invalid(Prefix::WANTED)),
            Some(inner) if !outer.strictly_contains(&inner) => {
                errors.push(except.invalid("must be a strict subset of `cidr`"));
            }
            Some(_) => {}
        }
    }
}
