//! Pods that are equal for placement form a class: what is found out about one holds for all.

use plimsoll_engine::placement::{PodFacts, PodSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many variants of one controller's pods are told apart; older ones are no longer found, so
/// that comparing stays cheap. (The pods of a StatefulSet all differ in a label.)
const VARIANTS: usize = 4;

/// Names a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassId(u64);

impl ClassId {
    #[cfg(test)]
    pub(super) const fn of(number: u64) -> Self {
        Self(number)
    }
}

/// The classes of the pods that wait.
#[derive(Debug, Default)]
pub(super) struct Classes {
    facts: BTreeMap<ClassId, Arc<PodFacts>>,
    /// Newest first, by the controller's uid.
    by_controller: BTreeMap<Arc<str>, Vec<ClassId>>,
    next: u64,
}

impl Classes {
    /// The class of a pod with these facts.
    pub(super) fn of(&mut self, mut facts: PodFacts) -> ClassId {
        facts.name = Arc::default();
        facts.started = None;
        let Some(controller) = group(&facts) else {
            return self.new_class(facts);
        };
        let variants = self.by_controller.get(&controller);
        let known = variants.into_iter().flatten().find(|class| {
            let variant = self.facts.get(*class);
            variant.is_some_and(|variant| **variant == facts)
        });
        if let Some(known) = known {
            return *known;
        }
        let class = self.new_class(facts);
        let variants = self.by_controller.entry(controller).or_default();
        variants.insert(0, class);
        variants.truncate(VARIANTS);
        class
    }

    fn new_class(&mut self, facts: PodFacts) -> ClassId {
        self.next += 1;
        let class = ClassId(self.next);
        self.facts.insert(class, Arc::new(facts));
        class
    }

    /// What all its members have in common; their name is empty.
    #[cfg(test)]
    pub(super) fn facts(&self, class: ClassId) -> Option<&Arc<PodFacts>> {
        self.facts.get(&class)
    }

    /// Forgets a class without members.
    pub(super) fn forget(&mut self, class: ClassId) {
        let Some(facts) = self.facts.remove(&class) else {
            return;
        };
        let Some(controller) = &group(&facts) else {
            return;
        };
        if let Some(variants) = self.by_controller.get_mut(controller) {
            variants.retain(|variant| *variant != class);
            if variants.is_empty() {
                self.by_controller.remove(controller);
            }
        }
    }
}

/// What tells pods of one controller from others.
fn group(facts: &PodFacts) -> Option<Arc<str>> {
    let spec: &PodSpec = &facts.spec;
    let selector = spec.default_spread.as_ref()?;
    Some(format!("{}/{:?}", facts.namespace, selector.requirements).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_engine::placement::LabelSelector;

    fn pod(name: &str, owner: Option<&str>, priority: i32) -> PodFacts {
        let selector =
            |owner: &str| LabelSelector::of_labels([(&"app".to_owned(), &owner.to_owned())]);
        let spec = PodSpec {
            default_spread: owner.map(selector),
            priority,
            ..PodSpec::default()
        };
        PodFacts::new("", name, spec)
    }

    #[test]
    fn replicas_share_a_class_until_they_differ() {
        let mut classes = Classes::default();
        let first = classes.of(pod("a", Some("owner"), 0));
        assert_eq!(classes.of(pod("b", Some("owner"), 0)), first);
        assert_ne!(classes.of(pod("c", Some("owner"), 1)), first);
        assert_ne!(classes.of(pod("d", Some("other"), 0)), first);
        assert_ne!(classes.of(pod("e", None, 0)), classes.of(pod("f", None, 0)));
    }

    #[test]
    fn a_forgotten_class_is_not_found_again() {
        let mut classes = Classes::default();
        let first = classes.of(pod("a", Some("owner"), 0));
        classes.forget(first);
        assert!(classes.facts(first).is_none());
        assert_ne!(classes.of(pod("a", Some("owner"), 0)), first);
        assert_eq!(classes.by_controller.len(), 1);
    }

    #[test]
    fn only_the_newest_variants_are_compared() {
        let mut classes = Classes::default();
        let oldest = classes.of(pod("a", Some("owner"), 0));
        for priority in 1..=4 {
            classes.of(pod("a", Some("owner"), priority));
        }
        assert_ne!(classes.of(pod("a", Some("owner"), 0)), oldest);
    }
}
