//! Limits on the sum of nodes, of the whole cluster or of those with certain labels.

use super::group::NodeTemplate;
use super::plan::SkipReason;
use super::running::ClusterNode;
use crate::placement::{Resources, Snapshot};
use std::collections::BTreeMap;

/// Name of the quota that `--cores-total`, `--memory-total` and `--gpu-total` make.
pub const CLUSTER_WIDE: &str = "cluster-wide";
/// The resource that counts nodes.
const NODES: &str = "nodes";

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Name.
    pub id: String,
    /// Labels a node must have, each with one of these values; empty = every node.
    pub selector: BTreeMap<String, Vec<String>>,
    /// How much at most: `cpu` in millicores, `memory` in bytes, `nodes`, extended resources in
    /// units.
    pub limits: BTreeMap<String, i64>,
}

impl Quota {
    /// Whether nodes with these labels count.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let mut wanted = self.selector.iter();
        wanted.all(|(key, values)| labels.get(key).is_some_and(|value| values.contains(value)))
    }
}

/// What one node takes of a resource.
fn amount(capacity: &Resources, resource: &str) -> i64 {
    if resource == NODES {
        1
    } else {
        capacity.amount(resource)
    }
}

/// What is left of each quota.
#[derive(Debug, Clone)]
pub(super) struct Remaining<'a> {
    quotas: &'a [Quota],
    /// By quota, in order: what is left of each resource.
    left: Vec<BTreeMap<&'a str, i64>>,
}

impl<'a> Remaining<'a> {
    /// What the nodes there are leave. Labels come from the snapshot.
    pub(super) fn of(quotas: &'a [Quota], nodes: &[ClusterNode], snapshot: &Snapshot) -> Self {
        let mut remaining = Self {
            quotas,
            left: quotas.iter().map(limits).collect(),
        };
        if quotas.is_empty() {
            return remaining;
        }
        let none = BTreeMap::new();
        for node in nodes {
            let state = snapshot.node(&node.name);
            let labels = state.map_or(&none, |state| &state.facts.labels);
            remaining.take(labels, &node.capacity, 1);
        }
        remaining
    }

    /// How many of `wanted` nodes like this one the quotas allow.
    pub(super) fn allowed(&self, template: &NodeTemplate, wanted: usize) -> usize {
        let concerned = self.concerned(&template.node.labels);
        let per_resource = concerned
            .flat_map(|(_, left)| left)
            .map(|(resource, left)| {
                let each = amount(&template.capacity, resource);
                if each <= 0 {
                    return wanted;
                }
                usize::try_from(left.max(&0) / each).unwrap_or(wanted)
            });
        per_resource.min().unwrap_or(wanted).min(wanted)
    }

    /// Counts `count` nodes of this kind.
    pub(super) fn reserve(&mut self, template: &NodeTemplate, count: usize) {
        self.take(&template.node.labels, &template.capacity, count);
    }

    /// The quota that `count` more nodes of this kind would exceed, with the resources.
    pub(super) fn exceeded(&self, template: &NodeTemplate, count: usize) -> Option<SkipReason> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.concerned(&template.node.labels)
            .find_map(|(quota, left)| {
                let too_much = left.iter().filter(|(resource, left)| {
                    let each = amount(&template.capacity, resource);
                    each > 0 && each.saturating_mul(count) > **left
                });
                let resources: Vec<String> = too_much.map(|(r, _)| (*r).to_owned()).collect();
                (!resources.is_empty()).then(|| SkipReason::Quota {
                    quota: quota.id.clone(),
                    resources,
                })
            })
    }

    fn take(&mut self, labels: &BTreeMap<String, String>, capacity: &Resources, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        for (quota, left) in self.quotas.iter().zip(&mut self.left) {
            if !quota.selects(labels) {
                continue;
            }
            for (resource, left) in left.iter_mut() {
                *left = left.saturating_sub(amount(capacity, resource).saturating_mul(count));
            }
        }
    }

    fn concerned<'b>(
        &'b self,
        labels: &'b BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'b Quota, &'b BTreeMap<&'a str, i64>)> {
        let both = self.quotas.iter().zip(&self.left);
        both.filter(|(quota, _)| quota.selects(labels))
    }
}

fn limits(quota: &Quota) -> BTreeMap<&str, i64> {
    let limits = quota.limits.iter();
    limits
        .map(|(name, limit)| (name.as_str(), *limit))
        .collect()
}
