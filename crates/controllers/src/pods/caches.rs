//! The caches that all controllers, the scheduler and the autoscalers share.

use super::{
    BudgetView, ClaimView, ClassView, DeploymentView, NamespaceView, NodeView, PodView,
    ReplicaSetView, ReplicationControllerView, Selector, ServiceAccountView, ServiceView,
    StatefulSetView, VolumeView,
};
use crate::devices::DeviceCaches;
use crate::job::JobCaches;
use crate::revisions::RevisionView;
use crate::runtime::{Cache, Cached, Index, Meta};
use kube::Client;
use kube::runtime::watcher;
use std::sync::Arc;

/// One cache a kind. Clones share them.
#[derive(Debug, Clone)]
pub struct Caches {
    /// Pods.
    pub pods: Cache<PodView>,
    /// Pods by the uid of their managing controller.
    pub pods_by_controller: Index<PodView>,
    /// Pods by `spec.nodeName`.
    pub pods_by_node: Index<PodView>,
    /// Pods by [`label_key`] of each of their labels.
    pub pods_by_label: Index<PodView>,
    /// Pods by `NAMESPACE/NAME` of each claim they mount.
    pub pods_by_claim: Index<PodView>,
    /// Nodes.
    pub nodes: Cache<NodeView>,
    /// ReplicaSets.
    pub replica_sets: Cache<ReplicaSetView>,
    /// ReplicaSets by the uid of their managing controller.
    pub replica_sets_by_controller: Index<ReplicaSetView>,
    /// ReplicaSets by [`label_key`] of each of their labels.
    pub replica_sets_by_label: Index<ReplicaSetView>,
    /// Deployments.
    pub deployments: Cache<DeploymentView>,
    /// StatefulSets.
    pub stateful_sets: Cache<StatefulSetView>,
    /// ReplicationControllers.
    pub replication_controllers: Cache<ReplicationControllerView>,
    /// ControllerRevisions.
    pub revisions: Cache<RevisionView>,
    /// ControllerRevisions by the uid of their managing controller.
    pub revisions_by_controller: Index<RevisionView>,
    /// ControllerRevisions without a managing controller, by namespace.
    pub orphaned_revisions: Index<RevisionView>,
    /// Jobs.
    pub jobs: JobCaches,
    /// Services.
    pub services: Cache<ServiceView>,
    /// Namespaces.
    pub namespaces: Cache<NamespaceView>,
    /// Service accounts.
    pub service_accounts: Cache<ServiceAccountView>,
    /// Claims. [`Caches::ready`] does not wait for the kinds from here on, which not every
    /// server serves.
    pub claims: Cache<ClaimView>,
    /// Volumes.
    pub volumes: Cache<VolumeView>,
    /// Storage classes.
    pub storage_classes: Cache<ClassView>,
    /// Disruption budgets.
    pub budgets: Cache<BudgetView>,
    /// Devices, and claims to them.
    pub devices: DeviceCaches,
}

impl Caches {
    /// Starts the watches. Must be called inside a runtime; `seed` seeds their retry jitter.
    pub fn start(client: &Client, seed: u64) -> Self {
        let pods: Cache<PodView> = Cache::start(client.clone(), seed);
        let replica_sets: Cache<ReplicaSetView> = Cache::start(client.clone(), seed ^ 1);
        let revisions: Cache<RevisionView> = Cache::start(client.clone(), seed ^ 9);
        Self {
            stateful_sets: Cache::start(client.clone(), seed ^ 7),
            replication_controllers: Cache::start(client.clone(), seed ^ 8),
            revisions_by_controller: revisions.index(by_controller),
            orphaned_revisions: revisions.index(orphaned),
            revisions,
            pods_by_controller: pods.index(by_controller),
            pods_by_node: pods.index(|pod| pod.node.iter().map(Arc::clone).collect()),
            pods_by_label: pods.index(by_label),
            pods_by_claim: pods.index(by_claim),
            pods,
            nodes: Cache::start(client.clone(), seed ^ 2),
            replica_sets_by_controller: replica_sets.index(by_controller),
            replica_sets_by_label: replica_sets.index(by_label),
            replica_sets,
            deployments: Cache::start(client.clone(), seed ^ 3),
            jobs: JobCaches::start(client, seed ^ 0x0b),
            services: Cache::start(client.clone(), seed ^ 4),
            namespaces: Cache::start(client.clone(), seed ^ 5),
            service_accounts: Cache::start(client.clone(), seed ^ 6),
            claims: Cache::start(client.clone(), seed ^ 0x70),
            volumes: Cache::start(client.clone(), seed ^ 0x71),
            storage_classes: Cache::start(client.clone(), seed ^ 0x73),
            budgets: Cache::start(client.clone(), seed ^ 7),
            devices: DeviceCaches::start(client, seed ^ 0x74),
        }
    }

