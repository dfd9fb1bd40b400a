//! `metrics.k8s.io/v1beta1`: what `kubectl top` and autoscalers read.

use super::labels::{LabelTable, Labels, Name};
use async_trait::async_trait;
use jiff::Timestamp;
use kube::Client;
use plimsoll_api::kind::Column;
use plimsoll_api::local::{LocalGroup, LocalRequest, LocalResource};
use plimsoll_api::selector::{FieldSelector, LabelSelector};
use plimsoll_api::status::ApiError;
use plimsoll_api::usage::{NodeUsage, PodUsage, UsageStore};
use serde_json::{Value, json};
use std::sync::Arc;

const API_VERSION: &str = "metrics.k8s.io/v1beta1";

/// Serves the newest usage of pods and nodes in metrics-server's shapes.
///
/// Clones share everything. Serves nothing before [`MetricsApi::follow`] has seen the pods and
/// nodes, because their labels belong to the answer.
#[derive(Debug, Clone)]
pub struct MetricsApi {
    usage: UsageStore,
    pods: LabelTable,
    nodes: LabelTable,
}

impl MetricsApi {
    /// An API over `usage`.
    pub fn new(usage: UsageStore) -> Self {
        Self {
            usage,
            pods: LabelTable::default(),
            nodes: LabelTable::default(),
        }
    }

    /// Starts following the labels of pods and nodes. Must be called inside a runtime.
    pub fn follow(&self, client: Client) {
        drop(tokio::spawn(self.pods.clone().follow_pods(client.clone())));
        drop(tokio::spawn(self.nodes.clone().follow_nodes(client)));
    }

    fn pod(&self, name: &Name, labels: &Labels) -> Option<Value> {
        Some(pod_metrics(name, labels, &*self.usage.pod(name)?))
    }

    fn node(&self, name: &Name, labels: &Labels) -> Option<Value> {
        Some(node_metrics(&name.1, labels, &*self.usage.node(&name.1)?))
    }

    fn get(&self, request: &LocalRequest, name: &str) -> Result<Value, ApiError> {
        let namespace = request.namespace.as_deref().unwrap_or_default();
        let key: Name = (namespace.into(), name.into());
        let (table, shown) = match request.resource.as_str() {
            "pods" => (&self.pods, format!("{namespace}/{name}")),
            _ => (&self.nodes, name.to_owned()),
        };
        let labels = table
            .get(&key)
            .ok_or_else(|| ApiError::not_found("metrics.k8s.io", &request.resource, &shown))?;
        let found = match request.resource.as_str() {
            "pods" => self.pod(&key, &labels),
            _ => self.node(&key, &labels),
        };
        found.ok_or_else(|| {
            let kind = if request.resource == "pods" {
                "podmetrics"
            } else {
                "nodemetrics"
            };
            let message = format!("{kind}.metrics.k8s.io {shown:?} not found");
            ApiError {
                message,
                ..ApiError::not_found("metrics.k8s.io", &request.resource, name)
            }
        })
    }

    fn list(&self, request: &LocalRequest) -> Result<Value, ApiError> {
        let labels = LabelSelector::parse(&request.label_selector)?;
        let fields = FieldSelector::parse(&request.field_selector)?;
        let is_pods = request.resource == "pods";
        let table = if is_pods { &self.pods } else { &self.nodes };
        let items: Vec<Value> = table
            .list(request.namespace.as_deref().filter(|_| is_pods))
            .into_iter()
            .filter(|(_, own)| labels.matches(|key| own.get(key).map(String::as_str)))
            .filter(|((namespace, name), _)| {
                fields.matches(|field| match field {
                    "metadata.name" => name,
                    "metadata.namespace" => namespace,
                    _ => "",
                })
            })
            .filter_map(|(name, own)| {
                if is_pods {
                    self.pod(&name, &own)
                } else {
                    self.node(&name, &own)
                }
            })
            .collect();
        let kind = if is_pods {
            "PodMetricsList"
        } else {
            "NodeMetricsList"
        };
        Ok(json!({ "kind": kind, "apiVersion": API_VERSION, "metadata": {}, "items": items }))
    }
}

