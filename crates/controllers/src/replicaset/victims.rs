//! Which pods go first when a ReplicaSet shrinks.

use crate::pods::{Phase, PodView};
use jiff::Timestamp;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Annotation that makes a pod cheaper or dearer to delete.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// How many active pods of the same workload run on each node.
pub(super) fn per_node<'a>(
    related: impl IntoIterator<Item = &'a Arc<PodView>>,
) -> BTreeMap<Arc<str>, usize> {
    let mut counts = BTreeMap::new();
    for pod in related.into_iter().filter(|pod| pod.is_active()) {
        if let Some(node) = &pod.node {
            *counts.entry(Arc::clone(node)).or_insert(0) += 1;
        }
    }
    counts
}

/// The first `count` victims among `pods`.
pub(super) fn choose(
    mut pods: Vec<Arc<PodView>>,
    count: usize,
    per_node: &BTreeMap<Arc<str>, usize>,
    now: Timestamp,
) -> Vec<Arc<PodView>> {
    if count < pods.len() {
        pods.sort_by(|a, b| compare(a, b, per_node, now));
    }
    pods.truncate(count);
    pods
}

/// Less = deleted first.
fn compare(
    a: &PodView,
    b: &PodView,
    per_node: &BTreeMap<Arc<str>, usize>,
    now: Timestamp,
) -> Ordering {
    let siblings = |pod: &PodView| {
        Reverse(
            pod.node
                .as_ref()
                .and_then(|node| per_node.get(node))
                .copied()
                .unwrap_or_default(),
        )
    };
    let rank = |pod: &PodView| {
        (
            pod.node.is_some(),
            phase_rank(pod.phase),
            pod.is_ready(),
            deletion_cost(pod),
            siblings(pod),
        )
    };
    rank(a)
        .cmp(&rank(b))
        .then_with(|| match (a.ready_since(), b.ready_since()) {
            (Some(x), Some(y)) => by_age(a, b, (x, y), now),
            _ => Ordering::Equal,
        })
        .then_with(|| b.restarts.cmp(&a.restarts))
        .then_with(|| match (a.meta.created, b.meta.created) {
            (Some(x), Some(y)) => by_age(a, b, (x, y), now),
            _ => Ordering::Equal,
        })
        .then_with(|| a.meta.uid.cmp(&b.meta.uid))
}

fn phase_rank(phase: Phase) -> u8 {
    match phase {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        Phase::Running | Phase::Succeeded | Phase::Failed => 2,
    }
}

fn deletion_cost(pod: &PodView) -> i32 {
    pod.meta
        .annotation(DELETION_COST)
        .and_then(|cost| cost.parse().ok())
        .unwrap_or_default()
}

/// Younger first, but ages within a factor of two count as equal and then the uid decides, so that
/// a whole generation of pods is not always the one to go.
fn by_age(a: &PodView, b: &PodView, times: (Timestamp, Timestamp), now: Timestamp) -> Ordering {
    if times.0 == times.1 {
        return Ordering::Equal;
    }
    let bucket = |time: Timestamp| {
        let age = now.duration_since(time).as_nanos();
        u128::try_from(age)
            .ok()
            .and_then(u128::checked_ilog2)
            .map_or(-1, i64::from)
    };
    bucket(times.0)
        .cmp(&bucket(times.1))
        .then_with(|| a.meta.uid.cmp(&b.meta.uid))
}

#[cfg(test)]
mod tests {
    use super::{choose, per_node};
    use crate::pods::PodView;
    use crate::runtime::Cached;
    use jiff::{SignedDuration, Timestamp};
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000)
    }

    fn ago(seconds: i64) -> String {
        (now() - SignedDuration::from_secs(seconds)).to_string()
    }

    fn pod(name: &str, extra: &Value) -> Arc<PodView> {
        let mut json = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": ago(1000), "annotations": {}},
            "spec": {"nodeName": "n1"},
            "status": {"phase": "Running", "containerStatuses": [{"restartCount": 0}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ago(900)}]},
        });
        merge(&mut json, extra);
        Arc::new(PodView::from_wire(serde_json::from_value(json).unwrap()))
    }

    fn merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from.clone(),
        }
    }

    #[rstest]
    #[case::unassigned(json!({"spec": {"nodeName": ""}}))]
    #[case::pending(json!({"status": {"phase": "Pending"}}))]
    #[case::unknown(json!({"status": {"phase": "Unknown"}}))]
    #[case::not_ready(json!({"status": {"conditions": []}}))]
    #[case::cheap(json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}}}))]
    #[case::ready_for_less_time(json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ago(5)}]}}))]
    #[case::restarted(json!({"status": {"containerStatuses": [{"restartCount": 4}]}}))]
    #[case::newer(json!({"metadata": {"creationTimestamp": ago(10)}}))]
    fn goes_first(#[case] victim: Value) {
        let pods = vec![
            pod("a", &json!({})),
            pod("z", &victim),
            pod("b", &json!({})),
        ];
        let chosen = choose(pods, 1, &std::collections::BTreeMap::new(), now());
        assert_eq!(chosen[0].meta.name(), "z");
    }

    #[rstest]
    fn a_crowded_node_gives_up_a_pod_first() {
        let other = json!({"spec": {"nodeName": "n2"}});
        let pods = vec![pod("a", &other), pod("b", &json!({})), pod("c", &json!({}))];
        let chosen = choose(pods.clone(), 2, &per_node(&pods), now());
        assert_eq!(
            chosen.iter().map(|p| p.meta.name()).collect::<Vec<_>>(),
            ["b", "c"]
        );
    }

    #[rstest]
    fn similar_ages_fall_back_to_the_uid() {
        let young = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ago(800)}]}});
        let pods = vec![pod("b", &young), pod("a", &json!({}))];
        assert_eq!(
            choose(pods, 1, &std::collections::BTreeMap::new(), now())[0]
                .meta
                .name(),
            "a"
        );
    }
}
