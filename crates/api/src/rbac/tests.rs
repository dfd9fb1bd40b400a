//! Rules from upstream's documentation, and laws that hold for any rules.

use super::*;
use proptest::prelude::*;
use rstest::rstest;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| if word == "core" { "" } else { word }.to_owned())
        .collect()
}

fn rule(verbs: &str, groups: &str, resources: &str, names: &str) -> Rule {
    Rule {
        verbs: words(verbs),
        groups: words(groups),
        resources: words(resources),
        names: words(names),
        urls: Vec::new(),
    }
}

fn paths(verbs: &str, urls: &str) -> Rule {
    Rule {
        verbs: words(verbs),
        urls: words(urls),
        ..Rule::default()
    }
}

/// `verb group resource[/subresource] [name]`.
fn asked(text: &str) -> Attributes<'_> {
    let mut parts = text.split(' ');
    let mut next = || parts.next().unwrap_or_default();
    let (verb, group, full, name) = (next(), next(), next(), next());
    let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
    Attributes {
        verb,
        group: if group == "core" { "" } else { group },
        resource,
        subresource,
        name,
        ..Attributes::default()
    }
}

#[rstest]
#[case::exact(rule("get", "core", "pods", ""), "get core pods", true)]
#[case::other_verb(rule("get", "core", "pods", ""), "list core pods", false)]
#[case::other_group(rule("get", "core", "pods", ""), "get apps pods", false)]
#[case::other_resource(rule("get", "core", "pods", ""), "get core secrets", false)]
#[case::no_subresource(rule("get", "core", "pods", ""), "get core pods/log", false)]
#[case::subresource(rule("create", "core", "pods/exec", ""), "create core pods/exec", true)]
#[case::not_its_parent(rule("create", "core", "pods/exec", ""), "create core pods", false)]
#[case::every_scale(
    rule("update", "*", "*/scale", ""),
    "update apps deployments/scale",
    true
)]
#[case::scale_only(
    rule("update", "*", "*/scale", ""),
    "update apps deployments/status",
    false
)]
#[case::scale_not_main(rule("update", "*", "*/scale", ""), "update apps deployments", false)]
#[case::no_half_star(rule("get", "*", "pods/*", ""), "get core pods/log", false)]
#[case::every_verb(rule("*", "core", "pods", ""), "escalate core pods", true)]
#[case::every_group(rule("get", "*", "widgets", ""), "get demo.io widgets", true)]
#[case::star_has_subresources(rule("get", "core", "*", ""), "get core pods/log", true)]
#[case::named(rule("get", "core", "pods", "a b"), "get core pods b", true)]
#[case::other_name(rule("get", "core", "pods", "a"), "get core pods b", false)]
#[case::no_name(rule("list", "core", "pods", "a"), "list core pods", false)]
#[case::no_groups(rule("get", "", "pods", ""), "get core pods", false)]
fn a_rule_allows(#[case] rule: Rule, #[case] text: &str, #[case] allowed: bool) {
    assert_eq!(rule.allows(&asked(text)), allowed);
}

#[rstest]
#[case("/healthz", "/healthz", true)]
#[case("/healthz", "/healthz/etcd", false)]
#[case("/healthz/*", "/healthz/etcd", true)]
#[case("/healthz/*", "/healthz", false)]
#[case("/api*", "/apis/apps", true)]
#[case("*", "/anything", true)]
#[case("/*/x", "/a/x", false)]
fn a_rule_allows_paths(#[case] url: &str, #[case] path: &str, #[case] allowed: bool) {
    let asked = Attributes {
        verb: "get",
        path,
        ..Attributes::default()
    };
    assert_eq!(paths("get", url).allows(&asked), allowed);
    let pods = Attributes {
        resource: "pods",
        ..asked
    };
    assert!(!paths("get", url).allows(&pods));
}

#[rstest]
#[case::split_over_rules(
    &[rule("get", "core", "pods", ""), rule("list", "core", "pods", "")],
    rule("get list", "core", "pods", ""), "")]
