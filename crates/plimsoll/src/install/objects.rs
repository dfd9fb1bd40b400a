//! Who may do what, and which APIs are registered.

use super::hole::{Template, When};
use super::rights::{CLUSTER_API, EVERYWHERE, NODES, NODES_OWN, OWN, SCOPED, rules};
use serde_json::{Value, json};

/// The name of nearly everything.
pub(super) const NAME: &str = "plimsoll";

/// Every object, in an order in which they can be applied. Definitions of kinds are apart.
pub(super) fn templates() -> Vec<Template> {
    let mut all = vec![
        Template {
            when: When::True("createNamespace"),
            ..always("namespace", namespace())
        },
        always("serviceaccount", service_account()),
    ];
    all.extend(roles());
    all.extend(node_roles());
    all.extend(delegation());
    all.extend(super::workload::templates());
    all.extend(api_services());
    all
}

pub(super) fn always(file: &'static str, object: Value) -> Template {
    Template {
        file,
        when: When::Always,
        object,
    }
}

/// Metadata of an object in the installation's namespace.
pub(super) fn own(name: &str) -> Value {
    json!({"name": name, "namespace": "⟦Namespace⟧", "labels": labels()})
}

/// Metadata of an object that is in no namespace.
fn global(name: &str) -> Value {
    json!({"name": name, "labels": labels()})
}

/// The metadata with annotations.
pub(super) fn annotated(mut metadata: Value, annotations: Value) -> Value {
    if let Some(map) = metadata.as_object_mut() {
        map.insert("annotations".into(), annotations);
    }
    metadata
}

pub(super) fn labels() -> Value {
    json!({"app.kubernetes.io/name": NAME})
}

fn namespace() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "⟦Namespace⟧", "labels": {
            "app.kubernetes.io/name": NAME,
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
        }},
    })
}

fn service_account() -> Value {
    let metadata = annotated(own(NAME), json!("⟦serviceAccount.annotations⟧"));
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";

fn subjects() -> Value {
    json!([{"kind": "ServiceAccount", "name": NAME, "namespace": "⟦Namespace⟧"}])
}

fn binding(kind: &str, metadata: &Value, role: (&str, &str)) -> Value {
    json!({
        "apiVersion": RBAC, "kind": kind, "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
        "subjects": subjects(),
    })
}

fn role(kind: &str, metadata: &Value, rules: &Value) -> Value {
    json!({"apiVersion": RBAC, "kind": kind, "metadata": metadata, "rules": rules})
}

/// What the process itself does: everywhere or in some namespaces, and at home.
fn roles() -> Vec<Template> {
    let everywhere = |file, object| Template {
        file,
        when: When::Everywhere,
        object,
    };
    let each = |file, object| Template {
        file,
        when: When::EachNamespace,
        object,
    };
    let there = json!({"name": NAME, "namespace": "⟦Item⟧", "labels": labels()});
    let through = |file, object| Template {
        file,
        when: When::True("kubelet.throughApiserver"),
        object,
    };
    let proxy = json!([{"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"]}]);
    // Another name at home, which may be in scope, too.
    let home = own("plimsoll-own");
    vec![
        everywhere(
            "clusterrole",
            role("ClusterRole", &global(NAME), &rules(&[SCOPED, EVERYWHERE])),
        ),
        everywhere(
            "clusterrolebinding",
            binding("ClusterRoleBinding", &global(NAME), ("ClusterRole", NAME)),
        ),
        through(
            "clusterrole-kubelets",
            role("ClusterRole", &global("plimsoll-kubelets"), &proxy),
        ),
        through(
            "clusterrolebinding-kubelets",
            binding(
                "ClusterRoleBinding",
                &global("plimsoll-kubelets"),
                ("ClusterRole", "plimsoll-kubelets"),
            ),
        ),
        each("role-scoped", role("Role", &there, &rules(&[SCOPED]))),
        each(
            "rolebinding-scoped",
            binding("RoleBinding", &there, ("Role", NAME)),
        ),
        always("role", role("Role", &home, &rules(&[OWN]))),
        always(
            "rolebinding",
            binding("RoleBinding", &home, ("Role", "plimsoll-own")),
        ),
    ]
}

