//! The cluster as node autoscaling sees it, changed event by event.

use super::news::{DeviceNews, News, OwnCaches};
use crate::facts;
use crate::pods::{Caches, NodeView, PodView};
use crate::runtime::{Change, ObjectKey};
use crate::scheduler::classes::Classes;
use crate::scheduler::surroundings::limits;
use crate::scheduler::watching::counts_else;
use plimsoll_engine::cluster::{
    ClusterNode, DevicePool, EvictedPod, GroupId, PendingPod, PodsOnNodes, Readiness,
};
use plimsoll_engine::placement::{BudgetFacts, NodeFacts, PodFacts, PodKey, PodSpec, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How soon somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Haste {
    /// Not because of this.
    None,
    /// Within a second or so.
    Calm,
    /// At once.
    Urgent,
}

/// What is known of the cluster.
#[derive(Debug)]
pub(super) struct World {
    /// Nodes and what runs on them.
    pub(super) snapshot: Snapshot,
    /// All nodes by name. Groups, prices and readiness are brought up to date by each look, through
    /// [`World::belongs`] and [`World::judge`].
    pub(super) nodes: BTreeMap<Arc<str>, ClusterNode>,
    /// The same as the cache has them.
    pub(super) views: BTreeMap<Arc<str>, Arc<NodeView>>,
    /// What runs on nodes.
    pub(super) pods: PodsOnNodes,
    /// Pods that the scheduler found no node for.
    pub(super) pending: BTreeMap<ObjectKey, PendingPod>,
    /// Pools of devices.
    pools: facts::Pools,
    /// Disruption budgets.
    budgets: BTreeMap<ObjectKey, BudgetFacts>,
    /// Nodes that came or changed in a way that providers may see.
    pub(super) regrouped: BTreeSet<Arc<str>>,
    /// Whether a DaemonSet changed since somebody looked.
    pub(super) daemons_changed: bool,
    /// Whether a quota changed since somebody looked.
    pub(super) quotas_changed: bool,
    /// The nodes as the look under way sees them, and whether they have changed since.
    listed: Arc<[ClusterNode]>,
    nodes_changed: bool,
    /// The budgets as a list; none when they have changed.
    budget_list: Option<Arc<[BudgetFacts]>>,
    classes: Classes,
    caches: Caches,
    own: OwnCaches,
    gpu_label: &'static str,
    /// Pods of a lower priority are not seen.
    cutoff: i32,
}

impl World {
    /// An empty cluster.
    pub(super) fn new(
        caches: Caches,
        own: OwnCaches,
        gpu_label: &'static str,
        cutoff: i32,
    ) -> Self {
        Self {
            snapshot: Snapshot::default(),
            nodes: BTreeMap::new(),
            views: BTreeMap::new(),
            pods: PodsOnNodes::default(),
            pending: BTreeMap::new(),
            pools: facts::Pools::default(),
            budgets: BTreeMap::new(),
            regrouped: BTreeSet::new(),
            daemons_changed: true,
            quotas_changed: false,
            listed: Arc::default(),
            nodes_changed: false,
            budget_list: None,
            classes: Classes::default(),
            caches,
            own,
            gpu_label,
            cutoff,
        }
    }

    /// Takes in a change.
    pub(super) fn apply(&mut self, news: News) -> Haste {
        match news {
            News::Pod(change) => self.pod_changed(&change),
            News::Node(change) => self.node_changed(&change),
            News::Attachable(node) => self.attachable_changed(&node),
            News::Owner(uid) => self.owner_changed(&uid),
            News::Namespace(change) => {
                let labels = change.new.as_ref().map(|namespace| {
                    let labels = namespace.meta.labels.iter();
                    labels
                        .map(|(k, v)| (k.to_string(), v.to_string()))
                        .collect()
                });
                self.snapshot.set_namespace(&change.key.name, labels);
                Haste::None
            }
            News::Claim(change) => {
                let key = &change.key;
                match &change.new {
                    Some(claim) => self.snapshot.set_claim(facts::of_claim(claim)),
                    None => self.snapshot.remove_claim(&key.namespace, &key.name),
                }
                Haste::Calm
            }
            News::Volume(change) => {
                match &change.new {
                    Some(volume) => self.snapshot.set_volume(facts::of_volume(volume)),
                    None => self.snapshot.remove_volume(&change.key.name),
                }
                Haste::Calm
            }
            News::Class(change) => {
                match &change.new {
                    Some(class) => self.snapshot.set_class(facts::of_class(class)),
                    None => self.snapshot.remove_class(&change.key.name),
                }
                Haste::Calm
            }
            News::Devices(news) => self.devices_changed(&news),
            News::Budget(change) => {
                self.budget_list = None;
                match change.new.as_deref().map(facts::of_budget) {
                    Some(budget) => drop(self.budgets.insert(change.key, budget)),
                    None => drop(self.budgets.remove(&change.key)),
                }
                Haste::Calm
            }
            News::Daemons => {
                self.daemons_changed = true;
                Haste::Calm
            }
            News::Buffers => Haste::Calm,
            News::Quotas => {
                self.quotas_changed = true;
                // One that is raised may be what pods wait for.
                Haste::Urgent
            }
            News::Requests => Haste::Urgent,
        }
    }

    /// Which label tells a node's GPU. Some providers say so only once they can be reached.
    pub(super) fn set_gpu_label(&mut self, label: &'static str) {
        if self.gpu_label == label {
            return;
        }
        self.gpu_label = label;
        self.nodes_changed = true;
        for (name, node) in &mut self.nodes {
            if let Some(view) = self.views.get(name) {
                node.gpu = facts::of_cluster_node(view, label).gpu;
            }
        }
    }

    /// All disruption budgets.
    pub(super) fn budgets(&mut self) -> Arc<[BudgetFacts]> {
        let known = self.budget_list.take();
        let list = known.unwrap_or_else(|| self.budgets.values().cloned().collect());
        self.budget_list = Some(Arc::clone(&list));
        list
    }

    /// A node is of this group, and costs so much an hour.
    pub(super) fn belongs(&mut self, node: &str, group: Option<GroupId>, price: Option<f64>) {
        if let Some(node) = self.nodes.get_mut(node) {
            self.nodes_changed |= node.group != group || node.price_per_hour != price;
            (node.group, node.price_per_hour) = (group, price);
        }
    }

    /// Looks anew at whether each node works.
    pub(super) fn judge(&mut self, is: impl Fn(&ClusterNode, &NodeView, &Snapshot) -> Readiness) {
        for (name, node) in &mut self.nodes {
            if let Some(view) = self.views.get(name) {
                let readiness = is(node, view, &self.snapshot);
                self.nodes_changed |= node.readiness != readiness;
                node.readiness = readiness;
            }
        }
    }

    /// All nodes by name as [`World::list`] last found them.
    pub(super) fn listed(&self) -> Arc<[ClusterNode]> {
        Arc::clone(&self.listed)
    }

    /// All nodes by name, for one look. They are copied only if some have changed.
    pub(super) fn list(&mut self) -> Arc<[ClusterNode]> {
        self.count_devices();
        if std::mem::take(&mut self.nodes_changed) {
            self.listed = self.nodes.values().cloned().collect();
        }
        self.listed()
    }

    /// How full the pools of devices are now.
    fn count_devices(&mut self) {
        for (name, node) in &mut self.nodes {
            let pools = self.snapshot.pool_usage(name).into_iter();
            let pools: Vec<DevicePool> = pools.map(DevicePool::from).collect();
            self.nodes_changed |= node.device_pools != pools;
            node.device_pools = pools;
        }
    }

    /// Pods that were evicted, and how many their controllers lack now.
    pub(super) fn evicted(&self, pods: &[Arc<PodView>]) -> Vec<EvictedPod> {
        let evicted = pods.iter().map(|pod| {
            let spec = Arc::new(self.spec_of(pod));
            let owner = self.owner(pod);
            let uid = pod.meta.controller().map(|owner| &owner.uid);
            let missing = owner.0.zip(uid).map(|(wanted, uid)| {
                let pods = self.caches.pods_by_controller.get(uid);
                let there = pods.iter().filter(|pod| pod.is_active()).count();
                wanted.saturating_sub(there)
            });
            EvictedPod {
                pod: facts::of_running(pod, facts::of_pod(pod, spec), owner),
                missing,
            }
        });
        evicted.collect()
    }

    /// Now and then, forgets what no pod shares any more.
    pub(super) fn sweep(&mut self) {
        drop(self.classes.sweep());
    }

    fn node_changed(&mut self, change: &Change<NodeView>) -> Haste {
        let name = &change.key.name;
        let Some(view) = &change.new else {
            self.nodes.remove(name);
            self.nodes_changed = true;
            self.views.remove(name);
            self.regrouped.remove(name);
            self.snapshot.remove_node(name);
            return Haste::Urgent;
        };
        self.views.insert(Arc::clone(name), Arc::clone(view));
        let placement = self.placement_of(view);
        let same_place = self
            .snapshot
            .node(name)
            .is_some_and(|known| known.facts == placement);
        if !same_place {
            self.snapshot.set_node(placement);
        }
        let mut facts = facts::of_cluster_node(view, self.gpu_label);
        let Some(known) = self.nodes.get_mut(name) else {
            self.nodes.insert(Arc::clone(name), facts);
            self.nodes_changed = true;
            self.regrouped.insert(Arc::clone(name));
            return Haste::Urgent;
        };
        let old = change.old.as_deref();
        let relabelled = old.is_none_or(|old| {
            old.meta.labels != view.meta.labels || old.meta.annotations != view.meta.annotations
        });
        if known.provider_id != facts.provider_id || relabelled {
            self.regrouped.insert(Arc::clone(name));
        }
        facts.group.clone_from(&known.group);
        facts.price_per_hour = known.price_per_hour;
        facts.device_pools.clone_from(&known.device_pools);
        // Looks judge it anew.
        facts.readiness = known.readiness;
        let unchanged = facts == *known;
        self.nodes_changed |= !unchanged;
        let same = same_place && unchanged;
        *known = facts;
        if old.map(works) != Some(works(view)) || self.regrouped.contains(name) {
            Haste::Urgent
        } else if same {
            Haste::None
        } else {
            Haste::Calm
        }
    }

    fn devices_changed(&mut self, news: &DeviceNews) -> Haste {
        match news {
            DeviceNews::Claim(change) => facts::take_claim(&mut self.snapshot, change),
            DeviceNews::Template(change) => facts::take_template(&mut self.snapshot, change),
            DeviceNews::Class(change) => facts::take_device_class(&mut self.snapshot, change),
            DeviceNews::Slice(change) => {
                for node in self.pools.take(&mut self.snapshot, change) {
                    self.attachable_changed(&node);
                }
            }
        }
        Haste::Calm
    }

    fn attachable_changed(&mut self, node: &str) -> Haste {
        let Some(view) = self.views.get(node) else {
            return Haste::None;
        };
        let facts = self.placement_of(view);
        self.snapshot.set_node(facts);
        Haste::Calm
    }

    /// What placement needs of a node, with what can be attached to it and its devices.
    fn placement_of(&self, view: &NodeView) -> NodeFacts {
        let name = &view.meta.key.name;
        NodeFacts {
            pools: self.pools.of_node(name),
            ..facts::of_node(view, self.volume_limits(name))
        }
    }

    fn volume_limits(&self, node: &str) -> BTreeMap<String, usize> {
        let known = self.own.csi_nodes.find("", node);
        known.map(|known| limits(&known)).unwrap_or_default()
    }

    fn owner_changed(&mut self, uid: &str) -> Haste {
        for pod in self.caches.pods_by_controller.get(uid) {
            let key = PodKey::new(pod.meta.namespace(), pod.meta.name());
            if let Some(known) = self.pods.pod(&key) {
                let facts = known.pod.clone();
                let owner = self.owner(&pod);
                self.pods.set(facts::of_running(&pod, facts, owner));
            }
        }
        Haste::Calm
    }

    fn pod_changed(&mut self, change: &Change<PodView>) -> Haste {
        let seen = |pod: &&Arc<PodView>| !pod.phase.is_terminal() && pod.priority >= self.cutoff;
        let Some(pod) = change.new.as_ref().filter(seen) else {
            return self.pod_gone(&change.key);
        };
        let old = change.old.as_deref();
        let nominated = pod.placement.nominated_node.as_ref();
        let nominated = nominated.filter(|node| self.nodes.contains_key(*node));
        if let Some(node) = pod.node.clone() {
            self.pod_placed(old, pod, &node)
        } else if let Some(node) = nominated.cloned() {
            self.pending.remove(&change.key);
            let facts = self.facts_of(pod);
            self.snapshot.place(&node, facts);
            Haste::Calm
        } else if is_unschedulable(pod) {
            self.pod_waits(pod)
        } else {
            self.pod_gone(&change.key)
        }
    }

    fn pod_waits(&mut self, pod: &PodView) -> Haste {
        let key = &pod.meta.key;
        let facts = self.facts_of(pod);
        if self.snapshot.node_of(&key.namespace, &key.name).is_some() {
            self.snapshot.displace(&key.namespace, &key.name);
        }
        let pending = facts::of_pending(pod, facts);
        if self.pending.get(key) == Some(&pending) {
            return Haste::None;
        }
        self.pending.insert(key.clone(), pending);
        Haste::Urgent
    }

    fn pod_placed(&mut self, old: Option<&PodView>, pod: &PodView, node: &Arc<str>) -> Haste {
        let key = &pod.meta.key;
        let waited = self.pending.remove(key).is_some();
        let here = self.snapshot.node_of(&key.namespace, &key.name) == Some(node);
        let id = PodKey::new(&key.namespace, &key.name);
        let known = self.pods.pod(&id).filter(|_| here);
        let same = old.is_some_and(|old| !counts_else(old, pod));
        let facts = if let Some(known) = known.filter(|_| same) {
            known.pod.clone()
        } else {
            let facts = self.facts_of(pod);
            self.snapshot.place(node, facts.clone());
            facts
        };
        let owner = self.owner(pod);
        let running = facts::of_running(pod, facts, owner);
        if self.pods.pod(&id) == Some(&running) && !waited {
            return Haste::None;
        }
        self.pods.set(running);
        Haste::Calm
    }

    /// The pod is gone, ended, or nobody has said yet that it fits nowhere.
    fn pod_gone(&mut self, key: &ObjectKey) -> Haste {
        let waited = self.pending.remove(key).is_some();
        let id = PodKey::new(&key.namespace, &key.name);
        let ran = self.pods.remove(&id).is_some();
        let left = self.snapshot.displace(&key.namespace, &key.name).is_some();
        if waited || ran || left {
            Haste::Calm
        } else {
            Haste::None
        }
    }

    /// The caches.
    pub(super) fn caches(&self) -> &Caches {
        &self.caches
    }

    pub(super) fn facts_of(&mut self, pod: &PodView) -> PodFacts {
        let spec = self.spec_of(pod);
        let (_, spec) = self.classes.of(&pod.meta.key.namespace, spec);
        facts::of_pod(pod, spec)
    }

    /// What the pod asks for. Claims to devices do not count where nothing can be known of them.
    fn spec_of(&self, pod: &PodView) -> PodSpec {
        let mut spec = facts::spec_of(pod, None);
        if !self.caches.devices.readable {
            spec.devices.clear();
        }
        spec
    }

    /// Wanted replicas of the pod's controller, and whether it exists.
    fn owner(&self, pod: &PodView) -> (Option<usize>, Option<bool>) {
        let Some(owner) = pod.meta.controller() else {
            return (None, None);
        };
        let (namespace, name) = (pod.meta.namespace(), &*owner.name);
        let count = |replicas: i32| usize::try_from(replicas).unwrap_or(0);
        let caches = &self.caches;
        let replicas = match &*owner.kind {
            "ReplicaSet" => {
                let set = caches.replica_sets.find(namespace, name);
                set.map(|set| Some(count(set.replicas)))
            }
            "ReplicationController" => {
                let controller = caches.replication_controllers.find(namespace, name);
                controller.map(|controller| Some(count(controller.0.replicas)))
            }
            "StatefulSet" => {
                let set = caches.stateful_sets.find(namespace, name);
                set.map(|set| Some(count(set.replicas)))
            }
            "Job" => caches.jobs.all.find(namespace, name).map(|_| None),
            "DaemonSet" => self.own.daemon_sets.find(namespace, name).map(|_| None),
            _ => return (None, None),
        };
        (replicas.flatten(), Some(replicas.is_some()))
    }
}

/// Whether a node is ready, and whether its network is not.
fn works(node: &NodeView) -> (bool, bool) {
    let cut_off = node.condition("NetworkUnavailable");
    (
        node.is_ready(),
        cut_off.is_some_and(|cut_off| cut_off.holds),
    )
}

/// Whether the scheduler found no node for the pod, and it still wants one.
pub(super) fn is_unschedulable(pod: &PodView) -> bool {
    let gates = pod.placement.scheduling_gates.as_ref();
    let is_held = gates.is_some_and(|gates| gates.get() != "[]");
    let scheduled = pod.condition("PodScheduled");
    pod.node.is_none()
        && !pod.meta.is_deleting()
        && !is_held
        && scheduled.is_some_and(|c| !c.holds && &*c.reason == "Unschedulable")
}
