//! Auto Scaling groups in memory, with the faults the service has.

use super::api::Api;
use super::model::{
    Activity, Launch, LaunchFacts, Machine, Managed, Phase, ScalingGroup, Shape, TemplateRef, Units,
};
use super::options::TagQuery;
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An empty group of up to ten machines in one zone.
pub(crate) fn group(name: &str, desired: usize) -> ScalingGroup {
    ScalingGroup {
        name: name.into(),
        min: 0,
        max: 10,
        desired,
        zones: vec!["us-east-1a".into()],
        machines: Vec::new(),
        tags: BTreeMap::new(),
        launch: Launch::Unknown,
        suspended: Vec::new(),
        units: Units::Machines,
        deleting: false,
    }
}

/// Units of a group whose new machines count for so many or more.
pub(crate) fn weighted(least: usize) -> Units {
    Units::Weights {
        least,
        of: BTreeMap::new(),
        uneven: true,
    }
}

/// A machine of `t3.medium`.
pub(crate) fn machine(id: &str, phase: Phase) -> Machine {
    Machine {
        id: id.into(),
        zone: "us-east-1a".into(),
        kind: Some("t3.medium".into()),
        phase,
        weight: 1,
    }
}

/// What the service holds.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub groups: BTreeMap<Arc<str>, ScalingGroup>,
    pub activities: Vec<Activity>,
    pub template: Option<LaunchFacts>,
    pub shapes: BTreeMap<String, Shape>,
    /// What EKS says of its node groups, by name.
    pub managed: BTreeMap<String, Managed>,
    /// Whether ending a machine lowers the desired capacity by one, whatever the machine's weight.
    pub lowers_by_one: bool,
    /// Calls, e.g. `set_desired workers 3`.
    pub calls: Vec<String>,
    /// Calls that fail, by how they begin.
    pub failing: BTreeMap<&'static str, ErrorClass>,
    /// Calls that are never answered, by name: `managed`.
    pub hanging: BTreeSet<&'static str>,
}

/// The service.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    inside: Mutex<Inside>,
}

impl Fake {
    /// A service with these groups.
    pub(crate) fn with(groups: Vec<ScalingGroup>) -> Arc<Self> {
        let fake = Self::default();
        fake.change(|inside| {
            inside.groups = groups
                .into_iter()
                .map(|group| (Arc::clone(&group.name), group))
                .collect();
        });
        Arc::new(fake)
    }

    /// Looks inside, or changes what is there.
    pub(crate) fn change<T>(&self, by: impl FnOnce(&mut Inside) -> T) -> T {
        by(&mut self.inside.lock())
    }

    /// Changes one group.
    pub(crate) fn group(&self, name: &str, by: impl FnOnce(&mut ScalingGroup)) {
        self.change(|inside| inside.groups.get_mut(name).map(by));
    }

    /// The calls since last asked.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.change(|inside| std::mem::take(&mut inside.calls))
    }

    fn called(&self, call: String) -> Result<(), ProviderError> {
        self.change(|inside| {
            let failing = inside
                .failing
                .iter()
                .find(|(begin, _)| call.starts_with(**begin));
            let outcome = failing.map_or(Ok(()), |(_, class)| {
                Err(ProviderError::new(*class, call.clone()))
            });
            inside.calls.push(call);
            outcome
        })
    }
}

#[async_trait]
impl Api for Fake {
    async fn groups_by_name(&self, names: &[Arc<str>]) -> Result<Vec<ScalingGroup>, ProviderError> {
        self.called(format!("groups_by_name {}", names.join(" ")))?;
        let found = self.change(|inside| {
            names
                .iter()
                .filter_map(|name| inside.groups.get(name).cloned())
                .collect()
        });
        Ok(found)
    }

    async fn groups_by_tags(&self, query: &TagQuery) -> Result<Vec<ScalingGroup>, ProviderError> {
        self.called("groups_by_tags".to_owned())?;
        let all = self.change(|inside| inside.groups.clone());
        Ok(all
            .into_values()
            .filter(|group| query.matches(&group.tags))
            .collect())
    }

    async fn activities(
        &self,
        group: &str,
        since: Timestamp,
    ) -> Result<Vec<Activity>, ProviderError> {
        self.called(format!("activities {group}"))?;
        let all = self.change(|inside| inside.activities.clone());
        Ok(all
            .into_iter()
            .filter(|activity| activity.started >= since)
            .collect())
    }

    async fn launch_configuration(&self, name: &str) -> Result<Option<LaunchFacts>, ProviderError> {
        self.called(format!("launch_configuration {name}"))?;
        Ok(self.change(|inside| inside.template.clone()))
    }

    async fn launch_template(
        &self,
        template: &TemplateRef,
    ) -> Result<Option<LaunchFacts>, ProviderError> {
        self.called(format!("launch_template {}", template.id))?;
        Ok(self.change(|inside| inside.template.clone()))
    }

    async fn instance_type(&self, name: &str) -> Result<Option<Shape>, ProviderError> {
        self.called(format!("instance_type {name}"))?;
        Ok(self.change(|inside| inside.shapes.get(name).cloned()))
    }

    async fn managed(&self, cluster: &str, name: &str) -> Result<Option<Managed>, ProviderError> {
        self.called(format!("managed {cluster} {name}"))?;
        if self.change(|inside| inside.hanging.contains("managed")) {
            return std::future::pending().await;
        }
        Ok(self.change(|inside| inside.managed.get(name).cloned()))
    }

    async fn set_desired(&self, group: &str, desired: usize) -> Result<(), ProviderError> {
        self.called(format!("set_desired {group} {desired}"))?;
        self.group(group, |group| group.desired = desired);
        Ok(())
    }

    async fn terminate(&self, instance: &str) -> Result<(), ProviderError> {
        self.called(format!("terminate {instance}"))?;
        self.change(|inside| {
            let of = |group: &&mut ScalingGroup| {
                group
                    .machines
                    .iter()
                    .any(|machine| &*machine.id == instance)
            };
            let missing =
                || ProviderError::new(ErrorClass::NotFound, format!("{instance} not found"));
            let group = inside.groups.values_mut().find(of).ok_or_else(missing)?;
            let found = group.machines.iter_mut();
            for machine in found.filter(|machine| &*machine.id == instance) {
                machine.phase = Phase::Leaving;
                group.desired -= if inside.lowers_by_one {
                    1
                } else {
                    machine.weight
                };
            }
            Ok(())
        })
    }

    fn region(&self) -> &'static str {
        "us-east-1"
    }
}
