//! Deletes pods that do not tolerate a `NoExecute` taint of their node, when their time is up.

use crate::pods::{NodeView, PodView, Taint, covers};
use crate::runtime::{
    Action, Cached, Change, Deletion, ObjectKey, Queue, Reconcile, Recorder, Reference, WriteError,
    run,
};
use crate::supervisor::Context;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Toleration;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

const REASON: &str = "TaintManagerEviction";

pub(super) async fn control(context: Context) -> Infallible {
    let queue = Queue::new();
    watch(&context, &queue);
    let recorder = context.recorder.component("taint-eviction-controller");
    let evictions = Evictions {
        context,
        recorder,
        noticed: Mutex::default(),
    };
    run(Arc::new(evictions), queue).await
}

fn watch(context: &Context, queue: &Queue<ObjectKey>) {
    let (add, by_node) = (queue.clone(), context.caches.pods_by_node.clone());
    context
        .caches
        .nodes
        .on_change(move |change: &Change<NodeView>| {
            let taints = |node: &Option<Arc<NodeView>>| -> Vec<Taint> {
                node.as_deref().map(driving).unwrap_or_default()
            };
            if taints(&change.old) != taints(&change.new) {
                for pod in by_node.get(&change.key.name) {
                    add.add(pod.meta.key.clone());
                }
            }
        });
    let (add, nodes) = (queue.clone(), context.caches.nodes.clone());
    context
        .caches
        .pods
        .on_change(move |change: &Change<PodView>| {
            let node = |pod: &Option<Arc<PodView>>| pod.as_ref().and_then(|pod| pod.node.clone());
            let (old, new) = (node(&change.old), node(&change.new));
            let tainted = |name: &Arc<str>| {
                nodes
                    .find("", name)
                    .is_some_and(|node| !driving(&node).is_empty())
            };
            if (old != new || change.new.is_none()) && old.or(new).is_some_and(|n| tainted(&n)) {
                add.add(change.key.clone());
            }
        });
}

/// The taints that drive pods away.
fn driving(node: &NodeView) -> Vec<Taint> {
    let taints = node.taints.iter();
    taints
        .filter(|taint| taint.effect == "NoExecute")
        .cloned()
        .collect()
}

/// When a pod must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It may stay for ever.
    Never,
    /// At this time.
    At(Timestamp),
}

/// Since when a pod is where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    /// When it was bound to its node.
    pub(super) bound: Timestamp,
    /// When its node was first seen to drive it away.
    pub(super) noticed: Timestamp,
}

/// When the taints drive a pod away.
///
/// A toleration with seconds lasts from the later of the taint and the pod's arrival; a taint that
/// does not say since when it is there counts from when it was noticed.
pub(super) fn due(taints: &[Taint], tolerations: &[Toleration], since: Since) -> Due {
    let mut due = Due::Never;
    for taint in taints {
        let Some(toleration) = tolerations.iter().find(|t| covers(t, taint)) else {
            return Due::At(Timestamp::MIN);
        };
        let Some(seconds) = toleration.toleration_seconds else {
            continue;
        };
        let added = taint.time_added.as_ref().and_then(|at| at.parse().ok());
        let start = added.map_or(since.noticed, |added: Timestamp| added.max(since.bound));
        let end = start
            .saturating_add(SignedDuration::from_secs(seconds.max(0)))
            .unwrap_or(Timestamp::MAX);
        due = match due {
            Due::At(known) if known <= end => due,
            Due::At(_) | Due::Never => Due::At(end),
        };
    }
    due
}

struct Evictions {
    context: Context,
    recorder: Recorder,
    /// Pods with a time, and since when the taints drive them.
    noticed: Mutex<BTreeMap<ObjectKey, (Arc<str>, Timestamp)>>,
}

impl Reconcile for Evictions {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "taint-eviction"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let caches = &self.context.caches;
        let pod = caches.pods.get(key).filter(|pod| !pod.meta.is_deleting());
        let node = pod
            .as_ref()
            .and_then(|pod| caches.nodes.find("", pod.node.as_ref()?));
        let taints = node.as_deref().map(driving).unwrap_or_default();
        let (Some(pod), false) = (pod, taints.is_empty()) else {
            self.forget(key);
            return Ok(Action::Wait);
        };
        let now = self.context.clock.now();
        match due(&taints, &pod.tolerations(), self.since(&pod, now)) {
            Due::Never => {
                self.forget(key);
                Ok(Action::Wait)
            }
            Due::At(end) if end > now => {
                let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
                Ok(Action::Requeue(left))
            }
            Due::At(_) => {
                self.evict(&pod, now).await?;
                self.noticed.lock().remove(key);
                Ok(Action::Wait)
            }
        }
    }
}

