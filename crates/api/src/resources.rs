//! What pods ask for: the sums over containers that quotas, limit ranges and schedulers count.

use crate::meta;
use plimsoll_quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// Amounts by resource name, e.g. `cpu` → `500m`.
pub type Amounts = BTreeMap<String, Quantity>;

/// Which of the two amounts of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is set aside for it.
    Requests,
    /// What it may use at most.
    Limits,
}

impl Side {
    /// The field's name.
    pub fn key(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// A quantity written as text or as a number.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The amounts of a map of quantities; malformed ones are left out.
pub fn amounts(map: Option<&Value>) -> Amounts {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.clone(), quantity(value)?)))
        .collect()
}

/// `resources.requests` or `resources.limits` of a container, a claim or a pod's spec.
pub fn declared(owner: &Value, side: Side) -> Amounts {
    amounts(meta::at(owner, &["resources", side.key()]))
}

/// Adds `more` to `sum`, name by name.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.add(*amount);
    }
}

/// Raises `most` to `other`, name by name.
pub fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        match most.get_mut(name) {
            Some(known) if *known >= *amount => {}
            Some(known) => *known = *amount,
            None => drop(most.insert(name.clone(), *amount)),
        }
    }
}

/// What the pod with this spec needs while it runs.
///
/// Parity: containers and sidecars run together and add up; an init container runs alone beside
/// the sidecars started before it, so only the largest counts; amounts of the pod itself replace
/// the sum for the resources they name; overhead comes on top (for limits only where there is one).
pub fn of_pod(spec: &Value, side: Side) -> Amounts {
    let mut together = Amounts::new();
    for container in meta::list(spec, &["containers"]) {
        add(&mut together, &declared(container, side));
    }
    let mut sidecars = Amounts::new();
    let mut start = Amounts::new();
    for container in meta::list(spec, &["initContainers"]) {
        let own = declared(container, side);
        if meta::text(container, &["restartPolicy"]) == "Always" {
            add(&mut together, &own);
            add(&mut sidecars, &own);
            raise(&mut start, &sidecars);
        } else {
            let mut now = sidecars.clone();
            add(&mut now, &own);
            raise(&mut start, &now);
        }
    }
    raise(&mut together, &start);
    together.extend(declared(spec, side));
    for (name, amount) in amounts(spec.get("overhead")) {
        match (together.get_mut(&name), side) {
            (Some(known), _) => *known = known.add(amount),
            (None, Side::Requests) => drop(together.insert(name, amount)),
            (None, Side::Limits) => {}
        }
    }
    together
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn container(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}})
    }

    fn sidecar(cpu: &str) -> Value {
        json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}})
    }

    #[rstest]
    #[case::containers_add_up(json!({"containers": [container("1"), container("500m")]}), "1500m")]
    #[case::the_largest_init_container_counts(
        json!({"containers": [container("1")], "initContainers": [container("2"), container("3")]}), "3")]
    #[case::sidecars_run_on(
        json!({"containers": [container("1")], "initContainers": [sidecar("2")]}), "3")]
    #[case::an_init_container_runs_beside_earlier_sidecars(
        json!({"containers": [container("1")], "initContainers": [sidecar("2"), container("5")]}), "7")]
    #[case::a_later_sidecar_does_not_count_with_it(
        json!({"containers": [container("1")], "initContainers": [container("5"), sidecar("2")]}), "5")]
    #[case::the_pods_own_amount_replaces_the_sum(
        json!({"containers": [container("1")], "resources": {"requests": {"cpu": "4"}}}), "4")]
    #[case::overhead_comes_on_top(
        json!({"containers": [container("1")], "overhead": {"cpu": "250m"}}), "1250m")]
    fn requests(#[case] spec: Value, #[case] want: &str) {
        let got = of_pod(&spec, Side::Requests);
        assert_eq!(
            got.get("cpu").map(ToString::to_string).as_deref(),
            Some(want)
        );
    }

    #[test]
    fn overhead_sets_no_limit_where_there_is_none() {
        let spec = json!({"containers": [container("1")], "overhead": {"cpu": "1"}});
        assert!(of_pod(&spec, Side::Limits).is_empty());
    }
}
