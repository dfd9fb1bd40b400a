//! The provider itself.

use super::api::Api;
use super::connect::connect;
use super::launch::Launches;
use super::model::{ScalingGroup, Units};
use super::options::Options;
use super::shortage::instance_id;
use super::state::{Held, State};
use super::template::{Seen, template};
use async_trait::async_trait;
use aws_config::{BehaviorVersion, ConfigLoader};
use jiff::Timestamp;
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{
    ErrorClass, NodeGroup, NodeProvider, NodeRef, ProviderError, ProviderTemplate,
};
use plimsoll_clock::Clock;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Calls under way at the same time.
pub(super) const AT_ONCE: usize = 4;
/// A node with this annotation set to `false` is left alone.
const ENABLED: &str = "k8s.io/cluster-autoscaler-enabled";

/// Auto Scaling groups of AWS.
///
/// Groups are read at most once a minute, every ten seconds while machines are awaited, and after
/// machines were ended. Each write reads its group anew first, so that what somebody else did to
/// it is not undone.
#[derive(Debug)]
pub struct AwsProvider {
    pub(super) api: Arc<dyn Api>,
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) state: Mutex<State>,
    pub(super) launches: Launches,
    /// Held while groups are read.
    pub(super) reading: tokio::sync::Mutex<()>,
    /// One for each group, held while it is written.
    turns: Mutex<BTreeMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
    /// Until when activities are not asked for.
    pub(super) activities_refused: Mutex<Option<Timestamp>>,
    /// Oddities that were said.
    pub(super) said: Mutex<BTreeSet<String>>,
}

impl AwsProvider {
    /// Finds credentials, region and addresses. Groups are first read when they are asked for.
    ///
    /// # Errors
    /// There is no region, or an address is none.
    pub async fn new(options: Options, clock: Clock) -> Result<Self, ProviderError> {
        Self::connected(
            aws_config::defaults(BehaviorVersion::latest()),
            options,
            clock,
        )
        .await
    }

    /// The same, for programs that have their credentials, region or profile from elsewhere.
    ///
    /// # Errors
    /// As [`AwsProvider::new`].
    pub async fn connected(
        loader: ConfigLoader,
        options: Options,
        clock: Clock,
    ) -> Result<Self, ProviderError> {
        let connection = connect(loader, &options.cloud_config, clock).await?;
        Ok(Self::over(Arc::new(connection), options, clock))
    }

    pub(crate) fn over(api: Arc<dyn Api>, options: Options, clock: Clock) -> Self {
        if options.discovery.len() > 1 {
            tracing::info!(
                "several --node-group-auto-discovery flags: groups that match any of them are looked after"
            );
        }
        Self {
            launches: Launches::new(Arc::clone(&api), clock, options.static_types),
            api,
            options,
            clock,
            state: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            turns: Mutex::default(),
            activities_refused: Mutex::default(),
            said: Mutex::default(),
        }
    }

    pub(super) fn held(&self, name: &str) -> Result<Held, ProviderError> {
        let held = self.state.lock().get(name).cloned();
        held.ok_or_else(|| {
            ProviderError::new(
                ErrorClass::NotFound,
                format!("there is no Auto Scaling group {name}"),
            )
        })
    }

    /// Waits until nobody else writes the group.
    pub(super) async fn turn(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = Arc::clone(self.turns.lock().entry(name.into()).or_default());
        turn.lock_owned().await
    }

    /// The group as AWS has it this moment.
    pub(super) async fn fresh(&self, name: &str) -> Result<ScalingGroup, ProviderError> {
        let found = self.api.groups_by_name(&[name.into()]).await?;
        let found = found.into_iter().find(|group| &*group.name == name);
        let missing = || {
            let message = format!("there is no Auto Scaling group {name}");
            ProviderError::new(ErrorClass::NotFound, message)
        };
        let mut found = found.ok_or_else(missing)?;
        self.weigh(&mut found).await;
        if found.units == Units::Unknown {
            let message = format!(
                "nobody tells how much of the capacity of Auto Scaling group {name} a machine is"
            );
            return Err(ProviderError::new(ErrorClass::Other, message));
        }
        Ok(found)
    }

    /// Sets the size and takes the group in as it is then.
    pub(super) async fn resize(
        &self,
        mut group: ScalingGroup,
        desired: usize,
    ) -> Result<(), ProviderError> {
        tracing::info!("Setting asg {} size to {desired}", group.name);
        self.api.set_desired(&group.name, desired).await?;
        group.desired = desired;
        self.state.lock().written(group, self.clock.now());
        Ok(())
    }
}

#[async_trait]
impl NodeProvider for AwsProvider {
    fn name(&self) -> &'static str {
        "aws"
    }

    async fn groups(&self) -> Result<Vec<NodeGroup>, ProviderError> {
        self.refresh().await?;
        Ok(self.state.lock().groups())
    }

    async fn group_of(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError> {
        let left_alone =
            |(key, value): &(Arc<str>, Arc<str>)| &**key == ENABLED && &**value == "false";
        if node.annotations.iter().any(left_alone) {
            return Ok(None);
        }
        let id = instance_id(&node.provider_id);
        Ok(id.and_then(|id| self.state.lock().owner(id)))
    }

    async fn template(&self, group: &str) -> Result<Option<ProviderTemplate>, ProviderError> {
        let held = self.held(group)?;
        let managed = self.launches.managed(&held.group).await;
        let shape = self.launches.shape(&held.group, managed.as_ref()).await;
        let seen = Seen {
            group: &held.group,
            shape: shape.as_ref(),
            managed: managed.as_ref(),
        };
        let found = template(&seen, self.api.region());
        if found.is_none() {
            self.say_once(&format!(
                "nobody tells what machines Auto Scaling group {group} makes; the tags \
                 k8s.io/cluster-autoscaler/node-template/resources/cpu and …/memory could"
            ));
        }
        Ok(found)
    }

    async fn increase(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        if delta == 0 {
            return Err(ProviderError::new(
                ErrorClass::Invalid,
                "size increase must be positive",
            ));
        }
        let _turn = self.turn(group).await;
        let held = self.held(group)?;
        let fresh = self.fresh(group).await?;
        if fresh.suspends("Launch") {
            let message = format!("process Launch of Auto Scaling group {group} is suspended");
            return Err(ProviderError::new(ErrorClass::Invalid, message));
        }
        let desired = fresh.grown(&held.group, delta);
        let (_, max) = held.bounds(&fresh);
        if desired > max {
            let message = format!("size increase too large - desired:{desired} max:{max}");
            return Err(ProviderError::new(ErrorClass::Invalid, message));
        }
        if desired == fresh.desired {
            self.state.lock().written(fresh, self.clock.now());
            return Ok(());
        }
        self.resize(fresh, desired).await
    }

    async fn delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        self.end(group, nodes).await
    }

    async fn decrease_target(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        self.give_up(group, delta).await
    }

    fn is_uneven(&self, group: &str) -> bool {
        let held = self.held(group);
        held.is_ok_and(|held| matches!(held.group.units, Units::Weights { uneven: true, .. }))
    }

    fn gpu_label(&self) -> &'static str {
        "k8s.amazonaws.com/accelerator"
    }

    fn price(&self, node: &Value) -> Option<f64> {
        let labels = node.pointer("/metadata/labels")?;
        let kind = [
            "node.kubernetes.io/instance-type",
            "beta.kubernetes.io/instance-type",
        ];
        let kind = kind.iter().find_map(|name| labels.get(*name)?.as_str())?;
        crate::nodes::catalog::lookup(kind).map(|found| found.price_per_hour)
    }
}
