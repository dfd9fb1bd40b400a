//! Carries removals out.
//!
//! ```text
//! Removal ─> taint, cordon ─> let schedulers see it ─> look again ─> evict, wave by wave ─┐
//!                │                                        │              │                │
//!                └────────── any failure ─────────────────┴──────────────┤    provider: delete
//!                                                                        v                │
//!                                                   taint off, uncordon (until it succeeds)
//!                                                                        ^                v
//!                                       still there after five minutes ──┴─────── wait for its end
//! ```
//! Every removal is a task of its own; those of a group that goes as a whole are one. Whatever
//! fails, a node either goes or is as it was before: a write that undoes is tried until it
//! succeeds, what a crash leaves is found by [`Actuator::clean_up_leftovers`], and a machine that
//! the provider promised to remove and did not is released. Pods leave by the eviction API only,
//! so no budget is overdrawn.
//!
//! Facts: reference/cluster-autoscaler.md §12.7.

mod course;
mod deleting;
mod drain;
mod evict;
mod instances;
mod ledger;
mod leftovers;
mod marker;
mod outcome;
pub mod priorities;
mod recheck;
mod settings;
mod signal;
mod soft;
mod taint;
mod told;

pub use instances::{Floor, Unwanted};
pub use ledger::Evictions;
pub use outcome::{Failure, Outcome, Phase, Running};
pub use settings::{EvictionSettings, Settings, TaintSettings};
pub use soft::SoftTaints;

use crate::pods::PodView;
use crate::runtime::Reference;
use crate::supervisor::Context;
use course::Course;
use deleting::Batches;
use jiff::Timestamp;
use ledger::Ledger;
use marker::Marker;
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{NodeGroup, NodeProvider, ProviderError};
use plimsoll_engine::cluster::{GroupId, Removal, ShrinkPlan};
use signal::Signal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use told::Told;

/// Taints written at once.
const MARKS_AT_ONCE: usize = 5;
/// How long the end of the program may be held up by nodes that are to be released.
const PARTING: Duration = Duration::from_secs(10);

/// What all removals share.
#[derive(Debug)]
struct Shared {
    context: Context,
    provider: Arc<dyn NodeProvider>,
    settings: Settings,
    ledger: Ledger,
    signal: Arc<Signal>,
    marker: Marker,
    told: Told,
    marking: Semaphore,
    batches: Batches,
}

/// Carries removals out in the background. Dropping it stops everything where it is, as a crash
/// would; see [`Actuator::stop`].
#[derive(Debug)]
pub struct Actuator {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

impl Actuator {
    /// Nothing runs yet. The context's caches of nodes and pods (by node too) must be fed.
    pub fn new(context: &Context, provider: Arc<dyn NodeProvider>, settings: Settings) -> Self {
        let (writer, nodes) = (&context.writer, &context.caches.nodes);
        let shared = Shared {
            provider,
            settings,
            ledger: Ledger::new(context.clock),
            signal: Signal::follow(&context.caches),
            marker: Marker::new(writer, nodes),
            told: Told::new(&context.recorder, nodes),
            marking: Semaphore::new(MARKS_AT_ONCE),
            batches: Batches::default(),
            context: context.clone(),
        };
        Self {
            shared: Arc::new(shared),
            tasks: Mutex::default(),
        }
    }

    /// The status ConfigMap, on which events are told from now on.
    pub fn tell_on(&self, status: Reference) {
        self.shared.told.set_status(status);
    }

    /// Begins to remove the plan's nodes. Those under way already are left out.
    pub fn start(&self, plan: &ShrinkPlan) {
        let empty = plan.empty.iter().map(|removal| (removal, false));
        let drain = plan.drain.iter().map(|removal| (removal, true));
        let mut wholes: BTreeMap<GroupId, Vec<Course>> = BTreeMap::new();
        for (removal, drain) in empty.chain(drain) {
            let Some(course) = self.shared.enter(removal, drain) else {
                continue;
            };
            if removal.atomic {
                let group = GroupId::clone(&removal.group);
                wholes.entry(group).or_default().push(course);
            } else {
                self.carry_out(vec![course]);
            }
        }
        for batch in wholes.into_values() {
            self.carry_out(batch);
        }
    }

    fn carry_out(&self, batch: Vec<Course>) {
        let shared = Arc::clone(&self.shared);
        self.spawn(async move { shared.carry_out(&batch).await });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Removals under way, in the order of the nodes' names. Those in [`Phase::Leaving`] count no
    /// more: the provider has agreed.
    pub fn running(&self) -> Vec<Running> {
        self.shared.ledger.all()
    }

    /// Pods evicted in the last two minutes, as they were: their replacements may not exist yet.
    pub fn recently_evicted(&self) -> Vec<Arc<PodView>> {
        self.shared.ledger.recently_evicted()
    }

    /// How the removals ended that ended since the last call.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.shared.ledger.take_outcomes()
    }

