//! Whether nodes still give signs of life.

use crate::pods::NodeView;
use crate::runtime::{Cache, Change, Full};
use crate::supervisor::Context;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::runtime::watcher;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const LEASES: &str = "kube-node-lease";
/// A node that has not said anything yet gets this much longer.
const STARTING: Duration = Duration::from_secs(10);
/// Keeps this cache's jitter apart from that of others.
const SEED: u64 = 0x54;

/// When each node gave its last sign of life: its lease was renewed or its status posted.
///
/// What counts is when that was seen here, so that neither a clock that is stepped nor a machine
/// that slept makes nodes look dead.
#[derive(Debug, Clone)]
pub(super) struct Signs {
    grace: Duration,
    seen: Arc<Mutex<BTreeMap<Arc<str>, Instant>>>,
    leases: Cache<Full<Lease>>,
}

impl Signs {
    /// Follows leases and nodes from now on; `None` if nobody asks for signs.
    pub(super) fn follow(context: &Context) -> Option<Self> {
        let grace = context.options.node_grace?;
        let api: Api<Lease> = Api::namespaced(context.client.clone(), LEASES);
        let config = watcher::Config::default();
        let leases: Cache<Full<Lease>> = Cache::start_in(api, context.seed ^ SEED, config);
        let seen: Arc<Mutex<BTreeMap<Arc<str>, Instant>>> = Arc::default();
        let by_lease = Arc::clone(&seen);
        leases.on_change(move |change: &Change<Full<Lease>>| {
            let renewed = |lease: &Option<Arc<Full<Lease>>>| {
                let spec = lease.as_ref()?.object.spec.as_ref()?;
                spec.renew_time.clone()
            };
            if renewed(&change.new).is_some() && renewed(&change.new) != renewed(&change.old) {
                by_lease
                    .lock()
                    .insert(Arc::clone(&change.key.name), Instant::now());
            }
        });
        let by_status = Arc::clone(&seen);
        context
            .caches
            .nodes
            .on_change(move |change: &Change<NodeView>| {
                let name = &change.key.name;
                let Some(new) = &change.new else {
                    by_status.lock().remove(name);
                    return;
                };
                let old = change.old.as_ref().and_then(|old| old.heartbeat);
                if change.old.is_none() || new.heartbeat != old {
                    by_status.lock().insert(Arc::clone(name), Instant::now());
                }
            });
        Some(Self {
            grace,
            seen,
            leases,
        })
    }

    /// Waits until the leases are known.
    pub(super) async fn ready(&self) {
        self.leases.ready().await;
    }

    /// How long until the node counts as silent; zero = it does.
    pub(super) fn left(&self, node: &NodeView) -> Duration {
        let name = &node.meta.key.name;
        let mut seen = self.seen.lock();
        let last = *seen.entry(Arc::clone(name)).or_insert_with(Instant::now);
        let grace = if node.condition("Ready").is_some() {
            self.grace
        } else {
            self.grace + STARTING
        };
        grace.saturating_sub(last.elapsed())
    }

    /// Gives every node its time anew: the silence may have been on this side.
    pub(super) fn restart(&self) {
        let now = Instant::now();
        self.seen.lock().values_mut().for_each(|last| *last = now);
    }
}
