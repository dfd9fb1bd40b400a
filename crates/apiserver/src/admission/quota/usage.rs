//! What one object counts for.

use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::resources::{self, Amounts, Side, add, quantity};
use plimsoll_quantity::Quantity;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Core kinds that quotas also count under their plain plural.
const PLAIN: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

/// Devices that a request for all of them is counted as: the most that one claim can get.
const ALL_DEVICES: i64 = 32;

const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const DEVICE_CLASS: &str = ".deviceclass.resource.k8s.io/devices";

/// `count/deployments.apps`, `count/pods`.
pub(super) fn count_name(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("count/{}", kind.plural)
    } else {
        format!("count/{}.{}", kind.plural, kind.group)
    }
}

/// Group and plural of the objects that a name in `hard` counts. What nothing else claims is about
/// what pods ask for.
pub(super) fn counted_by(name: &str) -> (&str, &str) {
    if let Some(counted) = name.strip_prefix("count/") {
        return match counted.split_once('.') {
            Some((plural, group)) => (group, plural),
            None => ("", counted),
        };
    }
    if name.contains(STORAGE_CLASS) || name == "requests.storage" {
        return ("", "persistentvolumeclaims");
    }
    if name.ends_with(DEVICE_CLASS) {
        return ("resource.k8s.io", "resourceclaims");
    }
    if name.starts_with("services.") {
        return ("", "services");
    }
    let plain = PLAIN.iter().find(|plain| **plain == name);
    ("", plain.copied().unwrap_or("pods"))
}

/// What the object counts for, by the names that quotas use.
pub(super) fn of(kind: &Kind, object: &Value) -> Amounts {
    let one = Quantity::from_value(1);
    let mut usage = Amounts::from([(count_name(kind), one)]);
    let plural = kind.plural.as_ref();
    match (kind.group.as_ref(), plural) {
        ("", "pods") => pod(object, &mut usage),
        ("resource.k8s.io", "resourceclaims") => devices(object, &mut usage),
        ("", _) if PLAIN.contains(&plural) => {
            usage.insert(plural.to_owned(), one);
            match plural {
                "services" => service(object, &mut usage),
                "persistentvolumeclaims" => claim(object, &mut usage),
                _ => {}
            }
        }
        _ => {}
    }
    usage
}

/// Whether an update of such an object can change what it counts for.
pub(super) fn moves_on_update(kind: &Kind) -> bool {
    let plural = kind.plural.as_ref();
    kind.group.is_empty() && matches!(plural, "services" | "persistentvolumeclaims" | "pods")
}

/// A pod that has ended counts as an object only.
///
/// Departs: upstream also lets go of a pod whose grace period is over though its node has not
/// confirmed the end; here the last step of the deletion is what frees the amounts.
fn pod(pod: &Value, usage: &mut Amounts) {
    let ended = matches!(
        meta::text(pod, &["status", "phase"]),
        "Succeeded" | "Failed"
    );
    let grace = meta::integer(pod, &["metadata", "deletionGracePeriodSeconds"]);
    if ended || (meta::is_deleting(pod) && grace == Some(0)) {
        return;
    }
    usage.insert("pods".into(), Quantity::from_value(1));
    usage.extend(compute(
        &resources::of_pod(spec(pod), Side::Requests),
        &resources::of_pod(spec(pod), Side::Limits),
    ));
}

/// Requests and limits under the names that quotas use.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::new();
    for (name, amount) in requests {
        let native = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if native || name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
        }
        if native || name.starts_with("hugepages-") || name.contains('/') {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
    usage
}

