//! Carries out what was decided about claims.

use super::claim::{Said, Verdict};
use super::growth::{self, Growth};
use super::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, Binder, SELECTED_NODE, STORAGE_PROVISIONER, Seen,
    VolumeError, claim, provision,
};
use crate::pods::{AccessModes, ClaimView, VolumeView};
use crate::runtime::{Action, EventKind, Reference, WriteError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Pause after what may pass by itself: a full disk, a claim not yet in the cache.
pub(super) const PAUSE: Duration = Duration::from_secs(15);

fn about_claim(claim: &ClaimView) -> Reference {
    Reference::to("v1", "PersistentVolumeClaim", &claim.meta)
}

fn texts(modes: &AccessModes) -> Vec<&'static str> {
    modes.iter().map(|mode| mode.text()).collect()
}

impl Binder {
    /// Looks at a claim once.
    pub(super) async fn tend_claim(&self, claim: &Arc<ClaimView>) -> Result<Action, VolumeError> {
        let seen = self.look(claim);
        match claim::decide(seen.world(claim)) {
            Verdict::Bind(volume) => self.bind(claim, &volume).await?,
            Verdict::Classify(class) => {
                let patch = json!({"spec": {"storageClassName": *class}});
                self.patch_claim(claim, patch).await?;
            }
            Verdict::Provision if claim.meta.is_deleting() => {}
            Verdict::Provision => return self.provision(claim, &seen).await,
            Verdict::Await(said) => {
                if let Some(class) = &seen.class {
                    self.name_provisioner(claim, &class.provisioner).await?;
                }
                self.pend(claim, Some(said)).await?;
            }
            Verdict::Wait(said) => self.pend(claim, said).await?,
            Verdict::Reselect(said) => {
                self.pend(claim, Some(said)).await?;
                if claim.meta.annotation(SELECTED_NODE).is_some() {
                    self.annotate(claim, &[(SELECTED_NODE, None)]).await?;
                }
            }
            Verdict::Lose(said) => self.lose(claim, &said).await?,
        }
        Ok(Action::Wait)
    }

    /// Says something about a claim unless it was the last thing said.
    fn say(&self, claim: &ClaimView, said: &Said) {
        let text = format!("{}: {}", said.reason, said.message);
        let before = self
            .said
            .lock()
            .insert(claim.meta.key.clone(), text.clone());
        if before.as_ref() != Some(&text) {
            let about = about_claim(claim);
            self.recorder
                .event(&about, said.kind, said.reason, said.message.clone());
        }
    }

    async fn pend(&self, claim: &Arc<ClaimView>, said: Option<Said>) -> Result<(), WriteError> {
        if let Some(said) = said {
            self.say(claim, &said);
        }
        if &*claim.phase == "Pending" {
            return Ok(());
        }
        self.show_claim(claim, json!({"phase": "Pending"}))
            .await
            .map(drop)
    }

    async fn lose(&self, claim: &Arc<ClaimView>, said: &Said) -> Result<(), WriteError> {
        if &*claim.phase == "Lost" {
            return Ok(());
        }
        self.say(claim, said);
        let status = json!({"phase": "Lost", "accessModes": null, "capacity": null});
        self.show_claim(claim, status).await.map(drop)
    }

    async fn patch_claim(
        &self,
        claim: &ClaimView,
        mut patch: Value,
    ) -> Result<Arc<ClaimView>, WriteError> {
        if let Some(metadata) = metadata_of(&mut patch) {
            metadata.insert("uid".to_owned(), json!(*claim.meta.uid));
        }
        let (writer, caches) = (&self.context.writer, &self.context.caches);
        writer.patch(&caches.claims, &claim.meta.key, &patch).await
    }

    async fn annotate(
        &self,
        claim: &ClaimView,
        annotations: &[(&str, Option<&str>)],
    ) -> Result<Arc<ClaimView>, WriteError> {
        let map: serde_json::Map<String, Value> = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        self.patch_claim(claim, json!({"metadata": {"annotations": map}}))
            .await
    }

    async fn show_claim(
        &self,
        claim: &ClaimView,
        status: Value,
    ) -> Result<Arc<ClaimView>, WriteError> {
        let patch = json!({"metadata": {"uid": *claim.meta.uid}, "status": status});
        let (writer, caches) = (&self.context.writer, &self.context.caches);
        writer
            .patch_subresource(&caches.claims, &claim.meta.key, "status", &patch)
            .await
    }

    /// Points both at each other: the volume first, so that no other claim takes it.
    async fn bind(
        &self,
        claim: &Arc<ClaimView>,
        volume: &Arc<VolumeView>,
    ) -> Result<(), WriteError> {
        let volume = self.take(claim, volume).await?;
        let volume = self.show_volume(&volume, "Bound", None).await?;
        let claim = self.point(claim, &volume).await?;
        let complete = claim.is_bound() && claim.capacity.is_some();
        let claim = if complete {
            claim
        } else {
            let status = json!({
                "phase": "Bound", "accessModes": texts(&volume.modes),
                "capacity": {"storage": *volume.capacity_text},
            });
            self.show_claim(&claim, status).await?
        };
        let growth = growth::decide(&claim, &volume);
        if growth != Growth::External {
            // Nothing is said about it, so that the next thing said is news.
            self.said.lock().remove(&claim.meta.key);
        }
        match growth {
            Growth::None => Ok(()),
            Growth::External => {
                let message = "waiting for an external controller to expand this PVC";
                self.say(
                    &claim,
                    &Said {
                        kind: EventKind::Normal,
                        reason: "ExternalExpanding",
                        message: message.to_owned(),
                    },
                );
                Ok(())
            }
            Growth::Grow => self.grow(&claim, &volume).await,
        }
    }

