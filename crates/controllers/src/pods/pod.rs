//! A pod as controllers, the scheduler and the autoscalers see it.

use super::allocated::Allocated;
use super::attempt::Attempt;
use super::pod_devices::{DeviceClaimStatusWire, DeviceClaimWire, PodDeviceClaim, device_claims};
use super::pod_volumes::{PodClaim, VolumeWire, volumes};
use crate::runtime::{Cached, Meta, wire};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plimsoll_engine::horizontal::pod::{self as horizontal, Amounts, Facts};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `status.phase`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Phase {
    /// Accepted, not all containers have started.
    #[default]
    Pending,
    /// The node has not reported for long.
    Unknown,
    /// Bound, at least one container runs or starts.
    Running,
    /// All containers ended well and will not restart.
    Succeeded,
    /// All containers ended, at least one badly.
    Failed,
}

impl Phase {
    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Unknown => "Unknown",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// Whether the pod will never run again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A pod condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `Ready`, `PodScheduled`, …
    pub kind: Arc<str>,
    /// Whether `status` is `True`.
    pub holds: bool,
    /// Whether `status` is `Unknown`.
    pub unknown: bool,
    /// When the status changed last.
    pub since: Option<Timestamp>,
    /// Machine-readable reason, or empty.
    pub reason: Arc<str>,
}

/// What a container is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerRole {
    /// Runs for the life of the pod.
    Main,
    /// Runs to its end before the main containers.
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
}

/// A named or numbered port of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name, or empty.
    pub name: Arc<str>,
    /// Port inside the pod.
    pub container_port: u16,
    /// Port on the node, if any.
    pub host_port: Option<u16>,
    /// Address on the node that the port is opened at, if not at all of them.
    pub host_ip: Option<Box<str>>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Arc<str>,
}

/// A container's part in decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Name.
    pub name: Arc<str>,
    /// Role.
    pub role: ContainerRole,
    /// Image as written.
    pub image: Arc<str>,
    /// `resources.requests`: resource and quantity as written.
    pub requests: Box<[(Arc<str>, Box<str>)]>,
    /// `resources.limits.cpu` as written; no other limit is read by anybody.
    pub cpu_limit: Option<Box<str>>,
    /// Ports.
    pub ports: Box<[Port]>,
}

impl Container {
    /// The request for `resource` as written, e.g. `200m`.
    pub fn request(&self, resource: &str) -> Option<&str> {
        self.requests
            .iter()
            .find(|(name, _)| &**name == resource)
            .map(|(_, quantity)| &**quantity)
    }
}

/// Where the pod may run, undecoded: only the scheduler reads it.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// `spec.nodeSelector`.
    pub node_selector: Option<BTreeMap<String, String>>,
    /// `spec.affinity`.
    pub affinity: Option<Box<RawValue>>,
    /// `spec.tolerations`.
    pub tolerations: Option<Box<RawValue>>,
    /// `spec.topologySpreadConstraints`.
    pub topology_spread_constraints: Option<Box<RawValue>>,
    /// `spec.schedulingGates`.
    pub scheduling_gates: Option<Box<RawValue>>,
    /// `spec.resources.requests`: what the pod asks for as a whole.
    pub requests: Box<[(Arc<str>, Box<str>)]>,
    /// What the node granted containers, where that is not what they ask for.
    pub allocated: Box<[Allocated]>,
    /// `spec.overhead`: resource → quantity.
    pub overhead: Option<BTreeMap<String, String>>,
    /// `spec.preemptionPolicy`.
    pub preemption_policy: Option<String>,
    /// `status.nominatedNodeName`.
    pub nominated_node: Option<Arc<str>>,
    /// Claims among its volumes, in their order.
    pub claims: Box<[PodClaim]>,
    /// Its claims to devices, in their order.
    pub device_claims: Box<[PodDeviceClaim]>,
    /// Names of its volumes that live on the node: hostPath, and emptyDir not in memory.
    pub local_volumes: Box<[Arc<str>]>,
}

