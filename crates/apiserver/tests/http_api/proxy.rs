//! Requests passed on to pods, services and nodes.

use crate::rig::{Answer, Bound, PODS, Rig};
use crate::streams::rig;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use rstest::rstest;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SERVICES: &str = "/api/v1/namespaces/default/services";

async fn with_pod() -> Rig {
    let rig = rig().await;
    rig.started("p").await;
    rig
}

/// A service with two ports and one endpoint.
async fn with_service() -> Rig {
    let rig = with_pod().await;
    let service = json!({
        "metadata": {"name": "s"},
        "spec": {"ports": [{"name": "web", "port": 8080}, {"name": "other", "port": 81}]},
    });
    rig.post(SERVICES, &service).await.expect(201);
    let slice = json!({
        "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.244.0.7"], "conditions": {"ready": true}},
            {"addresses": ["10.244.0.8"], "conditions": {"ready": false}},
        ],
        "ports": [{"name": "web", "port": 9090, "protocol": "TCP"}],
    });
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    rig.post(path, &slice).await.expect(201);
    rig
}

#[rstest]
#[case(Method::GET)]
#[case(Method::POST)]
#[case(Method::PUT)]
#[case(Method::PATCH)]
#[case(Method::DELETE)]
#[case(Method::OPTIONS)]
#[tokio::test(start_paused = true)]
async fn every_method_reaches_the_pod_with_path_query_headers_and_body(#[case] method: Method) {
    let rig = with_pod().await;
    let request = Request::builder()
        .method(method.clone())
        .uri(format!("{PODS}/http:p:8080/proxy/a%2Fb//c/?x=%20y&watch=1"))
        .header("authorization", "Bearer secret")
        .header("x-own", "kept")
        .header("te", "trailers")
        .body(Full::new(Bytes::from("body")));
    let answer = rig.send(request.unwrap()).await;
    let uri = "/a%2Fb//c/?x=%20y&watch=1";
    let want = format!(
        "10.244.0.5:8080 {method} {uri} [host=10.244.0.5:8080 authorization= x-own=kept \
         x-forwarded-uri={PODS}/http:p:8080/proxy{uri} te=] body"
    );
    assert_eq!((answer.code.as_u16(), answer.text), (200, want));
    assert_eq!(answer.headers["x-answer"], "yes");
    assert!(!answer.headers.contains_key("keep-alive"));
}

#[tokio::test(start_paused = true)]
async fn large_bodies_pass_through() {
    let rig = with_pod().await;
    let body = Bytes::from(vec![b'x'; 5_000_000]);
    let request = Request::post(format!("{PODS}/p/proxy/")).body(Full::new(body));
    let answer = rig.send(request.unwrap()).await;
    assert_eq!(answer.code, 200);
    assert!(answer.text.len() > 5_000_000);
}

#[tokio::test(start_paused = true)]
async fn the_root_is_moved_so_that_relative_links_work() {
    let rig = with_pod().await;
    let answer = rig.get(&format!("{PODS}/p/proxy?a=b")).await;
    assert_eq!(answer.code, 301);
    assert_eq!(answer.headers["location"], format!("{PODS}/p/proxy/?a=b"));
    let posted = rig
        .call(Method::POST, &format!("{PODS}/p/proxy"), None)
        .await;
    assert!(
        posted.text.starts_with("10.244.0.5:80 POST / "),
        "{}",
        posted.text
    );
}

#[tokio::test(start_paused = true)]
async fn links_and_redirects_lead_back_through_the_proxy() {
    let rig = with_pod().await;
    let page = rig.get(&format!("{PODS}/p/proxy/page")).await;
    let link = format!("<a href=\"{PODS}/p/proxy/next\">next</a>");
    assert_eq!(page.text, link);
    let moved = rig.get(&format!("{PODS}/p/proxy/moved")).await;
    assert_eq!(moved.code, 302);
    assert_eq!(
        moved.headers["location"],
        format!("{PODS}/p/proxy/next?a=b")
    );
}

#[rstest]
#[case::by_name("s:web", 200, "10.244.0.7:9090 GET /x")]
#[case::by_number("s:8080", 200, "10.244.0.7:9090 GET /x")]
#[case::with_a_scheme("http:s:web", 200, "10.244.0.7:9090 GET /x")]
#[case::no_such_number("s:99", 503, "no service port 99 found for service \\\"s\\\"")]
#[case::no_such_name(
    "s:nope",
    503,
    "no service port \\\"nope\\\" found for service \\\"s\\\""
)]
#[case::which("s", 503, "no service port \\\"\\\" found for service \\\"s\\\"")]
#[case::absent("t", 404, "services \\\"t\\\" not found")]
#[case::nonsense("ftp:s:21", 400, "invalid service request \\\"ftp:s:21\\\"")]
#[tokio::test(start_paused = true)]
async fn services_are_found_by_their_ports(
    #[case] name: &str,
    #[case] code: u16,
    #[case] want: &str,
) {
    let rig = with_service().await;
    let answer = rig.get(&format!("{SERVICES}/{name}/proxy/x")).await;
    assert_eq!(answer.code, code, "{}", answer.text);
    assert!(answer.text.contains(want), "{} lacks {want}", answer.text);
}

#[tokio::test(start_paused = true)]
async fn a_service_without_endpoints_is_unavailable() {
    let rig = with_pod().await;
    let service = json!({"metadata": {"name": "e"}, "spec": {"ports": [{"port": 80}]}});
    rig.post(SERVICES, &service).await.expect(201);
    let answer = rig.get(&format!("{SERVICES}/e/proxy/")).await;
    let want = "no endpoints available for service \"e\"";
    answer.expect_failure(503, "ServiceUnavailable", want);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_reached_says_why() {
    let rig = with_pod().await;
    let refused = rig.get(&format!("{PODS}/p:81/proxy/")).await;
    let want = "error trying to reach service: dial tcp 10.244.0.5:81: connect: connection refused";
    refused.expect_failure(503, "ServiceUnavailable", want);
    rig.pod("q", Bound::No).await;
    let unbound = rig.get(&format!("{PODS}/q/proxy/")).await;
    unbound.expect_failure(400, "BadRequest", "address not allowed");
}

#[tokio::test(start_paused = true)]
async fn a_broken_answer_does_not_look_complete() {
    let rig = with_pod().await;
    let path = format!("{PODS}/p/proxy/broken");
    let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
    let service = rig.server.service(rig.identity.clone());
    let answer = tower::ServiceExt::oneshot(service, request).await.unwrap();
    let body = http_body_util::BodyExt::collect(answer.into_body()).await;
    body.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn nodes_answer_for_themselves() {
    let rig = with_pod().await;
    let node = json!({"metadata": {"name": "n1"}});
    rig.post("/api/v1/nodes", &node).await.expect(201);
    for name in ["n1", "n1:10250", "https:n1:10250"] {
        let answer: Answer = rig
            .get(&format!("/api/v1/nodes/{name}/proxy/healthz"))
            .await;
        assert!(
            answer.text.starts_with("n1 GET /healthz"),
            "{}",
            answer.text
        );
    }
    let absent = rig.get("/api/v1/nodes/n2/proxy/healthz").await;
    absent.expect_failure(404, "NotFound", "nodes \"n2\" not found");
}

#[tokio::test(start_paused = true)]
async fn other_protocols_pass_through_after_the_switch() {
    let rig = with_pod().await;
    let mut stream = rig.connection();
    let head = format!(
        "GET {PODS}/p/proxy/switch HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: four\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream.write_all(b"ping").await.unwrap();
    let mut echoed = [0; 4];
    stream.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"ping");
}
