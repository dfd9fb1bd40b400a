//! What the provider has promised and not kept yet: open requests for nodes, instances that are no
//! nodes yet, groups that failed. Kept over restarts.

use jiff::{SignedDuration, Timestamp};
use plimsoll_api::nodegroup::{ErrorClass, Instance, InstanceProblem, NodeGroup};
use plimsoll_engine::cluster::{Backoff, GroupId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long a provider may go on listing instances that were given back.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);

/// Nodes that were asked for and have not all come yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    /// How many nodes.
    pub(super) increase: usize,
    /// When the last of them were asked for.
    pub(super) since: Timestamp,
    /// When they must have come.
    pub(super) until: Timestamp,
}

/// An instance that is no node yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unregistered {
    /// Its group.
    pub(super) group: GroupId,
    /// When it was first seen without a node.
    pub(super) since: Timestamp,
}

/// An instance that the provider could not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) group: GroupId,
    pub(super) instance: Arc<str>,
    pub(super) problem: InstanceProblem,
    /// Whether this is the first look that sees it.
    pub(super) is_new: bool,
}

/// Everything promised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Registry {
    /// Open requests.
    pub(super) requests: BTreeMap<GroupId, Request>,
    /// Instances without a node, by id.
    pub(super) unregistered: BTreeMap<Arc<str>, Unregistered>,
    /// Since when groups have fewer nodes than their target, beyond what is asked for.
    pub(super) short_since: BTreeMap<GroupId, Timestamp>,
    /// Groups that failed to grow.
    pub(super) backoff: Backoff,
    /// Instances that failed, and have been dealt with.
    #[serde(skip)]
    known_failures: BTreeSet<Arc<str>>,
    /// When instances were last given back: a provider may go on listing them.
    #[serde(skip)]
    discarded: BTreeMap<Arc<str>, Timestamp>,
}

