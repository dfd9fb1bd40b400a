//! Facts of claims, volumes and storage classes.

use crate::pods::{ClaimView, ClassView, VolumeView};
use crate::scheduler::volumes::SELECTED_NODE;
use plimsoll_engine::placement::{
    ClaimFacts, ClaimPhase, ClassFacts, NodeTerm, Operator, Requirement, VolumeFacts,
};

/// Set by whoever binds a claim, once both ends say so.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// What placement needs of a claim.
pub fn of_claim(claim: &ClaimView) -> ClaimFacts {
    let key = &claim.meta.key;
    ClaimFacts {
        key: (key.namespace.to_string(), key.name.to_string()),
        class: claim.class.as_ref().map(ToString::to_string),
        volume: claim.volume.as_ref().map(ToString::to_string),
        phase: phase(claim),
        deleted: claim.meta.is_deleting(),
        request_bytes: claim.request.value(),
        access_modes: claim
            .modes
            .iter()
            .map(|mode| mode.text().to_owned())
            .collect(),
        block: claim.is_block,
        selector: claim.selector.as_ref().map(super::selector),
        selected_node: claim.meta.annotation(SELECTED_NODE).map(str::to_owned),
    }
}

fn phase(claim: &ClaimView) -> ClaimPhase {
    let complete = claim.is_bound() || claim.meta.annotation(BIND_COMPLETED).is_some();
    if &*claim.phase == "Lost" {
        ClaimPhase::Lost
    } else if claim.volume.is_some() && complete {
        ClaimPhase::Bound
    } else {
        ClaimPhase::Pending
    }
}

/// What placement needs of a volume.
pub fn of_volume(volume: &VolumeView) -> VolumeFacts {
    let text = |(key, value): &(std::sync::Arc<str>, std::sync::Arc<str>)| {
        (key.to_string(), value.to_string())
    };
    VolumeFacts {
        name: volume.meta.name().to_owned(),
        class: Some(volume.class.to_string()),
        labels: volume.meta.labels.iter().map(text).collect(),
        capacity_bytes: volume.capacity.value(),
        access_modes: volume
            .modes
            .iter()
            .map(|mode| mode.text().to_owned())
            .collect(),
        block: volume.is_block,
        claim: volume
            .claim
            .as_ref()
            .map(|claim| (claim.key.namespace.to_string(), claim.key.name.to_string())),
        available: &*volume.phase == "Available" && !volume.meta.is_deleting(),
        node_terms: volume.affinity.as_ref().map(|terms| terms.to_vec()),
        driver: volume.driver.as_ref().map(ToString::to_string),
    }
}

/// What placement needs of a storage class.
pub fn of_class(class: &ClassView) -> ClassFacts {
    let terms = class.topologies.iter().map(|topology| {
        let expressions = topology.match_label_expressions.iter().flatten();
        NodeTerm {
            labels: expressions
                .map(|expression| Requirement {
                    key: expression.key.clone(),
                    operator: Operator::In,
                    values: expression.values.clone(),
                })
                .collect(),
            fields: Vec::new(),
        }
    });
    ClassFacts {
        name: class.meta.name().to_owned(),
        waits_for_consumer: class.waits_for_consumer,
        provisioner: class.provisioner.to_string(),
        allowed: terms.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_engine::placement::LabelSelector;

    #[test]
    fn a_selector_keeps_its_requirements() {
        let selector = crate::pods::Selector::parse("app=web,tier in (a,b),!old,new").unwrap();
        let requirement = |key: &str, operator, values: &[&str]| Requirement {
            key: key.into(),
            operator,
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        };
        assert_eq!(
            super::super::selector(&selector),
            LabelSelector {
                requirements: vec![
                    requirement("app", Operator::In, &["web"]),
                    requirement("tier", Operator::In, &["a", "b"]),
                    requirement("old", Operator::DoesNotExist, &[]),
                    requirement("new", Operator::Exists, &[]),
                ],
            }
        );
    }
}
