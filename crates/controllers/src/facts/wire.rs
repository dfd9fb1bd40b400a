//! The parts of a pod's spec that only placement reads, as they are written.

use crate::pods::{node_term, null_as_empty};
use k8s_openapi::api::core::v1::NodeSelectorTerm;
use plimsoll_engine::placement::{
    Effect, Inclusion, LabelSelector, NodeAffinity, Operator, PodAffinity, PodTerm, PreferredTerm,
    Requirement, SpreadConstraint, Toleration, TolerationOperator, WeightedPodTerm,
    WhenUnsatisfiable,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Decodes an undecoded part; what cannot be read (the API server refuses it) says nothing.
pub(super) fn parsed<T: Default + for<'a> Deserialize<'a>>(raw: Option<&RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

/// A taint's effect by its name.
pub(super) fn effect(text: &str) -> Option<Effect> {
    match text {
        "NoSchedule" => Some(Effect::NoSchedule),
        "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
        "NoExecute" => Some(Effect::NoExecute),
        _ => None,
    }
}

/// `spec.tolerations[]`.
#[derive(Deserialize)]
pub(super) struct TolerationWire {
    #[serde(default)]
    key: String,
    #[serde(default)]
    operator: String,
    #[serde(default)]
    value: String,
    effect: Option<String>,
}

impl From<TolerationWire> for Toleration {
    fn from(wire: TolerationWire) -> Self {
        Self {
            key: wire.key,
            operator: match wire.operator.as_str() {
                "Exists" => TolerationOperator::Exists,
                "Gt" => TolerationOperator::Gt,
                "Lt" => TolerationOperator::Lt,
                _ => TolerationOperator::Equal,
            },
            value: wire.value,
            effect: wire.effect.as_deref().and_then(effect),
        }
    }
}

/// `spec.affinity`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AffinityWire {
    #[serde(rename = "nodeAffinity", deserialize_with = "null_as_empty")]
    node: NodeAffinityWire,
    #[serde(rename = "podAffinity", deserialize_with = "null_as_empty")]
    pod: PodAffinityWire,
    #[serde(rename = "podAntiAffinity", deserialize_with = "null_as_empty")]
    pod_anti: PodAffinityWire,
}

/// The three affinities of a pod.
pub(super) struct Affinities {
    pub(super) node: NodeAffinity,
    pub(super) pod: PodAffinity,
    pub(super) pod_anti: PodAffinity,
}

impl From<AffinityWire> for Affinities {
    fn from(wire: AffinityWire) -> Self {
        Self {
            node: wire.node.into(),
            pod: wire.pod.into(),
            pod_anti: wire.pod_anti.into(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeAffinityWire {
    required_during_scheduling_ignored_during_execution: Option<SelectorWire>,
    #[serde(deserialize_with = "null_as_empty")]
    preferred_during_scheduling_ignored_during_execution: Vec<PreferredWire>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SelectorWire {
    #[serde(deserialize_with = "null_as_empty")]
    node_selector_terms: Vec<NodeSelectorTerm>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PreferredWire {
    weight: i64,
    preference: NodeSelectorTerm,
}

/// One requirement of a selector of pods.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RequirementWire {
    key: String,
    operator: String,
    #[serde(deserialize_with = "null_as_empty")]
    values: Vec<String>,
}

impl From<NodeAffinityWire> for NodeAffinity {
    fn from(wire: NodeAffinityWire) -> Self {
        let required = wire.required_during_scheduling_ignored_during_execution;
        let preferred = wire.preferred_during_scheduling_ignored_during_execution;
        Self {
            required: required.map(|terms| {
                terms
                    .node_selector_terms
                    .into_iter()
                    .map(node_term)
                    .collect()
            }),
            preferred: preferred
                .into_iter()
                .map(|liked| PreferredTerm {
                    weight: liked.weight,
                    term: node_term(liked.preference),
                })
                .collect(),
        }
    }
}

fn all(wire: Vec<RequirementWire>) -> Option<Vec<Requirement>> {
    wire.into_iter().map(requirement).collect()
}

fn requirement(wire: RequirementWire) -> Option<Requirement> {
    Some(Requirement {
        key: wire.key,
        operator: Operator::named(&wire.operator)?,
        values: wire.values,
    })
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodAffinityWire {
    #[serde(deserialize_with = "null_as_empty")]
    required_during_scheduling_ignored_during_execution: Vec<PodTermWire>,
    #[serde(deserialize_with = "null_as_empty")]
    preferred_during_scheduling_ignored_during_execution: Vec<WeightedWire>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WeightedWire {
    weight: i64,
    pod_affinity_term: PodTermWire,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodTermWire {
    label_selector: Option<LabelSelectorWire>,
    #[serde(deserialize_with = "null_as_empty")]
    namespaces: Vec<String>,
    namespace_selector: Option<LabelSelectorWire>,
    topology_key: String,
    #[serde(deserialize_with = "null_as_empty")]
    match_label_keys: Vec<String>,
    #[serde(deserialize_with = "null_as_empty")]
    mismatch_label_keys: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LabelSelectorWire {
    #[serde(deserialize_with = "null_as_empty")]
    match_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_empty")]
    match_expressions: Vec<RequirementWire>,
}

impl LabelSelectorWire {
    /// `None` (selects nothing) if a requirement cannot be read.
    fn into_selector(self) -> Option<LabelSelector> {
        let mut selector = LabelSelector::of_labels(&self.match_labels);
        selector.requirements.extend(all(self.match_expressions)?);
        Some(selector)
    }
}

impl From<PodAffinityWire> for PodAffinity {
    fn from(wire: PodAffinityWire) -> Self {
        let required = wire.required_during_scheduling_ignored_during_execution;
        let preferred = wire.preferred_during_scheduling_ignored_during_execution;
        Self {
            required: required.into_iter().map(PodTerm::from).collect(),
            preferred: preferred
                .into_iter()
                .map(|liked| WeightedPodTerm {
                    weight: liked.weight,
                    term: liked.pod_affinity_term.into(),
                })
                .collect(),
        }
    }
}

impl From<PodTermWire> for PodTerm {
    fn from(wire: PodTermWire) -> Self {
        let selector =
            |wire: Option<LabelSelectorWire>| wire.and_then(LabelSelectorWire::into_selector);
        Self {
            selector: selector(wire.label_selector),
            namespaces: wire.namespaces,
            namespace_selector: selector(wire.namespace_selector),
            topology_key: wire.topology_key,
            match_label_keys: wire.match_label_keys,
            mismatch_label_keys: wire.mismatch_label_keys,
        }
    }
}

/// `spec.topologySpreadConstraints[]`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SpreadWire {
    max_skew: i32,
    topology_key: String,
    when_unsatisfiable: String,
    label_selector: Option<LabelSelectorWire>,
    min_domains: Option<i32>,
    node_affinity_policy: Option<String>,
    node_taints_policy: Option<String>,
    #[serde(deserialize_with = "null_as_empty")]
    match_label_keys: Vec<String>,
}

impl From<SpreadWire> for SpreadConstraint {
    fn from(wire: SpreadWire) -> Self {
        let inclusion = |text: Option<String>, default| match text.as_deref() {
            Some("Honor") => Inclusion::Honor,
            Some("Ignore") => Inclusion::Ignore,
            _ => default,
        };
        Self {
            max_skew: wire.max_skew,
            topology_key: wire.topology_key,
            when_unsatisfiable: if wire.when_unsatisfiable == "ScheduleAnyway" {
                WhenUnsatisfiable::ScheduleAnyway
            } else {
                WhenUnsatisfiable::DoNotSchedule
            },
            selector: wire
                .label_selector
                .and_then(LabelSelectorWire::into_selector),
            min_domains: wire.min_domains,
            node_affinity_policy: inclusion(wire.node_affinity_policy, Inclusion::Honor),
            node_taints_policy: inclusion(wire.node_taints_policy, Inclusion::Ignore),
            match_label_keys: wire.match_label_keys,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_engine::placement::NodeTerm;
    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    fn affinities(value: &Value) -> Affinities {
        parsed::<AffinityWire>(Some(&to_raw_value(value).unwrap())).into()
    }

    #[test]
    fn every_affinity_is_read() {
        let term = json!({"labelSelector": {"matchLabels": {"app": "web"}, "matchExpressions": null},
            "topologyKey": "zone", "namespaces": ["a"], "namespaceSelector": {},
            "matchLabelKeys": ["hash"]});
        let read = affinities(&json!({
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
                [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]}},
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
                [{"weight": 7, "podAffinityTerm": term}]},
        }));
        let want = PodTerm {
            selector: Some(LabelSelector {
                requirements: vec![Requirement::equals("app", "web")],
            }),
            namespaces: vec!["a".into()],
            namespace_selector: Some(LabelSelector::default()),
            topology_key: "zone".into(),
            match_label_keys: vec!["hash".into()],
            mismatch_label_keys: Vec::new(),
        };
        assert_eq!(read.pod.required, std::slice::from_ref(&want));
        let liked = &read.pod_anti.preferred;
        assert_eq!((liked[0].weight, &liked[0].term), (7, &want));
        let disk = Requirement::equals("disk", "ssd");
        assert_eq!(read.node.required.unwrap()[0].labels, [disk]);
    }

    #[test]
    fn a_term_that_cannot_be_read_matches_nothing() {
        let read = affinities(&json!({"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
                [{"matchExpressions": [{"key": "disk", "operator": "Like", "values": ["ssd"]}]}]}}}));
        assert_eq!(read.node.required, Some(vec![NodeTerm::default()]));
    }

    #[test]
    fn spread_constraints_have_upstreams_defaults() {
        let raw = json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}}]);
        let read: Vec<SpreadWire> = parsed(Some(&to_raw_value(&raw).unwrap()));
        let read: Vec<SpreadConstraint> = read.into_iter().map(Into::into).collect();
        assert_eq!(read[0].node_affinity_policy, Inclusion::Honor);
        assert_eq!(read[0].node_taints_policy, Inclusion::Ignore);
        assert_eq!(read[0].when_unsatisfiable, WhenUnsatisfiable::DoNotSchedule);
        assert_eq!(read[0].min_domains, None);
    }
}
