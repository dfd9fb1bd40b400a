//! Values of the custom and external metrics APIs.
//!
//! ```text
//! metric ──► path ──► answer of at most a sync period ago ──► reading
//!                        (or one request, shared by all who ask the same)
//! ```
//!
//! Departs: upstream asks anew in every pass of every autoscaler, one metric after another.

use super::ask::{Shared, encoded, shared, text_of};
use super::mapping::{Mapper, MappingError, group_version, versions};
use super::wire::{self, Dated};
use crate::pods::{Requirement, Selector};
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Client;
use parking_lot::Mutex;
use plimsoll_engine::horizontal::observed::oldest;
use plimsoll_engine::horizontal::spec::{Metric, MetricId, TargetRef};
use plimsoll_engine::horizontal::{Reading, Sample};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";
/// Versions of the custom metrics API that are understood.
const KNOWN: [&str; 2] = ["v1beta2", "v1beta1"];
/// Pages of a list that are read at most.
const PAGES: usize = 100;
/// The window of a value that names none.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// Answers kept before the first look for old ones.
const FEW: usize = 64;

type Answer = Result<Arc<Value>, Arc<str>>;
type Version = Shared<Result<String, Arc<str>>>;

/// Who asks, about what, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) namespace: &'a str,
    /// The scale's selector in text form.
    pub(super) selector: &'a str,
    pub(super) now: Timestamp,
    /// From which age an answer is asked for anew.
    pub(super) max_age: Duration,
    /// From which age a value does not count.
    pub(super) staleness: Option<SignedDuration>,
}

/// A reading, and when it was asked for.
pub(super) type Asked = (Result<Reading, String>, Instant);

/// The two APIs.
pub(super) struct Outside {
    client: Client,
    period: Duration,
    timeout: Duration,
    mapper: Arc<Mapper>,
    version: Mutex<Option<(Instant, Version)>>,
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    by_path: BTreeMap<String, (Instant, Shared<Answer>)>,
    sweep_at: usize,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside")
    }
}

impl Outside {
    /// Answers are used for `period`; a request may take `timeout`.
    pub(super) fn new(
        client: Client,
        mapper: Arc<Mapper>,
        period: Duration,
        timeout: Duration,
    ) -> Self {
        Self {
            client,
            period,
            timeout,
            mapper,
            version: Mutex::default(),
            answers: Mutex::default(),
        }
    }

    /// Reads a metric of the Pods, Object or External kind.
    pub(super) async fn read(&self, metric: &Metric, asker: Asker<'_>) -> Asked {
        let api = if matches!(metric, Metric::External { .. }) {
            "external"
        } else {
            "custom"
        };
        let path = match self.path(metric, asker).await {
            Ok(path) => path,
            Err(Unasked::Selector(why)) => return (Err(why), Instant::now()),
            Err(Unasked::Api(why)) => {
                let text = format!("unable to fetch metrics from {api} metrics API: {why}");
                return (Err(text), Instant::now());
            }
        };
        let (since, answer) = self.ask(path, asker.max_age);
        let reading = match answer.await {
            Ok(list) => understood(metric, &list, asker),
            Err(why) => Err(format!(
                "unable to fetch metrics from {api} metrics API: {why}"
            )),
        };
        (reading, since)
    }

    async fn path(&self, metric: &Metric, asker: Asker<'_>) -> Result<String, Unasked> {
        let namespace = asker.namespace;
        let (resource, id, selector) = match metric {
            Metric::Pods { metric, .. } => ("pods/*".to_owned(), metric, asker.selector),
            Metric::Object {
                described, metric, ..
            } => (self.object(described).await?, metric, ""),
            Metric::External { metric, .. } => {
                let name = encoded(&metric.name);
                let selector = encoded(&selector_text(metric)?);
                return Ok(format!(
                    "/apis/{EXTERNAL}/v1beta1/namespaces/{namespace}/{name}?labelSelector={selector}"
                ));
            }
            Metric::Resource { .. } | Metric::Unknown { .. } => {
                return Err(Unasked::Api("no such metric there".into()));
            }
        };
        let metric_selector = encoded(&selector_text(id)?);
        let version = self.version().await.map_err(Unasked::Api)?;
        let (name, selector) = (encoded(&id.name), encoded(selector));
        let selector = if matches!(metric, Metric::Pods { .. }) {
            format!("labelSelector={selector}&")
        } else {
            String::new()
        };
        Ok(format!(
            "/apis/{CUSTOM}/{version}/namespaces/{namespace}/{resource}/{name}\
             ?{selector}metricLabelSelector={metric_selector}"
        ))
    }

