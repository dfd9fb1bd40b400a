//! `kubectl get` cells, exactly.

#![expect(
    clippy::needless_pass_by_value,
    reason = "builders read best with literals"
)]

use jiff::Timestamp;
use plimsoll_api::{kinds, print};
use rstest::rstest;
use serde_json::{Value, json};

fn cells(path: [&str; 3], object: &Value) -> Vec<Value> {
    let kinds = kinds::built_in();
    let kind = kinds
        .find(path[0], path[1], path[2])
        .expect("the kind is built in");
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a timestamp");
    let cells = (kind.table.cells)(object, now);
    assert_eq!(cells.len(), kind.table.columns.len());
    cells
}

fn shown(path: [&str; 3], object: &Value) -> String {
    let cells = cells(path, object);
    let text = |cell: &Value| {
        cell.as_str()
            .map_or_else(|| cell.to_string(), str::to_owned)
    };
    cells.iter().map(text).collect::<Vec<_>>().join(" | ")
}

const CREATED: &str = "2026-01-01T00:00:00Z";

#[rstest]
#[case(0, "0s")]
#[case(93, "93s")]
#[case(222, "3m42s")]
#[case(300, "5m")]
#[case(97 * 60, "97m")]
#[case(3 * 3600 + 240, "3h4m")]
#[case(27 * 3600, "27h")]
#[case(3 * 86_400 + 4 * 3600, "3d4h")]
#[case(40 * 86_400, "40d")]
#[case(3 * 365 * 86_400 + 86_400, "3y1d")]
#[case(9 * 365 * 86_400, "9y")]
#[case(-1, "0s")]
#[case(-5, "<invalid>")]
fn durations_are_human(#[case] seconds: i64, #[case] text: &str) {
    assert_eq!(print::duration(seconds), text);
}

fn pod(status: Value, extra: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "p", "creationTimestamp": CREATED},
        "spec": {"containers": [{"name": "a"}], "nodeName": "n1"},
        "status": status,
    });
    json_patch::merge(&mut pod, &extra);
    pod
}

fn container(state: Value, more: Value) -> Value {
    let mut status = json!({"name": "a", "state": state, "restartCount": 0, "ready": false});
    json_patch::merge(&mut status, &more);
    json!({"phase": "Running", "containerStatuses": [status]})
}

#[rstest]
#[case::pending(json!({"phase": "Pending"}), json!({}), "0/1 | Pending | 0")]
#[case::gated(
    json!({"phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
    json!({}),
    "0/1 | SchedulingGated | 0"
)]
#[case::creating(
    container(json!({"waiting": {"reason": "ContainerCreating"}}), json!({})),
    json!({}),
    "0/1 | ContainerCreating | 0"
)]
#[case::running(
    container(json!({"running": {}}), json!({"ready": true})),
    json!({}),
    "1/1 | Running | 0"
)]
#[case::restarted(
    container(json!({"running": {}}), json!({"ready": true, "restartCount": 3,
        "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}})),
    json!({}),
    "1/1 | Running | 3 (5m ago)"
)]
#[case::crash_loop(
    container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), json!({"restartCount": 2})),
    json!({}),
    "0/1 | CrashLoopBackOff | 2"
)]
#[case::exit_code(
    container(json!({"terminated": {"exitCode": 3}}), json!({})),
    json!({}),
    "0/1 | ExitCode:3 | 0"
)]
#[case::completed(
    json!({"phase": "Succeeded", "containerStatuses":
        [{"name": "a", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}]}),
    json!({}),
    "0/1 | Completed | 0"
)]
#[case::terminating(
    container(json!({"running": {}}), json!({"ready": true})),
    json!({"metadata": {"deletionTimestamp": CREATED}}),
    "1/1 | Terminating | 0"
)]
#[case::initializing(
    json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
    json!({"spec": {"initContainers": [{"name": "i"}, {"name": "j"}]}}),
    "0/1 | Init:0/2 | 0"
)]
#[case::init_failed(
    json!({"phase": "Pending", "initContainerStatuses":
        [{"name": "i", "restartCount": 1, "state": {"terminated": {"reason": "Error", "exitCode": 1}}}]}),
    json!({"spec": {"initContainers": [{"name": "i"}]}}),
    "0/1 | Init:Error | 1"
)]
#[case::evicted(json!({"phase": "Failed", "reason": "Evicted"}), json!({}), "0/1 | Evicted | 0")]
fn a_pods_status_follows_its_containers(
    #[case] status: Value,
    #[case] extra: Value,
    #[case] want: &str,
) {
    let line = shown(["", "v1", "pods"], &pod(status, extra));
    let want = format!("p | {want} | 60m | <none> | n1 | <none> | <none>");
    assert_eq!(line, want);
}

#[test]
fn a_deployment_shows_ready_of_wanted() {
    let object = json!({"metadata": {"name": "d", "creationTimestamp": CREATED}, "spec": {
        "replicas": 10, "selector": {"matchLabels": {"app": "d"}},
        "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
        "status": {"readyReplicas": 5, "updatedReplicas": 10, "availableReplicas": 5}});
    let want = "d | 5/10 | 10 | 5 | 60m | c | i | app=d";
    assert_eq!(shown(["apps", "v1", "deployments"], &object), want);
}

fn hpa(metrics: Value, current: Value) -> String {
    let object = json!({"apiVersion": "autoscaling/v2",
        "metadata": {"name": "h", "creationTimestamp": CREATED},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "minReplicas": 1,
            "maxReplicas": 10, "metrics": metrics},
        "status": {"currentReplicas": 3, "currentMetrics": current}});
    let line = shown(["autoscaling", "v2", "horizontalpodautoscalers"], &object);
    let targets = line.strip_prefix("h | Deployment/d | ").expect("reference");
    targets
        .strip_suffix(" | 1 | 10 | 3 | 60m")
        .expect("bounds")
        .to_owned()
}

