//! How violations are told.

use plimsoll_api::meta;
use serde_json::Value;
use std::collections::BTreeSet;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// The rule, in a few words.
    pub(super) reason: String,
    /// Who breaks it and how; may be empty.
    pub(super) detail: String,
}

impl Violation {
    pub(super) fn new(reason: &str, detail: String) -> Self {
        Self {
            reason: reason.to_owned(),
            detail,
        }
    }
}

/// `reason (detail), reason (detail)`.
pub(super) fn details(violations: &[Violation]) -> String {
    let parts: Vec<String> = violations
        .iter()
        .map(|violation| match violation.detail.as_str() {
            "" => violation.reason.clone(),
            detail => format!("{} ({detail})", violation.reason),
        })
        .collect();
    parts.join(", ")
}

/// `reason, reason`.
pub(super) fn reasons(violations: &[Violation]) -> String {
    let reasons: Vec<&str> = violations.iter().map(|v| v.reason.as_str()).collect();
    reasons.join(", ")
}

/// `"a", "b"`; quotes within are left as they are.
pub(super) fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| format!("\"{}\"", item.as_ref()))
        .collect();
    items.join(", ")
}

/// The word for one, or the word for several.
pub(super) fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn containers(names: &[String]) -> String {
    let word = plural(names.len(), "container", "containers");
    format!("{word} {}", quoted(names))
}

/// Who sets something forbidden, and to what.
#[derive(Debug, Default)]
pub(super) struct Setters {
    /// Whether the pod itself does.
    pub(super) pod: bool,
    /// Containers that do.
    pub(super) containers: Vec<String>,
    /// The forbidden values.
    pub(super) values: BTreeSet<String>,
}

impl Setters {
    /// Looks at the pod's security context and at every container's for a value that `judge` calls
    /// forbidden.
    pub(super) fn find(spec: &Value, judge: impl Fn(&Value) -> Option<String>) -> Self {
        let mut found = Self::default();
        if let Some(value) = judge(context(spec)) {
            found.pod = true;
            found.values.insert(value);
        }
        for container in every_container(spec) {
            if let Some(value) = judge(context(container)) {
                found.containers.push(name(container));
                found.values.insert(value);
            }
        }
        found
    }

    /// Whether nobody does.
    pub(super) fn is_empty(&self) -> bool {
        !self.pod && self.containers.is_empty()
    }

    /// `pod and container "a"`.
    pub(super) fn names(&self) -> String {
        let mut parts = Vec::new();
        if self.pod {
            parts.push("pod".to_owned());
        }
        if !self.containers.is_empty() {
            parts.push(containers(&self.containers));
        }
        parts.join(" and ")
    }
}

/// Every container: init, ordinary and ephemeral ones.
pub(super) fn every_container(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| meta::list(spec, &[list]))
}

/// Names of the containers that `judge` says yes to.
pub(super) fn bad_containers(spec: &Value, judge: impl Fn(&Value) -> bool) -> Vec<String> {
    let bad = every_container(spec).filter(|container| judge(container));
    bad.map(name).collect()
}

/// The security context of a pod's spec or of a container.
pub(super) fn context(owner: &Value) -> &Value {
    owner.get("securityContext").unwrap_or(&Value::Null)
}

/// Whether the field at `path` is true.
pub(super) fn is_true(value: &Value, path: &[&str]) -> bool {
    flag(value, path) == Some(true)
}

/// The flag at `path`, if it is set.
pub(super) fn flag(value: &Value, path: &[&str]) -> Option<bool> {
    meta::at(value, path).and_then(Value::as_bool)
}

pub(super) fn name(container: &Value) -> String {
    meta::text(container, &["name"]).to_owned()
}
