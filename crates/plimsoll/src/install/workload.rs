//! The process itself: Deployment, Service, disruption budget, network policy.

use super::hole::{Template, When};
use super::objects::{NAME, always, annotated, labels, own};
use serde_json::{Value, json};

/// Where the process answers: health, metrics, and the APIs.
const PORTS: [(&str, u16); 3] = [("health", 8081), ("metrics", 8080), ("https", 4443)];

pub(super) fn templates() -> Vec<Template> {
    vec![
        always("service", service()),
        always("service-metrics", metrics_service()),
        always("deployment", deployment()),
        Template {
            when: When::True("podDisruptionBudget.enabled"),
            ..always("poddisruptionbudget", disruption_budget())
        },
        Template {
            when: When::True("networkPolicy.enabled"),
            ..always("networkpolicy", network_policy())
        },
    ]
}

/// Without a selector: the leader alone answers, and says where it is.
fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": own(NAME),
        "spec": {"ports": [
            {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 4443},
        ]},
    })
}

fn metrics_service() -> Value {
    let annotations = json!({
        "prometheus.io/scrape": "true", "prometheus.io/port": "8080",
    });
    let metadata = annotated(own("plimsoll-metrics"), annotations);
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {
            "clusterIP": "None", "selector": labels(),
            "ports": [
                {"name": "metrics", "port": 8080, "protocol": "TCP", "targetPort": "metrics"},
            ],
        },
    })
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": own(NAME),
        "spec": {
            "replicas": "⟦replicas⟧",
            "selector": {"matchLabels": labels()},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {
                "metadata": {"labels": labels(), "annotations": "⟦podAnnotations⟧"},
                "spec": pod(),
            },
        },
    })
}

fn pod() -> Value {
    json!({
        "serviceAccountName": NAME,
        "priorityClassName": "⟦priorityClassName⟧",
        "terminationGracePeriodSeconds": 30,
        "imagePullSecrets": "⟦imagePullSecrets⟧",
        "nodeSelector": "⟦nodeSelector⟧",
        "tolerations": "⟦tolerations⟧",
        "affinity": "⟦affinity⟧",
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container()],
    })
}

fn container() -> Value {
    let ports =
        PORTS.map(|(name, port)| json!({"name": name, "containerPort": port, "protocol": "TCP"}));
    let probe = |path: &str, every: u32| {
        json!({
            "httpGet": {"path": path, "port": "health"},
            "periodSeconds": every, "timeoutSeconds": 5, "failureThreshold": 3,
        })
    };
    json!({
        "name": NAME,
        "image": "⟦image.repository⟧:⟦image.tag⟧",
        "imagePullPolicy": "⟦image.pullPolicy⟧",
        "args": arguments(),
        "env": [
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_IP", "status.podIP"),
        ],
        "ports": ports,
        "livenessProbe": probe("/livez", 10),
        "readinessProbe": probe("/readyz", 5),
        "resources": "⟦resources⟧",
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    })
}

fn arguments() -> Value {
    json!([
        "run",
        "--namespace=⟦scope.namespaces|join⟧",
        "--selector=⟦scope.selector⟧",
        "--dry-run=⟦dryRun⟧",
        "--take-over=⟦takeOver⟧",
        "--serve=⟦apis|join⟧",
        "--kubelet-through-apiserver=⟦kubelet.throughApiserver⟧",
        // As metrics-server's own manifests say: names of nodes are often not to be resolved in pods.
        "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
        "--kubelet-use-node-status-port",
        "--secure-port=4443",
        "--advertise-address=$(POD_IP)",
        "--health-bind-address=:8081",
        "--metrics-bind-address=:8080",
        "--logging-format=⟦logging.format⟧",
        "--v=⟦logging.verbosity⟧",
        "--node-autoscaler-namespace=⟦nodeAutoscaling.namespace⟧",
        "⟦nodeAutoscaling.args|items⟧",
        "⟦extraArgs|items⟧",
    ])
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

fn disruption_budget() -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": own(NAME),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels()}},
    })
}

/// Whoever may connect to the ports may do so from anywhere: the API server and kubelets have no
/// addresses that a policy could name.
fn network_policy() -> Value {
    let ports = PORTS.map(|(name, _)| json!({"port": name, "protocol": "TCP"}));
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": own(NAME),
        "spec": {
            "podSelector": {"matchLabels": labels()},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": ports}],
        },
    })
}
