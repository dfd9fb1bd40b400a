//! Looks around an autoscaler, pass by pass, and tells what is new.

use super::{Finding, FindingKind, ceiling, foreign, requests, saturation, sharing, writers};
use crate::horizontal::key::ScalerKey;
use crate::horizontal::mapping::group_version;
use crate::horizontal::observe::{Seen, target_key};
use crate::horizontal::shell::{FIELD_MANAGER, Shell};
use crate::horizontal::view::Scaler;
use crate::pods::{PodView, template_value};
use crate::runtime::{ObjectKey, Owner};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use plimsoll_engine::horizontal::spec::TargetRef;
use plimsoll_engine::horizontal::{Decision, Observed, Step};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A finding that comes back within this time is not told again.
const QUIET: SignedDuration = SignedDuration::from_mins(10);

/// What is remembered of each autoscaler from pass to pass.
#[derive(Debug, Default)]
pub(in crate::horizontal) struct Lookout(Mutex<BTreeMap<ScalerKey, Watched>>);

#[derive(Debug, Default)]
struct Watched {
    /// The target's uid and its count after the last pass; another one was written by somebody
    /// else. Nothing after a write whose outcome is not known.
    expected: Option<(Arc<str>, i32)>,
    change: Option<writers::Change>,
    /// Since when it is at its maximum with more wanted.
    at_maximum: Option<Timestamp>,
    told: Vec<(FindingKind, String, Timestamp)>,
}

/// What a pass saw besides what it decided from.
#[derive(Debug, Clone, Copy)]
pub(in crate::horizontal) struct Around<'a> {
    pub(in crate::horizontal) observed: &'a Observed,
    pub(in crate::horizontal) pods: &'a [Arc<PodView>],
    pub(in crate::horizontal) decision: &'a Decision,
    /// Uid of the target; empty if it is not known.
    pub(in crate::horizontal) target_uid: &'a Arc<str>,
    /// Whether the count was written.
    pub(in crate::horizontal) wrote: bool,
}

impl Lookout {
    /// Forgets an autoscaler that is gone.
    pub(in crate::horizontal) fn forget(&self, key: &ScalerKey) {
        drop(self.0.lock().remove(key));
    }

    /// The count that is expected, where the one that is found at the same target is another.
    fn surprised_by(&self, key: &ScalerKey, uid: &str, found: i32) -> Option<i32> {
        let watched = self.0.lock();
        let (known, expected) = watched.get(key)?.expected.as_ref()?;
        (**known == *uid && *expected != found).then_some(*expected)
    }

    fn with<T>(&self, key: &ScalerKey, work: impl FnOnce(&mut Watched) -> T) -> T {
        let mut watched = self.0.lock();
        if let Some(known) = watched.get_mut(key) {
            return work(known);
        }
        work(watched.entry(key.clone()).or_default())
    }
}

impl Watched {
    /// Which of these are to be told now: those that are new or have been away for long.
    fn news(&mut self, found: &[Finding], now: Timestamp) -> Vec<Finding> {
        let mut news = Vec::new();
        for finding in found {
            let known = self
                .told
                .iter_mut()
                .find(|(kind, object, _)| *kind == finding.kind && *object == finding.object);
            if let Some((.., seen)) = known {
                *seen = now;
                continue;
            }
            self.told.push((finding.kind, finding.object.clone(), now));
            news.push(finding.clone());
        }
        self.told
            .retain(|(.., seen)| now.duration_since(*seen) < QUIET);
        news
    }
}

impl Shell {
    /// Notices a count that somebody else wrote, and asks the target who it was. To be called before
    /// the count is written, for that hides the author.
    pub(in crate::horizontal) async fn notice_change(&self, key: &ScalerKey, seen: &Seen) {
        let Ok(scale) = &seen.observed.scale else {
            return;
        };
        let Some(expected) = self
            .lookout
            .surprised_by(key, &seen.source.uid, scale.spec_replicas)
        else {
            return;
        };
        let target = &seen.observed.spec.scale_target_ref;
        let author = self.author(&key.object.namespace, target).await;
        let change = writers::Change {
            from: expected,
            to: scale.spec_replicas,
            at: seen.observed.now,
            author,
        };
        self.lookout.with(key, |known| known.change = Some(change));
    }

    async fn author(&self, namespace: &Arc<str>, target: &TargetRef) -> Option<writers::Author> {
        let (group, _) = group_version(&target.api_version).ok()?;
        let mapping = self.mapper.find(group, &target.kind).await.ok()?;
        let api = mapping.objects(self.writer.client(), namespace);
        let asked = api.get_metadata(&target.name);
        let asked = tokio::time::timeout(self.options.request_timeout, asked).await;
        let object = asked.ok()?.ok()?;
        writers::author(&object.metadata.managed_fields?, FIELD_MANAGER)
    }

