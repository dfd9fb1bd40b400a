//! Reads everything one decision depends on.

use super::apply::Failed;
use super::ask::text_of;
use super::key::ScalerKey;
use super::mapping::{Mapping, MappingError, group_version};
use super::outside::Asker;
use super::registry::TargetKey;
use super::shell::Shell;
use super::view::Scaler;
use super::wire::{self, WireError};
use crate::pods::PodView;
use crate::runtime::ObjectKey;
use plimsoll_api::usage::PodUsage;
use plimsoll_engine::horizontal::spec::{Metric, TargetRef};
use plimsoll_engine::horizontal::{Memory, Observed, Reading, Sample, Scale, Selection, Spec};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Where a scale was read, for writing it back.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    /// Path of the scale.
    pub(super) path: String,
    /// resourceVersion of what was read.
    pub(super) version: String,
    /// Uid of what was read; empty if the server did not say.
    pub(super) uid: Arc<str>,
    /// How many replicas it asked for.
    pub(super) replicas: i64,
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
    /// When the first of the answers used is too old to be used again.
    pub(super) next_ask: Option<Instant>,
}

/// The readings of one pass.
#[derive(Debug, Default)]
struct Readings {
    values: Vec<Result<Reading, String>>,
    took: Vec<Duration>,
    asked: Option<Instant>,
}

impl Shell {
    /// Reads scale, pods, rivals and metrics of an autoscaler.
    pub(super) async fn observe(
        &self,
        key: &ScalerKey,
        scaler: &Scaler,
        spec: &Arc<Spec>,
        memory: Option<Memory>,
    ) -> Seen {
        let namespace = &key.object.namespace;
        let read = self.read_scale(key, &spec.scale_target_ref).await;
        let (scale, source) = match read {
            Ok((scale, source)) => (Ok(scale), source),
            Err(error) => (Err(error), Source::default()),
        };
        let mut pods = Vec::new();
        let mut rivals = Vec::new();
        let kind_settings = self.settings_of(key.kind);
        let wakeable = kind_settings.scale_to_zero && scaler.status.holds("ScaledToZero");
        // Parity: what is asleep or outside its bounds is nobody's rival.
        if let Ok(seen) = &scale
            && let Selection::Valid(text) = &seen.selector
            && measures(seen, spec)
            && (seen.spec_replicas != 0 || wakeable)
            && let Ok(selector) = self.registry.learn(key, text)
        {
            pods = self.caches.select_pods(namespace, &selector);
            rivals = self.registry.rivals(key, &pods);
        }
        let rest = self.rest(scaler, None);
        // One that looks more rarely than others has no use for answers as old.
        let max_age = rest.min(self.options.sync_period);
        let selector = scale
            .as_ref()
            .ok()
            .filter(|scale| rivals.is_empty() && measures(scale, spec))
            .map(selector_of);
        let question = selector.as_deref().map(|selector| Asker {
            namespace,
            selector,
            max_age,
            now: self.clock.now(),
            staleness: self.options.settings.outside_staleness,
        });
        let read = self.readings(spec, &pods, question).await;
        let observed = Observed {
            now: self.clock.now(),
            settings: kind_settings,
            namespace: Arc::clone(namespace),
            spec: Arc::clone(spec),
            status: scaler.status.clone(),
            scale,
            pods: pods.iter().map(|pod| Arc::clone(&pod.facts)).collect(),
            rivals,
            readings: read.values,
            memory,
        };
        Seen {
            observed,
            pods,
            source,
            read_in: read.took,
            next_ask: read.asked.and_then(|asked| asked.checked_add(rest)),
        }
    }

    fn is_measured(&self, pod: &PodView) -> bool {
        let key = &pod.meta.key;
        let name = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        self.usage.pod(&name).is_some()
    }

    /// Reads every metric; those of other APIs all at once, and only if there is a question.
    async fn readings(
        &self,
        spec: &Spec,
        pods: &[Arc<PodView>],
        question: Option<Asker<'_>>,
    ) -> Readings {
        let is_ours = |metric: &Metric| matches!(metric, Metric::Resource { .. });
        let question = question.filter(|_| !spec.metrics.iter().all(is_ours));
        let Some(question) = question else {
            let values = spec
                .metrics
                .iter()
                .map(|metric| self.usage_of(metric, pods));
            return Readings {
                values: values.collect(),
                ..Readings::default()
            };
        };
        let read = spec.metrics.iter().map(async |metric| {
            let began = Instant::now();
            if !matches!(
                metric,
                Metric::Pods { .. } | Metric::Object { .. } | Metric::External { .. }
            ) {
                return (self.usage_of(metric, pods), None, began.elapsed());
            }
            let (reading, asked) = self.outside.read(metric, question).await;
            (reading, Some(asked), began.elapsed())
        });
        let mut all = Readings::default();
        for (reading, asked, took) in futures::future::join_all(read).await {
            all.values.push(reading);
            all.took.push(took);
            all.asked = all.asked.into_iter().chain(asked).min();
        }
        all
    }

