//! Patches.
#![expect(clippy::unwrap_used, reason = "builders of test data")]

use plimsoll_api::patch;
use plimsoll_api::schema::{self, TypeId};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn ty(kind: &str) -> TypeId {
    schema::by_kind("apps", "v1", kind)
        .or_else(|| schema::by_kind("", "v1", kind))
        .unwrap()
}

fn pod(spec: &Value) -> Value {
    json!({"spec": spec})
}

#[rstest]
#[case::a_named_container_merges(
    json!({"containers": [{"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "1"}]}),
    json!({"containers": [{"name": "b", "image": "2"}]}),
    json!({"containers": [{"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "2"}]}))]
#[case::a_new_container_comes_first(
    json!({"containers": [{"name": "a"}]}),
    json!({"containers": [{"name": "b", "image": null, "command": ["x"]}]}),
    json!({"containers": [{"name": "b", "command": ["x"]}, {"name": "a"}]}))]
#[case::the_order_directive_orders(
    json!({"containers": [{"name": "a"}]}),
    json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b"}]}),
    json!({"containers": [{"name": "a"}, {"name": "b"}]}))]
#[case::order_alone_reorders(
    json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
    json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}),
    json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]}))]
#[case::an_element_is_deleted(
    json!({"containers": [{"name": "a"}, {"name": "b"}]}),
    json!({"containers": [{"name": "a", "$patch": "delete"}]}),
    json!({"containers": [{"name": "b"}]}))]
#[case::a_list_is_replaced(
    json!({"containers": [{"name": "a", "image": "1"}, {"name": "b"}]}),
    json!({"containers": [{"name": "a"}, {"$patch": "replace"}]}),
    json!({"containers": [{"name": "a"}]}))]
#[case::atomic_lists_are_replaced(
    json!({"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["1", "2"]}]}),
    json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]}),
    json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]}))]
#[case::an_object_is_replaced(
    json!({"nodeSelector": {"a": "1"}, "securityContext": {"runAsUser": 1}}),
    json!({"nodeSelector": {"b": "2"}, "securityContext": {"$patch": "replace", "fsGroup": 2}}),
    json!({"nodeSelector": {"a": "1", "b": "2"}, "securityContext": {"fsGroup": 2}}))]
#[case::an_object_is_emptied(
    json!({"securityContext": {"runAsUser": 1}}),
    json!({"securityContext": {"$patch": "delete"}}),
    json!({"securityContext": {}}))]
#[case::null_deletes(
    json!({"nodeName": "n", "hostname": "h"}),
    json!({"nodeName": null, "subdomain": null}),
    json!({"hostname": "h"}))]
#[case::keys_are_retained(
    json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
    json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}),
    json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}))]
#[case::nested_lists_merge_by_their_own_key(
    json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}], "env": [{"name": "A", "value": "1"}]}]}),
    json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "A", "value": "2"}]}]}),
    json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x", "protocol": "TCP"}], "env": [{"name": "A", "value": "2"}]}]}))]
fn a_strategic_patch_merges(#[case] before: Value, #[case] change: Value, #[case] after: Value) {
    let got = patch::strategic(ty("Pod"), &pod(&before), &pod(&change)).unwrap();
    assert_eq!(got, pod(&after));
}

#[test]
fn sets_of_scalars_merge_and_lose_elements() {
    let before = json!({"metadata": {"finalizers": ["a", "b"]}});
    let add = json!({"metadata": {"finalizers": ["c", "a"]}});
    let got = patch::strategic(ty("Pod"), &before, &add).unwrap();
    assert_eq!(got, json!({"metadata": {"finalizers": ["c", "a", "b"]}}));
    let remove = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "x"]}});
    let got = patch::strategic(ty("Pod"), &before, &remove).unwrap();
    assert_eq!(got, json!({"metadata": {"finalizers": ["b"]}}));
}

#[test]
fn a_disruption_budgets_selector_is_replaced() {
    let id = schema::by_kind("policy", "v1", "PodDisruptionBudget").unwrap();
    let before = json!({"spec": {"selector": {"matchLabels": {"a": "1"}}}});
    let change = json!({"spec": {"selector": {"matchLabels": {"b": "2"}}}});
    assert_eq!(patch::strategic(id, &before, &change).unwrap(), change);
}

#[rstest]
#[case(json!([]), "a strategic merge patch must be an object")]
#[case(json!({"$patch": "explode"}), "unknown patch type: explode in map: map[$patch:explode]")]
#[case(pod(&json!({"containers": [{"image": "x"}]})),
    "map: map[image:x] does not contain declared merge key: name")]
#[case(pod(&json!({"containers": ["x"]})), "map: x does not contain declared merge key: name")]
#[case(pod(&json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]})),
    "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n")]
