//! Tables and properties of the rolling-update arithmetic.

use super::{Bounds, Share, Size, new_size, scale_in_proportion, shrink_old};
use crate::pods::{RollingUpdate, Strategy};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;
use rstest::rstest;

fn rolling(surge: &str, unavailable: &str) -> Strategy {
    let value = |text: &str| {
        text.parse()
            .map_or_else(|_| IntOrString::String(text.into()), IntOrString::Int)
    };
    Strategy::RollingUpdate(RollingUpdate {
        max_surge: value(surge),
        max_unavailable: value(unavailable),
    })
}

#[rstest]
#[case::surge_rounds_up_and_unavailable_down("25%", "25%", 10, 3, 2)]
#[case::numbers_are_taken_as_they_are("2", "1", 10, 2, 1)]
#[case::both_zero_lets_one_be_missing("0", "0", 4, 0, 1)]
#[case::percentages_that_round_to_zero_too("0%", "25%", 3, 0, 1)]
#[case::nothing_desired("25%", "25%", 0, 0, 0)]
#[case::unavailable_is_at_most_all("0", "9", 4, 0, 4)]
fn bounds_are(
    #[case] surge: &str,
    #[case] unavailable: &str,
    #[case] desired: i32,
    #[case] want_surge: i32,
    #[case] want_unavailable: i32,
) {
    let bounds = Bounds::of(&rolling(surge, unavailable), desired);
    assert_eq!(
        (bounds.surge, bounds.unavailable),
        (want_surge, want_unavailable)
    );
}

#[rstest]
#[case::nothing_there_yet(0, 0, 10)]
#[case::only_the_surge_beside_a_full_old_set(10, 0, 3)]
#[case::no_room(13, 3, 3)]
#[case::never_above_desired(9, 9, 10)]
#[case::too_large_shrinks_to_desired(12, 12, 10)]
fn the_new_set_grows_to(#[case] total: i32, #[case] new: i32, #[case] want: i32) {
    let strategy = rolling("25%", "25%");
    assert_eq!(
        new_size(&strategy, Bounds::of(&strategy, 10), total, new),
        want
    );
}

fn size(spec: i32, available: i32) -> Size {
    Size { spec, available }
}

#[rstest]
#[case::maximum_unavailable_at_once(&[size(10, 10)], size(3, 0), &[8])]
#[case::nothing_while_the_new_pods_are_not_available(&[size(8, 8)], size(5, 0), &[8])]
#[case::one_for_one(&[size(8, 8)], size(5, 2), &[6])]
#[case::unhealthy_go_first_from_the_oldest(&[size(3, 0), size(8, 8)], size(0, 0), &[0, 8])]
#[case::the_oldest_first(&[size(2, 2), size(9, 9)], size(1, 1), &[0, 7])]
#[case::an_old_status_is_not_trusted(&[size(8, 10)], size(3, 2), &[6])]
fn old_sets_shrink_to(#[case] old: &[Size], #[case] new: Size, #[case] want: &[i32]) {
    let bounds = Bounds {
        desired: 10,
        surge: 3,
        unavailable: 2,
    };
    assert_eq!(shrink_old(bounds, old, new), want);
}

#[rstest]
#[case::growing_keeps_the_ratio(20, &[(8, 13), (5, 13)], &[15, 10])]
#[case::shrinking_too(5, &[(8, 13), (5, 13)], &[4, 3])]
#[case::to_nothing(0, &[(8, 13), (5, 13)], &[0, 0])]
#[case::an_unknown_maximum_gives_all_to_the_largest(20, &[(8, 0), (5, 0)], &[20, 5])]
fn a_change_during_a_rollout_is_spread(
    #[case] desired: i32,
    #[case] sets: &[(i32, i32)],
    #[case] want: &[i32],
) {
    let bounds = Bounds::of(&rolling("25%", "25%"), desired);
    let shares: Vec<_> = sets
        .iter()
        .map(|&(spec, max_before)| Share { spec, max_before })
        .collect();
    let got = scale_in_proportion(bounds, &shares);
    assert_eq!(got, want, "{bounds:?}");
}

fn bounds() -> impl Strategy_ {
    let numbers = (0_i32..60, 0_i32..20, 0_i32..20);
    proptest::strategy::Strategy::prop_map(numbers, |(desired, surge, unavailable)| Bounds {
        desired,
        surge,
        unavailable: if surge == 0 {
            unavailable.max(1)
        } else {
            unavailable
        }
        .min(desired),
    })
}

/// proptest's trait shares its name with the Deployment's strategy.
trait Strategy_: proptest::strategy::Strategy<Value = Bounds> {}
impl<T: proptest::strategy::Strategy<Value = Bounds>> Strategy_ for T {}

proptest! {
    #[test]
    fn a_step_never_exceeds_the_surge(bounds in bounds(), old in 0_i32..80, new in 0_i32..80) {
        let strategy = rolling("1", "1");
        let before = old + new;
        let grown = new_size(&strategy, bounds, before, new);
        prop_assert!(grown + old <= before.max(bounds.max_total()));
    }

    #[test]
    fn a_step_never_leaves_fewer_available_than_allowed(
        bounds in bounds(),
        old in prop::collection::vec((0_i32..20, 0_i32..20), 0..4),
        new in (0_i32..60, 0_i32..60),
    ) {
        let old: Vec<_> = old.iter().map(|&(spec, available)| size(spec, available.min(spec))).collect();
        let new = size(new.0, new.1.min(new.0));
        let before: i32 = old.iter().chain([&new]).map(|s| s.available).sum();
        let sizes = shrink_old(bounds, &old, new);
        // A shrinking set loses its unavailable pods first.
        let after: i32 = old.iter().zip(&sizes).map(|(s, &spec)| s.available.min(spec)).sum::<i32>() + new.available;
        prop_assert!(after >= before.min(bounds.min_available()), "{sizes:?}");
        prop_assert!(old.iter().zip(&sizes).all(|(s, &spec)| (0..=s.spec).contains(&spec)));
    }

    #[test]
    fn a_rollout_with_healthy_pods_ends_with_the_new_set_alone(bounds in bounds(), start in 0_i32..60) {
        let strategy = rolling("1", "1");
        let (mut old, mut new) = (start, 0);
        for _ in 0..300 {
            new = new_size(&strategy, bounds, old + new, new);
            prop_assert!(old + new <= (bounds.max_total()).max(start));
            old = shrink_old(bounds, &[size(old, old)], size(new, new))[0];
        }
        prop_assert_eq!((old, new), (0, bounds.desired));
    }

    #[test]
    fn proportional_scaling_reaches_the_allowed_total(
        bounds in bounds(),
        mut specs in prop::collection::vec(1_i32..30, 1..5),
        max_before in 1_i32..100,
    ) {
        specs.sort_unstable_by(|a, b| b.cmp(a));
        let shares: Vec<_> = specs.iter().map(|&spec| Share { spec, max_before }).collect();
        let sizes = scale_in_proportion(bounds, &shares);
        prop_assert!(sizes.iter().all(|size| *size >= 0), "{sizes:?}");
    }
}
