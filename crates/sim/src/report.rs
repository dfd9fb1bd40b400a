//! What came of a scenario.

use crate::node_report::NodeReport;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// One change of a deployment's replica count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub time: Timestamp,
    /// `NAMESPACE/NAME` of the deployment.
    pub deployment: String,
    /// Replicas before.
    pub current: i32,
    /// Replicas after.
    pub desired: i32,
    /// Measured average in percent of the request, where that decided.
    pub utilization: Option<i64>,
    /// Who: `hpa/NAME`, or `api` for a change from elsewhere.
    pub by: String,
    /// Why, in a few words.
    pub reason: String,
    /// The whole reasoning, a sentence a step.
    pub steps: Vec<String>,
}

impl fmt::Display for Decision {
    /// For people: what happened in one line, and an indented line for each step of the reasoning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time,
            deployment,
            current,
            desired,
            by,
            reason,
            ..
        } = self;
        write!(f, "{time} {deployment} {current} -> {desired} by {by}")?;
        if let Some(percent) = self.utilization {
            write!(f, " at {percent}%")?;
        }
        if !reason.is_empty() {
            write!(f, ": {reason}")?;
        }
        self.steps
            .iter()
            .try_for_each(|step| write!(f, "\n    {step}"))
    }
}

/// The state at one moment, and what happened since the sample before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// When.
    pub time: Timestamp,
    /// Requests per second that arrived, on average.
    pub requests_per_second: f64,
    /// Replicas asked for, over all deployments that serve the load.
    pub replicas: i32,
    /// Pods that exist.
    pub pods: usize,
    /// Pods that serve.
    pub ready: usize,
    /// CPU used in percent of the ready pods' requests; `None` without any.
    pub utilization: Option<f64>,
    /// Longest time a new request would wait in some pod, in seconds.
    pub wait_seconds: f64,
    /// Requests nobody served.
    pub unserved: f64,
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Pods without a node.
    pub pending: usize,
    /// Machines of node groups, those on their way included.
    pub machines: usize,
    /// What they cost an hour, in US dollars.
    pub dollars_per_hour: f64,
}

/// The figures of a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Virtual time that passed.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub length: Duration,
    /// Hours that pods existed, starting and ending ones included.
    pub pod_hours: f64,
    /// Most replicas asked for.
    pub peak: i32,
    /// Fewest replicas asked for.
    pub min: i32,
    /// Changes upwards.
    pub scale_outs: usize,
    /// Changes downwards.
    pub scale_ins: usize,
    /// Requests that arrived.
    pub requests: f64,
    /// Of these, requests nobody served: no pod was ready, or too many were waiting already.
    pub unserved: f64,
}

/// Everything a run tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// One line of JSON per [`Decision`], in order.
    pub decisions: Vec<String>,
    /// The same, typed.
    pub changes: Vec<Decision>,
    /// One sample per period.
    pub timeline: Vec<Sample>,
    /// The figures.
    pub summary: Summary,
    /// What came of the nodes.
    pub nodes: NodeReport,
}

impl Report {
    /// Every decision about pods and everything that happened to nodes: a line of JSON each, in
    /// the order of time.
    pub fn journal(&self) -> Vec<String> {
        let nodes = self.nodes.changes.iter();
        let nodes = nodes.filter_map(|change| {
            let line = serde_json::to_string(change).ok()?;
            Some((change.time, line))
        });
        let pods = self.changes.iter().zip(&self.decisions);
        let pods = pods.map(|(change, line)| (change.time, line.clone()));
        let mut lines: Vec<(Timestamp, String)> = nodes.chain(pods).collect();
        lines.sort_by_key(|(time, _)| *time);
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

impl Summary {
    /// Virtual seconds per real second, for a run that took `real`.
    pub fn speed(&self, real: Duration) -> f64 {
        self.length.as_secs_f64() / real.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

fn as_seconds<S: serde::Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(length.as_secs_f64())
}
