//! Why each node does or does not take a pod, and what would change that.

use super::decision::{Field, Scored};
use super::filters::{self, Wanted};
use super::node::NodeState;
use super::pod::{HostPort, PodFacts, PodKey, PodSpec};
use super::ranking::Ranking;
use super::refusal::{Refusal, Refused};
use super::rules::Rules;
use super::scores::own_scores;
use super::set::Slot;
use super::shape::ShapeId;
use super::snapshot::Snapshot;
use super::taints::{Effect, Taint};
use plimsoll_quantity::Quantity;
use serde::Serialize;

/// Every node's answer to one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// A reason that holds whatever the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<Refusal>,
    /// The nodes, in the order they came.
    pub nodes: Vec<NodeReport>,
}

/// One node's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// The node.
    pub node: String,
    /// Its weighted scores by plugin, if it fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<ScoreSheet>,
    /// Everything in the way, if it does not. The scheduler's own message names only what the first
    /// rule says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<Obstacle>,
}

/// A fitting node's scores, weights applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoreSheet {
    /// The sum.
    pub total: i64,
    /// TaintToleration.
    pub taint_toleration: i64,
    /// NodeAffinity.
    pub node_affinity: i64,
    /// PodTopologySpread.
    pub pod_topology_spread: i64,
    /// InterPodAffinity.
    pub inter_pod_affinity: i64,
    /// NodeResourcesFit.
    pub node_resources_fit: i64,
    /// NodeResourcesBalancedAllocation.
    pub node_resources_balanced_allocation: i64,
    /// ImageLocality.
    pub image_locality: i64,
}

/// Something in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Obstacle {
    /// The reason, as the scheduler's message has it.
    pub reason: Refusal,
    /// What would lift it.
    pub remedy: Remedy,
}

/// What would lift an obstacle. `Display` says it in a clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "do", content = "with")]
pub enum Remedy {
    /// Make the node schedulable again.
    Uncordon,
    /// Tolerate these taints, or take them off.
    Tolerate(Vec<String>),
    /// Give the node these labels, or ask for less.
    Label(Vec<String>),
    /// Free a resource.
    Free(Shortage),
    /// Use a larger node, or ask for less.
    LargerNode(Shortage),
    /// Free a place for a pod; the node takes this many.
    FreePlace(usize),
    /// Close these host ports on the node.
    FreePorts(Vec<String>),
    /// Move these pods away.
    Move(Vec<PodKey>),
    /// Put a pod of this kind here first; the terms by topology key.
    Precede(Vec<String>),
    /// Free devices, or use a node with more; what each request lacks.
    Devices(Vec<String>),
    /// Change the pod or its storage: nothing on the node can help.
    Nothing,
}

/// How much of a resource is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shortage {
    /// The resource.
    pub resource: String,
    /// What the pod asks for.
    pub wanted: String,
    /// What is free.
    pub free: String,
    /// What the node has.
    pub capacity: String,
    /// What has to become free.
    pub missing: String,
    /// What is kept for pods for which room is being made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<String>,
}

impl std::fmt::Display for Remedy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uncordon => f.write_str("uncordon the node"),
            Self::Tolerate(taints) => write!(f, "tolerate {}", taints.join(", ")),
            Self::Label(labels) => write!(f, "the node lacks {}", labels.join(", ")),
            Self::Free(s) => {
                write!(
                    f,
                    "free {} of {}: {} wanted, {} of {} free",
                    s.missing, s.resource, s.wanted, s.free, s.capacity
                )?;
                match &s.reserved {
                    Some(reserved) => write!(f, ", {reserved} reserved for pods that preempt here"),
                    None => Ok(()),
                }
            }
            Self::LargerNode(s) => write!(
                f,
                "a larger node: {} of {} wanted, the node has {}",
                s.wanted, s.resource, s.capacity
            ),
            Self::FreePlace(max) => write!(f, "the node runs its {max} pods already"),
            Self::FreePorts(ports) => write!(f, "host ports in use: {}", ports.join(", ")),
            Self::Move(pods) => {
                let names: Vec<String> = pods.iter().map(ToString::to_string).collect();
                write!(f, "without {}", names.join(", "))
            }
            Self::Precede(keys) => {
                write!(f, "no such pod runs in the same {}", keys.join(", "))
            }
            Self::Devices(missing) => f.write_str(&missing.join("; ")),
            Self::Nothing => f.write_str("nothing on the node can help"),
        }
    }
}

/// Answers for every node. A pod that is placed already is judged as if it were not: why it is
/// where it is.
pub fn explain(snapshot: &mut Snapshot, pod: &PodFacts) -> Explanation {
    snapshot.fork();
    drop(snapshot.displace_key(&pod.key()));
    let explanation = snapshot.without_nomination(pod, |snapshot| {
        let shape = snapshot.shape_of(pod);
        match snapshot.take_ranking(shape) {
            Ok(ranking) => {
                let explanation = snapshot.reports(shape, &ranking);
                snapshot.keep_ranking(shape, ranking);
                explanation
            }
            Err(reason) => Explanation {
                whole: Some(reason),
                nodes: Vec::new(),
            },
        }
    });
    snapshot.revert();
    explanation
}

