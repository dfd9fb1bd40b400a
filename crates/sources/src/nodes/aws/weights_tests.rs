//! The provider over groups with weighted capacity or suspended processes, in memory.

use super::fake::{Fake, group, machine, weighted};
use super::model::{Attribute, Machine, Phase, ScalingGroup, Units};
use super::template::at_least;
use super::tests::{node, only, provider, workers};
use plimsoll_api::nodegroup::{ErrorClass, NodeProvider};
use rstest::rstest;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::advance;

fn heavy(id: &str, weight: usize) -> Machine {
    Machine {
        weight,
        ..machine(id, Phase::Serving)
    }
}

/// A group of 2 to 24 units, whose new machines count for 2 or more, with machines of 8 and 2.
fn of_units(desired: usize) -> Arc<Fake> {
    let weighted = ScalingGroup {
        min: 2,
        max: 24,
        units: weighted(2),
        machines: vec![heavy("i-1", 8), heavy("i-2", 2)],
        ..group("workers", desired)
    };
    Fake::with(vec![weighted])
}

fn provider_of_units(fake: &Arc<Fake>) -> super::AwsProvider {
    let options = super::Options {
        groups: vec!["0:99:workers".parse().unwrap()],
        ..super::Options::default()
    };
    super::AwsProvider::over(Arc::clone(fake) as _, options, super::tests::clock())
}

#[tokio::test(start_paused = true)]
async fn sizes_of_weighted_groups_are_machines() {
    let fake = of_units(10);
    let provider = provider_of_units(&fake);
    let found = only(&provider).await;
    assert_eq!((found.min, found.target, found.max), (1, 2, 9));
    assert_eq!(found.instances.len(), 2);
    assert_eq!(found.debug, "workers (1:9), 10 of 10 units (2:24)");
    assert!(provider.is_uneven("workers"));

    provider.increase("workers", 3).await.unwrap();
    let calls = fake.calls();
    assert_eq!(
        calls.last().map(String::as_str),
        Some("set_desired workers 16")
    );
    let found = only(&provider).await;
    assert_eq!((found.target, found.instances.len()), (5, 5));
    let error = provider.increase("workers", 5).await.unwrap_err();
    assert_eq!(error.message, "size increase too large - desired:26 max:24");

    // A large one comes and does for all of them.
    fake.group("workers", |group| group.machines.push(heavy("i-3", 8)));
    advance(Duration::from_secs(10)).await;
    let found = only(&provider).await;
    assert_eq!((found.target, found.instances.len()), (3, 3));
}

