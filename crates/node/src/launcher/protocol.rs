//! What the main process and the helper say to each other.

use super::fault::Fault;
use crate::runtime::{Counters, Exit, Limits, Mount, NodeSlice, SandboxSpec, Security};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How much the helper may do on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// As root: cgroups, and pod addresses reachable from the host.
    Root,
    /// As a plain user, in a user namespace of its own.
    Rootless,
}

/// An IPv4 range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cidr {
    /// First address.
    pub address: Ipv4Addr,
    /// Length of the prefix, 0 to 32.
    pub prefix: u8,
}

impl Cidr {
    /// Whether the two ranges share an address.
    pub fn overlaps(self, other: Self) -> bool {
        let shift = 32 - u32::from(self.prefix.min(other.prefix).min(32));
        let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
        u32::from(self.address) & mask == u32::from(other.address) & mask
    }
}

/// What the helper must know before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherConfig {
    /// An existing directory; the helper mounts its scratch space on it, in its own mount
    /// namespace, so nothing appears there for others.
    pub directory: PathBuf,
    /// Range of the pods' addresses.
    pub pod_cidr: Cidr,
    /// Range of the Services' addresses.
    pub service_cidr: Cidr,
    /// Address of the cluster side towards the pods; inside `pod_cidr`, given to no pod.
    pub gateway: Ipv4Addr,
    /// Address of the host's end of the link, where there is one; inside `pod_cidr`.
    pub host_address: Ipv4Addr,
}

impl LauncherConfig {
    /// The usual ranges: pods 10.244.0.0/16, Services 10.96.0.0/12.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            pod_cidr: Cidr {
                address: Ipv4Addr::new(10, 244, 0, 0),
                prefix: 16,
            },
            service_cidr: Cidr {
                address: Ipv4Addr::new(10, 96, 0, 0),
                prefix: 12,
            },
            gateway: Ipv4Addr::new(10, 244, 0, 1),
            host_address: Ipv4Addr::new(10, 244, 255, 254),
        }
    }
}

/// First message of the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// How limits are enforced, for people: `cgroup v1`, `cgroup v2` or `software governor`.
    pub limits: String,
    /// Whether the host's shell reaches pod addresses.
    pub reachable_from_host: bool,
    /// What does not work here, and why; one entry a finding.
    pub remarks: Vec<String>,
}

/// A request of the main process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Comes back in the reply.
    pub(crate) id: u64,
    /// What to do.
    pub(crate) order: Order,
}

/// What the helper can do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    AddNode(NodeSlice),
    RemoveNode(String),
    CreateSandbox(SandboxSpec),
    RemoveSandbox(String),
    Start(StartOrder),
    Exec(ExecOrder),
    Signal {
        task: u64,
        signal: i32,
    },
    Remove {
        task: u64,
    },
    Resize {
        task: u64,
        limits: Limits,
    },
    Counters,
    Socket {
        purpose: Purpose,
        address: SocketAddr,
        /// The pod in whose network it is made; the cluster's if none.
        pod_uid: Option<String>,
    },
}

/// A container to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartOrder {
    /// Names the process in later messages; chosen by the main process.
    pub(crate) task: u64,
    pub(crate) pod_uid: String,
    pub(crate) name: String,
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) working_dir: String,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) limits: Limits,
    pub(crate) security: Security,
    pub(crate) stdio: Stdio,
    /// The container whose pid namespace it shares; its own if none.
    pub(crate) target: Option<u64>,
}

/// A command to run in a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecOrder {
    /// Names the new process.
    pub(crate) task: u64,
    /// The container's main process.
    pub(crate) container: u64,
    pub(crate) argv: Vec<String>,
    pub(crate) stdio: Stdio,
}

/// What a process's standard streams are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stdio {
    /// stdout and stderr are pipes, stdin is empty.
    Output,
    /// Pipes in both directions.
    Pipes,
    /// One terminal for all three.
    Terminal,
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// Listening, TCP.
    Listen,
    /// Bound, UDP.
    Datagram,
    /// A TCP socket, ready for `connect`.
    Connect,
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Ready to work.
    Ready(Greeting),
    /// Could not start.
    Failed(Fault),
    /// Answer to a request; descriptors travel with it.
    Reply {
        id: u64,
        result: Result<Answer, Refusal>,
    },
    /// A process has ended.
    Ended { task: u64, exit: Exit },
}

/// What came out of an order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    /// Counters by task number and by node.
    Counted {
        tasks: Vec<(u64, Counters)>,
        nodes: Vec<(String, Counters)>,
    },
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    Fault(Fault),
    NoSuchSandbox(String),
    NotRunning(u64),
    MemoryInUse { limit: u64, used: u64 },
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
