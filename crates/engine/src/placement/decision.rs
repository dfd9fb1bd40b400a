//! The choice, with the reasons of every other node.

use super::snapshot::{NodeState, PodFacts, Snapshot};
use super::{filters, scores};
use std::collections::BTreeMap;

/// Why a node cannot take a pod. `Display` gives the text users grep for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// The node is cordoned.
    #[error("node(s) were unschedulable")]
    Unschedulable,
    /// The pod names another node.
    #[error("node(s) didn't match the requested node name")]
    OtherNodeNamed,
    /// A taint is not tolerated.
    #[error("node(s) had untolerated taint(s)")]
    UntoleratedTaint,
    /// The selector or the required affinity does not match.
    #[error("node(s) didn't match Pod's node affinity/selector")]
    NotSelected,
    /// A host port is taken.
    #[error("node(s) didn't have free ports for the requested pod ports")]
    PortTaken,
    /// The node runs as many pods as it may.
    #[error("Too many pods")]
    TooManyPods,
    /// Not enough of a resource is free.
    #[error("Insufficient {0}")]
    Insufficient(String),
}

/// A node that cannot take the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// All reasons of the rule that refused.
    pub reasons: Vec<Refusal>,
    /// Whether evicting pods of lower priority could help.
    pub preemption_helps: bool,
}

/// A node that can take the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub node: String,
    /// Its score; higher is better.
    pub score: i64,
}

/// The outcome for one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Nodes that fit, best first (ties by name).
    pub candidates: Vec<Candidate>,
    /// Nodes that do not, with the reasons.
    pub refused: BTreeMap<String, Refused>,
}

impl Placement {
    /// The chosen node; `tie` picks among equally good ones (any number, e.g. from a seeded source).
    pub fn choice(&self, tie: usize) -> Option<&str> {
        let best = self.candidates.first()?.score;
        let ties: Vec<&Candidate> = self
            .candidates
            .iter()
            .take_while(|c| c.score == best)
            .collect();
        ties.get(tie.checked_rem(ties.len())?)
            .map(|c| c.node.as_str())
    }
}

/// Filters and scores every node for the pod.
pub fn place(pod: &PodFacts, snapshot: &Snapshot) -> Placement {
    let mut refused = BTreeMap::new();
    let mut fitting: Vec<&NodeState> = Vec::new();
    for node in snapshot.nodes() {
        match filters::refuse(pod, node) {
            Some(why) => drop(refused.insert(node.facts.name.clone(), why)),
            None => fitting.push(node),
        }
    }
    let scores = scores::score(pod, &fitting);
    let mut candidates: Vec<Candidate> = fitting
        .iter()
        .zip(scores)
        .map(|(node, score)| Candidate {
            node: node.facts.name.clone(),
            score,
        })
        .collect();
    candidates.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.node.cmp(&b.node)));
    Placement {
        candidates,
        refused,
    }
}

/// The FailedScheduling message: reasons counted over the nodes, then what preemption could do.
pub fn render(placement: &Placement) -> String {
    let total = placement.refused.len() + placement.candidates.len();
    if total == 0 {
        return "no nodes available to schedule pods".into();
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut preemption: BTreeMap<&str, usize> = BTreeMap::new();
    for refused in placement.refused.values() {
        for reason in &refused.reasons {
            *reasons.entry(reason.to_string()).or_insert(0) += 1;
        }
        let verdict = if refused.preemption_helps {
            "No preemption victims found for incoming pod"
        } else {
            "Preemption is not helpful for scheduling"
        };
        *preemption.entry(verdict).or_insert(0) += 1;
    }
    let counted = |(text, count): (String, usize)| format!("{count} {text}");
    let mut why: Vec<String> = reasons.into_iter().map(counted).collect();
    why.sort();
    let mut help: Vec<String> = preemption
        .into_iter()
        .map(|(text, count)| format!("{count} {text}"))
        .collect();
    help.sort();
    format!(
        "0/{total} nodes are available: {}. no new claims to deallocate, preemption: 0/{total} \
         nodes are available: {}.",
        why.join(", "),
        help.join(", ")
    )
}
