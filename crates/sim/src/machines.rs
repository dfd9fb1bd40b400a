//! Machines of node groups as simulated nodes.

use crate::traffic::Traffic;
use async_trait::async_trait;
use parking_lot::Mutex;
use plimsoll_node::agent::{AgentError, Agents, NodeSpec};
use plimsoll_node::runtime::Runtime;
use plimsoll_sources::nodes::fleet::{Machine, MachineError, Machines};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many /24 there are from 10.128.0.0 on, up to those of the nodes without a group: 10.244.0.0/16.
const RANGES: u32 = 116 * 256;

/// Makes nodes of machines, and tells the load how much they can do.
pub(crate) struct Ground {
    agents: Agents,
    runtime: Arc<dyn Runtime>,
    traffic: Arc<Traffic>,
    ranges: Mutex<Ranges>,
}

impl std::fmt::Debug for Ground {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground")
            .field("agents", &self.agents)
            .finish_non_exhaustive()
    }
}

impl Ground {
    pub(crate) fn new(agents: Agents, runtime: Arc<dyn Runtime>, traffic: Arc<Traffic>) -> Self {
        Self {
            agents,
            runtime,
            traffic,
            ranges: Mutex::default(),
        }
    }

    fn spec(&self, machine: &Machine, pod_cidr: String) -> NodeSpec {
        let shape = &machine.shape;
        NodeSpec {
            name: machine.name.to_string(),
            cpu_milli: shape.cpu_milli,
            memory_bytes: shape.memory_bytes,
            pods: shape.pods,
            extended: shape.extended.clone(),
            provider_id: Some(machine.provider_id.to_string()),
            labels: shape.labels.clone(),
            taints: shape.taints.clone(),
            runtime: Arc::clone(&self.runtime),
            pod_cidr,
            address: None,
            server: None,
        }
    }
}

#[async_trait]
impl Machines for Ground {
    async fn add(&self, machine: &Machine) -> Result<(), MachineError> {
        let range = self.ranges.lock().take(&machine.name);
        let Some(range) = range else {
            let message = "every address range is taken".to_owned();
            return Err(MachineError { message });
        };
        self.traffic.joined(&machine.name, machine.shape.cpu_milli);
        let added = self.agents.add_node(self.spec(machine, range)).await;
        added.map_err(|error| {
            self.ranges.lock().taken.remove(&*machine.name);
            self.traffic.left(&machine.name);
            MachineError::of(&error)
        })
    }

    async fn remove(&self, name: &str) -> Result<(), MachineError> {
        match self.agents.remove_node(name).await {
            Ok(()) | Err(AgentError::Unknown(_)) => {
                self.ranges.lock().taken.remove(name);
                self.traffic.left(name);
                Ok(())
            }
            Err(error) => Err(MachineError::of(&error)),
        }
    }
}

/// Which node has which address range.
#[derive(Debug, Default)]
struct Ranges {
    taken: BTreeMap<Arc<str>, u32>,
    /// Where the search goes on: a range that became free rests as long as it can.
    next: u32,
}

impl Ranges {
    fn take(&mut self, node: &Arc<str>) -> Option<String> {
        let is_free = |number: &u32| !self.taken.values().any(|taken| taken == number);
        let mut candidates = (0..RANGES).map(|step| (self.next + step) % RANGES);
        let number = candidates.find(is_free)?;
        self.taken.insert(Arc::clone(node), number);
        self.next = number + 1;
        Some(format!("10.{}.{}.0/24", 128 + number / 256, number % 256))
    }
}

#[cfg(test)]
mod tests {
    use super::{RANGES, Ranges};
    use std::sync::Arc;

    #[test]
    fn a_range_is_given_to_one_node_at_a_time_and_rests_after_it() {
        let mut ranges = Ranges::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert_eq!(ranges.take(&a).unwrap(), "10.128.0.0/24");
        ranges.taken.remove(&a);
        assert_eq!(ranges.take(&b).unwrap(), "10.128.1.0/24");
        ranges.next = RANGES - 1;
        assert_eq!(ranges.take(&a).unwrap(), "10.243.255.0/24");
        assert_eq!(ranges.take(&"c".into()).unwrap(), "10.128.0.0/24");
        assert_eq!(ranges.take(&"d".into()).unwrap(), "10.128.2.0/24");
    }
}
