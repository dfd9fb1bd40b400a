//! Keeps one pod of each DaemonSet on every node it belongs on.
//!
//! ```text
//! revision of the template ─> observe (nodes, pods) ─> manage │ roll (pure) ─> act ─> status
//! ```
//! The pods are pinned to their nodes by name; the scheduler binds them as any others.

mod act;
mod backoff;
mod body;
mod eligible;
mod plan;
mod status;
mod view;

pub use eligible::{Eligible, Rules};
pub use view::{DaemonSetStatus, DaemonSetView, Strategy};

use crate::deployment::rolling::{Rounding, resolve};
use crate::pods::{NodeView, PodView, Selector, availability};
use crate::revisions::{HASH_LABEL as REVISION_HASH, Holder, Recorded, RevisionError, Revisions};
use crate::runtime::{
    Action, Cache, Change, Doomed, ObjectKey, Queue, Reconcile, Recorder, Reference, WriteError,
    run,
};
use crate::supervisor::Context;
use act::Work;
use backoff::Backoff;
use body::{API_VERSION, HASH_LABEL, KIND, owner};
use jiff::Timestamp;
use parking_lot::Mutex;
use plan::{Bounds, Daemon, Health, Place, Step};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Keeps this cache's jitter apart from that of others.
const SEED: u64 = 0x6461;

/// A pod of the set, before it is given a name, a namespace and a node.
pub(crate) fn pod_of(set: &DaemonSetView) -> serde_json::Value {
    body::pod(set, "")
}

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let sets: Cache<DaemonSetView> = Cache::start(context.client.clone(), context.seed ^ SEED);
    let doomed = Doomed::follow(&context.caches.pods);
    context.caches.nodes.ready().await;
    context.caches.pods.ready().await;
    context.caches.revisions.ready().await;
    sets.ready().await;
    watch(&context, &sets, &queue);
    let recorder = context.recorder.component("daemonset-controller");
    let controller = DaemonSets {
        revisions: Revisions::new(context.writer.clone(), context.caches.clone()),
        backoff: Mutex::default(),
        context,
        recorder,
        doomed,
        sets,
    };
    match run(Arc::new(controller), queue).await {}
}

fn watch(context: &Context, sets: &Cache<DaemonSetView>, queue: &Queue<ObjectKey>) {
    let add = queue.clone();
    sets.on_change(move |change| add.add(change.key.clone()));
    let (add, known) = (queue.clone(), sets.clone());
    context
        .caches
        .nodes
        .on_change(move |change: &Change<NodeView>| {
            if let (Some(old), Some(new)) = (&change.old, &change.new)
                && old.taints == new.taints
                && old.meta.labels == new.meta.labels
            {
                return;
            }
            known.for_each(|set| {
                let judge = |node: &Arc<NodeView>| set.rules.judge(node);
                let old = change.old.as_ref().map_or(Eligible::Never, judge);
                let new = change.new.as_ref().map_or(Eligible::Never, judge);
                if old != new {
                    add.add(set.meta.key.clone());
                }
            });
        });
    let (add, known) = (queue.clone(), sets.clone());
    context
        .caches
        .pods
        .on_change(move |change: &Change<PodView>| {
            for pod in [&change.old, &change.new].into_iter().flatten() {
                match pod.meta.controller() {
                    Some(owner) if &*owner.kind == KIND => {
                        let namespace = Arc::clone(&pod.meta.key.namespace);
                        let name = Arc::clone(&owner.name);
                        add.add(ObjectKey { namespace, name });
                    }
                    Some(_) => {}
                    None if known.is_empty() => {}
                    None => adopters(&known, pod).for_each(|key| add.add(key)),
                }
            }
        });
}

/// The DaemonSets whose selector selects an orphan.
fn adopters(sets: &Cache<DaemonSetView>, pod: &PodView) -> impl Iterator<Item = ObjectKey> + use<> {
    let labels = pod.meta.labels.clone();
    let sets = sets.list(Some(pod.meta.namespace()));
    sets.into_iter()
        .filter(move |set| set.selector.as_ref().is_some_and(|s| s.matches(&labels)))
        .map(|set| set.meta.key.clone())
}

/// Why a DaemonSet could not be brought on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonSetError {
    /// A write failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The template's revision could not be had.
    #[error(transparent)]
    Revision(#[from] RevisionError),
}

