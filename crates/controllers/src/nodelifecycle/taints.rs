//! Which taints a node's state asks for.

use crate::pods::{NodeView, Taint};
use jiff::Timestamp;

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep pods away while they hold.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "node.kubernetes.io/network-unavailable",
    ),
];

/// What happens to pods that run on an unhealthy node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driving {
    /// They are driven away.
    On,
    /// They stay for now; what has begun goes on.
    AsItIs,
    /// They stay.
    Off,
}

/// Whether the node's state asks for its pods to leave.
pub(super) fn is_unhealthy(node: &NodeView) -> bool {
    node.condition("Ready").is_some_and(|ready| !ready.holds)
}

/// Whether its pods are being driven away, for whichever of the two reasons.
pub(super) fn drives(node: &NodeView) -> bool {
    let ours = |taint: &Taint| taint.key == NOT_READY || taint.key == UNREACHABLE;
    node.taints
        .iter()
        .any(|taint| ours(taint) && taint.effect == "NoExecute")
}

/// The taints the node should have; those of others stay as they are.
pub(super) fn wanted(node: &NodeView, driving: Driving, now: Timestamp) -> Vec<Taint> {
    let mut wanted = Vec::new();
    let ready = node.condition("Ready");
    if !ready.is_some_and(|ready| ready.holds) {
        let unknown = ready.is_some_and(|ready| ready.unknown);
        let key = if unknown { UNREACHABLE } else { NOT_READY };
        wanted.push((key, "NoSchedule"));
        let drive = match driving {
            Driving::On => true,
            Driving::AsItIs => drives(node),
            Driving::Off => false,
        };
        if ready.is_some() && drive {
            wanted.push((key, "NoExecute"));
        }
    }
    for (condition, key) in PRESSURES {
        if node
            .condition(condition)
            .is_some_and(|condition| condition.holds)
        {
            wanted.push((key, "NoSchedule"));
        }
    }
    if node.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    merge(&node.taints, &wanted, now)
}

fn merge(there: &[Taint], wanted: &[(&'static str, &'static str)], now: Timestamp) -> Vec<Taint> {
    let mut taints = there.to_vec();
    taints.retain(|taint| !is_ours(taint) || wanted.contains(&(&*taint.key, &*taint.effect)));
    for (key, effect) in wanted {
        let known = |taint: &Taint| taint.key == *key && taint.effect == *effect;
        if !taints.iter().any(known) {
            taints.push(Taint {
                key: (*key).into(),
                value: None,
                effect: (*effect).into(),
                time_added: Some(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            });
        }
    }
    taints
}

/// Taints that follow the node's state and nothing else.
fn is_ours(taint: &Taint) -> bool {
    let drives = taint.effect == "NoExecute" && [NOT_READY, UNREACHABLE].contains(&&*taint.key);
    let known = [NOT_READY, UNREACHABLE, UNSCHEDULABLE];
    let keeps_away =
        known.contains(&&*taint.key) || PRESSURES.iter().any(|(_, key)| *key == taint.key);
    drives || taint.effect == "NoSchedule" && keeps_away
}

#[cfg(test)]
mod tests {
    use super::{Driving, wanted};
    use crate::pods::NodeView;
    use crate::runtime::Cached;
    use jiff::Timestamp;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn short(node: &Value, driving: Driving) -> Vec<String> {
        let node = NodeView::from_wire(serde_json::from_value(node.clone()).unwrap());
        let taints = wanted(&node, driving, Timestamp::UNIX_EPOCH).into_iter();
        let mut taints: Vec<_> = taints
            .map(|t| format!("{}:{}", t.key.replace("node.kubernetes.io/", ""), t.effect))
            .collect();
        taints.sort();
        taints
    }

    fn ready(status: &str) -> Value {
        json!({"type": "Ready", "status": status})
    }

    #[rstest]
    #[case::ready(json!({}), json!([ready("True")]), &[])]
    #[case::cordoned(json!({"unschedulable": true}), json!([ready("True")]), &["unschedulable:NoSchedule"])]
    #[case::not_ready(json!({}), json!([ready("False")]), &["not-ready:NoExecute", "not-ready:NoSchedule"])]
    #[case::silent(json!({}), json!([ready("Unknown")]), &["unreachable:NoExecute", "unreachable:NoSchedule"])]
    #[case::new(json!({}), json!([]), &["not-ready:NoSchedule"])]
    #[case::full(json!({}), json!([ready("True"), {"type": "DiskPressure", "status": "True"},
        {"type": "MemoryPressure", "status": "Unknown"}]), &["disk-pressure:NoSchedule"])]
    #[case::unconnected(json!({}), json!([ready("True"), {"type": "NetworkUnavailable", "status": "True"}]),
        &["network-unavailable:NoSchedule"])]
    fn a_state_asks_for_taints(
        #[case] spec: Value,
        #[case] conditions: Value,
        #[case] want: &[&str],
    ) {
        let node =
            json!({"metadata": {"name": "a"}, "spec": spec, "status": {"conditions": conditions}});
        assert_eq!(short(&node, Driving::On), want);
    }

    #[test]
    fn taints_of_others_stay_and_stale_ones_go() {
        let node = json!({
            "metadata": {"name": "a"},
            "spec": {"taints": [
                {"key": "mine", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
                {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"},
            ]},
            "status": {"conditions": [ready("True")]},
        });
        let want = ["mine:NoSchedule", "out-of-service:NoExecute"];
        assert_eq!(short(&node, Driving::AsItIs), want);
    }

    #[rstest]
    #[case::begun_goes_on(true, Driving::AsItIs, true)]
    #[case::not_begun(false, Driving::AsItIs, false)]
    #[case::stopped(true, Driving::Off, false)]
    #[case::begins(false, Driving::On, true)]
    fn driving_is_said_from_outside(
        #[case] begun: bool,
        #[case] driving: Driving,
        #[case] want: bool,
    ) {
        let mut node = json!({"metadata": {"name": "a"}, "spec": {}, "status": {"conditions": [ready("Unknown")]}});
        if begun {
            node["spec"]["taints"] =
                json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]);
        }
        let taints = short(&node, driving);
        assert_eq!(taints.contains(&"unreachable:NoExecute".to_owned()), want);
    }
}
