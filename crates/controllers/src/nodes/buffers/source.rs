//! What the pods of a buffer are like, and how many there are of them already.

use super::BufferCaches;
use super::view::{ScalableRef, Spec};
use crate::pods::Caches;
use serde_json::value::{RawValue, to_raw_value};

/// Where a buffer takes its pods from.
#[derive(Debug)]
pub(super) struct Source {
    /// A pod template as JSON.
    pub(super) template: Box<RawValue>,
    /// How many such pods the workload wants.
    pub(super) replicas: usize,
    /// Name and generation of the PodTemplate, where it is one.
    pub(super) named: Option<(String, i64)>,
}

/// Looks up what the buffer refers to; why it cannot is told to people.
pub(super) fn find(
    spec: &Spec,
    namespace: &str,
    (own, caches): (&BufferCaches, &Caches),
) -> Result<Source, String> {
    if let Some(reference) = &spec.pod_template_ref {
        let name = &reference.name;
        let missing = || format!("there is no PodTemplate {name:?}");
        let found = own.templates.find(namespace, name).ok_or_else(missing)?;
        let template = to_raw_value(&found.object.template);
        return Ok(Source {
            template: template.map_err(|error| error.to_string())?,
            replicas: 0,
            named: Some((name.clone(), found.object.metadata.generation.unwrap_or(0))),
        });
    }
    let Some(reference) = &spec.scalable_ref else {
        return Err("neither podTemplateRef nor scalableRef is set".to_owned());
    };
    let (template, replicas) = workload(reference, namespace, caches)?;
    Ok(Source {
        template,
        replicas,
        named: None,
    })
}

/// Template and wanted replicas of a workload.
fn workload(
    reference: &ScalableRef,
    namespace: &str,
    caches: &Caches,
) -> Result<(Box<RawValue>, usize), String> {
    let ScalableRef {
        api_group,
        kind,
        name,
    } = reference;
    let count = |replicas: i32| usize::try_from(replicas).unwrap_or(0);
    let found = match (api_group.as_str(), kind.as_str()) {
        ("apps", "Deployment") => {
            let found = caches.deployments.find(namespace, name);
            found.map(|found| (found.template.clone(), count(found.replicas)))
        }
        ("apps", "ReplicaSet") => {
            let found = caches.replica_sets.find(namespace, name);
            found.map(|found| (found.template.clone(), count(found.replicas)))
        }
        ("apps", "StatefulSet") => {
            let found = caches.stateful_sets.find(namespace, name);
            found.map(|found| (found.template.clone(), count(found.replicas)))
        }
        ("", "ReplicationController") => {
            let found = caches.replication_controllers.find(namespace, name);
            found.map(|found| (found.0.template.clone(), count(found.0.replicas)))
        }
        ("batch", "Job") => {
            let found = caches.jobs.all.find(namespace, name);
            found.map(|found| (found.template.clone(), found.spec.parallelism))
        }
        (group, kind) => {
            let dot = if group.is_empty() { "" } else { "." };
            return Err(format!(
                "{kind}{dot}{group} is none of Deployment.apps, ReplicaSet.apps, StatefulSet.apps, \
                 ReplicationController and Job.batch: name a podTemplateRef"
            ));
        }
    };
    found.ok_or_else(|| format!("there is no {kind} {name:?}"))
}
