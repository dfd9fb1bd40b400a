//! A quota, parsed: its bounds and the objects it is about.

use plimsoll_api::kind::Kind;
use plimsoll_api::resources::{Amounts, amounts};
use plimsoll_api::{meta, print};
use serde_json::Value;

/// One ResourceQuota.
#[derive(Debug, PartialEq)]
pub(crate) struct Rule {
    pub(super) name: String,
    pub(super) hard: Amounts,
    /// `spec.hard` as it was written.
    pub(super) written: Value,
    scopes: Vec<Scope>,
}

/// A quota and what its status says.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(super) rule: std::sync::Arc<Rule>,
    pub(super) shown_hard: Amounts,
    pub(super) shown_used: Amounts,
    pub(super) has_status: bool,
}

impl Stored {
    /// Reads the object.
    pub(crate) fn parse(quota: &Value) -> Self {
        let spec = quota.get("spec").unwrap_or(&Value::Null);
        let plain = meta::list(spec, &["scopes"]).iter();
        let plain = plain.map(|name| Scope {
            name: name.as_str().unwrap_or_default().to_owned(),
            operator: "Exists".into(),
            values: Vec::new(),
        });
        let selected = meta::list(spec, &["scopeSelector", "matchExpressions"]).iter();
        let rule = Rule {
            name: meta::name(quota).to_owned(),
            hard: amounts(spec.get("hard")),
            written: spec.get("hard").cloned().unwrap_or_default(),
            scopes: plain.chain(selected.map(Scope::parse)).collect(),
        };
        let shown = |key: &str| amounts(meta::at(quota, &["status", key]));
        Self {
            rule: rule.into(),
            shown_hard: shown("hard"),
            shown_used: shown("used"),
            has_status: meta::at(quota, &["status", "hard"]).is_some(),
        }
    }
}

#[derive(Debug, PartialEq)]
struct Scope {
    name: String,
    operator: String,
    values: Vec<String>,
}

impl Rule {
    /// Whether the quota is about the object at all.
    pub(super) fn covers(&self, kind: &Kind, object: &Value) -> bool {
        self.scopes.iter().all(|scope| scope.holds(kind, object))
    }

    /// The part of a usage that the quota bounds.
    pub(super) fn bounded(&self, usage: &Amounts) -> Amounts {
        usage
            .iter()
            .filter(|(name, _)| self.hard.contains_key(*name))
            .map(|(name, amount)| (name.clone(), *amount))
            .collect()
    }
}

impl Scope {
    fn parse(requirement: &Value) -> Self {
        let text = |key: &str| meta::text(requirement, &[key]).to_owned();
        let values = meta::list(requirement, &["values"]).iter();
        Self {
            name: text("scopeName"),
            operator: text("operator"),
            values: values
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        }
    }

    fn holds(&self, kind: &Kind, object: &Value) -> bool {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let plural = if kind.group.is_empty() {
            kind.plural.as_ref()
        } else {
            ""
        };
        match (plural, self.name.as_str()) {
            ("pods", "Terminating") => has_deadline(spec),
            ("pods", "NotTerminating") => !has_deadline(spec),
            ("pods", "BestEffort") => print::pod_qos(object) == "BestEffort",
            ("pods", "NotBestEffort") => print::pod_qos(object) != "BestEffort",
            ("pods", "CrossNamespacePodAffinity") => crosses_namespaces(spec),
            ("pods", "PriorityClass") => self.selects(meta::text(spec, &["priorityClassName"])),
            ("persistentvolumeclaims", "VolumeAttributesClass") => {
                self.selects(meta::text(spec, &["volumeAttributesClassName"]))
            }
            _ => false,
        }
    }

    fn selects(&self, value: &str) -> bool {
        let listed = self.values.iter().any(|v| v == value);
        match self.operator.as_str() {
            "Exists" => !value.is_empty(),
            "DoesNotExist" => value.is_empty(),
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    }
}

fn has_deadline(spec: &Value) -> bool {
    meta::integer(spec, &["activeDeadlineSeconds"]).is_some_and(|seconds| seconds >= 0)
}

fn crosses_namespaces(spec: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|side| {
        let required = [
            "affinity",
            side,
            "requiredDuringSchedulingIgnoredDuringExecution",
        ];
        let preferred = [
            "affinity",
            side,
            "preferredDuringSchedulingIgnoredDuringExecution",
        ];
        let crosses = |term: &Value| {
            let selected = term.get("namespaceSelector").is_some_and(|s| !s.is_null());
            selected || !meta::list(term, &["namespaces"]).is_empty()
        };
        let weighted = |entry: &Value| entry.get("podAffinityTerm").is_some_and(crosses);
        meta::list(spec, &required).iter().any(crosses)
            || meta::list(spec, &preferred).iter().any(weighted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_api::kinds;
    use rstest::rstest;
    use serde_json::json;

    fn covers(spec: &Value, plural: &str, object: &Value) -> bool {
        let kinds = kinds::built_in();
        let stored = Stored::parse(&json!({"metadata": {"name": "q"}, "spec": spec}));
        stored
            .rule
            .covers(kinds.find("", "v1", plural).unwrap(), object)
    }

    fn class(operator: &str, values: &[&str]) -> Value {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values},
        ]}})
    }

    #[rstest]
    #[case::everything(json!({}), json!({}), true)]
    #[case::deadline(json!({"scopes": ["Terminating"]}), json!({"activeDeadlineSeconds": 0}), true)]
    #[case::no_deadline(json!({"scopes": ["Terminating"]}), json!({}), false)]
    #[case::runs_on(json!({"scopes": ["NotTerminating"]}), json!({}), true)]
    #[case::effort(json!({"scopes": ["BestEffort", "NotTerminating"]}), json!({"containers": [{}]}), true)]
    #[case::class(class("In", &["high"]), json!({"priorityClassName": "high"}), true)]
    #[case::other_class(class("In", &["high"]), json!({"priorityClassName": "low"}), false)]
    #[case::not_in(class("NotIn", &["high"]), json!({}), true)]
    #[case::any_class(class("Exists", &[]), json!({}), false)]
    #[case::affinity(json!({"scopes": ["CrossNamespacePodAffinity"]}),
        json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["a"]}]}}}), true)]
    #[case::own_affinity(json!({"scopes": ["CrossNamespacePodAffinity"]}),
        json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a"}]}}}), false)]
    fn scopes_choose_pods(#[case] spec: Value, #[case] pod: Value, #[case] want: bool) {
        assert_eq!(covers(&spec, "pods", &json!({"spec": pod})), want);
    }

    #[test]
    fn scopes_of_pods_choose_nothing_else() {
        assert!(!covers(
            &json!({"scopes": ["NotTerminating"]}),
            "services",
            &json!({})
        ));
        let gold = json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["gold"]},
        ]}});
        let claim = json!({"spec": {"volumeAttributesClassName": "gold"}});
        assert!(covers(&gold, "persistentvolumeclaims", &claim));
    }
}
