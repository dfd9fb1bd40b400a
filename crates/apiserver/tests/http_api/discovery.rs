//! What is served, and the paths beside the API.

use crate::rig::{CONFIG_MAPS, Rig};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rstest::rstest;
use serde_json::{Value, json};

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const BETA: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// The fields of every entry of a list, without repeats.
fn fields(list: &Value) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for entry in list.as_array().unwrap() {
        for key in entry.as_object().unwrap().keys() {
            if !all.contains(key) {
                all.push(key.clone());
            }
        }
    }
    all.sort();
    all
}

#[rstest]
#[case::kubectl_137(&format!("{V2},application/json"), "apidiscovery.k8s.io/v2")]
#[case::kubectl_132(&format!("{V2},{BETA},application/json"), "apidiscovery.k8s.io/v2")]
#[case::older(&format!("{BETA},application/json"), "apidiscovery.k8s.io/v2beta1")]
#[tokio::test(start_paused = true)]
async fn aggregated_discovery_says_which_version_it_is(#[case] accept: &str, #[case] got: &str) {
    let rig = Rig::new().await;
    for path in ["/api", "/apis"] {
        let answer = rig.get_as(path, accept).await;
        let body = answer.expect(200);
        assert_eq!(
            (&body["kind"], &body["apiVersion"]),
            (&json!("APIGroupDiscoveryList"), &json!(got))
        );
        let version = got.split_once('/').unwrap().1;
        let media = answer.headers["content-type"].to_str().unwrap();
        assert_eq!(
            media,
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
        );
        assert_eq!(answer.headers["cache-control"], "public");
        assert_eq!(answer.headers["vary"], "Accept");
        let tag = answer.headers["etag"].clone();
        let request = Request::get(path)
            .header("accept", accept)
            .header("if-none-match", tag);
        let again = rig
            .send(request.body(Full::<Bytes>::default()).unwrap())
            .await;
        assert_eq!((again.code.as_u16(), again.text.as_str()), (304, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn the_older_documents_have_the_fields_clients_read() {
    let rig = Rig::new().await;
    let core = rig.get("/api").await.expect(200);
    assert_eq!(core["kind"], "APIVersions");
    assert_eq!(
        fields(&core["serverAddressByClientCIDRs"]),
        ["clientCIDR", "serverAddress"]
    );
    let groups = rig.get("/apis").await.expect(200);
    assert_eq!(
        fields(&groups["groups"]),
        ["name", "preferredVersion", "versions"]
    );
    let apps = rig.get("/apis/apps").await.expect(200);
    assert_eq!(
        (&apps["kind"], &apps["name"]),
        (&json!("APIGroup"), &json!("apps"))
    );
    let list = rig.get("/api/v1").await.expect(200);
    let resources = list["resources"].as_array().unwrap();
    let named = |name: &str| resources.iter().find(|r| r["name"] == name).unwrap();
    let pods = json!({
        "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["po"], "categories": ["all"],
        "storageVersionHash": named("pods")["storageVersionHash"],
    });
    assert_eq!(*named("pods"), pods);
    let eviction = json!({
        "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy",
        "version": "v1", "kind": "Eviction", "verbs": ["create"],
    });
    assert_eq!(*named("pods/eviction"), eviction);
}

#[rstest]
#[case("/healthz", "ok")]
#[case("/livez/ping", "ok")]
#[case(
    "/readyz?verbose",
    "[+]ping ok\n[+]store ok\n[+]bootstrap ok\nreadyz check passed\n"
)]
#[case(
    "/livez?verbose&exclude=store",
    "[+]ping ok\n[+]store excluded: ok\n[+]bootstrap ok\nlivez check passed\n"
)]
#[case(
    "/livez?verbose=1&exclude=moon",
    "[+]ping ok\n[+]store ok\n[+]bootstrap ok\nwarn: some health checks cannot be excluded: no matches for \"moon\"\nlivez check passed\n"
)]
#[tokio::test(start_paused = true)]
async fn health_is_plain_text(#[case] path: &str, #[case] text: &str) {
    let rig = Rig::new().await;
    let answer = rig.get(path).await;
    assert_eq!((answer.code.as_u16(), answer.text.as_str()), (200, text));
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test(start_paused = true)]
async fn version_and_paths_are_complete() {
    let rig = Rig::new().await;
    let version = rig.get("/version").await.expect(200);
    let fields = version.as_object().unwrap();
    assert_eq!(fields.len(), 13, "{version}");
    assert!(fields.values().all(Value::is_string));
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1."));
    let root = rig.get("/").await.expect(200);
    let paths: Vec<&str> = root["paths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p.as_str().unwrap())
        .collect();
    assert!(paths.is_sorted());
    for path in [
        "/api/v1",
        "/apis/apps/v1",
        "/openapi/v3",
        "/readyz/ping",
        "/version",
    ] {
        assert!(paths.contains(&path), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_count_requests_under_known_names() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    rig.get(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    rig.get(&format!("{CONFIG_MAPS}/b")).await.expect(404);
    rig.get("/api/v1/namespaces/default/made-up-by-an-attacker")
        .await;
    let text = rig.get("/metrics").await.text;
    let labels = "component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"resource\",subresource=\"\",verb=\"GET\",version=\"v1\"";
    for line in [
        format!("apiserver_request_total{{code=\"200\",{labels}}} 1"),
        format!("apiserver_request_total{{code=\"404\",{labels}}} 1"),
        "apiserver_storage_objects{resource=\"configmaps\"} ".to_owned(),
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1".to_owned(),
    ] {
        assert!(
            text.lines().any(|l| l.starts_with(&line)),
            "{line}\nis not in\n{text}"
        );
    }
    assert!(!text.contains("made-up-by-an-attacker"));
}
