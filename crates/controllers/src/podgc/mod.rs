//! Removes pods that nobody else will: on nodes that are gone, and terminated ones beyond a limit.

use crate::pods::PodView;
use crate::runtime::{Action, Cached, Change, Deletion, Index, Queue, Reconcile, WriteError, run};
use crate::supervisor::Context;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a node must be gone; it may only be registering anew.
const QUARANTINE: Duration = Duration::from_secs(40);
const TERMINATED: &str = "terminated";

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    context.caches.nodes.ready().await;
    context.caches.pods.ready().await;
    let terminated = context.caches.pods.index(|pod| {
        if pod.phase.is_terminal() {
            vec![Arc::from(TERMINATED)]
        } else {
            Vec::new()
        }
    });
    watch(&context, &queue, &terminated);
    match run(
        Arc::new(PodGc {
            context,
            terminated,
        }),
        queue,
    )
    .await {}
}

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// Pods of a node that may be gone.
    Node(Arc<str>),
    /// The number of terminated pods.
    Terminated,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node {name}"),
            Self::Terminated => f.write_str("terminated pods"),
        }
    }
}

fn watch(context: &Context, queue: &Queue<Work>, terminated: &Index<PodView>) {
    let add = queue.clone();
    context.caches.nodes.on_change(move |change| {
        if change.new.is_none() {
            add.add_after(Work::Node(Arc::clone(&change.key.name)), QUARANTINE);
        }
    });
    let (add, nodes) = (queue.clone(), context.caches.nodes.clone());
    let (limit, terminated) = (context.options.terminated_pods, terminated.clone());
    context
        .caches
        .pods
        .on_change(move |change: &Change<PodView>| {
            let Some(pod) = &change.new else { return };
            let was = change.old.as_ref().and_then(|old| old.node.as_ref());
            if let Some(node) = pod.node.as_ref().filter(|node| was != Some(node))
                && nodes.find("", node).is_none()
            {
                add.add_after(Work::Node(Arc::clone(node)), QUARANTINE);
            }
            if limit > 0 && pod.phase.is_terminal() && terminated.count(TERMINATED) > limit {
                add.add(Work::Terminated);
            }
        });
}

struct PodGc {
    context: Context,
    terminated: Index<PodView>,
}

impl Reconcile for PodGc {
    type Key = Work;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "podgc"
    }

    async fn reconcile(&self, work: &Work) -> Result<Action, WriteError> {
        let caches = &self.context.caches;
        let pods = match work {
            Work::Node(node) if caches.nodes.find("", node).is_some() => Vec::new(),
            Work::Node(node) => caches.pods_by_node.get(node),
            Work::Terminated => {
                let mut pods = self.terminated.get(TERMINATED);
                pods.sort_by_key(|pod| pod.meta.created);
                pods.truncate(
                    pods.len()
                        .saturating_sub(self.context.options.terminated_pods),
                );
                pods
            }
        };
        for pod in pods {
            let deletion = Deletion {
                grace_seconds: Some(0),
                ..Deletion::of(&pod.meta.uid)
            };
            let writer = &self.context.writer;
            match writer
                .delete::<<PodView as Cached>::Wire>(&pod.meta.key, &deletion)
                .await
            {
                Err(error) if !error.is_conflict() => return Err(error),
                _ => {}
            }
        }
        Ok(Action::Wait)
    }
}
