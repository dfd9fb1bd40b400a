//! Keeps the number of pods of each ReplicationController, as for ReplicaSets.

use crate::pods::{Caches, ReplicaSetView, ReplicationControllerView};
use crate::replicaset::{Replicated, replicate};
use crate::runtime::Cache;
use crate::supervisor::Context;

/// Runs the controller for ever.
pub async fn control(context: Context) {
    replicate::<ReplicationControllerView>(context).await;
}

impl Replicated for ReplicationControllerView {
    const API_VERSION: &'static str = "v1";
    const KIND: &'static str = "ReplicationController";
    const NAME: &'static str = "replicationcontroller";
    const COMPONENT: &'static str = "replication-controller";
    const COUNTS_TERMINATING: bool = false;

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.replication_controllers
    }

    fn as_set(&self) -> &ReplicaSetView {
        &self.0
    }
}
