//! The Services and endpoints there are, with what is derived from them.

mod directory;
mod objects;

pub use directory::Directory;
pub use objects::{
    AffinityConfig, ClientIp, Conditions, Endpoint, Hints, IngressPoint, LoadBalancer, Named,
    Namespace, Node, NodeSpec, Service, ServiceName, ServicePort, ServiceSpec, ServiceStatus,
    Slice, SlicePort,
};

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// One Service and its slices; either may be there without the other.
#[derive(Debug, Clone, Default)]
struct Entry {
    service: Option<Arc<Service>>,
    slices: BTreeMap<String, Arc<Slice>>,
    revision: u64,
}

/// A range of pod addresses.
#[derive(Debug, Clone)]
struct Range {
    last: Ipv4Addr,
    node: String,
}

/// The present Services, slices, nodes and namespaces.
///
/// Every change costs what the changed object holds, whatever else there is.
#[derive(Debug, Clone, Default)]
pub struct Table {
    entries: BTreeMap<ServiceName, Entry>,
    /// The Service of each slice, which is under namespace and name.
    owners: BTreeMap<(String, String), ServiceName>,
    /// Who uses an address, and how often: as its own or as an endpoint's.
    by_address: BTreeMap<IpAddr, BTreeMap<ServiceName, usize>>,
    nodes: BTreeMap<String, Arc<Node>>,
    ranges: BTreeMap<Ipv4Addr, Range>,
    namespaces: BTreeSet<String>,
    revision: u64,
    topology: u64,
}

