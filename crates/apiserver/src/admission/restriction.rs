//! NodeRestriction: a node's own identity writes about that node only.

use super::{Operation, Request};
use crate::auth::Identity;
use crate::resource::patch::Part;
use plimsoll_api::meta;
use plimsoll_api::names;
use plimsoll_api::status::ApiError;
use serde_json::{Map, Value};

const MIRROR: &str = "kubernetes.io/config.mirror";
/// Labels that nodes may not give themselves.
const RESERVED: &str = "node-restriction.kubernetes.io";
const LEASES: &str = "kube-node-lease";

/// Labels with a kubernetes.io or k8s.io prefix that a node may set.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// The node whose identity this is.
fn node_of(identity: &Identity) -> Option<&str> {
    if !identity.is_in("system:nodes") {
        return None;
    }
    identity.user.strip_prefix("system:node:")
}

/// Refuses what a node may not write.
pub(super) fn check(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    match node_of(request.writer.identity) {
        None => Ok(()),
        Some(node) => verdict(request, node, object, old).map_err(|why| request.forbidden(&why)),
    }
}

/// Refuses what a node may not delete.
pub(super) fn check_deletion(request: &Request<'_>, old: &Value) -> Result<(), ApiError> {
    let Some(node) = node_of(request.writer.identity) else {
        return Ok(());
    };
    let verdict = if request.is_core("Pod") {
        pod_is_own(node, old, "delete pods")
    } else {
        verdict(request, node, old, Some(old))
    };
    verdict.map_err(|why| request.forbidden(&why))
}

fn verdict(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), String> {
    let kind = request.writer.kind;
    match (kind.group.as_ref(), kind.kind.as_ref()) {
        ("", "Pod") => pod(request, node, object, old),
        ("", "Node") => own_node(request, node, object, old),
        ("coordination.k8s.io", "Lease") if request.namespace != LEASES => Err(format!(
            "can only access leases in the {LEASES:?} system namespace"
        )),
        ("coordination.k8s.io", "Lease") if request.name != node => {
            Err("can only access node lease with the same name as the requesting node".into())
        }
        ("storage.k8s.io", "CSINode") if request.name != node => {
            Err("can only access CSINode with the same name as the requesting node".into())
        }
        ("resource.k8s.io", "ResourceSlice")
            if meta::text(object, &["spec", "nodeName"]) != node =>
        {
            Err(
                "can only create ResourceSlice with the same NodeName as the requesting node"
                    .into(),
            )
        }
        _ => Ok(()),
    }
}

fn pod(request: &Request<'_>, node: &str, pod: &Value, old: Option<&Value>) -> Result<(), String> {
    let Some(old) = old else {
        return mirror_pod(node, pod);
    };
    if request.part != Part::Status {
        return Err(format!("node {node:?} can only update pod status"));
    }
    pod_is_own(node, old, "update pod status for pods")?;
    let labels = ["metadata", "labels"];
    if meta::at(pod, &labels) != meta::at(old, &labels) {
        return Err(format!(
            "node {node:?} cannot update labels through pod status"
        ));
    }
    Ok(())
}

fn pod_is_own(node: &str, pod: &Value, deed: &str) -> Result<(), String> {
    if meta::text(pod, &["spec", "nodeName"]) == node {
        return Ok(());
    }
    Err(format!(
        "node {node:?} can only {deed} with spec.nodeName set to itself"
    ))
}

fn mirror_pod(node: &str, pod: &Value) -> Result<(), String> {
    if meta::at(pod, &["metadata", "annotations", MIRROR]).is_none() {
        return Err(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    pod_is_own(node, pod, "create pods")?;
    if !meta::text(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Err(format!(
            "node {node:?} can not create pods that reference a service account"
        ));
    }
    let sources = [
        ("secret", "secrets"),
        ("configMap", "configmaps"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
    ];
    let volumes = meta::list(pod, &["spec", "volumes"]);
    for (source, plural) in sources {
        if volumes.iter().any(|volume| volume.get(source).is_some()) {
            return Err(format!(
                "node {node:?} can not create pods that reference {plural}"
            ));
        }
    }
    Ok(())
}

fn own_node(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), String> {
    if request.name != node {
        return Err(format!(
            "node {node:?} is not allowed to modify node {:?}",
            request.name
        ));
    }
    if request.operation == Operation::Delete {
        return Ok(());
    }
    let labels = |node: &Value| -> Map<String, Value> {
        let labels = meta::at(node, &["metadata", "labels"]).and_then(Value::as_object);
        labels.cloned().unwrap_or_default()
    };
    let before = old.map(labels).unwrap_or_default();
    let after = labels(object);
    let changed = |key: &&String| before.get(*key) != after.get(*key);
    let mut foreign: Vec<&str> = after
        .keys()
        .chain(before.keys())
        .filter(changed)
        .map(String::as_str)
        .filter(|key| !may_set(key))
        .collect();
    foreign.sort_unstable();
    foreign.dedup();
    if !foreign.is_empty() {
        let deed = if old.is_some() {
            "modify labels"
        } else {
            "set the following labels"
        };
        let list = foreign.join(", ");
        return Err(format!("node {node:?} is not allowed to {deed}: {list}"));
    }
    let taints = ["spec", "taints"];
    if old.is_some_and(|old| meta::list(old, &taints) != meta::list(object, &taints)) {
        return Err(format!("node {node:?} is not allowed to modify taints"));
    }
    Ok(())
}

fn may_set(label: &str) -> bool {
    let Some((prefix, _)) = label.split_once('/') else {
        return names::is_qualified_name(label).is_ok();
    };
    let within = |domain: &str| prefix == domain || prefix.ends_with(&format!(".{domain}"));
    if within(RESERVED) {
        return false;
    }
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    within("kubelet.kubernetes.io") || within("node.kubernetes.io") || OWN_LABELS.contains(&label)
}

#[cfg(test)]
mod tests {
    use super::may_set;
    use rstest::rstest;

    #[rstest]
    #[case("team", true)]
    #[case("example.com/team", true)]
    #[case("kubernetes.io/hostname", true)]
    #[case("node.kubernetes.io/anything", true)]
    #[case("node-restriction.kubernetes.io/zone", false)]
    #[case("x.node-restriction.kubernetes.io/zone", false)]
    #[case("kubernetes.io/other", false)]
    #[case("node-role.kubernetes.io/control-plane", false)]
    fn nodes_label_themselves(#[case] label: &str, #[case] may: bool) {
        assert_eq!(may_set(label), may);
    }
}