impl Snapshot {
    fn reports(&mut self, shape: ShapeId, ranking: &Ranking) -> Explanation {
        let field = self.field(shape, ranking);
        let hard_weight = self.profile.hard_pod_affinity_weight;
        let world = (ranking, &self.live, hard_weight);
        let rules = Rules::of(&mut self.neighbours, shape, world);
        let report = |slot| {
            let state = self.state(slot)?;
            let scores = self.sheet(slot, &field, ranking);
            let obstacles = if scores.is_some() {
                Vec::new()
            } else {
                let refused = self.refused_by((slot, state), ranking, rules.as_ref());
                self.obstacles(refused, &ranking.wanted, state)
            };
            Some(NodeReport {
                node: state.facts.name.clone(),
                scores,
                obstacles,
            })
        };
        Explanation {
            whole: None,
            nodes: self.live.iter().filter_map(report).collect(),
        }
    }

    fn sheet(&self, slot: Slot, field: &Field, ranking: &Ranking) -> Option<ScoreSheet> {
        let at = field.fitting.iter().position(|fitting| *fitting == slot)?;
        let scored: &Scored = field.totals.get(at)?;
        let world = (&self.profile, &self.images, self.node_count());
        let own = own_scores(&ranking.wanted.spec, self.state(slot)?, world);
        let weights = &self.profile.weights;
        Some(ScoreSheet {
            total: scored.total(),
            taint_toleration: scored.taints,
            node_affinity: scored.node_affinity,
            pod_topology_spread: scored.spread,
            inter_pod_affinity: scored.pod_affinity,
            node_resources_fit: weights.fit * own.fit,
            node_resources_balanced_allocation: weights.balanced * own.balanced,
            image_locality: weights.images * own.images,
        })
    }

    /// Everything any rule says against the node.
    fn refused_by(
        &self,
        node: (Slot, &NodeState),
        ranking: &Ranking,
        rules: Option<&Rules>,
    ) -> Vec<Refused> {
        let (slot, state) = node;
        let mut refused = filters::fixed(&ranking.wanted.spec, state);
        refused.extend(ranking.wanted.refusals_of_load(state, self.around()));
        refused.extend(rules.and_then(|rules| rules.refuse(&self.neighbours, slot)));
        refused
    }

    pub(super) fn obstacles(
        &self,
        refused: Vec<Refused>,
        wanted: &Wanted,
        node: &NodeState,
    ) -> Vec<Obstacle> {
        let reasons = refused.into_iter().flat_map(|refused| refused.reasons);
        let obstacle = |reason| Obstacle {
            remedy: self.remedy(&reason, wanted, node),
            reason,
        };
        reasons.map(obstacle).collect()
    }

    fn remedy(&self, reason: &Refusal, wanted: &Wanted, node: &NodeState) -> Remedy {
        let spec = &wanted.spec;
        match reason {
            Refusal::Unschedulable => Remedy::Uncordon,
            Refusal::UntoleratedTaint => Remedy::Tolerate(untolerated(spec, node)),
            Refusal::NotSelected | Refusal::NotNamed | Refusal::OtherNodeNamed => {
                Remedy::Label(unmet(spec, node))
            }
            Refusal::SpreadLabelMissing => Remedy::Label(spread_keys_missing(spec, node)),
            Refusal::PortTaken => {
                let awaited = node.with_nominated(spec.priority);
                Remedy::FreePorts(taken(spec, awaited.as_ref().unwrap_or(node)))
            }
            Refusal::TooManyPods => Remedy::FreePlace(node.facts.max_pods),
            Refusal::Insufficient(resource) => shortage(resource, spec, node),
            Refusal::NearAvoidedPods => Remedy::Move(in_the_way(spec, node, Side::Incoming)),
            Refusal::AvoidedByPods => Remedy::Move(in_the_way(spec, node, Side::Running)),
            Refusal::NotNearRequiredPods => {
                let terms = spec.pod_affinity.required.iter();
                Remedy::Precede(terms.map(|term| term.topology_key.clone()).collect())
            }
            Refusal::ClaimInUse => Remedy::Move(self.users_of_claims(spec)),
            Refusal::NoDevices => {
                let demand = wanted.devices.as_ref();
                let missing = demand.map(|demand| demand.missing(node, &self.devices));
                Remedy::Devices(missing.unwrap_or_default())
            }
            Refusal::TooUneven
            | Refusal::TooManyVolumes
            | Refusal::VolumeElsewhere
            | Refusal::NoVolumeToBind
            | Refusal::VolumeMissing
            | Refusal::OtherVolumeZone
            | Refusal::ClaimNotFound(_)
            | Refusal::ClaimDeleted(_)
            | Refusal::ClaimLost { .. }
            | Refusal::UnboundImmediateClaim
            | Refusal::DevicesElsewhere
            | Refusal::DeviceClaimNotFound(_)
            | Refusal::DeviceClaimDeleted(_)
            | Refusal::DeviceClaimInUse
            | Refusal::DeviceClassMissing { .. }
            | Refusal::DeviceSelector(_)
            | Refusal::DevicesTooHard => Remedy::Nothing,
        }
    }

