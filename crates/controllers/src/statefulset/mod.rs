//! Keeps the pods of each StatefulSet: with names and storage that last, one after another.
//!
//! ```text
//! revision of the template ─> observe (pods, claims) ─> plan (pure) ─> act ─> status, history
//! ```
//! Own writes are in the cache before the next look, and pods whose deletion was asked for are
//! remembered until the watch shows it, so that a plan never counts on a pod that ends.

mod act;
mod observe;
mod plan;
mod pod;
mod status;

use crate::pods::{ClaimView, PodView, StatefulSetStatus, StatefulSetView};
use crate::revisions::{Found, Holder, Recorded, RevisionError, RevisionView, Revisions};
use crate::runtime::{
    Action, Change, Doomed, ObjectKey, Queue, Reconcile, Recorder, Reference, WriteError, run,
};
use crate::supervisor::Context;
use jiff::Timestamp;
use observe::{Seen, observe};
use pod::{API_VERSION, KIND, REVISION_LABEL, ordinal, owner};
use serde_json::json;
use status::Names;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let doomed = Doomed::follow(&context.caches.pods);
    watch(&context, &queue);
    context.caches.pods.ready().await;
    context.caches.claims.ready().await;
    context.caches.revisions.ready().await;
    context.caches.stateful_sets.ready().await;
    let recorder = context.recorder.component("statefulset-controller");
    let revisions = Revisions::new(context.writer.clone(), context.caches.clone());
    let controller = StatefulSets {
        context,
        recorder,
        revisions,
        doomed,
    };
    match run(Arc::new(controller), queue).await {}
}

fn watch(context: &Context, queue: &Queue<ObjectKey>) {
    let (add, caches) = (queue.clone(), &context.caches);
    caches
        .stateful_sets
        .on_change(move |change| add.add(change.key.clone()));
    let add = queue.clone();
    caches.pods.on_change(move |change: &Change<PodView>| {
        for pod in [&change.old, &change.new].into_iter().flatten() {
            let namespace = &pod.meta.key.namespace;
            match pod.meta.controller() {
                Some(owner) if &*owner.kind == KIND => {
                    let (namespace, name) = (Arc::clone(namespace), Arc::clone(&owner.name));
                    add.add(ObjectKey { namespace, name });
                }
                Some(_) => {}
                // An orphan belongs to whose name it bears.
                None => {
                    if let Some((set, _)) = pod.meta.name().rsplit_once('-') {
                        add.add(ObjectKey::new(namespace, set));
                    }
                }
            }
        }
    });
    let (add, sets) = (queue.clone(), caches.stateful_sets.clone());
    caches.claims.on_change(move |change: &Change<ClaimView>| {
        // A claim that is gone may be made anew, and one with other owners may no longer go with
        // the pod before, or needs to have them mended. Both are rare.
        let same = change.new.as_ref().is_some_and(|new| {
            let old = change.old.as_ref();
            old.is_none_or(|old| old.meta.owners == new.meta.owners)
        });
        if same {
            return;
        }
        for set in sets.list(Some(&change.key.namespace)) {
            if set.claim_templates.is_some() && change.key.name.contains(set.meta.name()) {
                add.add(set.meta.key.clone());
            }
        }
    });
}

/// Why a StatefulSet could not be brought on.
#[derive(Debug, thiserror::Error)]
pub enum StatefulSetError {
    /// A write failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The template's revision could not be had.
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// A claim could not be made.
    #[error("failed to create PVC {name}: {}", .source.message())]
    Claim {
        /// Name of the claim.
        name: String,
        /// Why not.
        source: WriteError,
    },
    /// A claim is on its way out, so no pod may be made with it.
    #[error("pvc {0} is being deleted")]
    ClaimEnds(String),
}

impl StatefulSetError {
    /// What an event says.
    fn message(&self) -> String {
        match self {
            Self::Write(error) | Self::Revision(RevisionError::Write(error)) => error.message(),
            Self::Revision(RevisionError::Unseen(_)) | Self::Claim { .. } | Self::ClaimEnds(_) => {
                self.to_string()
            }
        }
    }

    /// The namespace goes, and takes the set with it.
    fn is_futile(&self) -> bool {
        match self {
            Self::Write(error)
            | Self::Claim { source: error, .. }
            | Self::Revision(RevisionError::Write(error)) => error.is_namespace_terminating(),
            Self::Revision(RevisionError::Unseen(_)) | Self::ClaimEnds(_) => false,
        }
    }
}

struct StatefulSets {
    context: Context,
    recorder: Recorder,
    revisions: Revisions,
    doomed: Doomed,
}

/// The revisions a set works with.
struct Known {
    /// That of the last finished rollout.
    current: Arc<RevisionView>,
    /// That of the template.
    update: Arc<RevisionView>,
    /// `status.collisionCount`.
    collisions: i32,
}

impl Reconcile for StatefulSets {
    type Key = ObjectKey;
    type Error = StatefulSetError;

