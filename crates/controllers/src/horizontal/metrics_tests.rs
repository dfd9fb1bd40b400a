//! What passes count as.

use super::{Live, Metrics, Pass, Present, QueueStats, state_of};
use plimsoll_api::exposition::{Exposition, Page};
use plimsoll_engine::horizontal::{
    Memory, Observed, Reading, Sample, Scale, Selection, Settings, Status, decide,
};
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::{Arc, Weak};
use std::time::Duration;

const P: &str = "horizontal_pod_autoscaler_controller_";

fn observed(metrics: &Value, readings: Vec<Result<Reading, String>>) -> Observed {
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let pod = json!({ "phase": "Running", "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{ "type": "Ready", "status": "True",
                         "lastTransitionTime": "2026-01-01T00:00:10Z" }] });
    let spec =
        json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": "1" } } }] });
    let facts = plimsoll_engine::horizontal::pod::Facts::new(
        "p".into(),
        false,
        serde_json::from_value(spec).unwrap(),
        serde_json::from_value(pod).unwrap(),
    );
    let spec = json!({ "scaleTargetRef": { "kind": "Deployment", "name": "web" },
        "maxReplicas": 10, "metrics": metrics });
    Observed {
        now,
        settings: Settings::default(),
        namespace: "n".into(),
        spec: Arc::new(serde_json::from_value(spec).unwrap()),
        status: Status {
            current_replicas: 1,
            ..Status::default()
        },
        scale: Ok(Scale {
            spec_replicas: 1,
            status_replicas: 1,
            selector: Selection::Valid("app=web".into()),
        }),
        pods: vec![Arc::new(facts)],
        rivals: Vec::new(),
        readings,
        memory: Some(Memory::default()),
    }
}

fn cpu() -> Value {
    json!({ "type": "Resource", "resource": { "name": "cpu",
        "target": { "type": "Utilization", "averageUtilization": 50 } } })
}

fn used(milli: i64) -> Reading {
    let sample = Sample {
        pod: "p".into(),
        value: milli,
        timestamp: "2026-01-01T11:59:58Z".parse().unwrap(),
        window: jiff::SignedDuration::from_secs(1),
    };
    Reading::PerPod(vec![sample])
}

fn page(metrics: &Metrics) -> String {
    let mut page = Page::default();
    metrics.expose(&mut page);
    page.into_text()
}

fn counted(observed: &Observed) -> String {
    let decision = decide(observed);
    let metrics = Metrics::default();
    metrics.passed(&Pass {
        observed,
        decision: &decision,
        wrote: decision.write.is_some(),
        took: Duration::from_millis(3),
        decided_in: Duration::from_micros(3),
        read_in: &[],
        since_observed: Duration::from_millis(500),
    });
    page(&metrics)
}

