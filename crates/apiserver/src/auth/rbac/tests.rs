//! The table of default roles, and the index.

use super::policy::seeds;
use super::*;
use crate::store::{Entry, Key};
use plimsoll_api::meta;
use rstest::rstest;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn entry(resource: usize, namespace: &str, name: &str, object: &Value) -> Entry {
    Entry {
        key: Key {
            resource: RESOURCES[resource].into(),
            namespace: namespace.into(),
            name: name.into(),
        },
        uid: "u".into(),
        revision: 2,
        json: object.to_string().into(),
        index: crate::store::Index::default(),
    }
}

fn role(verbs: &[&str], resources: &[&str]) -> Value {
    json!({"rules": [{"verbs": verbs, "apiGroups": [""], "resources": resources}]})
}

fn bound(role_kind: &str, role: &str, subjects: &Value) -> Value {
    json!({"roleRef": {"kind": role_kind, "name": role}, "subjects": subjects})
}

fn asked<'a>(verb: &'a str, resource: &'a str, namespace: &'a str) -> Attributes<'a> {
    Attributes {
        verb,
        resource,
        namespace,
        ..Attributes::default()
    }
}

fn sample() -> Index {
    let mut index = Index::default();
    index.put(&entry(0, "", "reader", &role(&["get"], &["pods"])));
    index.put(&entry(1, "a", "writer", &role(&["create"], &["pods"])));
    let jane = json!([{"kind": "User", "name": "jane"}]);
    let dev = json!([{"kind": "Group", "name": "dev"}]);
    let bot = json!([{"kind": "ServiceAccount", "name": "bot", "namespace": "b"}]);
    index.put(&entry(
        2,
        "",
        "janes",
        &bound("ClusterRole", "reader", &jane),
    ));
    index.put(&entry(3, "a", "devs", &bound("Role", "writer", &dev)));
    index.put(&entry(
        3,
        "a",
        "bots",
        &bound("ClusterRole", "reader", &bot),
    ));
    index.put(&entry(3, "a", "broken", &bound("Role", "gone", &bot)));
    index
}

#[rstest]
#[case::everywhere("jane", &[], ("get", "pods", "z"),
    Some(r#"RBAC: allowed by ClusterRoleBinding "janes" of ClusterRole "reader" to User "jane""#))]
#[case::no_other_verb("jane", &[], ("list", "pods", "z"), None)]
#[case::cluster_scope("jane", &[], ("get", "pods", ""),
    Some(r#"RBAC: allowed by ClusterRoleBinding "janes" of ClusterRole "reader" to User "jane""#))]
#[case::by_group("joe", &["dev"], ("create", "pods", "a"),
    Some(r#"RBAC: allowed by RoleBinding "devs/a" of Role "writer" to Group "dev""#))]
#[case::only_there("joe", &["dev"], ("create", "pods", "b"), None)]
#[case::not_cluster_wide("joe", &["dev"], ("create", "pods", ""), None)]
#[case::account("system:serviceaccount:b:bot", &[], ("get", "pods", "a"),
    Some(r#"RBAC: allowed by RoleBinding "bots/a" of ClusterRole "reader" to ServiceAccount "bot/b""#))]
#[case::other_account("system:serviceaccount:a:bot", &[], ("get", "pods", "a"), None)]
#[case::nobody("eve", &[], ("get", "pods", "a"), None)]
fn bindings_allow(
    #[case] user: &str,
    #[case] groups: &[&str],
    #[case] what: (&str, &str, &str),
    #[case] reason: Option<&str>,
) {
    let decision = sample().decide(&Identity::new(user, groups), &asked(what.0, what.1, what.2));
    assert_eq!(decision.allowed, reason.is_some());
    assert_eq!(decision.reason, reason.unwrap_or_default());
}

#[test]
fn a_missing_role_is_named_and_what_is_removed_counts_no_more() {
    let mut index = sample();
    let bot = Identity::new("system:serviceaccount:b:bot", &[]);
    let create = asked("create", "pods", "a");
    assert_eq!(
        index.decide(&bot, &create).reason,
        "RBAC: role.rbac.authorization.k8s.io \"gone\" not found"
    );
    index.put(&entry(1, "a", "gone", &role(&["*"], &["*"])));
    assert!(index.decide(&bot, &create).allowed);
    index.remove(&entry(3, "a", "broken", &Value::Null).key);
    assert_eq!(index.decide(&bot, &create), Decision::default());
    // A binding whose subjects change no longer counts for the old ones.
    let joe = json!([{"kind": "User", "name": "joe"}]);
    index.put(&entry(
        2,
        "",
        "janes",
        &bound("ClusterRole", "reader", &joe),
    ));
    let get = asked("get", "pods", "z");
    assert!(!index.decide(&Identity::new("jane", &[]), &get).allowed);
    assert!(index.decide(&Identity::new("joe", &[]), &get).allowed);
}

#[test]
fn the_table_holds_whole_roles_and_bindings_to_them() {
    let seeds = seeds();
    let mut names: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for seed in &seeds {
        let place = (
            seed.plural,
            seed.namespace.as_str(),
            meta::name(&seed.object),
        );
        *names.entry(place).or_default() += 1;
    }
    assert!(names.values().all(|count| *count == 1), "{names:?}");
    let counts = |plural| seeds.iter().filter(|s| s.plural == plural).count();
    assert_eq!((counts("roles"), counts("rolebindings")), (7, 7));
    assert_eq!(
        (counts("clusterroles"), counts("clusterrolebindings")),
        (67, 49)
    );
    for seed in seeds.iter().filter(|s| s.plural.ends_with("roles")) {
        let rules = Rule::all_of(&seed.object);
        assert!(!rules.is_empty(), "{}", seed.object);
        for rule in rules {
            let whole = !rule.verbs.is_empty()
                && rule.urls.is_empty() != (rule.groups.is_empty() && rule.resources.is_empty());
            assert!(whole, "{rule} of {}", seed.object);
        }
    }
    for seed in seeds.iter().filter(|s| s.plural.ends_with("bindings")) {
        let plural = seed.plural.replace("rolebindings", "roles");
        let role = meta::text(&seed.object, &["roleRef", "name"]);
        let known = names.contains_key(&(&plural, seed.namespace.as_str(), role));
        assert!(known, "{}", seed.object);
    }
}

#[test]
fn admin_edit_and_view_hold_what_carries_their_labels() {
    let seeds = seeds();
    let rules = |name: &str| {
        let mut found = seeds.iter().filter(|s| meta::name(&s.object) == name);
        Rule::all_of(&found.next().unwrap().object)
    };
    let allows = |name: &str, verb: &str, resource: &str| {
        rules(name)
            .iter()
            .any(|rule| rule.allows(&asked(verb, resource, "")))
    };
    assert!(allows("view", "list", "pods") && !allows("view", "list", "secrets"));
    assert!(allows("edit", "list", "secrets") && allows("edit", "list", "pods"));
    let creating = Attributes {
        group: "rbac.authorization.k8s.io",
        ..asked("create", "roles", "")
    };
    let may = |name: &str| rules(name).iter().any(|rule| rule.allows(&creating));
    assert!(may("admin") && !may("edit"));
}
