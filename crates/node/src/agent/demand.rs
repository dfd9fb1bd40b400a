//! What a pod asks of its node: CPU and memory by the rules of the scheduler.

use super::view::{Container, Pod, Resources, Role};
use plimsoll_quantity::Quantity;
use std::collections::BTreeMap;

/// CPU and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Millicores.
    pub cpu_milli: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

impl Amounts {
    /// Amounts of a map of requests or limits; what is absent or malformed counts as nothing.
    pub fn of(map: &BTreeMap<String, String>) -> Self {
        Self {
            cpu_milli: amount(map, "cpu", Quantity::milli).unwrap_or(0),
            memory_bytes: amount(map, "memory", Quantity::value).unwrap_or(0),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    fn at_least(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
        }
    }
}

/// One amount of a map, in the unit `unit` takes out of a quantity.
pub(crate) fn amount(
    map: &BTreeMap<String, String>,
    resource: &str,
    unit: impl Fn(&Quantity) -> i64,
) -> Option<u64> {
    let quantity = map.get(resource)?.parse::<Quantity>().ok()?;
    Some(u64::try_from(unit(&quantity)).unwrap_or(0))
}

/// What the scheduler counts for the pod: main containers and sidecars together, or the hungriest
/// moment of its init containers where that is more; what is said for the whole pod wins.
pub fn of_pod(pod: &Pod) -> Amounts {
    total(pod, |_, container| &container.resources)
}

/// The same where the containers have these resources, whatever they ask for now.
pub fn of_allocated(pod: &Pod, allocated: &[Resources]) -> Amounts {
    total(pod, |index, container| {
        allocated.get(index).unwrap_or(&container.resources)
    })
}

fn total<'a>(pod: &'a Pod, has: impl Fn(usize, &'a Container) -> &'a Resources) -> Amounts {
    let own = |(index, container)| Amounts::of(&has(index, container).requests);
    let (mut sidecars, mut running, mut starting) =
        (Amounts::default(), Amounts::default(), Amounts::default());
    for (index, (role, container)) in pod.containers().enumerate() {
        let container = (index, container);
        match role {
            Role::Init => starting = starting.at_least(sidecars.plus(own(container))),
            Role::Sidecar => {
                sidecars = sidecars.plus(own(container));
                starting = starting.at_least(sidecars);
            }
            Role::Main => running = running.plus(own(container)),
            Role::Ephemeral => {}
        }
    }
    let mut sum = running.plus(sidecars).at_least(starting);
    let whole = &pod.spec.resources.requests;
    sum.cpu_milli = amount(whole, "cpu", Quantity::milli).unwrap_or(sum.cpu_milli);
    sum.memory_bytes = amount(whole, "memory", Quantity::value).unwrap_or(sum.memory_bytes);
    sum.plus(Amounts::of(&pod.spec.overhead))
}

/// The order of service classes where somebody must wait or go: the best is 0.
pub fn qos_rank(class: &str) -> u8 {
    match class {
        "Guaranteed" => 0,
        "Burstable" => 1,
        _ => 2,
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by the requests and limits of the pod where it has
/// any, else of all its containers.
pub fn qos(pod: &Pod) -> &'static str {
    let whole = &pod.spec.resources;
    if !whole.limits.is_empty() || !whole.requests.is_empty() {
        return class([whole].into_iter());
    }
    let counted = pod
        .containers()
        .filter(|(role, _)| *role != Role::Ephemeral);
    class(counted.map(|(_, container)| &container.resources))
}

fn class<'a>(all: impl Iterator<Item = &'a Resources>) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    let quantity = |text: &String| text.parse::<Quantity>().ok().filter(|q| !q.is_zero());
    for resources in all {
        for resource in ["cpu", "memory"] {
            let limit = resources.limits.get(resource).and_then(quantity);
            let request = resources.requests.get(resource).and_then(quantity);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(spec: &Value) -> Pod {
        serde_json::from_value(json!({ "spec": spec })).unwrap()
    }

    fn asks(name: &str, cpu: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}})
    }

    fn side(cpu: &str) -> Value {
        let mut container = asks("side", cpu);
        container["restartPolicy"] = "Always".into();
        container
    }

    #[rstest]
    #[case::sums_main_containers(json!({"containers": [asks("a", "1"), asks("b", "500m")]}), 1500)]
    #[case::a_hungry_init_container(json!({"containers": [asks("a", "1")],
        "initContainers": [asks("i", "2")]}), 2000)]
    #[case::sidecars_count_all_along(json!({"containers": [asks("a", "1")],
        "initContainers": [side("1")]}), 2000)]
    #[case::init_after_a_sidecar(json!({"containers": [asks("a", "1")],
        "initContainers": [side("1"), asks("i", "2")]}), 3000)]
    #[case::the_whole_pod_wins(json!({"containers": [asks("a", "1")],
        "resources": {"requests": {"cpu": "250m"}}}), 250)]
    #[case::overhead(json!({"containers": [asks("a", "1")], "overhead": {"cpu": "10m"}}), 1010)]
    fn demands(#[case] spec: Value, #[case] cpu_milli: u64) {
        assert_eq!(of_pod(&pod(&spec)).cpu_milli, cpu_milli);
    }

    #[rstest]
    #[case::nothing(json!({}), json!({}), "BestEffort")]
    #[case::a_zero_is_nothing(json!({"requests": {"cpu": "0"}}), json!({}), "BestEffort")]
    #[case::a_request(json!({"requests": {"cpu": "1"}}), json!({}), "Burstable")]
    #[case::both_equal(json!({"limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "1000m", "memory": "1Gi"}}), json!({}), "Guaranteed")]
    #[case::only_one_limit(json!({"limits": {"cpu": "1"}}), json!({}), "Burstable")]
    #[case::for_the_pod(json!({}), json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed")]
    #[case::the_pods_own_wins(json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
        json!({"requests": {"cpu": "1"}}), "Burstable")]
    fn classes(#[case] of_container: Value, #[case] of_pod: Value, #[case] want: &str) {
        let spec = json!({"resources": of_pod,
            "containers": [{"name": "a", "resources": of_container}]});
        assert_eq!(qos(&pod(&spec)), want);
    }
}
