//! Pods as a node agent sees them: only the fields it acts on.

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The metadata a node agent reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Unique id.
    pub uid: String,
    /// Counts changes of the spec.
    pub generation: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it was created.
    pub creation_timestamp: Option<Timestamp>,
    /// When it must be gone.
    pub deletion_timestamp: Option<Timestamp>,
    /// Grace left to it when it was deleted, in seconds.
    pub deletion_grace_period_seconds: Option<i64>,
}

/// One pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Metadata.
    pub metadata: Meta,
    /// What to run.
    pub spec: PodSpec,
    /// What was last reported.
    pub status: SeenStatus,
}

/// The parts of a pod's spec that a node acts on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Node it is bound to; empty before.
    pub node_name: String,
    /// Init containers, in order; those with `restartPolicy: Always` are sidecars.
    pub init_containers: Vec<Container>,
    /// Main containers.
    pub containers: Vec<Container>,
    /// Containers added later to look into the pod, in the order they were added.
    pub ephemeral_containers: Vec<Container>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// `Always`, `OnFailure` or `Never`.
    pub restart_policy: Option<String>,
    /// Grace between SIGTERM and SIGKILL, in seconds (default 30).
    pub termination_grace_period_seconds: Option<i64>,
    /// Longest life, in seconds.
    pub active_deadline_seconds: Option<i64>,
    /// Host name instead of the pod's name.
    pub hostname: Option<String>,
    /// Subdomain (a headless Service's name).
    pub subdomain: Option<String>,
    /// Shares the host's network.
    pub host_network: bool,
    /// `ClusterFirst`, `ClusterFirstWithHostNet`, `Default` or `None`.
    pub dns_policy: Option<String>,
    /// Extra resolver settings.
    pub dns_config: Option<Box<core::PodDNSConfig>>,
    /// Extra lines for `/etc/hosts`.
    pub host_aliases: Vec<core::HostAlias>,
    /// Service account.
    pub service_account_name: Option<String>,
    /// Whether Services show as environment variables (default true).
    pub enable_service_links: Option<bool>,
    /// Extra conditions that must be True for Ready.
    pub readiness_gates: Vec<core::PodReadinessGate>,
    /// Requests and limits of the pod as a whole.
    pub resources: Resources,
    /// What its runtime class costs beside its containers.
    pub overhead: BTreeMap<String, String>,
    /// Importance; 0 where nothing is said.
    pub priority: Option<i32>,
    /// Whether its containers see each other's processes.
    pub share_process_namespace: bool,
    /// Whether the host name is the fully qualified one.
    #[serde(rename = "setHostnameAsFQDN")]
    pub set_hostname_as_fqdn: bool,
    /// Host name instead of any other.
    pub hostname_override: Option<String>,
    /// What it puts up with.
    pub tolerations: Vec<core::Toleration>,
    /// User, groups and the like for all containers.
    pub security_context: Option<Box<core::PodSecurityContext>>,
}

/// One container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: Option<String>,
    /// Entry point.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Environment.
    pub env: Vec<core::EnvVar>,
    /// Environment taken from whole objects.
    pub env_from: Vec<core::EnvFromSource>,
    /// Requests and limits.
    pub resources: Resources,
    /// Mounts.
    pub volume_mounts: Vec<core::VolumeMount>,
    /// Ports, for probes by name.
    pub ports: Vec<core::ContainerPort>,
    /// Holds the other probes back until it succeeds.
    pub startup_probe: Option<Box<core::Probe>>,
    /// Decides Ready.
    pub readiness_probe: Option<Box<core::Probe>>,
    /// Restarts the container.
    pub liveness_probe: Option<Box<core::Probe>>,
    /// Hooks.
    pub lifecycle: Option<Box<core::Lifecycle>>,
    /// Instead of the pod's; `Always` makes an init container a sidecar.
    pub restart_policy: Option<String>,
    /// Exceptions from the policy by exit code; the first that fits decides.
    pub restart_policy_rules: Vec<core::ContainerRestartRule>,
    /// What a change of resources costs it.
    pub resize_policy: Vec<core::ContainerResizePolicy>,
    /// User, capabilities and the like.
    pub security_context: Option<Box<core::SecurityContext>>,
    /// Where it leaves a last message; `/dev/termination-log` by default.
    pub termination_message_path: Option<String>,
    /// `File` or `FallbackToLogsOnError`.
    pub termination_message_policy: Option<String>,
    /// Keep stdin open.
    pub stdin: bool,
    /// Close stdin after the first attach.
    pub stdin_once: bool,
    /// Give it a terminal.
    pub tty: bool,
    /// Of an ephemeral container: the one whose processes it sees.
    pub target_container_name: String,
}

/// Requests and limits as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Upper bounds.
    pub limits: BTreeMap<String, String>,
    /// What is set aside.
    pub requests: BTreeMap<String, String>,
}

/// A volume of a kind that nodes mount.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// An empty directory that lives as long as the pod.
    pub empty_dir: Option<Box<core::EmptyDirVolumeSource>>,
    /// A path of the host.
    pub host_path: Option<Box<core::HostPathVolumeSource>>,
    /// What a claim is bound to.
    pub persistent_volume_claim: Option<Box<core::PersistentVolumeClaimVolumeSource>>,
    /// A claim made for the pod; only that there is one matters here.
    pub ephemeral: Option<serde::de::IgnoredAny>,
    /// Keys of a ConfigMap.
    pub config_map: Option<Box<core::ConfigMapVolumeSource>>,
    /// Keys of a Secret.
    pub secret: Option<Box<core::SecretVolumeSource>>,
    /// Several sources in one directory.
    pub projected: Option<Box<core::ProjectedVolumeSource>>,
    /// Fields of the pod as files.
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<Box<core::DownwardAPIVolumeSource>>,
}

