//! `ProvisioningRequest`s: room for pods that come later, as a whole (reference §14).
//!
//! ```text
//! requests ──stage──┬─> booked: their pods come first in every look, and hold nodes
//!                   └─> due ──engine──> found | nodes ordered | missing ──> conditions, events
//! ```
//!
//! A request whose nodes are being ordered counts as booked; it is told to be provisioned when the
//! last order is taken. When one is refused, it is due again, and the next group is tried. Nothing
//! is remembered but in conditions: after a restart, nodes that were ordered are room to come.

mod answering;
mod gathering;
mod status;
mod telling;
mod view;

use super::held::Held;
use super::readable::warn_of;
use crate::pods::{Phase, PodView};
use crate::runtime::{Cache, Full, Index, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplate;
use kube::Client;
use plimsoll_api::provisioning_request::{CONSUMES, CONSUMES_OLD};
use plimsoll_engine::cluster::{BookedPod, GroupId, ProvisioningAsk, Resize};
use plimsoll_engine::placement::{PodFacts, PodKey};
use status::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use view::RequestView;

/// Requests, templates of pods, and pods that come for requests.
#[derive(Debug, Clone)]
pub(super) struct RequestCaches {
    pub(super) requests: Cache<RequestView>,
    pub(super) templates: Cache<Full<PodTemplate>>,
    consumers: Index<PodView>,
}

impl RequestCaches {
    /// Nobody waits for them: where the kind is not served yet, they come when it is.
    pub(super) fn start(
        client: &Client,
        seed: u64,
        templates: Cache<Full<PodTemplate>>,
        pods: &Cache<PodView>,
    ) -> Self {
        Self {
            requests: Cache::start(client.clone(), seed),
            templates,
            consumers: pods.index(|pod| consumed(pod).map(|key| place(&key)).into_iter().collect()),
        }
    }

    /// Pods that come for a request. Those of an earlier one of the same name, and those that have
    /// failed and are made anew, do not.
    fn come(&self, request: &RequestView) -> Come {
        let pods = self.consumers.get(&place(&request.meta.key));
        let mut come = Come::default();
        for pod in pods.into_iter().filter(|pod| pod.phase != Phase::Failed) {
            if pod.node.is_none() {
                come.wait |= pod.is_active();
            } else if pod.meta.created >= request.meta.created {
                come.bound.push(pod);
            }
        }
        come
    }
}

/// Tells when requests cannot be read.
pub(super) fn warn(client: &Client, patience: Duration) {
    warn_of::<view::RequestWire>(client, patience);
}

/// The pods of a request.
#[derive(Debug, Default)]
struct Come {
    /// Those that have a node.
    bound: Vec<Arc<PodView>>,
    /// Whether others have none.
    wait: bool,
}

/// The request that a pod comes for.
fn consumed(pod: &PodView) -> Option<ObjectKey> {
    let named = pod.meta.annotation(CONSUMES);
    let named = named.or_else(|| pod.meta.annotation(CONSUMES_OLD))?;
    Some(ObjectKey::new(pod.meta.namespace(), named))
}

fn place(key: &ObjectKey) -> Arc<str> {
    format!("{}/{}", key.namespace, key.name).into()
}

/// What a look has to do about requests.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Pods that room is booked for.
    pub(super) booked: Vec<BookedPod>,
    /// Requests that room is looked for.
    pub(super) asks: Vec<ProvisioningAsk>,
}

impl Wanted {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.booked.is_empty() && self.asks.is_empty()
    }
}

/// Nodes that are being ordered for a request.
#[derive(Debug)]
struct Ordered {
    /// Groups whose orders are under way; when there is none left, all nodes are on their way.
    open: BTreeSet<GroupId>,
    taken: Vec<Resize>,
}

/// A pod that has not come yet.
#[derive(Debug)]
struct Awaited {
    request: ObjectKey,
    /// Without labels.
    pod: PodFacts,
}

/// What requests came to in the newest look.
#[derive(Debug, Default)]
pub(super) struct Provisioning {
    /// The pods that nodes have room for.
    pub(super) held: Held,
    awaited: BTreeMap<PodKey, Awaited>,
    /// Where each of them had room last, on nodes that are there or coming.
    places: BTreeMap<PodKey, Arc<str>>,
    ordered: BTreeMap<ObjectKey, Ordered>,
    /// Since when nodes with room for pods of these requests are gone.
    lost: BTreeMap<ObjectKey, Timestamp>,
    /// Requests that pods have come for; whether some have no node.
    begun: BTreeMap<ObjectKey, bool>,
    verdicts: BTreeMap<ObjectKey, Verdict>,
    /// Requests that ended long ago, with their uids.
    forgotten: Vec<(ObjectKey, Arc<str>)>,
    /// For how many looks in turn a request has waited because nodes were ordered for pods.
    waited: usize,
    /// Whether others wait for the next look.
    more: Option<More>,
}

/// How soon the next request may be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum More {
    /// At once.
    Now,
    /// When orders for nodes have been taken.
    Soon,
}

impl Provisioning {
    /// An order has ended. Returns whether a request has all its nodes now.
    pub(super) fn order_ended(&mut self, resize: &Resize, is_taken: bool) -> bool {
        let mut complete = false;
        self.ordered.retain(|_, ordered| {
            if !ordered.open.remove(&resize.group) {
                return true;
            }
            ordered.taken.push(resize.clone());
            complete |= is_taken && ordered.open.is_empty();
            is_taken
        });
        complete
    }
}
