//! PodSecurity: the pod security standards, as a namespace's labels ask for them.

mod baseline;
mod policy;
mod report;
mod restricted;
#[cfg(test)]
mod tests;

pub(crate) use policy::Policy;

use super::{Operation, Request};
use crate::resource::patch::Part;
use crate::store::ListQuery;
use baseline::Subject;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use policy::{Level, Standard};
use report::{Violation, details, reasons};
use serde_json::Value;
use std::collections::BTreeMap;

/// Pods looked at when a namespace becomes stricter.
const MOST_PODS: usize = 3_000;

/// Refuses pods below the namespace's standard, warns about templates of such pods, and keeps the
/// labels themselves right.
pub(super) fn check(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if request.is_core("Namespace") {
        return match request.part {
            Part::Main => check_namespace(request, object, old),
            Part::Status | Part::Other | Part::Placement => Ok(()),
        };
    }
    let is_pod = request.is_core("Pod");
    let template = template_of(request).filter(|_| request.part == Part::Main);
    let is_other = matches!(request.part, Part::Status | Part::Placement);
    if is_other || (!is_pod && template.is_none()) {
        return Ok(());
    }
    let policies = &request.writer.server.0.admission.pod_policies;
    let Some(policy) = policies.get("", request.namespace) else {
        return Ok(());
    };
    let modes = [policy.enforce, policy.warn, policy.audit];
    if modes.iter().all(|mode| mode.level == Level::Privileged) {
        return Ok(());
    }
    if is_pod && old.is_some_and(|old| !is_significant(object, old)) {
        return Ok(());
    }
    let owner = meta::at(object, template.unwrap_or(&[])).unwrap_or(&Value::Null);
    let subject = Subject::of(owner);
    judge(request, subject, &policy)
}

/// Refuses what is enforced, warns about the rest. Only pods are refused: of a workload, the pods
/// would be.
fn judge(request: &Request<'_>, subject: Subject<'_>, policy: &Policy) -> Result<(), ApiError> {
    let remarks = request.writer.remarks;
    let found = violations(subject, policy.audit);
    if !found.is_empty() {
        let (standard, what) = (policy.audit.to_string(), details(&found));
        let text = format!("would violate PodSecurity {standard:?}: {what}");
        remarks.annotate("pod-security.kubernetes.io/audit-violations", text);
    }
    if request.is_core("Pod") {
        let found = violations(subject, policy.enforce);
        if !found.is_empty() {
            let (standard, what) = (policy.enforce.to_string(), details(&found));
            return Err(request.forbidden(&format!("violates PodSecurity {standard:?}: {what}")));
        }
    }
    let found = violations(subject, policy.warn);
    if !found.is_empty() {
        let (standard, what) = (policy.warn.to_string(), details(&found));
        let text = format!("would violate PodSecurity {standard:?}: {what}");
        remarks.warn([text]);
    }
    Ok(())
}

/// Where a workload keeps the template of its pods.
fn template_of(request: &Request<'_>) -> Option<&'static [&'static str]> {
    let kind = &request.writer.kind;
    match (kind.group.as_ref(), kind.kind.as_ref()) {
        ("", "PodTemplate") => Some(&["template"]),
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => Some(&["spec", "template"]),
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

/// Whether an update of a pod changes anything that the standards look at.
fn is_significant(new: &Value, old: &Value) -> bool {
    let profiles = |pod: &Value| -> BTreeMap<String, Value> {
        let annotations = meta::at(pod, &["metadata", "annotations"]).and_then(Value::as_object);
        annotations
            .into_iter()
            .flatten()
            .filter(|(key, _)| {
                key.starts_with("container.apparmor.security.beta.kubernetes.io/")
                    || key.starts_with("seccomp.security.alpha.kubernetes.io/")
                    || key.starts_with("container.seccomp.security.alpha.kubernetes.io/")
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let images = |pod: &Value| -> Vec<(String, String)> {
        let spec = pod.get("spec").unwrap_or(&Value::Null);
        report::every_container(spec)
            .map(|c| (report::name(c), meta::text(c, &["image"]).to_owned()))
            .collect()
    };
    profiles(new) != profiles(old) || images(new) != images(old)
}

/// What of the standard the pod breaks, in upstream's order.
fn violations(subject: Subject<'_>, standard: Standard) -> Vec<Violation> {
    let rest = match standard.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => baseline::REPLACED,
        Level::Restricted => restricted::RULES,
    };
    let rules = baseline::RULES.iter().chain(rest);
    rules
        .filter_map(|rule| rule(subject, standard.version))
        .collect()
}

fn check_namespace(
    request: &Request<'_>,
    namespace: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let policy = Policy::parse(namespace);
    let before = old.map(Policy::parse);
    let Some(before) = before.filter(|_| request.operation == Operation::Update) else {
        return refuse(request, &policy);
    };
    if before.errors.is_empty() {
        refuse(request, &policy)?;
    }
    let enforce = policy.enforce;
    let relaxed =
        enforce.version == before.enforce.version && enforce.level <= before.enforce.level;
    if enforce.level > Level::Privileged && !relaxed {
        let found = existing(request, enforce);
        request.writer.remarks.warn(found);
    }
    Ok(())
}

fn refuse(request: &Request<'_>, policy: &Policy) -> Result<(), ApiError> {
    if policy.errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(
        "",
        "Namespace",
        request.name,
        &policy.errors,
    ))
}

/// Warnings about pods that would not be let in any more.
fn existing(request: &Request<'_>, standard: Standard) -> Vec<String> {
    let store = request.writer.server.store();
    let query = ListQuery {
        resource: "pods".into(),
        namespace: Some(request.name.into()),
        limit: MOST_PODS,
        ..ListQuery::default()
    };
    let pods = store.list(&query).map(|page| page.entries);
    let mut by_reason: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for entry in pods.unwrap_or_default() {
        let pod: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
        let found = violations(Subject::of(&pod), standard);
        if !found.is_empty() {
            let first = (entry.key.name.to_string(), 0);
            by_reason.entry(reasons(&found)).or_insert(first).1 += 1;
        }
    }
    if by_reason.is_empty() {
        return Vec::new();
    }
    let head = format!(
        "existing pods in namespace {:?} violate the new PodSecurity enforce level {:?}",
        request.name,
        standard.to_string()
    );
    let lines = by_reason
        .into_iter()
        .map(|(reason, (pod, count))| match count {
            1 => format!("{pod}: {reason}"),
            2 => format!("{pod} (and 1 other pod): {reason}"),
            more => format!("{pod} (and {} other pods): {reason}", more - 1),
        });
    std::iter::once(head).chain(lines).collect()
}
