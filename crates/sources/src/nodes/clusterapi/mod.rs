//! Cluster API: groups are MachineDeployments, MachineSets and MachinePools with size annotations,
//! resized through their scale.
//!
//! A node that goes has its Machine annotated for deletion before the scale is lowered, so that the
//! owner takes that one. A MachinePool whose machines are no objects can grow, and its nodes stay:
//! there is nothing to mark.
//!
//! The objects are followed by watches, which also say when to look. Where these cannot tell, and
//! before and after writes, they are listed, at most every two seconds.

mod access;
mod annotations;
mod discovery;
mod machine;
mod provider;
mod scalable;
mod seen;
mod template;
mod watching;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod watching_tests;

pub use discovery::{Discovery, DiscoveryError};

use access::Access;
use kube::Client;
use machine::Machine;
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{ErrorClass, NodeRef, ProviderError};
use plimsoll_clock::Clock;
use scalable::{Kind, Scalable, Source};
use seen::Seen;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use watching::Watching;

/// For how long an answer is good.
const FRESH: Duration = Duration::from_secs(2);
/// For how long after a write watches may not show it yet.
const UNSETTLED: Duration = Duration::from_secs(5);

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
    access: Arc<Access>,
    settings: Settings,
    clock: Clock,
    /// What was listed last, and when.
    seen: Mutex<Option<(Instant, Arc<Seen>)>>,
    /// Held while everything is listed.
    reading: tokio::sync::Mutex<()>,
    watching: Watching,
    /// What the watches showed last, and its version.
    watched: Mutex<Option<(u64, Arc<Seen>)>>,
    /// When something was last written.
    wrote: Mutex<Option<Instant>>,
    /// Whether marks that an earlier process left were looked for.
    tidied: AtomicBool,
}

impl ClusterApi {
    /// Groups of the management cluster that `client` reaches.
    pub fn new(client: Client, clock: Clock, settings: Settings) -> Self {
        Self {
            access: Arc::new(Access::new(client, &settings)),
            settings,
            clock,
            seen: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            watching: Watching::default(),
            watched: Mutex::default(),
            wrote: Mutex::default(),
            tidied: AtomicBool::new(false),
        }
    }

    /// What the cluster has, as the watches show it, or else as it is listed.
    async fn look(&self) -> Result<Arc<Seen>, ProviderError> {
        self.watching.start(&self.access);
        let wrote = *self.wrote.lock();
        let is_settled = wrote.is_none_or(|at| at.elapsed() >= UNSETTLED);
        match self.shown().filter(|_| is_settled) {
            Some(seen) => Ok(seen),
            None => self.listed().await,
        }
    }

    /// What the watches show, if they do.
    fn shown(&self) -> Option<Arc<Seen>> {
        let version = self.watching.version()?;
        let mut watched = self.watched.lock();
        if let Some((known, seen)) = &*watched
            && *known == version
        {
            return Some(Arc::clone(seen));
        }
        let current = self.watching.current()?;
        let scalables = current.scalables.into_iter();
        let scalables = scalables.map(|(kind, object)| (kind, (*object).clone()));
        let machines = current.machines.iter().map(|object| &**object);
        let seen = self.assemble(scalables.collect(), machines);
        *watched = Some((current.version, Arc::clone(&seen)));
        Some(seen)
    }

    /// What the cluster has, listed at most two seconds ago.
    async fn listed(&self) -> Result<Arc<Seen>, ProviderError> {
        let _reading = self.reading.lock().await;
        let wrote = *self.wrote.lock();
        if let Some((at, seen)) = &*self.seen.lock()
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(seen));
        }
        let mut scalables = Vec::new();
        for kind in Kind::ALL {
            let objects = self.access.list(kind.plural()).await?;
            scalables.extend(objects.into_iter().map(|object| (kind, object)));
        }
        let machines = self.access.list("machines").await?;
        let seen = self.assemble(scalables, machines.iter());
        // What was written meanwhile it may not show.
        if *self.wrote.lock() == wrote {
            *self.seen.lock() = Some((Instant::now(), Arc::clone(&seen)));
        }
        Ok(seen)
    }

    fn assemble<'a>(
        &self,
        scalables: Vec<(Kind, Value)>,
        machines: impl Iterator<Item = &'a Value>,
    ) -> Arc<Seen> {
        let mut groups = Vec::new();
        let mut sets = BTreeMap::new();
        for (kind, object) in scalables {
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
        let prefix = &self.settings.group;
        let machines = machines.filter_map(|machine| Machine::of(machine, prefix));
        let seen = Arc::new(Seen::new(groups, machines.collect(), &sets));
        for pool in &seen.untold {
            if self.access.is_news(pool) {
                tracing::warn!(%pool, "left alone: neither Machines nor providerIDList tell its members");
            }
        }
        seen
    }

    fn counts(&self, object: &Value) -> bool {
        let wanted = &self.settings.discovery;
        let prefix = &self.settings.group;
        wanted.is_empty() || wanted.iter().any(|one| one.matches(object, prefix))
    }

    /// Forgets what was seen, because it has been changed.
    fn forget(&self) {
        *self.seen.lock() = None;
        *self.wrote.lock() = Some(Instant::now());
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
        let seen = self.listed().await?;
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

/// Kinds that could not be found, said once each.
type Absent = Mutex<BTreeSet<String>>;
