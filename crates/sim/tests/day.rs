//! The real autoscaler over a simulated day.
#![cfg(test)]

use jiff::{SignedDuration, Timestamp};
use plimsoll_sim::{
    Decision, Diurnal, Load, Nodes, Report, Sample, Scenario, SimError, Target, run,
};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Duration;

const REQUEST_MILLI: f64 = 200.0;
const COST: f64 = 20.0;
const TARGET_PERCENT: f64 = 50.0;
const TOLERANCE: f64 = 0.1;
const STABILIZATION: i64 = 300;
const MIN: i32 = 1;
const MAX: i32 = 15;
const PERIOD: i64 = 15;

fn manifests() -> Vec<Value> {
    let labels = json!({"app": "web"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "app", "image": "web",
                    "resources": {"requests": {"cpu": "200m"}, "limits": {"cpu": "500m"}},
                }]},
            },
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": labels, "ports": [{"port": 80}]},
    });
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": MIN, "maxReplicas": MAX,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50},
            }}],
        },
    });
    vec![deployment, service, autoscaler]
}

/// Three nodes, one deployment, and a load that needs 1 to 12 pods.
fn day(seed: u64) -> Scenario {
    let load = Load::diurnal(Diurnal {
        trough: 4.0,
        peak: 58.0,
        peak_hour: 14.0,
        weekend: 0.5,
    });
    Scenario {
        length: Duration::from_secs(24 * 3600),
        seed,
        nodes: Nodes {
            count: 3,
            cpu_milli: 2000,
            memory_bytes: 4 << 30,
        },
        manifests: manifests(),
        load: load.with_noise(0.03, Duration::from_secs(60)),
        cost_per_request_milli_seconds: COST,
        target: Target {
            namespace: "default".into(),
            selector: "app=web".into(),
        },
        ..Scenario::default()
    }
}

/// One run for all tests that look at the same day.
static DAY: LazyLock<Report> = LazyLock::new(|| run(&day(1)).unwrap());
/// Another day.
static OTHER: LazyLock<Report> = LazyLock::new(|| run(&day(2)).unwrap());

/// Pods that would use exactly the target.
fn needed(sample: &Sample) -> f64 {
    sample.requests_per_second * COST / (REQUEST_MILLI * TARGET_PERCENT / 100.0)
}

fn around(report: &Report, at: Timestamp, before: i64) -> Vec<Sample> {
    let from = at - SignedDuration::from_secs(before);
    let inside = report
        .timeline
        .iter()
        .filter(|s| s.time > from && s.time <= at);
    inside.copied().collect()
}

/// Counts that the formula allows at the end of these samples: `ceil(needed)`, or any count whose
/// ratio was within the tolerance, for some load of the stabilization window.
fn allowed(samples: &[Sample]) -> (i32, i32) {
    let needed: Vec<f64> = samples.iter().map(needed).collect();
    let (least, most) = needed
        .iter()
        .fold((f64::MAX, 0.0_f64), |(a, b), n| (a.min(*n), b.max(*n)));
    // Utilization is whole percent: 1 of 50 is 2 %.
    let low = (least / (1.0 + TOLERANCE) / 1.02).ceil();
    let high = (most * 1.02)
        .ceil()
        .max((most / (1.0 - TOLERANCE) * 1.02).floor());
    #[expect(clippy::cast_possible_truncation, reason = "small counts")]
    let (low, high) = (low as i32, high as i32);
    (low.max(MIN), high.min(MAX))
}

#[test]
fn the_same_day_twice_is_the_same_to_the_byte() {
    let again = run(&day(1)).unwrap();
    assert!(!again.decisions.is_empty());
    assert_eq!(DAY.decisions, again.decisions);
    assert_eq!(*DAY, again);
}

#[test]
fn at_peak_and_trough_the_count_is_what_the_formula_says() {
    for (seed, report) in [(1, &*DAY), (2, &*OTHER)] {
        for time in ["2026-01-01T14:10:00Z", "2026-01-01T02:10:00Z"] {
            let samples = around(report, time.parse().unwrap(), STABILIZATION + 2 * PERIOD);
            let (low, high) = allowed(&samples);
            let last = samples.last().unwrap();
            let replicas = last.replicas;
            assert!(
                (low..=high).contains(&replicas),
                "seed {seed}, {time}: {replicas} replicas for {:.2}, allowed {low} to {high}",
                needed(last)
            );
            assert_eq!(usize::try_from(replicas).unwrap(), last.ready);
        }
    }
}

#[test]
fn all_day_the_count_follows_the_formula() {
    for sample in DAY.timeline.iter().skip(60) {
        let samples = around(&DAY, sample.time, STABILIZATION + 4 * PERIOD);
        let (low, high) = allowed(&samples);
        let Sample { time, replicas, .. } = sample;
        assert!(
            (low..=high).contains(replicas),
            "{time}: {replicas}, allowed {low} to {high}"
        );
    }
}

