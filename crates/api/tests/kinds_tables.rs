//! Golden tables: one object of each kind, with its wide columns.
#![expect(
    clippy::too_many_lines,
    reason = "a function here is a list of objects"
)]

use jiff::Timestamp;
use plimsoll_api::{kinds, print};
use serde_json::{Value, json};
use std::fmt::Write as _;

const NOW: &str = "2026-01-02T00:00:00Z";

/// (`group/plural` or `plural`, what the object has beside its metadata).
fn samples() -> Vec<(&'static str, Value)> {
    let mut all = workloads();
    all.extend(networks());
    all.extend(storage());
    all.extend(policies());
    all.extend(small());
    all
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "web", "tier": "front"}},
        "spec": {"containers": [{"name": "a", "image": "nginx:1"}, {"name": "b", "image": "busy"}]},
    })
}

fn workloads() -> Vec<(&'static str, Value)> {
    let selector = json!({"matchLabels": {"app": "web"}});
    vec![
        (
            "pods",
            json!({
                "spec": {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}],
                    "readinessGates": [{"conditionType": "Warm"}]},
                "status": {"phase": "Running", "podIP": "10.1.0.7",
                    "conditions": [{"type": "Warm", "status": "True"}],
                    "containerStatuses": [
                        {"name": "a", "ready": true, "restartCount": 3, "state": {"running": {}},
                         "lastState": {"terminated": {"finishedAt": "2026-01-01T23:55:00Z"}}},
                        {"name": "b", "ready": false, "restartCount": 0,
                         "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            }),
        ),
        ("podtemplates", json!({"template": template()})),
        (
            "replicationcontrollers",
            json!({
                "spec": {"replicas": 3, "selector": {"app": "web"}, "template": template()},
                "status": {"replicas": 2, "readyReplicas": 1},
            }),
        ),
        (
            "apps/deployments",
            json!({
                "spec": {"replicas": 3, "selector": selector, "template": template()},
                "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1},
            }),
        ),
        (
            "apps/replicasets",
            json!({
                "spec": {"replicas": 3, "selector": selector, "template": template()},
                "status": {"replicas": 3, "readyReplicas": 2},
            }),
        ),
        (
            "apps/statefulsets",
            json!({
                "spec": {"replicas": 3, "selector": selector, "template": template()},
                "status": {"readyReplicas": 2},
            }),
        ),
        (
            "apps/daemonsets",
            json!({
                "spec": {"selector": selector, "template": {"spec": {"nodeSelector": {"disk": "ssd"},
                    "containers": [{"name": "a", "image": "agent"}]}}},
                "status": {"desiredNumberScheduled": 4, "currentNumberScheduled": 3, "numberReady": 2,
                    "updatedNumberScheduled": 1, "numberAvailable": 2},
            }),
        ),
        (
            "apps/controllerrevisions",
            json!({
                "metadata": {"ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": true}]},
                "revision": 4,
            }),
        ),
        (
            "batch/jobs",
            json!({
                "spec": {"completions": 5, "selector": selector, "template": template()},
                "status": {"succeeded": 2, "startTime": "2026-01-01T23:58:00Z"},
            }),
        ),
        (
            "batch/cronjobs",
            json!({
                "spec": {"schedule": "*/5 * * * *", "timeZone": "Europe/Oslo", "suspend": true,
                    "jobTemplate": {"spec": {"template": template()}}},
                "status": {"lastScheduleTime": "2026-01-01T23:59:00Z", "active": [{}]},
            }),
        ),
        (
            "autoscaling/horizontalpodautoscalers",
            json!({
                "spec": {"minReplicas": 2, "maxReplicas": 9,
                    "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                    "metrics": [
                        {"type": "Resource", "resource": {"name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 50}}},
                        {"type": "Pods", "pods": {"target": {"averageValue": "10"}}},
                        {"type": "Pods", "pods": {"target": {"averageValue": "20"}}}]},
                "status": {"currentReplicas": 3, "currentMetrics": [
                    {"type": "Resource", "resource": {"current": {"averageUtilization": 23}}}]},
            }),
        ),
    ]
}

fn networks() -> Vec<(&'static str, Value)> {
    vec![
        (
            "services",
            json!({
                "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9", "selector": {"app": "web"},
                    "ports": [{"port": 80, "nodePort": 32769, "protocol": "TCP"},
                        {"port": 53, "protocol": "UDP"}]},
            }),
        ),
        (
            "endpoints",
            json!({
                "subsets": [{"addresses": [{"ip": "10.1.0.1"}, {"ip": "10.1.0.2"}],
                    "ports": [{"port": 80}, {"port": 81}]}],
            }),
        ),
        (
            "discovery.k8s.io/endpointslices",
            json!({
                "addressType": "IPv4", "ports": [{"port": 80}],
                "endpoints": [{"addresses": ["10.1.0.1"]}],
            }),
        ),
        (
            "networking.k8s.io/ingresses",
            json!({
                "spec": {"ingressClassName": "nginx", "tls": [{}],
                    "rules": [{"host": "a.example"}, {"host": "b.example"}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
            }),
        ),
        (
            "networking.k8s.io/ingressclasses",
            json!({
                "spec": {"controller": "example.com/ingress",
                    "parameters": {"apiGroup": "example.com", "kind": "Settings", "name": "x"}},
            }),
        ),
        (
            "networking.k8s.io/networkpolicies",
            json!({
                "spec": {"podSelector": {"matchLabels": {"app": "db"}}},
            }),
        ),
        (
            "networking.k8s.io/ipaddresses",
            json!({
                "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "web"}},
            }),
        ),
        (
            "networking.k8s.io/servicecidrs",
            json!({"spec": {"cidrs": ["10.96.0.0/12", "fd00::/108"]}}),
        ),
    ]
}

fn storage() -> Vec<(&'static str, Value)> {
    vec![
        (
            "persistentvolumeclaims",
            json!({
                "spec": {"volumeName": "pv-1", "storageClassName": "fast", "volumeMode": "Filesystem"},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce", "ReadOnlyMany"]},
            }),
        ),
        (
            "persistentvolumes",
            json!({
                "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"],
                    "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "fast",
                    "claimRef": {"namespace": "default", "name": "c"}},
                "status": {"phase": "Bound"},
            }),
        ),
        (
            "storage.k8s.io/storageclasses",
            json!({
                "metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
                "provisioner": "local", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
            }),
        ),
        (
            "storage.k8s.io/csidrivers",
            json!({
                "spec": {"podInfoOnMount": true, "volumeLifecycleModes": ["Persistent", "Ephemeral"]},
            }),
        ),
        (
            "storage.k8s.io/csinodes",
            json!({"spec": {"drivers": [{}, {}]}}),
        ),
        (
            "storage.k8s.io/csistoragecapacities",
            json!({"storageClassName": "fast", "capacity": "5Gi"}),
        ),
        (
            "storage.k8s.io/volumeattachments",
            json!({
                "spec": {"attacher": "csi", "nodeName": "n1", "source": {"persistentVolumeName": "pv-1"}},
                "status": {"attached": true},
            }),
        ),
        (
            "storage.k8s.io/volumeattributesclasses",
            json!({"driverName": "csi"}),
        ),
    ]
}

fn policies() -> Vec<(&'static str, Value)> {
    let subjects = json!([
        {"kind": "User", "name": "ann"}, {"kind": "Group", "name": "ops"},
        {"kind": "ServiceAccount", "namespace": "default", "name": "bot"}]);
    vec![
        (
            "policy/poddisruptionbudgets",
            json!({
                "spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1},
            }),
        ),
        ("rbac.authorization.k8s.io/roles", json!({})),
        ("rbac.authorization.k8s.io/clusterroles", json!({})),
        (
            "rbac.authorization.k8s.io/rolebindings",
            json!({
                "roleRef": {"kind": "Role", "name": "reader"}, "subjects": subjects,
            }),
        ),
        (
            "rbac.authorization.k8s.io/clusterrolebindings",
            json!({
                "roleRef": {"kind": "ClusterRole", "name": "admin"}, "subjects": subjects,
            }),
        ),
        (
            "certificates.k8s.io/certificatesigningrequests",
            json!({
                "spec": {"signerName": "example.com/s", "username": "ann", "expirationSeconds": 7200},
                "status": {"conditions": [{"type": "Approved"}], "certificate": "eA=="},
            }),
        ),
        (
            "admissionregistration.k8s.io/mutatingwebhookconfigurations",
            json!({"webhooks": [{}]}),
        ),
        (
            "admissionregistration.k8s.io/validatingwebhookconfigurations",
            json!({"webhooks": []}),
        ),
        (
            "admissionregistration.k8s.io/validatingadmissionpolicies",
            json!({
                "spec": {"validations": [{}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}},
            }),
        ),
        (
            "admissionregistration.k8s.io/validatingadmissionpolicybindings",
            json!({
                "spec": {"policyName": "p", "paramRef": {"name": "x", "namespace": "default"}},
            }),
        ),
        (
            "admissionregistration.k8s.io/mutatingadmissionpolicies",
            json!({
                "spec": {"mutations": [{}, {}]},
            }),
        ),
        (
            "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
            json!({
                "spec": {"policyName": "p"},
            }),
        ),
        (
            "flowcontrol.apiserver.k8s.io/flowschemas",
            json!({
                "spec": {"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 1,
                    "distinguisherMethod": {"type": "ByUser"}},
                "status": {"conditions": [{"type": "Dangling", "status": "False"}]},
            }),
        ),
        (
            "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations",
            json!({
                "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 30,
                    "limitResponse": {"queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50}}}},
            }),
        ),
        (
            "scheduling.k8s.io/priorityclasses",
            json!({
                "value": 1000, "globalDefault": true, "preemptionPolicy": "Never",
            }),
        ),
    ]
}

fn small() -> Vec<(&'static str, Value)> {
    vec![
        (
            "nodes",
            json!({
                "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}},
                "spec": {"unschedulable": true},
                "status": {"conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
                    "nodeInfo": {"kubeletVersion": "v1.36.2", "osImage": "Linux",
                        "kernelVersion": "6.1", "containerRuntimeVersion": "x://1"}},
            }),
        ),
        (
            "events",
            json!({
                "type": "Warning", "reason": "BackOff", "message": "sad\n", "count": 4,
                "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
                "source": {"component": "node-agent", "host": "n1"},
                "firstTimestamp": "2026-01-01T23:50:00Z", "lastTimestamp": "2026-01-01T23:59:00Z",
            }),
        ),
        (
            "events.k8s.io/events",
            json!({
                "type": "Normal", "reason": "Started", "note": "well",
                "regarding": {"kind": "Pod", "name": "p"}, "reportingController": "c",
                "eventTime": "2026-01-01T23:59:30.000000Z",
            }),
        ),
        ("namespaces", json!({"status": {"phase": "Active"}})),
        (
            "configmaps",
            json!({"data": {"a": "1"}, "binaryData": {"b": "eA=="}}),
        ),
        ("secrets", json!({"type": "Opaque", "data": {"a": "eA=="}})),
        ("serviceaccounts", json!({})),
        ("limitranges", json!({})),
        (
            "resourcequotas",
            json!({
                "status": {"hard": {"pods": "10", "limits.cpu": "4"}, "used": {"pods": "2"}},
            }),
        ),
        (
            "coordination.k8s.io/leases",
            json!({"spec": {"holderIdentity": "me"}}),
        ),
        ("node.k8s.io/runtimeclasses", json!({"handler": "runc"})),
        ("apiextensions.k8s.io/customresourcedefinitions", json!({})),
        (
            "apiregistration.k8s.io/apiservices",
            json!({
                "spec": {"service": {"namespace": "kube-system", "name": "metrics"}},
                "status": {"conditions": [{"type": "Available", "status": "False", "reason": "Gone"}]},
            }),
        ),
        (
            "resource.k8s.io/resourceclaims",
            json!({"status": {"allocation": {}, "reservedFor": [{}]}}),
        ),
        (
            "resource.k8s.io/resourceslices",
            json!({
                "spec": {"driver": "gpu", "nodeName": "n1", "pool": {"name": "p"}},
            }),
        ),
        ("resource.k8s.io/deviceclasses", json!({})),
        (
            "componentstatuses",
            json!({
                "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
            }),
        ),
    ]
}

#[test]
fn every_kind_prints_as_people_know_it() {
    let kinds = kinds::built_in();
    let now: Timestamp = NOW.parse().unwrap();
    let mut text = String::new();
    for (resource, more) in samples() {
        let (group, plural) = resource.split_once('/').unwrap_or(("", resource));
        let Some(kind) = kinds
            .iter()
            .find(|k| k.group == group && k.plural == plural)
        else {
            panic!("{resource} is not served");
        };
        let mut object = json!({
            "apiVersion": kind.api_version(), "kind": kind.kind,
            "metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"},
        });
        json_patch::merge(&mut object, &more);
        let cells = (kind.table.cells)(&object, now);
        assert_eq!(cells.len(), kind.table.columns.len(), "{resource}");
        writeln!(text, "{resource}").unwrap();
        for (column, cell) in kind.table.columns.iter().zip(&cells) {
            let wide = if column.priority > 0 { "*" } else { "" };
            write!(text, "  {}{wide}: {cell};", column.name).unwrap();
        }
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn every_column_says_what_it_means() {
    for kind in kinds::built_in().iter() {
        for column in kind.table.columns.iter() {
            let text = print::column_description(&column.name);
            assert_ne!(text, "", "{} of {}", column.name, kind.kind);
        }
    }
}

#[test]
fn rows_of_pods_that_ended_say_so() {
    let conditions =
        |kind: &str, phase: &str| print::row_conditions(kind, &json!({"status": {"phase": phase}}));
    assert_eq!(conditions("Pod", "Running"), None);
    assert_eq!(conditions("Job", "Succeeded"), None);
    for phase in ["Succeeded", "Failed"] {
        let rows = conditions("Pod", phase).unwrap();
        assert_eq!(
            (&rows[0]["type"], &rows[0]["reason"]),
            (&json!("Completed"), &json!(phase))
        );
    }
}
