//! The FailedScheduling text.

use super::decision::Failure;
use super::preempt::{NoPreemption, Preemption};
use std::collections::BTreeMap;

impl Failure {
    /// The text of the event and the condition: reasons counted over the nodes, then what
    /// preemption could do. If room is being made, nothing is said about preemption.
    pub fn message(&self, preemption: &Preemption) -> String {
        let Self { nodes, .. } = self;
        if *nodes == 0 {
            return "no nodes available to schedule pods".into();
        }
        let why = match &self.whole {
            Some(reason) => reason.to_string(),
            None => self.counted(),
        };
        let mut text = format!("0/{nodes} nodes are available: {why}.");
        if let Preemption::Impossible(why) = preemption {
            text.push_str(" no new claims to deallocate, preemption: ");
            text.push_str(&why.message(*nodes));
        }
        text
    }

    pub(super) fn counted(&self) -> String {
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for group in &self.groups {
            let nodes = group.nodes.len();
            for reason in &group.refused.reasons {
                *reasons.entry(reason.to_string()).or_insert(0) += nodes;
            }
        }
        histogram(reasons)
    }
}

impl NoPreemption {
    fn message(&self, nodes: usize) -> String {
        match self {
            Self::NotAllowed => "not eligible due to preemptionPolicy=Never.".into(),
            Self::UnderWay => "not eligible due to a terminating pod on the nominated node.".into(),
            Self::NoNode(reasons) => {
                let reasons = reasons.iter().map(|(why, count)| (why.to_string(), *count));
                let why = histogram(reasons.collect());
                format!("0/{nodes} nodes are available: {why}.")
            }
        }
    }
}

/// `2 this, 3 that`, sorted as text.
fn histogram(reasons: BTreeMap<String, usize>) -> String {
    let reasons = reasons.into_iter();
    let mut counted: Vec<String> = reasons
        .map(|(text, count)| format!("{count} {text}"))
        .collect();
    counted.sort();
    counted.join(", ")
}