    /// Only the caches that autoscalers look at: pods and the workloads they belong to. The others
    /// stay empty and cost nothing, neither requests nor rights. Only what is in `namespaces`, or
    /// all if there are none.
    pub fn for_autoscalers(client: &Client, seed: u64, namespaces: &[Arc<str>]) -> Self {
        let all = watcher::Config::default();
        let pods: Cache<PodView> = Cache::start_within(client, namespaces, seed, &all);
        let replica_sets: Cache<ReplicaSetView> =
            Cache::start_within(client, namespaces, seed ^ 1, &all);
        let revisions = Cache::empty();
        Self {
            pods_by_controller: pods.index(by_controller),
            pods_by_node: pods.index(|_| Vec::new()),
            pods_by_label: pods.index(by_label),
            pods_by_claim: pods.index(|_| Vec::new()),
            pods,
            nodes: Cache::empty(),
            replica_sets_by_controller: replica_sets.index(by_controller),
            replica_sets_by_label: replica_sets.index(|_| Vec::new()),
            replica_sets,
            deployments: Cache::start_within(client, namespaces, seed ^ 3, &all),
            stateful_sets: Cache::empty(),
            replication_controllers: Cache::empty(),
            revisions_by_controller: revisions.index(by_controller),
            orphaned_revisions: revisions.index(orphaned),
            revisions,
            jobs: JobCaches::empty(),
            services: Cache::empty(),
            namespaces: Cache::empty(),
            service_accounts: Cache::empty(),
            claims: Cache::empty(),
            volumes: Cache::empty(),
            storage_classes: Cache::empty(),
            budgets: Cache::empty(),
            devices: DeviceCaches::empty(),
        }
    }

    /// The caches of [`Caches::for_autoscalers`] in the whole cluster, and those of nodes and of
    /// everything that pods are judged by before their node is removed.
    ///
    /// Devices count only where they can be read now.
    pub async fn with_nodes(client: &Client, seed: u64) -> Self {
        let devices = DeviceCaches::if_readable(client, seed ^ 0x74).await;
        let watched = Self::for_autoscalers(client, seed, &[]);
        Self {
            pods_by_node: watched
                .pods
                .index(|pod| pod.node.iter().map(Arc::clone).collect()),
            pods_by_claim: watched.pods.index(by_claim),
            nodes: Cache::start(client.clone(), seed ^ 2),
            stateful_sets: Cache::start(client.clone(), seed ^ 7),
            replication_controllers: Cache::start(client.clone(), seed ^ 8),
            jobs: JobCaches::start(client, seed ^ 0x0b),
            namespaces: Cache::start(client.clone(), seed ^ 5),
            claims: Cache::start(client.clone(), seed ^ 0x70),
            volumes: Cache::start(client.clone(), seed ^ 0x71),
            storage_classes: Cache::start(client.clone(), seed ^ 0x73),
            budgets: Cache::start(client.clone(), seed ^ 7),
            devices,
            ..watched
        }
    }

    /// Waits until every cache has its first list.
    pub async fn ready(&self) {
        self.pods.ready().await;
        self.nodes.ready().await;
        self.replica_sets.ready().await;
        self.deployments.ready().await;
        self.stateful_sets.ready().await;
        self.replication_controllers.ready().await;
        self.revisions.ready().await;
        self.jobs.all.ready().await;
        self.services.ready().await;
        self.namespaces.ready().await;
        self.service_accounts.ready().await;
    }

    /// The pods of a namespace that `selector` selects, in name order, without looking at others
    /// where the selector names a label.
    pub fn select_pods(&self, namespace: &str, selector: &Selector) -> Vec<Arc<PodView>> {
        select(&self.pods, &self.pods_by_label, namespace, selector)
    }

    /// The same for ReplicaSets.
    pub fn select_replica_sets(
        &self,
        namespace: &str,
        selector: &Selector,
    ) -> Vec<Arc<ReplicaSetView>> {
        select(
            &self.replica_sets,
            &self.replica_sets_by_label,
            namespace,
            selector,
        )
    }
}

fn select<V: Cached>(
    cache: &Cache<V>,
    by_label: &Index<V>,
    namespace: &str,
    selector: &Selector,
) -> Vec<Arc<V>> {
    let mut objects = match selector.anchor() {
        Some((key, value)) => by_label.get(&label_key(namespace, key, value)),
        None => cache.list(Some(namespace)),
    };
    objects.retain(|object| selector.matches(&object.meta().labels));
    objects
}

/// The value that label indexes use: `NAMESPACE/KEY=VALUE`.
pub fn label_key(namespace: &str, key: &str, value: &str) -> String {
    format!("{namespace}/{key}={value}")
}

fn by_claim(pod: &PodView) -> Vec<Arc<str>> {
    let namespace = pod.meta.namespace();
    let claims = pod.placement.claims.iter();
    claims
        .map(|claim| format!("{namespace}/{}", claim.name).into())
        .collect()
}

fn by_controller<V: Cached>(object: &V) -> Vec<Arc<str>> {
    object
        .meta()
        .controller()
        .map(|owner| Arc::clone(&owner.uid))
        .into_iter()
        .collect()
}

fn orphaned<V: Cached>(object: &V) -> Vec<Arc<str>> {
    let Meta { key, owners, .. } = object.meta();
    if owners.iter().any(|owner| owner.controller) {
        return Vec::new();
    }
    vec![Arc::clone(&key.namespace)]
}

fn by_label<V: Cached>(object: &V) -> Vec<Arc<str>> {
    let Meta { key, labels, .. } = object.meta();
    labels
        .iter()
        .map(|(label, value)| label_key(&key.namespace, label, value).into())
        .collect()
}
