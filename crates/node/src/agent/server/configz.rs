//! `/configz`: the settings a node runs with, in the words of a kubelet's configuration.

use super::super::Agents;
use serde_json::{Value, json};

/// The document.
pub(super) fn configz(agents: &Agents) -> Value {
    let shared = &agents.shared;
    json!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "clusterDomain": shared.cluster_domain,
        "clusterDNS": [shared.cluster_dns.to_string()],
        "nodeStatusReportFrequency": "5m0s",
        "nodeLeaseDurationSeconds": 40,
        "enableServer": true,
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true}},
        "authorization": {"mode": "Webhook"},
    }})
}
