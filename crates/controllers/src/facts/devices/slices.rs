//! From slices to pools. Of a pool only the newest generation counts.

use crate::devices::SliceObject;
use crate::facts::wire::effect;
use crate::pods::node_term;
use crate::runtime::Change;
use k8s_openapi::api::core::v1::NodeSelector;
use k8s_openapi::api::resource::v1::{Device, DeviceAttribute, ResourceSliceSpec};
use plimsoll_engine::placement::{
    Attribute, DeviceFacts, NodeTerm, PoolFacts, PoolReach, QualifiedName, Snapshot, Taint,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Driver and pool.
type PoolKey = (Arc<str>, Arc<str>);

/// Where a device is reached from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Where {
    Node(Arc<str>),
    Everywhere,
    Nodes(NodeTerm),
    Nowhere,
}

/// All pools, changed slice by slice.
#[derive(Debug, Default)]
pub struct Pools {
    slices: BTreeMap<PoolKey, BTreeMap<Arc<str>, Arc<SliceObject>>>,
    /// Parts of pools that only one node reaches.
    local: BTreeMap<Arc<str>, BTreeMap<PoolKey, PoolFacts>>,
    /// The nodes of each pool.
    nodes: BTreeMap<PoolKey, BTreeSet<Arc<str>>>,
}

impl Pools {
    /// The pools that only this node reaches.
    pub fn of_node(&self, node: &str) -> Vec<PoolFacts> {
        let pools = self.local.get(node).into_iter();
        pools.flat_map(BTreeMap::values).cloned().collect()
    }

    /// Takes a change in. What several nodes reach goes into the snapshot; returns the nodes whose own
    /// pools may have changed.
    pub fn take(
        &mut self,
        snapshot: &mut Snapshot,
        change: &Change<SliceObject>,
    ) -> BTreeSet<Arc<str>> {
        let name = &change.key.name;
        let mut concerned = BTreeSet::new();
        if let Some(old) = &change.old {
            let key = key(&old.object.spec);
            if let Some(slices) = self.slices.get_mut(&key) {
                slices.remove(name);
            }
            concerned.insert(key);
        }
        if let Some(new) = &change.new {
            let key = key(&new.object.spec);
            let slices = self.slices.entry(key.clone()).or_default();
            slices.insert(Arc::clone(name), Arc::clone(new));
            concerned.insert(key);
        }
        let mut nodes = BTreeSet::new();
        for key in concerned {
            nodes.extend(self.renew(snapshot, &key));
        }
        nodes
    }

    fn renew(&mut self, snapshot: &mut Snapshot, key: &PoolKey) -> BTreeSet<Arc<str>> {
        let parts = self.slices.get(key).map(parts).unwrap_or_default();
        if self.slices.get(key).is_some_and(BTreeMap::is_empty) {
            self.slices.remove(key);
        }
        let mut networked = Vec::new();
        let mut nodes = BTreeSet::new();
        let before = self.nodes.remove(key).unwrap_or_default();
        for node in &before {
            if let Some(pools) = self.local.get_mut(node) {
                pools.remove(key);
                if pools.is_empty() {
                    self.local.remove(node);
                }
            }
        }
        for (place, devices, complete) in parts {
            let mut part = PoolFacts {
                driver: Arc::clone(&key.0),
                name: Arc::clone(&key.1),
                devices,
                complete,
                reach: PoolReach::Everywhere,
            };
            match place {
                Where::Node(node) => {
                    part.reach = PoolReach::Node;
                    let pools = self.local.entry(Arc::clone(&node)).or_default();
                    pools.insert(key.clone(), part);
                    nodes.insert(node);
                }
                Where::Everywhere => networked.push(part),
                Where::Nodes(term) => {
                    part.reach = PoolReach::Nodes(term);
                    networked.push(part);
                }
                Where::Nowhere => {}
            }
        }
        snapshot.set_device_pool(&key.0, &key.1, networked);
        let all = before.union(&nodes).map(Arc::clone).collect();
        if !nodes.is_empty() {
            self.nodes.insert(key.clone(), nodes);
        }
        all
    }
}

