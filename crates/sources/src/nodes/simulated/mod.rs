//! Machines whose behaviour is chosen: boot times that vary, groups that are short of capacity,
//! and a provider that is slow, errs, or does not tell the truth. All of it by a seed and on the
//! runtime's timer, so that it repeats exactly in virtual time.

mod faults;
mod offer;

#[cfg(test)]
mod tests;

pub use faults::{Faults, Shortage};
pub use offer::{CAPACITY_LABEL, SPOT, spot};

use super::fleet::{
    Conduct, Fate, Fleet, Floor, GPU_LABEL, GroupConfig, MachineError, Machines, provider_id,
};
use async_trait::async_trait;
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{
    ErrorClass, InstanceProblem, NodeGroup, NodeProvider, NodeRef, ProviderError, ProviderTemplate,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// The code that AWS gives for a shortage.
const NO_CAPACITY: &str = "InsufficientInstanceCapacity";

/// How machines behave as long as nothing goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Seed of everything random.
    pub seed: u64,
    /// By how much of itself a boot time varies either way, 0–1.
    pub boot_spread: f64,
    /// How often a spot machine is not to be had, 0–1.
    pub spot_shortage: f64,
    /// How long it takes until a missing machine shows.
    pub shortage_shows: Duration,
    /// How long a machine takes to end.
    pub shutdown: Duration,
}

impl Default for Behaviour {
    /// Exact boots, no shortage, machines that are gone at once.
    fn default() -> Self {
        Self {
            seed: 0,
            boot_spread: 0.0,
            spot_shortage: 0.0,
            shortage_shows: Duration::from_secs(5),
            shutdown: Duration::ZERO,
        }
    }
}

/// A provider of machines whose behaviour is chosen.
#[derive(Debug)]
pub struct Simulated {
    fleet: Fleet,
    weather: Arc<Weather>,
}

#[derive(Debug)]
struct Weather {
    behaviour: Behaviour,
    random: Mutex<StdRng>,
    faults: Mutex<Faults>,
}

impl Simulated {
    /// Groups without machines yet.
    pub fn new(
        groups: impl IntoIterator<Item = GroupConfig>,
        machines: Arc<dyn Machines>,
        behaviour: Behaviour,
    ) -> Self {
        let weather = Arc::new(Weather {
            random: Mutex::new(StdRng::seed_from_u64(behaviour.seed)),
            behaviour,
            faults: Mutex::default(),
        });
        let conduct: Arc<dyn Conduct> = Arc::<Weather>::clone(&weather);
        let fleet = Fleet::new(groups, machines, conduct);
        Self { fleet, weather }
    }

    /// See [`Fleet::start`].
    ///
    /// # Errors
    /// The first machine that cannot be made.
    pub async fn start(&self, existing: &[Arc<str>]) -> Result<Vec<Arc<str>>, MachineError> {
        self.fleet.start(existing).await
    }

    /// Changes what goes wrong from now on.
    pub fn disturb(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.weather.faults.lock());
    }

    /// Takes a machine away, as clouds do with spot machines: it ends, and the group orders
    /// another in its place. Its target stays.
    ///
    /// # Errors
    /// There is no such machine, or it is going already.
    pub fn interrupt(&self, group: &str, node: &str) -> Result<(), ProviderError> {
        self.fleet.replace(group, node)
    }

    /// The groups as they really are.
    pub fn truth(&self) -> Vec<NodeGroup> {
        self.fleet.groups()
    }

    async fn read(&self) -> Result<(), ProviderError> {
        self.weather
            .answer(|faults| &mut faults.failing_reads)
            .await
    }

    /// Does something, unless it fails first; its answer may get lost.
    async fn write(
        &self,
        act: impl FnOnce() -> Result<(), ProviderError> + Send,
    ) -> Result<(), ProviderError> {
        self.weather
            .answer(|faults| &mut faults.failing_writes)
            .await?;
        act()?;
        let mut faults = self.weather.faults.lock();
        if faults.answers_lost > 0 {
            faults.answers_lost -= 1;
            let message = "no answer in time";
            return Err(ProviderError::new(ErrorClass::Unreachable, message));
        }
        Ok(())
    }

    fn refused(&self, group: &str) -> Result<(), ProviderError> {
        let faults = self.weather.faults.lock();
        if faults.short.get(group) != Some(&Shortage::Refused) {
            return Ok(());
        }
        let problem = no_capacity(group);
        Err(ProviderError {
            class: problem.class,
            code: problem.code,
            message: problem.message,
        })
    }
}

