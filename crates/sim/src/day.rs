//! A day that shows both autoscalers at work.

use crate::groups::NodeGroups;
use crate::load::{Diurnal, Load};
use crate::scenario::{Nodes, Scenario, Target};
use plimsoll_controllers::nodes::{ExpanderName, Options};
use plimsoll_sources::nodes::fleet::{GroupConfig, Shape};
use plimsoll_sources::nodes::simulated::Behaviour;
use serde_json::{Value, json};
use std::time::Duration;

/// How long machines of [`day_on_two_groups`] usually boot.
pub const BOOT: Duration = Duration::from_secs(60);
/// By how much of itself a boot varies either way.
pub const BOOT_SPREAD: f64 = 0.2;

/// A day of a shop from its trough of 50 requests a second to its peak of 5,000 and back, on nodes of
/// two groups: `small` and cheap (2 cores), of which there are at most 12, and `large` and dear (8
/// cores). Machines boot within [`BOOT`], give or take [`BOOT_SPREAD`] of it; all flags of the
/// autoscalers are the usual ones, but the cheaper group grows first (`--expander=price`).
///
/// A request costs 4 ms, so 20 cores work at the peak; pods have half a core and are to use 60 % of
/// it.
pub fn day_on_two_groups(seed: u64) -> Scenario {
    let load = Load::diurnal(Diurnal {
        trough: 50.0,
        peak: 5_000.0,
        peak_hour: 14.0,
        weekend: 0.5,
    });
    Scenario {
        length: Duration::from_secs(24 * 3600),
        seed,
        nodes: Nodes {
            count: 0,
            ..Nodes::default()
        },
        node_groups: groups(),
        manifests: shop(),
        load: load.with_noise(0.03, Duration::from_secs(60)),
        cost_per_request_milli_seconds: 4.0,
        target: Target {
            namespace: "default".to_owned(),
            selector: "app=shop".to_owned(),
        },
        ..Scenario::default()
    }
}

fn groups() -> NodeGroups {
    let small = Shape {
        cpu_milli: 2_000,
        memory_bytes: 4 << 30,
        price_per_hour: Some(0.085),
        ..Shape::default()
    };
    let large = Shape {
        cpu_milli: 8_000,
        memory_bytes: 32 << 30,
        price_per_hour: Some(0.384),
        ..Shape::default()
    };
    NodeGroups {
        groups: vec![
            GroupConfig::new("small", (1, 12), small).with_boot(BOOT),
            GroupConfig::new("large", (0, 6), large).with_boot(BOOT),
        ],
        behaviour: Behaviour {
            boot_spread: BOOT_SPREAD,
            shutdown: Duration::from_secs(5),
            ..Behaviour::default()
        },
        autoscaler: Options {
            expanders: vec![ExpanderName::Price],
            ..Options::default()
        },
        incidents: Vec::new(),
    }
}

fn shop() -> Vec<Value> {
    let labels = json!({"app": "shop"});
    let half = json!({"cpu": "500m", "memory": "256Mi"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "shop", "image": "shop",
                    "resources": {"requests": half, "limits": half},
                }]},
            },
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"},
        "spec": {"selector": labels, "ports": [{"port": 80}]},
    });
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "shop"},
        "spec": {"maxUnavailable": "20%", "selector": {"matchLabels": labels}},
    });
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "shop"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "minReplicas": 2, "maxReplicas": 100,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60},
            }}],
        },
    });
    vec![deployment, service, budget, autoscaler]
}
