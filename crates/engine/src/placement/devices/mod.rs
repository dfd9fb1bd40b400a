//! Devices that pods claim (dynamic resource allocation, `resource.k8s.io`).
//!
//! ```text
//! slices ──▶ pools: of a node ([`super::NodeFacts::pools`]), or reached from several
//! classes, claims, templates ──▶ what a pod's claims ask for
//! placing a pod ──▶ its open claims get devices there; the last user's leaving frees them
//! ```
//!
//! What is allocated belongs to the snapshot: it is forked, kept and taken back with it. Selectors
//! are evaluated once for each list of devices. The search for devices is deterministic and bounded.
//!
//! Departs: devices that take from shared counters, and capacity that several claims share, are not
//! modelled: devices that need it are left out by whoever makes the facts.

mod allocate;
mod demand;
mod facts;
mod matching;
mod snapshot;
mod state;

pub use facts::{
    AllottedDevice, Amount, Attribute, ConstraintKind, DeviceAllocation, DeviceClaimFacts,
    DeviceClassFacts, DeviceConstraint, DeviceFacts, DeviceOption, DeviceRequest, DeviceRequests,
    DeviceWish, PoolFacts, PoolReach, QualifiedName,
};
pub use state::PoolUse;

pub(super) use demand::Demand;
pub(super) use state::{ClaimState, Devices};
