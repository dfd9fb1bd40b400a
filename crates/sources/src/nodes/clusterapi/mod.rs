//! Cluster API: groups are MachineDeployments, MachineSets and MachinePools with size annotations,
//! resized through their scale.
//!
//! A node that goes has its Machine annotated for deletion before the scale is lowered, so that the
//! owner takes that one. The objects are listed anew for each look, at most every two seconds.

mod access;
mod annotations;
mod discovery;
mod machine;
mod scalable;
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
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
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
}

/// The objects at one look.
#[derive(Debug, Default)]
struct Seen {
    groups: BTreeMap<Arc<str>, Scalable>,
    /// By namespace and name.
    machines: BTreeMap<(String, String), Machine>,
}

impl Seen {
    fn new(groups: Vec<Scalable>, machines: Vec<Machine>, sets: &BTreeMap<Source, Source>) -> Self {
        let groups: BTreeMap<Arc<str>, Scalable> = groups
            .into_iter()
            .map(|group| (Arc::clone(&group.id), group))
            .collect();
        let ids: BTreeMap<&Source, &Arc<str>> =
            groups.values().map(|g| (&g.source, &g.id)).collect();
        let machines = machines.into_iter().map(|mut machine| {
            let owner = machine.owner.as_ref();
            // A MachineSet that a MachineDeployment owns is no group of its own.
            let owner = owner.map(|owner| sets.get(owner).unwrap_or(owner));
            machine.group = owner.and_then(|o| ids.get(o)).map(|id| Arc::clone(id));
            ((machine.namespace.clone(), machine.name.clone()), machine)
        });
        let machines = machines.collect();
        Self { groups, machines }
    }

    fn of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Machine> {
        let mine = move |machine: &&Machine| machine.group.as_deref() == Some(group);
        self.machines.values().filter(mine)
    }

    /// The machine of a node: the one it names, else the one with its provider id.
    fn machine(&self, node: &NodeRef, prefix: &str) -> Option<&Machine> {
        let says = |key: &str| {
            let key = format!("{prefix}/{key}");
            let mut annotations = node.annotations.iter();
            let found = annotations.find(|(name, _)| **name == *key);
            found.map(|(_, value)| value.to_string())
        };
        let named = says("machine").zip(says("cluster-namespace"));
        let found = named.and_then(|(name, namespace)| self.machines.get(&(namespace, name)));
        found.or_else(|| {
            let id = Some(&*node.provider_id).filter(|id| !id.is_empty())?;
            let mut machines = self.machines.values();
            machines.find(|machine| machine.instance_id() == id)
        })
    }

    fn group(&self, id: &str) -> Result<&Scalable, ProviderError> {
        self.groups.get(id).ok_or_else(|| {
            let message = format!("there is no node group {id:?}");
            ProviderError::new(ErrorClass::NotFound, message)
        })
    }
}

impl ClusterApi {
    /// Groups of the management cluster that `client` reaches.
    pub fn new(client: Client, clock: Clock, settings: Settings) -> Self {
        Self {
            access: Access::new(client, &settings),
            settings,
            clock,
            seen: Mutex::default(),
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

    /// Marks machines, then lowers the scale by as many; takes the marks off if that fails.
    async fn shrink(
        &self,
        group: &Scalable,
        going: &[&Machine],
        floor: usize,
    ) -> Result<(), ProviderError> {
        let mut marked = Vec::new();
        let mut done = Ok(());
        for machine in going {
            done = self.access.mark(machine, Some(self.clock.now())).await;
            if done.is_err() {
                break;
            }
            marked.push(*machine);
        }
        if done.is_ok() {
            let resize = |size: usize| {
                let left = size.checked_sub(going.len()).filter(|left| *left >= floor);
                left.ok_or_else(|| scalable::too_small(group, size.saturating_sub(going.len())))
            };
            done = self.access.rescale(&group.source, resize).await;
        }
        self.forget();
        let Err(error) = done else {
            return Ok(());
        };
        for machine in marked {
            if let Err(again) = self.access.mark(machine, None).await {
                tracing::warn!(machine = machine.name, error = %again, "the mark for deletion stays");
            }
        }
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
        let mut going: BTreeMap<&str, &Machine> = BTreeMap::new();
        for node in nodes {
            match seen.machine(node, &self.settings.group) {
                Some(machine) if machine.group.as_deref() == Some(group) => {
                    let staying = (!machine.is_going()).then_some((&*machine.name, machine));
                    going.extend(staying);
                }
                Some(_) => {
                    let message = format!("node {:?} is not of group {group}", node.name);
                    return Err(ProviderError::new(ErrorClass::Invalid, message));
                }
                // Its machine is gone.
                None => {}
            }
        }
        if going.is_empty() {
            return Ok(());
        }
        let going: Vec<&Machine> = going.into_values().collect();
        let floor = if to_minimum { found.min } else { 0 };
        self.shrink(found, &going, floor).await
    }
}

#[async_trait]
impl NodeProvider for ClusterApi {
    fn name(&self) -> &'static str {
        "clusterapi"
    }

    async fn groups(&self) -> Result<Vec<NodeGroup>, ProviderError> {
        let seen = self.look().await?;
        let told = seen.groups.values().map(|group| {
            let instances = seen.of(&group.id).map(Machine::instance).collect();
            group.told(instances)
        });
        Ok(told.collect())
    }

    async fn group_of(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError> {
        let seen = self.look().await?;
        let machine = seen.machine(node, &self.settings.group);
        Ok(machine.and_then(|machine| machine.group.as_ref().map(Arc::clone)))
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
        let living = seen.of(group).filter(|machine| machine.is_there()).count();
        if found.replicas.saturating_sub(living) < delta {
            let message = format!(
                "{group} cannot give up {delta} machine(s): {living} of {} are there",
                found.replicas
            );
            return Err(ProviderError::new(ErrorClass::Invalid, message));
        }
        // Departs: upstream lowers the number only; the owner might take a machine with a node then.
        let absent = seen.of(group).filter(|m| !m.is_there() && !m.is_going());
        let absent: Vec<&Machine> = absent.take(delta).collect();
        let unborn = delta - absent.len();
        if unborn > 0 {
            let resize = |size: usize| Ok(size.saturating_sub(unborn).max(living));
            self.access.rescale(&found.source, resize).await?;
        }
        if absent.is_empty() {
            self.forget();
            return Ok(());
        }
        self.shrink(found, &absent, living).await
    }

    fn gpu_label(&self) -> &'static str {
        "cluster-api/accelerator"
    }
}

/// Kinds that could not be found, said once each.
type Absent = Mutex<BTreeSet<String>>;
