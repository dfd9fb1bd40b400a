//! What the horizontal scaler knows of a pod, and the class it falls into.

use super::milli;
use super::observed::{Sample, Settings};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The facts of one selected pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The pod's name.
    pub name: Arc<str>,
    /// Whether deletion has begun.
    pub deleting: bool,
    /// The part of `spec` that matters.
    pub spec: Spec,
    /// The part of `status` that matters.
    pub status: Status,
}

/// The part of a pod's `spec` that decisions read; deserialises from the pod's JSON.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Regular containers.
    #[serde(default)]
    pub containers: Vec<Container>,
    /// Containers that run before the regular ones, or beside them if restartable.
    #[serde(default)]
    pub init_containers: Vec<Container>,
    /// Pod-level resources.
    #[serde(default)]
    pub resources: Resources,
    /// What the runtime itself needs.
    #[serde(default)]
    pub overhead: Amounts,
}

/// One container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// The container's name.
    pub name: Arc<str>,
    /// What it asks for.
    #[serde(default)]
    pub resources: Resources,
    /// `Always` makes an init container a sidecar.
    #[serde(default)]
    pub restart_policy: Option<String>,
}

/// Requests and limits, by resource name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Resources {
    /// Thousandths.
    #[serde(default)]
    pub requests: Amounts,
    /// Thousandths; no decision depends on them.
    #[serde(default)]
    pub limits: Amounts,
}

/// Thousandths by resource name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "Option<BTreeMap<String, Value>>")]
pub struct Amounts(pub Box<[(Arc<str>, i64)]>);

impl Amounts {
    fn get(&self, resource: &str) -> Option<i64> {
        self.0
            .iter()
            .find(|(name, _)| &**name == resource)
            .map(|&(_, amount)| amount)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }
}

impl<'a> FromIterator<(&'a Arc<str>, &'a str)> for Amounts {
    /// From quantities as written; text that is none is left out.
    fn from_iter<T: IntoIterator<Item = (&'a Arc<str>, &'a str)>>(quantities: T) -> Self {
        let read = |(name, text): (&Arc<str>, &str)| Some((Arc::clone(name), milli::parse(text)?));
        Self(quantities.into_iter().filter_map(read).collect())
    }
}

impl From<Option<BTreeMap<String, Value>>> for Amounts {
    fn from(raw: Option<BTreeMap<String, Value>>) -> Self {
        let amounts = raw.unwrap_or_default().into_iter();
        Self(
            amounts
                .filter_map(|(name, v)| Some((name.into(), milli::read(&v)?)))
                .collect(),
        )
    }
}

/// The part of a pod's `status` that decisions read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The phase; empty counts as running.
    #[serde(default)]
    pub phase: Option<Arc<str>>,
    /// When the node accepted the pod.
    #[serde(default)]
    pub start_time: Option<Timestamp>,
    /// Only `Ready` is looked at.
    #[serde(default)]
    pub conditions: Vec<PodCondition>,
}

/// One pod condition.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCondition {
    /// `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
    /// When the status last flipped.
    #[serde(default)]
    pub last_transition_time: Option<Timestamp>,
}

impl Status {
    fn ready(&self) -> Option<&PodCondition> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == "Ready")
    }
}

/// Which rule a pod's metric falls under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Ending or failed: neither measured nor counted.
    Ignored,
    /// Not yet working: counts as idle when growing.
    Unready,
    /// Should have a metric but has none.
    Missing,
    /// Counted.
    Ready,
}

impl Facts {
    /// Facts from a pod's parts.
    pub fn new(name: Arc<str>, deleting: bool, spec: Spec, mut status: Status) -> Self {
        status
            .conditions
            .retain(|condition| condition.kind == "Ready");
        Self {
            name,
            deleting,
            spec,
            status,
        }
    }

    fn phase(&self) -> &str {
        self.status.phase.as_deref().unwrap_or_default()
    }

    /// Whether the pod runs and is ready; ending pods included, as in the original.
    pub(super) fn is_running_and_ready(&self) -> bool {
        self.phase() == "Running"
            && self
                .status
                .ready()
                .is_some_and(|ready| ready.status == "True")
    }

    /// The pod's class for one resource; the first matching rule wins.
    pub(super) fn class(
        &self,
        sample: Option<&Sample>,
        is_cpu: bool,
        now: Timestamp,
        settings: &Settings,
    ) -> Class {
        if self.deleting || self.phase() == "Failed" {
            return Class::Ignored;
        }
        if self.phase() == "Pending" {
            return Class::Unready;
        }
        let Some(sample) = sample else {
            return Class::Missing;
        };
        if is_cpu && self.is_starting(sample, now, settings) {
            Class::Unready
        } else {
            Class::Ready
        }
    }

