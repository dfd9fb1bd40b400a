//! Binds claims to volumes, makes volumes for claims, and takes back what is released.
//!
//! ```text
//! claim ──decide──> Bind ─> volume.claimRef, volume phase, claim.volumeName, claim status
//!   │               Provision ─> a directory and a volume set aside for the claim ─> Bind
//!   │               Wait | Await | Reselect | Lose ─> phase, event
//! volume ──decide─> Show | Free | Release ─> reclaim: keep, or delete with its data
//! ```
//!
//! What to do is decided by pure functions ([`claim`], [`volume`], [`matching`]); the shell writes it
//! in an order in which a crash between two writes leaves something that the next look completes:
//! the volume points to the claim first, then the claim to the volume.
//!
//! The provisioner is part of the same loop: every node here is a slice of one machine, so a volume
//! is a directory of the data directory (`provision`).

pub mod claim;
pub mod ephemeral;
mod growth;
pub mod matching;
pub mod provision;
mod reclaiming;
mod shell;
mod store;
pub mod volume;

pub use store::{Directories, StoreError};

use crate::pods::{ClaimView, ClassView, VolumeView};
use crate::runtime::{
    Action, Cached, Change, Index, ObjectKey, Queue, Reconcile, Recorder, WriteError, run,
};
use crate::supervisor::Context;
use claim::World;
use matching::Place;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of the provisioner here.
pub const LOCAL: &str = "plimsoll.dev/local";
/// On a claim that is bound for good.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or volume whose partner was found by the binder, not named by its author.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume: who made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim: the node that the scheduler chose for its first pod.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim: who is to make its volume.
const STORAGE_PROVISIONER: [&str; 2] = [
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
];
/// Keeps a volume until its data is gone.
const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A write did not get through.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A look at the server did not.
    #[error("cannot look at claim {claim}")]
    Look {
        /// Which claim.
        claim: ObjectKey,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let caches = &context.caches;
    let by_claim = caches.volumes.index(|volume| {
        let claim = volume.claim.as_ref();
        claim
            .map(|claim| claim.key.to_string().into())
            .into_iter()
            .collect()
    });
    let free_by_class = caches.volumes.index(|volume| {
        let free = volume.claim.is_none() && &*volume.phase == "Available";
        free.then(|| Arc::clone(&volume.class))
            .into_iter()
            .collect()
    });
    let unbound_by_class = caches.claims.index(|claim| {
        let unbound = !claim.is_bound();
        unbound
            .then(|| claim.class_name().into())
            .into_iter()
            .collect()
    });
    caches.claims.ready().await;
    caches.volumes.ready().await;
    caches.storage_classes.ready().await;
    caches.nodes.ready().await;
    caches.pods.ready().await;
    watch(&context, &queue, (&by_claim, &unbound_by_class));
    let binder = Binder {
        queue: queue.clone(),
        recorder: context.recorder.component("persistentvolume-controller"),
        provisioner: context.recorder.component(LOCAL),
        resizer: context
            .recorder
            .component("external-resizer plimsoll.dev/local"),
        directories: Directories::new(context.options.volumes.clone()),
        by_claim,
        free_by_class,
        said: Mutex::default(),
        context,
    };
    match run(Arc::new(binder), queue).await {}
}

fn watch(
    context: &Context,
    queue: &Queue<ObjectKey>,
    (by_claim, unbound_by_class): (&Index<VolumeView>, &Index<ClaimView>),
) {
    let caches = &context.caches;
    let (add, volumes) = (queue.clone(), by_claim.clone());
    caches.claims.on_change(move |change| {
        add.add(change.key.clone());
        if change.new.is_none() || change.old.is_none() {
            for volume in volumes.get(&change.key.to_string()) {
                add.add(volume.meta.key.clone());
            }
        }
    });
    let (add, waiting) = (queue.clone(), unbound_by_class.clone());
    caches
        .volumes
        .on_change(move |change| volume_changed(&add, &waiting, change));
    let (add, waiting) = (queue.clone(), unbound_by_class.clone());
    caches.storage_classes.on_change(move |change| {
        let is_default = change.new.as_ref().is_some_and(|class| class.is_default);
        let unnamed = if is_default {
            waiting.get("")
        } else {
            Vec::new()
        };
        for claim in waiting.get(&change.key.name).into_iter().chain(unnamed) {
            add.add(claim.meta.key.clone());
        }
    });
    let (add, claims) = (queue.clone(), caches.claims.clone());
    caches.pods.on_change(move |change| {
        let Some(pod) = &change.new else { return };
        let news = change.old.as_ref().is_none_or(|old| old.node != pod.node);
        for claim in pod.placement.claims.iter().filter(|_| news) {
            let key = ObjectKey::of(pod.meta.namespace(), Arc::clone(&claim.name));
            if claims.get(&key).is_some_and(|claim| !claim.is_bound()) {
                add.add(key);
            }
        }
    });
}

