//! The three metrics APIs, answered by this process: every pod, workload and external metric shows
//! the same load, as a percentage of what is asked for.

use super::objects::{METRIC, Shape, pod_name};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::serve::{Listener, Peer};
use plimsoll_clock::Clock;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// CPU request of every pod, in thousandths.
const REQUEST_MILLI: u32 = 500;

/// The served API groups with their versions.
pub(super) const GROUPS: [(&str, &str); 3] = [
    ("metrics.k8s.io", "v1beta1"),
    ("custom.metrics.k8s.io", "v1beta2"),
    ("external.metrics.k8s.io", "v1beta1"),
];

/// What is shown, and how often it was asked for.
#[derive(Debug)]
struct Shown {
    shape: Shape,
    clock: Clock,
    percent: AtomicU32,
    asked: AtomicU64,
}

/// The running APIs. Dropping them ends the listener.
#[derive(Debug)]
pub(super) struct Fake {
    shown: Arc<Shown>,
    port: u16,
    stop: CancellationToken,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Fake {
    /// Listens on a free port, on loopback if that is how it is reached.
    pub(super) async fn start(shape: Shape, advertised: &str, percent: u32) -> Result<Self> {
        let loopback = matches!(advertised, "localhost" | "127.0.0.1");
        let address = if loopback {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        let listener = Listener::bind(SocketAddr::new(IpAddr::V4(address), 0)).await?;
        let port = listener.address().port();
        let tls = Pki::ephemeral(&[advertised.to_owned()])?.server_config()?;
        let shown = Arc::new(Shown {
            shape,
            clock: Clock::system(),
            percent: AtomicU32::new(percent),
            asked: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        let answers = Arc::clone(&shown);
        let handler = move |request: Request<hyper::body::Incoming>, _: Peer| {
            let answer = answers.answer(request.uri());
            async move { Ok::<_, Infallible>(answer) }
        };
        let serve = listener.serve(tls, handler, stop.clone(), Duration::from_secs(1));
        tokio::spawn(serve);
        Ok(Self { shown, port, stop })
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Shows another load from now on.
    pub(super) fn load(&self, percent: u32) {
        self.shown.percent.store(percent, Ordering::Relaxed);
    }

    /// Metrics asked for so far.
    pub(super) fn asked(&self) -> u64 {
        self.shown.asked.load(Ordering::Relaxed)
    }
}

impl Shown {
    fn answer(&self, uri: &http::Uri) -> Response<Full<Bytes>> {
        let found = self.find(uri.path(), uri.query().unwrap_or_default());
        let (status, body) = match found {
            Some(value) => (StatusCode::OK, value),
            None => (
                StatusCode::NOT_FOUND,
                json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": "the benchmark has no such metric", "reason": "NotFound",
                        "code": 404 }),
            ),
        };
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        let kind = http::HeaderValue::from_static("application/json");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, kind);
        response
    }

    fn find(&self, path: &str, query: &str) -> Option<Value> {
        let path = path.strip_prefix("/apis/")?.replace("%2A", "*");
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let (group, version) = GROUPS
            .into_iter()
            .find(|(group, _)| parts.first() == Some(group))?;
        let rest = match parts.get(1) {
            None => return Some(api_group(group, version)),
            Some(asked) if *asked != version => return None,
            Some(_) => parts.get(2..).unwrap_or_default(),
        };
        if rest.is_empty() {
            return Some(resources(group, version));
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        match (group, rest) {
            ("metrics.k8s.io", ["pods"] | ["namespaces", _, "pods"]) => {
                let namespace = rest.get(1).copied();
                Some(self.pod_metrics(namespace, &selected(query)))
            }
            ("custom.metrics.k8s.io", ["namespaces", _, "pods", "*", name]) if *name == METRIC => {
                let names = self.pods_of(&selected(query));
                Some(self.values(names.map(|name| ("Pod", name)).collect()))
            }
            ("custom.metrics.k8s.io", ["namespaces", _, _, object, name]) if *name == METRIC => {
                Some(self.values(vec![("Deployment", (*object).to_owned())]))
            }
            ("external.metrics.k8s.io", ["namespaces", _, name]) if *name == METRIC => {
                let item = json!({ "metricName": METRIC, "metricLabels": {},
                    "timestamp": self.now(), "value": self.percent().to_string() });
                Some(json!({ "kind": "ExternalMetricValueList", "metadata": {},
                    "apiVersion": "external.metrics.k8s.io/v1beta1", "items": [item] }))
            }
            _ => None,
        }
    }

    fn percent(&self) -> u32 {
        self.percent.load(Ordering::Relaxed)
    }

    fn now(&self) -> String {
        self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// The pods of the workload whose label the selector names; all of them without one.
    fn pods_of(&self, selected: &str) -> impl Iterator<Item = String> + '_ {
        let wanted = selected.strip_prefix("app=app-");
        let wanted = wanted.and_then(|index| index.parse::<usize>().ok());
        let apps = match wanted {
            Some(index) if index < self.shape.autoscalers => index..index + 1,
            Some(_) => 0..0,
            None => 0..self.shape.autoscalers,
        };
        apps.flat_map(|index| (0..self.shape.pods).map(move |pod| (index, pod)))
            .map(|(index, pod)| pod_name(index, pod))
    }

    fn pod_metrics(&self, namespace: Option<&str>, selected: &str) -> Value {
        let milli = self.percent() * REQUEST_MILLI / 100;
        let own = namespace.is_none_or(|namespace| namespace == self.shape.namespace);
        let names: Vec<String> = if own {
            self.pods_of(selected).collect()
        } else {
            Vec::new()
        };
        let items = names.into_iter().map(|name| {
            let app = name.rsplit_once('-').map_or("", |(app, _)| app);
            json!({
                "metadata": { "name": name, "namespace": self.shape.namespace,
                              "labels": { "app": app } },
                "timestamp": self.now(), "window": "15s",
                "containers": [{ "name": "app",
                    "usage": { "cpu": format!("{milli}m"), "memory": "64Mi" } }],
            })
        });
        json!({ "kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {},
                "items": items.collect::<Vec<_>>() })
    }

    fn values(&self, of: Vec<(&str, String)>) -> Value {
        let items = of.into_iter().map(|(kind, name)| {
            json!({
                "describedObject": { "kind": kind, "namespace": self.shape.namespace, "name": name },
                "metric": { "name": METRIC, "selector": null },
                "timestamp": self.now(), "value": self.percent().to_string(),
            })
        });
        json!({ "kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2",
                "metadata": {}, "items": items.collect::<Vec<_>>() })
    }
}

/// The label selector of a query, decoded as far as one label needs it.
fn selected(query: &str) -> String {
    let selector = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("labelSelector="));
    selector
        .unwrap_or_default()
        .replace("%3D", "=")
        .replace("%3d", "=")
}

fn api_group(group: &str, version: &str) -> Value {
    let version = json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    json!({ "kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": [version],
            "preferredVersion": version })
}

fn resources(group: &str, version: &str) -> Value {
    let resource = |name: String, kind: &str| {
        json!({ "name": name, "singularName": "", "namespaced": true, "kind": kind,
                "verbs": ["get", "list"] })
    };
    let list = match group {
        "metrics.k8s.io" => vec![resource("pods".into(), "PodMetrics")],
        "custom.metrics.k8s.io" => ["pods", "deployments.apps"]
            .map(|of| resource(format!("{of}/{METRIC}"), "MetricValueList"))
            .to_vec(),
        _ => vec![resource(METRIC.into(), "ExternalMetricValueList")],
    };
    json!({ "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": format!("{group}/{version}"), "resources": list })
}

/// Registers the APIs with a server that reaches this process at `host`.
pub(super) async fn register(
    client: &kube::Client,
    shape: &Shape,
    host: &str,
    port: u16,
) -> Result<()> {
    use k8s_openapi::api::core::v1::Service;
    let service = json!({
        "metadata": { "name": "metrics" },
        "spec": { "type": "ExternalName", "externalName": host,
                  "ports": [{ "port": port, "name": "https" }] },
    });
    super::objects::create::<Service>(client, &shape.namespace, service).await?;
    for (group, version) in GROUPS {
        let registration = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": { "name": format!("{version}.{group}") },
            "spec": {
                "group": group, "version": version, "groupPriorityMinimum": 100,
                "versionPriority": 100, "insecureSkipTLSVerify": true,
                "service": { "namespace": shape.namespace, "name": "metrics", "port": port },
            },
        });
        registrations(client)
            .create(
                &kube::api::PostParams::default(),
                &super::objects::object(registration)?,
            )
            .await
            .with_context(|| {
                format!(
                    "cannot serve {group} here: is it served there already? Measure on a server \
                     without metrics (of `plimsoll up`: --without metrics)"
                )
            })?;
    }
    Ok(())
}