/// The least that a pass could have recommended at a sample, whatever way its percentage rounds.
fn recommendation(sample: &Sample) -> i32 {
    let percent = sample.utilization.unwrap_or_default().floor();
    let ratio = percent / TARGET_PERCENT;
    if (ratio - 1.0).abs() <= TOLERANCE {
        return sample.replicas.min(i32::try_from(sample.ready).unwrap());
    }
    #[expect(clippy::cast_possible_truncation, reason = "small counts")]
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let proposed = (ratio * sample.ready as f64).ceil() as i32;
    proposed.max(MIN)
}

#[test]
fn it_never_shrinks_within_the_window_of_a_higher_recommendation() {
    let ins = DAY.changes.iter().filter(|c| c.desired < c.current);
    let mut seen = 0;
    for Decision { time, desired, .. } in ins {
        seen += 1;
        let recent =
            |at: Timestamp| at < *time && time.duration_since(at).as_secs() < STABILIZATION;
        let grown = DAY
            .changes
            .iter()
            .find(|c| recent(c.time) && c.desired > c.current);
        assert_eq!(grown, None, "shrinks to {desired} at {time}");
        let higher = around(&DAY, *time, STABILIZATION - 1).into_iter();
        let higher = higher
            .filter(|s| recent(s.time))
            .find(|s| recommendation(s) > *desired);
        assert_eq!(higher, None, "shrinks to {desired} at {time}");
    }
    assert!(seen >= 5, "{seen} scale-ins");
}

#[test]
fn another_seed_is_another_day_within_the_same_bounds() {
    assert_ne!(DAY.decisions, OTHER.decisions);
    assert_ne!(DAY.timeline, OTHER.timeline);
    for report in [&*DAY, &*OTHER] {
        let summary = report.summary;
        assert!((MIN..=2).contains(&summary.min), "{summary:?}");
        assert!((11..=MAX).contains(&summary.peak), "{summary:?}");
        assert!((100.0..220.0).contains(&summary.pod_hours), "{summary:?}");
    }
}

#[test]
fn a_gentle_load_is_served_whole_and_the_count_stays_in_range() {
    let summary = DAY.summary;
    assert!(summary.unserved.abs() < f64::EPSILON, "{summary:?}");
    assert!(summary.requests > 2e6, "{summary:?}");
    assert_eq!(DAY.timeline.len(), 24 * 240);
    for sample in &DAY.timeline {
        assert!((MIN..=MAX).contains(&sample.replicas), "{sample:?}");
        assert!(sample.wait_seconds < 1.0, "{sample:?}");
    }
    for change in &DAY.changes {
        assert_eq!(change.by, "hpa/web", "{change:?}");
        assert!((MIN..=MAX).contains(&change.desired), "{change:?}");
    }
}

/// The text with `web-…` for every pod: generated names depend on all names generated before.
fn without_names(text: &str) -> String {
    let words = text.split_inclusive([' ', ',', '\n']);
    let words = words.map(|word| match word.strip_prefix("web-") {
        Some(rest) => format!(
            "web-…{}",
            rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '-')
        ),
        None => word.to_owned(),
    });
    words.collect()
}

/// Ten minutes of 100 millicores, twenty of 1,000 (more than the pod of the moment can do), and 300.
#[test]
fn the_decisions_of_an_hour_of_steps_read_well() {
    let minutes = |m: u64| Duration::from_secs(60 * m);
    let scenario = Scenario {
        length: minutes(60),
        load: Load::steps([(minutes(0), 5.0), (minutes(10), 50.0), (minutes(30), 15.0)]),
        ..day(3)
    };
    let report = run(&scenario).unwrap();
    let text: Vec<String> = report.changes.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(without_names(&text.join("\n")));
    let log: Vec<Decision> = report
        .decisions
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(log, report.changes);
}

#[test]
fn what_nobody_serves_is_counted() {
    let scenario = Scenario {
        length: Duration::from_secs(600),
        // Twice what 15 pods at their limit of 500m can do.
        load: Load::constant(750.0),
        ..day(1)
    };
    let summary = run(&scenario).unwrap().summary;
    assert!(summary.unserved > 0.5 * summary.requests, "{summary:?}");
    assert_eq!(summary.peak, MAX);
}

#[test]
fn a_senseless_scenario_is_refused() {
    let no_nodes = Nodes {
        count: 0,
        ..Nodes::default()
    };
    let refused = |scenario: Scenario| run(&scenario).unwrap_err().to_string();
    let text = refused(Scenario {
        nodes: no_nodes,
        ..day(1)
    });
    assert_eq!(text, "scenario: 0 nodes; there can be 1 to 250");
    let odd = json!({"apiVersion": "v1", "kind": "Odd", "metadata": {"name": "a"}});
    let text = refused(Scenario {
        manifests: vec![odd],
        ..day(1)
    });
    assert_eq!(
        text,
        "manifest 0: there is no kind \"Odd\" of version \"v1\""
    );
}

#[tokio::test]
async fn a_scenario_inside_a_runtime_is_refused() {
    assert!(matches!(run(&day(1)), Err(SimError::Nested)));
}
