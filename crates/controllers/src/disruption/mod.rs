//! Counts what each disruption budget may still give away.
//!
//! ```text
//! pods, budgets ──> who is healthy ──┐
//! owners' scale ──> how many expected ┴─> status.disruptionsAllowed ──> the eviction API takes
//! ```
//!
//! Every write names the resourceVersion it was computed from: an eviction granted meanwhile makes
//! it fail, and the figures are computed again. The eviction API does the same the other way
//! round, so together they never grant more than the budget has.

mod figures;
mod scale;
mod stale;

use crate::pods::{BudgetStatus, BudgetView, PodView};
use crate::runtime::{
    Action, Change, ObjectKey, Queue, Reconcile, Recorder, Reference, WriteError, run,
};
use crate::supervisor::Context;
use figures::{Basis, Figures, Verdict};
use jiff::Timestamp;
use scale::{ScaleError, Scales};
use serde_json::{Value, json};
use std::sync::Arc;

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let caches = &context.caches;
    caches.pods.ready().await;
    caches.replica_sets.ready().await;
    caches.deployments.ready().await;
    caches.budgets.ready().await;
    watch(&context, &queue);
    let stale = stale::control(context.clone());
    let budgets = Budgets {
        scales: Scales::new(&context),
        recorder: context.recorder.component("controllermanager"),
        context,
    };
    let counting = run(Arc::new(budgets), queue);
    tokio::select! {
        biased;
        never = counting => match never {},
        never = stale => match never {},
    }
}

fn watch(context: &Context, queue: &Queue<ObjectKey>) {
    let add = queue.clone();
    context
        .caches
        .budgets
        .on_change(move |change| add.add(change.key.clone()));
    let (add, budgets) = (queue.clone(), context.caches.budgets.clone());
    context
        .caches
        .pods
        .on_change(move |change: &Change<PodView>| {
            if budgets.is_empty() || !matters(change) {
                return;
            }
            for budget in budgets.list(Some(&change.key.namespace)) {
                let sides = [&change.old, &change.new].into_iter().flatten();
                if sides.into_iter().any(|pod| budget.protects(&pod.meta)) {
                    add.add(budget.meta.key.clone());
                }
            }
        });
}

/// Whether a change of a pod can change the figures of a budget.
fn matters(change: &Change<PodView>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return true;
    };
    old.is_ready() != new.is_ready()
        || old.meta.uid != new.meta.uid
        || old.meta.is_deleting() != new.meta.is_deleting()
        || old.meta.labels != new.meta.labels
        || old.meta.owners != new.meta.owners
}

struct Budgets {
    context: Context,
    scales: Scales,
    recorder: Recorder,
}

/// Why a budget has no figures.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    /// Nobody says how many pods there should be.
    #[error(transparent)]
    Scale(#[from] ScaleError),
    /// The spec has a percentage that is none.
    #[error("{0}")]
    Bound(String),
    /// The status could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Reconcile for Budgets {
    type Key = ObjectKey;
    type Error = SyncError;

    fn name(&self) -> &'static str {
        "disruption"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, SyncError> {
        let Some(budget) = self.context.caches.budgets.get(key) else {
            return Ok(Action::Wait);
        };
        match self.sync(&budget).await {
            Err(SyncError::Write(error)) if error.is_not_found() => Ok(Action::Wait),
            Err(error @ (SyncError::Scale(_) | SyncError::Bound(_))) => {
                self.say_uncounted(&budget, &error).await?;
                Err(error)
            }
            outcome => outcome,
        }
    }
}

