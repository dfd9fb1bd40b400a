//! `CapacityBuffer`s: pods that are only imagined, so that nodes for them are there before they are
//! (reference §14).
//!
//! In each look they wait behind real pods. Those that a node has room for are put on it while it
//! is decided which nodes are not needed, so that a node with held room counts as used, and goes
//! only if the room is to be had elsewhere. They are never bound, evicted, or told events about.

mod source;
mod status;
mod view;

use super::conditions::says;
use super::held::{Held, HeldPod, unlabelled};
use super::intended::imagine;
use super::options::BufferOptions;
use super::readable::warn_of;
use super::work::Work;
use crate::runtime::{Cache, Full, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplate;
use kube::Client;
use plimsoll_api::capacity_buffer::{ACTIVE_CAPACITY, API_VERSION, KIND};
use plimsoll_engine::cluster::{BufferFacts, GrowthPlan, PendingPod, PodVerdict};
use plimsoll_engine::placement::{PodFacts, PodKey, Resources, Snapshot};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use view::BufferView;

/// Buffers, and templates of pods.
#[derive(Debug, Clone)]
pub(super) struct BufferCaches {
    pub(super) buffers: Cache<BufferView>,
    pub(super) templates: Cache<Full<PodTemplate>>,
}

impl BufferCaches {
    /// Nobody waits for them: where the kind is not served yet, they come when it is.
    pub(super) fn start(client: &Client, seed: u64, templates: Cache<Full<PodTemplate>>) -> Self {
        Self {
            buffers: Cache::start(client.clone(), seed),
            templates,
        }
    }
}

/// Tells when buffers cannot be read.
pub(super) fn warn(client: &Client, patience: Duration) {
    warn_of::<view::BufferWire>(client, patience);
}

/// The room of a buffer.
#[derive(Debug)]
struct Room {
    /// For how many pods.
    replicas: usize,
    /// Name and generation of the PodTemplate, where it refers to one.
    template: Option<(String, i64)>,
}

/// How much of the room there is.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// Pods that nodes have room for.
    there: usize,
    /// Pods that nodes to come have room for.
    coming: usize,
    /// Why no nodes are added for others.
    why: Option<String>,
}

/// A pod that is only imagined.
#[derive(Debug)]
struct Imagined {
    buffer: ObjectKey,
    pod: PodFacts,
}

/// What buffers came to in the newest look.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    rooms: BTreeMap<ObjectKey, Result<Room, String>>,
    pods: BTreeMap<PodKey, Imagined>,
    standing: BTreeMap<ObjectKey, Standing>,
    /// The pods that nodes have room for.
    pub(super) held: Held,
}

impl Work {
    /// The pods of all buffers, as ones that wait.
    pub(super) fn headroom(&mut self) -> Vec<PendingPod> {
        let (Some(options), Some(own)) = (self.options.buffers, self.own.buffers.clone()) else {
            return Vec::new();
        };
        if !own.templates.is_ready() {
            // Which templates there are is not known yet.
            return Vec::new();
        }
        let mut pending: Vec<PendingPod> = Vec::new();
        let (mut rooms, mut pods) = (BTreeMap::new(), BTreeMap::new());
        for view in own.buffers.list(None) {
            if view.meta.is_deleting() || is_of_others(&view) {
                continue;
            }
            let key = view.meta.key.clone();
            let room = self.room(&view, &own).map(|(facts, template)| {
                let most = options.limit.saturating_sub(pending.len());
                let imagined = if options.inject {
                    facts.pending(most)
                } else {
                    Vec::new()
                };
                let plain = unlabelled(&facts.pod);
                pods.extend(imagined.iter().map(|waiting| {
                    let pod = PodFacts {
                        spec: Arc::clone(&plain),
                        ..waiting.pod.clone()
                    };
                    let buffer = key.clone();
                    (waiting.pod.key(), Imagined { buffer, pod })
                }));
                pending.extend(imagined);
                let replicas = facts.pods();
                Room { replicas, template }
            });
            rooms.insert(key, room);
        }
        self.buffers.rooms = rooms;
        self.buffers.pods = pods;
        pending
    }

