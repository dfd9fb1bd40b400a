//! Both autoscalers over a simulated day: pods follow the load, nodes follow the pods.
#![cfg(test)]

use jiff::{SignedDuration, Timestamp};
use plimsoll_api::nodegroup::OptionOverrides;
use plimsoll_controllers::nodes::ProvisioningOptions;
use plimsoll_sim::{
    BOOT, BOOT_SPREAD, Incident, Load, NodeEvent, NodeReport, Report, Sample, Scenario, Trouble,
    day_on_two_groups, run,
};
use plimsoll_sources::nodes::simulated::Shortage;
use serde_json::json;
use std::sync::LazyLock;
use std::time::Duration;

/// One run for all tests that look at the same day.
static DAY: LazyLock<Report> = LazyLock::new(|| run(&day_on_two_groups(1)).unwrap());

/// The longest a machine boots, and what the autoscalers and the scheduler take on top, in seconds.
fn patience() -> f64 {
    BOOT.as_secs_f64() * (1.0 + BOOT_SPREAD) + 2.0
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn at(report: &Report, hour: i64) -> Sample {
    let time = Timestamp::constant(1_767_225_600, 0) + SignedDuration::from_hours(hour);
    *report.timeline.iter().find(|s| s.time >= time).unwrap()
}

fn count(nodes: &NodeReport, wanted: fn(&NodeEvent) -> bool) -> usize {
    nodes.changes.iter().filter(|c| wanted(&c.event)).count()
}

#[test]
fn nodes_follow_the_load_up_and_down() {
    let summary = DAY.nodes.summary;
    let (trough, peak, evening) = (at(&DAY, 2), at(&DAY, 14), at(&DAY, 23));
    assert!(trough.machines <= 2, "{trough:?}");
    assert!(peak.machines >= 13, "{peak:?}");
    assert!(evening.machines <= 9, "{evening:?}");
    assert_eq!(peak.machines, peak.nodes);
    assert!(summary.fewest <= 2 && summary.most < 12 + 6, "{summary:?}");
    // Who left was ordered before, and nodes are never taken from pods that need them.
    assert!(summary.removed >= 5, "{summary:?}");
    assert_eq!(count(&DAY.nodes, |e| *e == NodeEvent::Spared), 0);
    let summary = DAY.summary;
    assert!(summary.unserved < 1e-3 * summary.requests, "{summary:?}");
}

#[test]
fn pods_wait_for_a_machine_to_boot_and_hardly_longer() {
    let summary = DAY.nodes.summary;
    assert!(summary.waited >= 20, "{summary:?}");
    assert!(summary.wait_p99 <= patience(), "{summary:?}");
    assert!(DAY.nodes.waits.iter().all(|wait| wait.placed));
    for change in &DAY.nodes.changes {
        if let NodeEvent::Joined { seconds: Some(s) } = change.event {
            assert!(s <= patience() - 1.0, "{change}");
        }
    }
}

#[test]
fn it_costs_less_than_the_peak_all_day() {
    let summary = DAY.nodes.summary;
    let ratio = summary.cost / summary.static_cost;
    assert!((0.4..0.7).contains(&ratio), "{ratio}: {summary:?}");
    let hours: f64 = DAY
        .timeline
        .iter()
        .map(|s| s.dollars_per_hour * 15.0 / 3600.0)
        .sum();
    assert!(
        (hours - summary.cost).abs() < 0.02 * summary.cost,
        "{hours}: {summary:?}"
    );
}

#[test]
fn hardly_a_node_leaves_that_is_ordered_again_soon() {
    let regretted = DAY.nodes.regretted(SignedDuration::from_mins(10));
    let emptied = DAY.nodes.summary.emptied;
    assert!(regretted * 10 <= emptied, "{regretted} of {emptied}");
}

#[test]
fn every_order_and_every_removal_says_why() {
    for change in &DAY.nodes.changes {
        if matches!(change.event, NodeEvent::Ordered { .. } | NodeEvent::Leaving) {
            assert!(!change.steps.is_empty(), "{change}");
        }
    }
    let journal = DAY.journal();
    assert_eq!(journal.len(), DAY.nodes.changes.len() + DAY.decisions.len());
}

/// Two hours in which everything changes: load, machines that are short, taken away, and an
/// autoscaler that crashes.
fn churn(seed: u64) -> Scenario {
    let load = [
        (0, 300.0),
        (20, 4_000.0),
        (50, 600.0),
        (80, 5_000.0),
        (100, 100.0),
    ];
    let load = load.map(|(after, rate)| (minutes(after), rate));
    let mut scenario = Scenario {
        length: minutes(150),
        load: Load::steps(load).with_noise(0.05, minutes(1)),
        ..day_on_two_groups(seed)
    };
    let groups = &mut scenario.node_groups;
    groups.autoscaler.group.scale_down_unneeded_time = SignedDuration::from_mins(3);
    if let Some(shrink) = &mut groups.autoscaler.shrink {
        shrink.delays.after_add = SignedDuration::from_mins(2);
    }
    let happens = [
        (22, Trouble::Short("small".into(), Shortage::PerMachine)),
        (30, Trouble::Recovered),
        (40, Trouble::Interrupted("small".into())),
        (60, Trouble::Crashed),
        (82, Trouble::Short("small".into(), Shortage::Refused)),
        (90, Trouble::Recovered),
    ];
    let incidents = happens.map(|(after, what)| Incident {
        after: minutes(after),
        what,
    });
    groups.incidents = incidents.into();
    scenario
}

/// One run for both tests that look at it.
static CHURN: LazyLock<Report> = LazyLock::new(|| run(&churn(7)).unwrap());

#[test]
fn the_same_churn_twice_is_the_same_to_the_byte() {
    let again = run(&churn(7)).unwrap();
    assert_eq!(CHURN.journal(), again.journal());
    assert_eq!(*CHURN, again);
    let nodes = &again.nodes;
    assert!(
        nodes.summary.ordered >= 15 && nodes.summary.removed >= 10,
        "{:?}",
        nodes.summary
    );
    assert!(nodes.summary.failed >= 1, "{:?}", nodes.summary);
    assert_eq!(count(nodes, |e| *e == NodeEvent::Trouble), 6);
    let other = run(&churn(8)).unwrap();
    assert_ne!(CHURN.journal(), other.journal());
}

#[test]
fn where_small_machines_do_not_come_large_ones_do() {
    let short = Timestamp::constant(1_767_225_600, 0) + SignedDuration::from_mins(22);
    let large = CHURN.nodes.changes.iter().find(|change| {
        let ordered = matches!(change.event, NodeEvent::Ordered { .. });
        ordered && change.group == "large" && change.time > short
    });
    let ordered = large.unwrap().time.duration_since(short);
    assert!(ordered < SignedDuration::from_mins(2), "{ordered:#}");
}

/// Dollars of the first sixteen hours.
fn cost(report: &Report) -> f64 {
    let samples = report.timeline.iter().take(16 * 240);
    samples.map(|s| s.dollars_per_hour / 240.0).sum()
}

#[test]
fn a_crash_of_the_autoscaler_changes_nothing_material() {
    let hours = [7, 13, 15];
    let incidents = hours.map(|hour| Incident {
        after: minutes(60 * hour) + Duration::from_secs(17),
        what: Trouble::Crashed,
    });
    let mut scenario = Scenario {
        length: minutes(60 * 16),
        ..day_on_two_groups(1)
    };
    scenario.node_groups.incidents = incidents.into();
    let report = run(&scenario).unwrap();
    assert_eq!(count(&report.nodes, |e| *e == NodeEvent::Trouble), 3);
    let ratio = cost(&report) / cost(&DAY);
    assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
    let summary = report.nodes.summary;
    assert!(summary.wait_p99 <= patience(), "{summary:?}");
    assert!(report.summary.unserved < 1e-3 * report.summary.requests);
}

#[test]
fn senseless_groups_are_refused() {
    let refused = |change: fn(&mut Scenario)| {
        let mut scenario = day_on_two_groups(1);
        change(&mut scenario);
        run(&scenario).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|s| s.node_groups.groups[0].min = 13),
        "scenario: node group small has at least 13 and at most 12 nodes"
    );
    assert_eq!(
        refused(|s| s.node_groups.groups[1].name = "small".into()),
        "scenario: node group \"small\" needs a name that no other has"
    );
    assert_eq!(
        refused(|s| s.node_groups.groups.clear()),
        "scenario: 0 nodes; there can be 1 to 250"
    );
    let text = refused(|s| {
        s.node_groups.incidents.push(Incident {
            after: Duration::ZERO,
            what: Trouble::Interrupted("huge".into()),
        });
    });
    assert_eq!(
        text,
        "scenario: an incident is about \"huge\", which is no node group"
    );
}

