//! A cluster as it is now: what its API has, and what the node autoscaler tells, where there is one.

use super::{groups, money};
use crate::explain::{list, lists};
use crate::reach::Cluster;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::Job;
use plimsoll_controllers::facts;
use plimsoll_controllers::pods::{NodeView, PodView};
use plimsoll_controllers::runtime::{Cached, Full};
use plimsoll_controllers::scheduler::explanation::{Lists, snapshot};
use plimsoll_engine::cluster::{
    ClusterNode, DevicePool, GroupFacts, GroupId, GroupOptions, GrowthOptions, PodsOnNodes,
    ShrinkOptions, TaintRules,
};
use plimsoll_engine::placement::{BudgetFacts, Snapshot};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where explanations are served.
pub(crate) const EXPLANATIONS: &str = "/apis/explain.plimsoll.dev/v1alpha1";
/// Labels of nodes with GPUs, by provider, where nobody tells which one counts.
const GPU_LABELS: [&str; 3] = [
    "k8s.amazonaws.com/accelerator",
    "cluster-api/accelerator",
    "cloud.google.com/gke-accelerator",
];

/// Everything that decisions about nodes rest on.
pub(crate) struct Picture {
    /// The cluster's objects.
    pub(crate) lists: Lists,
    /// Nodes as removal sees them.
    pub(crate) nodes: BTreeMap<Arc<str>, ClusterNode>,
    /// What runs on them.
    pub(crate) pods: PodsOnNodes,
    /// Disruption budgets.
    pub(crate) budgets: Vec<BudgetFacts>,
    /// Node groups, where somebody tells them.
    pub(crate) groups: BTreeMap<GroupId, GroupFacts>,
    /// What the node autoscaler thinks of each node.
    pub(crate) told: Told,
    /// What it tells of each group.
    pub(crate) told_groups: Told,
    /// Its flags, as far as they are told; else upstream's defaults.
    pub(crate) options: ShrinkOptions,
    /// The same about growth.
    pub(crate) growth: GrowthOptions,
    /// When.
    pub(crate) now: Timestamp,
}

/// Explanations by name.
type Told = BTreeMap<String, Value>;

/// What owns pods, beside what [`Lists`] have; `None` where it could not be read.
#[derive(Debug, Default)]
struct Owners {
    jobs: Option<BTreeSet<(String, String)>>,
    daemon_sets: Option<BTreeSet<(String, String)>>,
}

impl Picture {
    /// Reads a cluster.
    pub(crate) async fn read(cluster: &Cluster, now: Timestamp) -> anyhow::Result<Self> {
        let lists = lists(cluster).await?;
        let owners = Owners {
            jobs: names::<Job>(cluster, "/apis/batch/v1/jobs").await,
            daemon_sets: names::<DaemonSet>(cluster, "/apis/apps/v1/daemonsets").await,
        };
        let mut picture = Self::of(lists, &owners, now);
        if let Ok((nodes, groups)) = told(cluster).await {
            picture.take_in(nodes, groups);
        } else {
            picture.take_in(Told::new(), Told::new());
            picture.lists.unread.push("explanations".to_owned());
        }
        Ok(picture)
    }

    fn of(mut lists: Lists, owners: &Owners, now: Timestamp) -> Self {
        // Looked up by name for every pod and node.
        sort(&mut lists.nodes);
        sort(&mut lists.replica_sets);
        sort(&mut lists.stateful_sets);
        sort(&mut lists.replication_controllers);
        let nodes = lists.nodes.iter().map(|node| cluster_node(node, now));
        let mut nodes: BTreeMap<_, _> = nodes.map(|node| (Arc::clone(&node.name), node)).collect();
        if !lists.devices.slices.is_empty() {
            let snapshot = snapshot(&lists);
            for (name, node) in &mut nodes {
                let pools = snapshot.pool_usage(name).into_iter();
                node.device_pools = pools.map(DevicePool::from).collect();
            }
        }
        let placed = lists.pods.iter().filter(|pod| pod.node.is_some());
        let living = placed.filter(|pod| !pod.phase.is_terminal());
        let pods = living.map(|pod| {
            let placed = facts::of_pod(pod, Arc::new(lists.placed_spec_of(pod)));
            facts::of_running(pod, placed, owner_of(pod, &lists, owners))
        });
        Self {
            pods: pods.collect(),
            budgets: lists.budgets.iter().map(facts::of_budget).collect(),
            nodes,
            lists,
            groups: BTreeMap::new(),
            told: Told::new(),
            told_groups: Told::new(),
            options: ShrinkOptions::default(),
            growth: GrowthOptions::default(),
            now,
        }
    }

