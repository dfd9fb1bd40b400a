//! Limits on the sum of nodes, of the whole cluster or of those with certain labels.
//!
//! Several may concern a node; the tightest decides. Nothing goes because of one: what is above a
//! limit stays, and no node is added (reference §14).

use super::group::NodeTemplate;
use super::plan::SkipReason;
use super::running::ClusterNode;
use crate::placement::{LabelSelector, Resources, Snapshot};
use plimsoll_quantity::Quantity;
use std::collections::BTreeMap;
use std::fmt;

/// Name of the quota that `--cores-total`, `--memory-total` and `--gpu-total` make.
pub const CLUSTER_WIDE: &str = "cluster-wide";
/// What the names of quotas that are objects begin with.
pub const QUOTA_OBJECT: &str = "CapacityQuota/";
/// The resource that counts nodes.
const NODES: &str = "nodes";

/// A limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    /// Name.
    pub id: String,
    /// Which nodes count; without requirements, all of them.
    pub selector: LabelSelector,
    /// How much at most: `cpu` in millicores, `memory` in bytes, `nodes`, extended resources in
    /// units.
    pub limits: BTreeMap<String, i64>,
}

/// A resource of which a quota leaves too little for another node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExceededResource {
    /// Its name.
    pub name: String,
    /// How much there may be, in the unit of [`Quota::limits`].
    pub limit: i64,
    /// How much there is, with nodes on their way and nodes just asked for.
    pub used: i64,
    /// How much a node of the group takes.
    pub each: i64,
}

/// A quota that another node would exceed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExceededQuota {
    /// Its name.
    pub quota: String,
    /// Of what there is too little.
    pub resources: Vec<ExceededResource>,
}

impl fmt::Display for ExceededQuota {
    /// Upstream's phrase (reference §8).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.resources.iter().map(|one| one.name.as_str()).collect();
        let (quota, names) = (&self.quota, names.join(", "));
        write!(f, "exceeded quota: {quota:?}, resources: {names}")
    }
}

impl ExceededQuota {
    /// The phrase with what is used of what there may be: `… resources: cpu (cpu 3600m of 4 used)`.
    ///
    /// Departs: upstream says no more than the phrase.
    pub fn told(&self) -> String {
        let figures = self.resources.iter().map(|one| {
            let of = |amount: i64| in_units(&one.name, amount);
            format!("{} {} of {}", one.name, of(one.used), of(one.limit))
        });
        let figures: Vec<String> = figures.collect();
        format!("{self} ({} used)", figures.join(", "))
    }

    /// What would let a node be added.
    pub(super) fn lift(&self) -> String {
        let needs: Vec<String> = self.resources.iter().map(ExceededResource::needs).collect();
        let needs = needs.join(", ");
        if let Some(object) = self.quota.strip_prefix(QUOTA_OBJECT) {
            return format!("a higher limit: kubectl edit capacityquota {object} ({needs})");
        }
        let mut flags: Vec<&str> = self.resources.iter().map(|one| flag(&one.name)).collect();
        flags.dedup();
        format!("a larger {} ({needs})", flags.join(" and "))
    }
}

impl ExceededResource {
    /// At which limit a node would fit.
    fn needs(&self) -> String {
        let least = self.used.saturating_add(self.each);
        format!("{} {} or more", self.name, in_units(&self.name, least))
    }
}

/// The flag that limits a resource of the whole cluster.
fn flag(resource: &str) -> &'static str {
    match resource {
        "cpu" => "--cores-total",
        "memory" => "--memory-total",
        NODES => "--max-nodes-total",
        _ => "--gpu-total",
    }
}

/// An amount of a resource as manifests write it: `3600m`, `8Gi`, `5`.
pub fn in_units(resource: &str, amount: i64) -> String {
    let quantity = match resource {
        "cpu" => Quantity::from_milli(amount),
        "memory" | "ephemeral-storage" => Quantity::from_bytes(amount),
        _ => Quantity::from_value(amount),
    };
    quantity.to_string()
}

impl Quota {
    /// Whether nodes with these labels count.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.matches(labels)
    }

    /// How much of each limited resource the nodes there are hold. Labels come from the snapshot.
    pub fn used(&self, nodes: &[ClusterNode], snapshot: &Snapshot) -> BTreeMap<String, i64> {
        let mut used: BTreeMap<String, i64> =
            self.limits.keys().map(|name| (name.clone(), 0)).collect();
        let none = BTreeMap::new();
        for node in nodes {
            let state = snapshot.node(&node.name);
            if self.selects(state.map_or(&none, |state| &state.facts.labels)) {
                for (name, sum) in &mut used {
                    *sum = sum.saturating_add(amount(&node.capacity, name));
                }
            }
        }
        used
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
    /// By quota, in order: what is left of each resource; below zero where there is too much.
    left: Vec<BTreeMap<&'a str, i64>>,
}

impl<'a> Remaining<'a> {
    /// What the nodes there are leave. Labels come from the snapshot.
    pub(super) fn of(quotas: &'a [Quota], nodes: &[ClusterNode], snapshot: &Snapshot) -> Self {
        let left = quotas.iter().map(|quota| {
            let used = quota.used(nodes, snapshot);
            let limits = quota.limits.iter();
            let left = limits.map(|(name, limit)| {
                let used = used.get(name).copied().unwrap_or(0);
                (name.as_str(), limit.saturating_sub(used))
            });
            left.collect()
        });
        Self {
            quotas,
            left: left.collect(),
        }
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
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        for (quota, left) in self.quotas.iter().zip(&mut self.left) {
            if !quota.selects(&template.node.labels) {
                continue;
            }
            for (resource, left) in left.iter_mut() {
                let taken = amount(&template.capacity, resource).saturating_mul(count);
                *left = left.saturating_sub(taken);
            }
        }
    }

    /// The quotas that `count` more nodes of this kind would exceed, with the resources.
    pub(super) fn exceeded(&self, template: &NodeTemplate, count: usize) -> Option<SkipReason> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let exceeded = self
            .concerned(&template.node.labels)
            .filter_map(|(quota, left)| {
                let resources = left.iter().filter_map(|(name, left)| {
                    let each = amount(&template.capacity, name);
                    let limit = quota.limits.get(*name).copied().unwrap_or(0);
                    let is_short = each > 0 && each.saturating_mul(count) > *left;
                    is_short.then(|| ExceededResource {
                        name: (*name).to_owned(),
                        limit,
                        used: limit.saturating_sub(*left),
                        each: each.saturating_mul(count),
                    })
                });
                let resources: Vec<ExceededResource> = resources.collect();
                (!resources.is_empty()).then(|| ExceededQuota {
                    quota: quota.id.clone(),
                    resources,
                })
            });
        let exceeded: Vec<ExceededQuota> = exceeded.collect();
        (!exceeded.is_empty()).then_some(SkipReason::Quota(exceeded))
    }

    fn concerned<'b>(
        &'b self,
        labels: &'b BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'b Quota, &'b BTreeMap<&'a str, i64>)> {
        let both = self.quotas.iter().zip(&self.left);
        both.filter(|(quota, _)| quota.selects(labels))
    }
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
