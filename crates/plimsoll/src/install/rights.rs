//! What the installation may do, and no more. `plimsoll doctor` checks the rules of every
//! installation; those of node autoscaling are granted only where it is switched on, and whoever
//! applies them hears from the API server what is missing.

use serde_json::{Value, json};

/// One rule of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// API group; empty for core.
    pub(crate) group: &'static str,
    /// Plurals, with subresources after a slash.
    pub(crate) resources: &'static [&'static str],
    /// Verbs.
    pub(crate) verbs: &'static [&'static str],
    /// Only objects of these names; empty for all.
    pub(crate) names: &'static [&'static str],
    /// What it is good for.
    pub(crate) why: &'static str,
}

const READ: &[&str] = &["get", "list", "watch"];

const fn rule(
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    why: &'static str,
) -> Rule {
    Rule {
        group,
        resources,
        verbs,
        names: &[],
        why,
    }
}

/// Rights in every namespace in scope.
pub(crate) const SCOPED: &[Rule] = &[
    rule(
        "autoscaling",
        &["horizontalpodautoscalers"],
        READ,
        "to read autoscalers",
    ),
    rule(
        "autoscaling",
        &["horizontalpodautoscalers/status"],
        &["get", "patch", "update"],
        "to write what was decided",
    ),
    rule(
        "plimsoll.dev",
        &["podautoscalers"],
        READ,
        "to read autoscalers",
    ),
    rule(
        "plimsoll.dev",
        &["podautoscalers/status"],
        &["get", "patch", "update"],
        "to write what was decided",
    ),
    rule("*", &["*/scale"], &["get", "patch", "update"], "to scale"),
    rule("", &["pods"], READ, "to know the pods of a target"),
    rule(
        "apps",
        &["deployments", "replicasets", "statefulsets"],
        READ,
        "to know the targets",
    ),
    rule(
        "",
        &["replicationcontrollers"],
        &["get"],
        "to know whose the pods are",
    ),
    rule(
        "autoscaling.k8s.io",
        &["verticalpodautoscalers"],
        &["list"],
        "to warn of VerticalPodAutoscalers on the same target",
    ),
    rule(
        "",
        &["events"],
        &["create", "patch", "update"],
        "to tell what happened",
    ),
    rule(
        "metrics.k8s.io",
        &["pods"],
        &["get", "list"],
        "to read usage where a metrics-server runs",
    ),
    rule(
        "custom.metrics.k8s.io",
        &["*"],
        &["get", "list"],
        "to read metrics of adapters",
    ),
    rule(
        "external.metrics.k8s.io",
        &["*"],
        &["get", "list"],
        "to read metrics of adapters",
    ),
];

/// Rights that only the whole cluster as scope needs.
pub(crate) const EVERYWHERE: &[Rule] = &[
    rule("", &["nodes"], READ, "to find the kubelets to measure at"),
    rule(
        "",
        &["nodes/metrics", "nodes/stats"],
        &["get"],
        "to measure at the kubelets",
    ),
    rule("", &["namespaces"], READ, "to serve metrics of namespaces"),
    rule(
        "metrics.k8s.io",
        &["nodes"],
        &["get", "list"],
        "to read usage where a metrics-server runs",
    ),
    Rule {
        names: &[
            "v1alpha1.explain.plimsoll.dev",
            "v1beta1.custom.metrics.k8s.io",
            "v1beta1.external.metrics.k8s.io",
            "v1beta1.metrics.k8s.io",
            "v1beta2.custom.metrics.k8s.io",
        ],
        ..rule(
            "apiregistration.k8s.io",
            &["apiservices"],
            &["get", "list", "patch", "watch"],
            "to say how the APIs served here can be trusted",
        )
    },
];

/// Rights in the installation's own namespace.
pub(crate) const OWN: &[Rule] = &[
    rule(
        "coordination.k8s.io",
        &["leases"],
        &["create"],
        "to elect a leader",
    ),
    Rule {
        names: &["plimsoll"],
        ..rule(
            "coordination.k8s.io",
            &["leases"],
            &["get", "list", "patch", "update", "watch"],
            "to elect a leader",
        )
    },
    rule(
        "",
        &["configmaps"],
        &["create", "get", "list", "patch", "update", "watch"],
        "to remember recommendations over restarts",
    ),
    rule(
        "discovery.k8s.io",
        &["endpointslices"],
        &["create", "delete", "get", "patch"],
        "to lead clients to the leader",
    ),
    rule(
        "",
        &["endpoints"],
        &["create", "delete", "get", "patch"],
        "to lead clients to the leader, on clusters before 1.33",
    ),
    rule(
        "",
        &["events"],
        &["create", "patch", "update"],
        "to tell of elections",
    ),
    rule(
        "autoscaling",
        &["horizontalpodautoscalers"],
        &["create", "delete", "get"],
        "to find out whether another controller obeys autoscalers",
    ),
];

