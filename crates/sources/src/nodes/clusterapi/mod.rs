//! Cluster API: groups are MachineDeployments, MachineSets and MachinePools with size annotations,
//! resized through their scale.
//!
//! A node that goes has its Machine annotated for deletion before the scale is lowered, so that the
//! owner takes that one. A MachinePool whose machines are no objects can grow, and its nodes stay:
//! there is nothing to mark. The objects are listed anew for each look, at most every two seconds.

mod access;
mod annotations;
mod discovery;
mod machine;
mod scalable;
mod seen;
mod template;

#[cfg(test)]
mod tests;

pub use discovery::{Discovery, DiscoveryError};

use access::Access;
use async_trait::async_trait;
use kube::Client;
use machine::Machine;
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{
    ErrorClass, NodeGroup, NodeProvider, NodeRef, ProviderError, ProviderTemplate,
};
use plimsoll_clock::Clock;
use scalable::{Scalable, Source};
use seen::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// For how long an answer is good.
const FRESH: Duration = Duration::from_secs(2);

/// What is looked for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// API group of the objects and prefix of their annotations (upstream: `CAPI_GROUP`).
    pub group: String,
    /// Version of the API; the preferred one where `None` (upstream: `CAPI_VERSION`).
    pub version: Option<String>,
    /// Which objects count; all where empty.
    pub discovery: Vec<Discovery>,
    /// Architecture of nodes that do not exist yet and say nothing of it (upstream:
    /// `CAPI_SCALE_ZERO_DEFAULT_ARCH`).
    pub architecture: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            group: "cluster.x-k8s.io".to_owned(),
            version: None,
            discovery: Vec::new(),
            architecture: "amd64".to_owned(),
        }
    }
}

/// Groups of a management cluster.
#[derive(Debug)]
pub struct ClusterApi {
    access: Access,
    settings: Settings,
    clock: Clock,
    seen: Mutex<Option<(Instant, Arc<Seen>)>>,
    /// Whether marks that an earlier process left were looked for.
    tidied: AtomicBool,
}

impl ClusterApi {
    /// Groups of the management cluster that `client` reaches.
    pub fn new(client: Client, clock: Clock, settings: Settings) -> Self {
        Self {
            access: Access::new(client, &settings),
            settings,
            clock,
            seen: Mutex::default(),
            tidied: AtomicBool::new(false),
        }
    }

    /// What the cluster has, at most two seconds old.
    async fn look(&self) -> Result<Arc<Seen>, ProviderError> {
        if let Some((at, seen)) = &*self.seen.lock()
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(seen));
        }
        let mut groups = Vec::new();
        let mut sets = BTreeMap::new();
        for kind in scalable::Kind::ALL {
            for object in self.access.list(kind.plural()).await? {
                let Some(source) = Source::of(kind, &object) else {
                    continue;
                };
                if let Some(owner) = scalable::owning_deployment(&source, &object) {
                    sets.insert(source, owner);
                } else if self.counts(&object)
                    && let Some(group) = Scalable::of(source, object, &self.settings)
                {
                    groups.push(group);
                }
            }
        }
        let machines = self.access.list("machines").await?;
        let prefix = &self.settings.group;
        let machines = machines.iter().filter_map(|m| Machine::of(m, prefix));
        let seen = Arc::new(Seen::new(groups, machines.collect(), &sets));
        for pool in &seen.untold {
            if self.access.is_news(pool) {
                tracing::warn!(%pool, "left alone: neither Machines nor providerIDList tell its members");
            }
        }
        *self.seen.lock() = Some((Instant::now(), Arc::clone(&seen)));
        Ok(seen)
    }

    fn counts(&self, object: &serde_json::Value) -> bool {
        let wanted = &self.settings.discovery;
        let prefix = &self.settings.group;
        wanted.is_empty() || wanted.iter().any(|one| one.matches(object, prefix))
    }

    /// Forgets what was seen, because it has been changed.
    fn forget(&self) {
        *self.seen.lock() = None;
    }

    /// Takes off the marks that an earlier process left in groups it did not lower, once.
    async fn tidy(&self, seen: &Seen) {
        if self.tidied.swap(true, Ordering::AcqRel) {
            return;
        }
        let left: Vec<&Machine> = seen.left_over();
        if !left.is_empty() {
            self.unmark(&left).await;
            self.forget();
        }
    }

    async fn unmark(&self, machines: &[&Machine]) {
        for machine in machines {
            match self.access.mark(machine, None).await {
                Err(error) if error.class != ErrorClass::NotFound => {
                    tracing::warn!(machine = machine.name, %error, "the mark for deletion stays");
                }
                _ => {}
            }
        }
    }

    /// Marks machines, then lowers the scale by as many; takes the marks off if it stays as it was.
    async fn shrink(
        &self,
        group: &Scalable,
        going: &[&Machine],
        floor: usize,
    ) -> Result<(), ProviderError> {
        let mut done = Ok(());
        for machine in going {
            done = self.access.mark(machine, Some(self.clock.now())).await;
            if done.is_err() {
                break;
            }
        }
        let asked = AtomicUsize::new(usize::MAX);
        if done.is_ok() {
            let resize = |size: usize| {
                let left = size.checked_sub(going.len()).filter(|left| *left >= floor);
                asked.store(left.unwrap_or(usize::MAX), Ordering::Relaxed);
                left.ok_or_else(|| scalable::too_small(group, size.saturating_sub(going.len())))
            };
            done = self.access.rescale(&group.source, resize).await;
        }
        self.forget();
        let Err(error) = done else {
            return Ok(());
        };
        let asked = asked.into_inner();
        if asked < usize::MAX && !is_refusal(&error) {
            // The answer was lost, the write perhaps not: without its mark another machine goes.
            match self.access.size(&group.source).await {
                Ok(size) if size <= asked => return Ok(()),
                Ok(_) => {}
                Err(_) => return Err(error),
            }
        }
        self.unmark(going).await;
        Err(error)
    }

    async fn remove(
        &self,
        group: &str,
        nodes: &[NodeRef],
        to_minimum: bool,
    ) -> Result<(), ProviderError> {
        let seen = self.look().await?;
        let found = seen.group(group)?;
        if seen.is_bare_pool(found) {
            let message = format!("the machines of {group} cannot be removed one by one");
            return Err(ProviderError::new(ErrorClass::Unsupported, message));
        }
        let mut wanted: BTreeMap<&str, &Machine> = BTreeMap::new();
        for node in nodes {
            match seen.machine(node, &self.settings.group) {
                Some(machine) if machine.group.as_deref() == Some(group) => {
                    let there = (!machine.deleting).then_some((&*machine.name, machine));
                    wanted.extend(there);
                }
                Some(_) => {
                    let message = format!("node {:?} is not of group {group}", node.name);
                    return Err(ProviderError::new(ErrorClass::Invalid, message));
                }
                // Its machine is gone.
                None => {}
            }
        }
        let going = staying(wanted.into_values(), seen.surplus(found));
        if going.is_empty() {
            return Ok(());
        }
        let floor = if to_minimum { found.min } else { 0 };
        self.shrink(found, &going, floor).await
    }
}

