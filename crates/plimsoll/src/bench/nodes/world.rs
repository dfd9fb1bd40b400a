//! Clusters to measure decisions about nodes with.

use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::cluster::{
    ClusterNode, GroupFacts, GroupId, GroupOptions, NodeTemplate, OwnerKind, PendingPod, PodOwner,
    PodsOnNodes, Readiness, Removal, RunningPod, TemplateSource,
};
use plimsoll_engine::placement::{
    LabelSelector, NodeFacts, PodFacts, PodSpec, PodTerm, Requirement, Resources, Snapshot,
    SpreadConstraint, WhenUnsatisfiable,
};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";
/// The label that says to which group a node belongs.
pub(super) const POOL: &str = "pool";
pub(super) const MIB: i64 = 1 << 20;

/// When everything begins.
pub(super) const START: Timestamp = Timestamp::UNIX_EPOCH;

/// What the nodes of a group have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    pub(super) cpu_milli: i64,
    pub(super) memory_mebibytes: i64,
    pub(super) max_pods: usize,
}

impl Machine {
    /// Room for 30 pods of [`Class::small`].
    pub(super) const THIRTY: Self = Self {
        cpu_milli: 3_600,
        memory_mebibytes: 16 << 10,
        max_pods: 110,
    };

    fn resources(self) -> Resources {
        Resources::of(self.cpu_milli, self.memory_mebibytes * MIB)
    }
}

/// Pods that are alike.
#[derive(Debug, Clone)]
pub(super) struct Class {
    pub(super) app: Arc<str>,
    pub(super) spec: PodSpec,
    /// The kind that manages them; `None` for bare pods.
    pub(super) owner: Option<OwnerKind>,
}

impl Class {
    /// Replicas of a Deployment.
    pub(super) fn new(app: &str, cpu_milli: i64, memory_mebibytes: i64) -> Self {
        Self {
            app: app.into(),
            spec: PodSpec {
                labels: [("app".to_owned(), app.to_owned())].into(),
                requests: Resources::of(cpu_milli, memory_mebibytes * MIB),
                ..PodSpec::default()
            },
            owner: Some(OwnerKind::ReplicaSet),
        }
    }

    /// A thirtieth of [`Machine::THIRTY`].
    pub(super) fn small(app: &str) -> Self {
        Self::new(app, 120, 256)
    }

    /// The same, only on nodes of this group.
    pub(super) fn on(mut self, pool: &str) -> Self {
        self.spec.node_selector.insert(POOL.into(), pool.into());
        self
    }

    /// The same, no two where the label has the same value.
    pub(super) fn apart(mut self, topology_key: &str) -> Self {
        let term = self.term(topology_key);
        self.spec.pod_anti_affinity.required.push(term);
        self
    }

    /// The same, all where the label has the same value.
    pub(super) fn near(mut self, topology_key: &str) -> Self {
        let term = self.term(topology_key);
        self.spec.pod_affinity.required.push(term);
        self
    }

    /// The same, evenly over the values of the label.
    pub(super) fn spread(mut self, topology_key: &str) -> Self {
        let selector = self.term(topology_key).selector;
        self.spec.spread.push(SpreadConstraint {
            topology_key: topology_key.to_owned(),
            selector,
            when_unsatisfiable: WhenUnsatisfiable::DoNotSchedule,
            ..SpreadConstraint::default()
        });
        self
    }

    fn term(&self, topology_key: &str) -> PodTerm {
        PodTerm {
            selector: Some(LabelSelector {
                requirements: vec![Requirement::equals("app", &self.app)],
            }),
            topology_key: topology_key.to_owned(),
            ..PodTerm::default()
        }
    }

    /// The same, without a controller.
    pub(super) fn bare(mut self) -> Self {
        self.owner = None;
        self
    }

    fn uid(&self) -> Arc<str> {
        format!("uid-{}", self.app).into()
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.spec.hash(&mut hasher);
        hasher.finish()
    }
}

/// Everything a look is given.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) snapshot: Snapshot,
    pub(super) groups: Vec<GroupFacts>,
    pub(super) existing: Vec<ClusterNode>,
    pub(super) pending: Vec<PendingPod>,
    pub(super) running: PodsOnNodes,
    pods: usize,
}

impl World {
    /// A group without nodes.
    pub(super) fn group(&mut self, name: &str, machine: Machine, sizes: (usize, usize)) {
        let node = node_facts("template", name, machine, self.groups.len());
        let template = NodeTemplate {
            node,
            capacity: machine.resources(),
            daemons: Vec::new(),
            source: TemplateSource::Provider,
            price_per_hour: None,
            gpu: None,
        };
        self.groups.push(GroupFacts {
            id: name.into(),
            min: sizes.0,
            max: sizes.1,
            target: 0,
            exists: true,
            options: GroupOptions::default(),
            template: Some(Arc::new(template)),
        });
    }

