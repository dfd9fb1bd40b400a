//! The steps of a rollout, with their writes.

use super::annotations::{DESIRED, MAX, REVISION, changes, next_revision, number, revision};
use super::rolling::{Bounds, Share, Size, new_size, scale_in_proportion, shrink_old};
use super::status::{Conditions, PROGRESSING, Sets, deadline};
use super::template::{HASH_LABEL, hash, normal};
use super::{DeploymentError, Deployments, owner, reference};
use crate::pods::{DeploymentView, ReplicaSetView, Strategy, template_value};
use crate::runtime::{Cached, Deletion, ObjectKey, WriteError};
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::sync::Arc;

/// Upstream's words for the event and the message.
fn scaled(name: &str, from: i32, to: i32) -> String {
    let direction = if to > from { "up" } else { "down" };
    format!("Scaled {direction} replica set {name} from {from} to {to}")
}

fn size(set: &ReplicaSetView) -> Size {
    Size {
        spec: set.replicas,
        available: set.status.available_replicas,
    }
}

impl Deployments {
    /// Moves pods from the old sets to the new one within the bounds.
    pub(super) async fn roll(
        &self,
        deployment: Arc<DeploymentView>,
        conditions: &mut Conditions,
    ) -> Result<Arc<DeploymentView>, DeploymentError> {
        let (deployment, new) = self.ensure_new(deployment, conditions).await?;
        let bounds = Bounds::of(&deployment.strategy, deployment.replicas);
        let total = self.sets(&deployment).total_spec();
        let wanted = new_size(&deployment.strategy, bounds, total, new.replicas);
        let new = self.resize(&deployment, new, wanted).await?;
        let old = self.sets(&deployment).old;
        let sizes: Vec<Size> = old.iter().map(|set| size(set)).collect();
        for (set, wanted) in old.into_iter().zip(shrink_old(bounds, &sizes, size(&new))) {
            if set.replicas != wanted {
                self.resize(&deployment, set, wanted).await?;
            }
        }
        Ok(deployment)
    }

    /// Empties the old sets, waits until their pods are gone, then fills the new one.
    pub(super) async fn recreate(
        &self,
        deployment: Arc<DeploymentView>,
        conditions: &mut Conditions,
    ) -> Result<Arc<DeploymentView>, DeploymentError> {
        let old = self.sets(&deployment).old;
        let mut shrunk = false;
        for set in old.iter().filter(|set| set.replicas > 0) {
            self.resize(&deployment, Arc::clone(set), 0).await?;
            shrunk = true;
        }
        let pods = &self.context.caches.pods_by_controller;
        let runs = |set: &Arc<ReplicaSetView>| {
            pods.get(&set.meta.uid)
                .iter()
                .any(|pod| !pod.phase.is_terminal())
        };
        // The old sets' statuses count terminating pods, so their end brings us back here.
        if shrunk || old.iter().any(runs) {
            return Ok(deployment);
        }
        let (deployment, new) = self.ensure_new(deployment, conditions).await?;
        let wanted = deployment.replicas;
        self.resize(&deployment, new, wanted).await?;
        Ok(deployment)
    }

    /// Whether `spec.replicas` changed since the sets were scaled last.
    pub(super) fn is_scaled(&self, deployment: &DeploymentView) -> bool {
        self.sets(deployment)
            .all()
            .filter(|set| set.replicas > 0)
            .any(|set| {
                number::<i32>(&set.meta, DESIRED)
                    .is_some_and(|desired| desired != deployment.replicas)
            })
    }

    /// Applies a change of `spec.replicas` to the sets there are.
    pub(super) async fn scale(&self, deployment: &DeploymentView) -> Result<(), DeploymentError> {
        let sets = self.sets(deployment);
        let mut active: Vec<_> = sets.all().filter(|set| set.replicas > 0).cloned().collect();
        if active.len() <= 1 {
            let only = active
                .pop()
                .or_else(|| sets.new.clone())
                .or_else(|| sets.old.last().cloned());
            if let Some(set) = only {
                self.resize(deployment, set, deployment.replicas).await?;
            }
            return Ok(());
        }
        let saturated = sets.new.as_ref().is_some_and(|new| {
            new.replicas == deployment.replicas
                && number(&new.meta, DESIRED) == Some(deployment.replicas)
                && new.status.available_replicas == deployment.replicas
        });
        if saturated {
            for set in sets.old.iter().filter(|set| set.replicas > 0) {
                self.resize(deployment, Arc::clone(set), 0).await?;
            }
            return Ok(());
        }
        if matches!(deployment.strategy, Strategy::RollingUpdate(_)) {
            self.scale_all(deployment, active).await?;
        }
        Ok(())
    }

