//! Empties namespaces that are being deleted, then lets them go.
//!
//! Pods go first, so that nothing they use vanishes under them; then every other kind that the
//! server serves. What remains (finalizers, graceful ends) is shown in the conditions.

use crate::pods::{NamespaceView, PodView};
use crate::runtime::{
    Action, Cached, Change, ObjectKey, Queue, Reconcile, Remaining, Served, ServedKind, WriteError,
    run,
};
use crate::supervisor::Context;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const FINALIZER: &str = "kubernetes";
/// First pause while something remains; doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    context.caches.namespaces.ready().await;
    context.caches.pods.ready().await;
    let add = queue.clone();
    context
        .caches
        .namespaces
        .on_change(move |change: &Change<NamespaceView>| {
            if change
                .new
                .as_ref()
                .is_none_or(|namespace| namespace.meta.is_deleting())
            {
                add.add(change.key.clone());
            }
        });
    let (add, namespaces) = (queue.clone(), context.caches.namespaces.clone());
    context
        .caches
        .pods
        .on_change(move |change: &Change<PodView>| {
            let key = ObjectKey::new("", &change.key.namespace);
            let going = || {
                namespaces
                    .get(&key)
                    .is_some_and(|namespace| namespace.meta.is_deleting())
            };
            if change.new.is_none() && going() {
                add.add(key);
            }
        });
    match run(
        Arc::new(Namespaces {
            context,
            progress: Mutex::default(),
        }),
        queue,
    )
    .await {}
}

struct Namespaces {
    context: Context,
    progress: Mutex<BTreeMap<ObjectKey, Progress>>,
}

/// Passes over a namespace that left something.
#[derive(Debug, Default)]
struct Progress {
    tries: u32,
    /// What its conditions say.
    told: String,
}

/// What a pass found and left.
#[derive(Debug, Default)]
struct Pass {
    discovery: Vec<(String, String)>,
    failures: Vec<String>,
    remaining: Vec<(String, Remaining)>,
}

impl Pass {
    fn is_clean(&self) -> bool {
        self.discovery.is_empty() && self.failures.is_empty() && self.remaining.is_empty()
    }
}

impl Reconcile for Namespaces {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "namespace"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let Some(namespace) = self.context.caches.namespaces.get(key) else {
            self.progress.lock().remove(key);
            return Ok(Action::Wait);
        };
        let ours = namespace
            .finalizers
            .iter()
            .any(|finalizer| &**finalizer == FINALIZER);
        if !namespace.meta.is_deleting() || !ours {
            return Ok(Action::Wait);
        }
        let served = self.context.writer.discover().await?;
        let pass = self.empty(namespace.meta.name(), served).await;
        if pass.is_clean() {
            self.finalize(&namespace).await?;
            return Ok(Action::Wait);
        }
        let tries = {
            let mut all = self.progress.lock();
            let progress = all.entry(key.clone()).or_default();
            progress.tries = progress.tries.saturating_add(1);
            progress.tries
        };
        // The first passes usually only wait for pods to end; telling that would be noise.
        if tries > 3 {
            self.tell(&namespace, &pass).await?;
        }
        let pause = FIRST_PAUSE
            .saturating_mul(1 << tries.min(10))
            .min(LAST_PAUSE);
        Ok(Action::Requeue(pause))
    }
}

fn is_pods(kind: &ServedKind) -> bool {
    kind.group.is_empty() && kind.plural == "pods"
}

impl Namespaces {
    async fn empty(&self, namespace: &str, served: Served) -> Pass {
        let mut pass = Pass {
            discovery: served.failed,
            ..Pass::default()
        };
        let mut kinds = served.kinds;
        kinds.retain(|kind| kind.namespaced && kind.allows(&["delete", "list"]));
        let (pods, others): (Vec<_>, Vec<_>) = kinds.into_iter().partition(is_pods);
        for kind in &pods {
            self.empty_of(namespace, kind, &mut pass).await;
        }
        if pass.remaining.is_empty() {
            for kind in &others {
                self.empty_of(namespace, kind, &mut pass).await;
            }
        }
        pass
    }

