//! Where a pod may run: node selection and affinity.

use super::object::{self, path_segment};
use super::scope::{Errors, Scope};
use crate::names;
use crate::status::FieldError;
use std::collections::BTreeSet;

/// `spec.affinity`.
pub(super) fn affinity(spec: &Scope<'_>, errors: &mut Errors) {
    let node = spec.path(&["affinity", "nodeAffinity"]);
    let required = node.at(REQUIRED);
    if required.present() {
        let terms = required.items("nodeSelectorTerms");
        if terms.is_empty() {
            let why = "must have at least one node selector term";
            errors.push(required.at("nodeSelectorTerms").required(why));
        }
        for term in terms {
            node_term(&term, errors);
        }
    }
    for preferred in node.items(PREFERRED) {
        weight(&preferred, errors);
        node_term(&preferred.at("preference"), errors);
    }
    for side in ["podAffinity", "podAntiAffinity"] {
        let pods = spec.path(&["affinity", side]);
        for term in pods.items(REQUIRED) {
            pod_term(&term, errors);
        }
        for preferred in pods.items(PREFERRED) {
            weight(&preferred, errors);
            pod_term(&preferred.at("podAffinityTerm"), errors);
        }
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn weight(preferred: &Scope<'_>, errors: &mut Errors) {
    let weight = preferred.at("weight");
    if !(1..=100).contains(&weight.integer().unwrap_or_default()) {
        errors.push(weight.invalid("must be in the range 1-100"));
    }
}

fn node_term(term: &Scope<'_>, errors: &mut Errors) {
    for requirement in term.items("matchExpressions") {
        let (operator, values) = (requirement.at("operator"), requirement.at("values"));
        let count = requirement.items("values").len();
        match operator.text() {
            "In" | "NotIn" if count == 0 => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(values.required(why));
            }
            "Exists" | "DoesNotExist" if count > 0 => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(values.forbidden(why));
            }
            "Gt" | "Lt" if count != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(values.required(why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        requirement.at("key").name(names::is_qualified_name, errors);
    }
    for requirement in term.items("matchFields") {
        let (operator, values) = (requirement.at("operator"), requirement.items("values"));
        match operator.text() {
            "In" | "NotIn" if values.len() != 1 => {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(requirement.at("values").required(why));
            }
            "In" | "NotIn" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        if requirement.at("key").text() == "metadata.name" {
            for value in values {
                value.name(names::is_dns_subdomain, errors);
            }
        } else {
            let why = "not a valid field selector key";
            errors.push(requirement.at("key").invalid(why));
        }
    }
}

fn pod_term(term: &Scope<'_>, errors: &mut Errors) {
    object::selector(&term.at("labelSelector"), errors);
    object::selector(&term.at("namespaceSelector"), errors);
    for namespace in term.items("namespaces") {
        namespace.name(names::is_dns_label, errors);
    }
    let key = term.at("topologyKey");
    if key.is_empty() {
        errors.push(key.required("can not be empty"));
    } else {
        key.name(names::is_qualified_name, errors);
    }
}

/// `spec.topologySpreadConstraints`.
pub(super) fn spread(spec: &Scope<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for constraint in spec.items("topologySpreadConstraints") {
        let (key, when) = (
            constraint.at("topologyKey"),
            constraint.at("whenUnsatisfiable"),
        );
        let skew = constraint.at("maxSkew");
        if skew.integer().unwrap_or_default() < 1 {
            errors.push(skew.invalid("must be greater than zero"));
        }
        if key.is_empty() {
            errors.push(key.required("can not be empty"));
        }
        when.one_of(&["DoNotSchedule", "ScheduleAnyway"], errors);
        if !seen.insert((key.text(), when.text())) {
            let path = format!("{}.{{topologyKey, whenUnsatisfiable}}", constraint.path);
            let pair = format!("{{{}, {}}}", key.text(), when.text());
            errors.push(FieldError::duplicate(path, &pair.into()));
        }
        min_domains(&constraint, errors);
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if constraint.at(policy).present() {
                constraint.at(policy).one_of(&["Honor", "Ignore"], errors);
            }
        }
        object::selector(&constraint.at("labelSelector"), errors);
        label_keys(&constraint, errors);
    }
}

fn min_domains(constraint: &Scope<'_>, errors: &mut Errors) {
    let min = constraint.at("minDomains");
    let Some(count) = min.integer() else { return };
    if count < 1 {
        errors.push(min.invalid("must be greater than zero"));
    }
    let when = constraint.at("whenUnsatisfiable");
    if when.text() != "DoNotSchedule" {
        let why = format!(
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
            when.text()
        );
        errors.push(min.invalid(why));
    }
}

/// `matchLabelKeys` of a spread constraint.
fn label_keys(constraint: &Scope<'_>, errors: &mut Errors) {
    let keys = constraint.items("matchLabelKeys");
    let selector = constraint.at("labelSelector");
    if !keys.is_empty() && !selector.present() {
        let why = "must not be specified when labelSelector is not set";
        errors.push(constraint.at("matchLabelKeys").forbidden(why));
        return;
    }
    let expressions = selector.items("matchExpressions");
    for key in keys {
        key.name(names::is_qualified_name, errors);
        let in_labels = selector.at("matchLabels").value.get(key.text()).is_some();
        if in_labels || expressions.iter().any(|e| e.at("key").text() == key.text()) {
            errors.push(key.invalid("exists in both matchLabelKeys and labelSelector"));
        }
    }
}

/// `spec.schedulingGates`.
pub(super) fn gates(spec: &Scope<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for gate in spec.items("schedulingGates") {
        let name = gate.at("name");
        name.name(names::is_qualified_name, errors);
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
    }
}

/// `spec.resourceClaims`, and the containers that use them.
pub(super) fn claims(spec: &Scope<'_>, errors: &mut Errors) {
    let mut known = BTreeSet::new();
    for claim in spec.items("resourceClaims") {
        let name = claim.at("name");
        if name.require(errors) {
            name.name(names::is_dns_label, errors);
        }
        if !known.insert(name.text()) {
            errors.push(name.duplicate());
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"].map(|key| claim.at(key));
        match sources.iter().filter(|source| source.present()).count() {
            1 => {}
            0 => errors.push(claim.invalid(
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            )),
            _ => errors.push(claim.invalid(
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            )),
        }
        for source in sources.iter().filter(|source| source.present()) {
            source.name(path_segment, errors);
        }
    }
    for list in ["initContainers", "containers"] {
        for container in spec.items(list) {
            for used in container.at("resources").items("claims") {
                let name = used.at("name");
                if name.require(errors) && !known.contains(name.text()) {
                    errors.push(FieldError {
                        field: name.path.clone(),
                        reason: crate::status::CauseReason::FieldValueNotFound,
                        detail: format!("Not found: {}", name.value),
                    });
                }
            }
        }
    }
}
