//! Nodes for pods that there are not yet: replicas that workloads want, and those that autoscalers
//! want of them beyond what they may write now.

use super::world::World;
use crate::facts;
use crate::pods::PodView;
use crate::runtime::{Cached, Meta, ObjectKey};
use crate::wishes::{Author, Target, Wish};
use plimsoll_engine::cluster::PendingPod;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Pods that there are not yet.
#[derive(Debug, Default)]
pub(super) struct Intended {
    pub(super) pods: Vec<PendingPod>,
    /// Why some of them are counted, one sentence an autoscaler.
    pub(super) notes: Vec<String>,
    limit: usize,
}

impl Intended {
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.pods.len())
    }
}

/// A workload's pods.
struct Made<'a> {
    owner: &'a Meta,
    kind: (&'static str, &'static str),
    template: &'a RawValue,
}

impl World {
    /// The pods that workloads want and have not made yet, and then those that `wishes` ask for
    /// beyond these; up to `limit` together.
    ///
    /// Deployments need no look of their own: they set their ReplicaSet's size at once. Jobs are
    /// left out, since how many pods they want next depends on how those that run end.
    pub(super) fn intended(&mut self, limit: usize, wishes: &[(Author, Wish)]) -> Intended {
        let mut intended = Intended {
            limit,
            ..Intended::default()
        };
        let caches = self.caches().clone();
        for set in caches.replica_sets.list(None) {
            let made = of_apps("ReplicaSet", &set.meta, &set.template);
            self.lacks(&mut intended, &made, set.replicas);
        }
        for set in caches.stateful_sets.list(None) {
            let made = of_apps("StatefulSet", &set.meta, &set.template);
            self.lacks(&mut intended, &made, set.replicas);
        }
        for (author, wish) in largest(wishes).into_values() {
            self.wished(&mut intended, author, wish);
        }
        intended
    }

    /// What a workload has not made of its replicas.
    fn lacks(&mut self, intended: &mut Intended, made: &Made<'_>, replicas: i32) {
        if made.owner.is_deleting() || replicas <= 0 {
            return;
        }
        // Counting those there are is cheap; most workloads lack nothing.
        let there = self.there(made.owner);
        let missing = count(replicas).saturating_sub(there);
        self.imagine(intended, made, ("intended", missing));
    }

    /// What an autoscaler wants of a workload beyond what that will make by itself.
    fn wished(&mut self, intended: &mut Intended, author: &Author, wish: &Wish) {
        let Wish {
            target, replicas, ..
        } = wish;
        let caches = self.caches().clone();
        let (object, kind) = (&target.object, (&*target.group, &*target.kind));
        match kind {
            ("apps", "Deployment") => {
                let Some(found) = caches.deployments.get(object) else {
                    return;
                };
                let sets = caches.replica_sets_by_controller.get(&found.meta.uid);
                let sets = sets.iter();
                let planned: usize = sets.map(|set| self.planned(&set.meta, set.replicas)).sum();
                // It may not have told its ReplicaSet yet.
                let made = of_apps("Deployment", &found.meta, &found.template);
                let planned = planned.max(count(found.replicas));
                self.wanted(intended, &made, (author, *replicas, planned));
            }
            ("apps", "ReplicaSet") => {
                if let Some(found) = caches.replica_sets.get(object) {
                    let planned = self.planned(&found.meta, found.replicas);
                    let made = of_apps("ReplicaSet", &found.meta, &found.template);
                    self.wanted(intended, &made, (author, *replicas, planned));
                }
            }
            ("apps", "StatefulSet") => {
                if let Some(found) = caches.stateful_sets.get(object) {
                    let planned = self.planned(&found.meta, found.replicas);
                    let made = of_apps("StatefulSet", &found.meta, &found.template);
                    self.wanted(intended, &made, (author, *replicas, planned));
                }
            }
            ("", "ReplicationController") => {
                if let Some(found) = caches.replication_controllers.get(object) {
                    let found = &found.0;
                    let planned = self.planned(&found.meta, found.replicas);
                    let made = Made {
                        owner: &found.meta,
                        kind: ("v1", "ReplicationController"),
                        template: &found.template,
                    };
                    self.wanted(intended, &made, (author, *replicas, planned));
                }
            }
            // What pods another kind would make, nobody knows.
            _ => {}
        }
    }

