//! Which autoscaler selects which pods, and which one scales which target.

use super::key::ScalerKey;
use crate::pods::{PodView, Selector, SelectorError};
use crate::runtime::ObjectKey;
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A scaled object: kind, namespace, name.
pub(super) type TargetKey = (Arc<str>, ObjectKey);

/// Selectors and targets of the autoscalers that have been evaluated.
#[derive(Debug, Default)]
pub(super) struct Registry(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    selectors: HashMap<ScalerKey, Known>,
    by_namespace: BTreeMap<Arc<str>, Anchors>,
    targets: HashMap<ScalerKey, TargetKey>,
    by_target: BTreeMap<TargetKey, BTreeSet<ScalerKey>>,
}

/// A selector as text and read.
#[derive(Debug, Clone)]
struct Known {
    text: Arc<str>,
    selector: Arc<Selector>,
}

/// A member of an anchor with its selector.
type Members = BTreeMap<ScalerKey, Arc<Selector>>;

/// The autoscalers of a namespace by a label that all their pods have.
#[derive(Debug, Default)]
struct Anchors {
    /// Label key, then value: only ever looked up, for every pod and every round.
    by_label: BTreeMap<Arc<str>, HashMap<Arc<str>, Members>>,
    /// Those whose selector names no label.
    others: Members,
}

impl Anchors {
    fn members(&mut self, selector: &Selector) -> &mut Members {
        match selector.anchor() {
            Some((key, value)) => self
                .by_label
                .entry(key.into())
                .or_default()
                .entry(value.into())
                .or_default(),
            None => &mut self.others,
        }
    }

    fn prune(&mut self, selector: &Selector) {
        let Some((key, value)) = selector.anchor() else {
            return;
        };
        let Some(values) = self.by_label.get_mut(key) else {
            return;
        };
        if values.get(value).is_some_and(Members::is_empty) {
            values.remove(value);
        }
        if values.is_empty() {
            self.by_label.remove(key);
        }
    }

    /// Every autoscaler that selects the pod.
    fn find<'a>(&'a self, pod: &'a PodView) -> impl Iterator<Item = &'a ScalerKey> {
        let labels = &pod.meta.labels;
        let anchored = labels
            .iter()
            .filter_map(|(key, value)| self.by_label.get(key)?.get(value));
        anchored
            .chain([&self.others])
            .flatten()
            .filter(|(_, selector)| selector.matches(labels))
            .map(|(scaler, _)| scaler)
    }
}

impl Registry {
    /// Learns the selector of an autoscaler, and reads it unless it is known.
    ///
    /// # Errors
    /// The text is no selector.
    pub(super) fn learn(
        &self,
        scaler: &ScalerKey,
        text: &Arc<str>,
    ) -> Result<Arc<Selector>, SelectorError> {
        if let Some(known) = self.0.read().selectors.get(scaler)
            && known.text == *text
        {
            return Ok(Arc::clone(&known.selector));
        }
        let selector = Arc::new(Selector::parse(text)?);
        let mut inner = self.0.write();
        inner.forget_selector(scaler);
        inner
            .by_namespace
            .entry(Arc::clone(&scaler.object.namespace))
            .or_default()
            .members(&selector)
            .insert(scaler.clone(), Arc::clone(&selector));
        let known = Known {
            text: Arc::clone(text),
            selector: Arc::clone(&selector),
        };
        inner.selectors.insert(scaler.clone(), known);
        Ok(selector)
    }

    /// Learns the target of an autoscaler.
    pub(super) fn aim(&self, scaler: &ScalerKey, target: TargetKey) {
        if self.0.read().targets.get(scaler) == Some(&target) {
            return;
        }
        let mut inner = self.0.write();
        inner.forget_target(scaler);
        inner
            .by_target
            .entry(target.clone())
            .or_default()
            .insert(scaler.clone());
        inner.targets.insert(scaler.clone(), target);
    }

    /// Forgets an autoscaler that is gone.
    pub(super) fn forget(&self, scaler: &ScalerKey) {
        let mut inner = self.0.write();
        inner.forget_selector(scaler);
        inner.forget_target(scaler);
    }

    /// Whether an autoscaler of this namespace has ever selected pods.
    pub(super) fn selects_in(&self, namespace: &str) -> bool {
        self.0.read().by_namespace.contains_key(namespace)
    }

