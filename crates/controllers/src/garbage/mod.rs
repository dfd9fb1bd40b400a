//! Deletes what lost its owners.
//!
//! Metadata watches of every kind that can be listed and deleted feed a graph of uids; whoever is
//! touched by a change is looked at, and nothing else. An owner that no watch has shown is looked
//! up at the server before anything is deleted because of it.

mod graph;
mod kinds;

use crate::runtime::{
    Action, Deletion, Meta, ObjectKey, Owner, Queue, Reconcile, Served, ServedKind, WriteError,
    Writer, null_if_empty, run,
};
use crate::supervisor::Context;
use futures::StreamExt;
use graph::{Graph, Manner, Node, Step, Uid};
use kinds::{Kinds, follow_definitions};
use kube::api::PropagationPolicy;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// Pause after a failed watch or discovery.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let served = loop {
        match context.writer.discover().await {
            Ok(served) => break collected(served),
            Err(error) => {
                tracing::debug!(error = %error.message(), "discovery failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    let queue = Queue::new();
    let graph: Arc<Mutex<Graph>> = Arc::default();
    let (ready, mut listed) = mpsc::unbounded_channel();
    let mut watches = Watches {
        client: context.client.clone(),
        kinds: Kinds::default(),
        graph: Arc::clone(&graph),
        queue: queue.clone(),
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    let count = served.len();
    for kind in served {
        watches.start(kind, Some(ready.clone()));
    }
    // Before every kind is listed, an owner could look absent only because it is not seen yet.
    for _ in 0..count {
        listed.recv().await;
    }
    let collector = Collector {
        writer: context.writer.clone(),
        kinds: watches.kinds.clone(),
        graph,
    };
    let collect = run(Arc::new(collector), queue);
    let follow = follow_definitions(context.client, |kind| watches.start(kind, None));
    let (never, ()) = futures::future::join(collect, follow).await;
    match never {}
}

/// One metadata watch per kind.
struct Watches {
    client: Client,
    kinds: Kinds,
    graph: Arc<Mutex<Graph>>,
    queue: Queue<Uid>,
    running: BTreeMap<usize, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Watches {
    /// Watches a kind unless it is watched already.
    fn start(&mut self, kind: ServedKind, ready: Option<mpsc::UnboundedSender<()>>) {
        let api = Api::all_with(self.client.clone(), &kind.to_api_resource());
        let position = self.kinds.place(kind);
        let running = self.running.get(&position);
        if running.is_some_and(|task| !task.is_finished()) {
            return;
        }
        let watch = Watch {
            kind: position,
            graph: Arc::clone(&self.graph),
            queue: self.queue.clone(),
            known: BTreeMap::new(),
            ready,
        };
        let task = self.tasks.spawn(watch.follow(api));
        self.running.insert(position, task);
    }
}

/// Whether a watch failed because its kind is no longer served.
fn is_gone(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) =
        error
    else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Kinds that can own or be owned. Events are short-lived and never do.
fn collected(served: Served) -> Vec<ServedKind> {
    let mut kinds = served.kinds;
    kinds.retain(|kind| kind.plural != "events" && kind.allows(&["list", "watch", "delete"]));
    kinds
}

/// Feeds the graph from one kind.
struct Watch {
    kind: usize,
    graph: Arc<Mutex<Graph>>,
    queue: Queue<Uid>,
    /// Objects and uids of this kind, to notice removals that a new list shows.
    known: BTreeMap<ObjectKey, Arc<str>>,
    ready: Option<mpsc::UnboundedSender<()>>,
}

impl Watch {
    async fn follow(mut self, api: Api<PartialObjectMeta<DynamicObject>>) {
        let mut events = pin!(watcher(api, watcher::Config::default()));
        let mut listed = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    let meta = Meta::from(object.metadata);
                    listed.insert(meta.key.clone(), Arc::clone(&meta.uid));
                    self.apply(meta);
                }
                Ok(Event::InitDone) => {
                    let before = std::mem::take(&mut self.known);
                    self.known = std::mem::take(&mut listed);
                    let gone =
                        |(key, uid): &(&ObjectKey, &Arc<str>)| self.known.get(*key) != Some(*uid);
                    for (_, uid) in before.iter().filter(gone) {
                        self.remove(uid);
                    }
                    if let Some(ready) = self.ready.take() {
                        // A failure means that the collector is being stopped.
                        ready.send(()).unwrap_or_default();
                    }
                }
                Ok(Event::Apply(object)) => self.apply(Meta::from(object.metadata)),
                Ok(Event::Delete(object)) => {
                    let meta = Meta::from(object.metadata);
                    self.known.remove(&meta.key);
                    self.remove(&meta.uid);
                }
                Err(error) if is_gone(&error) => {
                    for uid in std::mem::take(&mut self.known).into_values() {
                        self.remove(&uid);
                    }
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "metadata watch failed");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn apply(&mut self, meta: Meta) {
        self.known.insert(meta.key.clone(), Arc::clone(&meta.uid));
        let has = |finalizer: &str| meta.finalizers.iter().any(|f| &**f == finalizer);
        let node = Node {
            kind: self.kind,
            deleting: meta.is_deleting(),
            foreground: has(FOREGROUND),
            orphan: has(ORPHAN),
            key: meta.key,
            uid: meta.uid,
            owners: meta.owners,
        };
        let look = self.graph.lock().apply(node);
        for uid in look {
            self.queue.add(uid);
        }
    }

    fn remove(&self, uid: &str) {
        let look = self.graph.lock().remove(uid);
        for uid in look {
            self.queue.add(uid);
        }
    }
}

struct Collector {
    writer: Writer,
    kinds: Kinds,
    graph: Arc<Mutex<Graph>>,
}

impl Reconcile for Collector {
    type Key = Uid;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "garbage"
    }

    async fn reconcile(&self, uid: &Uid) -> Result<Action, WriteError> {
        // Each owner is verified at most once, so this ends.
        loop {
            let (step, node) = {
                let graph = self.graph.lock();
                (graph.step(*uid), graph.node(*uid).cloned())
            };
            let Some(node) = node else {
                return Ok(Action::Wait);
            };
            let Step::Verify(owner) = step else {
                self.take(&node, step).await?;
                return Ok(Action::Wait);
            };
            match self.exists(&owner, &node.key).await? {
                Some(true) => self.graph.lock().mark_alive(&owner.uid),
                Some(false) => self.graph.lock().mark_absent(&owner.uid),
                // Nobody serves the owner's kind now; it may come back.
                None => return Ok(Action::Wait),
            }
        }
    }
}

impl Collector {
    async fn take(&self, node: &Node, step: Step) -> Result<(), WriteError> {
        let Some(kind) = self.kinds.get(node.kind) else {
            return Ok(());
        };
        let kind = &*kind;
        match step {
            Step::Keep | Step::Verify(_) => Ok(()),
            Step::Delete(manner) => {
                let propagation = match manner {
                    Manner::Background => PropagationPolicy::Background,
                    Manner::Foreground => PropagationPolicy::Foreground,
                    Manner::Orphan => PropagationPolicy::Orphan,
                };
                let deletion = Deletion {
                    propagation: Some(propagation),
                    ..Deletion::of(&node.uid)
                };
                match self.writer.delete_any(kind, &node.key, &deletion).await {
                    // Another object has the name now; its own event brings it here.
                    Err(error) if !error.is_conflict() => Err(error),
                    _ => Ok(()),
                }
            }
            Step::Disown(owners) => self.disown(node, &owners).await,
            Step::Release => self.drop_finalizer(kind, node, FOREGROUND).await,
            Step::Orphan(dependents) => {
                for dependent in dependents {
                    let dependent = self.graph.lock().node(dependent).cloned();
                    if let Some(dependent) = dependent {
                        self.disown(&dependent, std::slice::from_ref(&node.uid))
                            .await?;
                    }
                }
                self.drop_finalizer(kind, node, ORPHAN).await
            }
        }
    }

    /// Whether the owner exists with its uid; `None` if its kind is not served.
    async fn exists(&self, owner: &Owner, of: &ObjectKey) -> Result<Option<bool>, WriteError> {
        let group = owner
            .api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group);
        let Some(kind) = self.kinds.find(group, &owner.kind) else {
            return Ok(None);
        };
        let namespace = if kind.namespaced { &*of.namespace } else { "" };
        let key = ObjectKey::new(namespace, &owner.name);
        let live = self.writer.live_meta(&kind, &key).await?;
        Ok(Some(live.is_some_and(|meta| {
            meta.uid.as_deref() == Some(&*owner.uid)
        })))
    }

    async fn disown(&self, node: &Node, owners: &[Arc<str>]) -> Result<(), WriteError> {
        let Some(kind) = self.kinds.get(node.kind) else {
            return Ok(());
        };
        let kind = &*kind;
        let Some(live) = self.writer.live_meta(kind, &node.key).await? else {
            return Ok(());
        };
        if live.uid.as_deref() != Some(&*node.uid) {
            return Ok(());
        }
        let mut kept = live.owner_references.unwrap_or_default();
        kept.retain(|owner| !owners.iter().any(|gone| **gone == *owner.uid));
        let patch = guarded(live.resource_version.as_deref(), "ownerReferences", &kept);
        self.writer.patch_any(kind, &node.key, &patch).await
    }

    async fn drop_finalizer(
        &self,
        kind: &ServedKind,
        node: &Node,
        finalizer: &str,
    ) -> Result<(), WriteError> {
        let Some(live) = self.writer.live_meta(kind, &node.key).await? else {
            return Ok(());
        };
        let mut kept = live.finalizers.unwrap_or_default();
        let before = kept.len();
        kept.retain(|name| name != finalizer);
        if live.uid.as_deref() != Some(&*node.uid) || kept.len() == before {
            return Ok(());
        }
        let patch = guarded(live.resource_version.as_deref(), "finalizers", &kept);
        self.writer.patch_any(kind, &node.key, &patch).await
    }
}

fn guarded<T: Serialize>(revision: Option<&str>, field: &str, list: &[T]) -> Value {
    json!({"metadata": {"resourceVersion": revision, (field): null_if_empty(list)}})
}