#[case::verbs_are_merged(&[], rule("get list", "core", "pods", ""),
    r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#)]
#[case::names_are_narrower(&[rule("get", "core", "pods", "a")], rule("get", "core", "pods", ""),
    r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#)]
#[case::one_of_two_names(&[rule("get", "core", "pods", "a")], rule("get", "core", "pods", "a b"),
    r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}"#)]
#[case::a_star_holds_all(&[rule("*", "*", "*", "")], rule("get", "apps", "deployments/scale", "x"), "")]
#[case::a_star_is_more(&[rule("get list", "core", "pods", "")], rule("*", "core", "pods", ""),
    r#"{APIGroups:[""], Resources:["pods"], Verbs:["*"]}"#)]
#[case::every_scale(&[rule("get", "apps", "*/scale", "")], rule("get", "apps", "a/scale", ""), "")]
#[case::paths(&[paths("get", "/api/*")], paths("get", "/api/v1 /apis"),
    r#"{NonResourceURLs:["/apis"], Verbs:["get"]}"#)]
fn missing_rights_are_named(#[case] held: &[Rule], #[case] wanted: Rule, #[case] want: &str) {
    let got = uncovered(held, &[wanted]).map(|missing| missing.to_string());
    assert_eq!(got.unwrap_or_default(), want);
}

fn some_rule() -> impl Strategy<Value = Rule> {
    let list = |words: &'static [&'static str], most: usize| {
        prop::collection::vec(
            prop::sample::select(words).prop_map(str::to_owned),
            0..=most,
        )
    };
    let lists = (
        list(&["get", "list", "*"], 2),
        list(&["", "apps", "*"], 2),
        list(&["pods", "pods/scale", "*/scale", "*"], 2),
        list(&["a", "b"], 1),
        list(&["/x", "/x/*", "*", "/x/y"], 2),
    );
    lists.prop_map(|(verbs, groups, resources, names, urls)| Rule {
        verbs,
        groups,
        resources,
        names,
        urls,
    })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(some_rule(), 0..4)
}

/// Every request over the words the rules are made of.
fn requests() -> Vec<Attributes<'static>> {
    let mut out = Vec::new();
    for verb in ["get", "list", "delete"] {
        for path in ["/x", "/x/y", "/z"] {
            let path = Attributes {
                verb,
                path,
                ..Attributes::default()
            };
            out.push(path);
        }
        for (group, resource) in [("", "pods"), ("apps", "pods"), ("apps", "other")] {
            for (subresource, name) in [("", ""), ("scale", "a"), ("scale", "b"), ("log", "a")] {
                out.push(Attributes {
                    verb,
                    group,
                    resource,
                    subresource,
                    name,
                    ..Attributes::default()
                });
            }
        }
    }
    out
}

fn allowed(rules: &[Rule], request: &Attributes<'_>) -> bool {
    rules.iter().any(|rule| rule.allows(request))
}

proptest! {
    #[test]
    fn one_more_rule_never_takes_a_permission_away(mut held in rules(), more in some_rule()) {
        let before: Vec<bool> = requests().iter().map(|r| allowed(&held, r)).collect();
        held.push(more);
        for (request, before) in requests().iter().zip(before) {
            prop_assert!(!before || allowed(&held, request), "{request:?}");
        }
    }

    #[test]
    fn who_holds_the_rules_may_do_what_they_allow(held in rules(), wanted in rules()) {
        if uncovered(&held, &wanted).is_none() {
            for request in requests() {
                prop_assert!(!allowed(&wanted, &request) || allowed(&held, &request), "{request:?}");
            }
        }
    }

    #[test]
    fn holding_is_reflexive_and_transitive(a in rules(), b in rules(), c in rules()) {
        prop_assert_eq!(uncovered(&a, &a), None);
        if uncovered(&a, &b).is_none() && uncovered(&b, &c).is_none() {
            prop_assert_eq!(uncovered(&a, &c), None);
        }
    }

    #[test]
    fn a_rule_is_its_json(rule in some_rule()) {
        prop_assert_eq!(Rule::parse(&rule.to_value()), rule);
    }
}