fn key(slice: &ResourceSliceSpec) -> PoolKey {
    (
        slice.driver.as_str().into(),
        slice.pool.name.as_str().into(),
    )
}

/// The devices of a pool's newest generation by where they are reached from, and whether all its
/// slices are there. Devices of a pool that names one twice cannot be told apart: it has none.
fn parts(slices: &BTreeMap<Arc<str>, Arc<SliceObject>>) -> Vec<(Where, Arc<[DeviceFacts]>, bool)> {
    let specs = || slices.values().map(|slice| &slice.object.spec);
    let newest = specs().map(|slice| slice.pool.generation).max();
    let current = || specs().filter(|slice| Some(slice.pool.generation) == newest);
    let wanted = current().map(|slice| slice.pool.resource_slice_count).max();
    let complete = i64::try_from(current().count()).ok() == wanted;
    let mut by_place: BTreeMap<Where, Vec<DeviceFacts>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for slice in current() {
        for device in slice.devices.iter().flatten() {
            if !names.insert(&device.name) {
                return Vec::new();
            }
            // A pool of which nothing can be counted is none: how full it is cannot be told.
            if let Some(facts) = of_device(device, &slice.driver) {
                by_place
                    .entry(place(slice, device))
                    .or_default()
                    .push(facts);
            }
        }
    }
    let parts = by_place.into_iter();
    parts
        .map(|(place, devices)| (place, devices.into(), complete))
        .collect()
}

fn place(slice: &ResourceSliceSpec, device: &Device) -> Where {
    if slice.per_device_node_selection == Some(true) {
        let of = (&device.node_name, &device.node_selector, device.all_nodes);
        return from(of);
    }
    from((&slice.node_name, &slice.node_selector, slice.all_nodes))
}

fn from(of: (&Option<String>, &Option<NodeSelector>, Option<bool>)) -> Where {
    match of {
        (Some(node), ..) if !node.is_empty() => Where::Node(node.as_str().into()),
        (_, Some(selector), _) => {
            let term = selector.node_selector_terms.first().cloned();
            term.map_or(Where::Nowhere, |term| Where::Nodes(node_term(term)))
        }
        (_, None, Some(true)) => Where::Everywhere,
        _ => Where::Nowhere,
    }
}

/// A device, unless it takes from counters, may be shared, or has to be bound to: what it takes
/// from others would not be counted.
fn of_device(device: &Device, driver: &str) -> Option<DeviceFacts> {
    let filled = |list: Option<usize>| list.is_some_and(|len| len > 0);
    let special = filled(device.consumes_counters.as_ref().map(Vec::len))
        || filled(device.binding_conditions.as_ref().map(Vec::len))
        || device.allow_multiple_allocations == Some(true);
    if special {
        return None;
    }
    let attributes = device.attributes.iter().flatten();
    let capacity = device.capacity.iter().flatten();
    let taints = device.taints.iter().flatten().filter_map(|taint| {
        Some(Taint {
            key: taint.key.clone(),
            value: taint.value.clone().unwrap_or_default(),
            effect: effect(&taint.effect)?,
        })
    });
    Some(DeviceFacts {
        name: device.name.as_str().into(),
        attributes: attributes
            .filter_map(|(name, of)| Some((QualifiedName::of(name, driver), attribute(of)?)))
            .collect(),
        capacity: capacity
            .filter_map(|(name, of)| {
                Some((QualifiedName::of(name, driver), of.value.0.parse().ok()?))
            })
            .collect(),
        taints: taints.collect(),
    })
}