    fn wanted(
        &mut self,
        intended: &mut Intended,
        made: &Made<'_>,
        (author, replicas, planned): (&Author, usize, usize),
    ) {
        if made.owner.is_deleting() {
            return;
        }
        let more = replicas.saturating_sub(planned);
        let added = self.imagine(intended, made, ("wished", more));
        if added > 0 {
            let ObjectKey { namespace, name } = &made.owner.key;
            let kind = made.kind.1;
            let pods = if added == 1 { "pod" } else { "pods" };
            intended.notes.push(format!(
                "counts {added} {pods} that {author} wants: {kind} {namespace}/{name} has or makes \
                 {planned}, and may not have {replicas} yet"
            ));
        }
    }

    /// Pods of a workload that are there.
    fn there(&self, owner: &Meta) -> usize {
        self.caches().pods_by_controller.count(&owner.uid)
    }

    /// Pods of a workload that are there, or will be without anybody's doing.
    fn planned(&self, owner: &Meta, replicas: i32) -> usize {
        self.there(owner).max(count(replicas))
    }

    /// Adds so many pods of a workload; answers how many there was room for.
    fn imagine(
        &mut self,
        intended: &mut Intended,
        made: &Made<'_>,
        (what, wanted): (&str, usize),
    ) -> usize {
        let wanted = wanted.min(intended.room());
        let pod = (wanted > 0).then(|| imagine(made.owner, made.kind, made.template));
        let Some(pod) = pod.flatten() else {
            return 0;
        };
        let alike = self.facts_of(&pod);
        for number in 0..wanted {
            let mut facts = alike.clone();
            facts.name = format!("{}-{what}-{number}", made.owner.name()).into();
            intended.pods.push(facts::of_pending(&pod, facts));
        }
        wanted
    }
}

/// One wish a workload: its pods are not asked for twice.
fn largest(wishes: &[(Author, Wish)]) -> BTreeMap<&Target, &(Author, Wish)> {
    let mut largest: BTreeMap<&Target, &(Author, Wish)> = BTreeMap::new();
    for one in wishes {
        let known = largest.entry(&one.1.target).or_insert(one);
        if one.1.replicas > known.1.replicas {
            *known = one;
        }
    }
    largest
}

fn of_apps<'a>(kind: &'static str, owner: &'a Meta, template: &'a RawValue) -> Made<'a> {
    Made {
        owner,
        kind: ("apps/v1", kind),
        template,
    }
}

fn count(replicas: i32) -> usize {
    usize::try_from(replicas).unwrap_or(0)
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
    #[test]
    fn a_workload_has_one_wish_the_largest() {
        let wish = |author: &str, target: &str, replicas| {
            let object = ObjectKey::new("a", target);
            let target = Target {
                group: "apps".into(),
                kind: "Deployment".into(),
                object,
            };
            let author = Author {
                kind: "hpa",
                object: ObjectKey::new("a", author),
            };
            let until = jiff::Timestamp::MAX;
            (
                author,
                Wish {
                    target,
                    replicas,
                    until,
                },
            )
        };
        let wishes = [
            wish("one", "web", 3),
            wish("two", "web", 8),
            wish("three", "web", 5),
            wish("four", "db", 2),
        ];
        let kept: Vec<&str> = largest(&wishes)
            .into_values()
            .map(|(author, _)| &*author.object.name)
            .collect();
        assert_eq!(kept, ["four", "two"]);
    }
}