/// Rights in the whole cluster that autoscaling nodes takes, beside those of every installation.
pub(crate) const NODES: &[Rule] = &[
    rule(
        "",
        &["nodes"],
        &["patch", "update"],
        "to taint and cordon nodes that go",
    ),
    rule(
        "",
        &["pods/eviction"],
        &["create"],
        "to empty nodes that go, as disruption budgets allow",
    ),
    rule(
        "",
        &[
            "namespaces",
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "replicationcontrollers",
        ],
        READ,
        "to know where pods would fit",
    ),
    rule(
        "apps",
        &["daemonsets", "deployments", "replicasets", "statefulsets"],
        READ,
        "to know what replaces pods, and what runs on every node",
    ),
    rule("batch", &["jobs"], READ, "to know what replaces pods"),
    rule(
        "autoscaling.x-k8s.io",
        &["capacitybuffers"],
        READ,
        "to read for what room is to be held",
    ),
    rule(
        "autoscaling.x-k8s.io",
        &["provisioningrequests"],
        &["delete", "get", "list", "watch"],
        "to read what room is asked for as a whole, and to drop requests of long ago",
    ),
    rule(
        "autoscaling.x-k8s.io",
        &["provisioningrequests/status"],
        &["get", "patch", "update"],
        "to tell what came of them",
    ),
    rule(
        "autoscaling.x-k8s.io",
        &["capacitybuffers/status"],
        &["get", "patch", "update"],
        "to tell what came of it",
    ),
    rule(
        "autoscaling.x-k8s.io",
        &["capacityquotas"],
        READ,
        "to read how much nodes may come to",
    ),
    rule(
        "autoscaling.x-k8s.io",
        &["capacityquotas/status"],
        &["get", "patch", "update"],
        "to tell how much they do",
    ),
    rule(
        "",
        &["podtemplates"],
        READ,
        "to know what the pods of buffers are like",
    ),
    rule(
        "policy",
        &["poddisruptionbudgets"],
        READ,
        "to know which pods may be moved",
    ),
    rule(
        "storage.k8s.io",
        &["csinodes", "storageclasses"],
        READ,
        "to know where volumes can be reached",
    ),
    rule(
        "resource.k8s.io",
        &[
            "deviceclasses",
            "resourceclaims",
            "resourceclaimtemplates",
            "resourceslices",
        ],
        READ,
        "to know which devices pods claim and nodes have",
    ),
    rule(
        "",
        &["events"],
        &["create", "patch", "update"],
        "to tell what happened",
    ),
];

/// Rights in the namespace of the node autoscaler's ConfigMaps.
pub(crate) const NODES_OWN: &[Rule] = &[rule(
    "",
    &["configmaps"],
    &[
        "create", "delete", "get", "list", "patch", "update", "watch",
    ],
    "to tell the status, to remember over restarts, and to read priorities of groups",
)];

/// Rights in the whole cluster that node groups of Cluster API take.
pub(crate) const CLUSTER_API: &[Rule] = &[
    rule(
        "cluster.x-k8s.io",
        &[
            "machinedeployments",
            "machinepools",
            "machines",
            "machinesets",
        ],
        &["get", "list", "patch", "update", "watch"],
        "to know node groups, and to mark machines that go",
    ),
    rule(
        "cluster.x-k8s.io",
        &[
            "machinedeployments/scale",
            "machinepools/scale",
            "machinesets/scale",
        ],
        &["get", "patch", "update"],
        "to resize node groups",
    ),
    rule(
        "infrastructure.cluster.x-k8s.io",
        &["*"],
        &["get", "list", "watch"],
        "to know what new machines will be",
    ),
];

/// The rules as a role has them.
pub(super) fn rules(rules: &[&[Rule]]) -> Value {
    rules.iter().copied().flatten().map(to_json).collect()
}

fn to_json(rule: &Rule) -> Value {
    let mut json = json!({
        "apiGroups": [rule.group], "resources": rule.resources, "verbs": rule.verbs,
    });
    if let Some(map) = json.as_object_mut().filter(|_| !rule.names.is_empty()) {
        map.insert("resourceNames".into(), json!(rule.names));
    }
    json
}

#[cfg(test)]
mod tests {
    use super::{CLUSTER_API, EVERYWHERE, NODES, NODES_OWN, OWN, SCOPED};

    #[test]
    fn what_findings_read_is_granted_in_every_namespace_in_scope() {
        let granted = |group: &str, resource: &str, verb: &str| {
            SCOPED.iter().any(|rule| {
                rule.group == group
                    && rule.resources.contains(&resource)
                    && rule.verbs.contains(&verb)
            })
        };
        assert!(granted(
            "autoscaling.k8s.io",
            "verticalpodautoscalers",
            "list"
        ));
        assert!(granted("", "replicationcontrollers", "get"));
    }

    #[test]
    fn nothing_is_asked_for_that_could_read_secrets_or_run_commands() {
        for rule in [SCOPED, EVERYWHERE, OWN, NODES, NODES_OWN, CLUSTER_API].concat() {
            assert!(!rule.verbs.contains(&"*"), "{rule:?}");
            for resource in rule.resources {
                let readable = ["metrics.k8s.io", "infrastructure.cluster.x-k8s.io"];
                let known = readable.iter().any(|group| rule.group.ends_with(group));
                let bounded = *resource != "*" || known;
                assert!(bounded, "{rule:?}");
                let dangerous = [
                    "secrets",
                    "pods/exec",
                    "nodes/proxy",
                    "serviceaccounts/token",
                ];
                assert!(!dangerous.contains(resource), "{rule:?}");
            }
            assert!(!rule.why.is_empty());
        }
    }
}
