//! The rules of apply on whole objects.

use super::*;
use crate::schema::{Node, by_kind};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn deployment() -> Node<'static> {
    Node::of(by_kind("apps", "v1", "Deployment").unwrap())
}

/// Only one version.
struct Alone;

impl Versions for Alone {
    fn node(&self, _: &str) -> Option<Node<'_>> {
        None
    }
    fn convert(&self, _: &Value, _: &str, _: &str) -> Option<Value> {
        None
    }
}

fn by<'a>(manager: &'a str, operation: Operation, time: &'a str) -> Write<'a> {
    Write {
        author: Author {
            manager,
            operation,
            api_version: "apps/v1",
            subresource: "",
        },
        time,
        scope: Scope::WithoutStatus,
        node: deployment(),
        versions: &Alone,
    }
}

/// An object and its managers, both written out.
#[derive(Clone, Debug, PartialEq, Default)]
struct State {
    object: Option<Value>,
    managed: Option<Value>,
}

impl State {
    fn applied(&self, manager: &str, config: &Value, force: Force) -> Result<Self, Conflicts> {
        let write = by(manager, Operation::Apply, "2026-01-01T00:00:00Z");
        let mut managers = Managers::read(self.managed.as_ref(), Source::Stored).unwrap();
        let object = apply(&write, &mut managers, (self.object.as_ref(), config), force)?;
        Ok(Self {
            managed: managers.write(self.managed.clone()),
            object: Some(object),
        })
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "calls read best with literals"
    )]
    fn updated(&self, manager: &str, time: &str, new: Value) -> Self {
        let write = by(manager, Operation::Update, time);
        let mut managers = Managers::read(self.managed.as_ref(), Source::Stored).unwrap();
        match &self.object {
            None => create(&write, &mut managers, &new),
            Some(old) => drop(update(&write, &mut managers, old, &new)),
        }
        Self {
            managed: managers.write(self.managed.clone()),
            object: Some(new.clone()),
        }
    }

    /// The fields of a manager; null without an entry.
    fn fields(&self, manager: &str) -> Value {
        let entries = self.managed.as_ref().and_then(Value::as_array);
        let mut entries = entries.into_iter().flatten();
        let found = entries.find(|entry| entry["manager"] == manager);
        found.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
    }
}

fn web(replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"a": "b"}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]},
        ]}}},
    })
}

#[test]
fn an_applier_owns_the_leaves_it_gives() {
    let state = State::default().applied("m1", &web(3), Force::No).unwrap();
    let want = json!({
        "f:metadata": {"f:labels": {"f:a": {}}},
        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:name": {}, "f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}},
            }},
        }}}},
    });
    assert_eq!(state.fields("m1"), want);
}

#[test]
fn a_creator_owns_maps_and_elements_but_not_objects_that_are_always_there() {
    let state = State::default().updated("kubectl", "2026-01-01T00:00:00Z", web(3));
    let want = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:name": {}, "f:ports": {
                ".": {},
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}},
            }},
        }}}},
    });
    assert_eq!(state.fields("kubectl"), want);
}

#[test]
fn another_value_of_an_owned_field_is_a_conflict() {
    let state = State::default().applied("m1", &web(3), Force::No).unwrap();
    let conflicts = state.applied("m2", &web(5), Force::No).unwrap_err();
    let error = conflicts.to_error();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"m1\": .spec.replicas"
    );
    assert_eq!(error.details["causes"][0]["field"], ".spec.replicas");
    assert_eq!(
        error.details["causes"][0]["message"],
        "conflict with \"m1\""
    );
}

#[test]
fn several_conflicts_are_listed_by_owner() {
    let state = State::default().updated("edit", "2026-01-01T00:00:00Z", web(3));
    let mut other = web(5);
    other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nginx:2");
    let error = state
        .applied("m2", &other, Force::No)
        .unwrap_err()
        .to_error();
    assert_eq!(
        error.message,
        "Apply failed with 2 conflicts: conflicts with \"edit\" using apps/v1:\n\
         - .spec.replicas\n- .spec.template.spec.containers[name=\"web\"].image"
    );
}

#[test]
fn force_takes_the_field_and_equal_values_share_it() {
    let state = State::default().applied("m1", &web(3), Force::No).unwrap();
    let forced = state.applied("m2", &web(5), Force::Yes).unwrap();
    assert_eq!(forced.object.as_ref().unwrap()["spec"]["replicas"], 5);
    assert!(forced.fields("m1")["f:spec"]["f:replicas"].is_null());
    assert!(forced.fields("m2")["f:spec"]["f:replicas"].is_object());
    let shared = &forced.fields("m1")["f:metadata"]["f:labels"]["f:a"];
    assert!(shared.is_object());
}