#[test]
fn a_group_has_options_of_its_own() {
    // Nodes of `small` go at once here, those of `large` never within the run.
    let own = |unneeded| OptionOverrides {
        scale_down_unneeded_time: Some(unneeded),
        ..OptionOverrides::default()
    };
    let steps = [(0, 5_000.0), (20, 50.0)].map(|(after, rate)| (minutes(after), rate));
    let mut scenario = Scenario {
        length: minutes(60),
        load: Load::steps(steps),
        ..day_on_two_groups(3)
    };
    let groups = &mut scenario.node_groups;
    groups.groups[0].options = own(SignedDuration::from_secs(10));
    groups.groups[1].options = own(SignedDuration::from_hours(2));
    if let Some(shrink) = &mut groups.autoscaler.shrink {
        shrink.delays.after_add = SignedDuration::from_mins(1);
    }
    let report = run(&scenario).unwrap();
    let left: Vec<&str> = report
        .nodes
        .changes
        .iter()
        .filter(|change| change.event == NodeEvent::Leaving)
        .map(|change| &*change.group)
        .collect();
    assert!(
        !left.is_empty() && left.iter().all(|group| *group == "small"),
        "{left:?}"
    );
}

#[test]
fn provisioning_requests_are_served_where_they_are_asked_for() {
    let mut scenario = Scenario {
        length: minutes(5),
        ..day_on_two_groups(1)
    };
    let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}});
    scenario.manifests.push(json!({
        "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "room", "namespace": "default"},
        "template": {"spec": {"containers": [container]}},
    }));
    scenario.manifests.push(json!({
        "apiVersion": "autoscaling.x-k8s.io/v1", "kind": "ProvisioningRequest",
        "metadata": {"name": "room", "namespace": "default"},
        "spec": {
            "provisioningClassName": "check-capacity.autoscaling.x-k8s.io",
            "podSets": [{"count": 1, "podTemplateRef": {"name": "room"}}],
        },
    }));
    run(&scenario).unwrap_err();
    scenario.node_groups.autoscaler.provisioning = Some(ProvisioningOptions::default());
    run(&scenario).unwrap();
}
