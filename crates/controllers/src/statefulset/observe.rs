//! Reads what a plan is made from out of the caches.

use super::plan::{Faults, Member, Observation};
use super::pod::{REVISION_LABEL, claim_name, claim_owners, goes_with, identity, ordinal};
use crate::pods::{Caches, ClaimView, Phase, PodView, StatefulSetView, availability};
use crate::runtime::Doomed;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What there is of a set.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its pods by their numbers.
    pub(super) pods: BTreeMap<i32, Arc<PodView>>,
    /// The templates of its claims.
    pub(super) claim_templates: Vec<Value>,
    /// The same, and what it should be, in the terms of a plan.
    pub(super) facts: Observation,
}

/// Looks at a set's pods and claims.
pub(super) fn observe(
    set: &StatefulSetView,
    caches: &Caches,
    doomed: &Doomed,
    update_revision: &Arc<str>,
    now: Timestamp,
) -> Seen {
    let owned = caches.pods_by_controller.get(&set.meta.uid);
    let pods: BTreeMap<i32, Arc<PodView>> = owned
        .into_iter()
        .filter_map(|pod| Some((ordinal(set.meta.name(), pod.meta.name())?, pod)))
        .collect();
    let mut seen = Seen {
        facts: Observation {
            replicas: set.replicas,
            start: set.start,
            management: set.management,
            update: set.update.clone(),
            update_revision: Arc::clone(update_revision),
            members: BTreeMap::new(),
            blocked: BTreeSet::new(),
        },
        claim_templates: set.claims(),
        pods,
    };
    let members = seen.pods.iter().map(|(ordinal, pod)| {
        let faults = faults(set, *ordinal, pod, (&seen, caches));
        let ready = pod.phase == Phase::Running && pod.is_ready();
        let member = Member {
            revision: pod.meta.label(REVISION_LABEL).unwrap_or_default().into(),
            phase: pod.phase,
            is_ready: ready,
            available: availability(pod, set.min_ready_seconds, now),
            ends: doomed.ends(&pod.meta),
            faults,
        };
        (*ordinal, member)
    });
    seen.facts.members = members.collect();
    if !seen.claim_templates.is_empty() {
        let blocked = seen.facts.missing().filter(|ordinal| {
            let name = set.pod_name(*ordinal);
            let mut claims = claims(set, *ordinal, (&seen, caches));
            claims.any(|claim| claim.is_some_and(|claim| goes_with(&claim.meta, &name)))
        });
        seen.facts.blocked = blocked.collect();
    }
    seen
}

/// The claims of a pod, as far as there are.
fn claims<'a>(
    set: &'a StatefulSetView,
    ordinal: i32,
    (seen, caches): (&'a Seen, &'a Caches),
) -> impl Iterator<Item = Option<Arc<ClaimView>>> + 'a {
    seen.claim_templates.iter().map(move |template| {
        let name = claim_name(template, set, ordinal);
        caches.claims.find(set.meta.namespace(), &name)
    })
}

fn faults(
    set: &StatefulSetView,
    ordinal: i32,
    pod: &PodView,
    (seen, caches): (&Seen, &Caches),
) -> Faults {
    let labels = identity(pod.meta.name(), ordinal);
    let mut faults = Faults {
        identity: labels
            .iter()
            .any(|(key, value)| pod.meta.label(key) != Some(value)),
        ..Faults::default()
    };
    let wanted = seen.facts.wants(ordinal);
    for claim in claims(set, ordinal, (seen, caches)) {
        match claim {
            None => faults.claims_missing = true,
            Some(claim) => {
                let owners = claim_owners(&claim.meta, set, &pod.meta, wanted);
                faults.claim_owners |= *owners != *claim.meta.owners && !claim.meta.is_deleting();
            }
        }
    }
    faults
}
