//! What a pod's claims ask of a node.

use super::allocate::{Unmet, allocate, candidates, reached};
use super::facts::{Amount, DeviceAllocation, DeviceOption, DeviceRequests, DeviceWish};
use super::state::Devices;
use crate::placement::node::NodeState;
use crate::placement::refusal::{Refusal, Refused};
use std::sync::Arc;

/// Pods that one claim may be reserved for, as upstream has it.
const MOST_USERS: usize = 256;

/// The claims of a pod: those that have devices, and those that want some.
#[derive(Debug, Clone, Default)]
pub(in crate::placement) struct Demand {
    /// What claims have already.
    there: Vec<Arc<DeviceAllocation>>,
    /// What the others ask for.
    open: Vec<Arc<DeviceRequests>>,
    /// Their names in the pod.
    names: Vec<Arc<str>>,
}

impl Demand {
    /// Looks the claims up.
    ///
    /// # Errors
    /// A reason that holds whatever the node.
    pub(in crate::placement) fn of(
        namespace: &str,
        wishes: &[DeviceWish],
        devices: &Devices,
    ) -> Result<Self, Refusal> {
        let mut demand = Self::default();
        for wish in wishes {
            let Some(requests) = devices.requests(namespace, wish) else {
                let name = wish.claim.as_ref().or(wish.template.as_ref());
                let name = name.map(ToString::to_string).unwrap_or_default();
                return Err(Refusal::DeviceClaimNotFound(name));
            };
            let key = wish.claim.as_ref();
            let key = key.map(|claim| (namespace.to_owned(), claim.to_string()));
            if let Some(known) = key.as_ref().and_then(|key| devices.known.get(key)) {
                if known.deleted {
                    return Err(Refusal::DeviceClaimDeleted(known.key.1.clone()));
                }
                if known.reserved >= MOST_USERS {
                    return Err(Refusal::DeviceClaimInUse);
                }
            }
            if let Some(taken) = key.as_ref().and_then(|key| devices.taken(key)) {
                demand.there.push(Arc::clone(taken));
                continue;
            }
            for option in requests.requests.iter().flat_map(|r| &r.options) {
                if !devices.classes.contains_key(&option.class) {
                    return Err(Refusal::DeviceClassMissing {
                        request: option.name.clone(),
                        class: option.class.clone(),
                    });
                }
            }
            demand.open.push(requests);
            demand.names.push(Arc::clone(&wish.name));
        }
        Ok(demand)
    }

    /// DynamicResources.
    pub(in crate::placement) fn refuse(
        &self,
        node: &NodeState,
        devices: &Devices,
    ) -> Option<Refused> {
        let facts = &node.facts;
        let reaches = |claim: &Arc<DeviceAllocation>| {
            let terms = claim.terms.as_ref();
            terms.is_none_or(|terms| terms.iter().any(|t| t.matches(&facts.name, &facts.labels)))
        };
        if !self.there.iter().all(reaches) {
            return Some(Refused::for_now(Refusal::DevicesElsewhere));
        }
        if self.open.is_empty() {
            return None;
        }
        match allocate(&self.open, facts, devices) {
            Ok(_) => None,
            Err(Unmet::Busy) => Some(Refused::for_now(Refusal::NoDevices)),
            Err(Unmet::TooHard) => Some(Refused::for_good(Refusal::DevicesTooHard)),
            Err(Unmet::Selector(why)) => Some(Refused::for_good(Refusal::DeviceSelector(why))),
        }
    }

    /// What each open request finds on the node, where that is too little; in one sentence each.
    pub(in crate::placement) fn missing(&self, node: &NodeState, devices: &Devices) -> Vec<String> {
        let pools = reached(&node.facts, devices);
        let mut said = Vec::new();
        for (name, requests) in self.names.iter().zip(&self.open) {
            for request in &requests.requests {
                let options = request.options.iter();
                let each: Vec<Option<String>> = options
                    .map(|option| {
                        let found = candidates(option, &pools, devices).ok()?;
                        short(name, option, (found.fitting, found.free.len()))
                    })
                    .collect();
                // One that can be satisfied is enough.
                if each.iter().all(Option::is_some) {
                    said.extend(each.into_iter().flatten());
                }
            }
        }
        if said.is_empty() && !self.open.is_empty() {
            let names: Vec<&str> = self.names.iter().map(|name| &**name).collect();
            said.push(format!(
                "no free devices satisfy all requests and constraints of {} at once",
                names.join(", ")
            ));
        }
        said
    }
}

/// What is missing for an option that too few devices fit.
fn short(claim: &str, option: &DeviceOption, found: (usize, usize)) -> Option<String> {
    let (fitting, free) = found;
    let wanted = match option.amount {
        Amount::Count(count) if count <= free => return None,
        Amount::Count(count) => count.to_string(),
        Amount::All if fitting > 0 && free == fitting => return None,
        Amount::All => "all".to_owned(),
    };
    let (name, class) = (&option.name, &option.class);
    Some(format!(
        "claim {claim}, request {name}: {wanted} of class {class} wanted, {fitting} fit and {free} \
         of them are free"
    ))
}