    fn users_of_claims(&self, spec: &PodSpec) -> Vec<PodKey> {
        let uses = |pod: &&PodFacts| pod.spec.claims.iter().any(|c| spec.claims.contains(c));
        let pods = self.nodes().flat_map(NodeState::pods);
        pods.filter(uses).map(PodFacts::key).collect()
    }
}

/// Whose term it is that keeps two pods apart.
#[derive(Debug, Clone, Copy)]
enum Side {
    Incoming,
    Running,
}

/// Pods on the node itself whose labels or terms clash. (Others in the same place may, too.)
fn in_the_way(spec: &PodSpec, node: &NodeState, side: Side) -> Vec<PodKey> {
    let clashes = |other: &&PodFacts| {
        let (carrier, labels) = match side {
            Side::Incoming => (spec, &other.spec.labels),
            Side::Running => (&*other.spec, &spec.labels),
        };
        let mut terms = carrier.pod_anti_affinity.required.iter();
        terms.any(|term| term.selector.as_ref().is_some_and(|s| s.matches(labels)))
    };
    node.pods().filter(clashes).map(PodFacts::key).collect()
}

fn untolerated(spec: &PodSpec, node: &NodeState) -> Vec<String> {
    let hard = |taint: &&Taint| taint.effect != Effect::PreferNoSchedule;
    let tolerated = |taint: &Taint| spec.tolerations.iter().any(|t| t.covers(taint));
    let taints = node.facts.taints.iter().filter(hard);
    taints
        .filter(|t| !tolerated(t))
        .map(ToString::to_string)
        .collect()
}

/// What selector and required affinity ask of the node in vain.
fn unmet(spec: &PodSpec, node: &NodeState) -> Vec<String> {
    let labels = &node.facts.labels;
    let mut unmet: Vec<String> = spec
        .node_name
        .iter()
        .filter(|name| **name != node.facts.name)
        .map(|name| format!("the name {name}"))
        .collect();
    let pairs = spec.node_selector.iter();
    let wrong = pairs.filter(|(key, value)| labels.get(*key) != Some(*value));
    unmet.extend(wrong.map(|(key, value)| format!("{key}={value}")));
    if !spec.affinity.admits(&node.facts.name, labels) {
        let terms = spec.affinity.required.iter().flatten();
        let texts: Vec<String> = terms.map(ToString::to_string).collect();
        unmet.push(format!("({})", texts.join(" or ")));
    }
    unmet
}

fn spread_keys_missing(spec: &PodSpec, node: &NodeState) -> Vec<String> {
    let keys = spec
        .spread
        .iter()
        .map(|constraint| &constraint.topology_key);
    keys.filter(|key| !node.facts.labels.contains_key(*key))
        .cloned()
        .collect()
}

fn taken(spec: &PodSpec, node: &NodeState) -> Vec<String> {
    let conflicts = |port: &&HostPort| node.port_conflict(std::slice::from_ref(*port));
    let ports = spec.host_ports.iter().filter(conflicts);
    ports
        .map(|port| format!("{}/{}", port.port, port.protocol))
        .collect()
}

fn shortage(resource: &str, spec: &PodSpec, node: &NodeState) -> Remedy {
    let wanted = spec.requests.amount(resource);
    let capacity = node.facts.allocatable.amount(resource);
    // Room that is kept for a pod at least as important counts as used.
    let awaited = node.with_nominated(spec.priority);
    let used = |node: &NodeState| node.used.amount(resource);
    let taken = used(awaited.as_ref().unwrap_or(node));
    let free = capacity.saturating_sub(taken).max(0);
    let reserved = taken.saturating_sub(used(node));
    let text = |amount: i64| match resource {
        "cpu" => Quantity::from_milli(amount).to_string(),
        "memory" | "ephemeral-storage" => Quantity::from_bytes(amount).to_string(),
        _ => amount.to_string(),
    };
    let shortage = Shortage {
        resource: resource.to_owned(),
        wanted: text(wanted),
        free: text(free),
        capacity: text(capacity),
        missing: text(wanted.saturating_sub(free)),
        reserved: (reserved > 0).then(|| text(reserved)),
    };
    if wanted > capacity {
        Remedy::LargerNode(shortage)
    } else {
        Remedy::Free(shortage)
    }
}
