//! What the scheduler knows, and the decision for one pod.

use super::classes::{ClassId, Classes};
use super::devices::Grant;
use super::hints::{Event, Obstacles};
use super::promises::Promises;
use super::queue::{Queue, Taken};
use super::volumes::{BindError, Step};
use crate::facts;
use crate::pods::PodView;
use crate::runtime::ObjectKey;
use jiff::Timestamp;
use plimsoll_engine::placement::{
    BudgetFacts, ClaimFacts, Decision, Failure, NoPreemption, NodeState, PodFacts, PodSpec,
    Preemption, Refusal, Snapshot, decide, preempt,
};
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
        /// Whether devices that its claims have are not reached from some node.
        elsewhere: bool,
    },
    /// Say why it fits nowhere and make room; it is nominated already, and still taken.
    Preempt {
        /// The message of condition and event.
        message: String,
        /// Where room is made.
        node: Arc<str>,
        /// Who has to go.
        victims: Vec<ObjectKey>,
    },
}

/// A pod with its verdict.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) pod: Arc<PodView>,
    pub(super) verdict: Verdict,
    /// What its claims get on the node it is to be bound to.
    pub(super) volumes: Result<Vec<Step>, BindError>,
    /// What its claims to devices get there.
    pub(super) grants: Vec<Grant>,
}

/// What happened on a node.
#[derive(Debug, Clone, Copy)]
pub(super) enum AtNode {
    /// It is new, differs, or is gone.
    Changed,
    /// A pod left it, or will not take the room that was kept for it.
    PodLeft,
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
struct Failed {
    /// `None`: this holds for the one pod only.
    generation: Option<u64>,
    obstacles: Option<Obstacles>,
    message: String,
    elsewhere: bool,
}

/// Everything the scheduler knows, behind one lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) snapshot: Snapshot,
    pub(super) queue: Queue,
    classes: Classes,
    failed: BTreeMap<ClassId, Failed>,
    said: BTreeMap<ObjectKey, Said>,
    budgets: Budgets,
    pub(super) promises: Promises,
    /// Pools of devices.
    pub(super) pools: facts::Pools,
    /// [`Snapshot::devices_freed`] when pods were last woken because of it.
    freed: u64,
    /// Counts the changes of the snapshot.
    generation: u64,
    rng: StdRng,
}

/// The disruption budgets, listed anew when they have changed.
#[derive(Debug, Default)]
struct Budgets {
    known: BTreeMap<ObjectKey, BudgetFacts>,
    listed: Option<Arc<[BudgetFacts]>>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            snapshot: Snapshot::default(),
            queue: Queue::default(),
            classes: Classes::default(),
            failed: BTreeMap::new(),
            said: BTreeMap::new(),
            budgets: Budgets::default(),
            promises: Promises::default(),
            pools: facts::Pools::default(),
            freed: 0,
            generation: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// The snapshot is about to change.
    pub(super) fn change(&mut self) -> &mut Snapshot {
        self.generation += 1;
        &mut self.snapshot
    }

    /// A pod in the words of placement, sharing what equal pods share, and its class.
    pub(super) fn facts_of(&mut self, pod: &PodView, spec: PodSpec) -> (ClassId, PodFacts) {
        let (class, spec) = self.classes.of(&pod.meta.key.namespace, spec);
        (class, facts::of_pod(pod, spec))
    }

    /// Puts a pod in line.
    pub(super) fn enqueue(&mut self, pod: &PodView, class: ClassId, now: Instant) {
        self.queue.add(&pod.meta.key, pod.priority, class, now);
    }

    /// Lets a waiting pod try again.
    pub(super) fn retry(&mut self, key: &ObjectKey, priority: i32, now: Instant) {
        if let Some(class) = self.queue.class_of(key) {
            self.queue.add(key, priority, class, now);
        }
    }

