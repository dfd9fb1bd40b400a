//! What the scheduler knows, and the decision for one pod.

use super::classes::{ClassId, Classes};
use super::facts;
use super::nominations::Nominations;
use super::queue::{Queue, Taken};
use crate::pods::PodView;
use crate::runtime::ObjectKey;
use jiff::Timestamp;
use plimsoll_engine::placement::{Decision, NoPreemption, Preemption, Snapshot, decide, preempt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// What is to be done with a pod.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// Bind it; it is counted there already.
    Bind {
        /// The node.
        node: Arc<str>,
    },
    /// Say why it fits nowhere; it is parked already.
    Refuse {
        /// The message of condition and event.
        message: String,
    },
}

/// A pod with its verdict.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) pod: Arc<PodView>,
    pub(super) verdict: Verdict,
}

/// What was said last about a pod that waits.
#[derive(Debug)]
struct Said {
    message: String,
    nominated: Option<Arc<str>>,
    since: Timestamp,
}

/// A class that fitted nowhere, and in which state of the cluster.
#[derive(Debug)]
struct Failure {
    generation: u64,
    message: String,
}

/// Everything the scheduler knows, behind one lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) snapshot: Snapshot,
    pub(super) queue: Queue,
    pub(super) nominations: Nominations,
    classes: Classes,
    failures: BTreeMap<ClassId, Failure>,
    said: BTreeMap<ObjectKey, Said>,
    /// Counts the changes of the snapshot.
    generation: u64,
    rng: StdRng,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            snapshot: Snapshot::default(),
            queue: Queue::default(),
            nominations: Nominations::default(),
            classes: Classes::default(),
            failures: BTreeMap::new(),
            said: BTreeMap::new(),
            generation: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// The snapshot is about to change.
    pub(super) fn change(&mut self) -> &mut Snapshot {
        self.generation += 1;
        &mut self.snapshot
    }

    /// Puts a pod in line.
    pub(super) fn enqueue(&mut self, pod: &PodView, now: Instant) {
        let before = self.queue.class_of(&pod.meta.key);
        let class = self.classes.of(facts::of_pod(pod));
        self.queue.add(&pod.meta.key, pod.priority, class, now);
        if let Some(before) = before {
            self.drop_class_if_empty(before);
        }
    }

    /// Forgets a pod that waits no longer.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.said.remove(key);
        self.nominations.remove(key);
        if let Some(class) = self.queue.forget(key) {
            self.drop_class_if_empty(class);
        }
    }

    fn drop_class_if_empty(&mut self, class: ClassId) {
        if !self.queue.has_class(class) {
            self.classes.forget(class);
            self.failures.remove(&class);
        }
    }

    /// Wakes the pods that an event could help.
    pub(super) fn wake(&mut self, now: Instant) {
        for class in self.queue.hopeful() {
            self.queue.wake(class, now);
        }
    }

    /// Decides for a taken pod: counts it on its node, or parks it.
    pub(super) fn decide(&mut self, pod: Arc<PodView>, taken: &Taken, now: Instant) -> Decided {
        let key = &taken.key;
        if let Some(failure) = self.failures.get(&taken.class)
            && failure.generation == self.generation
        {
            let message = failure.message.clone();
            self.queue.park(key, now);
            let verdict = Verdict::Refuse { message };
            return Decided { pod, verdict };
        }
        let wanted = facts::of_pod(&pod);
        self.nominations
            .count_for(key, wanted.spec.priority, &mut self.snapshot);
        let tie = self.rng.random();
        let verdict = match decide(&mut self.snapshot, &wanted, tie) {
            Decision::Fits(choice) => {
                let node: Arc<str> = choice.node.into();
                // Counted at once, so that the next pod sees the room taken.
                self.nominations.remove(key);
                self.change().place(&node, wanted);
                Verdict::Bind { node }
            }
            Decision::Nowhere(failure) => {
                let mut preemption = preempt(&mut self.snapshot, &wanted, &failure, &[], tie);
                if matches!(preemption, Preemption::Helps(_)) {
                    preemption = Preemption::Impossible(NoPreemption::UnderWay);
                }
                let message = failure.message(&preemption);
                let failure = Failure {
                    generation: self.generation,
                    message: message.clone(),
                };
                self.failures.insert(taken.class, failure);
                self.queue.park(key, now);
                self.queue.settle(taken.class, now);
                Verdict::Refuse { message }
            }
        };
        Decided { pod, verdict }
    }

    /// Ends a batch of decisions.
    pub(super) fn end_batch(&mut self) {
        self.nominations.uncount(&mut self.snapshot);
    }

    /// What was said did not arrive: it is news again.
    pub(super) fn unsay(&mut self, key: &ObjectKey) {
        self.said.remove(key);
    }

    /// Since when the pod waits, if this has not been said about it yet.
    pub(super) fn news(
        &mut self,
        pod: &PodView,
        message: &str,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let nominated = self.nominations.node_of(&pod.meta.key).cloned();
        let shown = pod.condition("PodScheduled").filter(|shown| !shown.holds);
        let since = shown.and_then(|shown| shown.since).unwrap_or(now);
        let said = self.said.entry(pod.meta.key.clone());
        let said = said.or_insert_with(|| Said {
            message: String::new(),
            nominated: pod.placement.nominated_node.clone(),
            since,
        });
        if said.message == message && said.nominated == nominated {
            return None;
        }
        message.clone_into(&mut said.message);
        said.nominated = nominated;
        Some(said.since)
    }
}