    async fn scale_all(
        &self,
        deployment: &DeploymentView,
        mut active: Vec<Arc<ReplicaSetView>>,
    ) -> Result<(), DeploymentError> {
        let bounds = Bounds::of(&deployment.strategy, deployment.replicas);
        let total = active
            .iter()
            .fold(0_i32, |sum, set| sum.saturating_add(set.replicas));
        // `active` is oldest first and the sort is stable.
        if total < bounds.max_total() {
            active.reverse();
        }
        active.sort_by_key(|set| Reverse(set.replicas));
        let share = |set: &Arc<ReplicaSetView>| Share {
            spec: set.replicas,
            max_before: number(&set.meta, MAX)
                .filter(|max| *max > 0)
                .unwrap_or(deployment.status.replicas),
        };
        let shares: Vec<Share> = active.iter().map(share).collect();
        for (set, wanted) in active.into_iter().zip(scale_in_proportion(bounds, &shares)) {
            self.resize(deployment, set, wanted).await?;
        }
        Ok(())
    }

    /// Sets a ReplicaSet's size and notes what it was sized for.
    async fn resize(
        &self,
        deployment: &DeploymentView,
        set: Arc<ReplicaSetView>,
        wanted: i32,
    ) -> Result<Arc<ReplicaSetView>, WriteError> {
        let bounds = Bounds::of(&deployment.strategy, deployment.replicas);
        let noted = number(&set.meta, DESIRED) == Some(bounds.desired)
            && number(&set.meta, MAX) == Some(bounds.max_total());
        if set.replicas == wanted && noted {
            return Ok(set);
        }
        let patch = json!({
            "metadata": {"uid": *set.meta.uid, "annotations": sized_for(bounds)},
            "spec": {"replicas": wanted},
        });
        let cache = &self.context.caches.replica_sets;
        let new = self
            .context
            .writer
            .patch(cache, &set.meta.key, &patch)
            .await?;
        if set.replicas != wanted {
            let message = scaled(set.meta.name(), set.replicas, wanted);
            self.recorder
                .normal(&reference(deployment), "ScalingReplicaSet", message);
        }
        Ok(new)
    }

    /// The set of the Deployment's template, created if it is missing, with the right annotations.
    async fn ensure_new(
        &self,
        deployment: Arc<DeploymentView>,
        conditions: &mut Conditions,
    ) -> Result<(Arc<DeploymentView>, Arc<ReplicaSetView>), DeploymentError> {
        let sets = self.sets(&deployment);
        let next = next_revision(sets.old.iter().map(|set| &**set));
        let timed = deadline(&deployment).is_some();
        let set = if let Some(set) = &sets.new {
            if timed && conditions.get(PROGRESSING).is_none() {
                let message = format!("Found new replica set {:?}", set.meta.name());
                conditions.set(PROGRESSING, "True", "FoundNewReplicaSet", message);
            }
            self.annotate(&deployment, set, next).await?
        } else {
            let set = self.create(&deployment, &sets, next, conditions).await?;
            if timed {
                let message = format!("Created new replica set {:?}", set.meta.name());
                conditions.set(PROGRESSING, "True", "NewReplicaSetCreated", message);
            }
            set
        };
        let revision = revision(&set.meta).to_string();
        if deployment.meta.annotation(REVISION) == Some(&revision) {
            return Ok((deployment, set));
        }
        let annotations = json!({(REVISION): revision});
        let patch = json!({"metadata": {"uid": *deployment.meta.uid, "annotations": annotations}});
        let cache = &self.context.caches.deployments;
        // Through the status, where a changed annotation is not a new generation.
        let deployment = self
            .context
            .writer
            .patch_subresource(cache, &deployment.meta.key, "status", &patch)
            .await?;
        Ok((deployment, set))
    }

    async fn annotate(
        &self,
        deployment: &DeploymentView,
        set: &Arc<ReplicaSetView>,
        next: i64,
    ) -> Result<Arc<ReplicaSetView>, WriteError> {
        let changes = changes(deployment, Some(set), next);
        if changes.is_empty() && set.min_ready_seconds == deployment.min_ready_seconds {
            return Ok(Arc::clone(set));
        }
        let patch = json!({
            "metadata": {"uid": *set.meta.uid, "annotations": changes},
            "spec": {"minReadySeconds": deployment.min_ready_seconds},
        });
        self.context
            .writer
            .patch(&self.context.caches.replica_sets, &set.meta.key, &patch)
            .await
    }

