//! Limit ranges and pods.

use super::bounds::{self, Asked};
use super::range::{Limit, LimitRange, Subject};
use plimsoll_api::meta;
use plimsoll_api::resources::{self, Amounts, Side};
use serde_json::{Map, Value};

/// Tells what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives containers the range's default requests and limits where they name none.
pub(super) fn fill(pod: &mut Value, range: &LimitRange) {
    if range.requests.is_empty() && range.ceilings.is_empty() {
        return;
    }
    let mut notes = Vec::new();
    let spec = meta::object_mut(pod, &["spec"]);
    for (list, what) in [
        ("containers", "container"),
        ("initContainers", "init container"),
    ] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            notes.extend(fill_container(container, range, what));
        }
    }
    if notes.is_empty() {
        return;
    }
    let text = format!("LimitRanger plugin set: {}", notes.join("; "));
    meta::object_mut(pod, &["metadata", "annotations"]).insert(ANNOTATION.into(), text.into());
}

fn fill_container(container: &mut Value, range: &LimitRange, what: &str) -> Vec<String> {
    let name = meta::text(container, &["name"]).to_owned();
    let mut notes = Vec::new();
    let sides = [
        (Side::Requests, "request", &range.requests),
        (Side::Limits, "limit", &range.ceilings),
    ];
    for (side, word, defaults) in sides {
        if defaults.is_empty() {
            continue;
        }
        let set = fill_amounts(container, side, defaults);
        if !set.is_empty() {
            notes.push(format!("{} {word} for {what} {name}", set.join(", ")));
        }
    }
    notes
}

fn fill_amounts(container: &mut Value, side: Side, defaults: &Amounts) -> Vec<String> {
    let amounts: &mut Map<String, Value> = meta::object_mut(container, &["resources", side.key()]);
    let mut set = Vec::new();
    for (name, amount) in defaults {
        if !amounts.contains_key(name) {
            amounts.insert(name.clone(), amount.to_string().into());
            set.push(name.clone());
        }
    }
    set
}

/// What of a pod is outside the limit.
pub(super) fn violations(pod: &Value, limit: &Limit) -> Vec<String> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let judge = |requests: &Amounts, limits: &Amounts| {
        bounds::violations(limit, Asked { requests, limits })
    };
    match limit.subject {
        Subject::Container => ["containers", "initContainers"]
            .iter()
            .flat_map(|list| meta::list(spec, &[list]))
            .flat_map(|container| {
                let declared = |side| resources::declared(container, side);
                judge(&declared(Side::Requests), &declared(Side::Limits))
            })
            .collect(),
        Subject::Pod => judge(
            &resources::of_pod(spec, Side::Requests),
            &resources::of_pod(spec, Side::Limits),
        ),
        Subject::Claim | Subject::Other => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn range(limit: &Value) -> LimitRange {
        LimitRange::parse(&json!({"spec": {"limits": [limit]}}))
    }

    fn pod(resources: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "web", "resources": resources}]}})
    }

    #[rstest]
    #[case::limit_above_max(
        json!({"type": "Container", "max": {"cpu": "1"}}), json!({"limits": {"cpu": "3"}, "requests": {"cpu": "3"}}),
        &["maximum cpu usage per Container is 1, but limit is 3"])]
    #[case::no_limit(
        json!({"type": "Container", "max": {"cpu": "1"}}), json!({}),
        &["maximum cpu usage per Container is 1.  No limit is specified"])]
    #[case::request_below_min(
        json!({"type": "Container", "min": {"memory": "64Mi"}}), json!({"requests": {"memory": "32Mi"}}),
        &["minimum memory usage per Container is 64Mi, but request is 32Mi"])]
    #[case::limit_below_min(
        json!({"type": "Container", "min": {"cpu": "100m"}}), json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "50m"}}),
        &["minimum cpu usage per Container is 100m, but limit is 50m"])]
    #[case::no_request(
        json!({"type": "Container", "min": {"cpu": "100m"}}), json!({}),
        &["minimum cpu usage per Container is 100m.  No request is specified"])]
    #[case::ratio(
        json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}), json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "250m"}}),
        &["cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000"])]
    #[case::ratio_without_request(
        json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}), json!({"limits": {"cpu": "250m"}}),
        &["cpu max limit to request ratio per Container is 2, but no request is specified or request is 0"])]
    #[case::several(
        json!({"type": "Pod", "max": {"cpu": "1", "memory": "1Gi"}}), json!({"limits": {"cpu": "2", "memory": "2Gi"}}),
        &["maximum cpu usage per Pod is 1, but limit is 2", "maximum memory usage per Pod is 1Gi, but limit is 2Gi"])]
    #[case::within(
        json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "2"}}), json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}), &[])]
    #[case::claims_are_not_pods(json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}), json!({}), &[])]
    fn judges(#[case] limit: Value, #[case] resources: Value, #[case] want: &[&str]) {
        let range = range(&limit);
        assert_eq!(violations(&pod(&resources), &range.limits[0]), want);
    }

    #[test]
    fn defaults_fill_gaps_and_say_so() {
        let range = range(&json!({
            "type": "Container",
            "default": {"cpu": "200m", "memory": "64Mi"},
            "defaultRequest": {"cpu": "100m", "memory": "64Mi"},
        }));
        let mut pod = pod(&json!({"requests": {"cpu": "50m"}}));
        fill(&mut pod, &range);
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}})
        );
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: memory request for container web; cpu, memory limit for container web"
        );
    }
}