    /// Takes in what the node autoscaler tells.
    fn take_in(&mut self, told: Told, groups: Told) {
        let known = groups.values().filter_map(groups::of_explanation);
        self.groups = known.map(|group| (Arc::clone(&group.id), group)).collect();
        if let Some(options) = groups.values().find_map(groups::drain_options) {
            self.options.drain = options;
        }
        if let Some(options) = groups.values().find_map(groups::growth_options) {
            self.growth = options;
        }
        let flag = |name| groups.values().find_map(|g| groups::removal_flag(g, name));
        if let Some(enabled) = flag("scaleDownUnreadyEnabled") {
            self.options.unready_enabled = enabled;
        }
        if let Some(ignored) = flag("ignoreMirrorPodsUtilization") {
            self.options.ignore_mirror_pods_utilization = ignored;
        }
        let readiness = groups.values().find_map(groups::readiness);
        let (rules, gpu_label) = readiness.map_or_else(
            || (TaintRules::default(), None),
            |(rules, label)| (rules, Some(label)),
        );
        for view in &self.lists.nodes {
            let Some(node) = self.nodes.get_mut(view.meta.name()) else {
                continue;
            };
            let group = told
                .get(view.meta.name())
                .and_then(|told| told.get("group"));
            let group = group.and_then(Value::as_str).map(Arc::from);
            node.group = group.or_else(|| groups::of_labels(view));
            let group = node.group.as_ref().and_then(|id| self.groups.get(id));
            let usual = GroupOptions::default().max_node_startup_time;
            let startup = group.map_or(usual, |group| group.options.max_node_startup_time);
            let label = gpu_label.as_deref().unwrap_or_else(|| label_of_gpus(view));
            node.gpu = facts::of_cluster_node(view, label).gpu;
            node.readiness = facts::readiness(view, label, &rules, (startup, self.now));
            let template = group.and_then(|group| group.template.as_ref());
            let price = template.and_then(|template| template.price_per_hour);
            node.price_per_hour = price.or_else(|| money::listed(view));
        }
        self.told = told;
        self.told_groups = groups;
    }

    /// The nodes with what runs on them, for a what-if.
    pub(crate) fn snapshot(&self) -> Snapshot {
        snapshot(&self.lists)
    }

    /// A node as the API has it.
    pub(crate) fn view(&self, node: &str) -> Option<&NodeView> {
        find(&self.lists.nodes, ("", node))
    }

    /// What the node autoscaler says of a node, in a sentence.
    pub(crate) fn said_of(&self, node: &str) -> Option<&str> {
        self.told.get(node)?.get("summary")?.as_str()
    }

    /// The options that hold for a node.
    pub(crate) fn group_of(&self, node: &ClusterNode) -> Option<&GroupFacts> {
        self.groups.get(node.group.as_ref()?)
    }
}

/// A group of which nothing is known but upstream's defaults.
pub(super) fn any_group() -> GroupFacts {
    GroupFacts {
        id: "".into(),
        min: 0,
        max: usize::MAX,
        target: usize::MAX,
        exists: true,
        options: GroupOptions::default(),
        template: None,
    }
}

/// The provider's label that a node with GPUs carries; empty if it carries none.
fn label_of_gpus(view: &NodeView) -> &'static str {
    let carried = |label: &&&str| view.meta.label(label).is_some();
    GPU_LABELS.iter().find(carried).copied().unwrap_or_default()
}

fn cluster_node(view: &NodeView, now: Timestamp) -> ClusterNode {
    let gpu_label = label_of_gpus(view);
    let young = GroupOptions::default().max_node_startup_time;
    ClusterNode {
        readiness: facts::readiness(view, gpu_label, &TaintRules::default(), (young, now)),
        ..facts::of_cluster_node(view, gpu_label)
    }
}

