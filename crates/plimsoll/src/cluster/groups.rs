//! Groups of nodes that can be resized while the cluster runs.

use super::doors::Doorkeeper;
use super::machine::Machine as Host;
use super::nodes;
use super::plugin::Plugin;
use super::running::Settings;
use anyhow::{Context, Result};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use plimsoll_api::nodegroup::NodeProvider;
use plimsoll_clock::Clock;
use plimsoll_node::agent::{AgentError, Agents, NodeSpec};
use plimsoll_node::runtime::Runtime;
use plimsoll_node::runtime::simulated::{Simulated, Steady};
use plimsoll_sources::nodes::fleet::{GroupConfig, Machine, MachineError, Machines};
use plimsoll_sources::nodes::local::Local;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Address ranges of these nodes: `10.N.M.0/24` with N × 256 + M in here, which nodes without a
/// group never use (there are at most 1000, from 10.244.1.0 on).
const RANGES: std::ops::Range<u32> = 248 * 256..256 * 256;

/// What has begun.
pub(super) struct Began {
    /// Who resizes the groups.
    pub(super) provider: Arc<dyn NodeProvider>,
    /// Nodes from the start.
    pub(super) nodes: Vec<String>,
}

/// Starts the groups with the nodes that they had, and at least with their minimum.
pub(super) async fn start(
    client: &Client,
    settings: &Settings,
    embedded: Embedded,
) -> Result<Began> {
    let usual = nodes::size(&settings.nodes, Host::here());
    let groups: Vec<GroupConfig> = settings
        .node_groups
        .iter()
        .map(|group| group.config(usual))
        .collect();
    let names = groups.iter().map(|group| Arc::clone(&group.name)).collect();
    let existing = existing(client, &names, &embedded).await?;
    let served = settings.node_groups_grpc.zip(embedded.doors.clone());
    let local = Local::new(groups, Arc::new(embedded));
    let nodes = local.start(&existing).await.context("node groups")?;
    let provider: Arc<dyn NodeProvider> = Arc::new(local);
    if let Some((address, doors)) = served {
        let plugin = Plugin {
            provider: Arc::clone(&provider),
            pki: &doors.pki,
            dir: settings.dir.join("node-groups"),
        };
        tokio::spawn(plugin.listen(address, doors.stop.clone()).await?);
    }
    Ok(Began {
        provider,
        nodes: nodes.iter().map(ToString::to_string).collect(),
    })
}

/// Deletes the nodes that groups left, when there are none any more.
pub(super) async fn forget(client: &Client) -> Result<()> {
    leave(client, &BTreeSet::new()).await.map(drop)
}

/// Nodes of these groups that an earlier life of the cluster had.
async fn existing(
    client: &Client,
    groups: &BTreeSet<Arc<str>>,
    embedded: &Embedded,
) -> Result<Vec<Arc<str>>> {
    let mut found = Vec::new();
    for (name, pod_cidr) in leave(client, groups).await? {
        embedded.reserve(&name, &pod_cidr);
        found.push(name.into());
    }
    Ok(found)
}

/// Deletes nodes of other groups than these: nobody would run them. Returns those that are left,
/// with their address ranges.
async fn leave(client: &Client, groups: &BTreeSet<Arc<str>>) -> Result<Vec<(String, String)>> {
    let api: Api<Node> = Api::all(client.clone());
    let mut left = Vec::new();
    for node in api.list(&ListParams::default()).await?.items {
        let (Some(name), Some(spec)) = (node.metadata.name, node.spec) else {
            continue;
        };
        let id = spec.provider_id.unwrap_or_default();
        let group = id
            .strip_prefix("plimsoll://")
            .and_then(|id| id.split_once('/'))
            .map(|(group, _)| group);
        match group {
            None => {}
            Some(group) if groups.contains(group) => {
                left.push((name, spec.pod_cidr.unwrap_or_default()));
            }
            Some(group) => {
                tracing::info!(node = name, group, "deleted with its group");
                api.delete(&name, &DeleteParams::default()).await?;
            }
        }
    }
    Ok(left)
}

/// Nodes of this process.
pub(super) struct Embedded {
    agents: Agents,
    runtime: Arc<dyn Runtime>,
    simulated: Arc<dyn Runtime>,
    doors: Option<Doorkeeper>,
    ranges: Mutex<Ranges>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded")
            .field("agents", &self.agents)
            .finish_non_exhaustive()
    }
}