/// Takes them away again.
pub(super) async fn unregister(client: &kube::Client, shape: &Shape) {
    for (group, version) in GROUPS {
        let name = format!("{version}.{group}");
        let Ok(found) = registrations(client).get(&name).await else {
            continue;
        };
        let namespace = found.data.pointer("/spec/service/namespace");
        if namespace.and_then(Value::as_str) == Some(shape.namespace.as_str()) {
            drop(
                registrations(client)
                    .delete(&name, &kube::api::DeleteParams::default())
                    .await,
            );
        }
    }
}

fn registrations(client: &kube::Client) -> kube::Api<kube::core::DynamicObject> {
    let kind = kube::core::GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService");
    kube::Api::all_with(client.clone(), &kube::core::ApiResource::from_gvk(&kind))
}

#[cfg(test)]
mod tests {
    use super::super::objects::{MetricType, Shape};
    use super::{Clock, Shown};
    use std::sync::atomic::{AtomicU32, AtomicU64};

    #[tokio::test]
    async fn the_metrics_of_one_workload_are_found_by_its_label() {
        let shown = Shown {
            shape: Shape {
                namespace: "n".into(),
                autoscalers: 3,
                pods: 2,
                others: 0,
                types: vec![MetricType::Resource],
            },
            clock: Clock::system(),
            percent: AtomicU32::new(80),
            asked: AtomicU64::new(0),
        };
        let path = "/apis/metrics.k8s.io/v1beta1/namespaces/n/pods";
        let one = shown.find(path, "labelSelector=app%3Dapp-1").unwrap();
        assert_eq!(one["items"].as_array().unwrap().len(), 2);
        assert_eq!(one["items"][1]["metadata"]["name"], "app-1-1");
        assert_eq!(one["items"][0]["containers"][0]["usage"]["cpu"], "400m");
        let all = shown.find(path, "").unwrap();
        assert_eq!(all["items"].as_array().unwrap().len(), 6);
        let custom = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n/pods/%2A/load";
        let custom = shown.find(custom, "labelSelector=app%3Dapp-2").unwrap();
        assert_eq!(custom["items"][0]["value"], "80");
        assert!(shown.find("/apis/metrics.k8s.io/v1/nodes", "").is_none());
    }
}
