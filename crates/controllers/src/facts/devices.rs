//! Facts of devices: slices, classes, claims and templates of claims (`resource.k8s.io/v1`).

mod requests;
mod slices;

pub use slices::Pools;

use crate::devices::{ClaimObject, ClassObject, TemplateObject};
use crate::pods::node_term;
use crate::runtime::{Cached, Change};
use k8s_openapi::api::resource::v1::{AllocationResult, DeviceSelector};
use plimsoll_engine::placement::{
    AllottedDevice, DeviceAllocation, DeviceClaimFacts, DeviceClassFacts, Snapshot,
};
use std::sync::Arc;

/// A change of a claim.
pub type ClaimChange = Change<ClaimObject>;

/// Takes a change of a claim into a snapshot.
pub fn take_claim(snapshot: &mut Snapshot, change: &ClaimChange) {
    match &change.new {
        Some(claim) => snapshot.set_device_claim(of_claim(claim)),
        None => snapshot.remove_device_claim(&change.key.namespace, &change.key.name),
    }
}

/// Takes a change of a template of claims into a snapshot.
pub fn take_template(snapshot: &mut Snapshot, change: &Change<TemplateObject>) {
    let requests = change.new.as_ref().map(|template| {
        let devices = template.object.spec.spec.devices.as_ref();
        Arc::new(devices.map(requests::of_claim).unwrap_or_default())
    });
    snapshot.set_device_template((&change.key.namespace, &change.key.name), requests);
}

/// Takes a change of a device class into a snapshot.
pub fn take_device_class(snapshot: &mut Snapshot, change: &Change<ClassObject>) {
    match &change.new {
        Some(class) => snapshot.set_device_class(DeviceClassFacts {
            name: change.key.name.to_string(),
            selectors: selectors(class.object.spec.selectors.as_ref()),
        }),
        None => snapshot.remove_device_class(&change.key.name),
    }
}

fn of_claim(claim: &ClaimObject) -> DeviceClaimFacts {
    let key = &claim.meta().key;
    let status = claim.object.status.as_ref();
    let allocation = status.and_then(|status| status.allocation.as_ref());
    let reserved = status.and_then(|status| status.reserved_for.as_ref());
    let devices = claim.object.spec.devices.as_ref();
    DeviceClaimFacts {
        key: (key.namespace.to_string(), key.name.to_string()),
        requests: Arc::new(devices.map(requests::of_claim).unwrap_or_default()),
        allocation: allocation.map(|allocation| Arc::new(of_allocation(allocation))),
        reserved: reserved.map_or(0, Vec::len),
        deleted: claim.meta().is_deleting(),
    }
}

fn of_allocation(allocation: &AllocationResult) -> DeviceAllocation {
    let devices = allocation.devices.as_ref();
    let results = devices.and_then(|devices| devices.results.as_ref());
    let results = results.into_iter().flatten().map(|result| AllottedDevice {
        request: result.request.clone(),
        driver: result.driver.as_str().into(),
        pool: result.pool.as_str().into(),
        device: result.device.as_str().into(),
        admin: result.admin_access.unwrap_or_default(),
    });
    let selector = allocation.node_selector.as_ref();
    DeviceAllocation {
        results: results.collect(),
        terms: selector.map(|selector| {
            let terms = selector.node_selector_terms.iter().cloned();
            terms.map(node_term).collect()
        }),
    }
}

fn selectors(of: Option<&Vec<DeviceSelector>>) -> Vec<Arc<str>> {
    let cel = of.into_iter().flatten();
    let cel = cel.filter_map(|selector| selector.cel.as_ref());
    cel.map(|cel| cel.expression.as_str().into()).collect()
}