fn attribute(of: &DeviceAttribute) -> Option<Attribute> {
    let text = |text: &String| Arc::from(text.as_str());
    of.int
        .map(Attribute::Int)
        .or_else(|| of.bool.map(Attribute::Bool))
        .or_else(|| of.string.as_ref().map(|value| Attribute::Text(text(value))))
        .or_else(|| {
            of.version
                .as_ref()
                .map(|value| Attribute::Version(text(value)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Cached, ObjectKey};
    use serde_json::{Value, json};

    fn slice(
        name: &str,
        pool: (&str, i64, i64),
        place: &Value,
        devices: &[&str],
    ) -> Arc<SliceObject> {
        let (pool, generation, count) = pool;
        let devices: Vec<Value> = devices.iter().map(|name| json!({"name": name})).collect();
        let mut spec = json!({
            "driver": "d", "devices": devices,
            "pool": {"name": pool, "generation": generation, "resourceSliceCount": count},
        });
        let place = place.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(place);
        let object = json!({"metadata": {"name": name}, "spec": spec});
        Arc::new(SliceObject::from_wire(
            serde_json::from_value(object).unwrap(),
        ))
    }

    fn came(new: &Arc<SliceObject>) -> Change<SliceObject> {
        Change {
            key: ObjectKey::new("", new.meta().name()),
            old: None,
            new: Some(Arc::clone(new)),
        }
    }

    fn names(pool: &PoolFacts) -> Vec<&str> {
        pool.devices.iter().map(|device| &*device.name).collect()
    }

    #[test]
    fn only_the_newest_generation_counts_and_only_whole() {
        let (mut pools, mut snapshot) = (Pools::default(), Snapshot::default());
        let here = json!({"nodeName": "n1"});
        let old = slice("a", ("p", 1, 1), &here, &["x"]);
        let nodes = pools.take(&mut snapshot, &came(&old));
        assert_eq!(nodes.iter().map(|n| &**n).collect::<Vec<_>>(), ["n1"]);
        assert!(pools.of_node("n1")[0].complete);
        pools.take(
            &mut snapshot,
            &came(&slice("b", ("p", 2, 2), &here, &["y"])),
        );
        let found = pools.of_node("n1");
        assert_eq!((names(&found[0]), found[0].complete), (vec!["y"], false));
        pools.take(
            &mut snapshot,
            &came(&slice("c", ("p", 2, 2), &here, &["z"])),
        );
        let found = pools.of_node("n1");
        assert_eq!(
            (names(&found[0]), found[0].complete),
            (vec!["y", "z"], true)
        );
        // A name that is there twice makes the pool useless.
        pools.take(
            &mut snapshot,
            &came(&slice("d", ("p", 2, 3), &here, &["z"])),
        );
        assert!(pools.of_node("n1").is_empty());
    }

    #[test]
    fn a_pool_of_devices_that_cannot_be_counted_is_none() {
        let (mut pools, mut snapshot) = (Pools::default(), Snapshot::default());
        let shared = slice("a", ("p", 1, 1), &json!({"nodeName": "n1"}), &["x"]);
        let mut shared = Arc::into_inner(shared).unwrap();
        for device in shared.object.spec.devices.iter_mut().flatten() {
            device.allow_multiple_allocations = Some(true);
        }
        pools.take(&mut snapshot, &came(&Arc::new(shared)));
        assert!(pools.of_node("n1").is_empty());
    }

    #[test]
    fn a_slice_that_goes_takes_its_pool_along() {
        let (mut pools, mut snapshot) = (Pools::default(), Snapshot::default());
        let own = slice("a", ("p", 1, 1), &json!({"nodeName": "n1"}), &["x"]);
        pools.take(&mut snapshot, &came(&own));
        let gone = Change {
            key: ObjectKey::new("", "a"),
            old: Some(own),
            new: None,
        };
        assert_eq!(pools.take(&mut snapshot, &gone).len(), 1);
        assert!(pools.of_node("n1").is_empty() && pools.slices.is_empty());
    }
}
