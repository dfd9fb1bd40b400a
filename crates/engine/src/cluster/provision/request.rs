//! What a request asks for.

use crate::cluster::pending::PendingPod;
use crate::placement::{PodFacts, PodSpec};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the names of imagined pods begin with.
pub const POD_PREFIX: &str = "provisioning-request-";

/// How room is provided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvisioningClass {
    /// It is looked for on nodes that are there or coming.
    CheckCapacity,
    /// Nodes that are missing are added, all or none.
    BestEffortAtomicScaleUp,
}

impl ProvisioningClass {
    /// The class that a request is of, if it is for this autoscaler; `None` = somebody else's.
    ///
    /// `instance` is `--check-capacity-processor-instance`: with one, only those requests to check
    /// capacity are taken that name it as `processorInstance`, and no others at all.
    ///
    /// Departs: a class name that begins with the instance is not understood; upstream had announced
    /// to drop that with 1.35.
    pub fn of(name: &str, parameters: &BTreeMap<String, String>, instance: &str) -> Option<Self> {
        let named = parameters
            .get("processorInstance")
            .map_or("", String::as_str);
        match name {
            "check-capacity.autoscaling.x-k8s.io" => {
                (named == instance).then_some(Self::CheckCapacity)
            }
            "best-effort-atomic-scale-up.autoscaling.x-k8s.io" => {
                instance.is_empty().then_some(Self::BestEffortAtomicScaleUp)
            }
            _ => None,
        }
    }
}

/// What is done when only some of the pod sets fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partial {
    /// Room is kept for those (`bookPartial`).
    Book,
    /// They are named (`checkOnly`).
    CheckOnly,
}

/// `spec.parameters` as far as they are understood; wrong values say nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProvisioningParameters {
    /// `ValidUntilSeconds` of a request that adds nodes: it is given up so long after it was made.
    pub valid_for: Option<SignedDuration>,
    /// `noRetry` of a request that checks capacity: it is given up when there is no room.
    pub no_retry: bool,
    /// `partialCapacityCheck` of a request that checks capacity.
    pub partial: Option<Partial>,
}

impl ProvisioningParameters {
    /// Those that a class knows.
    pub fn of(class: ProvisioningClass, parameters: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| parameters.get(name).map(String::as_str);
        match class {
            ProvisioningClass::CheckCapacity => Self {
                valid_for: None,
                no_retry: text("noRetry") == Some("true"),
                partial: match text("partialCapacityCheck") {
                    Some("bookPartial") => Some(Partial::Book),
                    Some("checkOnly") => Some(Partial::CheckOnly),
                    _ => None,
                },
            },
            ProvisioningClass::BestEffortAtomicScaleUp => Self {
                valid_for: text("ValidUntilSeconds")
                    .and_then(|seconds| seconds.parse().ok())
                    .map(|seconds: u32| SignedDuration::from_secs(seconds.into())),
                ..Self::default()
            },
        }
    }
}

/// Pods that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSet {
    /// Name of the PodTemplate.
    pub template: Arc<str>,
    /// What each asks for.
    pub spec: Arc<PodSpec>,
    /// How many there are.
    pub count: usize,
}

/// A request for room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisioningAsk {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// How room is provided.
    pub class: ProvisioningClass,
    /// What is done when only some sets fit; `None` = nothing.
    pub partial: Option<Partial>,
    /// The pods.
    pub sets: Vec<PodSet>,
}

impl ProvisioningAsk {
    /// How many pods there are.
    pub fn count(&self) -> usize {
        let counts = self.sets.iter().map(|set| set.count);
        counts.fold(0, usize::saturating_add)
    }

    /// The first `count` pods of a set.
    pub fn pods(&self, set: usize, count: usize) -> impl Iterator<Item = PodFacts> + '_ {
        let of = self.sets.get(set);
        let numbers = 0..of.map_or(0, |of| of.count.min(count));
        numbers.filter_map(move |number| {
            let name = format!("{POD_PREFIX}{}-{set}-{number}", self.name);
            let mut pod = PodFacts::new("", &name, Arc::clone(&of?.spec));
            pod.namespace = Arc::clone(&self.namespace);
            Some(pod)
        })
    }

    /// All pods, as ones that wait for nodes.
    pub(super) fn pending(&self) -> Vec<PendingPod> {
        let sets = 0..self.sets.len();
        let pods = sets.flat_map(|set| self.pods(set, usize::MAX).map(move |pod| (set, pod)));
        let controller: Arc<str> =
            format!("provisioning-request/{}/{}", self.namespace, self.name).into();
        let pending = pods.map(|(set, pod)| PendingPod {
            pod,
            created: None,
            controller: Some(Arc::clone(&controller)),
            of_daemon_set: false,
            priority: None,
            scale_up_delay: None,
            fingerprint: set as u64,
        });
        pending.collect()
    }
}
