//! Rolls Deployments out: one ReplicaSet per pod template, sizes moved between them step by step.
//!
//! ```text
//! observe (owned sets, new = same template) ─> paused / scaled / recreate / rolling ─> status
//! ```
//! Numbers come from the pure functions of `rolling`; every own write is in the cache before the
//! next step reads.

mod annotations;
pub(crate) mod rolling;
mod rollout;
mod status;
mod template;

use crate::pods::{DeploymentView, ReplicaSetView, Strategy, template_value};
use crate::runtime::{
    Action, Change, ObjectKey, Owner, Queue, Reconcile, Recorder, Reference, WriteError, run,
};
use crate::supervisor::Context;
use jiff::Timestamp;
use serde_json::json;
use status::{Conditions, PROGRESSING, Sets};
use std::sync::Arc;
use std::time::Duration;

const API_VERSION: &str = "apps/v1";
const KIND: &str = "Deployment";

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    watch(&context, &queue);
    context.caches.deployments.ready().await;
    context.caches.replica_sets.ready().await;
    context.caches.pods.ready().await;
    let recorder = context.recorder.component("deployment-controller");
    match run(Arc::new(Deployments { context, recorder }), queue).await {}
}

fn watch(context: &Context, queue: &Queue<ObjectKey>) {
    let add = queue.clone();
    context
        .caches
        .deployments
        .on_change(move |change| add.add(change.key.clone()));
    let (add, caches) = (queue.clone(), context.caches.clone());
    context
        .caches
        .replica_sets
        .on_change(move |change: &Change<ReplicaSetView>| {
            let sides = [change.old.as_ref(), change.new.as_ref()];
            for set in sides.into_iter().flatten() {
                let namespace = &set.meta.key.namespace;
                match set.meta.controller() {
                    Some(owner) if &*owner.kind == KIND => {
                        let (namespace, name) = (Arc::clone(namespace), Arc::clone(&owner.name));
                        add.add(ObjectKey { namespace, name });
                    }
                    Some(_) => {}
                    // An orphan: whoever selects it may adopt it. Orphans are rare.
                    None => {
                        let mut adopters = caches.deployments.list(Some(namespace));
                        adopters.retain(|deployment| {
                            let selector = deployment.selector.as_ref();
                            selector.is_some_and(|s| s.matches(&set.meta.labels))
                        });
                        let keys = adopters.iter().map(|deployment| &deployment.meta.key);
                        add.add_all(keys.map(|key| (key.clone(), Duration::ZERO)));
                    }
                }
            }
        });
}

/// Why a Deployment could not be brought on.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// A write failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A ReplicaSet of the hashed name exists with another template; the hash changes now.
    #[error("replica set {0} exists with another template")]
    Collision(String),
}

struct Deployments {
    context: Context,
    recorder: Recorder,
}

impl Reconcile for Deployments {
    type Key = ObjectKey;
    type Error = DeploymentError;

    fn name(&self) -> &'static str {
        "deployment"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, DeploymentError> {
        let Some(deployment) = self.context.caches.deployments.get(key) else {
            return Ok(Action::Wait);
        };
        if deployment.selector.is_none() {
            return Ok(Action::Wait);
        }
        let now = self.context.clock.now();
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let mut conditions = Conditions::new(&deployment.status.conditions, now);
        if deployment.meta.is_deleting() {
            let sets = self.sets(&deployment);
            let next = (status::figures(&deployment, &sets, conditions), None);
            return self.write_status(&deployment, next).await;
        }
        self.claim(&deployment).await?;
        note_pause(&deployment, &mut conditions);
        if deployment.paused || self.is_scaled(&deployment) {
            self.scale(&deployment).await?;
            let sets = self.sets(&deployment);
            let next = (status::figures(&deployment, &sets, conditions), None);
            return self.write_status(&deployment, next).await;
        }
        let deployment = match &deployment.strategy {
            Strategy::Recreate => self.recreate(deployment, &mut conditions).await,
            Strategy::RollingUpdate(_) => self.roll(deployment, &mut conditions).await,
        }?;
        let sets = self.sets(&deployment);
        let (status, next) = status::rollout(&deployment, &sets, conditions);
        if status::is_complete(&deployment, &status) {
            self.clean_up(&deployment, &sets).await?;
        }
        self.write_status(&deployment, (status, next)).await
    }
}

