//! What is known of a node's pods, kept while nothing about them changes.

use super::consolidate::disruption_of_pod;
use super::disruption::RemainingBudgets;
use super::drain::{DrainContext, Judgement, judge_all, old_at, overdue_at};
use super::eligibility::ignored;
use super::group::GroupFacts;
use super::removal::Blocker;
use super::residents::Residents;
use super::running::{ClusterNode, RunningPod};
use super::shrink::ShrinkOptions;
use super::utilization::{
    DevicePool, Ignored, Utilization, UtilizationError, utilization, valid_until,
};
use crate::placement::{PodFacts, PodKey, Resources};
use jiff::Timestamp;
use std::sync::Arc;

/// What becomes of the pods of a node when it goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Judged {
    /// To be moved.
    pub(super) moves: Vec<PodFacts>,
    /// Of DaemonSets.
    pub(super) daemons: Vec<PodKey>,
    /// Waited for.
    pub(super) on_completion: Vec<PodKey>,
    /// The pod that keeps the node.
    pub(super) blocker: Option<Blocker>,
    /// What moving its pods costs, see [`disruption_of_pod`].
    pub(super) disruption: f64,
}

/// The pods that count: those above the cutoff.
pub(super) fn visible<'a>(
    pods: Option<&'a Residents>,
    options: &ShrinkOptions,
) -> impl Iterator<Item = &'a RunningPod> + Clone {
    let cutoff = options.expendable_cutoff;
    let pods: Vec<&RunningPod> = pods.into_iter().flat_map(Residents::pods).collect();
    let mut pods = pods;
    pods.retain(|pod| pod.priority.is_none_or(|priority| priority >= cutoff));
    pods.into_iter()
}

/// What was found out about one node.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeCache {
    utilization: Option<KnownUtilization>,
    judged: Option<KnownJudgement>,
}

#[derive(Debug, Clone)]
struct KnownUtilization {
    version: u64,
    allocatable: Resources,
    pools: Vec<DevicePool>,
    gpu: Option<Arc<str>>,
    ignored: Ignored,
    until: Option<Timestamp>,
    found: Result<Utilization, UtilizationError>,
}

#[derive(Debug, Clone)]
struct KnownJudgement {
    version: u64,
    budgets: u64,
    until: Option<Timestamp>,
    found: Arc<Judged>,
}

/// What holds for all nodes of a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) options: &'a ShrinkOptions,
    pub(super) budgets: &'a RemainingBudgets,
    /// Another number whenever a budget changed.
    pub(super) budgets_epoch: u64,
    pub(super) now: Timestamp,
}

fn holds(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_none_or(|until| now <= until)
}

impl NodeCache {
    /// The node's utilization.
    pub(super) fn utilization(
        &mut self,
        node: &ClusterNode,
        group: &GroupFacts,
        pods: Option<&Residents>,
        frame: Frame<'_>,
    ) -> Result<Utilization, UtilizationError> {
        let version = pods.map_or(0, Residents::version);
        let ignored = ignored(group, frame.options);
        let known = self.utilization.as_ref().filter(|known| {
            known.version == version
                && known.ignored == ignored
                && holds(known.until, frame.now)
                && known.allocatable == node.allocatable
                && known.pools == node.device_pools
                && known.gpu == node.gpu
        });
        if let Some(known) = known {
            return known.found.clone();
        }
        let here = visible(pods, frame.options);
        let found = utilization(node, here.clone(), ignored, frame.now);
        self.utilization = Some(KnownUtilization {
            version,
            allocatable: node.allocatable.clone(),
            pools: node.device_pools.clone(),
            gpu: node.gpu.clone(),
            ignored,
            until: valid_until(here, frame.now),
            found: found.clone(),
        });
        found
    }

    /// What becomes of its pods.
    pub(super) fn judged(&mut self, pods: Option<&Residents>, frame: Frame<'_>) -> Arc<Judged> {
        let version = pods.map_or(0, Residents::version);
        let known = self.judged.as_ref().filter(|known| {
            known.version == version
                && known.budgets == frame.budgets_epoch
                && holds(known.until, frame.now)
        });
        if let Some(known) = known {
            return Arc::clone(&known.found);
        }
        let here = visible(pods, frame.options);
        let changes = here.clone().flat_map(|pod| {
            let old = old_at(pod, &frame.options.drain);
            [
                overdue_at(pod),
                old.filter(|_| &*pod.pod.namespace == super::drain::SYSTEM_NAMESPACE),
            ]
        });
        let until = changes.flatten().filter(|then| *then >= frame.now).min();
        let found = Arc::new(Judged::of(here, frame));
        self.judged = Some(KnownJudgement {
            version,
            budgets: frame.budgets_epoch,
            until,
            found: Arc::clone(&found),
        });
        found
    }
}

impl Judged {
    /// Judges pods. One that is done needs no other place, so it is not among the moves.
    pub(super) fn of<'a>(pods: impl IntoIterator<Item = &'a RunningPod>, frame: Frame<'_>) -> Self {
        let context = DrainContext {
            options: &frame.options.drain,
            budgets: frame.budgets,
            now: frame.now,
        };
        let keys = |pods: &[&RunningPod]| pods.iter().map(|pod| pod.pod.key()).collect();
        match judge_all(pods, &context) {
            Err(blocker) => Self {
                blocker: Some(blocker),
                ..Self::default()
            },
            Ok(Judgement {
                moves,
                daemons,
                on_completion,
            }) => Self {
                moves: moves
                    .iter()
                    .filter(|pod| !pod.terminal)
                    .map(|pod| pod.pod.clone())
                    .collect(),
                daemons: keys(&daemons),
                on_completion: keys(&on_completion),
                blocker: None,
                disruption: moves.iter().map(|pod| disruption_of_pod(pod)).sum(),
            },
        }
    }
}
