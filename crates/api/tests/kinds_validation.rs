//! What the server refuses, with the exact messages.

#![expect(
    clippy::needless_pass_by_value,
    reason = "builders read best with literals"
)]

use plimsoll_api::kinds;
use rstest::rstest;
use serde_json::{Value, json};

fn validate(path: [&str; 3], new: &Value, old: Option<&Value>) -> Vec<String> {
    let kinds = kinds::built_in();
    let kind = kinds
        .find(path[0], path[1], path[2])
        .expect("the kind is built in");
    let mut new = new.clone();
    (kind.strategy.default)(&mut new);
    let old = old.map(|old| {
        let mut old = old.clone();
        (kind.strategy.default)(&mut old);
        old
    });
    (kind.strategy.validate)(&new, old.as_ref())
        .iter()
        .map(ToString::to_string)
        .collect()
}

const PODS: [&str; 3] = ["", "v1", "pods"];
const DEPLOYMENTS: [&str; 3] = ["apps", "v1", "deployments"];
const SERVICES: [&str; 3] = ["", "v1", "services"];
const AUTOSCALERS: [&str; 3] = ["autoscaling", "v2", "horizontalpodautoscalers"];

fn merged(mut base: Value, patch: Value) -> Value {
    json_patch::merge(&mut base, &patch);
    base
}

fn pod(patch: Value) -> Value {
    let base = json!({"metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    merged(base, patch)
}

fn deployment(patch: Value) -> Value {
    let base = json!({"metadata": {"name": "d", "namespace": "n"}, "spec": {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    merged(base, patch)
}

fn stateful_set(patch: Value) -> Value {
    let service = json!({"spec": {"serviceName": "svc"}});
    merged(merged(deployment(json!({})), service), patch)
}

fn replication_controller(patch: Value) -> Value {
    let selector = json!({"spec": {"selector": {"matchLabels": null, "app": "x"}}});
    merged(merged(deployment(json!({})), selector), patch)
}

fn service(patch: Value) -> Value {
    let base = json!({"metadata": {"name": "s", "namespace": "n"},
        "spec": {"ports": [{"port": 80}]}});
    merged(base, patch)
}

fn hpa(patch: Value) -> Value {
    let base = json!({"metadata": {"name": "h", "namespace": "n"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    merged(base, patch)
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

#[rstest]
#[case::pod(PODS, pod(json!({})))]
#[case::deployment(DEPLOYMENTS, deployment(json!({})))]
#[case::service(SERVICES, service(json!({})))]
#[case::autoscaler(AUTOSCALERS, hpa(json!({})))]
#[case::headless(SERVICES, service(json!({"spec": {"clusterIP": "None", "ports": null}})))]
fn plain_objects_are_accepted(#[case] path: [&str; 3], #[case] object: Value) {
    assert_eq!(validate(path, &object, None), Vec::<String>::new());
    assert_eq!(validate(path, &object, Some(&object)), Vec::<String>::new());
}

#[rstest]
#[case::no_containers(json!({"spec": {"containers": []}}), "spec.containers: Required value")]
#[case::no_image(
    json!({"spec": {"containers": [{"name": "c"}]}}),
    "spec.containers[0].image: Required value"
)]
#[case::no_name(
    json!({"metadata": {"name": null}}),
    "metadata.name: Required value: name or generateName is required"
)]
#[case::duplicate_name(
    json!({"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}}),
    "spec.containers[1].name: Duplicate value: \"c\""
)]
#[case::request_over_limit(
    json!({"spec": {"containers": [{"name": "c", "image": "i", "resources":
        {"requests": {"cpu": "500m"}, "limits": {"cpu": "200m"}}}]}}),
    "spec.containers[0].resources.requests: Invalid value: \"500m\": must be less than or equal to cpu limit of 200m"
)]
#[case::restart_policy(
    json!({"spec": {"restartPolicy": "Sometimes"}}),
    "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\""
)]
#[case::port(
    json!({"spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 70000}]}]}}),
    "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
)]
#[case::unknown_volume(
    json!({"spec": {"containers": [{"name": "c", "image": "i",
        "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}}),
    "spec.containers[0].volumeMounts[0].name: Not found: \"v\""
)]
#[case::probe_without_handler(
    json!({"spec": {"containers": [{"name": "c", "image": "i", "readinessProbe": {}}]}}),
    "spec.containers[0].readinessProbe: Required value: must specify a handler type"
)]
fn a_pod_is_refused(#[case] patch: Value, #[case] message: &str) {
    assert_eq!(validate(PODS, &pod(patch), None), [message]);
}

#[test]
fn a_container_name_is_a_dns_label() {
    let object = pod(json!({"spec": {"containers": [{"name": "A_9", "image": "i"}]}}));
    let want = format!("spec.containers[0].name: Invalid value: \"A_9\": {LABEL}");
    assert_eq!(validate(PODS, &object, None), [want]);
}

#[test]
fn a_running_pod_may_change_its_image_and_little_else() {
    let old = pod(json!({}));
    let image = pod(json!({"spec": {"containers": [{"name": "c", "image": "other"}]}}));
    assert_eq!(validate(PODS, &image, Some(&old)), Vec::<String>::new());
    let node = pod(json!({"spec": {"nodeSelector": {"a": "b"}}}));
    let got = validate(PODS, &node, Some(&old));
    assert_eq!(got.len(), 1);
    assert!(got[0].starts_with("spec: Forbidden: pod updates may not change fields other than"));
    assert!(got[0].ends_with("changed: spec.nodeSelector"), "{}", got[0]);
}

#[rstest]
#[case::no_selector(json!({"spec": {"selector": null}}), "spec.selector: Required value")]
#[case::other_labels(
    json!({"spec": {"selector": {"matchLabels": {"app": "y"}}}}),
    "spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`"
)]
#[case::negative(
    json!({"spec": {"replicas": -1}}),
    "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
)]
#[case::nothing_may_move(
    json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}),
    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
)]
#[case::over_all(
    json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "120%"}}}}),
    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"120%\": must not be greater than 100%"
)]
#[case::restart_policy(
    json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
    "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""
)]
fn a_deployment_is_refused(#[case] patch: Value, #[case] message: &str) {
    assert_eq!(validate(DEPLOYMENTS, &deployment(patch), None), [message]);
}