#[async_trait]
impl LocalGroup for MetricsApi {
    fn group(&self) -> &'static str {
        "metrics.k8s.io"
    }

    fn version(&self) -> &'static str {
        "v1beta1"
    }

    fn resources(&self) -> Vec<LocalResource> {
        let resource = |plural, kind, namespaced, cells| LocalResource {
            plural,
            singular: "",
            kind,
            namespaced,
            verbs: &["get", "list"],
            columns: columns(),
            cells,
        };
        vec![
            resource("nodes", "NodeMetrics", false, node_cells),
            resource("pods", "PodMetrics", true, pod_cells),
        ]
    }

    async fn read(&self, request: LocalRequest) -> Result<Value, ApiError> {
        if !matches!(request.resource.as_str(), "pods" | "nodes") {
            return Err(ApiError::no_such_resource());
        }
        match &request.name {
            Some(name) => self.get(&request, name),
            None => self.list(&request),
        }
    }
}

fn columns() -> Vec<Column> {
    let column = |name: &'static str, kind: &'static str, format: &'static str| Column {
        name: name.into(),
        kind: kind.into(),
        format: format.into(),
        priority: 0,
        description: "".into(),
    };
    vec![
        column("Name", "string", "name"),
        column("cpu", "string", ""),
        column("memory", "string", ""),
        column("Window", "string", ""),
    ]
}

fn node_cells(object: &Value, _: Timestamp) -> Vec<Value> {
    let at = |pointer| object.pointer(pointer).cloned().unwrap_or_default();
    vec![
        at("/metadata/name"),
        at("/usage/cpu"),
        at("/usage/memory"),
        at("/window"),
    ]
}

fn pod_cells(object: &Value, _: Timestamp) -> Vec<Value> {
    let containers = object.get("containers").and_then(Value::as_array);
    let sum = |resource: &str, suffix: &str| -> u64 {
        let texts = containers.into_iter().flatten().filter_map(|container| {
            container
                .pointer(&format!("/usage/{resource}"))
                .and_then(Value::as_str)
        });
        texts
            .filter_map(|t| t.trim_end_matches(suffix).parse::<u64>().ok())
            .sum()
    };
    let at = |pointer| object.pointer(pointer).cloned().unwrap_or_default();
    let (cpu, memory) = (
        cpu_text(sum("cpu", "n")),
        memory_text(sum("memory", "Ki") * 1024),
    );
    vec![
        at("/metadata/name"),
        cpu.into(),
        memory.into(),
        at("/window"),
    ]
}

fn pod_metrics((namespace, name): &Name, labels: &Labels, usage: &PodUsage) -> Value {
    let containers: Vec<Value> = usage
        .containers
        .iter()
        .map(|container| {
            let usage = amounts(container.cpu_nano, container.memory_bytes);
            json!({ "name": container.name, "usage": usage })
        })
        .collect();
    json!({
        "kind": "PodMetrics",
        "apiVersion": API_VERSION,
        "metadata": metadata(Some(namespace), name, labels, usage.timestamp),
        "timestamp": seconds(usage.timestamp),
        "window": window(usage.window_ms),
        "containers": containers,
    })
}

fn node_metrics(name: &Arc<str>, labels: &Labels, usage: &NodeUsage) -> Value {
    json!({
        "kind": "NodeMetrics",
        "apiVersion": API_VERSION,
        "metadata": metadata(None, name, labels, usage.timestamp),
        "timestamp": seconds(usage.timestamp),
        "window": window(usage.window_ms),
        "usage": amounts(usage.cpu_nano, usage.memory_bytes),
    })
}

fn metadata(namespace: Option<&Arc<str>>, name: &str, labels: &Labels, at: Timestamp) -> Value {
    let mut metadata = json!({ "name": name });
    if let Some(map) = metadata.as_object_mut() {
        if let Some(namespace) = namespace {
            map.insert("namespace".into(), json!(namespace));
        }
        map.insert("creationTimestamp".into(), seconds(at).into());
        if !labels.is_empty() {
            map.insert("labels".into(), json!(labels));
        }
    }
    metadata
}

fn amounts(cpu_nano: u64, memory_bytes: u64) -> Value {
    json!({ "cpu": cpu_text(cpu_nano), "memory": memory_text(memory_bytes) })
}

