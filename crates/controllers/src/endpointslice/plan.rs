//! Which slices to create, change and delete; pure.

use super::members::{EndpointPort, TargetRef};
use crate::runtime::ObjectKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most endpoints in one slice.
pub(super) const SLICE_LIMIT: usize = 100;

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
}

impl Endpoint {
    fn identity(&self) -> &str {
        self.target_ref.as_ref().map_or("", |target| &*target.uid)
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
}

/// The writes to make.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) create: Vec<(Group, Vec<Endpoint>)>,
    pub(super) update: Vec<(ObjectKey, Vec<Endpoint>)>,
    pub(super) delete: Vec<ObjectKey>,
}

/// Endpoints stay in the slice they are in; new ones fill slices that change anyway, then slices
/// with room, then new slices. A service without endpoints keeps one empty slice.
pub(super) fn plan(existing: Vec<Existing>, mut wanted: BTreeMap<Group, Vec<Endpoint>>) -> Plan {
    let mut plan = Plan::default();
    let mut kept: Vec<(Existing, Vec<Endpoint>)> = Vec::new();
    for slice in existing {
        let Some(endpoints) = wanted.get_mut(&slice.group) else {
            plan.delete.push(slice.key);
            continue;
        };
        let mut stay = Vec::new();
        for old in &slice.endpoints {
            let found = endpoints
                .iter()
                .position(|new| new.identity() == old.identity());
            stay.extend(found.map(|position| endpoints.remove(position)));
        }
        kept.push((slice, stay));
    }
    // Slices that change anyway come first, so that others need no write.
    kept.sort_by_key(|(slice, stay)| slice.endpoints == *stay);
    for (slice, stay) in &mut kept {
        if let Some(left) = wanted.get_mut(&slice.group) {
            let room = SLICE_LIMIT.saturating_sub(stay.len()).min(left.len());
            stay.extend(left.drain(..room));
        }
    }
    for (group, left) in wanted {
        let mut served = kept.iter().any(|(slice, _)| slice.group == group);
        for chunk in left.chunks(SLICE_LIMIT) {
            plan.create.push((group.clone(), chunk.to_vec()));
            served = true;
        }
        if !served {
            plan.create.push((group, Vec::new()));
        }
    }
    let mut used = plan.create.len() + kept.iter().filter(|(_, stay)| !stay.is_empty()).count();
    for (slice, stay) in kept {
        if stay.is_empty() && used > 0 {
            plan.delete.push(slice.key);
            continue;
        }
        used += usize::from(stay.is_empty());
        if slice.endpoints != stay {
            plan.update.push((slice.key, stay));
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, EndpointConditions, Existing, Group, Plan, SLICE_LIMIT, plan};
    use crate::endpointslice::members::TargetRef;
    use crate::runtime::ObjectKey;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn group() -> Group {
        ("IPv4".into(), Vec::new())
    }

    fn endpoint(n: usize) -> Endpoint {
        let uid = format!("uid-{n}");
        Endpoint {
            addresses: vec![format!("10.0.{}.{}", n / 250, n % 250)],
            conditions: EndpointConditions::default(),
            hostname: None,
            node_name: None,
            target_ref: Some(TargetRef {
                kind: "Pod".into(),
                namespace: "n".into(),
                name: uid.clone(),
                uid,
            }),
            zone: None,
        }
    }

    fn slice(name: &str, endpoints: Vec<Endpoint>) -> Existing {
        Existing {
            key: ObjectKey::new("n", name),
            group: group(),
            endpoints,
        }
    }

    fn wanted(range: std::ops::Range<usize>) -> BTreeMap<Group, Vec<Endpoint>> {
        BTreeMap::from([(group(), range.map(endpoint).collect())])
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice() {
        let plan = plan(Vec::new(), wanted(0..0));
        assert_eq!(plan.create, [(group(), Vec::new())]);
    }

    #[test]
    fn nothing_changes_when_nothing_changed() {
        let existing = vec![slice("a", (0..5).map(endpoint).collect())];
        assert_eq!(plan(existing, wanted(0..5)), Plan::default());
        assert_eq!(
            plan(vec![slice("a", Vec::new())], wanted(0..0)),
            Plan::default()
        );
    }

    #[test]
    fn new_endpoints_fill_the_slice_with_room() {
        let plan = plan(
            vec![slice("a", (0..99).map(endpoint).collect())],
            wanted(0..102),
        );
        assert_eq!(plan.update[0].1.len(), SLICE_LIMIT);
        assert_eq!(plan.create[0].1.len(), 2);
    }

    #[test]
    fn a_slice_that_empties_is_deleted_beside_another() {
        let existing = vec![slice("a", vec![endpoint(1)]), slice("b", vec![endpoint(2)])];
        assert_eq!(
            plan(existing, wanted(1..2)).delete,
            [ObjectKey::new("n", "b")]
        );
    }

    proptest! {
        #[test]
        fn after_the_plan_every_endpoint_is_in_exactly_one_slice(
            before in prop::collection::vec(prop::collection::btree_set(0_usize..300, 0..100), 0..4),
            end in 0_usize..300,
        ) {
            let mut seen = std::collections::BTreeSet::new();
            let existing: Vec<_> = before.iter().enumerate().map(|(n, set)| {
                let endpoints = set.iter().filter(|e| seen.insert(**e)).map(|e| endpoint(*e)).collect();
                slice(&n.to_string(), endpoints)
            }).collect();
            let mut slices: BTreeMap<_, _> = existing.iter().map(|s| (s.key.clone(), s.endpoints.clone())).collect();
            let plan = plan(existing, wanted(0..end));
            for key in &plan.delete { slices.remove(key); }
            for (key, endpoints) in plan.update { slices.insert(key, endpoints); }
            let mut all: Vec<_> = slices.into_values().chain(plan.create.into_iter().map(|(_, e)| e)).collect();
            prop_assert!(!all.is_empty() && all.iter().all(|s| s.len() <= SLICE_LIMIT));
            let mut got: Vec<_> = all.drain(..).flatten().map(|e| e.addresses[0].clone()).collect();
            let mut want: Vec<_> = (0..end).map(|n| endpoint(n).addresses[0].clone()).collect();
            got.sort();
            want.sort();
            prop_assert_eq!(got, want);
        }
    }
}
