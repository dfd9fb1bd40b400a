//! Which nodes a DaemonSet's pods belong on.

use crate::pods::{NodeView, node_term, tolerations, untolerated};
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Toleration};
use plimsoll_engine::placement::NodeTerm;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What a DaemonSet does on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eligible {
    /// The node should have a pod.
    Run,
    /// No pod is started there (a taint forbids it), but one that runs may stay.
    Stay,
    /// The node should have none.
    Never,
}

/// Taints that pods of DaemonSets tolerate: the state of a node does not drive them away.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// Tolerated by pods in the node's network: they may be what brings it up.
const NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// The part of a pod template that says where its pods belong.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    node_name: Option<String>,
    node_selector: BTreeMap<String, String>,
    /// One of these must match; `None` without a requirement.
    terms: Option<Vec<NodeTerm>>,
    /// With those every pod of a DaemonSet gets.
    tolerations: Vec<Toleration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateWire {
    spec: Option<SpecWire>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpecWire {
    node_name: Option<String>,
    node_selector: Option<BTreeMap<String, String>>,
    affinity: Option<AffinityWire>,
    tolerations: Option<Box<RawValue>>,
    host_network: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AffinityWire {
    node_affinity: Option<NodeAffinityWire>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeAffinityWire {
    required_during_scheduling_ignored_during_execution: Option<TermsWire>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TermsWire {
    node_selector_terms: Option<Vec<NodeSelectorTerm>>,
}

impl Rules {
    /// The rules of a pod template; a template that cannot be read has none.
    pub fn of(template: &RawValue) -> Self {
        let template: TemplateWire = serde_json::from_str(template.get()).unwrap_or_default();
        let spec = template.spec.unwrap_or_default();
        let required = spec
            .affinity
            .and_then(|affinity| affinity.node_affinity)
            .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution);
        let mut all = tolerations(spec.tolerations.as_deref());
        add_tolerations(&mut all, spec.host_network.unwrap_or_default());
        Self {
            node_name: spec.node_name.filter(|name| !name.is_empty()),
            node_selector: spec.node_selector.unwrap_or_default(),
            terms: required.map(|terms| {
                let terms = terms.node_selector_terms.into_iter().flatten();
                terms.map(node_term).collect()
            }),
            tolerations: all,
        }
    }

    /// What the DaemonSet does on this node.
    pub fn judge(&self, node: &NodeView) -> Eligible {
        if !self.selects(node) {
            return Eligible::Never;
        }
        let stops = |effects: &[&str]| untolerated(node, &self.tolerations, effects).is_some();
        if !stops(&["NoSchedule", "NoExecute"]) {
            Eligible::Run
        } else if stops(&["NoExecute"]) {
            Eligible::Never
        } else {
            Eligible::Stay
        }
    }

    fn selects(&self, node: &NodeView) -> bool {
        let named = self.node_name.as_deref();
        let fits = |term: &NodeTerm| term.matches_by(node.meta.name(), |key| node.meta.label(key));
        let labelled = |(key, value): (&String, &String)| node.meta.label(key) == Some(value);
        named.is_none_or(|name| name == node.meta.name())
            && self.node_selector.iter().all(labelled)
            && self
                .terms
                .as_ref()
                .is_none_or(|terms| terms.iter().any(fits))
    }
}

/// Adds what every pod of a DaemonSet tolerates, unless it is there.
pub(super) fn add_tolerations(tolerations: &mut Vec<Toleration>, host_network: bool) {
    let wanted = TOLERATED.into_iter().chain(host_network.then_some(NETWORK));
    for (key, effect) in wanted {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        let same = |known: &&mut Toleration| {
            known.key == toleration.key
                && known.effect == toleration.effect
                && known.operator == toleration.operator
                && known.value.as_deref().unwrap_or_default().is_empty()
        };
        match tolerations.iter_mut().find(same) {
            Some(known) => *known = toleration,
            None => tolerations.push(toleration),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Eligible, Rules};
    use crate::pods::NodeView;
    use crate::runtime::Cached;
    use rstest::rstest;
    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    fn term(expression: &Value) -> Value {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}})
    }

    fn field(operator: &str, name: &str) -> Value {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [
                {"key": "metadata.name", "operator": operator, "values": [name]}]}]}}}})
    }

    /// Judges a node named `n` in zone `a` with disk 7 and these taints.
    fn judge(spec: &Value, taints: &Value) -> Eligible {
        let node = json!({
            "metadata": {"name": "n", "labels": {"zone": "a", "disk": "7"}},
            "spec": {"taints": taints},
        });
        let node = NodeView::from_wire(serde_json::from_value(node).unwrap());
        let template = to_raw_value(&json!({"spec": spec})).unwrap();
        Rules::of(&template).judge(&node)
    }

    #[rstest]
    #[case::anywhere(json!({}), true)]
    #[case::named(json!({"nodeName": "n"}), true)]
    #[case::named_elsewhere(json!({"nodeName": "m"}), false)]
    #[case::selected(json!({"nodeSelector": {"zone": "a"}}), true)]
    #[case::not_selected(json!({"nodeSelector": {"zone": "b"}}), false)]
    #[case::listed(term(&json!({"key": "zone", "operator": "In", "values": ["b", "a"]})), true)]
    #[case::not_listed(term(&json!({"key": "zone", "operator": "NotIn", "values": ["a"]})), false)]
    #[case::present(term(&json!({"key": "zone", "operator": "Exists"})), true)]
    #[case::absent(term(&json!({"key": "gpu", "operator": "DoesNotExist"})), true)]
    #[case::greater(term(&json!({"key": "disk", "operator": "Gt", "values": ["6"]})), true)]
    #[case::not_less(term(&json!({"key": "disk", "operator": "Lt", "values": ["7"]})), false)]
    #[case::no_number(term(&json!({"key": "zone", "operator": "Gt", "values": ["1"]})), false)]
    #[case::this_name(field("In", "n"), true)]
    #[case::any_other_name(field("NotIn", "n"), false)]
    #[case::no_term(json!({"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}), false)]
    #[case::an_empty_term(json!({"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}}}), false)]
    #[case::only_preferred(json!({"affinity": {"nodeAffinity": {}}}), true)]
    fn a_node_is_chosen(#[case] spec: Value, #[case] want: bool) {
        let want = if want { Eligible::Run } else { Eligible::Never };
        assert_eq!(judge(&spec, &json!([])), want);
    }

    #[rstest]
    #[case::cordoned("node.kubernetes.io/unschedulable", "NoSchedule", Eligible::Run)]
    #[case::not_ready("node.kubernetes.io/not-ready", "NoExecute", Eligible::Run)]
    #[case::not_ready_yet("node.kubernetes.io/not-ready", "NoSchedule", Eligible::Stay)]
    #[case::unreachable("node.kubernetes.io/unreachable", "NoExecute", Eligible::Run)]
    #[case::full_disk("node.kubernetes.io/disk-pressure", "NoSchedule", Eligible::Run)]
    #[case::no_network("node.kubernetes.io/network-unavailable", "NoSchedule", Eligible::Stay)]
    #[case::reserved("team", "NoSchedule", Eligible::Stay)]
    #[case::driven_away("team", "NoExecute", Eligible::Never)]
    #[case::disliked("team", "PreferNoSchedule", Eligible::Run)]
    fn taints_decide(#[case] key: &str, #[case] effect: &str, #[case] want: Eligible) {
        let taints = json!([{"key": key, "effect": effect}]);
        assert_eq!(judge(&json!({}), &taints), want);
        let tolerant = json!({"tolerations": [{"operator": "Exists"}]});
        assert_eq!(judge(&tolerant, &taints), Eligible::Run);
    }

    #[test]
    fn pods_in_the_nodes_network_do_not_wait_for_it() {
        let taints = json!([
            {"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule"}]);
        assert_eq!(judge(&json!({"hostNetwork": true}), &taints), Eligible::Run);
    }
}
