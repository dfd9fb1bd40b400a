//! The provider over groups in memory, in virtual time.

use super::fake::{Fake, group, machine};
use super::model::{Activity, Phase, Progress, ScalingGroup, Units};
use super::{AwsProvider, Options};
use jiff::Timestamp;
use plimsoll_api::nodegroup::{ErrorClass, NodeGroup, NodeProvider, NodeRef};
use plimsoll_clock::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::advance;

pub(super) fn clock() -> Clock {
    Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap())
}

/// `--nodes=2:6:workers`, with three machines asked for and there.
pub(super) fn workers() -> ScalingGroup {
    let machines = ["i-1", "i-2", "i-3"]
        .map(|id| machine(id, Phase::Serving))
        .to_vec();
    ScalingGroup {
        machines,
        ..group("workers", 3)
    }
}

fn options() -> Options {
    Options {
        groups: vec!["2:6:workers".parse().unwrap()],
        ..Options::default()
    }
}

pub(super) fn provider(fake: &Arc<Fake>) -> AwsProvider {
    let api = Arc::clone(fake);
    AwsProvider::over(api, options(), clock())
}

pub(super) async fn only(provider: &AwsProvider) -> NodeGroup {
    let mut groups = provider.groups().await.unwrap();
    assert_eq!(groups.len(), 1, "{groups:?}");
    groups.pop().unwrap()
}

pub(super) fn node(id: &str) -> NodeRef {
    NodeRef {
        name: format!("ip-{id}").into(),
        provider_id: format!("aws:///us-east-1a/{id}").into(),
        labels: Vec::new(),
        annotations: Vec::new(),
    }
}

fn failure(started: Timestamp) -> Activity {
    let message = "We currently do not have sufficient t3.medium capacity".to_owned();
    Activity {
        started,
        launches: true,
        progress: Progress::Failed,
        message,
    }
}

#[tokio::test(start_paused = true)]
async fn reads_once_a_minute_while_nothing_is_awaited() {
    let fake = Fake::with(vec![workers()]);
    let provider = provider(&fake);
    let found = only(&provider).await;
    assert_eq!(
        (found.min, found.max, found.target, found.instances.len()),
        (2, 6, 3, 3)
    );
    advance(Duration::from_secs(59)).await;
    only(&provider).await;
    assert_eq!(fake.calls(), ["groups_by_name workers"]);
    advance(Duration::from_secs(1)).await;
    only(&provider).await;
    assert_eq!(fake.calls(), ["groups_by_name workers"]);
}

#[tokio::test(start_paused = true)]
async fn grows_and_holds_places_until_machines_come() {
    let fake = Fake::with(vec![workers()]);
    let provider = provider(&fake);
    only(&provider).await;
    provider.increase("workers", 2).await.unwrap();
    let calls = fake.calls();
    assert_eq!(
        calls.last().map(String::as_str),
        Some("set_desired workers 5")
    );

    let found = only(&provider).await;
    assert_eq!(found.target, 5);
    let places: Vec<_> = found
        .instances
        .iter()
        .skip(3)
        .map(|instance| &*instance.id)
        .collect();
    let want = [
        "aws:///us-east-1a/i-placeholder-workers-3",
        "aws:///us-east-1a/i-placeholder-workers-4",
    ];
    assert_eq!(places, want);

    fake.group("workers", |group| {
        group.machines.push(machine("i-4", Phase::Coming));
    });
    advance(Duration::from_secs(10)).await;
    let found = only(&provider).await;
    assert_eq!(found.instances.len(), 5);
    assert_eq!(
        provider.group_of(&node("i-4")).await.unwrap().as_deref(),
        Some("workers")
    );
}

