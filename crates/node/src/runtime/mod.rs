//! How pods run: one trait, several runtimes.

pub mod simulated;

pub mod builtin;
pub mod choose;
mod cri_log;
mod guard;
mod leash;
mod plain;
pub mod process;
mod session;
mod streams;

use async_trait::async_trait;
pub use leash::Leash;
use plimsoll_api::node::Session;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// CPU and memory bounds of one container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requested CPU, in millicores; sets the weight.
    pub cpu_request_milli: u64,
    /// CPU limit, in millicores; `None` = unlimited.
    pub cpu_limit_milli: Option<u64>,
    /// Memory limit in bytes; `None` = unlimited.
    pub memory_limit_bytes: Option<u64>,
}

/// Who a container runs as, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// User; 0 is the container's root.
    pub user: u32,
    /// Main group.
    pub group: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Capabilities that it may have at all: bits by capability number.
    pub capabilities: u64,
    /// Whether it sees the kernel's files as they are and may write them.
    pub privileged: bool,
    /// Whether programs in it can never gain privileges.
    pub no_new_privileges: bool,
    /// Whether its root is read-only.
    pub read_only_root: bool,
    /// How ready the kernel is to kill it for memory, -1000 to 1000.
    pub oom_score_adj: i32,
}

/// The usual capabilities of a container, by number: chown, dac_override, fowner, fsetid, kill,
/// setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
pub const USUAL_CAPABILITIES: u64 = 1
    | 1 << 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 10
    | 1 << 13
    | 1 << 18
    | 1 << 27
    | 1 << 29
    | 1 << 31;

impl Default for Security {
    fn default() -> Self {
        Self {
            user: 0,
            group: 0,
            groups: Vec::new(),
            capabilities: USUAL_CAPABILITIES,
            privileged: false,
            no_new_privileges: false,
            read_only_root: false,
            oom_score_adj: 0,
        }
    }
}

/// A node as the runtime sees it: a slice of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSlice {
    /// Node name; also the name of its cgroup.
    pub node: String,
    /// CPU capacity in millicores (a quota over all its pods).
    pub cpu_milli: u64,
    /// Memory capacity in bytes.
    pub memory_bytes: u64,
}

/// What a pod's sandbox needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Node it runs on.
    pub node: String,
    /// Pod uid; names the sandbox.
    pub uid: String,
    /// Pod namespace and name, for messages.
    pub pod: (String, String),
    /// The address the node agent assigned to the pod.
    pub ip: IpAddr,
    /// Host name inside the pod.
    pub hostname: String,
    /// Whether the pod shares the host's network.
    pub host_network: bool,
    /// Contents of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// Contents of `/etc/hosts`.
    pub hosts: String,
    /// Whether its containers see each other's processes.
    pub share_processes: bool,
    /// Bounds of the pod as a whole, beside those of its containers. A request of 0 means the sum
    /// of theirs.
    pub limits: Limits,
}

/// A file or directory made visible inside a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path on the host, prepared by the agent.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Where it is a part of a volume in memory, which the runtime makes; `source` is not used then.
    #[serde(default)]
    pub memory: Option<InMemory>,
}