fn cpu(percent: i64) -> Value {
    json!({"type": "Resource", "resource":
        {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

#[test]
fn autoscaler_targets_read_current_over_wanted() {
    let now = json!([{"type": "Resource", "resource":
        {"name": "cpu", "current": {"averageUtilization": 23, "averageValue": "46m"}}}]);
    assert_eq!(hpa(json!([cpu(50)]), now.clone()), "cpu: 23%/50%");
    assert_eq!(hpa(json!([cpu(50)]), json!(null)), "cpu: <unknown>/50%");
    assert_eq!(hpa(json!([]), json!(null)), "<none>");
    let memory = json!({"type": "Resource", "resource":
        {"name": "memory", "target": {"type": "AverageValue", "averageValue": "20Mi"}}});
    let two = json!([now[0], {"type": "Resource", "resource":
        {"name": "memory", "current": {"averageValue": "10Mi"}}}]);
    assert_eq!(
        hpa(json!([cpu(50), memory]), two.clone()),
        "cpu: 23%/50%, memory: 10Mi/20Mi"
    );
    let three = hpa(json!([cpu(50), memory, cpu(60), cpu(70)]), two);
    assert_eq!(three, "cpu: 23%/50%, memory: 10Mi/20Mi + 2 more...");
}

#[test]
fn other_autoscaler_metrics_have_their_own_forms() {
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "q"},
        "target": {"type": "AverageValue", "averageValue": "1k"}}});
    let now = json!([{"type": "Pods", "pods": {"current": {"averageValue": "912500m"}}}]);
    assert_eq!(hpa(json!([pods]), now), "912500m/1k");
    let external = |target: Value| {
        json!([{"type": "External", "external":
        {"metric": {"name": "q"}, "target": target}}])
    };
    let now = json!([{"type": "External", "external":
        {"current": {"value": "7k", "averageValue": "70"}}}]);
    let total = external(json!({"type": "Value", "value": "10k"}));
    assert_eq!(hpa(total, now.clone()), "7k/10k");
    let average = external(json!({"type": "AverageValue", "averageValue": "100"}));
    assert_eq!(hpa(average, now), "70/100 (avg)");
}

#[test]
fn services_show_addresses_and_ports() {
    let object = json!({"metadata": {"name": "s", "creationTimestamp": CREATED}, "spec": {
        "type": "NodePort", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
        "selector": {"b": "2", "a": "1"},
        "ports": [{"port": 80, "nodePort": 32769, "protocol": "TCP"}]}});
    let want = "s | NodePort | 10.96.0.1 | <none> | 80:32769/TCP | 60m | a=1,b=2";
    assert_eq!(shown(["", "v1", "services"], &object), want);
    let balancer = json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer"}});
    let want = "s | LoadBalancer | <none> | <pending> | <none> | <unknown> | <none>";
    assert_eq!(shown(["", "v1", "services"], &balancer), want);
}

#[test]
fn nodes_show_readiness_roles_and_version() {
    let object = json!({
        "metadata": {"name": "n", "creationTimestamp": CREATED,
            "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.36.2", "osImage": "Linux", "kernelVersion": "6",
                "containerRuntimeVersion": "plimsoll://0.1"}}});
    let want = "n | Ready,SchedulingDisabled | control-plane | 60m | v1.36.2 | 10.0.0.1 | <none> \
        | Linux | 6 | plimsoll://0.1";
    assert_eq!(shown(["", "v1", "nodes"], &object), want);
}

#[test]
fn both_forms_of_an_event_print_alike() {
    let core = json!({"apiVersion": "v1", "metadata": {"name": "e"}, "type": "Normal",
        "reason": "SuccessfulRescale", "message": "New size: 3\n", "count": 2,
        "involvedObject": {"kind": "HorizontalPodAutoscaler", "name": "h"},
        "source": {"component": "horizontal-pod-autoscaler"},
        "firstTimestamp": CREATED, "lastTimestamp": "2026-01-01T00:58:27Z"});
    let want = "93s | Normal | SuccessfulRescale | horizontalpodautoscaler/h |  \
        | horizontal-pod-autoscaler | New size: 3 | 60m | 2 | e";
    assert_eq!(shown(["", "v1", "events"], &core), want);
    let kinds = kinds::built_in();
    let new_form = kinds
        .find("events.k8s.io", "v1", "events")
        .unwrap()
        .conversion
        .unwrap();
    let served = (new_form.from_stored)(core.clone());
    assert_eq!(served["regarding"]["name"], "h");
    assert_eq!(served["note"], "New size: 3\n");
    assert_eq!(shown(["events.k8s.io", "v1", "events"], &served), want);
    let stored = (new_form.to_stored)(served);
    assert_eq!(stored["message"], core["message"]);
    assert_eq!(stored["count"], 2);
}

#[test]
fn endpoints_are_cut_after_three() {
    let object = json!({"metadata": {"name": "e", "creationTimestamp": CREATED}, "subsets": [{
        "addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "10.0.0.3"}, {"ip": "10.0.0.4"}],
        "ports": [{"port": 80}]}]});
    let want = "e | 10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more... | 60m";
    assert_eq!(shown(["", "v1", "endpoints"], &object), want);
}

#[test]
fn a_budget_shows_n_a_for_what_is_not_set() {
    let object = json!({"metadata": {"name": "b", "creationTimestamp": CREATED},
        "spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1}});
    let path = ["policy", "v1", "poddisruptionbudgets"];
    assert_eq!(shown(path, &object), "b | 50% | N/A | 1 | 60m");
}
