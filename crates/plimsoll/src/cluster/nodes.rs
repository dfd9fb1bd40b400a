//! The nodes of a local cluster: slices of this machine.

use super::machine::Machine;
use crate::up::NodeArgs;
use plimsoll_node::agent::NodeSpec;
use plimsoll_node::runtime::Runtime;
use std::collections::BTreeMap;
use std::sync::Arc;

/// As many as a kubelet allows by default.
const MAX_PODS: u32 = 110;

/// The nodes asked for. Node N is `node-N` and gives its pods 10.244.N.0/24.
pub(super) fn specs(
    args: &NodeArgs,
    machine: Machine,
    runtime: &Arc<dyn Runtime>,
) -> Vec<NodeSpec> {
    let cpu_milli = args
        .node_cpu
        .map_or(machine.cpu_milli, |q| unsigned(q.milli()));
    let memory_bytes = args
        .node_memory
        .map_or(machine.memory_bytes, |q| unsigned(q.value()));
    (1..=args.nodes)
        .map(|number| NodeSpec {
            name: format!("node-{number}"),
            cpu_milli,
            memory_bytes,
            pods: MAX_PODS,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            runtime: Arc::clone(runtime),
            pod_cidr: format!("10.{}.{}.0/24", 244 + number / 256, number % 256),
            address: None,
            server: None,
        })
        .collect()
}

fn unsigned(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}

/// `3 × 1 CPU, 1.0 GiB`.
pub(super) fn summary(specs: &[NodeSpec]) -> String {
    let Some(first) = specs.first() else {
        return "none".to_owned();
    };
    #[expect(clippy::cast_precision_loss, reason = "printed with one decimal")]
    let (cores, gib) = (
        first.cpu_milli as f64 / 1000.0,
        first.memory_bytes as f64 / f64::from(1 << 30),
    );
    let each = format!("{cores} CPU, {gib:.1} GiB");
    match specs.len() {
        1 => format!("{} ({each})", first.name),
        count => format!("{count} × ({each})"),
    }
}
