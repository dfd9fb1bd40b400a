//! Nodes that others will be like, as they are remembered, and what providers say of new ones.

use crate::pods::NodeView;
use crate::runtime::Cached;
use plimsoll_api::nodegroup::ProviderTemplate;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Where an example keeps what the provider said when it was there.
pub(in crate::nodes) const BESIDE: &str = "provider";

pub(super) fn view(node: &Value) -> Option<NodeView> {
    let wire = serde_json::from_value(node.clone()).ok()?;
    Some(NodeView::from_wire(wire))
}

/// What matters of what a provider says of new nodes, shortened. Their names are other ones each
/// time.
pub(super) fn gist(said: &ProviderTemplate) -> String {
    let part = |path: &str| said.node.pointer(path).cloned().unwrap_or_default();
    let mut labels = part("/metadata/labels");
    if let Some(labels) = labels.as_object_mut() {
        labels.remove("kubernetes.io/hostname");
    }
    let (taints, status) = (part("/spec/taints"), part("/status/capacity"));
    let mut hasher = DefaultHasher::new();
    json!([labels, taints, status, part("/status/allocatable")])
        .to_string()
        .hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What is remembered of a node that others will be like.
pub(super) fn example(node: &NodeView, price: Option<f64>) -> Value {
    let pairs = |pairs: &[(Arc<str>, Box<str>)]| -> Value {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.to_string(), Value::from(&**value)))
            .collect()
    };
    let labels = node.meta.labels.iter();
    let labels: Value = labels
        .map(|(key, value)| (key.to_string(), Value::from(&**value)))
        .collect();
    json!({
        "metadata": {"labels": labels},
        "spec": {"taints": *node.taints},
        "status": {
            "capacity": pairs(&node.capacity), "allocatable": pairs(&node.allocatable),
        },
        "price": price,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(cpu: &str, name: &str) -> ProviderTemplate {
        ProviderTemplate {
            node: json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "a": "b"}},
                "status": {"capacity": {"cpu": cpu}},
            }),
            price_per_hour: None,
        }
    }

    #[test]
    fn nodes_that_differ_by_name_only_are_the_same() {
        assert_eq!(gist(&said("1", "x")), gist(&said("1", "y")));
        assert_ne!(gist(&said("1", "x")), gist(&said("2", "x")));
    }
}
