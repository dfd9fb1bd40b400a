//! Which autoscaler selects which pods, and which one scales which target.

use crate::pods::{Selector, label_key};
use crate::runtime::ObjectKey;
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A scaled object: kind, namespace, name.
pub(super) type TargetKey = (Arc<str>, ObjectKey);

/// A pod's labels, as selectors and as anchors see them.
#[derive(Debug, Clone, Copy)]
pub(super) struct PodLabels<'a> {
    pub(super) namespace: &'a str,
    /// [`label_key`] of each label.
    pub(super) keys: &'a [Arc<str>],
    /// Sorted by key.
    pub(super) labels: &'a [(Arc<str>, Arc<str>)],
}

/// Selectors and targets of the autoscalers that have been evaluated.
#[derive(Debug, Default)]
pub(super) struct Registry(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    selectors: BTreeMap<ObjectKey, (Arc<str>, Arc<Selector>)>,
    /// Anchor (a label key, or the namespace where a selector names no label) → autoscalers.
    by_anchor: BTreeMap<Arc<str>, BTreeSet<ObjectKey>>,
    targets: BTreeMap<ObjectKey, TargetKey>,
    by_target: BTreeMap<TargetKey, BTreeSet<ObjectKey>>,
}

impl Registry {
    /// Learns the selector of an autoscaler.
    pub(super) fn learn(&self, hpa: &ObjectKey, selector: &Arc<Selector>) {
        let anchor = anchor_of(&hpa.namespace, selector);
        let mut inner = self.0.write();
        let known = inner.selectors.get(hpa);
        if known.is_some_and(|(old, known)| **old == *anchor && known == selector) {
            return;
        }
        inner.forget_selector(hpa);
        let anchor: Arc<str> = anchor.into();
        inner
            .by_anchor
            .entry(Arc::clone(&anchor))
            .or_default()
            .insert(hpa.clone());
        inner
            .selectors
            .insert(hpa.clone(), (anchor, Arc::clone(selector)));
    }

    /// Learns the target of an autoscaler.
    pub(super) fn aim(&self, hpa: &ObjectKey, target: TargetKey) {
        let mut inner = self.0.write();
        if inner.targets.get(hpa) == Some(&target) {
            return;
        }
        inner.forget_target(hpa);
        inner
            .by_target
            .entry(target.clone())
            .or_default()
            .insert(hpa.clone());
        inner.targets.insert(hpa.clone(), target);
    }

    /// Forgets an autoscaler that is gone.
    pub(super) fn forget(&self, hpa: &ObjectKey) {
        let mut inner = self.0.write();
        inner.forget_selector(hpa);
        inner.forget_target(hpa);
    }

    /// The autoscalers of a target.
    pub(super) fn scalers_of(&self, target: &TargetKey) -> Vec<ObjectKey> {
        self.0
            .read()
            .by_target
            .get(target)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Adds the autoscalers that select a pod with these labels to `into`.
    pub(super) fn collect(&self, pod: &PodLabels<'_>, into: &mut BTreeSet<ObjectKey>) {
        let inner = self.0.read();
        let anchored = pod.keys.iter().filter_map(|key| inner.by_anchor.get(key));
        let found = anchored.chain(inner.by_anchor.get(pod.namespace)).flatten();
        for hpa in found {
            let selector = inner.selectors.get(hpa);
            if selector.is_some_and(|(_, selector)| selector.matches(pod.labels)) {
                into.insert(hpa.clone());
            }
        }
    }
}

impl Inner {
    fn forget_selector(&mut self, hpa: &ObjectKey) {
        let Some((anchor, _)) = self.selectors.remove(hpa) else {
            return;
        };
        let Some(members) = self.by_anchor.get_mut(&anchor) else {
            return;
        };
        members.remove(hpa);
        if members.is_empty() {
            self.by_anchor.remove(&anchor);
        }
    }

    fn forget_target(&mut self, hpa: &ObjectKey) {
        let Some(target) = self.targets.remove(hpa) else {
            return;
        };
        let Some(members) = self.by_target.get_mut(&target) else {
            return;
        };
        members.remove(hpa);
        if members.is_empty() {
            self.by_target.remove(&target);
        }
    }
}

/// Where to find the pods of a selector, and the selector of a pod.
fn anchor_of(namespace: &str, selector: &Selector) -> String {
    match selector.anchor() {
        Some((key, value)) => label_key(namespace, key, value),
        None => namespace.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{PodLabels, Registry};
    use crate::pods::{Selector, label_key};
    use crate::runtime::ObjectKey;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    fn found(registry: &Registry, labels: &[(&str, &str)]) -> Vec<String> {
        let labels: Vec<(Arc<str>, Arc<str>)> =
            labels.iter().map(|&(k, v)| (k.into(), v.into())).collect();
        let keys: Vec<Arc<str>> = labels
            .iter()
            .map(|(k, v)| label_key("n", k, v).into())
            .collect();
        let mut into = BTreeSet::new();
        let pod = PodLabels {
            namespace: "n",
            keys: &keys,
            labels: &labels,
        };
        registry.collect(&pod, &mut into);
        into.into_iter().map(|key| key.name.to_string()).collect()
    }

    #[test]
    fn a_pod_finds_the_autoscalers_that_select_it() {
        let registry = Registry::default();
        let learn = |name: &str, selector: &str| {
            let selector = Arc::new(Selector::parse(selector).unwrap());
            registry.learn(&ObjectKey::new("n", name), &selector);
        };
        learn("web", "app=web");
        learn("blue", "app=web,color=blue");
        learn("any", "!none");
        assert_eq!(found(&registry, &[("app", "web")]), ["any", "web"]);
        assert_eq!(
            found(&registry, &[("app", "web"), ("color", "blue")]),
            ["any", "blue", "web"]
        );
        learn("web", "app=other");
        assert_eq!(found(&registry, &[("app", "web")]), ["any"]);
        registry.forget(&ObjectKey::new("n", "any"));
        assert!(found(&registry, &[("app", "web")]).is_empty());
    }
}
