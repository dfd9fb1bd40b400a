//! What each group could do for the pods that wait.

use super::equivalence::Class;
use super::estimate::{Estimate, Load, Method, estimate};
use super::expander::Candidate;
use super::fits::Fits;
use super::group::GroupFacts;
use super::growth::GrowthOptions;
use super::limits::{EstimateLimit, Threshold};
use super::pending::PendingPod;
use super::plan::SkipReason;
use super::quota::Remaining;
use crate::placement::{Resources, Snapshot};
use jiff::SignedDuration;

/// The groups as they are in a round: what earlier rounds asked for is counted.
#[derive(Debug, Clone)]
pub(super) struct Standing<'a> {
    pub(super) groups: &'a [GroupFacts],
    pub(super) options: &'a GrowthOptions,
    /// Targets by group.
    pub(super) targets: Vec<usize>,
    /// Why a group is not considered, by group.
    pub(super) skipped: Vec<Option<SkipReason>>,
    /// What is left of the quotas.
    pub(super) remaining: Remaining<'a>,
    /// All nodes, upcoming and asked-for ones included.
    pub(super) nodes: usize,
}

/// What one group could do.
#[derive(Debug, Clone)]
pub(super) struct Weighed {
    pub(super) group: usize,
    /// Groups among which its nodes may be spread, without itself.
    pub(super) similar: Vec<usize>,
    /// New nodes.
    pub(super) nodes: usize,
    pub(super) estimate: Estimate,
    pub(super) requests: Resources,
    /// Pods helped.
    pub(super) pods: usize,
}

