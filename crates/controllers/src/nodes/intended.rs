//! Nodes for replicas that workloads want and that have no pod yet.

use super::world::World;
use crate::facts;
use crate::pods::PodView;
use crate::runtime::{Cached, Meta};
use plimsoll_engine::cluster::PendingPod;
use serde_json::value::RawValue;
use serde_json::{Value, json};

impl World {
    /// The pods that ReplicaSets and StatefulSets want and have not made yet, up to `limit`.
    ///
    /// Deployments need no look of their own: they set their ReplicaSet's size at once. Jobs are
    /// left out, since how many pods they want next depends on how those that run end.
    pub(super) fn intended(&mut self, limit: usize) -> Vec<PendingPod> {
        let mut intended = Vec::new();
        let caches = self.caches().clone();
        for set in caches.replica_sets.list(None) {
            let wanted = usize::try_from(set.replicas).unwrap_or(0);
            self.add(
                &mut intended,
                limit,
                (&set.meta, "ReplicaSet"),
                (&set.template, wanted),
            );
        }
        for set in caches.stateful_sets.list(None) {
            let wanted = usize::try_from(set.replicas).unwrap_or(0);
            self.add(
                &mut intended,
                limit,
                (&set.meta, "StatefulSet"),
                (&set.template, wanted),
            );
        }
        intended
    }

    fn add(
        &mut self,
        intended: &mut Vec<PendingPod>,
        limit: usize,
        (owner, kind): (&Meta, &str),
        (template, wanted): (&RawValue, usize),
    ) {
        if owner.is_deleting() || wanted == 0 {
            return;
        }
        let pods = &self.caches().pods_by_controller;
        // Counting those there are is cheap; most workloads lack nothing.
        let there = pods.count(&owner.uid);
        let room = limit.saturating_sub(intended.len());
        let missing = wanted.saturating_sub(there).min(room);
        let Some(pod) = (missing > 0)
            .then(|| imagine(owner, ("apps/v1", kind), template))
            .flatten()
        else {
            return;
        };
        for number in 0..missing {
            let mut facts = self.facts_of(&pod);
            facts.name = format!("{}-intended-{number}", owner.name()).into();
            intended.push(facts::of_pending(&pod, facts));
        }
    }
}

/// A pod of the workload.
pub(super) fn imagine(
    owner: &Meta,
    (api_version, kind): (&str, &str),
    template: &RawValue,
) -> Option<PodView> {
    let mut template: Value = serde_json::from_str(template.get()).ok()?;
    let spec = template.get_mut("spec").map(Value::take)?;
    let labels = template.pointer_mut("/metadata/labels").map(Value::take);
    let annotations = template
        .pointer_mut("/metadata/annotations")
        .map(Value::take);
    let reference = json!({
        "apiVersion": api_version, "kind": kind, "name": owner.name(), "uid": *owner.uid,
        "controller": true,
    });
    let pod = json!({
        "metadata": {
            "name": owner.name(), "namespace": owner.namespace(),
            "labels": labels, "annotations": annotations, "ownerReferences": [reference],
        },
        "spec": spec,
    });
    Some(PodView::from_wire(serde_json::from_value(pod).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::to_raw_value;
    use std::sync::Arc;

    #[test]
    fn an_intended_pod_asks_for_what_its_template_says() {
        let meta = json!({"name": "web-1", "namespace": "a", "uid": "u"});
        let meta: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta =
            serde_json::from_value(meta).unwrap();
        let template = to_raw_value(&json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c",
                "resources": {"requests": {"cpu": "500m"}}}]},
        }));
        let pod = imagine(
            &Meta::from(meta),
            ("apps/v1", "ReplicaSet"),
            &template.unwrap(),
        )
        .unwrap();
        let spec = facts::spec_of(&pod, None);
        assert_eq!(spec.requests.cpu_milli, 500);
        assert_eq!(spec.labels["app"], "web");
        let pending = facts::of_pending(&pod, facts::of_pod(&pod, Arc::new(spec)));
        assert_eq!(pending.controller.as_deref(), Some("u"));
    }
}