#[test]
fn a_selector_never_changes() {
    let old = deployment(json!({}));
    let new = deployment(json!({"spec": {"selector": {"matchLabels": {"tier": "y"}},
        "template": {"metadata": {"labels": {"tier": "y"}}}}}));
    let got = validate(DEPLOYMENTS, &new, Some(&old));
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(got[0].starts_with("spec.selector: Invalid value: "));
    assert!(got[0].ends_with(": field is immutable"));
}

#[rstest]
#[case::no_ports(json!({"spec": {"ports": []}}), "spec.ports: Required value")]
#[case::node_port(
    json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}}),
    "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"
)]
#[case::unnamed(
    json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81}]}}),
    "spec.ports[1].name: Required value"
)]
#[case::health_without_a_balancer(
    json!({"spec": {"healthCheckNodePort": 30_001}}),
    "spec.healthCheckNodePort: Invalid value: 30001: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
)]
#[case::a_class_without_a_balancer(
    json!({"spec": {"loadBalancerClass": "example.com/x"}}),
    "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"
)]
#[case::source_ranges_without_a_balancer(
    json!({"spec": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}),
    "spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"
)]
#[case::a_source_range_that_is_none(
    json!({"spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0"]}}),
    "spec.loadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
)]
#[case::the_kubelets_port(
    json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 10_250}]}}),
    "spec.ports[0].port: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet"
)]
#[case::an_external_loopback(
    json!({"spec": {"externalIPs": ["127.0.0.1"]}}),
    "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"
)]
#[case::an_external_link_local(
    json!({"spec": {"externalIPs": ["169.254.1.1"]}}),
    "spec.externalIPs[0]: Invalid value: \"169.254.1.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)"
)]
#[case::an_unknown_distribution(
    json!({"spec": {"trafficDistribution": "PreferFar"}}),
    "spec.trafficDistribution: Unsupported value: \"PreferFar\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\""
)]
#[case::a_family_twice(
    json!({"spec": {"ipFamilies": ["IPv4", "IPv4"]}}),
    "spec.ipFamilies[1]: Duplicate value: \"IPv4\""
)]
fn a_service_is_refused(#[case] patch: Value, #[case] message: &str) {
    assert_eq!(validate(SERVICES, &service(patch), None), [message]);
}

#[test]
fn a_cluster_ip_stays() {
    let old = service(json!({"spec": {"clusterIP": "10.96.0.1"}}));
    let new = service(json!({"spec": {"clusterIP": "10.96.0.2"}}));
    let want = "spec.clusterIPs[0]: Invalid value: [\"10.96.0.2\"]: may not change once set";
    assert_eq!(validate(SERVICES, &new, Some(&old)), [want]);
}

