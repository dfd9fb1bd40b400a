//! Validation per kind: everything wrong with an object, with the paths and messages people know.

mod address;
mod admission_policy;
mod autoscaling;
mod batch;
mod certificates;
mod cluster;
mod config;
mod container;
mod csi;
mod devices;
mod flow_control;
mod gated;
mod job_policy;
mod job_update;
mod lifecycle;
mod limits;
mod network;
mod network_policy;
mod object;
mod placement;
mod pod;
mod pod_warnings;
mod policy;
mod prefix;
mod quota;
mod registration;
mod running;
mod runtime;
mod schedule;
mod scope;
mod security;
mod service;
mod stateful;
mod storage;
mod success_policy;
mod volume;
pub(crate) mod warnings;
mod workload;

pub(crate) use object::{cluster_object, namespaced_object};
pub use running::{ephemeral, resize};

use crate::status::FieldError;
use serde_json::Value;

pub(crate) type Validate = fn(&Value, Option<&Value>) -> Vec<FieldError>;

/// The validation of one kind, if it has more than metadata to check.
pub(crate) fn of(group: &str, version: &str, kind: &str) -> Option<Validate> {
    match group {
        "" => core(kind),
        "apps" | "autoscaling" | "batch" | "policy" => workloads(version, kind),
        "networking.k8s.io" | "discovery.k8s.io" => networking(kind),
        "storage.k8s.io" | "resource.k8s.io" => devices_and_storage(kind),
        "admissionregistration.k8s.io"
        | "apiregistration.k8s.io"
        | "flowcontrol.apiserver.k8s.io" => machinery(kind),
        _ => others(group, kind),
    }
}

fn core(kind: &str) -> Option<Validate> {
    let validate: Validate = match kind {
        "Pod" => pod::pod,
        "PodTemplate" => workload::pod_template,
        "Service" => service::service,
        "LimitRange" => limits::limit_range,
        "ResourceQuota" => quota::resource_quota,
        "ConfigMap" => config::config_map,
        "Secret" => config::secret,
        "Namespace" => cluster::namespace,
        "Node" => cluster::node,
        "Event" => cluster::event,
        "Endpoints" => network::endpoints,
        "PersistentVolumeClaim" => storage::claim,
        "PersistentVolume" => storage::volume,
        "ReplicationController" => workload::replication_controller,
        _ => return None,
    };
    Some(validate)
}

fn workloads(version: &str, kind: &str) -> Option<Validate> {
    let validate: Validate = match kind {
        "Deployment" => workload::deployment,
        "ReplicaSet" => workload::replica_set,
        "StatefulSet" => stateful::stateful_set,
        "DaemonSet" => workload::daemon_set,
        "ControllerRevision" => runtime::controller_revision,
        "Job" => batch::job,
        "CronJob" => batch::cron_job,
        "HorizontalPodAutoscaler" if version == "v2" => autoscaling::autoscaler,
        // The served v1 form is validated after its conversion to the stored one.
        "HorizontalPodAutoscaler" => autoscaling::converted,
        "PodDisruptionBudget" => policy::budget,
        _ => return None,
    };
    Some(validate)
}

/// The validation of autoscalers that may go to zero replicas.
pub(crate) fn autoscaler_to_zero(version: &str) -> Validate {
    if version == "v2" {
        autoscaling::autoscaler_to_zero
    } else {
        autoscaling::converted_to_zero
    }
}

fn networking(kind: &str) -> Option<Validate> {
    let validate: Validate = match kind {
        "EndpointSlice" => network::slice,
        "Ingress" => network::ingress,
        "IngressClass" => address::ingress_class,
        "IPAddress" => address::ip_address,
        "NetworkPolicy" => network_policy::network_policy,
        "ServiceCIDR" => address::service_cidr,
        _ => return None,
    };
    Some(validate)
}

fn devices_and_storage(kind: &str) -> Option<Validate> {
    let validate: Validate = match kind {
        "CSIDriver" => csi::driver,
        "CSINode" => csi::node,
        "CSIStorageCapacity" => csi::capacity,
        "DeviceClass" => devices::class,
        "ResourceClaim" => devices::claim,
        "ResourceClaimTemplate" => devices::claim_template,
        "ResourceSlice" => devices::slice,
        "StorageClass" => storage::class,
        "VolumeAttachment" => csi::attachment,
        "VolumeAttributesClass" => csi::attributes_class,
        _ => return None,
    };
    Some(validate)
}

fn machinery(kind: &str) -> Option<Validate> {
    let validate: Validate = match kind {
        "APIService" => registration::api_service,
        "FlowSchema" => flow_control::flow_schema,
        "MutatingAdmissionPolicy" => admission_policy::mutating_policy,
        "MutatingAdmissionPolicyBinding" => admission_policy::policy_binding,
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => registration::webhooks,
        "PriorityLevelConfiguration" => flow_control::priority_level,
        "ValidatingAdmissionPolicy" => admission_policy::validating_policy,
        "ValidatingAdmissionPolicyBinding" => admission_policy::validating_binding,
        _ => return None,
    };
    Some(validate)
}

fn others(group: &str, kind: &str) -> Option<Validate> {
    let validate: Validate = match (group, kind) {
        ("certificates.k8s.io", "CertificateSigningRequest") => certificates::signing_request,
        ("coordination.k8s.io", "Lease") => policy::lease,
        ("events.k8s.io", "Event") => cluster::new_event,
        ("node.k8s.io", "RuntimeClass") => runtime::runtime_class,
        ("rbac.authorization.k8s.io", "ClusterRole") => cluster::cluster_role,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => cluster::cluster_role_binding,
        ("rbac.authorization.k8s.io", "Role") => cluster::role,
        ("rbac.authorization.k8s.io", "RoleBinding") => cluster::role_binding,
        ("scheduling.k8s.io", "PriorityClass") => policy::priority_class,
        _ => return None,
    };
    Some(validate)
}
