//! Affinity and anti-affinity between pods.

use super::selector::{LabelSelector, Operator, Requirement};
use std::collections::BTreeMap;

/// One term: pods it selects, and the label of nodes that makes two nodes one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodTerm {
    /// Which pods; `None` selects none.
    pub selector: Option<LabelSelector>,
    /// Namespaces by name. With no namespace selector, empty means the pod's own.
    pub namespaces: Vec<String>,
    /// Namespaces by label, beside those by name; an empty selector means all.
    pub namespace_selector: Option<LabelSelector>,
    /// Node label whose equal values are one place.
    pub topology_key: String,
    /// Selected pods have the same value for these labels as this pod, where it has them.
    pub match_label_keys: Vec<String>,
    /// Selected pods have another value for these labels.
    pub mismatch_label_keys: Vec<String>,
}

impl PodTerm {
    /// The term as meant by a pod of `namespace` with `labels`: own namespace and the values of
    /// label keys filled in.
    pub(super) fn resolved(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let mut term = self.clone();
        if term.namespaces.is_empty() && term.namespace_selector.is_none() {
            term.namespaces.push(namespace.to_owned());
        }
        term.namespaces.sort();
        term.namespaces.dedup();
        let same = with_values(&term.match_label_keys, labels, Operator::In);
        let other = with_values(&term.mismatch_label_keys, labels, Operator::NotIn);
        if let Some(selector) = &mut term.selector {
            for requirement in same.into_iter().chain(other) {
                // The API server has merged them already, if it knows the fields.
                if !selector.requirements.contains(&requirement) {
                    selector.requirements.push(requirement);
                }
            }
        }
        term.match_label_keys.clear();
        term.mismatch_label_keys.clear();
        term
    }

    /// Whether the (resolved) term selects a pod of `namespace` with `labels`.
    pub(super) fn selects(
        &self,
        namespace: &str,
        namespace_labels: Option<&BTreeMap<String, String>>,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        let Some(selector) = &self.selector else {
            return false;
        };
        let none = BTreeMap::new();
        let in_namespace = self.namespaces.iter().any(|n| n == namespace)
            || self
                .namespace_selector
                .as_ref()
                .is_some_and(|s| s.matches(namespace_labels.unwrap_or(&none)));
        in_namespace && selector.matches(labels)
    }
}

/// Requirements that compare with the pod's own labels; keys it lacks are passed over.
pub(super) fn with_values(
    keys: &[String],
    labels: &BTreeMap<String, String>,
    operator: Operator,
) -> Vec<Requirement> {
    keys.iter()
        .filter_map(|key| {
            Some(Requirement {
                key: key.clone(),
                operator,
                values: vec![labels.get(key)?.clone()],
            })
        })
        .collect()
}

/// A term that is liked (or disliked), with its weight (1–100).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightedPodTerm {
    /// The weight.
    pub weight: i64,
    /// The term.
    pub term: PodTerm,
}

/// `spec.affinity.podAffinity` or `podAntiAffinity` (the scheduling-time part).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodAffinity {
    /// All of these must hold.
    pub required: Vec<PodTerm>,
    /// These add to the score, or take from it.
    pub preferred: Vec<WeightedPodTerm>,
}

impl PodAffinity {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.preferred.is_empty()
    }
}
