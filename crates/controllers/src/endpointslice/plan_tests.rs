//! Plans of slices.

use super::{Endpoint, EndpointConditions, Existing, Group, Plan, plan};
use crate::endpointslice::members::{EndpointPort, TargetRef};
use crate::runtime::ObjectKey;
use proptest::prelude::*;
use std::collections::BTreeMap;

const LIMIT: usize = 100;

fn group() -> Group {
    ("IPv4".into(), Vec::new())
}

fn port(number: u16) -> Group {
    let port = EndpointPort {
        name: Some(String::new()),
        port: Some(number),
        protocol: Some("TCP".into()),
        app_protocol: None,
    };
    ("IPv4".into(), vec![port])
}

fn endpoint(n: usize) -> Endpoint {
    let uid = format!("uid-{n}");
    Endpoint {
        addresses: vec![format!("10.0.{}.{}", n / 250, n % 250)],
        conditions: EndpointConditions::default(),
        hostname: None,
        node_name: None,
        target_ref: Some(TargetRef {
            kind: "Pod".into(),
            namespace: "n".into(),
            name: uid.clone(),
            uid,
        }),
        zone: None,
        hints: None,
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("n", name)
}

fn endpoints(range: std::ops::Range<usize>) -> Vec<Endpoint> {
    range.map(endpoint).collect()
}

fn slice(name: &str, range: std::ops::Range<usize>) -> Existing {
    Existing {
        key: key(name),
        group: group(),
        endpoints: endpoints(range),
        outdated: false,
    }
}

fn wanted(range: std::ops::Range<usize>) -> BTreeMap<Group, Vec<Endpoint>> {
    BTreeMap::from([(group(), endpoints(range))])
}

/// What is left and made: (slice or `+`, number of endpoints) for each write, `-` for deletions.
fn writes(plan: &Plan) -> Vec<(String, usize)> {
    let updates = plan.update.iter();
    let updates = updates.map(|(key, _, list)| (key.name.to_string(), list.len()));
    let creations = plan
        .create
        .iter()
        .map(|(_, list)| ("+".to_owned(), list.len()));
    let deletions = plan.delete.iter().map(|key| (format!("-{}", key.name), 0));
    updates.chain(creations).chain(deletions).collect()
}

#[rstest::rstest]
#[case::no_pods_make_one_empty_slice(vec![], 0..0, &[("+", 0)])]
#[case::an_empty_slice_stays(vec![slice("a", 0..0)], 0..0, &[])]
#[case::nothing_changes_when_nothing_changed(vec![slice("a", 0..5)], 0..5, &[])]
#[case::the_first_endpoint_fills_the_empty_slice(vec![slice("a", 0..0)], 0..1, &[("a", 1)])]
#[case::new_ones_go_into_the_slice_with_room(vec![slice("a", 0..90)], 0..95, &[("a", 95)])]
#[case::what_does_not_fit_as_a_whole_goes_into_a_new_slice(vec![slice("a", 0..90)], 0..101, &[("+", 11)])]
#[case::many_make_full_slices(vec![], 0..250, &[("+", 100), ("+", 100), ("+", 50)])]
#[case::a_full_slice_and_the_rest_into_the_old_one(
    vec![slice("a", 0..90)], 0..195, &[("a", 95), ("+", 100)])]
#[case::the_best_filled_slice_is_used(
    vec![slice("a", 0..10), slice("b", 10..60), slice("c", 60..159)], 0..169, &[("b", 60)])]
#[case::slices_that_change_anyway_are_filled_first(
    // Endpoint 0 is gone from `a`.
    vec![slice("a", 0..10), slice("b", 10..60)], 1..62, &[("a", 11)])]
#[case::the_last_endpoint_leaves_an_empty_slice(vec![slice("a", 0..1)], 0..0, &[("a", 0)])]
#[case::all_others_are_deleted(
    vec![slice("a", 0..1), slice("b", 1..2)], 0..0, &[("a", 0), ("-b", 0)])]
#[case::an_emptied_slice_goes(vec![slice("a", 0..1), slice("b", 1..2)], 0..1, &[("-b", 0)])]
#[case::all_replaced_stay_in_the_slice(vec![slice("a", 0..3)], 5..9, &[("a", 4)])]
fn endpoints_find_their_places(
    #[case] existing: Vec<Existing>,
    #[case] want: std::ops::Range<usize>,
    #[case] told: &[(&str, usize)],
) {
    let got = plan(existing, wanted(want), LIMIT);
    let got = writes(&got);
    let got: Vec<_> = got
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(got, told);
}