    fn is_starting(&self, sample: &Sample, now: Timestamp, settings: &Settings) -> bool {
        let (Some(ready), Some(start)) = (self.status.ready(), self.status.start_time) else {
            return true;
        };
        let flipped = ready.last_transition_time.unwrap_or(Timestamp::UNIX_EPOCH);
        let is_false = ready.status == "False";
        if later(start, settings.cpu_initialization) > now {
            return is_false || sample.timestamp < later(flipped, sample.window);
        }
        is_false && later(start, settings.readiness_delay) > flipped
    }

    /// The pod's request for `resource`, in thousandths.
    ///
    /// # Errors
    /// Names the pod and the container without a request.
    pub fn request(
        &self,
        resource: &str,
        container: Option<&str>,
        settings: &Settings,
    ) -> Result<i64, String> {
        let pod = &self.name;
        if let Some(wanted) = container {
            let found = self.long_running().find(|c| &*c.name == wanted);
            let found =
                found.ok_or_else(|| format!("container {wanted} not found in Pod {pod}"))?;
            return self.request_of(found, resource);
        }
        if settings.pod_level_resources && self.spec.resources.requests.names().any(is_pod_level) {
            return self
                .pod_level_request(resource)
                .ok_or_else(|| format!("missing pod-level request for {resource} in Pod {pod}"));
        }
        self.long_running().try_fold(0_i64, |sum, c| {
            Ok(sum.wrapping_add(self.request_of(c, resource)?))
        })
    }

    /// The pod's limit for `resource`, in thousandths; `None` where any part of it is unlimited.
    pub fn limit(&self, resource: &str, container: Option<&str>) -> Option<i64> {
        if let Some(wanted) = container {
            let mut all = self.long_running();
            let found = all.find(|c| &*c.name == wanted)?;
            return found.resources.limits.get(resource);
        }
        let own = self.spec.resources.limits.get(resource);
        own.or_else(|| {
            self.long_running().try_fold(0_i64, |sum, container| {
                Some(sum.saturating_add(container.resources.limits.get(resource)?))
            })
        })
    }

    /// The long-running containers without a request for `resource`.
    pub fn without_request(&self, resource: &str) -> impl Iterator<Item = &Arc<str>> {
        let lacks = move |c: &&Container| c.resources.requests.get(resource).is_none();
        self.long_running().filter(lacks).map(|c| &c.name)
    }

    /// The long-running containers with a request for `resource`.
    pub fn with_request(&self, resource: &str) -> impl Iterator<Item = &Arc<str>> {
        let has = move |c: &&Container| c.resources.requests.get(resource).is_some();
        self.long_running().filter(has).map(|c| &c.name)
    }

    fn request_of(&self, container: &Container, resource: &str) -> Result<i64, String> {
        container.resources.requests.get(resource).ok_or_else(|| {
            let (name, pod) = (&container.name, &self.name);
            format!("missing request for {resource} in container {name} of Pod {pod}")
        })
    }

    fn long_running(&self) -> impl Iterator<Item = &Container> {
        let sidecars = self.spec.init_containers.iter().filter(|c| is_sidecar(c));
        self.spec.containers.iter().chain(sidecars)
    }

    /// What the scheduler reserves, overridden by the pod's own figure, plus overhead.
    fn pod_level_request(&self, resource: &str) -> Option<i64> {
        let of = |c: &Container| c.resources.requests.get(resource);
        let own = self
            .spec
            .resources
            .requests
            .get(resource)
            .filter(|_| is_pod_level(resource));
        let mut sidecars = 0_i64;
        let mut starting = 0_i64;
        for container in &self.spec.init_containers {
            let request = of(container).unwrap_or(0);
            starting = starting.max(sidecars.saturating_add(request));
            if is_sidecar(container) {
                sidecars = sidecars.saturating_add(request);
            }
        }
        let regular = self
            .spec
            .containers
            .iter()
            .filter_map(of)
            .fold(0, i64::saturating_add);
        let mut all = self
            .spec
            .containers
            .iter()
            .chain(&self.spec.init_containers);
        let aggregate = all.find_map(of).map(|_| starting.max(regular + sidecars));
        let overhead = self.spec.overhead.get(resource);
        let base = own.or(aggregate);
        (base.is_some() || overhead.is_some()).then(|| base.unwrap_or(0) + overhead.unwrap_or(0))
    }
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn is_pod_level(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-")
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}