impl Registry {
    /// Takes in which instances there are. `is_node` tells by an instance's id whether it is a
    /// node. Returns the instances that could not be made.
    pub(super) fn observe(
        &mut self,
        groups: &[NodeGroup],
        is_node: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Vec<Failed> {
        let mut seen = BTreeMap::new();
        let mut failed = Vec::new();
        for group in groups {
            for instance in &group.instances {
                if is_node(&instance.id) || is_going(instance) {
                    continue;
                }
                if let Some(problem) = &instance.problem {
                    failed.push(Failed {
                        group: Arc::clone(&group.id),
                        instance: Arc::clone(&instance.id),
                        problem: problem.clone(),
                        is_new: !self.known_failures.contains(&instance.id),
                    });
                    continue;
                }
                let known = self.unregistered.get(&instance.id);
                let since = known.map_or(now, |known| known.since);
                let group = Arc::clone(&group.id);
                seen.insert(Arc::clone(&instance.id), Unregistered { group, since });
            }
        }
        self.unregistered = seen;
        let instances = failed.iter().map(|failed| Arc::clone(&failed.instance));
        self.known_failures = instances.collect();
        let exists = |id: &GroupId| groups.iter().any(|group| group.id == *id);
        self.requests.retain(|id, _| exists(id));
        self.short_since.retain(|id, _| exists(id));
        self.backoff.keep(exists);
        failed
    }

    /// More nodes were asked for.
    pub(super) fn asked(
        &mut self,
        group: &GroupId,
        count: usize,
        now: Timestamp,
        patience: SignedDuration,
    ) {
        let open = self.requests.remove(group).map_or(0, |open| open.increase);
        let request = Request {
            increase: open + count,
            since: now,
            until: now.checked_add(patience).unwrap_or(Timestamp::MAX),
        };
        self.requests.insert(Arc::clone(group), request);
    }

    /// So many of the nodes asked for will not come.
    pub(super) fn gave_up(&mut self, group: &str, count: usize) {
        let Some(request) = self.requests.get_mut(group) else {
            return;
        };
        request.increase = request.increase.saturating_sub(count);
        if request.increase == 0 {
            self.requests.remove(group);
        }
    }

    /// Those of these instances that have not been given back just now; they count as given back.
    pub(super) fn newly_unwanted(&mut self, ids: &[Arc<str>], now: Timestamp) -> Vec<Arc<str>> {
        self.discarded
            .retain(|_, at| now.duration_since(*at) < PATIENCE);
        let due = ids.iter().filter(|id| !self.discarded.contains_key(*id));
        let due: Vec<Arc<str>> = due.map(Arc::clone).collect();
        let noted = due.iter().map(|id| (Arc::clone(id), now));
        self.discarded.extend(noted);
        due
    }

    /// Every node of the group has come. Returns whether some had been asked for.
    pub(super) fn fulfilled(&mut self, group: &str) -> bool {
        let asked = self.requests.remove(group);
        if let Some(request) = &asked {
            self.backoff.clear_before(group, request.since);
        }
        asked.is_some()
    }

    /// Requests whose time is up; they are closed.
    pub(super) fn expired(&mut self, now: Timestamp) -> Vec<(GroupId, Request)> {
        let over = self.requests.iter().filter(|(_, r)| r.until <= now);
        let over: Vec<GroupId> = over.map(|(group, _)| Arc::clone(group)).collect();
        let over = over.into_iter();
        over.filter_map(|group| self.requests.remove_entry(&group))
            .collect()
    }

    /// Notes whether a group lacks nodes. Returns since when it does.
    pub(super) fn is_short(
        &mut self,
        group: &GroupId,
        short: bool,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if !short {
            self.short_since.remove(group);
            return None;
        }
        Some(*self.short_since.entry(Arc::clone(group)).or_insert(now))
    }
}

fn is_going(instance: &Instance) -> bool {
    instance.state == Some(plimsoll_api::nodegroup::InstanceState::Deleting)
}

/// The provider's code of a failure, or what stands for it.
pub(super) fn code(class: ErrorClass, code: &str) -> String {
    if code.is_empty() {
        format!("{class:?}")
    } else {
        code.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_api::nodegroup::{InstanceState, OptionOverrides};
    use plimsoll_engine::cluster::BackoffOptions;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn instance(id: &str, state: InstanceState) -> Instance {
        Instance {
            id: id.into(),
            state: Some(state),
            problem: None,
        }
    }

    fn group(instances: Vec<Instance>) -> NodeGroup {
        NodeGroup {
            id: "g".into(),
            min: 0,
            max: 9,
            target: 3,
            instances,
            options: OptionOverrides::default(),
            debug: String::new(),
        }
    }

    #[test]
    fn an_instance_without_a_node_is_waited_for_from_when_it_was_seen() {
        let mut registry = Registry::default();
        let groups = [group(vec![
            instance("a", InstanceState::Running),
            instance("b", InstanceState::Creating),
            instance("c", InstanceState::Deleting),
        ])];
        registry.observe(&groups, |id| id == "a", at(0));
        registry.observe(&groups, |id| id == "a", at(90));
        let waiting: Vec<_> = registry.unregistered.iter().collect();
        let want = Unregistered {
            group: "g".into(),
            since: at(0),
        };
        assert_eq!(waiting, [(&"b".into(), &want)]);
    }

    #[test]
    fn a_failure_is_new_once() {
        let mut registry = Registry::default();
        let mut broken = instance("a", InstanceState::Creating);
        broken.problem = Some(InstanceProblem {
            class: ErrorClass::OutOfResources,
            code: String::new(),
            message: "none left".to_owned(),
        });
        let groups = [group(vec![broken])];
        let new = |failed: Vec<Failed>| failed.into_iter().map(|f| f.is_new).collect::<Vec<_>>();
        assert_eq!(new(registry.observe(&groups, |_| false, at(0))), [true]);
        assert_eq!(new(registry.observe(&groups, |_| false, at(1))), [false]);
        assert!(registry.unregistered.is_empty());
    }

    #[test]
    fn a_request_is_open_until_it_is_kept_or_overdue() {
        let (mut registry, minute) = (Registry::default(), SignedDuration::from_mins(1));
        let group: GroupId = "g".into();
        registry.asked(&group, 2, at(0), minute);
        registry.asked(&group, 1, at(30), minute);
        assert_eq!(registry.requests["g"].increase, 3);
        assert!(registry.expired(at(89)).is_empty());
        registry.gave_up("g", 2);
        assert_eq!(registry.expired(at(90)).first().unwrap().1.increase, 1);
        assert!(!registry.fulfilled("g"));
        registry.asked(&group, 1, at(0), minute);
        registry.gave_up("g", 5);
        assert!(registry.requests.is_empty());
    }

    #[test]
    fn an_instance_is_given_back_once_a_minute() {
        let (mut registry, ids) = (Registry::default(), ["a".into(), "b".into()]);
        assert_eq!(registry.newly_unwanted(&ids[..1], at(0)), ids[..1]);
        assert_eq!(registry.newly_unwanted(&ids, at(59)), ids[1..]);
        assert_eq!(registry.newly_unwanted(&ids, at(60)), ids[..1]);
    }

    #[test]
    fn nodes_that_came_clear_older_failures_only() {
        let (mut registry, minute) = (Registry::default(), SignedDuration::from_mins(1));
        let (group, options) = (GroupId::from("g"), BackoffOptions::default());
        registry.backoff.fail(&group, at(0), ("a", ""), &options);
        registry.asked(&group, 1, at(10), minute);
        registry.backoff.fail(&group, at(20), ("b", ""), &options);
        assert!(registry.fulfilled("g"));
        assert!(registry.backoff.window("g", at(21)).is_some());
        registry.asked(&group, 1, at(30), minute);
        assert!(registry.fulfilled("g"));
        assert!(registry.backoff.window("g", at(31)).is_none());
    }

    #[test]
    fn it_is_read_back_as_it_was_written() {
        let mut registry = Registry::default();
        registry.asked(&"g".into(), 1, at(0), SignedDuration::from_mins(1));
        registry.observe(
            &[group(vec![instance("a", InstanceState::Running)])],
            |_| false,
            at(5),
        );
        registry.is_short(&"g".into(), true, at(7));
        let text = serde_json::to_string(&registry).unwrap();
        assert_eq!(serde_json::from_str::<Registry>(&text).unwrap(), registry);
    }
}
