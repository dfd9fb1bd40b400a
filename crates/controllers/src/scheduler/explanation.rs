//! Why a pod runs where it runs, or fits nowhere: decided anew from lists of objects, so that it can
//! be asked of any cluster.

use super::surroundings::{like, limits};
use crate::devices::{ClaimObject, ClassObject, SliceObject, TemplateObject};
use crate::facts;
use crate::pods::{
    BudgetView, ClaimView, ClassView, NamespaceView, NodeView, PodView, ReplicaSetView,
    ReplicationControllerView, Selector, ServiceView, StatefulSetView, VolumeView,
};
use crate::runtime::{Cached, Change, Full};
use k8s_openapi::api::storage::v1::CSINode;
use plimsoll_engine::placement::{
    self as engine, BudgetFacts, Choice, Decision, Failure, LabelSelector, NodeFacts, PodFacts,
    PodSpec, Preemption, ScoreSheet, Snapshot, decide, preempt,
};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a decision about a pod rests on. What cannot be read may be left out.
#[derive(Debug, Default)]
pub struct Lists {
    /// Nodes.
    pub nodes: Vec<NodeView>,
    /// Pods of all namespaces.
    pub pods: Vec<PodView>,
    /// Namespaces.
    pub namespaces: Vec<NamespaceView>,
    /// Claims.
    pub claims: Vec<ClaimView>,
    /// Volumes.
    pub volumes: Vec<VolumeView>,
    /// Storage classes.
    pub classes: Vec<ClassView>,
    /// Disruption budgets.
    pub budgets: Vec<BudgetView>,
    /// Services.
    pub services: Vec<ServiceView>,
    /// ReplicaSets.
    pub replica_sets: Vec<ReplicaSetView>,
    /// StatefulSets.
    pub stateful_sets: Vec<StatefulSetView>,
    /// ReplicationControllers.
    pub replication_controllers: Vec<ReplicationControllerView>,
    /// What nodes' CSI drivers can do.
    pub csi_nodes: Vec<Full<CSINode>>,
    /// Devices, where pods claim any.
    pub devices: DeviceLists,
    /// The lists that could not be read, by their plural names.
    pub unread: Vec<String>,
}

/// Devices, and claims to them.
#[derive(Debug, Default)]
pub struct DeviceLists {
    /// Claims.
    pub claims: Vec<ClaimObject>,
    /// Templates of claims.
    pub templates: Vec<TemplateObject>,
    /// Classes.
    pub classes: Vec<ClassObject>,
    /// Slices.
    pub slices: Vec<SliceObject>,
}

/// Without all of these, nothing can be said about a pod's devices.
const DEVICES: [&str; 4] = [
    "resourceclaims",
    "resourceclaimtemplates",
    "deviceclasses",
    "resourceslices",
];

/// Without all of these, nothing can be said about a pod's volumes.
const STORAGE: [&str; 3] = [
    "persistentvolumeclaims",
    "persistentvolumes",
    "storageclasses",
];

impl Lists {
    fn knows(&self, kinds: &[&str]) -> bool {
        let unread = |name: &String| kinds.contains(&name.as_str());
        !self.unread.iter().any(unread)
    }

    /// What the pod asks for, as the scheduler has it.
    pub fn spec_of(&self, pod: &PodView) -> PodSpec {
        let own = pod.placement.topology_spread_constraints.as_ref();
        let default = own.is_none().then(|| self.default_spread(pod));
        self.known_of(facts::spec_of(pod, default.flatten()))
    }

    /// What a pod that has a node asks for.
    pub fn placed_spec_of(&self, pod: &PodView) -> PodSpec {
        self.known_of(facts::spec_of(pod, None))
    }

    /// Without what nothing can be said about.
    fn known_of(&self, mut spec: PodSpec) -> PodSpec {
        if !self.knows(&STORAGE) {
            spec.claims.clear();
        }
        if !self.knows(&DEVICES) {
            spec.devices.clear();
        }
        spec
    }

    fn default_spread(&self, pod: &PodView) -> Option<LabelSelector> {
        let namespace = pod.meta.namespace();
        let services = self.services.iter();
        let services = services.filter(|service| service.meta.namespace() == namespace);
        let owner = pod.meta.controller();
        let owner = owner.and_then(|owner| match &*owner.kind {
            "ReplicaSet" => find(&self.replica_sets, (namespace, &owner.name))?
                .selector
                .as_ref(),
            "StatefulSet" => find(&self.stateful_sets, (namespace, &owner.name))?
                .selector
                .as_ref(),
            "ReplicationController" => {
                let found = find(&self.replication_controllers, (namespace, &owner.name))?;
                found.0.selector.as_ref()
            }
            _ => None,
        });
        like(
            pod,
            services,
            owner.map(|own: &Selector| facts::selector(own)),
        )
    }
}