impl Evictions {
    /// Since when the pod's time runs.
    fn since(&self, pod: &PodView, now: Timestamp) -> Since {
        let mut noticed = self.noticed.lock();
        let fresh = (Arc::clone(&pod.meta.uid), now);
        let entry = noticed
            .entry(pod.meta.key.clone())
            .or_insert_with(|| fresh.clone());
        if entry.0 != pod.meta.uid {
            *entry = fresh;
        }
        let scheduled = pod.condition("PodScheduled").and_then(|c| c.since);
        Since {
            bound: scheduled.or(pod.meta.created).unwrap_or(now),
            noticed: entry.1,
        }
    }

    /// The taints are gone or tolerated: the pod stays after all.
    fn forget(&self, key: &ObjectKey) {
        let Some((uid, _)) = self.noticed.lock().remove(key) else {
            return;
        };
        if let Some(pod) = self.context.caches.pods.get(key)
            && pod.meta.uid == uid
            && !pod.meta.is_deleting()
        {
            self.tell(&pod, format!("Cancelling deletion of Pod {key}"));
        }
    }

    async fn evict(&self, pod: &PodView, now: Timestamp) -> Result<(), WriteError> {
        let key = &pod.meta.key;
        self.tell(pod, format!("Marking for deletion Pod {key}"));
        let patch = json!({
            "metadata": {"uid": *pod.meta.uid},
            "status": {"conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
                "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }]},
        });
        let (writer, cache) = (&self.context.writer, &self.context.caches.pods);
        match writer.merge_subresource(cache, key, "status", &patch).await {
            Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
            outcome => drop(outcome?),
        }
        let deletion = Deletion::of(&pod.meta.uid);
        match writer
            .delete::<<PodView as Cached>::Wire>(key, &deletion)
            .await
        {
            Err(error) if !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }

    fn tell(&self, pod: &PodView, message: String) {
        let about = Reference::to("v1", "Pod", &pod.meta);
        self.recorder.normal(&about, REASON, message);
    }
}

#[cfg(test)]
mod tests {
    use super::{Due, Since, due};
    use crate::pods::Taint;
    use jiff::Timestamp;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn at(second: i64) -> Due {
        Due::At(Timestamp::from_second(second).unwrap())
    }

    fn since(bound: i64, noticed: i64) -> Since {
        Since {
            bound: Timestamp::from_second(bound).unwrap(),
            noticed: Timestamp::from_second(noticed).unwrap(),
        }
    }

    fn taint(key: &str, added: Option<&str>) -> Taint {
        Taint {
            key: key.into(),
            value: None,
            effect: "NoExecute".into(),
            time_added: added.map(str::to_owned),
        }
    }

    fn for_seconds(key: &str, seconds: i64) -> Value {
        json!({"key": key, "operator": "Exists", "tolerationSeconds": seconds})
    }

    #[rstest]
    #[case::not_tolerated(json!([]), Due::At(Timestamp::MIN))]
    #[case::for_ever(json!([{"operator": "Exists"}]), Due::Never)]
    #[case::for_a_time(json!([for_seconds("a", 300)]), at(400))]
    #[case::no_time(json!([for_seconds("a", 0)]), at(100))]
    #[case::less_than_no_time(json!([for_seconds("a", -5)]), at(100))]
    #[case::the_first_that_covers(json!([for_seconds("a", 300), for_seconds("a", 10)]), at(400))]
    fn a_toleration_lasts(#[case] tolerations: Value, #[case] want: Due) {
        let tolerations: Vec<_> = serde_json::from_value(tolerations).unwrap();
        assert_eq!(due(&[taint("a", None)], &tolerations, since(20, 100)), want);
    }

    #[test]
    fn the_soonest_of_several_taints_counts_from_when_it_was_there() {
        let tolerations = json!([for_seconds("a", 300), for_seconds("b", 60)]);
        let tolerations: Vec<_> = serde_json::from_value(tolerations).unwrap();
        let taints = [
            taint("a", Some("1970-01-01T00:00:10Z")),
            taint("b", Some("1970-01-01T00:08:20Z")),
        ];
        // Noticed late: a restart gives nobody time anew.
        let since = since(100, 900);
        assert_eq!(due(&taints, &tolerations, since), at(400));
        assert_eq!(due(&taints[1..], &tolerations, since), at(560));
        assert_eq!(due(&[], &tolerations, since), Due::Never);
    }
}
