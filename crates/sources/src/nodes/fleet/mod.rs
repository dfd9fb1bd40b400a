//! Groups of machines that this process makes itself: who is there, who is on the way, who goes.
//!
//! Every machine has one task from its order to its end: it waits for the boot, joins the cluster
//! through [`Machines`], and leaves when it is told to. [`Conduct`] says how a boot goes, so that
//! the same bookkeeping serves honest machines and simulated trouble.
//!
//! ```text
//! increase ─▶ Creating ──boot──▶ Machines::add ─▶ Running ──delete──▶ Deleting ─▶ Machines::remove
//!                 └── no capacity: problem, until deleted
//! ```

mod group;
mod life;
mod paper;
mod shape;

#[cfg(test)]
mod tests;

pub use group::{GroupConfig, provider_id};
pub use paper::PaperNodes;
pub use shape::{GPU_LABEL, GROUP_LABEL, Shape};

use async_trait::async_trait;
use group::Group;
use life::Life;
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{
    ErrorClass, InstanceProblem, InstanceState, NodeGroup, NodeRef, ProviderError, ProviderTemplate,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A machine that is to become a node.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Name of the node.
    pub name: Arc<str>,
    /// Its group.
    pub group: Arc<str>,
    /// `spec.providerID` of the node.
    pub provider_id: Arc<str>,
    /// What it is.
    pub shape: Arc<Shape>,
}

/// A machine that could not be made or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MachineError {
    /// What was tried and why it failed.
    pub message: String,
}

impl MachineError {
    /// From whatever went wrong, with its causes.
    pub fn of(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            message = format!("{message}: {inner}");
            cause = inner.source();
        }
        Self { message }
    }
}

/// Makes nodes of a cluster, and removes them with their Node objects.
#[async_trait]
pub trait Machines: Send + Sync + std::fmt::Debug {
    /// Makes the machine; it registers as a node by itself.
    ///
    /// # Errors
    /// It cannot be made; nothing is left of it then.
    async fn add(&self, machine: &Machine) -> Result<(), MachineError>;

    /// Ends what runs on the machine and takes it out of the cluster. Absent is fine.
    ///
    /// # Errors
    /// It is still there, and is tried again later.
    async fn remove(&self, name: &str) -> Result<(), MachineError>;
}

/// What becomes of a machine that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It joins after this time.
    Boots(Duration),
    /// It runs after this time, but never becomes a node.
    NeverJoins(Duration),
    /// It does not come, which shows after this time.
    Fails(Duration, InstanceProblem),
}

/// How machines behave.
pub trait Conduct: Send + Sync + std::fmt::Debug {
    /// What becomes of the next machine of a group.
    fn fate(&self, group: &GroupConfig) -> Fate;

    /// How long a machine takes to end.
    fn shutdown(&self) -> Duration {
        Duration::ZERO
    }
}

/// Groups of machines. Dropping it stops the work on machines that are on the way; those that run
/// stay.
#[derive(Debug)]
pub struct Fleet {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    machines: Arc<dyn Machines>,
    conduct: Arc<dyn Conduct>,
    groups: Mutex<BTreeMap<Arc<str>, Group>>,
    version: watch::Sender<u64>,
}

impl Inner {
    /// Tells everybody who follows that something is different.
    fn changed(&self) {
        self.version
            .send_modify(|version| *version = version.wrapping_add(1));
    }
}

impl Fleet {
    /// Groups without machines.
    pub fn new(
        groups: impl IntoIterator<Item = GroupConfig>,
        machines: Arc<dyn Machines>,
        conduct: Arc<dyn Conduct>,
    ) -> Self {
        let groups = groups
            .into_iter()
            .map(|config| (Arc::clone(&config.name), Group::new(config)));
        Self {
            inner: Arc::new(Inner {
                machines,
                conduct,
                groups: Mutex::new(groups.collect()),
                version: watch::Sender::new(0),
            }),
        }
    }

    /// Fills the groups to what they were, and at least to their minimum, without any boot time:
    /// these machines are there already. `existing` are names of nodes; those of no group are left
    /// out. Returns the names of all machines.
    ///
    /// # Errors
    /// The first machine that cannot be made.
    pub async fn start(&self, existing: &[Arc<str>]) -> Result<Vec<Arc<str>>, MachineError> {
        let mut begun = Vec::new();
        for group in self.inner.groups.lock().values_mut() {
            for name in existing {
                group.take_back(name);
            }
            while group.target() < group.config.min {
                group.order();
            }
            begun.extend(group.machines());
        }
        let adding = begun.iter().map(|machine| self.inner.machines.add(machine));
        futures::future::try_join_all(adding).await?;
        for machine in &begun {
            self.settle(machine, Life::running(Arc::clone(&self.inner)));
        }
        self.inner.changed();
        Ok(begun.into_iter().map(|machine| machine.name).collect())
    }

