//! Small clusters.

use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::cluster::{
    ClusterNode, Deletions, GroupFacts, GroupId, GroupOptions, KeepReason, NodeTemplate,
    NodeVerdict, OwnerKind, Planner, PodOwner, PodsOnNodes, RunningPod, ShrinkInput, ShrinkOptions,
    ShrinkPlan, TemplateSource,
};
use plimsoll_engine::placement::{
    BudgetFacts, LabelSelector, NodeFacts, PodFacts, PodSpec, Requirement, Resources, Snapshot,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const GIB: i64 = 1 << 30;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

/// A pod of a ReplicaSet with this request of CPU.
pub(crate) fn pod(name: &str, node: &str, cpu: i64) -> RunningPod {
    let spec = PodSpec {
        labels: [("app".to_owned(), "web".to_owned())].into(),
        requests: Resources::of(cpu, 0),
        ..PodSpec::default()
    };
    RunningPod {
        pod: PodFacts::new("default", name, spec),
        node: node.into(),
        owner: Some(owner(OwnerKind::ReplicaSet)),
        created: Some(at(0)),
        grace_seconds: 30,
        ..RunningPod::default()
    }
}

pub(crate) fn owner(kind: OwnerKind) -> PodOwner {
    PodOwner {
        kind,
        name: "web".into(),
        uid: "web-uid".into(),
        replicas: Some(3),
        exists: Some(true),
    }
}

pub(crate) fn annotated(mut pod: RunningPod, key: &str, value: &str) -> RunningPod {
    pod.annotations.insert(key.into(), value.into());
    pod
}

/// A budget over all pods of [`pod`].
pub(crate) fn budget(allowed: i32) -> BudgetFacts {
    BudgetFacts {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        selector: Some(LabelSelector {
            requirements: vec![Requirement::equals("app", "web")],
        }),
        allowed,
        ..BudgetFacts::default()
    }
}

pub(crate) fn group(id: &str, min: usize, target: usize) -> GroupFacts {
    GroupFacts {
        id: id.into(),
        min,
        max: 1000,
        target,
        exists: true,
        options: GroupOptions::default(),
        template: None,
    }
}

/// What a new node of one core will be.
pub(crate) fn template(price_per_hour: Option<f64>) -> Arc<NodeTemplate> {
    let allocatable = Resources::of(1000, GIB);
    Arc::new(NodeTemplate {
        node: NodeFacts {
            name: "template".to_owned(),
            allocatable: allocatable.clone(),
            max_pods: 110,
            ..NodeFacts::default()
        },
        capacity: allocatable,
        daemons: Vec::new(),
        source: TemplateSource::LiveNode,
        price_per_hour,
        gpu: None,
    })
}

/// A cluster of one group, looked at again and again.
pub(crate) struct Cluster {
    pub(crate) snapshot: Snapshot,
    pub(crate) nodes: Vec<ClusterNode>,
    pub(crate) pods: PodsOnNodes,
    pub(crate) groups: Vec<GroupFacts>,
    pub(crate) budgets: Vec<BudgetFacts>,
    pub(crate) deletions: Deletions,
    pub(crate) expected: BTreeMap<Arc<str>, Vec<PodFacts>>,
    pub(crate) cannot_grow: BTreeSet<GroupId>,
    pub(crate) options: ShrinkOptions,
    pub(crate) planner: Planner,
}

impl Cluster {
    /// Nodes `n1`… of one core each.
    pub(crate) fn of(count: usize) -> Self {
        let mut cluster = Self {
            snapshot: Snapshot::default(),
            nodes: Vec::new(),
            pods: PodsOnNodes::default(),
            groups: vec![group("ng", 0, count)],
            budgets: Vec::new(),
            deletions: Deletions::default(),
            expected: BTreeMap::new(),
            cannot_grow: BTreeSet::new(),
            options: ShrinkOptions::default(),
            planner: Planner::default(),
        };
        for number in 1..=count {
            cluster.add_node(&format!("n{number}"), "ng");
        }
        cluster
    }

    pub(crate) fn add_node(&mut self, name: &str, group: &str) {
        let allocatable = Resources::of(1000, GIB);
        self.nodes.push(ClusterNode {
            name: name.into(),
            group: Some(group.into()),
            created: Some(at(0)),
            allocatable: allocatable.clone(),
            allocatable_known: true,
            capacity: allocatable.clone(),
            ..ClusterNode::default()
        });
        self.snapshot.set_node(NodeFacts {
            name: name.to_owned(),
            allocatable,
            max_pods: 110,
            ..NodeFacts::default()
        });
    }

    pub(crate) fn add(&mut self, pods: impl IntoIterator<Item = RunningPod>) {
        for pod in pods {
            self.snapshot.place(&pod.node, pod.pod.clone());
            self.pods.set(pod);
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.snapshot.displace("default", name);
        self.pods
            .remove(&plimsoll_engine::placement::PodKey::new("default", name));
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut ClusterNode {
        let node = self.nodes.iter_mut().find(|node| &*node.name == name);
        node.expect("a node of the cluster")
    }

    pub(crate) fn look(&mut self, second: i64) -> ShrinkPlan {
        self.planner.look(ShrinkInput {
            snapshot: &mut self.snapshot,
            nodes: &self.nodes,
            pods: &self.pods,
            groups: &self.groups,
            budgets: &self.budgets,
            in_progress: &self.deletions,
            expected: &self.expected,
            cannot_grow: &self.cannot_grow,
            options: &self.options,
            cooldown: None,
            now: at(second),
        })
    }

    /// What is thought of a node at this second.
    pub(crate) fn verdict(&mut self, node: &str, second: i64) -> NodeVerdict {
        self.look(second)
            .nodes
            .get(node)
            .cloned()
            .expect("a verdict")
    }
}

/// Names of the nodes that go.
pub(crate) fn going(plan: &ShrinkPlan) -> (Vec<String>, Vec<String>) {
    let names = |removals: &[plimsoll_engine::cluster::Removal]| {
        removals.iter().map(|r| r.node.to_string()).collect()
    };
    (names(&plan.empty), names(&plan.drain))
}

/// Upstream's name of why a node stays, whether unneeded or not; empty if it goes.
pub(crate) fn reason(verdict: &NodeVerdict) -> &'static str {
    match verdict {
        NodeVerdict::Kept(why) => why.name(),
        NodeVerdict::Unneeded { waiting, .. } => waiting.as_ref().map_or("", KeepReason::name),
    }
}

pub(crate) fn is_unneeded(verdict: &NodeVerdict) -> bool {
    matches!(verdict, NodeVerdict::Unneeded { .. })
}
