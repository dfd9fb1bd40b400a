//! What the provider knows of Auto Scaling groups, free of the SDK's types.

use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tags of a group.
pub(crate) type Tags = BTreeMap<String, String>;

/// What a machine of a group is doing, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Being launched.
    Coming,
    /// In service.
    Serving,
    /// In standby: it runs, and counts for nothing in the group's size.
    Standby,
    /// Being terminated.
    Leaving,
}

impl Phase {
    /// Whether the machine counts for the group's desired capacity.
    pub(crate) fn is_active(self) -> bool {
        matches!(self, Self::Coming | Self::Serving)
    }
}

/// An instance of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `i-…`.
    pub id: Arc<str>,
    /// Availability zone.
    pub zone: Arc<str>,
    /// Instance type, where it is told.
    pub kind: Option<Arc<str>>,
    /// What it is doing.
    pub phase: Phase,
    /// How many units of the group's capacity it counts for.
    pub weight: usize,
}

/// What of its machines a group counts, where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    /// Virtual CPUs.
    Vcpus,
    /// Memory in MiB.
    MemoryMib,
}

impl Attribute {
    /// What a machine of this shape has of it.
    pub(crate) fn of(self, shape: &Shape) -> Option<usize> {
        match self {
            Self::Vcpus => usize::try_from(shape.vcpus).ok(),
            Self::MemoryMib => usize::try_from(shape.memory_mib).ok(),
        }
    }
}

/// What a group counts its capacity in: its sizes and the weights of its machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Units {
    /// Machines.
    #[default]
    Machines,
    /// Units of its own, vCPUs or memory: a machine counts for its weight.
    Weights {
        /// The least that a new machine counts for.
        least: usize,
        /// Weights by instance type, as far as they are known.
        of: BTreeMap<Arc<str>, usize>,
        /// Whether new machines may count for more than that.
        uneven: bool,
    },
    /// As with weights, and some machines' types are to be asked for: these machines have weight 0.
    Lacking {
        /// What a machine counts for.
        attribute: Attribute,
        /// The least of it that a new machine has.
        least: usize,
        /// Weights by instance type, as far as they are known.
        of: BTreeMap<Arc<str>, usize>,
    },
    /// Units, but nobody tells what a machine counts for.
    Unknown,
}

/// A launch template at one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TemplateRef {
    /// `lt-…`, or empty where only the name is known.
    pub id: String,
    /// Name, or empty where only the id is known.
    pub name: String,
    /// A number, `$Latest` or `$Default`.
    pub version: String,
}

/// What new machines of a group are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Launch {
    /// Any of these instance types (overrides of a mixed instances policy).
    Types(Vec<Arc<str>>),
    /// Any type with at least this much (attribute-based selection).
    Requirements {
        /// Virtual CPUs.
        vcpus: u32,
        /// Memory.
        memory_mib: u64,
        /// GPUs or other accelerators.
        accelerators: u32,
    },
    /// What a launch template says.
    Template(TemplateRef),
    /// What a launch configuration says.
    Configuration(String),
    /// The group does not tell.
    Unknown,
}

/// An Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScalingGroup {
    /// Name.
    pub name: Arc<str>,
    /// Smallest size that AWS lets it have, in its units.
    pub min: usize,
    /// Largest size that AWS lets it have, in its units.
    pub max: usize,
    /// How much capacity is asked for, in its units.
    pub desired: usize,
    /// Availability zones, sorted.
    pub zones: Vec<Arc<str>>,
    /// Instances that run, come or leave; those of a warm pool are not among them.
    pub machines: Vec<Machine>,
    /// Tags.
    pub tags: Tags,
    /// What new machines are made from.
    pub launch: Launch,
    /// Processes that are suspended, e.g. `Launch`.
    pub suspended: Vec<String>,
    /// What it counts its capacity in.
    pub units: Units,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl ScalingGroup {
    /// Machines that count for the desired capacity.
    pub(crate) fn active(&self) -> usize {
        self.machines
            .iter()
            .filter(|machine| machine.phase.is_active())
            .count()
    }

    /// Whether a process of it is suspended, e.g. `Launch`.
    pub(crate) fn suspends(&self, process: &str) -> bool {
        self.suspended.iter().any(|suspended| suspended == process)
    }

    /// The zone the next machine goes to: groups keep their zones even, so it is the one with the
    /// fewest machines, the first of several.
    pub(crate) fn next_zone(&self) -> Option<&Arc<str>> {
        let of = |zone: &Arc<str>| {
            let there = |machine: &&Machine| machine.phase.is_active() && machine.zone == *zone;
            self.machines.iter().filter(there).count()
        };
        self.zones.iter().min_by_key(|zone| of(zone))
    }
}

/// How an attempt to launch or end machines goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on, and no instance is known yet.
    Waiting,
    /// It goes on or went well, and the instance is among the group's.
    Underway,
    /// It failed or was cancelled.
    Failed,
}

/// A scaling activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activity {
    /// When it began.
    pub started: Timestamp,
    /// Whether it launches a machine (others end one).
    pub launches: bool,
    /// How it goes.
    pub progress: Progress,
    /// What AWS says of it.
    pub message: String,
}

/// What a launch template or configuration says of its machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LaunchFacts {
    /// Instance type, where it names one.
    pub kind: Option<Arc<str>>,
    /// vCPUs and memory in MiB, where it selects types by attributes.
    pub requirements: Option<(u32, u64)>,
    /// Size of the first volume in GiB, where it is told.
    pub disk_gib: Option<u64>,
}

/// What EC2 says of an instance type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory as sold.
    pub memory_mib: u64,
    /// As `kubernetes.io/arch` has it; `None` where it is open.
    pub arch: Option<Arc<str>>,
    /// How many pods its network interfaces have addresses for, where known.
    pub max_pods: Option<u32>,
    /// GPUs.
    pub gpus: u32,
    /// The extended resource that stands for them.
    pub gpu_resource: Option<Arc<str>>,
    /// On-demand price of an hour in US dollars, where known.
    pub price_per_hour: Option<f64>,
    /// Its name, unless several types are possible.
    pub kind: Option<Arc<str>>,
    /// Local volume in GiB, where known.
    pub disk_gib: Option<u64>,
}

/// What EKS says of a managed node group.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Managed {
    /// Labels of its nodes.
    pub labels: BTreeMap<String, String>,
    /// Taints of its nodes, as v1 has them.
    pub taints: Vec<Value>,
    /// Its own tags, which its Auto Scaling group does not carry.
    pub tags: Tags,
    /// Instance types, where it names them.
    pub kinds: Vec<Arc<str>>,
    /// Size of the first volume in GiB, where it is told.
    pub disk_gib: Option<u64>,
    /// Architecture of its image, as `kubernetes.io/arch` has it, where it is told.
    pub arch: Option<&'static str>,
    /// Whether its nodes run Windows.
    pub is_windows: bool,
}
