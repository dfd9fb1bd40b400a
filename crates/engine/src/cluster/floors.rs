//! Lower limits on the whole cluster: `--cores-total`, `--memory-total` and quotas.

use super::running::ClusterNode;
use super::shrink::Floor;
use std::sync::Arc;

/// How much may still go.
#[derive(Debug, Clone, Default)]
pub struct FloorsLeft {
    left: Vec<Limit>,
}

#[derive(Debug, Clone)]
struct Limit {
    resource: Arc<str>,
    left: i64,
}

impl FloorsLeft {
    /// What all nodes hold above the limits; those that are being removed count no more.
    pub fn new(floors: &[Floor], nodes: &[&ClusterNode]) -> Self {
        let limits = floors.iter().flat_map(|floor| &floor.least);
        let left = limits.map(|(resource, least)| {
            let held = nodes.iter().map(|node| amount(node, resource));
            Limit {
                resource: Arc::clone(resource),
                left: held.fold(0i64, i64::saturating_add).saturating_sub(*least),
            }
        });
        Self {
            left: left.collect(),
        }
    }

    /// Lets a node go.
    ///
    /// # Errors
    /// The resources of which too little would remain; nothing is counted then.
    pub fn take(&mut self, node: &ClusterNode) -> Result<(), Vec<String>> {
        let short = self.left.iter().filter(|limit| {
            let part = amount(node, &limit.resource);
            part > 0 && part > limit.left
        });
        let mut short: Vec<String> = short.map(|limit| limit.resource.to_string()).collect();
        if !short.is_empty() {
            short.sort();
            short.dedup();
            return Err(short);
        }
        for limit in &mut self.left {
            limit.left = limit.left.saturating_sub(amount(node, &limit.resource));
        }
        Ok(())
    }
}

/// How much of a resource a node brings. Parity: cores are whole, rounded up.
fn amount(node: &ClusterNode, resource: &str) -> i64 {
    match resource {
        "nodes" => 1,
        "cpu" => node.capacity.cpu_milli.saturating_add(999) / 1000,
        other => node.capacity.amount(other),
    }
}

#[cfg(test)]
mod tests {
    use super::FloorsLeft;
    use crate::cluster::{ClusterNode, Floor};
    use crate::placement::Resources;

    #[test]
    fn what_would_fall_below_a_limit_stays() {
        let node = ClusterNode {
            capacity: Resources::of(1500, 10),
            ..ClusterNode::default()
        };
        let least = [("cpu".into(), 3), ("memory".into(), 15)];
        let floor = Floor {
            name: "cluster-wide".into(),
            least: least.into_iter().collect(),
        };
        let mut left = FloorsLeft::new(&[floor], &[&node, &node, &node]);
        assert_eq!(left.take(&node), Ok(()));
        assert_eq!(left.take(&node), Err(vec!["cpu".into(), "memory".into()]));
    }
}
