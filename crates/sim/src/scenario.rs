//! What is simulated.

use crate::error::SimError;
use crate::groups::NodeGroups;
use crate::load::Load;
use jiff::Timestamp;
use plimsoll_controllers::horizontal;
use plimsoll_controllers::pods::Selector;
use serde_json::Value;
use std::time::Duration;

/// Most nodes of a scenario: each has one /24 of 10.244.0.0/16.
const MOST_NODES: u32 = 250;

/// A cluster, what runs in it, the load on it, and how long.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Wall time at the start.
    pub start: Timestamp,
    /// Virtual time to run.
    pub length: Duration,
    /// Root of everything random: names, uids, jitter, noise.
    pub seed: u64,
    /// The nodes that are always there, all alike.
    pub nodes: Nodes,
    /// Nodes that come and go beside them.
    pub node_groups: NodeGroups,
    /// Objects created at the start, in this order, as a user would write them.
    pub manifests: Vec<Value>,
    /// Requests over time.
    pub load: Load,
    /// CPU time one request takes, in milliseconds of one core.
    pub cost_per_request_milli_seconds: f64,
    /// Which pods the requests go to.
    pub target: Target,
    /// Time between two usage measurements and two samples of the timeline. At least 1 s; 15 s
    /// suits whole days.
    pub sample_period: Duration,
    /// Time before the first request, in which the first pods start.
    pub warm_up: Duration,
    /// Time a container takes to start.
    pub start_delay: Duration,
    /// Work a pod lets wait, in seconds at its full speed; what comes on top goes unserved.
    pub longest_wait: Duration,
    /// Flags of the horizontal autoscaler. The sync period counts as at least a second more than
    /// `sample_period`, because every round of measurement causes a pass anyway.
    pub horizontal: horizontal::Options,
}

/// The nodes of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nodes {
    /// How many, 1 to 250; with node groups also none.
    pub count: u32,
    /// Capacity of each in millicores.
    pub cpu_milli: u64,
    /// Capacity of each in bytes.
    pub memory_bytes: u64,
}

impl Default for Nodes {
    /// Three nodes of 4 cores and 8 GiB.
    fn default() -> Self {
        Self {
            count: 3,
            cpu_milli: 4000,
            memory_bytes: 8 << 30,
        }
    }
}

/// The pods that serve the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Their namespace.
    pub namespace: String,
    /// A label selector, e.g. `app=web`.
    pub selector: String,
}

impl Default for Scenario {
    /// An hour from 2026-01-01 on three nodes, without any load or objects; measured each 15 s,
    /// the first request comes after 30 s, containers start within 2 s, pods let 10 s of work wait.
    fn default() -> Self {
        Self {
            // 2026-01-01T00:00:00Z
            start: Timestamp::constant(1_767_225_600, 0),
            length: Duration::from_secs(3600),
            seed: 1,
            nodes: Nodes::default(),
            node_groups: NodeGroups::default(),
            manifests: Vec::new(),
            load: Load::constant(0.0),
            cost_per_request_milli_seconds: 10.0,
            target: Target {
                namespace: "default".to_owned(),
                selector: String::new(),
            },
            sample_period: Duration::from_secs(15),
            warm_up: Duration::from_secs(30),
            start_delay: Duration::from_secs(2),
            longest_wait: Duration::from_secs(10),
            horizontal: horizontal::Options::default(),
        }
    }
}

impl Scenario {
    /// Reads the target's selector, after a look at everything that could be senseless.
    pub(crate) fn selector(&self) -> Result<Selector, SimError> {
        let bad = |why: String| Err(SimError::Scenario(why));
        let Nodes {
            count, cpu_milli, ..
        } = self.nodes;
        let has_groups = !self.node_groups.groups.is_empty();
        if (count == 0 && !has_groups) || count > MOST_NODES {
            return bad(format!("{count} nodes; there can be 1 to {MOST_NODES}"));
        }
        if cpu_milli == 0 {
            return bad("nodes have no cpu".to_owned());
        }
        self.node_groups.check()?;
        if self.sample_period < Duration::from_secs(1) {
            let period = self.sample_period;
            return bad(format!("sample period {period:?} is below a second"));
        }
        let cost = self.cost_per_request_milli_seconds;
        if !(cost.is_finite() && cost > 0.0) {
            return bad(format!("a request costs {cost} ms; it must cost something"));
        }
        let ends = jiff::SignedDuration::try_from(self.length)
            .ok()
            .and_then(|length| self.start.checked_add(length).ok());
        if ends.is_none() {
            return bad(format!("length {:?} goes beyond the calendar", self.length));
        }
        Selector::parse(&self.target.selector)
            .map_err(|error| SimError::Scenario(error.to_string()))
    }
}
