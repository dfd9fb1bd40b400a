//! Keeps the number of pods of each ReplicaSet, and of what else is [`Replicated`].
//!
//! Own writes are in the pod cache before the next reconcile, so no expectation can be missed;
//! pods whose deletion was asked for are remembered until the watch shows it.

mod status;
mod victims;

use crate::pods::{Caches, PodControl, PodView, ReplicaSetView, Selector, template_value};
use crate::runtime::{
    Action, Cache, Cached, Change, Doomed, ObjectKey, Owner, Queue, Reconcile, Recorder, Reference,
    WriteError, run,
};
use crate::supervisor::Context;
use jiff::Timestamp;
use serde_json::{Value, json};
use status::{Failure, Pods};
use std::marker::PhantomData;
use std::sync::Arc;

/// Most pods created or deleted in one reconcile.
const BURST: usize = 500;

/// A kind that keeps a number of equal pods.
pub(crate) trait Replicated: Cached {
    /// Its API version.
    const API_VERSION: &'static str;
    /// Its kind.
    const KIND: &'static str;
    /// The controller's name.
    const NAME: &'static str;
    /// Who its events come from.
    const COMPONENT: &'static str;
    /// Whether its status counts the pods that end.
    const COUNTS_TERMINATING: bool;

    /// The cache of the kind.
    fn cache(caches: &Caches) -> &Cache<Self>;

    /// The object as a ReplicaSet.
    fn as_set(&self) -> &ReplicaSetView;
}

impl Replicated for ReplicaSetView {
    const API_VERSION: &'static str = "apps/v1";
    const KIND: &'static str = "ReplicaSet";
    const NAME: &'static str = "replicaset";
    const COMPONENT: &'static str = "replicaset-controller";
    const COUNTS_TERMINATING: bool = true;

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.replica_sets
    }

    fn as_set(&self) -> &ReplicaSetView {
        self
    }
}

/// Runs the controller for ever.
pub async fn control(context: Context) {
    replicate::<ReplicaSetView>(context).await;
}

/// Runs the controller of a kind for ever.
pub(crate) async fn replicate<V: Replicated>(context: Context) {
    let queue = Queue::new();
    let doomed = Doomed::follow(&context.caches.pods);
    watch::<V>(&context, &queue);
    context.caches.pods.ready().await;
    V::cache(&context.caches).ready().await;
    let recorder = context.recorder.component(V::COMPONENT);
    let controller: Arc<ReplicaSets<V>> = Arc::new(ReplicaSets {
        context,
        recorder,
        doomed,
        kind: PhantomData,
    });
    match run(controller, queue).await {}
}

fn watch<V: Replicated>(context: &Context, queue: &Queue<ObjectKey>) {
    let add = queue.clone();
    V::cache(&context.caches).on_change(move |change| add.add(change.key.clone()));
    let (add, caches) = (queue.clone(), context.caches.clone());
    context
        .caches
        .pods
        .on_change(move |change: &Change<PodView>| {
            let sides = [change.old.as_ref(), change.new.as_ref()];
            for pod in sides.into_iter().flatten() {
                match pod.meta.controller() {
                    Some(owner) if &*owner.kind == V::KIND => {
                        let namespace = Arc::clone(&pod.meta.key.namespace);
                        add.add(ObjectKey {
                            namespace,
                            name: Arc::clone(&owner.name),
                        });
                    }
                    Some(_) => {}
                    None => adopters::<V>(&caches, pod).for_each(|key| add.add(key)),
                }
            }
        });
}

/// The sets whose selector selects an orphan. Orphans are rare, so their namespace's sets are
/// looked at one by one.
fn adopters<V: Replicated>(
    caches: &Caches,
    pod: &PodView,
) -> impl Iterator<Item = ObjectKey> + use<V> {
    let labels = pod.meta.labels.clone();
    let sets = V::cache(caches).list(Some(pod.meta.namespace()));
    sets.into_iter()
        .filter(move |set| {
            let selector = set.as_set().selector.as_ref();
            selector.is_some_and(|s| s.matches(&labels))
        })
        .map(|set| set.meta().key.clone())
}

struct ReplicaSets<V> {
    context: Context,
    recorder: Recorder,
    doomed: Doomed,
    kind: PhantomData<fn() -> V>,
}

impl<V: Replicated> Reconcile for ReplicaSets<V> {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        V::NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let Some(object) = V::cache(&self.context.caches).get(key) else {
            return Ok(Action::Wait);
        };
        let set = object.as_set();
        let Some(selector) = &set.selector else {
            return Ok(Action::Wait);
        };
        self.claim(set, selector).await?;
        let outcome = if set.meta.is_deleting() {
            Ok(())
        } else {
            self.scale(set).await
        };
        let failure = outcome.as_ref().err().map(|failed| failed.0.clone());
        let now = seconds(self.context.clock.now());
        let (mut status, next) = status::compute(set, &self.pods(set), failure, now);
        if !V::COUNTS_TERMINATING {
            status.terminating_replicas = None;
        }
        if status != set.status {
            let patch = json!({"metadata": {"uid": *set.meta.uid}, "status": status});
            let (writer, cache) = (&self.context.writer, V::cache(&self.context.caches));
            match writer.patch_subresource(cache, key, "status", &patch).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        match outcome {
            Err((_, error)) if !error.is_namespace_terminating() => Err(error),
            _ => Ok(next.map_or(Action::Wait, Action::Requeue)),
        }
    }
}

