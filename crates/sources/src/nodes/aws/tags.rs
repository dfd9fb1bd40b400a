//! What the tags of a group say about its nodes and options.
//!
//! Facts: reference/cluster-autoscaler.md §13; tags below
//! `k8s.io/cluster-autoscaler/node-template/`.

use super::model::Tags;
use jiff::SignedDuration;
use plimsoll_api::nodegroup::OptionOverrides;
use plimsoll_quantity::Quantity;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PREFIX: &str = "k8s.io/cluster-autoscaler/node-template/";

/// Tags whose key begins with `kind` below the prefix, by the rest of the key.
fn below<'a>(tags: &'a Tags, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let rest = move |key: &'a str| {
        key.strip_prefix(PREFIX)?
            .strip_prefix(kind)?
            .strip_prefix('/')
    };
    tags.iter().filter_map(move |(key, value)| {
        let rest = rest(key).filter(|rest| !rest.is_empty())?;
        Some((rest, value.as_str()))
    })
}

/// Labels of the nodes.
pub(super) fn labels(tags: &Tags) -> BTreeMap<String, String> {
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    below(tags, "label").map(pair).collect()
}

/// Taints of the nodes, as v1 has them; what is not `value:Effect` is left out.
pub(super) fn taints(tags: &Tags) -> Vec<Value> {
    let taint = |(key, value): (&str, &str)| {
        let (value, effect) = value.rsplit_once(':')?;
        let known = matches!(effect, "NoSchedule" | "NoExecute" | "PreferNoSchedule");
        known.then(|| json!({"key": key, "value": value, "effect": effect}))
    };
    below(tags, "taint").filter_map(taint).collect()
}

/// Resources of the nodes; what is no quantity is left out.
pub(super) fn resources(tags: &Tags) -> BTreeMap<String, Quantity> {
    let pair = |(name, value): (&str, &str)| Some((name.to_owned(), value.parse().ok()?));
    below(tags, "resources").filter_map(pair).collect()
}

/// Options of the group; what cannot be read is left to the flags.
pub(super) fn options(tags: &Tags) -> OptionOverrides {
    let mut options = OptionOverrides::default();
    for (name, value) in below(tags, "autoscaling-options") {
        let ratio = || {
            value
                .parse()
                .ok()
                .filter(|ratio| (0.0..=1.0).contains(ratio))
        };
        let time = || {
            value
                .parse()
                .ok()
                .filter(|time: &SignedDuration| !time.is_negative())
        };
        match name.to_ascii_lowercase().as_str() {
            "scaledownutilizationthreshold" => options.scale_down_utilization_threshold = ratio(),
            "scaledowngpuutilizationthreshold" => {
                options.scale_down_gpu_utilization_threshold = ratio();
            }
            "scaledownunneededtime" => options.scale_down_unneeded_time = time(),
            "scaledownunreadytime" => options.scale_down_unready_time = time(),
            "maxnodeprovisiontime" => options.max_node_provision_time = time(),
            "maxnodestartuptime" => options.max_node_startup_time = time(),
            "ignoredaemonsetsutilization" => {
                options.ignore_daemonsets_utilization = value.parse().ok();
            }
            _ => {}
        }
    }
    options
}

/// Whether the group's nodes belong to EKS, whose nodes keep more for themselves and give pods
/// addresses of the machine's own interfaces.
pub(super) fn is_eks(tags: &Tags) -> bool {
    let of_eks = |key: &String| key.starts_with("eks:") || key.starts_with("alpha.eksctl.io/");
    tags.keys().any(of_eks)
}

#[cfg(test)]
mod tests {
    use super::{is_eks, labels, options, resources, taints};
    use crate::nodes::aws::model::Tags;
    use jiff::SignedDuration;
    use serde_json::json;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        let pair = |(key, value): &(&str, &str)| {
            (
                format!("k8s.io/cluster-autoscaler/node-template/{key}"),
                (*value).to_owned(),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn labels_may_have_slashes_and_no_value() {
        let found = labels(&tags(&[
            ("label/team.example/name", "blue"),
            ("label/spot", ""),
            ("label/", "x"),
            ("taint/a", "b:NoSchedule"),
        ]));
        let found: Vec<_> = found
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, [("spot", ""), ("team.example/name", "blue")]);
    }

    #[test]
    fn taints_need_an_effect() {
        let found = taints(&tags(&[
            ("taint/a", "true:NoSchedule"),
            ("taint/b", ":NoExecute"),
            ("taint/c", "true"),
            ("taint/d", "x:Never"),
        ]));
        let a = json!({"key": "a", "value": "true", "effect": "NoSchedule"});
        let b = json!({"key": "b", "value": "", "effect": "NoExecute"});
        assert_eq!(found, [a, b]);
    }

    #[test]
    fn resources_are_quantities() {
        let found = resources(&tags(&[
            ("resources/ephemeral-storage", "100G"),
            ("resources/cpu", "much"),
        ]));
        assert_eq!(found.len(), 1);
        assert_eq!(found["ephemeral-storage"].to_string(), "100G");
    }

    #[test]
    fn options_of_the_group() {
        let found = options(&tags(&[
            ("autoscaling-options/scaledownutilizationthreshold", "0.7"),
            ("autoscaling-options/scaleDownGpuUtilizationThreshold", "7"),
            ("autoscaling-options/scaledownunneededtime", "1m30s"),
            ("autoscaling-options/scaledownunreadytime", "soon"),
            ("autoscaling-options/ignoredaemonsetsutilization", "true"),
        ]));
        assert_eq!(found.scale_down_utilization_threshold, Some(0.7));
        assert_eq!(found.scale_down_gpu_utilization_threshold, None);
        assert_eq!(
            found.scale_down_unneeded_time,
            Some(SignedDuration::from_secs(90))
        );
        assert_eq!(found.scale_down_unready_time, None);
        assert_eq!(found.ignore_daemonsets_utilization, Some(true));
    }

    #[test]
    fn eks_marks_its_groups() {
        let one = |key: &str| Tags::from([(key.to_owned(), String::new())]);
        assert!(is_eks(&one("eks:nodegroup-name")));
        assert!(is_eks(&one("alpha.eksctl.io/cluster-name")));
        assert!(!is_eks(&one("kops.k8s.io/instancegroup")));
    }
}
