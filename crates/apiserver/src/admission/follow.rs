//! Parsed objects of one resource, kept up to date by whoever looks.
//!
//! Admission reads configuration (limit ranges, classes, quotas …) on every write. Parsing it each
//! time would be waste, and a task that follows it could lag behind a caller's own write. So the
//! look-up itself takes in what the store's history has gained since the last one: one lock and one
//! comparison when nothing changed.

use crate::store::{Change, Entry, ListQuery, Store, Watch};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Objects of one namespace by name; cluster-wide ones live under `""`.
type ByName<T> = BTreeMap<Arc<str>, Arc<T>>;

/// One resource, as it is now.
#[derive(Debug)]
pub(crate) struct Followed<T> {
    store: Store,
    resource: &'static str,
    parse: fn(&Value) -> T,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    watch: Option<Watch>,
    objects: BTreeMap<Arc<str>, ByName<T>>,
}

impl<T> Followed<T> {
    /// Follows the resource stored under this name.
    pub(crate) fn new(store: &Store, resource: &'static str, parse: fn(&Value) -> T) -> Self {
        let state = State {
            watch: None,
            objects: BTreeMap::new(),
        };
        Self {
            store: store.clone(),
            resource,
            parse,
            state: Mutex::new(state),
        }
    }

    /// The objects of a namespace, ordered by name.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.look(|objects| {
            let found = objects.get(namespace).into_iter().flatten();
            found.map(|(_, object)| Arc::clone(object)).collect()
        })
    }

    /// Folds over the objects of a namespace, in order of name, without copying the list.
    pub(crate) fn fold<R>(
        &self,
        namespace: &str,
        start: R,
        step: impl FnMut(R, &Arc<T>) -> R,
    ) -> R {
        self.look(|objects| {
            let found = objects.get(namespace).into_iter().flatten();
            found.map(|(_, object)| object).fold(start, step)
        })
    }

    /// Namespaces that have any.
    pub(crate) fn namespaces(&self) -> Vec<Arc<str>> {
        self.look(|objects| objects.keys().map(Arc::clone).collect())
    }

    /// The object of this name.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.look(|objects| objects.get(namespace)?.get(name).map(Arc::clone))
    }

    fn look<R>(&self, look: impl FnOnce(&BTreeMap<Arc<str>, ByName<T>>) -> R) -> R {
        let mut state = self.state.lock();
        self.catch_up(&mut state);
        look(&state.objects)
    }

    fn catch_up(&self, state: &mut State<T>) {
        loop {
            let next = state.watch.as_mut().map(Watch::try_next);
            match next {
                Some(Ok(None)) => return,
                Some(Ok(Some(event))) => self.apply(state, event.change, &event.entry),
                // The first look, or history has moved past this one.
                None | Some(Err(_)) => {
                    if !self.list(state) {
                        return;
                    }
                }
            }
        }
    }

    fn list(&self, state: &mut State<T>) -> bool {
        let query = ListQuery {
            resource: self.resource.into(),
            ..ListQuery::default()
        };
        // A list of the present cannot be refused; if it were, the last known state stays.
        let Ok((page, watch)) = self.store.list_and_watch(&query) else {
            return false;
        };
        state.objects.clear();
        for entry in page.entries {
            self.apply(state, Change::Put, &entry);
        }
        state.watch = Some(watch);
        true
    }

    fn apply(&self, state: &mut State<T>, change: Change, entry: &Entry) {
        let (namespace, name) = (&entry.key.namespace, &entry.key.name);
        match change {
            Change::Put => {
                let value = serde_json::from_slice(&entry.json).unwrap_or_default();
                let parsed = Arc::new((self.parse)(&value));
                let objects = state.objects.entry(Arc::clone(namespace)).or_default();
                objects.insert(Arc::clone(name), parsed);
            }
            Change::Delete => {
                let Some(objects) = state.objects.get_mut(namespace) else {
                    return;
                };
                objects.remove(name);
                if objects.is_empty() {
                    state.objects.remove(namespace);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Draft, Expect, Index, Key, Options};
    use serde_json::json;

    fn draft(name: &str, number: i64) -> Draft {
        let key = Key {
            resource: "things".into(),
            namespace: "default".into(),
            name: name.into(),
        };
        Draft {
            key,
            uid: name.into(),
            head: br#"{"metadata":{"resourceVersion":""#.to_vec(),
            tail: json!(number).to_string().into_bytes(),
            index: Index::default(),
        }
    }

    fn complete(mut draft: Draft) -> Draft {
        let number = String::from_utf8(draft.tail).unwrap();
        draft.tail = format!(r#""}},"number":{number}}}"#).into_bytes();
        draft
    }

    #[tokio::test]
    async fn a_look_sees_every_write_before_it() {
        let options = Options {
            history_events: 4,
            ..Options::ephemeral()
        };
        let store = Store::open(options).unwrap();
        let number = |value: &Value| value["number"].as_i64().unwrap();
        let followed = Followed::new(&store, "things", number);
        assert!(followed.in_namespace("default").is_empty());
        let first = store
            .put(complete(draft("a", 1)), Expect::Absent)
            .await
            .unwrap();
        assert_eq!(followed.get("default", "a").as_deref(), Some(&1));
        // More events than history keeps between two looks.
        for number in 0..20 {
            let name = format!("n{number}");
            store
                .put(complete(draft(&name, number)), Expect::Absent)
                .await
                .unwrap();
        }
        assert_eq!(followed.in_namespace("default").len(), 21);
        let gone = store.delete(complete(draft("a", 1)), Expect::Revision(first.revision));
        gone.await.unwrap();
        assert_eq!(followed.get("default", "a"), None);
        assert!(followed.in_namespace("other").is_empty());
    }
}
