//! Reads everything one decision depends on.

use super::key::ScalerKey;
use super::registry::TargetKey;
use super::shell::Shell;
use super::view::Scaler;
use super::wire::WireError;
use crate::pods::{PodView, Selector};
use crate::runtime::ObjectKey;
use k8s_openapi::api::autoscaling::v1::Scale as WireScale;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use plimsoll_api::usage::PodUsage;
use plimsoll_engine::horizontal::spec::{Metric, TargetRef};
use plimsoll_engine::horizontal::{Memory, Observed, Reading, Sample, Scale, Selection, Spec};
use std::sync::Arc;
use std::time::Duration;

/// Where a scale was read, for writing it back.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    /// resourceVersion of what was read; empty for an unguarded write.
    pub(super) version: String,
}

/// The reading of one pass.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) observed: Observed,
    /// The selected pods.
    pub(super) pods: Vec<Arc<PodView>>,
    pub(super) source: Source,
    /// How long reading each metric took; empty where none had to be asked for.
    pub(super) read_in: Vec<Duration>,
}

impl Shell {
    /// Reads scale, pods, rivals and samples of an autoscaler.
    pub(super) async fn observe(
        &self,
        key: &ScalerKey,
        scaler: &Scaler,
        spec: &Arc<Spec>,
        memory: Option<Memory>,
    ) -> Seen {
        let namespace = &key.object.namespace;
        let target = &spec.scale_target_ref;
        let (scale, source) = match self.read_scale(key, target).await {
            Ok((scale, source)) => (Ok(scale), source),
            Err(error) => (Err(error), Source::default()),
        };
        let mut pods = Vec::new();
        let mut rivals = Vec::new();
        if let Ok(Scale {
            selector: Selection::Valid(text),
            ..
        }) = &scale
            && let Ok(selector) = self.registry.learn(key, text)
        {
            pods = self.caches.select_pods(namespace, &selector);
            rivals = self.registry.rivals(key, &pods);
        }
        let readings = spec
            .metrics
            .iter()
            .map(|metric| self.reading(metric, &pods))
            .collect();
        let observed = Observed {
            now: self.clock.now(),
            settings: self.settings_of(key.kind),
            namespace: Arc::clone(namespace),
            spec: Arc::clone(spec),
            status: scaler.status.clone(),
            scale,
            pods: pods.iter().map(|pod| Arc::clone(&pod.facts)).collect(),
            rivals,
            readings,
            memory,
        };
        Seen {
            observed,
            pods,
            source,
            read_in: Vec::new(),
        }
    }

    fn is_measured(&self, pod: &PodView) -> bool {
        let key = &pod.meta.key;
        let name = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        self.usage.pod(&name).is_some()
    }

    fn reading(&self, metric: &Metric, pods: &[Arc<PodView>]) -> Result<Reading, String> {
        match metric {
            Metric::Resource {
                name, container, ..
            } => {
                if let Some(why) = self.usage.unavailable() {
                    return Err(format!(
                        "unable to fetch metrics from resource metrics API: {why}"
                    ));
                }
                let container = container.as_deref();
                let samples = pods.iter().filter_map(|pod| {
                    let key = &pod.meta.key;
                    let name_of = (Arc::clone(&key.namespace), Arc::clone(&key.name));
                    let usage = self.usage.pod(&name_of)?;
                    sample(&key.name, &usage, name, container)
                });
                let samples: Vec<Sample> = samples.collect();
                if samples.is_empty() && !pods.iter().any(|pod| self.is_measured(pod)) {
                    return Err(WireError::Empty("resource").to_string());
                }
                Ok(Reading::PerPod(samples))
            }
            Metric::Pods { .. } | Metric::Object { .. } => {
                Err("unable to fetch metrics from custom metrics API: \
                 no custom metrics API (custom.metrics.k8s.io) registered"
                    .into())
            }
            Metric::External { metric, .. } => Err(format!(
                "unable to fetch metrics from external metrics API: the server could not find \
                 the requested resource (get {}.external.metrics.k8s.io)",
                metric.name
            )),
            Metric::Unknown { kind } => Err(format!("unknown metric source type {kind:?}")),
        }
    }

    /// The scale from the watch where the target's kind is watched, else from the server.
    pub(super) async fn read_scale(
        &self,
        scaler: &ScalerKey,
        target: &TargetRef,
    ) -> Result<(Scale, Source), String> {
        let name = ObjectKey {
            namespace: Arc::clone(&scaler.object.namespace),
            name: (&*target.name).into(),
        };
        self.registry
            .aim(scaler, target_key(&target.kind, name.clone()));
        let awaited = self
            .recall
            .get(scaler, |known| known.awaited)
            .unwrap_or_default();
        if target.api_version.starts_with("apps/")
            && let Some((scale, revision)) = self.watched_scale(&target.kind, &name)
            && revision >= awaited
        {
            return Ok((
                scale,
                Source {
                    version: revision.to_string(),
                },
            ));
        }
        let scale = scale_api(self.writer.client(), &scaler.object.namespace, target)?
            .get_scale(&target.name)
            .await
            .map_err(|error| server_text(&error))?;
        Ok((
            from_wire(&scale),
            Source {
                version: version_of(&scale),
            },
        ))
    }