fn find<'a, V: Cached>(list: &'a [V], (namespace, name): (&str, &str)) -> Option<&'a V> {
    let mut list = list.iter();
    list.find(|one| one.meta().namespace() == namespace && one.meta().name() == name)
}

/// Where a pod stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Standing {
    /// It has a node.
    Scheduled,
    /// It waits for one.
    Pending,
    /// It waits behind scheduling gates.
    Gated,
    /// Another scheduler is to find it a node.
    Foreign,
    /// It is being deleted without ever having had a node.
    Terminating,
    /// It ended.
    Finished,
}

/// Nodes that refuse for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// As the scheduler's message words it.
    pub reason: String,
    /// The nodes; empty if it holds whatever the node.
    pub nodes: Vec<String>,
    /// What would lift it.
    pub lift: String,
}

/// A node that would take the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scored {
    /// The node.
    pub node: String,
    /// Its weighted scores.
    pub scores: ScoreSheet,
}

/// What preemption could do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Where room would be made.
    pub node: String,
    /// Who would have to go, as `NAMESPACE/NAME (priority N)`.
    pub victims: Vec<String>,
    /// How many of them a disruption budget protects.
    pub violations: usize,
    /// From how many nodes this one was chosen.
    pub candidates: usize,
}

/// The explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Where it stands.
    pub standing: Standing,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The node that is being cleared for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nominated_node: Option<String>,
    /// One sentence.
    pub summary: String,
    /// Nodes that would take it, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fitting: Vec<Scored>,
    /// Why the others would not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<Obstacle>,
    /// What preemption could do, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preemption: Option<Room>,
    /// What could not be read and is left out, by plural names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// Explains one pod; `None` if it is not in the lists.
pub fn explain(lists: &Lists, namespace: &str, name: &str) -> Option<Explanation> {
    let mut pods = lists.pods.iter();
    let pod = pods.find(|pod| pod.meta.namespace() == namespace && pod.meta.name() == name)?;
    let standing = standing(pod);
    let mut explanation = Explanation {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        standing,
        node: pod.node.as_ref().map(ToString::to_string),
        nominated_node: pod
            .placement
            .nominated_node
            .as_ref()
            .map(ToString::to_string),
        summary: String::new(),
        fitting: Vec::new(),
        obstacles: Vec::new(),
        preemption: None,
        unread: lists.unread.clone(),
    };
    if let Some(summary) = settled(pod, standing) {
        explanation.summary = summary;
        return Some(explanation);
    }
    let mut snapshot = snapshot(lists);
    // As if it were not there: what would be decided now?
    snapshot.displace(namespace, name);
    let wanted = facts::of_pod(pod, Arc::new(lists.spec_of(pod)));
    report(&mut explanation, engine::explain(&mut snapshot, &wanted));
    match decide(&mut snapshot, &wanted, 0) {
        Decision::Fits(choice) => {
            explanation.summary = fits(pod, &choice, snapshot.node_count());
        }
        Decision::Nowhere(failure) => {
            explain_failure(&mut explanation, (&mut snapshot, lists), &wanted, &failure);
        }
    }
    Some(explanation)
}

fn standing(pod: &PodView) -> Standing {
    if pod.phase.is_terminal() {
        Standing::Finished
    } else if pod.node.is_some() {
        Standing::Scheduled
    } else if pod.meta.is_deleting() {
        Standing::Terminating
    } else if !gates(pod).is_empty() {
        Standing::Gated
    } else if pod.scheduler.is_some() {
        Standing::Foreign
    } else {
        Standing::Pending
    }
}

/// The names of its scheduling gates.
fn gates(pod: &PodView) -> Vec<String> {
    let raw = pod.placement.scheduling_gates.as_ref();
    let gates: Option<Vec<BTreeMap<String, String>>> =
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let names = gates.unwrap_or_default().into_iter();
    names.filter_map(|mut gate| gate.remove("name")).collect()
}

/// The sentence about a pod for which no node is looked for.
fn settled(pod: &PodView, standing: Standing) -> Option<String> {
    match standing {
        Standing::Finished => Some(format!("it ended ({})", pod.phase.text())),
        Standing::Terminating => Some("it is being deleted and never had a node".to_owned()),
        Standing::Gated => Some(format!(
            "it waits behind scheduling gates: {}",
            gates(pod).join(", ")
        )),
        Standing::Foreign => {
            let scheduler = pod.scheduler.as_deref().unwrap_or_default();
            Some(format!("scheduler {scheduler:?} is to find it a node"))
        }
        Standing::Scheduled | Standing::Pending => None,
    }
}

