//! Answers of the two APIs in upstream's shapes.

use super::source::{CustomAsk, CustomValue, ExternalAsk, ExternalValue};
use jiff::Timestamp;
use plimsoll_api::selector::{LabelSelector, Operator};
use serde_json::{Map, Value, json};

/// A version of `custom.metrics.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The metric's name stands alone, the window is called `window`.
    V1Beta1,
    /// The metric is an object, the window is called `windowSeconds`.
    V1Beta2,
}

impl Dialect {
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::V1Beta1 => "v1beta1",
            Self::V1Beta2 => "v1beta2",
        }
    }
}

/// A `MetricValueList`.
pub(super) fn custom(dialect: Dialect, ask: &CustomAsk, values: &[CustomValue]) -> Value {
    let selector = selector_object(&ask.selector);
    let items: Vec<Value> = values
        .iter()
        .map(|value| custom_item(dialect, &ask.metric, &selector, value))
        .collect();
    json!({
        "kind": "MetricValueList",
        "apiVersion": format!("custom.metrics.k8s.io/{}", dialect.version()),
        "metadata": {}, "items": items,
    })
}

fn custom_item(dialect: Dialect, metric: &str, selector: &Value, value: &CustomValue) -> Value {
    let mut item = Map::new();
    let mut described = Map::new();
    described.insert("kind".into(), json!(value.kind));
    if let Some(namespace) = &value.namespace {
        described.insert("namespace".into(), json!(namespace));
    }
    described.insert("name".into(), json!(value.name));
    described.insert("apiVersion".into(), json!(value.api_version));
    item.insert("describedObject".into(), described.into());
    match dialect {
        Dialect::V1Beta1 => item.insert("metricName".into(), json!(metric)),
        Dialect::V1Beta2 => {
            let metric = json!({"name": metric, "selector": selector});
            item.insert("metric".into(), metric)
        }
    };
    item.insert("timestamp".into(), seconds(value.timestamp).into());
    if let Some(window) = value.window_seconds {
        let key = match dialect {
            Dialect::V1Beta1 => "window",
            Dialect::V1Beta2 => "windowSeconds",
        };
        item.insert(key.into(), window.into());
    }
    item.insert("value".into(), value.value.to_string().into());
    if dialect == Dialect::V1Beta1 {
        item.insert("selector".into(), selector.clone());
    }
    item.into()
}

/// An `ExternalMetricValueList`.
pub(super) fn external(ask: &ExternalAsk, values: &[ExternalValue]) -> Value {
    let items: Vec<Value> = values
        .iter()
        .map(|value| {
            let mut item = Map::new();
            item.insert("metricName".into(), json!(ask.metric));
            item.insert("metricLabels".into(), json!(value.labels));
            item.insert("timestamp".into(), seconds(value.timestamp).into());
            if let Some(window) = value.window_seconds {
                item.insert("window".into(), window.into());
            }
            item.insert("value".into(), value.value.to_string().into());
            item.into()
        })
        .collect();
    json!({
        "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1",
        "metadata": {}, "items": items,
    })
}

/// A selector as an object (`matchLabels`, `matchExpressions`); null if it selects everything.
fn selector_object(selector: &LabelSelector) -> Value {
    if selector.is_empty() {
        return Value::Null;
    }
    let mut labels = Map::new();
    let mut expressions = Vec::new();
    for requirement in selector {
        let operator = match requirement.operator {
            Operator::Equals => {
                let value = requirement.values.first().cloned().unwrap_or_default();
                labels.insert(requirement.key.clone(), value.into());
                continue;
            }
            Operator::In => "In",
            Operator::NotEquals | Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            Operator::GreaterThan => "Gt",
            Operator::LessThan => "Lt",
        };
        let mut expression = json!({"key": requirement.key, "operator": operator});
        if let Some(map) = expression.as_object_mut()
            && !requirement.values.is_empty()
        {
            map.insert("values".into(), json!(requirement.values));
        }
        expressions.push(expression);
    }
    let mut object = Map::new();
    if !labels.is_empty() {
        object.insert("matchLabels".into(), labels.into());
    }
    if !expressions.is_empty() {
        object.insert("matchExpressions".into(), expressions.into());
    }
    object.into()
}

/// Whole seconds, as API times print.
fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::{Dialect, custom, external};
    use crate::custom::{
        CustomAsk, CustomValue, ExternalAsk, ExternalValue, GroupResource, Objects,
    };
    use plimsoll_api::selector::LabelSelector;
    use plimsoll_quantity::Quantity;
    use serde_json::json;

    fn ask(selector: &str) -> CustomAsk {
        CustomAsk {
            resource: GroupResource::new("", "pods"),
            namespace: Some("default".into()),
            objects: Objects::Named("web".into()),
            metric: "http_requests".into(),
            selector: LabelSelector::parse(selector).unwrap(),
        }
    }

    fn value(window_seconds: Option<i64>) -> CustomValue {
        CustomValue {
            kind: "Pod".into(),
            api_version: "/v1".into(),
            namespace: Some("default".into()),
            name: "web".into(),
            timestamp: "2026-01-01T00:00:01.5Z".parse().unwrap(),
            window_seconds,
            value: Quantity::from_milli(533),
        }
    }

    #[test]
    fn v1beta1_names_the_metric_and_puts_the_selector_last() {
        let got = custom(Dialect::V1Beta1, &ask(""), &[value(None)]);
        let want = r#"{"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta1","metadata":{},"items":[{"describedObject":{"kind":"Pod","namespace":"default","name":"web","apiVersion":"/v1"},"metricName":"http_requests","timestamp":"2026-01-01T00:00:01Z","value":"533m","selector":null}]}"#;
        assert_eq!(got.to_string(), want);
    }

    #[test]
    fn v1beta2_holds_the_metric_as_an_object() {
        let got = custom(
            Dialect::V1Beta2,
            &ask("verb=GET,a in (x,y)"),
            &[value(Some(60))],
        );
        let want = json!({
            "name": "http_requests",
            "selector": {
                "matchLabels": {"verb": "GET"},
                "matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}],
            },
        });
        assert_eq!(got["items"][0]["metric"], want);
        assert_eq!(got["items"][0]["windowSeconds"], 60);
    }

    #[test]
    fn external_series_print_their_labels() {
        let ask = ExternalAsk {
            namespace: "default".into(),
            metric: "queue".into(),
            selector: LabelSelector::default(),
        };
        let series = |labels| ExternalValue {
            labels,
            timestamp: "2026-01-01T00:00:01Z".parse().unwrap(),
            window_seconds: None,
            value: Quantity::from_value(7),
        };
        let got = external(&ask, &[series(Some([].into())), series(None)]);
        let want = json!([
            {"metricName": "queue", "metricLabels": {}, "timestamp": "2026-01-01T00:00:01Z", "value": "7"},
            {"metricName": "queue", "metricLabels": null, "timestamp": "2026-01-01T00:00:01Z", "value": "7"},
        ]);
        assert_eq!(got["items"], want);
    }
}
