//! From two readings of growing counters to usage: what one node's kubelet has said, and what
//! follows from it.
//!
//! Parity: metrics-server keeps two points a container and serves a pod once every container of it
//! has two. A container that started lately needs only one: its start is the earlier point.

use jiff::Timestamp;
use plimsoll_api::usage::{ContainerUsage, NodeUsage, PodName, PodUsage, Samples};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most containers of one node that are kept: far more than a node can run.
const MOST_CONTAINERS: usize = 20_000;
/// Names in Kubernetes are no longer.
const LONGEST_NAME: usize = 253;
/// A container must have run this long for its start to count as a point.
const FRESH_FROM_MILLIS: i64 = 10_000;
const NANOS: f64 = 1e9;

/// A series that usage is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Series {
    NodeCpu,
    NodeMemory,
    ContainerCpu,
    ContainerMemory,
    ContainerStart,
}

impl Series {
    /// The series of a name.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"node_cpu_usage_seconds_total" => Some(Self::NodeCpu),
            b"node_memory_working_set_bytes" => Some(Self::NodeMemory),
            b"container_cpu_usage_seconds_total" => Some(Self::ContainerCpu),
            b"container_memory_working_set_bytes" => Some(Self::ContainerMemory),
            b"container_start_time_seconds" => Some(Self::ContainerStart),
            _ => None,
        }
    }
}

/// A sample's value, finite and not negative, and its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    pub(super) value: f64,
    /// Milliseconds since 1970; `None` where the text gives none.
    pub(super) at_millis: Option<i64>,
}

/// The times that readings are judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Between two readings.
    pub(super) resolution: Duration,
    /// A container whose sample has not changed for longer is not measured any more.
    pub(super) max_age: Duration,
}

/// What is known at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Point {
    cpu_nanos: Option<u64>,
    memory_bytes: Option<u64>,
    at_millis: Option<i64>,
    start_millis: Option<i64>,
}

/// A complete point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Measured {
    cpu_nanos: u64,
    memory_bytes: u64,
    at_millis: i64,
    start_millis: Option<i64>,
}

impl Point {
    fn set(&mut self, series: Series, reading: Reading) {
        match series {
            Series::NodeCpu | Series::ContainerCpu => {
                self.cpu_nanos = Some(whole(reading.value * NANOS));
                self.at_millis = reading.at_millis;
            }
            Series::NodeMemory | Series::ContainerMemory => {
                self.memory_bytes = Some(whole(reading.value));
            }
            Series::ContainerStart => {
                let millis = whole(reading.value * 1000.0);
                self.start_millis = i64::try_from(millis).ok();
            }
        }
    }

    /// Departs: metrics-server counts a container without a memory sample as using none, which
    /// would make an autoscaler drop pods; here the pod is not measured.
    fn measured(self, received_millis: i64) -> Option<Measured> {
        Some(Measured {
            cpu_nanos: self.cpu_nanos?,
            memory_bytes: self.memory_bytes?,
            at_millis: self.at_millis.unwrap_or(received_millis),
            start_millis: self.start_millis,
        })
    }
}

/// The whole part of a value that is finite and not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and the value is not negative"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

/// Usage over the time between two points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    cpu_nano: u64,
    memory_bytes: u64,
    at_millis: i64,
    window_millis: i64,
}

/// The two newest points of a counter.
#[derive(Debug, Clone, Copy, Default)]
struct Track {
    earlier: Option<Measured>,
    last: Option<Measured>,
}

impl Track {
    /// Takes in a new point.
    fn roll(&mut self, new: Measured, resolution: Duration) {
        let age = new.start_millis.map(|start| new.at_millis - start);
        let is_fresh = age.is_some_and(|age| {
            age >= FRESH_FROM_MILLIS
                && u128::try_from(age).is_ok_and(|a| a < resolution.as_millis())
        });
        self.earlier = match (self.last, new.start_millis) {
            (_, Some(start)) if is_fresh => Some(Measured {
                cpu_nanos: 0,
                at_millis: start,
                ..new
            }),
            // Restarted since: the counter began anew.
            (Some(last), Some(start)) if start >= last.at_millis => None,
            (Some(last), _) if new.at_millis > last.at_millis => Some(last),
            (Some(_), _) => self
                .earlier
                .filter(|earlier| earlier.at_millis < new.at_millis),
            (None, _) => None,
        };
        self.last = Some(new);
    }