impl DaemonSetError {
    /// The namespace goes, and takes the set with it.
    fn is_futile(&self) -> bool {
        match self {
            Self::Write(error) | Self::Revision(RevisionError::Write(error)) => {
                error.is_namespace_terminating()
            }
            Self::Revision(RevisionError::Unseen(_)) => false,
        }
    }
}

struct DaemonSets {
    context: Context,
    recorder: Recorder,
    revisions: Revisions,
    doomed: Doomed,
    sets: Cache<DaemonSetView>,
    backoff: Mutex<Backoff>,
}

impl Reconcile for DaemonSets {
    type Key = ObjectKey;
    type Error = DaemonSetError;

    fn name(&self) -> &'static str {
        "daemonset"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, DaemonSetError> {
        let Some(set) = self.sets.get(key) else {
            return Ok(Action::Wait);
        };
        let Some(selector) = &set.selector else {
            let message =
                "This daemon set is selecting all pods. A non-empty selector is required.";
            let about = reference(&set);
            self.recorder
                .warning(&about, "SelectingAll", message.to_owned());
            return Ok(Action::Wait);
        };
        if set.meta.is_deleting() {
            return Ok(Action::Wait);
        }
        match self.sync(&set, selector).await {
            Err(error) if error.is_futile() => Ok(Action::Wait),
            outcome => outcome,
        }
    }
}

impl DaemonSets {
    async fn sync(
        &self,
        set: &DaemonSetView,
        selector: &Selector,
    ) -> Result<Action, DaemonSetError> {
        self.claim(set, selector).await?;
        let holder = Holder {
            meta: &set.meta,
            owner: owner(set),
            selector,
            collisions: set.status.collision_count.unwrap_or_default(),
        };
        self.revisions.adopt(&holder).await?;
        let recorded = Recorded::template(crate::pods::template_value(&set.template));
        let found = self.revisions.record(&holder, &recorded).await?;
        let hash = found.revision.meta.label(REVISION_HASH).unwrap_or_default();
        let now = self.context.clock.now();
        let seen = self.observe(set, hash, now);
        let work = Work {
            controller: self,
            set,
            hash,
            pods: &seen.pods,
        };
        // Failures to act show in the figures first, then the set is tried again.
        let steps = self.steps(set, &seen, now);
        let acted = work.carry_out(steps, now).await;
        let after = self.observe(set, hash, now);
        let status = status::compute(set, &after.places, found.collisions);
        self.write_status(set, &status).await?;
        let wait = acted?;
        let live = self.live(set, found.revision.meta.name());
        let limit = set.revision_history_limit;
        self.revisions.truncate(&set.meta, &live, limit).await?;
        let next = [wait, after.next].into_iter().flatten().min();
        Ok(next.map_or(Action::Wait, Action::Requeue))
    }

    /// Adopts matching orphans and releases own pods that match no more.
    async fn claim(&self, set: &DaemonSetView, selector: &Selector) -> Result<(), WriteError> {
        let (caches, writer) = (&self.context.caches, &self.context.writer);
        for pod in caches.pods_by_controller.get(&set.meta.uid) {
            if !selector.matches(&pod.meta.labels) && !pod.meta.is_deleting() {
                let mut owners = pod.meta.owners.to_vec();
                owners.retain(|owner| owner.uid != set.meta.uid);
                writer.set_owners(&caches.pods, &pod.meta, &owners).await?;
            }
        }
        for pod in caches.select_pods(set.meta.namespace(), selector) {
            if pod.meta.controller().is_none() && !pod.meta.is_deleting() {
                let mut owners = pod.meta.owners.to_vec();
                owners.retain(|owner| owner.uid != set.meta.uid);
                owners.push(owner(set));
                writer.set_owners(&caches.pods, &pod.meta, &owners).await?;
            }
        }
        Ok(())
    }

