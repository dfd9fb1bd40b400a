//! From two readings of growing counters to usage: what one node's kubelet has said, and what
//! follows from it.
//!
//! Parity: metrics-server keeps two points a container and serves a pod once every container of it
//! has two. A container that started lately needs only one: its start is the earlier point.

use super::track::{Measured, Pace, Point, Reading, Series, Track, Usage};
use jiff::Timestamp;
use plimsoll_api::usage::{ContainerUsage, NodeUsage, PodName, PodUsage, Samples};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most containers of one node that are kept: far more than a node can run.
pub(super) const MOST_CONTAINERS: usize = 20_000;
/// Names in Kubernetes are no longer.
const LONGEST_NAME: usize = 253;

/// One container.
#[derive(Debug)]
struct Container {
    name: Arc<str>,
    pod: PodName,
    track: Track,
    draft: Point,
    /// The round in which it was last seen.
    round: u64,
}

/// A pod that others have been told of.
#[derive(Debug)]
struct Told {
    at_millis: i64,
    /// When that was received. Ages are told by this, since the node's clock may be another.
    since_millis: i64,
    round: u64,
}

/// Everything that one node's kubelet has said and that is still needed.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    containers: BTreeMap<Box<str>, Container>,
    node: Track,
    node_draft: Point,
    node_told: Option<i64>,
    told: BTreeMap<PodName, Told>,
    /// Times of samples that became too old while their pods were still listed.
    stuck: BTreeMap<PodName, i64>,
    round: u64,
    key: String,
}

/// What came of one reading of a node.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What is new, and what is gone.
    pub(super) samples: Samples,
    /// When the container of a pod started that started last, beside each measured pod.
    pub(super) starts: Vec<i64>,
    /// Pods without a complete reading: a container lacks its CPU or memory.
    pub(super) incomplete: usize,
}

impl Ledger {
    /// Begins a reading. What an unfinished one left is forgotten.
    pub(super) fn begin(&mut self) {
        self.round += 1;
        self.node_draft = Point::default();
    }

    /// Takes a sample of the reading that was begun. `false` if it names no container, or if there
    /// are more than a node can have.
    pub(super) fn take(&mut self, series: Series, labels: &[&str; 3], reading: Reading) -> bool {
        if matches!(series, Series::NodeCpu | Series::NodeMemory) {
            self.node_draft.set(series, reading);
            return true;
        }
        let [namespace, pod, container] = *labels;
        if labels
            .iter()
            .any(|l| l.is_empty() || l.len() > LONGEST_NAME)
        {
            return false;
        }
        self.key.clear();
        for part in [namespace, "\0", pod, "\0", container] {
            self.key.push_str(part);
        }
        if !self.containers.contains_key(self.key.as_str()) {
            if self.containers.len() >= MOST_CONTAINERS {
                return false;
            }
            let new = Container {
                name: container.into(),
                pod: (namespace.into(), pod.into()),
                track: Track::default(),
                draft: Point::default(),
                round: 0,
            };
            self.containers.insert(self.key.as_str().into(), new);
        }
        let round = self.round;
        if let Some(found) = self.containers.get_mut(self.key.as_str()) {
            if found.round != round {
                found.draft = Point::default();
                found.round = round;
            }
            found.draft.set(series, reading);
        }
        true
    }

    /// Ends a complete reading that was received at `now`.
    pub(super) fn finish(&mut self, now: Timestamp, pace: Pace) -> Outcome {
        let (round, received) = (self.round, now.as_millisecond());
        self.containers
            .retain(|_, container| container.round == round);
        let mut outcome = Outcome::default();
        let mut pods: BTreeMap<PodName, Gathered> = BTreeMap::new();
        for container in self.containers.values_mut() {
            let new = container.draft.measured(received);
            if let Some(new) = new {
                container.track.roll(new, pace);
            }
            let gathered = pods.entry(container.pod.clone()).or_default();
            gathered.add(&container.name, new, &container.track);
        }
        self.stuck.retain(|name, _| pods.contains_key(name));
        for (name, gathered) in pods {
            outcome.incomplete += usize::from(gathered.incomplete);
            let Some((usage, start)) = gathered.usage() else {
                continue;
            };
            if self.tell(&name, usage.timestamp.as_millisecond(), (received, pace)) {
                outcome.samples.pods.push((name, Some(usage)));
                outcome.starts.push(start);
            }
        }
        let (told, stuck) = (&mut self.told, &mut self.stuck);
        told.retain(|name, told| {
            if told.round != round {
                outcome.samples.pods.push((name.clone(), None));
                outcome.starts.push(0);
                stuck.insert(name.clone(), told.at_millis);
            }
            told.round == round
        });
        self.finish_node((received, pace), &mut outcome);
        outcome
    }

