//! Watching nodes for pressure, round by round of measuring, and telling pods to go.

use super::board::{PodEntry, PodName, Shown};
use super::demand::{self, Amounts};
use super::events::Severity;
use super::pressure::{Candidate, Reading, Signal, Thresholds, choose, message};
use super::state::{FailedAt, PodFailure};
use super::view::Pod;
use super::worker::Message;
use super::{Agents, Node};
use crate::runtime::RuntimeCounters;
use jiff::Timestamp;
use nix::sys::statvfs::statvfs;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The taint that shows a node short of memory.
const MEMORY_TAINT: &str = "node.kubernetes.io/memory-pressure";

impl Agents {
    /// Sets when nodes count as short of memory or disk. By default, those of
    /// [`Thresholds::default`] hold.
    pub fn set_thresholds(&self, thresholds: Thresholds) {
        *self.thresholds.lock() = Some(thresholds);
    }

    /// Looks at every node after a round of measuring; at most one pod of a node is told to go,
    /// and the next one only when that is gone.
    pub(super) fn relieve(&self, read: &RuntimeCounters, now: Timestamp) {
        let Some(thresholds) = *self.thresholds.lock() else {
            return;
        };
        let mut disk = None;
        let mut short_of_disk = Vec::new();
        for node in self.nodes() {
            let used = read.nodes.get(&node.name).map_or(0, |n| n.memory_bytes);
            let memory = Reading::memory(&thresholds, node.spec.memory_bytes, used);
            let has_files = node.runtime.runs_processes();
            let on_disk = has_files.then(|| *disk.get_or_insert_with(|| self.disk(&thresholds)));
            let readings = [Some(memory), on_disk.flatten()];
            for reading in readings.into_iter().flatten() {
                self.observe(&node, reading, (&thresholds, now));
                match reading.signal {
                    _ if reading.available >= reading.threshold => {}
                    Signal::Memory => self.evict_one(&[Arc::clone(&node)], reading, read),
                    Signal::Disk => short_of_disk.push(Arc::clone(&node)),
                }
            }
        }
        // All nodes share one disk: one pod of one of them is enough.
        if let Some(Some(reading)) = disk {
            self.evict_one(&short_of_disk, reading, read);
        }
    }

    /// What is left of the disk under the pods; nothing where it cannot be told.
    fn disk(&self, thresholds: &Thresholds) -> Option<Reading> {
        let about = statvfs(&self.shared.state_dir).ok()?;
        let block = about.fragment_size();
        let (capacity, left) = (about.blocks() * block, about.blocks_available() * block);
        Some(Reading::disk(thresholds, capacity, left))
    }

    fn observe(
        &self,
        node: &Arc<Node>,
        reading: Reading,
        (thresholds, now): (&Thresholds, Timestamp),
    ) {
        let signal = reading.signal;
        let shows = {
            let mut pressure = node.pressure.lock();
            if !pressure.observe(reading, thresholds, now) {
                return;
            }
            pressure.shows(signal)
        };
        let reason = signal.event(shows);
        let name = &node.name;
        let text = format!("Node {name} status is now: {reason}");
        let events = &self.shared.events;
        events.node(name, (Severity::Normal, reason), text);
        if shows {
            let text = format!("Attempting to reclaim {}", signal.resource());
            events.node(name, (Severity::Warning, "EvictionThresholdMet"), text);
        }
        self.spawn(super::node::show(
            Arc::clone(&self.shared),
            Arc::clone(node),
        ));
    }

    /// Tells one pod of these nodes to go, unless one that was told before is still there.
    fn evict_one(&self, nodes: &[Arc<Node>], reading: Reading, read: &RuntimeCounters) {
        let (mut places, mut candidates) = (Vec::new(), Vec::new());
        for node in nodes {
            let mut entries = self.shared.board.of_node(&node.name);
            entries.retain(|(_, entry)| !is_over(entry));
            let leaving = node.pressure.lock().leaving.clone();
            let present = |uid: &str| entries.iter().any(|(_, entry)| *entry.uid == *uid);
            if leaving.as_deref().is_some_and(present) {
                return;
            }
            for (name, entry) in &entries {
                if let Some(candidate) = self.candidate(name, entry, (reading.signal, read)) {
                    places.push(node);
                    candidates.push(candidate);
                }
            }
        }
        let Some(chosen) = choose(reading.signal, &candidates) else {
            return;
        };
        let failure = PodFailure {
            reason: "Evicted",
            message: message(reading, chosen),
            at: FailedAt::Life(Some(0)),
        };
        let roster = self.roster.lock();
        let task = roster.tasks.values().find(|task| task.uid == chosen.uid);
        let place = candidates.iter().zip(&places).find(|(c, _)| *c == chosen);
        if let (Some(task), Some((_, node))) = (task, place) {
            node.pressure.lock().leaving = Some(chosen.uid.clone());
            task.outbox.send(Message::Evict(failure));
        }
    }

    fn candidate(
        &self,
        name: &PodName,
        entry: &PodEntry,
        (signal, read): (Signal, &RuntimeCounters),
    ) -> Option<Candidate> {
        let key = (name.0.to_string(), name.1.to_string());
        let pod = self.roster.lock().pods.get(&key).map(Arc::clone)?;
        if pod.metadata.deletion_timestamp.is_some() || *entry.uid != *pod.metadata.uid {
            return None;
        }
        let used = match signal {
            Signal::Memory => usage(entry, read),
            // Nobody counts what each pod has on the disk: importance and class decide.
            Signal::Disk => BTreeMap::new(),
        };
        let containers = pod.containers().filter_map(|(_, container)| {
            let used = used.get(&*container.name)?;
            let promised = Amounts::of(&container.resources.requests).memory_bytes;
            Some((container.name.clone(), *used, promised))
        });
        Some(Candidate {
            uid: pod.metadata.uid.clone(),
            priority: pod.spec.priority.unwrap_or(0),
            qos: demand::qos(&pod),
            requested: demand::of_pod(&pod),
            used: used.values().sum(),
            containers: containers.collect(),
        })
    }
}

fn is_over(entry: &PodEntry) -> bool {
    !entry
        .containers
        .iter()
        .any(|c| matches!(c.shown, Shown::Running(..)))
}

/// Memory of a pod's running containers, by name.
fn usage<'a>(entry: &'a PodEntry, read: &RuntimeCounters) -> BTreeMap<&'a str, u64> {
    let running = entry.containers.iter().filter_map(|c| match &c.shown {
        Shown::Running(id, _) => Some((&*c.name, read.containers.get(&**id)?.memory_bytes)),
        Shown::Waiting(_) | Shown::Ended => None,
    });
    running.collect()
}

/// Why a node under pressure does not take a pod on.
pub(super) fn refusal(node: &Node, pod: &Pod) -> Option<String> {
    let pressure = node.pressure.lock();
    if !pressure.shows(Signal::Memory) && !pressure.shows(Signal::Disk) {
        return None;
    }
    let tolerates = pod.spec.tolerations.iter().any(|toleration| {
        let key = toleration.key.as_deref().unwrap_or_default();
        let effect = toleration.effect.as_deref().unwrap_or_default();
        (key == MEMORY_TAINT || key.is_empty()) && matches!(effect, "" | "NoSchedule")
    });
    pressure.refusal(demand::qos(pod), pod.spec.priority.unwrap_or(0), tolerates)
}