/// What every container of a pod must name because a quota of these names covers the pod:
/// `limits.cpu for: web; memory for: web,db`.
pub(super) fn unspecified<'a>(
    pod: &Value,
    names: impl Iterator<Item = &'a String>,
) -> Option<String> {
    let required: BTreeSet<&str> = names
        .map(String::as_str)
        .filter(|name| {
            let bare = name
                .trim_start_matches("requests.")
                .trim_start_matches("limits.");
            matches!(bare, "cpu" | "memory")
        })
        .collect();
    if required.is_empty() {
        return None;
    }
    let spec = spec(pod);
    let whole = compute(
        &resources::declared(spec, Side::Requests),
        &resources::declared(spec, Side::Limits),
    );
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let containers = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| meta::list(spec, &[list]));
    for container in containers {
        let own = compute(
            &resources::declared(container, Side::Requests),
            &resources::declared(container, Side::Limits),
        );
        for name in &required {
            if !own.contains_key(*name) && !whole.contains_key(*name) {
                let who = missing.entry(*name).or_default();
                who.insert(meta::text(container, &["name"]));
            }
        }
    }
    let parts: Vec<String> = missing
        .into_iter()
        .map(|(name, who)| {
            format!(
                "{name} for: {}",
                who.into_iter().collect::<Vec<_>>().join(",")
            )
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn service(service: &Value, usage: &mut Amounts) {
    let ports = meta::list(service, &["spec", "ports"]);
    let allocates = meta::at(service, &["spec", "allocateLoadBalancerNodePorts"])
        .and_then(Value::as_bool)
        != Some(false);
    let named = ports
        .iter()
        .filter(|port| meta::integer(port, &["nodePort"]).unwrap_or_default() != 0);
    let (node_ports, balancers) = match meta::text(service, &["spec", "type"]) {
        "NodePort" => (ports.len(), 0),
        "LoadBalancer" if allocates => (ports.len(), 1),
        "LoadBalancer" => (named.count(), 1),
        _ => (0, 0),
    };
    let count = i64::try_from(node_ports).unwrap_or(i64::MAX);
    usage.insert("services.nodeports".into(), Quantity::from_value(count));
    usage.insert(
        "services.loadbalancers".into(),
        Quantity::from_value(balancers),
    );
}

fn claim(claim: &Value, usage: &mut Amounts) {
    let wanted = meta::at(claim, &["spec", "resources", "requests", "storage"]).and_then(quantity);
    let given = meta::at(claim, &["status", "allocatedResources", "storage"]).and_then(quantity);
    let size = wanted.into_iter().chain(given).max();
    let class = meta::text(claim, &["spec", "storageClassName"]);
    if let Some(size) = size {
        usage.insert("requests.storage".into(), size);
    }
    if class.is_empty() {
        return;
    }
    let one = Quantity::from_value(1);
    usage.insert(format!("{class}{STORAGE_CLASS}persistentvolumeclaims"), one);
    if let Some(size) = size {
        usage.insert(format!("{class}{STORAGE_CLASS}requests.storage"), size);
    }
}

/// Devices by class; of alternatives, the most expensive one counts.
fn devices(claim: &Value, usage: &mut Amounts) {
    for request in meta::list(claim, &["spec", "devices", "requests"]) {
        let mut wanted = Amounts::new();
        let exactly = request.get("exactly").into_iter();
        for option in exactly.chain(meta::list(request, &["firstAvailable"])) {
            let class = meta::text(option, &["deviceClassName"]);
            let count = match meta::text(option, &["allocationMode"]) {
                "All" => ALL_DEVICES,
                _ => meta::integer(option, &["count"]).unwrap_or(1),
            };
            let name = format!("{class}{DEVICE_CLASS}");
            let amount = Amounts::from([(name, Quantity::from_value(count))]);
            resources::raise(&mut wanted, &amount);
        }
        add(usage, &wanted);
    }
}

fn spec(pod: &Value) -> &Value {
    pod.get("spec").unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_api::kinds;
    use rstest::rstest;
    use serde_json::json;

    fn counted(group: &str, plural: &str, object: &Value) -> String {
        let kinds = kinds::built_in();
        let usage = of(kinds.find(group, "v1", plural).unwrap(), object);
        let parts: Vec<String> = usage
            .iter()
            .map(|(name, q)| format!("{name}={q}"))
            .collect();
        parts.join(" ")
    }

    fn resources(requests: &Value, limits: &Value) -> Value {
        json!({"spec": {"containers": [{
            "name": "c", "resources": {"requests": requests, "limits": limits},
        }]}})
    }

    #[rstest]
    #[case::pod("", "pods", resources(&json!({"cpu": "1", "example.com/gpu": "2"}), &json!({"cpu": "2"})),
        "count/pods=1 cpu=1 limits.cpu=2 pods=1 requests.cpu=1 requests.example.com/gpu=2")]
    #[case::huge_pages("", "pods", resources(&json!({"hugepages-2Mi": "4Mi"}), &json!({})),
        "count/pods=1 hugepages-2Mi=4Mi pods=1 requests.hugepages-2Mi=4Mi")]
    #[case::ended("", "pods", json!({"status": {"phase": "Failed"}}), "count/pods=1")]
    #[case::going("", "pods", json!({"metadata": {"deletionTimestamp": "t", "deletionGracePeriodSeconds": 30}}), "count/pods=1 pods=1")]
    #[case::gone("", "pods", json!({"metadata": {"deletionTimestamp": "t", "deletionGracePeriodSeconds": 0}}), "count/pods=1")]
    #[case::node_port("", "services", json!({"spec": {"type": "NodePort", "ports": [{}, {}]}}),
        "count/services=1 services=1 services.loadbalancers=0 services.nodeports=2")]
    #[case::balancer("", "services", json!({"spec": {"type": "LoadBalancer", "ports": [{}]}}),
        "count/services=1 services=1 services.loadbalancers=1 services.nodeports=1")]
    #[case::balancer_without_ports("", "services", json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{}, {"nodePort": 30000}]}}),
        "count/services=1 services=1 services.loadbalancers=1 services.nodeports=1")]
    #[case::claim("", "persistentvolumeclaims", json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}}),
        "count/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/requests.storage=1Gi persistentvolumeclaims=1 requests.storage=1Gi")]
    #[case::claim_that_got_more("", "persistentvolumeclaims", json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}, "status": {"allocatedResources": {"storage": "2Gi"}}}),
        "count/persistentvolumeclaims=1 persistentvolumeclaims=1 requests.storage=2Gi")]
    #[case::devices("resource.k8s.io", "resourceclaims", json!({"spec": {"devices": {"requests": [
            {"exactly": {"deviceClassName": "gpu", "count": 2}},
            {"firstAvailable": [{"deviceClassName": "gpu", "count": 3}, {"deviceClassName": "tpu", "allocationMode": "All"}]},
        ]}}}),
        "count/resourceclaims.resource.k8s.io=1 gpu.deviceclass.resource.k8s.io/devices=5 tpu.deviceclass.resource.k8s.io/devices=32")]
    #[case::others("apps", "deployments", json!({}), "count/deployments.apps=1")]
    fn counts(
        #[case] group: &str,
        #[case] plural: &str,
        #[case] object: Value,
        #[case] want: &str,
    ) {
        assert_eq!(counted(group, plural, &object), want);
    }

    #[rstest]
    #[case("count/widgets.example.com", ("example.com", "widgets"))]
    #[case("count/pods", ("", "pods"))]
    #[case("requests.cpu", ("", "pods"))]
    #[case("requests.storage", ("", "persistentvolumeclaims"))]
    #[case("gold.storageclass.storage.k8s.io/requests.storage", ("", "persistentvolumeclaims"))]
    #[case("services.nodeports", ("", "services"))]
    #[case("secrets", ("", "secrets"))]
    #[case("gpu.deviceclass.resource.k8s.io/devices", ("resource.k8s.io", "resourceclaims"))]
    fn finds_what_a_name_counts(#[case] name: &str, #[case] want: (&str, &str)) {
        assert_eq!(counted_by(name), want);
    }

    #[test]
    fn names_what_containers_leave_out() {
        let mut pod = resources(&json!({"cpu": "1"}), &json!({}));
        pod["spec"]["initContainers"] = json!([{"name": "i"}]);
        let names = ["limits.cpu", "memory", "requests.cpu", "pods"].map(str::to_owned);
        assert_eq!(
            unspecified(&pod, names.iter()).as_deref(),
            Some("limits.cpu for: c,i; memory for: c,i; requests.cpu for: i")
        );
        let whole = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1"}});
        pod["spec"]["resources"] = whole;
        assert_eq!(unspecified(&pod, names.iter()), None);
    }
}