    fn observe(&self, set: &DaemonSetView, hash: &str, now: Timestamp) -> Seen {
        let caches = &self.context.caches;
        let mut seen = Seen::default();
        let mut by_node: BTreeMap<Arc<str>, Vec<Daemon>> = BTreeMap::new();
        for pod in caches.pods_by_controller.get(&set.meta.uid) {
            let Some(node) = node_of(&pod) else { continue };
            let available = availability(&pod, set.min_ready_seconds, now);
            if let Err(left) = available
                && left != Duration::MAX
            {
                seen.next = Some(seen.next.map_or(left, |known| known.min(left)));
            }
            by_node.entry(node).or_default().push(Daemon {
                name: Arc::clone(&pod.meta.key.name),
                current: pod.meta.label(HASH_LABEL) == Some(hash),
                ends: self.doomed.ends(&pod.meta),
                phase: pod.phase,
                health: match available {
                    Ok(()) => Health::Available,
                    Err(_) if pod.is_ready() => Health::Ready,
                    Err(_) => Health::Unready,
                },
                bound: pod.node.is_some(),
                created: pod.meta.created,
            });
            seen.pods.insert(Arc::clone(&pod.meta.key.name), pod);
        }
        caches.nodes.for_each(|node| {
            let daemons = by_node.remove(node.meta.name()).unwrap_or_default();
            let eligible = set.rules.judge(node);
            if eligible != Eligible::Never || !daemons.is_empty() {
                let name = Arc::clone(&node.meta.key.name);
                seen.places.push(Place::new(name, eligible, daemons));
            }
        });
        // Bound pods of nodes that are gone are collected by the pod garbage collector; the others
        // would wait for ever.
        for (node, mut daemons) in by_node {
            daemons.retain(|daemon| !daemon.bound);
            if !daemons.is_empty() {
                seen.places.push(Place::new(node, Eligible::Never, daemons));
            }
        }
        seen
    }

    fn steps(&self, set: &DaemonSetView, seen: &Seen, now: Timestamp) -> Vec<Step> {
        let backoff = self.backoff.lock();
        plan::next(&seen.places, bounds(set, &seen.places), |node| {
            backoff.lasts(&(Arc::clone(&set.meta.uid), Arc::clone(node)), now)
        })
    }

    /// Names of the revisions in use.
    fn live(&self, set: &DaemonSetView, current: &str) -> BTreeSet<Arc<str>> {
        let pods = self.context.caches.pods_by_controller.get(&set.meta.uid);
        let hashes: BTreeSet<&str> = pods
            .iter()
            .filter_map(|pod| pod.meta.label(HASH_LABEL))
            .collect();
        let revisions = self.revisions.of(&set.meta).into_iter();
        let used = revisions.filter(|revision| {
            let hash = revision.meta.label(REVISION_HASH);
            revision.meta.name() == current || hash.is_some_and(|hash| hashes.contains(hash))
        });
        used.map(|revision| Arc::clone(&revision.meta.key.name))
            .collect()
    }

    async fn write_status(
        &self,
        set: &DaemonSetView,
        status: &DaemonSetStatus,
    ) -> Result<(), WriteError> {
        if *status == set.status {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": *set.meta.uid}, "status": status});
        let (writer, key) = (&self.context.writer, &set.meta.key);
        match writer
            .patch_subresource(&self.sets, key, "status", &patch)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// What there is of a set.
#[derive(Default)]
struct Seen {
    places: Vec<Place>,
    /// By name.
    pods: BTreeMap<Arc<str>, Arc<PodView>>,
    /// When the next pod becomes available without any event.
    next: Option<Duration>,
}

/// Percentages are of the nodes that should have a pod and round up. If both bounds come to 0, one
/// node may be unavailable, for otherwise nothing could ever move.
fn bounds(set: &DaemonSetView, places: &[Place]) -> Option<Bounds> {
    let Strategy::RollingUpdate {
        max_unavailable,
        max_surge,
    } = &set.strategy
    else {
        return None;
    };
    let desired = places
        .iter()
        .filter(|place| place.eligible == Eligible::Run)
        .count();
    let desired = i32::try_from(desired).unwrap_or(i32::MAX);
    let nodes = |value| usize::try_from(resolve(value, desired, Rounding::Up)).unwrap_or_default();
    let (unavailable, surge) = (nodes(max_unavailable), nodes(max_surge));
    let unavailable = if unavailable == 0 && surge == 0 {
        1
    } else {
        unavailable
    };
    Some(Bounds { unavailable, surge })
}

/// The node a pod runs on or is pinned to.
fn node_of(pod: &PodView) -> Option<Arc<str>> {
    pod.node.clone().or_else(|| {
        let affinity = pod.placement.affinity.as_deref()?;
        body::target(affinity.get()).map(Arc::from)
    })
}

fn reference(set: &DaemonSetView) -> Reference {
    Reference::to(API_VERSION, KIND, &set.meta)
}
