//! What a pod's worker is told: a queue that costs next to nothing while it is empty, which it is
//! nearly always, for tens of thousands of pods.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Something came in.
    arrived: Notify,
    /// The reader is gone.
    closed: Notify,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    closed: bool,
}

/// The way in. Clones lead to the same queue.
#[derive(Debug)]
pub(crate) struct Outbox<T>(Arc<Shared<T>>);

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The way out; there is one. Dropping it closes the queue.
#[derive(Debug)]
pub(crate) struct Inbox<T>(Arc<Shared<T>>);

/// An empty queue.
pub(crate) fn mailbox<T>() -> (Outbox<T>, Inbox<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            queue: VecDeque::new(),
            closed: false,
        }),
        arrived: Notify::new(),
        closed: Notify::new(),
    });
    (Outbox(Arc::clone(&shared)), Inbox(shared))
}

impl<T> Outbox<T> {
    /// Puts a message in; without a reader it is lost.
    pub(crate) fn send(&self, message: T) {
        {
            let mut state = self.0.state.lock();
            if state.closed {
                return;
            }
            state.queue.push_back(message);
        }
        self.0.arrived.notify_one();
    }

    /// Waits until the reader is gone.
    pub(crate) async fn closed(&self) {
        let closed = self.0.closed.notified();
        if !self.0.state.lock().closed {
            closed.await;
        }
    }
}

impl<T> Inbox<T> {
    /// Waits for the next message. Nothing is lost if the wait is given up.
    pub(crate) async fn receive(&mut self) -> T {
        loop {
            if let Some(message) = self.take() {
                return message;
            }
            self.0.arrived.notified().await;
        }
    }

    fn take(&self) -> Option<T> {
        let mut state = self.0.state.lock();
        let message = state.queue.pop_front();
        if state.queue.is_empty() {
            // Gives the room back: most workers are told nothing for hours.
            state.queue = VecDeque::new();
        }
        message
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        {
            let mut state = self.0.state.lock();
            state.closed = true;
            state.queue = VecDeque::new();
        }
        self.0.closed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::mailbox;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn messages_come_in_order_and_wake_the_reader() {
        let (outbox, mut inbox) = mailbox();
        outbox.send(1);
        outbox.clone().send(2);
        assert_eq!((inbox.receive().await, inbox.receive().await), (1, 2));
        let wait = timeout(Duration::from_secs(1), inbox.receive());
        let (got, ()) = tokio::join!(wait, async { outbox.send(3) });
        assert_eq!(got, Ok(3));
        let wait = timeout(Duration::from_secs(1), inbox.receive());
        assert!(wait.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_reader_closes_the_queue() {
        let (outbox, inbox) = mailbox();
        let closed = timeout(Duration::from_secs(1), outbox.closed());
        assert!(closed.await.is_err());
        let waiting = outbox.clone();
        let waiting = tokio::spawn(async move { waiting.closed().await });
        tokio::task::yield_now().await;
        drop(inbox);
        outbox.send(1);
        waiting.await.unwrap();
        outbox.closed().await;
    }
}
