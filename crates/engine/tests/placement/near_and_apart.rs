//! Affinity and anti-affinity between pods.

use crate::build::*;
use plimsoll_engine::placement::*;
use rstest::rstest;
use std::collections::BTreeSet;

/// Nodes a1, a2 in zone a; b1 in zone b; x without a zone. An app "db" runs on a1.
fn world() -> Snapshot {
    let mut snapshot = cluster(&[("a1", "a"), ("a2", "a"), ("b1", "b"), ("x", "")]);
    snapshot.place("a1", pod("db-0", app("db")));
    snapshot
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[rstest]
#[case::near_on_the_node(HOSTNAME, &["a1"])]
#[case::near_in_the_zone(ZONE, &["a1", "a2"])]
#[case::a_key_no_node_has("rack", &[])]
fn required_affinity(#[case] key: &str, #[case] expected: &[&str]) {
    let mut web = app("web");
    web.pod_affinity = required(vec![term("db", key)]);
    assert_eq!(fitting(&mut world(), &web), set(expected));
}

#[rstest]
#[case::apart_by_node(HOSTNAME, &["a2", "b1", "x"])]
#[case::apart_by_zone(ZONE, &["b1", "x"])]
#[case::a_key_no_node_has("rack", &["a1", "a2", "b1", "x"])]
fn required_anti_affinity(#[case] key: &str, #[case] expected: &[&str]) {
    let mut web = app("web");
    web.pod_anti_affinity = required(vec![term("db", key)]);
    assert_eq!(fitting(&mut world(), &web), set(expected));
}

#[test]
fn anti_affinity_holds_for_the_one_that_comes_later_too() {
    let mut snapshot = world();
    let mut shy = app("shy");
    shy.pod_anti_affinity = required(vec![term("web", ZONE)]);
    snapshot.place("b1", pod("shy-0", shy));
    assert_eq!(fitting(&mut snapshot, &app("web")), set(&["a1", "a2", "x"]));
    assert_eq!(fitting(&mut snapshot, &app("other")).len(), 4);
    snapshot.displace("default", "shy-0");
    assert_eq!(fitting(&mut snapshot, &app("web")).len(), 4);
}

#[test]
fn the_reasons_are_told_apart() {
    let mut snapshot = cluster(&[("a1", "a")]);
    snapshot.place("a1", pod("db-0", app("db")));
    let mut web = app("web");
    web.pod_affinity = required(vec![term("cache", ZONE)]);
    let reason = |snapshot: &mut Snapshot, spec: &PodSpec| refusals(snapshot, spec).remove("a1");
    assert_eq!(
        reason(&mut snapshot, &web),
        Some(vec![Refusal::NotNearRequiredPods])
    );
    web.pod_affinity = PodAffinity::default();
    web.pod_anti_affinity = required(vec![term("db", ZONE)]);
    assert_eq!(
        reason(&mut snapshot, &web),
        Some(vec![Refusal::NearAvoidedPods])
    );
    let mut shy = app("shy");
    shy.pod_anti_affinity = required(vec![term("web", ZONE)]);
    snapshot.place("a1", pod("shy-0", shy));
    assert_eq!(
        reason(&mut snapshot, &app("web")),
        Some(vec![Refusal::AvoidedByPods])
    );
}

#[test]
fn the_first_of_a_group_may_go_anywhere_the_label_is() {
    let mut snapshot = cluster(&[("a1", "a"), ("b1", "b"), ("x", "")]);
    let mut group = app("group");
    group.pod_affinity = required(vec![term("group", ZONE)]);
    assert_eq!(fitting(&mut snapshot, &group), set(&["a1", "b1"]));
    snapshot.place("b1", pod("group-0", group.clone()));
    assert_eq!(fitting(&mut snapshot, &group), set(&["b1"]));
}

#[test]
fn one_pod_must_satisfy_all_terms() {
    let mut snapshot = world();
    let mut both = app("db");
    both.labels.insert("tier".into(), "back".into());
    let mut web = app("web");
    let tier = PodTerm {
        selector: Some(select("tier", "back")),
        ..term("", ZONE)
    };
    web.pod_affinity = required(vec![term("db", ZONE), tier]);
    snapshot.place(
        "b1",
        pod(
            "back",
            PodSpec {
                labels: labels(&[("tier", "back")]),
                ..spec(1)
            },
        ),
    );
    assert_eq!(fitting(&mut snapshot, &web), set(&[]));
    snapshot.place("a2", pod("both", both));
    assert_eq!(fitting(&mut snapshot, &web), set(&["a1", "a2"]));
}

#[rstest]
#[case::own_namespace_by_default(&[], None, &["a2", "b1", "x"])]
#[case::a_named_one(&["team-b"], None, &["a1", "b1", "x"])]
#[case::both_named(&["default", "team-b"], None, &["b1", "x"])]
#[case::by_label(&[], Some(("team", "b")), &["a1", "b1", "x"])]
#[case::named_or_by_label(&["default"], Some(("team", "b")), &["b1", "x"])]
#[case::all(&[], Some(("", "")), &["b1", "x"])]
fn namespaces_of_terms(
    #[case] names: &[&str],
    #[case] by_label: Option<(&str, &str)>,
    #[case] expected: &[&str],
) {
    let mut snapshot = world();
    snapshot.set_namespace("default", Some(labels(&[])));
    snapshot.set_namespace("team-b", Some(labels(&[("team", "b")])));
    snapshot.place("a2", PodFacts::new("team-b", "db-0", app("db")));
    let selector = by_label.map(|(key, value)| match key {
        "" => LabelSelector::default(),
        key => select(key, value),
    });
    let mut web = app("web");
    web.pod_anti_affinity = required(vec![PodTerm {
        namespaces: names.iter().map(|n| (*n).to_owned()).collect(),
        namespace_selector: selector,
        ..term("db", HOSTNAME)
    }]);
    assert_eq!(fitting(&mut snapshot, &web), set(expected));
}

#[test]
fn a_namespace_that_is_relabelled_is_selected_anew() {
    let mut snapshot = world();
    let mut web = app("web");
    web.pod_anti_affinity = required(vec![PodTerm {
        namespace_selector: Some(select("team", "a")),
        ..term("db", HOSTNAME)
    }]);
    assert_eq!(fitting(&mut snapshot, &web).len(), 4);
    snapshot.set_namespace("default", Some(labels(&[("team", "a")])));
    assert_eq!(fitting(&mut snapshot, &web), set(&["a2", "b1", "x"]));
    snapshot.set_namespace("default", None);
    assert_eq!(fitting(&mut snapshot, &web).len(), 4);
}

#[test]
fn label_keys_narrow_terms_to_the_same_or_to_other_versions() {
    let version = |version: &str| {
        let mut spec = app("web");
        spec.labels.insert("version".into(), version.into());
        spec
    };
    let mut snapshot = cluster(&[("a1", "a"), ("b1", "b")]);
    snapshot.place("a1", pod("old", version("1")));
    snapshot.place("b1", pod("new", version("2")));
    let mut next = version("2");
    next.pod_anti_affinity = required(vec![PodTerm {
        match_label_keys: vec!["version".into(), "absent".into()],
        ..term("web", HOSTNAME)
    }]);
    assert_eq!(fitting(&mut snapshot, &next), set(&["a1"]));
    next.pod_anti_affinity = required(vec![PodTerm {
        mismatch_label_keys: vec!["version".into()],
        ..term("web", HOSTNAME)
    }]);
    assert_eq!(fitting(&mut snapshot, &next), set(&["b1"]));
}

#[rstest]
#[case::liked(preferred(10, term("db", ZONE)), PodAffinity::default(), &["a1", "a2"])]
#[case::disliked(PodAffinity::default(), preferred(10, term("db", ZONE)), &["b1", "x"])]
#[case::the_stronger_wins(preferred(10, term("db", ZONE)), preferred(20, term("db", HOSTNAME)), &["a2"])]
fn preferences(#[case] near: PodAffinity, #[case] apart: PodAffinity, #[case] winners: &[&str]) {
    let mut snapshot = world();
    // Free, so that resources do not tell the nodes apart.
    snapshot.place(
        "a1",
        pod(
            "db-0",
            PodSpec {
                requests: Resources::default(),
                ..app("db")
            },
        ),
    );
    let mut web = PodSpec {
        requests: Resources::default(),
        ..app("web")
    };
    (web.pod_affinity, web.pod_anti_affinity) = (near, apart);
    let report = explain(&mut snapshot, &pod("web", web));
    let liking = |n: &NodeReport| n.scores.map(|s| s.inter_pod_affinity);
    let most = report.nodes.iter().filter_map(liking).max();
    assert_eq!(most, Some(200));
    let best = report.nodes.iter().filter(|n| liking(n) == most);
    assert_eq!(
        best.map(|n| n.node.clone()).collect::<BTreeSet<_>>(),
        set(winners)
    );
}

#[rstest]
#[case::required_counts_a_little(required(vec![term("web", ZONE)]), PodAffinity::default(), 200, 0)]
#[case::preferred_counts(preferred(5, term("web", ZONE)), PodAffinity::default(), 200, 0)]
#[case::disliked_counts_against(PodAffinity::default(), preferred(5, term("web", ZONE)), 0, 200)]
fn what_running_pods_wish_counts_too(
    #[case] near: PodAffinity,
    #[case] apart: PodAffinity,
    #[case] here: i64,
    #[case] elsewhere: i64,
) {
    let mut snapshot = cluster(&[("a1", "a"), ("b1", "b")]);
    let mut db = app("db");
    (db.pod_affinity, db.pod_anti_affinity) = (near, apart);
    snapshot.place("a1", pod("db-0", db));
    let report = explain(&mut snapshot, &pod("web", app("web")));
    let liking: Vec<i64> = report
        .nodes
        .iter()
        .filter_map(|n| n.scores.map(|s| s.inter_pod_affinity))
        .collect();
    assert_eq!(liking, [here, elsewhere]);
}

#[test]
fn a_node_that_moves_to_another_zone_takes_its_pods_along() {
    let mut snapshot = world();
    let mut web = app("web");
    web.pod_affinity = required(vec![term("db", ZONE)]);
    assert_eq!(fitting(&mut snapshot, &web), set(&["a1", "a2"]));
    snapshot.set_node(node("a1", "b", 1000));
    assert_eq!(fitting(&mut snapshot, &web), set(&["a1", "b1"]));
    snapshot.remove_node("a1");
    assert_eq!(fitting(&mut snapshot, &web), set(&[]));
}