    fn watched_scale(&self, kind: &str, name: &ObjectKey) -> Option<(Scale, u64)> {
        let (revision, spec_replicas, status_replicas, selector) = match kind {
            "Deployment" => {
                let found = self.caches.deployments.get(name)?;
                let (spec, status) = (found.replicas, found.status.replicas);
                (
                    found.meta.revision,
                    spec,
                    status,
                    found.scale_selector.clone(),
                )
            }
            "ReplicaSet" => {
                let found = self.caches.replica_sets.get(name)?;
                let (spec, status) = (found.replicas, found.status.replicas);
                (
                    found.meta.revision,
                    spec,
                    status,
                    found.scale_selector.clone(),
                )
            }
            _ => return None,
        };
        let selector = selector.map_or(Selection::Missing, Selection::Valid);
        Some((
            Scale {
                spec_replicas,
                status_replicas,
                selector,
            },
            revision,
        ))
    }
}

pub(super) fn target_key(kind: &str, name: ObjectKey) -> TargetKey {
    (kind.into(), name)
}

/// The API of the target's kind.
pub(super) fn scale_api(
    client: &kube::Client,
    namespace: &str,
    target: &TargetRef,
) -> Result<Api<DynamicObject>, String> {
    let version = &target.api_version;
    let (group, version) = match version.split_once('/') {
        None => ("", version.as_str()),
        Some((group, version)) if !version.contains('/') => (group, version),
        Some(_) => {
            return Err(format!(
                "invalid API version in scale target reference: \
                 unexpected GroupVersion string: {version}"
            ));
        }
    };
    let version = if version.is_empty() { "v1" } else { version };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &target.kind));
    Ok(Api::namespaced_with(client.clone(), namespace, &resource))
}

pub(super) fn version_of(scale: &WireScale) -> String {
    scale.metadata.resource_version.clone().unwrap_or_default()
}

/// What the server said, or what went wrong on the way.
pub(super) fn server_text(error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else {
        return error.to_string();
    };
    status.message.clone()
}

fn from_wire(scale: &WireScale) -> Scale {
    let status = scale.status.as_ref();
    let text = status
        .and_then(|status| status.selector.as_deref())
        .unwrap_or_default();
    let selector = if text.is_empty() {
        Selection::Missing
    } else {
        match Selector::parse(text) {
            Ok(_) => Selection::Valid(text.into()),
            Err(error) => Selection::Invalid(error.to_string()),
        }
    };
    Scale {
        spec_replicas: scale
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or_default(),
        status_replicas: status.map_or(0, |status| status.replicas),
        selector,
    }
}

/// A pod's usage of a resource in thousandths; each container is rounded up on its own.
fn sample(
    pod: &Arc<str>,
    usage: &PodUsage,
    resource: &str,
    container: Option<&str>,
) -> Option<Sample> {
    let wanted = |name: &str| container.is_none_or(|wanted| wanted == name);
    let mut value = None;
    for used in usage.containers.iter().filter(|used| wanted(&used.name)) {
        let milli = match resource {
            "cpu" => used.cpu_nano.div_ceil(1_000_000),
            "memory" => used.memory_bytes.saturating_mul(1000),
            _ => return None,
        };
        let milli = i64::try_from(milli).unwrap_or(i64::MAX);
        value = Some(value.unwrap_or(0_i64).saturating_add(milli));
    }
    Some(Sample {
        pod: Arc::clone(pod),
        value: value?,
        timestamp: usage.timestamp,
        window: jiff::SignedDuration::from_millis(usage.window_ms.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::sample;
    use plimsoll_api::usage::{ContainerUsage, PodUsage};
    use rstest::rstest;

    #[rstest]
    #[case::each_container_is_rounded_up("cpu", None, Some(3))]
    #[case::bytes_count_in_thousandths("memory", None, Some(3000))]
    #[case::one_container("cpu", Some("b"), Some(2))]
    #[case::an_absent_container_is_no_sample("cpu", Some("c"), None)]
    #[case::an_unmeasured_resource_is_no_sample("gpu", None, None)]
    fn a_sample_sums_containers(
        #[case] resource: &str,
        #[case] container: Option<&str>,
        #[case] want: Option<i64>,
    ) {
        let used = |name: &str, cpu_nano, memory_bytes| ContainerUsage {
            name: name.into(),
            cpu_nano,
            memory_bytes,
        };
        let usage = PodUsage {
            timestamp: jiff::Timestamp::UNIX_EPOCH,
            window_ms: 1000,
            containers: [used("a", 1, 1), used("b", 1_000_001, 2)].into(),
        };
        let got = sample(&"web".into(), &usage, resource, container);
        assert_eq!(got.map(|sample| sample.value), want);
    }
}
