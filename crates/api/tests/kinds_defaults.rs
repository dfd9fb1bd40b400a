//! What the server adds to objects, kind by kind.

use plimsoll_api::kind::{Generation, Kind, Propagation};
use plimsoll_api::kinds;
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;

fn kind(group: &str, version: &str, plural: &str) -> Arc<Kind> {
    Arc::clone(
        kinds::built_in()
            .find(group, version, plural)
            .expect("the kind is built in"),
    )
}

fn defaulted(group: &str, version: &str, plural: &str, mut object: Value) -> Value {
    let kind = kind(group, version, plural);
    (kind.strategy.default)(&mut object);
    let once = object.clone();
    (kind.strategy.default)(&mut object);
    assert_eq!(object, once, "defaulting {plural} is idempotent");
    object
}

#[test]
fn a_deployment_gets_replicas_strategy_and_a_complete_template() {
    let object = json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx:1.27",
                "ports": [{"containerPort": 80}]}]}},
    }});
    let got = defaulted("apps", "v1", "deployments", object);
    let want = json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
            "containers": [{"name": "web", "image": "nginx:1.27",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {}, "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent"}],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst", "securityContext": {},
            "schedulerName": "default-scheduler"}},
        "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    }});
    assert_eq!(got, want);
}

#[rstest]
#[case::untagged("nginx", "Always")]
#[case::latest("nginx:latest", "Always")]
#[case::tagged("nginx:1", "IfNotPresent")]
#[case::registry_port("localhost:5000/nginx", "Always")]
#[case::registry_port_and_tag("localhost:5000/nginx:1", "IfNotPresent")]
#[case::digest("nginx@sha256:00", "IfNotPresent")]
fn the_pull_policy_follows_the_tag(#[case] image: &str, #[case] policy: &str) {
    let pod = json!({"spec": {"containers": [{"name": "a", "image": image}]}});
    let got = defaulted("", "v1", "pods", pod);
    assert_eq!(got["spec"]["containers"][0]["imagePullPolicy"], policy);
}

#[test]
fn a_pod_requests_what_it_limits_and_starts_pending() {
    let pod = json!({"spec": {"containers": [
        {"name": "a", "image": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
    ]}});
    let mut got = defaulted("", "v1", "pods", pod);
    let requests = &got["spec"]["containers"][0]["resources"]["requests"];
    assert_eq!(*requests, json!({"cpu": "1", "memory": "1Gi"}));
    assert_eq!(got["spec"]["enableServiceLinks"], true);
    (kind("", "v1", "pods").strategy.prepare_create)(&mut got);
    assert_eq!(
        got["status"],
        json!({"phase": "Pending", "qosClass": "Guaranteed"})
    );
}

#[test]
fn an_autoscaler_without_behavior_keeps_none_and_an_empty_one_is_filled() {
    let hpa = |behavior: Option<Value>| {
        let mut spec = json!({"maxReplicas": 3});
        if let Some(behavior) = behavior {
            spec["behavior"] = behavior;
        }
        let object = json!({"spec": spec});
        defaulted("autoscaling", "v2", "horizontalpodautoscalers", object)["spec"].clone()
    };
    let bare = hpa(None);
    assert_eq!(bare["minReplicas"], 1);
    assert_eq!(
        bare["metrics"][0]["resource"]["target"]["averageUtilization"],
        80
    );
    assert!(bare.get("behavior").is_none());
    let filled = hpa(Some(json!({"scaleDown": {"selectPolicy": "Disabled"}})));
    let want = json!({
        "scaleDown": {"selectPolicy": "Disabled",
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
        "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15}]},
    });
    assert_eq!(filled["behavior"], want);
}

#[test]
fn a_service_gets_target_ports_and_families() {
    let service = json!({"spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}});
    let got = defaulted("", "v1", "services", service);
    let want = json!({"selector": {"app": "a"},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"});
    assert_eq!(got["spec"], want);
}

#[test]
fn a_service_keeps_its_address_and_node_ports_through_a_bare_manifest() {
    let kind = kind("", "v1", "services");
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9",
        "clusterIPs": ["10.96.0.9"],
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30123}]}});
    let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
    (kind.strategy.prepare_update)(&mut new, &old);
    assert_eq!(new["spec"]["clusterIP"], "10.96.0.9");
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.9"]));
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30123);
}

#[test]
fn string_data_of_a_secret_is_folded_into_data() {
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"k": "value"}});
    let got = defaulted("", "v1", "secrets", secret);
    let want = json!({"metadata": {"name": "s"}, "data": {"k": "dmFsdWU="}, "type": "Opaque"});
    assert_eq!(got, want);
}

#[rstest]
#[case::most_kinds("apps", "replicasets", "2", "2")]
#[case::deployments_keep_labels("apps", "deployments", "1", "2")]
#[case::newer_kinds_keep_all("flowcontrol.apiserver.k8s.io", "flowschemas", "1", "1")]
fn status_writes_leave_the_spec(
    #[case] group: &str,
    #[case] plural: &str,
    #[case] label: &str,
    #[case] annotation: &str,
) {
    let old = json!({"metadata": {"name": "d", "labels": {"a": "1"}, "annotations": {"x": "1"}},
        "spec": {"replicas": 1}, "status": {}});
    let mut sent = json!({"metadata": {"name": "d", "labels": {"a": "2"}, "annotations": {"x": "2"},
        "resourceVersion": "7"}, "spec": {"replicas": 9}, "status": {"replicas": 1}});
    kinds::prepare_status(&kind(group, "v1", plural), &mut sent, &old);
    let want = json!({
        "metadata": {
            "name": "d", "labels": {"a": label}, "annotations": {"x": annotation},
            "resourceVersion": "7",
        },
        "spec": {"replicas": 1}, "status": {"replicas": 1},
    });
    assert_eq!(sent, want);
}