fn metric(metric: &Value) -> Value {
    json!({"spec": {"metrics": [metric]}})
}

#[rstest]
#[case::no_max(json!({"spec": {"maxReplicas": 0, "minReplicas": null}}), &[
    "spec.maxReplicas: Required value",
    "spec.maxReplicas: Invalid value: 0: must be greater than 0",
])]
#[case::min_over_max(json!({"spec": {"minReplicas": 5}}), &[
    "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
])]
#[case::core_target(json!({"spec": {"scaleTargetRef": {"apiVersion": "v1"}}}), &[
    "spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group",
])]
#[case::no_target(metric(&json!({"type": "Resource"})), &[
    "spec.metrics[0].resource: Required value: must populate information for the given metric source",
])]
#[case::two_sources(
    metric(&json!({"type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}},
        "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "1"}}})),
    &["spec.metrics[0].pods: Forbidden: must populate the given metric source only"]
)]
#[case::zero_percent(
    metric(&json!({"type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0}}})),
    &["spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"]
)]
#[case::no_policies(json!({"spec": {"behavior": {"scaleUp": {"policies": []}}}}), &[
    "spec.behavior.scaleUp.policies: Required value: must specify at least one Policy",
])]
#[case::long_window(json!({"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}}}), &[
    "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
])]
#[case::slash(
    metric(&json!({"type": "External", "external":
        {"metric": {"name": "a/b"}, "target": {"type": "Value", "value": "1"}}})),
    &["spec.metrics[0].external.metric.name: Invalid value: \"a/b\": may not contain '/'"]
)]
fn an_autoscaler_is_refused(#[case] patch: Value, #[case] messages: &[&str]) {
    assert_eq!(validate(AUTOSCALERS, &hpa(patch), None), messages);
}

#[rstest]
#[case::average_with_percent(json!({"type": "Resource", "resource":
    {"name": "cpu", "target": {"type": "AverageValue", "averageUtilization": 50}}}))]
#[case::both_object_numbers(json!({"type": "Object", "object": {
    "describedObject": {"kind": "Ingress", "name": "i"}, "metric": {"name": "rps"},
    "target": {"type": "Value", "value": "1", "averageValue": "1"}}}))]
#[case::over_hundred(json!({"type": "Resource", "resource":
    {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 1000}}}))]
fn an_autoscalers_metric_is_accepted(#[case] accepted: Value) {
    assert_eq!(
        validate(AUTOSCALERS, &hpa(metric(&accepted)), None),
        Vec::<String>::new()
    );
}

#[test]
fn an_immutable_config_map_stays_as_it_is() {
    let path = ["", "v1", "configmaps"];
    let meta = json!({"name": "c", "namespace": "n"});
    let old = json!({"metadata": meta, "immutable": true, "data": {"a": "1"}});
    let new = json!({"metadata": meta, "immutable": true, "data": {"a": "2"}});
    let want = "data: Forbidden: field is immutable when `immutable` is set";
    assert_eq!(validate(path, &new, Some(&old)), [want]);
}

#[test]
fn every_kind_survives_nonsense() {
    let nonsense = [
        json!(null),
        json!([]),
        json!("x"),
        json!({"metadata": 1, "spec": [], "status": "x", "data": 3, "rules": {}, "subsets": [1]}),
        json!({"metadata": {"labels": [], "ownerReferences": [null]}, "spec": {"containers": [1, null],
            "template": 5, "ports": [[]], "metrics": [null], "behavior": 1, "volumes": [{}],
            "selector": [1], "strategy": "x", "rules": [{"http": 4}], "resources": 1}}),
    ];
    let now = jiff::Timestamp::UNIX_EPOCH;
    for kind in kinds::built_in().iter() {
        for object in &nonsense {
            let mut new = object.clone();
            (kind.strategy.default)(&mut new);
            drop((kind.strategy.validate)(&new, Some(object)));
            (kind.strategy.prepare_update)(&mut new, object);
            (kind.strategy.prepare_create)(&mut new);
            drop((kind.strategy.validate)(&new, None));
            let cells = (kind.table.cells)(&new, now);
            assert_eq!(cells.len(), kind.table.columns.len(), "{}", kind.plural);
            if let Some(conversion) = kind.conversion {
                drop((conversion.from_stored)((conversion.to_stored)(
                    object.clone(),
                )));
            }
        }
    }
}

