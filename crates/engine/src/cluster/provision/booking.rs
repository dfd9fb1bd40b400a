//! Room that is kept for pods until they come.

use super::request::PodSet;
use crate::placement::{PodFacts, PodKey, PodSpec, Resources, RoomSearch, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pod that has not come yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedPod {
    /// What it asks for.
    pub pod: PodFacts,
    /// Where room was kept for it before.
    pub node: Option<Arc<str>>,
}

/// For how many pods of each set room is to be kept when these pods (by what they ask for) have come
/// for it: each takes the place of one that asks for the same, or else of the first there is.
///
/// Departs: upstream keeps room for all of them until the last has come, so that for a while room is
/// kept twice.
pub fn left_over(sets: &[PodSet], came: &[&Resources]) -> Vec<usize> {
    let mut left: Vec<usize> = sets.iter().map(|set| set.count).collect();
    let mut others = 0_usize;
    for requests in came {
        let mut places = left.iter_mut().zip(sets);
        let same = places.find(|(left, set)| **left > 0 && set.spec.requests == **requests);
        match same {
            Some((left, _)) => *left -= 1,
            None => others += 1,
        }
    }
    for left in &mut left {
        let taken = others.min(*left);
        *left -= taken;
        others -= taken;
    }
    left
}

/// Puts pods where there is room for them: where it was before if that still can take them, else on
/// the first node that can. Those that find none are left out. Fork the snapshot before.
pub(in crate::cluster) fn book(
    snapshot: &mut Snapshot,
    booked: &[BookedPod],
) -> BTreeMap<PodKey, Arc<str>> {
    let mut nodes = BTreeMap::new();
    let mut moved = Vec::new();
    for BookedPod { pod, node } in booked {
        let mut search = RoomSearch::default();
        let hint = node.as_deref();
        let found = hint.and_then(|_| snapshot.room_for(pod, &mut search, hint).ok());
        match found.filter(|found| Some(&**found) == hint) {
            Some(found) => {
                snapshot.place(&found, pod.clone());
                nodes.insert(pod.key(), found);
            }
            None => moved.push(pod),
        }
    }
    // What one pod was refused, the next one like it need not ask for.
    let mut refused: Option<&Arc<PodSpec>> = None;
    for pod in moved {
        if refused.is_some_and(|spec| Arc::ptr_eq(spec, &pod.spec)) {
            continue;
        }
        match snapshot.room_for(pod, &mut RoomSearch::default(), None) {
            Ok(found) => {
                snapshot.place(&found, pod.clone());
                nodes.insert(pod.key(), found);
                refused = None;
            }
            Err(_) => refused = Some(&pod.spec),
        }
    }
    nodes
}
