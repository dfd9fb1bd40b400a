//! What the APIs answer, as the engine reads it: scales, pods and the three metrics APIs.
//!
//! Pure: the same functions read a live cluster's answers, recorded ones, and files.

use crate::pods::{PodView, Selector};
use crate::runtime::Cached;
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::horizontal::{Sample, Scale, Selection, milli};
use serde_json::Value;

/// The window of a custom metric that names none.
const DEFAULT_WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// Why an answer gives no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The list is empty. The API's name is `resource`, `custom` or `external`.
    #[error("no metrics returned from {0} metrics API")]
    Empty(&'static str),
    /// One value was asked for.
    #[error("the custom metrics API server returned {0} results when we asked for exactly one")]
    NotOne(usize),
    /// A field that must be there is not, or is of the wrong type.
    #[error("{0} is missing or has the wrong type")]
    Field(&'static str),
    /// A quantity that is none.
    #[error("{0} is no quantity")]
    Quantity(Value),
    /// A point in time or a duration that is none.
    #[error("{0:?} is no {1}")]
    Time(String, &'static str),
    /// A pod that does not have a pod's shape.
    #[error("not a pod: {0}")]
    Pod(String),
}

/// A value and when it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// Thousandths, rounded up.
    pub milli: i64,
    /// End of the measurement.
    pub timestamp: Timestamp,
}

/// The scale in an `autoscaling/v1` Scale.
pub fn scale(raw: &Value) -> Scale {
    let number = |pointer| {
        let number = raw.pointer(pointer).and_then(Value::as_i64);
        number
            .and_then(|number| i32::try_from(number).ok())
            .unwrap_or_default()
    };
    let text = raw.pointer("/status/selector").and_then(Value::as_str);
    Scale {
        spec_replicas: number("/spec/replicas"),
        status_replicas: number("/status/replicas"),
        selector: selection(text.unwrap_or_default()),
    }
}

/// The selector in its text form; empty counts as missing.
pub fn selection(text: &str) -> Selection {
    if text.is_empty() {
        return Selection::Missing;
    }
    match Selector::parse(text) {
        Ok(_) => Selection::Valid(text.into()),
        Err(error) => Selection::Invalid(error.to_string()),
    }
}

/// A pod as every controller sees it.
///
/// # Errors
/// [`WireError::Pod`] with what is wrong.
pub fn pod(raw: &Value) -> Result<PodView, WireError> {
    let wire = serde_json::from_value(raw.clone());
    let wire = wire.map_err(|error| WireError::Pod(error.to_string()))?;
    Ok(PodView::from_wire(wire))
}

/// The usage of `resource` in a `PodMetricsList` of `metrics.k8s.io`, by pod.
///
/// A pod whose containers do not all report the resource has no sample, nor has one without the
/// named container. Each container's usage is rounded up before summing. An undated sample counts
/// as of `undated`.
///
/// # Errors
/// [`WireError::Empty`], or what cannot be read: then nothing of the answer is used.
pub fn pod_metrics(
    list: &Value,
    (resource, container): (&str, Option<&str>),
    undated: Timestamp,
) -> Result<Vec<Sample>, WireError> {
    let items = items(list, "resource")?;
    let mut samples = Vec::with_capacity(items.len());
    for item in items {
        samples.extend(pod_sample(item, (resource, container), undated)?);
    }
    Ok(samples)
}

/// One `PodMetrics`; `None` if it says nothing of the resource.
///
/// # Errors
/// What cannot be read.
pub fn pod_sample(
    item: &Value,
    (resource, container): (&str, Option<&str>),
    undated: Timestamp,
) -> Result<Option<Sample>, WireError> {
    let name = text(item, "/metadata/name").ok_or(WireError::Field("metadata.name"))?;
    let containers = item.get("containers").and_then(Value::as_array);
    let wanted = containers.into_iter().flatten().filter(|found| {
        container.is_none_or(|wanted| found.get("name").and_then(Value::as_str) == Some(wanted))
    });
    let mut value = None;
    for container in wanted {
        let usage = container.get("usage").and_then(|usage| usage.get(resource));
        let Some(usage) = usage.filter(|usage| !usage.is_null()) else {
            return Ok(None);
        };
        let sum: i64 = value.unwrap_or_default();
        value = Some(sum.saturating_add(quantity(usage)?));
    }
    let Some(value) = value else { return Ok(None) };
    let window = match text(item, "/window") {
        None => SignedDuration::ZERO,
        Some(text) => text
            .parse()
            .map_err(|_| WireError::Time(text.to_owned(), "duration"))?,
    };
    Ok(Some(Sample {
        pod: name.into(),
        value,
        timestamp: timestamp(item, undated)?,
        window,
    }))
}

/// The values in a `MetricValueList` of `custom.metrics.k8s.io`, by the name of what they describe.
///
/// # Errors
/// [`WireError::Empty`], or what cannot be read: then nothing of the answer is used.
pub fn metric_values(list: &Value, undated: Timestamp) -> Result<Vec<Sample>, WireError> {
    let read = |item: &Value| {
        let name = text(item, "/describedObject/name");
        let name = name.ok_or(WireError::Field("describedObject.name"))?;
        let seconds = item.get("windowSeconds").and_then(Value::as_i64);
        let Dated { milli, timestamp } = dated(item, undated)?;
        Ok(Sample {
            pod: name.into(),
            value: milli,
            timestamp,
            window: seconds.map_or(DEFAULT_WINDOW, SignedDuration::from_secs),
        })
    };
    items(list, "custom")?.iter().map(read).collect()
}

/// The one value in a `MetricValueList` about one object.
///
/// # Errors
/// [`WireError::NotOne`], or what cannot be read.
pub fn metric_value(list: &Value, undated: Timestamp) -> Result<Dated, WireError> {
    let found = list.get("items").and_then(Value::as_array);
    match found.map(Vec::as_slice) {
        Some([one]) => dated(one, undated),
        Some(many) => Err(WireError::NotOne(many.len())),
        None => Err(WireError::NotOne(0)),
    }
}

/// The series in an `ExternalMetricValueList` of `external.metrics.k8s.io`.
///
/// # Errors
/// [`WireError::Empty`], or what cannot be read: then nothing of the answer is used.
pub fn external_values(list: &Value, undated: Timestamp) -> Result<Vec<Dated>, WireError> {
    let items = items(list, "external")?;
    items.iter().map(|item| dated(item, undated)).collect()
}

fn items<'a>(list: &'a Value, api: &'static str) -> Result<&'a [Value], WireError> {
    match list.get("items") {
        Some(Value::Array(items)) if !items.is_empty() => Ok(items),
        None | Some(Value::Null | Value::Array(_)) => Err(WireError::Empty(api)),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            Err(WireError::Field("items"))
        }
    }
}