/// Those that are not going yet: as many marked ones as the owner was told of are.
fn staying<'a>(machines: impl Iterator<Item = &'a Machine>, surplus: usize) -> Vec<&'a Machine> {
    let mut told = surplus;
    let stays = |machine: &&Machine| {
        let goes = machine.mark.is_some() && told > 0;
        told -= usize::from(goes);
        !goes
    };
    machines.filter(stays).collect()
}

/// Whether a failed write has certainly changed nothing.
fn is_refusal(error: &ProviderError) -> bool {
    let refusals = [
        ErrorClass::Invalid,
        ErrorClass::Forbidden,
        ErrorClass::NotFound,
        ErrorClass::Throttled,
    ];
    refusals.contains(&error.class) || error.code == "409"
}

#[async_trait]
impl NodeProvider for ClusterApi {
    fn name(&self) -> &'static str {
        "clusterapi"
    }

    async fn groups(&self) -> Result<Vec<NodeGroup>, ProviderError> {
        let seen = self.look().await?;
        self.tidy(&seen).await;
        let told = seen.groups.values().map(|group| {
            let mut told = group.told(seen.instances(group));
            if seen.is_bare_pool(group) {
                // Departs: no node of it is drained in vain.
                told.min = told.min.max(told.target);
            }
            told
        });
        Ok(told.collect())
    }

    async fn group_of(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError> {
        let seen = self.look().await?;
        Ok(seen.group_of(node, &self.settings.group))
    }

    async fn template(&self, group: &str) -> Result<Option<ProviderTemplate>, ProviderError> {
        let seen = self.look().await?;
        let group = seen.group(group)?;
        let capacity = match template::infrastructure(&group.object) {
            Some(reference) => self.access.capacity(&group.source, &reference).await?,
            None => None,
        };
        let node = template::node(group, capacity.as_ref(), &self.settings);
        Ok(node.map(|node| ProviderTemplate {
            node,
            price_per_hour: None,
        }))
    }

    async fn increase(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let seen = self.look().await?;
        let group = seen.group(group)?;
        let resize = |size: usize| {
            let wanted = size.saturating_add(delta);
            if delta > 0 && wanted <= group.max {
                return Ok(wanted);
            }
            Err(scalable::too_large(group, wanted))
        };
        let done = self.access.rescale(&group.source, resize).await;
        self.forget();
        done
    }

    async fn increase_atomically(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        // One write of the scale.
        self.increase(group, delta).await
    }

    async fn delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        self.remove(group, nodes, true).await
    }

    async fn force_delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        self.remove(group, nodes, false).await
    }

    async fn decrease_target(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let seen = self.look().await?;
        let found = seen.group(group)?;
        let living = seen.living(found);
        if found.replicas.saturating_sub(living) < delta {
            let message = format!(
                "{group} cannot give up {delta} machine(s): {living} of {} are there",
                found.replicas
            );
            return Err(ProviderError::new(ErrorClass::Invalid, message));
        }
        let left = found.replicas - delta;
        if left < found.min {
            return Err(scalable::too_small(found, left));
        }
        let floor = living.max(found.min);
        // Departs: upstream lowers the number only; the owner might take a machine with a node then.
        let absent = seen.of(group).filter(|m| !m.is_there() && !m.deleting);
        let mut absent = staying(absent, seen.surplus(found));
        absent.truncate(delta);
        let unborn = delta - absent.len();
        if unborn > 0 {
            let resize = |size: usize| Ok(size.saturating_sub(unborn).max(floor).min(size));
            self.access.rescale(&found.source, resize).await?;
        }
        if absent.is_empty() {
            self.forget();
            return Ok(());
        }
        self.shrink(found, &absent, floor).await
    }

    fn gpu_label(&self) -> &'static str {
        "cluster-api/accelerator"
    }
}

/// Kinds that could not be found, said once each.
type Absent = Mutex<BTreeSet<String>>;
