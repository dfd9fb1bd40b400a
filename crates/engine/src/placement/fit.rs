//! Whether a pod fits somewhere, without asking where it would be best.

use super::decision::Failure;
use super::pod::PodFacts;
use super::ranking::Ranking;
use super::rules::Rules;
use super::set::{NodeSet, Slot};
use super::shape::ShapeId;
use super::snapshot::Snapshot;
use std::sync::Arc;

/// A row of searches for room: each begins behind the node the last one found, so that pods are
/// tried on nodes in turn.
///
/// Parity: the autoscaler's what-ifs take the first node that passes, in the order of the nodes.
#[derive(Debug, Clone, Default)]
pub struct RoomSearch {
    excluded: NodeSet,
    next: Slot,
}

impl RoomSearch {
    /// Never offers this node again.
    pub fn exclude(&mut self, snapshot: &Snapshot, node: &str) {
        if let Some(slot) = snapshot.slot_of(node) {
            self.excluded.insert(slot);
        }
    }

    /// Offers this node again.
    pub fn include(&mut self, snapshot: &Snapshot, node: &str) {
        if let Some(slot) = snapshot.slot_of(node) {
            self.excluded.remove(slot);
        }
    }
}

impl Failure {
    /// The reasons counted over the nodes that were asked, sorted as text.
    pub fn reasons(&self) -> String {
        match &self.whole {
            Some(reason) => reason.to_string(),
            None if self.groups.is_empty() => "no other node may be used".to_owned(),
            None => self.counted(),
        }
    }
}

impl Snapshot {
    /// Finds a node that can take the pod: the one hinted at if it still can, else the next in
    /// turn. Nothing is changed.
    ///
    /// # Errors
    /// No node can; the reasons of all nodes that were asked.
    pub fn room_for(
        &mut self,
        pod: &PodFacts,
        search: &mut RoomSearch,
        hint: Option<&str>,
    ) -> Result<Arc<str>, Failure> {
        self.without_nomination(pod, |snapshot| {
            let shape = snapshot.shape_of(pod);
            let ranking = match snapshot.take_ranking(shape) {
                Ok(ranking) => ranking,
                Err(reason) => return Err(Failure::whole(reason, snapshot.node_count())),
            };
            let found = snapshot.seek(shape, &ranking, (search, hint));
            snapshot.keep_ranking(shape, ranking);
            found
        })
    }

    fn seek(
        &mut self,
        shape: ShapeId,
        ranking: &Ranking,
        (search, hint): (&mut RoomSearch, Option<&str>),
    ) -> Result<Arc<str>, Failure> {
        let hard_weight = self.profile.hard_pod_affinity_weight;
        let rules = Rules::of(
            &mut self.neighbours,
            shape,
            (ranking, &self.live, hard_weight),
        );
        let rules = rules.filter(Rules::refuses);
        let takes = |slot: &Slot| {
            let place = |rules: &Rules| rules.refuse(&self.neighbours, *slot).is_some();
            ranking.fits(*slot)
                && !search.excluded.contains(*slot)
                && !rules.as_ref().is_some_and(place)
        };
        let hinted = hint.and_then(|node| self.slot_of(node)).filter(takes);
        let size = self.nodes.len();
        let begin = search.next.min(size);
        let found = hinted.or_else(|| (begin..size).chain(0..begin).find(takes));
        let name = found.and_then(|slot| self.shared_name(slot));
        if let Some((slot, name)) = found.zip(name) {
            if hinted.is_none() {
                search.next = slot + 1;
            }
            return Ok(name);
        }
        let mut failure = Failure {
            nodes: self.node_count(),
            ..Failure::default()
        };
        for slot in self
            .live
            .iter()
            .filter(|slot| !search.excluded.contains(*slot))
        {
            let place = || rules.as_ref()?.refuse(&self.neighbours, slot);
            let why = ranking.refusal(slot).cloned().or_else(place);
            if let Some(why) = why {
                failure.add(&why, slot);
            }
        }
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::RoomSearch;
    use crate::placement::{NodeFacts, PodFacts, PodSpec, Resources, Snapshot};

    fn three_nodes() -> Snapshot {
        let mut snapshot = Snapshot::default();
        for name in ["a", "b", "c"] {
            snapshot.set_node(NodeFacts {
                name: name.to_owned(),
                allocatable: Resources::of(1000, 1 << 30),
                max_pods: 10,
                ..NodeFacts::default()
            });
        }
        snapshot
    }

    fn pod(name: &str, cpu: i64) -> PodFacts {
        let requests = Resources::of(cpu, 0);
        let spec = PodSpec {
            requests,
            ..PodSpec::default()
        };
        PodFacts::new("default", name, spec)
    }

    #[test]
    fn nodes_are_tried_in_turn_and_excluded_ones_never() {
        let mut snapshot = three_nodes();
        let mut search = RoomSearch::default();
        search.exclude(&snapshot, "b");
        let mut found = Vec::new();
        for name in ["1", "2", "3"] {
            let node = snapshot
                .room_for(&pod(name, 100), &mut search, None)
                .unwrap();
            found.push(node.to_string());
        }
        assert_eq!(found, ["a", "c", "a"]);
        search.include(&snapshot, "b");
        let node = snapshot
            .room_for(&pod("4", 100), &mut search, None)
            .unwrap();
        assert_eq!(&*node, "b");
    }

    #[test]
    fn a_hint_is_taken_while_it_fits() {
        let mut snapshot = three_nodes();
        let mut search = RoomSearch::default();
        let mut find = |snapshot: &mut Snapshot| {
            snapshot
                .room_for(&pod("p", 600), &mut search, Some("c"))
                .unwrap()
        };
        assert_eq!(&*find(&mut snapshot), "c");
        snapshot.place("c", pod("q", 600));
        assert_eq!(&*find(&mut snapshot), "a");
    }

    #[test]
    fn who_fits_nowhere_is_told_why() {
        let mut snapshot = three_nodes();
        let mut search = RoomSearch::default();
        search.exclude(&snapshot, "a");
        let why = snapshot
            .room_for(&pod("p", 1100), &mut search, None)
            .unwrap_err();
        assert_eq!(why.reasons(), "2 Insufficient cpu");
    }
}