    /// How many evictions there were since the start.
    pub fn evictions(&self) -> Evictions {
        self.shared.ledger.evictions()
    }

    /// Changes with every step of a removal.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.ledger.changes()
    }

    /// Makes soft taints say what `unneeded` says (node → since when), as far as one look may.
    /// `is_ours` tells the nodes of the provider's groups; others are left alone.
    pub async fn mark_candidates(
        &self,
        unneeded: &BTreeMap<Arc<str>, Timestamp>,
        is_ours: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> SoftTaints {
        self.shared.mark_candidates(unneeded, is_ours).await
    }

    /// Releases nodes of the provider's groups that are marked and not under way, as after a crash;
    /// answers their names. A node whose machine the provider is removing keeps its taint until it
    /// is gone. Soft taints go too if they are switched off. To be called when the work begins; it
    /// does no harm later, and costs a visit of the cached nodes if there is nothing to do.
    ///
    /// # Errors
    /// The provider cannot be read; nothing was done.
    pub async fn clean_up_leftovers(&self) -> Result<Vec<Arc<str>>, ProviderError> {
        let mut released = Vec::new();
        for leftover in self.shared.leftovers().await? {
            let name = Arc::clone(&leftover.node.meta.key.name);
            let shared = Arc::clone(&self.shared);
            if leftover.leaves {
                shared.adopt(&name, &leftover.group);
                let uid = Arc::clone(&leftover.node.meta.uid);
                self.spawn(async move { shared.wait_for_end(&name, &uid).await });
            } else {
                released.push(name);
                self.spawn(async move { shared.clean(&leftover).await });
            }
        }
        Ok(released)
    }

    /// Removes machines of a group that are no nodes; answers how many went. As many stay as the
    /// group's minimum asks for, unless `floor` says otherwise.
    ///
    /// # Errors
    /// What the provider says; some of them may be gone.
    pub async fn delete_instances(
        &self,
        group: &NodeGroup,
        ids: &[Arc<str>],
        (why, floor): (Unwanted, Floor),
    ) -> Result<usize, ProviderError> {
        self.shared.delete_instances(group, ids, (why, floor)).await
    }

    /// Lowers a group's target to what exists; answers by how much.
    ///
    /// # Errors
    /// What the provider says.
    pub async fn revert_target(
        &self,
        group: &NodeGroup,
        existing: usize,
    ) -> Result<usize, ProviderError> {
        self.shared.revert_target(group, existing).await
    }

    /// Stops all removals and releases the nodes that no provider has been asked to remove. The
    /// others keep their taint: whoever comes next looks after them.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        let running = self.shared.ledger.all();
        let begun = running
            .iter()
            .filter(|one| !matches!(one.phase, Phase::Deleting | Phase::Leaving));
        let releasing = begun.map(async |one| {
            let node = self.shared.context.caches.nodes.find("", &one.node);
            if let Some(node) = node {
                self.shared.release(&one.node, &node.meta.uid).await;
            }
        });
        let releasing = futures::future::join_all(releasing);
        if tokio::time::timeout(PARTING, releasing).await.is_err() {
            tracing::warn!("nodes are left marked for removal: the API does not answer");
        }
        self.shared.ledger.clear();
    }
}

impl Shared {
    /// Notes that a removal begins; `None` if it need not or cannot.
    fn enter(&self, removal: &Removal, drain: bool) -> Option<Course> {
        let node = self.context.caches.nodes.find("", &removal.node)?;
        let now = self.context.clock.now();
        let running = Running {
            node: Arc::clone(&removal.node),
            group: GroupId::clone(&removal.group),
            drain,
            phase: Phase::Marking,
            since: now,
            phase_since: now,
        };
        let begins = self.ledger.begin(running);
        begins.then(|| Course::of(removal, drain, &node))
    }

    /// Takes over a removal that the provider is carrying out already.
    fn adopt(&self, node: &Arc<str>, group: &GroupId) {
        let now = self.context.clock.now();
        self.ledger.begin(Running {
            node: Arc::clone(node),
            group: GroupId::clone(group),
            drain: false,
            phase: Phase::Leaving,
            since: now,
            phase_since: now,
        });
    }

    /// How many removals of a group are under way.
    fn deletions_in(&self, group: &str) -> usize {
        let running = self.ledger.all();
        let counts = |one: &&Running| *one.group == *group && one.phase != Phase::Leaving;
        running.iter().filter(counts).count()
    }
}