    /// The autoscalers of a target.
    pub(super) fn scalers_of(&self, target: &TargetKey) -> BTreeSet<ScalerKey> {
        self.0
            .read()
            .by_target
            .get(target)
            .cloned()
            .unwrap_or_default()
    }

    /// Adds the autoscalers that select one of these pods to `into`.
    pub(super) fn collect<'a>(
        &self,
        pods: impl IntoIterator<Item = &'a Arc<PodView>>,
        into: &mut BTreeSet<ScalerKey>,
    ) {
        let inner = self.0.read();
        let mut last: Option<&ScalerKey> = None;
        for pod in pods {
            let Some(anchors) = inner.by_namespace.get(pod.meta.namespace()) else {
                continue;
            };
            for scaler in anchors.find(pod) {
                // Pods of one workload mostly come one after another.
                if last != Some(scaler) && !into.contains(scaler) {
                    into.insert(scaler.clone());
                }
                last = Some(scaler);
            }
        }
    }

    /// The autoscalers that select one of these pods, unless `scaler` is the only one.
    pub(super) fn rivals(&self, scaler: &ScalerKey, pods: &[Arc<PodView>]) -> Vec<String> {
        let alone = {
            let inner = self.0.read();
            let anchors = inner.by_namespace.get(&scaler.object.namespace);
            anchors.is_none_or(|anchors| {
                let mut found = pods.iter().flat_map(|pod| anchors.find(pod));
                found.all(|found| found == scaler)
            })
        };
        if alone {
            return Vec::new();
        }
        let mut found = BTreeSet::new();
        self.collect(pods, &mut found);
        found.iter().map(ToString::to_string).collect()
    }
}

impl Inner {
    fn forget_selector(&mut self, scaler: &ScalerKey) {
        let Some(Known { selector, .. }) = self.selectors.remove(scaler) else {
            return;
        };
        if let Some(anchors) = self.by_namespace.get_mut(&scaler.object.namespace) {
            anchors.members(&selector).remove(scaler);
            anchors.prune(&selector);
        }
    }

    fn forget_target(&mut self, scaler: &ScalerKey) {
        let Some(target) = self.targets.remove(scaler) else {
            return;
        };
        let Some(members) = self.by_target.get_mut(&target) else {
            return;
        };
        members.remove(scaler);
        if members.is_empty() {
            self.by_target.remove(&target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Registry;
    use crate::horizontal::key::ScalerKey;
    use crate::pods::PodView;
    use crate::runtime::{Cached, ObjectKey};
    use serde_json::json;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    fn pod(labels: &[(&str, &str)]) -> Arc<PodView> {
        let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
        let json = json!({"metadata": {"name": "p", "namespace": "n", "labels": labels}});
        Arc::new(PodView::from_wire(serde_json::from_value(json).unwrap()))
    }

    fn found(registry: &Registry, labels: &[(&str, &str)]) -> Vec<String> {
        let mut into = BTreeSet::new();
        registry.collect([&pod(labels)], &mut into);
        into.into_iter()
            .map(|key| key.object.name.to_string())
            .collect()
    }

    #[test]
    fn a_pod_finds_the_autoscalers_that_select_it() {
        let registry = Registry::default();
        let learn = |name: &str, selector: &str| {
            let key = ScalerKey::horizontal(ObjectKey::new("n", name));
            drop(registry.learn(&key, &selector.into()).unwrap());
        };
        learn("web", "app=web");
        learn("blue", "app=web,color=blue");
        learn("any", "!none");
        assert_eq!(found(&registry, &[("app", "web")]), ["any", "web"]);
        let blue = [("app", "web"), ("color", "blue")];
        assert_eq!(found(&registry, &blue), ["any", "blue", "web"]);
        learn("web", "app=other");
        assert_eq!(found(&registry, &[("app", "web")]), ["any"]);
        registry.forget(&ScalerKey::horizontal(ObjectKey::new("n", "any")));
        assert!(found(&registry, &[("app", "web")]).is_empty());
        let blue_key = ScalerKey::horizontal(ObjectKey::new("n", "blue"));
        assert!(registry.rivals(&blue_key, &[pod(&blue)]).is_empty());
    }
}
