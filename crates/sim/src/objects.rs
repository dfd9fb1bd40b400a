//! The objects of a scenario, and the kinds that are served for them.

use crate::error::SimError;
use crate::scenario::Scenario;
use kube::Api;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use plimsoll_api::kind::{Kind, Kinds};
use plimsoll_cluster::ControlPlane;
use serde_json::Value;
use std::sync::Arc;

/// What is served whatever the manifests are. Every further kind would cost the garbage collector
/// a watch, and thousands of reconnections and bookmarks a day.
const SERVED: [&str; 29] = [
    "apps/controllerrevisions",
    "apps/daemonsets",
    "apps/deployments",
    "apps/replicasets",
    "apps/statefulsets",
    "autoscaling/horizontalpodautoscalers",
    "batch/cronjobs",
    "batch/jobs",
    "configmaps",
    "coordination.k8s.io/leases",
    "discovery.k8s.io/endpointslices",
    "endpoints",
    "events",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "policy/poddisruptionbudgets",
    "replicationcontrollers",
    "resource.k8s.io/deviceclasses",
    "resource.k8s.io/resourceclaims",
    "resource.k8s.io/resourceclaimtemplates",
    "resource.k8s.io/resourceslices",
    "scheduling.k8s.io/priorityclasses",
    "serviceaccounts",
    "services",
    "storage.k8s.io/csinodes",
    "storage.k8s.io/storageclasses",
];
/// What `CapacityBuffer`s, `CapacityQuota`s and `ProvisioningRequest`s need beside these.
const FOR_CAPACITY: [&str; 2] = [
    "apiextensions.k8s.io/customresourcedefinitions",
    "podtemplates",
];

/// The kinds that something here works with, and those of the manifests.
pub(crate) fn kinds(scenario: &Scenario) -> Kinds {
    let mut kinds = plimsoll_api::kinds::built_in();
    let autoscaler = &scenario.node_groups.autoscaler;
    let has_capacity = autoscaler.buffers.is_some()
        || autoscaler.capacity_quotas
        || autoscaler.provisioning.is_some();
    kinds.retain(|kind| {
        let mut manifests = scenario.manifests.iter();
        SERVED.contains(&&*kind.storage)
            || (has_capacity && FOR_CAPACITY.contains(&&*kind.storage))
            || manifests.any(|manifest| is_of(manifest, kind))
    });
    kinds
}

/// Creates the scenario's objects in their order.
pub(crate) async fn create(plane: &ControlPlane, scenario: &Scenario) -> Result<(), SimError> {
    let kinds = plane.server.kinds();
    for (index, manifest) in scenario.manifests.iter().enumerate() {
        let bad = |why: String| SimError::Manifest { index, why };
        let kind = kind_of(&kinds, manifest).map_err(bad)?;
        let resource = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&resource, &kind.plural);
        let object: DynamicObject =
            serde_json::from_value(manifest.clone()).map_err(|error| bad(error.to_string()))?;
        let client = plane.client().clone();
        let api: Api<DynamicObject> = if kind.namespaced {
            let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
            Api::namespaced_with(client, namespace, &resource)
        } else {
            Api::all_with(client, &resource)
        };
        let created = api.create(&PostParams::default(), &object).await;
        created.map_err(|source| SimError::Refused { index, source })?;
    }
    Ok(())
}

fn kind_of(kinds: &Kinds, manifest: &Value) -> Result<Arc<Kind>, String> {
    let mut found = kinds.iter().filter(|kind| is_of(manifest, kind));
    let missing = || {
        let (version, kind) = (text(manifest, "apiVersion"), text(manifest, "kind"));
        format!("there is no kind {kind:?} of version {version:?}")
    };
    found.next().map(Arc::clone).ok_or_else(missing)
}

fn is_of(manifest: &Value, kind: &Kind) -> bool {
    text(manifest, "kind") == kind.kind && text(manifest, "apiVersion") == kind.api_version()
}

fn text<'a>(manifest: &'a Value, field: &str) -> &'a str {
    let text = manifest.get(field).and_then(Value::as_str);
    text.unwrap_or_default()
}