/// Wanted replicas of a pod's controller, and whether it exists, where that can be told.
fn owner_of(pod: &PodView, lists: &Lists, owners: &Owners) -> (Option<usize>, Option<bool>) {
    let Some(owner) = pod.meta.controller() else {
        return (None, None);
    };
    let namespace = pod.meta.namespace();
    let was_read = |plural: &str| !lists.unread.iter().any(|name| name == plural);
    let among = |names: &Option<BTreeSet<(String, String)>>| {
        let key = (namespace.to_owned(), owner.name.to_string());
        names.as_ref().map(|names| names.contains(&key))
    };
    match &*owner.kind {
        "ReplicaSet" => {
            let found = find(&lists.replica_sets, (namespace, &owner.name));
            let replicas = found.and_then(|set| usize::try_from(set.replicas).ok());
            (replicas, was_read("replicasets").then_some(found.is_some()))
        }
        "StatefulSet" => {
            let exists = find(&lists.stateful_sets, (namespace, &owner.name)).is_some();
            (None, was_read("statefulsets").then_some(exists))
        }
        "ReplicationController" => {
            let exists = find(&lists.replication_controllers, (namespace, &owner.name)).is_some();
            (None, was_read("replicationcontrollers").then_some(exists))
        }
        "Job" => (None, among(&owners.jobs)),
        "DaemonSet" => (None, among(&owners.daemon_sets)),
        _ => (None, None),
    }
}

fn name_of<V: Cached>(object: &V) -> (&str, &str) {
    (object.meta().namespace(), object.meta().name())
}

fn sort<V: Cached>(list: &mut [V]) {
    list.sort_by(|one, other| name_of(one).cmp(&name_of(other)));
}

/// The object of this namespace and name in a sorted list.
fn find<'a, V: Cached>(list: &'a [V], wanted: (&str, &str)) -> Option<&'a V> {
    let found = list.binary_search_by(|one| name_of(one).cmp(&wanted));
    list.get(found.ok()?)
}

/// Namespaces and names of all objects of a kind; `None` if they may not be read.
async fn names<K>(cluster: &Cluster, path: &str) -> Option<BTreeSet<(String, String)>>
where
    Full<K>: Cached,
{
    let found: Vec<Full<K>> = list(cluster, path).await.ok()?;
    let name = |one: &Full<K>| {
        let meta = one.meta();
        (meta.namespace().to_owned(), meta.name().to_owned())
    };
    Some(found.iter().map(name).collect())
}

/// The explanations of a resource; empty where nobody serves them.
async fn told_list(cluster: &Cluster, plural: &str) -> anyhow::Result<Vec<Value>> {
    let found = cluster.get(&format!("{EXPLANATIONS}/{plural}")).await?;
    let items = found.and_then(|mut list| list.get_mut("items").map(Value::take));
    Ok(match items {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    })
}

fn told_of(items: Vec<Value>) -> Told {
    let named = items.into_iter().filter_map(|item| {
        let name = item.pointer("/metadata/name")?.as_str()?.to_owned();
        Some((name, item))
    });
    named.collect()
}

/// What the node autoscaler tells of nodes and of groups.
async fn told(cluster: &Cluster) -> anyhow::Result<(Told, Told)> {
    let nodes = told_list(cluster, "nodes").await?;
    let groups = told_list(cluster, "nodegroups").await?;
    Ok((told_of(nodes), told_of(groups)))
}

#[cfg(test)]
impl Picture {
    /// A cluster of these objects in which nobody tells anything.
    pub(super) fn of_lists(lists: Lists, now: Timestamp) -> Self {
        let mut picture = Self::of(lists, &Owners::default(), now);
        picture.take_in(Told::new(), Told::new());
        picture
    }

    /// The same with what is told.
    pub(super) fn with_told(mut self, nodes: Vec<Value>, groups: Vec<Value>) -> Self {
        self.take_in(told_of(nodes), told_of(groups));
        self
    }
}
