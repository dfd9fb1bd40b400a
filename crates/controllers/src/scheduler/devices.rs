//! Claims to devices: what was chosen for a pod's claims is written, and the claims are reserved for
//! it, before it is bound.
//!
//! Upstream: the plugin DynamicResources at the points Reserve, PreBind and PostFilter.

use super::Scheduler;
use super::hints::Event;
use super::state::State;
use crate::devices::{
    ClaimObject, ClassObject, FINALIZER, SliceObject, TemplateObject, deallocate, release,
};
use crate::facts::{self, ClaimChange};
use crate::pods::PodView;
use crate::runtime::{Cached, Change, ObjectKey, WriteError};
use k8s_openapi::api::resource::v1::{
    DeviceRequest, ResourceClaim, ResourceClaimConsumerReference,
};
use kube::Api;
use plimsoll_engine::placement::{DeviceAllocation, NodeTerm, Requirement};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

/// Pods that one claim may be reserved for.
const MOST_USERS: usize = 256;
/// Attempts at one claim that others write to, too.
const TRIES: usize = 8;

/// What a claim of a pod gets.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    claim: ObjectKey,
    /// `None`: nothing was found for it.
    allocation: Option<Arc<DeviceAllocation>>,
}

/// Why a pod does not get its devices.
#[derive(Debug, thiserror::Error)]
pub(super) enum GrantError {
    /// A write did not get through.
    #[error("{}", .0.message())]
    Write(#[from] WriteError),
    /// The claim could not be read.
    #[error("get resourceclaim {0}")]
    Read(ObjectKey, #[source] Box<kube::Error>),
    /// The claim is gone, or is going.
    #[error("resourceclaim {0:?} not found")]
    Gone(Arc<str>),
    /// It has no devices any more, or is reserved for too many pods.
    #[error("resourceclaim {0:?} in use")]
    InUse(Arc<str>),
    /// Others keep writing to it.
    #[error("resourceclaim {0:?} changes all the time")]
    Busy(Arc<str>),
}

impl State {
    /// What the claims of a pod get on the node it has just been counted on.
    pub(super) fn grants(&self, pod: &PodView) -> Vec<Grant> {
        let namespace = pod.meta.namespace();
        let claims = pod.placement.device_claims.iter();
        let claims = claims.filter_map(|claim| claim.claim.as_ref());
        claims
            .map(|name| Grant {
                claim: ObjectKey::of(namespace, Arc::clone(name)),
                allocation: self.snapshot.device_allocation(namespace, name),
            })
            .collect()
    }
}

impl Scheduler {
    /// Writes what was chosen for the pod's claims and reserves them for it.
    ///
    /// # Errors
    /// The pod has to be tried again; what it got already is taken back.
    pub(super) async fn grant(&self, pod: &PodView, grants: &[Grant]) -> Result<(), GrantError> {
        for grant in grants {
            if let Err(error) = self.grant_one(pod, grant).await {
                self.take_grants_back(pod, grants).await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes back the reservations of a pod that is not bound after all.
    pub(super) async fn take_grants_back(&self, pod: &PodView, grants: &[Grant]) {
        let claims = &self.caches.devices.claims;
        for grant in grants {
            let Some(claim) = claims.get(&grant.claim) else {
                continue;
            };
            let own = release(&self.writer, claims, &claim, |user| {
                user.uid == *pod.meta.uid
            });
            if let Err(error) = own.await {
                tracing::debug!(claim = %grant.claim, %error, "still reserved");
            }
        }
    }

    /// Frees devices of a pod that fits nowhere with them, if no other pod has the claim: what is left
    /// of a binding that did not come about.
    pub(super) async fn free_unused(&self, pod: &PodView) {
        let cache = &self.caches.devices.claims;
        let claims = pod.placement.device_claims.iter();
        for name in claims.filter_map(|claim| claim.claim.clone()) {
            let Some(claim) = cache.get(&ObjectKey::of(pod.meta.namespace(), name)) else {
                continue;
            };
            let Some(status) = claim.object.status.as_ref() else {
                continue;
            };
            let mut users = status.reserved_for.iter().flatten();
            let others = users.any(|user| user.uid != *pod.meta.uid);
            if status.allocation.is_none() || others || !self.is_unbound(pod).await {
                continue;
            }
            if let Err(error) = deallocate(&self.writer, cache, &claim).await {
                tracing::debug!(claim = %claim.meta().key, %error, "still allocated");
            }
        }
    }

    /// Whether the pod has no node by the API itself.
    async fn is_unbound(&self, pod: &PodView) -> bool {
        let client = self.writer.client().clone();
        let pods: Api<<PodView as Cached>::Wire> = Api::namespaced(client, pod.meta.namespace());
        let live = pods.get_opt(pod.meta.name()).await;
        let live = live.ok().flatten().map(PodView::from_wire);
        live.is_some_and(|live| live.meta.uid == pod.meta.uid && live.node.is_none())
    }

    async fn grant_one(&self, pod: &PodView, grant: &Grant) -> Result<(), GrantError> {
        let name = &grant.claim.name;
        let mut known = self.caches.devices.claims.get(&grant.claim);
        for _ in 0..TRIES {
            let claim = known.ok_or_else(|| GrantError::Gone(Arc::clone(name)))?;
            match self.try_grant(pod, grant, claim).await {
                Err(GrantError::Write(error)) if error.is_conflict() => {}
                done => return done,
            }
            known = self.live_claim(&grant.claim).await?;
        }
        Err(GrantError::Busy(Arc::clone(name)))
    }

    async fn try_grant(
        &self,
        pod: &PodView,
        grant: &Grant,
        mut claim: Arc<ClaimObject>,
    ) -> Result<(), GrantError> {
        let (cache, name) = (&self.caches.devices.claims, &grant.claim.name);
        let status = claim.object.status.clone().unwrap_or_default();
        let mut users = status.reserved_for.unwrap_or_default();
        if status.allocation.is_some() && users.iter().any(|user| user.uid == *pod.meta.uid) {
            return Ok(());
        }
        if claim.meta().is_deleting() {
            return Err(GrantError::Gone(Arc::clone(name)));
        }
        if users.len() >= MOST_USERS {
            return Err(GrantError::InUse(Arc::clone(name)));
        }
        users.push(user(pod));
        let mut new = json!({"reservedFor": users});
        if status.allocation.is_none() {
            let allocation = grant.allocation.as_ref();
            let allocation = allocation.ok_or_else(|| GrantError::InUse(Arc::clone(name)))?;
            if let Some(map) = new.as_object_mut() {
                map.insert("allocation".into(), self.written(allocation, &claim));
            }
            claim = self.protect(claim).await?;
        }
        let meta = claim.meta();
        let patch = json!({
            "metadata": {"uid": *meta.uid, "resourceVersion": meta.resource_version()},
            "status": new,
        });
        self.writer
            .patch_subresource(cache, &grant.claim, "status", &patch)
            .await?;
        Ok(())
    }

    /// A claim with devices is not deleted before they are free.
    async fn protect(&self, claim: Arc<ClaimObject>) -> Result<Arc<ClaimObject>, WriteError> {
        let meta = claim.meta();
        let mut finalizers: Vec<&str> = meta.finalizers.iter().map(|name| &**name).collect();
        if finalizers.contains(&FINALIZER) {
            return Ok(claim);
        }
        finalizers.push(FINALIZER);
        let patch = json!({"metadata": {
            "uid": *meta.uid, "resourceVersion": meta.resource_version(),
            "finalizers": finalizers,
        }});
        let cache = &self.caches.devices.claims;
        self.writer.patch(cache, &meta.key, &patch).await
    }

    async fn live_claim(&self, key: &ObjectKey) -> Result<Option<Arc<ClaimObject>>, GrantError> {
        let client = self.writer.client().clone();
        let api: Api<ResourceClaim> = Api::namespaced(client, &key.namespace);
        let live = api.get_opt(&key.name).await;
        let live = live.map_err(|error| GrantError::Read(key.clone(), Box::new(error)))?;
        Ok(live.map(|claim| self.caches.devices.claims.observe(claim)))
    }

    /// An allocation as the API has it, with the configuration of classes and claim.
    fn written(&self, allocation: &DeviceAllocation, claim: &ClaimObject) -> Value {
        let results = allocation.results.iter().map(|device| {
            let mut result = json!({
                "request": device.request, "driver": *device.driver, "pool": *device.pool,
                "device": *device.device,
            });
            if let Some(map) = result.as_object_mut().filter(|_| device.admin) {
                map.insert("adminAccess".into(), Value::Bool(true));
            }
            result
        });
        let mut devices = json!({"results": results.collect::<Vec<_>>()});
        let config = self.config(allocation, claim);
        if let Some(map) = devices.as_object_mut().filter(|_| !config.is_empty()) {
            map.insert("config".into(), Value::Array(config));
        }
        let mut written = json!({"devices": devices});
        if let Some(map) = written.as_object_mut()
            && let Some(terms) = &allocation.terms
        {
            let terms: Vec<Value> = terms.iter().map(term).collect();
            map.insert("nodeSelector".into(), json!({"nodeSelectorTerms": terms}));
        }
        written
    }

    fn config(&self, allocation: &DeviceAllocation, claim: &ClaimObject) -> Vec<Value> {
        let asked = claim.object.spec.devices.as_ref();
        let requests = asked.and_then(|asked| asked.requests.as_ref());
        let mut config = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for device in &allocation.results {
            if seen.contains(&&*device.request) {
                continue;
            }
            seen.push(&device.request);
            let mut requests = requests.into_iter().flatten();
            let class = requests.find_map(|request| class_of(request, &device.request));
            let class = class.and_then(|class| self.caches.devices.classes.find("", class));
            let own = class
                .iter()
                .flat_map(|class| class.object.spec.config.iter().flatten());
            config.extend(own.map(|of| {
                json!({"source": "FromClass", "requests": [device.request], "opaque": of.opaque})
            }));
        }
        let own = asked.and_then(|asked| asked.config.as_ref());
        config.extend(own.into_iter().flatten().map(|of| {
            let requests = of.requests.clone().unwrap_or_default();
            json!({"source": "FromClaim", "requests": requests, "opaque": of.opaque})
        }));
        config
    }

    pub(super) fn device_claim_changed(&self, change: &ClaimChange) {
        let (namespace, name) = (&change.key.namespace, &change.key.name);
        self.devices_changed(|state| {
            let before = state.snapshot.device_allocation(namespace, name);
            facts::take_claim(state.change(), change);
            let moved = before != state.snapshot.device_allocation(namespace, name);
            helps(change, moved)
        });
    }

    pub(super) fn device_template_changed(&self, change: &Change<TemplateObject>) {
        self.device_words_changed(|state| {
            facts::take_template(state.change(), change);
            false
        });
    }

    pub(super) fn device_class_changed(&self, change: &Change<ClassObject>) {
        self.device_words_changed(|state| {
            facts::take_device_class(state.change(), change);
            false
        });
    }

    pub(super) fn slice_changed(&self, change: &Change<SliceObject>) {
        self.device_words_changed(|state| {
            let (mut pools, mut moved) = (std::mem::take(&mut state.pools), false);
            for node in pools.take(state.change(), change) {
                let known = state.snapshot.node(&node).map(|node| node.facts.clone());
                let own = pools.of_node(&node);
                if let Some(mut facts) = known.filter(|known| known.pools != own) {
                    (facts.pools, moved) = (own, true);
                    state.change().set_node(facts);
                }
            }
            state.pools = pools;
            moved
        });
    }

    /// Nobody is woken unless something differs: by what `take` says of nodes, or else.
    fn device_words_changed(&self, take: impl FnOnce(&mut State) -> bool) {
        self.devices_changed(|state| {
            let before = state.snapshot.devices_epoch();
            let moved = take(state) || before != state.snapshot.devices_epoch();
            moved.then_some(Event::Devices)
        });
    }

    fn devices_changed(&self, take: impl FnOnce(&mut State) -> Option<Event<'static>>) {
        let woken = {
            let mut state = self.state.lock();
            let event = take(&mut state);
            event.is_some_and(|event| state.wake(event, Instant::now()))
        };
        if woken {
            self.wake.notify_one();
        }
    }
}

/// What a change of a claim is to pods that wait, if it can help any. That a claim has the devices it
/// was given here, and one pod more, helps none.
fn helps(change: &ClaimChange, moved: bool) -> Option<Event<'static>> {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        let is_new = change.new.is_some();
        return Some(if is_new {
            Event::DeviceClaim
        } else {
            Event::Devices
        });
    };
    let users = |claim: &ClaimObject| {
        let status = claim.object.status.as_ref();
        let users = status.and_then(|status| status.reserved_for.as_ref());
        users.map_or(0, Vec::len)
    };
    let helps = moved
        || users(old) > users(new)
        || old.object.spec != new.object.spec
        || old.meta().uid != new.meta().uid;
    helps.then_some(Event::Devices)
}

/// The class that an option of a request names.
fn class_of<'a>(request: &'a DeviceRequest, option: &str) -> Option<&'a str> {
    let (name, part) = match option.split_once('/') {
        Some((name, part)) => (name, Some(part)),
        None => (option, None),
    };
    if request.name != name {
        return None;
    }
    let Some(part) = part else {
        return request.exactly.as_ref().map(|of| &*of.device_class_name);
    };
    let mut options = request.first_available.iter().flatten();
    let option = options.find(|option| option.name == part);
    option.map(|option| &*option.device_class_name)
}

fn user(pod: &PodView) -> ResourceClaimConsumerReference {
    ResourceClaimConsumerReference {
        api_group: None,
        resource: "pods".to_owned(),
        name: pod.meta.name().to_owned(),
        uid: pod.meta.uid.to_string(),
    }
}

fn term(term: &NodeTerm) -> Value {
    let all = |requirements: &[Requirement]| -> Vec<Value> {
        let each = requirements.iter();
        each.map(|one| {
            let mut requirement = json!({"key": one.key, "operator": one.operator.text()});
            if let Some(map) = requirement
                .as_object_mut()
                .filter(|_| !one.values.is_empty())
            {
                map.insert("values".into(), json!(one.values));
            }
            requirement
        })
        .collect()
    };
    let mut written = json!({});
    if let Some(map) = written.as_object_mut() {
        if !term.labels.is_empty() {
            map.insert("matchExpressions".into(), Value::Array(all(&term.labels)));
        }
        if !term.fields.is_empty() {
            map.insert("matchFields".into(), Value::Array(all(&term.fields)));
        }
    }
    written
}
