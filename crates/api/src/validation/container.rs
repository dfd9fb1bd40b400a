//! Containers: names, images, ports, environment, resources, probes, mounts.

use super::lifecycle;
use super::scope::{Errors, Scope};
use crate::names;
use serde_json::Value;
use std::collections::BTreeSet;

/// Nano units in one unit.
const WHOLE: i128 = 1_000_000_000;
const DNS_LABEL_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

pub(super) fn containers(spec: &Scope<'_>, volumes: &BTreeSet<String>, errors: &mut Errors) {
    if spec.at("containers").is_empty() {
        errors.push(spec.at("containers").required(""));
    }
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut host_ports: BTreeSet<(i64, String, String)> = BTreeSet::new();
    for list in DNS_LABEL_LISTS {
        for container in spec.items(list) {
            let name = container.at("name");
            if name.require(errors) {
                name.name(names::is_dns_label, errors);
                if !seen.insert(name.text().to_owned()) {
                    errors.push(name.duplicate());
                }
            }
            let is_init = list == "initContainers";
            one(&container, is_init, errors);
            lifecycle::container(spec, &container, errors);
            mounts(&container, volumes, errors);
            if !is_init {
                ports_on_host(&container, &mut host_ports, errors);
            }
        }
    }
}

fn one(container: &Scope<'_>, is_init: bool, errors: &mut Errors) {
    let image = container.at("image");
    if image.require(errors) && image.text() != image.text().trim() {
        errors.push(image.invalid("must not have leading or trailing whitespace"));
    }
    ports(container, errors);
    environment(container, errors);
    resources(&container.at("resources"), errors);
    let restarts_always = container.at("restartPolicy").text() == "Always";
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.at(key);
        if !probe.present() {
            continue;
        }
        if is_init && !restarts_always {
            let why = "may not be set for init containers without restartPolicy=Always";
            errors.push(probe.forbidden(why));
            continue;
        }
        check_probe(&probe, key, errors);
    }
    for hook in ["postStart", "preStop"] {
        let handler = container.path(&["lifecycle", hook]);
        if handler.present() {
            check_handler(&handler, &["exec", "httpGet", "tcpSocket", "sleep"], errors);
        }
    }
    container
        .at("imagePullPolicy")
        .one_of(&["Always", "IfNotPresent", "Never"], errors);
    let message = container.at("terminationMessagePolicy");
    message.one_of(&["FallbackToLogsOnError", "File"], errors);
}

fn ports(container: &Scope<'_>, errors: &mut Errors) {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for port in container.items("ports") {
        let name = port.at("name");
        if !name.is_empty() {
            name.port_name(errors);
            if !names.insert(name.text()) {
                errors.push(name.duplicate());
            }
        }
        if port.at("containerPort").integer().unwrap_or_default() == 0 {
            errors.push(port.at("containerPort").required(""));
        } else {
            port.at("containerPort").port(errors);
        }
        if port.at("hostPort").integer().unwrap_or_default() != 0 {
            port.at("hostPort").port(errors);
        }
        port.at("protocol").one_of(&["SCTP", "TCP", "UDP"], errors);
    }
}

fn ports_on_host(
    container: &Scope<'_>,
    taken: &mut BTreeSet<(i64, String, String)>,
    errors: &mut Errors,
) {
    for port in container.items("ports") {
        let number = port.at("hostPort").integer().unwrap_or_default();
        let protocol = port.at("protocol").text().to_owned();
        let address = port.at("hostIP").text().to_owned();
        if number != 0 && !taken.insert((number, protocol.clone(), address.clone())) {
            let key = format!("{protocol}/{address}/{number}");
            let field = port.at("hostPort").path;
            errors.push(crate::status::FieldError::duplicate(field, &key.into()));
        }
    }
}

fn environment(container: &Scope<'_>, errors: &mut Errors) {
    for env in container.items("env") {
        let name = env.at("name");
        if name.require(errors)
            && !name
                .text()
                .chars()
                .all(|c| (' '..='~').contains(&c) && c != '=')
        {
            let why = "a valid environment variable name must consist only of printable ASCII characters other than '='";
            errors.push(name.invalid(why));
        }
        let from = env.at("valueFrom");
        if !from.present() {
            continue;
        }
        let sources = [
            "fieldRef",
            "resourceFieldRef",
            "configMapKeyRef",
            "secretKeyRef",
            "fileKeyRef",
        ];
        let count = sources
            .iter()
            .filter(|source| from.at(source).present())
            .count();
        if !env.at("value").is_empty() && count > 0 {
            errors.push(from.invalid("may not be specified when `value` is not empty"));
        } else if count == 0 {
            errors.push(from.invalid(
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            ));
        } else if count > 1 {
            errors.push(from.invalid("may not have more than one field specified at a time"));
        }
        for source in ["configMapKeyRef", "secretKeyRef"] {
            if from.at(source).present() {
                from.at(source).at("key").require(errors);
            }
        }
        if from.at("fieldRef").present() {
            from.at("fieldRef").at("fieldPath").require(errors);
        }
    }
    for from in container.items("envFrom") {
        let count = ["configMapRef", "secretRef"]
            .iter()
            .filter(|key| from.at(key).present())
            .count();
        match count {
            1 => {}
            0 => errors.push(from.invalid("must specify one of: `configMapRef` or `secretRef`")),
            _ => errors.push(from.invalid("may not have more than one field specified at a time")),
        }
    }
}

