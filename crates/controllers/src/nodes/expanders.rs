//! How one of several groups is chosen, by the names of `--expander`, and the list of priorities.

use super::priorities::{self, CONFIG_MAP, KEY};
use crate::runtime::{Cache, Full, chain};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher;
use kube::{Api, Client};
use plimsoll_engine::cluster::{Expander, GroupId, PodPrices};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One name of `--expander`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpanderName {
    /// Any.
    Random,
    /// The most pods helped.
    MostPods,
    /// The fewest new nodes.
    LeastNodes,
    /// The smallest share left unused.
    LeastWaste,
    /// The smallest price.
    Price,
    /// The highest priority of a list in a ConfigMap.
    Priority,
    /// What a service answers (see [`Options::adviser`](super::Options::adviser)).
    Grpc,
}

const NAMES: [(&str, ExpanderName); 7] = [
    ("random", ExpanderName::Random),
    ("most-pods", ExpanderName::MostPods),
    ("least-nodes", ExpanderName::LeastNodes),
    ("least-waste", ExpanderName::LeastWaste),
    ("price", ExpanderName::Price),
    ("priority", ExpanderName::Priority),
    ("grpc", ExpanderName::Grpc),
];

impl FromStr for ExpanderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = NAMES.iter().find(|(name, _)| *name == text);
        known.map(|(_, expander)| *expander).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("{text:?} is none of {}", names.join(", "))
        })
    }
}

impl fmt::Display for ExpanderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMES.iter().find(|(_, expander)| expander == self);
        f.write_str(known.map_or("", |(name, _)| name))
    }
}

/// What the expanders need beside the groups.
#[derive(Debug, Default)]
pub(super) struct Expanders {
    names: Vec<ExpanderName>,
    priorities: Option<Cache<Full<ConfigMap>>>,
    /// The text that could not be read, so that this is said once.
    bad: Option<String>,
}

impl Expanders {
    /// Follows the list of priorities, if one is asked for.
    pub(super) fn start(
        client: &Client,
        seed: u64,
        namespace: &str,
        names: &[ExpanderName],
    ) -> Self {
        let follow = || {
            let api = Api::namespaced(client.clone(), namespace);
            let only = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
            Cache::start_in(api, seed, only)
        };
        Self {
            names: names.to_vec(),
            priorities: names.contains(&ExpanderName::Priority).then(follow),
            bad: None,
        }
    }

    /// Waits for the list of priorities, but not for ever: it may be forbidden to be read.
    pub(super) async fn ready(&self, patience: Duration) {
        if let Some(priorities) = &self.priorities
            && tokio::time::timeout(patience, priorities.ready())
                .await
                .is_err()
        {
            tracing::warn!("the ConfigMap {CONFIG_MAP} cannot be read yet");
        }
    }

    /// The expanders for these groups. What is wrong with the list of priorities comes second, once.
    pub(super) fn of<'a>(
        &mut self,
        groups: impl Iterator<Item = &'a GroupId>,
    ) -> (Vec<Expander>, Option<String>) {
        let groups: Vec<&GroupId> = groups.collect();
        let mut trouble = None;
        let mut expanders = Vec::new();
        for name in self.names.clone() {
            expanders.push(match name {
                ExpanderName::Random => Expander::Random,
                ExpanderName::MostPods => Expander::MostPods,
                ExpanderName::LeastNodes => Expander::LeastNodes,
                ExpanderName::LeastWaste => Expander::LeastWaste,
                ExpanderName::Price => Expander::Price(PodPrices::default()),
                ExpanderName::Priority => {
                    let (levels, wrong) = self.levels(&groups);
                    trouble = wrong;
                    Expander::Priority(levels)
                }
                // Keeps all until the service has been asked.
                ExpanderName::Grpc => Expander::Chosen(Vec::new()),
            });
        }
        (expanders, trouble)
    }

    /// The level of each group that the list names.
    fn levels(&mut self, groups: &[&GroupId]) -> (BTreeMap<GroupId, i64>, Option<String>) {
        let maps = self.priorities.as_ref().map(|maps| maps.list(None));
        let map = maps.and_then(|maps| maps.into_iter().next());
        let text = map
            .as_ref()
            .and_then(|map| map.object.data.as_ref()?.get(KEY));
        let read = match text {
            Some(text) => priorities::parse(text).map_err(|error| chain(&error)),
            None => Err(format!("there is no {CONFIG_MAP} with a key {KEY}")),
        };
        match read {
            Ok(list) => {
                self.bad = None;
                let levels = priorities::levels(&list, groups.iter().copied());
                (levels, None)
            }
            Err(why) => {
                let is_news = self.bad.as_ref() != Some(&why);
                self.bad = Some(why.clone());
                (BTreeMap::new(), is_news.then_some(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_as_they_are_written() {
        for (name, expander) in NAMES {
            assert_eq!(name.parse(), Ok(expander));
            assert_eq!(expander.to_string(), name);
        }
        assert!("best".parse::<ExpanderName>().is_err());
    }
}
