//! Pods like those of a workload.

use crate::reach::Cluster;
use anyhow::{anyhow, bail};
use plimsoll_controllers::pods::PodView;
use plimsoll_controllers::runtime::Cached;
use serde_json::{Map, Value, json};

/// A kind whose pods can be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    name: &'static str,
    path: &'static str,
    plural: &'static str,
    /// Where its pod template is; empty for a pod itself.
    template: &'static str,
}

const KINDS: [(&[&str], Kind); 7] = [
    (
        &["deploy", "deployment", "deployments"],
        kind(
            "Deployment",
            "/apis/apps/v1",
            "deployments",
            "/spec/template",
        ),
    ),
    (
        &["sts", "statefulset", "statefulsets"],
        kind(
            "StatefulSet",
            "/apis/apps/v1",
            "statefulsets",
            "/spec/template",
        ),
    ),
    (
        &["rs", "replicaset", "replicasets"],
        kind(
            "ReplicaSet",
            "/apis/apps/v1",
            "replicasets",
            "/spec/template",
        ),
    ),
    (
        &["rc", "replicationcontroller", "replicationcontrollers"],
        kind(
            "ReplicationController",
            "/api/v1",
            "replicationcontrollers",
            "/spec/template",
        ),
    ),
    (
        &["job", "jobs"],
        kind("Job", "/apis/batch/v1", "jobs", "/spec/template"),
    ),
    (
        &["cj", "cronjob", "cronjobs"],
        kind(
            "CronJob",
            "/apis/batch/v1",
            "cronjobs",
            "/spec/jobTemplate/spec/template",
        ),
    ),
    (&["po", "pod", "pods"], kind("Pod", "/api/v1", "pods", "")),
];

const fn kind(
    name: &'static str,
    path: &'static str,
    plural: &'static str,
    template: &'static str,
) -> Kind {
    Kind {
        name,
        path,
        plural,
        template,
    }
}

/// Reads `deploy/web`.
fn parse(like: &str) -> anyhow::Result<(Kind, &str)> {
    let known = "deploy/NAME, sts/NAME, rs/NAME, rc/NAME, job/NAME, cronjob/NAME or pod/NAME";
    let Some((short, name)) = like.split_once('/') else {
        bail!("say what the pods are like as {known}, e.g. deploy/{like}");
    };
    let short = short.to_lowercase();
    let mut kinds = KINDS.iter();
    let found = kinds.find(|(names, _)| names.contains(&short.split('.').next().unwrap_or("")));
    let Some((_, kind)) = found else {
        bail!("{short:?} has no pods that could be copied: it is {known}");
    };
    if name.is_empty() || name.contains('/') {
        bail!("{name:?} is no name of a {}", kind.name);
    }
    Ok((*kind, name))
}

/// `count` pods like those of `like`, none of which exists.
pub(super) async fn pods(
    cluster: &Cluster,
    like: &str,
    count: u32,
) -> anyhow::Result<Vec<PodView>> {
    let (kind, name) = parse(like)?;
    let namespace = &cluster.namespace;
    let path = format!(
        "{}/namespaces/{namespace}/{}/{name}",
        kind.path, kind.plural
    );
    let Some(object) = cluster.get(&path).await? else {
        bail!(
            "there is no {} {name:?} in namespace {namespace:?}",
            kind.name
        );
    };
    let mut template = object.pointer(kind.template).cloned().unwrap_or_default();
    resolve_priority(cluster, &mut template).await?;
    (0..count)
        .map(|number| copy((&object, &template), (namespace, name), number))
        .collect()
}

/// A template names a priority class; pods have its number.
async fn resolve_priority(cluster: &Cluster, template: &mut Value) -> anyhow::Result<()> {
    let class = template
        .pointer("/spec/priorityClassName")
        .and_then(Value::as_str);
    let Some(class) = class.filter(|class| !class.is_empty()) else {
        return Ok(());
    };
    let path = format!("/apis/scheduling.k8s.io/v1/priorityclasses/{class}");
    let found = cluster.get(&path).await?;
    let value = found.as_ref().and_then(|class| class.get("value")).cloned();
    if let (Some(value), Some(Value::Object(spec))) = (value, template.get_mut("spec")) {
        spec.insert("priority".into(), value);
    }
    Ok(())
}

fn copy(
    (object, template): (&Value, &Value),
    (namespace, name): (&str, &str),
    number: u32,
) -> anyhow::Result<PodView> {
    let part = |pointer: &str| template.pointer(pointer).cloned().unwrap_or(json!({}));
    let uid = object.pointer("/metadata/uid").cloned().unwrap_or_default();
    let mut spec = part("/spec");
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("nodeName");
    }
    let mut metadata = Map::new();
    metadata.insert("name".into(), json!(format!("{name}-whatif-{number}")));
    metadata.insert("namespace".into(), json!(namespace));
    metadata.insert("labels".into(), part("/metadata/labels"));
    metadata.insert("annotations".into(), part("/metadata/annotations"));
    let owner = json!([{"apiVersion": "v1", "kind": "WhatIf", "name": name, "uid": uid,
        "controller": true}]);
    metadata.insert("ownerReferences".into(), owner);
    let pod = json!({"metadata": metadata, "spec": spec});
    let wire = serde_json::from_value(pod);
    let wire = wire.map_err(|error| anyhow!("the pods of {name} cannot be read: {error}"))?;
    Ok(PodView::from_wire(wire))
}

#[cfg(test)]
mod tests {
    use super::{copy, parse};
    use serde_json::json;

    #[test]
    fn workloads_are_named_as_kubectl_does() {
        let parsed = |like| parse(like).map(|(kind, name)| (kind.name, name)).ok();
        assert_eq!(parsed("deploy/web"), Some(("Deployment", "web")));
        assert_eq!(parsed("Deployment.apps/web"), Some(("Deployment", "web")));
        assert_eq!(parsed("sts/db"), Some(("StatefulSet", "db")));
        for wrong in ["web", "svc/web", "deploy/", "deploy/a/b"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_copy_is_a_pod_without_a_node() {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"nodeName": "n",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]}});
        let object = json!({"metadata": {"uid": "u"}});
        let pod = copy((&object, &template), ("default", "web"), 3).unwrap();
        assert_eq!(pod.meta.name(), "web-whatif-3");
        assert_eq!(
            (pod.node.as_deref(), pod.meta.label("app")),
            (None, Some("web"))
        );
        assert_eq!(pod.meta.controller().map(|owner| &*owner.uid), Some("u"));
    }
}
