//! A last look at a node, after its taint and before its pods are evicted: much may have happened
//! since the decision.

use super::outcome::Failure;
use super::settings::EvictionSettings;
use crate::pods::{NodeView, PodView};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

const SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
const DAEMON: &str = "cluster-autoscaler.kubernetes.io/daemonset-pod";
const EVICT_DAEMON: &str = "cluster-autoscaler.kubernetes.io/enable-ds-eviction";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// A pod that should have ended this long ago will not be waited for (upstream:
/// `PodLongTerminatingExtraThreshold`).
const LONG_TERMINATING: SignedDuration = SignedDuration::from_secs(30);

/// What has to leave a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Residents {
    /// Pods that must have left before the node goes.
    pub(super) must: Vec<Arc<PodView>>,
    /// Pods that are told to leave and not waited for long: of DaemonSets, and expendable ones.
    pub(super) may: Vec<Arc<PodView>>,
}

/// Whether the removal is one of an empty node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing has to be moved.
    Empty,
    /// Pods have to be moved.
    Drain,
}

/// Sorts the pods of a node.
///
/// # Errors
/// Somebody wants to keep the node, a pod must not be moved, or an empty node is not empty any
/// more.
pub(super) fn look(
    node: &NodeView,
    pods: &[Arc<PodView>],
    kind: Kind,
    (settings, now): (&EvictionSettings, Timestamp),
) -> Result<Residents, Failure> {
    if node.meta.annotation(SCALE_DOWN_DISABLED) == Some("true") {
        return Err(Failure::Blocked(format!(
            "the node has the annotation {SCALE_DOWN_DISABLED}"
        )));
    }
    let mut residents = Residents::default();
    for pod in pods {
        if pod.meta.annotation(MIRROR).is_some() || is_long_terminating(pod, now) {
            continue;
        }
        if is_daemon(pod) {
            if evicts_daemon(pod, kind, settings) {
                residents.may.push(Arc::clone(pod));
            }
            continue;
        }
        if pod.priority < settings.expendable_below {
            residents.may.push(Arc::clone(pod));
            continue;
        }
        if let Some(why) = keeps(pod) {
            return Err(Failure::Blocked(why));
        }
        residents.must.push(Arc::clone(pod));
    }
    let arrived = residents.must.iter().filter(|pod| pod.is_active());
    let arrived: Vec<_> = arrived.map(|pod| pod.meta.key.clone()).collect();
    if kind == Kind::Empty && !arrived.is_empty() {
        return Err(Failure::NotEmpty(arrived));
    }
    Ok(residents)
}

/// Why a pod keeps its node, by its own words. Whether it is replicated, has local data or a
/// budget was judged when the node was chosen; budgets are asked once more by each eviction.
fn keeps(pod: &PodView) -> Option<String> {
    let word = pod.meta.annotation(SAFE_TO_EVICT)?;
    let stays = match word {
        "false" => !pod.phase.is_terminal(),
        "on-completion" => pod.is_active(),
        _ => false,
    };
    let key = &pod.meta.key;
    stays.then(|| format!("pod {key} has the annotation {SAFE_TO_EVICT}: {word:?}"))
}

fn is_long_terminating(pod: &PodView, now: Timestamp) -> bool {
    // deletionTimestamp is the time of the request plus the grace period.
    let due = |deleting| now.duration_since(deleting) > LONG_TERMINATING;
    pod.meta.deleting.is_some_and(due)
}

fn is_daemon(pod: &PodView) -> bool {
    let owner = pod.meta.controller();
    owner.is_some_and(|owner| &*owner.kind == "DaemonSet")
        || pod.meta.annotation(DAEMON) == Some("true")
}