    async fn create(
        &self,
        deployment: &DeploymentView,
        sets: &Sets,
        next: i64,
        conditions: &mut Conditions,
    ) -> Result<Arc<ReplicaSetView>, DeploymentError> {
        let bounds = Bounds::of(&deployment.strategy, deployment.replicas);
        let replicas = new_size(&deployment.strategy, bounds, sets.total_spec(), 0);
        let (name, body) = body(deployment, replicas, next);
        let cache = &self.context.caches.replica_sets;
        match self
            .context
            .writer
            .create(cache, deployment.meta.namespace(), &body)
            .await
        {
            Ok(set) => {
                if replicas > 0 {
                    let message = scaled(&name, 0, replicas);
                    self.recorder
                        .normal(&reference(deployment), "ScalingReplicaSet", message);
                }
                Ok(set)
            }
            Err(error) if error.is_already_exists() => {
                self.resolve_collision(deployment, name).await
            }
            Err(error) => {
                let message = format!(
                    "Failed to create new replica set {name:?}: {}",
                    error.message()
                );
                self.recorder.warning(
                    &reference(deployment),
                    "ReplicaSetCreateError",
                    message.clone(),
                );
                if deadline(deployment).is_some() {
                    conditions.set(PROGRESSING, "False", "ReplicaSetCreateError", message);
                }
                Err(error.into())
            }
        }
    }

    /// A set of this name that is ours will show up in the cache; any other makes the hash move on.
    async fn resolve_collision(
        &self,
        deployment: &DeploymentView,
        name: String,
    ) -> Result<Arc<ReplicaSetView>, DeploymentError> {
        let key = ObjectKey::new(deployment.meta.namespace(), &name);
        let caches = &self.context.caches;
        let foreign = caches.replica_sets.get(&key).is_some_and(|set| {
            set.meta
                .controller()
                .is_none_or(|owner| owner.uid != deployment.meta.uid)
                || normal(template_value(&set.template))
                    != normal(template_value(&deployment.template))
        });
        if foreign {
            let count = deployment
                .status
                .collision_count
                .unwrap_or_default()
                .saturating_add(1);
            let patch = json!({"status": {"collisionCount": count}});
            let writer = &self.context.writer;
            let key = &deployment.meta.key;
            writer
                .patch_subresource(&caches.deployments, key, "status", &patch)
                .await?;
        }
        Err(DeploymentError::Collision(name))
    }

    /// Deletes the oldest empty sets beyond `revisionHistoryLimit`.
    pub(super) async fn clean_up(
        &self,
        deployment: &DeploymentView,
        sets: &Sets,
    ) -> Result<(), WriteError> {
        let limit = usize::try_from(deployment.revision_history_limit).unwrap_or_default();
        let mut old: Vec<_> = sets
            .old
            .iter()
            .filter(|set| !set.meta.is_deleting())
            .collect();
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|set| revision(&set.meta));
        for set in old.into_iter().take(surplus) {
            let settled = set.meta.generation <= set.status.observed_generation;
            if set.replicas == 0 && set.status.replicas == 0 && settled {
                let deletion = Deletion::of(&set.meta.uid);
                let writer = &self.context.writer;
                writer
                    .delete::<<ReplicaSetView as Cached>::Wire>(&set.meta.key, &deletion)
                    .await?;
            }
        }
        Ok(())
    }
}

fn sized_for(bounds: Bounds) -> Value {
    json!({(DESIRED): bounds.desired.to_string(), (MAX): bounds.max_total().to_string()})
}

/// A new ReplicaSet: its name and itself.
fn body(deployment: &DeploymentView, replicas: i32, revision: i64) -> (String, Value) {
    let mut template = template_value(&deployment.template);
    let hash = hash(&normal(template.clone()), deployment.status.collision_count);
    let name = format!("{}-{hash}", deployment.meta.name());
    let map = plimsoll_api::meta::object_mut;
    let labels = map(&mut template, &["metadata", "labels"]);
    labels.insert(HASH_LABEL.into(), hash.as_str().into());
    let labels = labels.clone();
    let mut selector = deployment.selector_text.clone();
    map(&mut selector, &["matchLabels"]).insert(HASH_LABEL.into(), hash.into());
    let mut annotations: Map<String, Value> = changes(deployment, None, revision);
    let bounds = Bounds::of(&deployment.strategy, deployment.replicas);
    annotations.insert(DESIRED.into(), bounds.desired.to_string().into());
    annotations.insert(MAX.into(), bounds.max_total().to_string().into());
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": deployment.meta.namespace(), "labels": labels,
            "annotations": annotations, "ownerReferences": [owner(deployment).to_reference()],
        },
        "spec": {
            "replicas": replicas, "minReadySeconds": deployment.min_ready_seconds,
            "selector": selector, "template": template,
        },
    });
    (name, set)
}