#[test]
fn what_is_no_longer_applied_goes_unless_shared() {
    let both = State::default().applied("m1", &web(3), Force::No).unwrap();
    let small = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 3},
    });
    let both = both.applied("m2", &small, Force::No).unwrap();
    let left = both.applied("m1", &small, Force::No).unwrap();
    assert_eq!(left.object.as_ref().unwrap()["spec"]["replicas"], 3);
    let spec = &left.object.as_ref().unwrap()["spec"];
    assert!(spec["template"].is_null(), "{spec}");
    let metadata = &left.object.as_ref().unwrap()["metadata"];
    assert!(metadata["labels"].is_null());
}

#[test]
fn an_element_goes_with_its_applier_and_others_stay() {
    let two = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a", "image": "a"}, {"name": "b", "image": "b"},
    ]}}}});
    let one =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b"}]}}}});
    let state = State::default().applied("m1", &two, Force::No).unwrap();
    let mut sidecar = state.object.clone().unwrap();
    let containers = &mut sidecar["spec"]["template"]["spec"]["containers"];
    containers
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "c", "image": "c"}));
    let state = state.updated("injector", "2026-01-01T00:00:01Z", sidecar);
    let state = state.applied("m1", &one, Force::No).unwrap();
    let containers = &state.object.as_ref().unwrap()["spec"]["template"]["spec"]["containers"];
    let names: Vec<&str> = containers
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn an_update_takes_what_it_changes() {
    let state = State::default().applied("m1", &web(3), Force::No).unwrap();
    let state = state.updated("hpa", "2026-01-01T00:00:05Z", web(4));
    assert!(state.fields("m1")["f:spec"]["f:replicas"].is_null());
    assert_eq!(state.fields("hpa"), json!({"f:spec": {"f:replicas": {}}}));
    let back = state
        .applied("m1", &web(3), Force::No)
        .unwrap_err()
        .to_error();
    assert!(
        back.message.contains("\"hpa\" using apps/v1"),
        "{}",
        back.message
    );
}

#[test]
fn updates_without_tracking_stay_untracked_until_the_first_apply() {
    let untracked = State {
        object: Some(web(3)),
        managed: None,
    };
    let state = untracked.updated("hpa", "2026-01-01T00:00:05Z", web(4));
    assert_eq!(state.managed, None);
    let error = state
        .applied("m1", &web(3), Force::No)
        .unwrap_err()
        .to_error();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: .spec.replicas"
    );
}

#[test]
fn old_updaters_are_folded_into_one() {
    let mut state = State::default().updated("u00", "2026-01-01T00:00:00Z", web(3));
    for n in 1..14 {
        let mut next = state.object.clone().unwrap();
        next["metadata"]["labels"][format!("l{n:02}")] = json!("x");
        state = state.updated(
            &format!("u{n:02}"),
            &format!("2026-01-01T00:00:{n:02}Z"),
            next,
        );
    }
    let managed = state.managed.clone().unwrap();
    let names: Vec<&str> = managed
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["manager"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 10, "{names:?}");
    assert_eq!(names[0], "ancient-changes");
    assert!(state.fields("ancient-changes")["f:metadata"]["f:labels"]["f:l04"].is_object());
    assert_eq!(names[9], "u13");
}

#[rstest]
#[case::unknown(json!({"spec": {"foo": 1}}), ".spec.foo: field not declared in schema")]
#[case::number(json!({"spec": {"replicas": "x"}}), ".spec.replicas: expected numeric (int or float), got string")]
#[case::text(json!({"metadata": {"labels": {"a": true}}}),
    ".metadata.labels.a: expected string, got &value.valueUnstructured{Value:true}")]
#[case::twice(json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}}}),
    ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]")]
#[case::no_key(json!({"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}),
    ".spec.template.spec.containers: element 0: associative list with keys has an element that omits all key fields [\"name\"] (and doesn't have default values for any key fields)")]
fn configurations_that_do_not_fit_are_refused(#[case] config: Value, #[case] why: &str) {
    assert_eq!(
        message(&problems(deployment(), &config)).as_deref(),
        Some(why)
    );
}

#[test]
fn merged_lists_keep_the_appliers_order_and_the_others_places() {
    let list = |names: &[&str]| -> Value {
        let items: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
        json!({"spec": {"template": {"spec": {"containers": items}}}})
    };
    let merged = merge(
        deployment(),
        &list(&["x", "a", "y", "b"]),
        &list(&["b", "n", "a"]),
    );
    let containers = &merged["spec"]["template"]["spec"]["containers"];
    let names: Vec<&str> = containers
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["x", "y", "b", "n", "a"]);
}

