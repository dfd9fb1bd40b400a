//! Volumes that wait for a pod: once its node is chosen, each claim is given a volume there or a
//! node to have one made on, and the pod is bound when all its claims are.
//!
//! Upstream: the plugin VolumeBinding at the points Reserve and PreBind.

use super::Scheduler;
use super::hints::Event;
use super::state::State;
use crate::facts;
use crate::pods::{ClaimView, PodView};
use crate::runtime::{ObjectKey, WriteError};
use crate::volumes::matching::{Choice, Place, best};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// On a volume whose claim was found by the binder or the scheduler, not named by its author.
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a claim: the node on which its volume is to be made.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// How long a pod may wait for its volumes (upstream: `bindTimeoutSeconds`).
const PATIENCE: Duration = Duration::from_secs(600);

/// What a claim gets.
#[derive(Debug, Clone)]
pub(super) struct Step {
    claim: Arc<ClaimView>,
    /// A volume that exists; else one is made.
    volume: Option<Arc<str>>,
}

/// Why the volumes of a pod could not be bound.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    /// A write did not get through.
    #[error("{}", .0.message())]
    Write(#[from] WriteError),
    /// Whoever makes the volume gave up on this node.
    #[error("provisioning failed for PVC {0:?}")]
    Refused(Arc<str>),
    /// The claim is gone.
    #[error("persistentvolumeclaim {0:?} not found")]
    Gone(Arc<str>),
    /// The node is gone.
    #[error("node {0:?} not found")]
    NodeGone(Arc<str>),
    /// The claim was bound to a volume elsewhere.
    #[error("pv {volume:?} node affinity doesn't match node {node:?}")]
    Elsewhere {
        /// The volume.
        volume: Arc<str>,
        /// The node.
        node: Arc<str>,
    },
    /// The pod is gone, or waits no longer.
    #[error("the pod waits no longer")]
    PodGone,
    /// It took too long.
    #[error("context deadline exceeded")]
    TooLate,
}

impl Scheduler {
    /// What the pod's claims get on the node; promises it.
    ///
    /// # Errors
    /// The node is gone.
    pub(super) fn plan_volumes(
        &self,
        state: &mut State,
        pod: &PodView,
        node: &str,
    ) -> Result<Vec<Step>, BindError> {
        let mut open: Vec<Arc<ClaimView>> = pod
            .placement
            .claims
            .iter()
            .filter_map(|claim| self.caches.claims.find(pod.meta.namespace(), &claim.name))
            .filter(|claim| !claim.is_bound() && claim.volume.is_none())
            .collect();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        open.sort_by_key(|claim| claim.request.value());
        let known = self.caches.nodes.find("", node);
        let known = known.ok_or_else(|| BindError::NodeGone(node.into()))?;
        let place = Place::of(&known);
        let steps = open.into_iter().map(|claim| {
            let key = &claim.meta.key;
            let volume = match state.promises.of(key) {
                Some(promise) => promise.volume.clone(),
                // A volume is being made there already.
                None if claim.meta.annotation(SELECTED_NODE).is_some() => None,
                None => {
                    let mut volumes = self.volumes_by_class.get(claim.class_name());
                    let promises = &state.promises;
                    volumes.retain(|volume| !promises.is_promised(volume.meta.name(), key));
                    let volume = best(&claim, &volumes, Choice::Reaching(&place));
                    volume.map(|volume| Arc::clone(&volume.meta.key.name))
                }
            };
            state.promises.make(key, node, volume.as_ref());
            // Seen at once by other pods with this claim.
            state.set_claim(key, facts::of_claim(&claim));
            Step { claim, volume }
        });
        Ok(steps.collect())
    }

    /// Writes what was planned and waits until every claim is bound.
    ///
    /// # Errors
    /// The pod has to look for another node, or try again.
    pub(super) async fn bind_volumes(
        &self,
        pod: &PodView,
        steps: &[Step],
        node: &str,
    ) -> Result<(), BindError> {
        for step in steps {
            self.begin(step, node).await?;
        }
        let waited = tokio::time::timeout(PATIENCE, self.volumes_bound(pod, steps, node)).await;
        waited.unwrap_or(Err(BindError::TooLate))
    }

