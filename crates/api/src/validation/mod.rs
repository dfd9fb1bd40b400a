//! Validation per kind: everything wrong with an object, with the paths and messages people know.

mod autoscaling;
mod batch;
mod cluster;
mod config;
mod container;
mod limits;
mod network;
mod object;
mod pod;
mod policy;
mod scope;
mod service;
mod storage;
mod volume;
mod workload;

pub(crate) use object::{cluster_object, namespaced_object};

use crate::status::FieldError;
use serde_json::Value;

pub(crate) type Validate = fn(&Value, Option<&Value>) -> Vec<FieldError>;

/// The validation of one kind, if it has more than metadata to check.
pub(crate) fn of(group: &str, version: &str, kind: &str) -> Option<Validate> {
    let validate: Validate = match (group, kind) {
        ("", "Pod") => pod::pod,
        ("", "PodTemplate") => workload::pod_template,
        ("", "Service") => service::service,
        ("", "LimitRange") => limits::limit_range,
        ("", "ConfigMap") => config::config_map,
        ("", "Secret") => config::secret,
        ("", "Namespace") => cluster::namespace,
        ("", "Node") => cluster::node,
        ("", "Event") => cluster::event,
        ("", "Endpoints") => network::endpoints,
        ("", "PersistentVolumeClaim") => storage::claim,
        ("", "PersistentVolume") => storage::volume,
        ("", "ReplicationController") => workload::replication_controller,
        ("apps", "Deployment") => workload::deployment,
        ("apps", "ReplicaSet") => workload::replica_set,
        ("apps", "StatefulSet") => workload::stateful_set,
        ("apps", "DaemonSet") => workload::daemon_set,
        ("batch", "Job") => batch::job,
        ("batch", "CronJob") => batch::cron_job,
        ("autoscaling", _) if version == "v2" => autoscaling::autoscaler,
        // The served v1 form is validated after its conversion to the stored one.
        ("autoscaling", _) => autoscaling::converted,
        ("policy", "PodDisruptionBudget") => policy::budget,
        ("coordination.k8s.io", "Lease") => policy::lease,
        ("discovery.k8s.io", "EndpointSlice") => network::slice,
        ("networking.k8s.io", "Ingress") => network::ingress,
        ("storage.k8s.io", "StorageClass") => storage::class,
        ("scheduling.k8s.io", "PriorityClass") => policy::priority_class,
        ("rbac.authorization.k8s.io", "Role") => cluster::role,
        ("rbac.authorization.k8s.io", "ClusterRole") => cluster::cluster_role,
        ("rbac.authorization.k8s.io", "RoleBinding") => cluster::role_binding,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => cluster::cluster_role_binding,
        ("events.k8s.io", "Event") => cluster::new_event,
        _ => return None,
    };
    Some(validate)
}