    /// The path of the object that a metric describes. A namespace is its own, with a path of its own.
    async fn object(&self, described: &TargetRef) -> Result<String, Unasked> {
        let (group, _) = group_version(&described.api_version).unwrap_or_default();
        let kind = described.kind.as_str();
        if group.is_empty() && kind == "Namespace" {
            return Ok("metrics".to_owned());
        }
        let mapping = self.mapper.find(group, kind).await.map_err(|error| {
            let of = match group {
                "" => kind.to_owned(),
                group => format!("{kind}.{group}"),
            };
            let why = match error {
                MappingError::Discovery(why) => why.to_string(),
                none @ MappingError::NoMatch { .. } => none.to_string(),
            };
            Unasked::Api(format!("unable to map kind {of} to resource: {why}").into())
        })?;
        let (resource, name) = (mapping.group_resource(), encoded(&described.name));
        Ok(format!("{resource}/{name}"))
    }

    /// The version of the custom metrics API that the server prefers of those understood.
    async fn version(&self) -> Result<String, Arc<str>> {
        let version = {
            let mut known = self.version.lock();
            let young = known
                .as_ref()
                .filter(|(asked, _)| asked.elapsed() < self.period);
            if let Some((_, version)) = young {
                version.clone()
            } else {
                let asked = preferred(self.client.clone(), self.timeout);
                let version = shared(asked.boxed());
                *known = Some((Instant::now(), version.clone()));
                version
            }
        };
        version.await
    }

    /// The answer to a question of less than `max_age` ago, or a new one.
    fn ask(&self, path: String, max_age: Duration) -> (Instant, Shared<Answer>) {
        let mut answers = self.answers.lock();
        let known = answers.by_path.get(&path);
        if let Some((asked, answer)) = known.filter(|(asked, _)| asked.elapsed() < max_age) {
            return (*asked, answer.clone());
        }
        if answers.by_path.len() >= answers.sweep_at {
            let period = self.period;
            answers
                .by_path
                .retain(|_, (asked, _)| asked.elapsed() < period);
            answers.sweep_at = answers.by_path.len().saturating_mul(2).max(FEW);
        }
        let answer = shared(fetch(self.client.clone(), path.clone(), self.timeout).boxed());
        let entry = (Instant::now(), answer);
        answers.by_path.insert(path, entry.clone());
        entry
    }
}

/// Why a question was not asked.
enum Unasked {
    /// The metric's own selector is nonsense.
    Selector(String),
    /// The API is not there or does not say where to ask.
    Api(Arc<str>),
}

async fn preferred(client: Client, timeout: Duration) -> Result<String, Arc<str>> {
    let asked = tokio::time::timeout(timeout, versions(&client, CUSTOM));
    let served = asked.await.map_err(|_| late(timeout))?;
    let served = served.map_err(|error| Arc::<str>::from(text_of(&error)))?;
    if served.is_empty() {
        return Err(format!("no custom metrics API ({CUSTOM}) registered").into());
    }
    let known = served
        .iter()
        .find(|version| KNOWN.contains(&version.as_str()));
    known
        .cloned()
        .ok_or_else(|| "no known available metric versions found".into())
}

fn late(timeout: Duration) -> Arc<str> {
    format!("no answer within {} s", timeout.as_secs()).into()
}

async fn fetch(client: Client, path: String, timeout: Duration) -> Answer {
    let asked = tokio::time::timeout(timeout, pages(&client, &path));
    asked.await.unwrap_or_else(|_| Err(late(timeout)))
}

/// A whole list, page by page: half of one would be a wrong sum.
async fn pages(client: &Client, path: &str) -> Answer {
    let mut list = page(client, path).await?;
    for _ in 0..PAGES {
        let token = list.pointer("/metadata/continue").and_then(Value::as_str);
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Ok(Arc::new(list));
        };
        let mut next = page(client, &format!("{path}&continue={}", encoded(token))).await?;
        let items = |list: &mut Value| {
            let items = list.get_mut("items").and_then(Value::as_array_mut);
            items.map(std::mem::take).unwrap_or_default()
        };
        let mut all = items(&mut list);
        all.append(&mut items(&mut next));
        if let Some(map) = next.as_object_mut() {
            map.insert("items".into(), Value::Array(all));
        }
        list = next;
    }
    Err(format!("the list has more than {PAGES} pages").into())
}

async fn page(client: &Client, path: &str) -> Result<Value, Arc<str>> {
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| Arc::<str>::from(error.to_string()))?;
    let answer = client.request(request).await;
    answer.map_err(|error| text_of(&error).into())
}

/// A metric's selector in text form; empty without one.
fn selector_text(metric: &MetricId) -> Result<String, Unasked> {
    let Some(raw) = metric.selector.as_ref().filter(|raw| !raw.is_null()) else {
        return Ok(String::new());
    };
    let selector: LabelSelector = serde_json::from_value(raw.clone())
        .map_err(|error| Unasked::Selector(format!("the metric's selector: {error}")))?;
    let mut selector =
        Selector::try_from(&selector).map_err(|error| Unasked::Selector(error.to_string()))?;
    selector.requirements.sort_by(|a, b| key(a).cmp(key(b)));
    Ok(selector.to_string())
}