/// A rollout's clock stands still while it is paused.
fn note_pause(deployment: &DeploymentView, conditions: &mut Conditions) {
    if status::deadline(deployment).is_none() {
        return;
    }
    let reason = conditions
        .get(PROGRESSING)
        .map(|condition| condition.reason.as_str());
    let was_paused = reason == Some("DeploymentPaused");
    if reason == Some("ProgressDeadlineExceeded") {
        return;
    }
    if deployment.paused && !was_paused {
        let message = "Deployment is paused".into();
        conditions.set(PROGRESSING, "Unknown", "DeploymentPaused", message);
    } else if !deployment.paused && was_paused {
        let message = "Deployment is resumed".into();
        conditions.set(PROGRESSING, "Unknown", "DeploymentResumed", message);
    }
}

impl Deployments {
    /// The owned ReplicaSets: the one with the Deployment's template, and the others.
    fn sets(&self, deployment: &DeploymentView) -> Sets {
        let mut owned = self
            .context
            .caches
            .replica_sets_by_controller
            .get(&deployment.meta.uid);
        owned.sort_by(|a, b| (a.meta.created, a.meta.name()).cmp(&(b.meta.created, b.meta.name())));
        let wanted = template::normal(template_value(&deployment.template));
        let is_new =
            |set: &Arc<ReplicaSetView>| template::normal(template_value(&set.template)) == wanted;
        let new = owned
            .iter()
            .position(is_new)
            .map(|position| owned.remove(position));
        Sets { new, old: owned }
    }

    /// Adopts matching orphans and releases own sets that match no more.
    async fn claim(&self, deployment: &DeploymentView) -> Result<(), WriteError> {
        let Some(selector) = &deployment.selector else {
            return Ok(());
        };
        let (caches, writer) = (&self.context.caches, &self.context.writer);
        let sets = &caches.replica_sets;
        for set in caches.replica_sets_by_controller.get(&deployment.meta.uid) {
            if !selector.matches(&set.meta.labels) {
                let mut owners = set.meta.owners.to_vec();
                owners.retain(|owner| owner.uid != deployment.meta.uid);
                writer.set_owners(sets, &set.meta, &owners).await?;
            }
        }
        for set in caches.select_replica_sets(deployment.meta.namespace(), selector) {
            if set.meta.controller().is_none() && !set.meta.is_deleting() {
                let mut owners = set.meta.owners.to_vec();
                owners.retain(|owner| owner.uid != deployment.meta.uid);
                owners.push(owner(deployment));
                writer.set_owners(sets, &set.meta, &owners).await?;
            }
        }
        Ok(())
    }

    async fn write_status(
        &self,
        deployment: &DeploymentView,
        (status, next): (crate::pods::DeploymentStatus, Option<Duration>),
    ) -> Result<Action, DeploymentError> {
        if status != deployment.status {
            let patch = json!({"metadata": {"uid": *deployment.meta.uid}, "status": status});
            let (writer, cache) = (&self.context.writer, &self.context.caches.deployments);
            let key = &deployment.meta.key;
            match writer.patch_subresource(cache, key, "status", &patch).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(next.map_or(Action::Wait, Action::Requeue))
    }
}

fn owner(deployment: &DeploymentView) -> Owner {
    Owner {
        api_version: API_VERSION.into(),
        kind: KIND.into(),
        name: Arc::clone(&deployment.meta.key.name),
        uid: Arc::clone(&deployment.meta.uid),
        controller: true,
        block_owner_deletion: true,
    }
}

fn reference(deployment: &DeploymentView) -> Reference {
    Reference::to(API_VERSION, KIND, &deployment.meta)
}