/// Requests and limits: well-formed, not negative, requests within limits.
pub(super) fn resources(resources: &Scope<'_>, errors: &mut Errors) {
    let (limits, requests) = (resources.at("limits"), resources.at("requests"));
    for amounts in [&limits, &requests] {
        for (name, amount) in amounts.entries() {
            resource_name(amounts, name, errors);
            match amount.quantity() {
                None => errors.push(amount.invalid(
                    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                )),
                Some(quantity) if quantity.is_negative() => {
                    errors.push(amount.invalid("must be greater than or equal to 0"));
                }
                Some(quantity) if name.contains('/') && quantity.nano() % WHOLE != 0 => {
                    errors.push(amount.invalid("must be an integer"));
                }
                Some(_) => {}
            }
        }
    }
    for (name, request) in requests.entries() {
        within_limit(name, &request, (&limits, &requests), errors);
    }
    let huge = |amounts: &Scope<'_>| {
        let names = amounts.entries();
        names.iter().any(|(name, _)| name.starts_with("hugepages-"))
    };
    let native = ["cpu", "memory"]
        .iter()
        .any(|name| limits.value.get(*name).is_some() || requests.value.get(*name).is_some());
    if (huge(&limits) || huge(&requests)) && !native {
        errors.push(resources.forbidden("HugePages require cpu or memory"));
    }
}

/// A request must not exceed its limit; what cannot be shared must equal it.
fn within_limit(
    name: &str,
    request: &Scope<'_>,
    (limits, requests): (&Scope<'_>, &Scope<'_>),
    errors: &mut Errors,
) {
    let is_shared = !name.contains('/') && !name.starts_with("hugepages-");
    let Some(limit) = limits.value.get(name) else {
        if !is_shared {
            let why = "Limit must be set for non overcommitable resources";
            errors.push(limits.required(why));
        }
        return;
    };
    let bound = Scope {
        path: String::new(),
        value: limit,
    };
    let (Some(wanted), Some(most)) = (request.quantity(), bound.quantity()) else {
        return;
    };
    let why = if !is_shared && wanted != most {
        format!("must be equal to {name} limit of {most}")
    } else if wanted > most {
        format!("must be less than or equal to {name} limit of {most}")
    } else {
        return;
    };
    let shown = Value::from(wanted.to_string());
    errors.push(crate::status::FieldError::invalid(
        requests.path.clone(),
        &shown,
        why,
    ));
}

fn resource_name(amounts: &Scope<'_>, name: &str, errors: &mut Errors) {
    let field = Scope {
        path: format!("{}[{name}]", amounts.path),
        value: amounts.value,
    };
    let value = Value::from(name);
    let named = Scope {
        path: field.path,
        value: &value,
    };
    if let Err(why) = names::is_qualified_name(name) {
        errors.push(named.invalid(why));
    } else if !name.contains('/') && !is_standard(name) {
        errors.push(named.invalid("must be a standard resource for containers"));
    }
}

pub(super) fn is_standard(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

fn check_probe(probe: &Scope<'_>, kind: &str, errors: &mut Errors) {
    check_handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], errors);
    for key in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        probe.at(key).not_negative(errors);
    }
    let success = probe.at("successThreshold");
    if kind != "readinessProbe" && success.integer().is_some_and(|threshold| threshold != 1) {
        errors.push(success.invalid("must be 1"));
    }
    let grace = probe.at("terminationGracePeriodSeconds");
    if grace.present() && kind == "readinessProbe" {
        errors.push(grace.invalid("must not be set for readinessProbes"));
    } else if grace.integer().is_some_and(|seconds| seconds <= 0) {
        errors.push(grace.invalid("must be greater than 0"));
    }
}

fn check_handler(handler: &Scope<'_>, allowed: &[&str], errors: &mut Errors) {
    let given: Vec<&&str> = allowed
        .iter()
        .filter(|key| handler.at(key).present())
        .collect();
    if given.is_empty() {
        errors.push(handler.required("must specify a handler type"));
    }
    for extra in given.iter().skip(1) {
        errors.push(
            handler
                .at(extra)
                .forbidden("may not specify more than 1 handler type"),
        );
    }
    let http = handler.at("httpGet");
    if http.present() {
        http.at("port").port_or_name(errors);
        http.at("scheme").one_of(&["HTTP", "HTTPS"], errors);
        http.at("path").require(errors);
    }
    if handler.at("tcpSocket").present() {
        handler.at("tcpSocket").at("port").port_or_name(errors);
    }
    if handler.at("grpc").present() {
        handler.at("grpc").at("port").port(errors);
    }
    if handler.at("exec").present() {
        handler.at("exec").at("command").require(errors);
    }
}

fn mounts(container: &Scope<'_>, volumes: &BTreeSet<String>, errors: &mut Errors) {
    let mut paths: BTreeSet<&str> = BTreeSet::new();
    for mount in container.items("volumeMounts") {
        let name = mount.at("name");
        if name.require(errors) && !volumes.contains(name.text()) {
            errors.push(crate::status::FieldError {
                field: name.path.clone(),
                reason: crate::status::CauseReason::FieldValueNotFound,
                detail: format!("Not found: {}", name.value),
            });
        }
        let path = mount.at("mountPath");
        if path.require(errors) && !paths.insert(path.text()) {
            errors.push(path.invalid("must be unique"));
        }
        for key in ["subPath", "subPathExpr"] {
            let inside = mount.at(key);
            if inside.text().starts_with('/') {
                errors.push(inside.invalid("must be a relative path"));
            }
            super::volume::no_backsteps(&inside, errors);
        }
        if !mount.at("subPath").is_empty() && !mount.at("subPathExpr").is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.push(mount.at("subPathExpr").invalid(why));
        }
    }
}
