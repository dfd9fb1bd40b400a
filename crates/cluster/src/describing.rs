//! Keeps the pods that describe this process's parts on a node, whatever becomes of nodes.
//!
//! They are on a node that is of no group, if there is one; else on one of a group, and on another
//! one when that goes. Whoever deletes one gets it back, as from a kubelet.

use crate::components::{Component, MARK, NAMESPACE, describe, pod_name};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use plimsoll_controllers::facts::TO_BE_DELETED;
use plimsoll_controllers::pods::NodeView;
use plimsoll_controllers::runtime::{Change, ObjectKey};
use plimsoll_controllers::supervisor::Context;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Pause before something that failed is tried again.
const PAUSE: Duration = Duration::from_secs(2);
/// How long one that somebody deleted is to be seen on its way out, as with pods of node agents:
/// `kubectl delete` would wait for ever for one that is replaced before it watches.
const LINGER: Duration = Duration::from_millis(500);

/// Keeps them, for ever.
pub async fn keep(context: Context, components: Vec<Component>) {
    let caches = &context.caches;
    caches.nodes.ready().await;
    caches.pods.ready().await;
    let changed = Arc::new(Notify::new());
    let notify = Arc::clone(&changed);
    caches.nodes.on_change(move |change| {
        if is_of_interest(change) {
            notify.notify_one();
        }
    });
    let notify = Arc::clone(&changed);
    caches.pods.on_change(move |change| {
        let goes = change.new.as_ref().is_none_or(|pod| pod.meta.is_deleting());
        if goes && &*change.key.namespace == NAMESPACE {
            notify.notify_one();
        }
    });
    let mut home = None;
    loop {
        changed.notified().await;
        home = choose(&caches.nodes.list(None), home.as_deref());
        let Some(node) = &home else { continue };
        if let Err(error) = settle(&context, &components, node).await {
            tracing::debug!(%error, "the pods that describe this process are not all there");
            tokio::time::sleep(PAUSE).await;
            changed.notify_one();
        }
    }
}

/// Most changes of nodes are heartbeats.
fn is_of_interest(change: &Change<NodeView>) -> bool {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => leaves(old) != leaves(new),
        _ => true,
    }
}

/// Whether the node is about to be removed.
fn leaves(node: &NodeView) -> bool {
    node.meta.is_deleting() || node.taints.iter().any(|taint| taint.key == TO_BE_DELETED)
}

/// Whether the node can be removed by resizing a group.
fn is_of_group(node: &NodeView) -> bool {
    let id = node.provider_id.strip_prefix("plimsoll://");
    id.is_some_and(|id| id.contains('/'))
}

/// The node to be on: where they are, unless that goes.
fn choose(nodes: &[Arc<NodeView>], home: Option<&str>) -> Option<Arc<str>> {
    let best = nodes.iter().min_by_key(|node| {
        let is_home = home == Some(node.meta.name());
        let (created, name) = (node.meta.created, node.meta.name());
        let ready = node.is_ready();
        (
            leaves(node),
            !is_home,
            is_of_group(node),
            !ready,
            created,
            name.to_owned(),
        )
    });
    best.map(|node| Arc::clone(&node.meta.key.name))
}

/// Deletes those that are elsewhere or on their way out, and makes those that are missing on the node.
async fn settle(
    context: &Context,
    components: &[Component],
    node: &str,
) -> Result<(), kube::Error> {
    let pods = &context.caches.pods;
    let api: Api<Pod> = Api::namespaced(context.client.clone(), NAMESPACE);
    let mut ours = pods.list(Some(NAMESPACE));
    ours.retain(|pod| pod.meta.annotation(MARK).is_some());
    if ours.iter().any(|pod| pod.meta.is_deleting()) {
        tokio::time::sleep(LINGER).await;
    }
    // No node agent ends them.
    for pod in ours {
        if pod.meta.is_deleting() || pod.node.as_deref() != Some(node) {
            let now = DeleteParams::default().grace_period(0);
            match api.delete(pod.meta.name(), &now).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                done => drop(done?),
            }
        }
    }
    for component in components {
        let key = ObjectKey::new(NAMESPACE, &pod_name(component, node));
        let there = pods.get(&key).is_some_and(|pod| !pod.meta.is_deleting());
        if !there {
            describe(&context.client, context.clock, node, component).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_controllers::runtime::Cached;
    use serde_json::{Value, json};

    fn node(name: &str, provider: &str, taint: Option<&str>) -> Arc<NodeView> {
        let taints: Vec<Value> = taint
            .into_iter()
            .map(|key| json!({"key": key, "effect": "NoSchedule"}))
            .collect();
        let node = json!({
            "metadata": {"name": name},
            "spec": {"providerID": provider, "taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        Arc::new(NodeView::from_wire(serde_json::from_value(node).unwrap()))
    }

    #[test]
    fn a_node_of_no_group_comes_first() {
        let nodes = [
            node("a-1", "plimsoll://a/a-1", None),
            node("node-1", "plimsoll://node-1", None),
        ];
        assert_eq!(choose(&nodes, None).as_deref(), Some("node-1"));
        assert_eq!(choose(&nodes[..1], None).as_deref(), Some("a-1"));
        assert_eq!(choose(&[], Some("a-1")), None);
    }

    #[test]
    fn they_stay_until_their_node_goes() {
        let home = Some("a-2");
        let stays = [
            node("a-1", "plimsoll://a/a-1", None),
            node("a-2", "plimsoll://a/a-2", None),
        ];
        assert_eq!(choose(&stays, home).as_deref(), home);
        let goes = [
            node("a-1", "plimsoll://a/a-1", None),
            node("a-2", "plimsoll://a/a-2", Some(TO_BE_DELETED)),
        ];
        assert_eq!(choose(&goes, home).as_deref(), Some("a-1"));
        assert_eq!(choose(&goes[1..], home).as_deref(), home);
        assert_eq!(choose(&goes[..1], home).as_deref(), Some("a-1"));
    }
}
