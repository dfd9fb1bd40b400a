//! What a new node of a group will be, from what is known of others.

use super::group::{GroupId, NodeTemplate, TemplateSource};
use crate::placement::{
    Effect, HOSTNAME_LABEL, NodeFacts, NodeState, PodFacts, Resources, Snapshot, Taint,
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// The label that marks a node that is only imagined.
pub const TEMPLATE_NODE: &str = "cluster-autoscaler.kubernetes.io/template-node";
/// A node must have been ready for so long before others are expected to be like it.
const STABLE_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// Labels that tell a node's machine type.
const MACHINE_TYPE: [&str; 2] = [
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
];

const STARTUP_PREFIXES: [&str; 2] = [
    "startup-taint.cluster-autoscaler.kubernetes.io/",
    "ignore-taint.cluster-autoscaler.kubernetes.io/",
];
const STATUS_PREFIX: &str = "status-taint.cluster-autoscaler.kubernetes.io/";

/// Taints that belong to one machine, not to its kind.
const OF_ONE_MACHINE: [&str; 13] = [
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.cloudprovider.kubernetes.io/uninitialized",
    "node.cloudprovider.kubernetes.io/shutdown",
    "cloud.google.com/impending-node-termination",
    "NodeWithImpairedVolumes",
];

/// Which taints are not expected on new nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaintRules {
    /// `--startup-taint` and `--ignore-taint`: a node with one is not ready yet.
    pub startup: Vec<String>,
    /// `--startup-taint-prefix` and the built-in prefixes.
    pub startup_prefixes: Vec<String>,
    /// `--status-taint`: says how a node is, and is gone on a new one.
    pub status: Vec<String>,
    /// The built-in prefix of such taints.
    pub status_prefixes: Vec<String>,
}

impl Default for TaintRules {
    fn default() -> Self {
        Self {
            startup: Vec::new(),
            startup_prefixes: STARTUP_PREFIXES.map(str::to_owned).into(),
            status: Vec::new(),
            status_prefixes: vec![STATUS_PREFIX.to_owned()],
        }
    }
}

impl TaintRules {
    /// Whether a node with this taint is not ready yet, whatever its conditions say.
    pub fn is_startup(&self, key: &str) -> bool {
        named(key, &self.startup, &self.startup_prefixes)
    }

    /// Whether the taint is expected on new nodes, too.
    pub fn is_lasting(&self, key: &str) -> bool {
        let of_one_machine = OF_ONE_MACHINE.contains(&key);
        !of_one_machine && !self.is_startup(key) && !named(key, &self.status, &self.status_prefixes)
    }
}

fn named(key: &str, names: &[String], prefixes: &[String]) -> bool {
    names.iter().any(|name| name == key) || prefixes.iter().any(|prefix| key.starts_with(prefix))
}

/// The name of the node that stands for new ones of a group.
pub fn template_name(group: &str) -> String {
    format!("template-node-for-{group}")
}

/// A node as a new one of its group would be: without what belongs to one machine only.
pub fn cleaned(mut node: NodeFacts, group: &str, rules: &TaintRules) -> NodeFacts {
    node.name = template_name(group);
    node.labels.insert(HOSTNAME_LABEL.into(), node.name.clone());
    node.labels.insert(TEMPLATE_NODE.into(), "true".into());
    node.taints
        .retain(|taint: &Taint| rules.is_lasting(&taint.key));
    own_pools(&mut node);
    node
}

/// A template that offers no more than another one, and promises no machine type that it does not:
/// for groups whose next node may be smaller than those that are there.
pub fn no_larger(template: &NodeTemplate, least: &NodeTemplate) -> NodeTemplate {
    let mut bounded = template.clone();
    bounded.node.allocatable = at_most(&template.node.allocatable, &least.node.allocatable);
    bounded.node.max_pods = template.node.max_pods.min(least.node.max_pods);
    bounded.capacity = at_most(&template.capacity, &least.capacity);
    bounded.price_per_hour = least.price_per_hour.or(template.price_per_hour);
    for label in MACHINE_TYPE {
        if bounded.node.labels.get(label) != least.node.labels.get(label) {
            bounded.node.labels.remove(label);
        }
    }
    bounded
}

