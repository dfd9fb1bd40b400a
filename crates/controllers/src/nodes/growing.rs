//! More nodes: who is asked for how many, and what becomes of it.

use super::actuation::Phase;
use super::calls::{Ended, Manner};
use super::registry::code;
use super::told::Told;
use super::work::Work;
use crate::facts;
use jiff::Timestamp;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use plimsoll_engine::cluster::{
    BookedPod, ClusterHealth, Expander, GroupFacts, GroupId, GrowthInput, GrowthOutcome,
    GrowthPlan, Happened, OwnerKind, PendingPod, PodVerdict, Residents, Resize, RunningPod,
    SkipReason, allowed, cannot_grow, grow_beside, is_upcoming,
};
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How soon at least pods are looked at again that are too young now.
const YOUNG: Duration = Duration::from_millis(100);

/// Runs what takes long without holding up others, where that can be.
pub(super) fn compute<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// What a look at pods without a node is about.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) groups: &'a [GroupFacts],
    pub(super) pending: Vec<PendingPod>,
    /// Pods that room is booked for.
    pub(super) booked: Vec<BookedPod>,
    pub(super) skipped: BTreeMap<GroupId, SkipReason>,
    pub(super) upcoming: BTreeMap<GroupId, usize>,
    pub(super) now: Timestamp,
    pub(super) tie: u64,
}

impl Work {
    /// Decides about pods without a node, and orders nodes for them.
    pub(super) async fn grow(
        &mut self,
        groups: &[GroupFacts],
        health: &ClusterHealth,
        now: Timestamp,
    ) -> Arc<GrowthPlan> {
        let began = Instant::now();
        let (pending, notes) = self.pending(now);
        let wanted = self.requests(now);
        self.enforce_minima(groups, health, now);
        let was_idle = self.counted.is_idle(pending.len());
        if pending.is_empty() && wanted.is_empty() {
            if !was_idle {
                tracing::info!("No unschedulable pods");
            }
            return Arc::new(nothing());
        }
        self.active("scaleUp", now);
        let question = Question {
            groups,
            pending,
            booked: wanted.booked,
            skipped: self.skipped(groups, health, now),
            upcoming: health.upcoming(),
            now,
            tie: self.rng.random(),
        };
        let chain = self.chain(groups);
        let chain = self.advised(chain, &question).await;
        let mut plan = self.decided(chain, &question);
        plan.trace.splice(0..0, notes);
        self.provide(&mut plan, &question, &wanted.asks);
        let plan = Arc::new(plan);
        self.took("scaleUp", began);
        Told::plan(&plan);
        self.told.unhelped(&plan, now);
        if plan.outcome == GrowthOutcome::LimitedByMaxNodesTotal {
            self.is_full(health);
        }
        self.expect(&plan, question.pending);
        self.wait_for_young(&plan, now);
        self.order(&plan, now);
        plan
    }

    /// The expanders in turn. What is wrong with them is told.
    fn chain(&mut self, groups: &[GroupFacts]) -> Vec<Expander> {
        let (expanders, trouble) = self.expanders.of(groups.iter().map(|group| &group.id));
        if let Some(why) = trouble {
            let reason = "PriorityConfigMapInvalid";
            self.told
                .trouble(reason, format!("Priorities of groups are not known: {why}"));
        }
        expanders
    }

    /// What these expanders make of it.
    pub(super) fn decided(
        &mut self,
        expanders: Vec<Expander>,
        question: &Question<'_>,
    ) -> GrowthPlan {
        self.options.growth.expanders = expanders;
        let existing = self.world.listed();
        let (snapshot, options) = (&mut self.world.snapshot, &self.options.growth);
        compute(|| {
            let input = GrowthInput {
                snapshot,
                groups: question.groups,
                pending: &question.pending,
                existing: &existing,
                upcoming: &question.upcoming,
                skipped: &question.skipped,
                options,
                now: question.now,
                tie: question.tie,
            };
            grow_beside(input, &question.booked)
        })
    }

    /// Remembers for removal in the same look which nodes the pods will go to that fit one. Pods
    /// that have a node still are not among them.
    fn expect(&mut self, plan: &GrowthPlan, pending: Vec<PendingPod>) {
        for PendingPod { pod, .. } in pending {
            let key = pod.key();
            let Some(PodVerdict::Fits(node)) = plan.pods.get(&key) else {
                continue;
            };
            if !is_upcoming(node) && self.world.pods.pod(&key).is_none() {
                self.expected.entry(Arc::clone(node)).or_default().push(pod);
            }
        }
    }

