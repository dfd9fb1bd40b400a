//! Lists, pages, tables, discovery.

use crate::rig::{CONFIG_MAPS, PODS, Rig};
use serde_json::{Value, json};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[tokio::test(start_paused = true)]
async fn pages_show_one_moment_of_the_collection() {
    let rig = Rig::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        rig.config_map(name, &json!({})).await;
    }
    let first = rig.get(&format!("{CONFIG_MAPS}?limit=2")).await.expect(200);
    assert_eq!(first["kind"], "ConfigMapList");
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    rig.delete(&format!("{CONFIG_MAPS}/d"), None)
        .await
        .expect(200);
    let mut names = names(&first);
    let mut next = first["metadata"]["continue"].clone();
    while let Some(token) = next.as_str() {
        let page = rig
            .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
            .await
            .expect(200);
        assert_eq!(
            page["metadata"]["resourceVersion"],
            first["metadata"]["resourceVersion"]
        );
        names.extend(self::names(&page));
        next = page["metadata"]["continue"].clone();
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    let both = rig.get(&format!("{CONFIG_MAPS}?limit=2&continue=x")).await;
    both.expect_failure(400, "BadRequest", "continue");
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|i| i["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn selectors_cut_lists() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({"tier": "front"})).await;
    rig.config_map("b", &json!({"tier": "back"})).await;
    rig.config_map("c", &json!({"tier": "back"})).await;
    let by_label = rig
        .get(&format!("{CONFIG_MAPS}?labelSelector=tier%3Dback&limit=1"))
        .await;
    let page = by_label.expect(200);
    assert_eq!(names(&page), ["b"]);
    assert!(page["metadata"]["continue"].is_string());
    assert!(page["metadata"]["remainingItemCount"].is_null());
    let by_name = rig
        .get("/api/v1/configmaps?fieldSelector=metadata.name%3Dc")
        .await;
    assert_eq!(names(&by_name.expect(200)), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn tables_carry_columns_cells_and_metadata() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    let table = rig.get_as(CONFIG_MAPS, TABLE).await.expect(200);
    assert_eq!(
        (&table["kind"], &table["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let partial = rig.get_as(CONFIG_MAPS, metadata).await.expect(200);
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert!(partial["items"][0]["data"].is_null());
}

#[tokio::test(start_paused = true)]
async fn discovery_is_cached_by_its_hash() {
    let rig = Rig::new().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let groups = rig.get_as("/apis", accept).await;
    assert_eq!(groups.expect(200)["kind"], "APIGroupDiscoveryList");
    assert_eq!(groups.headers["content-type"], accept);
    let tag = groups.headers["etag"].clone();
    let request = http::Request::get("/apis")
        .header("accept", accept)
        .header("if-none-match", tag);
    let again = rig
        .send(request.body(http_body_util::Full::default()).unwrap())
        .await;
    assert_eq!((again.code.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(rig.get("/api").await.expect(200)["kind"], "APIVersions");
    assert_eq!(rig.get("/apis").await.expect(200)["kind"], "APIGroupList");
    let resources = rig.get("/apis/apps/v1").await.expect(200);
    assert_eq!(resources["kind"], "APIResourceList");
    assert_eq!(rig.get("/version").await.expect(200)["minor"], "36");
    assert!(rig.get("/readyz?verbose").await.text.contains("[+]ping ok"));
    assert!(
        rig.get("/metrics")
            .await
            .text
            .contains("apiserver_request_total")
    );
}

#[tokio::test(start_paused = true)]
async fn openapi_documents_are_named_by_their_hash() {
    let rig = Rig::new().await;
    let index = rig.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let document = rig.get(&url).await;
    document.expect(200);
    assert_eq!(document.headers["cache-control"], "public, immutable");
    let stale = rig.get("/openapi/v3/apis/apps/v1?hash=OLD").await;
    assert_eq!(
        (stale.code.as_u16(), &stale.headers["location"]),
        (301, &url.parse().unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn a_fresh_cluster_has_its_first_objects() {
    let rig = Rig::new().await;
    let namespaces = rig.get("/api/v1/namespaces").await.expect(200);
    let expected = ["default", "kube-node-lease", "kube-public", "kube-system"];
    assert_eq!(names(&namespaces), expected);
    let service = rig
        .get("/api/v1/namespaces/default/services/kubernetes")
        .await
        .expect(200);
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
    rig.server.bootstrap().await.unwrap();
    assert!(
        rig.get(PODS).await.expect(200)["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}