#[test]
fn a_job_selects_its_pods_by_its_own_uid() {
    let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {}}});
    (kind("batch", "v1", "jobs").strategy.prepare_create)(&mut job);
    let selector = json!({"batch.kubernetes.io/controller-uid": "u"});
    assert_eq!(job["spec"]["selector"]["matchLabels"], selector);
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"]["job-name"],
        "j"
    );
}

#[test]
fn a_scale_mirrors_its_workload() {
    let deployment = json!({"metadata": {"name": "d", "namespace": "n", "uid": "u",
        "resourceVersion": "5"}, "spec": {"replicas": 3, "selector": {
        "matchLabels": {"app": "a"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["b", "a"]}]}},
        "status": {"replicas": 2}});
    let scale =
        kinds::scale(&kind("apps", "v1", "deployments"), &deployment).expect("deployments scale");
    let want = json!({"kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "5"},
        "spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "app=a,tier in (a,b)"}});
    assert_eq!(scale, want);
    let mut changed = deployment;
    assert!(kinds::apply_scale(
        &kind("apps", "v1", "deployments"),
        &mut changed,
        &json!({"spec": {"replicas": 7}})
    ));
    assert_eq!(changed["spec"]["replicas"], 7);
    assert!(kinds::scale(&kind("", "v1", "pods"), &changed).is_err());
}

#[test]
fn the_table_knows_the_exceptions() {
    assert_eq!(kind("batch", "v1", "jobs").propagation, Propagation::Orphan);
    assert_eq!(kind("", "v1", "pods").propagation, Propagation::Background);
    assert_eq!(
        kind("apps", "v1", "deployments").generation,
        Generation::SpecAndAnnotations
    );
    assert_eq!(kind("", "v1", "services").generation, Generation::Absent);
    let old_hpa = kind("autoscaling", "v1", "horizontalpodautoscalers");
    let new_hpa = kind("autoscaling", "v2", "horizontalpodautoscalers");
    assert_eq!(old_hpa.storage, new_hpa.storage);
    assert_eq!(old_hpa.stored_api_version, "autoscaling/v2");
    assert_eq!(
        kind("events.k8s.io", "v1", "events").storage,
        kind("", "v1", "events").storage
    );
    assert!(!kind("", "v1", "namespaces").allows("deletecollection"));
}

#[test]
fn the_table_serves_exactly_upstreams_stable_resources() {
    use plimsoll_api::schema;
    let table = kinds::built_in();
    let stable = |version: &str| !version.contains("alpha") && !version.contains("beta");
    let expected: Vec<_> = schema::resources()
        .iter()
        .filter(|r| stable(r.version))
        .collect();
    for resource in &expected {
        let path = (resource.group, resource.version, resource.plural);
        let kind = table
            .find(path.0, path.1, path.2)
            .unwrap_or_else(|| panic!("{path:?} missing"));
        assert_eq!(kind.kind, resource.kind);
        assert_eq!(kind.namespaced, resource.namespaced, "{path:?}");
        let subs: Vec<&str> = kind
            .subresources
            .iter()
            .map(|sub| sub.name.as_ref())
            .collect();
        let want: Vec<&str> = resource.subresources.iter().map(|sub| sub.name).collect();
        assert_eq!(subs, want, "{path:?}");
        assert!(
            !schema::get(kind.schema).name.is_empty(),
            "{path:?} has a schema"
        );
    }
    assert_eq!(table.iter().count(), expected.len());
}

#[test]
fn an_autoscaler_written_through_v1_is_defaulted_in_its_stored_form() {
    let kind = kind("autoscaling", "v1", "horizontalpodautoscalers");
    let v1 = json!({"apiVersion": "autoscaling/v1", "metadata": {"name": "h", "namespace": "n"},
        "spec": {"maxReplicas": 5, "scaleTargetRef":
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let mut stored = (kind.conversion.expect("v1 converts").to_stored)(v1);
    (kind.strategy.default)(&mut stored);
    (kind.strategy.prepare_create)(&mut stored);
    assert_eq!(stored["spec"]["minReplicas"], 1);
    assert_eq!(stored["spec"]["metrics"][0]["resource"]["name"], "cpu");
    assert_eq!(
        stored["status"],
        json!({"currentMetrics": null, "desiredReplicas": 0})
    );
    assert_eq!((kind.strategy.validate)(&stored, None), []);
}

#[test]
fn both_event_versions_index_the_same_fields_in_the_same_order() {
    let paths = |group: &str| -> Vec<_> {
        kind(group, "v1", "events")
            .selectable
            .iter()
            .map(|(_, path)| path.clone())
            .collect()
    };
    let (core, new) = (paths(""), paths("events.k8s.io"));
    assert_eq!(core[..new.len()], new);
}

#[test]
fn a_service_that_becomes_internal_loses_its_node_ports() {
    let kind = kind("", "v1", "services");
    let metadata = json!({"name": "s", "namespace": "n"});
    let old = json!({"metadata": metadata, "spec": {"type": "NodePort", "clusterIP": "10.96.0.9",
        "clusterIPs": ["10.96.0.9"], "externalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30123}]}});
    let mut new = old.clone();
    new["spec"]["type"] = "ClusterIP".into();
    (kind.strategy.default)(&mut new);
    (kind.strategy.prepare_update)(&mut new, &old);
    assert!(new["spec"]["ports"][0].get("nodePort").is_none());
    assert!(new["spec"].get("externalTrafficPolicy").is_none());
    assert_eq!((kind.strategy.validate)(&new, Some(&old)), []);
}
