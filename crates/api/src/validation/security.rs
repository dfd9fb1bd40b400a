//! Security contexts, and what a pod shares with its host.

use super::scope::{Errors, Scope};
use crate::names;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const LARGEST_ID: i64 = i32::MAX as i64;

/// The pod's own context and its containers'.
pub(super) fn contexts(spec: &Scope<'_>, errors: &mut Errors) {
    let pod = spec.at("securityContext");
    identities(&pod, &["runAsUser", "runAsGroup", "fsGroup"], errors);
    for group in pod.items("supplementalGroups") {
        identity(&group, errors);
    }
    let policy = pod.at("fsGroupChangePolicy");
    if policy.present() {
        policy.one_of(&["Always", "OnRootMismatch"], errors);
    }
    sysctls(&pod, errors);
    profiles(&pod, errors);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec.items(list) {
            of_container(&container.at("securityContext"), errors);
        }
    }
    let shares = spec.at("shareProcessNamespace");
    if is_true(&shares) && is_true(&spec.at("hostPID")) {
        errors.push(shares.invalid("ShareProcessNamespace and HostPID cannot both be enabled"));
    }
}

fn is_true(field: &Scope<'_>) -> bool {
    field.value == &Value::Bool(true)
}

fn identities(context: &Scope<'_>, keys: &[&str], errors: &mut Errors) {
    for key in keys {
        identity(&context.at(key), errors);
    }
}

fn identity(id: &Scope<'_>, errors: &mut Errors) {
    if id
        .integer()
        .is_some_and(|id| !(0..=LARGEST_ID).contains(&id))
    {
        errors.push(id.invalid("must be between 0 and 2147483647, inclusive"));
    }
}

fn of_container(context: &Scope<'_>, errors: &mut Errors) {
    if !context.present() {
        return;
    }
    identities(context, &["runAsUser", "runAsGroup"], errors);
    let mount = context.at("procMount");
    if mount.present() {
        mount.one_of(&["Default", "Unmasked"], errors);
    }
    profiles(context, errors);
    let escalation = context.at("allowPrivilegeEscalation");
    if escalation.value != &Value::Bool(false) {
        return;
    }
    if is_true(&context.at("privileged")) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.push(context.invalid(why));
    }
    let added = context.at("capabilities").items("add");
    if added.iter().any(|name| name.text() == "CAP_SYS_ADMIN") {
        let why =
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.push(context.invalid(why));
    }
}

/// Seccomp and AppArmor profiles: only those on the node have a name.
fn profiles(context: &Scope<'_>, errors: &mut Errors) {
    for (key, what) in [
        ("seccompProfile", "seccomp"),
        ("appArmorProfile", "AppArmor"),
    ] {
        let profile = context.at(key);
        if !profile.present() {
            continue;
        }
        let (kind, name) = (profile.at("type"), profile.at("localhostProfile"));
        match kind.text() {
            "" => errors.push(kind.required(&format!("type is required when {key} is set"))),
            "Localhost" if name.is_empty() => {
                let why = format!("must be set when {what} type is Localhost");
                errors.push(name.required(&why));
            }
            "RuntimeDefault" | "Unconfined" if name.present() => {
                let why = format!("can only be set when {what} type is Localhost");
                errors.push(name.invalid(why));
            }
            "Localhost" | "RuntimeDefault" | "Unconfined" => {}
            _ => kind.one_of(&["Localhost", "RuntimeDefault", "Unconfined"], errors),
        }
    }
}

fn sysctls(context: &Scope<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for sysctl in context.items("sysctls") {
        let name = sysctl.at("name");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_./".contains(c);
        if !name.require(errors) {
            continue;
        }
        if name.text().len() > 253 || !name.text().chars().all(plain) {
            let why = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(name.invalid(why));
        } else if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
    }
}

/// Name resolution: `dnsConfig` and `hostAliases`.
pub(super) fn names_of(spec: &Scope<'_>, errors: &mut Errors) {
    let config = spec.at("dnsConfig");
    let (servers, searches) = (config.items("nameservers"), config.items("searches"));
    if spec.at("dnsPolicy").text() == "None" {
        if !config.present() {
            let why = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(config.required(why));
        } else if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(config.at("nameservers").required(why));
        }
    }
    if servers.len() > MAX_NAMESERVERS {
        let why = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        errors.push(config.at("nameservers").invalid(why));
    }
    for server in servers {
        address(&server, errors);
    }
    if searches.len() > MAX_SEARCHES {
        let why = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.push(config.at("searches").invalid(why));
    }
    for option in config.items("options") {
        if option.at("name").is_empty() {
            errors.push(option.required("must not be empty"));
        }
    }
    for alias in spec.items("hostAliases") {
        address(&alias.at("ip"), errors);
        for name in alias.items("hostnames") {
            name.name(names::is_dns_subdomain, errors);
        }
    }
}

fn address(address: &Scope<'_>, errors: &mut Errors) {
    if address.text().parse::<IpAddr>().is_err() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(address.invalid_text(why));
    }
}
