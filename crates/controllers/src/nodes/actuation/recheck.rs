//! A last look at a node, after its taint and before its pods are evicted: much may have happened
//! since the decision.

use super::outcome::Failure;
use super::settings::EvictionSettings;
use crate::facts;
use crate::pods::{Caches, NodeView, PodView};
use crate::runtime::ObjectKey;
use jiff::Timestamp;
use plimsoll_engine::cluster::{
    DrainContext, RemainingBudgets, RunningPod, SCALE_DOWN_DISABLED, judge_all,
};
use plimsoll_engine::placement::BudgetFacts;
use std::sync::Arc;

/// Annotation of a pod of a DaemonSet: whether it is evicted.
const EVICT_DAEMON: &str = "cluster-autoscaler.kubernetes.io/enable-ds-eviction";

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

/// By what the pods are judged.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    settings: &'a EvictionSettings,
    budgets: RemainingBudgets,
    now: Timestamp,
}

impl<'a> Judge<'a> {
    /// A judge that knows the budgets there are now.
    pub(super) fn new(settings: &'a EvictionSettings, caches: &Caches, now: Timestamp) -> Self {
        // Only whether a budget protects a pod counts here. What it gives is asked by each
        // eviction, which may be tried again.
        let generous = |budget: BudgetFacts| BudgetFacts {
            allowed: i32::MAX,
            ..budget
        };
        let budgets = caches.budgets.list(None).into_iter();
        let budgets: Vec<_> = budgets
            .map(|budget| generous(facts::of_budget(&budget)))
            .collect();
        Self {
            settings,
            budgets: RemainingBudgets::new(&budgets),
            now,
        }
    }

    /// Sorts the pods of a node by the rules by which nodes are chosen.
    ///
    /// # Errors
    /// Somebody wants to keep the node, a pod must not be moved, or an empty node is not empty any
    /// more.
    pub(super) fn look(
        &self,
        node: &NodeView,
        pods: &[Arc<PodView>],
        kind: Kind,
    ) -> Result<Residents, Failure> {
        if node.meta.annotation(SCALE_DOWN_DISABLED) == Some("true") {
            let why = format!("the node has the annotation {SCALE_DOWN_DISABLED}");
            return Err(Failure::Blocked(why));
        }
        let mut residents = Residents::default();
        for pod in pods {
            self.sort(pod, kind, &mut residents)?;
        }
        let arrived = residents.must.iter().filter(|pod| pod.is_active());
        let arrived: Vec<ObjectKey> = arrived.map(|pod| pod.meta.key.clone()).collect();
        if kind == Kind::Empty && !arrived.is_empty() {
            return Err(Failure::NotEmpty(arrived));
        }
        Ok(residents)
    }

    fn sort(
        &self,
        pod: &Arc<PodView>,
        kind: Kind,
        residents: &mut Residents,
    ) -> Result<(), Failure> {
        let context = DrainContext {
            options: &self.settings.rules,
            budgets: &self.budgets,
            now: self.now,
        };
        let running = running(pod);
        let key = &pod.meta.key;
        let expendable = pod.priority < self.settings.expendable_below;
        match judge_all([&running], &context) {
            Ok(judged) if !judged.daemons.is_empty() => {
                if evicts_daemon(pod, kind, self.settings) {
                    residents.may.push(Arc::clone(pod));
                }
            }
            Ok(judged) if judged.moves.is_empty() && judged.on_completion.is_empty() => {}
            _ if expendable => residents.may.push(Arc::clone(pod)),
            Ok(judged) if judged.on_completion.is_empty() => residents.must.push(Arc::clone(pod)),
            Ok(_) => return Err(Failure::Blocked(format!("pod {key} is not done yet"))),
            Err(blocker) => {
                let (reason, remedy) = (blocker.reason.name(), blocker.remedy);
                let why = format!("pod {key} keeps the node: {reason}; {remedy}");
                return Err(Failure::Blocked(why));
            }
        }
        Ok(())
    }
}

/// The pod as the rules see it. Whether its controller exists was judged when the node was chosen.
fn running(pod: &PodView) -> RunningPod {
    let spec = Arc::new(facts::spec_of(pod, None));
    facts::of_running(pod, facts::of_pod(pod, spec), (None, None))
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
    use super::{Judge, Kind};
    use crate::nodes::actuation::outcome::Failure;
    use crate::nodes::actuation::settings::EvictionSettings;
    use crate::pods::{NodeView, PodView};
    use crate::runtime::Cached;
    use jiff::Timestamp;
    use plimsoll_engine::cluster::RemainingBudgets;
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

    fn judge(settings: &EvictionSettings) -> Judge<'_> {
        Judge {
            settings,
            budgets: RemainingBudgets::default(),
            now: Timestamp::from_second(1000).unwrap(),
        }
    }

    /// What becomes of one pod on a node: `must`, `may`, `stays` where it is, or why it keeps the
    /// node.
    fn fate(metadata: &Value, phase: &str, kind: Kind) -> String {
        let pods = [pod(metadata, phase)];
        let settings = EvictionSettings::default();
        match judge(&settings).look(&node(&json!({})), &pods, kind) {
            Ok(residents) if !residents.must.is_empty() => "must".into(),
            Ok(residents) if !residents.may.is_empty() => "may".into(),
            Ok(_) => "stays".into(),
            Err(Failure::NotEmpty(_)) => "not empty".into(),
            Err(failure) => {
                let text = failure.to_string();
                let (what, _) = text.split_once(';').unwrap_or((&text, ""));
                what.replace("pod a/p keeps the node", "keeps")
            }
        }
    }

    /// A pod that ends; its grace period is 30 s.
    fn ends(at: &str) -> Value {
        let mut metadata = of("Job");
        metadata["deletionTimestamp"] = at.into();
        metadata
    }

    #[rstest]
    #[case::plain(of("ReplicaSet"), "Running", "must", "not empty")]
    #[case::ended(of("Job"), "Succeeded", "must", "must")]
    #[case::daemon(of("DaemonSet"), "Running", "may", "stays")]
    #[case::daemon_by_annotation(says("daemonset-pod", "true"), "Running", "may", "stays")]
    #[case::mirror(json!({"annotations": {"kubernetes.io/config.mirror": "x"}}), "Running", "stays", "stays")]
    #[case::ends(ends("1970-01-01T00:15:41Z"), "Running", "must", "must")]
    #[case::should_have_ended(ends("1970-01-01T00:15:39Z"), "Running", "stays", "stays")]
    #[case::bare(json!({}), "Running", "keeps: NotReplicated", "keeps: NotReplicated")]
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
    #[case("false", "Running", "keeps: NotSafeToEvictAnnotation")]
    #[case("on-completion", "Running", "pod a/p is not done yet")]
    #[case("on-completion", "Succeeded", "must")]
    #[case("false", "Failed", "must")]
    #[case("true", "Running", "must")]
    fn a_pod_that_came_late_has_its_say(
        #[case] word: &str,
        #[case] phase: &str,
        #[case] want: &str,
    ) {
        let mut metadata = of("ReplicaSet");
        json_patch::merge(&mut metadata, &says("safe-to-evict", word));
        assert_eq!(fate(&metadata, phase, Kind::Drain), want);
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
        let looked = judge(&settings).look(&node, &[], Kind::Empty);
        assert!(matches!(looked, Err(Failure::Blocked(_))), "{looked:?}");
    }
}
