//! Pods that are equal for placement form a class: what is found out about one holds for all, and
//! they share what is known of them.

use plimsoll_engine::placement::PodSpec;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The fewest classes among which those without pods are looked for.
const SWEEP: usize = 256;

/// Names a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassId(u64);

impl ClassId {
    #[cfg(test)]
    pub(super) const fn of(number: u64) -> Self {
        Self(number)
    }
}

/// What the pods of a class have in common.
#[derive(Debug, Clone)]
pub(super) struct Class {
    pub(super) namespace: Arc<str>,
    pub(super) spec: Arc<PodSpec>,
}

/// The classes of the pods there are.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    by_id: BTreeMap<ClassId, Class>,
    by_hash: BTreeMap<u64, Vec<ClassId>>,
    next: u64,
    /// With so many, those without pods are forgotten.
    full: usize,
}

impl Classes {
    /// The class of a pod, and its spec, shared.
    pub(crate) fn of(&mut self, namespace: &Arc<str>, spec: PodSpec) -> (ClassId, Arc<PodSpec>) {
        let mut hasher = DefaultHasher::new();
        (namespace, &spec).hash(&mut hasher);
        let hash = hasher.finish();
        let alike = self.by_hash.get(&hash).into_iter().flatten();
        let known = alike.filter_map(|id| Some((*id, self.by_id.get(id)?)));
        let mut known = known.filter(|(_, class)| class.namespace == *namespace);
        if let Some((id, class)) = known.find(|(_, class)| *class.spec == spec) {
            return (id, Arc::clone(&class.spec));
        }
        self.next += 1;
        let id = ClassId(self.next);
        let class = Class {
            namespace: Arc::clone(namespace),
            spec: Arc::new(spec),
        };
        let spec = Arc::clone(&class.spec);
        self.by_id.insert(id, class);
        self.by_hash.entry(hash).or_default().push(id);
        (id, spec)
    }

    /// What the members of a class have in common.
    pub(super) fn get(&self, class: ClassId) -> Option<&Class> {
        self.by_id.get(&class)
    }

    /// Now and then, forgets the classes that no pod shares any more. Returns those.
    pub(crate) fn sweep(&mut self) -> Vec<ClassId> {
        if self.by_id.len() < self.full.max(SWEEP) {
            return Vec::new();
        }
        let unused = |class: &Class| Arc::strong_count(&class.spec) == 1;
        let gone = self.by_id.iter().filter(|(_, class)| unused(class));
        let gone: Vec<ClassId> = gone.map(|(id, _)| *id).collect();
        for id in &gone {
            self.by_id.remove(id);
        }
        self.by_hash.retain(|_, ids| {
            ids.retain(|id| self.by_id.contains_key(id));
            !ids.is_empty()
        });
        self.full = self.by_id.len() * 2;
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(priority: i32) -> PodSpec {
        PodSpec {
            priority,
            ..PodSpec::default()
        }
    }

    #[test]
    fn equal_pods_of_a_namespace_share_a_class() {
        let (here, there): (Arc<str>, Arc<str>) = ("here".into(), "there".into());
        let mut classes = Classes::default();
        let (first, shared) = classes.of(&here, spec(0));
        let (again, same) = classes.of(&here, spec(0));
        assert_eq!(again, first);
        assert!(Arc::ptr_eq(&shared, &same));
        assert_ne!(classes.of(&here, spec(1)).0, first);
        assert_ne!(classes.of(&there, spec(0)).0, first);
    }

    #[test]
    fn classes_without_pods_are_forgotten() {
        let here: Arc<str> = "here".into();
        let mut classes = Classes::default();
        let (kept, _spec) = classes.of(&here, spec(-1));
        for priority in 0..300 {
            classes.of(&here, spec(priority));
        }
        assert_eq!(classes.sweep().len(), 300);
        assert!(classes.get(kept).is_some());
        assert_eq!(classes.by_hash.len(), 1);
        assert!(classes.sweep().is_empty());
    }
}
