//! Another adapter as a source: whatever else serves these APIs in the cluster.

use super::source::{
    CustomAsk, CustomInfo, CustomSource, CustomValue, ExternalAsk, ExternalSource, ExternalValue,
    GroupResource, Objects, SourceError,
};
use crate::prometheus::{Place, escape, innermost};
use async_trait::async_trait;
use http::Request;
use http::header::ACCEPT;
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use kube::client::Body;
use parking_lot::RwLock;
use plimsoll_clock::Clock;
use plimsoll_quantity::Quantity;
use regex::Regex;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of an answer.
const MOST_BYTES: usize = 16 << 20;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Versions of `custom.metrics.k8s.io`, the preferred one first.
const VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];

/// A server of `custom.metrics.k8s.io` or `external.metrics.k8s.io`. Clones share everything.
#[derive(Debug, Clone)]
pub struct Adapter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    place: Place,
    clock: Clock,
    /// Which metrics it is asked for.
    metrics: Option<Regex>,
    listed: RwLock<Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    version: Option<&'static str>,
    custom: Vec<CustomInfo>,
    external: Vec<String>,
}

impl Adapter {
    /// An adapter of a name, asked for the metrics whose names match, or for all.
    pub fn new(name: &str, place: Place, metrics: Option<Regex>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            place,
            clock,
            metrics,
            listed: RwLock::default(),
        }))
    }

    /// Keeps what it offers to discovery current, for ever.
    pub async fn follow(self, interval: Duration) {
        loop {
            self.0.list().await;
            tokio::time::sleep(interval).await;
        }
    }
}

impl Inner {
    fn wants(&self, metric: &str) -> bool {
        let pattern = self.metrics.as_ref();
        !metric.is_empty() && pattern.is_none_or(|pattern| pattern.is_match(metric))
    }

    /// The names of resources of a version; `None` if it is not served or cannot be asked.
    async fn resources(&self, version: &str) -> Option<Vec<(String, bool)>> {
        let list = match self.get(&format!("/apis/{version}")).await {
            Ok(list) => list,
            Err(error) => {
                let (name, server) = (&self.name, version);
                tracing::debug!(adapter = name, server, %error, "not listed");
                return None;
            }
        };
        let resources = list.get("resources")?.as_array()?.iter();
        let named = resources.filter_map(|resource| {
            let name = resource.get("name")?.as_str()?.to_owned();
            let namespaced = resource.get("namespaced").and_then(Value::as_bool);
            Some((name, namespaced.unwrap_or_default()))
        });
        Some(named.collect())
    }

    async fn list(&self) {
        let mut listed = Listed::default();
        for version in VERSIONS {
            let group = format!("custom.metrics.k8s.io/{version}");
            let Some(resources) = self.resources(&group).await else {
                continue;
            };
            listed.version = Some(version);
            let custom = resources.into_iter().filter_map(|(name, namespaced)| {
                let (resource, metric) = name.split_once('/')?;
                Some(CustomInfo {
                    resource: GroupResource::parse(resource),
                    namespaced,
                    metric: metric.to_owned(),
                })
            });
            listed.custom = custom.filter(|info| self.wants(&info.metric)).collect();
            break;
        }
        let external = self.resources("external.metrics.k8s.io/v1beta1").await;
        let external = external.into_iter().flatten().map(|(name, _)| name);
        listed.external = external.filter(|name| self.wants(name)).collect();
        *self.listed.write() = listed;
    }

