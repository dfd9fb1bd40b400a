//! Makes the claims of pods from their templates, and frees what pods that ended had.

use super::{ClaimObject, TemplateObject, release};
use crate::pods::PodView;
use crate::runtime::{
    Action, Cached, Change, Deletion, ObjectKey, Queue, Reconcile, Recorder, Reference, WriteError,
    run,
};
use crate::supervisor::Context;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference};
use kube::Api;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// On a claim made from a template: its name in the pod.
const POD_CLAIM_NAME: &str = "resource.kubernetes.io/pod-claim-name";
/// The pause after a write that lost against another one.
const PAUSE: Duration = Duration::from_millis(100);
/// When to look again at a claim of a pod that has not been seen yet.
const AGAIN: Duration = Duration::from_secs(5);

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// A write did not get through.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A pod names a template that does not exist.
    #[error("resource claim template {0:?} not found")]
    NoTemplate(Arc<str>),
    /// Whether a pod is there could not be told.
    #[error("get pod {0}")]
    Read(ObjectKey, #[source] Box<kube::Error>),
}

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// A pod that lacks claims.
    Pod(ObjectKey),
    /// A claim whose users may be gone.
    Claim(ObjectKey),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(key) => write!(f, "pod {key}"),
            Self::Claim(key) => write!(f, "claim {key}"),
        }
    }
}

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let devices = context.caches.devices.clone();
    context.caches.pods.ready().await;
    devices.ready().await;
    let add = queue.clone();
    context.caches.pods.on_change(move |change| {
        for work in of_pod(change) {
            add.add(work);
        }
    });
    let add = queue.clone();
    devices.claims.on_change(move |change| {
        let Some(claim) = &change.new else {
            return;
        };
        let status = claim.object.status.as_ref();
        let reserved = status.and_then(|status| status.reserved_for.as_ref());
        if claim.meta().is_deleting() || reserved.is_some_and(|reserved| !reserved.is_empty()) {
            add.add(Work::Claim(change.key.clone()));
        }
    });
    let recorder = context.recorder.component("resource_claim");
    match run(Arc::new(Claims { context, recorder }), queue).await {}
}

/// What a change of a pod gives to do: nothing for pods without claims.
fn of_pod(change: &Change<PodView>) -> Vec<Work> {
    let claims = |pod: &Option<Arc<PodView>>| -> Vec<Arc<str>> {
        let claims = pod.iter().flat_map(|pod| &pod.placement.device_claims);
        claims.filter_map(|claim| claim.claim.clone()).collect()
    };
    let new = change.new.as_ref();
    let lacks = |pod: &PodView| {
        let mut claims = pod.placement.device_claims.iter();
        pod.is_active() && claims.any(|claim| claim.claim.is_none())
    };
    let ended = |pod: &Option<Arc<PodView>>| pod.as_ref().is_none_or(|p| p.phase.is_terminal());
    let mut work = Vec::new();
    if new.is_some_and(|pod| lacks(pod)) {
        work.push(Work::Pod(change.key.clone()));
    }
    let namesake = |old: &Arc<PodView>| new.is_some_and(|new| new.meta.uid != old.meta.uid);
    let left = change.old.as_ref().is_some_and(namesake);
    if left || (ended(&change.new) && !(change.old.is_some() && ended(&change.old))) {
        let names = claims(&change.old).into_iter().chain(claims(&change.new));
        let keys = names.map(|name| ObjectKey::of(&change.key.namespace, name));
        work.extend(keys.map(Work::Claim));
    }
    work
}

struct Claims {
    context: Context,
    recorder: Recorder,
}

impl Reconcile for Claims {
    type Key = Work;
    type Error = ClaimError;

    fn name(&self) -> &'static str {
        "resourceclaim"
    }

    async fn reconcile(&self, work: &Work) -> Result<Action, ClaimError> {
        let done = match work {
            Work::Pod(key) => self.complete(key).await.map(|()| Action::Wait),
            Work::Claim(key) => self.clear(key).await,
        };
        match done {
            Err(ClaimError::Write(error)) if error.is_conflict() => Ok(Action::Requeue(PAUSE)),
            done => done,
        }
    }
}

