//! The nodes of a local cluster: slices of this machine.

use super::machine::Machine;
use super::running::Settings;
use crate::up::{NodeArgs, NodeGroupArg};
use plimsoll_node::agent::NodeSpec;
use plimsoll_node::runtime::Runtime;
use std::collections::BTreeMap;
use std::sync::Arc;

/// As many as a kubelet allows by default.
const MAX_PODS: u32 = 110;

/// The nodes asked for. Node N is `node-N` and gives its pods 10.244.N.0/24.
pub(super) fn specs(
    settings: &Settings,
    machine: Machine,
    runtime: &Arc<dyn Runtime>,
) -> Vec<NodeSpec> {
    let (cpu_milli, memory_bytes) = size(&settings.nodes, machine);
    let usual = u16::from(settings.node_groups.is_empty());
    (1..=settings.nodes.nodes.unwrap_or(usual))
        .map(|number| NodeSpec {
            name: format!("node-{number}"),
            cpu_milli,
            memory_bytes,
            pods: MAX_PODS,
            extended: BTreeMap::new(),
            provider_id: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            runtime: Arc::clone(runtime),
            pod_cidr: format!("10.{}.{}.0/24", 244 + number / 256, number % 256),
            address: None,
            server: None,
        })
        .collect()
}

/// Millicores and bytes of each node, where nothing else is said of it.
pub(super) fn size(args: &NodeArgs, machine: Machine) -> (u64, u64) {
    let cpu = args.node_cpu.map(|q| unsigned(q.milli()));
    let memory = args.node_memory.map(|q| unsigned(q.value()));
    (
        cpu.unwrap_or(machine.cpu_milli),
        memory.unwrap_or(machine.memory_bytes),
    )
}

fn unsigned(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}

/// `3 × (1 CPU, 1.0 GiB)`, `2 to 6 of workers`.
pub(super) fn summary(specs: &[NodeSpec], groups: &[NodeGroupArg]) -> String {
    let mut parts: Vec<String> = alone(specs).into_iter().collect();
    parts.extend(groups.iter().map(NodeGroupArg::summary));
    if parts.is_empty() {
        return "none".to_owned();
    }
    parts.join(", ")
}

fn alone(specs: &[NodeSpec]) -> Option<String> {
    let first = specs.first()?;
    #[expect(clippy::cast_precision_loss, reason = "printed with one decimal")]
    let (cores, gib) = (
        first.cpu_milli as f64 / 1000.0,
        first.memory_bytes as f64 / f64::from(1 << 30),
    );
    let each = format!("{cores} CPU, {gib:.1} GiB");
    Some(match specs.len() {
        1 => format!("{} ({each})", first.name),
        count => format!("{count} × ({each})"),
    })
}
