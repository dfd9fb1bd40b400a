//! Carries out what was decided about volumes: phases, release, and the end of their data.

use super::shell::PAUSE;
use super::volume::{self, Reclaim};
use super::{BOUND_BY_CONTROLLER, Binder, FINALIZER, VolumeError};
use crate::pods::VolumeView;
use crate::protection::without;
use crate::runtime::{Action, Deletion, Reference, WriteError, null_if_empty};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use serde_json::{Value, json};
use std::sync::Arc;

impl Binder {
    /// Looks at a volume once.
    pub(super) async fn tend_volume(
        &self,
        volume: &Arc<VolumeView>,
    ) -> Result<Action, VolumeError> {
        self.keep_finalizer(volume).await?;
        let named = volume.claim.as_ref();
        let claim = named.and_then(|named| self.context.caches.claims.get(&named.key));
        match volume::decide(volume, claim.as_deref()) {
            volume::Verdict::Show(phase) => {
                self.show_volume(volume, phase, None).await?;
                if phase != "Bound" && volume.meta.is_deleting() && volume::is_local(volume) {
                    return self.reclaim(volume).await;
                }
            }
            volume::Verdict::Leave => {
                if let Some(named) = named {
                    self.queue.add(named.key.clone());
                }
            }
            volume::Verdict::Free { keep_name } => self.free(volume, keep_name).await?,
            volume::Verdict::Release => {
                if claim.is_none() && self.is_there(volume).await? {
                    return Ok(Action::Requeue(PAUSE / 150));
                }
                return self.release(volume).await;
            }
        }
        Ok(Action::Wait)
    }

    /// Asks the server, not the cache, for the claim: data may depend on it.
    async fn is_there(&self, volume: &VolumeView) -> Result<bool, VolumeError> {
        let Some(named) = &volume.claim else {
            return Ok(false);
        };
        let client = self.context.client.clone();
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, &named.key.namespace);
        let live = claims.get_metadata_opt(&named.key.name).await;
        let live = live.map_err(|source| VolumeError::Look {
            claim: named.key.clone(),
            source: Box::new(source),
        })?;
        Ok(live.is_some_and(|live| live.metadata.uid.as_deref() == Some(&*named.uid)))
    }

    async fn free(&self, volume: &VolumeView, keep_name: bool) -> Result<(), WriteError> {
        let claim = if keep_name {
            json!({"uid": null, "resourceVersion": null})
        } else {
            Value::Null
        };
        let patch = json!({
            "metadata": {
                "resourceVersion": volume.meta.resource_version(),
                "annotations": {(BOUND_BY_CONTROLLER): null},
            },
            "spec": {"claimRef": claim},
        });
        let (writer, caches) = (&self.context.writer, &self.context.caches);
        writer
            .patch(&caches.volumes, &volume.meta.key, &patch)
            .await?;
        Ok(())
    }

    async fn release(&self, volume: &Arc<VolumeView>) -> Result<Action, VolumeError> {
        let failed = &*volume.phase == "Failed";
        let volume = if failed {
            Arc::clone(volume)
        } else {
            self.show_volume(volume, "Released", None).await?
        };
        match volume::reclaim(&volume) {
            Reclaim::Keep | Reclaim::Others => Ok(Action::Wait),
            Reclaim::Delete => self.reclaim(&volume).await,
            Reclaim::Fail { .. } if failed => Ok(Action::Wait),
            Reclaim::Fail { reason, message } => {
                self.fail(&volume, reason, &message).await?;
                Ok(Action::Wait)
            }
        }
    }

    async fn fail(
        &self,
        volume: &Arc<VolumeView>,
        reason: &'static str,
        message: &str,
    ) -> Result<(), WriteError> {
        let about = Reference::to("v1", "PersistentVolume", &volume.meta);
        self.recorder.warning(&about, reason, message.to_owned());
        self.show_volume(volume, "Failed", Some(message))
            .await
            .map(drop)
    }

    /// Removes the data, then what keeps the volume, then the volume.
    async fn reclaim(&self, volume: &Arc<VolumeView>) -> Result<Action, VolumeError> {
        if &*volume.reclaim != "Delete" {
            return Ok(Action::Wait);
        }
        let path = volume.path.as_deref().unwrap_or_default();
        if let Err(error) = self.directories.remove(volume.meta.name(), path).await {
            self.fail(volume, "VolumeFailedDelete", &error.to_string())
                .await?;
            return Ok(Action::Requeue(PAUSE));
        }
        if !volume.meta.is_deleting() {
            let deletion = Deletion::of(&volume.meta.uid);
            let writer = &self.context.writer;
            writer
                .delete::<PersistentVolume>(&volume.meta.key, &deletion)
                .await?;
        }
        match self.drop_finalizer(volume).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Action::Wait),
        }
    }

    /// Only a volume whose data is to be removed needs to be kept until it is.
    async fn keep_finalizer(&self, volume: &VolumeView) -> Result<(), WriteError> {
        if volume::is_local(volume) && &*volume.reclaim != "Delete" {
            self.drop_finalizer(volume).await?;
        }
        Ok(())
    }

    async fn drop_finalizer(&self, volume: &VolumeView) -> Result<(), WriteError> {
        let Some(left) = without(&volume.meta.finalizers, FINALIZER) else {
            return Ok(());
        };
        let left = null_if_empty(&left);
        let patch = json!({"metadata": {"uid": *volume.meta.uid, "finalizers": left}});
        let (writer, caches) = (&self.context.writer, &self.context.caches);
        writer
            .patch(&caches.volumes, &volume.meta.key, &patch)
            .await?;
        Ok(())
    }

    /// Shows a phase, if it is another one.
    pub(super) async fn show_volume(
        &self,
        volume: &Arc<VolumeView>,
        phase: &str,
        message: Option<&str>,
    ) -> Result<Arc<VolumeView>, WriteError> {
        if &*volume.phase == phase {
            return Ok(Arc::clone(volume));
        }
        let now = self.context.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let patch = json!({
            "metadata": {"uid": *volume.meta.uid},
            "status": {
                "phase": phase, "message": message, "lastPhaseTransitionTime": now.to_string(),
            },
        });
        let (writer, caches) = (&self.context.writer, &self.context.caches);
        writer
            .patch_subresource(&caches.volumes, &volume.meta.key, "status", &patch)
            .await
    }
}
