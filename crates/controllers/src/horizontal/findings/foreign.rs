//! Pods that the selector matches although the target does not own them.
//!
//! Departs from silence only: as upstream, they stay in every average.

use super::{Finding, FindingKind, pods_of, some_of};
use crate::pods::PodView;
use crate::runtime::Owner;
use plimsoll_engine::horizontal::spec::TargetRef;
use std::sync::Arc;

/// The owner of a ReplicaSet, by the ReplicaSet's own reference.
pub(super) type OwnerOf<'a> = &'a dyn Fn(&Owner) -> Known;

/// What is known of a ReplicaSet's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// The ReplicaSet is not there (any more).
    Nothing,
    /// It belongs to nobody.
    Free,
    /// It belongs to this one.
    Owned(Owner),
}

/// Finds pods of other owners among the selected ones. Targets of kinds whose pods may belong to
/// objects in between are not judged.
pub(super) fn foreign(
    target: &TargetRef,
    pods: &[Arc<PodView>],
    owner_of: OwnerOf<'_>,
) -> Option<Finding> {
    let judged = [
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "ReplicationController",
    ];
    if !judged.contains(&target.kind.as_str()) {
        return None;
    }
    let mut last: Option<(&Owner, Option<String>)> = None;
    let mut strangers: Vec<&str> = Vec::new();
    let mut owners: Vec<String> = Vec::new();
    for pod in pods.iter().filter(|pod| pod.is_active()) {
        let stranger = match (pod.meta.controller(), &last) {
            (None, _) => Some("no controller".to_owned()),
            (Some(owner), Some((known, verdict))) if owner.uid == known.uid => verdict.clone(),
            (Some(owner), _) => {
                let verdict = stranger(target, owner, owner_of);
                last = Some((owner, verdict.clone()));
                verdict
            }
        };
        if let Some(owner) = stranger {
            strangers.push(pod.meta.name());
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
    }
    report(target, &strangers, owners)
}

/// Who owns a pod whose controller is `owner`, if not the target.
fn stranger(target: &TargetRef, owner: &Owner, owner_of: OwnerOf<'_>) -> Option<String> {
    let is_target = |owner: &Owner| *owner.kind == *target.kind && *owner.name == *target.name;
    if is_target(owner) {
        return None;
    }
    if *owner.kind != *"ReplicaSet" || target.kind != "Deployment" {
        return Some(format!("{} {}", owner.kind, owner.name));
    }
    match owner_of(owner) {
        Known::Nothing => None,
        Known::Free => Some(format!("ReplicaSet {}", owner.name)),
        Known::Owned(above) if is_target(&above) => None,
        Known::Owned(above) => Some(format!("{} {}", above.kind, above.name)),
    }
}

fn report(target: &TargetRef, strangers: &[&str], mut owners: Vec<String>) -> Option<Finding> {
    if strangers.is_empty() {
        return None;
    }
    owners.sort();
    let (count, names) = (pods_of(strangers.len()), some_of(strangers.iter().copied()));
    let of = some_of(owners.iter().map(String::as_str));
    let target = format!("{} {}", target.kind, target.name);
    Some(Finding {
        kind: FindingKind::ForeignPods,
        object: owners.join(","),
        message: format!(
            "the selector of {target} also matches {count} of {of}: {names}; they count in every \
             average"
        ),
        advice: "give the pods labels of their own, or the target a narrower selector".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Known, foreign};
    use crate::pods::PodView;
    use crate::runtime::{Cached, Owner};
    use plimsoll_engine::horizontal::spec::TargetRef;
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn reference(owner: &str) -> Value {
        let (kind, name) = owner.split_once('/').unwrap();
        json!({ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": owner, "controller": true })
    }

    fn pod(name: &str, owner: Option<&str>) -> Arc<PodView> {
        let owners: Vec<Value> = owner.map(reference).into_iter().collect();
        let pod = json!({ "metadata": {
            "name": name, "namespace": "n", "ownerReferences": owners } });
        Arc::new(PodView::from_wire(serde_json::from_value(pod).unwrap()))
    }

    /// ReplicaSet `web-1` belongs to Deployment `web`, `other-1` to `other`, `free` to nobody.
    fn owner_of(owner: &Owner) -> Known {
        let above = match &*owner.name {
            "web-1" => "Deployment/web",
            "other-1" => "Deployment/other",
            "free" => return Known::Free,
            _ => return Known::Nothing,
        };
        let reference: k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference =
            serde_json::from_value(reference(above)).unwrap();
        Known::Owned(reference.into())
    }

    #[rstest]
    #[case::its_own("Deployment", &[Some("ReplicaSet/web-1"), Some("ReplicaSet/web-1")], None)]
    #[case::of_another_deployment(
        "Deployment",
        &[Some("ReplicaSet/web-1"), Some("ReplicaSet/other-1")],
        Some("1 pod of Deployment other: p1")
    )]
    #[case::of_a_job("Deployment", &[Some("Job/once")], Some("1 pod of Job once: p0"))]
    #[case::of_nobody("Deployment", &[None, None], Some("2 pods of no controller: p0, p1"))]
    #[case::of_a_free_replica_set("Deployment", &[Some("ReplicaSet/free")], Some("ReplicaSet free"))]
    #[case::of_one_that_is_gone("Deployment", &[Some("ReplicaSet/gone")], None)]
    #[case::of_a_stateful_set("StatefulSet", &[Some("StatefulSet/web")], None)]
    #[case::of_another_stateful_set("StatefulSet", &[Some("StatefulSet/db")], Some("StatefulSet db"))]
    #[case::long_lists_are_cut(
        "StatefulSet",
        &[None, None, None, None, None],
        Some("5 pods of no controller: p0, p1, p2 and 2 more")
    )]
    #[case::kinds_with_something_in_between("Rollout", &[Some("ReplicaSet/other-1")], None)]
    fn strangers_are_named(
        #[case] kind: &str,
        #[case] owners: &[Option<&str>],
        #[case] want: Option<&str>,
    ) {
        let target = TargetRef {
            kind: kind.into(),
            name: "web".into(),
            api_version: "apps/v1".into(),
        };
        let pods: Vec<_> = owners
            .iter()
            .enumerate()
            .map(|(index, owner)| pod(&format!("p{index}"), *owner))
            .collect();
        let found = foreign(&target, &pods, &owner_of);
        match (&found, want) {
            (Some(found), Some(want)) => assert!(found.message.contains(want), "{}", found.message),
            (found, want) => assert_eq!(found.is_some(), want.is_some(), "{found:?}"),
        }
    }
}
