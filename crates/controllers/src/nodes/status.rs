//! The ConfigMap `cluster-autoscaler-status`, in upstream's form (reference §15).

use super::config_map::ConfigMap;
use super::text::yaml;
use crate::runtime::{Reference, Said, chain};
use jiff::Timestamp;
use plimsoll_engine::cluster::{
    BackoffWindow, ClusterHealth, GroupFacts, GroupHealth, GroupId, NodeCounts,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// When the map was last written, as Go prints times.
const LAST_UPDATED: &str = "cluster-autoscaler.kubernetes.io/last-updated";
/// How long a status that says the same is not written again.
///
/// Departs: upstream writes it after every look.
const REPEAT: Duration = Duration::from_secs(60);

/// What the status is made of.
pub(super) struct StatusInput<'a> {
    pub(super) health: &'a ClusterHealth,
    pub(super) groups: &'a [GroupFacts],
    /// Nodes that may go, by group.
    pub(super) candidates: &'a BTreeMap<GroupId, usize>,
    /// Groups with an open request.
    pub(super) growing: &'a dyn Fn(&str) -> bool,
    /// Groups that are left alone.
    pub(super) backoff: &'a dyn Fn(&str) -> Option<BackoffWindow>,
    pub(super) now: Timestamp,
}

/// Writes the status in the background.
#[derive(Debug)]
pub(super) struct Status {
    newest: watch::Sender<Option<Value>>,
    writer: Option<JoinHandle<()>>,
    /// Status of each condition, since when.
    since: BTreeMap<String, (String, Timestamp)>,
    written: Option<(Value, Instant)>,
}

impl Status {
    /// Nothing is written without a ConfigMap.
    pub(super) fn start(map: Option<ConfigMap>) -> Self {
        let newest = watch::Sender::new(None);
        let writer = map.map(|map| tokio::spawn(write(map, newest.subscribe())));
        Self {
            newest,
            writer,
            since: BTreeMap::new(),
            written: None,
        }
    }

    /// Waits until what was said is written; nothing is after that.
    pub(super) async fn close(self) {
        drop(self.newest);
        if let Some(writer) = self.writer {
            // It fails only if the runtime ends.
            drop(writer.await);
        }
    }

    /// Says how things are, unless that was said a moment ago.
    pub(super) fn tell(&mut self, input: &StatusInput<'_>) {
        let now = input.now;
        let gist = self.status(input, Timestamp::UNIX_EPOCH);
        let is_old = |at: &Instant| at.elapsed() >= REPEAT;
        let repeats = |(known, at): &(Value, Instant)| *known == gist && !is_old(at);
        if self.written.as_ref().is_some_and(repeats) {
            return;
        }
        let status = self.status(input, now);
        self.written = Some((gist, Instant::now()));
        self.newest.send_replace(Some(patch(&status, now)));
    }

    fn status(&mut self, input: &StatusInput<'_>, probed: Timestamp) -> Value {
        let groups: Vec<Value> = input
            .groups
            .iter()
            .map(|group| self.group(group, input, probed))
            .collect();
        let health = input.health;
        let mut clock = Probe {
            since: &mut self.since,
            probed,
            now: input.now,
        };
        let going = input.groups.iter().any(|g| (input.growing)(&g.id));
        let candidates: usize = input.candidates.values().sum();
        let mut well = clock.condition("health", word(health.healthy));
        well.insert("nodeCounts".into(), counts(&health.counts));
        let grows = match (health.healthy, going) {
            (false, _) => "Unhealthy",
            (true, true) => "InProgress",
            (true, false) => "NoActivity",
        };
        let grows = clock.condition("scaleUp", grows);
        let shrinks = clock.shrinks("scaleDown", candidates);
        json!({
            "autoscalerStatus": "Running",
            "clusterWide": {"health": well, "scaleUp": grows, "scaleDown": shrinks},
            "nodeGroups": groups,
        })
    }

    fn group(&mut self, group: &GroupFacts, input: &StatusInput<'_>, probed: Timestamp) -> Value {
        let none = GroupHealth::default();
        let health = input.health.groups.get(&group.id).unwrap_or(&none);
        let id = &group.id;
        let mut clock = Probe {
            since: &mut self.since,
            probed,
            now: input.now,
        };
        let mut well = clock.condition(&format!("{id}/health"), word(health.healthy));
        well.insert("nodeCounts".into(), counts(&health.counts));
        well.insert("cloudProviderTarget".into(), group.target.into());
        well.insert("minSize".into(), group.min.into());
        well.insert("maxSize".into(), group.max.into());
        let window = (input.backoff)(id);
        let grows = match (&window, health.healthy, (input.growing)(id)) {
            (Some(_), ..) => "Backoff",
            (None, false, _) => "Unhealthy",
            (None, true, true) => "InProgress",
            (None, true, false) => "NoActivity",
        };
        let mut grows = clock.condition(&format!("{id}/scaleUp"), grows);
        if let Some(window) = window {
            let info = json!({"errorCode": window.code, "errorMessage": window.message});
            grows.insert("backoffInfo".into(), info);
        }
        let candidates = input.candidates.get(id).copied().unwrap_or(0);
        let shrinks = clock.shrinks(&format!("{id}/scaleDown"), candidates);
        json!({"name": **id, "health": well, "scaleUp": grows, "scaleDown": shrinks})
    }
}

