//! A `CapacityQuota` as it is watched.

use crate::facts;
use crate::pods::Selector;
use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use plimsoll_api::names::is_qualified_name;
use plimsoll_engine::cluster::{QUOTA_OBJECT, Quota};
use plimsoll_quantity::Quantity;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A quota.
#[derive(Debug)]
pub(in crate::nodes) struct QuotaView {
    pub(in crate::nodes) meta: Meta,
    /// What it says, or why that cannot be understood.
    pub(super) rule: Result<Quota, String>,
    pub(super) status: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    selector: Option<LabelSelector>,
    limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Limits {
    resources: BTreeMap<String, Value>,
}

impl Cached for QuotaView {
    type Wire = QuotaWire;

    fn from_wire(wire: QuotaWire) -> Self {
        let meta: Meta = wire.metadata.into();
        Self {
            rule: rule(meta.name(), wire.spec),
            meta,
            status: wire.status,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What the spec says. Its definition refuses most of what is wrong here; an older one may not.
fn rule(name: &str, spec: Value) -> Result<Quota, String> {
    let Spec { selector, limits } =
        serde_json::from_value(spec).map_err(|error| format!("spec: {error}"))?;
    let labels = selector.iter().flat_map(|selector| &selector.match_labels);
    for key in labels.flat_map(BTreeMap::keys) {
        let wrong = |why: String| format!("spec.selector.matchLabels: {key:?}: {why}");
        is_qualified_name(key).map_err(wrong)?;
    }
    let selector = selector.as_ref().map(Selector::try_from).transpose();
    let selector = selector.map_err(|error| format!("spec.selector: {error}"))?;
    let limits = limits.resources.into_iter().map(|(name, written)| {
        let most = limit(&name, &written)?;
        Ok((name, most))
    });
    Ok(Quota {
        id: format!("{QUOTA_OBJECT}{name}"),
        selector: selector.as_ref().map(facts::selector).unwrap_or_default(),
        limits: limits.collect::<Result<_, String>>()?,
    })
}

/// A limit in the unit of [`Quota::limits`].
///
/// Departs: upstream counts whole cores, rounded up, of the limit and of each node.
fn limit(name: &str, written: &Value) -> Result<i64, String> {
    let number = written.to_string();
    let text = written.as_str().unwrap_or(&number);
    let wrong = |why: &str| format!("spec.limits.resources[{name}]: {text:?} {why}");
    let quantity: Quantity = text.parse().map_err(|_| wrong("is no quantity"))?;
    if quantity.is_negative() {
        return Err(wrong("is negative"));
    }
    Ok(if name == "cpu" {
        quantity.milli()
    } else {
        quantity.value()
    })
}

/// What is decoded of one.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::nodes) struct QuotaWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

wire!(
    QuotaWire,
    ClusterResourceScope,
    "autoscaling.x-k8s.io",
    "v1beta1",
    "CapacityQuota",
    "capacityquotas"
);

#[cfg(test)]
mod tests {
    use super::rule;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[test]
    fn limits_and_labels_are_taken_over() {
        let expression = json!({"key": "zone", "operator": "NotIn", "values": ["b"]});
        let spec = json!({
            "selector": {"matchLabels": {"tier": "cheap"}, "matchExpressions": [expression]},
            "limits": {"resources": {"cpu": 4, "memory": "8Gi", "nodes": "2", "x.com/y": "1k"}},
        });
        let quota = rule("cheap", spec).unwrap();
        assert_eq!(quota.id, "CapacityQuota/cheap");
        let limits: Vec<(&str, i64)> = quota.limits.iter().map(|(k, v)| (&**k, *v)).collect();
        let want = [
            ("cpu", 4000),
            ("memory", 8 << 30),
            ("nodes", 2),
            ("x.com/y", 1000),
        ];
        assert_eq!(limits, want);
        let labels = |zone: &str| {
            let pairs = [("tier", "cheap"), ("zone", zone)];
            pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        };
        assert!(quota.selects(&labels("a")) && !quota.selects(&labels("b")));
    }

    #[rstest]
    #[case::without_selector(json!({"limits": {"resources": {}}}))]
    #[case::empty(json!({"selector": {}, "limits": {"resources": {}}}))]
    fn without_labels_all_nodes_count(#[case] spec: Value) {
        assert!(rule("all", spec).unwrap().selects(&[].into()));
    }

    #[rstest]
    #[case::negative(
        json!({"limits": {"resources": {"cpu": "-1"}}}),
        "spec.limits.resources[cpu]: \"-1\" is negative"
    )]
    #[case::no_quantity(
        json!({"limits": {"resources": {"cpu": "many"}}}),
        "spec.limits.resources[cpu]: \"many\" is no quantity"
    )]
    #[case::label(
        json!({"selector": {"matchLabels": {"a/b/c": "d"}}}),
        "spec.selector.matchLabels: \"a/b/c\": "
    )]
    #[case::operator(
        json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Gt"}]}}),
        "spec.selector: unknown operator \"Gt\" in the label selector"
    )]
    fn what_is_wrong_is_named(#[case] spec: Value, #[case] want: &str) {
        let why = rule("q", spec).unwrap_err();
        assert!(why.starts_with(want), "{why}");
    }
}
