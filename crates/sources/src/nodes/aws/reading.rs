//! Reading the groups, and why their machines do not come.

use super::model::{ScalingGroup, Units};
use super::provider::{AT_ONCE, AwsProvider};
use super::shortage::{shortage, suspended};
use super::state::{Due, Reading};
use super::tags;
use futures::stream::{self, StreamExt};
use jiff::SignedDuration;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long it is remembered that activities may not be read.
const REFUSED: SignedDuration = SignedDuration::from_mins(20);

/// How long machines may take to become nodes where the group says nothing.
const PROVISION: SignedDuration = SignedDuration::from_mins(15);

impl AwsProvider {
    /// Reads the groups if they are old.
    pub(super) async fn refresh(&self) -> Result<(), ProviderError> {
        let _reading = self.reading.lock().await;
        let now = self.clock.now();
        let due = self.state.lock().due(now);
        match due {
            Due::No => return Ok(()),
            Due::Failing(error) => return Err(error),
            Due::Now => {}
        }
        let seen = self.state.lock().writes();
        match self.read().await {
            Ok(readings) => {
                for reading in &readings {
                    self.launches.see(&reading.group);
                    self.say_oddities(&reading.group);
                }
                self.state.lock().replace(readings, now, seen);
            }
            Err(error) => {
                self.state.lock().failed(error.clone(), self.clock.now());
                return Err(error);
            }
        }
        self.read_activities().await;
        Ok(())
    }

    /// All groups: named ones first, since their sizes win.
    async fn read(&self) -> Result<Vec<Reading>, ProviderError> {
        let mut found: BTreeMap<Arc<str>, Reading> = BTreeMap::new();
        if !self.options.groups.is_empty() {
            let wanted: Vec<Arc<str>> = self
                .options
                .groups
                .iter()
                .map(|named| Arc::clone(&named.name))
                .collect();
            for group in self.api.groups_by_name(&wanted).await? {
                let named = self
                    .options
                    .groups
                    .iter()
                    .find(|named| named.name == group.name)
                    .cloned();
                found.insert(Arc::clone(&group.name), Reading { group, named });
            }
            for name in wanted.iter().filter(|name| !found.contains_key(*name)) {
                self.say_once(&format!(
                    "Auto Scaling group {name} of --nodes does not exist"
                ));
            }
        }
        for query in &self.options.discovery {
            for group in self.api.groups_by_tags(query).await? {
                let name = Arc::clone(&group.name);
                found.entry(name).or_insert(Reading { group, named: None });
            }
        }
        for reading in found.values_mut() {
            self.weigh(&mut reading.group).await;
        }
        let counted = found.into_values().filter(|reading| {
            let group = &reading.group;
            let is_unknown = group.units == Units::Unknown;
            if is_unknown {
                // Departs: its size is no number of machines. Taken for one, machines that work
                // would count as missing, and a lower size would end them.
                self.say_once(&format!(
                    "Auto Scaling group {} is left alone: nobody tells how much of its capacity a machine is \
                     (WeightedCapacity of all its types would, or a least number of vCPUs or memory)",
                    group.name
                ));
            }
            // One that was known stays, at the size it has: its nodes are not foreign all at once.
            let is_known = !is_unknown || self.state.lock().get(&group.name).is_some();
            !group.deleting && is_known
        });
        Ok(counted.collect())
    }

    /// Finds out why machines do not come.
    async fn read_activities(&self) {
        let now = self.clock.now();
        let mut awaited = self.state.lock().awaited();
        awaited.retain(|held| {
            let kept = suspended(&held.group);
            let is_news = kept.is_none();
            if kept.is_some() {
                self.state.lock().set_shortage(&held.group.name, kept);
            }
            is_news
        });
        if self
            .activities_refused
            .lock()
            .is_some_and(|until| now < until)
        {
            return;
        }
        let asked = stream::iter(awaited).map(|held| async move {
            let name = Arc::clone(&held.group.name);
            let answer = self.api.activities(&name, held.activities_since()).await;
            let own = tags::options(&held.group.tags).max_node_provision_time;
            let recent = now.checked_sub(own.unwrap_or(PROVISION)).unwrap_or(now);
            (name, (held.group.missing(), recent), answer)
        });
        let mut asked = asked.buffered(AT_ONCE);
        while let Some((name, (missing, recent), answer)) = asked.next().await {
            match answer {
                Ok(activities) => self
                    .state
                    .lock()
                    .set_shortage(&name, shortage(&activities, missing, recent)),
                Err(error) if error.class == ErrorClass::Forbidden => {
                    self.say_once(&format!(
                        "{error}; failed launches are noticed only after the time that nodes may take to come"
                    ));
                    *self.activities_refused.lock() = now.checked_add(REFUSED).ok();
                    return;
                }
                Err(error) => tracing::warn!(%error, "it stays unknown why machines do not come"),
            }
        }
    }

    fn say_oddities(&self, group: &ScalingGroup) {
        let name = &group.name;
        let named = self.options.groups.iter().find(|named| named.name == *name);
        if named.is_some_and(|named| named.max > group.max || named.min < group.min) {
            self.say_once(&format!(
                "--nodes gives Auto Scaling group {name} sizes that AWS does not: {}:{}",
                group.min, group.max
            ));
        }
        let processes = [
            ("Launch", "it does not grow"),
            ("Terminate", "its nodes stay"),
        ];
        for (process, effect) in processes.iter().filter(|(name, _)| group.suspends(name)) {
            self.say_once(&format!(
                "process {process} of Auto Scaling group {name} is suspended: {effect}"
            ));
        }
    }

    pub(super) fn say_once(&self, what: &str) {
        if self.said.lock().insert(what.to_owned()) {
            tracing::warn!("{what}");
        }
    }
}
