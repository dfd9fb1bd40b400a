//! From the cached views to what placement knows.

mod cluster;
mod devices;
mod node;
mod pod;
mod storage;
mod wire;

pub use cluster::{
    DELETION_CANDIDATE, TO_BE_DELETED, may_become_ready, of_cluster_node, of_pending, of_running,
    owner_kind, readiness,
};
pub use devices::{ClaimChange, Pools, take_claim, take_device_class, take_template};
pub use node::of_node;
pub use pod::{of_pod, resize_is_infeasible, spec_of, to_come};
pub use storage::{of_claim, of_class, of_volume};

use crate::pods::{BudgetView, Requirement as ViewRequirement, Selector};
use plimsoll_engine::placement::{BudgetFacts, LabelSelector, Operator, Requirement, Resources};
use plimsoll_quantity::Quantity;

/// Adds one quantity; text that is none counts nothing (the API server refuses it).
pub(crate) fn amount(resources: &mut Resources, name: &str, quantity: &str) {
    let Ok(quantity) = quantity.parse::<Quantity>() else {
        return;
    };
    let mut one = Resources::default();
    match name {
        "cpu" => one.cpu_milli = quantity.milli(),
        "memory" => one.memory_bytes = quantity.value(),
        "ephemeral-storage" => one.ephemeral_bytes = quantity.value(),
        "pods" => {}
        other => drop(one.extended.insert(other.to_owned(), quantity.value())),
    }
    resources.add(&one);
}

/// What placement needs of a disruption budget.
pub fn of_budget(budget: &BudgetView) -> BudgetFacts {
    let status = &budget.status;
    BudgetFacts {
        namespace: budget.meta.namespace().to_owned(),
        name: budget.meta.name().to_owned(),
        selector: budget.selector.as_ref().map(selector),
        allowed: status.disruptions_allowed,
        disrupted: status.disrupted_pods.keys().cloned().collect(),
    }
}

/// A cached selector in the words of placement.
pub fn selector(selector: &Selector) -> LabelSelector {
    let requirements = selector.requirements.iter();
    LabelSelector {
        requirements: requirements.map(requirement).collect(),
    }
}

fn requirement(wanted: &ViewRequirement) -> Requirement {
    let (key, operator, values) = match wanted {
        ViewRequirement::In(key, values) => (key, Operator::In, &**values),
        ViewRequirement::NotIn(key, values) => (key, Operator::NotIn, &**values),
        ViewRequirement::Exists(key) => (key, Operator::Exists, &[][..]),
        ViewRequirement::Absent(key) => (key, Operator::DoesNotExist, &[][..]),
    };
    Requirement {
        key: key.to_string(),
        operator,
        values: values.iter().map(ToString::to_string).collect(),
    }
}