    /// Nodes of the first group or of any other; returns their places in `existing`.
    pub(super) fn nodes(&mut self, group: usize, machine: Machine, count: usize) -> Range<usize> {
        let first = self.existing.len();
        let Some(facts) = self.groups.get_mut(group) else {
            return first..first;
        };
        facts.target += count;
        let id = GroupId::clone(&facts.id);
        for number in 0..count {
            let name = format!("{id}-{}", first + number);
            self.snapshot
                .set_node(node_facts(&name, &id, machine, number));
            self.existing.push(cluster_node(&name, &id, machine));
        }
        first..first + count
    }

    /// Lets so many pods of a class run on each of these nodes.
    pub(super) fn run(&mut self, nodes: Range<usize>, class: &Class, each: usize) {
        let spec = Arc::new(class.spec.clone());
        let names: Vec<Arc<str>> = (self.existing.get(nodes).unwrap_or_default().iter())
            .map(|node| Arc::clone(&node.name))
            .collect();
        let owner = class.owner.map(|kind| PodOwner {
            kind,
            name: Arc::clone(&class.app),
            uid: class.uid(),
            replicas: Some(names.len() * each),
            exists: Some(true),
        });
        for node in names {
            for _ in 0..each {
                let pod = self.pod(class, &spec);
                self.snapshot.place(&node, pod.clone());
                self.running.set(running_pod(pod, &node, owner.clone()));
            }
        }
    }

    /// Lets so many pods of a class wait.
    pub(super) fn wait(&mut self, class: &Class, count: usize) {
        let spec = Arc::new(class.spec.clone());
        let controller = class.owner.map(|_| class.uid());
        let fingerprint = class.fingerprint();
        for _ in 0..count {
            let pod = self.pod(class, &spec);
            self.pending.push(PendingPod {
                pod,
                created: Some(START),
                controller: controller.clone(),
                of_daemon_set: false,
                priority: None,
                scale_up_delay: None,
                fingerprint,
            });
        }
    }

    fn pod(&mut self, class: &Class, spec: &Arc<PodSpec>) -> PodFacts {
        self.pods += 1;
        let name = format!("{}-{}", class.app, self.pods);
        PodFacts::new("bench", &name, Arc::clone(spec))
    }

    /// Does what a removal says, at once: its pods move, and the node is gone.
    pub(super) fn remove(&mut self, removal: &Removal) {
        for (key, to) in &removal.moves {
            let Some(mut moved) = self.running.remove(key) else {
                continue;
            };
            self.snapshot.displace(&key.namespace, &key.name);
            self.snapshot.place(to, moved.pod.clone());
            moved.node = Arc::clone(to);
            self.running.set(moved);
        }
        self.snapshot.remove_node(&removal.node);
        self.existing.retain(|node| node.name != removal.node);
        let mut groups = self.groups.iter_mut();
        if let Some(group) = groups.find(|group| group.id == removal.group) {
            group.target = group.target.saturating_sub(1);
        }
    }
}

fn node_facts(name: &str, pool: &str, machine: Machine, number: usize) -> NodeFacts {
    let labels = [
        (HOSTNAME, name.to_owned()),
        (ZONE, format!("zone-{}", number % 3)),
        (POOL, pool.to_owned()),
    ];
    NodeFacts {
        name: name.to_owned(),
        labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
        allocatable: machine.resources(),
        max_pods: machine.max_pods,
        ..NodeFacts::default()
    }
}

fn cluster_node(name: &str, group: &GroupId, machine: Machine) -> ClusterNode {
    let long_ago = START.saturating_sub(SignedDuration::from_hours(1)).ok();
    ClusterNode {
        name: name.into(),
        provider_id: format!("bench://{group}/{name}").into(),
        group: Some(GroupId::clone(group)),
        readiness: Readiness::Ready,
        created: long_ago,
        ready_changed: long_ago,
        allocatable: machine.resources(),
        allocatable_known: true,
        capacity: machine.resources(),
        annotations: BTreeMap::new(),
        being_deleted: None,
        candidate: None,
        gpu: None,
        device_pools: Vec::new(),
        price_per_hour: None,
    }
}

fn running_pod(pod: PodFacts, node: &Arc<str>, owner: Option<PodOwner>) -> RunningPod {
    RunningPod {
        pod,
        node: Arc::clone(node),
        owner,
        mirror: false,
        created: Some(START),
        deletion: None,
        grace_seconds: 30,
        terminal: false,
        annotations: BTreeMap::new(),
        local_volumes: Vec::new(),
        priority: None,
    }
}
