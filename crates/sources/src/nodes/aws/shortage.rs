//! Machines that are asked for and not there: places for them, and why they do not come.

use super::error::launch_failure;
use super::model::{Activity, Progress, ScalingGroup};
use jiff::Timestamp;
use plimsoll_api::nodegroup::{ErrorClass, Instance, InstanceProblem, InstanceState};
use std::sync::Arc;

/// How the name of a place begins.
const PLACEHOLDER: &str = "i-placeholder-";

/// Places that AWS could not fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// How many.
    pub places: usize,
    /// Why.
    pub problem: InstanceProblem,
}

/// What the activities since the last resize, newest first, say about `missing` machines.
///
/// Launches that still go on cover as many of them; what is left fails for the newest reason.
/// A failure from before `recent` says nothing once a later launch is under way: what is missing now
/// was asked for since. Parity: upstream calls all of them failed as soon as one launch failed.
pub(crate) fn shortage(
    activities: &[Activity],
    missing: usize,
    recent: Timestamp,
) -> Option<Shortage> {
    let launches = || activities.iter().filter(|activity| activity.launches);
    let going = launches().filter(|activity| activity.progress != Progress::Failed);
    let newest = going.map(|activity| activity.started).max();
    let failed = launches().find(|activity| {
        let counts = activity.started >= recent || newest.is_none_or(|at| activity.started > at);
        activity.progress == Progress::Failed && counts
    })?;
    let waiting = launches()
        .filter(|activity| activity.progress == Progress::Waiting)
        .count();
    let places = missing.checked_sub(waiting).filter(|places| *places > 0)?;
    let (code, class) = launch_failure(&failed.message);
    let message = match failed.message.as_str() {
        "" => "AWS cannot provision any more instances for this node group",
        told => told,
    };
    let problem = InstanceProblem {
        class,
        code: code.to_owned(),
        message: message.to_owned(),
    };
    Some(Shortage { places, problem })
}

/// What keeps the missing machines of a group whose process `Launch` is suspended.
///
/// Departs: upstream waits for them until their time is over, and asks for more.
pub(crate) fn suspended(group: &ScalingGroup) -> Option<Shortage> {
    let places = group.missing();
    (places > 0 && group.suspends("Launch")).then(|| Shortage {
        places,
        problem: InstanceProblem {
            class: ErrorClass::OutOfResources,
            code: "LaunchSuspended".to_owned(),
            message: format!(
                "process Launch of Auto Scaling group {} is suspended",
                group.name
            ),
        },
    })
}

/// Whether an instance id is that of a place.
pub(crate) fn is_placeholder(instance: &str) -> bool {
    instance.starts_with(PLACEHOLDER)
}

/// The instance id in a `spec.providerID`: `aws:///ZONE/ID`.
pub(crate) fn instance_id(provider_id: &str) -> Option<&str> {
    let (_zone, id) = provider_id.strip_prefix("aws:///")?.split_once('/')?;
    (id.starts_with("i-")).then_some(id)
}

