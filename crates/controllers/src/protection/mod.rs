//! Lets claims and volumes go once nothing uses them.
//!
//! Admission puts a finalizer on every claim and volume, so that a deletion waits. This controller
//! takes it off: from a claim when no pod that has a node mounts it, from a volume when it is not
//! bound.

use crate::pods::PodView;
use crate::runtime::{Action, Cached, Change, ObjectKey, Queue, Reconcile, run};
use crate::supervisor::Context;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    context.caches.claims.ready().await;
    context.caches.volumes.ready().await;
    context.caches.pods.ready().await;
    watch(&context, &queue);
    let protection = Protection { context };
    match run(Arc::new(protection), queue).await {}
}

fn watch(context: &Context, queue: &Queue<ObjectKey>) {
    let add = queue.clone();
    context.caches.claims.on_change(move |change| {
        if change.new.as_ref().is_some_and(|c| c.meta().is_deleting()) {
            add.add(change.key.clone());
        }
    });
    let add = queue.clone();
    context.caches.volumes.on_change(move |change| {
        if change.new.as_ref().is_some_and(|v| v.meta().is_deleting()) {
            add.add(change.key.clone());
        }
    });
    let (add, claims) = (queue.clone(), context.caches.claims.clone());
    let pods = &context.caches.pods;
    pods.on_change(move |change: &Change<PodView>| {
        let Some(old) = &change.old else { return };
        let new = change.new.as_ref();
        if new.is_some_and(|new| new.meta.uid == old.meta.uid) {
            return;
        }
        for claim in &old.placement.claims {
            let claim = claims.find(&change.key.namespace, &claim.name);
            if let Some(claim) = claim.filter(|claim| claim.meta().is_deleting()) {
                add.add(claim.meta().key.clone());
            }
        }
    });
}

struct Protection {
    context: Context,
}

impl Reconcile for Protection {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "protection"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, kube::Error> {
        let client = self.context.client.clone();
        if let Some(namespace) = key.namespace() {
            let Some(claim) = self.context.caches.claims.get(key) else {
                return Ok(Action::Wait);
            };
            if let Some(left) = without(&claim.meta().finalizers, CLAIM)
                && claim.meta().is_deleting()
                && !self.has_known_user(key)
                && !self.is_mounted(namespace, &key.name).await?
            {
                let api: Api<PersistentVolumeClaim> = Api::namespaced(client, namespace);
                release(&api, claim.meta(), &left).await?;
            }
            return Ok(Action::Wait);
        }
        let Some(volume) = self.context.caches.volumes.get(key) else {
            return Ok(Action::Wait);
        };
        if let Some(left) = without(&volume.meta().finalizers, VOLUME)
            && volume.meta().is_deleting()
            && &*volume.phase != "Bound"
        {
            let api: Api<PersistentVolume> = Api::all(client);
            release(&api, volume.meta(), &left).await?;
        }
        Ok(Action::Wait)
    }
}

impl Protection {
    /// Whether the cache shows a pod that mounts the claim; its end leads here again.
    fn has_known_user(&self, claim: &ObjectKey) -> bool {
        let users = self.context.caches.pods_by_claim.get(&claim.to_string());
        users.iter().any(|pod| pod.node.is_some())
    }

    /// Asks the server, not the cache: a pod made a moment ago counts.
    ///
    /// Parity: a pod without a node does not count (its scheduler will find the claim gone); one
    /// that has ended still does.
    async fn is_mounted(&self, namespace: &str, claim: &str) -> Result<bool, kube::Error> {
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace);
        let list = pods.list(&ListParams::default()).await?;
        Ok(list.items.iter().any(|pod| mounts(pod, claim)))
    }
}

fn mounts(pod: &Pod, claim: &str) -> bool {
    let Some(spec) = pod.spec.as_ref().filter(|spec| spec.node_name.is_some()) else {
        return false;
    };
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    spec.volumes.iter().flatten().any(|volume| {
        let named = volume.persistent_volume_claim.as_ref();
        let own = volume.ephemeral.is_some() && format!("{pod_name}-{}", volume.name) == claim;
        own || named.is_some_and(|source| source.claim_name == claim)
    })
}

/// The finalizers without this one; `None` if it is not among them.
pub(crate) fn without(finalizers: &[Arc<str>], name: &str) -> Option<Vec<String>> {
    finalizers.iter().any(|known| **known == *name).then(|| {
        let others = finalizers.iter().filter(|known| ***known != *name);
        others.map(ToString::to_string).collect()
    })
}

async fn release<K>(
    api: &Api<K>,
    meta: &crate::runtime::Meta,
    left: &[String],
) -> Result<(), kube::Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patch = json!({"metadata": {
        "resourceVersion": meta.resource_version(), "uid": *meta.uid, "finalizers": left,
    }});
    let params = PatchParams::default();
    match api.patch(meta.name(), &params, &Patch::Merge(patch)).await {
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        outcome => outcome.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn pod(node: Option<&str>, volume: &serde_json::Value) -> Pod {
        let spec = json!({"nodeName": node, "containers": [], "volumes": [volume]});
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    #[rstest]
    #[case::named(Some("n"), json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}), true)]
    #[case::without_a_node(None, json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}), false)]
    #[case::another(Some("n"), json!({"name": "v", "persistentVolumeClaim": {"claimName": "d"}}), false)]
    #[case::own(Some("n"), json!({"name": "v", "ephemeral": {}}), false)]
    fn counts_mounts(
        #[case] node: Option<&str>,
        #[case] volume: serde_json::Value,
        #[case] want: bool,
    ) {
        assert_eq!(mounts(&pod(node, &volume), "c"), want);
    }

    #[test]
    fn an_ephemeral_volume_is_a_claim_named_after_its_pod() {
        let pod = pod(Some("n"), &json!({"name": "v", "ephemeral": {}}));
        assert!(mounts(&pod, "p-v"));
    }

    #[test]
    fn only_the_own_finalizer_goes() {
        let names = ["a".into(), CLAIM.into()];
        assert_eq!(without(&names, CLAIM), Some(vec!["a".to_owned()]));
        assert_eq!(without(&names, VOLUME), None);
    }
}