    /// Takes promises back: from here on, what the API shows holds.
    pub(super) fn release_volumes(&self, steps: &[Step]) {
        let mut state = self.state.lock();
        let mut reopened = false;
        for key in steps.iter().map(|step| &step.claim.meta.key) {
            let nobodys = state.promises.release(key);
            let known = self.caches.claims.get(key).filter(|_| nobodys);
            if let Some(claim) = known.filter(|claim| !claim.is_bound()) {
                state.set_claim(key, facts::of_claim(&claim));
                reopened = true;
            }
        }
        if reopened && state.wake(Event::Storage, Instant::now()) {
            self.wake.notify_one();
        }
    }

    async fn begin(&self, step: &Step, node: &str) -> Result<(), BindError> {
        let claim = &step.claim.meta;
        let Some(volume) = &step.volume else {
            let patch = json!({"metadata": {
                "uid": *claim.uid, "annotations": {SELECTED_NODE: node},
            }});
            self.writer
                .patch(&self.caches.claims, &claim.key, &patch)
                .await?;
            return Ok(());
        };
        let key = ObjectKey::new("", volume);
        let Some(volume) = self.caches.volumes.get(&key) else {
            return Err(BindError::Refused(Arc::clone(&claim.key.name)));
        };
        let patch = json!({
            "metadata": {
                "resourceVersion": volume.meta.resource_version(),
                "annotations": {BOUND_BY_CONTROLLER: "yes"},
            },
            "spec": {"claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "uid": *claim.uid,
                "namespace": *claim.key.namespace, "name": *claim.key.name,
                "resourceVersion": claim.resource_version(),
            }},
        });
        self.writer
            .patch(&self.caches.volumes, &key, &patch)
            .await?;
        Ok(())
    }

    async fn volumes_bound(
        &self,
        pod: &PodView,
        steps: &[Step],
        node: &str,
    ) -> Result<(), BindError> {
        let mut moved = self.storage_moved.subscribe();
        loop {
            moved.borrow_and_update();
            if !self.still_waits(pod) {
                return Err(BindError::PodGone);
            }
            if self.all_bound(steps, node)? {
                return Ok(());
            }
            if moved.changed().await.is_err() {
                return Err(BindError::TooLate);
            }
        }
    }

    fn all_bound(&self, steps: &[Step], node: &str) -> Result<bool, BindError> {
        let mut all = true;
        for step in steps {
            let name = &step.claim.meta.key.name;
            let claim = self.caches.claims.get(&step.claim.meta.key);
            let claim = claim.filter(|claim| claim.meta.uid == step.claim.meta.uid);
            let claim = claim.ok_or_else(|| BindError::Gone(Arc::clone(name)))?;
            if claim.is_bound() {
                all &= self.reached(&claim, node)?;
                continue;
            }
            all = false;
            let selected = claim.meta.annotation(SELECTED_NODE);
            if step.volume.is_none() && selected != Some(node) {
                return Err(BindError::Refused(Arc::clone(name)));
            }
        }
        Ok(all)
    }

    /// Whether the volume of a bound claim is known.
    ///
    /// # Errors
    /// It does not reach the node: somebody else bound the claim meanwhile.
    fn reached(&self, claim: &ClaimView, node: &str) -> Result<bool, BindError> {
        let volume = claim.volume.as_ref();
        let Some(volume) = volume.and_then(|name| self.caches.volumes.find("", name)) else {
            return Ok(false);
        };
        let known = self.caches.nodes.find("", node);
        let known = known.ok_or_else(|| BindError::NodeGone(node.into()))?;
        if volume.reaches(node, &Place::of(&known).labels) {
            return Ok(true);
        }
        Err(BindError::Elsewhere {
            volume: Arc::clone(&volume.meta.key.name),
            node: node.into(),
        })
    }
}
