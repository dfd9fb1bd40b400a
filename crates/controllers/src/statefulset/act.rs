//! Carries a plan out.

use super::observe::Seen;
use super::plan::{Act, Because, Step, Template, plan};
use super::pod::{claim_body, claim_name, claim_owners, identity, pod_body};
use super::{Known, StatefulSetError, StatefulSets, reference};
use crate::pods::{PodView, StatefulSetView};
use crate::runtime::{Cached, Deletion, WriteError};
use futures::future::join_all;
use serde_json::json;

impl StatefulSets {
    /// Does what the plan says, in its order, up to the first failure.
    pub(super) async fn bring_on(
        &self,
        set: &StatefulSetView,
        revisions: &Known,
    ) -> Result<(), StatefulSetError> {
        let seen = self.observe(set, revisions);
        let mut acts = Vec::new();
        for step in plan(&seen.facts) {
            tracing::debug!(set = %set.meta.key, %step, "stateful set");
            if let Step::Do(ordinal, act) = step {
                acts.push((ordinal, act));
            }
        }
        // Neighbours of one kind go together; what is in order has none.
        let alike = |a: &(i32, Act), b: &(i32, Act)| {
            matches!(
                (a.1, b.1),
                (Act::Create(_), Act::Create(_)) | (Act::Delete(_), Act::Delete(_))
            )
        };
        let work = Work {
            controller: self,
            set,
            seen: &seen,
            revisions,
        };
        for group in acts.chunk_by(alike) {
            work.group(group).await?;
        }
        Ok(())
    }
}

/// What is done to a pod, for events.
#[derive(Clone, Copy)]
enum Verb {
    Create,
    Update,
    Delete,
}

impl Verb {
    /// The verb, and the reasons of the events about a success and a failure.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Create => ("create", "SuccessfulCreate", "FailedCreate"),
            Self::Update => ("update", "SuccessfulUpdate", "FailedUpdate"),
            Self::Delete => ("delete", "SuccessfulDelete", "FailedDelete"),
        }
    }
}

/// What an action needs.
struct Work<'a> {
    controller: &'a StatefulSets,
    set: &'a StatefulSetView,
    seen: &'a Seen,
    revisions: &'a Known,
}

