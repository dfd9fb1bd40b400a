//! Taints nodes by what is known of their health.
//!
//! Ready=False → `not-ready`, Ready=Unknown → `unreachable` (each NoSchedule and NoExecute),
//! cordoned → `unschedulable`. A node whose lease and status stop being renewed becomes Unknown.
//! Evicting pods for NoExecute taints is not done here yet.

use crate::pods::{NodeView, Taint};
use crate::runtime::{Action, Cache, Full, ObjectKey, Queue, Reconcile, WriteError, run};
use crate::supervisor::Context;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::runtime::watcher;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const LEASES: &str = "kube-node-lease";

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    context.caches.nodes.ready().await;
    let add = queue.clone();
    context
        .caches
        .nodes
        .on_change(move |change| add.add(change.key.clone()));
    let leases = match context.options.node_grace {
        Some(_) => {
            let api: Api<Lease> = Api::namespaced(context.client.clone(), LEASES);
            let config = watcher::Config::default();
            Some(Cache::start_in(api, context.seed ^ 0x54, config))
        }
        None => None,
    };
    match run(Arc::new(Lifecycle { context, leases }), queue).await {}
}

struct Lifecycle {
    context: Context,
    leases: Option<Cache<Full<Lease>>>,
}

impl Reconcile for Lifecycle {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "nodelifecycle"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let Some(mut node) = self.context.caches.nodes.get(key) else {
            return Ok(Action::Wait);
        };
        let now = self.context.clock.now();
        let left = self.grace_left(&node, now);
        let known = node
            .condition("Ready")
            .is_some_and(|c| &*c.reason != "NodeStatusUnknown");
        if left.is_some_and(|left| left.is_zero()) && known {
            node = self.declare_unknown(&node, now).await?;
        }
        let taints = taints(&node, now);
        if *taints != *node.taints {
            let patch = json!({
                "metadata": {"resourceVersion": node.meta.resource_version()},
                "spec": {"taints": taints},
            });
            match self
                .context
                .writer
                .patch(&self.context.caches.nodes, key, &patch)
                .await
            {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(left
            .filter(|left| !left.is_zero())
            .map_or(Action::Wait, Action::Requeue))
    }
}

impl Lifecycle {
    /// How long until the node counts as unreachable; zero = it does. `None` if unchecked.
    fn grace_left(&self, node: &NodeView, now: Timestamp) -> Option<Duration> {
        let leases = self.leases.as_ref().filter(|leases| leases.is_ready())?;
        let grace = SignedDuration::try_from(self.context.options.node_grace?).ok()?;
        let lease = leases.find(LEASES, node.meta.name());
        let renewed = lease.and_then(|lease| {
            lease
                .object
                .spec
                .as_ref()?
                .renew_time
                .as_ref()
                .map(|at| at.0)
        });
        let seen = [renewed, node.heartbeat, node.meta.created]
            .into_iter()
            .flatten()
            .max()?;
        let left = grace - now.duration_since(seen);
        Some(Duration::try_from(left).unwrap_or_default())
    }

    async fn declare_unknown(
        &self,
        node: &NodeView,
        now: Timestamp,
    ) -> Result<Arc<NodeView>, WriteError> {
        let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let kinds = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
        let unknown = |kind: &&str| {
            json!({
                "type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.", "lastTransitionTime": at,
                "lastHeartbeatTime": node.heartbeat.map(|at| at.to_string()),
            })
        };
        let conditions: Vec<_> = kinds.iter().map(unknown).collect();
        let patch = json!({
            "metadata": {"resourceVersion": node.meta.resource_version()},
            "status": {"conditions": conditions},
        });
        let cache = &self.context.caches.nodes;
        self.context
            .writer
            .patch_subresource(cache, &node.meta.key, "status", &patch)
            .await
    }
}

/// The taints the node should have; those of others stay as they are.
fn taints(node: &NodeView, now: Timestamp) -> Vec<Taint> {
    let ours = [NOT_READY, UNREACHABLE, UNSCHEDULABLE];
    let mut wanted = Vec::new();
    let ready = node.condition("Ready");
    if !ready.is_some_and(|ready| ready.holds) {
        let unknown = ready.is_none_or(|ready| &*ready.reason == "NodeStatusUnknown");
        let key = if ready.is_some() && unknown {
            UNREACHABLE
        } else {
            NOT_READY
        };
        wanted.push((key, "NoSchedule"));
        if ready.is_some() {
            wanted.push((key, "NoExecute"));
        }
    }
    if node.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let mut taints = node.taints.to_vec();
    taints.retain(|taint| {
        !ours.contains(&&*taint.key) || wanted.contains(&(&*taint.key, &*taint.effect))
    });
    for (key, effect) in wanted {
        if !taints
            .iter()
            .any(|taint| taint.key == key && taint.effect == effect)
        {
            let time_added = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            taints.push(Taint {
                key: key.into(),
                value: None,
                effect: effect.into(),
                time_added: Some(time_added),
            });
        }
    }
    taints
}

#[cfg(test)]
mod tests {
    use super::taints;
    use crate::pods::NodeView;
    use crate::runtime::Cached;
    use jiff::Timestamp;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case::ready(json!({}), json!([{"type": "Ready", "status": "True"}]), &["mine"])]
    #[case::cordoned(json!({"unschedulable": true}), json!([{"type": "Ready", "status": "True"}]), &["mine", "node.kubernetes.io/unschedulable"])]
    #[case::not_ready(json!({}), json!([{"type": "Ready", "status": "False"}]), &["mine", "node.kubernetes.io/not-ready", "node.kubernetes.io/not-ready"])]
    #[case::silent(json!({}), json!([{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]), &["mine", "node.kubernetes.io/unreachable", "node.kubernetes.io/unreachable"])]
    #[case::new(json!({}), json!([]), &["mine", "node.kubernetes.io/not-ready"])]
    fn a_node_is_tainted(#[case] spec: Value, #[case] conditions: Value, #[case] want: &[&str]) {
        let mut spec = spec;
        spec["taints"] = json!([{"key": "mine", "effect": "NoSchedule"}, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]);
        if spec.get("unschedulable").is_none() {
            spec["taints"][1]["key"] = "node.kubernetes.io/not-ready".into();
            spec["taints"][1]["effect"] = "NoExecute".into();
        }
        let json =
            json!({"metadata": {"name": "a"}, "spec": spec, "status": {"conditions": conditions}});
        let node = NodeView::from_wire(serde_json::from_value(json).unwrap());
        let mut got: Vec<_> = taints(&node, Timestamp::UNIX_EPOCH)
            .into_iter()
            .map(|t| t.key)
            .collect();
        got.sort();
        assert_eq!(got, want);
    }
}