/// What autoscaling nodes takes, if it is switched on.
fn node_roles() -> Vec<Template> {
    let nodes = |file, object| Template {
        file,
        when: When::True("nodeAutoscaling.enabled"),
        object,
    };
    let cluster_api = |file, object| Template {
        file,
        when: When::True("nodeAutoscaling.clusterApi"),
        object,
    };
    let home = json!({
        "name": "plimsoll-nodes", "namespace": "⟦nodeAutoscaling.namespace⟧", "labels": labels(),
    });
    let global_binding = |name| binding("ClusterRoleBinding", &global(name), ("ClusterRole", name));
    vec![
        nodes(
            "clusterrole-nodes",
            role("ClusterRole", &global("plimsoll-nodes"), &rules(&[NODES])),
        ),
        nodes("clusterrolebinding-nodes", global_binding("plimsoll-nodes")),
        nodes("role-nodes", role("Role", &home, &rules(&[NODES_OWN]))),
        nodes(
            "rolebinding-nodes",
            binding("RoleBinding", &home, ("Role", "plimsoll-nodes")),
        ),
        cluster_api(
            "clusterrole-cluster-api",
            role(
                "ClusterRole",
                &global("plimsoll-cluster-api"),
                &rules(&[CLUSTER_API]),
            ),
        ),
        cluster_api(
            "clusterrolebinding-cluster-api",
            global_binding("plimsoll-cluster-api"),
        ),
    ]
}

/// What serving APIs takes, and who may read them.
fn delegation() -> Vec<Template> {
    let everywhere = |file, object| Template {
        file,
        when: When::Everywhere,
        object,
    };
    let reader = json!({
        "name": "plimsoll-auth-reader", "namespace": "kube-system", "labels": labels(),
    });
    vec![
        everywhere(
            "auth-delegator",
            binding(
                "ClusterRoleBinding",
                &global("plimsoll-auth-delegator"),
                ("ClusterRole", "system:auth-delegator"),
            ),
        ),
        everywhere(
            "auth-reader",
            binding(
                "RoleBinding",
                &reader,
                ("Role", "extension-apiserver-authentication-reader"),
            ),
        ),
        everywhere("clusterrole-view", user_role("view")),
        everywhere("clusterrole-edit", user_role("edit")),
    ]
}

/// Rights for people, added to the cluster's own `view`, `edit` and `admin`.
fn user_role(level: &str) -> Value {
    let read = ["get", "list", "watch"];
    let write = ["create", "delete", "deletecollection", "patch", "update"];
    let (verbs, groups): (&[&str], _) = if level == "edit" {
        (&write, json!(["plimsoll.dev"]))
    } else {
        (&read, json!(["plimsoll.dev", "explain.plimsoll.dev"]))
    };
    let mut grants = vec![json!({"apiGroups": groups, "resources": ["*"], "verbs": verbs})];
    if level == "view" {
        let metrics = json!({
            "apiGroups": ["metrics.k8s.io"], "resources": ["nodes", "pods"], "verbs": read,
        });
        grants.push(metrics);
    }
    let tiers: &[&str] = if level == "view" {
        &["view", "edit", "admin"]
    } else {
        &["edit", "admin"]
    };
    let mut labels = labels();
    for tier in tiers {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{tier}");
        if let Some(map) = labels.as_object_mut() {
            map.insert(label, json!("true"));
        }
    }
    let metadata = json!({"name": format!("plimsoll-{level}"), "labels": labels});
    role("ClusterRole", &metadata, &json!(grants))
}

/// An API that can be served: name among the values, group, versions with their priority.
type ServedApi = (&'static str, &'static str, &'static [(&'static str, i32)]);

/// Every API that can be served.
const APIS: [ServedApi; 4] = [
    ("explain", "explain.plimsoll.dev", &[("v1alpha1", 100)]),
    ("metrics", "metrics.k8s.io", &[("v1beta1", 100)]),
    (
        "custom",
        "custom.metrics.k8s.io",
        &[("v1beta1", 100), ("v1beta2", 200)],
    ),
    ("external", "external.metrics.k8s.io", &[("v1beta1", 100)]),
];

/// Names for `--apis`.
pub(super) fn api_names() -> [&'static str; 4] {
    APIS.map(|(name, ..)| name)
}

/// Without a CA: the leader writes its own into them when it begins to serve. Until then nobody
/// trusts whoever answers there.
fn api_services() -> Vec<Template> {
    let mut all = Vec::new();
    for (api, group, versions) in APIS {
        for (version, priority) in versions {
            let object = json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": global(&format!("{version}.{group}")),
                "spec": {
                    "group": group, "version": version,
                    "groupPriorityMinimum": 100, "versionPriority": priority,
                    "service": {"name": NAME, "namespace": "⟦Namespace⟧", "port": 443},
                },
            });
            all.push(Template {
                file: file_of(api, version),
                when: When::Serves(api),
                object,
            });
        }
    }
    all
}

fn file_of(api: &str, version: &str) -> &'static str {
    match (api, version) {
        ("explain", _) => "apiservice-explain",
        ("metrics", _) => "apiservice-metrics",
        ("custom", "v1beta1") => "apiservice-custom-v1beta1",
        ("custom", _) => "apiservice-custom-v1beta2",
        _ => "apiservice-external",
    }
}