    /// Usage between the points; `None` without two, and where the counter went back.
    fn usage(&self) -> Option<Usage> {
        let (earlier, last) = (self.earlier?, self.last?);
        let used = last.cpu_nanos.checked_sub(earlier.cpu_nanos)?;
        let window_millis = last.at_millis.checked_sub(earlier.at_millis)?;
        let window = u128::try_from(window_millis).ok().filter(|w| *w > 0)?;
        let rate = u128::from(used) * 1000 / window;
        Some(Usage {
            cpu_nano: u64::try_from(rate).unwrap_or(u64::MAX),
            memory_bytes: last.memory_bytes,
            at_millis: last.at_millis,
            window_millis,
        })
    }
}

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
                container.track.roll(new, pace.resolution);
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
        self.finish_node(received, &mut outcome);
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

    fn finish_node(&mut self, received: i64, outcome: &mut Outcome) {
        let Some(new) = self.node_draft.measured(received) else {
            return;
        };
        self.node.roll(new, Duration::ZERO);
        let usage = self.node.usage().and_then(node_usage);
        if let Some(usage) = usage
            && self.node_told != Some(usage.timestamp.as_millisecond())
        {
            self.node_told = Some(usage.timestamp.as_millisecond());
            outcome.samples.nodes.push(("".into(), Some(usage)));
        }
    }

    /// Forgets what others have been told, and says so: the node is gone or silent. Its counters
    /// are kept, so that one reading is enough when it comes back.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const PACE: Pace = Pace {
        resolution: Duration::from_secs(15),
        max_age: Duration::from_secs(45),
    };

    /// One container's counters at a second: (CPU seconds, start second).
    fn say(ledger: &mut Ledger, container: &str, at: i64, (cpu, start): (f64, Option<f64>)) {
        let labels = ["n", "p", container];
        let reading = |value| Reading {
            value,
            at_millis: Some(at * 1000),
        };
        assert!(ledger.take(Series::ContainerCpu, &labels, reading(cpu)));
        assert!(ledger.take(Series::ContainerMemory, &labels, reading(4096.0)));
        if let Some(start) = start {
            assert!(ledger.take(Series::ContainerStart, &labels, reading(start)));
        }
    }

    fn finish(ledger: &mut Ledger) -> Vec<(PodName, Option<PodUsage>)> {
        let now = Timestamp::from_second(10_000).unwrap();
        ledger.finish(now, PACE).samples.pods
    }

    #[derive(Debug, PartialEq)]
    enum Said {
        Nothing,
        Gone,
        /// Nanocores, window in milliseconds.
        Uses(u64, u32),
    }

    /// Readings (second, CPU seconds, start second) of one container, then what is said of its pod
    /// after the last: nothing, that it is gone, or its usage.
    #[rstest]
    #[case::one_reading_is_no_rate(&[(1000, 5.0, Some(1.0))], Said::Nothing)]
    #[case::two_are(&[(1000, 5.0, Some(1.0)), (1015, 12.5, Some(1.0))], Said::Uses(500_000_000, 15_000))]
    #[case::without_start_times(&[(1000, 5.0, None), (1015, 12.5, None)], Said::Uses(500_000_000, 15_000))]
    #[case::a_start_is_a_reading(&[(1000, 6.0, Some(988.0))], Said::Uses(500_000_000, 12_000))]
    #[case::not_before_ten_seconds(&[(1000, 6.0, Some(991.0))], Said::Nothing)]
    #[case::nor_after_a_period(&[(1000, 6.0, Some(985.0))], Said::Nothing)]
    #[case::a_restart_begins_anew(&[(1000, 50.0, Some(1.0)), (1015, 60.0, Some(1.0)), (1030, 1.0, Some(1025.0))], Said::Gone)]
    #[case::a_counter_that_goes_back(&[(1000, 50.0, None), (1015, 60.0, None), (1030, 1.0, None)], Said::Gone)]
    #[case::and_then_counts_again(&[(1015, 60.0, None), (1030, 1.0, None), (1045, 4.0, None)], Said::Uses(200_000_000, 15_000))]
    #[case::the_same_reading_says_nothing_new(&[(1000, 5.0, None), (1015, 12.5, None), (1015, 12.5, None)], Said::Nothing)]
    #[case::a_clock_that_goes_back(&[(1000, 5.0, None), (1015, 12.5, None), (990, 12.5, None)], Said::Gone)]
    fn usage_follows_from_two_readings(
        #[case] readings: &[(i64, f64, Option<f64>)],
        #[case] said: Said,
    ) {
        let mut ledger = Ledger::default();
        let mut pods = Vec::new();
        for (at, cpu, start) in readings {
            ledger.begin();
            say(&mut ledger, "app", *at, (*cpu, *start));
            pods = finish(&mut ledger);
        }
        let got = match pods.first() {
            None => Said::Nothing,
            Some((_, None)) => Said::Gone,
            Some((_, Some(usage))) => Said::Uses(usage.containers[0].cpu_nano, usage.window_ms),
        };
        assert_eq!(got, said);
    }

    #[test]
    fn a_pod_waits_for_all_its_containers() {
        let mut ledger = Ledger::default();
        for (at, containers) in [(1000, 1), (1015, 2), (1030, 2)] {
            ledger.begin();
            for name in ["app", "late"].iter().take(containers) {
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                say(&mut ledger, name, at, (at as f64, None));
            }
            let measured = finish(&mut ledger).into_iter().filter_map(|(_, u)| u);
            let sizes: Vec<usize> = measured.map(|u| u.containers.len()).collect();
            let want: &[usize] = if at == 1030 { &[2] } else { &[] };
            assert_eq!(sizes, want, "at {at}");
        }
    }

    #[test]
    fn a_pod_that_leaves_is_said_to_be_gone_once() {
        let mut ledger = Ledger::default();
        for at in [1000, 1015] {
            ledger.begin();
            say(&mut ledger, "app", at, (5.0, None));
            finish(&mut ledger);
        }
        ledger.begin();
        assert!(matches!(finish(&mut ledger).as_slice(), [(_, None)]));
        ledger.begin();
        assert!(finish(&mut ledger).is_empty());
    }

    #[test]
    fn a_container_without_memory_keeps_its_pod_unmeasured() {
        let mut ledger = Ledger::default();
        for at in [1000, 1015] {
            ledger.begin();
            let reading = Reading {
                value: 5.0,
                at_millis: Some(at * 1000),
            };
            assert!(ledger.take(Series::ContainerCpu, &["n", "p", "app"], reading));
            let outcome = ledger.finish(Timestamp::UNIX_EPOCH, PACE);
            assert_eq!((outcome.incomplete, outcome.samples.pods.len()), (1, 0));
        }
    }

    #[test]
    fn a_silent_node_leaves_nothing_behind_and_comes_back_at_once() {
        let mut ledger = Ledger::default();
        for at in [1000, 1015] {
            ledger.begin();
            say(&mut ledger, "app", at, (5.0, None));
            finish(&mut ledger);
        }
        assert!(matches!(
            ledger.silence().samples.pods.as_slice(),
            [(_, None)]
        ));
        ledger.begin();
        say(&mut ledger, "app", 1060, (5.0, None));
        assert!(matches!(finish(&mut ledger).as_slice(), [(_, Some(u))] if u.window_ms == 45_000));
    }

    #[test]
    fn a_sample_that_does_not_move_is_taken_back_and_not_served_again() {
        let mut ledger = Ledger::default();
        let mut said = Vec::new();
        // The kubelet repeats its reading of second 1015 until it is read at 1090.
        for (at, received) in [
            (1000, 0),
            (1015, 15),
            (1015, 45),
            (1015, 75),
            (1015, 90),
            (1030, 105),
        ] {
            ledger.begin();
            say(&mut ledger, "app", at, (5.0, None));
            let received = Timestamp::from_second(received).unwrap();
            let pods = ledger.finish(received, PACE).samples.pods;
            said.push(pods.first().map(|(_, usage)| usage.is_some()));
        }
        assert_eq!(
            said,
            [None, Some(true), None, Some(false), None, Some(true)]
        );
    }

    #[test]
    fn a_node_cannot_have_any_number_of_containers() {
        let mut ledger = Ledger::default();
        ledger.begin();
        let reading = Reading {
            value: 1.0,
            at_millis: None,
        };
        let kept = (0..MOST_CONTAINERS + 10).filter(|number| {
            let name = format!("c{number}");
            ledger.take(Series::ContainerCpu, &["n", "p", &name], reading)
        });
        assert_eq!(kept.count(), MOST_CONTAINERS);
    }

    proptest! {
        #[test]
        fn rates_are_what_was_used_over_the_time(
            first in 0_u32..1_000_000, more in 0_u32..1_000_000, seconds in 1_i64..10_000,
        ) {
            let mut ledger = Ledger::default();
            ledger.begin();
            say(&mut ledger, "app", 1000, (f64::from(first), None));
            finish(&mut ledger);
            ledger.begin();
            say(&mut ledger, "app", 1000 + seconds, (f64::from(first) + f64::from(more), None));
            let pods = finish(&mut ledger);
            let usage = pods[0].1.as_ref().unwrap();
            let want = u128::from(more) * 1_000_000_000 / u128::try_from(seconds).unwrap();
            prop_assert_eq!(u128::from(usage.containers[0].cpu_nano), want);
        }
    }
}
