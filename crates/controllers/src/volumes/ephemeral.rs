//! Makes the claims of volumes that live as long as their pod (`ephemeral.volumeClaimTemplate`).

use crate::runtime::{Action, ObjectKey, Queue, Reconcile, Recorder, Reference, WriteError, run};
use crate::supervisor::Context;
use k8s_openapi::api::core::v1::{PersistentVolumeClaimTemplate, Pod};
use kube::Api;
use serde_json::{Value, json};
use std::sync::Arc;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum EphemeralError {
    /// A write did not get through.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The pod could not be read.
    #[error("cannot read pod {pod}")]
    Read {
        /// Which pod.
        pod: ObjectKey,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    context.caches.claims.ready().await;
    context.caches.pods.ready().await;
    let add = queue.clone();
    context.caches.pods.on_change(move |change| {
        let fresh = change.old.is_none();
        let Some(pod) = change.new.as_ref().filter(|_| fresh) else {
            return;
        };
        if pod.placement.claims.iter().any(|claim| claim.ephemeral) {
            add.add(change.key.clone());
        }
    });
    let (add, pods) = (queue.clone(), context.caches.pods_by_claim.clone());
    context.caches.claims.on_change(move |change| {
        if change.new.is_none() {
            for pod in pods.get(&change.key.to_string()) {
                add.add(pod.meta.key.clone());
            }
        }
    });
    let recorder = context.recorder.component("ephemeral_volume");
    match run(Arc::new(Ephemeral { context, recorder }), queue).await {}
}

struct Ephemeral {
    context: Context,
    recorder: Recorder,
}

impl Reconcile for Ephemeral {
    type Key = ObjectKey;
    type Error = EphemeralError;

    fn name(&self) -> &'static str {
        "ephemeral"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, EphemeralError> {
        let caches = &self.context.caches;
        let Some(seen) = caches.pods.get(key).filter(|pod| pod.is_active()) else {
            return Ok(Action::Wait);
        };
        let claims = seen.placement.claims.iter().filter(|claim| claim.ephemeral);
        let wanted: Vec<&str> = claims
            .filter(|claim| caches.claims.find(&key.namespace, &claim.name).is_none())
            .map(|claim| &*claim.name)
            .collect();
        if wanted.is_empty() {
            return Ok(Action::Wait);
        }
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let pod = pods.get_opt(&key.name).await;
        let pod = pod.map_err(|source| EphemeralError::Read {
            pod: key.clone(),
            source: Box::new(source),
        })?;
        let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_deref() == Some(&*seen.meta.uid))
        else {
            return Ok(Action::Wait);
        };
        for volume in pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten())
        {
            let source = volume.ephemeral.as_ref();
            let template = source.and_then(|source| source.volume_claim_template.as_ref());
            let name = format!("{}-{}", key.name, volume.name);
            if let Some(template) = template.filter(|_| wanted.contains(&name.as_str())) {
                let body = body(&name, &seen.meta.uid, key, template);
                self.create(&seen, &body).await?;
            }
        }
        Ok(Action::Wait)
    }
}

impl Ephemeral {
    async fn create(&self, pod: &crate::pods::PodView, body: &Value) -> Result<(), EphemeralError> {
        let writer = &self.context.writer;
        let claims = &self.context.caches.claims;
        match writer.create(claims, pod.meta.namespace(), body).await {
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => {
                let about = Reference::to("v1", "Pod", &pod.meta);
                let message = format!("ephemeral volume claim not created: {}", error.message());
                self.recorder.warning(&about, "FailedCreate", message);
                Err(error.into())
            }
            Ok(_) => Ok(()),
        }
    }
}

/// The claim for one volume of a pod, which goes with the pod.
fn body(name: &str, uid: &str, pod: &ObjectKey, template: &PersistentVolumeClaimTemplate) -> Value {
    let metadata = template.metadata.as_ref();
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "labels": metadata.and_then(|meta| meta.labels.as_ref()),
            "annotations": metadata.and_then(|meta| meta.annotations.as_ref()),
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Pod", "name": *pod.name, "uid": uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": template.spec,
    })
}