impl Weather {
    /// Waits as long as an answer takes, and fails if it is to.
    async fn answer(
        &self,
        which: impl FnOnce(&mut Faults) -> &mut Option<faults::Failing>,
    ) -> Result<(), ProviderError> {
        let after = self.faults.lock().answer_after;
        if !after.is_zero() {
            sleep(after).await;
        }
        faults::Failing::strike(which(&mut self.faults.lock()))
    }

    fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && self.random.lock().random::<f64>() < probability
    }

    fn boot(&self, usual: Duration) -> Duration {
        let spread = self.behaviour.boot_spread.clamp(0.0, 1.0);
        if spread == 0.0 {
            return usual;
        }
        let factor = 1.0 + spread * self.random.lock().random_range(-1.0..=1.0);
        usual.mul_f64(factor.max(0.0))
    }
}

impl Conduct for Weather {
    fn fate(&self, group: &GroupConfig) -> Fate {
        let scarce = offer::is_spot(&group.shape) && self.chance(self.behaviour.spot_shortage);
        let shows = self.behaviour.shortage_shows;
        let mut faults = self.faults.lock();
        if scarce || faults.short.contains_key(&group.name) {
            return Fate::Fails(shows, no_capacity(&group.name));
        }
        if faults.never_joining > 0 {
            faults.never_joining -= 1;
            return Fate::NeverJoins(group.boot);
        }
        drop(faults);
        Fate::Boots(self.boot(group.boot))
    }

    fn shutdown(&self) -> Duration {
        self.behaviour.shutdown
    }
}

fn no_capacity(group: &str) -> InstanceProblem {
    InstanceProblem {
        class: ErrorClass::OutOfResources,
        code: NO_CAPACITY.to_owned(),
        message: format!("there is not enough capacity for {group}"),
    }
}

#[async_trait]
impl NodeProvider for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn groups(&self) -> Result<Vec<NodeGroup>, ProviderError> {
        self.read().await?;
        let mut groups = self.fleet.groups();
        let faults = self.weather.faults.lock();
        for group in &mut groups {
            faults.distort(group);
        }
        Ok(groups)
    }

    async fn group_of(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError> {
        Ok(self.fleet.group_of(node))
    }

    async fn template(&self, group: &str) -> Result<Option<ProviderTemplate>, ProviderError> {
        self.read().await?;
        if self.weather.faults.lock().no_templates {
            return Ok(None);
        }
        self.fleet.template(group).map(Some)
    }

    async fn increase(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let act = || {
            self.refused(group)?;
            self.fleet.increase(group, delta)
        };
        self.write(act).await
    }

    async fn increase_atomically(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        self.increase(group, delta).await
    }

    async fn delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        let act = || self.fleet.delete(group, nodes, Floor::Minimum);
        self.write(act).await
    }

    async fn force_delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        let act = || self.fleet.delete(group, nodes, Floor::None);
        self.write(act).await
    }

    async fn decrease_target(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let act = || self.fleet.decrease_target(group, delta);
        self.write(act).await
    }

    fn gpu_label(&self) -> &'static str {
        GPU_LABEL
    }

    fn price(&self, node: &Value) -> Option<f64> {
        self.fleet.price(node)
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.fleet.changes())
    }

    async fn close(&self) {
        self.fleet.close();
    }
}

/// The instance of a node, for those who write tests: as `spec.providerID`.
pub fn instance(group: &str, node: &str) -> Arc<str> {
    provider_id(group, node).into()
}