impl<V: Replicated> ReplicaSets<V> {
    fn pods(&self, set: &ReplicaSetView) -> Pods {
        let owned = self.context.caches.pods_by_controller.get(&set.meta.uid);
        let mut pods = Pods::default();
        for pod in owned.into_iter().filter(|pod| !pod.phase.is_terminal()) {
            if self.doomed.ends(&pod.meta) {
                pods.terminating += 1;
            } else {
                pods.active.push(pod);
            }
        }
        pods
    }

    /// Adopts matching orphans and releases own pods that match no more.
    async fn claim(&self, set: &ReplicaSetView, selector: &Selector) -> Result<(), WriteError> {
        let (caches, writer) = (&self.context.caches, &self.context.writer);
        for pod in caches.pods_by_controller.get(&set.meta.uid) {
            if !selector.matches(&pod.meta.labels) && !pod.meta.is_deleting() {
                let mut owners = pod.meta.owners.to_vec();
                owners.retain(|owner| owner.uid != set.meta.uid);
                writer.set_owners(&caches.pods, &pod.meta, &owners).await?;
            }
        }
        if set.meta.is_deleting() {
            return Ok(());
        }
        for pod in caches.select_pods(set.meta.namespace(), selector) {
            if pod.meta.controller().is_none() && pod.is_active() {
                let mut owners = pod.meta.owners.to_vec();
                owners.retain(|owner| owner.uid != set.meta.uid);
                owners.push(owner::<V>(set));
                writer.set_owners(&caches.pods, &pod.meta, &owners).await?;
            }
        }
        Ok(())
    }

    /// Creates missing pods or deletes surplus ones.
    async fn scale(&self, set: &ReplicaSetView) -> Result<(), (Failure, WriteError)> {
        let pods = self.pods(set).active;
        let wanted = usize::try_from(set.replicas).unwrap_or_default();
        if pods.len() < wanted {
            return self.grow(set, (wanted - pods.len()).min(BURST)).await;
        }
        let surplus = (pods.len() - wanted).min(BURST);
        if surplus == 0 {
            return Ok(());
        }
        let per_node = victims::per_node(&self.related(set));
        let now = self.context.clock.now();
        self.shrink(set, victims::choose(pods, surplus, &per_node, now))
            .await
    }

    /// Pods of every ReplicaSet of the same Deployment.
    fn related(&self, set: &ReplicaSetView) -> Vec<Arc<PodView>> {
        let caches = &self.context.caches;
        let Some(owner) = set.meta.controller() else {
            return caches.pods_by_controller.get(&set.meta.uid);
        };
        let sets = caches.replica_sets_by_controller.get(&owner.uid);
        sets.iter()
            .flat_map(|set| caches.pods_by_controller.get(&set.meta.uid))
            .collect()
    }

    fn control(&self, set: &ReplicaSetView) -> PodControl<'_> {
        PodControl {
            context: &self.context,
            recorder: &self.recorder,
            owner: Reference::to(V::API_VERSION, V::KIND, &set.meta),
            doomed: &self.doomed,
        }
    }

    async fn grow(&self, set: &ReplicaSetView, count: usize) -> Result<(), (Failure, WriteError)> {
        let body = pod_body::<V>(set);
        let bodies = vec![&body; count];
        let control = self.control(set);
        let created = control.create(set.meta.namespace(), &bodies);
        created.await.map_err(|error| failed("FailedCreate", error))
    }

    async fn shrink(
        &self,
        set: &ReplicaSetView,
        victims: Vec<Arc<PodView>>,
    ) -> Result<(), (Failure, WriteError)> {
        let deleted = self.control(set).delete(&victims).await;
        deleted.map_err(|error| failed("FailedDelete", error))
    }
}

fn failed(reason: &'static str, error: WriteError) -> (Failure, WriteError) {
    ((reason, error.message()), error)
}

fn owner<V: Replicated>(set: &ReplicaSetView) -> Owner {
    Owner {
        api_version: V::API_VERSION.into(),
        kind: V::KIND.into(),
        name: Arc::clone(&set.meta.key.name),
        uid: Arc::clone(&set.meta.uid),
        controller: true,
        block_owner_deletion: true,
    }
}

/// A pod of the set's template.
fn pod_body<V: Replicated>(set: &ReplicaSetView) -> Value {
    let mut template = template_value(&set.template);
    let mut part = |path: &str| {
        template
            .pointer_mut(path)
            .map(Value::take)
            .unwrap_or_default()
    };
    let mut metadata = json!({
        // The server cuts long prefixes, so that names stay valid.
        "generateName": format!("{}-", set.meta.name()),
        "ownerReferences": [owner::<V>(set).to_reference()],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = part(&format!("/metadata/{field}"));
        if let Some(map) = metadata.as_object_mut().filter(|_| !value.is_null()) {
            map.insert(field.into(), value);
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": part("/spec")})
}

/// Times in objects have whole seconds.
fn seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