#[rstest]
#[case::up(900, "scale_up", 1)]
#[case::within_tolerance(500, "none", 0)]
fn a_pass_counts_by_what_was_written(
    #[case] milli: i64,
    #[case] action: &str,
    #[case] reacted: u64,
) {
    let text = counted(&observed(&json!([cpu()]), vec![Ok(used(milli))]));
    for line in [
        format!("{P}reconciliations_total{{action=\"{action}\",error=\"none\"}} 1"),
        format!(
            "{P}reconciliation_duration_seconds_bucket{{action=\"{action}\",error=\"none\",le=\"0.002\"}} 0"
        ),
        format!(
            "{P}reconciliation_duration_seconds_bucket{{action=\"{action}\",error=\"none\",le=\"0.004\"}} 1"
        ),
        format!(
            "{P}metric_computation_total{{action=\"{action}\",error=\"none\",metric_type=\"Resource\"}} 1"
        ),
        "plimsoll_hpa_decide_duration_seconds_bucket{le=\"5e-06\"} 1".into(),
        "plimsoll_hpa_sample_age_seconds_bucket{le=\"2\"} 1".into(),
        format!("plimsoll_hpa_reaction_seconds_count {reacted}"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
}

#[rstest]
#[case::unfetched(cpu(), "Resource", "internal")]
#[case::unknown(json!({ "type": "Odd" }), "", "spec")]
fn a_failed_metric_counts_by_its_error(
    #[case] metric: Value,
    #[case] kind: &str,
    #[case] error: &str,
) {
    let text = counted(&observed(&json!([metric]), vec![Err("down".into())]));
    for line in [
        format!("{P}reconciliations_total{{action=\"none\",error=\"internal\"}} 1"),
        format!(
            "{P}metric_computation_total{{action=\"none\",error=\"{error}\",metric_type=\"{kind}\"}} 1"
        ),
        "plimsoll_hpa_held_blind_total 1".into(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
}

#[derive(Debug)]
struct Two;

impl Live for Two {
    fn present(&self) -> Present {
        Present {
            states: vec![("active", 1), ("failing", 1)],
            desired: vec![("n".into(), "web".into(), 7)],
            queue: QueueStats {
                waiting: 2,
                added: 9,
                retried: 1,
            },
        }
    }
}

#[test]
fn gauges_are_what_is_true_when_asked() {
    let metrics = Metrics::default();
    let live: Arc<dyn Live> = Arc::new(Two);
    metrics.attach(Arc::downgrade(&live));
    let text = page(&metrics);
    for line in [
        format!("{P}num_horizontal_pod_autoscalers 2"),
        format!("{P}desired_replicas{{namespace=\"n\",hpa_name=\"web\"}} 7"),
        "plimsoll_hpa_autoscalers{state=\"failing\"} 1".into(),
        "workqueue_depth{name=\"horizontalpodautoscaler\"} 2".into(),
        "workqueue_adds_total{name=\"horizontalpodautoscaler\"} 9".into(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
    let gone: Weak<dyn Live> = Arc::downgrade(&live);
    drop(live);
    metrics.attach(gone);
    assert!(page(&metrics).contains("num_horizontal_pod_autoscalers 0"));
}

#[rstest]
#[case::new(&[], "new")]
#[case::blind(&[("AbleToScale", "True", ""), ("ScalingActive", "False", "")], "failing")]
#[case::unreachable(&[("AbleToScale", "False", "")], "failing")]
#[case::asleep(&[("ScalingActive", "False", "ScalingDisabled")], "disabled")]
#[case::bounded(&[("ScalingActive", "True", ""), ("ScalingLimited", "True", "")], "limited")]
#[case::well(&[("ScalingActive", "True", ""), ("ScalingLimited", "False", "")], "active")]
fn an_autoscaler_is_in_one_state(#[case] conditions: &[(&str, &str, &str)], #[case] want: &str) {
    let condition = |(kind, status, reason): &(&str, &str, &str)| json!({ "type": kind, "status": status, "reason": reason });
    let conditions: Vec<Value> = conditions.iter().map(condition).collect();
    let status = serde_json::from_value(json!({ "conditions": conditions })).unwrap();
    assert_eq!(state_of(&status), want);
}

/// Words of an expression that name series: those with braces or a range behind them.
fn series_of(expression: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let ends = expression.match_indices('{').map(|(at, _)| at);
    let names = ends.filter_map(|at| {
        let before = expression.get(..at)?;
        let from = before.rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
        before.get(from..).filter(|name| !name.is_empty())
    });
    names.collect()
}

#[test]
fn the_dashboard_asks_for_series_that_exist() {
    let failing = observed(&json!([cpu()]), vec![Err("down".into())]);
    let shown = [
        counted(&observed(&json!([cpu()]), vec![Ok(used(900))])),
        counted(&failing),
    ]
    .concat();
    let metrics = Metrics::default();
    let live: Arc<dyn Live> = Arc::new(Two);
    metrics.attach(Arc::downgrade(&live));
    let shown = shown + &page(&metrics);
    let dashboard = include_str!("../../../../docs/grafana/horizontal.json");
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let series = series_of(expression);
            assert!(!series.is_empty(), "{expression} asks for nothing");
            for name in series {
                let exists = shown.lines().any(|line| {
                    line.strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with(['{', ' ']))
                });
                assert!(exists, "{name} of {expression} does not exist");
                asked += 1;
            }
        }
    }
    assert!(asked > 20);
}