/// The nodes with what runs on them, as placement knows them.
pub fn snapshot(lists: &Lists) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for namespace in &lists.namespaces {
        let labels = namespace.meta.labels.iter();
        let labels = labels.map(|(k, v)| (k.to_string(), v.to_string()));
        snapshot.set_namespace(namespace.meta.name(), Some(labels.collect()));
    }
    let classes = lists.classes.iter().map(facts::of_class);
    classes.for_each(|class| snapshot.set_class(class));
    let volumes = lists.volumes.iter().map(facts::of_volume);
    volumes.for_each(|volume| snapshot.set_volume(volume));
    let claims = lists.claims.iter().map(facts::of_claim);
    claims.for_each(|claim| snapshot.set_claim(claim));
    let pools = take_devices(&mut snapshot, &lists.devices);
    for node in &lists.nodes {
        let csi = find(&lists.csi_nodes, ("", node.meta.name()));
        let limits = csi.map(limits).unwrap_or_default();
        snapshot.set_node(NodeFacts {
            pools: pools.of_node(node.meta.name()),
            ..facts::of_node(node, limits)
        });
    }
    for pod in lists.pods.iter().filter(|pod| !pod.phase.is_terminal()) {
        let placement = (&pod.node, &pod.placement.nominated_node);
        let facts = || facts::of_pod(pod, Arc::new(facts::spec_of(pod, None)));
        match placement {
            (Some(node), _) => snapshot.place(node, facts()),
            (None, Some(node)) => snapshot.nominate(node, facts()),
            (None, None) => {}
        }
    }
    snapshot
}

/// Takes devices over as if they had just come.
fn take_devices(snapshot: &mut Snapshot, lists: &DeviceLists) -> facts::Pools {
    fn came<V: Cached + Clone>(object: &V) -> Change<V> {
        Change {
            key: object.meta().key.clone(),
            old: None,
            new: Some(Arc::new(object.clone())),
        }
    }
    let DeviceLists {
        claims,
        templates,
        classes,
        slices,
    } = lists;
    let mut pools = facts::Pools::default();
    let classes = classes.iter().map(came);
    classes.for_each(|change| facts::take_device_class(snapshot, &change));
    let templates = templates.iter().map(came);
    templates.for_each(|change| facts::take_template(snapshot, &change));
    let claims = claims.iter().map(came);
    claims.for_each(|change| facts::take_claim(snapshot, &change));
    let slices = slices.iter().map(came);
    slices.for_each(|change| drop(pools.take(snapshot, &change)));
    pools
}

fn fits(pod: &PodView, choice: &Choice, nodes: usize) -> String {
    let Choice {
        node,
        score,
        fitting,
        equals,
    } = choice;
    let best = if *equals > 1 {
        format!("{equals} of them score best ({score}), {node} among them")
    } else {
        format!("{node} scores best ({score})")
    };
    match &pod.node {
        None => format!("it fits on {fitting} of {nodes} nodes; {best}"),
        Some(own) => format!(
            "it runs on {own}; decided now, {fitting} of {nodes} nodes would take it: {best}"
        ),
    }
}

/// Takes over every node's answer, grouped.
fn report(explanation: &mut Explanation, answers: engine::Explanation) {
    let mut grouped: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    if let Some(reason) = answers.whole {
        let lift = "nothing on a node can help".to_owned();
        grouped.insert((reason.to_string(), lift), Vec::new());
    }
    for answer in answers.nodes {
        for obstacle in &answer.obstacles {
            let group = (obstacle.reason.to_string(), obstacle.remedy.to_string());
            grouped.entry(group).or_default().push(answer.node.clone());
        }
        if let Some(scores) = answer.scores {
            let node = answer.node;
            explanation.fitting.push(Scored { node, scores });
        }
    }
    let order = |scored: &Scored| (Reverse(scored.scores.total), scored.node.clone());
    explanation.fitting.sort_by_key(order);
    for ((reason, lift), mut nodes) in grouped {
        nodes.sort();
        explanation.obstacles.push(Obstacle {
            reason,
            nodes,
            lift,
        });
    }
    // Most nodes first.
    let count = |obstacle: &Obstacle| Reverse(obstacle.nodes.len());
    explanation.obstacles.sort_by_key(count);
}

fn explain_failure(
    explanation: &mut Explanation,
    (snapshot, lists): (&mut Snapshot, &Lists),
    wanted: &PodFacts,
    failure: &Failure,
) {
    let budgets: Vec<BudgetFacts> = lists.budgets.iter().map(facts::of_budget).collect();
    let room = preempt(snapshot, wanted, failure, &budgets, 0);
    let message = failure.message(&room);
    explanation.summary = match &explanation.node {
        Some(node) => format!("it runs on {node}; decided now, no node would take it: {message}"),
        None => message,
    };
    if let Preemption::Helps(plan) = room {
        let victims = plan.victims.iter();
        explanation.preemption = Some(Room {
            violations: plan.violations(),
            victims: victims
                .map(|v| format!("{} (priority {})", v.pod, v.priority))
                .collect(),
            candidates: plan.candidates,
            node: plan.node,
        });
    }
}

#[cfg(test)]
#[path = "explanation_tests.rs"]
mod tests;
