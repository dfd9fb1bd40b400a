//! What new nodes of each group will be like: from a node that is ready, from what was remembered
//! of one, from the provider, or else from a node that is not ready (reference §6).

mod asks;
mod example;

use super::options::TemplateOptions;
use super::world::World;
use crate::daemonset::{DaemonSetView, pod_of};
use crate::facts;
use crate::pods::{NodeView, PodView};
use crate::runtime::Cached;
use example::{example, gist, view};
use jiff::Timestamp;
use plimsoll_api::nodegroup::{NodeProvider, ProviderTemplate};
use plimsoll_engine::cluster::{
    GroupId, LiveNode, NodeTemplate, OwnerKind, Readiness, Residents, RunningPod, TemplateSource,
    best_template, cleaned, no_larger, of_live, takes_daemon,
};
use plimsoll_engine::placement::{PodFacts, Snapshot};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use asks::Asks;
pub(super) use example::BESIDE;

/// The templates, and what they were made of.
#[derive(Debug, Default)]
pub(super) struct Templates {
    options: TemplateOptions,
    /// The last live template of each group.
    remembered: BTreeMap<GroupId, Arc<NodeTemplate>>,
    /// What the provider said of each group, and what was made of it.
    provided: BTreeMap<GroupId, (ProviderTemplate, Arc<NodeTemplate>)>,
    /// What was made last: kept where it would be the same.
    made: BTreeMap<GroupId, Arc<NodeTemplate>>,
    /// One pod of each DaemonSet.
    daemons: Vec<PodFacts>,
    /// Nodes that were examples, as they are remembered over restarts.
    examples: BTreeMap<GroupId, Value>,
    /// What the provider said of new nodes when the last example was there, as [`gist`] tells it:
    /// where it says something else now, the example is no example any more.
    beside: BTreeMap<GroupId, String>,
}

impl Templates {
    pub(super) fn new(options: TemplateOptions) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Takes over the pods that DaemonSets would add to new nodes.
    pub(super) fn set_daemons(&mut self, sets: &[Arc<DaemonSetView>]) {
        self.daemons = sets.iter().filter_map(|set| daemon(set)).collect();
        // They are part of what providers' nodes will be.
        self.provided.clear();
    }

    /// Takes over an example that an earlier life has seen.
    pub(super) fn recall(
        &mut self,
        group: GroupId,
        example: &Value,
        (snapshot, gpu_label): (&Snapshot, &str),
    ) {
        let Some(view) = view(example) else {
            return;
        };
        let template = self.of_object(&view, &group, (snapshot, gpu_label));
        let price = example.get("price").and_then(Value::as_f64);
        let template = NodeTemplate {
            source: TemplateSource::Remembered,
            price_per_hour: price,
            ..template
        };
        self.remembered
            .insert(Arc::clone(&group), Arc::new(template));
        if let Some(beside) = example.get(BESIDE).and_then(Value::as_str) {
            self.beside.insert(Arc::clone(&group), beside.to_owned());
        }
        let mut example = example.clone();
        if let Some(map) = example.as_object_mut() {
            // They are added when it is saved.
            map.retain(|key, _| key != BESIDE && key != "group");
        }
        self.examples.insert(group, example);
    }

    /// The drivers of devices that nodes of the group were expected to have when templates were made
    /// last.
    pub(super) fn drivers(&self, group: &str) -> Option<BTreeSet<Arc<str>>> {
        let made = self.made.get(group)?;
        let pools = made.node.pools.iter().filter(|pool| pool.is_there());
        let drivers: BTreeSet<Arc<str>> = pools.map(|pool| Arc::clone(&pool.driver)).collect();
        (!drivers.is_empty()).then_some(drivers)
    }

    /// What the provider said of the group when its last example was there.
    pub(super) fn beside(&self, group: &str) -> Option<&str> {
        self.beside.get(group).map(String::as_str)
    }

    /// What to remember of each group.
    pub(super) fn examples(&self) -> &BTreeMap<GroupId, Value> {
        &self.examples
    }

