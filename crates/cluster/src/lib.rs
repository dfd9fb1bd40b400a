//! The embedded cluster, assembled from its parts: API server, controllers, scheduler, autoscalers
//! and metrics, all in this process.
//!
//! [`ControlPlane::start`] gives everything but nodes. The binary puts a TLS listener, node agents, a
//! Service proxy and DNS around it; virtual time puts simulated nodes beside it.

pub mod components;
pub mod definitions;
pub mod describing;
mod plane;
pub mod storage;

pub use plane::{ControlPlane, Parts, StartError};