/// A volume, its claim, and if it has become free those who wait for one.
fn volume_changed(
    queue: &Queue<ObjectKey>,
    waiting: &Index<ClaimView>,
    change: &Change<VolumeView>,
) {
    queue.add(change.key.clone());
    for volume in [&change.old, &change.new].into_iter().flatten() {
        if let Some(claim) = &volume.claim {
            queue.add(claim.key.clone());
        }
    }
    let free = |volume: &Arc<VolumeView>| volume.claim.is_none() && &*volume.phase == "Available";
    let Some(volume) = change.new.as_ref().filter(|volume| free(volume)) else {
        return;
    };
    for claim in waiting.get(&volume.class) {
        queue.add(claim.meta.key.clone());
    }
}

struct Binder {
    context: Context,
    queue: Queue<ObjectKey>,
    recorder: Recorder,
    provisioner: Recorder,
    resizer: Recorder,
    directories: Directories,
    by_claim: Index<VolumeView>,
    free_by_class: Index<VolumeView>,
    /// What was said last about each claim that waits.
    said: Mutex<BTreeMap<ObjectKey, String>>,
}

impl Reconcile for Binder {
    type Key = ObjectKey;
    type Error = VolumeError;

    fn name(&self) -> &'static str {
        "volumes"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, VolumeError> {
        if key.namespace().is_none() {
            return match self.context.caches.volumes.get(key) {
                Some(volume) => self.tend_volume(&volume).await,
                None => Ok(Action::Wait),
            };
        }
        let Some(claim) = self.context.caches.claims.get(key) else {
            self.said.lock().remove(key);
            return Ok(Action::Wait);
        };
        self.tend_claim(&claim).await
    }
}

/// What a decision about a claim rests on, looked up.
struct Seen {
    named: Option<Arc<VolumeView>>,
    volumes: Vec<Arc<VolumeView>>,
    class: Option<Arc<ClassView>>,
    default_class: Option<Arc<str>>,
    selected: Option<Arc<str>>,
    place: Option<Place>,
    consumer: Option<Arc<str>>,
}

impl Seen {
    fn world<'a>(&'a self, claim: &'a ClaimView) -> World<'a> {
        World {
            claim,
            named: self.named.as_ref(),
            volumes: &self.volumes,
            class: self.class.as_deref(),
            default_class: self.default_class.as_deref(),
            selected: self.selected.as_deref(),
            place: self.place.as_ref(),
            consumer: self.consumer.as_deref(),
        }
    }
}

impl Binder {
    /// Every read for a decision about a claim.
    fn look(&self, claim: &ClaimView) -> Seen {
        let caches = &self.context.caches;
        let key = claim.meta.key.to_string();
        let class = caches.storage_classes.find("", claim.class_name());
        let mut volumes = self.by_claim.get(&key);
        volumes.extend(self.free_by_class.get(claim.class_name()));
        let pods = caches.pods_by_claim.get(&key);
        let users = || pods.iter().filter(|pod| pod.is_active());
        // Departs: a pod that names its node itself is not seen by the scheduler; upstream leaves
        // its claim waiting for ever.
        let placed = users().find_map(|pod| pod.node.clone());
        let selected = claim.meta.annotation(SELECTED_NODE).map(Arc::from);
        let selected = selected.or(placed);
        Seen {
            named: claim
                .volume
                .as_ref()
                .and_then(|name| caches.volumes.find("", name)),
            volumes,
            class,
            default_class: self.default_class(claim),
            place: selected.as_ref().and_then(|name| self.place(name)),
            selected,
            consumer: users()
                .find(|pod| pod.node.is_none())
                .map(|pod| Arc::clone(&pod.meta.key.name)),
        }
    }

    /// The class of a claim that names none: the newest of those marked so.
    fn default_class(&self, claim: &ClaimView) -> Option<Arc<str>> {
        if claim.class.is_some() {
            return None;
        }
        let mut classes = self.context.caches.storage_classes.list(None);
        classes.retain(|class| class.is_default);
        let newest = classes.iter().max_by(|a, b| {
            let created = a.meta.created.cmp(&b.meta.created);
            created.then_with(|| b.meta.key.cmp(&a.meta.key))
        });
        newest.map(|class| Arc::clone(&class.meta().key.name))
    }

    fn place(&self, node: &str) -> Option<Place> {
        let node = self.context.caches.nodes.find("", node)?;
        Some(Place::of(&node))
    }
}