    /// Notes that the pod was seen, with a sample of `at_millis`; whether that is news.
    fn tell(&mut self, name: &PodName, at_millis: i64, (received, pace): (i64, Pace)) -> bool {
        let round = self.round;
        let max_age = i64::try_from(pace.max_age.as_millis()).unwrap_or(i64::MAX);
        if let Some(told) = self.told.get_mut(name)
            && told.at_millis == at_millis
        {
            // One that has not moved for too long is not seen: it will be said to be gone.
            if received.saturating_sub(told.since_millis) <= max_age {
                told.round = round;
            }
            return false;
        }
        let stuck = self
            .stuck
            .get(name)
            .is_some_and(|stuck| *stuck == at_millis);
        if !stuck {
            self.stuck.remove(name);
            let told = Told {
                at_millis,
                since_millis: received,
                round,
            };
            self.told.insert(name.clone(), told);
        }
        !stuck
    }

    fn finish_node(&mut self, (received, pace): (i64, Pace), outcome: &mut Outcome) {
        let Some(new) = self.node_draft.measured(received) else {
            return;
        };
        // The start of a node is no point.
        let resolution = Duration::ZERO;
        self.node.roll(new, Pace { resolution, ..pace });
        let usage = self.node.usage().and_then(node_usage);
        let at = usage.as_ref().map(|usage| usage.timestamp.as_millisecond());
        if at != self.node_told {
            self.node_told = at;
            outcome.samples.nodes.push(("".into(), usage));
        }
    }

    /// Forgets what others have been told, and says so: the node is gone or silent. Its counters
    /// are kept, so that one reading is enough when it comes back soon ([`Track::roll`]).
    pub(super) fn silence(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        for name in std::mem::take(&mut self.told).into_keys() {
            outcome.samples.pods.push((name, None));
            outcome.starts.push(0);
        }
        if self.node_told.take().is_some() {
            outcome.samples.nodes.push(("".into(), None));
        }
        outcome
    }
}

/// A pod's containers while they are gathered.
#[derive(Debug, Default)]
struct Gathered {
    containers: Vec<ContainerUsage>,
    /// The earliest of the containers' times, with its window.
    earliest: Option<(i64, i64)>,
    start: i64,
    incomplete: bool,
    unmeasured: bool,
}

impl Gathered {
    fn add(&mut self, name: &Arc<str>, new: Option<Measured>, track: &Track) {
        let Some(new) = new else {
            self.incomplete = true;
            return;
        };
        self.start = self.start.max(new.start_millis.unwrap_or_default());
        // Departs: metrics-server leaves out a container whose counter went back and serves the
        // rest, which reads as a drop in usage; here the pod waits for its next reading.
        let Some(usage) = track.usage() else {
            self.unmeasured = true;
            return;
        };
        let at = usage.at_millis;
        if self.earliest.is_none_or(|(earliest, _)| at < earliest) {
            self.earliest = Some((at, usage.window_millis));
        }
        self.containers.push(ContainerUsage {
            name: Arc::clone(name),
            cpu_nano: usage.cpu_nano,
            memory_bytes: usage.memory_bytes,
        });
    }

    /// The pod's usage, and when its last container started.
    fn usage(self) -> Option<(PodUsage, i64)> {
        let (at, window) = self.earliest?;
        if self.incomplete || self.unmeasured {
            return None;
        }
        let usage = PodUsage {
            timestamp: Timestamp::from_millisecond(at).ok()?,
            window_ms: u32::try_from(window).unwrap_or(u32::MAX),
            containers: self.containers.into(),
        };
        Some((usage, self.start))
    }
}

fn node_usage(usage: Usage) -> Option<NodeUsage> {
    Some(NodeUsage {
        timestamp: Timestamp::from_millisecond(usage.at_millis).ok()?,
        window_ms: u32::try_from(usage.window_millis).unwrap_or(u32::MAX),
        cpu_nano: usage.cpu_nano,
        memory_bytes: usage.memory_bytes,
    })
}