    /// Writes the claim into the volume.
    async fn take(
        &self,
        claim: &ClaimView,
        volume: &Arc<VolumeView>,
    ) -> Result<Arc<VolumeView>, WriteError> {
        let named = volume.claim.as_ref();
        if named.is_some_and(|named| *named.uid == *claim.meta.uid) {
            return Ok(Arc::clone(volume));
        }
        let key = &claim.meta.key;
        let mut patch = json!({
            "metadata": {
                "uid": *volume.meta.uid, "resourceVersion": volume.meta.resource_version(),
            },
            "spec": {"claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": *key.namespace, "name": *key.name, "uid": *claim.meta.uid,
                "resourceVersion": claim.meta.resource_version(),
            }},
        });
        if let (None, Some(metadata)) = (named, metadata_of(&mut patch)) {
            metadata.insert("annotations".into(), json!({(BOUND_BY_CONTROLLER): "yes"}));
        }
        let (writer, caches) = (&self.context.writer, &self.context.caches);
        writer
            .patch(&caches.volumes, &volume.meta.key, &patch)
            .await
    }

    /// Writes the volume into the claim.
    async fn point(
        &self,
        claim: &Arc<ClaimView>,
        volume: &VolumeView,
    ) -> Result<Arc<ClaimView>, WriteError> {
        let found = claim.volume.is_none();
        if !found && claim.meta.annotation(BIND_COMPLETED).is_some() {
            return Ok(Arc::clone(claim));
        }
        let mut annotations = json!({(BIND_COMPLETED): "yes"});
        if let (true, Some(map)) = (found, annotations.as_object_mut()) {
            map.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".into());
        }
        let patch = json!({
            "metadata": {"annotations": annotations},
            "spec": {"volumeName": volume.meta.name()},
        });
        self.patch_claim(claim, patch).await
    }

    async fn grow(&self, claim: &ClaimView, volume: &VolumeView) -> Result<(), WriteError> {
        let about = about_claim(claim);
        let name = volume.meta.name();
        let message = format!("External resizer is resizing volume {name}");
        self.resizer.normal(&about, "Resizing", message);
        let size = json!({"storage": *claim.request_text});
        let (writer, caches) = (&self.context.writer, &self.context.caches);
        if volume.capacity < claim.request {
            let patch = json!({"metadata": {"uid": *volume.meta.uid}, "spec": {"capacity": size}});
            writer
                .patch(&caches.volumes, &volume.meta.key, &patch)
                .await?;
        }
        let kept: Vec<Value> = claim
            .conditions
            .iter()
            .filter(|condition| !condition.kind.ends_with("esizing"))
            .map(|condition| json!({"type": condition.kind, "status": condition.status}))
            .collect();
        let status = json!({
            "capacity": size, "allocatedResources": size, "allocatedResourceStatuses": null,
            "conditions": if kept.is_empty() { Value::Null } else { kept.into() },
        });
        self.show_claim(claim, status).await?;
        let message = "Resize volume succeeded".to_owned();
        self.resizer
            .normal(&about, "VolumeResizeSuccessful", message);
        Ok(())
    }

    async fn name_provisioner(
        &self,
        claim: &Arc<ClaimView>,
        provisioner: &str,
    ) -> Result<Arc<ClaimView>, WriteError> {
        let named = |key: &str| claim.meta.annotation(key) == Some(provisioner);
        if STORAGE_PROVISIONER.into_iter().all(named) {
            return Ok(Arc::clone(claim));
        }
        let annotations = STORAGE_PROVISIONER.map(|key| (key, Some(provisioner)));
        self.annotate(claim, &annotations).await
    }

    /// Makes a directory and a volume for the claim, and binds the two.
    async fn provision(&self, claim: &Arc<ClaimView>, seen: &Seen) -> Result<Action, VolumeError> {
        let Some(class) = &seen.class else {
            return Ok(Action::Wait);
        };
        let claim = &self.name_provisioner(claim, &class.provisioner).await?;
        let about = about_claim(claim);
        let key = &claim.meta.key;
        let message = format!("External provisioner is provisioning volume for claim \"{key}\"");
        self.provisioner.normal(&about, "Provisioning", message);
        self.say(claim, &claim::external(&class.provisioner));
        let directory = provision::directory(claim);
        if let Err(error) = self.directories.make(&directory) {
            let path = self.directories.path(&directory);
            let message = format!(
                "failed to provision volume with StorageClass {:?}: cannot make {}: {error}",
                class.meta.name(),
                path.display()
            );
            self.say(claim, &Said::warning("ProvisioningFailed", message));
            return Ok(Action::Requeue(PAUSE));
        }
        let path = self.directories.path(&directory);
        let body = provision::body(claim, class, seen.place.as_ref(), &path);
        let (writer, caches) = (&self.context.writer, &self.context.caches);
        let volume = match writer.create(&caches.volumes, "", &body).await {
            // Made by an earlier look whose answer was lost.
            Err(error) if error.is_already_exists() => return Ok(Action::Requeue(PAUSE / 15)),
            outcome => outcome?,
        };
        let message = format!("Successfully provisioned volume {}", volume.meta.name());
        self.provisioner
            .normal(&about, "ProvisioningSucceeded", message);
        self.bind(claim, &volume).await?;
        Ok(Action::Wait)
    }
}

/// The metadata of a patch, made if it is absent.
fn metadata_of(patch: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    let map = patch.as_object_mut()?;
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    metadata.as_object_mut()
}