/// Nanocores as text: `12345n`, `0`.
fn cpu_text(nano: u64) -> String {
    if nano == 0 {
        "0".into()
    } else {
        format!("{nano}n")
    }
}

/// Bytes as whole kibibytes: `2048Ki`, `0`.
fn memory_text(bytes: u64) -> String {
    let kibibytes = bytes / 1024;
    if kibibytes == 0 {
        "0".into()
    } else {
        format!("{kibibytes}Ki")
    }
}

/// Whole seconds, as API times print.
fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}

/// A window as a Go duration with milliseconds: `1s`, `1.002s`, `500ms`, `1m0s`.
fn window(milliseconds: u32) -> String {
    let (whole, rest) = (milliseconds / 1000, milliseconds % 1000);
    let minutes = if whole >= 60 {
        format!("{}m", whole / 60)
    } else {
        String::new()
    };
    let fraction = format!("{rest:03}");
    let fraction = fraction.trim_end_matches('0');
    match (whole, fraction) {
        (0, "") => "0s".into(),
        (0, _) => format!("{rest}ms"),
        (_, "") => format!("{minutes}{}s", whole % 60),
        _ => format!("{minutes}{}.{fraction}s", whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::{MetricsApi, window};
    use plimsoll_api::local::{LocalGroup, LocalRequest};
    use plimsoll_api::usage::{ContainerUsage, PodUsage, Samples, UsageStore};
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(0, "0s")]
    #[case(250, "250ms")]
    #[case(1000, "1s")]
    #[case(1002, "1.002s")]
    #[case(60_000, "1m0s")]
    #[case(61_500, "1m1.5s")]
    fn a_window_prints_as_a_duration(#[case] milliseconds: u32, #[case] text: &str) {
        assert_eq!(window(milliseconds), text);
    }

    fn served() -> MetricsApi {
        let usage = UsageStore::default();
        let timestamp = "2026-01-01T00:00:01.5Z".parse().unwrap();
        let container = ContainerUsage {
            name: "app".into(),
            cpu_nano: 12345,
            memory_bytes: 2_097_153,
        };
        let web = PodUsage {
            timestamp,
            window_ms: 1000,
            containers: [container].into(),
        };
        let name = ("default".into(), "web".into());
        usage.apply(&Samples {
            pods: vec![(name, Some(web))],
            nodes: Vec::new(),
        });
        let api = MetricsApi::new(usage);
        let labels = [("app".to_owned(), "web".to_owned())].into();
        api.pods.put(("default".into(), "web".into()), labels);
        api.pods.put(("default".into(), "new".into()), [].into());
        api
    }

    fn request(name: Option<&str>) -> LocalRequest {
        LocalRequest {
            resource: "pods".into(),
            namespace: Some("default".into()),
            name: name.map(str::to_owned),
            ..LocalRequest::default()
        }
    }

    #[tokio::test]
    async fn a_pod_shows_its_usage_in_nanocores_and_kibibytes() {
        let got = served().read(request(Some("web"))).await.unwrap();
        let want = json!({
            "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {
                "name": "web", "namespace": "default",
                "creationTimestamp": "2026-01-01T00:00:01Z", "labels": { "app": "web" },
            },
            "timestamp": "2026-01-01T00:00:01Z", "window": "1s",
            "containers": [
                { "name": "app", "usage": { "cpu": "12345n", "memory": "2048Ki" } },
            ],
        });
        assert_eq!(got, want);
    }

    #[tokio::test]
    async fn a_list_leaves_out_pods_without_samples() {
        let got = served().read(request(None)).await.unwrap();
        assert_eq!(got["items"].as_array().unwrap().len(), 1);
    }

    #[rstest]
    #[case("new", r#"podmetrics.metrics.k8s.io "default/new" not found"#)]
    #[case("gone", r#"pods.metrics.k8s.io "default/gone" not found"#)]
    #[tokio::test]
    async fn an_unmeasured_or_absent_pod_is_not_found(#[case] name: &str, #[case] text: &str) {
        let error = served().read(request(Some(name))).await.unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (404, text));
    }
}