#[test]
fn a_slice_with_old_labels_is_written_as_it_is() {
    let mut old = slice("a", 0..3);
    old.outdated = true;
    assert_eq!(
        writes(&plan(vec![old], wanted(0..3), LIMIT)),
        [("a".to_owned(), 3)]
    );
}

#[test]
fn other_ports_reuse_the_slice() {
    let mut old = slice("a", 0..3);
    old.group = port(80);
    let wanted = BTreeMap::from([(port(81), endpoints(0..3))]);
    let got = plan(vec![old], wanted, LIMIT);
    assert_eq!(got.update, [(key("a"), port(81), endpoints(0..3))]);
    assert!(got.create.is_empty() && got.delete.is_empty());
}

#[test]
fn addresses_of_another_family_need_another_slice() {
    let mut old = slice("a", 0..1);
    old.group.0 = "IPv6".into();
    let got = plan(vec![old], wanted(0..1), LIMIT);
    assert_eq!(writes(&got), [("+".to_owned(), 1), ("-a".to_owned(), 0)]);
}

#[test]
fn endpoints_without_a_pod_are_told_apart_by_address() {
    let mut old = slice("a", 0..2);
    let mut list = endpoints(0..3);
    for endpoint in old.endpoints.iter_mut().chain(&mut list) {
        endpoint.target_ref = None;
    }
    let wanted = BTreeMap::from([(group(), list.clone())]);
    let got = plan(vec![old], wanted, LIMIT);
    assert_eq!(got.update, [(key("a"), group(), list)]);
}

proptest! {
    /// Whatever there was: afterwards every endpoint is in one slice of its ports, no slice is too
    /// large, the same plan again changes nothing, and few slices are used.
    #[test]
    fn every_endpoint_has_exactly_one_place(
        before in prop::collection::vec(
            (0_u16..3, prop::collection::btree_set(0_usize..300, 0..100)), 0..5),
        ends in prop::collection::vec(0_usize..300, 1..3),
    ) {
        let mut seen = std::collections::BTreeSet::new();
        let existing: Vec<Existing> = before.iter().enumerate().map(|(n, (ports, set))| Existing {
            key: key(&n.to_string()),
            group: port(*ports),
            endpoints: set.iter().filter(|e| seen.insert(**e)).map(|e| endpoint(*e)).collect(),
            outdated: false,
        }).collect();
        // Pods with different numbers behind the same port: two groups.
        let mut start = 0;
        let mut wanted = BTreeMap::new();
        for (ports, end) in (0..).zip(&ends) {
            wanted.insert(port(ports), endpoints(start..*end));
            start = start.max(*end);
        }
        let mut slices: BTreeMap<ObjectKey, (Group, Vec<Endpoint>)> = existing
            .iter()
            .map(|s| (s.key.clone(), (s.group.clone(), s.endpoints.clone())))
            .collect();
        let plan_now = plan(existing, wanted.clone(), LIMIT);
        for key in &plan_now.delete { prop_assert!(slices.remove(key).is_some()); }
        for (key, group, list) in plan_now.update {
            prop_assert!(slices.insert(key, (group, list)).is_some());
        }
        for (n, made) in plan_now.create.into_iter().enumerate() {
            slices.insert(key(&format!("new-{n}")), made);
        }
        prop_assert!(!slices.is_empty() && slices.values().all(|(_, list)| list.len() <= LIMIT));
        let place = |group: &Group, endpoint: &Endpoint| (group.clone(), endpoint.addresses.clone());
        let mut got: Vec<_> = slices.values()
            .flat_map(|(group, list)| list.iter().map(move |e| place(group, e))).collect();
        let mut want: Vec<_> = wanted.iter()
            .flat_map(|(group, list)| list.iter().map(move |e| place(group, e))).collect();
        got.sort();
        want.sort();
        prop_assert_eq!(got, want);
        let now = slices.into_iter().map(|(key, (group, endpoints))| Existing {
            key, group, endpoints, outdated: false,
        });
        prop_assert!(plan(now.collect(), wanted, LIMIT).is_empty());
    }
}