    async fn get(&self, path: &str) -> Result<Value, SourceError> {
        let broken = |why: String| SourceError::Unavailable(format!("{}: {why}", self.name));
        let request = Request::get(format!("{}{path}", self.place.prefix))
            .header(ACCEPT, "application/json")
            .body(Body::empty())
            .map_err(|error| broken(error.to_string()))?;
        let exchange = async {
            let response = self.place.client.send(request).await;
            let response = response.map_err(|error| broken(innermost(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MOST_BYTES).collect().await;
            let body = body.map_err(|error| broken(error.to_string()))?;
            Ok((head.status, body.to_bytes()))
        };
        let (code, body) = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(broken(format!("no answer within {TIMEOUT:?}"))))?;
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        if !code.is_success() {
            let said = parsed
                .as_ref()
                .and_then(|status| status.get("message")?.as_str());
            return Err(SourceError::Refused {
                code: code.as_u16(),
                message: said
                    .map_or_else(|| format!("{} answered {code}", self.name), str::to_owned),
            });
        }
        parsed.ok_or_else(|| broken("the answer is not JSON".to_owned()))
    }

    fn items(&self, list: &Value) -> Result<Vec<Value>, SourceError> {
        let items = list.get("items").and_then(Value::as_array).cloned();
        let broken = || SourceError::Unavailable(format!("{}: the answer is no list", self.name));
        items.ok_or_else(broken)
    }

    fn bad_item(&self) -> SourceError {
        SourceError::Unavailable(format!("{}: a value cannot be read", self.name))
    }

    /// Value, time and window of an item; a missing time is now.
    fn measured(&self, item: &Value) -> Option<(Quantity, Timestamp, Option<i64>)> {
        let value = match item.get("value")? {
            Value::String(text) => text.parse().ok()?,
            Value::Number(number) => number.to_string().parse().ok()?,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        let at = item.get("timestamp").and_then(Value::as_str);
        let at = at.and_then(|at| at.parse().ok());
        let window = item.get("windowSeconds").or_else(|| item.get("window"));
        let at = at.unwrap_or_else(|| self.clock.now());
        Some((value, at, window.and_then(Value::as_i64)))
    }

    fn custom_value(&self, item: &Value) -> Option<CustomValue> {
        let object = item.get("describedObject")?;
        let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let (value, timestamp, window_seconds) = self.measured(item)?;
        Some(CustomValue {
            kind: text("kind").to_owned(),
            api_version: text("apiVersion").to_owned(),
            namespace: Some(text("namespace").to_owned()).filter(|n| !n.is_empty()),
            name: text("name").to_owned(),
            timestamp,
            window_seconds,
            value,
        })
    }

    fn external_value(&self, item: &Value) -> Option<ExternalValue> {
        let (value, timestamp, window_seconds) = self.measured(item)?;
        let labels = item.get("metricLabels").and_then(Value::as_object);
        let labels = labels.map(|map| {
            let texts = map
                .iter()
                .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
            texts.collect()
        });
        Some(ExternalValue {
            labels,
            timestamp,
            window_seconds,
            value,
        })
    }
}

/// The path of a question for a custom metric, below the version.
fn custom_path(ask: &CustomAsk) -> String {
    let mut path = String::new();
    let mut push = |part: &str| {
        path.push('/');
        escape(part, &mut path);
    };
    let is_namespace = ask.resource == GroupResource::new("", "namespaces");
    match (&ask.namespace, &ask.objects) {
        (None, Objects::Named(name)) if is_namespace => {
            ["namespaces", name, "metrics"]
                .into_iter()
                .for_each(&mut push);
        }
        (namespace, objects) => {
            if let Some(namespace) = namespace {
                ["namespaces", namespace].into_iter().for_each(&mut push);
            }
            push(&ask.resource.to_string());
            match objects {
                Objects::Named(name) => push(name),
                Objects::Selected(_) => path.push_str("/*"),
            }
        }
    }
    path.push('/');
    escape(&ask.metric, &mut path);
    let mut separator = '?';
    let mut query = |key: &str, selector: String| {
        if !selector.is_empty() {
            path.push(separator);
            path.push_str(key);
            path.push('=');
            escape(&selector, &mut path);
            separator = '&';
        }
    };
    if let Objects::Selected(selector) = &ask.objects {
        query("labelSelector", selector.to_string());
    }
    query("metricLabelSelector", ask.selector.to_string());
    path
}

#[async_trait]
impl CustomSource for Adapter {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn list(&self) -> Vec<CustomInfo> {
        self.0.listed.read().custom.clone()
    }

    fn may_have(&self, metric: &str) -> bool {
        self.0.wants(metric)
    }

    async fn read(&self, ask: &CustomAsk) -> Result<Vec<CustomValue>, SourceError> {
        let known = self.0.listed.read().version;
        let version = known.unwrap_or(VERSIONS[0]);
        let path = custom_path(ask);
        let mut list = self
            .0
            .get(&format!("/apis/custom.metrics.k8s.io/{version}{path}"))
            .await;
        if known.is_none() && list.as_ref().is_err_and(SourceError::is_unknown) {
            let version = VERSIONS[1];
            list = self
                .0
                .get(&format!("/apis/custom.metrics.k8s.io/{version}{path}"))
                .await;
        }
        let items = self.0.items(&list?)?;
        let values = items.iter().map(|item| self.0.custom_value(item));
        let values: Option<Vec<CustomValue>> = values.collect();
        values.ok_or_else(|| self.0.bad_item())
    }
}

#[async_trait]
impl ExternalSource for Adapter {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn list(&self) -> Vec<String> {
        self.0.listed.read().external.clone()
    }

    fn may_have(&self, metric: &str) -> bool {
        self.0.wants(metric)
    }

    async fn read(&self, ask: &ExternalAsk) -> Result<Vec<ExternalValue>, SourceError> {
        let mut path = String::from("/apis/external.metrics.k8s.io/v1beta1/namespaces/");
        escape(&ask.namespace, &mut path);
        path.push('/');
        escape(&ask.metric, &mut path);
        let selector = ask.selector.to_string();
        if !selector.is_empty() {
            path.push_str("?labelSelector=");
            escape(&selector, &mut path);
        }
        let items = self.0.items(&self.0.get(&path).await?)?;
        let values = items.iter().map(|item| self.0.external_value(item));
        let values: Option<Vec<ExternalValue>> = values.collect();
        values.ok_or_else(|| self.0.bad_item())
    }
}

#[cfg(test)]
mod tests {
    use super::{CustomAsk, GroupResource, Objects, custom_path};
    use plimsoll_api::selector::LabelSelector;
    use rstest::rstest;

    #[rstest]
    #[case(
        "pods",
        Some("a"),
        Some("p"),
        "/namespaces/a/pods/p/m?metricLabelSelector=x%3D1"
    )]
    #[case(
        "deployments.apps",
        Some("a"),
        None,
        "/namespaces/a/deployments.apps/*/m?labelSelector=app%3Dweb&metricLabelSelector=x%3D1"
    )]
    #[case("nodes", None, Some("n"), "/nodes/n/m?metricLabelSelector=x%3D1")]
    #[case(
        "namespaces",
        None,
        Some("a"),
        "/namespaces/a/metrics/m?metricLabelSelector=x%3D1"
    )]
    fn a_question_becomes_a_path(
        #[case] resource: &str,
        #[case] namespace: Option<&str>,
        #[case] name: Option<&str>,
        #[case] want: &str,
    ) {
        let selected = Objects::Selected(LabelSelector::parse("app=web").unwrap());
        let ask = CustomAsk {
            resource: GroupResource::parse(resource),
            namespace: namespace.map(str::to_owned),
            objects: name.map_or(selected, |name| Objects::Named(name.to_owned())),
            metric: "m".to_owned(),
            selector: LabelSelector::parse("x=1").unwrap(),
        };
        assert_eq!(custom_path(&ask), want);
    }
}