    /// Forgets a pod that waits no longer.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.said.remove(key);
        self.queue.forget(key);
    }

    /// Wakes the pods that an event could help. Returns whether there are any.
    pub(super) fn wake(&mut self, event: Event<'_>, now: Instant) -> bool {
        let mut woken = false;
        for class in self.queue.hopeful() {
            if self.may_help(class, event) {
                self.queue.wake(class, now);
                woken = true;
            }
        }
        woken
    }

    /// The same for what happened on a node.
    pub(super) fn wake_at(&mut self, what: AtNode, node: &str, now: Instant) -> bool {
        let freed = self.snapshot.devices_freed();
        let mut woken =
            std::mem::replace(&mut self.freed, freed) != freed && self.wake(Event::Devices, now);
        for class in self.queue.hopeful() {
            let event = match (what, self.snapshot.node(node)) {
                (AtNode::Changed, Some(node)) => Event::Node(node),
                (AtNode::Changed, None) => Event::NodeGone,
                (AtNode::PodLeft, node) => Event::Left(node),
            };
            if self.may_help(class, event) {
                self.queue.wake(class, now);
                woken = true;
            }
        }
        woken
    }

    fn may_help(&self, class: ClassId, event: Event<'_>) -> bool {
        let (known, failed) = (self.classes.get(class), self.failed.get(&class));
        let obstacles = failed.and_then(|failed| failed.obstacles);
        // Who nothing is known of could be helped by anything.
        known
            .zip(obstacles)
            .is_none_or(|(known, obstacles)| obstacles.may_yield_to(event, &known.spec))
    }

    /// Takes over a disruption budget; `None` = it is gone.
    pub(super) fn set_budget(&mut self, key: &ObjectKey, facts: Option<BudgetFacts>) {
        match facts {
            Some(facts) => drop(self.budgets.known.insert(key.clone(), facts)),
            None => drop(self.budgets.known.remove(key)),
        }
        self.budgets.listed = None;
    }

    fn budgets(&mut self) -> Arc<[BudgetFacts]> {
        let known = &self.budgets.known;
        let list = || known.values().cloned().collect();
        Arc::clone(self.budgets.listed.get_or_insert_with(list))
    }

    /// Decides for a taken pod: counts it on its node, parks it, or nominates it.
    pub(super) fn decide(&mut self, pod: Arc<PodView>, taken: &Taken, now: Instant) -> Decided {
        let verdict = self.verdict(&pod, taken, now);
        Decided {
            pod,
            verdict,
            volumes: Ok(Vec::new()),
            grants: Vec::new(),
        }
    }

    fn verdict(&mut self, pod: &PodView, taken: &Taken, now: Instant) -> Verdict {
        let key = &taken.key;
        let nominated = self.nominated(key);
        if let Some(failed) = self.failed.get(&taken.class)
            && failed.generation == Some(self.generation)
            && nominated.is_none()
        {
            let (message, elsewhere) = (failed.message.clone(), failed.elsewhere);
            self.queue.park(key, now);
            return Verdict::Refuse { message, elsewhere };
        }
        let spec = match self.classes.get(taken.class) {
            Some(class) => Arc::clone(&class.spec),
            // Cannot be: a class lives as long as its pods wait.
            None => Arc::new(facts::spec_of(pod, None)),
        };
        let wanted = facts::of_pod(pod, spec);
        match self.choose(&wanted, nominated.as_ref()) {
            Decision::Fits(choice) => {
                // Counted at once, so that the next pod sees the room taken.
                let node: Arc<str> = choice.node.into();
                self.change().place(&node, wanted);
                if let Some(kept) = nominated.filter(|kept| *kept != node) {
                    self.wake_at(AtNode::PodLeft, &kept, now);
                }
                Verdict::Bind { node }
            }
            Decision::Nowhere(failure) => self.no_node(&wanted, taken, &failure, now),
        }
    }

    /// The node that was cleared for the pod if it fits there, else the best.
    fn choose(&mut self, wanted: &PodFacts, nominated: Option<&Arc<str>>) -> Decision {
        let tie = self.rng.random_range(0..u64::MAX);
        if let Some(node) = nominated {
            let mut there = (*wanted.spec).clone();
            there.node_name = Some(node.to_string());
            let mut pod = wanted.clone();
            pod.spec = Arc::new(there);
            let decision = decide(&mut self.snapshot, &pod, tie);
            if decision.node().is_some() {
                return decision;
            }
        }
        decide(&mut self.snapshot, wanted, tie)
    }

    fn no_node(
        &mut self,
        wanted: &PodFacts,
        taken: &Taken,
        failure: &Failure,
        now: Instant,
    ) -> Verdict {
        let budgets = self.budgets();
        let tie = self.rng.random_range(0..u64::MAX);
        let room = preempt(&mut self.snapshot, wanted, failure, &budgets, tie);
        let message = failure.message(&room);
        let obstacles = Obstacles::of(failure);
        let mut reasons = failure
            .groups
            .iter()
            .flat_map(|group| &group.refused.reasons);
        let elsewhere = reasons.any(|why| *why == Refusal::DevicesElsewhere);
        let why = match room {
            Preemption::Helps(plan) => {
                let node: Arc<str> = plan.node.into();
                self.change().nominate(&node, wanted.clone());
                // What its victims' departure is judged by; it holds for this pod alone.
                let failed = Failed {
                    generation: None,
                    obstacles,
                    message: message.clone(),
                    elsewhere,
                };
                self.failed.insert(taken.class, failed);
                let victims = plan.victims.iter();
                let victims =
                    victims.map(|v| ObjectKey::of(&v.pod.namespace, Arc::clone(&v.pod.name)));
                return Verdict::Preempt {
                    message,
                    node,
                    victims: victims.collect(),
                };
            }
            Preemption::Impossible(why) => why,
        };
        let key = &taken.key;
        // The pod alone waits for its victims; all else holds for everybody of its class.
        let alone = why == NoPreemption::UnderWay;
        if !alone && let Some(node) = self.withdraw(key) {
            self.wake_at(AtNode::PodLeft, &node, now);
        }
        let failed = Failed {
            generation: (!alone).then_some(self.generation),
            obstacles,
            message: message.clone(),
            elsewhere,
        };
        self.failed.insert(taken.class, failed);
        self.queue.park(key, now);
        if !alone {
            let snapshot = &self.snapshot;
            let nominated = |key: &ObjectKey| {
                let node = snapshot.nominated_node_of(&key.namespace, &key.name);
                node.is_some()
            };
            self.queue.settle(taken.class, nominated, now);
        }
        Verdict::Refuse { message, elsewhere }
    }

    /// Ends a batch of decisions.
    pub(super) fn end_batch(&mut self) {
        for class in self.classes.sweep() {
            self.failed.remove(&class);
        }
    }

    /// The node room is made on for a pod.
    pub(super) fn nominated(&self, key: &ObjectKey) -> Option<Arc<str>> {
        let node = self.snapshot.nominated_node_of(&key.namespace, &key.name);
        node.map(Arc::from)
    }

    /// Keeps no room for a pod any more. Returns where it was kept.
    pub(super) fn withdraw(&mut self, key: &ObjectKey) -> Option<String> {
        self.nominated(key)?;
        self.change().withdraw(&key.namespace, &key.name)
    }

    /// Keeps no room any more on a node for pods of a lower priority. Returns those.
    pub(super) fn withdraw_below(&mut self, node: &str, priority: i32) -> Vec<ObjectKey> {
        let state = self.snapshot.node(node);
        let nominated = state.into_iter().flat_map(NodeState::nominated);
        let lower = nominated.filter(|pod| pod.spec.priority < priority);
        let keys: Vec<ObjectKey> = lower
            .map(|pod| ObjectKey::of(&pod.namespace, Arc::clone(&pod.name)))
            .collect();
        for key in &keys {
            self.withdraw(key);
        }
        keys
    }

    /// Takes over a claim: where its volume is promised to be, it is selected to be.
    pub(super) fn set_claim(&mut self, key: &ObjectKey, mut facts: ClaimFacts) {
        if let Some(promise) = self.promises.of(key) {
            facts.selected_node = Some(promise.node.to_string());
        }
        self.change().set_claim(facts);
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
        let nominated = self.nominated(&pod.meta.key);
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
