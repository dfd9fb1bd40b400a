//! What each node is by itself to pods of the same needs, kept up to date node by node.

use super::devices::Demand;
use super::filters::{Wanted, admitted};
use super::refusal::{Refusal, Refused};
use super::scores::own_scores;
use super::set::{NodeSet, Slot};
use super::shape::{NeedsId, ShapeId};
use super::snapshot::Snapshot;
use super::taints::untolerated;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rankings kept at a time.
const KEPT: usize = 256;
/// The score of a node that does not fit, or is none.
pub(super) const UNFIT: i32 = i32::MIN;
/// The place in the list of refusals of a node that fits, or is none.
const NO_REFUSAL: u16 = u16::MAX;

/// The nodes as pods of the same needs see them, without the rules about other pods.
#[derive(Debug, Clone)]
pub(super) struct Ranking {
    pub(super) wanted: Wanted,
    /// Weighted sum of the scores that need no comparison, or [`UNFIT`].
    pub(super) own: Vec<i32>,
    /// Soft taints that are not tolerated; empty while there are none.
    pub(super) taints: Vec<i64>,
    /// Weights of preferred terms that match; empty while there are none.
    pub(super) liked: Vec<i64>,
    /// Place in `refusals` of nodes that do not fit.
    verdicts: Vec<u16>,
    refusals: Vec<Refused>,
    /// Nodes that selector and required affinity admit.
    pub(super) admitted: NodeSet,
    /// Nodes whose hard taints are tolerated.
    pub(super) untainted: NodeSet,
    /// How many nodes have soft taints that are not tolerated, or match a preferred term.
    compared: usize,
    changes_seen: u64,
    volumes_seen: u64,
    devices_seen: u64,
    images_seen: u64,
    used_at: u64,
}

impl Ranking {
    /// Whether scores of nodes have to be compared with each other before they count.
    pub(super) fn compares(&self) -> bool {
        self.compared > 0
    }

    /// Whether a node fits by itself.
    pub(super) fn fits(&self, slot: Slot) -> bool {
        self.own.get(slot).is_some_and(|own| *own != UNFIT)
    }

    /// Why a node does not fit by itself.
    pub(super) fn refusal(&self, slot: Slot) -> Option<&Refused> {
        self.refusals.get(usize::from(*self.verdicts.get(slot)?))
    }

    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            own: Vec::new(),
            taints: Vec::new(),
            liked: Vec::new(),
            verdicts: Vec::new(),
            refusals: Vec::new(),
            admitted: NodeSet::default(),
            untainted: NodeSet::default(),
            compared: 0,
            changes_seen: 0,
            volumes_seen: 0,
            devices_seen: 0,
            images_seen: 0,
            used_at: 0,
        }
    }

    fn build(&mut self, snapshot: &Snapshot) {
        let size = snapshot.nodes.len();
        self.own = vec![UNFIT; size];
        self.taints = Vec::new();
        self.liked = Vec::new();
        self.verdicts = vec![NO_REFUSAL; size];
        self.admitted = NodeSet::default();
        self.untainted = NodeSet::default();
        self.compared = 0;
        for slot in snapshot.live.iter() {
            self.look_at(slot, snapshot);
        }
    }

    fn refresh(&mut self, snapshot: &Snapshot) {
        let nodes = snapshot.nodes.len();
        let behind = snapshot.changes.now() - self.changes_seen;
        let changed = snapshot
            .changes
            .since(self.changes_seen)
            .filter(|_| behind <= nodes as u64);
        match changed {
            Some(slots) => slots.for_each(|slot| self.look_at(slot, snapshot)),
            None => self.build(snapshot),
        }
    }

    /// Takes over a node as it is now.
    fn look_at(&mut self, slot: Slot, snapshot: &Snapshot) {
        if slot >= self.own.len() {
            let size = snapshot.nodes.len();
            self.own.resize(size, UNFIT);
            self.verdicts.resize(size, NO_REFUSAL);
        }
        let (mut own, mut taints, mut liked, mut verdict) = (UNFIT, 0, 0, NO_REFUSAL);
        self.admitted.remove(slot);
        self.untainted.remove(slot);
        if let Some(node) = snapshot.state(slot) {
            let spec = &self.wanted.spec;
            if admitted(spec, node) {
                self.admitted.insert(slot);
            }
            if untolerated(&spec.tolerations, &node.facts.taints).is_none() {
                self.untainted.insert(slot);
            }
            if let Some(refused) = self.wanted.refuse(node, snapshot.around()) {
                verdict = self.numbered(refused);
            } else {
                let world = (&snapshot.profile, &snapshot.images, snapshot.node_count());
                let scores = own_scores(spec, node, world);
                own = scores.weighted(&snapshot.profile.weights);
                (taints, liked) = (scores.taints, scores.liked);
            }
        }
        let compared = |taints: i64, liked: i64| usize::from(taints != 0 || liked != 0);
        let before = (
            replace(&mut self.taints, slot, taints),
            replace(&mut self.liked, slot, liked),
        );
        self.compared = self.compared + compared(taints, liked) - compared(before.0, before.1);
        if let Some(place) = self.own.get_mut(slot) {
            *place = own;
        }
        if let Some(place) = self.verdicts.get_mut(slot) {
            *place = verdict;
        }
    }

    fn numbered(&mut self, refused: Refused) -> u16 {
        let known = self.refusals.iter().position(|known| *known == refused);
        let at = known.unwrap_or_else(|| {
            self.refusals.push(refused);
            self.refusals.len() - 1
        });
        // There are no more sets of reasons than a few per resource.
        u16::try_from(at).unwrap_or(0)
    }
}