#[test]
fn managed_fields_say_when_they_are_a_reset() {
    assert!(is_reset(&json!([{}])));
    assert!(!is_reset(&json!([])) && !is_reset(&json!([{"manager": "a"}])));
    let one = json!([{"manager": "a", "time": "1"}, {"manager": "b", "time": "2"}]);
    let other = json!([{"manager": "b", "time": "0"}, {"manager": "a", "time": "3"}]);
    assert!(same_but_times(Some(&one), Some(&other)));
    assert!(!same_but_times(Some(&one), None));
}

fn paths() -> impl Strategy<Value = Set<'static>> {
    let step = prop_oneof![
        "[a-c]".prop_map(|name| Step::Field(name.into())),
        (0..3u8).prop_map(|n| Step::Element(format!("k:{{\"name\":\"{n}\"}}").into())),
        (0..3u8).prop_map(|n| Step::Element(format!("v:{n}").into())),
    ];
    let path = prop::collection::vec(step, 1..4);
    prop::collection::vec(path, 0..8).prop_map(|paths| {
        let mut set = Set::default();
        for path in paths {
            set.insert(&path);
        }
        set
    })
}

/// A configuration of one manager: labels under its own prefix, and one container of its own.
fn config(prefix: &'static str) -> impl Strategy<Value = Value> {
    let labels = prop::collection::btree_map("[a-d]", "[x-z]", 0..4);
    (labels, proptest::option::of("[x-z]")).prop_map(move |(labels, image)| {
        let labels: serde_json::Map<String, Value> = labels
            .into_iter()
            .map(|(name, value)| (format!("{prefix}{name}"), json!(value)))
            .collect();
        let containers: Vec<Value> = image
            .map(|image| json!({"name": prefix, "image": image}))
            .into_iter()
            .collect();
        json!({
            "metadata": {"labels": labels},
            "spec": {"template": {"spec": {"containers": containers}}},
        })
    })
}

/// Objects regardless of the order of their lists and keys, and of empty parts.
fn settled(value: &Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            let sorted: std::collections::BTreeMap<&String, Value> = map
                .iter()
                .filter_map(|(k, v)| settled(v).map(|v| (k, v)))
                .collect();
            (!sorted.is_empty()).then(|| json!(sorted))
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().filter_map(settled).collect();
            items.sort_by_key(Value::to_string);
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Null => None,
        scalar @ (Value::Bool(_) | Value::Number(_) | Value::String(_)) => Some(scalar.clone()),
    }
}

proptest! {
    #[test]
    fn sets_obey_their_laws(a in paths(), b in paths(), c in paths()) {
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.union(&a), a.clone());
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(a.intersects(&b), !a.intersection(&b).is_empty());
        prop_assert_eq!(a.covers(&b), b.difference(&a).is_empty());
        let apart = a.intersection(&b.union(&c));
        prop_assert_eq!(apart, a.intersection(&b).union(&a.intersection(&c)));
    }

    #[test]
    fn fields_v1_round_trip(set in paths()) {
        let written = write_fields(&set);
        prop_assert_eq!(read_fields(&written).unwrap(), set);
    }

    #[test]
    fn applying_twice_is_applying_once(first in config("p"), second in config("p")) {
        let state = State::default().applied("m", &first, Force::No).unwrap();
        let once = state.applied("m", &second, Force::No).unwrap();
        let twice = once.applied("m", &second, Force::No).unwrap();
        prop_assert_eq!(twice.managed, once.managed);
        prop_assert_eq!(settled(&twice.object.unwrap()), settled(&once.object.unwrap()));
    }

    #[test]
    fn an_appliers_last_word_counts(first in config("p"), second in config("p")) {
        let state = State::default().applied("m", &first, Force::No).unwrap();
        let state = state.applied("m", &second, Force::No).unwrap();
        prop_assert_eq!(settled(&state.object.unwrap()), settled(&second));
    }

    #[test]
    fn appliers_of_different_fields_commute(
        base in config("z"), ours in config("p"), theirs in config("q"),
    ) {
        let start = State::default().applied("base", &base, Force::No).unwrap();
        let one = start.applied("m", &ours, Force::No).unwrap();
        let one = one.applied("n", &theirs, Force::No).unwrap();
        let other = start.applied("n", &theirs, Force::No).unwrap();
        let other = other.applied("m", &ours, Force::No).unwrap();
        prop_assert_eq!(settled(&one.object.unwrap()), settled(&other.object.unwrap()));
        prop_assert_eq!(one.managed, other.managed);
    }

    #[test]
    fn comparing_finds_exactly_what_differs(old in config("p"), new in config("p")) {
        let found = compare(deployment(), &old, &new);
        prop_assert_eq!(found.is_empty(), old == new);
        let back = compare(deployment(), &new, &old);
        prop_assert_eq!(found.modified, back.modified);
        prop_assert_eq!(found.added, back.removed);
    }
}
