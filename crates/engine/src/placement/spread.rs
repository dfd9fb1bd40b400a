//! `topologySpreadConstraints`: what they say.

use super::pod_affinity::with_values;
use super::selector::{LabelSelector, Operator};
use std::collections::BTreeMap;

/// The label of a node's own name, in which every node is a place of its own.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// The label of a node's zone.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// What happens to a pod that would spread too unevenly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WhenUnsatisfiable {
    /// It waits.
    #[default]
    DoNotSchedule,
    /// It only prefers other nodes.
    ScheduleAnyway,
}

/// Whether a node that the pod could not use anyway counts as a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inclusion {
    /// It does not count.
    Honor,
    /// It counts.
    Ignore,
}

/// One constraint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpreadConstraint {
    /// Largest allowed difference to the emptiest place.
    pub max_skew: i32,
    /// Node label whose equal values are one place.
    pub topology_key: String,
    /// What happens otherwise.
    pub when_unsatisfiable: WhenUnsatisfiable,
    /// Which pods of the same namespace are counted; `None` counts none.
    pub selector: Option<LabelSelector>,
    /// With fewer places than this, the emptiest counts as holding no pod.
    pub min_domains: Option<i32>,
    /// `nodeAffinityPolicy`; upstream's default is `Honor`.
    pub node_affinity_policy: Inclusion,
    /// `nodeTaintsPolicy`; upstream's default is `Ignore`.
    pub node_taints_policy: Inclusion,
    /// Counted pods have the same value for these labels as this pod, where it has them.
    pub match_label_keys: Vec<String>,
}

impl Default for SpreadConstraint {
    fn default() -> Self {
        Self {
            max_skew: 1,
            topology_key: String::new(),
            when_unsatisfiable: WhenUnsatisfiable::default(),
            selector: None,
            min_domains: None,
            node_affinity_policy: Inclusion::Honor,
            node_taints_policy: Inclusion::Ignore,
            match_label_keys: Vec::new(),
        }
    }
}

impl SpreadConstraint {
    /// The constraint as meant by a pod with `labels`.
    pub(super) fn resolved(&self, labels: &BTreeMap<String, String>) -> Self {
        let mut constraint = self.clone();
        if let Some(selector) = &mut constraint.selector {
            for requirement in with_values(&self.match_label_keys, labels, Operator::In) {
                if !selector.requirements.contains(&requirement) {
                    selector.requirements.push(requirement);
                }
            }
        }
        constraint.match_label_keys.clear();
        constraint
    }
}

/// What applies to a pod of a workload that says nothing itself: apart by node and by zone, softly.
/// Upstream: the `System` defaulting of PodTopologySpread.
pub(super) fn system_defaults(selector: &LabelSelector) -> Vec<SpreadConstraint> {
    [(HOSTNAME, 3), (ZONE, 5)]
        .into_iter()
        .map(|(key, max_skew)| SpreadConstraint {
            max_skew,
            topology_key: key.to_owned(),
            when_unsatisfiable: WhenUnsatisfiable::ScheduleAnyway,
            selector: Some(selector.clone()),
            ..SpreadConstraint::default()
        })
        .collect()
}
