//! The words of dynamic resource allocation.

use crate::placement::affinity::NodeTerm;
use crate::placement::taints::{Taint, Toleration};
use crate::placement::volumes::ClaimKey;
use plimsoll_quantity::Quantity;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A name with its domain: `gpu.example.com/model`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QualifiedName {
    /// Domain.
    pub domain: Arc<str>,
    /// Name in the domain.
    pub name: Arc<str>,
}

impl QualifiedName {
    /// From text; a name without a domain is the driver's own.
    pub fn of(text: &str, driver: &str) -> Self {
        let (domain, name) = text.split_once('/').unwrap_or((driver, text));
        Self {
            domain: domain.into(),
            name: name.into(),
        }
    }
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// A truth.
    Bool(bool),
    /// Text.
    Text(Arc<str>),
    /// A semantic version.
    Version(Arc<str>),
}

/// A device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Name in its pool.
    pub name: Arc<str>,
    /// Attributes.
    pub attributes: BTreeMap<QualifiedName, Attribute>,
    /// Capacities.
    pub capacity: BTreeMap<QualifiedName, Quantity>,
    /// Taints that keep new claims away.
    pub taints: Vec<Taint>,
}

/// From where devices can be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PoolReach {
    /// From the node whose facts they are part of.
    #[default]
    Node,
    /// From every node.
    Everywhere,
    /// From nodes that satisfy the term.
    Nodes(NodeTerm),
}

/// Devices of a pool that are reached from the same nodes, in the pool's newest generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolFacts {
    /// The driver.
    pub driver: Arc<str>,
    /// The pool's name, unique for the driver.
    pub name: Arc<str>,
    /// The devices, in their order.
    pub devices: Arc<[DeviceFacts]>,
    /// Whether all slices of the pool have been published.
    pub complete: bool,
    /// From where they are reached.
    pub reach: PoolReach,
}

impl PoolFacts {
    /// Whether the pool can give something: it is complete and has devices.
    pub fn is_there(&self) -> bool {
        self.complete && !self.devices.is_empty()
    }
}

/// A DeviceClass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceClassFacts {
    /// Name.
    pub name: String,
    /// CEL expressions that a device has to satisfy.
    pub selectors: Vec<Arc<str>>,
}

/// How many devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Amount {
    /// So many.
    Count(usize),
    /// All that can be reached.
    All,
}

/// One way to satisfy a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceOption {
    /// As results name it: `request`, or `request/subrequest`.
    pub name: String,
    /// The device class.
    pub class: String,
    /// CEL expressions beside those of the class.
    pub selectors: Vec<Arc<str>>,
    /// How many devices.
    pub amount: Amount,
    /// Whether it may have devices that others have, and leaves them to others.
    pub admin: bool,
    /// Which taints of devices it tolerates.
    pub tolerations: Vec<Toleration>,
}

/// A request: the first option that can be satisfied is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceRequest {
    /// Name.
    pub name: String,
    /// The options, best first; `exactly` is one.
    pub options: Vec<DeviceOption>,
}

/// How devices of several requests relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConstraintKind {
    /// All have the same value.
    Same,
    /// No two have the same value.
    Distinct,
}

/// A constraint over the devices of some requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceConstraint {
    /// Requests (or `request/subrequest`); empty = all.
    pub requests: Vec<String>,
    /// The attribute; a device without it does not do.
    pub attribute: QualifiedName,
    /// How the values relate.
    pub kind: ConstraintKind,
}

impl DeviceConstraint {
    /// Whether it holds for devices of an option.
    pub(super) fn concerns(&self, option: &str) -> bool {
        let request = option
            .split_once('/')
            .map_or(option, |(request, _)| request);
        let named = |name: &String| name == option || name == request;
        self.requests.is_empty() || self.requests.iter().any(named)
    }
}

/// What a claim asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceRequests {
    /// The requests.
    pub requests: Vec<DeviceRequest>,
    /// The constraints.
    pub constraints: Vec<DeviceConstraint>,
}

/// A device that a request got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllottedDevice {
    /// The option's name (see [`DeviceOption::name`]).
    pub request: String,
    /// The driver.
    pub driver: Arc<str>,
    /// The pool.
    pub pool: Arc<str>,
    /// The device.
    pub device: Arc<str>,
    /// Whether others may have it, too.
    pub admin: bool,
}

/// What a claim got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceAllocation {
    /// The devices, in the order of the requests.
    pub results: Vec<AllottedDevice>,
    /// Nodes from which all of them are reached; `None` = all nodes.
    pub terms: Option<Vec<NodeTerm>>,
}

/// A ResourceClaim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceClaimFacts {
    /// Namespace and name.
    pub key: ClaimKey,
    /// What it asks for.
    pub requests: Arc<DeviceRequests>,
    /// What it got, if it got anything.
    pub allocation: Option<Arc<DeviceAllocation>>,
    /// How many pods it is reserved for.
    pub reserved: usize,
    /// Whether it is being deleted.
    pub deleted: bool,
}

/// A claim of a pod, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceWish {
    /// The name in the pod's spec.
    pub name: Arc<str>,
    /// The ResourceClaim, once there is one.
    pub claim: Option<Arc<str>>,
    /// The ResourceClaimTemplate it is made from. What it says counts where the claim is not known,
    /// as for pods that are only imagined.
    pub template: Option<Arc<str>>,
}