#[rstest]
#[case::by_weight(false)]
#[case::by_one(true)]
#[tokio::test(start_paused = true)]
async fn a_machine_that_goes_takes_its_weight_along(#[case] lowers_by_one: bool) {
    let fake = of_units(10);
    fake.change(|inside| inside.lowers_by_one = lowers_by_one);
    let provider = provider_of_units(&fake);
    only(&provider).await;
    provider.delete("workers", &[node("i-1")]).await.unwrap();
    let found = only(&provider).await;
    assert_eq!((found.min, found.target), (1, 1));
    fake.group("workers", |group| assert_eq!(group.desired, 2));
    let error = provider
        .delete("workers", &[node("i-2")])
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "min size reached, nodes will not be deleted: workers has 2 of at least 2"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_there_beyond_the_wish_is_asked_for_before_a_machine_goes() {
    let fake = of_units(5);
    let provider = provider_of_units(&fake);
    let found = only(&provider).await;
    assert_eq!((found.min, found.target), (1, 2));
    fake.calls();
    provider.delete("workers", &[node("i-1")]).await.unwrap();
    assert_eq!(
        fake.calls(),
        [
            "groups_by_name workers",
            "set_desired workers 10",
            "terminate i-1",
            "groups_by_name workers"
        ]
    );
    fake.group("workers", |group| {
        assert_eq!((group.desired, group.there()), (2, 2));
    });
}

#[tokio::test(start_paused = true)]
async fn places_are_given_up_by_units() {
    let fake = of_units(15);
    let provider = provider_of_units(&fake);
    let found = only(&provider).await;
    assert_eq!((found.target, found.instances.len()), (5, 5));
    let error = provider.decrease_target("workers", 4).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid);
    let place = node("i-placeholder-workers-4");
    provider.delete("workers", &[place]).await.unwrap();
    fake.group("workers", |group| assert_eq!(group.desired, 13));
    only(&provider).await;
    // The last of them is for the unit that is left.
    provider.decrease_target("workers", 2).await.unwrap();
    fake.group("workers", |group| assert_eq!(group.desired, 10));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_may_not_launch_does_not_grow_and_awaits_nobody() {
    let fake = Fake::with(vec![ScalingGroup {
        desired: 4,
        suspended: vec!["Launch".to_owned()],
        ..workers()
    }]);
    let provider = provider(&fake);
    let found = only(&provider).await;
    assert_eq!((found.target, found.max), (4, 4));
    let problem = found.instances.iter().find_map(|one| one.problem.as_ref());
    let problem = problem.unwrap();
    assert_eq!(
        (problem.class, problem.code.as_str()),
        (ErrorClass::OutOfResources, "LaunchSuspended")
    );
    assert_eq!(fake.calls(), ["groups_by_name workers"]);
    let error = provider.increase("workers", 1).await.unwrap_err();
    assert_eq!(
        error.message,
        "process Launch of Auto Scaling group workers is suspended"
    );
    let place = node("i-placeholder-workers-3");
    provider.delete("workers", &[place]).await.unwrap();
    fake.group("workers", |group| {
        assert_eq!(group.desired, 3);
        group.suspended.clear();
    });
    let found = only(&provider).await;
    assert_eq!((found.target, found.max), (3, 6));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_may_not_terminate_keeps_its_machines() {
    let fake = Fake::with(vec![ScalingGroup {
        suspended: vec!["Terminate".to_owned(), "AZRebalance".to_owned()],
        ..workers()
    }]);
    let provider = provider(&fake);
    let found = only(&provider).await;
    assert_eq!((found.min, found.target, found.max), (3, 3, 6));
    let error = provider
        .delete("workers", &[node("i-1")])
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "process Terminate of Auto Scaling group workers is suspended"
    );
    assert!(!fake.calls().contains(&"terminate i-1".to_owned()));
    assert_eq!(found.options.scale_down_unneeded_time, None);
    provider.increase("workers", 1).await.unwrap();
    // The actuator gives up as many places as there are above the minimum.
    let found = only(&provider).await;
    assert_eq!((found.min, found.target, found.max), (3, 4, 6));
    assert!(found.options.scale_down_unneeded_time.unwrap().as_hours() > 24);
    assert_eq!(found.options.scale_down_utilization_threshold, Some(0.0));
    let place = node("i-placeholder-workers-3");
    provider.delete("workers", &[place]).await.unwrap();
    let found = only(&provider).await;
    assert_eq!((found.min, found.target), (3, 3));
    assert_eq!(found.options.scale_down_unneeded_time, None);
}

#[tokio::test(start_paused = true)]
async fn zones_that_are_evened_out_are_no_news() {
    // AWS launches before it ends: for a while there is one more than asked for.
    let mut churning = workers();
    churning.machines.push(machine("i-4", Phase::Coming));
    let fake = Fake::with(vec![churning]);
    let provider = provider(&fake);
    let found = only(&provider).await;
    assert_eq!((found.target, found.instances.len()), (3, 4));
    fake.group("workers", |group| group.machines[0].phase = Phase::Leaving);
    advance(Duration::from_secs(60)).await;
    let found = only(&provider).await;
    assert_eq!((found.target, found.instances.len()), (3, 4));
    assert!(found.instances.iter().all(|one| one.problem.is_none()));
}

#[tokio::test(start_paused = true)]
async fn types_that_nobody_here_knows_are_asked_for() {
    let counted = ScalingGroup {
        max: 2048,
        units: Units::Lacking {
            attribute: Attribute::Vcpus,
            least: 4,
            of: [("m5.xlarge".into(), 4)].into(),
        },
        machines: vec![
            heavy("i-1", 4),
            Machine {
                kind: Some("x9.huge".into()),
                ..heavy("i-2", 0)
            },
        ],
        ..group("workers", 68)
    };
    let fake = Fake::with(vec![counted]);
    let shape = at_least(64, 4096, 0);
    fake.change(|inside| inside.shapes.insert("x9.huge".to_owned(), shape));
    let provider = provider_of_units(&fake);
    let found = only(&provider).await;
    assert_eq!((found.target, found.instances.len()), (2, 2));
    assert!(fake.calls().contains(&"instance_type x9.huge".to_owned()));
    provider.increase("workers", 1).await.unwrap();
    fake.group("workers", |group| assert_eq!(group.desired, 72));
    assert!(!fake.calls().contains(&"instance_type x9.huge".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_known_group_stays_while_a_machine_cannot_be_weighed() {
    let fake = of_units(10);
    let provider = provider_of_units(&fake);
    assert_eq!(only(&provider).await.target, 2);
    fake.group("workers", |group| group.units = Units::Unknown);
    for _ in 0..2 {
        advance(Duration::from_secs(60)).await;
        let found = only(&provider).await;
        assert_eq!((found.min, found.target, found.max), (2, 2, 2));
        assert_eq!(found.instances.len(), 2);
    }
    provider.increase("workers", 1).await.unwrap_err();
    provider
        .delete("workers", &[node("i-1")])
        .await
        .unwrap_err();
    let calls = fake.calls();
    assert!(
        calls.iter().all(|call| call.starts_with("groups_by_name")),
        "{calls:?}"
    );
    fake.group("workers", |group| group.units = weighted(2));
    advance(Duration::from_secs(60)).await;
    assert_eq!(only(&provider).await.max, 9);
}
