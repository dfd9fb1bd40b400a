//! The name of an object within its kind.

use parking_lot::RwLock;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Namespaces whose text is shared; a cluster with more shares the first ones only.
const SHARED: usize = 10_000;

/// Namespace and name; orders by namespace, then name. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// A key from borrowed text.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: shared(namespace),
            name: name.into(),
        }
    }

    /// A key that takes over the name.
    pub fn of(namespace: &str, name: Arc<str>) -> Self {
        Self {
            namespace: shared(namespace),
            name,
        }
    }

    /// The namespace, unless the object is cluster-scoped.
    pub fn namespace(&self) -> Option<&str> {
        (!self.namespace.is_empty()).then_some(&*self.namespace)
    }
}

impl Ord for ObjectKey {
    /// Most comparisons are within one namespace, whose text is shared: no need to read it.
    fn cmp(&self, other: &Self) -> Ordering {
        let text = |a: &Arc<str>, b: &Arc<str>| {
            if Arc::ptr_eq(a, b) {
                Ordering::Equal
            } else {
                a.cmp(b)
            }
        };
        text(&self.namespace, &other.namespace).then_with(|| text(&self.name, &other.name))
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The namespace's text, the same allocation every time.
fn shared(namespace: &str) -> Arc<str> {
    static KNOWN: RwLock<BTreeSet<Arc<str>>> = RwLock::new(BTreeSet::new());
    if let Some(known) = KNOWN.read().get(namespace) {
        return Arc::clone(known);
    }
    let text: Arc<str> = namespace.into();
    let mut known = KNOWN.write();
    if known.len() < SHARED {
        known.insert(Arc::clone(&text));
    }
    text
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_by_namespace_and_then_by_name() {
        let mut keys = [("b", "a"), ("a", "b"), ("a", "a")].map(|(ns, n)| ObjectKey::new(ns, n));
        keys.sort();
        assert_eq!(keys.map(|k| k.to_string()), ["a/a", "a/b", "b/a"]);
    }

    #[test]
    fn a_namespace_is_kept_once() {
        let (one, other) = (ObjectKey::new("one", "a"), ObjectKey::new("one", "b"));
        assert!(Arc::ptr_eq(&one.namespace, &other.namespace));
    }
}