    fn name(&self) -> &'static str {
        "statefulset"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, StatefulSetError> {
        let Some(set) = self.context.caches.stateful_sets.get(key) else {
            return Ok(Action::Wait);
        };
        let Some(selector) = &set.selector else {
            return Ok(Action::Wait);
        };
        if set.meta.is_deleting() {
            return Ok(Action::Wait);
        }
        let holder = Holder {
            meta: &set.meta,
            owner: owner(&set),
            selector,
            collisions: set.status.collision_count.unwrap_or_default(),
        };
        self.revisions.adopt(&holder).await?;
        self.claim(&set, &holder).await?;
        let revisions = self.record(&set, &holder).await?;
        let outcome = self.bring_on(&set, &revisions).await;
        let seen = self.observe(&set, &revisions);
        let next = self.write_status(&set, &seen, &revisions).await?;
        match outcome {
            Err(error) if !error.is_futile() => return Err(error),
            _ => {}
        }
        self.truncate(&set, &seen, &revisions).await?;
        Ok(next)
    }
}

impl StatefulSets {
    /// Adopts matching orphans that bear the set's name, and releases own pods that match no more.
    async fn claim(&self, set: &StatefulSetView, holder: &Holder<'_>) -> Result<(), WriteError> {
        let (caches, writer) = (&self.context.caches, &self.context.writer);
        let belongs = |pod: &PodView| {
            holder.selector.matches(&pod.meta.labels)
                && ordinal(set.meta.name(), pod.meta.name()).is_some()
        };
        for pod in caches.pods_by_controller.get(&set.meta.uid) {
            if !belongs(&pod) && !pod.meta.is_deleting() {
                let mut owners = pod.meta.owners.to_vec();
                owners.retain(|owner| owner.uid != set.meta.uid);
                writer.set_owners(&caches.pods, &pod.meta, &owners).await?;
            }
        }
        for pod in caches.select_pods(set.meta.namespace(), holder.selector) {
            let is_orphan = pod.meta.controller().is_none() && !pod.meta.is_deleting();
            if is_orphan && belongs(&pod) {
                let mut owners = pod.meta.owners.to_vec();
                owners.retain(|owner| owner.uid != set.meta.uid);
                owners.push(holder.owner.clone());
                writer.set_owners(&caches.pods, &pod.meta, &owners).await?;
            }
        }
        Ok(())
    }

    /// The revisions to work with; the template's is written if there is none.
    async fn record(
        &self,
        set: &StatefulSetView,
        holder: &Holder<'_>,
    ) -> Result<Known, RevisionError> {
        let template = crate::pods::template_value(&set.template);
        let recorded = Recorded::template(template);
        let Found {
            revision: update,
            collisions,
        } = self.revisions.record(holder, &recorded).await?;
        let mut known = self.revisions.of(&set.meta).into_iter();
        let current = known.find(|r| r.meta.name() == set.status.current_revision);
        Ok(Known {
            current: current.unwrap_or_else(|| Arc::clone(&update)),
            update,
            collisions,
        })
    }

    fn observe(&self, set: &StatefulSetView, revisions: &Known) -> Seen {
        let now = seconds(self.context.clock.now());
        let update = &revisions.update.meta.key.name;
        observe(set, &self.context.caches, &self.doomed, update, now)
    }

    async fn write_status(
        &self,
        set: &StatefulSetView,
        seen: &Seen,
        revisions: &Known,
    ) -> Result<Action, WriteError> {
        let names = Names {
            current: revisions.current.meta.name(),
            update: revisions.update.meta.name(),
            collisions: revisions.collisions,
        };
        let (status, next) = status::compute(&seen.facts, set.meta.generation, &names);
        if status != set.status {
            self.patch_status(set, &status).await?;
        }
        Ok(next.map_or(Action::Wait, Action::Requeue))
    }

    async fn patch_status(
        &self,
        set: &StatefulSetView,
        status: &StatefulSetStatus,
    ) -> Result<(), WriteError> {
        let patch = json!({"metadata": {"uid": *set.meta.uid}, "status": status});
        let (writer, cache) = (&self.context.writer, &self.context.caches.stateful_sets);
        let key = &set.meta.key;
        match writer.patch_subresource(cache, key, "status", &patch).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes old revisions that nothing uses.
    async fn truncate(
        &self,
        set: &StatefulSetView,
        seen: &Seen,
        revisions: &Known,
    ) -> Result<(), WriteError> {
        let own = [&revisions.current, &revisions.update];
        let own = own.map(|revision| Arc::clone(&revision.meta.key.name));
        let pods = seen.pods.values();
        let of_pods = pods.filter_map(|pod| pod.meta.label(REVISION_LABEL));
        let live: BTreeSet<Arc<str>> = own.into_iter().chain(of_pods.map(Arc::from)).collect();
        self.revisions
            .truncate(&set.meta, &live, set.revision_history_limit)
            .await
    }
}

fn reference(set: &StatefulSetView) -> Reference {
    Reference::to(API_VERSION, KIND, &set.meta)
}

/// Times in objects have whole seconds.
fn seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
