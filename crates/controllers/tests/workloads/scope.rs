//! Caches of some namespaces only.

use crate::rig::Rig;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DeleteParams;
use kube::runtime::watcher;
use plimsoll_controllers::runtime::{Cache, Cached, Full};
use serde_json::json;
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn a_cache_of_some_namespaces_knows_these_and_no_others() {
    let rig = Rig::start().await;
    let namespaces = rig.cluster("namespaces", "Namespace");
    for namespace in ["a", "b", "c"] {
        let object = json!({"metadata": {"name": namespace}});
        rig.create(&namespaces, object).await;
        let maps = rig.core(namespace, "configmaps", "ConfigMap");
        rig.create(&maps, json!({"metadata": {"name": "settings"}}))
            .await;
    }
    let scope: [Arc<str>; 2] = ["a".into(), "b".into()];
    let config = watcher::Config::default().fields("metadata.name=settings");
    let cache: Cache<Full<ConfigMap>> = Cache::start_within(&rig.client, &scope, 7, &config);
    cache.ready().await;
    let known = || {
        let list = cache.list(None);
        let names = list.iter().map(|map| map.meta().key.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(known(), ["a/settings", "b/settings"]);
    let maps = rig.core("a", "configmaps", "ConfigMap");
    maps.delete("settings", &DeleteParams::default())
        .await
        .unwrap();
    rig.until("gone", async || known() == ["b/settings"]).await;
}
