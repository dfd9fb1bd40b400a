//! Wakes removals when something changes on a node that goes.

use super::taint;
use crate::pods::{Caches, NodeView, PodView};
use crate::runtime::Change;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long one removal sleeps at most, should it miss a change.
const LONGEST: Duration = Duration::from_secs(30);

/// A time that no timer reaches.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// The end of a wait that begins now, however long people set it.
pub(super) fn within(wait: Duration) -> Instant {
    Instant::now() + wait.min(FAR)
}

/// Counts changes that removals may wait for. While no removal runs, a change costs one load.
#[derive(Debug)]
pub(super) struct Signal {
    running: AtomicUsize,
    changes: watch::Sender<u64>,
}

impl Signal {
    /// Follows pods and nodes from now on.
    pub(super) fn follow(caches: &Caches) -> Arc<Self> {
        let signal = Arc::new(Self {
            running: AtomicUsize::new(0),
            changes: watch::Sender::new(0),
        });
        let wake = Arc::clone(&signal);
        caches.nodes.on_change(move |change: &Change<NodeView>| {
            let mut sides = [&change.old, &change.new].into_iter().flatten();
            if wake.is_needed() && sides.any(|node| taint::is_marked(node)) {
                wake.raise();
            }
        });
        let wake = Arc::clone(&signal);
        caches.pods.on_change(move |change: &Change<PodView>| {
            let bound = |pod: &Option<Arc<PodView>>| {
                let pod = pod.as_ref()?;
                Some((pod.node.clone()?, pod.meta.is_deleting()))
            };
            if wake.is_needed() && bound(&change.old) != bound(&change.new) {
                wake.raise();
            }
        });
        signal
    }

    fn is_needed(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    fn raise(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Counts one more removal until the answer is dropped.
    pub(super) fn listen(self: &Arc<Self>) -> Listener {
        self.running.fetch_add(1, Ordering::Relaxed);
        Listener {
            changes: self.changes.subscribe(),
            signal: Arc::clone(self),
        }
    }
}

/// Hears of changes.
#[derive(Debug)]
pub(super) struct Listener {
    signal: Arc<Signal>,
    changes: watch::Receiver<u64>,
}

impl Listener {
    /// Waits for a change since the last call, or for `limit`.
    pub(super) async fn changed(&mut self, limit: Duration) {
        let change = self.changes.changed();
        drop(tokio::time::timeout(limit.min(LONGEST), change).await);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.signal.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::within;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_wait_may_be_as_long_as_anybody_likes() {
        assert!(within(Duration::MAX) > within(Duration::from_secs(86_400)));
    }
}
