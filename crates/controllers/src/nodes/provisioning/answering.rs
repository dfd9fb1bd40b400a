//! Looks for room for requests, orders nodes for them, and keeps what they were given.

use super::status::{Said, Verdict};
use super::{Awaited, More, Ordered};
use crate::nodes::growing::{Question, compute};
use crate::nodes::held::{HeldPod, unlabelled};
use crate::nodes::work::Work;
use crate::runtime::ObjectKey;
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::cluster::{
    GrowthInput, GrowthPlan, Partial, PodVerdict, ProvisioningAnswer, ProvisioningAsk,
    ProvisioningClass, ProvisioningInput, ProvisioningParameters, Readiness, is_upcoming,
    provision,
};
use plimsoll_engine::placement::{PodFacts, PodKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;

/// After so many looks in which nodes were ordered for pods, a request comes first.
const TURNS: usize = 3;
/// How long nodes with room may be gone before that is told.
const LOST: SignedDuration = SignedDuration::from_mins(1);

impl Work {
    /// Answers requests after pods that wait have been given theirs. Nodes that are needed become
    /// part of the plan.
    pub(in crate::nodes) fn provide(
        &mut self,
        plan: &mut GrowthPlan,
        question: &Question<'_>,
        asks: &[ProvisioningAsk],
    ) {
        let Some(timebox) = self.options.provisioning.as_ref().map(|o| o.timebox) else {
            return;
        };
        if asks.is_empty() {
            self.provisioning.waited = 0;
            return;
        }
        let began = Instant::now();
        let placed = placed(plan, question);
        let turn = plan.resizes.is_empty() || self.provisioning.waited >= TURNS;
        let may_grow = turn && self.calls.any().is_none();
        let existing = self.world.listed();
        let (snapshot, options) = (&mut self.world.snapshot, &self.options.growth);
        let answers = compute(|| {
            provision(ProvisioningInput {
                growth: GrowthInput {
                    snapshot,
                    groups: question.groups,
                    pending: &question.pending,
                    existing: &existing,
                    upcoming: &question.upcoming,
                    skipped: &question.skipped,
                    options,
                    now: question.now,
                    tie: question.tie,
                },
                placed: &placed,
                asks,
                may_grow,
                go_on: &mut || began.elapsed() <= timebox,
            })
        });
        if answers.len() < asks.len() {
            self.provisioning.more = self.provisioning.more.max(Some(More::Now));
        }
        for (ask, answer) in asks.iter().zip(answers) {
            self.answer(plan, ask, answer);
        }
    }

    fn answer(&mut self, plan: &mut GrowthPlan, ask: &ProvisioningAsk, answer: ProvisioningAnswer) {
        let key = ObjectKey::new(&ask.namespace, &ask.name);
        let set_names = |sets: &[usize]| {
            let sets = sets.iter().filter_map(|set| ask.sets.get(*set));
            sets.map(|set| &*set.template).collect::<Vec<&str>>()
        };
        let (said, sets) = match answer {
            ProvisioningAnswer::Found(nodes) => {
                self.keep(plan, &key, ask, nodes);
                let all: Vec<usize> = (0..ask.sets.len()).collect();
                (Some(Said::found()), Some(all))
            }
            ProvisioningAnswer::Partly { sets, nodes } => {
                self.keep(plan, &key, ask, nodes);
                let kept = ask.partial == Some(Partial::Book);
                (Some(Said::partly(&set_names(&sets), kept)), Some(sets))
            }
            ProvisioningAnswer::Growing(growth) => {
                self.order_for(plan, &key, *growth);
                (None, None)
            }
            ProvisioningAnswer::Missing { why } => (Some(self.missing(&key, ask, &why)), None),
            ProvisioningAnswer::Later => {
                self.provisioning.more = Some(More::Soon);
                self.provisioning.waited = self.provisioning.waited.saturating_add(1);
                (None, None)
            }
        };
        let message = said
            .as_ref()
            .map_or("nodes are needed", |said| said.message.as_str());
        plan.trace
            .push(format!("ProvisioningRequest {key}: {message}"));
        let mut verdict = Verdict::of(Said::accepted());
        verdict.said.extend(said);
        let sets = sets.filter(|_| ask.class == ProvisioningClass::CheckCapacity);
        verdict.sets = sets.map(|sets| {
            let names = set_names(&sets);
            names.into_iter().map(str::to_owned).collect()
        });
        self.provisioning.verdicts.insert(key, verdict);
    }

    fn missing(&self, key: &ObjectKey, ask: &ProvisioningAsk, why: &str) -> Said {
        let own = self.own.requests.as_ref();
        let view = own.and_then(|own| own.requests.get(key));
        let gives_up = view.is_some_and(|view| {
            ProvisioningParameters::of(ask.class, &view.spec.parameters).no_retry
        });
        if gives_up {
            Said::missing_for_good(why)
        } else {
            Said::missing(why)
        }
    }

    /// Room that was found is kept from now on.
    fn keep(
        &mut self,
        plan: &mut GrowthPlan,
        key: &ObjectKey,
        ask: &ProvisioningAsk,
        nodes: BTreeMap<PodKey, Arc<str>>,
    ) {
        for (set, of) in ask.sets.iter().enumerate() {
            let bare = unlabelled(&of.spec);
            for pod in ask.pods(set, usize::MAX) {
                if nodes.contains_key(&pod.key()) {
                    let id = pod.key();
                    let spec = Arc::clone(&bare);
                    let awaited = Awaited {
                        request: key.clone(),
                        pod: PodFacts { spec, ..pod },
                    };
                    self.provisioning.awaited.insert(id, awaited);
                }
            }
        }
        let nodes = nodes.into_iter();
        plan.pods
            .extend(nodes.map(|(pod, node)| (pod, PodVerdict::Fits(node))));
    }

    /// Nodes for a request are ordered with the plan.
    fn order_for(&mut self, plan: &mut GrowthPlan, key: &ObjectKey, growth: GrowthPlan) {
        let ordered = Ordered {
            open: growth.atomic.clone(),
            taken: Vec::new(),
        };
        self.provisioning.ordered.insert(key.clone(), ordered);
        self.provisioning.waited = 0;
        if !plan.resizes.is_empty() {
            // It is the request's turn: pods get nodes in the next look.
            let triggered = plan.pods.values_mut();
            let triggered = triggered.filter(|pod| matches!(pod, PodVerdict::Triggered(_)));
            triggered.for_each(|pod| *pod = PodVerdict::AwaitsEvaluation);
            self.look_within(self.options.pace.calm);
        }
        plan.outcome = growth.outcome;
        plan.resizes = growth.resizes;
        plan.atomic = growth.atomic;
        plan.groups = growth.groups;
        plan.options.splice(..0, growth.options);
        plan.pods.extend(growth.pods);
        plan.trace.extend(growth.trace);
    }

    /// Notes where there is room for pods that have not come, and lets these nodes count as used.
    /// Where nobody asked, what was so stays so.
    pub(in crate::nodes) fn keep_bookings(&mut self, plan: Option<&GrowthPlan>, now: Timestamp) {
        let Some((plan, own)) = plan.zip(self.own.requests.as_ref()) else {
            return;
        };
        let were_ordered = |request: &ObjectKey| {
            let view = own.requests.get(request);
            view.is_some_and(|view| view.reason("Provisioned") == "CapacityIsProvisioned")
        };
        let snapshot = &self.world.snapshot;
        let nodes = &self.world.nodes;
        let works = |node: &Arc<str>| {
            let node = nodes.get(node);
            node.is_some_and(|node| node.readiness == Readiness::Ready)
        };
        let state = &mut self.provisioning;
        let (mut held, mut gone) = (BTreeMap::new(), BTreeMap::<ObjectKey, usize>::new());
        let awaited = &state.awaited;
        state.places.retain(|key, _| awaited.contains_key(key));
        for (key, Awaited { request, pod }) in awaited {
            let Some(PodVerdict::Fits(node)) = plan.pods.get(key) else {
                // A node that still works has been taken by others, who are welcome.
                let is_gone = match state.places.get(key) {
                    Some(node) => !works(node),
                    None => were_ordered(request),
                };
                if is_gone {
                    *gone.entry(request.clone()).or_default() += 1;
                }
                continue;
            };
            state.places.insert(key.clone(), Arc::clone(node));
            if !is_upcoming(node) && snapshot.node(node).is_some() {
                let held_pod = HeldPod {
                    pod: pod.clone(),
                    node: Arc::clone(node),
                    owner: format!("provisioning-request/{request}").into(),
                };
                held.insert(key.clone(), held_pod);
            }
        }
        state.held.replace(held, &mut self.world.pods);
        self.end_lost(&gone, now);
    }

    /// Ends requests whose nodes are gone, or did not come. When no pod has come yet, whoever asked
    /// may ask again. When pods wait, they are let to add nodes themselves. As long as all that came
    /// have nodes, the others may find room as well.
    ///
    /// Departs: upstream leaves such requests as they are. `CapacityRevoked` is not said: Kueue
    /// deactivates a workload for it, for good.
    fn end_lost(&mut self, gone: &BTreeMap<ObjectKey, usize>, now: Timestamp) {
        let state = &mut self.provisioning;
        state.lost.retain(|key, _| gone.contains_key(key));
        let ordered: BTreeSet<&ObjectKey> = state.ordered.keys().collect();
        for (key, pods) in gone {
            let begun = state.begun.get(key);
            if begun == Some(&false) || ordered.contains(key) {
                continue;
            }
            let since = *state.lost.entry(key.clone()).or_insert(now);
            if now.duration_since(since) > LOST {
                let said = Said::lost(*pods, begun.is_some());
                state.verdicts.insert(key.clone(), Verdict::of(said));
            }
        }
    }
}

/// Pods that have found room, with their nodes: those that wait, and booked ones.
fn placed(plan: &GrowthPlan, question: &Question<'_>) -> Vec<(Arc<str>, PodFacts)> {
    let waiting = question.pending.iter().map(|pending| &pending.pod);
    let booked = question.booked.iter().map(|booked| &booked.pod);
    let placed = waiting.chain(booked).filter_map(|pod| {
        let Some(PodVerdict::Fits(node)) = plan.pods.get(&pod.key()) else {
            return None;
        };
        Some((Arc::clone(node), pod.clone()))
    });
    placed.collect()
}
