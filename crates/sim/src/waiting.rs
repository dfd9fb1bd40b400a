//! How long pods wait for a node.

use jiff::Timestamp;
use plimsoll_controllers::pods::PodView;
use plimsoll_controllers::runtime::{Change, ObjectKey};
use serde::Serialize;
use std::collections::BTreeMap;

/// A pod that found no node at once, and how long it took until it had one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Wait {
    /// When the pod was made.
    pub since: Timestamp,
    /// `NAMESPACE/NAME`.
    pub pod: String,
    /// Seconds until it had a node, or until it was gone or the run ended without.
    pub seconds: f64,
    /// Whether it got one.
    pub placed: bool,
}

/// Follows pods from their making to their node.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    open: BTreeMap<ObjectKey, Open>,
    /// Seconds that all pods together had no node.
    pub(crate) seconds: f64,
    /// Pods that got a node.
    pub(crate) placed: usize,
    pub(crate) waits: Vec<Wait>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    since: Timestamp,
    /// The scheduler has said that it fits nowhere.
    fits_nowhere: bool,
}

impl Waiting {
    /// Pods without a node.
    pub(crate) fn pending(&self) -> usize {
        self.open.len()
    }

    /// Takes in a change of a pod.
    pub(crate) fn note(&mut self, change: &Change<PodView>, now: Timestamp) {
        let Some(pod) = &change.new else {
            self.close(&change.key, now, false);
            return;
        };
        if pod.node.is_some() {
            self.placed += usize::from(self.open.contains_key(&change.key));
            self.close(&change.key, now, true);
        } else if pod.meta.is_deleting() || pod.phase.is_terminal() {
            self.close(&change.key, now, false);
        } else if change.old.is_none() || self.open.contains_key(&change.key) {
            let fits_nowhere = pod
                .condition("PodScheduled")
                .is_some_and(|c| !c.holds && &*c.reason == "Unschedulable");
            let open = self.open.entry(change.key.clone()).or_insert(Open {
                since: now,
                fits_nowhere,
            });
            open.fits_nowhere |= fits_nowhere;
        }
    }

    /// The run is over: nobody waits any longer.
    pub(crate) fn end(&mut self, now: Timestamp) {
        let keys: Vec<ObjectKey> = self.open.keys().cloned().collect();
        for key in keys {
            self.close(&key, now, false);
        }
    }

    fn close(&mut self, key: &ObjectKey, now: Timestamp, placed: bool) {
        let Some(Open {
            since,
            fits_nowhere,
        }) = self.open.remove(key)
        else {
            return;
        };
        let seconds = now.duration_since(since).as_secs_f64();
        self.seconds += seconds;
        if fits_nowhere {
            self.waits.push(Wait {
                since,
                pod: key.to_string(),
                seconds,
                placed,
            });
        }
    }
}

/// The value below which a share of all values is, by nearest rank; 0 without any.
pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank is a small whole number"
    )]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::{Waiting, quantile};
    use jiff::{SignedDuration, Timestamp};
    use plimsoll_controllers::pods::PodView;
    use plimsoll_controllers::runtime::{Cached, Change};
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn pod(node: Option<&str>, fits: bool) -> Arc<PodView> {
        let reason = if fits { "Scheduled" } else { "Unschedulable" };
        let conditions: Value = if node.is_none() && fits {
            json!([])
        } else {
            let status = if fits { "True" } else { "False" };
            json!([{"type": "PodScheduled", "status": status, "reason": reason}])
        };
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "namespace": "n", "uid": "u"},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
            "status": {"conditions": conditions},
        });
        Arc::new(PodView::from_wire(serde_json::from_value(pod).unwrap()))
    }

    fn change(old: Option<Arc<PodView>>, new: Option<Arc<PodView>>) -> Change<PodView> {
        let known = new.as_ref().or(old.as_ref()).unwrap();
        let key = known.meta.key.clone();
        Change { key, old, new }
    }

    #[test]
    fn a_pod_waits_from_its_making_to_its_node() {
        let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        let mut waiting = Waiting::default();
        let (made, stuck, bound) = (pod(None, true), pod(None, false), pod(Some("x"), true));
        waiting.note(&change(None, Some(Arc::clone(&made))), at(0));
        waiting.note(&change(Some(made), Some(Arc::clone(&stuck))), at(1));
        assert_eq!(waiting.pending(), 1);
        waiting.note(&change(Some(stuck), Some(Arc::clone(&bound))), at(61));
        waiting.note(&change(Some(bound), None), at(90));
        assert_eq!((waiting.pending(), waiting.placed), (0, 1));
        let wait = waiting.waits.first().unwrap();
        assert!((wait.seconds - 61.0).abs() < 1e-9 && wait.placed);
        assert!((waiting.seconds - 61.0).abs() < 1e-9);
    }

    #[test]
    fn who_finds_a_node_at_once_has_not_waited_and_who_never_does_is_counted() {
        let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        let mut waiting = Waiting::default();
        let (made, bound) = (pod(None, true), pod(Some("x"), true));
        waiting.note(&change(None, Some(Arc::clone(&made))), at(0));
        waiting.note(&change(Some(made), Some(bound)), at(0));
        assert_eq!((waiting.placed, waiting.waits.len()), (1, 0));
        waiting.note(&change(None, Some(pod(None, false))), at(5));
        waiting.end(at(15));
        assert!(!waiting.waits.first().unwrap().placed);
        assert!((waiting.seconds - 10.0).abs() < 1e-9);
    }

    #[rstest]
    #[case::none(&[], 0.5, 0.0)]
    #[case::median(&[3.0, 1.0, 2.0], 0.5, 2.0)]
    #[case::nearest_rank(&[1.0, 2.0, 3.0, 4.0], 0.99, 4.0)]
    #[case::lowest(&[1.0, 2.0], 0.0, 1.0)]
    fn quantiles_are_by_nearest_rank(
        #[case] values: &[f64],
        #[case] share: f64,
        #[case] want: f64,
    ) {
        assert!((quantile(values.to_vec(), share) - want).abs() < 1e-12);
    }
}