    /// Groups that cannot be given a node in place of dearer ones now.
    pub(super) fn cannot_grow(
        &mut self,
        groups: &[GroupFacts],
        (health, growth): (&ClusterHealth, Option<&GrowthPlan>),
        now: Timestamp,
    ) -> BTreeSet<GroupId> {
        let options = self.options.shrink.as_ref();
        if options.is_none_or(|options| options.consolidation.is_none()) {
            return BTreeSet::new();
        }
        // Pods that wait come first.
        if growth.is_none_or(|plan| !plan.resizes.is_empty()) {
            return groups.iter().map(|group| Arc::clone(&group.id)).collect();
        }
        let mut none = cannot_grow(&GrowthInput {
            groups,
            pending: &[],
            existing: &self.world.listed(),
            upcoming: &health.upcoming(),
            skipped: &self.skipped(groups, health, now),
            options: &self.options.growth,
            snapshot: &mut self.world.snapshot,
            now,
            tie: 0,
        });
        let ordered = groups
            .iter()
            .filter(|group| self.calls.ordered(&group.id).is_some());
        none.extend(ordered.map(|group| Arc::clone(&group.id)));
        none
    }

    /// Pods that are too young are looked at when they are not any more.
    fn wait_for_young(&mut self, plan: &GrowthPlan, now: Timestamp) {
        let due = plan.pods.values().filter_map(|verdict| {
            if let PodVerdict::TooYoung { until } = verdict {
                Some(*until)
            } else {
                None
            }
        });
        if let Some(due) = due.min() {
            let delay = Duration::try_from(due.duration_since(now));
            self.look_within(delay.unwrap_or_default().max(YOUNG));
        }
    }

    /// Pods without a node, those that will lose theirs, and those that are only imagined; also why
    /// some are counted.
    fn pending(&mut self, now: Timestamp) -> (Vec<PendingPod>, Vec<String>) {
        let mut pending: Vec<PendingPod> = self.world.pending.values().cloned().collect();
        self.set_aside(&mut pending, now);
        for running in self.actuator.running() {
            if !running.drain || running.phase == Phase::Leaving {
                continue;
            }
            let pods = self.world.pods.on(&running.node).into_iter();
            let pods = pods.flat_map(Residents::pods);
            for pod in pods.filter(|pod| comes_back(pod)) {
                let (namespace, name) = (&pod.pod.namespace, &pod.pod.name);
                if let Some(view) = self.context.caches.pods.find(namespace, name) {
                    pending.push(facts::of_pending(&view, facts::to_come(&pod.pod)));
                }
            }
        }
        let mut notes = Vec::new();
        if let Some(options) = &self.options.intended {
            let wishes = self.context.wishes.in_force(now);
            let intended = self.world.intended(options.limit, &wishes);
            pending.extend(intended.pods);
            notes = intended.notes;
        }
        pending.extend(self.headroom());
        (pending, notes)
    }

    /// Groups that must not grow now.
    fn skipped(
        &self,
        groups: &[GroupFacts],
        health: &ClusterHealth,
        now: Timestamp,
    ) -> BTreeMap<GroupId, SkipReason> {
        let mut skipped = BTreeMap::new();
        for group in groups {
            let is_healthy = health.groups.get(&group.id).is_none_or(|h| h.healthy);
            let reason = self.registry.backoff.active(&group.id, now);
            let reason = reason.or_else(|| (!is_healthy).then_some(SkipReason::NotReady));
            let unknown = || self.awaits_quotas.then_some(SkipReason::QuotasUnknown);
            let reason = reason.or_else(unknown);
            if let Some(reason) = reason {
                skipped.insert(Arc::clone(&group.id), reason);
            }
        }
        skipped
    }

    fn is_full(&mut self, health: &ClusterHealth) {
        let total = self.options.growth.max_nodes_total.unwrap_or(0);
        let ready = health.counts.ready;
        self.signals.metrics.add(
            "skipped_scale_events_count",
            &[("direction", "up"), ("reason", "MaxNodesTotalReached")],
            1,
        );
        self.told.trouble(
            "MaxNodesTotalReached",
            format!(
                "Max total nodes in cluster reached: {total}. Current number of ready nodes: {ready}"
            ),
        );
    }

    /// Orders what the plan says. A group whose last order is under way waits for its end: sizes
    /// are set by difference.
    fn order(&mut self, plan: &Arc<GrowthPlan>, now: Timestamp) {
        let mut orders = Vec::new();
        for resize in &plan.resizes {
            if self.options.observe_only || self.calls.ordered(&resize.group).is_some() {
                continue;
            }
            let manner = if plan.atomic.contains(&resize.group) {
                Manner::AllOrNone
            } else {
                Manner::AsManyAsThereAre
            };
            self.told.sets(resize);
            let count = resize.to.saturating_sub(resize.from);
            let patience = self.provision_time(&resize.group);
            self.registry.asked(&resize.group, count, now, patience);
            orders.push((resize.clone(), manner));
        }
        let timeout = self.options.pace.provider_timeout;
        self.calls
            .begin(plan, orders, &self.provider, (timeout, now));
    }