impl Standing<'_> {
    /// Finds out which groups are not considered.
    pub(super) fn skip(&mut self) {
        for at in 0..self.groups.len() {
            if self.skipped.get(at).is_some_and(Option::is_none) {
                let reason = self.skip_reason(at);
                if let Some(place) = self.skipped.get_mut(at) {
                    *place = reason;
                }
            }
        }
    }

    fn skip_reason(&self, at: usize) -> Option<SkipReason> {
        let group = self.groups.get(at)?;
        let room = group.max.saturating_sub(self.target(at));
        if room == 0 {
            return Some(SkipReason::MaxSize);
        }
        let Some(template) = &group.template else {
            return Some(SkipReason::NoTemplate);
        };
        let atomic = group.options.zero_or_max_node_scaling;
        if atomic && self.room_in_cluster().is_some_and(|left| room > left) {
            return Some(SkipReason::AtomicAboveTotal);
        }
        let least = if atomic { room } else { 1 };
        self.remaining.exceeded(template, least)
    }

    pub(super) fn target(&self, at: usize) -> usize {
        self.targets.get(at).copied().unwrap_or(0)
    }

    /// How many more nodes the cluster may have.
    pub(super) fn room_in_cluster(&self) -> Option<usize> {
        let most = self.options.max_nodes_total?;
        Some(most.saturating_sub(self.nodes))
    }

    fn considered(&self, at: usize) -> bool {
        self.skipped.get(at).is_some_and(Option::is_none) && !self.has_its_share(at)
    }

    /// That the cluster has as many nodes as it may have, in words, if it has.
    pub(super) fn cluster_full(&self) -> Option<String> {
        let most = self.options.max_nodes_total?;
        (self.room_in_cluster() == Some(0)).then(|| format!("max-nodes-total {most} is reached"))
    }

    /// Whether a group gets no more nodes in this look, though it could have more.
    pub(super) fn has_its_share(&self, at: usize) -> bool {
        let group = self.groups.get(at);
        group.is_some_and(|group| self.target(at) < group.max && self.room(at) == 0)
    }

    /// How many more nodes this look may give a group: up to its maximum, and no more than one look
    /// gives.
    pub(super) fn room(&self, at: usize) -> usize {
        let Some(group) = self.groups.get(at) else {
            return 0;
        };
        let room = group.max.saturating_sub(self.target(at));
        self.left_in_look(at)
            .filter(|_| !group.options.zero_or_max_node_scaling)
            .map_or(room, |left| room.min(left))
    }

    /// What every considered group could do for the classes.
    pub(super) fn weigh(
        &self,
        snapshot: &mut Snapshot,
        fits: &Fits,
        of: (&[PendingPod], &[Class]),
    ) -> Vec<Weighed> {
        let (pods, classes) = of;
        let fitting: Vec<Vec<usize>> = (0..self.groups.len())
            .map(|group| {
                let waiting = classes
                    .iter()
                    .enumerate()
                    .filter(|(_, c)| !c.pods.is_empty());
                let taken = waiting.filter(|(class, _)| fits.takes(group, *class));
                taken.map(|(class, _)| class).collect()
            })
            .collect();
        let mut weighed = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            let Some(takes) = fitting
                .get(at)
                .filter(|f| !f.is_empty() && self.considered(at))
            else {
                continue;
            };
            let Some(template) = &group.template else {
                continue;
            };
            let similar = self.similar(at, &fitting);
            let load = Load {
                pods,
                classes,
                fitting: takes,
            };
            let most = self.most(at, &similar);
            let estimate = estimate(snapshot, template, &load, most, Method::Best);
            if estimate.nodes > 0 {
                weighed.push(self.weighed(at, similar, (estimate, &load)));
            }
        }
        weighed
    }

    fn weighed(&self, at: usize, similar: Vec<usize>, of: (Estimate, &Load<'_>)) -> Weighed {
        let (estimate, load) = of;
        let mut requests = Resources::default();
        let mut pods = 0;
        for (class, count) in &estimate.placed {
            if let Some(pod) = load.exemplar(*class) {
                requests.add(&pod.spec.requests.times(*count));
            }
            pods += count;
        }
        let group = self.groups.get(at);
        let whole = group.filter(|group| group.options.zero_or_max_node_scaling);
        let nodes = whole.map_or(estimate.nodes, |g| g.max.saturating_sub(self.target(at)));
        Weighed {
            group: at,
            similar,
            nodes,
            estimate,
            requests,
            pods,
        }
    }

    /// Groups alike that help the same pods and may grow.
    fn similar(&self, at: usize, fitting: &[Vec<usize>]) -> Vec<usize> {
        let atomic = |at: usize| {
            let group = self.groups.get(at);
            group.is_some_and(|group| group.options.zero_or_max_node_scaling)
        };
        let Some(similarity) = self.options.balance.as_ref().filter(|_| !atomic(at)) else {
            return Vec::new();
        };
        let template = |at: usize| self.groups.get(at)?.template.as_ref();
        let others = (0..self.groups.len()).filter(|other| *other != at);
        others
            .filter(|other| self.considered(*other) && !atomic(*other))
            .filter(|other| fitting.get(*other) == fitting.get(at))
            .filter(|other| match (template(at), template(*other)) {
                (Some(one), Some(other)) => similarity.difference(one, other).is_none(),
                _ => false,
            })
            .collect()
    }

    /// How many nodes a group may still get in this look.
    fn left_in_look(&self, at: usize) -> Option<usize> {
        let before = self.groups.get(at).map_or(0, |group| group.target);
        let grown = self.target(at).saturating_sub(before);
        let most = self.options.max_nodes_per_scaleup?;
        Some(most.saturating_sub(grown))
    }

    /// Whether a group that could grow further has to wait for the next look.
    pub(super) fn waits_for_next_look(&self, at: usize) -> bool {
        self.skipped.get(at).is_some_and(Option::is_none) && self.has_its_share(at)
    }

    /// How many nodes an estimate may add. What the cluster has room for is cut from the answer.
    fn most(&self, at: usize, similar: &[usize]) -> Option<usize> {
        let room = similar
            .iter()
            .map(|other| self.room(*other))
            .fold(self.room(at), usize::saturating_add);
        // Zero says "without limit" there, and means "none" here.
        let threshold = |nodes: usize| Threshold {
            nodes: i64::try_from(nodes).map_or(i64::MAX, |n| if n == 0 { -1 } else { n }),
            duration: SignedDuration::ZERO,
        };
        let mut thresholds = vec![threshold(room)];
        thresholds.extend(self.left_in_look(at).map(threshold));
        EstimateLimit::of(&thresholds).nodes
    }

    pub(super) fn candidates<'b>(&'b self, weighed: &'b [Weighed]) -> Vec<Candidate<'b>> {
        let candidate = |option: &'b Weighed| {
            Some(Candidate {
                group: self.groups.get(option.group)?,
                nodes: option.nodes,
                pods: option.pods,
                requests: &option.requests,
            })
        };
        weighed.iter().filter_map(candidate).collect()
    }
}