/// A pod.
#[derive(Debug)]
pub struct PodView {
    /// Metadata.
    pub meta: Meta,
    /// `spec.nodeName`, once bound.
    pub node: Option<Arc<str>>,
    /// `spec.schedulerName`, unless `default-scheduler`.
    pub scheduler: Option<Arc<str>>,
    /// `spec.priority`.
    pub priority: i32,
    /// Main containers first, then init containers and sidecars, each in spec order.
    pub containers: Box<[Container]>,
    /// Where it may run.
    pub placement: Box<Placement>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.hostname`.
    pub hostname: Option<Arc<str>>,
    /// `spec.subdomain`.
    pub subdomain: Option<Arc<str>>,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace_seconds: Option<i64>,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether `status.reason` is `Evicted`: its node was short of something.
    pub evicted: bool,
    /// `status.conditions`.
    pub conditions: Box<[Condition]>,
    /// `status.podIP`.
    pub ip: Option<Arc<str>>,
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// Highest restart count among the main containers.
    pub restarts: i32,
    /// What the horizontal autoscaler decides from.
    pub facts: Arc<Facts>,
    /// What its Job decides from; of pods that a Job controls.
    pub attempt: Option<Box<Attempt>>,
}

impl PodView {
    /// A condition by type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| &*condition.kind == kind)
    }

    /// Whether the `Ready` condition holds.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready")
            .is_some_and(|condition| condition.holds)
    }

    /// When the pod became ready, if it is.
    pub fn ready_since(&self) -> Option<Timestamp> {
        self.condition("Ready")
            .filter(|condition| condition.holds)?
            .since
    }

    /// Whether the pod counts towards its controller: not ended and not being deleted.
    pub fn is_active(&self) -> bool {
        !self.phase.is_terminal() && !self.meta.is_deleting()
    }
}

impl Cached for PodView {
    type Wire = PodWire;

    fn from_wire(wire: PodWire) -> Self {
        let (metadata, spec, status) = (wire.metadata, wire.spec, wire.status);
        let containers = containers(spec.containers, spec.init_containers);
        let meta = Meta::from(metadata);
        let (claims, local_volumes) = volumes(&meta.key.name, spec.volumes);
        let requests = pod_requests(spec.resources.as_ref());
        let device_claims = device_claims(spec.resource_claims, &status.resource_claim_statuses);
        let allocated = allocated(&containers, &status);
        let facts = Facts::new(
            Arc::clone(&meta.key.name),
            meta.is_deleting(),
            horizontal::Spec {
                resources: horizontal::Resources {
                    requests: spec.resources.map(amounts).unwrap_or_default(),
                    limits: Amounts::default(),
                },
                overhead: spec.overhead.clone().map(amounts_of).unwrap_or_default(),
                ..horizontal_containers(&containers)
            },
            horizontal_status(&status),
        );
        let attempt = attempt(&meta, &status);
        Self {
            meta,
            attempt,
            facts: Arc::new(facts),
            node: text(spec.node_name),
            scheduler: spec
                .scheduler_name
                .filter(|name| name != "default-scheduler")
                .map(Arc::from),
            priority: spec.priority.unwrap_or_default(),
            containers,
            placement: Box::new(Placement {
                node_selector: spec.node_selector,
                affinity: spec.affinity,
                tolerations: spec.tolerations,
                topology_spread_constraints: spec.topology_spread_constraints,
                scheduling_gates: spec.scheduling_gates,
                requests,
                allocated,
                overhead: spec.overhead,
                preemption_policy: spec.preemption_policy,
                nominated_node: status.nominated_node_name.map(Arc::from),
                claims,
                device_claims,
                local_volumes,
            }),
            host_network: spec.host_network.unwrap_or_default(),
            hostname: text(spec.hostname),
            subdomain: text(spec.subdomain),
            grace_seconds: spec.termination_grace_period_seconds,
            phase: status.phase.unwrap_or_default(),
            evicted: status.reason.as_deref() == Some("Evicted"),
            conditions: status.conditions.into_iter().map(Condition::from).collect(),
            ip: text(status.pod_ip),
            started: status.start_time,
            restarts: restarts(&status.container_statuses),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

fn restarts(containers: &[ContainerStatusWire]) -> i32 {
    let counts = containers.iter().map(|status| status.restart_count);
    counts.max().unwrap_or_default()
}

/// `resources.requests` as written.
fn pod_requests(resources: Option<&ResourcesWire>) -> Box<[(Arc<str>, Box<str>)]> {
    let requests = resources.and_then(|r| r.requests.as_ref());
    let requests = requests.into_iter().flatten();
    requests
        .map(|(name, quantity)| (name.as_str().into(), quantity.as_str().into()))
        .collect()
}

fn attempt(meta: &Meta, status: &StatusWire) -> Option<Box<Attempt>> {
    let owner = meta.controller()?;
    let of_a_job = &*owner.kind == "Job" && owner.api_version.starts_with("batch/");
    of_a_job.then(|| {
        let (main, init) = (&status.container_statuses, &status.init_container_statuses);
        Box::new(Attempt::of(main, init, &status.conditions))
    })
}

fn allocated(containers: &[Container], status: &StatusWire) -> Box<[Allocated]> {
    let (main, init) = (&status.container_statuses, &status.init_container_statuses);
    let statuses = main.iter().chain(init);
    let granted = statuses.filter_map(|status| {
        let granted = status.allocated_resources.as_ref()?;
        Allocated::unlike(&status.name, granted, containers)
    });
    granted.collect()
}

/// Text that is not empty.
fn text(text: Option<String>) -> Option<Arc<str>> {
    text.filter(|text| !text.is_empty()).map(Arc::from)
}

fn containers(main: Vec<ContainerWire>, init: Vec<ContainerWire>) -> Box<[Container]> {
    let main = main.into_iter().map(|c| (c, ContainerRole::Main));
    let init = init.into_iter().map(|c| {
        let always = c.restart_policy.as_deref() == Some("Always");
        let role = if always {
            ContainerRole::Sidecar
        } else {
            ContainerRole::Init
        };
        (c, role)
    });
    main.chain(init)
        .map(|(c, role)| c.into_view(role))
        .collect()
}

fn amounts(resources: ResourcesWire) -> Amounts {
    resources.requests.map(amounts_of).unwrap_or_default()
}

fn amounts_of(quantities: BTreeMap<String, String>) -> Amounts {
    let named: Vec<(Arc<str>, String)> = quantities
        .into_iter()
        .map(|(name, quantity)| (name.into(), quantity))
        .collect();
    named.iter().map(|(name, text)| (name, &**text)).collect()
}

/// The containers as the horizontal autoscaler sees them; names are shared with `containers`.
fn horizontal_containers(containers: &[Container]) -> horizontal::Spec {
    let cpu: Arc<str> = "cpu".into();
    let convert = |container: &Container| horizontal::Container {
        name: Arc::clone(&container.name),
        resources: horizontal::Resources {
            requests: container
                .requests
                .iter()
                .map(|(name, quantity)| (name, &**quantity))
                .collect(),
            limits: container
                .cpu_limit
                .iter()
                .map(|quantity| (&cpu, &**quantity))
                .collect(),
        },
        restart_policy: (container.role == ContainerRole::Sidecar).then(|| "Always".into()),
    };
    let (main, init): (Vec<&Container>, Vec<&Container>) = containers
        .iter()
        .partition(|container| container.role == ContainerRole::Main);
    horizontal::Spec {
        containers: main.into_iter().map(convert).collect(),
        init_containers: init.into_iter().map(convert).collect(),
        ..horizontal::Spec::default()
    }
}

fn horizontal_status(status: &StatusWire) -> horizontal::Status {
    let ready = status.conditions.iter().filter(|c| c.kind == "Ready");
    horizontal::Status {
        phase: status.phase.map(|phase| phase.text().into()),
        start_time: status.start_time,
        conditions: ready
            .map(|condition| horizontal::PodCondition {
                kind: condition.kind.clone(),
                status: condition.status.clone(),
                last_transition_time: condition.last_transition_time,
            })
            .collect(),
    }
}

/// What is decoded of a pod.
#[derive(Debug, Clone, Deserialize)]
pub struct PodWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SpecWire,
    #[serde(default)]
    status: StatusWire,
}

wire!(PodWire, NamespaceResourceScope, "", "v1", "Pod", "pods");

// Undecoded parts must be direct fields: `flatten` would buffer them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecWire {
    node_name: Option<String>,
    scheduler_name: Option<String>,
    priority: Option<i32>,
    #[serde(deserialize_with = "null_as_empty")]
    containers: Vec<ContainerWire>,
    #[serde(deserialize_with = "null_as_empty")]
    init_containers: Vec<ContainerWire>,
    resources: Option<ResourcesWire>,
    host_network: Option<bool>,
    hostname: Option<String>,
    subdomain: Option<String>,
    termination_grace_period_seconds: Option<i64>,
    node_selector: Option<BTreeMap<String, String>>,
    affinity: Option<Box<RawValue>>,
    tolerations: Option<Box<RawValue>>,
    topology_spread_constraints: Option<Box<RawValue>>,
    scheduling_gates: Option<Box<RawValue>>,
    overhead: Option<BTreeMap<String, String>>,
    preemption_policy: Option<String>,
    #[serde(deserialize_with = "null_as_empty")]
    volumes: Vec<VolumeWire>,
    #[serde(deserialize_with = "null_as_empty")]
    resource_claims: Vec<DeviceClaimWire>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerWire {
    name: String,
    image: String,
    resources: Option<ResourcesWire>,
    #[serde(deserialize_with = "null_as_empty")]
    ports: Vec<PortWire>,
    restart_policy: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ResourcesWire {
    requests: Option<BTreeMap<String, String>>,
    limits: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PortWire {
    name: Option<String>,
    container_port: u16,
    host_port: Option<u16>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    protocol: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusWire {
    phase: Option<Phase>,
    reason: Option<String>,
    #[serde(deserialize_with = "null_as_empty")]
    conditions: Vec<ConditionWire>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    start_time: Option<Timestamp>,
    nominated_node_name: Option<String>,
    #[serde(deserialize_with = "null_as_empty")]
    container_statuses: Vec<ContainerStatusWire>,
    #[serde(deserialize_with = "null_as_empty")]
    init_container_statuses: Vec<ContainerStatusWire>,
    #[serde(deserialize_with = "null_as_empty")]
    resource_claim_statuses: Vec<DeviceClaimStatusWire>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConditionWire {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    reason: Option<String>,
    pub(super) last_transition_time: Option<Timestamp>,
    pub(super) last_heartbeat_time: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerStatusWire {
    pub(super) name: String,
    pub(super) restart_count: i32,
    allocated_resources: Option<BTreeMap<String, String>>,
    pub(super) state: ContainerStateWire,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerStateWire {
    pub(super) terminated: Option<TerminatedWire>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TerminatedWire {
    pub(super) exit_code: i32,
    pub(super) finished_at: Option<Timestamp>,
}

/// Go writes empty lists as `null`.
pub(crate) fn null_as_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ContainerWire {
    fn into_view(self, role: ContainerRole) -> Container {
        let resources = self.resources.unwrap_or_default();
        let requests = resources.requests.unwrap_or_default();
        let cpu_limit = resources.limits.and_then(|mut limits| limits.remove("cpu"));
        Container {
            name: self.name.into(),
            role,
            image: self.image.into(),
            requests: requests
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
            cpu_limit: cpu_limit.map(Into::into),
            ports: self.ports.into_iter().map(Port::from).collect(),
        }
    }
}

impl From<PortWire> for Port {
    fn from(port: PortWire) -> Self {
        Self {
            name: port.name.unwrap_or_default().into(),
            container_port: port.container_port,
            host_port: port.host_port.filter(|port| *port != 0),
            host_ip: port.host_ip.filter(|ip| !ip.is_empty()).map(Into::into),
            protocol: port.protocol.as_deref().unwrap_or("TCP").into(),
        }
    }
}

impl From<ConditionWire> for Condition {
    fn from(condition: ConditionWire) -> Self {
        Self {
            kind: condition.kind.into(),
            holds: condition.status == "True",
            unknown: condition.status == "Unknown",
            since: condition.last_transition_time,
            reason: condition.reason.unwrap_or_default().into(),
        }
    }
}

#[cfg(test)]
#[path = "pod_tests.rs"]
mod tests;