    /// Makes the templates of these groups. The provider is asked where no node tells, and once
    /// of each group beside its first example.
    pub(super) async fn make(
        &mut self,
        groups: &[GroupId],
        world: &World,
        mut asks: Asks<'_>,
        now: Timestamp,
    ) -> BTreeMap<GroupId, Arc<NodeTemplate>> {
        let mut found = self.of_nodes(world, now);
        let mut made = BTreeMap::new();
        for group in groups {
            let mut candidates = found.remove(group).unwrap_or_default();
            let live = candidates
                .iter()
                .find(|t| t.source == TemplateSource::LiveNode);
            if let Some(live) = live {
                let remembered = NodeTemplate {
                    source: TemplateSource::Remembered,
                    ..(**live).clone()
                };
                self.remembered
                    .insert(Arc::clone(group), Arc::new(remembered));
                if !self.beside.contains_key(group) {
                    let said = asks.template(group).await;
                    let said = said.map_or_else(String::new, |said| gist(&said));
                    self.beside.insert(Arc::clone(group), said);
                }
            } else if let Some(best) = self.without_node(group, world, &mut asks).await {
                candidates.push(best);
            }
            if let Some(template) = best_template(candidates) {
                let template = self.bounded(template, group, world, &mut asks).await;
                let kept = self.made.get(group).filter(|kept| **kept == template);
                let template = kept.map_or(template, Arc::clone);
                made.insert(Arc::clone(group), template);
            }
        }
        let known: BTreeSet<&GroupId> = groups.iter().collect();
        self.remembered.retain(|group, _| known.contains(group));
        self.examples.retain(|group, _| known.contains(group));
        self.provided.retain(|group, _| known.contains(group));
        self.beside.retain(|group, _| known.contains(group));
        self.made.clone_from(&made);
        made
    }

    /// In a group whose machines differ: no more than the provider says each of them has.
    async fn bounded(
        &mut self,
        template: Arc<NodeTemplate>,
        group: &GroupId,
        world: &World,
        asks: &mut Asks<'_>,
    ) -> Arc<NodeTemplate> {
        if template.source == TemplateSource::Provider || !asks.provider.is_uneven(group) {
            return template;
        }
        let Some(said) = asks.template(group).await else {
            return template;
        };
        let least = self.provided(group, world, (said, asks.provider));
        least.map_or_else(
            || Arc::clone(&template),
            |least| Arc::new(no_larger(&template, &least)),
        )
    }

    /// What is remembered of the group's nodes, unless the provider says that new ones will be
    /// different; else what the provider says.
    async fn without_node(
        &mut self,
        group: &GroupId,
        world: &World,
        asks: &mut Asks<'_>,
    ) -> Option<Arc<NodeTemplate>> {
        let said = asks.template(group).await;
        if let Some(known) = self.remembered.get(group).map(Arc::clone) {
            let Some(said) = &said else {
                return Some(known);
            };
            let gist = gist(said);
            match self.beside.get(group) {
                Some(beside) if !beside.is_empty() && *beside != gist => {
                    tracing::info!(%group, "new nodes will not be like the last ones");
                    self.remembered.remove(group);
                    self.examples.remove(group);
                    self.beside.remove(group);
                }
                _ => {
                    self.beside.insert(Arc::clone(group), gist);
                    return Some(known);
                }
            }
        }
        self.provided(group, world, (said?, asks.provider))
    }

    /// The best example among the nodes of each group, as templates.
    fn of_nodes(
        &mut self,
        world: &World,
        now: Timestamp,
    ) -> BTreeMap<GroupId, Vec<Arc<NodeTemplate>>> {
        let mut found: BTreeMap<GroupId, (TemplateSource, Arc<str>)> = BTreeMap::new();
        for node in world.nodes.values() {
            let Some(group) = &node.group else {
                continue;
            };
            let Some(state) = world.snapshot.node(&node.name) else {
                continue;
            };
            let live = LiveNode {
                node: &state.facts,
                ready: node.readiness == Readiness::Ready,
                ready_since: node.ready_changed,
                being_deleted: node.being_deleted.is_some(),
            };
            let Some(rank) = live.rank(now) else {
                continue;
            };
            let better = found.get(group).is_none_or(|(known, _)| rank < *known);
            if better {
                found.insert(Arc::clone(group), (rank, Arc::clone(&node.name)));
            }
        }
        let mut templates = BTreeMap::new();
        for (group, (_, name)) in found {
            if let Some(template) = self.of_node(world, &group, &name, now) {
                templates.insert(group, vec![Arc::new(template)]);
            }
        }
        templates
    }

    fn of_node(
        &mut self,
        world: &World,
        group: &GroupId,
        name: &Arc<str>,
        now: Timestamp,
    ) -> Option<NodeTemplate> {
        let node = world.nodes.get(name)?;
        let state = world.snapshot.node(name)?;
        let live = LiveNode {
            node: &state.facts,
            ready: node.readiness == Readiness::Ready,
            ready_since: node.ready_changed,
            being_deleted: node.being_deleted.is_some(),
        };
        let mut daemons = lasting(world, name);
        if self.options.force_daemons {
            self.add_missing(&mut daemons, world, group, name);
        }
        let rules = &self.options.taints;
        let mut template = of_live(&live, group, daemons, (rules, now))?;
        template.node.unschedulable &= !self.options.from_unschedulable;
        template.capacity = node.capacity.clone();
        template.price_per_hour = node.price_per_hour;
        template.gpu.clone_from(&node.gpu);
        if template.source == TemplateSource::LiveNode
            && let Some(view) = world.views.get(name)
        {
            let example = example(view, node.price_per_hour);
            if self.examples.get(group) != Some(&example) {
                self.examples.insert(Arc::clone(group), example);
            }
        }
        Some(template)
    }

