//! Pods in `kube-system` that describe what really runs inside this process, as a kubelet's static
//! pods would, and the Service of the cluster's DNS.
//!
//! Departs: upstream's are containers of their own; these are parts of one process.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Error};
use plimsoll_clock::Clock;
use serde_json::{Value, json};

/// Where they are.
pub(crate) const NAMESPACE: &str = "kube-system";
/// The annotation that tells them from other pods.
pub(crate) const MARK: &str = "plimsoll.dev/runs-in";

/// A part of the process, shown as a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Name of the pod, to which the node's name is added.
    pub name: &'static str,
    /// What it is, in the label `component`.
    pub label: &'static str,
}

/// Everything that can run in the process, with the part of `--without` that leaves it out.
pub const COMPONENTS: [(&str, Component); 8] = [
    (
        "",
        Component {
            name: "plimsoll-apiserver",
            label: "kube-apiserver",
        },
    ),
    (
        "controllers",
        Component {
            name: "plimsoll-controller-manager",
            label: "kube-controller-manager",
        },
    ),
    (
        "controllers",
        Component {
            name: "plimsoll-storage-provisioner",
            label: "storage-provisioner",
        },
    ),
    (
        "scheduler",
        Component {
            name: "plimsoll-scheduler",
            label: "kube-scheduler",
        },
    ),
    (
        "horizontal",
        Component {
            name: "plimsoll-horizontal-autoscaler",
            label: "horizontal-pod-autoscaler",
        },
    ),
    (
        "metrics",
        Component {
            name: "plimsoll-metrics-server",
            label: "metrics-server",
        },
    ),
    (
        "dns",
        Component {
            name: "plimsoll-dns",
            label: "kube-dns",
        },
    ),
    (
        "proxy",
        Component {
            name: "plimsoll-service-proxy",
            label: "kube-proxy",
        },
    ),
];

/// Creates or renews the pod that describes a component.
///
/// # Errors
/// What the API server answers.
pub async fn describe(
    client: &Client,
    clock: Clock,
    node: &str,
    component: &Component,
) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let name = pod_name(component, node);
    let pod: Pod = decode(mirror_pod(&name, node, component))?;
    match pods.create(&PostParams::default(), &pod).await {
        Ok(_) => {}
        Err(Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error),
    }
    let now = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let patch = json!({"status": running(&name, component, &now)});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(drop)
}

/// What the pod is called on a node.
pub(crate) fn pod_name(component: &Component, node: &str) -> String {
    format!("{}-{node}", component.name)
}

fn mirror_pod(name: &str, node: &str, component: &Component) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "labels": {"component": component.label, "tier": "control-plane"},
            "annotations": {
                // Marks a pod that a node agent reports but nobody starts through the API.
                "kubernetes.io/config.mirror": component.name,
                "kubernetes.io/config.source": "plimsoll",
                MARK: "the plimsoll process itself",
            },
        },
        "spec": {
            "nodeName": node, "hostNetwork": true, "priorityClassName": "system-node-critical",
            "automountServiceAccountToken": false,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": component.label, "image": image(), "imagePullPolicy": "IfNotPresent",
            }],
        },
    })
}

fn image() -> String {
    format!("plimsoll:{}", env!("CARGO_PKG_VERSION"))
}

fn running(name: &str, component: &Component, now: &str) -> Value {
    let kinds = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ];
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    json!({
        "phase": "Running", "startTime": now,
        "conditions": kinds.map(condition),
        "containerStatuses": [{
            "name": component.label, "image": image(), "imageID": format!("built-in/{}", image()),
            "containerID": format!("plimsoll://{name}"), "ready": true, "started": true,
            "restartCount": 0, "state": {"running": {"startedAt": now}},
        }],
    })
}

/// Creates the Service under which pods find the DNS, at its fixed address.
///
/// # Errors
/// What the API server answers.
pub async fn dns_service(client: &Client, address: &str) -> Result<(), Error> {
    let services: Api<Service> = Api::namespaced(client.clone(), "kube-system");
    let service: Service = decode(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system",
            "labels": {
                "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "clusterIP": address,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }))?;
    match services.create(&PostParams::default(), &service).await {
        Err(Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

fn decode<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(Error::SerdeError)
}