    /// `--enforce-node-group-min-size`.
    fn enforce_minima(&mut self, groups: &[GroupFacts], health: &ClusterHealth, now: Timestamp) {
        if !self.options.repair.enforce_min_size {
            return;
        }
        let skipped = self.skipped(groups, health, now);
        let short = groups.iter().filter(|group| group.target < group.min);
        let short: Vec<&GroupFacts> = short
            .filter(|group| !skipped.contains_key(&group.id))
            .collect();
        if short.is_empty() {
            return;
        }
        let lacks = |group: &&GroupFacts| (Arc::clone(&group.id), group.min - group.target);
        let wanted: Vec<(GroupId, usize)> = short.iter().map(lacks).collect();
        let input = GrowthInput {
            groups,
            pending: &[],
            existing: &self.world.listed(),
            upcoming: &health.upcoming(),
            skipped: &skipped,
            options: &self.options.growth,
            snapshot: &mut self.world.snapshot,
            now,
            tie: 0,
        };
        let nodes = allowed(&input, &wanted);
        let resizes = short.into_iter().zip(nodes).filter(|(_, nodes)| *nodes > 0);
        let resizes = resizes.map(|(group, nodes)| Resize {
            group: Arc::clone(&group.id),
            from: group.target,
            to: group.target.saturating_add(nodes),
            max: group.max,
        });
        self.order_alone(resizes.collect(), now);
    }

    /// Orders nodes for which no pod waits.
    pub(super) fn order_alone(&mut self, resizes: Vec<Resize>, now: Timestamp) {
        if !resizes.is_empty() {
            let plan = GrowthPlan {
                outcome: GrowthOutcome::Successful,
                resizes,
                ..nothing()
            };
            self.order(&Arc::new(plan), now);
        }
    }

    /// An order has ended.
    pub(super) fn ordered(&mut self, ended: Ended) {
        let now = self.context.clock.now();
        match ended.result {
            Err(error) if error.class == ErrorClass::Unreachable => {
                // Nobody knows whether the order was taken: the group's size will tell.
                self.unsure.push((ended.resize, error));
                self.look_within(Duration::ZERO);
            }
            result => self.ended(&ended.resize, result, now),
        }
        if let Some((plan, taken)) = ended.finished {
            self.told.triggered(&plan, &taken);
        }
    }

    fn ended(&mut self, resize: &Resize, result: Result<(), ProviderError>, now: Timestamp) {
        if self.provisioning.order_ended(resize, result.is_ok()) {
            self.look_within(Duration::ZERO);
        }
        match &result {
            Ok(()) => {
                self.told.set(resize);
                self.planner.note(Happened::Added, &resize.group, now);
                let metrics = &self.signals.metrics;
                let count = resize.to.saturating_sub(resize.from);
                metrics.add("scaled_up_nodes_total", &[], count);
                self.look_within(self.options.pace.calm);
            }
            Err(error) => self.refused(resize, error, now),
        }
        let told = result.map_err(|error| error.to_string());
        self.signals
            .explanations
            .resized(now, resize, "pods without a node", told);
    }

    /// Groups have just been read: they tell whether orders were taken that nobody answered.
    pub(super) fn find_out(&mut self, now: Timestamp) {
        for (resize, error) in std::mem::take(&mut self.unsure) {
            let group = self.groups.iter().find(|group| group.id == resize.group);
            let taken = group.is_some_and(|group| group.target > resize.from);
            let result = if taken { Ok(()) } else { Err(error) };
            self.ended(&resize, result, now);
        }
    }

    /// The group is left alone for a while, and others are tried at once.
    fn refused(&mut self, resize: &Resize, error: &ProviderError, now: Timestamp) {
        let group = &resize.group;
        let count = resize.to.saturating_sub(resize.from);
        self.told.not_set(group, error);
        self.registry.gave_up(group, count);
        let code = code(error.class, &error.code);
        let options = &self.options.backoff;
        let why = (&*code, &*error.message);
        let until = self.registry.backoff.fail(group, now, why, options);
        self.planner.replacement_failed(group, until);
        let reason = match error.class {
            ErrorClass::Unreachable => "timeout",
            ErrorClass::OutOfResources | ErrorClass::QuotaExceeded => &*code,
            ErrorClass::Throttled
            | ErrorClass::Forbidden
            | ErrorClass::NotFound
            | ErrorClass::Invalid
            | ErrorClass::Unsupported
            | ErrorClass::Other => "cloudProviderError",
        };
        self.signals
            .metrics
            .add("failed_scale_ups_total", &[("reason", reason)], 1);
        self.look_within(Duration::ZERO);
    }
}

/// Whether something will make the pod anew when it is evicted. Of a pod that has been, the
/// replacement waits already.
fn comes_back(pod: &RunningPod) -> bool {
    let owner = pod.owner.as_ref().map(|owner| owner.kind);
    let stays = !pod.mirror && !pod.terminal && pod.deletion.is_none();
    stays && owner.is_some_and(|kind| kind != OwnerKind::DaemonSet)
}

/// No pod waits.
fn nothing() -> GrowthPlan {
    GrowthPlan {
        outcome: GrowthOutcome::NotNeeded,
        resizes: Vec::new(),
        atomic: BTreeSet::new(),
        options: Vec::new(),
        groups: BTreeMap::new(),
        pods: BTreeMap::new(),
        trace: Vec::new(),
    }
}
