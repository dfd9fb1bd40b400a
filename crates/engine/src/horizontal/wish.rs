//! What an autoscaler wants beyond what it may do now.

use super::trace::Step;

/// The count that the metrics ask for, within the bounds, where stabilisation windows or rates
/// hold the target below it; `None` where nothing is held back, where too little is known, and where
/// a person holds the target.
///
/// Replicas that will come, if nothing changes: what can be made ready for them may be.
pub fn held_back(trace: &[Step]) -> Option<i32> {
    let (mut most, mut wish) = (i32::MAX, None);
    for step in trace {
        match step {
            Step::Found { max, .. } => most = *max,
            Step::Chosen { replicas, .. } => wish = Some((*replicas).min(most)),
            // Nobody knows, or nobody may.
            Step::Unreadable { .. }
            | Step::Disabled
            | Step::OutsideRange { .. }
            | Step::Unselectable { .. }
            | Step::Blocked { .. }
            | Step::HeldByHand { .. } => return None,
            Step::Settled { to, .. } => return wish.filter(|wish| wish > to),
            Step::Scheduled { .. }
            | Step::Unscheduled { .. }
            | Step::Metric { .. }
            | Step::Stale { .. }
            | Step::Uncounted { .. }
            | Step::Measured { .. }
            | Step::Total { .. }
            | Step::Assumed { .. }
            | Step::Held { .. }
            | Step::Proposed { .. }
            | Step::Failed { .. }
            | Step::Stabilized { .. }
            | Step::Limited { .. } => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn found(max: i32) -> Step {
        Step::Found {
            current: 10,
            min: 1,
            max,
        }
    }

    fn chosen(replicas: i32) -> Step {
        Step::Chosen {
            name: "cpu".into(),
            replicas,
        }
    }

    fn settled(to: i32) -> Step {
        Step::Settled { from: 10, to }
    }

    fn by_hand() -> Step {
        Step::HeldByHand {
            until: None,
            why: String::new(),
            would: 14,
        }
    }

    #[rstest]
    #[case::a_rate_allows_four_more(vec![found(60), chosen(40), settled(14)], Some(40))]
    #[case::the_maximum_is_less(vec![found(20), chosen(40), settled(14)], Some(20))]
    #[case::a_window_allows_nothing(vec![found(60), chosen(40), settled(10)], Some(40))]
    #[case::all_of_it_is_written(vec![found(60), chosen(14), settled(14)], None)]
    #[case::at_the_maximum(vec![found(14), chosen(40), settled(14)], None)]
    #[case::a_window_keeps_more(vec![found(60), chosen(3), settled(10)], None)]
    #[case::a_person_holds_it(vec![found(60), chosen(40), by_hand(), settled(10)], None)]
    #[case::too_little_is_known(
        vec![found(60), Step::Blocked { failed: 1, metrics: 1 }, settled(10)], None)]
    #[case::the_scale_is_not_known(vec![Step::Unreadable { error: "away".into() }], None)]
    #[case::asleep(vec![found(60), Step::Disabled, settled(0)], None)]
    fn a_wish_is_what_is_held_back(#[case] trace: Vec<Step>, #[case] want: Option<i32>) {
        assert_eq!(held_back(&trace), want);
    }
}