#[rstest]
#[case::ordinary(json!({}), &[])]
#[case::a_name_with_dots(json!({"metadata": {"name": "a.b"}}), &["metadata.name: Invalid value: \"a.b\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"])]
#[case::an_unknown_management(json!({"spec": {"podManagementPolicy": "Fast"}}), &["spec.podManagementPolicy: Invalid value: \"Fast\": must be 'OrderedReady' or 'Parallel'"])]
#[case::rolling_by_hand(json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}}), &["only allowed for updateStrategy 'RollingUpdate'"])]
#[case::an_unknown_strategy(json!({"spec": {"updateStrategy": {"type": "Recreate"}}}), &["must be 'RollingUpdate' or 'OnDelete'"])]
#[case::a_negative_partition(json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": -1}}}}), &["spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0"])]
#[case::a_bound_of_nothing(json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "0%"}}}}), &["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": cannot be 0"])]
#[case::a_bound_of_too_much(json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "101%"}}}}), &["must not be greater than 100%"])]
#[case::an_unknown_retention(json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Sell"}}}), &["spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Sell\": supported values: \"Delete\", \"Retain\""])]
#[case::a_negative_start(json!({"spec": {"ordinals": {"start": -1}}}), &["spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"])]
#[case::an_empty_selector(json!({"spec": {"selector": {"matchLabels": null}}}), &["empty selector is invalid for statefulset"])]
#[case::a_selector_of_others(json!({"spec": {"selector": {"matchLabels": {"app": "y"}}}}), &["`selector` does not match template `labels`"])]
#[case::pods_that_end(json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}), &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""])]
#[case::pods_with_a_deadline(json!({"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}}), &["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported"])]
#[case::a_mount_of_a_claim(json!({"spec": {
    "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
    "template": {"spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]}},
}}), &[])]
#[case::a_mount_of_nothing(json!({"spec": {
    "template": {"spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]}},
}}), &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""])]
fn stateful_sets(#[case] patch: Value, #[case] want: &[&str]) {
    let got = validate(["apps", "v1", "statefulsets"], &stateful_set(patch), None);
    assert_eq!(got.len(), want.len(), "{got:#?}");
    assert!(
        got.iter().zip(want).all(|(got, want)| got.contains(want)),
        "{got:#?}"
    );
}

#[rstest]
#[case::replicas(json!({"replicas": 5}), true)]
#[case::template(json!({"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}), true)]
#[case::ordinals(json!({"ordinals": {"start": 3}}), true)]
#[case::strategy(json!({"updateStrategy": {"type": "OnDelete"}}), true)]
#[case::retention(json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}), true)]
#[case::history(json!({"revisionHistoryLimit": 3, "minReadySeconds": 4}), true)]
#[case::service(json!({"serviceName": "other"}), false)]
#[case::management(json!({"podManagementPolicy": "Parallel"}), false)]
#[case::claims(json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}), false)]
fn changes_of_stateful_sets(#[case] spec: Value, #[case] allowed: bool) {
    let old = stateful_set(json!({}));
    let new = stateful_set(json!({"spec": spec}));
    let got = validate(["apps", "v1", "statefulsets"], &new, Some(&old));
    let forbidden = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    let want: &[&str] = if allowed { &[] } else { &[forbidden] };
    assert_eq!(got, want);
}

#[test]
fn a_stateful_set_of_an_older_server_keeps_its_name() {
    let set = stateful_set(json!({"metadata": {"name": "a.b"}}));
    let got = validate(["apps", "v1", "statefulsets"], &set, Some(&set));
    assert_eq!(got, Vec::<String>::new());
}

#[rstest]
#[case::ordinary(json!({}), &[])]
#[case::nothing_selected(json!({"spec": {"selector": null, "template": {"metadata": {"labels": null}}}}), &["spec.selector: Required value"])]
#[case::others_selected(json!({"spec": {"selector": {"app": "y"}}}), &["spec.template.metadata.labels: Invalid value"])]
#[case::no_pods(json!({"spec": {"replicas": -1}}), &["spec.replicas: Invalid value: -1"])]
#[case::pods_with_a_deadline(json!({"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}}), &["activeDeadlineSeconds in ReplicationController is not Supported"])]
fn replication_controllers(#[case] patch: Value, #[case] want: &[&str]) {
    let path = ["", "v1", "replicationcontrollers"];
    let got = validate(path, &replication_controller(patch), None);
    assert_eq!(got.len(), want.len(), "{got:#?}");
    assert!(
        got.iter().zip(want).all(|(got, want)| got.contains(want)),
        "{got:#?}"
    );
}