#[tokio::test(start_paused = true)]
async fn refuses_more_than_the_maximum() {
    let fake = Fake::with(vec![workers()]);
    let provider = provider(&fake);
    only(&provider).await;
    let error = provider.increase("workers", 4).await.unwrap_err();
    assert_eq!(
        (error.class, error.to_string().as_str()),
        (
            ErrorClass::Invalid,
            "size increase too large - desired:7 max:6"
        )
    );
    assert!(provider.increase("workers", usize::MAX).await.is_err());
    assert!(provider.increase("workers", 0).await.is_err());
    assert!(
        fake.calls()
            .iter()
            .all(|call| !call.starts_with("set_desired"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_added_is_neither_undone_nor_added_again() {
    let fake = Fake::with(vec![workers()]);
    let provider = provider(&fake);
    only(&provider).await;
    fake.group("workers", |group| group.desired = 5);
    provider.increase("workers", 1).await.unwrap();
    assert!(
        fake.calls()
            .iter()
            .all(|call| !call.starts_with("set_desired"))
    );
    assert_eq!(only(&provider).await.target, 5);

    fake.group("workers", |group| group.desired = 3);
    provider.increase("workers", 1).await.unwrap();
    assert_eq!(only(&provider).await.target, 4);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_failed_marks_the_places_and_giving_them_up_ends_no_machine() {
    let fake = Fake::with(vec![workers()]);
    let provider = provider(&fake);
    only(&provider).await;
    provider.increase("workers", 2).await.unwrap();
    fake.change(|inside| {
        inside.activities = vec![failure("2026-01-01T00:00:05Z".parse().unwrap())];
    });
    advance(Duration::from_secs(10)).await;
    let found = only(&provider).await;
    let problems: Vec<_> = found
        .instances
        .iter()
        .filter_map(|instance| instance.problem.as_ref())
        .collect();
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[0].class, ErrorClass::OutOfResources);
    assert_eq!(problems[0].code, "InsufficientInstanceCapacity");

    fake.calls();
    let places = [
        node("i-placeholder-workers-3"),
        node("i-placeholder-workers-4"),
    ];
    provider.delete("workers", &places).await.unwrap();
    assert_eq!(
        fake.calls(),
        ["groups_by_name workers", "set_desired workers 3"]
    );
    let found = only(&provider).await;
    assert_eq!((found.target, found.instances.len()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn failures_from_before_the_resize_do_not_count() {
    let fake = Fake::with(vec![workers()]);
    let provider = provider(&fake);
    only(&provider).await;
    advance(Duration::from_secs(300)).await;
    fake.change(|inside| {
        inside.activities = vec![failure("2026-01-01T00:01:00Z".parse().unwrap())];
    });
    only(&provider).await;
    provider.increase("workers", 1).await.unwrap();
    advance(Duration::from_secs(10)).await;
    let found = only(&provider).await;
    assert!(
        found
            .instances
            .iter()
            .all(|instance| instance.problem.is_none())
    );
}

#[tokio::test(start_paused = true)]
async fn a_shortage_is_seen_after_a_restart() {
    let fake = Fake::with(vec![ScalingGroup {
        desired: 4,
        ..workers()
    }]);
    fake.change(|inside| {
        inside.activities = vec![failure("2025-12-31T23:55:00Z".parse().unwrap())];
    });
    let found = only(&provider(&fake)).await;
    assert_eq!(
        found
            .instances
            .iter()
            .filter(|instance| instance.problem.is_some())
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_read_activities_places_just_wait() {
    let fake = Fake::with(vec![ScalingGroup {
        desired: 4,
        ..workers()
    }]);
    fake.change(|inside| inside.failing.insert("activities", ErrorClass::Forbidden));
    let provider = provider(&fake);
    for _ in 0..5 {
        let found = only(&provider).await;
        assert_eq!(found.instances.len(), 4);
        advance(Duration::from_secs(10)).await;
    }
    let asked = fake
        .calls()
        .into_iter()
        .filter(|call| call.starts_with("activities"))
        .count();
    assert_eq!(asked, 1);
}

#[tokio::test(start_paused = true)]
async fn ends_machines_one_by_one_and_reads_anew() {
    let fake = Fake::with(vec![workers()]);
    let provider = provider(&fake);
    only(&provider).await;
    fake.calls();
    provider.delete("workers", &[node("i-2")]).await.unwrap();
    assert_eq!(fake.calls(), ["groups_by_name workers", "terminate i-2"]);
    let found = only(&provider).await;
    assert_eq!(found.target, 2);
    assert_eq!(fake.calls(), ["groups_by_name workers"]);

    provider.delete("workers", &[node("i-2")]).await.unwrap();
    assert_eq!(
        fake.calls(),
        ["groups_by_name workers"],
        "one that is going is left alone"
    );
}

#[tokio::test(start_paused = true)]
async fn never_ends_machines_below_the_minimum_or_of_others() {
    let other = ScalingGroup {
        machines: vec![machine("i-9", Phase::Serving)],
        ..group("other", 1)
    };
    let fake = Fake::with(vec![workers(), other]);
    let named = vec!["2:6:workers".parse().unwrap(), "0:1:other".parse().unwrap()];
    let provider = AwsProvider::over(
        Arc::clone(&fake) as _,
        Options {
            groups: named,
            ..Options::default()
        },
        clock(),
    );
    provider.groups().await.unwrap();
    let error = provider
        .delete("workers", &[node("i-1"), node("i-2")])
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("min size reached, nodes will not be deleted"),
        "{error}"
    );
    let error = provider
        .delete("workers", &[node("i-9")])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("does not belong to"), "{error}");
    let error = provider
        .delete("workers", &[node("fargate")])
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid);
    assert!(
        fake.calls()
            .iter()
            .all(|call| !call.starts_with("terminate"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_machine_and_a_place_go_together() {
    let fake = Fake::with(vec![ScalingGroup {
        desired: 4,
        ..workers()
    }]);
    let provider = provider(&fake);
    only(&provider).await;
    provider
        .delete("workers", &[node("i-1"), node("i-placeholder-workers-3")])
        .await
        .unwrap();
    let found = only(&provider).await;
    assert_eq!(found.target, 2);
    fake.group("workers", |group| {
        assert_eq!((group.desired, group.active()), (2, 2));
    });
}

#[tokio::test(start_paused = true)]
async fn a_place_that_was_filled_meanwhile_is_kept() {
    let fake = Fake::with(vec![ScalingGroup {
        desired: 4,
        ..workers()
    }]);
    let provider = provider(&fake);
    only(&provider).await;
    fake.group("workers", |group| {
        group.machines.push(machine("i-4", Phase::Coming));
    });
    provider
        .delete("workers", &[node("i-placeholder-workers-3")])
        .await
        .unwrap();
    fake.group("workers", |group| assert_eq!(group.desired, 4));
}

#[tokio::test(start_paused = true)]
async fn lowers_the_target_down_to_what_is_there() {
    let fake = Fake::with(vec![ScalingGroup {
        desired: 5,
        ..workers()
    }]);
    let provider = provider(&fake);
    only(&provider).await;
    let error = provider.decrease_target("workers", 3).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("attempt to delete existing nodes targetSize:5 delta:-3 existingNodes: 3"),
        "{error}"
    );
    provider.decrease_target("workers", 2).await.unwrap();
    assert_eq!(only(&provider).await.target, 3);
}

#[tokio::test(start_paused = true)]
async fn a_failing_service_is_asked_more_and_more_seldom() {
    let fake = Fake::with(vec![workers()]);
    fake.change(|inside| {
        inside
            .failing
            .insert("groups_by_name", ErrorClass::Throttled)
    });
    let provider = provider(&fake);
    let mut asked_at = Vec::new();
    for second in 0..120 {
        assert_eq!(
            provider.groups().await.unwrap_err().class,
            ErrorClass::Throttled
        );
        if !fake.calls().is_empty() {
            asked_at.push(second);
        }
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(asked_at, [0, 5, 15, 35, 75]);
    fake.change(|inside| inside.failing.clear());
    advance(Duration::from_secs(60)).await;
    only(&provider).await;
}

#[tokio::test(start_paused = true)]
async fn discovers_by_the_tags_of_any_flag() {
    let tagged = |name: &str, keys: &[&str]| {
        let tags = keys
            .iter()
            .map(|key| ((*key).to_owned(), "owned".to_owned()))
            .collect();
        ScalingGroup {
            tags,
            ..group(name, 1)
        }
    };
    let dying = ScalingGroup {
        deleting: true,
        ..tagged("dying", &["a", "b"])
    };
    let fake = Fake::with(vec![
        tagged("both", &["a", "b"]),
        tagged("half", &["a"]),
        tagged("other", &["c"]),
        dying,
    ]);
    let discovery = vec![
        "asg:tag=a,b".parse().unwrap(),
        "asg:tag=c=owned".parse().unwrap(),
    ];
    let provider = AwsProvider::over(
        Arc::clone(&fake) as _,
        Options {
            discovery,
            ..Options::default()
        },
        clock(),
    );
    let groups = provider.groups().await.unwrap();
    let names: Vec<_> = groups.iter().map(|group| &*group.id).collect();
    assert_eq!(names, ["both", "other"]);
    assert_eq!(groups[0].max, 10);
}

#[tokio::test(start_paused = true)]
async fn nodes_with_the_annotation_are_left_alone() {
    let fake = Fake::with(vec![workers()]);
    let provider = provider(&fake);
    only(&provider).await;
    let alone = NodeRef {
        annotations: vec![("k8s.io/cluster-autoscaler-enabled".into(), "false".into())],
        ..node("i-1")
    };
    assert_eq!(provider.group_of(&alone).await.unwrap(), None);
    assert_eq!(
        provider.group_of(&node("i-1")).await.unwrap().as_deref(),
        Some("workers")
    );
    assert_eq!(provider.group_of(&node("i-77")).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_group_nobody_knows_anything_of_has_no_template() {
    let fake = Fake::with(vec![group("workers", 0)]);
    let provider = provider(&fake);
    only(&provider).await;
    assert_eq!(provider.template("workers").await.unwrap(), None);
    let error = provider.template("elsewhere").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
    let labels = serde_json::json!({"node.kubernetes.io/instance-type": "m5.large"});
    let node = serde_json::json!({"metadata": {"labels": labels}});
    assert_eq!(provider.price(&node), Some(0.096));
}

#[tokio::test(start_paused = true)]
async fn sizes_of_the_flag_hold_as_far_as_aws_allows_them() {
    let tight = ScalingGroup {
        min: 3,
        max: 4,
        ..workers()
    };
    let fake = Fake::with(vec![tight]);
    let provider = provider(&fake);
    let found = only(&provider).await;
    assert_eq!((found.min, found.max), (3, 4));
    let error = provider.delete("workers", &[node("i-1")]).await;
    assert_eq!(error.unwrap_err().class, ErrorClass::Invalid);
    let error = provider.increase("workers", 2).await.unwrap_err();
    assert_eq!(error.message, "size increase too large - desired:5 max:4");
    let calls = fake.calls();
    let wrote = |call: &String| !call.starts_with("groups_by_name");
    assert!(!calls.iter().any(wrote), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_counts_nobody_knows_what_is_left_alone() {
    let unknown = ScalingGroup {
        units: Units::Unknown,
        desired: 12,
        ..workers()
    };
    let fake = Fake::with(vec![unknown]);
    let provider = provider(&fake);
    assert_eq!(provider.groups().await.unwrap(), []);
    let error = provider.decrease_target("workers", 9).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
}