impl Embedded {
    /// Nodes whose pods run in `runtime`, except where a group's are simulated.
    pub(super) fn new(agents: Agents, runtime: Arc<dyn Runtime>, clock: Clock) -> Self {
        let simulated: Arc<dyn Runtime> = if runtime.runs_processes() {
            Arc::new(Simulated::new(clock, Arc::new(Steady::default())))
        } else {
            Arc::clone(&runtime)
        };
        Self {
            agents,
            runtime,
            simulated,
            doors: None,
            ranges: Mutex::default(),
        }
    }

    /// The same, with a server for each node.
    pub(super) fn with_doors(self, doors: Doorkeeper) -> Self {
        Self {
            doors: Some(doors),
            ..self
        }
    }

    /// Keeps the address range that a node had.
    fn reserve(&self, node: &str, cidr: &str) {
        self.ranges.lock().reserve(node, cidr);
    }

    fn spec(&self, machine: &Machine, pod_cidr: String) -> NodeSpec {
        let shape = &machine.shape;
        let runtime = if shape.simulated {
            &self.simulated
        } else {
            &self.runtime
        };
        NodeSpec {
            name: machine.name.to_string(),
            cpu_milli: shape.cpu_milli,
            memory_bytes: shape.memory_bytes,
            pods: shape.pods,
            extended: shape.extended.clone(),
            provider_id: Some(machine.provider_id.to_string()),
            labels: shape.labels.clone(),
            taints: shape.taints.clone(),
            runtime: Arc::clone(runtime),
            pod_cidr,
            address: None,
            server: None,
        }
    }

    fn release(&self, node: &str) {
        self.ranges.lock().taken.remove(node);
        if let Some(doors) = &self.doors {
            doors.close(node);
        }
    }
}

#[async_trait]
impl Machines for Embedded {
    async fn add(&self, machine: &Machine) -> Result<(), MachineError> {
        let range = self.ranges.lock().take(&machine.name);
        let Some(range) = range else {
            let message = "every address range is taken".to_owned();
            return Err(MachineError { message });
        };
        let mut spec = self.spec(machine, range);
        if let Some(doors) = &self.doors {
            doors.open(&mut spec).await;
        }
        let added = self.agents.add_node(spec).await;
        added.map_err(|error| {
            self.release(&machine.name);
            MachineError::of(&error)
        })
    }

    async fn remove(&self, name: &str) -> Result<(), MachineError> {
        match self.agents.remove_node(name).await {
            // The agent has let go of it in either case.
            Ok(()) | Err(AgentError::Unknown(_)) => {
                self.release(name);
                Ok(())
            }
            Err(error) => Err(MachineError::of(&error)),
        }
    }
}

/// Which node has which address range.
#[derive(Debug, Default)]
struct Ranges {
    taken: BTreeMap<String, u32>,
    /// Where the search goes on: a range that became free rests as long as it can.
    next: u32,
}

impl Ranges {
    fn reserve(&mut self, node: &str, cidr: &str) {
        let mut octets = cidr.split('.').map(|octet| octet.parse::<u32>().ok());
        let (Some(Some(10)), Some(Some(high)), Some(Some(low))) =
            (octets.next(), octets.next(), octets.next())
        else {
            return;
        };
        let number = high * 256 + low;
        let free = !self.taken.values().any(|taken| *taken == number);
        if free && RANGES.contains(&number) && low < 256 {
            self.taken.insert(node.to_owned(), number);
        }
    }

    /// The node's range: the one it has, or the next that is free.
    fn take(&mut self, node: &str) -> Option<String> {
        let number = match self.taken.get(node) {
            Some(number) => *number,
            None => self.free()?,
        };
        self.taken.insert(node.to_owned(), number);
        Some(format!("10.{}.{}.0/24", number / 256, number % 256))
    }

    fn free(&mut self) -> Option<u32> {
        let used: BTreeSet<u32> = self.taken.values().copied().collect();
        let from = self.next.clamp(RANGES.start, RANGES.end);
        let found = (from..RANGES.end)
            .chain(RANGES.start..from)
            .find(|number| !used.contains(number))?;
        self.next = found + 1;
        Some(found)
    }
}

#[cfg(test)]
mod tests;
