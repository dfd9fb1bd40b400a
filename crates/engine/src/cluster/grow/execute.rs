//! Asking for the nodes of the best option, as far as limits allow.

use super::Look;
use crate::cluster::balance::{Share, balanced};
use crate::cluster::equivalence::Class;
use crate::cluster::estimate::{Estimate, Load, Method, estimate};
use crate::cluster::group::{GroupId, NodeTemplate};
use crate::cluster::pending::PendingPod;
use crate::cluster::plan::{PodVerdict, SkipReason};
use crate::cluster::template;
use crate::cluster::weigh::Weighed;
use crate::placement::{Company, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Look<'_> {
    /// Asks for the nodes of an option, as far as limits allow. Returns whether anything came of it.
    pub(super) fn execute(
        &mut self,
        snapshot: &mut Snapshot,
        option: &Weighed,
        of: (&[PendingPod], &mut Vec<Class>),
    ) -> bool {
        let (pending, classes) = of;
        let shares = self.shares(option);
        let total: usize = shares.iter().map(|(_, nodes)| nodes).sum();
        for (group, nodes) in &shares {
            self.ask(*group, *nodes);
        }
        if total == 0 {
            // A quota that all groups share: others may still have room.
            let reason = self.exhausted(option);
            if let Some(place) = self.standing.skipped.get_mut(option.group) {
                *place = Some(reason);
            }
            return self.standing.options.chooses_again();
        }
        let estimate = self.helped(snapshot, option, (pending, classes), total);
        let groups = shares.iter().filter(|(_, nodes)| *nodes > 0);
        let id = |group: &usize| {
            self.standing
                .groups
                .get(*group)
                .map(|g| GroupId::clone(&g.id))
        };
        let groups: Arc<[GroupId]> = groups.filter_map(|(group, _)| id(group)).collect();
        let load = Load {
            pods: pending,
            classes,
            fitting: &[],
        };
        for pod in estimate
            .pods(&load)
            .into_iter()
            .filter_map(|at| pending.get(at))
        {
            let verdict = PodVerdict::Triggered(Arc::clone(&groups));
            self.plan.pods.insert(pod.pod.key(), verdict);
        }
        let bound = classes.iter().any(|class| class.company == Company::Bound);
        let template = self
            .standing
            .groups
            .get(option.group)
            .and_then(|g| g.template.as_ref());
        if let Some(template) = template.filter(|_| bound) {
            let round = self.plan.options.len();
            commit(snapshot, (template, round), &estimate, (pending, classes));
        }
        for (class, count) in &estimate.placed {
            if let Some(class) = classes.get_mut(*class) {
                class.pods.drain(..*count.min(&class.pods.len()));
            }
        }
        true
    }

    /// What leaves no room for a single node of an option.
    fn exhausted(&self, option: &Weighed) -> SkipReason {
        let mut groups = std::iter::once(&option.group).chain(&option.similar);
        let quota = groups.find_map(|at| {
            let template = self.standing.groups.get(*at)?.template.as_ref()?;
            self.standing.remaining.exceeded(template, 1)
        });
        quota.unwrap_or(SkipReason::MaxSize)
    }

    /// Whether quotas allow all nodes of an option.
    pub(super) fn quotas_allow(&self, option: &Weighed) -> bool {
        let mut remaining = self.standing.remaining.clone();
        let mut nodes = 0_usize;
        for (group, wanted) in self.spread(option, option.nodes) {
            let group = self.standing.groups.get(group);
            if let Some(template) = group.and_then(|group| group.template.as_ref()) {
                let allowed = remaining.allowed(template, wanted);
                remaining.reserve(template, allowed);
                nodes = nodes.saturating_add(allowed);
            }
        }
        nodes >= option.nodes
    }

    /// How many of the option's nodes each group is asked for.
    fn shares(&mut self, option: &Weighed) -> Vec<(usize, usize)> {
        let mut nodes = option.nodes;
        if let Some(room) = self.standing.room_in_cluster().filter(|room| nodes > *room) {
            let most = self.standing.options.max_nodes_total.unwrap_or(0);
            self.say(format!("Capping size to max cluster total size ({most})"));
            nodes = room;
        }
        let mut asked = Vec::new();
        for (group, wanted) in self.spread(option, nodes) {
            let template = self
                .standing
                .groups
                .get(group)
                .and_then(|g| g.template.as_ref());
            let Some(template) = template.filter(|_| wanted > 0) else {
                continue;
            };
            // Parity: what a quota takes from one group is not given to another.
            let allowed = self.standing.remaining.allowed(template, wanted);
            self.standing.remaining.reserve(template, allowed);
            asked.push((group, allowed));
        }
        asked
    }

    /// How many of so many nodes of an option each of its groups would be asked for without quotas.
    fn spread(&self, option: &Weighed, nodes: usize) -> Vec<(usize, usize)> {
        let groups: Vec<usize> = std::iter::once(option.group)
            .chain(option.similar.iter().copied())
            .collect();
        let share = |at: &usize| Share {
            target: self.standing.target(*at),
            max: self
                .standing
                .target(*at)
                .saturating_add(self.standing.room(*at)),
        };
        let shares: Vec<Share> = groups.iter().map(share).collect();
        let targets = balanced(&shares, nodes);
        let each = groups.into_iter().zip(shares).zip(targets);
        each.map(|((group, share), target)| (group, target.saturating_sub(share.target)))
            .collect()
    }

    fn ask(&mut self, group: usize, nodes: usize) {
        if nodes == 0 {
            return;
        }
        self.standing.nodes = self.standing.nodes.saturating_add(nodes);
        if let Some(target) = self.standing.targets.get_mut(group) {
            *target = target.saturating_add(nodes);
        }
        *self.grown.entry(group).or_insert(0) += nodes;
    }

    /// The pods that the nodes really asked for help.
    ///
    /// Departs: upstream counts all pods of the option as helped. Parity: with one round, a cut of the number of nodes leaves the option's pods as helped.
    fn helped(
        &self,
        snapshot: &mut Snapshot,
        option: &Weighed,
        of: (&[PendingPod], &[Class]),
        nodes: usize,
    ) -> Estimate {
        let template = self
            .standing
            .groups
            .get(option.group)
            .and_then(|g| g.template.as_ref());
        let cut = nodes < option.estimate.nodes && self.standing.options.chooses_again();
        let Some(template) = template.filter(|_| cut) else {
            return option.estimate.clone();
        };
        let fitting: Vec<usize> = option
            .estimate
            .placed
            .iter()
            .map(|(class, _)| *class)
            .collect();
        let load = Load {
            pods: of.0,
            classes: of.1,
            fitting: &fitting,
        };
        estimate(snapshot, template, &load, Some(nodes), Method::Best)
    }
}

/// Puts planned nodes with their pods into the snapshot, for the rules of later rounds.
fn commit(
    snapshot: &mut Snapshot,
    of: (&NodeTemplate, usize),
    estimate: &Estimate,
    load: (&[PendingPod], &[Class]),
) {
    let (template, round) = of;
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, node) in estimate.loads.iter().enumerate() {
        let name = format!("planned-{round}-{}-{at}", template.node.name);
        template::put(snapshot, template, &name);
        for (class, count) in node {
            let from = next.entry(*class).or_insert(0);
            let pods = load.1.get(*class).into_iter().flat_map(|class| &class.pods);
            for pod in pods.skip(*from).take(*count) {
                if let Some(pending) = load.0.get(*pod) {
                    snapshot.place(&name, pending.pod.clone());
                }
            }
            *from += count;
        }
    }
}
