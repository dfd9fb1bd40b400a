//! The loop around a reconciler.

use super::Queue;
use futures::FutureExt;
use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What to do after a successful reconcile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Wait until a change adds the key again.
    Wait,
    /// Look again after this time at the latest.
    Requeue(Duration),
}

/// Brings one object's world in line with its spec.
pub trait Reconcile: Send + Sync + 'static {
    /// Names what to work on.
    type Key: Ord + Clone + Display + Send + Sync;
    /// Why a reconcile failed; it is tried again with growing pauses.
    type Error: std::error::Error + Send + Sync;

    /// Name for logs and `--without`, e.g. `deployment`.
    fn name(&self) -> &'static str;

    /// Works on one key. Level-triggered: must look at the caches, not at what changed.
    fn reconcile(
        &self,
        key: &Self::Key,
    ) -> impl Future<Output = Result<Action, Self::Error>> + Send;
}

/// Reconciles the queue's keys one after another, for ever.
///
/// A failure or a panic requeues the key with growing pauses; nothing ends the loop.
pub async fn run<R: Reconcile>(reconciler: Arc<R>, queue: Queue<R::Key>) -> Infallible {
    loop {
        let key = queue.next().await;
        work_on(&*reconciler, &queue, &key).await;
    }
}

/// Like [`run`], until `stop` holds (or its sender is gone): the key in work is finished, no further
/// one is begun.
pub async fn run_until<R: Reconcile>(
    reconciler: Arc<R>,
    queue: Queue<R::Key>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let key = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            key = queue.next() => key,
        };
        work_on(&*reconciler, &queue, &key).await;
    }
}

async fn work_on<R: Reconcile>(reconciler: &R, queue: &Queue<R::Key>, key: &R::Key) {
    let name = reconciler.name();
    let outcome = AssertUnwindSafe(Box::pin(reconciler.reconcile(key)))
        .catch_unwind()
        .await;
    match outcome {
        Ok(Ok(action)) => {
            queue.forget(key);
            if let Action::Requeue(delay) = action {
                queue.add_after(key.clone(), delay);
            }
        }
        Ok(Err(error)) => {
            let cause = chain(&error);
            tracing::debug!(controller = name, %key, error = %cause, "reconcile failed");
            queue.add_rate_limited(key.clone());
        }
        Err(_) => {
            tracing::error!(controller = name, %key, "reconcile panicked");
            queue.add_rate_limited(key.clone());
        }
    }
    queue.done(key);
}

/// An error with its causes. Of an answer of the API server, its message: the rest of its `Status`
/// says the same in other words.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let (mut text, mut next) = (String::new(), Some(error));
    while let Some(error) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        next = error.source();
        match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) if !status.message.is_empty() => {
                text.push_str(&status.message);
                next = None;
            }
            _ => text.push_str(&error.to_string()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Action, Reconcile, chain, run};
    use crate::runtime::Queue;
    use parking_lot::Mutex;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;

    struct Moody {
        start: Instant,
        seen: Mutex<Vec<(u32, u128)>>,
    }

    impl Reconcile for Moody {
        type Key = u32;
        type Error = std::fmt::Error;

        fn name(&self) -> &'static str {
            "moody"
        }

        async fn reconcile(&self, key: &u32) -> Result<Action, std::fmt::Error> {
            let mut seen = self.seen.lock();
            seen.push((*key, self.start.elapsed().as_millis()));
            match (*key, seen.len()) {
                (_, 1) => panic!("first call"),
                (_, 2) => Err(std::fmt::Error),
                (_, 3) => Ok(Action::Requeue(Duration::from_secs(1))),
                _ => Ok(Action::Wait),
            }
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("not written")]
    struct Unwritten(#[source] kube::Error);

    #[test]
    fn of_a_servers_answer_the_message_is_told() {
        let status = kube::core::Status::failure("pods \"a\" not found", "NotFound");
        let error = Unwritten(kube::Error::Api(Box::new(status.with_code(404))));
        assert_eq!(chain(&error), "not written: pods \"a\" not found");
        let error = Unwritten(kube::Error::LinesCodecMaxLineLengthExceeded);
        let told = chain(&error);
        assert!(
            told.starts_with("not written: ") && told.len() > 14,
            "{told}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn panics_and_failures_are_tried_again_with_growing_pauses() {
        let queue = Queue::new();
        let moody = Arc::new(Moody {
            start: Instant::now(),
            seen: Mutex::default(),
        });
        queue.add(1);
        let running = tokio::spawn(run(Arc::clone(&moody), queue));
        tokio::time::sleep(Duration::from_secs(10)).await;
        running.abort();
        assert_eq!(*moody.seen.lock(), [(1, 0), (1, 5), (1, 15), (1, 1015)]);
    }
}