/// A part of a pod's volume in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InMemory {
    /// The volume.
    pub name: String,
    /// The most it holds, in bytes.
    pub size_bytes: Option<u64>,
    /// Path inside it; empty for the whole.
    pub inside: String,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Pod uid (its sandbox).
    pub pod_uid: String,
    /// Container name.
    pub name: String,
    /// 0 for the first instance, then counted up.
    pub attempt: u32,
    /// Image reference as written in the pod.
    pub image: String,
    /// Replaces the image's entry point where not empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments where not empty.
    pub args: Vec<String>,
    /// Environment, in order (later wins).
    pub env: Vec<(String, String)>,
    /// Working directory; the image's where `None`.
    pub working_dir: Option<String>,
    /// Mounts, in order.
    pub mounts: Vec<Mount>,
    /// Bounds.
    pub limits: Limits,
    /// Who it runs as, and what it may do.
    pub security: Security,
    /// Keep stdin open.
    pub stdin: bool,
    /// Close stdin when the first attach ends.
    pub stdin_once: bool,
    /// Give it a terminal.
    pub tty: bool,
    /// The container (by ID) whose processes it is to see, where the runtime can do that.
    pub target: Option<String>,
    /// File for its log, in CRI format (`TIME stdout|stderr F|P TEXT`).
    pub log_path: PathBuf,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128+N for signal N.
    pub code: i32,
    /// The signal, if one ended it.
    pub signal: Option<i32>,
    /// Whether the kernel (or the watchdog) killed it for its memory.
    pub oom_killed: bool,
}

/// Cumulative resource counters of one container or node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// CPU time since the start, in nanoseconds.
    pub cpu_nanos: u64,
    /// Working set now, in bytes.
    pub memory_bytes: u64,
}

/// A started container.
#[derive(Debug, Clone)]
pub struct Started {
    /// `RUNTIME://ID`, for `status.containerStatuses[].containerID`.
    pub container_id: String,
    /// What really runs, e.g. `built-in:hpa-example@sha256:…`, for `imageID`.
    pub image_id: String,
    /// Becomes `Some` once it has ended.
    pub exit: watch::Receiver<Option<Exit>>,
}

/// What a runtime can say is wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuntimeError {
    /// No such image here; `ErrImagePull`.
    #[error("failed to pull image {image:?}: {why}")]
    ImagePull {
        /// The reference.
        image: String,
        /// Why, and what can be done.
        why: String,
    },
    /// The reference does not parse; `InvalidImageName`.
    #[error("couldn't parse image name {image:?}: {why}")]
    InvalidImageName {
        /// The reference.
        image: String,
        /// Why.
        why: String,
    },
    /// The container could not be started; `RunContainerError`.
    #[error("failed to start container {container:?}: {why}")]
    Start {
        /// Container name.
        container: String,
        /// Why.
        why: String,
    },
    /// The pod's sandbox could not be made; `FailedCreatePodSandBox`.
    #[error("failed to create pod sandbox: {0}")]
    Sandbox(String),
    /// No such container or sandbox.
    #[error("container {0:?} is not running")]
    NotRunning(String),
    /// Lowering memory below what is in use is put off.
    #[error("memory limit {limit} is below the {used} bytes in use")]
    ResizeDeferred {
        /// The limit asked for.
        limit: u64,
        /// What is in use.
        used: u64,
    },
    /// The runtime cannot do this at all.
    #[error("the {runtime} runtime cannot {what}")]
    Unsupported {
        /// Its name.
        runtime: &'static str,
        /// What it cannot do.
        what: String,
    },
    /// The launcher process failed.
    #[error("launcher: {0}")]
    Launcher(String),
}

/// Runs sandboxes and containers. Implementations: built-in launcher (root or rootless), plain
/// processes, simulated.
#[async_trait]
pub trait Runtime: Send + Sync + std::fmt::Debug {
    /// Short name for `containerID`, e.g. `plimsoll`, `process`, `simulated`.
    fn name(&self) -> &'static str;

    /// One line for people: which rung of the ladder this is and why.
    fn describe(&self) -> String;

    /// Whether containers are real: files, volumes, logs and probes matter. Simulated ones are not.
    fn runs_processes(&self) -> bool {
        true
    }

    /// Whether files and directories can appear inside containers.
    fn mounts_volumes(&self) -> bool {
        true
    }

    /// Waits until the runtime as a whole has broken down, and says why; nothing it should run
    /// runs any more then, and nothing can be started. Most never do.
    async fn breakdown(&self) -> String {
        std::future::pending().await
    }