#[case(pod(&json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
    "containers": [{"name": "b"}, {"name": "a"}]})),
    "The order in patch list:\n[map[name:b] map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:a] map[name:b]]\n")]
#[case(pod(&json!({"$setElementOrder/containers": 1})), "invalid patch format of setElementOrder list")]
#[case(pod(&json!({"$deleteFromPrimitiveList/x": 1})), "invalid patch format of primitive list")]
#[case(pod(&json!({"containers": [{"name": "a", "$patch": "merge"}]})),
    "merging lists cannot yet be specified in the patch")]
#[case(pod(&json!({"containers": [{"name": "a", "$patch": "fly"}]})),
    "unknown patch type: fly in map: map[$patch:fly name:a]")]
#[case(pod(&json!({"$retainKeys": ["a"], "nodeName": "x"})),
    "invalid patch format of retainKeys")]
fn a_malformed_strategic_patch_is_refused(#[case] change: Value, #[case] why: &str) {
    let error = patch::strategic(ty("Pod"), &json!({}), &change).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (400, why));
}

#[test]
fn json_patches_apply_in_order_or_not_at_all() {
    let before = json!({"a": 1});
    let good = br#"[{"op":"test","path":"/a","value":1},{"op":"add","path":"/b","value":[1]},{"op":"remove","path":"/a"}]"#;
    assert_eq!(patch::json(&before, good).unwrap(), json!({"b": [1]}));
    let refused = |text: &[u8]| {
        let error = patch::json(&before, text).unwrap_err();
        (error.code, error.message)
    };
    let (code, message) = refused(br#"[{"op":"test","path":"/a","value":2}]"#);
    assert_eq!(code, 422);
    assert_eq!(
        message,
        "the server rejected our request due to an error in our request"
    );
    assert_eq!(refused(br#"[{"op":"remove","path":"/nope"}]"#).0, 422);
    assert_eq!(refused(br#"[{"op":"fly","path":"/a"}]"#).0, 400);
    assert_eq!(refused(b"{").0, 400);
    let many = vec![r#"{"op":"test","path":"/a","value":1}"#; 10_001].join(",");
    assert_eq!(refused(format!("[{many}]").as_bytes()).0, 413);
    let doubling: Vec<_> = (0..60)
        .map(|n| format!(r#"{{"op":"copy","from":"","path":"/x{n}"}}"#))
        .collect();
    assert_eq!(
        refused(format!("[{}]", doubling.join(",")).as_bytes()).0,
        413
    );
}

#[test]
fn a_merge_patch_deletes_nulls_and_replaces_lists() {
    let mut object = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
    patch::merge(&mut object, &json!({"a": {"b": null}, "l": [3]}));
    assert_eq!(object, json!({"a": {"c": 2}, "l": [3]}));
}

fn containers() -> impl Strategy<Value = Value> {
    let container = (
        prop::option::of("[xy]"),
        prop::option::of(prop::collection::vec("[pq]", 0..3)),
    )
        .prop_map(|(image, args)| json!({"image": image, "args": args}));
    prop::collection::btree_map("[a-e]", container, 0..4).prop_flat_map(|map| {
        let list: Vec<Value> = map
            .into_iter()
            .map(|(name, mut c)| {
                let fields = c.as_object_mut().unwrap();
                fields.retain(|_, v| !v.is_null());
                fields.insert("name".into(), name.into());
                c
            })
            .collect();
        Just(list)
            .prop_shuffle()
            .prop_map(|list| json!({"spec": {"containers": list}}))
    })
}

proptest! {
    #[test]
    fn an_empty_patch_changes_nothing(object in containers()) {
        let got = patch::strategic(ty("Pod"), &object, &json!({})).unwrap();
        prop_assert_eq!(&got, &object);
        let got = patch::strategic(ty("Pod"), &object, &json!({"spec": {}})).unwrap();
        prop_assert_eq!(got, object);
    }

    #[test]
    fn applying_a_patch_twice_is_applying_it_once(object in containers(), change in containers()) {
        let once = patch::strategic(ty("Pod"), &object, &change).unwrap();
        let twice = patch::strategic(ty("Pod"), &once, &change).unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn every_container_of_either_side_survives(object in containers(), change in containers()) {
        let merged = patch::strategic(ty("Pod"), &object, &change).unwrap();
        let names = |value: &Value| -> std::collections::BTreeSet<String> {
            let list = value["spec"]["containers"].as_array().cloned().unwrap_or_default();
            list.iter().map(|c| c["name"].to_string()).collect()
        };
        let both: std::collections::BTreeSet<_> =
            names(&object).union(&names(&change)).cloned().collect();
        prop_assert_eq!(names(&merged), both);
    }
}
