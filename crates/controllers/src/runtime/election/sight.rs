//! A watch of the lease, so that nobody waits for a poll to learn that it is free.

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::runtime::watcher::watch_object;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Pause after a failed watch. Polling goes on meanwhile, so there is no hurry.
const PAUSE: Duration = Duration::from_secs(5);

/// Who holds the lease, as the watch shows it. Only a hint to look: decisions rest on reads.
#[derive(Debug)]
pub(super) struct Sight {
    /// The holder; empty if the lease is free or gone.
    holder: watch::Receiver<String>,
    task: AbortHandle,
}

impl Sight {
    /// Starts watching.
    pub(super) fn start(leases: Api<Lease>, name: String) -> Self {
        let (sender, holder) = watch::channel(String::new());
        let task = tokio::spawn(follow(leases, name, sender)).abort_handle();
        Self { holder, task }
    }

    /// Waits for a change after which nobody holds the lease.
    pub(super) async fn freed(&mut self) {
        self.changed_so(str::is_empty).await;
    }

    /// Waits for a change after which somebody else or nobody holds the lease.
    pub(super) async fn not_held_by(&mut self, me: &str) {
        self.changed_so(|holder| holder != me).await;
    }

    async fn changed_so(&mut self, so: impl Fn(&str) -> bool) {
        loop {
            if self.holder.changed().await.is_err() {
                // The watch is gone for good (the runtime ends); polling remains.
                return std::future::pending().await;
            }
            if so(&self.holder.borrow_and_update()) {
                return;
            }
        }
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(leases: Api<Lease>, name: String, sender: watch::Sender<String>) {
    let mut seen = pin!(watch_object(leases, &name));
    while let Some(event) = seen.next().await {
        match event {
            Ok(lease) => {
                let spec = lease.and_then(|lease| lease.spec);
                let holder = spec.and_then(|spec| spec.holder_identity);
                let holder = holder.unwrap_or_default();
                sender.send_if_modified(|known| {
                    let differs = *known != holder;
                    *known = holder;
                    differs
                });
            }
            Err(error) => {
                tracing::debug!(%error, "watch of the lease failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
