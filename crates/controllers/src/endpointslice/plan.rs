//! Which slices to create, change and delete; pure.

use super::members::{EndpointPort, TargetRef};
use crate::runtime::ObjectKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether an endpoint can be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct EndpointConditions {
    pub(super) ready: Option<bool>,
    pub(super) serving: Option<bool>,
    pub(super) terminating: Option<bool>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    pub(super) addresses: Vec<String>,
    #[serde(default)]
    pub(super) conditions: EndpointConditions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) node_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target_ref: Option<TargetRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hints: Option<Hints>,
}

/// Which clients should prefer an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hints {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) for_zones: Option<Vec<Named>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) for_nodes: Option<Vec<Named>>,
}

/// A zone or node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

impl Endpoint {
    /// What stays the same while everything else about an endpoint changes.
    fn identity(&self) -> String {
        let uid = self.target_ref.as_ref().map(|target| &*target.uid);
        let uid = uid.filter(|uid| !uid.is_empty());
        let address = || self.addresses.first().map_or("", String::as_str);
        uid.unwrap_or_else(address).to_owned()
    }
}

/// What slices have in common: address type and ports.
pub(super) type Group = (String, Vec<EndpointPort>);

/// An existing slice.
#[derive(Debug, Clone)]
pub(super) struct Existing {
    pub(super) key: ObjectKey,
    pub(super) group: Group,
    pub(super) endpoints: Vec<Endpoint>,
    /// It has to be written whatever its endpoints are: its labels are not the service's.
    pub(super) outdated: bool,
}

/// The writes to make.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) create: Vec<(Group, Vec<Endpoint>)>,
    pub(super) update: Vec<(ObjectKey, Group, Vec<Endpoint>)>,
    pub(super) delete: Vec<ObjectKey>,
}

impl Plan {
    /// Whether nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.create.is_empty() && self.update.is_empty() && self.delete.is_empty()
    }
}

/// Endpoints that have no place yet.
struct Homeless {
    endpoints: Vec<Option<Endpoint>>,
    by_identity: BTreeMap<String, usize>,
}

impl Homeless {
    fn new(endpoints: Vec<Endpoint>) -> Self {
        let identities = endpoints.iter().map(Endpoint::identity);
        Self {
            by_identity: identities.zip(0..).collect(),
            endpoints: endpoints.into_iter().map(Some).collect(),
        }
    }

    /// The present state of an endpoint that has a place already.
    fn settle(&mut self, old: &Endpoint) -> Option<Endpoint> {
        let at = *self.by_identity.get(&old.identity())?;
        self.endpoints.get_mut(at)?.take()
    }

    fn left(self) -> Vec<Endpoint> {
        // Of several endpoints with one identity, the last one counts.
        let Self {
            endpoints,
            by_identity,
        } = self;
        let last = |(at, endpoint): (usize, Option<Endpoint>)| {
            endpoint.filter(|e| by_identity.get(&e.identity()) == Some(&at))
        };
        endpoints.into_iter().enumerate().filter_map(last).collect()
    }
}

/// One slice on its way to its next state.
struct Draft {
    slice: Existing,
    endpoints: Vec<Endpoint>,
}

impl Draft {
    fn is_changed(&self) -> bool {
        self.slice.outdated || self.slice.endpoints != self.endpoints
    }

    fn has_emptied(&self) -> bool {
        self.endpoints.is_empty() && !self.slice.endpoints.is_empty()
    }
}

/// Plans for slices of at most `limit` endpoints.
///
/// Endpoints stay in the slice they are in. New ones fill the slices that change anyway, fullest
/// first; what is left goes whole into the slice that it fills best, or into new slices, so that
/// few slices are written. A slice that would be deleted becomes the new one instead. A wanted
/// group without endpoints keeps one empty slice if there is no other slice at all.
pub(super) fn plan(
    existing: Vec<Existing>,
    wanted: BTreeMap<Group, Vec<Endpoint>>,
    limit: usize,
) -> Plan {
    let mut plan = Plan::default();
    let mut by_group: BTreeMap<Group, Vec<Existing>> = BTreeMap::new();
    let mut unwanted: Vec<Existing> = Vec::new();
    for slice in existing {
        if wanted.contains_key(&slice.group) {
            by_group.entry(slice.group.clone()).or_default().push(slice);
        } else {
            unwanted.push(slice);
        }
    }
    let mut placeholder = None;
    let mut kept = 0;
    for (group, endpoints) in wanted {
        let slices = by_group.remove(&group).unwrap_or_default();
        if endpoints.is_empty() {
            placeholder.get_or_insert_with(|| group.clone());
        }
        let drafts = place(slices, (&group, endpoints), limit, &mut plan);
        for draft in drafts {
            if draft.has_emptied() {
                unwanted.push(draft.slice);
                continue;
            }
            kept += 1;
            if draft.is_changed() {
                plan.update
                    .push((draft.slice.key, group.clone(), draft.endpoints));
            }
        }
    }
    if let Some(group) = placeholder.filter(|_| kept == 0 && plan.create.is_empty()) {
        plan.create.push((group, Vec::new()));
    }
    reuse(unwanted, &mut plan);
    plan
}

/// Finds a place for every endpoint of a group. New slices go into the plan.
fn place(
    slices: Vec<Existing>,
    (group, endpoints): (&Group, Vec<Endpoint>),
    limit: usize,
    plan: &mut Plan,
) -> Vec<Draft> {
    let mut homeless = Homeless::new(endpoints);
    let mut drafts: Vec<Draft> = Vec::new();
    for slice in slices {
        let stay = slice.endpoints.iter();
        let endpoints = stay.filter_map(|old| homeless.settle(old)).collect();
        drafts.push(Draft { slice, endpoints });
    }
    let mut left = homeless.left();
    drafts.sort_by_key(|draft| std::cmp::Reverse(draft.endpoints.len()));
    // One that has emptied is as good as gone: it is used again only where a new one is needed.
    let open = |draft: &&mut Draft| draft.is_changed() && !draft.has_emptied();
    for draft in drafts.iter_mut().filter(open) {
        let room = limit.saturating_sub(draft.endpoints.len()).min(left.len());
        draft.endpoints.extend(left.drain(..room));
    }
    while !left.is_empty() {
        let fits = |draft: &&mut Draft| {
            let calm = !draft.is_changed();
            calm && left.len() < limit && draft.endpoints.len() + left.len() <= limit
        };
        // The fullest that has room for all.
        if let Some(draft) = drafts.iter_mut().find(fits) {
            draft.endpoints.append(&mut left);
            break;
        }
        let rest = left.split_off(limit.min(left.len()));
        plan.create
            .push((group.clone(), std::mem::replace(&mut left, rest)));
    }
    drafts
}

/// Turns pairs of a deletion and a creation into changes: fewer writes, and no endpoint is gone in
/// between. The kind of address cannot change.
fn reuse(unwanted: Vec<Existing>, plan: &mut Plan) {
    for slice in unwanted {
        let (family, _) = &slice.group;
        let same = |((new, _), _): &(Group, Vec<Endpoint>)| new == family;
        match plan.create.iter().rposition(same) {
            Some(at) => {
                let (group, endpoints) = plan.create.remove(at);
                plan.update.push((slice.key, group, endpoints));
            }
            None => plan.delete.push(slice.key),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