fn evicts_daemon(pod: &PodView, kind: Kind, settings: &EvictionSettings) -> bool {
    match (pod.meta.annotation(EVICT_DAEMON), kind) {
        (Some("true"), _) => true,
        (Some("false"), _) => false,
        (_, Kind::Empty) => settings.daemons_of_empty,
        (_, Kind::Drain) => settings.daemons_of_occupied,
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, look};
    use crate::nodes::actuation::outcome::Failure;
    use crate::nodes::actuation::settings::EvictionSettings;
    use crate::pods::{NodeView, PodView};
    use crate::runtime::Cached;
    use jiff::Timestamp;
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn node(annotations: &Value) -> NodeView {
        let node = json!({"metadata": {"name": "n", "annotations": annotations}});
        NodeView::from_wire(serde_json::from_value(node).unwrap())
    }

    fn pod(metadata: &Value, phase: &str) -> Arc<PodView> {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "a"},
            "spec": {"priority": 0}, "status": {"phase": phase}});
        json_patch::merge(&mut pod["metadata"], metadata);
        if metadata["priority"].is_number() {
            pod["spec"]["priority"] = metadata["priority"].clone();
        }
        Arc::new(PodView::from_wire(serde_json::from_value(pod).unwrap()))
    }

    fn of(kind: &str) -> Value {
        json!({"ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": "o",
            "uid": "u", "controller": true}]})
    }

    fn says(key: &str, word: &str) -> Value {
        json!({"annotations": {format!("cluster-autoscaler.kubernetes.io/{key}"): word}})
    }

    /// What becomes of one pod on a node: `must`, `may`, `stays` where it is, or why it keeps the
    /// node.
    fn fate(metadata: &Value, phase: &str, kind: Kind) -> String {
        let pods = [pod(metadata, phase)];
        let settings = EvictionSettings::default();
        let now = Timestamp::from_second(1000).unwrap();
        match look(&node(&json!({})), &pods, kind, (&settings, now)) {
            Ok(residents) if !residents.must.is_empty() => "must".into(),
            Ok(residents) if !residents.may.is_empty() => "may".into(),
            Ok(_) => "stays".into(),
            Err(Failure::NotEmpty(_)) => "not empty".into(),
            Err(failure) => failure.to_string(),
        }
    }

    #[rstest]
    #[case::plain(of("ReplicaSet"), "Running", "must", "not empty")]
    #[case::ended(of("Job"), "Succeeded", "must", "must")]
    #[case::daemon(of("DaemonSet"), "Running", "may", "stays")]
    #[case::daemon_by_annotation(says("daemonset-pod", "true"), "Running", "may", "stays")]
    #[case::mirror(json!({"annotations": {"kubernetes.io/config.mirror": "x"}}), "Running", "stays", "stays")]
    #[case::ends(json!({"deletionTimestamp": "1970-01-01T00:16:30Z"}), "Running", "must", "must")]
    #[case::should_have_ended(json!({"deletionTimestamp": "1970-01-01T00:16:00Z"}), "Running", "stays", "stays")]
    #[case::expendable(json!({"priority": -11}), "Running", "may", "may")]
    #[case::may_be_evicted(says("safe-to-evict", "true"), "Running", "must", "not empty")]
    fn a_pod_leaves(
        #[case] metadata: Value,
        #[case] phase: &str,
        #[case] drained: &str,
        #[case] empty: &str,
    ) {
        assert_eq!(fate(&metadata, phase, Kind::Drain), drained);
        assert_eq!(fate(&metadata, phase, Kind::Empty), empty);
    }

    #[rstest]
    #[case(
        "false",
        "Running",
        "pod a/p has the annotation cluster-autoscaler.kubernetes.io/safe-to-evict: \"false\""
    )]
    #[case(
        "on-completion",
        "Running",
        "pod a/p has the annotation cluster-autoscaler.kubernetes.io/safe-to-evict: \"on-completion\""
    )]
    #[case("on-completion", "Succeeded", "must")]
    #[case("false", "Failed", "must")]
    #[case("true", "Running", "must")]
    fn a_pod_that_came_late_has_its_say(
        #[case] word: &str,
        #[case] phase: &str,
        #[case] want: &str,
    ) {
        assert_eq!(fate(&says("safe-to-evict", word), phase, Kind::Drain), want);
    }

    #[rstest]
    #[case::told_to_go("true", Kind::Empty, "may")]
    #[case::told_to_stay("false", Kind::Drain, "stays")]
    fn a_daemon_may_say_itself(#[case] word: &str, #[case] kind: Kind, #[case] want: &str) {
        let mut metadata = of("DaemonSet");
        json_patch::merge(&mut metadata, &says("enable-ds-eviction", word));
        assert_eq!(fate(&metadata, "Running", kind), want);
    }

    #[test]
    fn a_node_that_somebody_wants_to_keep_stays() {
        let node = node(&says("scale-down-disabled", "true")["annotations"]);
        let settings = EvictionSettings::default();
        let looked = look(&node, &[], Kind::Empty, (&settings, Timestamp::UNIX_EPOCH));
        assert!(matches!(looked, Err(Failure::Blocked(_))), "{looked:?}");
    }
}