impl Budgets {
    async fn sync(&self, budget: &BudgetView) -> Result<Action, SyncError> {
        let now = seconds(self.context.clock.now());
        let pods = self.pods(budget);
        if pods.is_empty() {
            let message = "No matching pods found".to_owned();
            self.recorder.normal(&about(budget), "NoPods", message);
        }
        let expected = match figures::basis(budget.bound.as_ref()) {
            Basis::Nothing => 0,
            Basis::Pods => i32::try_from(pods.len()).unwrap_or(i32::MAX),
            Basis::Scale => {
                self.say_unmanaged(budget, &pods);
                self.scales.expected(&pods).await?
            }
        };
        let in_flight = figures::in_flight(&budget.status.disrupted_pods, &pods, now);
        for pod in &in_flight.overdue {
            self.say_not_deleted(budget, pod);
        }
        let figures = Figures {
            expected,
            desired: figures::desired(budget.bound.as_ref(), expected).map_err(SyncError::Bound)?,
            healthy: figures::healthy(&pods, &in_flight.pods),
        };
        let status = figures::status(budget, figures, in_flight.pods, now);
        self.write(budget, &status).await?;
        Ok(in_flight.recheck.map_or(Action::Wait, Action::Requeue))
    }

    fn pods(&self, budget: &BudgetView) -> Vec<Arc<PodView>> {
        let caches = &self.context.caches;
        budget.selector.as_ref().map_or_else(Vec::new, |selector| {
            caches.select_pods(budget.meta.namespace(), selector)
        })
    }

    /// Nobody says how many there should be of pods without a controller, so they add nothing.
    fn say_unmanaged(&self, budget: &BudgetView, pods: &[Arc<PodView>]) {
        let mut unmanaged = pods.iter().filter(|pod| pod.meta.controller().is_none());
        let Some(first) = unmanaged.next() else {
            return;
        };
        let message = format!(
            "{} of the selected pods have no controller, {} among them, so nobody says how many \
             there should be and they are not expected. To count them, set .spec.minAvailable to \
             an integer",
            1 + unmanaged.count(),
            first.meta.name()
        );
        self.recorder
            .warning(&about(budget), "UnmanagedPods", message);
    }

    /// Without figures nothing may be disrupted.
    async fn say_uncounted(&self, budget: &BudgetView, error: &SyncError) -> Result<(), SyncError> {
        let text = error.to_string();
        let message = format!("Failed to calculate the number of expected pods: {text}");
        let reason = "CalculateExpectedPodCountFailed";
        self.recorder.warning(&about(budget), reason, message);
        let now = seconds(self.context.clock.now());
        let mut status = budget.status.clone();
        status.disruptions_allowed = 0;
        figures::judge(&mut status, Verdict::SyncFailed(text), now);
        match self.write(budget, &status).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn say_not_deleted(&self, budget: &BudgetView, pod: &PodView) {
        let message = format!(
            "Pod was expected by PDB {} to be deleted but it wasn't",
            budget.meta.key
        );
        let about = Reference::to("v1", "Pod", &pod.meta);
        self.recorder.warning(&about, "NotDeleted", message);
    }

    async fn write(&self, budget: &BudgetView, status: &BudgetStatus) -> Result<(), WriteError> {
        if *status == budget.status {
            return Ok(());
        }
        let mut body = json!(status);
        // A merge patch keeps what it does not name.
        if let Some(disrupted) = body.get_mut("disruptedPods").and_then(Value::as_object_mut) {
            for pod in budget.status.disrupted_pods.keys() {
                if !status.disrupted_pods.contains_key(pod) {
                    disrupted.insert(pod.clone(), Value::Null);
                }
            }
        }
        let patch = json!({
            "metadata": {
                "uid": *budget.meta.uid, "resourceVersion": budget.meta.resource_version(),
            },
            "status": body,
        });
        let (writer, cache) = (&self.context.writer, &self.context.caches.budgets);
        let key = &budget.meta.key;
        writer
            .patch_subresource(cache, key, "status", &patch)
            .await
            .map(drop)
    }
}

fn about(budget: &BudgetView) -> Reference {
    Reference::to("policy/v1", "PodDisruptionBudget", &budget.meta)
}

/// Times in objects have whole seconds.
fn seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
