//! Verdicts in words.

use super::*;
use crate::cluster::Resize;
use rstest::rstest;
use std::sync::Arc;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[rstest]
#[case::timer(
    KeepReason::NotUnneededLongEnough { since: at(0), needed: SignedDuration::from_mins(10) },
    "it has been unneeded for 3m20s of 10m, 6m40s are left",
    "a shorter --scale-down-unneeded-time"
)]
#[case::timer_that_ran_out(
    KeepReason::NotUnreadyLongEnough { since: at(0), needed: SignedDuration::from_secs(100) },
    "it has been unready and unneeded for 3m20s of 1m40s, 0s are left",
    "a shorter --scale-down-unready-time"
)]
#[case::minimum(
    KeepReason::NodeGroupMinSizeReached { min: 3 },
    "its group is at its minimum of 3",
    "a smaller minimum of the group"
)]
#[case::annotation(
    KeepReason::ScaleDownDisabledAnnotation,
    "its annotation cluster-autoscaler.kubernetes.io/scale-down-disabled is \"true\"",
    "kubectl annotate node n1 cluster-autoscaler.kubernetes.io/scale-down-disabled-"
)]
#[case::judged_before(
    KeepReason::RecentlyUnremovable {
        why: Box::new(KeepReason::ScaleDownUnreadyDisabled), until: at(260),
    },
    "it is not ready, and unready nodes are left alone (judged again in 1m)",
    "--scale-down-unready-enabled=true"
)]
fn each_reason_says_what_lifts_it(
    #[case] reason: KeepReason,
    #[case] said: &str,
    #[case] lift: &str,
) {
    let answer = reason.answer("n1", at(200));
    assert_eq!((answer.reason.as_str(), answer.lift.as_str()), (said, lift));
}

#[test]
fn a_busy_node_tells_its_share() {
    let reason = KeepReason::NotUnderutilized {
        utilization: 0.6072,
        threshold: 0.5,
        resource: "cpu".into(),
    };
    let answer = NodeVerdict::Kept(reason).answer("n1", at(0));
    assert_eq!(
        answer.reason,
        "it stays: its pods request 60.7 % of its cpu, more than 50.0 %"
    );
}

#[test]
fn an_unneeded_node_says_whether_it_goes() {
    let goes = NodeVerdict::Unneeded {
        since: at(0),
        waiting: None,
    };
    assert_eq!(goes.name(), "Unneeded");
    let told = goes.answer("n1", at(602)).reason;
    assert_eq!(told, "it goes now: nobody has needed it for 10m2s");
    let waits = NodeVerdict::Unneeded {
        since: at(0),
        waiting: Some(KeepReason::NotUnneededOtherReason("a cooldown".into())),
    };
    assert_eq!(waits.name(), "NotUnneededOtherReason");
    let told = waits.answer("n1", at(0)).reason;
    assert_eq!(told, "it is not needed, and waits: a cooldown");
}

#[test]
fn groups_and_pods_are_told_in_words() {
    let resize = Resize {
        group: "ng1".into(),
        from: 3,
        to: 5,
        max: 6,
    };
    let grown = GroupVerdict::Grown(resize).answer().reason;
    assert_eq!(grown, "grown: {ng1 3->5 (max: 6)}");
    let backoff = SkipReason::Backoff {
        code: "InsufficientInstanceCapacity".into(),
        message: "none left".into(),
        until: "2026-01-01T00:05:00Z".into(),
    };
    let answer = GroupVerdict::Skipped(backoff).answer();
    assert_eq!(
        answer.reason,
        "not considered: in backoff after failed scale-up"
    );
    assert_eq!(
        answer.lift,
        "the provider answered InsufficientInstanceCapacity: none left; tried again at \
         2026-01-01T00:05:00Z"
    );
    let helpless = PodVerdict::Unschedulable(Arc::new(
        [("ng1".into(), NoHelp::Skipped(SkipReason::MaxSize))].into(),
    ));
    assert_eq!(
        helpless.summary(),
        "the one node group there is does not help it"
    );
}