    /// What a buffer asks for, or why that is not known.
    fn room(
        &mut self,
        view: &BufferView,
        own: &BufferCaches,
    ) -> Result<(BufferFacts, Option<(String, i64)>), String> {
        let spec = view.spec.as_ref().map_err(Clone::clone)?;
        let namespace = view.meta.namespace();
        let source = source::find(spec, namespace, (own, self.world.caches()))?;
        let pod = imagine(&view.meta, (API_VERSION, KIND), &source.template);
        let pod = pod.ok_or("the pod template cannot be understood")?;
        let facts = BufferFacts {
            namespace: namespace.into(),
            name: view.meta.name().into(),
            pod: self.world.facts_of(&pod).spec,
            replicas: spec.replicas,
            percentage: spec.percentage.map(|percent| (percent, source.replicas)),
            limits: spec.limits(),
        };
        Ok((facts, source.named))
    }

    /// Notes where there is room for buffers, and lets these nodes count as used.
    pub(super) fn hold(&mut self, plan: Option<&GrowthPlan>) {
        if self.options.buffers.is_none() {
            return;
        }
        let mut standing: BTreeMap<ObjectKey, Standing> = BTreeMap::new();
        let mut held = BTreeMap::new();
        let mut taken = self.provisioning.held.taken();
        for (key, imagined) in &self.buffers.pods {
            let before = self.buffers.held.node(key);
            let verdict = plan.map(|plan| plan.pods.get(key));
            let of = standing.entry(imagined.buffer.clone()).or_default();
            let found = match verdict {
                // Nobody asked: what was so stays so.
                None => before,
                Some(Some(PodVerdict::Fits(node))) => Some(node),
                Some(Some(PodVerdict::Triggered(_))) => {
                    of.coming += 1;
                    continue;
                }
                Some(verdict) => {
                    let message = verdict.filter(|_| of.why.is_none());
                    let message = message.and_then(PodVerdict::event_message);
                    of.why = of.why.take().or(message);
                    continue;
                }
            };
            let snapshot = &self.world.snapshot;
            let has_room = |node: &&Arc<str>| fits(snapshot, node, &imagined.pod, &taken);
            // It stays where it was, so that nodes do not take turns in being needed.
            let node = before.filter(has_room).or(found);
            match node {
                Some(node) if snapshot.node(node).is_some() => {
                    of.there += 1;
                    let requests = &imagined.pod.spec.requests;
                    taken.entry(Arc::clone(node)).or_default().add(requests);
                    let held_pod = HeldPod {
                        pod: imagined.pod.clone(),
                        node: Arc::clone(node),
                        owner: format!("capacity-buffer/{}", imagined.buffer).into(),
                    };
                    held.insert(key.clone(), held_pod);
                }
                Some(_) => of.coming += 1,
                None => {}
            }
        }
        self.buffers.held.replace(held, &mut self.world.pods);
        self.buffers.standing = standing;
    }

    /// Writes what has changed about buffers.
    pub(super) async fn tell_buffers(&mut self, now: Timestamp) {
        let Some(BufferOptions {
            resolve, inject, ..
        }) = self.options.buffers
        else {
            return;
        };
        let Some(own) = self.own.buffers.clone() else {
            return;
        };
        if !resolve || self.options.observe_only {
            return;
        }
        for (key, room) in &self.buffers.rooms {
            let Some(view) = own.buffers.get(key) else {
                continue;
            };
            let standing =
                inject.then(|| self.buffers.standing.get(key).cloned().unwrap_or_default());
            let wanted = status::wanted(&view, room, standing.as_ref(), now);
            if says(&view.status, &wanted) {
                continue;
            }
            let patch = json!({ "status": wanted });
            let writer = &self.context.writer;
            let written = writer.patch_subresource(&own.buffers, key, "status", &patch);
            if let Err(error) = written.await {
                tracing::warn!(%error, buffer = %key, "the status of a buffer is not written");
            }
        }
    }
}

/// Another strategy is somebody else's.
fn is_of_others(view: &BufferView) -> bool {
    let strategy = view.spec.as_ref().ok();
    let strategy = strategy.and_then(|spec| spec.provisioning_strategy.as_deref());
    strategy.is_some_and(|strategy| !strategy.is_empty() && strategy != ACTIVE_CAPACITY)
}

/// Whether the node has room for the pod beside what is held there.
fn fits(
    snapshot: &Snapshot,
    node: &Arc<str>,
    pod: &PodFacts,
    taken: &BTreeMap<Arc<str>, Resources>,
) -> bool {
    let Some(state) = snapshot
        .node(node)
        .filter(|state| !state.facts.unschedulable)
    else {
        return false;
    };
    let mut free = state.facts.allocatable.clone();
    free.subtract(&state.used);
    if let Some(taken) = taken.get(node) {
        free.subtract(taken);
    }
    let mut requested = pod.spec.requests.requested();
    requested.all(|(name, amount)| free.amount(name) >= amount)
}