impl Claims {
    /// Makes the claims a pod lacks, and tells the pod their names.
    async fn complete(&self, key: &ObjectKey) -> Result<(), ClaimError> {
        let pods = &self.context.caches.pods;
        let Some(pod) = pods.get(key).filter(|pod| pod.is_active()) else {
            return Ok(());
        };
        let mut made = Vec::new();
        for claim in &pod.placement.device_claims {
            if let (None, Some(template)) = (&claim.claim, &claim.template) {
                let name = self.claim_of(&pod, &claim.name, template).await?;
                made.push(json!({"name": *claim.name, "resourceClaimName": *name}));
            }
        }
        if made.is_empty() {
            return Ok(());
        }
        let patch = json!({
            "metadata": {"uid": *pod.meta.uid}, "status": {"resourceClaimStatuses": made},
        });
        let writer = &self.context.writer;
        match writer.merge_subresource(pods, key, "status", &patch).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The claim of a pod by its name in the pod: the one there is, or a new one.
    async fn claim_of(
        &self,
        pod: &PodView,
        name: &str,
        template: &Arc<str>,
    ) -> Result<Arc<str>, ClaimError> {
        let devices = &self.context.caches.devices;
        let own = devices.claims_by_pod.get(&pod.meta.uid);
        let own = own.iter().find(|claim| {
            let meta = claim.meta();
            meta.annotation(POD_CLAIM_NAME) == Some(name) && !meta.is_deleting()
        });
        if let Some(own) = own {
            return Ok(Arc::clone(&own.meta().key.name));
        }
        let namespace = pod.meta.namespace();
        let made = match devices.templates.find(namespace, template) {
            Some(template) => {
                let body = body(pod, name, &template);
                let writer = &self.context.writer;
                let made = writer.create(&devices.claims, namespace, &body).await;
                made.map_err(ClaimError::from)
            }
            None => Err(ClaimError::NoTemplate(Arc::clone(template))),
        };
        match made {
            Ok(claim) => Ok(Arc::clone(&claim.meta().key.name)),
            Err(error) => {
                let why = match &error {
                    ClaimError::Write(error) => error.message(),
                    ClaimError::NoTemplate(_) | ClaimError::Read(..) => error.to_string(),
                };
                let about = Reference::to("v1", "Pod", &pod.meta);
                let message = format!("PodResourceClaim {name}: {why}");
                self.recorder
                    .warning(&about, "FailedResourceClaimCreation", message);
                Err(error)
            }
        }
    }

    /// Takes back the reservations of pods that are gone or have ended, and deletes the claim of a pod
    /// that has.
    async fn clear(&self, key: &ObjectKey) -> Result<Action, ClaimError> {
        let caches = &self.context.caches;
        let Some(claim) = caches.devices.claims.get(key) else {
            return Ok(Action::Wait);
        };
        let pod = |name: &str, uid: &str| {
            let pod = caches.pods.find(&key.namespace, name);
            pod.filter(|pod| *pod.meta.uid == *uid)
        };
        // The claim may be ahead of what is known of pods.
        let mut unseen = Vec::new();
        let status = claim.object.status.as_ref();
        let users = status.and_then(|status| status.reserved_for.as_ref());
        for user in users.into_iter().flatten() {
            let is_unseen = user.resource == "pods" && pod(&user.name, &user.uid).is_none();
            if is_unseen && self.is_alive(key, user).await? {
                unseen.push(user.uid.clone());
            }
        }
        let is_over = |name: &str, uid: &str| match pod(name, uid) {
            Some(pod) => pod.phase.is_terminal(),
            None => !unseen.iter().any(|alive| *alive == *uid),
        };
        let writer = &self.context.writer;
        release(writer, &caches.devices.claims, &claim, |user| {
            user.resource == "pods" && is_over(&user.name, &user.uid)
        })
        .await?;
        let owner = owner(&claim);
        let ended = owner.and_then(|(name, uid)| pod(name, uid));
        if ended.is_some_and(|pod| pod.phase.is_terminal()) && !claim.meta().is_deleting() {
            let deletion = Deletion::of(&claim.meta().uid);
            writer.delete::<ResourceClaim>(key, &deletion).await?;
        }
        Ok(if unseen.is_empty() {
            Action::Wait
        } else {
            Action::Requeue(AGAIN)
        })
    }

    /// Asks the API whether a pod that has the claim is there and has not ended.
    async fn is_alive(
        &self,
        claim: &ObjectKey,
        user: &ResourceClaimConsumerReference,
    ) -> Result<bool, ClaimError> {
        let client = self.context.client.clone();
        let pods: Api<<PodView as Cached>::Wire> = Api::namespaced(client, &claim.namespace);
        let key = ObjectKey::of(&claim.namespace, user.name.as_str().into());
        let live = pods.get_opt(&user.name).await;
        let live = live.map_err(|error| ClaimError::Read(key, Box::new(error)))?;
        let live = live.map(PodView::from_wire);
        let same = live.filter(|pod| *pod.meta.uid == *user.uid);
        Ok(same.is_some_and(|pod| !pod.phase.is_terminal()))
    }
}

/// Name and uid of the pod a claim was made for.
fn owner(claim: &ClaimObject) -> Option<(&str, &str)> {
    let owner = claim.meta().controller()?;
    (&*owner.kind == "Pod").then_some((&*owner.name, &*owner.uid))
}

/// The claim of a pod, which goes with the pod.
fn body(pod: &PodView, name: &str, template: &TemplateObject) -> Value {
    let (key, spec) = (&pod.meta.key, &template.object.spec);
    let metadata = spec.metadata.as_ref();
    let annotations = metadata.and_then(|meta| meta.annotations.clone());
    let mut annotations = annotations.unwrap_or_default();
    annotations.insert(POD_CLAIM_NAME.to_owned(), name.to_owned());
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {
            "generateName": format!("{}-{name}-", key.name),
            "labels": metadata.and_then(|meta| meta.labels.as_ref()),
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Pod", "name": *key.name, "uid": *pod.meta.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": spec.spec,
    })
}