fn dated(item: &Value, undated: Timestamp) -> Result<Dated, WireError> {
    Ok(Dated {
        milli: quantity(item.get("value").ok_or(WireError::Field("value"))?)?,
        timestamp: timestamp(item, undated)?,
    })
}

fn quantity(raw: &Value) -> Result<i64, WireError> {
    milli::read(raw).ok_or_else(|| WireError::Quantity(raw.clone()))
}

fn timestamp(item: &Value, undated: Timestamp) -> Result<Timestamp, WireError> {
    match item.get("timestamp") {
        None | Some(Value::Null) => Ok(undated),
        Some(raw) => {
            let text = raw.as_str().unwrap_or_default();
            let bad = |_| WireError::Time(raw.to_string(), "point in time");
            text.parse().map_err(bad)
        }
    }
}

fn text<'a>(item: &'a Value, pointer: &str) -> Option<&'a str> {
    let text = item.pointer(pointer).and_then(Value::as_str);
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{WireError, external_values, metric_value, metric_values, pod_metrics, scale};
    use jiff::{SignedDuration, Timestamp};
    use plimsoll_engine::horizontal::Selection;
    use rstest::rstest;
    use serde_json::{Value, json};

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    fn usages(usages: &[Value]) -> Value {
        let containers: Vec<Value> = usages
            .iter()
            .zip(["app", "proxy"])
            .map(|(usage, name)| json!({ "name": name, "usage": usage }))
            .collect();
        json!({ "items": [{
            "metadata": { "name": "web" }, "timestamp": "2026-01-01T00:00:00Z", "window": "1m0.5s",
            "containers": containers,
        }] })
    }

    #[rstest]
    #[case::each_container_is_rounded_up(&[json!({"cpu": "1n"}), json!({"cpu": "550000001n"})], None, Some(552))]
    #[case::one_container(&[json!({"cpu": "1"}), json!({"cpu": "20m"})], Some("proxy"), Some(20))]
    #[case::a_number(&[json!({"cpu": 2})], None, Some(2000))]
    #[case::no_containers(&[], None, None)]
    #[case::one_lacks_the_resource(&[json!({"cpu": "1"}), json!({"memory": "1"})], None, None)]
    #[case::no_such_container(&[json!({"cpu": "1"})], Some("proxy"), None)]
    fn a_pods_usage_sums_its_containers(
        #[case] containers: &[Value],
        #[case] container: Option<&str>,
        #[case] want: Option<i64>,
    ) {
        let got = pod_metrics(&usages(containers), ("cpu", container), T0).unwrap();
        assert_eq!(got.first().map(|sample| sample.value), want);
        if let Some(sample) = got.first() {
            assert_eq!(sample.window, SignedDuration::from_millis(60_500));
        }
    }

    #[rstest]
    #[case::nothing(json!({"items": []}), WireError::Empty("resource"))]
    #[case::no_list(json!({}), WireError::Empty("resource"))]
    #[case::garbage(json!({"items": "x"}), WireError::Field("items"))]
    #[case::nan(usages(&[json!({"cpu": "NaN"})]), WireError::Quantity(json!("NaN")))]
    fn what_cannot_be_read_is_refused_whole(#[case] list: Value, #[case] want: WireError) {
        assert_eq!(pod_metrics(&list, ("cpu", None), T0), Err(want));
    }

    #[test]
    fn custom_values_default_their_window_and_time() {
        let list = json!({ "items": [
            { "describedObject": { "name": "a" }, "value": "1500m", "windowSeconds": 30 },
            { "describedObject": { "name": "b" }, "value": "-2", "timestamp": "2026-01-01T00:00:00Z" },
        ] });
        let got = metric_values(&list, T0).unwrap();
        let shown: Vec<_> = got
            .iter()
            .map(|s| (&*s.pod, s.value, s.window.as_secs()))
            .collect();
        assert_eq!(shown, [("a", 1500, 30), ("b", -2000, 60)]);
        assert_eq!(got[0].timestamp, T0);
        assert_eq!(metric_value(&list, T0), Err(WireError::NotOne(2)));
    }

    #[test]
    fn external_values_are_series() {
        let list = json!({ "items": [{ "value": "20" }, { "value": "15" }] });
        let got = external_values(&list, T0).unwrap();
        assert_eq!(got.iter().map(|dated| dated.milli).sum::<i64>(), 35_000);
    }

    #[rstest]
    #[case("", Selection::Missing)]
    #[case("app=web,tier in (a,b)", Selection::Valid("app=web,tier in (a,b)".into()))]
    fn a_scale_names_its_selector(#[case] text: &str, #[case] want: Selection) {
        let raw =
            json!({ "spec": { "replicas": 3 }, "status": { "replicas": 2, "selector": text } });
        let got = scale(&raw);
        assert_eq!(
            (got.spec_replicas, got.status_replicas, got.selector),
            (3, 2, want)
        );
    }
}
