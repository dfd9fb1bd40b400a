//! Discovery, OpenAPI and the conversion between autoscaler versions.

use plimsoll_api::local::{LocalGroup, LocalRequest, LocalResource};
use plimsoll_api::status::ApiError;
use plimsoll_api::{discovery, kinds, openapi};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Debug)]
struct Metrics;

#[async_trait::async_trait]
impl LocalGroup for Metrics {
    fn group(&self) -> &'static str {
        "metrics.k8s.io"
    }
    fn version(&self) -> &'static str {
        "v1beta1"
    }
    fn resources(&self) -> Vec<LocalResource> {
        vec![LocalResource {
            plural: "pods",
            singular: "",
            kind: "PodMetrics",
            namespaced: true,
            verbs: &["get", "list"],
            columns: Vec::new(),
            cells: |_, _| Vec::new(),
        }]
    }
    async fn read(&self, _: LocalRequest) -> Result<Value, ApiError> {
        Err(ApiError::no_such_resource())
    }
}

fn locals() -> Vec<Arc<dyn LocalGroup>> {
    vec![Arc::new(Metrics)]
}

#[test]
fn aggregated_discovery_lists_groups_in_preference_order() {
    let table = kinds::built_in();
    let core = discovery::aggregated(&table, &locals(), true);
    assert_eq!(core["items"].as_array().unwrap().len(), 1);
    assert_eq!(core["items"][0]["versions"][0]["version"], "v1");
    let rest = discovery::aggregated(&table, &locals(), false);
    let items = rest["items"].as_array().unwrap();
    let names: Vec<&str> = items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        &names[..3],
        ["apiregistration.k8s.io", "apps", "events.k8s.io"]
    );
    assert_eq!(names.last(), Some(&"metrics.k8s.io"));
    assert_eq!(names.len(), 21);
    let autoscaling = items
        .iter()
        .find(|item| item["metadata"]["name"] == "autoscaling")
        .unwrap();
    assert_eq!(autoscaling["versions"][0]["version"], "v2");
    assert_eq!(autoscaling["versions"][1]["version"], "v1");
    let want = json!({
        "resource": "horizontalpodautoscalers",
        "responseKind": {"group": "", "version": "", "kind": "HorizontalPodAutoscaler"},
        "scope": "Namespaced", "singularResource": "horizontalpodautoscaler",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["hpa"], "categories": ["all"],
        "subresources": [{"subresource": "status",
            "responseKind": {"group": "", "version": "", "kind": "HorizontalPodAutoscaler"},
            "verbs": ["get", "patch", "update"]}],
    });
    assert_eq!(autoscaling["versions"][0]["resources"][0], want);
}

#[test]
fn legacy_discovery_names_subresources_with_their_foreign_groups() {
    let table = kinds::built_in();
    let core = discovery::api_resource_list(&table, &locals(), "", "v1").unwrap();
    let find = |list: &Value, name: &str| {
        let resources = list["resources"].as_array().unwrap();
        resources
            .iter()
            .find(|resource| resource["name"] == name)
            .cloned()
            .unwrap()
    };
    let want = json!({"name": "pods/eviction", "singularName": "", "namespaced": true,
        "group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"]});
    assert_eq!(find(&core, "pods/eviction"), want);
    assert_eq!(find(&core, "pods/status").get("group"), None);
    assert!(find(&core, "pods")["storageVersionHash"].is_string());
    let metrics =
        discovery::api_resource_list(&table, &locals(), "metrics.k8s.io", "v1beta1").unwrap();
    assert_eq!(find(&metrics, "pods")["kind"], "PodMetrics");
    assert!(discovery::api_resource_list(&table, &locals(), "apps", "v9").is_none());
    let group = discovery::api_group(&table, &locals(), "autoscaling").unwrap();
    assert_eq!(group["preferredVersion"]["groupVersion"], "autoscaling/v2");
    assert!(discovery::api_group(&table, &locals(), "nope").is_none());
    let list = discovery::api_group_list(&table, &locals());
    assert_eq!(list["groups"].as_array().unwrap().len(), 21);
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(text) if key == "$ref" => drop(found.insert(text.to_owned())),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_in_every_document_resolves() {
    let table = kinds::built_in();
    let versions: BTreeSet<(String, String)> = table
        .iter()
        .map(|kind| (kind.group.to_string(), kind.version.to_string()))
        .collect();
    for (group, version) in versions {
        let document = openapi::v3(&table, &group, &version);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(!found.is_empty(), "{group}/{version}");
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(
                document.pointer(pointer).is_some(),
                "{group}/{version}: {reference}"
            );
        }
    }
}