    /// `--force-ds`: pods that DaemonSets have not made on the example yet.
    fn add_missing(
        &self,
        daemons: &mut Vec<PodFacts>,
        world: &World,
        group: &GroupId,
        name: &Arc<str>,
    ) {
        let Some(state) = world.snapshot.node(name) else {
            return;
        };
        let there: BTreeSet<Arc<str>> = world
            .pods
            .on(name)
            .into_iter()
            .flat_map(Residents::pods)
            .filter_map(|pod| pod.owner.as_ref().map(|owner| Arc::clone(&owner.name)))
            .collect();
        let node = cleaned(state.facts.clone(), group, &self.options.taints);
        let missing = self
            .daemons
            .iter()
            .filter(|pod| !there.contains(&pod.name) && takes_daemon(&world.snapshot, pod, &node));
        daemons.extend(missing.cloned());
    }

    /// What the provider says.
    fn provided(
        &mut self,
        group: &GroupId,
        world: &World,
        (said, provider): (ProviderTemplate, &dyn NodeProvider),
    ) -> Option<Arc<NodeTemplate>> {
        if let Some((known, template)) = self.provided.get(group)
            && *known == said
        {
            return Some(Arc::clone(template));
        }
        let Some(view) = view(&said.node) else {
            tracing::warn!(%group, "what the provider says of new nodes is no node");
            return None;
        };
        let template = Arc::new(NodeTemplate {
            price_per_hour: said.price_per_hour.or_else(|| provider.price(&said.node)),
            ..self.of_object(&view, group, (&world.snapshot, provider.gpu_label()))
        });
        self.provided
            .insert(Arc::clone(group), (said, Arc::clone(&template)));
        Some(template)
    }

    /// The template that a node makes that is none of the cluster's.
    fn of_object(
        &self,
        view: &NodeView,
        group: &GroupId,
        (snapshot, gpu_label): (&Snapshot, &str),
    ) -> NodeTemplate {
        let facts = facts::of_cluster_node(view, gpu_label);
        let known = facts::of_node(view, BTreeMap::new());
        let node = cleaned(known, group, &self.options.taints);
        let daemons = self.daemons.iter();
        NodeTemplate {
            capacity: facts.capacity,
            daemons: daemons
                .filter(|pod| takes_daemon(snapshot, pod, &node))
                .cloned()
                .collect(),
            node,
            source: TemplateSource::Provider,
            price_per_hour: None,
            gpu: facts.gpu,
        }
    }
}

/// Pods of a node that every node like it gets.
fn lasting(world: &World, node: &str) -> Vec<PodFacts> {
    let pods = world.pods.on(node).into_iter();
    let pods = pods.flat_map(Residents::pods);
    let comes_with = |pod: &&RunningPod| {
        let owner = pod.owner.as_ref();
        let of_daemon_set = owner.is_some_and(|owner| owner.kind == OwnerKind::DaemonSet);
        (pod.mirror || of_daemon_set) && pod.deletion.is_none()
    };
    pods.filter(comes_with).map(|pod| pod.pod.clone()).collect()
}

/// The pod that a DaemonSet would add to a node, named like the set.
fn daemon(set: &DaemonSetView) -> Option<PodFacts> {
    let mut pod = pod_of(set);
    let meta = pod.get_mut("metadata")?.as_object_mut()?;
    meta.insert("name".into(), set.meta.name().into());
    meta.insert("namespace".into(), set.meta.namespace().into());
    let pod = PodView::from_wire(serde_json::from_value(pod).ok()?);
    let spec = facts::spec_of(&pod, None);
    Some(facts::of_pod(&pod, Arc::new(spec)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_gpu_is_remembered() {
        let mut templates = Templates::default();
        let example = json!({
            "metadata": {"labels": {"gpu": "yes"}},
            "status": {"capacity": {"cpu": "1", "nvidia.com/gpu": "1"},
                "allocatable": {"cpu": "1", "nvidia.com/gpu": "1"}},
            "group": "g", "provider": "abc",
        });
        templates.recall("g".into(), &example, (&Snapshot::default(), "gpu"));
        assert!(templates.remembered["g"].gpu.is_some());
        assert_eq!(templates.beside("g"), Some("abc"));
        assert!(templates.examples["g"].get("provider").is_none());
    }
}