    /// Everything that is wrong around an autoscaler after a pass; what is new is told as an event.
    pub(in crate::horizontal) fn look_around(
        &self,
        key: &ScalerKey,
        scaler: &Scaler,
        around: &Around<'_>,
    ) -> Vec<Finding> {
        let now = around.observed.now;
        let found = self.find_all(key, around);
        if found.is_empty() {
            self.lookout.with(key, |known| drop(known.news(&[], now)));
            return found;
        }
        let news = self.lookout.with(key, |known| known.news(&found, now));
        for finding in news {
            let about = scaler.reference();
            self.recorder
                .warning(&about, finding.kind.reason(), finding.text());
        }
        found
    }

    fn find_all(&self, key: &ScalerKey, around: &Around<'_>) -> Vec<Finding> {
        let Around {
            observed,
            pods,
            decision,
            ..
        } = around;
        let target = &observed.spec.scale_target_ref;
        let named = format!("{} {}", target.kind, target.name);
        let object = ObjectKey {
            namespace: Arc::clone(&key.object.namespace),
            name: (&*target.name).into(),
        };
        let scalers = self.registry.scalers_of(&target_key(&target.kind, object));
        let mut found = Vec::new();
        found.extend(self.verticals.conflict(observed, &key.object.namespace));
        found.extend(sharing::shared(&named, key, &scalers));
        found.extend(foreign::foreign(target, pods, &|owner| {
            self.owner_of(key, owner)
        }));
        found.extend(self.remembered(key, &named, around));
        found.extend(self.by_metric(key, observed, &decision.trace));
        found
    }

    /// What only shows over several passes.
    fn remembered(&self, key: &ScalerKey, target: &str, around: &Around<'_>) -> Vec<Finding> {
        let (now, decision) = (around.observed.now, around.decision);
        let max = around.observed.spec.max_replicas;
        // Where a schedule bounds it, that is what is meant.
        let scheduled =
            |step: &Step| matches!(step, Step::Found { max: bound, .. } if *bound != max);
        let wanted = ceiling::wanted_beyond(&decision.trace)
            .filter(|_| !decision.trace.iter().any(scheduled));
        self.lookout.with(key, |known| {
            let found = around.observed.scale.as_ref().ok();
            let count = match decision.write {
                Some(written) => around.wrote.then_some(written),
                None => found.map(|scale| scale.spec_replicas),
            };
            known.expected = count.map(|count| (Arc::clone(around.target_uid), count));
            let mut found = Vec::new();
            let change = known.change.as_ref();
            let writer = change.and_then(|change| writers::other_writer(target, change, now));
            if writer.is_none() {
                known.change = None;
            }
            found.extend(writer);
            let since = wanted.map(|_| known.at_maximum.unwrap_or(now));
            known.at_maximum = since;
            if let (Some(wanted), Some(since)) = (wanted, since) {
                found.extend(ceiling::stuck(target, max, wanted, (since, now)));
            }
            found
        })
    }

    /// What the steps of single metrics hint at.
    fn by_metric(&self, key: &ScalerKey, observed: &Observed, trace: &[Step]) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut metric = 0;
        for step in trace {
            if let Step::Metric { index, .. } = step {
                metric = *index;
            }
            if matches!(step, Step::Measured { ratio, .. } if *ratio > 1.0) {
                found.extend(saturation::saturated(observed, metric));
            }
            if matches!(step, Step::Failed { .. }) {
                let template = || self.template_of(key, &observed.spec.scale_target_ref);
                found.extend(requests::missing_request(observed, metric, template));
            }
        }
        found
    }

    fn owner_of(&self, key: &ScalerKey, owner: &Owner) -> foreign::Known {
        let name = ObjectKey {
            namespace: Arc::clone(&key.object.namespace),
            name: Arc::clone(&owner.name),
        };
        match self.caches.replica_sets.get(&name) {
            None => foreign::Known::Nothing,
            Some(set) => match set.meta.controller() {
                None => foreign::Known::Free,
                Some(above) => foreign::Known::Owned(above.clone()),
            },
        }
    }

    /// The containers in a Deployment's or ReplicaSet's own template.
    fn template_of(&self, key: &ScalerKey, target: &TargetRef) -> requests::InTemplate {
        let name = ObjectKey {
            namespace: Arc::clone(&key.object.namespace),
            name: (&*target.name).into(),
        };
        let template = match target.kind.as_str() {
            "Deployment" => self
                .caches
                .deployments
                .get(&name)
                .map(|found| template_value(&found.template)),
            "ReplicaSet" => self
                .caches
                .replica_sets
                .get(&name)
                .map(|found| template_value(&found.template)),
            _ => None,
        };
        let template = template.unwrap_or_default();
        let lists = ["/spec/containers", "/spec/initContainers"];
        let containers = lists
            .iter()
            .filter_map(|list| template.pointer(list)?.as_array());
        containers
            .flatten()
            .filter_map(|container| container.get("name").and_then(Value::as_str))
            .map(str::to_owned)
            .collect()
    }
}