impl Table {
    /// A Service.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.entries.get(name)?.service.as_ref()
    }

    /// Every Service, by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceName, &Arc<Service>)> {
        let entries = self.entries.iter();
        entries.filter_map(|(name, entry)| Some((name, entry.service.as_ref()?)))
    }

    /// The Services of a namespace, by name.
    pub fn services_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<Service>> {
        let from = (namespace.to_owned(), String::new());
        let entries = self.entries.range(from..);
        entries
            .take_while(move |((of, _), _)| of == namespace)
            .filter_map(|(_, entry)| entry.service.as_ref())
    }

    /// Every slice of a Service.
    pub fn slices_of(&self, name: &ServiceName) -> impl Iterator<Item = &Arc<Slice>> {
        let entry = self.entries.get(name);
        entry.into_iter().flat_map(|entry| entry.slices.values())
    }

    /// The Services that have an address themselves or in an endpoint.
    pub fn users_of(&self, address: IpAddr) -> impl Iterator<Item = &ServiceName> {
        let users = self.by_address.get(&address);
        users.into_iter().flat_map(BTreeMap::keys)
    }

    /// Whether a namespace exists.
    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace) || self.services_in(namespace).next().is_some()
    }

    /// A node.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// The node whose pods have such addresses.
    pub fn node_of(&self, client: IpAddr) -> Option<&Arc<Node>> {
        let IpAddr::V4(client) = client else {
            return None;
        };
        let (_, range) = self.ranges.range(..=client).next_back()?;
        (client <= range.last).then(|| self.nodes.get(&range.node))?
    }

    /// Whether an address is a node's own: the first one of its pods' range.
    pub fn has_node_address(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        let mut at_or_before = self.ranges.range(..=address);
        let first = at_or_before.next_back().map(|(first, _)| u32::from(*first));
        first.is_some_and(|first| u32::from(address).wrapping_sub(first) == 1)
    }

    /// A number that is another one whenever a Service, its slices or the nodes have changed.
    pub fn revision_of(&self, name: &ServiceName) -> (u64, u64) {
        let entry = self.entries.get(name);
        (entry.map_or(0, |entry| entry.revision), self.topology)
    }

    /// Adds or replaces a Service.
    pub fn put_service(&mut self, service: Service) -> ServiceName {
        let name = service.key();
        self.drop_service(&name);
        self.count(&name, service.cluster_ip(), Count::Up);
        self.touch(&name).service = Some(Arc::new(service));
        name
    }

    /// Removes a Service.
    pub fn remove_service(&mut self, name: &ServiceName) {
        self.drop_service(name);
        self.touch(name);
        self.tidy(name);
    }

    fn drop_service(&mut self, name: &ServiceName) {
        let entry = self.entries.get_mut(name);
        let old = entry.and_then(|entry| entry.service.take());
        self.count(name, old.and_then(|old| old.cluster_ip()), Count::Down);
    }

    /// Adds or replaces a slice; one without a Service belongs nowhere. Tells which Services
    /// changed.
    pub fn put_slice(&mut self, slice: Slice) -> BTreeSet<ServiceName> {
        let mut changed = self.remove_slice(&slice);
        let Some(name) = slice.service() else {
            return changed;
        };
        self.count(&name, addresses(&slice), Count::Up);
        self.owners.insert(identity(&slice), name.clone());
        let slices = &mut self.touch(&name).slices;
        slices.insert(slice.metadata.name.clone(), Arc::new(slice));
        changed.insert(name);
        changed
    }

    /// Removes a slice. Tells which Service it belonged to.
    pub fn remove_slice(&mut self, slice: &Slice) -> BTreeSet<ServiceName> {
        // The label may name another Service by now.
        let Some(name) = self.owners.remove(&identity(slice)) else {
            return BTreeSet::new();
        };
        let old = self.touch(&name).slices.remove(&slice.metadata.name);
        if let Some(old) = old {
            self.count(&name, addresses(&old), Count::Down);
        }
        self.tidy(&name);
        BTreeSet::from([name])
    }

    /// Adds or replaces a node. Tells whether anything changed that matters here.
    pub fn put_node(&mut self, node: Node) -> bool {
        let name = node.metadata.name.clone();
        let same =
            |old: &Arc<Node>| old.spec.pod_cidr == node.spec.pod_cidr && old.zone() == node.zone();
        if self.nodes.get(&name).is_some_and(same) {
            return false;
        }
        self.remove_node(&name);
        if let Some((first, last)) = range(&node.spec.pod_cidr) {
            let node = name.clone();
            self.ranges.insert(first, Range { last, node });
        }
        self.nodes.insert(name, Arc::new(node));
        self.topology += 1;
        true
    }

    /// Removes a node.
    pub fn remove_node(&mut self, name: &str) {
        let Some(old) = self.nodes.remove(name) else {
            return;
        };
        if let Some((first, _)) = range(&old.spec.pod_cidr) {
            self.ranges
                .retain(|at, range| *at != first || range.node != name);
        }
        self.topology += 1;
    }

    /// Notes that a namespace exists.
    pub fn put_namespace(&mut self, name: String) {
        self.namespaces.insert(name);
    }

    /// Notes that a namespace is gone.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    fn touch(&mut self, name: &ServiceName) -> &mut Entry {
        self.revision += 1;
        let entry = self.entries.entry(name.clone()).or_default();
        entry.revision = self.revision;
        entry
    }

    fn tidy(&mut self, name: &ServiceName) {
        let empty = |entry: &Entry| entry.service.is_none() && entry.slices.is_empty();
        if self.entries.get(name).is_some_and(empty) {
            self.entries.remove(name);
        }
    }

    fn count(
        &mut self,
        name: &ServiceName,
        addresses: impl IntoIterator<Item = IpAddr>,
        direction: Count,
    ) {
        for address in addresses {
            let users = self.by_address.entry(address).or_default();
            let times = users.entry(name.clone()).or_default();
            *times = match direction {
                Count::Up => *times + 1,
                Count::Down => times.saturating_sub(1),
            };
            if *times == 0 {
                users.remove(name);
            }
            if users.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Count {
    Up,
    Down,
}

fn identity(slice: &Slice) -> (String, String) {
    let meta = &slice.metadata;
    (meta.namespace.clone(), meta.name.clone())
}

fn addresses(slice: &Slice) -> impl Iterator<Item = IpAddr> {
    let endpoints = slice.endpoints.iter();
    endpoints.flat_map(|endpoint| endpoint.addresses.iter().copied())
}

/// First and last address of an IPv4 range like `10.244.1.0/24`.
fn range(cidr: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let (address, bits) = cidr.split_once('/')?;
    let address: u32 = address.parse::<Ipv4Addr>().ok()?.into();
    let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
    let hosts = u32::MAX.checked_shr(bits).unwrap_or(0);
    Some(((address & !hosts).into(), (address | hosts).into()))
}

#[cfg(test)]
mod tests;
