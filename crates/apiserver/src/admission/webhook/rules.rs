//! Whether a webhook wants to hear of a request: pure matching.

use plimsoll_api::meta;
use serde_json::Value;

/// A request as rules see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    /// Plural.
    pub(crate) resource: &'a str,
    /// Or empty.
    pub(crate) subresource: &'a str,
    /// Whether the object is in a namespace.
    pub(crate) namespaced: bool,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub(crate) operation: &'a str,
}

/// What a rule's scope admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Cluster,
    Namespaced,
}

/// One rule: operations × groups × versions × resources, of a scope.
#[derive(Debug)]
pub(crate) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: Scope,
}

impl Rule {
    /// Reads a `RuleWithOperations`.
    pub(crate) fn read(rule: &Value) -> Self {
        let texts = |key: &str| {
            let list = meta::list(rule, &[key]).iter();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let scope = match meta::text(rule, &["scope"]) {
            "Cluster" => Scope::Cluster,
            "Namespaced" => Scope::Namespaced,
            _ => Scope::All,
        };
        Self {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            scope,
        }
    }

    /// Whether the rule covers the request.
    pub(crate) fn covers(&self, target: &Target<'_>) -> bool {
        has(&self.operations, target.operation)
            && has(&self.groups, target.group)
            && has(&self.versions, target.version)
            && self.in_scope(target)
            && self.resources.iter().any(|r| names(r, target))
    }

    fn in_scope(&self, target: &Target<'_>) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::Cluster => !target.namespaced,
            Scope::Namespaced => target.namespaced,
        }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

/// `pods`, `pods/log`, `pods/*`, `*/scale`, `*` (no subresource) and `*/*`.
fn names(pattern: &str, target: &Target<'_>) -> bool {
    let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == target.resource)
        && (subresource == "*" || subresource == target.subresource)
}

/// Kinds that decide about admission are never themselves subject to it: a broken webhook could
/// not be removed.
pub(crate) fn is_exempt(group: &str, resource: &str) -> bool {
    group == "admissionregistration.k8s.io"
        && matches!(
            resource,
            "mutatingwebhookconfigurations"
                | "validatingwebhookconfigurations"
                | "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    const PODS: Target<'static> = Target {
        group: "",
        version: "v1",
        resource: "pods",
        subresource: "",
        namespaced: true,
        operation: "CREATE",
    };

    fn sub(subresource: &'static str) -> Target<'static> {
        Target {
            subresource,
            ..PODS
        }
    }

    #[rstest]
    #[case::plain("pods", PODS, true)]
    #[case::plain_not_its_subresources("pods", sub("status"), false)]
    #[case::one_subresource("pods/status", sub("status"), true)]
    #[case::another_subresource("pods/log", sub("status"), false)]
    #[case::all_of_pods("pods/*", sub("exec"), true)]
    #[case::all_of_pods_and_pods("pods/*", PODS, true)]
    #[case::everything_but_subresources("*", PODS, true)]
    #[case::star_is_not_subresources("*", sub("exec"), false)]
    #[case::really_everything("*/*", sub("exec"), true)]
    #[case::one_subresource_of_all("*/scale", sub("scale"), true)]
    #[case::other_resource("services", PODS, false)]
    fn resources_match(#[case] pattern: &str, #[case] target: Target<'_>, #[case] covered: bool) {
        let rule = Rule::read(&json!({
            "operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": [pattern],
        }));
        assert_eq!(rule.covers(&target), covered);
    }

    #[rstest]
    #[case(json!({"operations": ["UPDATE"]}), false)]
    #[case(json!({"operations": ["UPDATE", "CREATE"]}), true)]
    #[case(json!({"apiGroups": ["apps"]}), false)]
    #[case(json!({"apiGroups": ["*"]}), true)]
    #[case(json!({"apiVersions": ["v2"]}), false)]
    #[case(json!({"scope": "Cluster"}), false)]
    #[case(json!({"scope": "Namespaced"}), true)]
    #[case(json!({"scope": "*"}), true)]
    fn every_part_must_match(#[case] change: Value, #[case] covered: bool) {
        let mut rule = json!({
            "operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
        });
        plimsoll_api::patch::merge(&mut rule, &change);
        assert_eq!(Rule::read(&rule).covers(&PODS), covered);
    }
}
