//! What claims ask for.

use super::selectors;
use crate::facts::wire::effect;
use k8s_openapi::api::resource::v1::{
    CapacityRequirements, DeviceClaim, DeviceConstraint as Constraint, DeviceRequest as Request,
    DeviceToleration,
};
use plimsoll_engine::placement::{
    Amount, ConstraintKind, DeviceConstraint, DeviceOption, DeviceRequest, DeviceRequests,
    QualifiedName, Toleration, TolerationOperator,
};
use std::sync::Arc;

/// What a claim asks for. Requests in words of a newer API cannot be satisfied.
pub(super) fn of_claim(claim: &DeviceClaim) -> DeviceRequests {
    let requests = claim.requests.iter().flatten();
    let constraints = claim.constraints.iter().flatten();
    DeviceRequests {
        requests: requests.map(request).collect(),
        constraints: constraints.filter_map(constraint).collect(),
    }
}

fn request(request: &Request) -> DeviceRequest {
    let name = &request.name;
    let exactly = request.exactly.iter().map(|exactly| DeviceOption {
        name: name.clone(),
        class: exactly.device_class_name.clone(),
        selectors: with_capacity(
            selectors(exactly.selectors.as_ref()),
            exactly.capacity.as_ref(),
        ),
        amount: amount(exactly.allocation_mode.as_deref(), exactly.count),
        admin: exactly.admin_access.unwrap_or_default(),
        tolerations: tolerations(exactly.tolerations.as_ref()),
    });
    let available = request.first_available.iter().flatten();
    let available = available.map(|one| DeviceOption {
        name: format!("{name}/{}", one.name),
        class: one.device_class_name.clone(),
        selectors: with_capacity(selectors(one.selectors.as_ref()), one.capacity.as_ref()),
        amount: amount(one.allocation_mode.as_deref(), one.count),
        admin: false,
        tolerations: tolerations(one.tolerations.as_ref()),
    });
    DeviceRequest {
        name: name.clone(),
        options: exactly.chain(available).collect(),
    }
}

fn amount(mode: Option<&str>, count: Option<i64>) -> Amount {
    match mode {
        Some("All") => Amount::All,
        _ => Amount::Count(usize::try_from(count.unwrap_or(1)).unwrap_or(usize::MAX)),
    }
}

/// A device that nobody shares has to have at least the capacity that is asked for.
fn with_capacity(
    mut selectors: Vec<Arc<str>>,
    wanted: Option<&CapacityRequirements>,
) -> Vec<Arc<str>> {
    let wanted = wanted.and_then(|wanted| wanted.requests.as_ref());
    for (name, quantity) in wanted.into_iter().flatten() {
        let (domain, name) = match name.split_once('/') {
            Some((domain, name)) => (format!("{domain:?}"), name),
            None => ("device.driver".to_owned(), name.as_str()),
        };
        let capacity = format!("device.capacity[{domain}]");
        let selector = format!(
            "{domain} in device.capacity && {name:?} in {capacity} && \
             {capacity}[{name:?}].compareTo(quantity({:?})) >= 0",
            quantity.0
        );
        selectors.push(selector.into());
    }
    selectors
}

fn constraint(constraint: &Constraint) -> Option<DeviceConstraint> {
    let (attribute, kind) = match (&constraint.match_attribute, &constraint.distinct_attribute) {
        (Some(attribute), _) => (attribute, ConstraintKind::Same),
        (None, Some(attribute)) => (attribute, ConstraintKind::Distinct),
        (None, None) => return None,
    };
    Some(DeviceConstraint {
        requests: constraint.requests.clone().unwrap_or_default(),
        attribute: QualifiedName::of(attribute, ""),
        kind,
    })
}

fn tolerations(of: Option<&Vec<DeviceToleration>>) -> Vec<Toleration> {
    let each = of.into_iter().flatten();
    each.map(|toleration| Toleration {
        key: toleration.key.clone().unwrap_or_default(),
        operator: match toleration.operator.as_deref() {
            Some("Exists") => TolerationOperator::Exists,
            _ => TolerationOperator::Equal,
        },
        value: toleration.value.clone().unwrap_or_default(),
        effect: toleration.effect.as_deref().and_then(effect),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_are_read_with_their_options() {
        let claim = json!({
            "requests": [
                {"name": "one", "exactly": {"deviceClassName": "gpu", "allocationMode": "All",
                    "selectors": [{"cel": {"expression": "true"}}],
                    "tolerations": [{"operator": "Exists"}]}},
                {"name": "any", "firstAvailable": [
                    {"name": "big", "deviceClassName": "gpu", "count": 2},
                    {"name": "small", "deviceClassName": "nic", "capacity":
                        {"requests": {"memory": "1Gi"}}}]}],
            "constraints": [{"matchAttribute": "pcie.org/root", "requests": ["one"]}],
        });
        let found = of_claim(&serde_json::from_value(claim).unwrap());
        let options: Vec<(&str, &str, Amount, usize)> = found
            .requests
            .iter()
            .flat_map(|request| &request.options)
            .map(|o| (&*o.name, &*o.class, o.amount, o.selectors.len()))
            .collect();
        let want = [
            ("one", "gpu", Amount::All, 1),
            ("any/big", "gpu", Amount::Count(2), 0),
            ("any/small", "nic", Amount::Count(1), 1),
        ];
        assert_eq!(options, want);
        assert_eq!(
            found.constraints[0].attribute,
            QualifiedName::of("root", "pcie.org")
        );
        assert_eq!(found.requests[0].options[0].tolerations.len(), 1);
    }
}
