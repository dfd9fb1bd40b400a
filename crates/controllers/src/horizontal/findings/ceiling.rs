//! At the maximum for long, with more wanted.

use super::{Finding, FindingKind};
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::horizontal::Step;
use plimsoll_engine::horizontal::limit::Limit;

/// How long it may take: shorter peaks are what a maximum is for.
const PATIENCE: SignedDuration = SignedDuration::from_mins(15);

/// How many are wanted, where the target is at its maximum and more are wanted.
pub(super) fn wanted_beyond(trace: &[Step]) -> Option<i32> {
    let Some(Step::Settled { from, to }) = trace.last() else {
        return None;
    };
    let is_limit = |step: &&Step| matches!(step, Step::Limited { .. });
    let Some(Step::Limited { wanted, reason, .. }) = trace.iter().rev().find(is_limit) else {
        return None;
    };
    (from == to && *reason == Limit::TooManyReplicas).then_some(*wanted)
}

/// Finds a target that has been at its maximum since `since`.
pub(super) fn stuck(
    target: &str,
    max: i32,
    wanted: i32,
    (since, now): (Timestamp, Timestamp),
) -> Option<Finding> {
    let passed = now.duration_since(since);
    if passed < PATIENCE {
        return None;
    }
    let minutes = passed.as_mins();
    Some(Finding {
        kind: FindingKind::StuckAtMaximum,
        object: target.to_owned(),
        message: format!(
            "{target} has been at maxReplicas {max} for {minutes} minutes, and {wanted} are wanted: \
             the metric stays above its target"
        ),
        advice: "raise maxReplicas, or give each pod more resources".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::{stuck, wanted_beyond};
    use jiff::{SignedDuration, Timestamp};
    use plimsoll_engine::horizontal::Step;
    use plimsoll_engine::horizontal::limit::Limit;
    use rstest::rstest;

    #[rstest]
    #[case::not_yet(14, false)]
    #[case::long_enough(15, true)]
    fn patience_ends_after_a_quarter_of_an_hour(#[case] minutes: i64, #[case] want: bool) {
        let since = Timestamp::UNIX_EPOCH;
        let now = since + SignedDuration::from_mins(minutes);
        let found = stuck("Deployment web", 10, 14, (since, now));
        assert_eq!(found.is_some(), want);
        if let Some(found) = found {
            assert_eq!(
                found.text(),
                "Deployment web has been at maxReplicas 10 for 15 minutes, and 14 are wanted: the \
                 metric stays above its target; raise maxReplicas, or give each pod more resources"
            );
        }
    }

    #[rstest]
    #[case::at_the_maximum(Limit::TooManyReplicas, 10, Some(14))]
    #[case::on_the_way_there(Limit::TooManyReplicas, 8, None)]
    #[case::cut_by_the_rate(Limit::ScaleUpLimit, 10, None)]
    #[case::within(Limit::DesiredWithinRange, 10, None)]
    fn only_the_maximum_counts(
        #[case] reason: Limit,
        #[case] from: i32,
        #[case] want: Option<i32>,
    ) {
        let limited = Step::Limited {
            wanted: 14,
            floor: None,
            ceiling: Some(10),
            reason,
            rate: None,
            replicas: 10,
        };
        let trace = [limited, Step::Settled { from, to: 10 }];
        assert_eq!(wanted_beyond(&trace), want);
    }
}