/// Says when a condition was looked at, and since when it is as it is.
struct Probe<'a> {
    since: &'a mut BTreeMap<String, (String, Timestamp)>,
    probed: Timestamp,
    now: Timestamp,
}

impl Probe<'_> {
    fn condition(&mut self, of: &str, status: &str) -> Map<String, Value> {
        let known = self.since.get(of).filter(|(known, _)| known == status);
        let since = known.map_or(self.now, |(_, since)| *since);
        self.since.insert(of.to_owned(), (status.to_owned(), since));
        let mut condition = Map::new();
        condition.insert("status".into(), status.into());
        condition.insert("lastProbeTime".into(), seconds(self.probed).into());
        condition.insert("lastTransitionTime".into(), seconds(since).into());
        condition
    }

    fn shrinks(&mut self, of: &str, candidates: usize) -> Map<String, Value> {
        let status = if candidates > 0 {
            "CandidatesPresent"
        } else {
            "NoCandidates"
        };
        let mut condition = self.condition(of, status);
        // Parity: left out where it would be zero.
        if candidates > 0 {
            condition.insert("candidates".into(), candidates.into());
        }
        condition
    }
}

fn word(healthy: bool) -> &'static str {
    if healthy { "Healthy" } else { "Unhealthy" }
}

fn counts(counts: &NodeCounts) -> Value {
    let mut registered = json!({
        "total": counts.registered,
        "ready": counts.ready,
        "notStarted": counts.not_started,
        "suspended": counts.suspended,
        "unready": {"total": counts.unready, "resourceUnready": counts.resource_unready},
    });
    if let Some(map) = registered.as_object_mut()
        && counts.being_deleted > 0
    {
        map.insert("beingDeleted".into(), counts.being_deleted.into());
    }
    json!({
        "registered": registered,
        "longUnregistered": counts.long_unregistered,
        "unregistered": counts.unregistered,
    })
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-01 00:00:00.5 +0000 UTC`.
fn go_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
}

fn patch(status: &Value, now: Timestamp) -> Value {
    let mut status = status.clone();
    let time = go_time(now);
    if let Some(map) = status.as_object_mut() {
        map.insert("time".into(), time.clone().into());
    }
    json!({
        "metadata": {"annotations": {LAST_UPDATED: time}},
        "data": {"status": yaml(&status)},
    })
}

/// Says that the work has not begun yet. Returns what events are about.
pub(super) async fn announce(map: &ConfigMap, now: Timestamp, mut about: Reference) -> Reference {
    let status = json!({"autoscalerStatus": "Initializing"});
    match map.merge(&patch(&status, now)).await {
        Ok(written) => {
            let uid = written.pointer("/metadata/uid").and_then(Value::as_str);
            about.uid = uid.unwrap_or_default().into();
        }
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(%error, "the status cannot be written");
        }
    }
    about
}

/// Writes the newest status whenever there is another one.
async fn write(map: ConfigMap, mut newest: watch::Receiver<Option<Value>>) {
    let mut said = Said::default();
    while newest.changed().await.is_ok() {
        let patch = newest.borrow_and_update().clone();
        let Some(patch) = patch else {
            continue;
        };
        let Err(error) = map.merge(&patch).await else {
            said.is_over();
            continue;
        };
        let error = chain(&error);
        if said.is_news(&error) {
            tracing::warn!(%error, "the status cannot be written; still trying");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_engine::cluster::GroupOptions;

    fn input<'a>(
        health: &'a ClusterHealth,
        groups: &'a [GroupFacts],
        candidates: &'a BTreeMap<GroupId, usize>,
        now: i64,
    ) -> StatusInput<'a> {
        StatusInput {
            health,
            groups,
            candidates,
            growing: &|_| true,
            backoff: &|_| None,
            now: Timestamp::from_second(now).unwrap(),
        }
    }

    #[tokio::test]
    async fn the_text_is_upstreams() {
        let counts = NodeCounts {
            registered: 2,
            ready: 1,
            being_deleted: 1,
            ..NodeCounts::default()
        };
        let group = GroupHealth {
            healthy: true,
            counts,
            ..GroupHealth::default()
        };
        let health = ClusterHealth {
            healthy: true,
            counts,
            groups: BTreeMap::from([("g".into(), group)]),
        };
        let groups = [GroupFacts {
            id: "g".into(),
            min: 0,
            max: 3,
            target: 2,
            exists: true,
            options: GroupOptions::default(),
            template: None,
        }];
        let candidates = BTreeMap::from([("g".into(), 1)]);
        let mut status = Status::start(None);
        let mut newest = status.newest.subscribe();
        status.tell(&input(&health, &groups, &candidates, 60));
        let first = newest.borrow_and_update().clone().unwrap();
        let text = first["data"]["status"].as_str().unwrap();
        assert_eq!(text, include_str!("status_example.yaml"), "{text}");
        let updated = &first["metadata"]["annotations"][LAST_UPDATED];
        assert_eq!(updated, "1970-01-01 00:01:00 +0000 UTC");
        status.tell(&input(&health, &groups, &candidates, 61));
        assert!(!newest.has_changed().unwrap(), "it says the same");
        status.tell(&input(&health, &groups, &BTreeMap::new(), 62));
        let later = newest.borrow_and_update().clone().unwrap();
        let later = later["data"]["status"].as_str().unwrap();
        assert!(later.contains("lastTransitionTime: \"1970-01-01T00:01:02Z\""));
        assert!(!later.contains("candidates"));
    }
}