/// CPU and memory as far as both have them; other things are not told by all providers.
fn at_most(of: &Resources, most: &Resources) -> Resources {
    Resources {
        cpu_milli: of.cpu_milli.min(most.cpu_milli),
        memory_bytes: of.memory_bytes.min(most.memory_bytes),
        ..of.clone()
    }
}

/// The template's node under another name.
pub(super) fn copy(template: &NodeTemplate, name: &str) -> NodeFacts {
    let mut node = template.node.clone();
    name.clone_into(&mut node.name);
    node.labels.insert(HOSTNAME_LABEL.into(), name.to_owned());
    own_pools(&mut node);
    node
}

/// Names the pools of devices of a node that does not exist after it, so that its devices are
/// no other node's.
fn own_pools(node: &mut NodeFacts) {
    for (at, pool) in node.pools.iter_mut().enumerate() {
        pool.name = format!("{}/{at}", node.name).into();
    }
}

/// The template's daemons as the pods of one of its copies.
pub(super) fn daemons<'a>(
    template: &'a NodeTemplate,
    node: &'a str,
) -> impl Iterator<Item = PodFacts> + 'a {
    template.daemons.iter().map(move |pod| PodFacts {
        name: format!("{}-{node}", pod.name).into(),
        started: None,
        ..pod.clone()
    })
}

/// Puts a copy of the template into the snapshot, with its daemons.
pub(super) fn put(snapshot: &mut Snapshot, template: &NodeTemplate, name: &str) {
    snapshot.set_node(copy(template, name));
    for pod in daemons(template, name) {
        snapshot.place(name, pod);
    }
}

/// A live node of a group, as far as templates are concerned.
#[derive(Debug, Clone, Copy)]
pub struct LiveNode<'a> {
    /// What placement knows of it.
    pub node: &'a NodeFacts,
    /// Whether it works.
    pub ready: bool,
    /// Since when it is ready, where known.
    pub ready_since: Option<Timestamp>,
    /// Whether it is being deleted.
    pub being_deleted: bool,
}

impl LiveNode<'_> {
    /// How good an example for new nodes it is; `None` = none at all.
    pub fn rank(&self, now: Timestamp) -> Option<TemplateSource> {
        if self.being_deleted {
            return None;
        }
        let stable = self.ready_since.is_none_or(|since| {
            let age = now.duration_since(since);
            age > STABLE_AFTER
        });
        Some(if self.ready && stable && !self.node.unschedulable {
            TemplateSource::LiveNode
        } else {
            TemplateSource::UnreadyNode
        })
    }
}

/// Chooses among the templates there are: a live node's, a remembered one, the provider's, an
/// unready node's, in this order.
pub fn best(templates: Vec<Arc<NodeTemplate>>) -> Option<Arc<NodeTemplate>> {
    templates.into_iter().min_by_key(|template| template.source)
}

/// The template that a live node makes: its facts cleaned, with the pods every node gets.
///
/// `daemons` are its pods of DaemonSets and mirror pods (and those that DaemonSets would add).
pub fn of_live(
    live: &LiveNode<'_>,
    group: &GroupId,
    daemons: Vec<PodFacts>,
    context: (&TaintRules, Timestamp),
) -> Option<NodeTemplate> {
    let (rules, now) = context;
    let source = live.rank(now)?;
    let mut node = cleaned(live.node.clone(), group, rules);
    // An unready node stands for ready ones.
    node.unschedulable &= source == TemplateSource::UnreadyNode;
    Some(NodeTemplate {
        capacity: node.allocatable.clone(),
        node,
        daemons,
        source,
        price_per_hour: None,
        gpu: None,
    })
}

