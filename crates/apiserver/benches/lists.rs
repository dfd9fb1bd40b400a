//! Speed of reads through the whole server, without sockets: lists in every form, a single object,
//! and events to many watchers.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use bytes::Bytes;
use divan::Bencher;
use http::Request;
use http_body_util::{BodyExt, Full};
use plimsoll_api::kinds;
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use plimsoll_clock::Clock;
use serde_json::json;
use std::sync::OnceLock;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const METADATA: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
/// Pods in the server.
const COUNT: usize = 10_000;

fn main() {
    divan::main();
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

async fn ask(server: &ApiServer, request: Request<Full<Bytes>>) -> Bytes {
    let service = server.service(Identity::new("admin", &["system:masters"]));
    let response = service.oneshot(request).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn get(server: &ApiServer, path: &str, accept: &str) -> Bytes {
    let request = Request::get(path).header("accept", accept);
    ask(server, request.body(Full::default()).unwrap()).await
}

async fn post(server: &ApiServer, path: &str, body: &serde_json::Value) {
    let request = Request::post(path).header("content-type", JSON);
    ask(
        server,
        request.body(Full::new(body.to_string().into())).unwrap(),
    )
    .await;
}

/// A server with [`COUNT`] pods, made once.
fn filled() -> &'static ApiServer {
    static SERVER: OnceLock<ApiServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = ApiServer::new(Config {
            store: Store::open(Options::ephemeral()).unwrap(),
            clock: Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()),
            kinds: kinds::built_in(),
            seed: 42,
            cluster: ClusterSettings::default(),
            nodes: None,
            locals: Vec::new(),
            token_key: Pki::ephemeral(&[]).unwrap().token_key(),
        });
        runtime().block_on(async {
            server.bootstrap().await.unwrap();
            let account = json!({"metadata": {"name": "default"}});
            post(
                &server,
                "/api/v1/namespaces/default/serviceaccounts",
                &account,
            )
            .await;
            for number in 0..COUNT {
                let pod = json!({
                    "metadata": {"name": format!("web-{number:05}"), "labels": {"app": "web"}},
                    "spec": {"containers": [{
                        "name": "main", "image": "nginx:1.27",
                        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                        "ports": [{"containerPort": 80}],
                        "env": [{"name": "A", "value": "b"}],
                    }]},
                });
                post(&server, PODS, &pod).await;
            }
        });
        server
    })
}

#[divan::bench(args = [JSON, PROTOBUF, TABLE, METADATA], sample_count = 10)]
fn list_10_000_pods(bencher: Bencher<'_, '_>, accept: &str) {
    let (server, runtime) = (filled(), runtime());
    bencher.bench_local(|| runtime.block_on(get(server, PODS, accept)));
}

#[divan::bench(args = [JSON, PROTOBUF], sample_count = 100)]
fn get_a_pod(bencher: Bencher<'_, '_>, accept: &str) {
    let (server, runtime) = (filled(), runtime());
    let path = format!("{PODS}/web-00042");
    bencher.bench_local(|| runtime.block_on(get(server, &path, accept)));
}

/// 100 events to 1,000 watchers.
#[divan::bench(args = [JSON, PROTOBUF], sample_count = 5)]
fn fan_out_100_events_to_1_000_watchers(bencher: Bencher<'_, '_>, accept: &str) {
    let (server, runtime) = (filled(), runtime());
    let path = "/api/v1/namespaces/default/configmaps?watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let mut number = 0;
    bencher.bench_local(|| {
        runtime.block_on(async {
            let mut watchers = Vec::new();
            for _ in 0..1_000 {
                let request = Request::get(path).header("accept", accept);
                let service = server.service(Identity::new("admin", &["system:masters"]));
                let request = request.body(Full::<Bytes>::default()).unwrap();
                watchers.push(service.oneshot(request).await.unwrap().into_body());
            }
            for _ in 0..100 {
                number += 1;
                let body = json!({"metadata": {"name": format!("c{}-{number}", accept.len())}});
                post(server, "/api/v1/namespaces/default/configmaps", &body).await;
                for watcher in &mut watchers {
                    watcher.frame().await.unwrap().unwrap();
                }
            }
        });
    });
}
