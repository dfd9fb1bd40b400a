//! Facts in, findings out.

use super::checks::all;
use super::facts::{ApiService, Facts, MissingRight, Workload};
use super::finding::{Finding, Level, lines};
use crate::install::rights::SCOPED;
use crate::run::builtin::Verdict;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn healthy() -> Facts {
    let versions = vec!["v2".to_owned(), "v1".to_owned()];
    Facts {
        version: Ok((1, 36, "v1.36.2".into())),
        groups: BTreeMap::from([("autoscaling".into(), versions)]),
        skew: Some(SignedDuration::from_secs(-1)),
        aggregation: Ok(true),
        missing_rights: Ok(Vec::new()),
        api_services: Ok(BTreeMap::new()),
        builtin: Verdict::Absent("no trace".into()),
        workloads: Ok(vec![workload("web", "web", &json!({"cpu": "100m"}))]),
        autoscalers: Ok(vec![autoscaler("web", "web")]),
        kubelets: Ok(vec![("node-1".into(), Ok(()))]),
        namespace: Ok(None),
    }
}

fn workload(name: &str, app: &str, requests: &Value) -> Workload {
    Workload {
        kind: "Deployment",
        namespace: "default".into(),
        name: name.into(),
        selector: json!({"matchLabels": {"app": app}}),
        template: json!({
            "metadata": {"labels": {"app": app}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]},
        }),
    }
}

fn autoscaler(name: &str, target: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": target},
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    })
}

fn find<'a>(findings: &'a [Finding], part: &str) -> &'a Finding {
    let found = findings.iter().find(|f| f.text.contains(part));
    found.unwrap_or_else(|| panic!("no {part:?} in {findings:#?}"))
}

#[test]
fn a_healthy_cluster_is_ready() {
    let said = lines("https://here", &all(&healthy(), "plimsoll-system"));
    assert_eq!(
        said,
        [
            "https://here, nothing was changed",
            "OK    version       v1.36.2 serves autoscaling/v2",
            "OK    clock         the server's clock is 1 s from this machine's",
            "OK    aggregation   the API server vouches for users (request headers)",
            "OK    rights        you may apply what `plimsoll install` prints",
            "OK    metrics       v1beta1.metrics.k8s.io is free; --apis=metrics serves it",
            "OK    metrics       v1beta1.custom.metrics.k8s.io is free; --apis=custom serves it",
            "OK    metrics       v1beta1.external.metrics.k8s.io is free; --apis=external serves it",
            "OK    hpa           no other controller obeys autoscalers: no trace",
            "OK    kubelets      1 answer through the API server",
            "OK    namespace     plimsoll-system will be made",
            "OK    autoscalers   1 found, nothing to object to",
            "ready to install",
        ]
    );
}

#[test]
fn an_old_server_and_a_wrong_clock_fail() {
    let facts = Facts {
        version: Ok((1, 22, "v1.22.1".into())),
        skew: Some(SignedDuration::from_mins(10)),
        ..healthy()
    };
    let findings = all(&facts, "there");
    assert_eq!(find(&findings, "v1.22.1 is too old").level, Level::Fail);
    assert_eq!(find(&findings, "600 s").level, Level::Fail);
    let said = lines("s", &findings);
    assert_eq!(said.last().unwrap(), "not ready: 2 failed, 0 to look at");
}

#[test]
fn a_missing_right_names_what_it_is_for() {
    let right = MissingRight {
        rule: SCOPED[0],
        verb: "watch".into(),
        resource: "autoscaling/horizontalpodautoscalers".into(),
    };
    let facts = Facts {
        missing_rights: Ok(vec![right]),
        ..healthy()
    };
    let findings = all(&facts, "there");
    let text = "you may not watch autoscaling/horizontalpodautoscalers (to read autoscalers)";
    assert_eq!(find(&findings, text).level, Level::Fail);
}

#[test]
fn the_owner_of_a_metrics_api_is_named() {
    let other = ApiService {
        service: Some("kube-system/metrics-server".into()),
        available: Ok(()),
    };
    let broken = ApiService {
        service: Some("monitoring/adapter".into()),
        available: Err("no endpoints".into()),
    };
    let ours = ApiService {
        service: Some("there/plimsoll".into()),
        available: Ok(()),
    };
    let facts = Facts {
        api_services: Ok(BTreeMap::from([
            ("v1beta1.metrics.k8s.io".into(), other),
            ("v1beta1.custom.metrics.k8s.io".into(), broken),
            ("v1beta1.external.metrics.k8s.io".into(), ours),
        ])),
        ..healthy()
    };
    let findings = all(&facts, "there");
    let level = |part| find(&findings, part).level;
    assert_eq!(level("served by kube-system/metrics-server"), Level::Warn);
    assert_eq!(level("does not answer: no endpoints"), Level::Warn);
    assert_eq!(level("served by Plimsoll"), Level::Ok);
}

#[test]
fn another_controller_comes_with_the_choices() {
    let facts = Facts {
        builtin: Verdict::Active("pod kube-system/kcm runs it".into()),
        ..healthy()
    };
    let findings = all(&facts, "there");
    let finding = find(&findings, "another controller obeys");
    for choice in ["--controllers=", "PodAutoscaler", "--take-over"] {
        assert!(finding.advice.contains(choice), "{choice}");
    }
}

#[test]
fn autoscalers_that_cannot_work_are_named() {
    let facts = Facts {
        workloads: Ok(vec![
            workload("web", "web", &json!({})),
            workload("canary", "web", &json!({"cpu": "1"})),
        ]),
        autoscalers: Ok(vec![
            autoscaler("web", "web"),
            autoscaler("again", "web"),
            autoscaler("lost", "gone"),
        ]),
        ..healthy()
    };
    let findings = all(&facts, "there");
    for part in [
        "have no target: default/lost (default/Deployment/gone)",
        "several scale one target: default/Deployment/web (default/web, default/again)",
        "requests that are missing: default/again (cpu of c), default/web (cpu of c)",
        "not their target's: default/again (pods of Deployment/canary)",
    ] {
        assert_eq!(find(&findings, part).level, Level::Warn, "{part}");
    }
}

#[test]
fn other_autoscalers_are_introduced() {
    let mut facts = healthy();
    facts.groups.insert("keda.sh".into(), Vec::new());
    let vpa = Workload {
        namespace: "kube-system".into(),
        ..workload("vpa-updater", "vpa", &json!({}))
    };
    facts.workloads.as_mut().unwrap().push(vpa);
    let findings = all(&facts, "there");
    assert_eq!(find(&findings, "KEDA (API group keda.sh)").level, Level::Ok);
    find(&findings, "(kube-system/vpa-updater)");
}