    async fn empty_of(&self, namespace: &str, kind: &ServedKind, pass: &mut Pass) {
        let writer = &self.context.writer;
        let outcome = async {
            // Most kinds have nothing in a namespace; looking first saves the write.
            if writer.remaining(kind, namespace).await?.objects == 0 {
                return Ok(Remaining::default());
            }
            writer.delete_all(kind, namespace).await?;
            writer.remaining(kind, namespace).await
        };
        match outcome.await {
            Ok(left) if left.objects == 0 => {}
            Ok(left) => {
                // Upstream prints the dot for the core group too.
                pass.remaining
                    .push((format!("{}.{}", kind.plural, kind.group), left));
            }
            Err(error) => pass.failures.push(error.message()),
        }
    }

    /// Takes our finalizer off the spec.
    async fn finalize(&self, namespace: &NamespaceView) -> Result<(), WriteError> {
        let kept: Vec<&str> = namespace
            .finalizers
            .iter()
            .map(|f| &**f)
            .filter(|f| *f != FINALIZER)
            .collect();
        let body = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace.meta.name(), "uid": *namespace.meta.uid},
            "spec": {"finalizers": kept},
        });
        let writer = &self.context.writer;
        let put = writer
            .put_subresource::<<NamespaceView as Cached>::Wire>(
                &namespace.meta.key,
                "finalize",
                &body,
            )
            .await;
        match put {
            Err(error) if !error.is_not_found() => Err(error),
            _ => {
                self.progress.lock().remove(&namespace.meta.key);
                Ok(())
            }
        }
    }

    async fn tell(&self, namespace: &NamespaceView, pass: &Pass) -> Result<(), WriteError> {
        let key = &namespace.meta.key;
        let text = format!("{pass:?}");
        if self
            .progress
            .lock()
            .get(key)
            .is_some_and(|progress| progress.told == text)
        {
            return Ok(());
        }
        let at = self
            .context
            .clock
            .now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let conditions = conditions(pass, &at);
        let patch = json!({"status": {"conditions": conditions}});
        let cache = &self.context.caches.namespaces;
        let writer = &self.context.writer;
        match writer.patch_subresource(cache, key, "status", &patch).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        if let Some(progress) = self.progress.lock().get_mut(key) {
            progress.told = text;
        }
        Ok(())
    }
}

/// Each finalizer that something waits for, and in how many objects.
fn waiting(pass: &Pass) -> Vec<String> {
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    for finalizer in pass.remaining.iter().flat_map(|(_, left)| &left.finalizers) {
        *waiting.entry(finalizer).or_insert(0) += 1;
    }
    waiting
        .iter()
        .map(|(name, n)| format!("{name} in {n} resource instances"))
        .collect()
}

/// The five conditions of a namespace that is being deleted.
fn conditions(pass: &Pass, at: &str) -> Vec<Value> {
    let condition = |kind: &str, bad: Option<String>, reasons: (&str, &str), fine: &str| {
        let (status, reason) = match bad {
            Some(_) => ("True", reasons.0),
            None => ("False", reasons.1),
        };
        json!({
            "type": kind, "status": status, "reason": reason, "lastTransitionTime": at,
            "message": bad.unwrap_or_else(|| fine.to_owned()),
        })
    };
    let list = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join(", "));
    let discovery = pass
        .discovery
        .iter()
        .map(|(version, why)| format!("{version}: {why}"));
    let objects = pass
        .remaining
        .iter()
        .map(|(kind, left)| format!("{kind} has {} resource instances", left.objects));
    let finalizers = waiting(pass);
    let remain = |what: &str, text: Option<String>| {
        text.map(|text| format!("Some {what} remaining: {text}"))
    };
    vec![
        condition(
            "NamespaceDeletionDiscoveryFailure",
            list(discovery.collect())
                .map(|text| format!("Discovery failed for some groups: {text}")),
            ("DiscoveryFailed", "ResourcesDiscovered"),
            "All resources successfully discovered",
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("GroupVersionParsingFailed", "ParsedGroupVersions"),
            "All legacy kube types successfully parsed",
        ),
        condition(
            "NamespaceDeletionContentFailure",
            list(pass.failures.clone())
                .map(|text| format!("Failed to delete all resource types: {text}")),
            ("ContentDeletionFailed", "ContentDeleted"),
            "All content successfully deleted, may be waiting on finalization",
        ),
        condition(
            "NamespaceContentRemaining",
            remain("resources are", list(objects.collect())),
            ("SomeResourcesRemain", "ContentRemoved"),
            "All content successfully removed",
        ),
        condition(
            "NamespaceFinalizersRemaining",
            remain("content in the namespace has finalizers", list(finalizers)),
            ("SomeFinalizersRemain", "ContentHasNoFinalizers"),
            "All content-preserving finalizers finished",
        ),
    ]
}
