//! Order, indexes and own writes of the cache.

use super::{Cache, Cached, Change};
use crate::runtime::{Meta, ObjectKey};
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;

#[derive(Debug)]
struct View {
    meta: Meta,
}

impl Cached for View {
    type Wire = ConfigMap;

    fn from_wire(wire: ConfigMap) -> Self {
        Self {
            meta: wire.metadata.into(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

fn wire(name: &str, revision: u64, color: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {
        "namespace": "n", "name": name, "uid": name, "resourceVersion": revision.to_string(),
        "labels": {"color": color},
    }}))
    .unwrap()
}

fn by_color(view: &View) -> Vec<Arc<str>> {
    view.meta
        .label("color")
        .map(Arc::from)
        .into_iter()
        .collect()
}

fn names(views: &[Arc<View>]) -> Vec<&str> {
    views.iter().map(|view| view.meta.name()).collect()
}

#[test]
fn indexes_follow_changes_and_start_from_what_is_there() {
    let cache: Cache<View> = Cache::empty();
    cache.observe(wire("a", 1, "red"));
    let index = cache.index(by_color);
    cache.observe(wire("b", 2, "red"));
    assert_eq!(names(&index.get("red")), ["a", "b"]);
    cache.observe(wire("a", 3, "blue"));
    assert_eq!(names(&index.get("red")), ["b"]);
    assert_eq!(names(&index.get("blue")), ["a"]);
    cache.remove(&ObjectKey::new("n", "a"));
    assert_eq!(index.count("blue"), 0);
}

#[test]
fn handlers_see_what_is_there_and_then_each_change_once() {
    let cache: Cache<View> = Cache::empty();
    cache.observe(wire("a", 1, "red"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    cache.on_change(move |change: &Change<View>| {
        let side = |view: &Option<Arc<View>>| view.as_ref().map_or(0, |v| v.meta.revision);
        log.lock().push((side(&change.old), side(&change.new)));
    });
    cache.observe(wire("a", 2, "red"));
    cache.observe(wire("a", 2, "red"));
    cache.observe(wire("a", 1, "red"));
    cache.remove(&ObjectKey::new("n", "a"));
    assert_eq!(*seen.lock(), [(0, 1), (1, 2), (2, 0)]);
}

#[test]
fn a_late_answer_to_an_own_write_does_not_bring_a_removed_object_back() {
    let cache: Cache<View> = Cache::empty();
    cache.apply(View::from_wire(wire("a", 5, "red")), super::Source::Watch);
    cache.delete(ObjectKey::new("n", "a"), 6);
    cache.observe(wire("a", 4, "red"));
    assert!(cache.is_empty());
    cache.observe(wire("a", 7, "red"));
    assert_eq!(cache.len(), 1);
}

#[test]
fn an_older_removal_does_not_take_a_newer_object() {
    let cache: Cache<View> = Cache::empty();
    cache.observe(wire("a", 7, "red"));
    cache.delete(ObjectKey::new("n", "a"), 6);
    assert_eq!(cache.len(), 1);
}

#[test]
fn a_namespace_is_listed_in_name_order() {
    let cache: Cache<View> = Cache::empty();
    for name in ["c", "a", "b"] {
        cache.observe(wire(name, 1, "red"));
    }
    assert_eq!(names(&cache.list(Some("n"))), ["a", "b", "c"]);
    assert!(cache.list(Some("other")).is_empty());
}
