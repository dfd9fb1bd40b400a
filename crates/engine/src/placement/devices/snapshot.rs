//! Devices as part of a snapshot.

use super::demand::Demand;
use super::facts::{
    DeviceAllocation, DeviceClaimFacts, DeviceClassFacts, DeviceRequests, PoolFacts,
};
use super::state::PoolUse;
use crate::placement::fork::Undo;
use crate::placement::node::NodeState;
use crate::placement::pod::{PodFacts, PodSpec};
use crate::placement::set::Slot;
use crate::placement::snapshot::Snapshot;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Snapshot {
    /// Takes over a claim to devices. Not part of a fork, like all facts of devices but what pods
    /// get.
    pub fn set_device_claim(&mut self, claim: DeviceClaimFacts) {
        self.devices.set_claim(claim);
    }

    /// Forgets a claim to devices.
    pub fn remove_device_claim(&mut self, namespace: &str, name: &str) {
        self.devices
            .remove_claim(&(namespace.to_owned(), name.to_owned()));
    }

    /// Takes over what claims made from a template ask for; `None` = it is gone.
    pub fn set_device_template(
        &mut self,
        (namespace, name): (&str, &str),
        requests: Option<Arc<DeviceRequests>>,
    ) {
        let key = (namespace.to_owned(), name.to_owned());
        self.devices.set_template(key, requests);
    }

    /// Takes over a device class.
    pub fn set_device_class(&mut self, class: DeviceClassFacts) {
        self.devices.set_class(class);
    }

    /// Forgets a device class.
    pub fn remove_device_class(&mut self, name: &str) {
        self.devices.remove_class(name);
    }

    /// Takes over the parts of a driver's pool that are not of one node alone; none = there are none.
    /// Those of nodes are part of their facts.
    pub fn set_device_pool(&mut self, driver: &Arc<str>, pool: &Arc<str>, parts: Vec<PoolFacts>) {
        let key = (Arc::clone(driver), Arc::clone(pool));
        self.devices.set_pool(key, parts);
    }

    /// What a claim got: by the API, or here.
    pub fn device_allocation(&self, namespace: &str, name: &str) -> Option<Arc<DeviceAllocation>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.devices.allocation(&key).map(Arc::clone)
    }

    /// Differs when claims, templates, classes or pools of several nodes may have changed.
    pub fn devices_epoch(&self) -> u64 {
        self.devices.epoch
    }

    /// Differs when devices became free because pods left, rather than because the API says so.
    pub fn devices_freed(&self) -> u64 {
        self.devices.freed
    }

    /// Whether a node has no complete pool with devices of one of these drivers.
    pub fn lacks_drivers(&self, node: &str, drivers: &BTreeSet<Arc<str>>) -> bool {
        let Some(state) = self.node(node) else {
            return false;
        };
        let pools = &state.facts.pools;
        let has = |driver: &Arc<str>| {
            let mut own = pools.iter().filter(|pool| pool.driver == *driver);
            own.any(PoolFacts::is_there)
        };
        !drivers.iter().all(has)
    }

    /// How full the pools of a node are.
    pub fn pool_usage(&self, node: &str) -> Vec<PoolUse> {
        let state = self.node(node);
        let usage = state.map(|state| self.devices.usage(&state.facts));
        usage.unwrap_or_default()
    }

    /// What the claims of a pod lack on a node that may not be there, in a sentence each.
    pub fn devices_missing(
        &self,
        namespace: &str,
        spec: &PodSpec,
        node: &NodeState,
    ) -> Vec<String> {
        let demand = Demand::of(namespace, &spec.devices, &self.devices);
        demand.map_or_else(
            |why| vec![why.to_string()],
            |demand| demand.missing(node, &self.devices),
        )
    }

    /// A pod with claims came to a node (or to one that is not known).
    pub(in crate::placement) fn take_devices(&mut self, pod: &PodFacts, slot: Option<Slot>) {
        let before = self.devices.stand(pod);
        self.forks.note(|| Undo::Devices(before));
        let state = slot.and_then(|slot| self.nodes.get(slot)?.as_ref());
        self.devices.came(pod, state.map(|state| &state.facts));
    }

    /// A pod with claims left.
    pub(in crate::placement) fn free_devices(&mut self, pod: &PodFacts) {
        let before = self.devices.stand(pod);
        self.forks.note(|| Undo::Devices(before));
        self.devices.left(pod, self.forks.is_open());
    }
}
