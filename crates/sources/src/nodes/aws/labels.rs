//! Labels and taints of a group's next node.

use super::tags;
use super::template::Seen;
use serde_json::Value;
use std::collections::BTreeMap;

/// Labels, from what every node has to what tags of the group say.
pub(super) fn labels(seen: &Seen<'_>, region: &str) -> BTreeMap<String, String> {
    let Seen {
        group,
        shape,
        managed,
    } = *seen;
    let mut labels = of_machine(seen, region);
    for (tag, label) in [
        ("eks:nodegroup-name", "eks.amazonaws.com/nodegroup"),
        ("kops.k8s.io/instancegroup", "kops.k8s.io/instancegroup"),
    ] {
        if let Some(name) = group.tags.get(tag) {
            labels.insert(label.to_owned(), name.clone());
        }
    }
    if let Some(zone) = group.next_zone() {
        let names = [
            "topology.kubernetes.io/zone",
            "failure-domain.beta.kubernetes.io/zone",
            "topology.ebs.csi.aws.com/zone",
        ];
        labels.extend(names.map(|name| (name.to_owned(), zone.to_string())));
    }
    if let Some(kind) = shape.and_then(|shape| shape.kind.as_deref()) {
        let names = [
            "node.kubernetes.io/instance-type",
            "beta.kubernetes.io/instance-type",
        ];
        labels.extend(names.map(|name| (name.to_owned(), kind.to_owned())));
    }
    if let Some(managed) = managed {
        labels.extend(managed.labels.clone());
        labels.extend(tags::labels(&managed.tags));
    }
    labels.extend(tags::labels(&group.tags));
    labels
}

fn of_machine(seen: &Seen<'_>, region: &str) -> BTreeMap<String, String> {
    let is_windows = seen.managed.is_some_and(|managed| managed.is_windows);
    let os = if is_windows { "windows" } else { "linux" };
    let hostname = format!("{}-template", seen.group.name);
    let arch = seen
        .shape
        .map_or(Some("amd64"), |shape| shape.arch.as_deref());
    let known = [
        ("kubernetes.io/os", Some(os)),
        ("beta.kubernetes.io/os", Some(os)),
        ("kubernetes.io/hostname", Some(&*hostname)),
        ("topology.kubernetes.io/region", Some(region)),
        ("failure-domain.beta.kubernetes.io/region", Some(region)),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/arch", arch),
    ];
    let told = known.into_iter();
    told.filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
}

/// Taints, as v1 has them: what EKS says, and what tags say in place of it.
pub(super) fn taints(seen: &Seen<'_>) -> Vec<Value> {
    let of_eks = seen.managed.map(|managed| {
        let told = tags::taints(&managed.tags);
        over(managed.taints.clone(), told)
    });
    over(of_eks.unwrap_or_default(), tags::taints(&seen.group.tags))
}

/// Both, where the second has the last word about a key and an effect.
fn over(mut taints: Vec<Value>, last: Vec<Value>) -> Vec<Value> {
    let about = |taint: &Value| [taint.get("key").cloned(), taint.get("effect").cloned()];
    taints.retain(|taint| last.iter().all(|other| about(other) != about(taint)));
    taints.extend(last);
    taints
}
