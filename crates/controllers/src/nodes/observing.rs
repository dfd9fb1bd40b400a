//! What there is: groups, which node belongs to which, and how they are.

use super::actuation::Phase;
use super::calls::late;
use super::memory::key;
use super::options;
use super::registry::Failed;
use super::templates::{Asks, BESIDE};
use super::work::Work;
use crate::facts;
use crate::pods::NodeView;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::nodegroup::{Instance, InstanceState, NodeGroup, NodeRef, ProviderError};
use plimsoll_engine::cluster::{
    ClusterHealth, GroupFacts, GroupId, GroupOptions, GrowthRequest, HealthInput, Readiness,
    Unregistered, health,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Keys of remembered templates begin with this.
const EXAMPLE: &str = "template.";

impl Work {
    /// Asks the provider for its groups.
    pub(super) async fn read_groups(&mut self) -> Result<(), ProviderError> {
        let timeout = self.options.pace.provider_timeout;
        let going = self.actuator.running();
        let read = tokio::time::timeout(timeout, self.provider.groups()).await;
        let groups = read.map_err(|_| late(timeout))??;
        if !same_members(&self.groups, &groups) {
            let all = self.world.views.keys().map(Arc::clone);
            self.world.regrouped = all.collect();
        }
        (self.groups, self.going) = (groups, going);
        Ok(())
    }

    /// Finds the groups of nodes that are new or changed, and their prices. All are asked for at
    /// once: each may take the provider a call.
    pub(super) async fn assign(&mut self) {
        let names = std::mem::take(&mut self.world.regrouped);
        let views: Vec<Arc<NodeView>> = names
            .iter()
            .filter_map(|name| self.world.views.get(name).map(Arc::clone))
            .collect();
        let timeout = self.options.pace.provider_timeout;
        let asked = views.into_iter().map(|view| {
            let provider = Arc::clone(&self.provider);
            async move {
                let node = node_ref(&view);
                let group = tokio::time::timeout(timeout, provider.group_of(&node)).await;
                (view, group.unwrap_or_else(|_| Err(late(timeout))))
            }
        });
        let mut unknown = 0_usize;
        for (view, group) in join_all(asked).await {
            let name = &view.meta.key.name;
            match group {
                Ok(group) => {
                    let price = self.provider.price(&node_object(&view));
                    self.world.belongs(name, group, price);
                }
                Err(error) => {
                    // Where one does not answer, many do not.
                    if unknown == 0 {
                        tracing::warn!(node = %name, %error, "the node's group is not known");
                    }
                    unknown += 1;
                    self.world.regrouped.insert(Arc::clone(name));
                }
            }
        }
        if unknown > 1 {
            tracing::warn!("the groups of {unknown} nodes are not known");
        }
    }

    /// The groups with their options and templates; also brings readiness up to date.
    pub(super) async fn group_facts(&mut self, now: Timestamp) -> Vec<GroupFacts> {
        let options: BTreeMap<GroupId, GroupOptions> = self
            .groups
            .iter()
            .map(|group| {
                let options = options::of_group(&self.options.group, &group.options);
                (Arc::clone(&group.id), options)
            })
            .collect();
        self.age(&options, now);
        if std::mem::take(&mut self.world.daemons_changed) {
            self.templates.set_daemons(&self.own.daemon_sets.list(None));
        }
        let ids: Vec<GroupId> = options.keys().map(Arc::clone).collect();
        let provider = Arc::clone(&self.provider);
        let patience = self.options.pace.provider_timeout;
        let asks = Asks::new(&*provider, patience);
        let templates = self.templates.make(&ids, &self.world, asks, now);
        let mut templates = templates.await;
        let calls = &mut self.calls;
        let groups = self.groups.iter().map(|group| {
            let ordered = calls.ordered(&group.id).unwrap_or(0);
            let target = calls.believed(&group.id, group.target);
            GroupFacts {
                id: Arc::clone(&group.id),
                min: group.min,
                max: group.max,
                target: target.max(ordered),
                exists: true,
                options: options.get(&group.id).cloned().unwrap_or_default(),
                template: templates.remove(&group.id),
            }
        });
        groups.collect()
    }

    /// Some nodes are no longer too young to be unready.
    fn age(&mut self, options: &BTreeMap<GroupId, GroupOptions>, now: Timestamp) {
        let usual = self.options.group.max_node_startup_time;
        let rules = &self.options.templates.taints;
        let gpu_label = self.provider.gpu_label();
        self.world.judge(|node, view, snapshot| {
            let own = node.group.as_ref().and_then(|group| options.get(group));
            let startup = own.map_or(usual, |options| options.max_node_startup_time);
            let readiness = facts::readiness(view, gpu_label, rules, (startup, now));
            let group = node.group.as_ref();
            let group = group.filter(|_| readiness == Readiness::Ready);
            let Some(drivers) = group.and_then(|group| self.templates.drivers(group)) else {
                return readiness;
            };
            // An older node without them is not broken: a driver may be on a part of the group only.
            let awaited = facts::may_become_ready(view, startup, now);
            if awaited && snapshot.lacks_drivers(&node.name, &drivers) {
                Readiness::NotStarted
            } else {
                readiness
            }
        });
    }

    /// Takes in which instances there are. Returns those that could not be made.
    pub(super) fn observe(&mut self, now: Timestamp) -> Vec<Failed> {
        let nodes = self.world.nodes.values();
        let known: BTreeSet<&str> = nodes
            .flat_map(|node| [&*node.provider_id, &*node.name])
            .filter(|id| !id.is_empty())
            .collect();
        self.registry
            .observe(&self.groups, |id| known.contains(id), now)
    }

    /// How the cluster and its groups are.
    pub(super) fn judge(&mut self, groups: &[GroupFacts], now: Timestamp) -> ClusterHealth {
        if std::mem::take(&mut self.adopts) {
            self.adopt(groups, now);
        }
        let nodes = self.world.list();
        let leaving = self.leaving();
        let mut unregistered: BTreeMap<GroupId, Vec<Unregistered>> = BTreeMap::new();
        for (id, known) in &self.registry.unregistered {
            let all = unregistered.entry(Arc::clone(&known.group)).or_default();
            all.push(Unregistered {
                id: Arc::clone(id),
                since: known.since,
            });
        }
        let requests = self.registry.requests.iter();
        let requests = requests.map(|(group, request)| {
            let request = GrowthRequest {
                increase: request.increase,
                since: request.since,
                deadline: request.until,
            };
            (Arc::clone(group), request)
        });
        let backoff = &self.registry.backoff;
        let backed_off = groups.iter().map(|group| &group.id);
        let backed_off = backed_off.filter(|id| backoff.window(id, now).is_some());
        health(&HealthInput {
            nodes: &nodes,
            groups,
            unregistered: &unregistered,
            requests: &requests.collect(),
            leaving: &leaving,
            deleting: &self.deleting(),
            backed_off: &backed_off.map(Arc::clone).collect(),
            options: self.options.health,
            now,
        })
    }

    /// What groups lack at the first look was asked for before the start: it is awaited, not asked
    /// for again.
    ///
    /// Departs: upstream asks again after a restart.
    fn adopt(&mut self, groups: &[GroupFacts], now: Timestamp) {
        let mut there: BTreeMap<&GroupId, usize> = BTreeMap::new();
        let leaving = self.leaving();
        let nodes = self.world.nodes.values();
        let nodes = nodes.filter(|node| !leaving.contains(&node.name));
        for group in nodes.filter_map(|node| node.group.as_ref()) {
            *there.entry(group).or_default() += 1;
        }
        for group in groups {
            let lacks = group
                .target
                .saturating_sub(there.get(&group.id).copied().unwrap_or(0));
            if lacks > 0 && !self.registry.requests.contains_key(&group.id) {
                let patience = group.options.max_node_provision_time;
                self.registry.asked(&group.id, lacks, now, patience);
            }
        }
    }

    /// Removals under way by group.
    fn deleting(&self) -> BTreeMap<GroupId, usize> {
        let mut deleting = BTreeMap::new();
        for running in &self.going {
            if running.phase != Phase::Leaving {
                *deleting.entry(Arc::clone(&running.group)).or_default() += 1;
            }
        }
        deleting
    }

    /// Nodes that are in no group's size any more: the provider has agreed to remove them, or does
    /// not list them among those it has.
    fn leaving(&self) -> BTreeSet<Arc<str>> {
        let going = self.going.iter();
        let going = going.filter(|one| one.phase == Phase::Leaving);
        let mut leaving: BTreeSet<Arc<str>> = going.map(|one| Arc::clone(&one.node)).collect();
        let known: BTreeMap<&str, BTreeSet<&str>> = self
            .groups
            .iter()
            .map(|group| {
                let stays = |i: &&Instance| i.state != Some(InstanceState::Deleting);
                let stays = group.instances.iter().filter(stays);
                (&*group.id, stays.map(|instance| &*instance.id).collect())
            })
            .collect();
        // Some providers do not list what they have.
        if self.groups.iter().all(|group| group.instances.is_empty()) {
            return leaving;
        }
        for node in self.world.nodes.values() {
            let group = node.group.as_ref().and_then(|group| known.get(&**group));
            let is_there = |all: &BTreeSet<&str>| {
                all.contains(&*node.provider_id) || all.contains(&*node.name)
            };
            if group.is_some_and(|all| !is_there(all)) {
                leaving.insert(Arc::clone(&node.name));
            }
        }
        leaving
    }

    /// How long instances of a group may take to become nodes.
    pub(super) fn provision_time(&self, group: &str) -> SignedDuration {
        let found = self.groups.iter().find(|known| *known.id == *group);
        let own = found.and_then(|group| group.options.max_node_provision_time);
        own.unwrap_or(self.options.group.max_node_provision_time)
    }

    /// What nodes of each group were like when an earlier life saw them.
    pub(super) fn recall_examples(&mut self) {
        self.templates.set_daemons(&self.own.daemon_sets.list(None));
        for saved in self.memory.keys(EXAMPLE) {
            let Some(example) = self.memory.get::<Value>(&saved) else {
                continue;
            };
            if let Some(group) = example.get("group").and_then(Value::as_str) {
                let group: GroupId = group.into();
                let label = self.provider.gpu_label();
                let snapshot = &self.world.snapshot;
                self.templates.recall(group, &example, (snapshot, label));
            }
        }
    }

    /// Notes what a restart must not forget.
    pub(super) fn remember(&mut self) {
        self.memory.set("requests", &self.registry);
        self.memory.set("timers", self.planner.memory());
        let mut kept = BTreeSet::new();
        for (group, example) in self.templates.examples() {
            let mut example = example.clone();
            if let Some(map) = example.as_object_mut() {
                map.insert("group".into(), (**group).into());
                if let Some(beside) = self.templates.beside(group) {
                    map.insert(BESIDE.into(), beside.into());
                }
            }
            let key = key(EXAMPLE, group);
            self.memory.set(&key, &example);
            kept.insert(key);
        }
        for gone in self.memory.keys(EXAMPLE).difference(&kept) {
            self.memory.remove(gone);
        }
    }
}

/// Whether both have the same groups with the same instances.
fn same_members(one: &[NodeGroup], other: &[NodeGroup]) -> bool {
    let same = |(one, other): (&NodeGroup, &NodeGroup)| {
        let ids = |group: &NodeGroup| -> Vec<Arc<str>> {
            group.instances.iter().map(|i| Arc::clone(&i.id)).collect()
        };
        one.id == other.id && ids(one) == ids(other)
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// A node, as providers know it.
pub(super) fn node_ref(node: &NodeView) -> NodeRef {
    NodeRef {
        name: Arc::clone(&node.meta.key.name),
        provider_id: Arc::clone(&node.provider_id),
        labels: node.meta.labels.to_vec(),
        annotations: node.meta.annotations.to_vec(),
    }
}

/// The parts of a Node object that its price depends on.
fn node_object(node: &NodeView) -> Value {
    let labels = node.meta.labels.iter();
    let labels: Value = labels
        .map(|(key, value)| (key.to_string(), Value::from(&**value)))
        .collect();
    let capacity = node.capacity.iter();
    let capacity: Value = capacity
        .map(|(name, amount)| (name.to_string(), Value::from(&**amount)))
        .collect();
    json!({
        "metadata": {"name": *node.meta.key.name, "labels": labels},
        "spec": {"providerID": *node.provider_id},
        "status": {"capacity": capacity},
    })
}
