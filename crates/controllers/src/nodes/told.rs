//! What people are told about growth: events and log lines. Their texts are those that people look
//! for (reference §8, §15).

use crate::pods::{Caches, PodView};
use crate::runtime::{Cached, EventKind, ObjectKey, Recorder, Reference};
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::nodegroup::ProviderError;
use plimsoll_engine::cluster::{GrowthPlan, PodVerdict, Resize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The same is not told of a pod again within this time.
const DEDUPE: SignedDuration = SignedDuration::from_mins(5);

/// Tells events under upstream's name.
#[derive(Debug)]
pub(super) struct Told {
    recorder: Recorder,
    caches: Caches,
    /// What events that concern no single object are about.
    status: Reference,
    /// What was said last of pods that nobody helps, and when.
    said: BTreeMap<ObjectKey, (String, Timestamp)>,
    repeats: bool,
}

impl Told {
    /// `repeats`: tell what was told a moment ago again.
    pub(super) fn new(
        recorder: &Recorder,
        caches: &Caches,
        status: Reference,
        repeats: bool,
    ) -> Self {
        Self {
            recorder: recorder.component("cluster-autoscaler"),
            caches: caches.clone(),
            status,
            said: BTreeMap::new(),
            repeats,
        }
    }

    /// Something went well that concerns no single node.
    pub(super) fn note(&self, reason: &str, message: String) {
        tracing::info!("{message}");
        self.recorder.normal(&self.status, reason, message);
    }

    /// Something went wrong that concerns no single node.
    pub(super) fn trouble(&self, reason: &str, message: String) {
        tracing::warn!("{message}");
        self.recorder.warning(&self.status, reason, message);
    }

    /// Something about an object of another kind.
    pub(super) fn say(&self, about: &Reference, kind: EventKind, reason: &str, message: &str) {
        self.recorder.event(about, kind, reason, message.to_owned());
    }

    /// A pod waits for the room of a request, for which alone nodes are added.
    pub(super) fn comes_for(&mut self, pod: &Arc<PodView>, request: &ObjectKey, now: Timestamp) {
        let message = format!(
            "Unschedulable pod didn't trigger scale-up, because it's consuming \
             ProvisioningRequest {request}"
        );
        self.tell_of(pod, message, now);
    }

    /// What was decided, in the lines that people look for in the log.
    pub(super) fn plan(plan: &GrowthPlan) {
        for step in &plan.trace {
            tracing::debug!("{step}");
        }
        for resize in &plan.resizes {
            let (group, count) = (&resize.group, resize.to.saturating_sub(resize.from));
            let option = plan.options.iter().find(|option| option.group == *group);
            if let Some(option) = option {
                tracing::info!("Best option to resize: {group}");
                if !option.note.is_empty() {
                    tracing::info!("{}", option.note);
                }
                tracing::info!("Estimated {} nodes needed in {group}", option.nodes);
            } else {
                tracing::info!("Splitting scale-up: {count} of the nodes go to {group}");
            }
        }
        if !plan.resizes.is_empty() {
            tracing::info!("Final scale-up plan: {}", listed(&plan.resizes));
        }
    }

    /// A group is about to be resized.
    pub(super) fn sets(&self, resize: &Resize) {
        let Resize {
            group,
            from,
            to,
            max,
        } = resize;
        tracing::info!("Scale-up: setting group {group} size to {to}");
        let message =
            format!("Scale-up: setting group {group} size to {to} instead of {from} (max: {max})");
        self.recorder.normal(&self.status, "ScaledUpGroup", message);
    }

    /// A group was resized.
    pub(super) fn set(&self, resize: &Resize) {
        let Resize {
            group,
            from,
            to,
            max,
        } = resize;
        self.note(
            "ScaledUpGroup",
            format!("Scale-up: group {group} size set to {to} instead of {from} (max: {max})"),
        );
    }

    /// A group could not be resized.
    pub(super) fn not_set(&self, group: &str, error: &ProviderError) {
        self.trouble(
            "FailedToScaleUpGroup",
            format!("Scale-up failed for group {group}: {error}"),
        );
    }

    /// Pods for which groups were resized.
    pub(super) fn triggered(&mut self, plan: &GrowthPlan, resizes: &[Resize]) {
        if resizes.is_empty() {
            return;
        }
        for (key, verdict) in &plan.pods {
            let PodVerdict::Triggered(groups) = verdict else {
                continue;
            };
            let mut own = resizes.to_vec();
            own.retain(|resize| groups.contains(&resize.group));
            if own.is_empty() {
                continue;
            }
            let message = format!("pod triggered scale-up: {}", listed(&own));
            if let Some(pod) = self.caches.pods.find(&key.namespace, &key.name) {
                self.said.remove(&pod.meta.key);
                let about = Reference::to("v1", "Pod", pod.meta());
                self.recorder.normal(&about, "TriggeredScaleUp", message);
            }
        }
    }

    /// Pods that no group helps. Parity: nothing is said in a look that resizes anything.
    pub(super) fn unhelped(&mut self, plan: &GrowthPlan, now: Timestamp) {
        self.said
            .retain(|_, (_, at)| now.duration_since(*at) < DEDUPE);
        if !plan.resizes.is_empty() {
            return;
        }
        for (key, verdict) in &plan.pods {
            let Some(message) = verdict.event_message() else {
                continue;
            };
            if let Some(pod) = self.caches.pods.find(&key.namespace, &key.name) {
                self.tell_of(&pod, message, now);
            }
        }
    }

    fn tell_of(&mut self, pod: &Arc<PodView>, message: String, now: Timestamp) {
        let key = &pod.meta.key;
        let known = self.said.get(key).is_some_and(|(said, _)| *said == message);
        if known && !self.repeats {
            return;
        }
        let about = Reference::to("v1", "Pod", pod.meta());
        self.recorder
            .normal(&about, "NotTriggerScaleUp", message.clone());
        self.said.insert(key.clone(), (message, now));
    }
}

/// `[{a 1->2 (max: 3)} {b 0->1 (max: 4)}]`, as Go prints a list.
fn listed(resizes: &[Resize]) -> String {
    let texts: Vec<String> = resizes.iter().map(ToString::to_string).collect();
    format!("[{}]", texts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resizes_are_listed_as_go_lists_them() {
        let resize = |group: &str| Resize {
            group: group.into(),
            from: 3,
            to: 5,
            max: 6,
        };
        assert_eq!(
            listed(&[resize("a"), resize("b")]),
            "[{a 3->5 (max: 6)} {b 3->5 (max: 6)}]"
        );
    }
}