impl Work<'_> {
    /// Does alike actions at once, in batches of 1, 2, 4, …, so that what cannot be done costs one
    /// refused request and not hundreds.
    async fn group(&self, acts: &[(i32, Act)]) -> Result<(), StatefulSetError> {
        let (mut rest, mut size) = (acts, 1);
        while !rest.is_empty() {
            let (batch, left) = rest.split_at(size.min(rest.len()));
            let done = batch.iter().map(|(ordinal, act)| self.act(*ordinal, *act));
            for outcome in join_all(done).await {
                outcome?;
            }
            (rest, size) = (left, size * 2);
        }
        Ok(())
    }

    async fn act(&self, ordinal: i32, act: Act) -> Result<(), StatefulSetError> {
        match (act, self.seen.pods.get(&ordinal)) {
            (Act::Create(template), _) => self.create(ordinal, template).await,
            (Act::MakeClaims, _) => {
                let outcome = self.make_claims(ordinal).await;
                if let Err(error) = &outcome {
                    self.tell(Verb::Update, ordinal, Some(error));
                }
                outcome
            }
            (Act::Delete(because), Some(pod)) => {
                self.say_why(pod.meta.name(), because);
                let outcome = self.delete(pod).await;
                self.tell(Verb::Delete, ordinal, outcome.as_ref().err());
                outcome
            }
            (Act::Identify, Some(pod)) => {
                let outcome = self.identify(ordinal, pod).await;
                self.tell(Verb::Update, ordinal, outcome.as_ref().err());
                outcome
            }
            (Act::OwnClaims, Some(pod)) => {
                let outcome = self.own_claims(ordinal, pod).await;
                if let Err(error) = &outcome {
                    self.tell(Verb::Update, ordinal, Some(error));
                }
                outcome
            }
            (Act::Delete(_) | Act::Identify | Act::OwnClaims, None) => Ok(()),
        }
    }

    async fn create(&self, ordinal: i32, template: Template) -> Result<(), StatefulSetError> {
        if let Err(error) = self.make_claims(ordinal).await {
            self.tell(Verb::Create, ordinal, Some(&error));
            return Err(error);
        }
        let revision = match template {
            Template::Current => &self.revisions.current,
            Template::Update => &self.revisions.update,
        };
        let template = revision.recorded.pod_template();
        let body = pod_body(self.set, ordinal, template, revision.meta.name());
        let context = &self.controller.context;
        let (writer, cache) = (&context.writer, &context.caches.pods);
        let created = writer.create(cache, self.set.meta.namespace(), &body).await;
        let taken = created
            .as_ref()
            .err()
            .is_some_and(WriteError::is_already_exists);
        let outcome = created.map_err(StatefulSetError::from);
        // Somebody else's pod of that name may go one day; no news until then.
        if !taken {
            self.tell(Verb::Create, ordinal, outcome.as_ref().err());
        }
        let pod = outcome?;
        self.own_claims(ordinal, &pod).await
    }

    /// Creates the claims that a pod lacks.
    async fn make_claims(&self, ordinal: i32) -> Result<(), StatefulSetError> {
        let context = &self.controller.context;
        let (writer, cache) = (&context.writer, &context.caches.claims);
        let namespace = self.set.meta.namespace();
        for template in &self.seen.claim_templates {
            let name = claim_name(template, self.set, ordinal);
            if let Some(claim) = cache.find(namespace, &name) {
                if claim.meta.is_deleting() {
                    return Err(StatefulSetError::ClaimEnds(name));
                }
                continue;
            }
            let body = claim_body(self.set, ordinal, template);
            match writer.create(cache, namespace, &body).await {
                Err(error) if error.is_already_exists() => {}
                Err(source) => {
                    let message = source.message();
                    self.tell_of_claim(ordinal, &name, Some(&message));
                    return Err(StatefulSetError::Claim { name, source });
                }
                Ok(_) => self.tell_of_claim(ordinal, &name, None),
            }
        }
        Ok(())
    }

    /// Tells why a pod is made anew.
    fn say_why(&self, pod: &str, because: Because) {
        let (about, recorder) = (reference(self.set), &self.controller.recorder);
        let meta = &self.set.meta;
        let set = format!("StatefulSet {}/{}", meta.namespace(), meta.name());
        match because {
            Because::Failed => {
                let message = format!("{set} is recreating failed Pod {pod}");
                recorder.warning(&about, "RecreatingFailedPod", message);
            }
            Because::Succeeded => {
                let message = format!("{set} is recreating terminated Pod {pod}");
                recorder.normal(&about, "RecreatingTerminatedPod", message);
            }
            Because::Surplus | Because::Outdated => {}
        }
    }

    async fn delete(&self, pod: &PodView) -> Result<(), StatefulSetError> {
        let controller = self.controller;
        controller.doomed.add(&pod.meta.uid);
        let deletion = Deletion::of(&pod.meta.uid);
        let writer = &controller.context.writer;
        let deleted = writer
            .delete::<<PodView as Cached>::Wire>(&pod.meta.key, &deletion)
            .await;
        if deleted.is_err() {
            controller.doomed.spare(&pod.meta.uid);
        }
        Ok(deleted?)
    }

    /// Puts the labels on a pod that say which one it is.
    async fn identify(&self, ordinal: i32, pod: &PodView) -> Result<(), StatefulSetError> {
        let labels: serde_json::Map<_, _> = identity(pod.meta.name(), ordinal)
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        let patch = json!({"metadata": {"uid": *pod.meta.uid, "labels": labels}});
        let context = &self.controller.context;
        let key = &pod.meta.key;
        let patched = context.writer.patch(&context.caches.pods, key, &patch);
        patched.await?;
        Ok(())
    }

    /// Gives a pod's claims the owners that the retention policy says.
    async fn own_claims(&self, ordinal: i32, pod: &PodView) -> Result<(), StatefulSetError> {
        let context = &self.controller.context;
        let wanted = self.seen.facts.wants(ordinal);
        let cache = &context.caches.claims;
        for template in &self.seen.claim_templates {
            let name = claim_name(template, self.set, ordinal);
            let Some(claim) = cache.find(self.set.meta.namespace(), &name) else {
                continue;
            };
            let owners = claim_owners(&claim.meta, self.set, &pod.meta, wanted);
            if *owners != *claim.meta.owners {
                let written = context.writer.set_owners(cache, &claim.meta, &owners);
                written.await?;
            }
        }
        Ok(())
    }

    /// Tells what became of a pod.
    fn tell(&self, verb: Verb, ordinal: i32, failure: Option<&StatefulSetError>) {
        let (about, recorder) = (reference(self.set), &self.controller.recorder);
        let (pod, set) = (self.set.pod_name(ordinal), self.set.meta.name());
        let (verb, succeeded, failed) = verb.words();
        let what = format!("{verb} Pod {pod} in StatefulSet {set}");
        match failure {
            None => recorder.normal(&about, succeeded, format!("{what} successful")),
            Some(error) if error.is_futile() => {}
            Some(error) => {
                let message = format!("{what} failed error: {}", error.message());
                recorder.warning(&about, failed, message);
            }
        }
    }

    fn tell_of_claim(&self, ordinal: i32, claim: &str, failure: Option<&str>) {
        let (about, recorder) = (reference(self.set), &self.controller.recorder);
        let (pod, set) = (self.set.pod_name(ordinal), self.set.meta.name());
        match failure {
            None => {
                let message =
                    format!("create Claim {claim} Pod {pod} in StatefulSet {set} success");
                recorder.normal(&about, "SuccessfulCreate", message);
            }
            Some(error) => {
                let of = format!("create Claim {claim} for Pod {pod} in StatefulSet {set}");
                let message = format!("{of} failed error: {error}");
                recorder.warning(&about, "FailedCreate", message);
            }
        }
    }
}
