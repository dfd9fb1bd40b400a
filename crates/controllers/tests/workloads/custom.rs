//! Custom resources: owners like any other, gone with their namespace.

use crate::rig::Rig;
use kube::Api;
use kube::api::DeleteParams;
use kube::core::DynamicObject;
use serde_json::json;

/// Defines namespaced Widgets once the controllers run.
async fn widgets(rig: &Rig, namespace: &str) -> Api<DynamicObject> {
    let definitions = rig.cluster_of(
        ("apiextensions.k8s.io", "v1"),
        "customresourcedefinitions",
        "CustomResourceDefinition",
    );
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                          "schema": {"openAPIV3Schema": schema}}],
        },
    });
    rig.create(&definitions, definition).await;
    rig.api(namespace, ("example.com", "v1"), "widgets", "Widget")
}

#[tokio::test(start_paused = true)]
async fn what_a_custom_resource_owns_goes_with_it() {
    let rig = Rig::start().await;
    let maps = rig.core("default", "configmaps", "ConfigMap");
    rig.until("furnished", async || rig.count(&maps).await == 1)
        .await;
    let widgets = widgets(&rig, "default").await;
    let widget = |name: &str, owners: serde_json::Value| {
        json!({"apiVersion": "example.com/v1", "kind": "Widget",
               "metadata": {"name": name, "ownerReferences": owners}})
    };
    rig.create(&widgets, widget("top", json!([]))).await;
    let uid = widgets.get("top").await.unwrap().metadata.uid.unwrap();
    let owners =
        json!([{"apiVersion": "example.com/v1", "kind": "Widget", "name": "top", "uid": uid}]);
    rig.create(&widgets, widget("below", owners.clone())).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                     "metadata": {"name": "owned", "ownerReferences": owners}});
    rig.create(&maps, map).await;
    widgets
        .delete("top", &DeleteParams::default())
        .await
        .unwrap();
    rig.until("collected", async || {
        rig.count(&widgets).await == 0 && rig.count(&maps).await == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_takes_its_custom_resources_along() {
    let rig = Rig::start().await;
    let namespaces = rig.cluster("namespaces", "Namespace");
    let team = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    rig.create(&namespaces, team).await;
    let widgets = widgets(&rig, "team").await;
    let widget =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}});
    rig.create(&widgets, widget).await;
    namespaces
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    rig.until("gone", async || {
        namespaces.get_opt("team").await.unwrap().is_none()
    })
    .await;
    assert_eq!(rig.count(&widgets).await, 0);
}