fn key(requirement: &Requirement) -> &str {
    match requirement {
        Requirement::In(key, _)
        | Requirement::NotIn(key, _)
        | Requirement::Exists(key)
        | Requirement::Absent(key) => key,
    }
}

/// Reads an answer.
///
/// Departs: upstream calculates with negative values, which ends at the minimum or, summed up, at
/// the maximum, and with values of any age.
fn understood(metric: &Metric, list: &Value, asker: Asker<'_>) -> Result<Reading, String> {
    let failed = |error: wire::WireError| error.to_string();
    let checked = |dated: Dated| check(&dated, asker).map(|()| dated.milli);
    match metric {
        Metric::Pods { .. } => {
            let samples = wire::metric_values(list, asker.now).map_err(failed)?;
            samples.iter().try_for_each(not_negative)?;
            Ok(Reading::PerPod(samples))
        }
        Metric::Object { .. } => {
            let value = wire::metric_value(list, asker.now).map_err(failed)?;
            Ok(Reading::Single(checked(value)?))
        }
        Metric::External { .. } => {
            let values = wire::external_values(list, asker.now).map_err(failed)?;
            let values: Result<_, _> = values.into_iter().map(checked).collect();
            Ok(Reading::Series(values?))
        }
        Metric::Resource { .. } | Metric::Unknown { .. } => Err("no such metric there".into()),
    }
}

fn not_negative(sample: &Sample) -> Result<(), String> {
    if sample.value < 0 {
        return Err(format!("the value of {} is negative", sample.pod));
    }
    Ok(())
}

fn check(dated: &Dated, asker: Asker<'_>) -> Result<(), String> {
    if dated.milli < 0 {
        return Err("the value is negative".into());
    }
    let age = asker.now.duration_since(dated.timestamp);
    match asker.staleness.map(|limit| oldest(limit, WINDOW)) {
        Some(limit) if age > limit => {
            let (age, limit) = (age.as_secs(), limit.as_secs());
            Err(format!("the value is {age} s old, which is over {limit} s"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Asker, selector_text, understood};
    use jiff::{SignedDuration, Timestamp};
    use plimsoll_engine::horizontal::Reading;
    use plimsoll_engine::horizontal::spec::{Metric, MetricId};
    use rstest::rstest;
    use serde_json::{Value, json};

    fn external() -> Metric {
        serde_json::from_value(json!({"type": "External", "external": {
            "metric": {"name": "queue"}, "target": {"type": "Value", "value": "10"},
        }}))
        .unwrap()
    }

    #[rstest]
    #[case::young(json!([{"value": "3", "timestamp": "1970-01-01T00:00:01Z"}]), Ok(vec![3000]))]
    #[case::undated(json!([{"value": "3"}, {"value": "4"}]), Ok(vec![3000, 4000]))]
    #[case::from_a_clock_ahead(json!([{"value": "3", "timestamp": "1970-01-01T01:00:00Z"}]), Ok(vec![3000]))]
    #[case::old(json!([{"value": "3", "timestamp": "1970-01-01T00:00:00Z"}]), Err("the value is 301 s old, which is over 300 s"))]
    #[case::negative(json!([{"value": "5"}, {"value": "-1"}]), Err("the value is negative"))]
    #[case::nan(json!([{"value": "NaN"}]), Err("\"NaN\" is no quantity"))]
    #[case::infinite(json!([{"value": "+Inf"}]), Err("\"+Inf\" is no quantity"))]
    #[case::nothing(json!([]), Err("no metrics returned from external metrics API"))]
    fn nonsense_is_no_reading(#[case] items: Value, #[case] want: Result<Vec<i64>, &str>) {
        let asker = Asker {
            namespace: "default",
            selector: "",
            max_age: std::time::Duration::ZERO,
            now: Timestamp::from_second(301).unwrap(),
            staleness: Some(SignedDuration::from_mins(5)),
        };
        let got = understood(&external(), &json!({ "items": items }), asker);
        assert_eq!(got, want.map(Reading::Series).map_err(str::to_owned));
    }

    #[rstest]
    #[case::none(Value::Null, Some(""))]
    #[case::sorted(json!({"matchLabels": {"b": "1"}, "matchExpressions": [
        {"key": "a", "operator": "In", "values": ["x", "y"]},
        {"key": "c", "operator": "DoesNotExist"}]}), Some("a in (x,y),b=1,!c"))]
    #[case::unknown_operator(json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}), None)]
    fn a_selector_has_a_text(#[case] selector: Value, #[case] want: Option<&str>) {
        let name = "queue".to_owned();
        let selector = Some(selector);
        let got = selector_text(&MetricId { name, selector });
        assert_eq!(got.ok().as_deref(), want);
    }
}