/// Sets a number in a list that is as long as it has to be. Returns what was there.
fn replace(list: &mut Vec<i64>, at: usize, value: i64) -> i64 {
    if value != 0 && at >= list.len() {
        list.resize(at + 1, 0);
    }
    list.get_mut(at)
        .map(|place| std::mem::replace(place, value))
        .unwrap_or_default()
}

/// Rankings for the needs decided on lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Rankings {
    by_needs: BTreeMap<NeedsId, Box<Ranking>>,
    uses: u64,
}

impl Rankings {
    pub(super) fn forget(&mut self, gone: &[NeedsId]) {
        for needs in gone {
            self.by_needs.remove(needs);
        }
    }
}

impl Snapshot {
    /// Takes the shape's ranking, up to date, out of the cache; hand it back with
    /// [`Snapshot::keep_ranking`].
    ///
    /// # Errors
    /// A reason that holds whatever the node.
    pub(super) fn take_ranking(&mut self, shape: ShapeId) -> Result<Box<Ranking>, Refusal> {
        let needs = self.neighbours.shapes.get(shape).map(|shape| shape.needs);
        let known = needs.and_then(|needs| self.rankings.by_needs.remove(&needs));
        let (volumes, devices, images) =
            (self.volumes.epoch, self.devices.epoch, self.images.epoch);
        let usable = known.filter(|ranking| {
            let spec = &ranking.wanted.spec;
            (spec.claims.is_empty() || ranking.volumes_seen == volumes)
                && (spec.devices.is_empty() || ranking.devices_seen == devices)
                && (spec.images.is_empty() || ranking.images_seen == images)
        });
        let mut ranking = if let Some(mut known) = usable {
            known.refresh(self);
            known
        } else {
            let mut new = Box::new(Ranking::new(self.wanted(shape)?));
            new.build(self);
            new
        };
        ranking.changes_seen = self.changes.now();
        (ranking.volumes_seen, ranking.images_seen) = (volumes, images);
        ranking.devices_seen = devices;
        Ok(ranking)
    }

    pub(super) fn keep_ranking(&mut self, shape: ShapeId, mut ranking: Box<Ranking>) {
        self.rankings.uses += 1;
        ranking.used_at = self.rankings.uses;
        if self.rankings.by_needs.len() >= KEPT {
            let kept = self.rankings.by_needs.iter();
            let oldest = kept.min_by_key(|(_, ranking)| ranking.used_at);
            if let Some(oldest) = oldest.map(|(needs, _)| *needs) {
                self.rankings.by_needs.remove(&oldest);
            }
        }
        if let Some(shape) = self.neighbours.shapes.get(shape) {
            self.rankings.by_needs.insert(shape.needs, ranking);
        }
    }

    /// What pods of the shape want of a node by itself.
    ///
    /// # Errors
    /// A reason that holds whatever the node.
    pub(super) fn wanted(&self, shape: ShapeId) -> Result<Wanted, Refusal> {
        let known = self.neighbours.shapes.get(shape);
        let (namespace, spec) = known
            .map(|shape| (Arc::clone(&shape.namespace), Arc::clone(&shape.spec)))
            .unwrap_or_default();
        let storage = match &*spec.claims {
            [] => None,
            claims => Some(self.volumes.storage(&namespace, claims)?),
        };
        let devices = match &*spec.devices {
            [] => None,
            wishes => Some(Demand::of(&namespace, wishes, &self.devices)?),
        };
        Ok(Wanted {
            spec,
            storage,
            devices,
        })
    }
}