#[test]
fn the_document_says_what_kubectl_looks_for() {
    let table = kinds::built_in();
    let document = openapi::v3(&table, "apps", "v1");
    let item = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    let patch = &document["paths"][item]["patch"];
    let kind = json!({"group": "apps", "kind": "Deployment", "version": "v1"});
    assert_eq!(patch["x-kubernetes-group-version-kind"], kind);
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "dryRun",
            "fieldManager",
            "fieldValidation",
            "force",
            "pretty"
        ]
    );
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert!(containers["description"].is_string());
    let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(deployment["x-kubernetes-group-version-kind"], json!([kind]));
    let index = openapi::index(&table);
    let address = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let hash = openapi::hash(&table, "apis/apps/v1");
    assert_eq!(address, format!("/openapi/v3/apis/apps/v1?hash={hash}"));
}

#[test]
fn an_autoscaler_survives_the_round_trip_through_v1() {
    let table = kinds::built_in();
    let kind = table
        .find("autoscaling", "v1", "horizontalpodautoscalers")
        .unwrap();
    let conversion = kind.conversion.unwrap();
    let v2 = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "annotations": {"mine": "stays"}},
        "spec": {"maxReplicas": 5, "minReplicas": 1,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "q", "selector": {}},
                    "target": {"type": "AverageValue", "averageValue": "1k"}}},
                {"type": "Object", "object": {
                    "describedObject": {"kind": "Ingress", "name": "i"}, "metric": {"name": "rps"},
                    "target": {"type": "AverageValue", "averageValue": "5"}}},
                {"type": "External", "external": {"metric": {"name": "x"},
                    "target": {"type": "Value", "value": "3"}}},
                {"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 50}}}],
            "behavior": {"scaleUp": {"selectPolicy": "Max", "stabilizationWindowSeconds": 0,
                "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}}},
        "status": {"currentReplicas": 1, "desiredReplicas": 1, "conditions": [
            {"type": "AbleToScale", "status": "True"}],
            "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                "current": {"averageUtilization": 23, "averageValue": "46m"}}}]}});
    let v1 = (conversion.from_stored)(v2.clone());
    assert_eq!(v1["spec"]["targetCPUUtilizationPercentage"], 50);
    assert_eq!(v1["status"]["currentCPUUtilizationPercentage"], 23);
    assert!(v1["spec"].get("metrics").is_none());
    let behavior = v1["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/behavior"]
        .as_str()
        .unwrap();
    assert!(behavior.contains("\"ScaleDown\":null"), "{behavior}");
    assert!(behavior.contains("\"PeriodSeconds\":15"), "{behavior}");
    assert_eq!((conversion.to_stored)(v1), v2);
}

#[test]
fn a_plain_v1_autoscaler_becomes_a_cpu_metric() {
    let table = kinds::built_in();
    let kind = table
        .find("autoscaling", "v1", "horizontalpodautoscalers")
        .unwrap();
    let v1 = json!({"apiVersion": "autoscaling/v1", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 5, "targetCPUUtilizationPercentage": 50}});
    let v2 = (kind.conversion.unwrap().to_stored)(v1);
    let want = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 5, "metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
    assert_eq!(v2, want);
}

#[test]
fn selectable_fields_read_as_text() {
    let pod = json!({"spec": {"nodeName": "n", "hostNetwork": true}});
    let read = |path: [&'static str; 2]| {
        kinds::field_value(&pod, &path.map(std::borrow::Cow::Borrowed)).into_owned()
    };
    assert_eq!(read(["spec", "nodeName"]), "n");
    assert_eq!(read(["spec", "hostNetwork"]), "true");
    assert_eq!(read(["spec", "unschedulable"]), "false");
    assert_eq!(read(["status", "phase"]), "");
}
