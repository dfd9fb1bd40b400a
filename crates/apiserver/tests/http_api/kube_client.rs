//! `kube::Client` over the in-process service.

use crate::rig::Rig;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn the_client_lists_creates_patches_and_watches() {
    let rig = Rig::new().await;
    let client = kube::Client::new(rig.server.service(rig.identity.clone()), "default");
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let list = api.list(&ListParams::default().limit(500)).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    let watching = WatchParams::default().timeout(30);
    let mut events = Box::pin(api.watch(&watching, &version).await.unwrap());
    let object = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    let patch = Patch::Merge(json!({"data": {"k": "v"}}));
    let patched = api
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(patched.data.unwrap()["k"], "v");
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while let Some(event) = events.try_next().await.unwrap() {
        match event {
            WatchEvent::Added(_) => seen.push("added"),
            WatchEvent::Modified(_) => seen.push("modified"),
            WatchEvent::Deleted(_) => seen.push("deleted"),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(seen, ["added", "modified", "deleted"]);
    let missing = api.get("a").await.unwrap_err();
    assert!(matches!(missing, kube::Error::Api(status) if status.code == 404));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_keeps_up() {
    let rig = Rig::new().await;
    let client = kube::Client::new(rig.server.service(rig.identity.clone()), "default");
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let config = kube::runtime::watcher::Config::default().streaming_lists();
    let events = kube::runtime::watcher(api.clone(), config);
    let mut events = Box::pin(kube::runtime::WatchStreamExt::applied_objects(events));
    let object = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(first.metadata.name.as_deref(), Some("a"));
}
