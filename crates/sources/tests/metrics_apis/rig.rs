//! An API server in memory, rules, and a Prometheus that answers what each test wants.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use k8s_openapi::api::core::v1::Service;
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Client};
use parking_lot::Mutex;
use plimsoll_api::kinds;
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use plimsoll_clock::Clock;
use plimsoll_sources::custom::Router;
use plimsoll_sources::prometheus::{Prometheus, Verb};
use plimsoll_sources::rules::{PrometheusRules, Settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tempfile::NamedTempFile;

pub(crate) const RULES: &str = r#"
rules:
- seriesQuery: 'http_requests_total{namespace!=""}'
  resources: {template: '<<.Resource>>'}
  name: {matches: '^(.*)_total$', as: '${1}_per_second'}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: 'queue_length'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
- seriesQuery: 'world_orders'
  resources: {namespaced: false}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
"#;

/// 2026-01-01T00:00:00Z, when the clock starts.
pub(crate) const START: i64 = 1_767_225_600;
pub(crate) const V1BETA1: &str = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default";
pub(crate) const V1BETA2: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default";
pub(crate) const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default";

/// A server whose answers tests set, by a part of the (unescaped) question.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    pub(crate) answers: Arc<Mutex<BTreeMap<String, (u16, String)>>>,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub(crate) fn answer(&self, question: &str, code: u16, body: impl Into<String>) {
        let mut answers = self.answers.lock();
        answers.insert(question.to_owned(), (code, body.into()));
    }

    pub(crate) fn vector(&self, question: &str, samples: &Value) {
        let data = json!({"resultType": "vector", "result": samples});
        let body = json!({"status": "success", "data": data});
        self.answer(question, 200, body.to_string());
    }

    pub(crate) fn series(&self, selector: &str, found: &Value) {
        let body = json!({"status": "success", "data": found});
        let question = format!("/api/v1/series?match[]={selector}");
        self.answer(&question, 200, body.to_string());
    }

    pub(crate) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let response = fake.respond(&request.uri().to_string());
            async move { Ok::<_, Infallible>(response) }
        });
        Client::new(service, "default")
    }

    fn respond(&self, uri: &str) -> Response<Full<Bytes>> {
        let question = unescape(uri);
        let answers = self.answers.lock();
        let found = answers
            .iter()
            .rev()
            .find(|(part, _)| question.contains(*part));
        let (code, body) = found.map_or((404, String::new()), |(_, answer)| answer.clone());
        self.asked.lock().push(question);
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    }

    pub(crate) fn last_query(&self) -> String {
        let asked = self.asked.lock();
        let last = asked.iter().rev().find(|q| q.contains("/query?"));
        last.cloned().unwrap_or_default()
    }
}

pub(crate) fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) struct Rig {
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
    pub(crate) fake: Fake,
    pub(crate) router: Router,
    pub(crate) rules: NamedTempFile,
    pub(crate) clock: Clock,
}

impl Rig {
    pub(crate) async fn bare() -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let server = ApiServer::new(Config {
            store: Store::open(Options::ephemeral()).unwrap(),
            clock,
            kinds: kinds::built_in(),
            seed: 42,
            cluster: ClusterSettings::default(),
            nodes: None,
            locals: Vec::new(),
            token_key: Pki::ephemeral(&[]).unwrap().token_key(),
        });
        server.bootstrap().await.unwrap();
        let client = Client::new(server.service(Identity::in_process("test")), "default");
        let rules = NamedTempFile::new().unwrap();
        std::fs::write(rules.path(), RULES).unwrap();
        let fake = Fake::default();
        let labels = json!([{"__name__": "http_requests_total", "namespace": "default",
                             "service": "a", "pod": "p", "node": "n"}]);
        fake.series("http_requests_total", &labels);
        let labels = json!([{"__name__": "queue_length", "namespace": "default"}]);
        fake.series("queue_length", &labels);
        fake.series("world_orders", &json!([{"__name__": "world_orders"}]));
        Self {
            server,
            client,
            fake,
            router: Router::new(),
            rules,
            clock,
        }
    }

    /// Serves by the rules, once the series are listed.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut Settings)) -> Self {
        let rig = Self::bare().await;
        rig.rules(rig.fake.client(), adjust).await;
        rig.announce();
        rig.until("http_requests_per_second", true).await;
        rig
    }

    /// Adds the rules over a Prometheus as a source.
    pub(crate) async fn rules(&self, prometheus: Client, adjust: impl FnOnce(&mut Settings)) {
        let timeout = Duration::from_secs(5);
        let mut settings = Settings {
            client: self.client.clone(),
            prometheus: Prometheus::new(prometheus, "/base/", Verb::Get, timeout),
            clock: self.clock,
            file: self.rules.path().to_owned(),
            relist_interval: Duration::from_secs(600),
            max_age: Duration::from_secs(600),
            max_sample_age: Duration::from_secs(300),
            asks_sample_age: false,
        };
        adjust(&mut settings);
        let rules = PrometheusRules::load(settings).await.unwrap();
        self.router.add_custom(Arc::new(rules.clone()));
        self.router.add_external(Arc::new(rules.clone()));
        drop(tokio::spawn(rules.follow()));
    }

    pub(crate) fn announce(&self) {
        for group in self.router.groups() {
            self.server.add_local_group(group);
        }
    }

    /// Waits (on paused time) until discovery lists a metric, or no longer does.
    pub(crate) async fn until(&self, metric: &str, listed: bool) {
        for _ in 0..200 {
            let (_, list) = self.get("/apis/custom.metrics.k8s.io/v1beta1").await;
            if list.to_string().contains(metric) == listed {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("{metric} is listed: {}", !listed);
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub(crate) async fn services(&self, names: &[&str]) {
        let api: Api<Service> = Api::namespaced(self.client.clone(), "default");
        for name in names {
            let meta = json!({"name": name, "labels": {"app": "web"}});
            let service = json!({"metadata": meta, "spec": {"ports": [{"port": 80}]}});
            let service = serde_json::from_value(service).unwrap();
            api.create(&PostParams::default(), &service).await.unwrap();
        }
    }
}

pub(crate) fn sample(label: &str, name: &str, value: &str) -> Value {
    json!({"metric": {label: name}, "value": [START, value]})
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    let resources = list["resources"].as_array().unwrap();
    resources
        .iter()
        .map(|r| r["name"].as_str().unwrap())
        .collect()
}
