//! What `metrics.k8s.io` answers, read item by item: one that is garbage costs only itself.

use jiff::{SignedDuration, Timestamp};
use plimsoll_api::usage::{ContainerUsage, NodeUsage, PodName, PodUsage};
use plimsoll_quantity::Quantity;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    #[serde(default)]
    pub(super) metadata: PageMeta,
    #[serde(borrow)]
    pub(super) items: Vec<&'a RawValue>,
}

/// Where the list goes on.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PageMeta {
    #[serde(default, rename = "continue")]
    pub(super) next: String,
}

#[derive(Debug, Deserialize)]
struct Item {
    metadata: Meta,
    timestamp: Option<Timestamp>,
    window: Option<String>,
    #[serde(default)]
    containers: Vec<Container>,
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    name: Arc<str>,
    #[serde(default)]
    namespace: Arc<str>,
}

#[derive(Debug, Deserialize)]
struct Container {
    name: Arc<str>,
    usage: Usage,
}

#[derive(Debug, Deserialize)]
struct Usage {
    cpu: Value,
    memory: Value,
}

impl Usage {
    /// Nanocores and bytes; `None` below zero.
    fn amounts(&self) -> Option<(u64, u64)> {
        let cpu = u64::try_from(quantity(&self.cpu)?.nano()).ok()?;
        let memory = u64::try_from(quantity(&self.memory)?.value()).ok()?;
        Some((cpu, memory))
    }
}

/// A quantity, as text or as a number.
fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Item {
    fn parse(raw: &RawValue) -> Option<Self> {
        let item: Self = serde_json::from_str(raw.get()).ok()?;
        (!item.metadata.name.is_empty()).then_some(item)
    }

    fn window_ms(&self) -> Option<u32> {
        let Some(text) = &self.window else {
            return Some(0);
        };
        let window: SignedDuration = text.parse().ok()?;
        u32::try_from(window.as_millis()).ok()
    }
}

/// A `PodMetrics`; `None` if it cannot be read, or if a container lacks a resource. One without a
/// time counts as of `now`.
pub(super) fn pod(raw: &RawValue, now: Timestamp) -> Option<(PodName, PodUsage)> {
    let item = Item::parse(raw)?;
    let window_ms = item.window_ms()?;
    let containers: Option<Box<[ContainerUsage]>> = item
        .containers
        .iter()
        .map(|container| {
            let (cpu_nano, memory_bytes) = container.usage.amounts()?;
            Some(ContainerUsage {
                name: Arc::clone(&container.name),
                cpu_nano,
                memory_bytes,
            })
        })
        .collect();
    let usage = PodUsage {
        timestamp: item.timestamp.unwrap_or(now),
        window_ms,
        containers: containers.filter(|all| !all.is_empty())?,
    };
    let name = (item.metadata.namespace, item.metadata.name);
    (!name.0.is_empty()).then_some((name, usage))
}

/// A `NodeMetrics`; as [`pod`].
pub(super) fn node(raw: &RawValue, now: Timestamp) -> Option<(Arc<str>, NodeUsage)> {
    let item = Item::parse(raw)?;
    let (cpu_nano, memory_bytes) = item.usage.as_ref()?.amounts()?;
    let usage = NodeUsage {
        timestamp: item.timestamp.unwrap_or(now),
        window_ms: item.window_ms()?,
        cpu_nano,
        memory_bytes,
    };
    Some((item.metadata.name, usage))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    fn read(item: &Value) -> Option<(u64, u64, u32)> {
        let raw = RawValue::from_string(item.to_string()).unwrap();
        let (_, usage) = pod(&raw, Timestamp::UNIX_EPOCH)?;
        let first = &usage.containers[0];
        Some((first.cpu_nano, first.memory_bytes, usage.window_ms))
    }

    fn item(cpu: &Value, memory: &Value, window: &Value) -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "n"},
            "timestamp": "2026-01-01T00:00:00Z", "window": window,
            "containers": [{"name": "c", "usage": {"cpu": cpu, "memory": memory}}],
        })
    }

    #[rstest]
    #[case::nanocores(json!("1500001n"), json!("2Ki"), json!("15.5s"), Some((1_500_001, 2048, 15_500)))]
    #[case::cores(json!("2"), json!("1Mi"), json!("1m0s"), Some((2_000_000_000, 1 << 20, 60_000)))]
    #[case::no_window(json!("0"), json!("0"), Value::Null, Some((0, 0, 0)))]
    #[case::negative(json!("-1"), json!("0"), json!("15s"), None)]
    #[case::not_a_number(json!("NaN"), json!("0"), json!("15s"), None)]
    #[case::missing(Value::Null, json!("0"), json!("15s"), None)]
    #[case::window_backwards(json!("1"), json!("1"), json!("-15s"), None)]
    #[case::window_of_words(json!("1"), json!("1"), json!("soon"), None)]
    fn an_item_is_read_exactly_or_not_at_all(
        #[case] cpu: Value,
        #[case] memory: Value,
        #[case] window: Value,
        #[case] want: Option<(u64, u64, u32)>,
    ) {
        assert_eq!(read(&item(&cpu, &memory, &window)), want);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(cpu in ".{0,20}", memory in ".{0,20}", window in ".{0,20}") {
            read(&item(&json!(cpu), &json!(memory), &json!(window)));
        }
    }
}
