//! Facts of nodes.

use super::amount;
use super::wire::effect;
use crate::pods::NodeView;
use plimsoll_engine::placement::{NodeFacts, Resources, Taint};
use std::collections::BTreeMap;

/// How many pods a node runs that does not say.
const DEFAULT_MAX_PODS: usize = 110;

/// What placement needs of a node.
pub fn of_node(node: &NodeView, volume_limits: BTreeMap<String, usize>) -> NodeFacts {
    let mut allocatable = Resources::default();
    for (name, quantity) in &node.allocatable {
        amount(&mut allocatable, name, quantity);
    }
    let labels = node.meta.labels.iter();
    let taints = node.taints.iter().filter_map(|taint| {
        Some(Taint {
            key: taint.key.clone(),
            value: taint.value.clone().unwrap_or_default(),
            effect: effect(&taint.effect)?,
        })
    });
    let images = node.images.iter();
    let images =
        images.flat_map(|(names, bytes)| names.iter().map(|name| (name.to_string(), *bytes)));
    let pods = node.allocatable("pods").and_then(|pods| pods.parse().ok());
    NodeFacts {
        name: node.meta.name().to_owned(),
        labels: labels
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        taints: taints.collect(),
        unschedulable: node.unschedulable,
        max_pods: pods.unwrap_or(DEFAULT_MAX_PODS),
        allocatable,
        images: images.collect(),
        volume_limits,
        pools: Vec::new(),
    }
}
