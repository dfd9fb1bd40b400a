//! What came of the nodes of a scenario.

use crate::waiting::Wait;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::fmt;

/// One thing that happened to a group of nodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeChange {
    /// When.
    pub time: Timestamp,
    /// The group; empty for nodes of none, and for what concerns all.
    pub group: String,
    /// The node, where it concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub event: NodeEvent,
    /// Why, a sentence a step: the autoscaler's own words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
}

/// What can happen to nodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum NodeEvent {
    /// More machines were asked for.
    Ordered {
        /// Machines before.
        from: usize,
        /// Machines after.
        to: usize,
    },
    /// A machine that was ordered is not to be had.
    Failed,
    /// A node is ready.
    Joined {
        /// Since its order; absent for nodes from the start.
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// A node is being emptied.
    Leaving,
    /// A node that was being emptied stays.
    Spared,
    /// A node is gone.
    Removed,
    /// Something went wrong that the scenario asked for.
    Trouble,
}

impl NodeEvent {
    fn words(&self) -> String {
        match self {
            Self::Ordered { from, to } => format!("ordered, {from} -> {to}"),
            Self::Failed => "not to be had".to_owned(),
            Self::Joined { seconds: Some(s) } => format!("joined after {s:.1} s"),
            Self::Joined { seconds: None } => "joined".to_owned(),
            Self::Leaving => "is being emptied".to_owned(),
            Self::Spared => "stays after all".to_owned(),
            Self::Removed => "is gone".to_owned(),
            Self::Trouble => "trouble".to_owned(),
        }
    }
}

impl fmt::Display for NodeChange {
    /// For people: what happened in one line, and an indented line for each step of the reasoning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = self.node.as_ref().unwrap_or(&self.group);
        write!(f, "{} {about} {}", self.time, self.event.words())?;
        let mut steps = self.steps.iter();
        steps.try_for_each(|step| write!(f, "\n    {step}"))
    }
}

/// The figures of a whole run, as far as nodes are concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSummary {
    /// Hours of machines, from the order to the end of each.
    pub node_hours: f64,
    /// US dollars for them, at the prices of their groups.
    pub cost: f64,
    /// What the most expensive moment would have cost all the time: the bill of who provides for
    /// the peak once and for all.
    pub static_cost: f64,
    /// Most machines at a time.
    pub most: usize,
    /// Fewest machines at a time.
    pub fewest: usize,
    /// Machines that were ordered.
    pub ordered: usize,
    /// Machines that were ordered and not to be had.
    pub failed: usize,
    /// Nodes that are gone.
    pub removed: usize,
    /// Nodes that the autoscaler began to empty.
    pub emptied: usize,
    /// Pods that were evicted from them.
    pub evictions: usize,
    /// Pods that got a node.
    pub placed: usize,
    /// Of these, pods that found none at once.
    pub waited: usize,
    /// Seconds that all pods together had no node.
    pub pending_seconds: f64,
    /// How long those waited: half of them no longer than this, in seconds.
    pub wait_median: f64,
    /// 99 of 100 no longer than this, in seconds.
    pub wait_p99: f64,
    /// The longest, in seconds.
    pub wait_longest: f64,
}

/// Everything a run tells of nodes; empty without node groups.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeReport {
    /// What happened, in order.
    pub changes: Vec<NodeChange>,
    /// Pods that found no node at once, in the order in which their waiting ended.
    pub waits: Vec<Wait>,
    /// The figures.
    pub summary: NodeSummary,
}

impl NodeReport {
    /// Nodes that were taken out, and more were ordered within this time: what flapping would be.
    pub fn regretted(&self, within: SignedDuration) -> usize {
        let times = |wanted: fn(&NodeEvent) -> bool| {
            let matching = self
                .changes
                .iter()
                .filter(move |change| wanted(&change.event));
            matching.map(|change| change.time)
        };
        let orders: Vec<Timestamp> =
            times(|event| matches!(event, NodeEvent::Ordered { .. })).collect();
        let leaving = times(|event| *event == NodeEvent::Leaving);
        let regretted = leaving.filter(|left| {
            let soon = |at: &Timestamp| at >= left && at.duration_since(*left) < within;
            orders.iter().any(soon)
        });
        regretted.count()
    }
}

#[cfg(test)]
mod tests {
    use super::{NodeChange, NodeEvent, NodeReport};
    use jiff::{SignedDuration, Timestamp};

    fn change(minute: i64, event: NodeEvent) -> NodeChange {
        NodeChange {
            time: Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute),
            group: "small".into(),
            node: None,
            event,
            steps: Vec::new(),
        }
    }

    #[test]
    fn a_node_that_is_ordered_again_soon_is_regretted() {
        let order = NodeEvent::Ordered { from: 1, to: 2 };
        let changes = vec![
            change(0, order.clone()),
            change(5, NodeEvent::Leaving),
            change(20, NodeEvent::Leaving),
            change(29, order.clone()),
            change(40, NodeEvent::Leaving),
            change(50, order),
        ];
        let report = NodeReport {
            changes,
            ..NodeReport::default()
        };
        assert_eq!(report.regretted(SignedDuration::from_mins(10)), 1);
        assert_eq!(report.regretted(SignedDuration::from_mins(11)), 2);
    }

    #[test]
    fn a_change_is_a_line_of_json_and_a_line_for_people() {
        let mut change = change(1, NodeEvent::Ordered { from: 1, to: 2 });
        change.steps.push("2 pods wait".into());
        assert_eq!(
            serde_json::to_string(&change).unwrap(),
            r#"{"time":"1970-01-01T00:01:00Z","group":"small","event":"ordered","from":1,"to":2,"steps":["2 pods wait"]}"#
        );
        assert_eq!(
            change.to_string(),
            "1970-01-01T00:01:00Z small ordered, 1 -> 2\n    2 pods wait"
        );
    }
}