    /// For runtimes without processes: what a probe of the container would find now. `None` when
    /// probes must really be made, or the container is unknown.
    fn simulated_health(&self, _container_id: &str) -> Option<bool> {
        None
    }

    /// Makes room for a node (cgroup with its capacity).
    async fn add_node(&self, slice: NodeSlice) -> Result<(), RuntimeError>;

    /// Removes a node's room; its pods must be gone.
    async fn remove_node(&self, node: &str) -> Result<(), RuntimeError>;

    /// Checks that the image can run here and returns its image ID; pulls it where possible.
    async fn prepare_image(&self, image: &str) -> Result<String, RuntimeError>;

    /// Makes a pod's sandbox (network namespace, address).
    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<(), RuntimeError>;

    /// Removes a pod's sandbox and anything left in it. Absent is fine.
    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), RuntimeError>;

    /// Starts a container in its pod's sandbox.
    async fn start(&self, spec: ContainerSpec) -> Result<Started, RuntimeError>;

    /// Sends a signal to the container's main process (SIGKILL: to everything in it).
    async fn signal(&self, container_id: &str, signal: i32) -> Result<(), RuntimeError>;

    /// Frees what an ended container still holds (its log stays).
    async fn remove(&self, container_id: &str) -> Result<(), RuntimeError>;

    /// Runs a command in a running container.
    async fn exec(
        &self,
        container_id: &str,
        command: Vec<String>,
        tty: bool,
        stdin: bool,
    ) -> Result<Session, RuntimeError>;

    /// Runs a command of the node's own (a probe, a hook), which is killed together with what it
    /// started when the leash is dropped before its end.
    async fn exec_leashed(
        &self,
        container_id: &str,
        command: Vec<String>,
    ) -> Result<(Session, Leash), RuntimeError> {
        let session = self.exec(container_id, command, false, false).await?;
        Ok((session, Leash::loose()))
    }

    /// Connects to the main process's stdin and live output.
    async fn attach(&self, container_id: &str, stdin: bool) -> Result<Session, RuntimeError>;

    /// Counters of every running container, keyed by container ID, and of every node, keyed by
    /// name; one call a sampling round.
    async fn counters(&self) -> Result<RuntimeCounters, RuntimeError>;

    /// Changes the bounds of a running container in place. CPU is changed even where memory cannot
    /// be lowered now.
    async fn resize(&self, container_id: &str, limits: Limits) -> Result<(), RuntimeError>;

    /// The network the pods are in.
    fn network(&self) -> Arc<dyn Network>;

    /// Stops everything and frees all resources.
    async fn shutdown(&self);
}

/// One round of counters.
#[derive(Debug, Clone, Default)]
pub struct RuntimeCounters {
    /// By container ID.
    pub containers: BTreeMap<String, Counters>,
    /// By node name.
    pub nodes: BTreeMap<String, Counters>,
}

/// Sockets in the pods' network, usable from the main process.
#[async_trait]
pub trait Network: Send + Sync + std::fmt::Debug {
    /// Listens on an address of the cluster (a Service VIP, the DNS address).
    async fn listen(&self, address: SocketAddr) -> std::io::Result<tokio::net::TcpListener>;

    /// Binds a UDP socket on an address of the cluster.
    async fn bind_udp(&self, address: SocketAddr) -> std::io::Result<tokio::net::UdpSocket>;

    /// Connects to a pod.
    async fn connect(&self, address: SocketAddr) -> std::io::Result<tokio::net::TcpStream>;

    /// Connects to a port on the loopback interface of a pod, whose own address is `address`'s.
    /// Where pods have no network of their own, that is their address.
    async fn connect_inside(
        &self,
        _pod_uid: &str,
        address: SocketAddr,
    ) -> std::io::Result<tokio::net::TcpStream> {
        self.connect(address).await
    }

    /// Whether the host's own shell reaches pod and Service addresses.
    fn reachable_from_host(&self) -> bool;
}