/// The last reported status, as far as a restarted agent or a readiness gate needs it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenStatus {
    /// Phase.
    pub phase: String,
    /// Conditions.
    pub conditions: Vec<SeenCondition>,
    /// Statuses of main containers.
    pub container_statuses: Vec<SeenContainer>,
    /// Statuses of init containers.
    pub init_container_statuses: Vec<SeenContainer>,
    /// Statuses of ephemeral containers.
    pub ephemeral_container_statuses: Vec<SeenContainer>,
    /// When a node first took it on.
    pub start_time: Option<Timestamp>,
    /// Its address; empty before.
    #[serde(rename = "podIP")]
    pub pod_ip: String,
}

/// One reported condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenCondition {
    /// Type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When it last changed its status.
    pub last_transition_time: Option<Timestamp>,
}

/// One reported container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenContainer {
    /// Name.
    pub name: String,
    /// Restarts so far.
    pub restart_count: u32,
    /// Its last instance; empty if there was none.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// Requests that its node had granted.
    pub allocated_resources: BTreeMap<String, String>,
    /// What it had.
    pub resources: Resources,
}

impl Pod {
    /// Whether it is written by us to describe a part of this program, not to be run.
    pub fn is_mirror(&self) -> bool {
        self.metadata
            .annotations
            .contains_key("kubernetes.io/config.mirror")
    }

    /// Every container: init containers first, ephemeral ones last, each list in its order. A
    /// container keeps its place: only ephemeral ones are ever added.
    pub fn containers(&self) -> impl Iterator<Item = (Role, &Container)> {
        let init = self
            .spec
            .init_containers
            .iter()
            .map(|c| match c.restart_policy.as_deref() {
                Some("Always") => (Role::Sidecar, c),
                Some(_) | None => (Role::Init, c),
            });
        let main = self.spec.containers.iter().map(|c| (Role::Main, c));
        let ephemeral = self.spec.ephemeral_containers.iter();
        init.chain(main)
            .chain(ephemeral.map(|c| (Role::Ephemeral, c)))
    }

    /// The container at an index of [`Pod::containers`].
    pub fn container(&self, index: usize) -> Option<&Container> {
        self.containers().nth(index).map(|(_, container)| container)
    }

    /// `Always`, `OnFailure` or `Never`.
    pub fn restart_policy(&self) -> &str {
        self.spec.restart_policy.as_deref().unwrap_or("Always")
    }

    /// Grace between SIGTERM and SIGKILL in seconds; what the deletion asked for wins.
    pub fn grace_seconds(&self) -> i64 {
        let own = self.spec.termination_grace_period_seconds.unwrap_or(30);
        self.metadata
            .deletion_grace_period_seconds
            .unwrap_or(own)
            .max(0)
    }

    /// `NAME_NAMESPACE(UID)`, as messages name pods.
    pub fn full_name(&self) -> String {
        format!(
            "{}_{}({})",
            self.metadata.name, self.metadata.namespace, self.metadata.uid
        )
    }

    /// The same pod without what only a worker's first look at the status is for.
    #[must_use]
    pub fn without_first_look(mut self) -> Self {
        let status = &mut self.status;
        let main = status.container_statuses.iter_mut();
        for seen in main.chain(&mut status.init_container_statuses) {
            seen.allocated_resources = BTreeMap::new();
            seen.resources = Resources::default();
        }
        if self.spec.readiness_gates.is_empty() {
            self.status.conditions = Vec::new();
        }
        self
    }

    /// The same pod without what only running programs need: for runtimes that run none, of whose
    /// pods there are many.
    #[must_use]
    pub fn without_program(mut self) -> Self {
        self.spec.volumes = Vec::new();
        self.spec.dns_config = None;
        self.spec.host_aliases = Vec::new();
        self.spec.security_context = None;
        // Only a wildcard or the taint of memory pressure matters to a node.
        self.spec.tolerations.retain(|t| {
            let key = t.key.as_deref().unwrap_or_default();
            key.is_empty() || key == "node.kubernetes.io/memory-pressure"
        });
        self.spec.tolerations.shrink_to_fit();
        let PodSpec {
            containers,
            init_containers,
            ephemeral_containers,
            ..
        } = &mut self.spec;
        let all = containers.iter_mut().chain(init_containers);
        for container in all.chain(ephemeral_containers) {
            container.command = Vec::new();
            container.args = Vec::new();
            container.env = Vec::new();
            container.env_from = Vec::new();
            container.ports = Vec::new();
            container.lifecycle = None;
            container.security_context = None;
        }
        self
    }

    /// API path of the pod.
    pub fn path(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/pods/{}",
            self.metadata.namespace, self.metadata.name
        )
    }
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to completion before the next one.
    Init,
    /// Started in the order of init containers, then kept running.
    Sidecar,
    /// A main container.
    Main,
    /// Added later to look into the pod: runs once, and the pod does not care how.
    Ephemeral,
}