/// Places for the machines that are missing. They are numbered from the machines that are there up
/// to the desired capacity, so the last one to be filled keeps its name the whole time.
pub(crate) fn places(group: &ScalingGroup, shortage: Option<&Shortage>) -> Vec<Instance> {
    let zone = group.zones.first().map(Arc::as_ref).unwrap_or_default();
    let (there, missing) = (group.active(), group.missing());
    let unfilled = there + missing - shortage.map_or(0, |short| short.places).min(missing);
    let place = |number: usize| Instance {
        id: format!("aws:///{zone}/{PLACEHOLDER}{}-{number}", group.name).into(),
        state: Some(InstanceState::Creating),
        problem: shortage
            .filter(|_| number >= unfilled)
            .map(|short| short.problem.clone()),
    };
    (there..there + missing).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::{instance_id, is_placeholder, places, shortage};
    use crate::nodes::aws::fake::{group, machine};
    use crate::nodes::aws::model::{Activity, Phase, Progress};
    use jiff::Timestamp;
    use plimsoll_api::nodegroup::ErrorClass;
    use rstest::rstest;

    fn launch(progress: Progress, message: &str) -> Activity {
        let message = message.to_owned();
        Activity {
            started: Timestamp::UNIX_EPOCH,
            launches: true,
            progress,
            message,
        }
    }

    #[rstest]
    #[case::nothing_failed(vec![launch(Progress::Waiting, "")], 2, None)]
    #[case::one_failed(vec![launch(Progress::Failed, "")], 2, Some(2))]
    #[case::the_rest_is_coming(vec![launch(Progress::Waiting, ""), launch(Progress::Failed, "")], 1, None)]
    #[case::some_are_coming(vec![launch(Progress::Waiting, ""), launch(Progress::Failed, "")], 3, Some(2))]
    #[case::those_there_cover_none(vec![launch(Progress::Underway, ""), launch(Progress::Failed, "")], 1, Some(1))]
    #[case::nothing_is_missing(vec![launch(Progress::Failed, "")], 0, None)]
    #[case::ends_of_machines_do_not_count(
        vec![Activity { launches: false, ..launch(Progress::Failed, "") }], 1, None
    )]
    fn counts_places(
        #[case] activities: Vec<Activity>,
        #[case] missing: usize,
        #[case] want: Option<usize>,
    ) {
        assert_eq!(
            shortage(&activities, missing, Timestamp::UNIX_EPOCH).map(|short| short.places),
            want
        );
    }

    #[rstest]
    #[case::long_ago(0, false)]
    #[case::lately(101, true)]
    #[case::after_the_launch(201, true)]
    fn an_old_failure_does_not_condemn_what_was_asked_for_since(
        #[case] failed: i64,
        #[case] counts: bool,
    ) {
        let at = |second| Timestamp::from_second(second).unwrap();
        let failed = Activity {
            started: at(failed),
            ..launch(Progress::Failed, "")
        };
        let going = Activity {
            started: at(200),
            ..launch(Progress::Underway, "")
        };
        let found = shortage(&[going, failed], 1, at(100));
        assert_eq!(found.is_some(), counts);
    }

    #[test]
    fn the_newest_reason_is_told() {
        let newest = launch(Progress::Failed, "VcpuLimitExceeded - too many");
        let older = launch(
            Progress::Failed,
            "We currently do not have sufficient m5.large capacity",
        );
        let problem = shortage(&[newest, older], 1, Timestamp::UNIX_EPOCH)
            .unwrap()
            .problem;
        assert_eq!(problem.class, ErrorClass::QuotaExceeded);
        assert_eq!(
            (problem.code.as_str(), problem.message.as_str()),
            ("VcpuLimitExceeded", "VcpuLimitExceeded - too many")
        );
    }

    #[test]
    fn places_are_numbered_from_those_there() {
        let mut workers = group("workers", 4);
        workers.machines = vec![
            machine("i-1", Phase::Serving),
            machine("i-2", Phase::Leaving),
            machine("i-3", Phase::Coming),
        ];
        let short = shortage(&[launch(Progress::Failed, "")], 1, Timestamp::UNIX_EPOCH);
        let found = places(&workers, short.as_ref());
        let seen: Vec<_> = found
            .iter()
            .map(|place| (&*place.id, place.problem.is_some()))
            .collect();
        let want = [
            ("aws:///us-east-1a/i-placeholder-workers-2", false),
            ("aws:///us-east-1a/i-placeholder-workers-3", true),
        ];
        assert_eq!(seen, want);
        assert!(is_placeholder(instance_id(&found[0].id).unwrap()));
    }

    #[rstest]
    #[case("aws:///us-east-1a/i-0abc", Some("i-0abc"))]
    #[case("aws:////i-0abc", Some("i-0abc"))]
    #[case("aws:///us-east-1a/fargate-ip-10-0-0-1", None)]
    #[case("gce://project/zone/i-0abc", None)]
    #[case("aws://i-0abc", None)]
    #[case("", None)]
    fn reads_provider_ids(#[case] text: &str, #[case] want: Option<&str>) {
        assert_eq!(instance_id(text), want);
    }
}
