//! Which pods without a node count.

use super::pending::PendingPod;
use super::plan::PodVerdict;
use crate::placement::{Decision, PodKey, PodSpec, Snapshot, decide};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a pod asks for no node, whatever the nodes are; `None` if it does.
///
/// `expendable_below` and `delay` are `--expendable-pods-priority-cutoff` and
/// `--new-pod-scale-up-delay`.
pub fn asks_for_nothing(
    pod: &PendingPod,
    expendable_below: i32,
    delay: SignedDuration,
    now: Timestamp,
) -> Option<PodVerdict> {
    if pod.of_daemon_set {
        return Some(PodVerdict::OfDaemonSet);
    }
    // A pod without a priority is never expendable.
    if pod
        .priority
        .is_some_and(|priority| priority < expendable_below)
    {
        return Some(PodVerdict::Expendable);
    }
    let delay = pod.scale_up_delay.map_or(delay, |own| own.max(delay));
    // Without a delay nobody waits: the loop has waited already.
    let created = pod.created.filter(|_| delay > SignedDuration::ZERO)?;
    // Parity: a pod exactly as old as the delay is still too young.
    let until = created.checked_add(delay).unwrap_or(Timestamp::MAX);
    (now <= until).then_some(PodVerdict::TooYoung { until })
}

/// Puts pods on the nodes that have room for them, the most important first, and returns those that
/// found none (in the order given) and the node of each that did.
///
/// What is placed stays placed: fork the snapshot before.
///
/// Departs: upstream takes the first node that passes, in turn; this is where they will really go.
pub fn place_on_existing(
    snapshot: &mut Snapshot,
    pending: &[&PendingPod],
    tie: u64,
) -> (Vec<usize>, BTreeMap<PodKey, Arc<str>>) {
    let mut order: Vec<usize> = (0..pending.len()).collect();
    let priority = |at: &usize| pending.get(*at).map_or(0, |p| p.pod.spec.priority);
    order.sort_by_key(|at| std::cmp::Reverse(priority(at)));
    let mut placed = BTreeMap::new();
    let mut rest = Vec::new();
    // What one pod was refused, its like need not ask for: nodes only fill up.
    let mut hopeless: BTreeSet<(Arc<str>, Arc<PodSpec>)> = BTreeSet::new();
    let mut last: Option<(Arc<str>, Arc<PodSpec>)> = None;
    for at in order {
        let Some(pending) = pending.get(at) else {
            continue;
        };
        let pod = &pending.pod;
        let like = |(namespace, spec): &(Arc<str>, Arc<PodSpec>)| {
            *namespace == pod.namespace && Arc::ptr_eq(spec, &pod.spec)
        };
        let key = || (Arc::clone(&pod.namespace), Arc::clone(&pod.spec));
        if last.as_ref().is_some_and(like) || (!hopeless.is_empty() && hopeless.contains(&key())) {
            rest.push(at);
            continue;
        }
        match decide(snapshot, pod, tie) {
            Decision::Fits(choice) => {
                snapshot.place(&choice.node, pod.clone());
                placed.insert(pod.key(), choice.node.into());
                if stands_for_others(pod) {
                    continue;
                }
                // It may be what others have to be near, or what makes spreading even again.
                last = None;
                hopeless.clear();
            }
            Decision::Nowhere(_) => {
                rest.push(at);
                hopeless.insert(key());
                last = Some(key());
            }
        }
    }
    rest.sort_unstable();
    (rest, placed)
}

/// Whether a pod's coming can only take room from others.
fn stands_for_others(pod: &crate::placement::PodFacts) -> bool {
    pod.spec.spread.is_empty() && pod.spec.pod_affinity.required.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{node, pending, spec};
    use rstest::rstest;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[rstest]
    #[case::older(61, 60, None, true)]
    #[case::as_old(60, 60, None, false)]
    #[case::its_own_delay_is_longer(61, 60, Some(90), false)]
    #[case::its_own_delay_is_shorter(59, 60, Some(10), false)]
    #[case::nobody_waits(0, 0, None, true)]
    fn a_pod_must_be_older_than_the_delay(
        #[case] now: i64,
        #[case] delay: i64,
        #[case] own: Option<i64>,
        #[case] asks: bool,
    ) {
        let mut pod = pending("p", 1, spec(1, 1)).remove(0);
        pod.scale_up_delay = own.map(SignedDuration::from_secs);
        let verdict = asks_for_nothing(&pod, -10, SignedDuration::from_secs(delay), at(now));
        assert_eq!(verdict.is_none(), asks, "{verdict:?}");
    }

    #[rstest]
    #[case::below(Some(-11), true)]
    #[case::at_the_cutoff(Some(-10), false)]
    #[case::no_priority(None, false)]
    fn unimportant_pods_are_expendable(#[case] priority: Option<i32>, #[case] expendable: bool) {
        let mut pod = pending("p", 1, spec(1, 1)).remove(0);
        pod.priority = priority;
        let verdict = asks_for_nothing(&pod, -10, SignedDuration::ZERO, at(0));
        assert_eq!(verdict == Some(PodVerdict::Expendable), expendable);
    }

    #[test]
    fn room_goes_to_the_most_important_first() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("n1", 1000, 1 << 30));
        let mut pods = pending("web", 3, spec(400, 1));
        let mut urgent = spec(700, 1);
        urgent.priority = 5;
        pods.extend(pending("urgent", 1, urgent));
        let all: Vec<&PendingPod> = pods.iter().collect();
        let (rest, placed) = place_on_existing(&mut snapshot, &all, 0);
        assert_eq!(rest, [0, 1, 2]);
        assert_eq!(
            placed.keys().map(ToString::to_string).collect::<Vec<_>>(),
            ["default/urgent-0"]
        );
    }
}