    /// A resource metric, from the newest samples.
    fn usage_of(&self, metric: &Metric, pods: &[Arc<PodView>]) -> Result<Reading, String> {
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
            Metric::Pods { .. } | Metric::Object { .. } | Metric::External { .. } => {
                Err("not asked for, as it cannot decide anything now".into())
            }
            Metric::Unknown { kind } => Err(format!("unknown metric source type {kind:?}")),
        }
    }

    /// The scale from the watch where the target's kind is watched, else from the server.
    pub(super) async fn read_scale(
        &self,
        scaler: &ScalerKey,
        target: &TargetRef,
    ) -> Result<(Scale, Source), String> {
        let namespace = &scaler.object.namespace;
        let name = ObjectKey {
            namespace: Arc::clone(namespace),
            name: (&*target.name).into(),
        };
        self.registry
            .aim(scaler, target_key(&target.kind, name.clone()));
        let (group, _) = group_version(&target.api_version)?;
        let awaited = self.recall.get(scaler, |known| known.awaited);
        if group == "apps"
            && let Some((scale, revision, uid)) = self.watched_scale(&target.kind, &name)
            && revision >= awaited.unwrap_or_default()
        {
            let source = Source {
                path: watched_path(&target.kind, &name),
                version: revision.to_string(),
                uid,
                replicas: scale.spec_replicas.into(),
            };
            return Ok((scale, source));
        }
        let mapping = self.mapper.find(group, &target.kind).await;
        let path = mapping
            .map_err(|error| match error {
                MappingError::Discovery(why) => why.to_string(),
                none @ MappingError::NoMatch { .. } => none.to_string(),
            })?
            .scale_path(namespace, &target.name);
        let scale = self.get_scale(&path).await;
        let scale = scale.map_err(|failed| failed.to_string())?;
        Ok((wire::scale(&scale), source_of(path, &scale)))
    }

    /// A scale, live.
    pub(super) async fn get_scale(&self, path: &str) -> Result<Value, Failed> {
        let request = http::Request::get(path).body(Vec::new());
        self.send_scale(request).await
    }

    /// Asks for a scale or writes one; the answer must be one.
    pub(super) async fn send_scale(
        &self,
        request: Result<http::Request<Vec<u8>>, http::Error>,
    ) -> Result<Value, Failed> {
        let request = request.map_err(|error| Failed::Other(error.to_string()))?;
        let timeout = self.options.request_timeout;
        let answer = tokio::time::timeout(timeout, self.writer.client().request(request)).await;
        let Ok(answer) = answer else {
            let seconds = timeout.as_secs();
            return Err(Failed::Other(format!(
                "the API server gave no answer within {seconds} s"
            )));
        };
        match answer {
            Ok(scale) if is_scale(&scale) => Ok(scale),
            Ok(_) => Err(Failed::Other("the answer is no Scale".into())),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err(Failed::Conflict(status.message))
            }
            Err(error) => Err(Failed::Other(text_of(&error))),
        }
    }

    fn watched_scale(&self, kind: &str, name: &ObjectKey) -> Option<(Scale, u64, Arc<str>)> {
        let (meta, spec_replicas, status_replicas, selector) = match kind {
            "Deployment" => {
                let found = self.caches.deployments.get(name)?;
                let (spec, status) = (found.replicas, found.status.replicas);
                let meta = (found.meta.revision, Arc::clone(&found.meta.uid));
                (meta, spec, status, found.scale_selector.clone())
            }
            "ReplicaSet" => {
                let found = self.caches.replica_sets.get(name)?;
                let (spec, status) = (found.replicas, found.status.replicas);
                let meta = (found.meta.revision, Arc::clone(&found.meta.uid));
                (meta, spec, status, found.scale_selector.clone())
            }
            _ => return None,
        };
        let selector = selector.map_or(Selection::Missing, Selection::Valid);
        let scale = Scale {
            spec_replicas,
            status_replicas,
            selector,
        };
        Some((scale, meta.0, meta.1))
    }
}

/// The selector in text form; empty if there is none.
fn selector_of(scale: &Scale) -> Arc<str> {
    match &scale.selector {
        Selection::Valid(text) => Arc::clone(text),
        Selection::Missing | Selection::Invalid(_) => Arc::default(),
    }
}

/// Whether a pass over this scale gets as far as its metrics.
fn measures(scale: &Scale, spec: &Spec) -> bool {
    let current = scale.spec_replicas;
    let inside = current <= spec.max_replicas && (current >= spec.min() || current == 0);
    inside && matches!(scale.selector, Selection::Valid(_))
}

pub(super) fn target_key(kind: &str, name: ObjectKey) -> TargetKey {
    (kind.into(), name)
}

/// The path of the scale of a kind whose objects are watched.
fn watched_path(kind: &str, name: &ObjectKey) -> String {
    let plural = if kind == "Deployment" {
        "deployments"
    } else {
        "replicasets"
    };
    let mapping = Mapping {
        group: "apps".into(),
        version: "v1".into(),
        plural: plural.into(),
    };
    mapping.scale_path(&name.namespace, &name.name)
}

/// An object whose `spec` and `status` may be empty, but not one that says something else.
fn is_scale(raw: &Value) -> bool {
    raw.get("kind").and_then(Value::as_str) == Some("Scale") && raw.get("metadata").is_some()
}

/// Where a scale was read.
pub(super) fn source_of(path: String, scale: &Value) -> Source {
    let text = |pointer| {
        let text = scale.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default()
    };
    Source {
        path,
        version: text("/metadata/resourceVersion").to_owned(),
        uid: text("/metadata/uid").into(),
        replicas: scale
            .pointer("/spec/replicas")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
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