/// Whether a DaemonSet's pod would run on a new node of the group: everything but resources and
/// ports is asked, as its controller does.
pub fn takes_daemon(snapshot: &Snapshot, pod: &PodFacts, node: &NodeFacts) -> bool {
    let mut roomy = node.clone();
    roomy.allocatable = pod.spec.requests.clone();
    roomy.max_pods = 1;
    // A DaemonSet's pods come in spite of what keeps others away from nodes in trouble.
    roomy.unschedulable = false;
    roomy
        .taints
        .retain(|taint| taint.effect != Effect::PreferNoSchedule);
    let state = NodeState::alone(roomy, &[]);
    snapshot.refusal_alone(&pod.spec, &state).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{node, spec, template};
    use rstest::rstest;

    fn taint(key: &str) -> Taint {
        Taint {
            key: key.into(),
            value: String::new(),
            effect: Effect::NoSchedule,
        }
    }

    #[rstest]
    #[case("example.com/keep", true)]
    #[case("ToBeDeletedByClusterAutoscaler", false)]
    #[case("node.kubernetes.io/memory-pressure", false)]
    #[case("startup-taint.cluster-autoscaler.kubernetes.io/c", false)]
    #[case("status-taint.cluster-autoscaler.kubernetes.io/b", false)]
    fn taints_of_one_machine_are_dropped(#[case] key: &str, #[case] kept: bool) {
        let mut live = node("n1", 1000, 1 << 30);
        live.taints.push(taint(key));
        let node = cleaned(live, "ng1", &TaintRules::default());
        assert_eq!(!node.taints.is_empty(), kept);
        assert_eq!(node.name, "template-node-for-ng1");
        assert_eq!(node.labels[HOSTNAME_LABEL], node.name);
    }

    #[test]
    fn what_is_there_may_be_larger_than_what_comes() {
        let label = "node.kubernetes.io/instance-type";
        let mut live = template("n1", 8000, 16 << 30);
        live.node.labels.insert(label.into(), "m5.2xlarge".into());
        live.node.labels.insert("team".into(), "blue".into());
        let mut least = template("n2", 2000, 32 << 30);
        least.price_per_hour = Some(0.1);
        let found = no_larger(&live, &least);
        let node = &found.node;
        assert_eq!(
            (node.allocatable.cpu_milli, node.allocatable.memory_bytes),
            (2000, 16 << 30)
        );
        assert_eq!(found.capacity.cpu_milli, 2000);
        assert_eq!(node.labels.get(label), None);
        assert_eq!(node.labels["team"], "blue");
        assert_eq!(
            (found.source, found.price_per_hour),
            (live.source, Some(0.1))
        );
    }

    #[test]
    fn only_a_node_that_has_been_ready_for_a_while_is_an_example() {
        let facts = node("n1", 1000, 1 << 30);
        let now = Timestamp::from_second(1000).unwrap();
        let live = |ready: bool, since: i64| LiveNode {
            node: &facts,
            ready,
            ready_since: Some(Timestamp::from_second(since).unwrap()),
            being_deleted: false,
        };
        assert_eq!(live(true, 939).rank(now), Some(TemplateSource::LiveNode));
        assert_eq!(live(true, 940).rank(now), Some(TemplateSource::UnreadyNode));
        assert_eq!(live(false, 0).rank(now), Some(TemplateSource::UnreadyNode));
        let going = LiveNode {
            being_deleted: true,
            ..live(true, 0)
        };
        assert_eq!(going.rank(now), None);
    }

    #[test]
    fn daemons_come_where_selector_and_taints_let_them() {
        let snapshot = Snapshot::default();
        let mut selective = spec(100, 1);
        selective.node_selector.insert("disk".into(), "ssd".into());
        let pod = PodFacts::new("kube-system", "agent", selective);
        let mut on = node("n1", 50, 1 << 30);
        assert!(!takes_daemon(&snapshot, &pod, &on));
        on.labels.insert("disk".into(), "ssd".into());
        // Room is not asked for: the pod is counted on the node in any case.
        assert!(takes_daemon(&snapshot, &pod, &on));
        on.taints.push(taint("dedicated"));
        assert!(!takes_daemon(&snapshot, &pod, &on));
    }
}