    /// Gives a machine its task.
    fn settle(&self, machine: &Machine, life: Life) {
        let mut groups = self.inner.groups.lock();
        let entry = groups
            .get_mut(&machine.group)
            .and_then(|group| group.entry(&machine.name));
        if let Some(entry) = entry {
            if life.has_joined() {
                entry.state = InstanceState::Running;
            }
            let doomed = Arc::clone(&entry.doomed);
            let task = tokio::spawn(life.live(machine.clone(), doomed));
            entry.task = Some(task.abort_handle());
        }
    }

    /// The groups as they are now.
    pub fn groups(&self) -> Vec<NodeGroup> {
        let groups = self.inner.groups.lock();
        groups.values().map(Group::describe).collect()
    }

    /// The group that a node's machine is in.
    pub fn group_of(&self, node: &NodeRef) -> Option<Arc<str>> {
        let groups = self.inner.groups.lock();
        let found = groups.values().find(|group| group.holds(node));
        found.map(|group| Arc::clone(&group.config.name))
    }

    /// What a new node of the group will be.
    ///
    /// # Errors
    /// There is no such group.
    pub fn template(&self, group: &str) -> Result<ProviderTemplate, ProviderError> {
        self.with(group, |group| Ok(group.template()))
    }

    /// The configuration of a group.
    pub fn config(&self, group: &str) -> Option<Arc<GroupConfig>> {
        let groups = self.inner.groups.lock();
        groups.get(group).map(|group| Arc::clone(&group.config))
    }

    /// US dollars for an hour of a node, by the group in its labels.
    pub fn price(&self, node: &serde_json::Value) -> Option<f64> {
        let labels = node.get("metadata")?.get("labels")?;
        let group = labels.get(GROUP_LABEL)?.as_str()?;
        self.config(group)?.shape.price_per_hour
    }

    /// Asks for more machines.
    ///
    /// # Errors
    /// There is no such group, none is asked for, or the maximum would be exceeded.
    pub fn increase(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let ordered = self.with(group, |group| group.increase(delta))?;
        for machine in ordered {
            self.settle(&machine, Life::ordered(Arc::clone(&self.inner)));
        }
        self.inner.changed();
        Ok(())
    }

    /// Lowers the target by machines that are not there yet, youngest first.
    ///
    /// # Errors
    /// There is no such group, or fewer are on the way; nothing changes then.
    pub fn decrease_target(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        self.with(group, |group| group.cancel(delta))?;
        self.inner.changed();
        Ok(())
    }

    /// Removes machines and lowers the target by as many. Those that are gone or going are no
    /// error.
    ///
    /// # Errors
    /// There is no such group, a node is of another, or the group would fall below `floor`;
    /// nothing changes then.
    pub fn delete(
        &self,
        group: &str,
        nodes: &[NodeRef],
        floor: Floor,
    ) -> Result<(), ProviderError> {
        self.with(group, |group| group.delete(nodes, floor))?;
        self.inner.changed();
        Ok(())
    }

    /// Ends a machine without lowering the target: another is ordered in its place.
    ///
    /// # Errors
    /// There is no such group or machine, or it is going already.
    pub fn replace(&self, group: &str, node: &str) -> Result<(), ProviderError> {
        let successor = self.with(group, |group| group.replace(node))?;
        self.settle(&successor, Life::ordered(Arc::clone(&self.inner)));
        self.inner.changed();
        Ok(())
    }

    /// Changes whenever groups or machines do.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.version.subscribe()
    }

    /// Stops the work on machines: none joins any more, none leaves. What runs stays.
    pub fn close(&self) {
        for group in self.inner.groups.lock().values_mut() {
            group.abandon();
        }
    }

    fn with<R>(
        &self,
        group: &str,
        act: impl FnOnce(&mut Group) -> Result<R, ProviderError>,
    ) -> Result<R, ProviderError> {
        let mut groups = self.inner.groups.lock();
        let Some(group) = groups.get_mut(group) else {
            let message = format!("there is no node group {group:?}");
            return Err(ProviderError::new(ErrorClass::NotFound, message));
        };
        act(group)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.close();
    }
}

/// How far a group may be shrunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// To its minimum.
    Minimum,
    /// To nothing.
    None,
}

/// A machine that is not there yet.
fn creating(state: InstanceState) -> bool {
    matches!(state, InstanceState::Creating)
}
