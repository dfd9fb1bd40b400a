//! The arithmetic of disruption budgets.

use super::{Basis, DELETION_TIMEOUT, Figures, Verdict, basis, desired, healthy, in_flight, judge};
use crate::pods::{Bound, BudgetStatus, PodView};
use crate::runtime::Cached;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn bound(kind: &str, value: &str) -> Bound {
    let value = value
        .parse()
        .map_or_else(|_| IntOrString::String(value.into()), IntOrString::Int);
    match kind {
        "min" => Bound::MinAvailable(value),
        _ => Bound::MaxUnavailable(value),
    }
}

#[rstest]
#[case::min_count("min", "2", 5, 2)]
#[case::min_count_above_what_there_is("min", "7", 5, 7)]
#[case::min_percent_rounds_up("min", "50%", 7, 4)]
#[case::min_percent_of_one("min", "10%", 1, 1)]
#[case::min_all("min", "100%", 7, 7)]
#[case::min_none("min", "0%", 7, 0)]
#[case::max_count("max", "1", 5, 4)]
#[case::max_above_all("max", "9", 5, 0)]
#[case::max_percent_rounds_up("max", "30%", 7, 4)]
#[case::max_percent_of_one_lets_it_go("max", "30%", 1, 0)]
#[case::max_none("max", "0%", 7, 7)]
#[case::max_all("max", "100%", 7, 0)]
#[case::nothing_expected("max", "1", 0, 0)]
fn so_many_must_be_healthy(
    #[case] kind: &str,
    #[case] value: &str,
    #[case] expected: i32,
    #[case] want: i32,
) {
    assert_eq!(desired(Some(&bound(kind, value)), expected), Ok(want));
}

#[rstest]
#[case::none(None, Basis::Nothing)]
#[case::min_count(Some(bound("min", "2")), Basis::Pods)]
#[case::min_percent(Some(bound("min", "50%")), Basis::Scale)]
#[case::max_count(Some(bound("max", "2")), Basis::Scale)]
#[case::max_percent(Some(bound("max", "50%")), Basis::Scale)]
fn each_bound_has_its_basis(#[case] bound: Option<Bound>, #[case] want: Basis) {
    assert_eq!(basis(bound.as_ref()), want);
}

#[rstest]
#[case("half")]
#[case("%")]
#[case("-1%")]
#[case("1.5%")]
fn what_is_no_percentage_is_told(#[case] text: &str) {
    assert!(desired(Some(&bound("min", text)), 4).is_err());
}

#[rstest]
#[case::spare((3, 2, 3), 1)]
#[case::exactly_enough((3, 2, 2), 0)]
#[case::too_few((3, 2, 1), 0)]
#[case::nothing_expected((0, 0, 0), 0)]
#[case::without_a_bound((0, 0, 3), 0)]
#[case::more_than_expected((2, 1, 4), 3)]
fn the_rest_may_go(#[case] (expected, desired, healthy): (i32, i32, i32), #[case] want: i32) {
    let figures = Figures {
        expected,
        desired,
        healthy,
    };
    assert_eq!(figures.allowed(), want);
}

fn pod(name: &str, ready: bool, deleting: bool) -> Arc<PodView> {
    let mut object = json!({
        "metadata": {"name": name, "uid": name},
        "status": {"conditions": [{"type": "Ready", "status": if ready {"True"} else {"False"}}]},
    });
    if deleting {
        object["metadata"]["deletionTimestamp"] = Value::from("1970-01-01T00:00:30Z");
    }
    Arc::new(PodView::from_wire(serde_json::from_value(object).unwrap()))
}

#[test]
fn only_pods_that_serve_and_stay_are_healthy() {
    let pods = [
        pod("serves", true, false),
        pod("sick", false, false),
        pod("ends", true, true),
        pod("granted", true, false),
    ];
    let granted = BTreeMap::from([("granted".to_owned(), Timestamp::UNIX_EPOCH)]);
    assert_eq!(healthy(&pods, &granted), 1);
}

#[test]
fn a_grant_lasts_until_its_pod_ends_or_two_minutes() {
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
    let at = |ago: i64| now - SignedDuration::from_secs(ago);
    let granted = BTreeMap::from([
        ("fresh".to_owned(), at(20)),
        ("last".to_owned(), at(DELETION_TIMEOUT.as_secs())),
        ("overdue".to_owned(), at(DELETION_TIMEOUT.as_secs() + 1)),
        ("ending".to_owned(), at(1)),
        ("gone".to_owned(), at(1)),
    ]);
    let pods = [
        pod("ending", true, true),
        pod("fresh", true, false),
        pod("last", true, false),
        pod("overdue", true, false),
    ];
    let result = in_flight(&granted, &pods, now);
    let names: Vec<_> = result.pods.keys().map(String::as_str).collect();
    assert_eq!(names, ["fresh", "last"]);
    assert_eq!(result.overdue.len(), 1);
    assert_eq!(result.recheck, Some(Duration::from_secs(1)));
}

#[test]
fn the_condition_keeps_its_time_until_it_turns() {
    let mut status = BudgetStatus::default();
    let at = |second| Timestamp::from_second(second).unwrap();
    judge(&mut status, Verdict::Insufficient, at(1));
    judge(&mut status, Verdict::SyncFailed("why".into()), at(2));
    let [condition] = &status.conditions[..] else {
        panic!("one condition")
    };
    assert_eq!(condition.last_transition_time, Some(at(1)));
    assert_eq!(
        (&*condition.reason, &*condition.message),
        ("SyncFailed", "why")
    );
    judge(&mut status, Verdict::Sufficient, at(3));
    assert_eq!(status.conditions[0].last_transition_time, Some(at(3)));
    assert_eq!(status.conditions[0].message, "");
}

fn bounds() -> impl Strategy<Value = Bound> {
    let value = prop_oneof![
        (0..200_i32).prop_map(IntOrString::Int),
        (0..=100_u8).prop_map(|percent| IntOrString::String(format!("{percent}%"))),
    ];
    (any::<bool>(), value).prop_map(|(min, value)| {
        if min {
            Bound::MinAvailable(value)
        } else {
            Bound::MaxUnavailable(value)
        }
    })
}

proptest! {
    /// Taking everything that is allowed leaves at least what is desired.
    #[test]
    fn what_is_allowed_leaves_what_is_desired(
        bound in bounds(), expected in 0..500_i32, healthy in 0..500_i32,
    ) {
        let desired = desired(Some(&bound), expected).unwrap();
        let allowed = Figures { expected, desired, healthy }.allowed();
        prop_assert!(allowed >= 0);
        prop_assert!(allowed == 0 || healthy - allowed >= desired);
        prop_assert!(allowed <= healthy);
    }

    /// A percentage to keep and the same to lose never promise more than there is.
    #[test]
    fn percentages_stay_within_what_is_expected(percent in 0..=100_u8, expected in 0..10_000_i32) {
        let text = IntOrString::String(format!("{percent}%"));
        let min = desired(Some(&Bound::MinAvailable(text.clone())), expected).unwrap();
        let max = desired(Some(&Bound::MaxUnavailable(text)), expected).unwrap();
        prop_assert!((0..=expected).contains(&min));
        prop_assert!((0..=expected).contains(&max));
        // Both round up, so together they lose at most one pod to rounding.
        prop_assert!((expected..=expected + 1).contains(&(min + (expected - max)))
            || i32::from(percent) * 2 != 100);
    }
}
