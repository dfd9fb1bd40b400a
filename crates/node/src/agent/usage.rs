//! Resource usage, from the runtimes' cumulative counters.

use super::Agents;
use super::board::PodName;
use crate::runtime::{Counters, RuntimeCounters};
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::usage::{ContainerUsage, NodeUsage, PodUsage, Samples};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Shorter windows say little about usage: a container's first sample waits for this much.
const SHORTEST: SignedDuration = SignedDuration::from_millis(900);

/// A counter and when it was read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Timestamp,
    cpu_nanos: u64,
}

/// Measures all runtimes once a period.
pub(crate) struct Sampler {
    agents: Agents,
    samples: mpsc::Sender<Samples>,
    period: Duration,
    containers: BTreeMap<Arc<str>, Reading>,
    nodes: BTreeMap<String, Reading>,
    /// Whether the last round failed somewhere, which is said once.
    failing: bool,
}

impl Sampler {
    pub(crate) fn new(agents: Agents, samples: mpsc::Sender<Samples>, period: Duration) -> Self {
        let (containers, nodes) = (BTreeMap::new(), BTreeMap::new());
        Self {
            agents,
            samples,
            period: period.max(Duration::from_millis(10)),
            containers,
            nodes,
            failing: false,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(self.period);
        // A late round measures a longer window; rounds are never made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut read = RuntimeCounters::default();
            let mut failed = false;
            for runtime in self.agents.runtimes() {
                match runtime.counters().await {
                    Ok(counters) => {
                        read.containers.extend(counters.containers);
                        read.nodes.extend(counters.nodes);
                    }
                    Err(_) if self.failing => failed = true,
                    Err(error) => {
                        failed = true;
                        tracing::warn!(runtime = runtime.name(), %error, "usage not measured");
                    }
                }
            }
            self.failing = failed;
            let now = self.agents.shared.clock.now();
            self.agents.relieve(&read, now);
            let round = self.round(&read, now);
            if self.samples.send(round).await.is_err() {
                return;
            }
        }
    }

    fn round(&mut self, read: &RuntimeCounters, now: Timestamp) -> Samples {
        let mut samples = Samples::default();
        let mut pods: BTreeMap<PodName, (SignedDuration, Vec<ContainerUsage>)> = BTreeMap::new();
        let mut seen: BTreeSet<Arc<str>> = BTreeSet::new();
        let readings = &mut self.containers;
        self.agents
            .shared
            .board
            .running(|pod, container, id, since| {
                let Some(counters) = read.containers.get(&**id) else {
                    return;
                };
                seen.insert(Arc::clone(id));
                // The counters of a container begin at 0 when it starts.
                let before = *readings.entry(Arc::clone(id)).or_insert(Reading {
                    at: since,
                    cpu_nanos: 0,
                });
                let Some((window, cpu_nano)) = rate(before, *counters, now) else {
                    return;
                };
                let reading = Reading {
                    at: now,
                    cpu_nanos: counters.cpu_nanos,
                };
                readings.insert(Arc::clone(id), reading);
                let usage = ContainerUsage {
                    name: Arc::clone(container),
                    cpu_nano,
                    memory_bytes: counters.memory_bytes,
                };
                let entry = pods.entry(pod.clone()).or_default();
                entry.0 = entry.0.max(window);
                entry.1.push(usage);
            });
        self.containers.retain(|id, _| seen.contains(id));
        for pod in self.agents.shared.board.take_gone() {
            if !pods.contains_key(&pod) {
                samples.pods.push((pod, None));
            }
        }
        for (pod, (window, containers)) in pods {
            let window_ms = u32::try_from(window.as_millis()).unwrap_or(u32::MAX);
            let containers = containers.into_boxed_slice();
            samples.pods.push((
                pod,
                Some(PodUsage {
                    timestamp: now,
                    window_ms,
                    containers,
                }),
            ));
        }
        self.nodes(read, now, &mut samples);
        samples
    }

    fn nodes(&mut self, read: &RuntimeCounters, now: Timestamp, samples: &mut Samples) {
        for (name, counters) in &read.nodes {
            let Some(before) = self.nodes.get(name) else {
                let reading = Reading {
                    at: now,
                    cpu_nanos: counters.cpu_nanos,
                };
                self.nodes.insert(name.clone(), reading);
                continue;
            };
            let Some((window, cpu_nano)) = rate(*before, *counters, now) else {
                continue;
            };
            self.nodes.insert(
                name.clone(),
                Reading {
                    at: now,
                    cpu_nanos: counters.cpu_nanos,
                },
            );
            let usage = NodeUsage {
                timestamp: now,
                window_ms: u32::try_from(window.as_millis()).unwrap_or(u32::MAX),
                cpu_nano,
                memory_bytes: counters.memory_bytes,
            };
            samples.nodes.push((name.as_str().into(), Some(usage)));
        }
        self.nodes.retain(|name, _| {
            let there = read.nodes.contains_key(name);
            if !there {
                samples.nodes.push((name.as_str().into(), None));
            }
            there
        });
    }
}

/// Nanocores over the true time since the last reading; `None` while that is too short.
fn rate(before: Reading, now: Counters, at: Timestamp) -> Option<(SignedDuration, u64)> {
    let window = at.duration_since(before.at);
    if window < SHORTEST {
        return None;
    }
    let used = u128::from(now.cpu_nanos.saturating_sub(before.cpu_nanos));
    let elapsed = u128::try_from(window.as_nanos()).ok().filter(|e| *e > 0)?;
    let cpu_nano = u64::try_from(used * 1_000_000_000 / elapsed).unwrap_or(u64::MAX);
    Some((window, cpu_nano))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milli: i64) -> Timestamp {
        Timestamp::from_millisecond(milli).unwrap()
    }

    #[rstest::rstest]
    #[case::half_a_core_for_a_second(500_000_000, 1000, Some(500_000_000))]
    #[case::over_the_true_window(750_000_000, 1500, Some(500_000_000))]
    #[case::too_soon(100, 500, None)]
    fn usage_is_time_used_over_time_passed(
        #[case] used: u64,
        #[case] after: i64,
        #[case] want: Option<u64>,
    ) {
        let before = Reading {
            at: at(0),
            cpu_nanos: 7,
        };
        let counters = Counters {
            cpu_nanos: 7 + used,
            memory_bytes: 1,
        };
        assert_eq!(rate(before, counters, at(after)).map(|(_, n)| n), want);
    }
}
